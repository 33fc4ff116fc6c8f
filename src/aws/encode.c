/* Output structures into JSON, by table. Members that travel in headers or the status are left to
 * reply.c. Pure. */
#include "aws/aws_int.h"

#include <math.h>
#include <stdio.h>

void aws_encode_timestamp(struct buf *b, int64_t wall_ms)
{
	int64_t s = wall_ms / 1000, ms = wall_ms % 1000;

	if (ms < 0) {
		ms += 1000;
		s--;
	}
	if (s < 0 && ms) { /* -1.5 s is floor -2 and 500 ms */
		buf_printf(b, "%.3f", (double)wall_ms / 1000);
		return;
	}
	buf_printf(b, "%" PRId64, s);
	if (ms)
		buf_printf(b, ".%03" PRId64, ms);
}

/* Shortest text that reads back as the same number, always with a sign of being one. */
void aws_encode_double(struct buf *b, double v)
{
	char text[32];

	if (!isfinite(v))
		v = 0; /* JSON has no word for it */
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_puts(b, text);
	if (!strpbrk(text, ".e"))
		buf_puts(b, ".0");
}

static void encode_blob(struct buf *b, const struct str *s)
{
	char *out;

	buf_putc(b, '"');
	out = buf_reserve(b, BASE64_ENCODED_SIZE(s->len));
	buf_commit(b, base64_encode(s->ptr, s->len, out));
	buf_putc(b, '"');
}

static void encode_structure(struct buf *b, const struct aws_shape *s, const void *storage)
{
	bool first = true;

	buf_putc(b, '{');
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		const void *member = aws_member(f, storage);

		if (!member || f->location != AWS_IN_BODY || (f->shape->flags & AWS_EVENTSTREAM))
			continue;
		if (!first)
			buf_putc(b, ',');
		first = false;
		buf_putc(b, '"');
		buf_puts(b, f->wire);
		buf_append(b, "\":", 2);
		aws_encode_json(b, f->shape, member);
	}
	buf_putc(b, '}');
}

static void encode_items(struct buf *b, const struct aws_shape *s, const struct aws_list *l)
{
	bool map = s->type == AWS_MAP;

	buf_putc(b, map ? '{' : '[');
	for (size_t i = 0; i < l->count; i++) {
		const char *item = aws_item(s, l, i);

		if (i)
			buf_putc(b, ',');
		if (map) {
			buf_json_string(b, str_from(*(const char *const *)(const void *)item));
			buf_putc(b, ':');
		}
		aws_encode_json(b, s->value, item + s->value_offset);
	}
	buf_putc(b, map ? '}' : ']');
}

void aws_encode_json(struct buf *b, const struct aws_shape *s, const void *storage)
{
	switch (s->type) {
	case AWS_STRING: buf_json_string(b, str_from(*(const char *const *)storage)); break;
	case AWS_INTEGER:
	case AWS_LONG: buf_printf(b, "%" PRId64, *(const int64_t *)storage); break;
	case AWS_BOOLEAN: buf_puts(b, *(const bool *)storage ? "true" : "false"); break;
	case AWS_DOUBLE: aws_encode_double(b, *(const double *)storage); break;
	case AWS_TIMESTAMP: aws_encode_timestamp(b, *(const int64_t *)storage); break;
	case AWS_BLOB: encode_blob(b, storage); break;
	case AWS_STRUCTURE: encode_structure(b, s, storage); break;
	default: encode_items(b, s, storage); break;
	}
}
