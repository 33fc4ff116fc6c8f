/* Checks and allocation that cannot fail. Any thread. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void base_check_failed(const char *expr, const char *file, int line, const char *func)
{
	fprintf(stderr, "mayfly: bug: check `%s' failed in %s (%s:%d)\n", expr, func, file, line);
	abort();
}

static void *or_die(void *p)
{
	if (unlikely(!p)) {
		fputs("mayfly: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xmalloc(size_t size)
{
	return or_die(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *ptr, size_t size)
{
	return or_die(realloc(ptr, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return or_die(strdup(s));
}

char *xstrndup(const char *s, size_t len)
{
	char *copy = xmalloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return or_die(n < 0 ? NULL : out);
}

void base_freep(void *ptr_to_ptr)
{
	void *p;

	memcpy(&p, ptr_to_ptr, sizeof(p));
	free(p);
}

void base_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
