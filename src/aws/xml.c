/* Output structures into the XML of rest-xml and of the query protocol, by table. Pure. */
#include "aws/aws_int.h"

#include "base/time.h"

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

struct writer {
	struct buf *b;
	bool rest; /* rest-xml: milliseconds in times, control characters as references */
};

static void value(struct writer *w, const struct aws_shape *s, const void *storage);

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

/* What XML has no place for: as a reference, as S3 does with the control characters of keys, or
 * replaced. Returns the length of what was read. */
static size_t odd_char(struct buf *b, const unsigned char *p, size_t left, bool references)
{
	size_t len = *p < 0x80 ? 1 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : 4;

	if (references && *p < 0x20) {
		buf_printf(b, "&#x%X;", *p);
		return 1;
	}
	if (references && len == 3 && left >= 3 && utf8_valid((struct str){(const char *)p, 3})) {
		buf_printf(
		    b, "&#x%X;", (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu));
		return 3;
	}
	buf_puts(b, "\xEF\xBF\xBD");
	return 1;
}

/* Most texts need no escape, so take what needs none at a stroke. */
static size_t plain_run(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *start = p;

	while (
	    p < end && *p >= ' ' && *p < 0x7F && *p != '&' && *p != '<' && *p != '>' && *p != '"')
		p++;
	return (size_t)(p - start);
}

static void escape(struct buf *b, struct str s, bool references)
{
	const unsigned char *p = (const unsigned char *)s.ptr, *end = p + s.len;

	while (p < end) {
		size_t len = plain_run(p, end);

		buf_append(b, p, len);
		p += len;
		if (p == end)
			return;
		len = xml_char(p, (size_t)(end - p));
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
				len = odd_char(b, p, (size_t)(end - p), references);
		}
		p += max_size(len, 1);
	}
}

void aws_xml_escape(struct buf *b, struct str s)
{
	escape(b, s, false);
}

static void start_tag(struct buf *b, const char *name)
{
	buf_putc(b, '<');
	buf_puts(b, name);
}

static void end_tag(struct buf *b, const char *name)
{
	buf_append(b, "</", 2);
	buf_puts(b, name);
	buf_putc(b, '>');
}

static void attributes(struct writer *w, const struct aws_shape *s, const void *storage)
{
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		const void *member = aws_member(f, storage);

		if (!(f->flags & AWS_FIELD_ATTRIBUTE) || !member)
			continue;
		if (str_has_prefix(str_from(f->xml), "xsi:"))
			buf_puts(w->b, " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
		buf_printf(w->b, " %s=\"", f->xml);
		value(w, f->shape, member);
		buf_putc(w->b, '"');
	}
}

static void element(
    struct writer *w, const char *name, const struct aws_shape *s, const void *storage)
{
	start_tag(w->b, name);
	if (s->type == AWS_STRUCTURE)
		attributes(w, s, storage);
	buf_putc(w->b, '>');
	value(w, s, storage);
	end_tag(w->b, name);
}

static void items(
    struct writer *w, const struct aws_shape *s, const char *name, const struct aws_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const char *item = aws_item(s, l, i);

		if (s->type == AWS_LIST) {
			element(w, name, s->value, item);
			continue;
		}
		start_tag(w->b, name);
		buf_putc(w->b, '>');
		element(w, s->key_name, s->key, item);
		element(w, s->value_name, s->value, item + s->value_offset);
		end_tag(w->b, name);
	}
}

static void members(struct writer *w, const struct aws_shape *s, const void *storage)
{
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		const void *member = aws_member(f, storage);

		if (!member || f->location != AWS_IN_BODY || (f->flags & AWS_FIELD_ATTRIBUTE))
			continue;
		if (f->flags & AWS_FIELD_FLATTENED)
			items(w, f->shape, f->xml, member);
		else
			element(w, f->xml, f->shape, member);
	}
}

static void blob(struct buf *b, const struct str *s)
{
	char *out = buf_reserve(b, BASE64_ENCODED_SIZE(s->len));

	buf_commit(b, base64_encode(s->ptr, s->len, out));
}

static void timestamp(struct writer *w, const struct aws_shape *s, int64_t wall_ms)
{
	char date[TIME_ISO_SIZE];

	if (s->flags & AWS_HTTP_TIME)
		time_format_http(wall_ms, date);
	else if (w->rest)
		time_format_iso_ms(wall_ms, date);
	else
		time_format_iso(wall_ms, date);
	buf_puts(w->b, date);
}

static void value(struct writer *w, const struct aws_shape *s, const void *storage)
{
	switch (s->type) {
	case AWS_STRING: escape(w->b, str_from(*(const char *const *)storage), w->rest); break;
	case AWS_INTEGER:
	case AWS_LONG: buf_printf(w->b, "%" PRId64, *(const int64_t *)storage); break;
	case AWS_BOOLEAN: buf_puts(w->b, *(const bool *)storage ? "true" : "false"); break;
	case AWS_DOUBLE: aws_encode_double(w->b, *(const double *)storage); break;
	case AWS_TIMESTAMP: timestamp(w, s, *(const int64_t *)storage); break;
	case AWS_BLOB: blob(w->b, storage); break;
	case AWS_STRUCTURE: members(w, s, storage); break;
	case AWS_MAP: items(w, s, "entry", storage); break;
	default: items(w, s, s->value_name, storage); break;
	}
}

void aws_encode_xml(struct buf *b, const struct aws_service *s, const struct aws_op *op,
    const void *out, const char *request_id)
{
	struct writer w = {b, false};

	buf_printf(b, "<%sResponse xmlns=\"%s\">", op->name, s->xmlns ? s->xmlns : "");
	if (op->wrapper)
		buf_printf(b, "<%s>", op->wrapper);
	if (op->out)
		members(&w, op->out, out);
	if (op->wrapper)
		buf_printf(b, "</%s>", op->wrapper);
	buf_printf(b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>",
	    request_id, op->name);
}

/* ---- rest-xml ---- */

static void document(struct buf *b, const struct aws_service *s, const char *root,
    const struct aws_shape *shape, const void *storage)
{
	struct writer w = {b, true};

	buf_puts(b, XML_HEAD);
	start_tag(b, root);
	if (s->xmlns)
		buf_printf(b, " xmlns=\"%s\"", s->xmlns);
	buf_putc(b, '>');
	if (storage)
		value(&w, shape, storage);
	end_tag(b, root);
}

void aws_encode_rest_xml(
    struct buf *b, const struct aws_service *s, const struct aws_op *op, const void *out)
{
	const struct aws_field *payload = aws_payload(op->out), *only = NULL;

	if (payload) {
		const void *member = aws_member(payload, out);

		if (member)
			document(b, s, payload->xml, payload->shape, member);
		return;
	}
	for (unsigned i = 0; op->out && i < op->out->field_count; i++)
		if (op->out->fields[i].location == AWS_IN_BODY)
			only = &op->out->fields[i];
	if (!only)
		return; /* all of it is in headers */
	if (op->unwrapped)
		document(b, s, op->root, only->shape, aws_member(only, out));
	else
		document(b, s, op->root, op->out, out);
}
