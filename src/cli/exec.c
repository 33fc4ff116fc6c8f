/* `mayfly exec TASK CMD`: another process in a container that runs. */
#include <stdio.h>
#include <unistd.h>

#include "cli/interact.h"
#include "cli/task.h"

struct options {
	bool interactive, tty;
	const char *container;
};

static bool runs_container(const json_t *task, const char *name)
{
	const json_t *c;
	size_t i;

	json_array_foreach(task_containers(task), i, c)
	{
		if (!strcmp(field_text(c, "name"), name))
			return true;
	}
	return false;
}

static char *container_names(const json_t *task)
{
	struct buf b = BUF_INIT;
	const json_t *c;
	size_t i;

	json_array_foreach(task_containers(task), i, c)
	    buf_printf(&b, "%s%s", i ? ", " : "", field_text(c, "name"));
	buf_putc(&b, '\0');
	return b.mem;
}

/* Which container: --container, or the only one. */
static int choose(const json_t *task, const struct options *o, json_t *body)
{
	_cleanup_free_ char *names = container_names(task);

	if (o->container && !runs_container(task, o->container))
		return cli_fail(CLI_NOT_RUN, NULL, "exec: the task has no container %s, but %s",
		    o->container, names);
	if (!o->container && json_array_size(task_containers(task)) > 1)
		return cli_fail(CLI_NOT_RUN, "say which by --container NAME",
		    "exec: the task has several containers: %s", names);
	if (o->container)
		json_object_set_new(body, "container", json_string(o->container));
	return CLI_OK;
}

static int say_refusal(const struct interact_end *end, const char *name)
{
	if (end->refused == 403)
		return cli_fail(CLI_NOT_RUN,
		    "take the server's own keys: eval \"$(sudo mayfly env)\"", "exec: %s",
		    end->why);
	return cli_fail(end->refused == 409 ? task_refusal_code(end->why) : CLI_NOT_RUN, NULL,
	    "exec: nothing was run in %s: %s", name, end->why);
}

static json_t *make_body(char **command, int count)
{
	json_t *list = json_array();

	for (int i = 0; i < count; i++)
		json_array_append_new(list, json_string(command[i]));
	return json_pack("{s:o}", "command", list);
}

static int execute(
    struct client *c, const struct options *o, const json_t *task, json_t *body, const char *name)
{
	_cleanup_free_ char *path = task_path(task, "/exec");
	struct interact x = {
	    .client = c, .path = path, .body = body, .interactive = o->interactive, .tty = o->tty};
	struct interact_end end;
	int code = interact_run(&x, &end);

	if (!code && end.refused)
		code = say_refusal(&end, name);
	else if (!code && end.has_exit_code)
		code = end.exit_code & 255;
	else if (!code)
		code = cli_fail(CLI_NOT_RUN, NULL, "exec: how it ended is not known");
	free(end.why);
	return code;
}

static int run(const void *options, char **args, int count)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	json_t *task = NULL, *body = make_body(args + 1, count - 1);
	int code = interact_check("exec", o->interactive, o->tty);

	if (!code && json_array_size(json_object_get(body, "command")) != (size_t)count - 1)
		code = cli_fail(CLI_NOT_RUN, NULL, "exec: an argument is not UTF-8");
	if (!code)
		code = client_open(&c);
	if (!code)
		code = task_need(c, args[0], TASK_RUNNING, &task);
	if (!code)
		code = choose(task, o, body);
	if (code)
		code = CLI_NOT_RUN;
	else
		code = execute(c, o, task, body, args[0]);
	json_decref(task);
	json_decref(body);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"interactive", 'i', CLI_FLAG, NULL, "pass stdin on", AT(interactive), 0, 0},
    {"tty", 't', CLI_FLAG, NULL, "give it a terminal", AT(tty), 0, 0},
    {"container", 0, CLI_TEXT, "NAME", "of a task with several", AT(container), 0, 0},
};

const struct cli_verb cli_exec = {
    .name = "exec",
    .args = "TASK COMMAND [ARG]...",
    .summary = "run a command in a container that runs",
    .help =
	"TASK is an ID, the beginning of one, or a name that `mayfly ps` shows. The exit code is\n"
	"the command's; 125 if mayfly failed, 126 if the command cannot be executed, 127 if there\n"
	"is no such command. Options stand before TASK.\n"
	"\n"
	"  mayfly exec -it web sh\n"
	"  mayfly exec web cat /etc/hostname",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 2,
    .max_args = INT32_MAX,
    .command = true,
    .own_failure = CLI_NOT_RUN,
    .run = run,
};
