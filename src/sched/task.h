/*
 * Tasks: groups of containers that start, live and stop together on this machine, by ECS's rules
 * but without its API. Owns their states, their order of starting and stopping, health, restarts,
 * ports, metadata endpoint, logs and metering. The ecs service (and `mayfly run` through it) is
 * above; the spawner's containers and the image room are below. Loop thread.
 *
 * Everything that a client was told is on disk first. After core or spawner were killed the tasks
 * that run are adopted; after the machine restarted they are reported stopped.
 */
#pragma once

#include "base/err.h"
#include "image/image.h"
#include "logs/logs.h"
#include "loop/loop.h"
#include "meter/meter.h"
#include "spawn/container.h"
#include "store/store.h"

struct tasks;
struct task;

/* The rest is declared by this room as it is built. */
