/*
 * JSON bodies into typed structures, by table. Pure: reads a body, fills an arena, so that large
 * bodies can be decoded on a worker thread. Every byte is hostile: jansson refuses broken UTF-8,
 * NUL in strings and depth beyond 2,048; the number of values is bounded before it runs, because a
 * value costs it far more memory than it takes on the wire. Unknown members are ignored, null
 * means absent.
 */
#include <jansson.h>
#include <math.h>

#include "aws/aws_int.h"
#include "base/time.h"

struct decoder {
	struct arena *arena;
	struct err *e;
	unsigned depth;
};

void *aws_make_member(struct arena *a, const struct aws_field *f, void *structure)
{
	void **slot = aws_slot(f, structure);

	if (f->shape->type == AWS_STRING)
		return slot;
	*slot = arena_alloc(a, max_size(f->shape->size, 1));
	return *slot;
}

static int value(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage);

static const char *token_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING: return "STRING_VALUE";
	case JSON_TRUE: return "TRUE_VALUE";
	case JSON_FALSE: return "FALSE_VALUE";
	default: return "NUMBER_VALUE";
	}
}

/* The type of a value is wrong: AWS's words for it. */
static int mismatch(struct decoder *d, const json_t *v, const char *wanted)
{
	if (json_is_object(v))
		return fail(
		    d->e, AWS_SERIALIZATION, "Start of structure or map found where not expected.");
	if (json_is_array(v))
		return fail(d->e, AWS_SERIALIZATION, "Start of list found where not expected");
	return fail(
	    d->e, AWS_SERIALIZATION, "%s can not be converted to %s", token_name(v), wanted);
}

static int string(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	(void)s;
	if (!json_is_string(v))
		return mismatch(d, v, "a String");
	*(const char **)storage =
	    arena_strndup(d->arena, json_string_value(v), json_string_length(v));
	return 0;
}

static int integer(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	const char *wanted = s->type == AWS_LONG ? "a Long" : "an Integer";
	int64_t n;

	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (json_is_real(v) && fabs(json_real_value(v)) < 9e15)
		n = (int64_t)json_real_value(v);
	else
		return mismatch(d, v, wanted);
	if (s->type == AWS_INTEGER && (n < INT32_MIN || n > INT32_MAX))
		return mismatch(d, v, wanted);
	*(int64_t *)storage = n;
	return 0;
}

static int boolean(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	(void)s;
	if (!json_is_boolean(v))
		return mismatch(d, v, "a Boolean");
	*(bool *)storage = json_is_true(v);
	return 0;
}

static int real(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	(void)s;
	if (!json_is_number(v))
		return mismatch(d, v, "a Double");
	*(double *)storage = json_number_value(v);
	return 0;
}

/* Epoch seconds as a number, or a date as ISO 8601 text. */
static int timestamp(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	struct str text = {json_string_value(v), json_string_length(v)};

	(void)s;
	if (json_is_string(v) && time_parse_iso(text, storage))
		return 0;
	if (!json_is_number(v) || !(fabs(json_number_value(v)) < 1e12))
		return mismatch(d, v, "a Timestamp");
	*(int64_t *)storage = llround(json_number_value(v) * 1000);
	return 0;
}

static int blob(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	struct str text = {json_string_value(v), json_string_length(v)};
	struct str *ret = storage;
	ssize_t len;
	char *mem;

	(void)s;
	if (!json_is_string(v))
		return mismatch(d, v, "a Blob");
	mem = arena_alloc(d->arena, text.len / 4 * 3 + 1);
	len = base64_decode(text, mem);
	if (len < 0)
		return fail(d->e, AWS_SERIALIZATION, "Blob is not valid base64");
	*ret = (struct str){mem, (size_t)len};
	return 0;
}

static int structure(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	if (!json_is_object(v))
		return json_is_array(v) ? mismatch(d, v, "")
					: fail(d->e, AWS_SERIALIZATION, "Unexpected field type");
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		const json_t *member;
		int r;

		if (f->location != AWS_IN_BODY || (f->shape->flags & AWS_EVENTSTREAM))
			continue;
		member = json_object_get(v, f->wire);
		if (!member || json_is_null(member))
			continue;
		r = value(d, f->shape, member, aws_make_member(d->arena, f, storage));
		if (r < 0)
			return r;
	}
	return 0;
}

static int list(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	struct aws_list *l = storage;
	size_t count = 0;
	char *items;

	if (!json_is_array(v))
		return json_is_object(v) ? mismatch(d, v, "")
					 : fail(d->e, AWS_SERIALIZATION, "Expected list or null");
	items = arena_alloc(d->arena, max_size(json_array_size(v) * s->stride, 1));
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *item = json_array_get(v, i);
		int r;

		if (json_is_null(item))
			continue;
		r = value(d, s->value, item, items + count * s->stride);
		if (r < 0)
			return r;
		count++;
	}
	*l = (struct aws_list){count, items};
	return 0;
}

static int map(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	struct aws_list *l = storage;
	size_t count = 0;
	const char *key;
	char *entries;
	json_t *item;

	if (!json_is_object(v))
		return json_is_array(v) ? mismatch(d, v, "")
					: fail(d->e, AWS_SERIALIZATION, "Expected map or null");
	entries = arena_alloc(d->arena, max_size(json_object_size(v) * s->stride, 1));
	json_object_foreach((json_t *)(uintptr_t)v, key, item)
	{
		char *entry = entries + count * s->stride;
		int r;

		if (json_is_null(item))
			continue;
		*(const char **)(void *)entry = arena_strdup(d->arena, key);
		r = value(d, s->value, item, entry + s->value_offset);
		if (r < 0)
			return r;
		count++;
	}
	*l = (struct aws_list){count, entries};
	return 0;
}

static int value(struct decoder *d, const struct aws_shape *s, const json_t *v, void *storage)
{
	static int (*const by_type[])(
	    struct decoder *, const struct aws_shape *, const json_t *, void *) = {
	    [AWS_STRING] = string,
	    [AWS_INTEGER] = integer,
	    [AWS_LONG] = integer,
	    [AWS_BOOLEAN] = boolean,
	    [AWS_DOUBLE] = real,
	    [AWS_TIMESTAMP] = timestamp,
	    [AWS_BLOB] = blob,
	    [AWS_STRUCTURE] = structure,
	    [AWS_LIST] = list,
	    [AWS_MAP] = map,
	};
	int r;

	if (d->depth == AWS_DEPTH_MAX)
		return fail(d->e, AWS_SERIALIZATION, "Values are nested too deep");
	d->depth++;
	r = by_type[s->type](d, s, v, storage);
	d->depth--;
	return r;
}

/* Upper bound of the number of JSON values, without building them. */
static size_t count_tokens(struct str body)
{
	const char *p = body.ptr, *end = p + body.len;
	size_t count = 1;

	while (p < end) {
		char c = *p++;

		if (c == ',' || c == '[' || c == '{') {
			count++;
		} else if (c == '"') {
			while (p < end && *p != '"')
				p += *p == '\\' ? 2 : 1;
			p++;
		}
	}
	return count;
}

static void json_free(json_t **v)
{
	json_decref(*v);
}

int aws_decode_json(
    struct arena *a, const struct aws_shape *in, struct str body, void *storage, struct err *e)
{
	const struct aws_field *payload = aws_payload(in);
	__attribute__((cleanup(json_free))) json_t *v = NULL;
	struct decoder d = {a, e, 0};
	json_error_t error;

	if (payload && payload->shape->type == AWS_BLOB) {
		if (body.len > 0)
			*(struct str *)aws_make_member(a, payload, storage) = body;
		return 0;
	}
	if (str_trim(body).len == 0)
		return 0;
	if (count_tokens(body) > AWS_TOKENS_MAX)
		return fail(e, AWS_SERIALIZATION,
		    "The body has more than %d values: send fewer in one request", AWS_TOKENS_MAX);
	v = json_loadb(body.ptr, body.len, JSON_DECODE_ANY, &error);
	if (!v)
		return fail(e, AWS_SERIALIZATION,
		    "Could not parse request body into json: %s (line %d, column %d)", error.text,
		    error.line, error.column);
	if (payload)
		return value(&d, payload->shape, v, aws_make_member(a, payload, storage));
	return value(&d, in, v, storage);
}
