/*
 * Limits and their files: one group a box, below the spawner's own group, in whichever trees the
 * host has. Two back ends behind one small table: v1 controllers (with the v2 tree, when mounted,
 * for freezing and killing) and pure v2. Everything goes through directory descriptors taken at
 * start; the spawner itself sees no /sys.
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "spawn/wire.h"

enum cgroup_tree { TREE_MEMORY, TREE_CPU, TREE_PIDS, TREE_UNIFIED, TREE_FREEZER, TREE_COUNT };

struct cgroups;

struct cgroup_ops {
	/* A group for box `slot`. *ret_into: a descriptor for CLONE_INTO_CGROUP, or -1. */
	int (*make)(struct cgroups *g, unsigned slot, int *ret_into);
	/* Called by the new, single-threaded process: into all groups that it was not cloned into.
	 * (Moving another process waits for an RCU grace period, 6 to 20 ms; itself, 20 us.) */
	int (*enter)(struct cgroups *g, unsigned slot);
	/* -EBUSY: more is in use already. */
	int (*limit)(struct cgroups *g, unsigned slot, uint64_t memory_bytes, unsigned pids);
	/* Fill the WIRE_FD_FREEZE .. WIRE_FD_CPU places of fds. */
	int (*open_files)(struct cgroups *g, unsigned slot, int fds[WIRE_FD_COUNT]);
	/* -EBUSY: not yet, ask again. */
	int (*remove)(struct cgroups *g, unsigned slot);
	enum wire_cpu_style cpu_style;
};

struct cgroups {
	const struct cgroup_ops *ops;
	int above[TREE_COUNT]; /* the spawner's own group, or v2: one above it; -1: no such tree */
	int dir[TREE_COUNT];   /* our group in it, the parent of all boxes */
	char name[64];         /* of our group: mayfly-<instance> */
	char path[TREE_COUNT][512]; /* of above */
	size_t mount_len;           /* of the unified tree's path: as much is its mount point */
};

extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

/* Find the trees as /proc/self/{mountinfo,cgroup} (below proc_dir) tell. */
int cgroups_find(struct cgroups *g, const char *proc_dir, const char *instance, struct err *e);
/* Make our groups, kill and remove what a spawner before us left in them. record: a file name in
 * directory `data` that remembers where they were, for a start from another group. */
int cgroups_prepare(struct cgroups *g, int data, const char *record, struct err *e);
/* Kill all that is in our groups and remove them. */
void cgroups_remove(struct cgroups *g);

/* What this process may use of the host's memory, as far as groups limit it. */
uint64_t cgroups_memory(const struct cgroups *g);

/* v2: does the tree have the controllers at all? */
bool cgroup_v2_usable(const struct cgroups *g);
/* v2: from our own group, or the nearest one above that may have both groups and controllers below
 * it, to our boxes. Sets above and path. */
int cgroup_v2_place(struct cgroups *g, struct err *e);
/* Give the groups in `dir` the controllers that boxes need. -EBUSY: processes are in it. */
int cgroup_v2_hand_down(int dir);

/* For the back ends. Name of a box's group, one-shot writes, removal. */
void cgroup_box_name(unsigned slot, char out[16]);
int cgroup_write(int dir, const char *group, const char *file, const char *value);
int cgroup_write_u64(int dir, const char *group, const char *file, uint64_t value);
int cgroup_open(int dir, const char *group, const char *file, int flags);
int cgroup_make_dir(int dir, const char *group);
int cgroup_remove_dir(int dir, const char *group);
/* SIGKILL whatever runs in the group, frozen or not. */
void cgroup_kill(int dir, const char *group);
/* Kill and remove, for a second at most: -EBUSY then. */
int cgroup_remove_patiently(int dir, const char *group);

/* The mount namespace of containers sees each tree from the spawner's own group on, with the names
 * that the host has below /sys/fs/cgroup: for runtimes, which know paths only. at: a directory for
 * that, with the trees that limit, devices and freezer; all_at: for all of them, v1 only;
 * unified_at: one for the v2 tree of a host that has v1 trees too, which the former must not show.
 * Done before the root is changed. */
int cgroups_show(const struct cgroups *g, const char *proc_dir, const char *at, const char *all_at,
    const char *unified_at, struct err *e);
