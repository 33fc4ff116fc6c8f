/*
 * The cluster query language: "attribute:ecs.os-type == linux and not(task:group == db)". Parsed
 * and evaluated in one pass, over what is known of one instance; whether a text is correct does not
 * depend on the instance. Texts come from clients: depth is bounded, and so are the steps of a
 * pattern. Pure but for the memory of PCRE2.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "service/ecs/ecs_int.h"

#define DEPTH_MAX 32
#define TEXT_MAX 2000
#define WORD_MAX 256
#define STEPS_MAX 20000

struct parser {
	struct str rest;
	const json_t *facts;
	unsigned depth;
	struct err *e;
};

enum order {
	EQUAL,
	NOT_EQUAL,
	LESS,
	LESS_EQUAL,
	MORE,
	MORE_EQUAL,
	MATCHES,
	NOT_MATCHES,
	IN,
	NOT_IN,
	EXISTS,
	NOT_EXISTS
};

static const struct {
	const char *word;
	enum order order;
} orders[] = {
    {"==", EQUAL},
    {"equals", EQUAL},
    {"!=", NOT_EQUAL},
    {"not_equals", NOT_EQUAL},
    {"<=", LESS_EQUAL},
    {"less_than_equal", LESS_EQUAL},
    {"<", LESS},
    {"less_than", LESS},
    {">=", MORE_EQUAL},
    {"greater_than_equal", MORE_EQUAL},
    {">", MORE},
    {"greater_than", MORE},
    {"=~", MATCHES},
    {"matches", MATCHES},
    {"!~", NOT_MATCHES},
    {"not_matches", NOT_MATCHES},
    {"in", IN},
    {"!in", NOT_IN},
    {"not_in", NOT_IN},
    {"exists", EXISTS},
    {"!exists", NOT_EXISTS},
    {"not_exists", NOT_EXISTS},
};

static int wrong(struct parser *p, const char *what)
{
	return err_set(p->e, EINVAL, "%s at '%.*s'.", what, (int)min_size(p->rest.len, 40),
	    p->rest.ptr ? p->rest.ptr : "");
}

static void skip_space(struct parser *p)
{
	while (p->rest.len && strchr(" \t\r\n", *p->rest.ptr))
		p->rest = (struct str){p->rest.ptr + 1, p->rest.len - 1};
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       strchr("_-./:\\*+?^$@{}|", c);
}

static void advance(struct parser *p, size_t n)
{
	p->rest = (struct str){p->rest.ptr + n, p->rest.len - n};
}

/* A bare word of this many characters; 0: something else. */
static size_t word_length(const struct parser *p)
{
	size_t n = 0;

	while (n < p->rest.len && p->rest.ptr[n] && is_word(p->rest.ptr[n]))
		n++;
	return n;
}

/* "and" is one only if the word ends there; "&&" wherever it stands. */
static bool take(struct parser *p, const char *text)
{
	size_t len = strlen(text);
	bool letter = is_word(text[len - 1]) && text[0] != '|';

	skip_space(p);
	if (p->rest.len < len || memcmp(p->rest.ptr, text, len) != 0)
		return false;
	if (letter && p->rest.len > len && p->rest.ptr[len] && is_word(p->rest.ptr[len]))
		return false;
	advance(p, len);
	return true;
}

/* A bare or quoted argument. */
static int argument(struct parser *p, struct str *ret)
{
	char quote;
	const char *end;

	skip_space(p);
	if (p->rest.len && (*p->rest.ptr == '"' || *p->rest.ptr == '\'')) {
		quote = *p->rest.ptr;
		advance(p, 1);
		end = memchr(p->rest.ptr, quote, p->rest.len);
		if (!end)
			return wrong(p, "A quote is not closed");
		*ret = (struct str){p->rest.ptr, (size_t)(end - p->rest.ptr)};
		advance(p, ret->len + 1);
	} else {
		*ret = (struct str){p->rest.ptr, word_length(p)};
		if (!ret->len)
			return wrong(p, "A value is missing");
		advance(p, ret->len);
	}
	return ret->len > WORD_MAX ? wrong(p, "A value is too long") : 0;
}

/* ---- one text against one argument ---- */

static int compare(struct str a, struct str b)
{
	int64_t m, n;
	int order;

	if (str_to_int64(a, INT64_MIN, INT64_MAX, &m) && str_to_int64(b, INT64_MIN, INT64_MAX, &n))
		return m < n ? -1 : m > n;
	order = memcmp(a.ptr, b.ptr, min_size(a.len, b.len));
	if (order)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

/* 1, 0, or negative: the pattern is none. */
static int matches(struct str text, struct str pattern)
{
	int error, r;
	PCRE2_SIZE at;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
	    PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &at, NULL);
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data;

	if (!code || !limits) {
		pcre2_code_free(code);
		pcre2_match_context_free(limits);
		return -EINVAL;
	}
	pcre2_set_match_limit(limits, STEPS_MAX);
	pcre2_set_depth_limit(limits, STEPS_MAX / 10);
	data = pcre2_match_data_create(1, NULL);
	r = pcre2_match(code, (PCRE2_SPTR)text.ptr, text.len, 0, 0, data, limits);
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	pcre2_code_free(code);
	return r >= 0;
}

static bool fits(struct str value, enum order order, struct str arg)
{
	switch (order) {
	case EQUAL:
	case IN: return str_eq(value, arg);
	case LESS: return compare(value, arg) < 0;
	case LESS_EQUAL: return compare(value, arg) <= 0;
	case MORE: return compare(value, arg) > 0;
	case MORE_EQUAL: return compare(value, arg) >= 0;
	default: return matches(value, arg) > 0;
	}
}

/* Any of the subject's values. */
static bool any_fits(const json_t *fact, enum order order, struct str arg)
{
	size_t i;
	json_t *v;

	if (json_is_string(fact))
		return fits(
		    (struct str){json_string_value(fact), json_string_length(fact)}, order, arg);
	json_array_foreach(fact, i, v)
	{
		if (fits((struct str){json_string_value(v), json_string_length(v)}, order, arg))
			return true;
	}
	return false;
}

/* ---- comparisons ---- */

static int list_argument(struct parser *p, const json_t *fact, bool *ret)
{
	struct str arg;
	int r;

	*ret = false;
	if (!take(p, "["))
		return wrong(p, "in wants a list in brackets");
	do {
		r = argument(p, &arg);
		if (r < 0)
			return r;
		*ret = *ret || any_fits(fact, IN, arg);
	} while (take(p, ","));
	return take(p, "]") ? 0 : wrong(p, "A list is not closed");
}

static int operand(struct parser *p, enum order order, const json_t *fact, bool *ret)
{
	static const struct str nothing = {"", 0};
	struct str arg;
	int r;

	if (order == EXISTS || order == NOT_EXISTS) {
		*ret = !fact == (order == NOT_EXISTS);
		return 0;
	}
	if (order == IN || order == NOT_IN) {
		r = list_argument(p, fact, ret);
		*ret = *ret == (order == IN);
		return r;
	}
	r = argument(p, &arg);
	if (r < 0)
		return r;
	if ((order == MATCHES || order == NOT_MATCHES) && matches(nothing, arg) < 0)
		return wrong(p, "A pattern is wrong");
	if (order == NOT_EQUAL || order == NOT_MATCHES)
		*ret = !any_fits(fact, order == NOT_EQUAL ? EQUAL : MATCHES, arg);
	else
		*ret = any_fits(fact, order, arg);
	return 0;
}

static bool known_subject(struct str s)
{
	static const char *const all[] = {"agentConnected", "agentVersion", "ec2InstanceId",
	    "registeredAt", "runningTasksCount", "task:group"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (str_is(s, all[i]))
			return true;
	return str_has_prefix(s, "attribute:") && s.len > strlen("attribute:");
}

static int comparison(struct parser *p, bool *ret)
{
	struct str subject = {p->rest.ptr, word_length(p)};
	char name[WORD_MAX + 1];

	if (!subject.len || subject.len > WORD_MAX || !known_subject(subject))
		return wrong(p, "A subject such as attribute:NAME is missing");
	advance(p, subject.len);
	memcpy(name, subject.ptr, subject.len);
	name[subject.len] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (take(p, orders[i].word))
			return operand(p, orders[i].order, json_object_get(p->facts, name), ret);
	return wrong(p, "An operator is missing");
}

/* ---- and, or, not ---- */

static int either(struct parser *p, bool *ret);

static int factor(struct parser *p, bool *ret)
{
	int r;

	if (++p->depth > DEPTH_MAX)
		return wrong(p, "The expression is nested too deeply");
	skip_space(p);
	if (take(p, "not") || (p->rest.len && *p->rest.ptr == '!' && take(p, "!"))) {
		r = factor(p, ret);
		*ret = !*ret;
	} else if (take(p, "(")) {
		r = either(p, ret);
		if (r == 0 && !take(p, ")"))
			r = wrong(p, "A parenthesis is not closed");
	} else {
		r = comparison(p, ret);
	}
	p->depth--;
	return r;
}

static int both(struct parser *p, bool *ret)
{
	int r = factor(p, ret);

	while (r == 0 && (take(p, "and") || take(p, "&&"))) {
		bool more = false;

		r = factor(p, &more);
		*ret = *ret && more;
	}
	return r;
}

static int either(struct parser *p, bool *ret)
{
	int r = both(p, ret);

	while (r == 0 && (take(p, "or") || take(p, "||"))) {
		bool more = false;

		r = both(p, &more);
		*ret = *ret || more;
	}
	return r;
}

int ecs_query(struct str text, const json_t *facts, bool *ret, struct err *e)
{
	struct parser p = {text, facts, 0, e};
	bool result = false;
	int r;

	if (text.len > TEXT_MAX)
		return err_set(e, EINVAL, "The expression is longer than %d characters.", TEXT_MAX);
	r = either(&p, &result);
	skip_space(&p);
	if (r == 0 && p.rest.len)
		r = wrong(&p, "Something else is expected");
	if (r == 0 && ret)
		*ret = result;
	return r;
}
