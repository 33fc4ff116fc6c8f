/* Chunked bump allocator. See arena.h for the contract. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/large.h"

#define CHUNK_SIZE 4096u
#define ALIGN 16u

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* of data */
	_Alignas(16) char data[];
};

static void free_chunk(struct arena_chunk *c)
{
	large_free(c, sizeof(*c) + c->size);
}

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
}

void arena_done(struct arena *a)
{
	struct arena_chunk *c = a->chunks, *next;

	for (; c; c = next) {
		next = c->next;
		free_chunk(c);
	}
	arena_init(a);
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = a->current, *c = a->chunks, *next;

	for (; c; c = next) {
		next = c->next;
		if (c != keep)
			free_chunk(c);
	}
	a->chunks = keep;
	if (!keep)
		return;
	keep->next = NULL;
	memset(keep->data, 0, CHUNK_SIZE - a->left);
	a->next = keep->data;
	a->left = CHUNK_SIZE;
}

static char *add_chunk(struct arena *a, size_t size)
{
	struct arena_chunk *c = xcalloc(1, sizeof(*c) + size);

	c->next = a->chunks;
	c->size = size;
	a->chunks = c;
	return c->data;
}

void *arena_alloc(struct arena *a, size_t size)
{
	char *p;

	check(size < SIZE_MAX / 2);
#ifdef MAYFLY_ARENA_MALLOC
	return add_chunk(a, size);
#endif
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	/* A big object gets a chunk of its own, so that the current one stays in use. */
	if (size > CHUNK_SIZE / 4)
		return add_chunk(a, size);
	if (size > a->left) {
		a->next = add_chunk(a, CHUNK_SIZE);
		a->current = a->chunks;
		a->left = CHUNK_SIZE;
	}
	p = a->next;
	a->next += size;
	a->left -= size;
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (len)
		memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

struct str arena_str(struct arena *a, struct str s)
{
	return (struct str){.ptr = arena_strndup(a, s.ptr, s.len), .len = s.len};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *out;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	check(n >= 0);
	out = arena_alloc(a, (size_t)n + 1);
	vsnprintf(out, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return out;
}
