/* What running containers use, as the server's page /_mayfly/tasks tells it. */
#pragma once

#include "cli/client.h"

/* The page: {"at_ms", "tasks": [{"taskArn", "containers": [{"name", "cpu_ns", "memory_bytes",
 * …}]}]}; the caller's. */
int usage_read(struct client *c, json_t **ret);
/* Of one task in it; NULL: it does not run. */
const json_t *usage_of(const json_t *usage, const char *task_arn);
/* A member summed over its containers. */
int64_t usage_sum(const json_t *task_usage, const char *member);
