/*
 * A task's phases. life_look() is the whole of it: what it finds decides what happens next; nothing
 * else moves a task from one phase to another.
 */
#include "base/log.h"
#include "base/time.h"
#include "sched/task_int.h"

#define REMOVALS_MAX 5
#define REMOVAL_RETRY_NS 2000000000
#define DISK_GIB 20 /* if nobody says */
#ifdef __aarch64__
#define METER_ARCH METER_ARM64
#else
#define METER_ARCH METER_X86_64
#endif

void life_stop(struct task *t, const char *code, const char *reason)
{
	if (t->stop_code)
		return;
	t->stop_code = xstrdup(code);
	t->stop_reason = xstrdup(reason);
	t->stopping_ms = time_wall_ms();
	task_wake(t);
}

static bool enter(struct task *t, enum task_phase phase)
{
	t->phase = phase;
	return true;
}

/* ---- PROVISIONING ---- */

static void on_sandbox_made(void *ctx, int result, const char *why, const struct container_net *net)
{
	struct task *t = ctx;
	char text[512];

	t->ops--;
	t->sandbox = SANDBOX_MADE;
	if (result < 0) {
		snprintf(text, sizeof(text), "ResourceInitializationError: %s", why);
		life_stop(t, "TaskFailedToStart", text);
	} else if (net) {
		place_open(t, &t->place, net);
	}
	task_wake(t);
}

static bool provision(struct task *t)
{
	struct sandbox_spec spec;

	if (t->sandbox == SANDBOX_NONE) {
		t->sandbox = SANDBOX_MAKING;
		t->ops++;
		spec_sandbox(t, &spec);
		spawn_sandbox_make(t->all->o.spawn, &spec, on_sandbox_made, t);
	}
	input_start(t);
	input_images(t);
	return t->sandbox == SANDBOX_MADE && t->on_disk && enter(t, TASK_PENDING);
}

/* ---- PENDING ---- */

static bool prepare(struct task *t)
{
	input_start(t);
	return t->inputs == INPUT_READY && enter(t, TASK_ACTIVATING);
}

/* ---- ACTIVATING, RUNNING ---- */

static bool all_started(const struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (!t->units[i].started && t->units[i].phase != UNIT_ENDED)
			return false;
	return true;
}

/* Also when some, or all, have ended before we looked. */
static void note_start(struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (!t->units[i].started)
			return;
	if (!t->started_ms)
		t->started_ms = time_wall_ms();
}

static bool any_waiting(const struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].phase == UNIT_WAITING)
			return true;
	return false;
}

static bool run(struct task *t)
{
	bool again = false;

	if (any_waiting(t)) {
		input_start(t);
		input_images(t);
	}
	note_start(t);
	for (unsigned i = 0; i < t->unit_count && !t->stop_code; i++) {
		struct unit *u = &t->units[i];

		again |= unit_look(u);
		if (u->essential && u->phase == UNIT_ENDED)
			life_stop(t, u->started ? "EssentialContainerExited" : "TaskFailedToStart",
			    u->started || !u->reason ? "Essential container in task exited"
						     : u->reason);
	}
	if (t->stop_code)
		return true;
	if (t->phase == TASK_ACTIVATING && all_started(t)) {
		if (!t->started_ms)
			t->started_ms = time_wall_ms();
		return enter(t, TASK_RUNNING);
	}
	return again;
}

/* ---- STOPPING ---- */

static bool stop_units(struct task *t)
{
	bool all = t->sandbox != SANDBOX_MAKING && t->sandbox != SANDBOX_REMOVING;

	for (unsigned i = 0; i < t->unit_count; i++)
		all &= unit_stop_look(&t->units[i]);
	if (!all)
		return false;
	t->execution_stopped_ms = time_wall_ms();
	t->end_save = task_next_save(t);
	return enter(t, TASK_DEPROVISIONING);
}

/* ---- DEPROVISIONING ---- */

static void on_sandbox_removed(void *ctx, int result, const char *why)
{
	struct task *t = ctx;

	t->ops--;
	if (result == 0) {
		t->sandbox = SANDBOX_GONE;
	} else if (++t->removals < REMOVALS_MAX) {
		t->sandbox = SANDBOX_MADE;
		t->removal_due_ns = loop_now_ns(t->all->o.loop) + REMOVAL_RETRY_NS;
	} else {
		log_error("what is left of task %s goes at the next start: %s", t->arn, why);
		t->sandbox = SANDBOX_GONE;
	}
	task_wake(t);
}

static void book(const struct task *t)
{
	const json_t *over =
			 json_object_get(json_object_get(t->base, "overrides"), "ephemeralStorage"),
		     *def = json_object_get(t->definition, "ephemeralStorage");
	int64_t gib = docs_int(over ? over : def, "sizeInGiB");
	const struct meter_task usage = {.account = str_from(t->account),
	    .region = str_from(t->region),
	    .cluster = str_from(t->cluster),
	    .family = str_from(docs_str(t->definition, "family")),
	    .id = str_from(t->id),
	    .launch_type = str_from(docs_str(t->base, "launchType")),
	    .provider = str_from(docs_str(t->base, "capacityProviderName")),
	    .start_ms = t->pull_started_ms ? t->pull_started_ms : t->stopped_ms,
	    .end_ms = t->stopped_ms,
	    .cpu_units = (uint32_t)t->cpu_units,
	    .memory_mib = (uint32_t)t->memory_mib,
	    .disk_gib = (uint32_t)(gib ? gib : DISK_GIB),
	    .arch = METER_ARCH};

	if (!t->refused && meter_book_task(t->all->o.meter, &usage) < 0)
		log_error("the usage of task %s could not be booked: disk full", t->arn);
}

static bool deprovision(struct task *t)
{
	/* With the sandbox goes what its containers could still tell of their ends. */
	if (!task_saved(t, t->end_save))
		return false;
	if (t->sandbox == SANDBOX_NONE)
		t->sandbox = SANDBOX_GONE;
	if (t->sandbox == SANDBOX_MADE && t->removal_due_ns > loop_now_ns(t->all->o.loop)) {
		task_due(t, t->removal_due_ns);
	} else if (t->sandbox == SANDBOX_MADE) {
		for (unsigned i = 0; i < t->unit_count; i++)
			unit_done(&t->units[i]);
		place_close(t, &t->place);
		t->sandbox = SANDBOX_REMOVING;
		t->ops++;
		spawn_sandbox_remove(t->all->o.spawn, t->sandbox_id, on_sandbox_removed, t);
	}
	if (t->sandbox != SANDBOX_GONE)
		return false;
	t->stopped_ms = time_wall_ms();
	host_reserve(t->all, t, -1);
	book(t);
	enter(t, TASK_STOPPED);
	task_stopped(t);
	return false;
}

bool life_look(struct task *t)
{
	if (t->stop_code && t->phase < TASK_DEACTIVATING)
		return enter(t, TASK_DEACTIVATING);
	switch (t->phase) {
	case TASK_PROVISIONING: return provision(t);
	case TASK_PENDING: return prepare(t);
	case TASK_ACTIVATING:
	case TASK_RUNNING: return run(t);
	case TASK_DEACTIVATING: /* nothing sends requests to it yet: no load balancers */
		return enter(t, TASK_STOPPING);
	case TASK_STOPPING: return stop_units(t);
	case TASK_DEPROVISIONING: return deprovision(t);
	case TASK_STOPPED: break;
	}
	return false;
}
