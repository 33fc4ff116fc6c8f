/* Finding the host's cgroup trees, and clearing them of what an earlier spawner left. See cgroup.h.
 */
#include "spawner/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define TABLE_LIMIT 262144 /* of /proc/self/mountinfo */

void cgroup_box_name(unsigned slot, char out[16])
{
	snprintf(out, 16, "b%u", slot);
}

int cgroup_open(int dir, const char *group, const char *file, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, file);
	fd = openat(dir, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_write(int dir, const char *group, const char *file, const char *value)
{
	_cleanup_close_ int fd = cgroup_open(dir, group, file, O_WRONLY);

	if (fd < 0)
		return fd;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

int cgroup_write_u64(int dir, const char *group, const char *file, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return cgroup_write(dir, group, file, text);
}

int cgroup_make_dir(int dir, const char *group)
{
	return mkdirat(dir, group, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int cgroup_remove_dir(int dir, const char *group)
{
	return unlinkat(dir, group, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* ---- where the trees are ---- */

static const char *const controllers[TREE_COUNT] = {
    [TREE_MEMORY] = "memory", [TREE_CPU] = "cpu", [TREE_PIDS] = "pids", [TREE_FREEZER] = "freezer"};

/* Is `word` one of the comma-separated words of list? */
static bool has_word(const char *list, const char *word)
{
	struct str rest = str_from(list);

	while (rest.ptr)
		if (str_is(str_trim(str_cut(&rest, ',')), word))
			return true;
	return false;
}

/* One line of /proc/self/cgroup, "4:memory:/path" or "0::/path", for tree t: the path, or NULL. */
static const char *own_path(char *line, int t)
{
	char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

	if (!path)
		return NULL;
	*path = '\0';
	if (t == TREE_UNIFIED ? list[1] == '\0' && line[0] == '0'
			      : list[1] && has_word(list + 1, controllers[t]))
		return path + 1;
	return NULL;
}

/* One line of mountinfo: where tree t is mounted, and which part of it. */
static bool tree_mount(char *line, int t, char **ret_root, char **ret_point)
{
	char *field[6], *tail = strstr(line, " - "), *save = NULL;
	char type[16], source[256], options[256];

	if (!tail || sscanf(tail, " - %15s %255s %255s", type, source, options) != 3)
		return false;
	if (t == TREE_UNIFIED ? strcmp(type, "cgroup2") != 0
			      : strcmp(type, "cgroup") != 0 || !has_word(options, controllers[t]))
		return false;
	for (int i = 0; i < 6; i++)
		if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
			return false;
	*ret_root = field[3];
	*ret_point = field[4];
	return true;
}

static void set_path(struct cgroups *g, int t, const char *root, const char *point, const char *own)
{
	size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(own, root, skip) != 0)
		skip = strlen(own); /* not below what is mounted: use the mounted top */
	if (strstr(own + skip, "/.."))
		skip = strlen(own); /* outside of what this cgroup namespace shows */
	if (strcmp(own + skip, "/") == 0)
		skip++;
	snprintf(g->path[t], sizeof(g->path[t]), "%s%s", point, own + skip);
	if (t == TREE_UNIFIED)
		g->mount_len = strlen(point);
}

/* Look for tree t in both tables (copied, because looking cuts lines up). */
static void find_tree(struct cgroups *g, int t, const char *mounts, const char *groups)
{
	_cleanup_free_ char *m = xstrdup(mounts), *c = xstrdup(groups);
	char *save = NULL, *root = NULL, *point = NULL;
	const char *own = NULL;

	for (char *l = strtok_r(c, "\n", &save); l && !own; l = strtok_r(NULL, "\n", &save))
		own = own_path(l, t);
	save = NULL;
	for (char *l = strtok_r(m, "\n", &save); l && own; l = strtok_r(NULL, "\n", &save))
		if (tree_mount(l, t, &root, &point)) {
			set_path(g, t, root, point, own);
			g->above[t] = open(g->path[t], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			return;
		}
}

static int read_table(const char *proc_dir, const char *name, struct buf *b, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/self/%s", proc_dir, name);
	int r = fd_read_file(AT_FDCWD, path, TABLE_LIMIT, b);

	buf_append(b, "", 1);
	return r < 0 ? err_sys(e, -r, "reading %s", path) : 0;
}

static void forget(struct cgroups *g, int t)
{
	base_closep(&g->above[t]);
	g->above[t] = -1;
}

int cgroups_find(struct cgroups *g, const char *proc_dir, const char *instance, struct err *e)
{
	_cleanup_buf_ struct buf mounts = BUF_INIT, groups = BUF_INIT;
	int r = read_table(proc_dir, "mountinfo", &mounts, e);

	memset(g, 0, sizeof(*g));
	snprintf(g->name, sizeof(g->name), "mayfly-%s", instance);
	if (r == 0)
		r = read_table(proc_dir, "cgroup", &groups, e);
	if (r < 0)
		return r;
	for (int t = 0; t < TREE_COUNT; t++) {
		g->above[t] = g->dir[t] = -1;
		find_tree(g, t, buf_data(&mounts), buf_data(&groups));
	}
	if (cgroup_v2_usable(g)) {
		g->ops = &cgroup_v2_ops;
		for (int t = 0; t < TREE_COUNT; t++)
			if (t != TREE_UNIFIED)
				forget(g, t);
		return 0;
	}
	g->ops = &cgroup_v1_ops;
	if (g->above[TREE_UNIFIED] >= 0)
		forget(g, TREE_FREEZER);
	if (g->above[TREE_MEMORY] < 0 || g->above[TREE_CPU] < 0 || g->above[TREE_PIDS] < 0 ||
	    (g->above[TREE_UNIFIED] < 0 && g->above[TREE_FREEZER] < 0))
		return err_set(e, ENOENT,
		    "no cgroup controllers for memory, cpu and pids are mounted; "
		    "mount cgroup2 on /sys/fs/cgroup, or run where they are");
	return 0;
}

/* ---- making ours, clearing leftovers ---- */

static void kill_listed(int dir, const char *group)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_free_ char *path = xasprintf("%s/cgroup.procs", group);
	char *save = NULL;

	if (fd_read_file(dir, path, 65536, &b) < 0)
		return;
	buf_append(&b, "", 1);
	for (char *l = strtok_r(buf_data(&b), "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		pid_t pid = (pid_t)strtol(l, NULL, 10);

		if (pid > 1)
			kill(pid, SIGKILL);
	}
}

void cgroup_kill(int dir, const char *group)
{
	if (cgroup_write(dir, group, "cgroup.kill", "1") == 0)
		return;
	kill_listed(dir, group);
	cgroup_write(dir, group, "freezer.state", "THAWED");
	cgroup_write(dir, group, "cgroup.freeze", "0");
}

int cgroup_remove_patiently(int dir, const char *group)
{
	int r = 0;

	for (int i = 0; i < 200; i++) {
		r = cgroup_remove_dir(dir, group);
		if (r != -EBUSY)
			break;
		cgroup_kill(dir, group);
		usleep(5000);
	}
	return r;
}

/* Kill (first pass) or remove (second) every box's group below dir. */
static void each_box(int dir, bool removing)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_type == DT_DIR && entry->d_name[0] == 'b') {
			if (removing)
				cgroup_remove_patiently(dir, entry->d_name);
			else
				cgroup_kill(dir, entry->d_name);
		}
	if (d)
		closedir(d);
}

/* The v2 tree first: its kill takes whole groups at once. */
static void clear(const int dir[TREE_COUNT])
{
	if (dir[TREE_UNIFIED] >= 0)
		each_box(dir[TREE_UNIFIED], false);
	for (int t = 0; t < TREE_COUNT; t++)
		if (dir[t] >= 0)
			each_box(dir[t], false);
	for (int t = 0; t < TREE_COUNT; t++)
		if (dir[t] >= 0)
			each_box(dir[t], true);
}

/* Core may make files beside it: what it says is killed, so only our own word counts. */
static bool is_our_file(int data, const char *record)
{
	struct stat st;

	return fstatat(data, record, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid();
}

/* Leftovers where an earlier spawner had its groups: `record` has one directory a line. */
static void clear_recorded(struct cgroups *g, int data, const char *record)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int dir[TREE_COUNT];
	char *save = NULL;

	for (int t = 0; t < TREE_COUNT; t++)
		dir[t] = -1;
	if (!is_our_file(data, record) || fd_read_file(data, record, sizeof(g->path), &b) < 0)
		return;
	buf_append(&b, "", 1);
	for (char *l = strtok_r(buf_data(&b), "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		if (l[0] >= '0' && l[0] < '0' + TREE_COUNT && l[1] == ' ' && dir[l[0] - '0'] < 0)
			dir[l[0] - '0'] =
			    open(l + 2, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	clear(dir);
	for (int t = 0; t < TREE_COUNT; t++)
		base_closep(&dir[t]);
}

static int write_record(struct cgroups *g, int data, const char *record, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r;

	for (int t = 0; t < TREE_COUNT; t++)
		if (g->dir[t] >= 0)
			buf_printf(&b, "%d %s/%s\n", t, g->path[t], g->name);
	r = fd_write_file(data, record, buf_data(&b), buf_len(&b), 0600);
	return r < 0 ? err_sys(e, -r, "writing %s", record) : 0;
}

int cgroups_prepare(struct cgroups *g, int data, const char *record, struct err *e)
{
	int r;

	clear_recorded(g, data, record);
	if (g->ops == &cgroup_v2_ops && (r = cgroup_v2_place(g, e)) < 0)
		return r;
	for (int t = 0; t < TREE_COUNT; t++) {
		if (g->above[t] < 0)
			continue;
		r = cgroup_make_dir(g->above[t], g->name);
		if (r < 0)
			return err_sys(e, -r, "making %s/%s", g->path[t], g->name);
		g->dir[t] = openat(g->above[t], g->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (g->dir[t] < 0)
			return err_sys(e, errno, "opening %s/%s", g->path[t], g->name);
	}
	clear(g->dir);
	if (g->ops == &cgroup_v2_ops && (r = cgroup_v2_hand_down(g->dir[TREE_UNIFIED])) < 0)
		return err_sys(
		    e, -r, "handing controllers down in %s/%s", g->path[TREE_UNIFIED], g->name);
	return write_record(g, data, record, e);
}

void cgroups_remove(struct cgroups *g)
{
	clear(g->dir);
	for (int t = 0; t < TREE_COUNT; t++)
		if (g->dir[t] >= 0 && cgroup_remove_patiently(g->above[t], g->name) < 0)
			log_warn("cgroup %s/%s stays: %s", g->path[t], g->name, strerror(errno));
}

static uint64_t read_limit(int dir, const char *file)
{
	char text[32];
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	return text[0] == 'm' ? UINT64_MAX : strtoull(text, NULL, 10);
}

uint64_t cgroups_memory(const struct cgroups *g)
{
	if (g->above[TREE_MEMORY] >= 0)
		return read_limit(g->above[TREE_MEMORY], "memory.limit_in_bytes");
	return read_limit(g->above[TREE_UNIFIED], "memory.max");
}
