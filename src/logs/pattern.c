/*
 * Filter patterns: parser, terms and space-delimited fields. The text comes from a client: its
 * length, nesting and number of parts are bounded, regular expressions run with limits. Terms match
 * anywhere in the event and exactly as written, upper and lower case being different.
 */
#include "logs/pattern.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "logs/pattern_int.h"

bool pattern_fail(struct parser *p, const char *what)
{
	err_set(p->e, EINVAL, "Invalid filter pattern: %s at character %zu", what,
	    (size_t)(p->at - p->start) + 1);
	return false;
}

void pattern_skip(struct parser *p)
{
	while (p->at < p->end && isspace((unsigned char)*p->at))
		p->at++;
}

static bool looking_at(const struct parser *p, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0;
}

static bool accept(struct parser *p, const char *text)
{
	pattern_skip(p);
	if (!looking_at(p, text))
		return false;
	p->at += strlen(text);
	return true;
}

/* ---- what text is compared with ---- */

/* '*' matches any run. Greedy with one step back, so the cost is at most length times length of
 * the pattern, which is bounded. */
static bool glob(const char *pattern, size_t plen, struct str text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

	while (t < text.len) {
		if (p < plen && pattern[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < plen && pattern[p] == text.ptr[t]) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < plen && pattern[p] == '*')
		p++;
	return p == plen;
}

bool matcher_matches(const struct matcher *m, struct str text)
{
	if (m->regex)
		return log_regex_match(m->regex, text) > 0;
	if (m->wild)
		return glob(m->text, m->len, text);
	return str_eq((struct str){m->text, m->len}, text);
}

static bool to_number(struct str s, double *ret)
{
	char copy[64], *end;

	if (s.len == 0 || s.len >= sizeof(copy) || !memchr("+-.0123456789", s.ptr[0], 13))
		return false;
	memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	if (strspn(copy, "+-.0123456789eE") != s.len)
		return false;
	*ret = strtod(copy, &end);
	return *end == '\0' && isfinite(*ret);
}

bool matcher_compare(const struct matcher *m, enum compare c, struct str text)
{
	double n;

	if (m->is_number && to_number(text, &n)) {
		switch (c) {
		case CMP_EQ: return n == m->number;
		case CMP_NE: return n != m->number;
		case CMP_LT: return n < m->number;
		case CMP_LE: return n <= m->number;
		case CMP_GT: return n > m->number;
		default: return n >= m->number;
		}
	}
	if (c == CMP_EQ || c == CMP_NE)
		return matcher_matches(m, text) == (c == CMP_EQ);
	return false;
}

static bool parse_regex(struct parser *p, struct matcher *m)
{
	const char *from = ++p->at;
	size_t where;

	while (p->at < p->end && *p->at != '%')
		p->at += *p->at == '\\' && p->at + 1 < p->end ? 2 : 1;
	if (p->at >= p->end)
		return pattern_fail(p, "the regular expression does not end in %");
	if (p->at == from)
		return pattern_fail(p, "the regular expression is empty");
	if (++p->regexes > PATTERN_REGEXES)
		return pattern_fail(p, "too many regular expressions");
	m->regex = log_regex_new((struct str){from, (size_t)(p->at - from)}, &where);
	if (!m->regex) {
		p->at = from + where;
		return pattern_fail(p, "the regular expression is not valid");
	}
	p->at++;
	return true;
}

static bool parse_quoted(struct parser *p, struct matcher *m)
{
	char *to = m->text = xmalloc((size_t)(p->end - p->at) + 1);

	for (p->at++; p->at < p->end && *p->at != '"'; p->at++) {
		if (*p->at == '\\' && p->at + 1 < p->end && (p->at[1] == '"' || p->at[1] == '\\'))
			p->at++;
		*to++ = *p->at;
	}
	if (p->at >= p->end)
		return pattern_fail(p, "the quotation does not end in \"");
	p->at++;
	m->len = (size_t)(to - m->text);
	return true;
}

/* A value: %regex%, "quoted", or bare up to one of `stops`. */
static bool parse_value(struct parser *p, const char *stops, struct matcher *m)
{
	const char *from;

	pattern_skip(p);
	if (p->at < p->end && *p->at == '%')
		return parse_regex(p, m);
	if (p->at < p->end && *p->at == '"')
		return parse_quoted(p, m);
	from = p->at;
	while (p->at < p->end && !isspace((unsigned char)*p->at) && !strchr(stops, *p->at))
		p->at++;
	if (p->at == from)
		return pattern_fail(p, "a value is missing");
	m->len = (size_t)(p->at - from);
	m->text = xstrndup(from, m->len);
	m->is_number = to_number((struct str){from, m->len}, &m->number);
	return true;
}

/* ---- conditions ---- */

static void free_matcher(struct matcher *m)
{
	free(m->text);
	log_regex_free(m->regex);
}

static void free_condition(struct condition *c)
{
	if (!c)
		return;
	free_condition(c->left);
	free_condition(c->right);
	for (size_t i = 0; i < c->step_count; i++)
		free(c->steps[i].name);
	free(c->steps);
	free_matcher(&c->value);
	free(c);
}

static bool parse_word(struct parser *p, const char *word)
{
	const char *before = p->at;
	size_t n = strlen(word);

	pattern_skip(p);
	if ((size_t)(p->end - p->at) >= n && strncasecmp(p->at, word, n) == 0 &&
	    (p->at + n == p->end || !isalnum((unsigned char)p->at[n]))) {
		p->at += n;
		return true;
	}
	p->at = before;
	return false;
}

static bool parse_compare(struct parser *p, enum compare *ret)
{
	static const struct {
		const char *text;
		enum compare compare;
	} all[] = {{"!=", CMP_NE}, {"<=", CMP_LE}, {">=", CMP_GE}, {"=", CMP_EQ}, {"<", CMP_LT},
	    {">", CMP_GT}};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (accept(p, all[i].text)) {
			*ret = all[i].compare;
			return true;
		}
	return false;
}

static bool parse_is(struct parser *p, enum compare *ret)
{
	if (parse_word(p, "IS")) {
		if (parse_word(p, "NULL"))
			*ret = CMP_NULL;
		else if (parse_word(p, "TRUE"))
			*ret = CMP_TRUE;
		else if (parse_word(p, "FALSE"))
			*ret = CMP_FALSE;
		else
			return pattern_fail(p, "NULL, TRUE or FALSE expected");
		return true;
	}
	if (parse_word(p, "NOT")) {
		*ret = CMP_NOT_EXISTS;
		return parse_word(p, "EXISTS") || pattern_fail(p, "EXISTS expected");
	}
	if (parse_word(p, "EXISTS")) {
		*ret = CMP_EXISTS;
		return true;
	}
	return pattern_fail(p, "a comparison is missing");
}

static bool parse_name(struct parser *p)
{
	const char *from;

	pattern_skip(p);
	from = p->at;
	while (p->at < p->end && (isalnum((unsigned char)*p->at) || memchr("_-.@$", *p->at, 5)))
		p->at++;
	return p->at > from || pattern_fail(p, "a name is missing");
}

static bool parse_comparison(struct parser *p, struct condition **ret)
{
	struct condition *c = *ret = xcalloc(1, sizeof(*c));

	if (++p->nodes > PATTERN_NODES)
		return pattern_fail(p, "too many conditions");
	if (!(p->json ? json_parse_path(p, c) : parse_name(p)))
		return false;
	if (parse_compare(p, &c->compare)) {
		if (!parse_value(p, p->json ? "()&|{}=!<>\"" : "()&|,[]=!<>\"", &c->value))
			return false;
		c->value.wild = c->value.text && memchr(c->value.text, '*', c->value.len);
		if (c->compare >= CMP_LT && !c->value.is_number)
			return pattern_fail(p, "a number expected before here");
		return true;
	}
	return p->json ? parse_is(p, &c->compare) : pattern_fail(p, "a comparison is missing");
}

static bool parse_or(struct parser *p, struct condition **ret);

static bool parse_factor(struct parser *p, struct condition **ret)
{
	bool ok;

	if (!accept(p, "("))
		return parse_comparison(p, ret);
	if (++p->depth > PATTERN_DEPTH)
		return pattern_fail(p, "parentheses are nested too deeply");
	ok = parse_or(p, ret);
	p->depth--;
	return ok && (accept(p, ")") || pattern_fail(p, "\")\" expected"));
}

/* Join *ret and what comes next; true when the operator is there. */
static bool join(struct condition **ret, enum compare compare)
{
	struct condition *c = xcalloc(1, sizeof(*c));

	c->compare = compare;
	c->left = *ret;
	*ret = c;
	return true;
}

static bool parse_and(struct parser *p, struct condition **ret)
{
	if (!parse_factor(p, ret))
		return false;
	while (accept(p, "&&"))
		if (!join(ret, CMP_AND) || !parse_factor(p, &(*ret)->right))
			return false;
	return true;
}

static bool parse_or(struct parser *p, struct condition **ret)
{
	if (!parse_and(p, ret))
		return false;
	while (accept(p, "||"))
		if (!join(ret, CMP_OR) || !parse_and(p, &(*ret)->right))
			return false;
	return true;
}

/* ---- the three kinds ---- */

static bool parse_terms(struct parser *p, struct log_pattern *pattern)
{
	for (pattern_skip(p); p->at < p->end; pattern_skip(p)) {
		struct term *t = &pattern->terms[pattern->term_count];

		if (pattern->term_count == PATTERN_NODES)
			return pattern_fail(p, "too many terms");
		pattern->term_count++;
		t->kind = *p->at == '?' ? TERM_ANY : *p->at == '-' ? TERM_NONE : TERM_ALL;
		if (t->kind != TERM_ALL)
			p->at++;
		if (p->at == p->end || isspace((unsigned char)*p->at))
			return pattern_fail(p, "a term is missing");
		if (!parse_value(p, "\"", &t->value))
			return false;
		if (!t->value.regex && !t->value.len)
			return pattern_fail(p, "a term is empty");
	}
	return true;
}

/* A field is "...", a name, or a condition on it. */
static bool parse_field(struct parser *p, struct field *f)
{
	const char *before;

	pattern_skip(p);
	if (accept(p, "...")) {
		f->ellipsis = true;
		return true;
	}
	before = p->at;
	if (p->at < p->end && *p->at != '(' && parse_name(p)) {
		pattern_skip(p);
		if (p->at < p->end && (*p->at == ',' || *p->at == ']'))
			return true;
		p->at = before;
	}
	if (p->at < p->end && (*p->at == ',' || *p->at == ']'))
		return true; /* a field without a name */
	return parse_or(p, &f->condition);
}

static bool parse_fields(struct parser *p, struct log_pattern *pattern)
{
	bool ellipsis = false;

	p->at++;
	do {
		struct field *f = &pattern->fields[pattern->field_count];

		if (pattern->field_count == PATTERN_FIELDS)
			return pattern_fail(p, "too many fields");
		pattern->field_count++;
		if (!parse_field(p, f))
			return false;
		if (f->ellipsis && ellipsis)
			return pattern_fail(p, "\"...\" may be there only once");
		ellipsis |= f->ellipsis;
	} while (accept(p, ","));
	return accept(p, "]") || pattern_fail(p, "\",\" or \"]\" expected");
}

static bool parse_json(struct parser *p, struct log_pattern *pattern)
{
	p->at++;
	p->json = true;
	return parse_or(p, &pattern->root) && (accept(p, "}") || pattern_fail(p, "\"}\" expected"));
}

static bool parse(struct parser *p, struct log_pattern *pattern)
{
	bool ok;

	pattern_skip(p);
	if (p->at < p->end && *p->at == '{')
		pattern->kind = PATTERN_JSON;
	else if (p->at < p->end && *p->at == '[')
		pattern->kind = PATTERN_FIELDS_LIST;
	else
		return parse_terms(p, pattern);
	ok = pattern->kind == PATTERN_JSON ? parse_json(p, pattern) : parse_fields(p, pattern);
	pattern_skip(p);
	return ok && (p->at == p->end || pattern_fail(p, "nothing more expected"));
}

struct log_pattern *log_pattern_parse(struct str text, struct err *e)
{
	struct log_pattern *pattern = xcalloc(1, sizeof(*pattern));
	struct parser p = {.e = e};

	p.start = p.at = text.ptr ? text.ptr : "";
	p.end = p.start + text.len;
	if (text.len > LOG_PATTERN_MAX)
		err_set(e, EINVAL, "Invalid filter pattern: longer than %d characters",
		    LOG_PATTERN_MAX);
	else if (text.len && memchr(text.ptr, '\0', text.len))
		err_set(e, EINVAL, "Invalid filter pattern: it contains a NUL character");
	else if (parse(&p, pattern))
		return pattern;
	log_pattern_free(pattern);
	return NULL;
}

void log_pattern_free(struct log_pattern *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->term_count; i++)
		free_matcher(&p->terms[i].value);
	for (size_t i = 0; i < p->field_count; i++)
		free_condition(p->fields[i].condition);
	free_condition(p->root);
	free(p);
}

/* ---- matching ---- */

static bool has_term(const struct term *t, struct str message)
{
	if (t->value.regex)
		return matcher_matches(&t->value, message);
	return message.len && memmem(message.ptr, message.len, t->value.text, t->value.len);
}

/* As AWS has it: ?terms count only where no term is required. */
static bool match_terms(const struct log_pattern *p, struct str message)
{
	bool required = false, optional = false, any = false;

	for (size_t i = 0; i < p->term_count; i++) {
		const struct term *t = &p->terms[i];

		if (t->kind == TERM_ANY) {
			optional = true;
			any = any || has_term(t, message);
			continue;
		}
		required |= t->kind == TERM_ALL;
		if (has_term(t, message) != (t->kind == TERM_ALL))
			return false;
	}
	return required || !optional || any;
}

/* Cut the next field off: up to a space, or what is inside quotes or brackets. */
static bool next_field(struct str *s, struct str *ret)
{
	char close = ' ';
	const char *end;

	while (s->len && *s->ptr == ' ')
		*s = str_sub(*s, 1);
	if (!s->len)
		return false;
	if (*s->ptr == '"' || *s->ptr == '[')
		close = *s->ptr == '"' ? '"' : ']';
	end = close == ' ' ? NULL : memchr(s->ptr + 1, close, s->len - 1);
	if (end) {
		*ret = (struct str){s->ptr + 1, (size_t)(end - s->ptr) - 1};
		*s = str_sub(*s, (size_t)(end - s->ptr) + 1);
		return true;
	}
	end = memchr(s->ptr, ' ', s->len);
	*ret = (struct str){s->ptr, end ? (size_t)(end - s->ptr) : s->len};
	*s = str_sub(*s, ret->len);
	return true;
}

static bool field_holds(const struct condition *c, struct str text)
{
	if (!c)
		return true;
	if (c->compare == CMP_AND)
		return field_holds(c->left, text) && field_holds(c->right, text);
	if (c->compare == CMP_OR)
		return field_holds(c->left, text) || field_holds(c->right, text);
	return matcher_compare(&c->value, c->compare, text);
}

static bool match_fields(const struct log_pattern *p, struct str message)
{
	struct str words[PATTERN_FIELDS * 8], word;
	size_t count = 0;
	bool ellipsis = false;

	while (message.len && (message.ptr[message.len - 1] == '\n'))
		message.len--;
	while (next_field(&message, &word)) {
		if (count == ARRAY_SIZE(words))
			return false;
		words[count++] = word;
	}
	for (size_t i = 0; i < p->field_count; i++)
		ellipsis |= p->fields[i].ellipsis;
	if (ellipsis ? count + 1 < p->field_count : count != p->field_count)
		return false;
	for (size_t i = 0, at = 0; i < p->field_count; i++) {
		if (p->fields[i].ellipsis)
			at += count + 1 - p->field_count; /* words that it stands for */
		else if (!field_holds(p->fields[i].condition, words[at++]))
			return false;
	}
	return true;
}

bool log_pattern_match(const struct log_pattern *p, struct str message)
{
	switch (p->kind) {
	case PATTERN_TERMS: return match_terms(p, message);
	case PATTERN_FIELDS_LIST: return match_fields(p, message);
	default: return json_match(p->root, message);
	}
}
