/* `mayfly logs NAME`: what a function or a task printed, once or as it comes. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/task.h"
#include "cli/term.h"

#define POLL_NS 500000000
/* Lines may be stored a little later than their time says; each is printed once all the same. */
#define LATE_MS 5000
#define SEEN_MAX 100000

struct options {
	bool follow, json, timestamps;
	const char *since, *filter, *group, *container;
	int64_t tail; /* -1: all */
};

struct reader {
	struct client *client;
	const struct options *o;
	const char *group;
	json_t *task;    /* NULL: it is a function's log, or a whole group */
	json_t *streams; /* of the task's containers */
	int64_t from_ms;
	int64_t newest_ms;
	size_t printed;
	json_t
	    *kept; /* the last --tail events of what was there at first; NULL: print as they come */
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
	if (!r->task || r->o->timestamps)
		printf(
		    "%s%s%s ", term_paint(stdout, TERM_DIM), when, term_paint(stdout, TERM_PLAIN));
	term_write_safe(stdout, text);
	putchar('\n');
}

static void take_event(struct reader *r, json_t *event)
{
	if (!r->kept) {
		print_event(r, event);
		return;
	}
	json_array_append(r->kept, event);
	if (json_array_size(r->kept) > (size_t)r->o->tail)
		json_array_remove(r->kept, 0);
}

/* What was there is read: what comes now is all of interest. */
static void print_kept(struct reader *r)
{
	json_t *event;
	size_t i;

	json_array_foreach(r->kept, i, event) print_event(r, event);
	json_decref(r->kept);
	r->kept = NULL;
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
	if (r->streams)
		json_object_set(in, "logStreamNames", r->streams);
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

		code = client_logs(r->client, "FilterLogEvents", in,
		    r->o->follow || r->task ? 400 : 0, "reading the log", &answer);
		json_decref(in);
		if (code == CLIENT_NOTED)
			return CLI_OK;
		json_array_foreach(json_object_get(answer, "events"), i, event)
		{
			if (is_new(r, event))
				take_event(r, event);
		}
		free(token);
		token = xstrdup(field_text(answer, "nextToken"));
		json_decref(answer);
	} while (!code && *token);
	return code;
}

/* A task that has stopped prints no more. A failure to find out is no reason to end. */
static bool is_over(struct reader *r)
{
	json_t *now = NULL;
	bool over;

	if (!r->task)
		return false;
	over =
	    !task_describe(r->client, field_text(r->task, "clusterArn"), task_arn(r->task), &now) &&
	    (!now || task_is_stopped(now));
	json_decref(now);
	return over;
}

static int follow(struct reader *r)
{
	bool over = false;
	int code;

	for (;;) {
		if (over)
			return CLI_OK;
		over = is_over(r);
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

/* Where the containers of a task log; the group of the first is that of all in it. */
static int find_streams(struct reader *r, const char *name, char **ret_group)
{
	_cleanup_free_ char *path = task_path(r->task, "");
	json_t *answer = NULL, *c;
	int code =
	    client_json(r->client, "ecs", "GET", path, NULL, 0, "asking where it logs", &answer);
	size_t i;

	r->streams = json_array();
	json_array_foreach(json_object_get(answer, "containers"), i, c)
	{
		const char *group = field_text(c, "group");

		if (r->o->container && strcmp(r->o->container, field_text(c, "name")))
			continue;
		if (!*ret_group)
			*ret_group = xstrdup(group);
		if (!strcmp(*ret_group, group))
			json_array_append(r->streams, json_object_get(c, "stream"));
	}
	json_decref(answer);
	if (!code && !*ret_group)
		code = cli_fail(CLI_ABSENT, "`mayfly ps --json` names its containers",
		    "logs: %s has no container %s", name,
		    r->o->container ? r->o->container : "that logs");
	return code;
}

/* A function of this name comes first, then tasks; then the log of a function that is gone. */
static int find_group(struct reader *r, const char *name, char **ret)
{
	struct client *c = r->client;
	_cleanup_free_ char *path = client_path("/2015-03-31/functions/", name, "/configuration");
	json_t *answer = NULL;
	int code =
	    client_json(c, "lambda", "GET", path, NULL, 404, "looking for the function", &answer);
	const char *group = field_text(json_object_get(answer, "LoggingConfig"), "LogGroup");

	if (code == CLIENT_NOTED) {
		code = task_find(c, name, TASK_ANY, &r->task);
		if (code != CLIENT_NOTED)
			return code ? code : find_streams(r, name, ret);
	}
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
	    "a log is made when a function or a task first runs; `mayfly ls` lists functions, "
	    "`mayfly ps -a` tasks",
	    "there is no log of %s (%s)", name, group);
}

static int start(struct reader *r, const char *name, char **ret_group)
{
	const struct options *o = r->o;
	const char *since = o->since ? o->since : "1h";
	int code;

	if (!cli_parse_since(since, time_wall_ms(), &r->from_ms))
		return cli_fail(CLI_USAGE,
		    "write 30s, 10m, 2h, 1d or a date such as 2026-11-23T10:00",
		    "logs: --since cannot be %s", since);
	code = client_open(&r->client);
	if (!code && o->group)
		*ret_group = xstrdup(o->group);
	else if (!code)
		code = find_group(r, name, ret_group);
	r->group = *ret_group;
	if (r->task && !o->since)
		r->from_ms = 0;
	return code || r->task || o->follow ? code : check_group(r->client, r->group, name);
}

static int run(const void *options, char **args, int count _unused_)
{
	const struct options *o = options;
	_cleanup_free_ char *group = NULL;
	struct reader r = {.o = o, .seen = MAP_INIT};
	int code = start(&r, args[0], &group);

	if (!code && o->tail >= 0)
		r.kept = json_array();
	if (!code)
		code = read_pages(&r);
	print_kept(&r);
	if (!code && o->follow)
		code = follow(&r);
	else if (!code && !r.printed && o->tail && isatty(STDERR_FILENO))
		fprintf(
		    stderr, "nothing%s\n", r.task ? "" : " there; --since 7d looks further back");
	map_done(&r.seen);
	json_decref(r.task);
	json_decref(r.streams);
	client_close(r.client);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"follow", 'f', CLI_FLAG, NULL, "go on printing what comes, until interrupted", AT(follow), 0,
	0},
    {"since", 's', CLI_TEXT, "WHEN",
	"how far back: 30s, 10m, 2h, 1d or a date\n(a function: 1h, a task: all)", AT(since), 0, 0},
    {"filter", 0, CLI_TEXT, "PATTERN", "only lines that match this CloudWatch Logs pattern",
	AT(filter), 0, 0},
    {"group", 'g', CLI_TEXT, "NAME", "read this log group instead of the function's", AT(group), 0,
	0},
    {"tail", 'n', CLI_NUMBER, "COUNT", "of what is there, only so many of the last lines", AT(tail),
	0, 10000},
    {"timestamps", 't', CLI_FLAG, NULL, "a task: the time of each line, too", AT(timestamps), 0, 0},
    {"container", 0, CLI_TEXT, "NAME", "a task: only this container", AT(container), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "one JSON object a line", AT(json), 0, 0},
};

const struct cli_verb cli_logs = {
    .name = "logs",
    .args = "NAME",
    .summary = "print what a function or a task printed",
    .help = "Prints the log of NAME in the order of time. NAME is a function; if there is none of\n"
	    "this name, a task: its ID, the name that `mayfly ps` shows, or the beginning of its\n"
	    "ID; if several have stopped and none runs, the newest. With -f that ends when the\n"
	    "task does.\n"
	    "\n"
	    "Lines of functions have their time (UTC). START, END and REPORT lines tell of each\n"
	    "invocation; REPORT has duration, billed duration and memory.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults = &(const struct options){.tail = -1},
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
