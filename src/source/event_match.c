/*
 * The matcher of event patterns. Documents are what clients sent: time is bounded by their size
 * times the pattern's, with no backtracking. Any thread.
 */
#include <arpa/inet.h>

#include "source/event_pattern_int.h"

struct event_number event_number(const json_t *n)
{
	struct event_number out = {.whole = json_is_integer(n), .real = json_number_value(n)};

	if (out.whole)
		out.integer = json_integer_value(n);
	return out;
}

const char *event_text_name(enum event_text_kind kind)
{
	switch (kind) {
	case TEXT_PREFIX: return "prefix";
	case TEXT_SUFFIX: return "suffix";
	case TEXT_WILDCARD: return "wildcard";
	case TEXT_EXACT: return "a value";
	case TEXT_NOCASE:
	case TEXT_PREFIX_NOCASE:
	case TEXT_SUFFIX_NOCASE: break;
	}
	return "equals-ignore-case";
}

static bool numbers_equal(const struct event_number *a, const struct event_number *b)
{
	if (a->whole && b->whole)
		return a->integer == b->integer;
	return a->real == b->real;
}

/* ---- text ---- */

/* The next code point of well-formed UTF-8 (jansson checks that), its simple lower case where it is
 * ASCII, Latin-1, Greek or Cyrillic: all that has its cases in rows. */
static uint32_t fold(struct str *s)
{
	const unsigned char *p = (const unsigned char *)s->ptr;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	n = min_size(n, s->len);
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	*s = (struct str){s->ptr + n, s->len - n};
	if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
	    (c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f))
		return c + 32;
	return c >= 0x400 && c <= 0x40f ? c + 80 : c;
}

/* Does text begin with want? *ret_rest: what is left of text. */
static bool begins_nocase(struct str text, struct str want, struct str *ret_rest)
{
	while (want.len) {
		if (!text.len || fold(&text) != fold(&want))
			return false;
	}
	*ret_rest = text;
	return true;
}

static bool equals_nocase(struct str text, struct str want)
{
	struct str rest;

	return begins_nocase(text, want, &rest) && !rest.len;
}

static size_t code_points(struct str s)
{
	return utf8_count(s);
}

static bool ends_nocase(struct str text, struct str want)
{
	size_t have = code_points(text), need = code_points(want);

	if (have < need)
		return false;
	for (size_t i = need; i < have; i++)
		(void)fold(&text);
	return equals_nocase(text, want);
}

/* One piece of a wildcard between two stars, its escapes undone in `out`. Returns whether a star
 * follows it. */
static bool next_piece(struct str *pattern, char *out, size_t *ret_len)
{
	size_t i = 0, n = 0;

	while (i < pattern->len && pattern->ptr[i] != '*') {
		if (pattern->ptr[i] == '\\' && i + 1 < pattern->len)
			i++;
		out[n++] = pattern->ptr[i++];
	}
	*ret_len = n;
	if (i == pattern->len) {
		*pattern = STR_NULL;
		return false;
	}
	*pattern = (struct str){pattern->ptr + i + 1, pattern->len - i - 1};
	return true;
}

/* Pieces are found one after the other, the first and the last at the ends: linear, as memmem()
 * is. */
static bool matches_wildcard(struct str text, struct str pattern)
{
	_cleanup_free_ char *piece = xmalloc(pattern.len + 1);
	size_t len;
	bool more = next_piece(&pattern, piece, &len);

	if (text.len < len || memcmp(text.ptr, piece, len) != 0)
		return false;
	if (!more)
		return text.len == len;
	text = (struct str){text.ptr + len, text.len - len};
	for (;;) {
		const char *at;

		more = next_piece(&pattern, piece, &len);
		if (!more)
			return text.len >= len &&
			       memcmp(text.ptr + text.len - len, piece, len) == 0;
		at = memmem(text.ptr, text.len, piece, len);
		if (!at)
			return false;
		at += len;
		text = (struct str){at, (size_t)(text.ptr + text.len - at)};
	}
}

static bool matches_text(const struct event_text *x, struct str s)
{
	struct str want = {x->text, x->len}, rest;

	switch (x->kind) {
	case TEXT_EXACT: return str_eq(s, want);
	case TEXT_PREFIX: return s.len >= want.len && memcmp(s.ptr, want.ptr, want.len) == 0;
	case TEXT_SUFFIX:
		return s.len >= want.len &&
		       memcmp(s.ptr + s.len - want.len, want.ptr, want.len) == 0;
	case TEXT_NOCASE: return equals_nocase(s, want);
	case TEXT_PREFIX_NOCASE: return begins_nocase(s, want, &rest);
	case TEXT_SUFFIX_NOCASE: return ends_nocase(s, want);
	case TEXT_WILDCARD: return matches_wildcard(s, want);
	}
	return false;
}

static struct str text_of(const json_t *v)
{
	return (struct str){json_string_value(v), json_string_length(v)};
}

static bool any_text(const struct event_test *t, const json_t *v)
{
	if (!json_is_string(v))
		return false;
	for (size_t i = 0; i < t->text_count; i++)
		if (matches_text(&t->texts[i], text_of(v)))
			return true;
	return false;
}

/* ---- numbers and addresses ---- */

static bool any_number(const struct event_test *t, const json_t *v)
{
	struct event_number n;

	if (!json_is_number(v))
		return false;
	n = event_number(v);
	for (size_t i = 0; i < t->number_count; i++)
		if (numbers_equal(&t->numbers[i], &n))
			return true;
	return false;
}

static bool in_range(const struct event_test *t, const json_t *v)
{
	double n;

	if (!json_is_number(v))
		return false;
	n = json_number_value(v);
	return (t->low_open ? n > t->low : n >= t->low) &&
	       (t->high_open ? n < t->high : n <= t->high);
}

static bool in_network(const struct event_test *t, const json_t *v)
{
	uint8_t address[16];
	unsigned whole = t->bits / 8, rest = t->bits % 8;

	if (!json_is_string(v) || inet_pton(t->family, json_string_value(v), address) != 1)
		return false;
	if (memcmp(address, t->address, whole) != 0)
		return false;
	return !rest || (address[whole] ^ t->address[whole]) >> (8 - rest) == 0;
}

/* ---- values ---- */

static bool matches_scalar(const struct event_test *t, const json_t *v)
{
	switch (t->op) {
	case EVENT_NULL: return json_is_null(v);
	case EVENT_TRUE: return json_is_true(v);
	case EVENT_FALSE: return json_is_false(v);
	case EVENT_NUMBER: return any_number(t, v);
	case EVENT_TEXTS: return any_text(t, v);
	case EVENT_EXCEPT: return !any_text(t, v) && !any_number(t, v);
	case EVENT_NUMERIC: return in_range(t, v);
	case EVENT_CIDR: return in_network(t, v);
	case EVENT_EXISTS: return t->exists;
	}
	return false;
}

/* Lists count by their elements, objects not at all: only leaves exist. */
static bool any_scalar(const json_t *v, const struct event_test *t)
{
	const json_t *item;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			if (any_scalar(item, t))
				return true;
		}
		return false;
	}
	if (!v || json_is_object(v))
		return false;
	return !t || matches_scalar(t, v);
}

static bool matches_tests(const struct event_field *f, const json_t *v)
{
	for (size_t i = 0; i < f->test_count; i++) {
		const struct event_test *t = &f->tests[i];

		if (t->op == EVENT_EXISTS) {
			if (any_scalar(v, NULL) == t->exists)
				return true;
		} else if (any_scalar(v, t)) {
			return true;
		}
	}
	return false;
}

static bool matches_group(const struct event_group *g, const json_t *doc);

/* One object of a list is enough, but it has to match as a whole. */
static bool matches_below(const struct event_group *g, const json_t *v)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(v) || !json_array_size(v))
		return matches_group(g, v);
	json_array_foreach(v, i, item)
	{
		if (matches_below(g, item))
			return true;
	}
	return false;
}

static bool matches_field(const struct event_field *f, const json_t *doc)
{
	if (f->either) {
		for (size_t i = 0; i < f->group_count; i++)
			if (matches_group(&f->groups[i], doc))
				return true;
		return false;
	}
	doc = json_object_get(doc, f->name);
	return f->test_count ? matches_tests(f, doc) : matches_below(&f->groups[0], doc);
}

/* A doc that is no object has no members: only {"exists":false} can match there. */
static bool matches_group(const struct event_group *g, const json_t *doc)
{
	for (size_t i = 0; i < g->field_count; i++)
		if (!matches_field(&g->fields[i], doc))
			return false;
	return true;
}

bool event_pattern_matches(const struct event_pattern *p, const json_t *event)
{
	return matches_group(&p->root, event);
}
