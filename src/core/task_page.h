/*
 * The pages below /_mayfly/tasks, which the command line uses beside the ECS API. All are signed
 * for the service ecs; ID is a task's ID or its ARN, percent-encoded.
 *
 *   GET  /_mayfly/tasks            what running tasks use: {"at_ms", "complete", "tasks": [
 *                                  {"taskArn", "containers": [{"name", "cpu_ns", "memory_bytes",
 *                                  "memory_limit_bytes", "pids", "rx_bytes", "tx_bytes"}]}]}.
 *                                  complete is false while some have not been measured yet
 *   GET  /_mayfly/tasks/ID         {"taskArn", "containers": [{"name", "region", "group",
 *                                  "stream"}]}: where they log
 *   POST /_mayfly/tasks/ID/kill    SIGKILL to each container that runs
 *   POST /_mayfly/tasks/ID/exec    {"command": [...], "container", "stdin", "tty", "rows",
 *                                  "columns"} and Upgrade: mayfly-stream (attach/frame.h)
 *   POST /_mayfly/tasks/ID/attach  the same without command: the streams of the container itself.
 *                                  Waits until it runs; one that is held (tag mayfly:hold) starts
 *                                  when its streams are connected
 */
#pragma once

#include "core/front.h"

#define TASK_PAGE_PATH "/_mayfly/tasks"
#define TASK_PAGE_BODY_MAX (256 * 1024) /* a command as long as the kernel takes, nearly */

bool task_page_is(struct str path);
void task_page_request(const struct front_parts *p, struct http_request *r);
void task_page_cancel(struct http_request *r);
