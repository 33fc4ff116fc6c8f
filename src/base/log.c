/* One write() a line, so that lines of several processes do not mix. See log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"

static const char *program = "mayfly";
static enum log_level threshold = LOG_INFO;

void log_setup(const char *name, enum log_level lowest)
{
	program = name;
	threshold = lowest;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	char line[1024], when[TIME_ISO_SIZE];
	int saved = errno, n, m;
	va_list ap;

	if (level < threshold)
		return;
	time_format_iso_ms(time_wall_ms(), when);
	n = snprintf(line, sizeof(line), "%s %s %s: ", when, names[level], program);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	n = (int)min_size((size_t)(n + (m > 0 ? m : 0)), sizeof(line) - 2);
	for (int i = 0; i < n; i++) /* a message may quote bytes of a client */
		if ((unsigned char)line[i] < 0x20)
			line[i] = ' ';
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		(void)0; /* nobody to tell */
	errno = saved;
}
