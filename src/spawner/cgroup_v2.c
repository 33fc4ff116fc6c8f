/*
 * Limits by the unified tree alone. A group has either processes or, below it, groups with
 * controllers (the topmost may have both), so where boxes may live has to be looked for first: a
 * service that systemd started with Delegate=yes has a group of its own, somebody's shell has not.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/cgroup.h"

static const char *const needed[] = {"memory", "cpu", "pids"};

/* Does the file list every controller that boxes need? */
static bool lists_all(int dir, const char *file)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	unsigned found = 0;

	if (fd_read_file(dir, file, 4096, &b) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		struct str rest = {buf_data(&b), buf_len(&b)};
		bool there = false;

		rest = str_cut(&rest, '\n');
		while (rest.ptr && !there)
			there = str_is(str_cut(&rest, ' '), needed[i]);
		found += there;
	}
	return found == ARRAY_SIZE(needed);
}

bool cgroup_v2_usable(const struct cgroups *g)
{
	char path[sizeof(g->path[0])];
	_cleanup_close_ int top = -1;

	if (g->above[TREE_UNIFIED] < 0)
		return false;
	snprintf(path, sizeof(path), "%.*s", (int)g->mount_len, g->path[TREE_UNIFIED]);
	top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top >= 0 && lists_all(top, "cgroup.controllers");
}

int cgroup_v2_hand_down(int dir)
{
	if (lists_all(dir, "cgroup.subtree_control"))
		return 0;
	return cgroup_write(dir, ".", "cgroup.subtree_control", "+memory +cpu +pids");
}

/* Is this process the only one in the group? */
static bool alone(int dir)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char own[24];

	snprintf(own, sizeof(own), "%d\n", (int)getpid());
	return fd_read_file(dir, "cgroup.procs", 4096, &b) == 0 &&
	       str_is((struct str){buf_data(&b), buf_len(&b)}, own);
}

/* Out of the group's way, into a leaf below it. */
static int step_aside(int dir)
{
	int r = cgroup_make_dir(dir, "mayfly-spawner");

	return r < 0 ? r
		     : cgroup_write_u64(dir, "mayfly-spawner", "cgroup.procs", (uint64_t)getpid());
}

/* Can boxes live in groups below `path`? *ret_dir, if so: a descriptor of it. */
static int try_place(const char *path, bool own, int *ret_dir)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : cgroup_v2_hand_down(dir);

	if (r == -EBUSY && own && alone(dir)) {
		r = step_aside(dir);
		if (r == 0)
			r = cgroup_v2_hand_down(dir);
	}
	if (r == 0)
		*ret_dir = take_fd(&dir);
	return r;
}

/* Downwards, because a group can only hand down what it was given. */
int cgroup_v2_place(struct cgroups *g, struct err *e)
{
	char path[sizeof(g->path[0])], best[sizeof(path)] = "";
	const char *all = g->path[TREE_UNIFIED];
	size_t len = g->mount_len;
	int r = 0;

	for (;;) {
		bool own = all[len] == '\0';
		int dir = -1, one;

		snprintf(path, sizeof(path), "%.*s", (int)len, all);
		one = try_place(path, own, &dir);
		if (one == 0) {
			close(g->above[TREE_UNIFIED]);
			g->above[TREE_UNIFIED] = dir;
			memcpy(best, path, sizeof(best));
		} else {
			r = one;
		}
		if (own)
			break;
		len += 1 + strcspn(all + len + 1, "/");
	}
	if (!best[0])
		return err_sys(e, -r,
		    "handing memory, cpu and pids controllers down in %s; start mayfly alone in a "
		    "delegated group (systemd: Delegate=yes)",
		    all);
	memcpy(g->path[TREE_UNIFIED], best, sizeof(best));
	return 0;
}

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
