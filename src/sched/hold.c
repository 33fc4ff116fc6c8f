/*
 * Tags that tell this room what to do, for `mayfly run` and whoever wants the same:
 *
 *   mayfly:hold=SECONDS   the first container is made, but waits so long, 60 s at most, for
 *                         tasks_release() before it starts: nothing it prints is missed
 *   mayfly:rm=…           once stopped, the task is forgotten after some seconds, not after an hour
 */
#include <string.h>

#include "base/str.h"
#include "sched/task_int.h"

#define HOLD_MAX_S 60

static const char *tag(const struct task *t, const char *key)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(t->base, "tags"), i, one)
	{
		const char *k = docs_str(one, "key"), *v = docs_str(one, "value");

		if (k && !strcmp(k, key))
			return v ? v : "";
	}
	return NULL;
}

bool hold_is_brief(const struct task *t)
{
	return tag(t, "mayfly:rm");
}

void hold_begin(struct unit *u)
{
	const char *seconds = u->index == 0 && !u->attempt ? tag(u->task, "mayfly:hold") : NULL;
	int64_t s;

	if (!seconds || !str_to_int64(str_from(seconds), 1, HOLD_MAX_S, &s))
		return;
	u->held_until_ns = loop_now_ns(u->task->all->o.loop) + s * 1000000000;
}

static bool is_held(const struct unit *u)
{
	return u->held_until_ns > loop_now_ns(u->task->all->o.loop);
}

bool hold_goes_on(const struct unit *u)
{
	if (!is_held(u))
		return false;
	task_due(u->task, u->held_until_ns);
	return true;
}

bool tasks_held(const struct tasks *all, const char *task_arn, char ret_id[CONTAINER_ID_SIZE])
{
	const struct task *t = task_find(all, task_arn);
	const struct unit *u = t ? task_unit(t, "") : NULL;

	if (!u || u->phase != UNIT_MADE || !is_held(u))
		return false;
	memcpy(ret_id, u->id, CONTAINER_ID_SIZE);
	return true;
}

void tasks_release(const struct tasks *all, const char *task_arn)
{
	struct task *t = task_find(all, task_arn);
	struct unit *u = t ? task_unit(t, "") : NULL;

	if (!u)
		return;
	u->held_until_ns = 0;
	task_wake(t);
}
