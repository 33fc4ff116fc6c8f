/*
 * Limits by the v1 controllers memory, cpu and pids. The v2 tree, where it is mounted beside them,
 * has no controllers but freezes and kills far better; without it the v1 freezer has to do.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "spawner/cgroup.h"

#define SOCKETS_SHARE 4 /* of a box's memory that its sockets may hold besides */

static int make(struct cgroups *g, unsigned slot, int *ret_into)
{
	char name[16];
	int r = 0;

	cgroup_box_name(slot, name);
	for (int t = 0; t < TREE_COUNT && r == 0; t++)
		if (g->dir[t] >= 0)
			r = cgroup_make_dir(g->dir[t], name);
	*ret_into = -1;
	if (r == 0 && g->dir[TREE_UNIFIED] >= 0) {
		*ret_into = openat(g->dir[TREE_UNIFIED], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = *ret_into < 0 ? -errno : 0;
	}
	return r;
}

static int enter(struct cgroups *g, unsigned slot)
{
	char name[16];
	int r = 0;

	cgroup_box_name(slot, name);
	for (int t = 0; t < TREE_COUNT && r == 0; t++)
		if (g->dir[t] >= 0 && t != TREE_UNIFIED)
			r = cgroup_write(g->dir[t], name, "tasks", "0");
	return r;
}

/* v1 counts what sockets hold apart, and only if asked: without, a box can take all that the host's
 * tcp_mem and udp_mem allow. Kernels that have given it up have no such file. */
static int limit_sockets(int dir, const char *name, uint64_t bytes)
{
	int r = cgroup_write_u64(dir, name, "memory.kmem.tcp.limit_in_bytes", bytes);

	return r == -ENOENT ? 0 : r;
}

static int limit(struct cgroups *g, unsigned slot, uint64_t memory_bytes, unsigned pids)
{
	int dir = g->dir[TREE_MEMORY], r;
	char name[16];

	cgroup_box_name(slot, name);
	r = cgroup_write_u64(dir, name, "memory.limit_in_bytes", memory_bytes);
	if (r == 0) {
		r = cgroup_write_u64(dir, name, "memory.memsw.limit_in_bytes", memory_bytes);
		if (r == -ENOENT) /* swap is not accounted on this host */
			r = 0;
	}
	if (r == 0)
		r = limit_sockets(dir, name, memory_bytes / SOCKETS_SHARE);
	if (r == 0)
		r = cgroup_write_u64(g->dir[TREE_PIDS], name, "pids.max", pids);
	return r;
}

static int open_files(struct cgroups *g, unsigned slot, int fds[WIRE_FD_COUNT])
{
	int memory = g->dir[TREE_MEMORY];
	char name[16];

	cgroup_box_name(slot, name);
	if (g->dir[TREE_UNIFIED] >= 0)
		fds[WIRE_FD_FREEZE] =
		    cgroup_open(g->dir[TREE_UNIFIED], name, "cgroup.freeze", O_RDWR);
	else
		fds[WIRE_FD_FREEZE] =
		    cgroup_open(g->dir[TREE_FREEZER], name, "freezer.state", O_RDWR);
	fds[WIRE_FD_MEMORY] = cgroup_open(memory, name, "memory.usage_in_bytes", O_RDONLY);
	fds[WIRE_FD_PEAK] = cgroup_open(memory, name, "memory.max_usage_in_bytes", O_RDONLY);
	fds[WIRE_FD_OOM] = cgroup_open(memory, name, "memory.oom_control", O_RDONLY);
	fds[WIRE_FD_CPU] = cgroup_open(g->dir[TREE_CPU], name, "cpu.cfs_quota_us", O_RDWR);
	for (int i = WIRE_FD_FREEZE; i < WIRE_FD_COUNT; i++)
		if (fds[i] < 0)
			return fds[i];
	return 0;
}

static int remove_all(struct cgroups *g, unsigned slot)
{
	char name[16];
	int r = 0;

	cgroup_box_name(slot, name);
	for (int t = 0; t < TREE_COUNT; t++) {
		int one = g->dir[t] >= 0 ? cgroup_remove_dir(g->dir[t], name) : 0;

		if (one < 0)
			r = one;
	}
	return r;
}

const struct cgroup_ops cgroup_v1_ops = {
    .make = make,
    .enter = enter,
    .limit = limit,
    .open_files = open_files,
    .remove = remove_all,
    .cpu_style = WIRE_CPU_V1,
};
