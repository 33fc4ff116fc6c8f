/* Growable byte buffer. See buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/large.h"

void buf_done(struct buf *b)
{
	large_free(b->mem, b->capacity);
	*b = (struct buf)BUF_INIT;
}

char *buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b), want;

	check(n < SIZE_MAX / 4);
	if (b->mem && b->capacity - b->end >= n)
		return b->mem + b->end;
	/* Moving pays when at least half of the memory is free in front. */
	if (b->mem && b->capacity - len >= n && b->start >= b->capacity / 2) {
		memmove(b->mem, b->mem + b->start, len);
	} else {
		want = max_size(b->capacity * 2, max_size(len + n, 256));
		if (b->start) {
			char *mem = xmalloc(want);

			memcpy(mem, b->mem + b->start, len);
			large_free(b->mem, b->capacity);
			b->mem = mem;
		} else {
			b->mem = xrealloc(b->mem, want);
		}
		b->capacity = want;
	}
	b->start = 0;
	b->end = len;
	return b->mem + b->end;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
	if (!len)
		return;
	memcpy(buf_reserve(b, len), data, len);
	b->end += len;
}

void buf_put_uint(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	buf_append(b, digits + i, sizeof(digits) - i);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	check(n >= 0);
	vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	b->end += (size_t)n;
	va_end(again);
	va_end(ap);
}

static void escape_one(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"': buf_append(b, "\\\"", 2); break;
	case '\\': buf_append(b, "\\\\", 2); break;
	case '\b': buf_append(b, "\\b", 2); break;
	case '\f': buf_append(b, "\\f", 2); break;
	case '\n': buf_append(b, "\\n", 2); break;
	case '\r': buf_append(b, "\\r", 2); break;
	case '\t': buf_append(b, "\\t", 2); break;
	default: buf_printf(b, "\\u%04x", c); break;
	}
}

void buf_json_escape(struct buf *b, struct str s)
{
	bool valid = utf8_valid(s);
	size_t from = 0;

	for (size_t i = json_plain(s); i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (likely(c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || valid)))
			continue;
		buf_append(b, s.ptr + from, i - from);
		if (c >= 0x80)
			buf_append(b, "\xef\xbf\xbd", 3);
		else
			escape_one(b, c);
		from = i + 1;
		i += json_plain(str_sub(s, from));
	}
	buf_append(b, s.ptr + from, s.len - from);
}

void buf_json_string(struct buf *b, struct str s)
{
	buf_putc(b, '"');
	buf_json_escape(b, s);
	buf_putc(b, '"');
}
