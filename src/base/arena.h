/*
 * Memory of one request: allocated piece by piece, dropped at once with the reply.
 *
 * Nothing stored may point into an arena: what outlives the request is copied. Allocation does
 * not fail (see xmalloc); what a client can make us allocate is bounded before it is decoded.
 * Built with -DMAYFLY_ARENA_MALLOC every allocation is its own malloc, so that ASan sees overruns.
 * Not thread-safe: an arena belongs to one request on one thread.
 */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct arena {
	struct arena_chunk *chunks;
	struct arena_chunk *current; /* where small objects go; one of chunks */
	char *next;
	size_t left;
};

/* Make an empty arena in the caller's storage; nothing is allocated until first use. */
void arena_init(struct arena *a);

/* Free everything. The arena is empty and usable again. */
void arena_done(struct arena *a);

/* Drop everything but keep one chunk for what comes next: for arenas that serve request after
 * request. */
void arena_reset(struct arena *a);

/* Zeroed memory, aligned for any type, valid until arena_done(). */
void *arena_alloc(struct arena *a, size_t size);

char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, count, type) ((type *)arena_alloc((a), (size_t)(count) * sizeof(type)))
