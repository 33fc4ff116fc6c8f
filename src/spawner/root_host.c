/*
 * The root from which container runtimes are run: programs and kernel file systems of the host, the
 * data directory, what --bind-root allows, and nothing else. The cgroup trees are shown as runtimes
 * expect them (cgroup_show.c). See root.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawner/cgroup.h"
#include "spawner/copy.h"
#include "spawner/root_int.h"

#define HOST "host"

static int make_file(const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(e, errno, "making %s", path);
	close(fd);
	return 0;
}

static int bind_file(const char *from, const char *to, struct err *e)
{
	int r = make_file(to, e);

	if (r == 0 && (mount(from, to, NULL, MS_BIND, NULL) < 0 ||
			  root_set_attr(to, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, false) < 0))
		r = err_sys(e, errno, "binding %s", from);
	return r;
}

static int bind_roots(const struct root_options *o, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < o->bind_count && r == 0; i++) {
		char to[32];

		snprintf(to, sizeof(to), HOST ROOT_HOST_BINDS "/%u", i);
		if (o->binds[i][0] != '/')
			return err_set(
			    e, EINVAL, "--bind-root %s: give an absolute path", o->binds[i]);
		if (mkdir(to, 0755) < 0)
			return err_sys(e, errno, "making %s", to);
		r = root_bind_tree(o->binds[i], to, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, e);
	}
	return r;
}

static int bind_runtimes(const struct root_options *o, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < o->container_runtime_count && r == 0; i++) {
		const char *name = o->container_runtimes[i], *path = strchr(name, '=');
		char to[80];

		if (!path || path == name || path - name > 32 || path[1] != '/' ||
		    memchr(name, '/', (size_t)(path - name)) || name[0] == '.')
			return err_set(e, EINVAL,
			    "--container-runtime %s: give NAME=PATH, the path absolute", name);
		snprintf(to, sizeof(to), HOST ROOT_HOST_RUNTIMES "/%.*s", (int)(path - name), name);
		r = bind_file(path + 1, to, e);
	}
	return r;
}

/* Kernel file systems. Those of the host, not new ones: our process namespace is the host's. */
static int kernel_trees(const struct root_options *o, struct err *e)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount("proc", HOST "/proc", "proc", flags, NULL) < 0)
		return err_sys(e, errno, "mounting /proc for containers");
	if (mount("/sys", HOST "/sys", NULL, MS_BIND, NULL) < 0 ||
	    root_set_attr(
		HOST "/sys", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, false) < 0)
		return err_sys(e, errno, "binding /sys");
	if (mount("/dev", HOST "/dev", NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, errno, "binding /dev");
	return cgroups_show(o->cgroups, "/proc", HOST "/sys/fs/cgroup", HOST ROOT_HOST_ALL_GROUPS,
	    HOST ROOT_HOST_UNIFIED, e);
}

static int bind_pause(const struct root_options *o, struct err *e)
{
	char from[32];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", o->pause);
	return bind_file(from, HOST ROOT_HOST_PAUSE, e);
}

int root_make_host(const struct root_options *o, struct err *e)
{
	static const char *const dirs[] = {HOST "/proc", HOST "/sys", HOST "/dev", HOST "/etc",
	    HOST "/data", HOST "/run", HOST "/tmp", HOST "/var", HOST ROOT_HOST_ROOTFS,
	    HOST ROOT_HOST_DISK, HOST ROOT_HOST_MOUNTS, HOST ROOT_HOST_UNIFIED,
	    HOST ROOT_HOST_ALL_GROUPS, HOST ROOT_HOST_BINDS, HOST ROOT_HOST_RUNTIMES, NULL};
	int r = root_small_tmpfs(HOST, e);

	if (r == 0)
		r = root_make_dirs(dirs, e);
	if (r == 0)
		r = root_system_tree(HOST, e);
	if (r == 0)
		r = copy_file("/etc/ld.so.cache", HOST "/etc/ld.so.cache", e);
	if (r == 0)
		r = kernel_trees(o, e);
	if (r == 0)
		r = root_bind_tree("data", HOST "/data", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, e);
	if (r == 0)
		r = bind_roots(o, e);
	if (r == 0)
		r = bind_runtimes(o, e);
	if (r == 0)
		r = bind_pause(o, e);
	if (r == 0 && root_set_attr(HOST, MOUNT_ATTR_RDONLY, false) < 0)
		r = err_sys(e, errno, "making the root of container runtimes read-only");
	return r;
}
