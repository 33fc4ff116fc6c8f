/* Small things that every verb says or understands. See cli.h. */
#include <stdarg.h>
#include <stdio.h>

#include "base/time.h"
#include "cli/cli.h"
#include "cli/term.h"

int cli_fail(int code, const char *next, const char *fmt, ...)
{
	va_list ap;

	fprintf(
	    stderr, "%smayfly:%s ", term_paint(stderr, TERM_RED), term_paint(stderr, TERM_PLAIN));
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (next)
		fprintf(stderr, "        %s\n", next);
	return code;
}

bool cli_parse_since(const char *text, int64_t now_ms, int64_t *ret_ms)
{
	static const struct {
		char unit;
		int64_t ms;
	} units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
	struct str s = str_from(text);
	int64_t n;

	if (time_parse_iso(s, ret_ms))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(units) && s.len > 1; i++) {
		struct str digits = {s.ptr, s.len - 1};

		if (s.ptr[s.len - 1] != units[i].unit || !str_to_int64(digits, 0, 1000000, &n))
			continue;
		*ret_ms = now_ms - n * units[i].ms;
		return true;
	}
	return false;
}
