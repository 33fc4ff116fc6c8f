/*
 * Health checks by Docker's rules: the command runs in the container every `interval`, first that
 * long after the start; `retries` failures in a row mean UNHEALTHY, one success HEALTHY. Failures
 * within `startPeriod` do not count until a first success. One that outlasts `timeout` is killed
 * and has failed.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/rand.h"
#include "base/time.h"
#include "sched/task_int.h"

struct output {
	struct loop_io io;
	struct check *check;
};

/* A check that runs. It outlives its unit's interest in it: the spawner tells its end. */
struct check {
	struct task *task;
	struct unit *unit; /* NULL: nobody waits for the result any more */
	char exec_id[CONTAINER_ID_SIZE];
	struct output out[2]; /* stdout, stderr */
	bool late;
	char output[256];
	size_t output_len;
};

static int64_t setting_ns(const struct unit *u, const char *name, int64_t usual_s)
{
	const json_t *v = json_object_get(json_object_get(u->def, "healthCheck"), name);

	return (v ? json_integer_value(v) : usual_s) * 1000000000;
}

/* false: there is none to run. */
static bool command_of(struct arena *a, const struct unit *u, const char *const **ret, size_t *n)
{
	const json_t *list = json_object_get(json_object_get(u->def, "healthCheck"), "command");
	const char *kind = json_string_value(json_array_get(list, 0));
	size_t count = json_array_size(list);
	const char **args;

	if (!kind || count < 2 || !strcmp(kind, "NONE"))
		return false;
	args = arena_array(a, count + 2, const char *);
	*n = 0;
	if (!strcmp(kind, "CMD-SHELL")) {
		args[(*n)++] = "/bin/sh";
		args[(*n)++] = "-c";
	}
	/* Without a keyword all of it is the command. */
	for (size_t i = strcmp(kind, "CMD") && strcmp(kind, "CMD-SHELL") ? 0 : 1; i < count; i++)
		if (json_string_value(json_array_get(list, i)))
			args[(*n)++] = json_string_value(json_array_get(list, i));
	*ret = args;
	return true;
}

static void plan(struct unit *u)
{
	u->health.due_ns = loop_now_ns(u->task->all->o.loop) + setting_ns(u, "interval", 30);
}

static void set_status(struct unit *u, enum health status)
{
	if (u->health.status == status)
		return;
	u->health.status = status;
	u->health.since_ms = time_wall_ms();
}

static void judge(struct unit *u, bool good)
{
	int64_t retries = docs_int(json_object_get(u->def, "healthCheck"), "retries"),
		age = loop_now_ns(u->task->all->o.loop) - u->started_ns;

	if (good) {
		u->health.failures = 0;
		u->health.passed_once = true;
		set_status(u, HEALTH_HEALTHY);
	} else if (u->health.passed_once || age >= setting_ns(u, "startPeriod", 0)) {
		if (++u->health.failures >= (retries ? retries : 3))
			set_status(u, HEALTH_UNHEALTHY);
	}
	plan(u);
	task_wake(u->task);
}

/* ---- one that runs ---- */

static void close_output(struct check *c, struct output *o)
{
	loop_io_remove(c->task->all->o.loop, &o->io);
	base_closep(&o->io.fd);
	o->io.fd = -1;
}

static void on_output(struct loop_io *io, uint32_t events)
{
	struct output *o = container_of(io, struct output, io);
	struct check *c = o->check;
	char rest[4096];
	size_t room = sizeof(c->output) - 1 - c->output_len;
	ssize_t n =
	    read(io->fd, room ? c->output + c->output_len : rest, room ? room : sizeof(rest));

	(void)events;
	if (n > 0 && room)
		c->output_len += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_output(c, o);
}

static void finish(struct check *c, int exit_code)
{
	struct unit *u = c->unit;

	for (size_t i = 0; i < ARRAY_SIZE(c->out); i++)
		close_output(c, &c->out[i]);
	c->task->ops--;
	task_wake(c->task);
	if (u) {
		u->health.check = NULL;
		u->health.exit_code = exit_code;
		snprintf(u->health.output, sizeof(u->health.output), "%.*s", (int)c->output_len,
		    c->output);
		if (c->late)
			snprintf(u->health.output, sizeof(u->health.output),
			    "Health check exceeded timeout");
		judge(u, exit_code == 0 && !c->late);
	}
	free(c);
}

static void on_end(void *ctx, int exit_code)
{
	finish(ctx, exit_code);
}

static void on_running(void *ctx, int result, const char *why, const int streams[3])
{
	struct check *c = ctx;

	if (result < 0) {
		c->output_len = (size_t)snprintf(c->output, sizeof(c->output), "%.255s", why);
		finish(c, -1);
		return;
	}
	if (streams[0] >= 0)
		close(streams[0]);
	for (size_t i = 0; i < ARRAY_SIZE(c->out); i++) {
		struct output *o = &c->out[i];

		o->io = (struct loop_io){
		    .fd = streams[i + 1], .events = EPOLLIN, .on_ready = on_output};
		if (o->io.fd < 0)
			continue;
		(void)fd_nonblock(o->io.fd);
		if (loop_io_add(c->task->all->o.loop, &o->io) < 0)
			close_output(c, o);
	}
	/* Ended before there was anything to kill. */
	if (!c->unit || c->late)
		spawn_container_exec_kill(c->task->all->o.spawn, c->exec_id);
}

static void run(struct unit *u)
{
	struct container_exec x = {.terminal = false};
	struct check *c;
	struct arena a;

	arena_init(&a);
	u->health.due_ns = 0;
	if (command_of(&a, u, &x.args, &x.arg_count)) {
		c = xcalloc(1, sizeof(*c));
		c->task = u->task;
		c->unit = u;
		for (size_t i = 0; i < ARRAY_SIZE(c->out); i++)
			c->out[i] = (struct output){.io.fd = -1, .check = c};
		rand_hex(c->exec_id, CONTAINER_ID_SIZE - 1);
		memcpy(x.id, u->id, sizeof(x.id));
		memcpy(x.exec_id, c->exec_id, sizeof(x.exec_id));
		u->health.check = c;
		u->health.due_ns = loop_now_ns(u->task->all->o.loop) + setting_ns(u, "timeout", 5);
		u->task->ops++;
		spawn_container_exec(u->task->all->o.spawn, &x, on_running, on_end, c);
	}
	arena_done(&a);
}

/* ---- when ---- */

void health_start(struct unit *u)
{
	const char *const *args;
	size_t n;
	struct arena a;

	u->health.failures = 0;
	u->health.passed_once = false;
	arena_init(&a);
	if (command_of(&a, u, &args, &n))
		plan(u);
	arena_done(&a);
}

void health_look(struct unit *u)
{
	struct check_run *h = &u->health;

	if (!h->due_ns)
		return;
	if (h->due_ns > loop_now_ns(u->task->all->o.loop)) {
		task_due(u->task, h->due_ns);
	} else if (h->check) {
		/* Its end comes by on_end(), which plans the next. */
		h->check->late = true;
		h->due_ns = 0;
		spawn_container_exec_kill(u->task->all->o.spawn, h->check->exec_id);
	} else {
		run(u);
		if (h->due_ns)
			task_due(u->task, h->due_ns);
	}
}

void health_stop(struct unit *u)
{
	struct check *c = take_ptr(u->health.check);

	u->health.due_ns = 0;
	if (!c)
		return;
	c->unit = NULL;
	spawn_container_exec_kill(u->task->all->o.spawn, c->exec_id);
}
