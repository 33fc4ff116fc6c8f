/* See log_option.h. What awslogs-datetime-format means is what Docker's driver makes of it. */
#include "sched/log_option.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "docs/docs.h"

#define PATTERN_MAX 1024
#define BUFFER_DEFAULT (16 << 20)
#define BUFFER_MIN (1 << 20) /* less would drop what is about to be read */
#define BUFFER_MAX (64 << 20)

/* ---- which options there are ---- */

static const char *const awslogs[] = {"awslogs-group", "awslogs-region", "awslogs-stream-prefix",
    "awslogs-create-group", "awslogs-datetime-format", "awslogs-multiline-pattern", "mode",
    "max-buffer-size", NULL};
static const char *const json_file[] = {"mode", "max-buffer-size", NULL};

static bool is_one_of(const char *const names[], const char *name)
{
	for (size_t i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int check_names(
    const char *driver, bool aws, const json_t *configuration, json_t *options, struct err *e)
{
	const char *name;
	json_t *v;

	json_object_foreach(options, name, v)
	{
		if (is_one_of(aws ? awslogs : json_file, name))
			continue;
		return err_set(e, EINVAL, "Log driver %s disallows options: %.60s. %s", driver,
		    name,
		    aws ? "Leave it out."
			: "Leave it out: lines are kept for 30 days in the log group "
			  "/mayfly/tasks, whatever their size.");
	}
	if (json_array_size(json_object_get(configuration, "secretOptions")))
		return err_set(
		    e, EINVAL, "Log driver %s takes no secretOptions. Leave them out.", driver);
	return 0;
}

/* ---- how much may wait ---- */

/* As Docker reads sizes: "10m", "1.5 MiB", "65536". */
static bool parse_bytes(const char *text, double *ret)
{
	static const char units[] = "kmgt";
	size_t len = strspn(text, "0123456789.");
	const char *at, *unit = text + len;
	char number[24], *end;

	if (!len || len >= sizeof(number))
		return false;
	memcpy(number, text, len);
	number[len] = '\0';
	*ret = strtod(number, &end);
	if (*end)
		return false;
	unit += *unit == ' ';
	at = *unit ? strchr(units, *unit | 0x20) : NULL;
	if (at) {
		*ret = ldexp(*ret, 10 * (int)(at - units + 1));
		unit++;
	}
	unit += at && (*unit | 0x20) == 'i';
	unit += (*unit | 0x20) == 'b';
	return !*unit && *ret >= 1;
}

static int parse_buffer(const json_t *options, struct log_options *ret, struct err *e)
{
	const char *mode = docs_str(options, "mode"), *size = docs_str(options, "max-buffer-size");
	bool blocking = mode && !strcmp(mode, "blocking");
	double bytes;

	if (mode && !blocking && strcmp(mode, "non-blocking") != 0)
		return err_set(
		    e, EINVAL, "Invalid log option mode '%.40s': blocking or non-blocking.", mode);
	ret->buffer_max = BUFFER_DEFAULT;
	if (blocking)
		ret->buffer_max = BUFFER_MAX;
	if (!size)
		return 0;
	if (blocking)
		return err_set(e, EINVAL,
		    "The log option max-buffer-size is for mode non-blocking only. Leave one out.");
	if (!parse_bytes(size, &bytes) || bytes > BUFFER_MAX)
		return err_set(e, EINVAL,
		    "Invalid log option max-buffer-size '%.40s': a size such as 10m, at most 64m.",
		    size);
	ret->buffer_max = bytes < BUFFER_MIN ? BUFFER_MIN : (size_t)bytes;
	return 0;
}

/* ---- what begins an event ---- */

static const char *code_regex(char code)
{
	static const struct {
		char code;
		const char *regex;
	} all[] = {
	    {'a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"},
	    {'A', "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"},
	    {'b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"},
	    {'B', "(?:January|February|March|April|May|June|July|August|September|October|November|"
		  "December)"},
	    {'d', "(?:0[1-9]|[12][0-9]|3[01])"},
	    {'f', "[0-9]{6}"},
	    {'H', "(?:[01][0-9]|2[0-3])"},
	    {'I', "(?:0[0-9]|1[0-2])"},
	    {'j', "(?:[0-2][0-9][0-9]|3[0-5][0-9]|36[0-6])"},
	    {'L', "\\.?[0-9]{3}"},
	    {'m', "(?:0[1-9]|1[0-2])"},
	    {'M', "[0-5][0-9]"},
	    {'p', "[AP]M"},
	    {'S', "[0-5][0-9]"},
	    {'w', "[0-6]"},
	    {'y', "[0-9]{2}"},
	    {'Y', "[0-9]{4}"},
	    {'z', "[+-][0-9]{4}"},
	    {'Z', "[A-Z]{1,4}T"},
	    {'%', "%"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].code == code)
			return all[i].regex;
	return NULL;
}

/* Codes of strftime become what they stand for; the rest is a regular expression already. */
static int from_format(const char *format, struct buf *ret, struct err *e)
{
	const char *at, *regex;

	for (at = format; *at; at++) {
		if (*at != '%') {
			buf_append_str(ret, (struct str){at, 1});
			continue;
		}
		regex = code_regex(*++at);
		if (!regex)
			return err_set(e, EINVAL,
			    "Invalid log option awslogs-datetime-format '%.60s': the code at "
			    "character %zu is none of %%a %%A %%b %%B %%d %%f %%H %%I %%j %%L %%m "
			    "%%M %%p %%S %%w %%y %%Y %%z %%Z %%%%.",
			    format, (size_t)(at - format));
		buf_append_str(ret, str_from(regex));
	}
	return 0;
}

static int parse_begin(const json_t *options, struct log_options *ret, struct err *e)
{
	const char *format = docs_str(options, "awslogs-datetime-format"),
		   *pattern = docs_str(options, "awslogs-multiline-pattern"),
		   *text = format ? format : pattern;
	_cleanup_buf_ struct buf regex = BUF_INIT;
	size_t bad_at;
	int r = 0;

	if (!text)
		return 0;
	if (format && pattern)
		return err_set(e, EINVAL,
		    "The log options awslogs-datetime-format and awslogs-multiline-pattern exclude "
		    "each other. Leave one out.");
	if (!*text || strlen(text) > PATTERN_MAX)
		return err_set(e, EINVAL,
		    "Invalid log option %s: it must have between 1 and %d bytes.",
		    format ? "awslogs-datetime-format" : "awslogs-multiline-pattern", PATTERN_MAX);
	if (format)
		r = from_format(format, &regex, e);
	else
		buf_append_str(&regex, str_from(pattern));
	if (r < 0)
		return r;
	ret->begins = log_regex_new(buf_str(&regex), &bad_at);
	if (ret->begins)
		return 0;
	if (format)
		return err_set(e, EINVAL,
		    "Invalid log option awslogs-datetime-format '%.60s': beside its codes it must "
		    "be a regular expression; write \\( for (.",
		    format);
	return err_set(e, EINVAL,
	    "Invalid log option awslogs-multiline-pattern '%.60s': it is no regular expression, "
	    "see character %zu.",
	    pattern, bad_at + 1);
}

/* ---- all of it ---- */

static int check_awslogs(const json_t *options, struct err *e)
{
	static const char *const truths[] = {"true", "false", "1", "0", NULL};
	const char *region = docs_str(options, "awslogs-region"),
		   *group = docs_str(options, "awslogs-group"),
		   *create = docs_str(options, "awslogs-create-group");

	if (!region || !group)
		return err_set(e, EINVAL, "Log driver awslogs requires options: %s",
		    region  ? "awslogs-group"
		    : group ? "awslogs-region"
			    : "awslogs-region, awslogs-group");
	if (create && !is_one_of(truths, create) && strcasecmp(create, "true") != 0 &&
	    strcasecmp(create, "false") != 0)
		return err_set(
		    e, EINVAL, "Invalid log option awslogs-create-group: true or false.");
	return 0;
}

int log_options_parse(const json_t *configuration, struct log_options *ret, struct err *e)
{
	const char *driver = docs_str(configuration, "logDriver");
	json_t *options = json_object_get(configuration, "options");
	bool aws = driver && !strcmp(driver, "awslogs");
	int r = 0;

	*ret = (struct log_options){NULL, BUFFER_DEFAULT};
	if (!driver || (!aws && strcmp(driver, "json-file") != 0))
		return 0;
	if (aws)
		r = check_awslogs(options, e);
	if (r == 0)
		r = check_names(driver, aws, configuration, options, e);
	if (r == 0)
		r = parse_buffer(options, ret, e);
	if (r == 0 && aws)
		r = parse_begin(options, ret, e);
	return r;
}

void log_options_done(struct log_options *o)
{
	log_regex_free(take_ptr(o->begins));
}
