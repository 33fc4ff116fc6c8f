/*
 * `mayfly run IMAGE [CMD]`: a task of one container, as `docker run` makes a container. A task
 * definition is registered, RunTask starts it, and the streams are attached before the first
 * instruction runs: the task has a tag that makes it wait for that.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli/interact.h"
#include "cli/pull.h"
#include "cli/run_spec.h"
#include "cli/task.h"
#include "cli/term.h"

/* What the server makes of these tags is at the head of src/sched/hold.c. */
#define TAG_HOLD "mayfly:hold"
#define TAG_RM "mayfly:rm"
#define STARTED_BY "mayfly run"

struct run {
	const struct run_options *o;
	struct client *client;
	struct client *side; /* for requests while the client's connection is a stream */
	const char *image;
	char family[RUN_FAMILY_MAX + 1];
	char *definition; /* its ARN */
	json_t *task;
};

/* ---- starting ---- */

static int check_name(struct run *r)
{
	json_t *in, *answer = NULL;
	const char *arn;
	int code;

	if (!r->o->name)
		return CLI_OK;
	in = json_pack("{s:s,s:s}", "family", r->family, "desiredStatus", "RUNNING");
	code = client_ecs(r->client, "ListTasks", in, 400, "looking for the name", &answer);
	json_decref(in);
	arn = json_string_value(json_array_get(json_object_get(answer, "taskArns"), 0));
	if (code == CLIENT_NOTED)
		code = CLI_OK; /* not even a cluster yet */
	if (!code && arn)
		code = cli_fail(CLI_NOT_RUN, "`mayfly stop NAME` ends it; or choose another name",
		    "run: the name %s is in use by task %.*s", r->family, TASK_ID_SHOWN,
		    strrchr(arn, '/') + 1);
	json_decref(answer);
	return code;
}

static int check_pull(const struct run_options *o)
{
	if (!o->pull || !strcmp(o->pull, "missing") || !strcmp(o->pull, "always") ||
	    !strcmp(o->pull, "never"))
		return CLI_OK;
	return cli_fail(
	    CLI_NOT_RUN, "missing, always or never", "run: --pull cannot be: %s", o->pull);
}

static int register_definition(struct run *r, json_t *in)
{
	json_t *answer = NULL;
	int code = client_ecs(
	    r->client, "RegisterTaskDefinition", in, 0, "describing the container", &answer);

	if (!code)
		r->definition = xstrdup(
		    field_text(json_object_get(answer, "taskDefinition"), "taskDefinitionArn"));
	json_decref(answer);
	return code;
}

static json_t *make_tags(const struct run_options *o)
{
	json_t *tags = json_array();

	if (!o->detach)
		json_array_append_new(tags, json_pack("{s:s,s:s}", "key", TAG_HOLD, "value", "30"));
	if (o->rm)
		json_array_append_new(tags, json_pack("{s:s,s:s}", "key", TAG_RM, "value", "true"));
	return tags;
}

static int say_failure(const struct run *r, const json_t *failure)
{
	const char *reason = field_text(failure, "reason"), *detail = field_text(failure, "detail");

	if (!strcmp(reason, "RESOURCE:MEMORY"))
		return cli_fail(CLI_NOT_RUN,
		    "ask for less by --memory, or stop others: `mayfly ps`",
		    "run: so much memory is not free on this machine");
	if (!strcmp(reason, "RESOURCE:CPU"))
		return cli_fail(CLI_NOT_RUN, "ask for less by --cpus, or stop others: `mayfly ps`",
		    "run: so much CPU is not free on this machine");
	if (!strcmp(reason, "RESOURCE:PORTS"))
		return cli_fail(CLI_NOT_RUN,
		    "publish another, or stop that task: `mayfly ps` shows who has which port",
		    "run: %s", *detail ? detail : "a port of --publish is taken");
	return cli_fail(CLI_NOT_RUN, NULL, "run: %s cannot be started: %s", r->image, reason);
}

static int run_task(struct run *r)
{
	json_t *in = json_pack("{s:s,s:i,s:s,s:o}", "taskDefinition", r->definition, "count", 1,
		   "startedBy", STARTED_BY, "tags", make_tags(r->o)),
	       *answer = NULL;
	int code;

	if (!json_array_size(json_object_get(in, "tags")))
		json_object_del(in, "tags");
	code = client_ecs(r->client, "RunTask", in, 0, "starting the task", &answer);
	json_decref(in);
	r->task = json_incref(json_array_get(json_object_get(answer, "tasks"), 0));
	if (!code && !r->task)
		code = say_failure(r, json_array_get(json_object_get(answer, "failures"), 0));
	json_decref(answer);
	return code;
}

/* A task keeps its own copy of the definition, so this one can go while the task runs. */
static void forget_definition(struct run *r)
{
	json_t *one = json_pack("{s:s}", "taskDefinition", r->definition);
	json_t *list = json_pack("{s:[s]}", "taskDefinitions", r->definition);

	if (!client_ecs(
		r->client, "DeregisterTaskDefinition", one, 400, "forgetting the definition", NULL))
		client_ecs(r->client, "DeleteTaskDefinitions", list, 400,
		    "forgetting the definition", NULL);
	json_decref(one);
	json_decref(list);
}

/* ---- while it runs ---- */

static void stop_task(struct run *r, const char *reason)
{
	json_t *in = json_pack("{s:s,s:s,s:s}", "cluster", field_text(r->task, "clusterArn"),
	    "task", task_arn(r->task), "reason", reason);

	if (r->side || client_open(&r->side) == CLI_OK)
		client_ecs(r->side, "StopTask", in, 400, "stopping the task", NULL);
	json_decref(in);
}

/* The first one stops the task, and what it says to that is still printed; the second leaves. */
static int on_signal(void *ctx, int signal, int times)
{
	struct run *r = ctx;

	if (times > 1)
		return 128 + signal;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\nstopping %s; once more to leave at once\n", r->family);
	stop_task(r, "interrupted");
	return -1;
}

static const json_t *container_of_task(const json_t *task)
{
	return json_array_get(task_containers(task), 0);
}

/* As docker tells what could not be started. */
static int code_of_failure(const char *reason)
{
	if (!strstr(reason, "CannotStart") && !strstr(reason, "CannotCreate"))
		return CLI_NOT_RUN;
	return task_refusal_code(reason);
}

static int say_why(const struct run *r, const json_t *task)
{
	const char *reason = field_text(container_of_task(task), "reason");

	if (!*reason)
		reason = field_text(task, "stoppedReason");
	return cli_fail(code_of_failure(reason), NULL, "run: %s did not run: %s", r->image,
	    *reason ? reason : "no reason was given");
}

static bool has_ended(const json_t *task)
{
	const json_t *c = container_of_task(task);

	return task_is_stopped(task) || json_object_get(c, "exitCode") ||
	       !strcmp(field_text(c, "lastStatus"), "STOPPED");
}

/* The exit code of the container, when it has ended. */
static int wait_for_end(struct run *r)
{
	const json_t *exit_code;
	json_t *task = NULL;
	unsigned pause_ms = 0;
	int code;

	do {
		json_decref(task);
		task = NULL;
		code = task_describe(
		    r->client, field_text(r->task, "clusterArn"), task_arn(r->task), &task);
		if (code || !task || has_ended(task))
			break;
		client_pause(&pause_ms);
	} while (true);
	exit_code = json_object_get(container_of_task(task), "exitCode");
	if (!code && !task)
		code =
		    cli_fail(CLI_NOT_RUN, NULL, "run: the task is gone; how it ended is not known");
	else if (!code && exit_code)
		code = (int)json_integer_value(exit_code) & 255;
	else if (!code)
		code = say_why(r, task);
	json_decref(task);
	return code;
}

static int stay_attached(struct run *r)
{
	_cleanup_free_ char *path = task_path(r->task, "/attach");
	struct interact x = {.client = r->client,
	    .path = path,
	    .body = json_object(),
	    .interactive = r->o->interactive,
	    .tty = r->o->tty,
	    .on_signal = on_signal,
	    .ctx = r};
	struct interact_end end;
	int code = interact_run(&x, &end);

	json_decref(x.body);
	/* Refused: it ended before it ran, which the task's record tells better. */
	if (!code)
		code = wait_for_end(r);
	free(end.why);
	return code;
}

static int start(struct run *r, json_t *definition)
{
	int code = client_open(&r->client);

	if (!code)
		code = check_name(r);
	if (!code)
		code = pull_image(r->client, r->image, r->o->pull ? r->o->pull : "missing", NULL);
	if (!code)
		code = register_definition(r, definition);
	if (!code)
		code = run_task(r);
	if (r->definition && (r->o->rm || !r->task))
		forget_definition(r);
	return code ? CLI_NOT_RUN : CLI_OK;
}

/* What can be judged here is judged before anything is done. */
static json_t *check_options(struct run *r, char **command, int count)
{
	if (!run_family(r->o, r->image, r->family) || check_pull(r->o) ||
	    interact_check("run", r->o->interactive && !r->o->detach, r->o->tty))
		return NULL;
	return run_definition(r->o, r->image, command, count);
}

static int run(const void *options, char **args, int count)
{
	struct run r = {.o = options, .image = args[0]};
	json_t *definition = check_options(&r, args + 1, count - 1);
	int code = definition ? start(&r, definition) : CLI_NOT_RUN;

	if (!code && r.o->detach)
		puts(task_id(r.task));
	else if (!code)
		code = stay_attached(&r);
	json_decref(definition);
	json_decref(r.task);
	free(r.definition);
	client_close(r.side);
	client_close(r.client);
	return code;
}

#define AT(member) offsetof(struct run_options, member)
static const struct cli_option table[] = {
    {"detach", 'd', CLI_FLAG, NULL, "print the task's ID and leave it running", AT(detach), 0, 0},
    {"interactive", 'i', CLI_FLAG, NULL, "pass stdin on", AT(interactive), 0, 0},
    {"tty", 't', CLI_FLAG, NULL, "give it a terminal", AT(tty), 0, 0},
    {"rm", 0, CLI_FLAG, NULL, "forget it when it has ended", AT(rm), 0, 0},
    {"name", 0, CLI_TEXT, "NAME", "what it is called (the image's name)", AT(name), 0, 0},
    {"publish", 'p', CLI_LIST, "HOST:PORT",
	"a port of this machine for one of the container;\n"
	"/udp behind it; again and again",
	AT(publish), 0, 0},
    {"env", 'e', CLI_LIST, "NAME=VALUE", "a variable; NAME alone passes this shell's on", AT(env),
	0, 0},
    {"env-file", 0, CLI_LIST, "FILE", "variables, one a line", AT(env_files), 0, 0},
    {"volume", 'v', CLI_LIST, "FROM:TO[:ro]",
	"a directory of this machine, or a volume by name,\n"
	"at TO inside",
	AT(volumes), 0, 0},
    {"memory", 'm', CLI_TEXT, "SIZE", "at most so much memory, such as 512m or 2g", AT(memory), 0,
	0},
    {"cpus", 0, CLI_TEXT, "N", "at most so many CPUs, such as 0.5", AT(cpus), 0, 0},
    {"network", 0, CLI_TEXT, "MODE", "bridge (if not given), host or none", AT(network), 0, 0},
    {"user", 'u', CLI_TEXT, "USER[:GROUP]", "instead of the image's", AT(user), 0, 0},
    {"workdir", 'w', CLI_TEXT, "DIR", "instead of the image's", AT(workdir), 0, 0},
    {"entrypoint", 0, CLI_TEXT, "PROGRAM", "instead of the image's", AT(entrypoint), 0, 0},
    {"read-only", 0, CLI_FLAG, NULL, "nothing can be written but in volumes", AT(read_only), 0, 0},
    {"init", 0, CLI_FLAG, NULL, "an init as process 1, which reaps", AT(init), 0, 0},
    {"pull", 0, CLI_TEXT, "WHEN", "missing (if not given), always or never", AT(pull), 0, 0},
};

const struct cli_verb cli_run = {
    .name = "run",
    .args = "IMAGE [COMMAND [ARG]...]",
    .summary = "run a container",
    .help =
	"As `docker run`, on this server: gets the image if it is not here, starts it as an ECS\n"
	"task of one container and shows its output until it ends. Without -d the exit code is\n"
	"the container's; 125 if mayfly failed, 126 if the command cannot be executed, 127 if\n"
	"there is no such command. Ctrl-C without -t stops the task: SIGTERM, and SIGKILL 30 s\n"
	"later; a second one leaves at once. Options stand before IMAGE.\n"
	"\n"
	"  mayfly run -it --rm busybox sh\n"
	"  mayfly run -d --name web -p 8080:80 nginx\n"
	"  mayfly run --rm -i -v \"$PWD:/src:ro\" -w /src node:20 node build.js < input.json\n"
	"\n"
	"Directories of this machine can be mounted if they lie below one that the server was\n"
	"started with: `mayfly serve --bind-root DIR`.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct run_options),
    .min_args = 1,
    .max_args = INT32_MAX,
    .command = true,
    .own_failure = CLI_NOT_RUN,
    .run = run,
};
