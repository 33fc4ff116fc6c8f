/*
 * ECS tasks as the verbs for containers know them: by ID, by the beginning of one, or by the name
 * of their family (what --name, or the image, gave them).
 */
#pragma once

#include "cli/client.h"

#define TASK_ID_SHOWN 12 /* characters of an ID in tables, as docker does */

/* What a task is called by people, in the memory of its document. */
const char *task_arn(const json_t *task);
const char *task_id(const json_t *task);
/* Of its definition's family; the caller frees. */
char *task_family(const json_t *task);
bool task_is_stopped(const json_t *task);
/* Its containers but the pause container that some agents add. */
json_t *task_containers(const json_t *task);
/* When it was asked for, wall ms. */
int64_t task_created_ms(const json_t *task);

/* All tasks of all clusters into the array `ret`, newest first; those that have stopped only on
 * demand (they are kept for an hour). CLI_OK or an exit code after saying why. */
int task_list(struct client *c, bool stopped, json_t *ret);

enum task_which {
	TASK_RUNNING, /* that has not stopped */
	TASK_ANY,     /* or the newest of those that have, if none runs */
};
/* The one task that `name` means: its ID or ARN, its family, or the beginning of its ID, in this
 * order. *ret is the caller's. Several: that is said, with what to choose from. CLIENT_NOTED: none,
 * and nothing was said. */
int task_find(struct client *c, const char *name, enum task_which which, json_t **ret);
/* The same, saying that there is none. */
int task_need(struct client *c, const char *name, enum task_which which, json_t **ret);
/* As it is now; *ret NULL: it has been forgotten. */
int task_describe(struct client *c, const char *cluster, const char *arn, json_t **ret);

/* docker's exit code for what a runtime said of a command that it could not start. */
int task_refusal_code(const char *why);

/* "/_mayfly/tasks/ID/what"; the caller frees. */
char *task_path(const json_t *task, const char *what);
