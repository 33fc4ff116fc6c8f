/*
 * The cgroups of containers, beside those of boxes, because they outlive the spawner:
 *   mayfly-<instance>-tasks/keepers             conmon and pause processes
 *                          /<sandbox>           the limits of the whole task
 *                          /<sandbox>/<container>  made by the runtime (linux.cgroupsPath)
 * and, where v1 controllers do the limiting and a v2 tree is there as well, in that tree
 *   mayfly-<instance>-tasks/<container>         conmon, the runtime and the container: for killing
 * For children of the spawner in the mount namespace of containers (root.h).
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "spawn/container_spec.h"

struct task_groups {
	bool v2;       /* the v2 tree limits */
	bool unified;  /* there is a v2 tree beside v1 ones */
	char name[72]; /* mayfly-<instance>-tasks */
};

/* The group of a sandbox with its limits. */
int task_group_make(const struct task_groups *g, const struct sandbox_spec *s, struct err *e);
/* Fork: the child is a keeper and, with a container, in the group that kills that. As fork(2). */
pid_t task_group_fork(const struct task_groups *g, const char *container);
/* The kernel waits for a grace period of RCU (2 to 4 ticks) before it moves a process into a group
 * for another, as runtimes do, unless it has just done so. Have it begin to wait now, in a child,
 * to be waited for. Whoever makes or joins a group waits with it: so only when the last writer of
 * the pipe `after` has closed it. As fork(2). */
pid_t task_group_hurry(const struct task_groups *g, int after);
/* SIGKILL what is in a container's group; conmon too, where that is in it. */
void task_group_kill(const struct task_groups *g, const char *sandbox, const char *container);
/* Kill and remove: a container's groups, or with NULL the sandbox's. Nothing there is no error. */
int task_group_remove(const struct task_groups *g, const char *sandbox, const char *container);
/* At the end: the groups that hold all others, if there are none. */
void task_group_forget(const struct task_groups *g);
/* linux.cgroupsPath. */
void task_group_path(
    const struct task_groups *g, const char *sandbox, const char *container, char out[160]);
/* A file of a container's group (or, with NULL, of the sandbox's) by its name on v1 ("memory",
 * "memory.usage_in_bytes") and v2 ("memory.current"); -errno. */
int task_group_open(const struct task_groups *g, const char *sandbox, const char *container,
    const char *controller, const char *v1_name, const char *v2_name);
