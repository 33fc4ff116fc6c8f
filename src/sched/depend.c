/*
 * Who waits for whom: dependsOn with its four conditions, and links and volumesFrom, which mean
 * START. Containers stop in the reverse order.
 */
#include <stdio.h>
#include <string.h>

#include "sched/task_int.h"

/* "db:alias" and "db" both name db. */
static struct unit *linked(const struct task *t, const json_t *link)
{
	const char *text = json_string_value(link), *colon = text ? strchr(text, ':') : NULL;
	char name[256];

	if (!text)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", colon ? (int)(colon - text) : 255, text);
	return *name ? task_unit(t, name) : NULL;
}

typedef bool edge_fn(void *ctx, struct unit *on, const char *condition);

/* Each container that u depends on; fn returns false to end the walk. */
static bool each(const struct unit *u, edge_fn *fn, void *ctx)
{
	size_t i;
	json_t *d;

	json_array_foreach(json_object_get(u->def, "dependsOn"), i, d)
	{
		const char *name = docs_str(d, "containerName"), *c = docs_str(d, "condition");
		struct unit *on = name && *name ? task_unit(u->task, name) : NULL;

		if (on && on != u && !fn(ctx, on, c ? c : "START"))
			return false;
	}
	json_array_foreach(json_object_get(u->def, "links"), i, d)
	{
		struct unit *on = linked(u->task, d);

		if (on && on != u && !fn(ctx, on, "START"))
			return false;
	}
	json_array_foreach(json_object_get(u->def, "volumesFrom"), i, d)
	{
		const char *name = docs_str(d, "sourceContainer");
		struct unit *on = name && *name ? task_unit(u->task, name) : NULL;

		if (on && on != u && !fn(ctx, on, "START"))
			return false;
	}
	return true;
}

/* ---- start ---- */

static enum depend judge(const struct unit *on, const char *condition)
{
	bool ended = on->phase == UNIT_ENDED;

	if (ended && !on->started)
		return DEPEND_NEVER;
	if (!strcmp(condition, "COMPLETE"))
		return ended ? DEPEND_MET : DEPEND_WAIT;
	if (!strcmp(condition, "SUCCESS")) {
		if (!ended)
			return DEPEND_WAIT;
		return on->has_exit_code && on->exit_code == 0 ? DEPEND_MET : DEPEND_NEVER;
	}
	if (!strcmp(condition, "HEALTHY")) {
		if (ended)
			return DEPEND_NEVER;
		return on->health.status == HEALTH_HEALTHY ? DEPEND_MET : DEPEND_WAIT;
	}
	return on->started ? DEPEND_MET : DEPEND_WAIT;
}

struct start_walk {
	struct unit *u;
	enum depend verdict;
	char *why;
	size_t why_size;
};

/* How long `on` may take to become what others wait for. */
static bool in_time(const struct unit *u, const struct unit *on)
{
	const struct tasks *all = u->task->all;
	int64_t limit_s = docs_int(on->def, "startTimeout"), end_ns;

	if (!limit_s || !on->started)
		return true;
	end_ns = on->started_ns + limit_s * 1000000000;
	if (end_ns > loop_now_ns(all->o.loop))
		task_due(u->task, end_ns);
	return end_ns > loop_now_ns(all->o.loop);
}

static bool start_edge(void *ctx, struct unit *on, const char *condition)
{
	struct start_walk *w = ctx;
	enum depend d = judge(on, condition);
	const char *what = "could not become what it waits for";

	if (d == DEPEND_WAIT && strcmp(condition, "START") != 0 && !in_time(w->u, on)) {
		d = DEPEND_NEVER;
		what = "has timed out";
	} else if (d == DEPEND_NEVER && !strcmp(condition, "SUCCESS") && on->started) {
		what = "did not exit successfully";
	}
	if (d == DEPEND_NEVER)
		snprintf(w->why, w->why_size,
		    "dependency graph: container ordering dependency [%s] (%s) for target [%s] %s",
		    on->name, condition, w->u->name, what);
	if (d != DEPEND_MET)
		w->verdict = d;
	return d != DEPEND_NEVER;
}

enum depend depend_start(struct unit *u, char *why, size_t why_size)
{
	struct start_walk w = {u, DEPEND_MET, why, why_size};

	/* A container that is started again has seen them once: that is enough, as on AWS. */
	if (u->started)
		return DEPEND_MET;
	(void)each(u, start_edge, &w);
	return w.verdict;
}

bool depend_make(const struct unit *u)
{
	size_t i;
	json_t *link;

	json_array_foreach(json_object_get(u->def, "links"), i, link)
	{
		const struct unit *on = linked(u->task, link);

		if (on && on != u && (on->phase == UNIT_WAITING || on->phase == UNIT_MAKING))
			return false;
	}
	return true;
}

/* ---- stop ---- */

static bool not_on(void *ctx, struct unit *on, const char *condition)
{
	(void)condition;
	return on != ctx;
}

static bool at_work(const struct unit *u)
{
	return u->phase == UNIT_STARTING || u->phase == UNIT_RUNNING || u->phase == UNIT_MAKING;
}

bool depend_stop(const struct unit *u)
{
	const struct task *t = u->task;

	for (unsigned i = 0; i < t->unit_count; i++) {
		const struct unit *other = &t->units[i];

		if (other != u && at_work(other) && !each(other, not_on, (void *)(uintptr_t)u))
			return false;
	}
	return true;
}
