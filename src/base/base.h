/*
 * Vocabulary shared by every folder: attributes, size macros, checks and the cleanup idiom.
 *
 * Cleanup is declared where a variable is born (`_cleanup_free_ char *s = NULL;`) and given up
 * with take_ptr()/take_fd(). A failed check() is our own bug: it prints where and aborts, in
 * release builds too. Never check() anything that a client or a box can choose.
 */
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _noreturn_ __attribute__((noreturn))
#define _unused_ __attribute__((unused))
#define _weak_ __attribute__((weak))
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(base_freep)
#define _cleanup_close_ _cleanup_(base_closep)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define check(expr)                                                             \
	do {                                                                    \
		if (unlikely(!(expr)))                                          \
			base_check_failed(#expr, __FILE__, __LINE__, __func__); \
	} while (0)

/* Print the failed expression to stderr and abort. */
_noreturn_ void base_check_failed(const char *expr, const char *file, int line, const char *func);

/* Allocation that does not return NULL: every input is bounded at the door, so running out of
 * memory for a small object means a wrong memory setting, and core restarts. Caller frees. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);

void base_freep(void *ptr_to_ptr);
void base_closep(int *fd);

static inline void *base_take_ptr(void **p)
{
	void *v = *p;

	*p = NULL;
	return v;
}
#define take_ptr(p) ((__typeof__(p))base_take_ptr((void **)&(p)))

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}
