/* Limits by the unified tree alone. */
#include <fcntl.h>
#include <unistd.h>

#include "spawner/cgroup.h"

static int make(struct cgroups *g, unsigned slot, int *ret_into)
{
	char name[16];
	int r;

	cgroup_box_name(slot, name);
	r = cgroup_make_dir(g->dir[TREE_UNIFIED], name);
	if (r < 0)
		return r;
	*ret_into = openat(g->dir[TREE_UNIFIED], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_into < 0 ? -errno : 0;
}

static int enter(struct cgroups *g _unused_, unsigned slot _unused_)
{
	return 0; /* cloned into its group */
}

static int limit(struct cgroups *g, unsigned slot, uint64_t memory_bytes, unsigned pids)
{
	int dir = g->dir[TREE_UNIFIED], r;
	char name[16];

	cgroup_box_name(slot, name);
	r = cgroup_write_u64(dir, name, "memory.max", memory_bytes);
	if (r == 0) {
		r = cgroup_write(dir, name, "memory.swap.max", "0");
		if (r == -ENOENT)
			r = 0;
	}
	/* One process over the limit ends the whole runtime; box-init is spared by its score. */
	return r < 0 ? r : cgroup_write_u64(dir, name, "pids.max", pids);
}

static int open_files(struct cgroups *g, unsigned slot, int fds[WIRE_FD_COUNT])
{
	int dir = g->dir[TREE_UNIFIED];
	char name[16];

	cgroup_box_name(slot, name);
	fds[WIRE_FD_FREEZE] = cgroup_open(dir, name, "cgroup.freeze", O_RDWR);
	fds[WIRE_FD_MEMORY] = cgroup_open(dir, name, "memory.current", O_RDONLY);
	fds[WIRE_FD_PEAK] = cgroup_open(dir, name, "memory.peak", O_RDONLY);
	fds[WIRE_FD_OOM] = cgroup_open(dir, name, "memory.events", O_RDONLY);
	fds[WIRE_FD_CPU] = cgroup_open(dir, name, "cpu.max", O_RDWR);
	for (int i = WIRE_FD_FREEZE; i < WIRE_FD_COUNT; i++)
		if (fds[i] < 0 && i != WIRE_FD_PEAK) /* memory.peak came with Linux 5.19 */
			return fds[i];
	return 0;
}

static int remove_one(struct cgroups *g, unsigned slot)
{
	char name[16];

	cgroup_box_name(slot, name);
	return cgroup_remove_dir(g->dir[TREE_UNIFIED], name);
}

const struct cgroup_ops cgroup_v2_ops = {
    .make = make,
    .enter = enter,
    .limit = limit,
    .open_files = open_files,
    .remove = remove_one,
    .cpu_style = WIRE_CPU_V2,
};
