/* Where the lines of a container go. */
#include <string.h>

#include "sched/task_int.h"

static const char *option(const json_t *log, const char *name)
{
	return docs_str(json_object_get(log, "options"), name);
}

static bool truth(const char *text)
{
	return text && (!strcasecmp(text, "true") || !strcmp(text, "1"));
}

/* Is the group made for this container, or for another of the task? They are judged together. */
static bool group_is_made(const struct task *t, const struct task_log *place)
{
	for (unsigned i = 0; i < t->unit_count; i++) {
		const json_t *log = json_object_get(t->units[i].def, "logConfiguration");
		const char *group = option(log, "awslogs-group");
		const char *region = option(log, "awslogs-region");

		if (truth(option(log, "awslogs-create-group")) && group &&
		    !strcmp(group, place->group) &&
		    !strcmp(region && *region ? region : t->region, place->region))
			return true;
	}
	return false;
}

int tail_place(struct arena *a, const struct unit *u, struct task_log *ret, struct err *e)
{
	const struct task *t = u->task;
	const json_t *log = json_object_get(u->def, "logConfiguration");
	const char *driver = docs_str(log, "logDriver"), *prefix, *region;
	struct log_group_info info;
	struct log_group_id id;

	*ret =
	    (struct task_log){t->region, TASK_LOG_GROUP, arena_printf(a, "%s/%s", u->name, t->id)};
	if (!driver || strcmp(driver, "awslogs") != 0)
		return 0;
	region = option(log, "awslogs-region");
	ret->region = region && *region ? region : t->region;
	ret->group = option(log, "awslogs-group");
	if (!ret->group || !*ret->group)
		return err_set(e, EINVAL, "must specify a value for log opt 'awslogs-group'");
	prefix = option(log, "awslogs-stream-prefix");
	ret->stream =
	    prefix && *prefix ? arena_printf(a, "%s/%s/%s", prefix, u->name, t->id) : u->id;
	id = (struct log_group_id){
	    str_from(t->account), str_from(ret->region), str_from(ret->group)};
	if (!logs_group_name_valid(id.name) || !logs_stream_name_valid(str_from(ret->stream)))
		return err_set(e, EINVAL, "awslogs-group or awslogs-stream-prefix is no such name");
	if (!group_is_made(t, ret) && logs_group_get(t->all->o.logs, id, &info) < 0)
		return err_set(e, ENOENT,
		    "failed to create Cloudwatch log stream: ResourceNotFoundException: The "
		    "specified log group does not exist.");
	return 0;
}

bool tasks_log(
    const struct tasks *all, const char *task_arn, const char *name, struct task_log *ret)
{
	static char stream[LOGS_NAME_MAX + 1]; /* until the next call: the loop has one thread */
	const struct task *t = task_find(all, task_arn);
	const struct unit *u = t ? task_unit(t, name) : NULL;
	struct err e = ERR_INIT;
	struct arena a;

	if (!u)
		return false;
	arena_init(&a);
	/* A group that is gone by now is named all the same. */
	(void)tail_place(&a, u, ret, &e);
	snprintf(stream, sizeof(stream), "%s", ret->stream);
	arena_done(&a);
	ret->stream = stream;
	return ret->group != NULL;
}
