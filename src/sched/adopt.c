/*
 * What a former life of core left: the spawner tells each sandbox and container that it found, then
 * that this was all. Those of our tasks are taken over as they are; others are removed. A task of
 * which nothing was found is begun anew if nothing of it had run, else the machine (or somebody
 * with its powers) has ended it.
 */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/task_int.h"

static void orphan_removed(void *ctx, int result, const char *why)
{
	(void)ctx;
	if (result < 0)
		log_warn("something that belongs to no task could not be removed: %s", why);
}

/* ---- what is found ---- */

static void close_fds(const struct container_net *net)
{
	for (size_t i = 0; net && i < CONTAINER_FD_COUNT; i++) {
		int fd = net->fds[i];

		base_closep(&fd);
	}
}

/* Of an attempt that our record knows, or of the one after that: it was begun, not yet noted. */
static struct unit *unit_of(struct task *t, const char *id)
{
	uint8_t raw[6];
	unsigned index, attempt;

	if (strncmp(id, t->sandbox_id, 20) != 0 || !hex_decode(str_from(id + 20), raw, sizeof(raw)))
		return NULL;
	index = (unsigned)raw[0] << 8 | raw[1];
	attempt = (unsigned)raw[2] << 24 | (unsigned)raw[3] << 16 | (unsigned)raw[4] << 8 | raw[5];
	if (index >= t->unit_count || attempt < t->units[index].attempt)
		return NULL;
	t->units[index].attempt = attempt;
	unit_set_id(&t->units[index]);
	return &t->units[index];
}

static int64_t mono_of(const struct task *t, int64_t wall_ms)
{
	int64_t now = loop_now_ns(t->all->o.loop), ago_ms = time_wall_ms() - wall_ms;

	return wall_ms && ago_ms > 0 ? now - ago_ms * 1000000 : now;
}

/* "…/container-instance/CLUSTER/<32 hex digits>" to the form of EC2's. */
static void host_ended(struct task *t)
{
	const char *arn = docs_str(t->base, "containerInstanceArn"),
		   *slash = arn ? strrchr(arn, '/') : NULL;
	char text[128];

	snprintf(text, sizeof(text), "Host EC2 (instance i-%.17s) terminated.",
	    slash ? slash + 1 : "00000000000000000");
	life_stop(t, "TerminationNotice", text);
}

static int64_t boot_ms(void)
{
	struct timespec up;

	clock_gettime(CLOCK_BOOTTIME, &up);
	return time_wall_ms() - (int64_t)up.tv_sec * 1000;
}

static void ended(struct unit *u, const struct container_facts *f)
{
	/* The clocks need not agree to the second. */
	if (f->exit_code < 0 && u->started_ms + 2000 < boot_ms())
		host_ended(u->task);
	unit_exited(u, f);
	if (f->exit_code < 0 && !u->reason)
		u->reason = xstrdup("CannotInspectContainerError: nobody saw how it ended");
}

static void take_over(struct unit *u, const struct container_facts *f)
{
	unit_open_log(u);
	if (u->phase == UNIT_ENDED)
		return; /* noted before, but its log may not have been read to the end */
	if (f->started_ms)
		u->started_ms = f->started_ms;
	u->started_ns = mono_of(u->task, u->started_ms);
	if (f->state == CONTAINER_CREATED) {
		u->phase = UNIT_MADE;
		return;
	}
	u->phase = UNIT_RUNNING;
	u->started = true;
	if (f->state == CONTAINER_EXITED)
		ended(u, f);
	else
		health_start(u);
}

/* Killed while it was being made: there is something, but nothing of it ever ran. */
static bool is_half_made(const struct container_facts *f)
{
	return f->state == CONTAINER_EXITED && f->exit_code < 0 && !f->started_ms;
}

static void found_container(
    struct task *t, const struct container_facts *f, const struct container_net *net)
{
	struct unit *u = unit_of(t, f->id);

	if (u && is_half_made(f) && u->phase != UNIT_ENDED) {
		close_fds(net);
		if (u->phase != UNIT_REPLACING)
			u->phase = UNIT_MADE; /* miss() makes another */
		return;
	}
	if (!u) {
		close_fds(net);
		spawn_container_remove(t->all->o.spawn, f->id, orphan_removed, NULL);
		return;
	}
	if (net)
		place_open(t, &u->place, net);
	take_over(u, f);
}

static void found_sandbox(
    struct task *t, const struct sandbox_spec *s, const struct container_net *net)
{
	(void)s;
	t->sandbox = SANDBOX_MADE;
	if (net)
		place_open(t, &t->place, net);
}

/* ---- what is not ---- */

static bool has_run(const struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].started || t->units[i].phase == UNIT_STARTING)
			return true;
	return false;
}

static bool any_found(const struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].log != LOG_NONE)
			return true;
	return false;
}

static void on_swept(void *ctx, int result, const char *why)
{
	struct task *t = ctx;

	t->ops--;
	t->sandbox = SANDBOX_NONE;
	if (result < 0)
		log_warn("what was begun of task %s is in the way: %s", t->arn, why);
	task_wake(t);
}

/* Nothing of it ran: what a dead core had begun is swept away, and the task begins anew. The
 * spawner may still be at work on it; it does one thing after the other for one sandbox. */
static void begin_anew(struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].phase != UNIT_ENDED)
			t->units[i].phase = UNIT_WAITING;
	place_close(t, &t->place);
	t->phase = TASK_PROVISIONING;
	t->sandbox = SANDBOX_REMOVING;
	t->ops++;
	spawn_sandbox_remove(t->all->o.spawn, t->sandbox_id, on_swept, t);
}

/* A container that was not found. Another is made for one that had not started; of what ran nobody
 * can say how it ended. */
static void miss(struct unit *u)
{
	struct container_facts f = {.exit_code = -1};

	switch (u->phase) {
	case UNIT_STARTING:
	case UNIT_RUNNING: ended(u, &f); break;
	case UNIT_MAKING:
	case UNIT_MADE:
	case UNIT_REPLACING:
		u->phase = UNIT_REPLACING;
		u->end_save = 0;
		u->log = LOG_DONE;
		break;
	case UNIT_WAITING:
	case UNIT_ENDED: break;
	}
}

static void settle(struct task *t)
{
	bool lost = t->sandbox == SANDBOX_NONE;

	t->sandbox = SANDBOX_MADE; /* or to be removed all the same */
	t->adopting = false;
	/* Who waits for "the next record" gets one, though nothing may have changed. */
	json_decref(take_ptr(t->seen_own));
	task_wake(t);
	if (!t->stop_code && !any_found(t) && !has_run(t)) {
		begin_anew(t);
		return;
	}
	if (lost && !t->stop_code)
		host_ended(t);
	for (unsigned i = 0; i < t->unit_count; i++) {
		struct unit *u = &t->units[i];

		if (u->log == LOG_NONE)
			miss(u);
		if (u->phase >= UNIT_MADE && u->phase <= UNIT_REPLACING)
			input_hold_image(u);
	}
}

static void found_all(struct tasks *all)
{
	list_for_each (n, &all->live) {
		struct task *t = list_entry(n, struct task, node);

		if (t->adopting)
			settle(t);
	}
	/* What runs holds its image, or is about to: pulls keep collecting away, too. */
	if (!all->found)
		images_collect_on(all->o.images);
	all->found = true;
}

void adopt_found(void *ctx, const struct sandbox_spec *sandbox, const struct container_facts *f,
    const struct container_net *net)
{
	struct tasks *all = ctx;
	struct task *t;

	if (!sandbox && !f) {
		found_all(all);
		return;
	}
	t = task_of_sandbox(all, f ? f->sandbox : sandbox->id);
	if (t && t->adopting) {
		if (f)
			found_container(t, f, net);
		else
			found_sandbox(t, sandbox, net);
		return;
	}
	close_fds(net);
	/* One of a task that has stopped, or was never written; its containers go with it. */
	if (!t || t->phase == TASK_STOPPED)
		if (!f)
			spawn_sandbox_remove(all->o.spawn, sandbox->id, orphan_removed, NULL);
}
