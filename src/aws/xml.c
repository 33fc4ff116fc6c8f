/* Output structures into the XML of the query protocol, by table. Pure. */
#include "aws/aws_int.h"

#include "base/time.h"

static void value(struct buf *b, const struct aws_shape *s, const void *storage);

/* Length of the UTF-8 character at p when it may stand in XML 1.0, else 0. */
static size_t xml_char(const unsigned char *p, size_t left)
{
	size_t len = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;

	if (*p < 0x20)
		return *p == '\t' || *p == '\n' ? 1 : 0;
	if (len > left || !utf8_valid((struct str){(const char *)p, len}))
		return 0;
	if (len == 3 && p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE)
		return 0; /* U+FFFE, U+FFFF */
	return len;
}

void aws_xml_escape(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.ptr, *end = p + s.len;

	while (p < end) {
		size_t len = xml_char(p, (size_t)(end - p));

		switch (*p) {
		case '&': buf_puts(b, "&amp;"); break;
		case '<': buf_puts(b, "&lt;"); break;
		case '>': buf_puts(b, "&gt;"); break;
		case '"': buf_puts(b, "&quot;"); break;
		case '\r': buf_puts(b, "&#xD;"); break;
		default:
			if (len)
				buf_append(b, p, len);
			else
				buf_puts(b, "\xEF\xBF\xBD");
		}
		p += max_size(len, 1);
	}
}

static void element(struct buf *b, const char *name, const struct aws_shape *s, const void *storage)
{
	buf_printf(b, "<%s>", name);
	value(b, s, storage);
	buf_printf(b, "</%s>", name);
}

static void members(struct buf *b, const struct aws_shape *s, const void *storage)
{
	for (unsigned i = 0; i < s->field_count; i++) {
		const void *member = aws_member(&s->fields[i], storage);

		if (member)
			element(b, s->fields[i].wire, s->fields[i].shape, member);
	}
}

static void items(struct buf *b, const struct aws_shape *s, const struct aws_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const char *item = aws_item(s, l, i);

		if (s->type == AWS_LIST) {
			element(b, "member", s->value, item);
			continue;
		}
		buf_puts(b, "<entry>");
		element(b, "key", s->key, item);
		element(b, "value", s->value, item + s->value_offset);
		buf_puts(b, "</entry>");
	}
}

static void blob(struct buf *b, const struct str *s)
{
	char *out = buf_reserve(b, BASE64_ENCODED_SIZE(s->len));

	buf_commit(b, base64_encode(s->ptr, s->len, out));
}

static void value(struct buf *b, const struct aws_shape *s, const void *storage)
{
	char date[TIME_ISO_SIZE];

	switch (s->type) {
	case AWS_STRING: aws_xml_escape(b, str_from(*(const char *const *)storage)); break;
	case AWS_INTEGER:
	case AWS_LONG: buf_printf(b, "%" PRId64, *(const int64_t *)storage); break;
	case AWS_BOOLEAN: buf_puts(b, *(const bool *)storage ? "true" : "false"); break;
	case AWS_DOUBLE: aws_encode_double(b, *(const double *)storage); break;
	case AWS_TIMESTAMP:
		time_format_iso(*(const int64_t *)storage, date);
		buf_puts(b, date);
		break;
	case AWS_BLOB: blob(b, storage); break;
	case AWS_STRUCTURE: members(b, s, storage); break;
	default: items(b, s, storage); break;
	}
}

void aws_encode_xml(struct buf *b, const struct aws_service *s, const struct aws_op *op,
    const void *out, const char *request_id)
{
	buf_printf(b, "<%sResponse xmlns=\"%s\">", op->name, s->xmlns ? s->xmlns : "");
	if (op->wrapper)
		buf_printf(b, "<%s>", op->wrapper);
	if (op->out)
		members(b, op->out, out);
	if (op->wrapper)
		buf_printf(b, "</%s>", op->wrapper);
	buf_printf(b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>",
	    request_id, op->name);
}
