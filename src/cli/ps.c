/* `mayfly ps`: the tasks that run. */
#include <stdio.h>

#include "base/time.h"
#include "cli/ps.h"
#include "cli/task.h"
#include "cli/term.h"
#include "cli/usage.h"

struct options {
	bool all, json, quiet;
};

void ps_format_age(int64_t ms, char out[PS_AGE_SIZE])
{
	int64_t s = ms > 0 ? ms / 1000 : 0;

	if (s < 120)
		snprintf(out, PS_AGE_SIZE, "%" PRId64 " s", s);
	else if (s < 2 * 3600)
		snprintf(out, PS_AGE_SIZE, "%" PRId64 " min", s / 60);
	else if (s < 2 * 86400)
		snprintf(out, PS_AGE_SIZE, "%" PRId64 " h", s / 3600);
	else
		snprintf(out, PS_AGE_SIZE, "%" PRId64 " d", s / 86400);
}

static void put_binding(struct buf *b, const json_t *binding)
{
	int64_t host = field_number(binding, "hostPort");

	buf_puts(b, buf_len(b) ? ", " : "");
	if (host)
		buf_printf(b, "%" PRId64 "->", host);
	buf_printf(b, "%" PRId64 "/%s", field_number(binding, "containerPort"),
	    field_text(binding, "protocol"));
}

char *ps_ports(const json_t *task)
{
	const json_t *c, *binding;
	struct buf b = BUF_INIT;
	size_t i, k;

	json_array_foreach(task_containers(task), i, c)
	{
		json_array_foreach(json_object_get(c, "networkBindings"), k, binding)
		    put_binding(&b, binding);
	}
	/* A task with an address of its own publishes nothing: it is reached there. */
	c = json_array_get(
	    json_object_get(json_array_get(task_containers(task), 0), "networkInterfaces"), 0);
	if (!buf_len(&b) && !task_is_stopped(task))
		buf_puts(&b, field_text(c, "privateIpv4Address"));
	buf_putc(&b, '\0');
	return b.mem;
}

static char *images(const json_t *task)
{
	const json_t *list = task_containers(task);
	const char *first = field_text(json_array_get(list, 0), "image");
	size_t count = json_array_size(list);

	return count > 1 ? xasprintf("%s +%zu", first, count - 1) : xstrdup(first);
}

/* Lower case, as nobody shouts in a table; with the exit code of what has ended. */
char *ps_status(const json_t *task)
{
	const char *status = field_text(task, "lastStatus"),
		   *health = field_text(task, "healthStatus");
	const json_t *code = json_object_get(json_array_get(task_containers(task), 0), "exitCode");
	char *text;

	if (task_is_stopped(task) && code)
		return xasprintf("exited (%" JSON_INTEGER_FORMAT ")", json_integer_value(code));
	text = !strcmp(health, "HEALTHY") || !strcmp(health, "UNHEALTHY")
		   ? xasprintf("%s (%s)", status, health)
		   : xstrdup(status);
	for (char *p = text; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return text;
}

/* Of one CPU, since it started. */
static char *cpu_share(const json_t *task, const json_t *usage, int64_t now_ms)
{
	const json_t *started = json_object_get(task, "startedAt");
	double age_ms = (double)now_ms - json_number_value(started) * 1000;

	if (!usage || !started || age_ms < 1)
		return xstrdup("-");
	return xasprintf("%.1f%%", (double)usage_sum(usage, "cpu_ns") / 10000 / age_ms);
}

static void add_row(struct term_table *t, const json_t *task, const json_t *usage, int64_t now_ms)
{
	_cleanup_free_ char *family = task_family(task), *image = images(task);
	_cleanup_free_ char *status = ps_status(task), *ports = ps_ports(task);
	_cleanup_free_ char *cpu = cpu_share(task, usage, now_ms);
	char age[PS_AGE_SIZE], memory[TERM_SIZE_TEXT] = "-", id[TASK_ID_SHOWN + 1];

	ps_format_age(now_ms - task_created_ms(task), age);
	snprintf(id, sizeof(id), "%s", task_id(task));
	if (usage)
		term_format_size((uint64_t)usage_sum(usage, "memory_bytes"), memory);
	term_table_add(t, (const char *const[]){
			      id, family, image, status, *ports ? ports : NULL, age, cpu, memory});
}

static void print_table(const json_t *tasks, const json_t *usage)
{
	static const struct term_column columns[] = {
	    {"ID", false, false},
	    {"NAME", false, true},
	    {"IMAGE", false, true},
	    {"STATUS", false, false},
	    {"PORTS", false, true},
	    {"AGE", true, false},
	    {"CPU", true, false},
	    {"MEMORY", true, false},
	};
	struct term_table t;
	const json_t *task;
	size_t i;

	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach(tasks, i, task)
	    add_row(&t, task, usage_of(usage, task_arn(task)), time_wall_ms());
	term_table_print(&t);
	term_table_done(&t);
}

static void print_ids(const json_t *tasks)
{
	const json_t *task;
	size_t i;

	json_array_foreach(tasks, i, task) puts(task_id(task));
}

/* ECS's own documents, and what each uses beside it. */
static void print_json(json_t *tasks, const json_t *usage)
{
	json_t *task;
	size_t i;

	json_array_foreach(tasks, i, task)
	{
		const json_t *used = usage_of(usage, task_arn(task));

		if (used)
			json_object_set(task, "usage", json_object_get(used, "containers"));
	}
	json_dumpf(tasks, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	putchar('\n');
}

static int run(const void *options, char **args _unused_, int count _unused_)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	json_t *tasks = json_array(), *usage = NULL;
	int code = client_open(&c);

	if (!code)
		code = task_list(c, o->all, tasks);
	if (!code && !o->quiet && json_array_size(tasks))
		code = usage_read(c, &usage);
	if (!code && o->quiet)
		print_ids(tasks);
	else if (!code && o->json)
		print_json(tasks, usage);
	else if (!code)
		print_table(tasks, usage);
	json_decref(tasks);
	json_decref(usage);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"all", 'a', CLI_FLAG, NULL, "also those that stopped within the last hour", AT(all), 0, 0},
    {"quiet", 'q', CLI_FLAG, NULL, "only IDs", AT(quiet), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "an array of ECS's Task objects", AT(json), 0, 0},
};

const struct cli_verb cli_ps = {
    .name = "ps",
    .args = "",
    .summary = "list the tasks that run",
    .help =
	"One line a task, the newest first, whoever started it. NAME is the family of its task\n"
	"definition: for `mayfly run`, --name or the image's name. CPU is in percent of one CPU\n"
	"since it started, MEMORY what it has now. Other verbs take NAME, or the beginning of ID.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .run = run,
};
