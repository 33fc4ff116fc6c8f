/*
 * Sandboxes: cgroup, disk and the pause process with its namespaces. The order is as in blank.c:
 * mounts as real root, then the user namespace, then the namespaces that it is to own. See
 * containers_int.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "spawner/containers_int.h"
#include "spawner/disk.h"
#include "spawner/ids.h"
#include "spawner/metadata.h"
#include "spawner/net.h"
#include "spawner/remove.h"
#include "spawner/root.h"

#define EXE_FD 3
#define NEW_ROOT "/tmp" /* of a box's template */

/* ---- in the new process ---- */

struct pause_news { /* comes with metadata, endpoint and network namespace, if there is one */
	int32_t result;
	pid_t pid;
	char doing[48];
};

static int out; /* to the child of the spawner */

_noreturn_ static void fail_pause(const char *doing)
{
	struct pause_news news = {.result = -errno};

	snprintf(news.doing, sizeof(news.doing), "%s", doing);
	(void)fd_send_fds(out, &news, sizeof(news), NULL, 0, 0);
	_exit(1);
}

static void need(int r, const char *doing)
{
	if (r < 0)
		fail_pause(doing);
}

/* A root with nothing in it but the disk: who gets hold of this process finds no more than that.
 * From where boxes come from: few mounts to be copied, and to be left. */
static void make_root(int mounts, int disk, const struct sandbox_spec *spec)
{
	char options[96];

	need(setns(mounts, CLONE_NEWNS), "entering a mount namespace");
	need(unshare(CLONE_NEWNS), "making a mount namespace");
	need(mount("pause", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k"),
	    "mounting a root");
	need(mkdir(NEW_ROOT ROOT_HOST_DISK, 0755), "making a root");
	need(move_mount(disk, "", AT_FDCWD, NEW_ROOT ROOT_HOST_DISK, MOVE_MOUNT_F_EMPTY_PATH),
	    "mounting the disk");
	if (spec->share_ipc) {
		snprintf(options, sizeof(options), "mode=1777,uid=%u,gid=%u,size=%" PRIu64,
		    ID_CONTAINERS, ID_CONTAINERS,
		    spec->shm_bytes ? spec->shm_bytes : UINT64_C(64) << 20);
		need(mkdir(NEW_ROOT ROOT_HOST_DISK SANDBOX_SHM, 0755), "making /dev/shm");
		need(mount("shm", NEW_ROOT ROOT_HOST_DISK SANDBOX_SHM, "tmpfs",
			 MS_NOSUID | MS_NODEV | MS_NOEXEC, options),
		    "mounting /dev/shm");
	}
	need(root_enter(NEW_ROOT), "changing the root");
}

static void enter_user(void)
{
	char byte = 0;

	need(unshare(CLONE_NEWUSER), "making a user namespace");
	need((int)send(out, &byte, 1, 0), "reporting");
	if (recv(out, &byte, 1, 0) != 1)
		_exit(1);
	need(setgroups(0, NULL), "dropping groups");
	need(setresgid(0, 0, 0), "becoming the inner root");
	need(setresuid(0, 0, 0), "becoming the inner root");
}

_noreturn_ static void become_pause(int exe, int null)
{
	static char name[] = "mayfly-pause";
	char *argv[] = {name, NULL}, *envp[] = {NULL};
	int high_exe = fcntl(exe, F_DUPFD_CLOEXEC, 16),
	    high_null = fcntl(null, F_DUPFD_CLOEXEC, 16);
	char byte;

	setsid();
	/* Who started us has to have written down that we are there: else nobody would end us. */
	if (recv(out, &byte, 1, 0) != 1)
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		dup2(high_null, fd);
	dup3(high_exe, EXE_FD, O_CLOEXEC);
	syscall(SYS_close_range, EXE_FD + 1, ~0u, 0);
	syscall(SYS_execveat, EXE_FD, "", argv, envp, AT_EMPTY_PATH);
	_exit(127);
}

static int namespaces_of(const struct sandbox_spec *s)
{
	return (s->network == CONTAINER_NET_TASK ? CLONE_NEWNET : 0) |
	       (s->share_ipc ? CLONE_NEWIPC : 0) | (s->share_pid ? CLONE_NEWPID : 0);
}

_noreturn_ static void run_pause(const struct spawner *s, const struct sandbox_spec *spec, int disk)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fds[3] = {-1, -1, -1};
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool net = spec->network == CONTAINER_NET_TASK;
	struct pause_news news = {0};

	need(null < 0 ? null : proc, "opening /dev/null and /proc");
	make_root(s->box_mounts, disk, spec);
	enter_user();
	need(unshare(namespaces_of(spec)), "making namespaces");
	if (net) {
		errno = -bridge_loopback();
		need(errno ? -1 : 0, "setting up loopback");
		errno = -net_container(&fds[0], &fds[1]);
		need(errno ? -1 : 0, "listening");
		errno = -metadata_redirect();
		need(errno ? -1 : 0, "leading connections for metadata");
		fds[2] = openat(proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
		need(fds[2], "opening the network namespace");
	}
	/* A new process namespace begins with the next process. */
	news.pid = spec->share_pid ? fork() : getpid();
	if (news.pid == 0)
		become_pause(s->exe_pause, null);
	need(news.pid, "starting mayfly-pause");
	(void)fd_send_fds(out, &news, sizeof(news), fds, net ? 3 : 0, 0);
	if (spec->share_pid)
		_exit(0);
	become_pause(s->exe_pause, null);
}

/* ---- around it ---- */

static int map_ids(pid_t pid)
{
	static const char *const files[] = {"uid_map", "gid_map"};
	char text[48];
	int n = snprintf(text, sizeof(text), "0 %u %u\n", ID_CONTAINERS, ID_CONTAINERS_COUNT);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[40];
		_cleanup_close_ int fd = -1;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i]);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, (size_t)n) != n)
			return -errno;
	}
	return 0;
}

/* What a sandbox is made of, while it is made. */
struct making {
	const struct place *place;
	const struct sandbox_spec *spec;
	const void *record;
	size_t len;
	struct pause_news news;
	struct netns *net;
};

/* Hear what came of it, or (true) that it wants its ids mapped. */
static int hear(int sock, struct making *m, bool *ret_map, struct err *e)
{
	int fds[FD_PASS_MAX];
	size_t count = 0;
	ssize_t n = fd_recv_fds(sock, &m->news, sizeof(m->news), fds, &count, 0);

	*ret_map = n == 1;
	if (n == 1)
		return 0;
	if (n != sizeof(m->news))
		return err_set(e, EIO, "the pause process ended early");
	if (m->news.result < 0)
		return err_sys(e, -m->news.result, "%s for containers", m->news.doing);
	if (count == 3)
		*m->net = (struct netns){.metadata = fds[0], .endpoint = fds[1], .ns = fds[2]};
	return 0;
}

static int write_down(const struct making *m, struct err *e)
{
	int r = place_note_boot(m->place);

	if (r == 0)
		r = place_write(m->place->dir, "record", m->record, m->len);
	return r < 0 ? err_sys(e, -r, "making the task's directory") : 0;
}

/* While it makes its namespaces, we do what needs nothing of them. */
static int attend(int sock, pid_t pid, struct making *m, struct err *e)
{
	bool map = false;
	int r = write_down(m, e);

	if (r == 0)
		r = hear(sock, m, &map, e);
	if (r == 0 && map) {
		r = map_ids(pid);
		if (r < 0)
			return err_sys(e, -r, "mapping ids of containers");
		if (send(sock, "", 1, MSG_NOSIGNAL) != 1)
			return err_sys(e, errno, "answering the pause process");
	}
	if (r == 0)
		r = task_group_make(&m->place->s->task_groups, m->spec, e);
	if (r == 0 && map)
		r = hear(sock, m, &map, e);
	if (r == 0 && map)
		r = err_set(e, EIO, "the pause process asks twice");
	return r;
}

static pid_t start_pause(struct making *m, int disk, struct err *e)
{
	const struct place *p = m->place;
	int ends[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, errno, "making a socket pair");
	pid = task_group_fork(&p->s->task_groups, NULL);
	if (pid == 0) {
		close(ends[0]); /* or the end of who started us would not be seen */
		out = ends[1];
		run_pause(p->s, m->spec, disk);
	}
	close(ends[1]);
	r = pid < 0 ? err_sys(e, errno, "starting a pause process") : attend(ends[0], pid, m, e);
	if (r < 0)
		shutdown(ends[0], SHUT_RDWR); /* it may wait for us */
	if (pid > 0 && (r < 0 || pid != m->news.pid))
		waitpid(pid, NULL, 0);
	if (r == 0 && (process_note(p->dir, "pause.new", m->news.pid) < 0 ||
			  send(ends[0], "", 1, MSG_NOSIGNAL) != 1))
		r = err_set(e, EIO, "remembering the pause process failed");
	close(ends[0]);
	return r < 0 ? r : m->news.pid;
}

/* ---- making ---- */

/* Where mke2fs is run. */
static int make_disk(const struct spawner *s, uint64_t bytes, struct err *e)
{
	int disk;

	if (bytes == 0 && s->task_disk >= 0)
		return dup_cloexec(s->task_disk);
	check(setns(s->own_mounts, CLONE_NEWNS) == 0);
	disk = disk_task(s->images, bytes, e);
	check(setns(s->host_mounts, CLONE_NEWNS) == 0);
	return disk;
}

static int make_net(const struct place *p, const struct sandbox_spec *spec, struct netns *n,
    struct answer *a, struct err *e)
{
	struct wire_net net = {.has_namespace = spec->network == CONTAINER_NET_TASK};
	int r = 0;

	if (net.has_namespace)
		r = netns_attach(p, n->ns, NULL, &net, e);
	if (r == 0)
		netns_add(a, n, &net);
	return r;
}

int sandbox_make(const struct spawner *s, const struct sandbox_spec *spec, const void *record,
    size_t len, struct answer *a, struct err *e)
{
	struct place p = {.s = s, .dir = -1, .bundle = -1};
	struct netns net = {-1, -1, -1};
	struct making m = {.place = &p, .spec = spec, .record = record, .len = len, .net = &net};
	_cleanup_close_ int disk = -1;
	pid_t pause;
	int r;

	/* All containers have the same users on the host: who sees another's processes may kill
	 * them. */
	if (spec->host_pid && !s->allow_privileged)
		return err_set(e, EACCES,
		    "tasks may not see the host's processes; start serve with --allow-privileged");
	memcpy(p.sandbox, spec->id, sizeof(p.sandbox));
	r = place_open(&p, true, e);
	if (r < 0)
		return r;
	if (faccessat(p.dir, "record", F_OK, 0) == 0)
		return err_set(e, EEXIST, "there is a sandbox of this id");
	disk = make_disk(s, spec->disk_bytes, e);
	if (disk < 0)
		return disk;
	pause = start_pause(&m, disk, e);
	if (pause < 0)
		return pause;
	r = make_net(&p, spec, &net, a, e);
	if (r == 0 && process_note(p.dir, "pause", pause) < 0)
		r = err_set(e, EIO, "remembering the pause process failed");
	return r;
}

int sandbox_disk(const struct place *p, const struct process *pause, struct err *e)
{
	char path[40];
	_cleanup_close_ int ns = -1;
	int disk;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pause->pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
		return err_sys(e, errno, "entering the sandbox's mounts");
	disk =
	    open_tree(AT_FDCWD, ROOT_HOST_DISK, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (disk < 0)
		err_sys(e, errno, "opening the sandbox's disk");
	check(setns(p->s->host_mounts, CLONE_NEWNS) == 0);
	return disk < 0 ? -e->errnum : disk;
}

/* ---- removing ---- */

static int remove_containers(const struct place *p, struct err *e)
{
	int copy = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && r == 0 && (entry = readdir(d))) {
		struct place one = {.s = p->s, .dir = p->dir, .bundle = -1};

		if (!record_id_ok(entry->d_name))
			continue;
		memcpy(one.sandbox, p->sandbox, sizeof(one.sandbox));
		memcpy(one.id, entry->d_name, sizeof(one.id));
		one.bundle = openat(p->dir, one.id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = container_remove(&one, true, e);
	}
	if (d)
		closedir(d);
	return r;
}

static int end_pause(const struct place *p, const char *name)
{
	struct process pause = process_noted(p->dir, name);

	return process_end(&pause);
}

int sandbox_remove(const struct spawner *s, const char *id, struct err *e)
{
	struct place p = {.s = s, .dir = -1, .bundle = -1};
	_cleanup_close_ int tasks = open(TASKS_AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	snprintf(p.sandbox, sizeof(p.sandbox), "%s", id);
	r = place_open(&p, false, e);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = remove_containers(&p, e);
	if (r == 0 && (end_pause(&p, "pause") < 0 || end_pause(&p, "pause.new") < 0))
		r = err_set(e, EBUSY, "the pause process does not end");
	if (r == 0)
		r = netns_detach(&p, p.dir, e);
	if (r < 0)
		return r;
	r = task_group_remove(&s->task_groups, id, NULL);
	if (r < 0)
		return err_sys(e, -r, "removing the task's cgroup");
	r = remove_tree(tasks, id);
	return r < 0 ? err_sys(e, -r, "removing the task's directory") : 0;
}
