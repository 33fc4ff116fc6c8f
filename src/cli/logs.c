/* `mayfly logs NAME`: what a function printed, once or as it comes. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/term.h"

#define POLL_NS 500000000
/* Lines may be stored a little later than their time says; each is printed once all the same. */
#define LATE_MS 5000
#define SEEN_MAX 100000

struct options {
	bool follow, json;
	const char *since, *filter, *group;
};

struct reader {
	struct client *client;
	const struct options *o;
	const char *group;
	int64_t from_ms;
	int64_t newest_ms;
	size_t printed;
	struct map seen; /* event ids; only when following */
};

static void print_event(struct reader *r, const json_t *event)
{
	struct str text = str_from(field_text(event, "message"));
	char when[TIME_ISO_SIZE];

	while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
		text.len--;
	r->printed++;
	if (r->o->json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	time_format_iso_ms(field_number(event, "timestamp"), when);
	printf("%s%s%s ", term_paint(stdout, TERM_DIM), when, term_paint(stdout, TERM_PLAIN));
	term_write_safe(stdout, text);
	putchar('\n');
}

static bool is_new(struct reader *r, const json_t *event)
{
	struct str id = str_from(field_text(event, "eventId"));
	int64_t at = field_number(event, "timestamp");

	if (at > r->newest_ms)
		r->newest_ms = at;
	return !r->o->follow || !id.len || !map_put(&r->seen, id, r);
}

static json_t *make_request(const struct reader *r, const char *token)
{
	json_t *in =
	    json_pack("{s:s,s:I}", "logGroupName", r->group, "startTime", (json_int_t)r->from_ms);

	if (*token)
		json_object_set_new(in, "nextToken", json_string(token));
	if (r->o->filter)
		json_object_set_new(in, "filterPattern", json_string(r->o->filter));
	return in;
}

/* All that is there from from_ms on, page by page. A group that is not there yet is empty. */
static int read_pages(struct reader *r)
{
	_cleanup_free_ char *token = xstrdup("");
	int code;

	do {
		json_t *in = make_request(r, token), *answer = NULL, *event;
		size_t i;

		code = client_logs(r->client, "FilterLogEvents", in, r->o->follow ? 400 : 0,
		    "reading the log", &answer);
		json_decref(in);
		if (code == CLIENT_NOTED)
			return CLI_OK;
		json_array_foreach(json_object_get(answer, "events"), i, event)
		{
			if (is_new(r, event))
				print_event(r, event);
		}
		free(token);
		token = xstrdup(field_text(answer, "nextToken"));
		json_decref(answer);
	} while (!code && *token);
	return code;
}

static int follow(struct reader *r)
{
	int code;

	for (;;) {
		if (fflush(stdout))
			return CLI_OK; /* nobody reads any more */
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
		if (r->newest_ms - LATE_MS > r->from_ms)
			r->from_ms = r->newest_ms - LATE_MS;
		if (r->seen.count > SEEN_MAX) {
			r->from_ms = r->newest_ms + 1;
			map_done(&r->seen);
			r->seen = (struct map)MAP_INIT;
		}
		code = read_pages(r);
		if (code)
			return code;
	}
}

/* A function may log elsewhere than under its name; one that is gone still has its old group. */
static int find_group(struct client *c, const char *name, char **ret)
{
	_cleanup_free_ char *path = client_path("/2015-03-31/functions/", name, "/configuration");
	json_t *answer = NULL;
	int code =
	    client_json(c, "lambda", "GET", path, NULL, 404, "looking for the function", &answer);
	const char *group = field_text(json_object_get(answer, "LoggingConfig"), "LogGroup");

	*ret = *group ? xstrdup(group) : xasprintf("/aws/lambda/%s", name);
	json_decref(answer);
	return code == CLIENT_NOTED ? CLI_OK : code;
}

static int check_group(struct client *c, const char *group, const char *name)
{
	json_t *in = json_pack("{s:s}", "logGroupNamePrefix", group), *answer = NULL, *g;
	int code = client_logs(c, "DescribeLogGroups", in, 0, "looking for the log", &answer);
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(answer, "logGroups"), i, g) found =
	    found || !strcmp(field_text(g, "logGroupName"), group);
	json_decref(in);
	json_decref(answer);
	if (code || found)
		return code;
	return cli_fail(CLI_ABSENT,
	    "it is made when the function first runs; `mayfly ls` lists the "
	    "functions that are there",
	    "there is no log of %s (%s)", name, group);
}

static int start(struct reader *r, const char *name, char **ret_group)
{
	const struct options *o = r->o;
	int code;

	if (!cli_parse_since(o->since, time_wall_ms(), &r->from_ms))
		return cli_fail(CLI_USAGE,
		    "write 30s, 10m, 2h, 1d or a date such as 2026-11-23T10:00",
		    "logs: --since cannot be %s", o->since);
	code = client_open(&r->client);
	if (!code && o->group)
		*ret_group = xstrdup(o->group);
	else if (!code)
		code = find_group(r->client, name, ret_group);
	r->group = *ret_group;
	return code || o->follow ? code : check_group(r->client, r->group, name);
}

static int run(const void *options, char **args, int count _unused_)
{
	const struct options *o = options;
	_cleanup_free_ char *group = NULL;
	struct reader r = {.o = o, .seen = MAP_INIT};
	int code = start(&r, args[0], &group);

	if (!code)
		code = read_pages(&r);
	if (!code && o->follow)
		code = follow(&r);
	else if (!code && !r.printed && isatty(STDERR_FILENO))
		fprintf(stderr, "nothing since %s; --since 7d looks further back\n", o->since);
	map_done(&r.seen);
	client_close(r.client);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"follow", 'f', CLI_FLAG, NULL, "go on printing what comes, until interrupted", AT(follow), 0,
	0},
    {"since", 's', CLI_TEXT, "WHEN", "how far back: 30s, 10m, 2h, 1d or a date (1h)", AT(since), 0,
	0},
    {"filter", 0, CLI_TEXT, "PATTERN", "only lines that match this CloudWatch Logs pattern",
	AT(filter), 0, 0},
    {"group", 'g', CLI_TEXT, "NAME", "read this log group instead of the function's", AT(group), 0,
	0},
    {"json", 0, CLI_FLAG, NULL, "one JSON object a line", AT(json), 0, 0},
};

const struct cli_verb cli_logs = {
    .name = "logs",
    .args = "NAME",
    .summary = "print what a function printed",
    .help = "Prints the log of function NAME in the order of time, each line with its time (UTC).\n"
	    "START, END and REPORT lines tell of each invocation; REPORT has duration, billed\n"
	    "duration and memory.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults = &(const struct options){.since = "1h"},
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
