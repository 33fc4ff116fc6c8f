/* `mayfly stats`: what running tasks use, as it changes. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/task.h"
#include "cli/term.h"
#include "cli/usage.h"

struct options {
	bool once, json;
};

/* The tasks that were named, or all. */
static int choose(struct client *c, char **names, int count, json_t *ret)
{
	int code = CLI_OK;

	if (!count)
		return task_list(c, false, ret);
	for (int i = 0; !code && i < count; i++) {
		json_t *task = NULL;

		code = task_need(c, names[i], TASK_RUNNING, &task);
		if (task)
			json_array_append_new(ret, task);
	}
	return code;
}

static int64_t most_of(const json_t *usage, const char *member)
{
	int64_t most = 0;
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(usage, "containers"), i, c)
	{
		int64_t n = field_number(c, member);

		most = n > most ? n : most;
	}
	return most;
}

/* Containers without a limit of their own share that of the task, or the machine. */
static int64_t limit_of(const json_t *task, const json_t *usage)
{
	bool fargate = !strcmp(field_text(task, "launchType"), "FARGATE"), shared = false;
	int64_t all = strtoll(field_text(task, "memory"), NULL, 10) << 20, sum;
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(task, "containers"), i, c) shared =
	    shared || !*field_text(c, "memory");
	sum =
	    shared ? most_of(usage, "memory_limit_bytes") : usage_sum(usage, "memory_limit_bytes");
	return fargate && sum > all ? all : sum;
}

/* With awsvpc each container counts what passes their common interface. */
static bool shares_network(const json_t *task)
{
	const json_t *c = json_array_get(json_object_get(task, "containers"), 0);

	return json_array_size(json_object_get(c, "networkInterfaces")) > 0;
}

static json_t *round_of(const json_t *task, const json_t *before, const json_t *after)
{
	const json_t *x = usage_of(before, task_arn(task)), *y = usage_of(after, task_arn(task));
	double ms = (double)(field_number(after, "at_ms") - field_number(before, "at_ms"));
	_cleanup_free_ char *family = task_family(task);
	json_t *row = json_pack("{s:s,s:s}", "id", task_id(task), "name", family);
	static const char *const own[] = {"memory_bytes", "pids"}, *const net[] = {
								       "rx_bytes", "tx_bytes"};

	if (!y) {
		json_decref(row);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		json_object_set_new(row, own[i], json_integer(usage_sum(y, own[i])));
	for (size_t i = 0; i < ARRAY_SIZE(net); i++)
		json_object_set_new(row, net[i],
		    json_integer(shares_network(task) ? most_of(y, net[i]) : usage_sum(y, net[i])));
	json_object_set_new(row, "memory_limit_bytes", json_integer(limit_of(task, y)));
	if (x && ms > 0)
		json_object_set_new(row, "cpu_percent",
		    json_real(
			(double)(usage_sum(y, "cpu_ns") - usage_sum(x, "cpu_ns")) / 10000 / ms));
	return row;
}

static json_t *rows_of(const json_t *tasks, const json_t *before, const json_t *after)
{
	json_t *rows = json_array();
	const json_t *task;
	size_t i;

	json_array_foreach(tasks, i, task)
	{
		json_t *row = round_of(task, before, after);

		if (row)
			json_array_append_new(rows, row);
	}
	return rows;
}

static void add_row(struct term_table *t, const json_t *row)
{
	uint64_t limit = (uint64_t)field_number(row, "memory_limit_bytes");
	const json_t *share = json_object_get(row, "cpu_percent");
	_cleanup_free_ char *cpu =
	    share ? xasprintf("%.1f%%", json_number_value(share)) : xstrdup("-");
	_cleanup_free_ char *pids = xasprintf("%" PRId64, field_number(row, "pids"));
	char used[TERM_SIZE_TEXT], most[TERM_SIZE_TEXT] = "-", rx[TERM_SIZE_TEXT],
				   tx[TERM_SIZE_TEXT];
	char id[TASK_ID_SHOWN + 1];

	snprintf(id, sizeof(id), "%s", field_text(row, "id"));
	term_format_size((uint64_t)field_number(row, "memory_bytes"), used);
	term_format_size((uint64_t)field_number(row, "rx_bytes"), rx);
	term_format_size((uint64_t)field_number(row, "tx_bytes"), tx);
	/* The kernel says "none" by a number larger than any memory. */
	if (limit && limit < UINT64_C(1) << 60)
		term_format_size(limit, most);
	term_table_add(
	    t, (const char *const[]){id, field_text(row, "name"), cpu, used, most, rx, tx, pids});
}

static void print_table(const json_t *rows)
{
	static const struct term_column columns[] = {
	    {"ID", false, false},
	    {"NAME", false, true},
	    {"CPU", true, false},
	    {"MEMORY", true, false},
	    {"LIMIT", true, false},
	    {"NET IN", true, false},
	    {"NET OUT", true, false},
	    {"PIDS", true, false},
	};
	struct term_table t;
	const json_t *row;
	size_t i;

	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach(rows, i, row) add_row(&t, row);
	term_table_print(&t);
	term_table_done(&t);
}

static void print_round(const struct options *o, const json_t *rows)
{
	if (o->json) {
		json_dumpf(rows, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
		putchar('\n');
		return;
	}
	if (!o->once && isatty(STDOUT_FILENO))
		fputs("\033[H\033[2J", stdout);
	print_table(rows);
}

/* One round a second; the first CPU share is of its first second. */
static int watch(struct client *c, const struct options *o, char **names, int count)
{
	json_t *before = NULL, *after = NULL;
	int code = usage_read(c, &before);

	while (!code) {
		json_t *tasks = json_array(), *rows;

		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
		code = choose(c, names, count, tasks);
		if (!code)
			code = usage_read(c, &after);
		if (!code) {
			rows = rows_of(tasks, before, after);
			print_round(o, rows);
			json_decref(rows);
		}
		json_decref(tasks);
		json_decref(before);
		before = after;
		after = NULL;
		if (o->once || fflush(stdout))
			break;
	}
	json_decref(before);
	return code;
}

static int run(const void *options, char **args, int count)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	int code = client_open(&c);

	return code ? code : watch(c, o, args, count);
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"no-stream", 0, CLI_FLAG, NULL, "once instead of every second", AT(once), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "each round as an array on a line", AT(json), 0, 0},
};

const struct cli_verb cli_stats = {
    .name = "stats",
    .args = "[TASK...]",
    .summary = "what running tasks use",
    .help =
	"CPU is in percent of one CPU, of the last second. Without TASK: all that run. TASK is an\n"
	"ID, the beginning of one, or a name that `mayfly ps` shows.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .max_args = INT32_MAX,
    .run = run,
};
