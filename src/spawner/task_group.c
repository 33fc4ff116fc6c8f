/* See task_group.h. */
#include "spawner/task_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spawner/cgroup.h"
#include "spawner/root.h"

#define TREES "/sys/fs/cgroup"
#define PERIOD_US 100000
#define PIDS_DEFAULT 16384
#define CPU_LEAST_US 1000

static const char *const limiting[] = {"memory", "cpu", "pids"};

/* mayfly-<instance>-tasks in a v1 controller's tree, or in the v2 tree (NULL). */
static int open_top(const struct task_groups *g, const char *controller)
{
	char path[256];
	int fd;

	if (controller && !g->v2)
		snprintf(path, sizeof(path), TREES "/%s/%s", controller, g->name);
	else
		snprintf(path, sizeof(path), "%s/%s", g->v2 ? TREES : ROOT_HOST_UNIFIED, g->name);
	if (mkdir(path, 0755) == 0 && g->v2)
		cgroup_write(AT_FDCWD, path, "cgroup.subtree_control", "+memory +cpu +pids");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int set_cpu(const struct task_groups *g, int dir, const struct sandbox_spec *s)
{
	uint64_t quota = (uint64_t)s->cpu_milli * PERIOD_US / 1000;
	char text[48];

	if (!s->cpu_milli)
		return 0;
	if (quota < CPU_LEAST_US)
		quota = CPU_LEAST_US;
	if (!g->v2)
		return cgroup_write_u64(dir, s->id, "cpu.cfs_quota_us", quota);
	snprintf(text, sizeof(text), "%" PRIu64 " %d", quota, PERIOD_US);
	return cgroup_write(dir, s->id, "cpu.max", text);
}

static int set_memory(const struct task_groups *g, int dir, const struct sandbox_spec *s)
{
	int r;

	if (!s->memory_bytes)
		return 0;
	r = cgroup_write_u64(
	    dir, s->id, g->v2 ? "memory.max" : "memory.limit_in_bytes", s->memory_bytes);
	if (r < 0)
		return r;
	if (g->v2)
		r = cgroup_write(dir, s->id, "memory.swap.max", "0");
	else
		r = cgroup_write_u64(dir, s->id, "memory.memsw.limit_in_bytes", s->memory_bytes);
	return r == -ENOENT ? 0 : r; /* swap is not accounted on this host */
}

static int set_limits(
    const struct task_groups *g, const char *controller, int dir, const struct sandbox_spec *s)
{
	int r = 0;

	if (g->v2 || strcmp(controller, "memory") == 0)
		r = set_memory(g, dir, s);
	if (r == 0 && (g->v2 || strcmp(controller, "cpu") == 0))
		r = set_cpu(g, dir, s);
	if (r == 0 && (g->v2 || strcmp(controller, "pids") == 0))
		r = cgroup_write_u64(
		    dir, s->id, "pids.max", s->pids_max ? s->pids_max : PIDS_DEFAULT);
	return r;
}

int task_group_make(const struct task_groups *g, const struct sandbox_spec *s, struct err *e)
{
	for (size_t i = 0; i < (g->v2 ? 1 : ARRAY_SIZE(limiting)); i++) {
		_cleanup_close_ int top = open_top(g, limiting[i]);
		int r = top < 0 ? top : cgroup_make_dir(top, s->id);

		if (r == 0 && g->v2)
			r = cgroup_write(
			    top, s->id, "cgroup.subtree_control", "+memory +cpu +pids");
		if (r == 0)
			r = set_limits(g, limiting[i], top, s);
		if (r < 0)
			return err_sys(
			    e, -r, "limiting the task's %s", g->v2 ? "resources" : limiting[i]);
	}
	return 0;
}

static int open_keepers(const struct task_groups *g, const char *container)
{
	_cleanup_close_ int top = -1;
	const char *name = container && g->unified ? container : "keepers";
	int fd;

	if (!g->v2 && !g->unified)
		return -1;
	top = open_top(g, NULL);
	if (top < 0 || cgroup_make_dir(top, name) < 0)
		return -1;
	fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

/* By "tasks", for this one thread: "cgroup.procs" waits until the whole system has passed a quiet
 * state, which takes milliseconds. */
static void join_v1(const struct task_groups *g)
{
	for (size_t i = 0; i < ARRAY_SIZE(limiting); i++) {
		_cleanup_close_ int top = open_top(g, limiting[i]);

		if (top < 0 || cgroup_make_dir(top, "keepers") < 0 ||
		    cgroup_write(top, "keepers", "tasks", "0") < 0)
			_exit(126);
	}
}

pid_t task_group_fork(const struct task_groups *g, const char *container)
{
	_cleanup_close_ int into = open_keepers(g, container);
	struct clone_args args = {.exit_signal = SIGCHLD};
	pid_t pid;

	if (into < 0 && (g->v2 || g->unified))
		return -1;
	if (into >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)into;
	}
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0 && !g->v2)
		join_v1(g);
	return pid;
}

pid_t task_group_hurry(const struct task_groups *g, int after)
{
	_cleanup_close_ int top = open_top(g, g->v2 || g->unified ? NULL : "pids");
	pid_t pid = top < 0 ? -1 : fork();
	char byte;

	if (pid != 0)
		return pid;
	(void)!read(after, &byte, 1);
	/* By "cgroup.procs": what join_v1() avoids is what is wanted here. */
	(void)cgroup_write(top, "keepers", "cgroup.procs", "0");
	_exit(0);
}

static void name_of(const char *sandbox, const char *container, char out[80])
{
	snprintf(out, 80, "%s%s%s", sandbox, container ? "/" : "", container ? container : "");
}

void task_group_path(
    const struct task_groups *g, const char *sandbox, const char *container, char out[160])
{
	snprintf(out, 160, "/%s/%s/%s", g->name, sandbox, container);
}

void task_group_kill(const struct task_groups *g, const char *sandbox, const char *container)
{
	_cleanup_close_ int top = open_top(g, g->v2 || g->unified ? NULL : "pids");
	char name[80];

	name_of(sandbox, container, name);
	if (top >= 0)
		cgroup_kill(top, g->unified ? container : name);
}

/* For each v1 tree, those that only some runtimes see among them: with our group in it. */
static int each_v1(
    const struct task_groups *g, int (*fn)(int top, const char *name), const char *name)
{
	DIR *d = opendir(ROOT_HOST_ALL_GROUPS);
	struct dirent *entry;
	int r = 0;

	while (d && (entry = readdir(d))) {
		_cleanup_close_ int top = -1;
		char path[400];
		int one;

		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		snprintf(path, sizeof(path), ROOT_HOST_ALL_GROUPS "/%s/%s", entry->d_name, g->name);
		top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		one = top < 0 ? 0 : fn(top, name);
		r = one < 0 ? one : r;
	}
	if (d)
		closedir(d);
	return r;
}

/* No kill: where there is a sandbox, the group stays. */
static int forget(int top, const char *name)
{
	char up[96];

	snprintf(up, sizeof(up), "../%s", name);
	unlinkat(top, "keepers", AT_REMOVEDIR);
	return unlinkat(top, up, AT_REMOVEDIR) < 0 ? -errno : 0;
}

void task_group_forget(const struct task_groups *g)
{
	if (g->v2 || g->unified) {
		_cleanup_close_ int top = open_top(g, NULL);

		if (top >= 0)
			forget(top, g->name);
	}
	if (!g->v2)
		each_v1(g, forget, g->name);
}

int task_group_remove(const struct task_groups *g, const char *sandbox, const char *container)
{
	char name[80];
	int r = 0;

	name_of(sandbox, container, name);
	if (g->v2 || (g->unified && container)) {
		_cleanup_close_ int top = open_top(g, NULL);

		r = top < 0 ? top : cgroup_remove_patiently(top, g->v2 ? name : container);
	}
	if (!g->v2) {
		int one = each_v1(g, cgroup_remove_patiently, name);

		r = one < 0 ? one : r;
	}
	return r;
}

int task_group_open(const struct task_groups *g, const char *sandbox, const char *container,
    const char *controller, const char *v1_name, const char *v2_name)
{
	_cleanup_close_ int top = open_top(g, controller);
	char name[80];

	if (top < 0)
		return top;
	name_of(sandbox, container, name);
	return cgroup_open(top, name, g->v2 ? v2_name : v1_name, O_RDONLY);
}
