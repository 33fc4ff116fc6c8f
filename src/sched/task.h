/*
 * Tasks: groups of containers that start, live and stop together on this machine, by ECS's rules
 * but without its API. Owns their states, their order of starting and stopping, health, restarts,
 * ports, metadata endpoint, logs and metering. The ecs service (and `mayfly run` through it) is
 * above; the spawner's containers and the image room are below. Loop thread.
 *
 * Everything that a client was told is on disk first. After core or spawner were killed the tasks
 * that run are adopted; after the machine restarted they are reported stopped.
 *
 * A task and a task definition are JSON documents with the member names of ECS's `Task` and
 * `TaskDefinition`, because every field of them is kept and most go back to clients as they are:
 * a second set of structures would only be copied to and fro. Times in them are numbers, seconds
 * with a fraction, wall clock.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "http/http.h"
#include "image/image.h"
#include "logs/logs.h"
#include "loop/loop.h"
#include "meter/meter.h"
#include "spawn/container.h"
#include "store/store.h"

struct tasks;

struct task_keys {
	char access_key_id[32], secret_access_key[64], session_token[1200];
	int64_t expires_ms; /* wall */
};

struct task_protect {
	bool on, has_minutes;
	int64_t minutes;
};
/* One of the three, all borrowed: what the API calls a protected task; its reason of a failure;
 * what is wrong with the request, or, if fault_is_ours, with us. */
struct task_protection {
	const json_t *task;
	const char *failure, *message;
	bool fault_is_ours;
};
typedef void task_protected_fn(void *ctx, const struct task_protection *p);

struct tasks_options {
	struct loop *loop;
	struct store *store;
	struct logs *logs;
	struct meter *meter;
	struct spawn *spawn;
	struct images *images;
	const char *endpoint_port; /* of AWS_ENDPOINT_URL inside, on 169.254.170.2 */
	const char *host_endpoint; /* AWS_ENDPOINT_URL of tasks in the host's network; NULL: none */
	const char *const *registries; /* hosts that mean our own registry, up to NULL; or NULL */
	enum image_pull_policy pull;
	const char *runtime;  /* "crun" if NULL */
	unsigned cpu_percent; /* of the machine's CPU units that tasks may reserve; 0: 100 */
	int64_t keep_ms;      /* how long stopped tasks are kept; 0: one hour */

	/* ---- what only upper layers can do; all on the loop thread ---- */
	/* Keys of a role, for the credentials endpoint. 0 or -errno. */
	int (*keys)(void *ctx, const char *role_arn, const char *session, struct task_keys *ret);
	/* Serve AWS_ENDPOINT_URL on this listening socket (taken), until closed. */
	void *(*endpoint_open)(void *ctx, int listen_fd);
	void (*endpoint_close)(void *ctx, void *handle);
	/* Value of an SSM parameter or a secret, by valueFrom of the task definition. done exactly
	 * once; value is the caller's and NULL on failure, why then says why. */
	void (*secret)(void *ctx, const char *account, const char *region, const char *value_from,
	    void (*done)(void *done_ctx, const char *value, const char *why), void *done_ctx);
	/* Contents of an object, by ARN, for environmentFiles; at most 1 MiB. As above. */
	void (*object)(void *ctx, const char *account, const char *region, const char *arn,
	    void (*done)(void *done_ctx, const struct str *data, const char *why), void *done_ctx);
	/* Change scale-in protection of a task, or with NULL only ask for it. done exactly once. */
	void (*protect)(void *ctx, const char *task_arn, const struct task_protect *change,
	    task_protected_fn *done, void *done_ctx);
	/* A task's record has changed and is on disk: for events, and for those who wait. */
	void (*changed)(void *ctx, const json_t *task);
	void *ctx;
};

/* Loads the records and adopts what runs. NULL and e on failure. */
struct tasks *tasks_open(const struct tasks_options *o, struct err *e);
/* First when core ends, before spawner, images, listeners and store are closed: nothing is served
 * or asked for any more, containers go on. NULL is fine. */
void tasks_leave(struct tasks *t);
/* After tasks_leave() and after the store was closed, whose last callbacks still need this. */
void tasks_close(struct tasks *t);

/* ---- this machine ---- */

struct tasks_host {
	int64_t cpu_units, memory_mib;           /* in all */
	int64_t cpu_units_free, memory_mib_free; /* not reserved by tasks */
	size_t running, pending;
};
void tasks_host(const struct tasks *t, struct tasks_host *ret);
/* NULL: a task of this definition and these overrides (may be NULL) would fit now; else ECS's name
 * of what lacks: "RESOURCE:CPU", "RESOURCE:MEMORY", "RESOURCE:PORTS". detail (may be NULL): which
 * port. */
const char *tasks_lacks(
    const struct tasks *t, const json_t *definition, const json_t *overrides, struct err *detail);

/* ---- a task's life ---- */

/* Keep `task` and start it, whether it fits (tasks_lacks()) or not. task: what the service knows of
 * it (taskArn, clusterArn, taskDefinitionArn, containerInstanceArn, group, startedBy, launchType,
 * overrides, tags, containers with name and containerArn, …); this room adds lastStatus,
 * desiredStatus, version, times, attachments, network interfaces and bindings, health, exit codes.
 * definition: as it was registered. Both are taken. done gets 0 once the record (PROVISIONING) is
 * on disk, or -errno and there is no such task. */
void tasks_run(struct tasks *t, json_t *task, json_t *definition,
    void (*done)(void *ctx, int result), void *ctx);

/* Stop code: "UserInitiated", …; reason becomes stoppedReason. desiredStatus is STOPPED on disk
 * when done is called with 0; -ENOENT: no such task. Stopping one that is stopped does nothing. */
void tasks_stop(struct tasks *t, const char *task_arn, const char *code, const char *reason,
    void (*done)(void *ctx, int result), void *ctx);

/* The record as it is on disk, or NULL; lives until the loop is returned to. Stopped tasks are
 * kept for at least an hour. */
const json_t *tasks_get(const struct tasks *t, const char *task_arn);
/* In the order of their ARNs, those that begin with prefix ("arn:aws:ecs:REGION:ACCOUNT:task/
 * CLUSTER/"). fn returns false to stop. */
void tasks_walk(const struct tasks *t, const char *prefix,
    bool (*fn)(void *ctx, const json_t *task), void *ctx);
/* Change members that are the service's (tags, protection): merged into the record. */
void tasks_update(struct tasks *t, const char *task_arn, json_t *members,
    void (*done)(void *ctx, int result), void *ctx);

/* ---- for tasks in the host's network ---- */

/* Below this path of the server they find what others find at 169.254.170.2. */
#define TASKS_METADATA_PATH "/_mayfly/metadata/"
void tasks_metadata(const struct tasks *t, struct http_request *r);
void tasks_metadata_cancel(struct http_request *r);

/* ---- for people: logs, attach, exec, stats ---- */

/* Where the lines of a container go ("" name: the first one): its awslogs group and stream, or, for
 * every other log driver and for none, a stream of the group "/mayfly/tasks". false: no such
 * container. Valid until the loop is returned to. */
struct task_log {
	const char *region, *group, *stream;
};
bool tasks_log(const struct tasks *t, const char *task_arn, const char *name, struct task_log *ret);

/* The spawner's name of a container of a task ("" name: the only or first one); false: not there
 * or not running. */
bool tasks_container_id(
    const struct tasks *t, const char *task_arn, const char *name, char ret_id[CONTAINER_ID_SIZE]);

/* A task with the tag "mayfly:hold" waits before its first container starts, so that somebody can
 * attach before the first byte of output. Is it made and waits? ret_id is then the spawner's name
 * of it. */
bool tasks_held(const struct tasks *t, const char *task_arn, char ret_id[CONTAINER_ID_SIZE]);
/* Let it start. Harmless when it does not wait. */
void tasks_release(const struct tasks *t, const char *task_arn);

struct task_stats {
	uint64_t cpu_ns, memory_bytes, memory_limit_bytes, pids;
	uint64_t rx_bytes, tx_bytes;
};
/* 0; -ENOENT: it does not run; -EAGAIN: at the first question, ask again in a moment. */
int tasks_container_stats(
    const struct tasks *t, const char *task_arn, const char *name, struct task_stats *ret);
