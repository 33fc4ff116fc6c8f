/*
 * Constraints of the model, every violation collected before answering, in AWS's words:
 *
 *   1 validation error detected: Value 'x' at 'functionName' failed to satisfy constraint: …
 *
 * A list or map of scalars is judged as one value ("Member must satisfy constraint: […]"), a list
 * of structures item by item ("tags.1.member.key"). Values marked sensitive are never echoed.
 * The text is bounded: beyond a limit further violations are counted, not worded.
 */
#include "aws/aws_int.h"

#include <stdio.h>

#define TEXT_MAX (64 * 1024)
#define ECHO_MAX 8192
#define PATH_MAX_ 512
#define PATTERN_FREE_MAX 4096

struct validator {
	struct buf text;
	size_t count;
	char path[PATH_MAX_];
	size_t path_len;
	unsigned depth;
};

static void visit(struct validator *v, const struct aws_shape *s, const void *storage);

static size_t push(struct validator *v, const char *name)
{
	size_t before = v->path_len, len = strlen(name);

	if (before && before < sizeof(v->path) - 1)
		v->path[v->path_len++] = '.';
	len = min_size(len, sizeof(v->path) - 1 - v->path_len);
	memcpy(v->path + v->path_len, name, len);
	v->path_len += len;
	v->path[v->path_len] = '\0';
	return before;
}

/* Members are spelt with a small first letter in AWS's texts. */
static size_t push_member(struct validator *v, const char *name)
{
	size_t before = push(v, name), at = before ? before + 1 : 0;

	if (v->path[at] >= 'A' && v->path[at] <= 'Z')
		v->path[at] += 'a' - 'A';
	return before;
}

static void pop(struct validator *v, size_t before)
{
	v->path_len = before;
	v->path[before] = '\0';
}

/* ---- values in texts ---- */

static bool sensitive(const struct aws_shape *s)
{
	return (s->flags & AWS_SENSITIVE) || (s->key && (s->key->flags & AWS_SENSITIVE)) ||
	       ((s->type == AWS_LIST || s->type == AWS_MAP) && sensitive(s->value));
}

static void show(struct buf *b, const struct aws_shape *s, const void *storage);

static void show_items(struct buf *b, const struct aws_shape *s, const struct aws_list *l)
{
	buf_putc(b, s->type == AWS_MAP ? '{' : '[');
	for (size_t i = 0; i < l->count && buf_len(b) < TEXT_MAX; i++) {
		const char *item = aws_item(s, l, i);

		if (i)
			buf_puts(b, ", ");
		if (s->type == AWS_MAP)
			buf_printf(b, "%.*s=", ECHO_MAX, *(const char *const *)(const void *)item);
		show(b, s->value, item + s->value_offset);
	}
	buf_putc(b, s->type == AWS_MAP ? '}' : ']');
}

/* Cut between characters, so that the answer stays UTF-8. */
static void show_string(struct buf *b, const char *text)
{
	size_t len = strnlen(text, ECHO_MAX + 1);

	if (len > ECHO_MAX) {
		len = ECHO_MAX;
		while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	buf_append(b, text, len);
}

static void show(struct buf *b, const struct aws_shape *s, const void *storage)
{
	switch (s->type) {
	case AWS_STRING: show_string(b, *(const char *const *)storage); break;
	case AWS_INTEGER:
	case AWS_LONG:
	case AWS_TIMESTAMP: buf_printf(b, "%" PRId64, *(const int64_t *)storage); break;
	case AWS_BOOLEAN: buf_puts(b, *(const bool *)storage ? "true" : "false"); break;
	case AWS_DOUBLE: aws_encode_double(b, *(const double *)storage); break;
	case AWS_LIST:
	case AWS_MAP: show_items(b, s, storage); break;
	default: buf_puts(b, s->name); break;
	}
}

/* Start a violation of the value at the current path. False: enough has been said. */
static bool begin(struct validator *v, const struct aws_shape *s, const void *storage)
{
	if (v->count++ && buf_len(&v->text) < TEXT_MAX)
		buf_puts(&v->text, "; ");
	if (buf_len(&v->text) >= TEXT_MAX)
		return false;
	buf_puts(&v->text, "Value ");
	if (!storage) {
		buf_puts(&v->text, "null ");
	} else if (!sensitive(s)) {
		buf_putc(&v->text, '\'');
		show(&v->text, s, storage);
		buf_puts(&v->text, "' ");
	}
	buf_printf(&v->text, "at '%s' failed to satisfy constraint: ", v->path);
	return true;
}

/* ---- constraints in words ---- */

enum rule { MAX_RULE, MIN_RULE, PATTERN_RULE, ENUM_RULE, RULE_COUNT };

static void word_limit(struct buf *b, const struct aws_shape *s, bool max)
{
	bool number = s->type == AWS_INTEGER || s->type == AWS_LONG || s->type == AWS_DOUBLE;

	buf_printf(b, "Member must have %s %s than or equal to %.15g", number ? "value" : "length",
	    max ? "less" : "greater", max ? s->max : s->min);
}

static void word(struct buf *b, const struct aws_shape *s, enum rule rule)
{
	switch (rule) {
	case MAX_RULE:
	case MIN_RULE: word_limit(b, s, rule == MAX_RULE); break;
	case PATTERN_RULE:
		buf_printf(
		    b, "Member must satisfy regular expression pattern: %s", s->pattern->text);
		break;
	default:
		buf_puts(b, "Member must satisfy enum value set: [");
		for (unsigned i = 0; i < s->enum_count; i++)
			buf_printf(b, "%s%s", i ? ", " : "", s->enums[i]);
		buf_putc(b, ']');
	}
}

static bool has_rule(const struct aws_shape *s, enum rule rule)
{
	switch (rule) {
	case MAX_RULE: return s->flags & AWS_HAS_MAX;
	case MIN_RULE: return s->flags & AWS_HAS_MIN;
	case PATTERN_RULE: return s->pattern;
	default: return s->enum_count > 0;
	}
}

static double measure(const struct aws_shape *s, const void *storage)
{
	switch (s->type) {
	case AWS_STRING: return (double)utf8_count(str_from(*(const char *const *)storage));
	case AWS_INTEGER:
	case AWS_LONG: return (double)*(const int64_t *)storage;
	case AWS_DOUBLE: return *(const double *)storage;
	case AWS_BLOB: return (double)((const struct str *)storage)->len;
	case AWS_LIST:
	case AWS_MAP: return (double)((const struct aws_list *)storage)->count;
	default: return 0;
	}
}

static bool in_set(const struct aws_shape *s, const char *text)
{
	for (unsigned i = 0; i < s->enum_count; i++)
		if (strcmp(s->enums[i], text) == 0)
			return true;
	return false;
}

/* A text far too long is refused for its length already; matching it would only cost time. */
static bool matches(const struct aws_shape *s, const char *text)
{
	size_t len = strlen(text);

	if ((s->flags & AWS_HAS_MAX) && len > PATTERN_FREE_MAX && (double)len > 4 * s->max)
		return true;
	return aws_pattern_match(s->pattern, text);
}

static bool holds(const struct aws_shape *s, const void *storage, enum rule rule)
{
	if (!has_rule(s, rule))
		return true;
	switch (rule) {
	case MAX_RULE: return measure(s, storage) <= s->max;
	case MIN_RULE: return measure(s, storage) >= s->min;
	case PATTERN_RULE: return matches(s, *(const char *const *)storage);
	default: return in_set(s, *(const char *const *)storage);
	}
}

static bool holds_all(const struct aws_shape *s, const void *storage)
{
	for (enum rule rule = 0; rule < RULE_COUNT; rule++)
		if (!holds(s, storage, rule))
			return false;
	return true;
}

/* All the constraints of an element: "Member must satisfy constraint: [a, b, Member must not be
 * null]". */
static void word_element(struct validator *v, const char *what, const struct aws_shape *s)
{
	buf_printf(&v->text, "%s must satisfy constraint: [", what);
	for (enum rule rule = 0; rule < RULE_COUNT; rule++) {
		if (has_rule(s, rule)) {
			word(&v->text, s, rule);
			buf_puts(&v->text, ", ");
		}
	}
	buf_puts(&v->text, "Member must not be null]");
}

/* ---- the walk ---- */

static void judge(struct validator *v, const struct aws_shape *s, const void *storage)
{
	for (enum rule rule = 0; rule < RULE_COUNT; rule++)
		if (!holds(s, storage, rule) && begin(v, s, storage))
			word(&v->text, s, rule);
}

static bool scalar(const struct aws_shape *s)
{
	return s->type != AWS_STRUCTURE && s->type != AWS_LIST && s->type != AWS_MAP;
}

static void visit_structure(struct validator *v, const struct aws_shape *s, const void *storage)
{
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		const void *member = aws_member(f, storage);
		size_t before;

		if (!member && !f->required)
			continue;
		before = push_member(v, f->name);
		if (member)
			visit(v, f->shape, member);
		else if (f->required && begin(v, f->shape, NULL))
			buf_puts(&v->text, "Member must not be null");
		pop(v, before);
	}
}

/* Keys of a map: one violation however many are wrong. */
static void judge_keys(struct validator *v, const struct aws_shape *s, const struct aws_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		if (holds_all(s->key, aws_item(s, l, i)))
			continue;
		if (begin(v, s, l))
			word_element(v, "Map keys", s->key);
		return;
	}
}

static void judge_scalars(struct validator *v, const struct aws_shape *s, const struct aws_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const char *item = aws_item(s, l, i);

		if (holds_all(s->value, item + s->value_offset))
			continue;
		if (begin(v, s, l))
			word_element(v, s->type == AWS_MAP ? "Map value" : "Member", s->value);
		return;
	}
}

static void visit_items(struct validator *v, const struct aws_shape *s, const struct aws_list *l)
{
	char step[64];

	if (!holds(s, l, MAX_RULE))
		return; /* enough is wrong; how many there are is the client's choice */
	if (s->key)
		judge_keys(v, s, l);
	if (scalar(s->value)) {
		judge_scalars(v, s, l);
		return;
	}
	for (size_t i = 0; i < l->count && buf_len(&v->text) < TEXT_MAX; i++) {
		const char *item = aws_item(s, l, i);
		size_t before;

		if (s->type == AWS_MAP)
			snprintf(step, sizeof(step), "%.40s.member",
			    sensitive(s->key) ? "*" : *(const char *const *)(const void *)item);
		else
			snprintf(step, sizeof(step), "%zu.member", i + 1);
		before = push(v, step);
		visit(v, s->value, item + s->value_offset);
		pop(v, before);
	}
}

static void visit(struct validator *v, const struct aws_shape *s, const void *storage)
{
	if (v->depth == AWS_DEPTH_MAX)
		return; /* decoding goes no deeper */
	v->depth++;
	judge(v, s, storage);
	if (s->type == AWS_STRUCTURE)
		visit_structure(v, s, storage);
	else if (!scalar(s))
		visit_items(v, s, storage);
	v->depth--;
}

size_t aws_validate(
    struct arena *a, const struct aws_shape *in, const void *storage, const char **ret)
{
	struct validator v = {.text = BUF_INIT};

	visit(&v, in, storage);
	if (v.count)
		*ret = arena_printf(a, "%zu validation error%s detected: %.*s", v.count,
		    v.count == 1 ? "" : "s", (int)buf_len(&v.text), buf_data(&v.text));
	buf_done(&v.text);
	return v.count;
}
