/*
 * Members that travel as text: labels of the URI, query string, headers, and the forms of the
 * query protocol ("Tags.member.1.Key=x"). Parameters are sorted once, so that "is there anything
 * below this prefix" is a binary search and a list costs what it holds.
 */
#include "aws/aws_int.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/time.h"

#define PREFIX_MAX 512

static int bad_value(struct err *e, const char *text, const char *wanted)
{
	return fail(e, AWS_SERIALIZATION, "'%.100s' can not be converted to %s", text, wanted);
}

static int whole_number(const struct aws_shape *s, const char *text, int64_t *ret, struct err *e)
{
	bool small = s->type == AWS_INTEGER;

	if (!str_to_int64(
		str_from(text), small ? INT32_MIN : INT64_MIN, small ? INT32_MAX : INT64_MAX, ret))
		return bad_value(e, text, small ? "an Integer" : "a Long");
	return 0;
}

static int real_number(const char *text, double *ret, struct err *e)
{
	char *end;
	double v = strtod(text, &end);

	if (*text == '\0' || *end || !(v > -1e300 && v < 1e300))
		return bad_value(e, text, "a Double");
	*ret = v;
	return 0;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool http_date(const char *text, int64_t *ret)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	unsigned day, year, hour, minute, second;
	char month[4], iso[TIME_ISO_SIZE], rest;
	const char *at;

	if (sscanf(text, "%*3[A-Za-z], %2u %3[A-Za-z] %4u %2u:%2u:%2u GMT%c", &day, month, &year,
		&hour, &minute, &second, &rest) != 6)
		return false;
	at = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (!at || (at - months) % 3)
		return false;
	snprintf(iso, sizeof(iso), "%04u-%02u-%02uT%02u:%02u:%02uZ", year,
	    (unsigned)(at - months) / 3 + 1, day, hour, minute, second);
	return time_parse_iso(str_from(iso), ret);
}

static int date(const char *text, int64_t *ret, struct err *e)
{
	double seconds;

	if (time_parse_iso(str_from(text), ret) || http_date(text, ret))
		return 0;
	if (real_number(text, &seconds, e) < 0 || !(seconds > -1e12 && seconds < 1e12))
		return bad_value(e, text, "a Timestamp");
	*ret = (int64_t)(seconds * 1000);
	return 0;
}

/* In headers botocore writes them as Python does: True. */
static int truth(const char *text, bool *ret, struct err *e)
{
	if (strcasecmp(text, "true") && strcasecmp(text, "false"))
		return bad_value(e, text, "a Boolean");
	*ret = tolower((unsigned char)text[0]) == 't';
	return 0;
}

static int bytes(struct arena *a, const char *text, struct str *ret, struct err *e)
{
	struct str in = str_from(text);
	char *mem = arena_alloc(a, in.len / 4 * 3 + 1);
	ssize_t len = base64_decode(in, mem);

	if (len < 0)
		return fail(e, AWS_SERIALIZATION, "Blob is not valid base64");
	*ret = (struct str){mem, (size_t)len};
	return 0;
}

int aws_scalar(
    struct arena *a, const struct aws_shape *s, const char *text, void *storage, struct err *e)
{
	switch (s->type) {
	case AWS_STRING: *(const char **)storage = text; return 0;
	case AWS_INTEGER:
	case AWS_LONG: return whole_number(s, text, storage, e);
	case AWS_BOOLEAN: return truth(text, storage, e);
	case AWS_DOUBLE: return real_number(text, storage, e);
	case AWS_TIMESTAMP: return date(text, storage, e);
	case AWS_BLOB: return bytes(a, text, storage, e);
	default: return fail(e, AWS_SERIALIZATION, "Unexpected text");
	}
}

/* ---- parameters ---- */

/* Decoded, NUL-terminated, or NULL: broken escape, NUL inside, not UTF-8. */
static const char *decode_text(struct arena *a, struct str s, bool plus)
{
	char *out = arena_alloc(a, s.len + 1);
	ssize_t len = url_decode(s, plus, out);

	if (len < 0 || memchr(out, '\0', (size_t)len))
		return NULL;
	out[len] = '\0';
	return utf8_valid((struct str){out, (size_t)len}) ? out : NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct aws_param *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	/* Stable for repeated names (tagKeys=a&tagKeys=b): values were decoded in order. */
	return r ? r : (x->value > y->value) - (x->value < y->value);
}

static size_t count_params(struct str s)
{
	size_t count = 0;

	for (size_t i = 0; i < s.len; i++)
		count += s.ptr[i] == '&';
	return s.len ? count + 1 : 0;
}

static int add_params(
    struct arena *a, struct str s, char **mem, struct aws_params *p, struct err *e)
{
	while (s.len) {
		struct str rest = str_cut(&s, '&'), name = str_cut(&rest, '=');
		const char *n, *v;

		if (name.len == 0)
			continue;
		n = decode_text(a, name, true);
		v = decode_text(a, rest, true);
		if (!n || !v)
			return fail(e, AWS_SERIALIZATION,
			    "The request has a parameter that is not percent-encoded UTF-8");
		/* One run of memory for the values keeps by_name() stable. */
		p->items[p->count].name = n;
		p->items[p->count].value = memcpy(*mem, v, strlen(v) + 1);
		*mem += strlen(v) + 1;
		p->count++;
	}
	return 0;
}

int aws_params_parse(
    struct arena *a, struct str query, struct str body, struct aws_params *ret, struct err *e)
{
	size_t count = count_params(query) + count_params(body);
	struct aws_params p = {0};
	char *mem;
	int r;

	if (count > AWS_PARAMS_MAX)
		return fail(e, AWS_SERIALIZATION,
		    "The request has more than %d parameters: send fewer in one request",
		    AWS_PARAMS_MAX);
	p.items = arena_array(a, count + 1, struct aws_param);
	mem = arena_alloc(a, query.len + body.len + count + 1);
	r = add_params(a, query, &mem, &p, e);
	if (r == 0)
		r = add_params(a, body, &mem, &p, e);
	if (r < 0)
		return r;
	qsort(p.items, p.count, sizeof(*p.items), by_name);
	*ret = p;
	return 0;
}

/* First parameter whose name is not below `name`. */
static size_t lower_bound(const struct aws_params *p, const char *name)
{
	size_t lo = 0, hi = p->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(p->items[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const char *aws_params_get(const struct aws_params *p, const char *name)
{
	size_t i = lower_bound(p, name);

	return i < p->count && strcmp(p->items[i].name, name) == 0 ? p->items[i].value : NULL;
}

/* Is there a parameter of this name, or of one below it ("name.…")? */
static bool present(const struct aws_params *p, const char *name)
{
	char below[PREFIX_MAX];
	size_t i;

	if (aws_params_get(p, name))
		return true;
	snprintf(below, sizeof(below), "%s.", name);
	i = lower_bound(p, below);
	return i < p->count && strncmp(p->items[i].name, below, strlen(below)) == 0;
}

/* ---- the query protocol ---- */

struct query {
	struct arena *arena;
	const struct aws_params *params;
	struct err *e;
	unsigned depth;
};

static int value(struct query *q, const struct aws_shape *s, const char *name, void *storage);

static int join(struct query *q, char out[PREFIX_MAX], const char *prefix, const char *name)
{
	int n = snprintf(out, PREFIX_MAX, "%s%s%s", prefix, *prefix ? "." : "", name);

	if (n < 0 || n >= PREFIX_MAX)
		return fail(q->e, AWS_SERIALIZATION, "A parameter name is too long");
	return 0;
}

static int structure(struct query *q, const struct aws_shape *s, const char *prefix, void *storage)
{
	char name[PREFIX_MAX];

	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		int r = join(q, name, prefix, f->xml);

		if (r == 0 && present(q->params, name))
			r = value(q, f->shape, name, aws_make_member(q->arena, f, storage));
		if (r < 0)
			return r;
	}
	return 0;
}

/* How many of name.1, name.2 … are there, without a gap. */
static size_t count_items(struct query *q, const char *prefix)
{
	char name[PREFIX_MAX];
	size_t count = 0;

	for (;;) {
		int n = snprintf(name, sizeof(name), "%s.%zu", prefix, count + 1);

		if (n < 0 || (size_t)n >= sizeof(name) || !present(q->params, name))
			return count;
		count++;
	}
}

/* A flattened list is named after its items, so that its own name is that of each. */
static int list(struct query *q, const struct aws_shape *s, const char *prefix, void *storage)
{
	struct aws_list *l = storage;
	char items_name[PREFIX_MAX], name[PREFIX_MAX], number[24];
	size_t count;
	char *items;
	int r = join(q, items_name, prefix, s->value_name);

	if (r < 0)
		return r;
	if (!present(q->params, items_name))
		snprintf(items_name, sizeof(items_name), "%s", prefix); /* flattened */
	count = count_items(q, items_name);
	items = arena_alloc(q->arena, max_size(count * s->stride, 1));
	for (size_t i = 0; i < count; i++) {
		snprintf(number, sizeof(number), "%zu", i + 1);
		r = join(q, name, items_name, number);
		if (r == 0)
			r = value(q, s->value, name, items + i * s->stride);
		if (r < 0)
			return r;
	}
	*l = (struct aws_list){count, items};
	return 0;
}

static int map_entry(struct query *q, const struct aws_shape *s, const char *prefix, char *entry)
{
	char name[PREFIX_MAX];
	const char *key;
	int r = join(q, name, prefix, s->key_name);

	if (r < 0)
		return r;
	key = aws_params_get(q->params, name);
	if (!key)
		return fail(q->e, AWS_SERIALIZATION, "Parameter %.100s is missing", name);
	*(const char **)(void *)entry = key;
	r = join(q, name, prefix, s->value_name);
	if (r < 0)
		return r;
	if (!present(q->params, name))
		return fail(q->e, AWS_SERIALIZATION, "Parameter %.100s is missing", name);
	return value(q, s->value, name, entry + s->value_offset);
}

static int map(struct query *q, const struct aws_shape *s, const char *prefix, void *storage)
{
	struct aws_list *l = storage;
	char items_name[PREFIX_MAX], name[PREFIX_MAX], number[24];
	size_t count;
	char *entries;
	int r = join(q, items_name, prefix, "entry");

	if (r < 0)
		return r;
	if (!present(q->params, items_name))
		snprintf(items_name, sizeof(items_name), "%s", prefix); /* flattened */
	count = count_items(q, items_name);
	entries = arena_alloc(q->arena, max_size(count * s->stride, 1));
	for (size_t i = 0; i < count; i++) {
		snprintf(number, sizeof(number), "%zu", i + 1);
		r = join(q, name, items_name, number);
		if (r == 0)
			r = map_entry(q, s, name, entries + i * s->stride);
		if (r < 0)
			return r;
	}
	*l = (struct aws_list){count, entries};
	return 0;
}

static int value(struct query *q, const struct aws_shape *s, const char *name, void *storage)
{
	const char *text;
	int r;

	if (q->depth == AWS_DEPTH_MAX)
		return fail(q->e, AWS_SERIALIZATION, "Values are nested too deep");
	q->depth++;
	switch (s->type) {
	case AWS_STRUCTURE: r = structure(q, s, name, storage); break;
	case AWS_LIST: r = list(q, s, name, storage); break;
	case AWS_MAP: r = map(q, s, name, storage); break;
	default:
		text = aws_params_get(q->params, name);
		r = text ? aws_scalar(q->arena, s, text, storage, q->e)
			 : fail(q->e, AWS_SERIALIZATION, "Parameter %.100s has no value", name);
	}
	q->depth--;
	return r;
}

int aws_decode_query(struct arena *a, const struct aws_shape *in, const struct aws_params *p,
    void *storage, struct err *e)
{
	struct query q = {a, p, e, 0};

	return structure(&q, in, "", storage);
}

/* ---- the REST protocols: URI, query string, headers ---- */

static int from_label(struct arena *a, const struct aws_field *f, const struct aws_route *route,
    void *storage, struct err *e)
{
	for (size_t i = 0; i < route->label_count; i++) {
		const char *text;

		if (!str_is(route->labels[i].name, f->wire))
			continue;
		text = decode_text(a, route->labels[i].value, false);
		if (!text)
			return fail(e, AWS_BAD_URI, "The path is not percent-encoded UTF-8");
		return aws_scalar(a, f->shape, text, aws_make_member(a, f, storage), e);
	}
	return 0;
}

/* "ETag, Checksum" */
static int header_list(
    struct arena *a, const struct aws_shape *s, struct str v, void *storage, struct err *e)
{
	struct aws_list *l = storage;
	size_t count = 1;
	char *items;

	for (size_t i = 0; i < v.len; i++)
		count += v.ptr[i] == ',';
	items = arena_alloc(a, count * s->stride);
	*l = (struct aws_list){count, items};
	while (v.ptr) {
		struct str item = str_trim(str_cut(&v, ','));

		if (aws_scalar(a, s->value, arena_strndup(a, item.ptr, item.len), items, e) < 0)
			return -EINVAL;
		items += s->stride;
	}
	return 0;
}

/* HTTP has a condition ignored whose date it cannot read. */
static bool is_condition(const struct aws_field *f)
{
	return f->shape->type == AWS_TIMESTAMP && str_has_prefix(str_from(f->wire), "If-");
}

/* "aws-chunked,gzip": the engine takes the first away, so the word goes too. */
static struct str without_framing(struct str v)
{
	struct str rest = v, first = str_trim(str_cut(&rest, ','));

	if (!str_eq_nocase(first, STR("aws-chunked")))
		return v;
	return rest.ptr ? str_trim(rest) : STR_NULL;
}

static int from_header(struct arena *a, const struct aws_field *f, const struct http_request *r,
    void *storage, struct err *e)
{
	struct str v = http_header(r, f->wire);
	int64_t when;

	if (v.ptr && strcasecmp(f->wire, "Content-Encoding") == 0)
		v = without_framing(v);
	if (!v.ptr || (!v.len && f->shape->type != AWS_STRING))
		return 0;
	if (!utf8_valid(v))
		return fail(e, AWS_SERIALIZATION, "Header %s is not UTF-8", f->wire);
	if (is_condition(f) && date(arena_strndup(a, v.ptr, v.len), &when, e) < 0)
		return 0;
	if (f->shape->type == AWS_LIST)
		return header_list(a, f->shape, v, aws_make_member(a, f, storage), e);
	return aws_scalar(
	    a, f->shape, arena_strndup(a, v.ptr, v.len), aws_make_member(a, f, storage), e);
}

static bool below(struct str name, struct str prefix)
{
	return name.len > prefix.len && str_eq_nocase((struct str){name.ptr, prefix.len}, prefix);
}

/* Small letters, without the prefix. */
static const char *map_key(struct arena *a, struct str name, size_t prefix)
{
	char *key = arena_strndup(a, name.ptr + prefix, name.len - prefix);

	for (char *p = key; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	return key;
}

struct pair {
	const char *key, *value;
};

/* All headers that begin with the prefix, as a map of strings; a name sent twice has its values
 * joined. */
static int from_headers(struct arena *a, const struct aws_field *f, const struct http_request *r,
    void *storage, struct err *e)
{
	struct str prefix = str_from(f->wire);
	struct aws_list *l;
	struct pair *pairs;
	size_t count = 0;

	for (size_t i = 0; i < r->header_count; i++)
		count += below(r->headers[i].name, prefix);
	if (!count)
		return 0;
	check(f->shape->stride == sizeof(*pairs));
	pairs = arena_array(a, count, struct pair);
	l = aws_make_member(a, f, storage);
	*l = (struct aws_list){0, pairs};
	for (size_t i = 0; i < r->header_count; i++) {
		struct str name = r->headers[i].name, v = r->headers[i].value;
		const char *key;
		size_t at = 0;

		if (!below(name, prefix))
			continue;
		if (!utf8_valid(v))
			return fail(e, AWS_SERIALIZATION, "Header %.*s is not UTF-8",
			    (int)min_size(name.len, 100), name.ptr);
		key = map_key(a, name, prefix.len);
		while (at < l->count && strcmp(pairs[at].key, key))
			at++;
		if (at == l->count)
			pairs[l->count++] = (struct pair){key, arena_strndup(a, v.ptr, v.len)};
		else
			pairs[at].value = arena_printf(a, "%s,%.*s", pairs[at].value, STR_FMT(v));
	}
	return 0;
}

static int from_query(struct arena *a, const struct aws_field *f, const struct aws_params *p,
    void *storage, struct err *e)
{
	size_t first = lower_bound(p, f->wire), end = first;
	struct aws_list *l;
	char *items;

	while (end < p->count && strcmp(p->items[end].name, f->wire) == 0)
		end++;
	if (first == end)
		return 0;
	if (f->shape->type != AWS_LIST)
		return aws_scalar(
		    a, f->shape, p->items[first].value, aws_make_member(a, f, storage), e);
	l = aws_make_member(a, f, storage);
	items = arena_alloc(a, (end - first) * f->shape->stride);
	for (size_t i = first; i < end; i++) {
		int r = aws_scalar(a, f->shape->value, p->items[i].value,
		    items + (i - first) * f->shape->stride, e);

		if (r < 0)
			return r;
	}
	*l = (struct aws_list){end - first, items};
	return 0;
}

int aws_decode_http(struct arena *a, const struct aws_shape *in, const struct http_request *r,
    const struct aws_route *route, void *storage, struct err *e)
{
	struct aws_params p = {0};
	int result = aws_params_parse(a, r->query, STR_NULL, &p, e);

	if (result < 0 && route->protocol == AWS_REST_XML)
		return fail(e, AWS_BAD_URI, "%s", "Couldn't parse the specified URI.");

	for (unsigned i = 0; i < in->field_count && result == 0; i++) {
		const struct aws_field *f = &in->fields[i];

		switch (f->location) {
		case AWS_IN_URI: result = from_label(a, f, route, storage, e); break;
		case AWS_IN_QUERY: result = from_query(a, f, &p, storage, e); break;
		case AWS_IN_HEADER: result = from_header(a, f, r, storage, e); break;
		case AWS_IN_HEADERS: result = from_headers(a, f, r, storage, e); break;
		default: break;
		}
	}
	if (result < 0 && route->protocol == AWS_REST_XML && e->code == AWS_SERIALIZATION) {
		struct err why = *e;

		return fail(e, AWS_VALIDATION, "%s", why.msg); /* it is no XML that is malformed */
	}
	return result;
}
