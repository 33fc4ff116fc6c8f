/* Clocks and dates. See time.h. */
#include "base/time.h"

#include <stdio.h>
#include <time.h>

static int64_t now(clockid_t clock, int64_t per_second)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * per_second + ts.tv_nsec / (1000000000 / per_second);
}

int64_t time_mono_ns(void)
{
	return now(CLOCK_MONOTONIC, 1000000000);
}

int64_t time_wall_ms(void)
{
	return now(CLOCK_REALTIME, 1000);
}

int64_t time_wall_us(void)
{
	return now(CLOCK_REALTIME, 1000000);
}

static void format(int64_t wall_ms, const char *fmt, char out[TIME_ISO_SIZE])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	if (!strftime(out, TIME_ISO_SIZE, fmt, &tm))
		out[0] = '\0';
}

void time_format_lambda(int64_t wall_ms, char out[TIME_ISO_SIZE])
{
	format(wall_ms, "%Y-%m-%dT%H:%M:%S.000+0000", out);
}

void time_format_iso(int64_t wall_ms, char out[TIME_ISO_SIZE])
{
	format(wall_ms, "%Y-%m-%dT%H:%M:%SZ", out);
}

void time_format_iso_ms(int64_t wall_ms, char out[TIME_ISO_SIZE])
{
	size_t n;

	format(wall_ms, "%Y-%m-%dT%H:%M:%S", out);
	n = strlen(out);
	snprintf(out + n, TIME_ISO_SIZE - n, ".%03dZ", (int)(wall_ms % 1000));
}

void time_format_amz(int64_t wall_ms, char out[TIME_ISO_SIZE])
{
	format(wall_ms, "%Y%m%dT%H%M%SZ", out);
}

void time_format_http(int64_t wall_ms, char out[TIME_ISO_SIZE])
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	/* Not strftime: its names follow the locale. */
	gmtime_r(&t, &tm);
	snprintf(out, TIME_ISO_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT",
	    days[(unsigned)tm.tm_wday % 7], tm.tm_mday % 100, months[(unsigned)tm.tm_mon % 12],
	    (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
}

/* Take `digits` decimal digits off the front of s, within [min, max]. */
static bool number(struct str *s, size_t digits, int min, int max, int *ret)
{
	int64_t v;

	if (s->len < digits || !str_to_int64((struct str){s->ptr, digits}, min, max, &v))
		return false;
	*ret = (int)v;
	*s = str_sub(*s, digits);
	return true;
}

static bool literal(struct str *s, char c)
{
	if (!s->len || s->ptr[0] != c)
		return false;
	*s = str_sub(*s, 1);
	return true;
}

static bool to_ms(struct tm *tm, int64_t *ret)
{
	int day = tm->tm_mday;
	time_t t;

	tm->tm_year -= 1900;
	tm->tm_mon -= 1;
	t = timegm(tm);
	if (tm->tm_mday != day) /* 31 February and the like were normalised away */
		return false;
	*ret = (int64_t)t * 1000;
	return true;
}

bool time_parse_amz(struct str s, int64_t *ret_wall_ms)
{
	struct tm tm = {0};

	return s.len == 16 && number(&s, 4, 1970, 9999, &tm.tm_year) &&
	       number(&s, 2, 1, 12, &tm.tm_mon) && number(&s, 2, 1, 31, &tm.tm_mday) &&
	       literal(&s, 'T') && number(&s, 2, 0, 23, &tm.tm_hour) &&
	       number(&s, 2, 0, 59, &tm.tm_min) && number(&s, 2, 0, 59, &tm.tm_sec) &&
	       literal(&s, 'Z') && to_ms(&tm, ret_wall_ms);
}

/* ".123456": as milliseconds; more digits than three are dropped. */
static bool fraction(struct str *s, int *ret_ms)
{
	int scale = 100, ms = 0;

	if (!s->len || s->ptr[0] < '0' || s->ptr[0] > '9')
		return false;
	while (s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9') {
		ms += (s->ptr[0] - '0') * scale;
		scale /= 10;
		*s = str_sub(*s, 1);
	}
	*ret_ms = ms;
	return true;
}

static bool zone(struct str *s, int *ret_minutes)
{
	int sign, hours, minutes;

	*ret_minutes = 0;
	if (!s->len || literal(s, 'Z'))
		return true;
	sign = literal(s, '-') ? -1 : literal(s, '+') ? 1 : 0;
	if (!sign || !number(s, 2, 0, 14, &hours))
		return false;
	literal(s, ':');
	if (!number(s, 2, 0, 59, &minutes))
		return false;
	*ret_minutes = sign * (hours * 60 + minutes);
	return true;
}

bool time_parse_iso(struct str s, int64_t *ret_wall_ms)
{
	struct tm tm = {0};
	int ms = 0, offset = 0;
	int64_t base;

	if (!number(&s, 4, 1970, 9999, &tm.tm_year) || !literal(&s, '-') ||
	    !number(&s, 2, 1, 12, &tm.tm_mon) || !literal(&s, '-') ||
	    !number(&s, 2, 1, 31, &tm.tm_mday))
		return false;
	if (s.len) {
		if (!literal(&s, 'T') || !number(&s, 2, 0, 23, &tm.tm_hour) || !literal(&s, ':') ||
		    !number(&s, 2, 0, 59, &tm.tm_min) || !literal(&s, ':') ||
		    !number(&s, 2, 0, 59, &tm.tm_sec))
			return false;
		if (literal(&s, '.') && !fraction(&s, &ms))
			return false;
		if (!zone(&s, &offset) || s.len)
			return false;
	}
	if (!to_ms(&tm, &base))
		return false;
	*ret_wall_ms = base + ms - (int64_t)offset * 60000;
	return true;
}
