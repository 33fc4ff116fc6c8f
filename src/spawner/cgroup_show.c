/* The cgroup trees as container runtimes find them. See cgroup.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "spawner/cgroup.h"

#define HOST_AT "/sys/fs/cgroup"
#define FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Our group in the tree that is called `name` on the host ("cpu,cpuacct"): the line of
 * /proc/self/cgroup that lists these controllers, in whatever order, begins and ends as it does. */
static bool line_is_of(const char *list, const char *name)
{
	struct str rest = str_from(name);

	if (strncmp(list, "name=", 5) == 0)
		return strcmp(list + 5, name) == 0;
	while (rest.ptr) {
		struct str one = str_cut(&rest, ','), all = str_from(list);
		bool there = false;

		while (all.ptr)
			there |= str_eq(str_cut(&all, ','), one);
		if (!there)
			return false;
	}
	return true;
}

/* Path of our group in tree `name`, into path; "/" when there is no telling. */
static void find_own(const char *groups, const char *name, char *path, size_t size)
{
	_cleanup_free_ char *copy = xstrdup(groups);
	char *save = NULL;

	snprintf(path, size, "/");
	for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *list = strchr(l, ':'), *own = list ? strchr(list + 1, ':') : NULL;

		if (!own)
			continue;
		*own = '\0';
		if (line_is_of(list + 1, name))
			snprintf(path, size, "%s", own + 1);
	}
}

static int show_tree(const char *groups, const char *name, const char *at, struct err *e)
{
	char own[512], from[1024], to[512];

	find_own(groups, name, own, sizeof(own));
	snprintf(from, sizeof(from), HOST_AT "/%s%s", name, own);
	if (access(from, F_OK) < 0) /* only part of the tree is mounted, as in a container */
		snprintf(from, sizeof(from), HOST_AT "/%s", name);
	snprintf(to, sizeof(to), "%s/%s", at, name);
	if (mkdir(to, 0755) < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "showing %s to container runtimes", from);
	return 0;
}

/* Links such as cpu -> cpu,cpuacct. */
static int show_link(const char *name, const char *at, struct err *e)
{
	char from[300], to[512], target[256];
	ssize_t n;

	snprintf(from, sizeof(from), HOST_AT "/%s", name);
	snprintf(to, sizeof(to), "%s/%s", at, name);
	n = readlink(from, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	return symlink(target, to) < 0 ? err_sys(e, errno, "linking %s", to) : 0;
}

/* Runtimes make a group for each container in every tree that they see, which takes its time: those
 * that limit, and those that devices and freezing hang on. */
static bool is_wanted(const char *name)
{
	static const char *const wanted[] = {
	    "memory", "cpu", "cpuacct", "cpu,cpuacct", "cpuacct,cpu", "pids", "devices", "freezer"};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (strcmp(wanted[i], name) == 0)
			return true;
	return false;
}

/* all: for runtimes that want every tree, and wait for it. */
static int show_v1(const char *groups, const char *at, bool all, struct err *e)
{
	DIR *d = opendir(HOST_AT);
	struct dirent *entry;
	int r = 0;

	if (mount("cgroup", at, "tmpfs", FLAGS, "mode=0755,size=64k") < 0)
		r = err_sys(e, errno, "mounting a tmpfs on %s", at);
	while (r == 0 && d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "unified") == 0)
			continue;
		if (!all && !is_wanted(entry->d_name))
			continue;
		if (entry->d_type == DT_LNK)
			r = show_link(entry->d_name, at, e);
		else if (entry->d_type == DT_DIR)
			r = show_tree(groups, entry->d_name, at, e);
	}
	if (d)
		closedir(d);
	return r;
}

int cgroups_show(const struct cgroups *g, const char *proc_dir, const char *at, const char *all_at,
    const char *unified_at, struct err *e)
{
	const char *unified = g->ops == &cgroup_v2_ops ? at : unified_at;
	_cleanup_free_ char *path = xasprintf("%s/self/cgroup", proc_dir);
	_cleanup_buf_ struct buf groups = BUF_INIT;
	int r = fd_read_file(AT_FDCWD, path, 65536, &groups);

	if (r < 0)
		return err_sys(e, -r, "reading %s", path);
	buf_append(&groups, "", 1);
	if (g->above[TREE_UNIFIED] >= 0 &&
	    mount(g->path[TREE_UNIFIED], unified, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "showing %s to containers", g->path[TREE_UNIFIED]);
	if (g->ops == &cgroup_v2_ops)
		return 0;
	r = show_v1(buf_data(&groups), at, false, e);
	return r < 0 ? r : show_v1(buf_data(&groups), all_at, true, e);
}
