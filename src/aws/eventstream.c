/* Framing of AWS event streams, both directions (the client reads what the server writes). */
#include "aws/eventstream.h"

#include <stdio.h>

#define PRELUDE 12 /* total length, length of headers, CRC of these */
#define MESSAGE_MAX (24u * 1024 * 1024)
#define STRING_HEADER 7

/* CRC-32 (IEEE), half a byte at a time: payload chunks are small. */
static uint32_t crc32(uint32_t crc, const void *data, size_t len)
{
	static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC,
	    0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8,
	    0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
	const unsigned char *p = data;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc = table[(crc ^ p[i]) & 15] ^ (crc >> 4);
		crc = table[(crc ^ (p[i] >> 4u)) & 15] ^ (crc >> 4);
	}
	return ~crc;
}

static void put32(char out[4], uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (char)(v >> (24 - 8 * i));
}

static uint32_t get32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void put_header(struct buf *b, const char *name, const char *value)
{
	size_t len = strlen(value);

	buf_putc(b, (char)strlen(name));
	buf_puts(b, name);
	buf_putc(b, STRING_HEADER);
	buf_putc(b, (char)(len >> 8));
	buf_putc(b, (char)len);
	buf_puts(b, value);
}

static void put_message(struct buf *b, const char *kind, const char *type_header, const char *type,
    const char *content_type, struct str payload)
{
	_cleanup_buf_ struct buf headers = BUF_INIT;
	size_t start, total;
	char number[4];

	put_header(&headers, type_header, type);
	if (content_type)
		put_header(&headers, ":content-type", content_type);
	put_header(&headers, ":message-type", kind);
	total = PRELUDE + buf_len(&headers) + payload.len + 4;
	check(total <= MESSAGE_MAX);
	start = buf_len(b);
	put32(number, (uint32_t)total);
	buf_append(b, number, 4);
	put32(number, (uint32_t)buf_len(&headers));
	buf_append(b, number, 4);
	put32(number, crc32(0, buf_data(b) + start, 8));
	buf_append(b, number, 4);
	buf_append_str(b, buf_str(&headers));
	buf_append_str(b, payload);
	put32(number, crc32(0, buf_data(b) + start, total - 4));
	buf_append(b, number, 4);
}

void eventstream_append(
    struct buf *b, const char *event_type, const char *content_type, struct str payload)
{
	put_message(b, "event", ":event-type", event_type, content_type, payload);
}

void eventstream_append_exception(struct buf *b, const char *exception_type, struct str json)
{
	put_message(b, "exception", ":exception-type", exception_type, "application/json", json);
}

static bool take(struct str *s, size_t len, struct str *ret)
{
	if (s->len < len)
		return false;
	*ret = (struct str){s->ptr, len};
	*s = (struct str){s->ptr + len, s->len - len};
	return true;
}

static bool parse_header(struct str *headers, struct eventstream_message *m)
{
	struct str name, kind, size, value;

	if (!take(headers, 1, &size) || !take(headers, (unsigned char)size.ptr[0], &name) ||
	    !take(headers, 1, &kind) || kind.ptr[0] != STRING_HEADER || !take(headers, 2, &size))
		return false;
	if (!take(headers, (size_t)((unsigned char)size.ptr[0] << 8 | (unsigned char)size.ptr[1]),
		&value))
		return false;
	if (str_is(name, ":event-type") || str_is(name, ":exception-type"))
		snprintf(m->type, sizeof(m->type), "%.*s", (int)min_size(value.len, 63), value.ptr);
	else if (str_is(name, ":message-type"))
		snprintf(m->message_type, sizeof(m->message_type), "%.*s",
		    (int)min_size(value.len, 31), value.ptr);
	else if (str_is(name, ":content-type"))
		snprintf(m->content_type, sizeof(m->content_type), "%.*s",
		    (int)min_size(value.len, 63), value.ptr);
	return true;
}

ssize_t eventstream_parse(struct str data, struct eventstream_message *ret)
{
	struct eventstream_message m = {0};
	uint32_t total, header_len;
	struct str headers;

	if (data.len < PRELUDE)
		return 0;
	total = get32(data.ptr);
	header_len = get32(data.ptr + 4);
	if (total < PRELUDE + 4 || total > MESSAGE_MAX || header_len > total - PRELUDE - 4 ||
	    get32(data.ptr + 8) != crc32(0, data.ptr, 8))
		return -EBADMSG;
	if (data.len < total)
		return 0;
	if (get32(data.ptr + total - 4) != crc32(0, data.ptr, total - 4))
		return -EBADMSG;
	headers = (struct str){data.ptr + PRELUDE, header_len};
	while (headers.len)
		if (!parse_header(&headers, &m))
			return -EBADMSG;
	m.payload = (struct str){data.ptr + PRELUDE + header_len, total - PRELUDE - 4 - header_len};
	*ret = m;
	return total;
}
