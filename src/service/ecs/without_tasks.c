/*
 * What src/sched/task.h declares, for as long as that room cannot be linked: there are no tasks,
 * and there is room for none. Goes as soon as containers and images are there.
 */
#include <sys/sysinfo.h>

#include "base/base.h"
#include "sched/task.h"

void tasks_host(_unused_ const struct tasks *t, struct tasks_host *ret)
{
	struct sysinfo s = {0};

	sysinfo(&s);
	*ret = (struct tasks_host){.cpu_units = get_nprocs() * 1024,
	    .memory_mib = (int64_t)((uint64_t)s.totalram * s.mem_unit >> 20)};
	ret->cpu_units_free = ret->cpu_units;
	ret->memory_mib_free = ret->memory_mib;
}

const char *tasks_lacks(_unused_ const struct tasks *t, _unused_ const json_t *definition,
    _unused_ const json_t *overrides, _unused_ struct err *detail)
{
	return "RESOURCE:MEMORY";
}

void tasks_run(_unused_ struct tasks *t, json_t *task, json_t *definition,
    void (*done)(void *ctx, int result), void *ctx)
{
	json_decref(task);
	json_decref(definition);
	done(ctx, -ENOSYS);
}

void tasks_stop(_unused_ struct tasks *t, _unused_ const char *task_arn, _unused_ const char *code,
    _unused_ const char *reason, void (*done)(void *ctx, int result), void *ctx)
{
	done(ctx, -ENOENT);
}

const json_t *tasks_get(_unused_ const struct tasks *t, _unused_ const char *task_arn)
{
	return NULL;
}

void tasks_walk(_unused_ const struct tasks *t, _unused_ const char *prefix,
    _unused_ bool (*fn)(void *ctx, const json_t *task), _unused_ void *ctx)
{
}

void tasks_update(_unused_ struct tasks *t, _unused_ const char *task_arn, json_t *members,
    void (*done)(void *ctx, int result), void *ctx)
{
	json_decref(members);
	done(ctx, -ENOENT);
}
