/* `mayfly stop TASK...`: stop tasks, and wait until they have stopped. */
#include <stdio.h>

#include "base/time.h"
#include "cli/task.h"
#include "cli/term.h"

/* Beyond what the longest stop time-out of ECS is. */
#define WAIT_MS 180000
#define TELL_MS 2000

struct options {
	int64_t seconds; /* -1: as the task's definition says */
	bool no_wait;
};

/* What has not heeded its stop signal. */
static int kill_task(struct client *c, const json_t *task)
{
	_cleanup_free_ char *path = task_path(task, "/kill");

	return client_json(c, "ecs", "POST", path, NULL, 404, "killing the task", NULL);
}

static int wait_until_stopped(
    struct client *c, const struct options *o, const json_t *task, const char *name)
{
	_cleanup_free_ char *doing = xasprintf("waiting for %s to heed its stop signal; -t SECONDS "
					       "waits less",
	    name);
	int64_t now_ms = time_mono_ns() / 1000000, until_ms = now_ms + WAIT_MS;
	int64_t tell_ms = now_ms + TELL_MS;
	int64_t kill_ms = o->seconds < 0 ? INT64_MAX : now_ms + o->seconds * 1000;
	unsigned pause_ms = 0;
	int code = CLI_OK;

	while (time_mono_ns() / 1000000 < until_ms) {
		json_t *now = NULL;
		bool over;

		code = task_describe(c, field_text(task, "clusterArn"), task_arn(task), &now);
		over = !now || task_is_stopped(now);
		json_decref(now);
		if (code || over)
			return code;
		if (time_mono_ns() / 1000000 >= tell_ms) {
			term_progress(doing);
			tell_ms = INT64_MAX;
		}
		if (time_mono_ns() / 1000000 >= kill_ms) {
			code = kill_task(c, task);
			kill_ms = INT64_MAX;
		}
		if (code && code != CLIENT_NOTED)
			return code;
		client_pause(&pause_ms);
	}
	return cli_fail(CLI_FAILED, "`mayfly ps` shows its state",
	    "stop: %s has not stopped after %d s", name, WAIT_MS / 1000);
}

static int stop_one(struct client *c, const struct options *o, const char *name)
{
	json_t *task = NULL, *in = NULL;
	int code = task_need(c, name, TASK_RUNNING, &task);

	if (!code) {
		in = json_pack("{s:s,s:s,s:s}", "cluster", field_text(task, "clusterArn"), "task",
		    task_arn(task), "reason", "mayfly stop");
		code = client_ecs(c, "StopTask", in, 0, "stopping the task", NULL);
	}
	if (!code && !o->no_wait) {
		code = wait_until_stopped(c, o, task, name);
		term_progress(NULL);
	}
	if (!code)
		printf("%s\n", name);
	json_decref(in);
	json_decref(task);
	return code;
}

static int run(const void *options, char **args, int count)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	int code = client_open(&c);

	for (int i = 0; !code && i < count; i++)
		code = stop_one(c, o, args[i]);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"time", 't', CLI_NUMBER, "SECONDS", "kill after so long, if that is less than the time-out",
	AT(seconds), 0, 3600},
    {"no-wait", 0, CLI_FLAG, NULL, "do not wait until they have stopped", AT(no_wait), 0, 0},
};

const struct cli_verb cli_stop = {
    .name = "stop",
    .args = "TASK...",
    .summary = "stop tasks",
    .help =
	"Each container gets its stop signal (SIGTERM if its image names none), and SIGKILL when\n"
	"its stop time-out has passed (30 s unless its definition says otherwise). TASK is an\n"
	"ID, the beginning of one, or a name that `mayfly ps` shows.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults = &(const struct options){.seconds = -1},
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = INT32_MAX,
    .run = run,
};
