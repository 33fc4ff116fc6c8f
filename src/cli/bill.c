/* `mayfly bill`: what functions and tasks used, and what that would have cost on AWS. */
#include <stdio.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/term.h"

struct options {
	const char *by, *from, *to;
	bool json;
};

static int check_date(const char *option, const char *value)
{
	int64_t ms;

	if (!value || time_parse_iso(str_from(value), &ms))
		return CLI_OK;
	return cli_fail(CLI_USAGE, "write a date such as 2026-11-23 or 2026-11-23T10:00:00Z",
	    "bill: %s cannot be %s", option, value);
}

static char *make_path(const struct options *o)
{
	_cleanup_free_ char *from = o->from ? client_path("&from=", o->from, "") : xstrdup("");
	_cleanup_free_ char *to = o->to ? client_path("&to=", o->to, "") : xstrdup("");

	return xasprintf("/_mayfly/bill?by=%s%s%s", o->by, from, to);
}

static void add_function(struct term_table *t, const json_t *row, const char *name)
{
	_cleanup_free_ char *requests = xasprintf("%" PRId64, field_number(row, "requests"));
	_cleanup_free_ char *errors = xasprintf("%" PRId64, field_number(row, "errors"));
	_cleanup_free_ char *cold = xasprintf("%" PRId64, field_number(row, "cold_starts"));
	_cleanup_free_ char *billed = xasprintf("%" PRId64, field_number(row, "billed_ms"));
	_cleanup_free_ char *gb =
	    xasprintf("%.6f", json_number_value(json_object_get(row, "gb_seconds")));

	term_table_add(t, (const char *const[]){name, requests, errors, cold, billed, gb,
			      field_text(row, "functions_usd")});
}

static void add_task(struct term_table *t, const json_t *row, const char *name)
{
	_cleanup_free_ char *tasks = xasprintf("%" PRId64, field_number(row, "tasks"));
	_cleanup_free_ char *seconds = xasprintf("%" PRId64, field_number(row, "task_seconds"));
	_cleanup_free_ char *vcpu =
	    xasprintf("%.3f", json_number_value(json_object_get(row, "vcpu_seconds")));
	_cleanup_free_ char *gb =
	    xasprintf("%.3f", json_number_value(json_object_get(row, "task_gb_seconds")));
	_cleanup_free_ char *disk = xasprintf("%" PRId64, field_number(row, "disk_gb_seconds"));

	term_table_add(t, (const char *const[]){
			      name, tasks, seconds, vcpu, gb, disk, field_text(row, "tasks_usd")});
}

/* What a table is of, and which rows have a part in it. */
struct kind {
	const char *member; /* of a row's name, when rows are not days */
	const char *count;
	void (*add)(struct term_table *t, const json_t *row, const char *name);
	struct term_column columns[7];
};

static const struct kind functions = {"function", "requests", add_function,
    {{"FUNCTION", false, true}, {"REQUESTS", true, false}, {"ERRORS", true, false},
	{"COLD", true, false}, {"BILLED MS", true, false}, {"GB-SECONDS", true, false},
	{"USD", true, false}}};

static const struct kind tasks = {"task", "tasks", add_task,
    {{"CLUSTER/FAMILY", false, true}, {"TASKS", true, false}, {"BILLED S", true, false},
	{"VCPU-SECONDS", true, false}, {"GB-SECONDS", true, false}, {"DISK GB-S", true, false},
	{"USD", true, false}}};

static void print_kind(const json_t *answer, bool by_day, const struct kind *k)
{
	const json_t *total = json_object_get(answer, "total");
	struct term_column columns[ARRAY_SIZE(k->columns)];
	struct term_table t;
	size_t i;
	json_t *row;

	memcpy(columns, k->columns, sizeof(columns));
	if (by_day)
		columns[0].title = "DAY (UTC)";
	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach(json_object_get(answer, "rows"), i, row)
	{
		if (by_day ? field_number(row, k->count) : json_object_get(row, k->member) != NULL)
			k->add(&t, row, field_text(row, by_day ? "day" : k->member));
	}
	k->add(&t, total, "total");
	term_table_print(&t);
	term_table_done(&t);
}

static void print_tables(const json_t *answer, const char *by)
{
	const json_t *total = json_object_get(answer, "total");
	bool by_day = !strcmp(by, "day"), any_task = field_number(total, "tasks");

	if (field_number(total, "requests") || !any_task)
		print_kind(answer, by_day, &functions);
	if (any_task) {
		puts(field_number(total, "requests") ? ""
						     : "no function was invoked in this time\n");
		print_kind(answer, by_day, &tasks);
	}
	printf("\ntotal: %s; requests %s, compute %s, /tmp above 512 MB %s",
	    field_text(total, "total_usd"), field_text(total, "request_usd"),
	    field_text(total, "compute_usd"), field_text(total, "tmp_usd"));
	if (any_task)
		printf("; tasks' vCPU %s, memory %s, disk above 20 GB %s",
		    field_text(total, "cpu_usd"), field_text(total, "memory_usd"),
		    field_text(total, "disk_usd"));
	putchar('\n');
	if (!json_array_size(json_object_get(answer, "rows")))
		puts("nothing was invoked or run in this time");
}

static int run(const void *options, char **args _unused_, int count _unused_)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	_cleanup_free_ char *path = NULL;
	json_t *answer = NULL;
	int code;

	if (strcmp(o->by, "function") && strcmp(o->by, "day"))
		return cli_fail(
		    CLI_USAGE, "--by function or --by day", "bill: cannot be grouped by %s", o->by);
	code = check_date("--from", o->from) || check_date("--to", o->to) ? CLI_USAGE
									  : client_open(&c);
	path = make_path(o);
	if (!code)
		code = client_json(c, "lambda", "GET", path, NULL, 0, "reading the bill", &answer);
	if (!code && o->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
		putchar('\n');
	} else if (!code) {
		print_tables(answer, o->by);
	}
	json_decref(answer);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"by", 0, CLI_TEXT, "GROUP", "function or family (if not given), or day", AT(by), 0, 0},
    {"from", 0, CLI_TEXT, "DATE", "only what started then or later (UTC)", AT(from), 0, 0},
    {"to", 0, CLI_TEXT, "DATE", "only what started before that (UTC)", AT(to), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "the server's answer as it is", AT(json), 0, 0},
};

const struct cli_verb cli_bill = {
    .name = "bill",
    .args = "",
    .summary = "what was used, and what it would have cost on AWS",
    .help =
	"Adds up the usage ledger: every invocation is in it, with its billed duration rounded\n"
	"up to a millisecond and the memory of its function, and every task of containers that\n"
	"has stopped, as Fargate bills it, whatever its launch type: for the vCPU and memory it\n"
	"asked for, from the start of the image pull, by the second and for at least a minute.\n"
	"Dollars are by AWS's published\n"
	"prices for us-east-1 without free tier, or by prices.json of the server's data\n"
	"directory. A date without time is midnight UTC, and --to is not included:\n"
	"--from 2026-11-01 --to 2026-12-01 is November.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults = &(const struct options){.by = "function"},
    .size = sizeof(struct options),
    .run = run,
};
