/*
 * ECS: clusters, task definitions, container instances and tasks, as documents in the form in which
 * the API shows them. Tasks themselves live in src/sched. This machine is a container instance of
 * every cluster, and FARGATE, FARGATE_SPOT, EC2 and EXTERNAL all mean it. Loop thread only. The
 * context of ecs_service (gen/ecs.h) is a struct ecs.
 */
#pragma once

#include "auth/auth.h"
#include "base/err.h"
#include "loop/loop.h"
#include "sched/task.h"
#include "store/store.h"

struct ecs;

struct ecs_options {
	struct loop *loop;
	struct store *store;
	const struct auth *auth; /* for ids that stay the same */
	struct tasks *tasks;
};

/* Load all documents; blocking, for start-up. NULL and e on failure. */
struct ecs *ecs_open(const struct ecs_options *o, struct err *e);
/* What UpdateTaskProtection and GetTaskProtection (change NULL) do, for a task that asks for
 * itself. done is called once. */
void ecs_protect(struct ecs *ecs, const char *task_arn, const struct task_protect *change,
    task_protected_fn *done, void *done_ctx);
/* No change is under way: close the store before. NULL is fine. */
void ecs_close(struct ecs *ecs);
