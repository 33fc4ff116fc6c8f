/*
 * Growable bytes: what is being received or built. Reading moves `start`, appending moves `end`;
 * the memory is moved together or grown when the tail is full. Never shrinks until buf_done().
 */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct buf {
	char *mem;
	size_t start, end, capacity;
};

#define BUF_INIT              \
	{                     \
		NULL, 0, 0, 0 \
	}

void buf_done(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_done)

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline char *buf_data(const struct buf *b)
{
	return b->mem + b->start;
}

static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->mem ? b->mem + b->start : "", b->end - b->start};
}

static inline void buf_clear(struct buf *b)
{
	b->start = b->end = 0;
}

/* Room for at least n bytes behind the data; write there, then buf_commit() what was written. */
char *buf_reserve(struct buf *b, size_t n);

static inline size_t buf_room(const struct buf *b)
{
	return b->capacity - b->end;
}

static inline void buf_commit(struct buf *b, size_t n)
{
	check(n <= b->capacity - b->end);
	b->end += n;
}

static inline void buf_consume(struct buf *b, size_t n)
{
	check(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buf_append(struct buf *b, const void *data, size_t len);
void buf_put_uint(struct buf *b, uint64_t n); /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

static inline void buf_append_str(struct buf *b, struct str s)
{
	buf_append(b, s.ptr, s.len);
}

static inline void buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

static inline void buf_putc(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

/* Append s as the inside of a JSON string (no quotes). s is UTF-8; broken bytes become U+FFFD. */
void buf_json_escape(struct buf *b, struct str s);
/* The same with quotes around it. */
void buf_json_string(struct buf *b, struct str s);
