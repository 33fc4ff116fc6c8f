/*
 * A container of a task: made, started, run, ended; made again if its restart policy says so.
 * unit_look() does the next thing while the task lives, unit_stop_look() while it stops.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/time.h"
#include "sched/task_int.h"

#define STOP_TIMEOUT_S 30
#define KILL_TIMEOUT_NS 10000000000 /* between SIGKILL and giving up */
#define RESTART_PERIOD_S 300
#define LOG_RETRY_NS 1000000000
#define ANSWER_TIMEOUT_NS (INT64_C(180) * 1000000000)

/* So that whoever finds a container knows whose it is, and which of its attempts. */
void unit_set_id(struct unit *u)
{
	snprintf(u->id, sizeof(u->id), "%.20s%04x%08x", u->task->sandbox_id, u->index & 0xffff,
	    u->attempt);
}

void unit_metadata_id(const struct unit *u, char ret[64])
{
	char digits[7];

	snprintf(digits, sizeof(digits), "%.6s", u->task->sandbox_id);
	snprintf(
	    ret, 64, "%.40s-%08lu%02u", u->task->id, strtoul(digits, NULL, 16), u->index % 100);
}

const char *unit_status(const struct unit *u)
{
	switch (u->phase) {
	case UNIT_RUNNING:
	case UNIT_REPLACING: return "RUNNING";
	case UNIT_ENDED: return "STOPPED";
	default: return u->started ? "RUNNING" : "PENDING";
	}
}

static void end(struct unit *u)
{
	u->phase = UNIT_ENDED;
	u->kill_due_ns = 0;
	health_stop(u);
	stats_close(u);
	task_wake(u->task);
}

void unit_fail(struct unit *u, const char *code, const char *why)
{
	free(u->reason);
	u->reason = xasprintf("%s: %s", code, why);
	u->has_exit_code = false;
	end(u);
}

void unit_leave(struct unit *u)
{
	if (u->pull)
		image_pull_cancel(take_ptr(u->pull));
	image_unref(take_ptr(u->image));
	stats_close(u);
	tail_close(take_ptr(u->tail));
	place_close(u->task, &u->place);
	input_wipe(u);
}

void unit_done(struct unit *u)
{
	health_stop(u);
	unit_leave(u);
}

/* ---- its log ---- */

void unit_open_log(struct unit *u)
{
	int fd = spawn_container_log(u->task->all->o.spawn, u->id);

	u->log = LOG_DONE;
	if (fd >= 0) {
		u->tail = tail_open(u->task->all->tails, u, fd);
		u->log = LOG_OPEN;
	} else {
		log_warn("container %s of task %s has no log", u->name, u->task->arn);
	}
}

/* true: it is read to the end, or there is none. */
static bool log_read(struct unit *u)
{
	int64_t now = loop_now_ns(u->task->all->o.loop);

	if (u->log == LOG_OPEN) {
		switch (tail_drain(u->tail)) {
		case TAIL_DONE:
			tail_close(take_ptr(u->tail));
			u->log = LOG_DONE;
			break;
		case TAIL_MORE: task_due(u->task, now); break;
		case TAIL_STUCK: task_due(u->task, now + LOG_RETRY_NS); break;
		}
	}
	return u->log == LOG_NONE || u->log == LOG_DONE;
}

/* ---- making it ---- */

/* The runtime looks for the program when it makes a container; Docker, and so ECS, says what it
 * found when it starts one. "executable file `x` not found", "open executable: Permission denied"
 */
static const char *make_error(int result, const char *why)
{
	return result == -EADDRINUSE || strstr(why, "executable file") ||
		       strstr(why, "open executable:")
		   ? "CannotStartContainerError"
		   : "CannotCreateContainerError";
}

static void on_made(void *ctx, int result, const char *why, const struct container_net *net)
{
	struct unit *u = ctx;
	char words[256];

	u->task->ops--;
	if (result < 0) {
		text_runtime(why, words);
		unit_fail(u, make_error(result, why), words);
		return;
	}
	if (net)
		place_open(u->task, &u->place, net);
	if (u->phase != UNIT_MAKING)
		return;
	u->phase = UNIT_MADE;
	u->created_ms = time_wall_ms();
	if (!json_is_true(json_object_get(json_object_get(u->def, "restartPolicy"), "enabled")))
		input_wipe(u);
	unit_open_log(u);
	hold_begin(u);
	task_wake(u->task);
}

static int user_of(struct unit *u, uint32_t groups[32], struct spec_in *in, struct err *e)
{
	const char *user = docs_str(u->def, "user");

	if (!user)
		user = in->image->user;
	return image_user(u->image, user, &in->uid, &in->gid, groups, &in->group_count, e);
}

static const char *endpoint_of(struct arena *a, const struct task *t)
{
	if (t->network == CONTAINER_NET_HOST)
		return t->all->o.host_endpoint;
	return arena_printf(a, "http://169.254.170.2:%s", t->all->o.endpoint_port);
}

static bool make(struct unit *u)
{
	struct task *t = u->task;
	struct spec_in in = {.task = t, .unit = u, .image = image_config(u->image)};
	struct container_spec spec;
	struct err e = ERR_INIT;
	struct arena a;
	_cleanup_buf_ struct buf resolv = BUF_INIT;
	uint32_t groups[32];
	int r;

	arena_init(&a);
	in.layer_count = image_layers(u->image, &in.layers);
	in.groups = groups;
	(void)fd_read_file(AT_FDCWD, "/etc/resolv.conf", 65536, &resolv);
	in.resolv_conf = arena_strndup(&a, buf_str(&resolv).ptr, buf_len(&resolv));
	in.endpoint = endpoint_of(&a, t);
	r = user_of(u, groups, &in, &e);
	if (r == 0)
		r = spec_container(&a, &in, &spec, &e);
	if (r < 0) {
		unit_fail(u,
		    r == -ENODEV ? "CannotCreateVolumeError" : "CannotCreateContainerError", e.msg);
	} else {
		u->phase = UNIT_MAKING;
		u->op_due_ns = loop_now_ns(t->all->o.loop) + ANSWER_TIMEOUT_NS;
		u->stop_signal = spec_signal(in.image->stop_signal);
		t->ops++;
		spawn_container_make(t->all->o.spawn, &spec, on_made, u);
	}
	arena_done(&a);
	return r < 0;
}

/* ---- starting it ---- */

static void on_started(void *ctx, int result, const char *why)
{
	struct unit *u = ctx;
	char words[256];

	u->task->ops--;
	if (u->phase != UNIT_STARTING)
		return; /* it has ended already */
	if (result < 0) {
		text_runtime(why, words);
		unit_fail(u, "CannotStartContainerError", words);
		return;
	}
	u->phase = UNIT_RUNNING;
	u->started = true;
	u->started_ms = time_wall_ms();
	u->started_ns = loop_now_ns(u->task->all->o.loop);
	health_start(u);
	task_wake(u->task);
}

static bool start(struct unit *u)
{
	char why[256];

	if (hold_goes_on(u))
		return false;
	switch (depend_start(u, why, sizeof(why))) {
	case DEPEND_WAIT: return false;
	case DEPEND_NEVER:
		unit_fail(u, "CannotStartContainerError", why);
		life_stop(u->task, "TaskFailedToStart", u->reason);
		return true;
	case DEPEND_MET: break;
	}
	u->phase = UNIT_STARTING;
	u->op_due_ns = loop_now_ns(u->task->all->o.loop) + ANSWER_TIMEOUT_NS;
	u->task->ops++;
	spawn_container_start(u->task->all->o.spawn, u->id, on_started, u);
	return false;
}

/* ---- again ---- */

bool unit_replaceable(const struct unit *u, int64_t now_ms)
{
	const json_t *policy = json_object_get(u->def, "restartPolicy"), *code;
	int64_t period = docs_int(policy, "restartAttemptPeriod");
	size_t i;

	if (!json_is_true(json_object_get(policy, "enabled")) || u->task->stop_code)
		return false;
	json_array_foreach(json_object_get(policy, "ignoredExitCodes"), i, code)
	{
		if (json_integer_value(code) == u->exit_code)
			return false;
	}
	return now_ms - u->started_ms >= (period ? period : RESTART_PERIOD_S) * 1000;
}

static void on_removed(void *ctx, int result, const char *why)
{
	struct unit *u = ctx;

	u->task->ops--;
	if (u->phase != UNIT_REPLACING)
		return;
	if (result < 0 && result != -ENOENT && result != -ESRCH) {
		unit_fail(u, "CannotStartContainerError", why);
		return;
	}
	u->attempt++;
	unit_set_id(u);
	u->log = LOG_NONE;
	u->has_exit_code = false;
	free(take_ptr(u->reason));
	u->finished_ms = 0;
	u->phase = UNIT_WAITING;
	task_wake(u->task);
}

static bool replace(struct unit *u)
{
	if (!task_saved(u->task, u->end_save) || u->log == LOG_NONE || !log_read(u))
		return false;
	u->log = LOG_NONE; /* asked once */
	place_close(u->task, &u->place);
	u->task->ops++;
	spawn_container_remove(u->task->all->o.spawn, u->id, on_removed, u);
	return false;
}

/* ---- what happens to it ---- */

void unit_exited(struct unit *u, const struct container_facts *f)
{
	if (u->phase == UNIT_ENDED || u->phase == UNIT_REPLACING || u->phase == UNIT_WAITING)
		return;
	u->started = true;
	if (f->started_ms)
		u->started_ms = f->started_ms;
	u->finished_ms = f->finished_ms ? f->finished_ms : time_wall_ms();
	if (!u->started_ms)
		u->started_ms = u->finished_ms;
	if (!u->started_ns)
		u->started_ns = loop_now_ns(u->task->all->o.loop);
	u->oom_killed = f->oom_killed;
	u->has_exit_code = f->exit_code >= 0;
	u->exit_code = f->exit_code;
	if (f->oom_killed) {
		free(u->reason);
		u->reason = xstrdup("OutOfMemoryError: Container killed due to memory usage");
	}
	end(u);
	if (u->has_exit_code && unit_replaceable(u, u->finished_ms)) {
		u->phase = UNIT_REPLACING;
		u->restarts++;
		u->end_save = task_next_save(u->task);
	}
}

/* Whatever the runtime does, nobody waits for it for ever. */
static void await_answer(struct unit *u)
{
	const char *launch = docs_str(u->task->base, "launchType");
	char why[80];

	if (u->op_due_ns > loop_now_ns(u->task->all->o.loop)) {
		task_due(u->task, u->op_due_ns);
		return;
	}
	snprintf(why, sizeof(why), "Could not transition to %s; timed out after waiting 3m0s",
	    u->phase == UNIT_MAKING ? "created" : "started");
	unit_fail(u,
	    launch && !strcmp(launch, "FARGATE") ? "ContainerRuntimeTimeoutError"
						 : "DockerTimeoutError",
	    why);
}

bool unit_look(struct unit *u)
{
	switch (u->phase) {
	case UNIT_WAITING:
		if (!u->image || u->task->inputs != INPUT_READY || !depend_make(u))
			return false;
		return make(u);
	case UNIT_MADE: return start(u);
	case UNIT_RUNNING: health_look(u); return false;
	case UNIT_REPLACING: return replace(u);
	case UNIT_ENDED: (void)log_read(u); return false;
	case UNIT_MAKING:
	case UNIT_STARTING: await_answer(u); return u->phase == UNIT_ENDED;
	}
	return false;
}

/* ---- stopping it ---- */

static int64_t stop_timeout_ns(const struct unit *u)
{
	const json_t *v = json_object_get(u->def, "stopTimeout");

	return (v ? json_integer_value(v) : STOP_TIMEOUT_S) * 1000000000;
}

static void on_signalled(void *ctx, int result, const char *why)
{
	struct unit *u = ctx;

	u->task->ops--;
	if (result < 0 && result != -ESRCH && result != -ENOENT)
		log_warn("signal to container %s of task %s: %s", u->name, u->task->arn, why);
	task_wake(u->task);
}

static void send_signal(struct unit *u, int signal, int64_t patience_ns)
{
	struct task *t = u->task;

	u->signal_sent = signal;
	u->kill_due_ns = loop_now_ns(t->all->o.loop) + patience_ns;
	t->ops++;
	spawn_container_signal(t->all->o.spawn, u->id, signal, on_signalled, u);
}

static void stop_running(struct unit *u)
{
	int64_t now = loop_now_ns(u->task->all->o.loop);

	if (!u->signal_sent && depend_stop(u))
		send_signal(u, u->stop_signal ? u->stop_signal : SIGTERM, stop_timeout_ns(u));
	if (u->signal_sent && u->kill_due_ns <= now) {
		if (u->signal_sent == SIGKILL) {
			/* The sandbox's removal ends what is in it, whatever it is. */
			unit_fail(u, "CannotStopContainerError", "it did not end after SIGKILL");
			return;
		}
		send_signal(u, SIGKILL, KILL_TIMEOUT_NS);
	}
	if (u->signal_sent)
		task_due(u->task, u->kill_due_ns);
}

bool unit_stop_look(struct unit *u)
{
	switch (u->phase) {
	case UNIT_WAITING:
	case UNIT_MADE:
		/* A made one goes with its sandbox. */
		end(u);
		return false;
	case UNIT_RUNNING:
		health_stop(u);
		stop_running(u);
		return false;
	case UNIT_REPLACING: u->phase = UNIT_ENDED; return false;
	case UNIT_MAKING:
	case UNIT_STARTING: await_answer(u); return false;
	case UNIT_ENDED: break;
	}
	return log_read(u);
}
