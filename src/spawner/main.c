/*
 * mayfly-spawner: the only part of Mayfly that runs as root. It makes and kills boxes for core,
 * which it starts, confines and starts again. No parser but that of its own command line, no heap
 * once core runs, one thread. Started by `mayfly serve`; ARCHITECTURE.md has the picture.
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "spawner/containers_int.h"
#include "spawner/disk.h"
#include "spawner/ids.h"
#include "spawner/layer.h"
#include "spawner/net.h"
#include "spawner/remove.h"
#include "spawner/root.h"
#include "spawner/rules_watch.h"
#include "spawner/spawner_int.h"

#define STOP_NS 5500000000 /* core has 5 s to drain */
#define SWEEP_MS 5
#define LOCK_TRIES 50
#define LOCK_PAUSE_US 40000
#define FDS_PER_BOX 11          /* in core: eight, channel or connections, and output */
#define FDS_OF_CLIENTS 8704     /* in core: two servers' connections, files, and a reserve */
#define CGROUP_RECORD "cgroups" /* in the data directory: where our groups are */

struct options {
	const char *data, *core, *init, *unpack, *pause;
	struct root_options root;
	const char *listen[LISTENERS_MAX];
	unsigned listen_count, boxes;
	int ready_fd;
	bool dev, allow_privileged;
	struct egress egress;
	char **rest;
	unsigned rest_count;
};

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int watch(struct spawner *s, int fd, enum event_source source, uint32_t index)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

void unwatch(struct spawner *s, int fd)
{
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- options ---- */

static const char usage[] =
    "usage: mayfly-spawner --data DIR --listen ADDRESS:PORT [--listen ...] [--core PATH]\n"
    "    [--init PATH] [--unpack PATH] [--pause PATH] [--runtimes DIR] [--boxes N] [--dev]\n"
    "    [--bind-root DIR ...] [--container-runtime NAME=PATH ...] [--allow-privileged]\n"
    "    [--ready-fd N]\n"
    "    [--egress] [--egress-dns ADDRESS] [--egress-allow ADDRESS/BITS] [-- ARGUMENTS OF CORE]\n"
    "This is the root part of mayfly; `mayfly serve` starts it.\n";

static bool take_number(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	return str_to_int64(str_from(text), min, max, ret);
}

static bool take_option(struct options *o, int which, const char *value)
{
	int64_t n;

	switch (which) {
	case 'd': o->data = value; return true;
	case 'c': o->core = value; return true;
	case 'i': o->init = value; return true;
	case 'u': o->unpack = value; return true;
	case 'p': o->pause = value; return true;
	case 'r': o->root.runtimes = value; return true;
	case 'P': o->allow_privileged = true; return true;
	case 'B':
		if (o->root.bind_count == ROOT_BINDS_MAX)
			return false;
		o->root.binds[o->root.bind_count++] = value;
		return true;
	case 'R':
		if (o->root.container_runtime_count == ROOT_RUNTIMES_MAX)
			return false;
		o->root.container_runtimes[o->root.container_runtime_count++] = value;
		return true;
	case 'D': o->dev = true; return true;
	case 'e': o->egress.on = true; return true;
	case 'n': return egress_add_dns(&o->egress, value);
	case 'a': return egress_add_allowed(&o->egress, value);
	case 'l':
		if (o->listen_count == LISTENERS_MAX)
			return false;
		o->listen[o->listen_count++] = value;
		return true;
	case 'b':
		if (!take_number(value, 1, WIRE_BOXES_MAX, &n))
			return false;
		o->boxes = (unsigned)n;
		return true;
	case 'f':
		if (!take_number(value, 3, INT_MAX, &n))
			return false;
		o->ready_fd = (int)n;
		return true;
	default: return false;
	}
}

static int parse_options(struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option table[] = {{"data", 1, NULL, 'd'}, {"listen", 1, NULL, 'l'},
	    {"core", 1, NULL, 'c'}, {"init", 1, NULL, 'i'}, {"unpack", 1, NULL, 'u'},
	    {"runtimes", 1, NULL, 'r'}, {"boxes", 1, NULL, 'b'}, {"dev", 0, NULL, 'D'},
	    {"ready-fd", 1, NULL, 'f'}, {"egress", 0, NULL, 'e'}, {"egress-dns", 1, NULL, 'n'},
	    {"egress-allow", 1, NULL, 'a'}, {"pause", 1, NULL, 'p'}, {"bind-root", 1, NULL, 'B'},
	    {"container-runtime", 1, NULL, 'R'}, {"allow-privileged", 0, NULL, 'P'}, {0}};
	int which;

	*o = (struct options){.ready_fd = -1};
	while ((which = getopt_long(argc, argv, "+", table, NULL)) != -1)
		if (!take_option(o, which, optarg))
			return err_set(e, EINVAL, "unknown option or value out of range");
	o->rest = argv + optind;
	o->rest_count = (unsigned)(argc - optind);
	if (!o->data || !o->listen_count || o->rest_count > CORE_ARGS_MAX)
		return err_set(e, EINVAL, "--data and --listen are needed");
	return 0;
}

/* ---- start ---- */

/* The program named on the command line, or one beside us: installed flat, or as the build tree
 * has it. */
static int open_program(const char *given, const char *name, const char *room, struct err *e)
{
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd;

	self[n > 0 ? n : 0] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s/%s", self, name);
	if (!given && access(path, X_OK) < 0)
		snprintf(path, sizeof(path), "%s/../%s/%s", self, room, name);
	fd = open(given ? given : path, O_PATH | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "opening %s", given ? given : path) : fd;
}

/* A directory of DATA that root or core owns; whoever else owns it does not get our trust. Users of
 * the host get into none of them: functions' code is nobody's business. */
static int own_dir(int data, const char *name, uint32_t owner, mode_t mode, struct err *e)
{
	bool made = mkdirat(data, name, 0700) == 0;
	struct stat st;
	int fd = openat(data, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "opening %s/ in the data directory", name);
	if ((made && fchown(fd, owner, ID_CORE) < 0) || fstat(fd, &st) < 0)
		goto undo;
	if (st.st_uid == owner && !(st.st_mode & 0022)) {
		if (fchown(fd, owner, ID_CORE) == 0 && fchmod(fd, mode) == 0)
			return fd;
		goto undo;
	}
	close(fd);
	return err_set(e, EPERM,
	    "%s/ in the data directory belongs to user %u, not %u; move it away", name, st.st_uid,
	    owner);
undo:
	err_sys(e, errno, "setting up %s/ in the data directory", name);
	close(fd);
	return -e->errnum;
}

/* One spawner a directory. Children of one that has just ended may hold its lock for a moment, and
 * a restart should not fail on that. */
static int lock_data(int fd)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		usleep(LOCK_PAUSE_US);
	}
	return -EBUSY;
}

/* Root's, sticky, and open to core's group: core may make files in it but not move root's away. */
static int open_data(const char *path, struct stat *ret, struct err *e)
{
	int fd;

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(
		    e, errno, "making the data directory %s (or choose another --data)", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(
		    e, errno, "opening the data directory %s (or choose another --data)", path);
	if (lock_data(fd) < 0) {
		close(fd);
		return err_set(
		    e, EBUSY, "another mayfly uses %s; stop it or choose another --data", path);
	}
	if (fchown(fd, 0, ID_CORE) < 0 || fchmod(fd, 01775) < 0 || fstat(fd, ret) < 0) {
		err_sys(e, errno, "setting up %s", path);
		close(fd);
		return -e->errnum;
	}
	return fd;
}

/* What is made in this directory does not belong together. ext4 then gives each directory another
 * group of inodes; other file systems need no telling. */
static void spread(int dir)
{
	int flags;

	if (ioctl(dir, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_TOPDIR_FL;
		(void)ioctl(dir, FS_IOC_SETFLAGS, &flags);
	}
}

/* Used by path, in the namespace of container runtimes. */
static int make_container_dirs(int data, struct err *e)
{
	static const char *const names[] = {"tasks", "net", "volumes"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_close_ int fd = own_dir(data, names[i], 0, 0700, e);

		if (fd < 0)
			return fd;
		spread(fd);
	}
	return 0;
}

static int open_dirs(struct spawner *s, const struct options *o, struct err *e)
{
	struct stat st;

	s->data = open_data(o->data, &st, e);
	if (s->data < 0)
		return s->data;
	snprintf(s->instance, sizeof(s->instance), "%lx-%lx", (unsigned long)st.st_dev,
	    (unsigned long)st.st_ino);
	s->code = own_dir(s->data, "code", 0, 0750, e);
	s->layers = s->code < 0 ? s->code : own_dir(s->data, "layers", 0, 0750, e);
	s->images = s->layers < 0 ? s->layers : own_dir(s->data, "tmp", 0, 0700, e);
	s->blobs = s->images < 0 ? s->images : own_dir(s->data, "blobs", ID_CORE, 0700, e);
	if (s->blobs >= 0) {
		spread(s->code);
		spread(s->layers);
		spread(s->images);
	}
	return s->blobs < 0 ? s->blobs : make_container_dirs(s->data, e);
}

static int open_programs(struct spawner *s, const struct options *o, struct err *e)
{
	s->exe_core = open_program(o->core, "mayfly-core", "core", e);
	if (s->exe_core < 0)
		return s->exe_core;
	s->exe_init = open_program(o->init, "box-init", "init", e);
	if (s->exe_init < 0)
		return s->exe_init;
	s->exe_unpack = open_program(o->unpack, "mayfly-unpack", "unpack", e);
	if (s->exe_unpack < 0)
		return s->exe_unpack;
	s->exe_pause = open_program(o->pause, "mayfly-pause", "pause", e);
	return s->exe_pause < 0 ? s->exe_pause : 0;
}

static int open_listeners(struct spawner *s, const struct options *o, struct err *e)
{
	for (unsigned i = 0; i < o->listen_count; i++) {
		int fd = net_listen(o->listen[i], e);

		if (fd < 0)
			return fd;
		s->listeners[s->listener_count++] = fd;
	}
	return 0;
}

/* Core holds eight descriptors a box; it gets the hard limit that we have. */
static uint32_t count_slots(unsigned wanted)
{
	struct rlimit files = {1024, 1024};
	uint64_t possible;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	possible = files.rlim_max > 2 * FDS_OF_CLIENTS
		       ? (files.rlim_max - FDS_OF_CLIENTS) / FDS_PER_BOX
		       : files.rlim_max / (2 * FDS_PER_BOX);
	if (!wanted)
		wanted = WIRE_BOXES_MAX;
	return possible < wanted ? (uint32_t)possible : wanted;
}

static int open_loop(struct spawner *s, struct err *e)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->signals < 0 || s->epoll < 0 || watch(s, s->signals, EV_SIGNAL, 0) < 0)
		return err_sys(e, errno, "making the loop");
	return 0;
}

static void prepare_disks(struct spawner *s)
{
	_cleanup_close_ int volumes =
	    openat(s->data, "volumes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct err e = ERR_INIT;

	remove_hidden(s->code);
	remove_hidden(s->layers);
	remove_hidden(volumes);
	if (layers_check(s->layers))
		job_layers_sync_later(s);
	if (disk_prepare(s->images, &e) == 0)
		return;
	s->no_loop = true;
	log_warn("/tmp of every function will be memory and count as its own: %s", e.msg);
}

/* They may have gone while nobody looked. */
static void watch_rules(struct spawner *s)
{
	s->rules = rules_watch_open();
	if (s->rules < 0 || watch(s, s->rules, EV_RULES, 0) < 0)
		log_warn("nobody will notice when rules of the packet filter are removed: %s",
		    strerror(s->rules < 0 ? -s->rules : errno));
	s->restore_at_ns = now_ns();
}

static int make_roots(struct spawner *s, struct options *o, struct err *e)
{
	char resolver[EGRESS_RESOLVER_SIZE];
	int r;

	s->task_groups.v2 = s->cgroups.ops == &cgroup_v2_ops;
	s->task_groups.unified = !s->task_groups.v2 && s->cgroups.dir[TREE_UNIFIED] >= 0;
	snprintf(s->task_groups.name, sizeof(s->task_groups.name), "%s-tasks", s->cgroups.name);
	s->binds = o->root.binds;
	s->bind_count = o->root.bind_count;
	o->root.data = s->data;
	o->root.pause = s->exe_pause;
	o->root.resolver = egress_resolver(&s->egress, resolver);
	o->root.cgroups = &s->cgroups;
	r = root_make(&o->root, e);
	if (r == 0)
		r = egress_start(&s->egress, s->instance, e);
	if (r < 0)
		return r;
	s->own_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (s->own_mounts < 0)
		return err_sys(e, errno, "opening our mount namespace");
	s->box_mounts = root_box_mounts(s->own_mounts, e);
	if (s->box_mounts < 0)
		return s->box_mounts;
	s->host_mounts = root_host_mounts(s->own_mounts, e);
	return s->host_mounts < 0 ? s->host_mounts : 0;
}

static int start(struct spawner *s, struct options *o, struct err *e)
{
	int r = open_loop(s, e);

	if (geteuid() != 0)
		return err_set(e, EPERM, "mayfly needs root to make boxes; start it with sudo");
	s->core.pidfd = s->core.socket = -1;
	s->exit_code = -1;
	s->ready_fd = o->ready_fd;
	s->dev = o->dev;
	s->allow_privileged = o->allow_privileged;
	s->egress = o->egress;
	s->core_args = o->rest;
	s->core_arg_count = o->rest_count;
	s->gate.slots = count_slots(o->boxes);
	boxes_init(s);
	if (r == 0)
		r = root_begin(e);
	if (r == 0)
		r = open_dirs(s, o, e);
	if (r == 0)
		r = open_programs(s, o, e);
	if (r == 0)
		r = open_listeners(s, o, e);
	if (r == 0)
		r = cgroups_find(&s->cgroups, "/proc", s->instance, e);
	if (r == 0)
		r = cgroups_prepare(&s->cgroups, s->data, CGROUP_RECORD, e);
	if (r == 0)
		r = make_roots(s, o, e);
	if (r < 0)
		return r;
	/* Code and layers by descriptors of the mounts that boxes will have copies of. */
	s->code = open(ROOT_DATA "/code", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	s->layers = open(ROOT_DATA "/layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->code < 0 || s->layers < 0)
		return err_sys(e, errno, "opening code/ and layers/ again");
	prepare_disks(s);
	watch_rules(s);
	return 0;
}

static void tell_ready(struct spawner *s)
{
	char name[80], line[96];

	for (unsigned i = 0; i < s->listener_count; i++) {
		if (net_name(s->listeners[i], name, sizeof(name)) < 0)
			continue;
		log_info("listening on %s", name);
		snprintf(line, sizeof(line), "%s\n", name);
		if (s->ready_fd >= 0)
			(void)fd_write_full(s->ready_fd, line, strlen(line));
	}
	if (s->ready_fd >= 0)
		close(s->ready_fd);
}

/* ---- the loop ---- */

static void on_signal(struct spawner *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (s->stopping) { /* asked twice: at once */
		s->stop_by_ns = now_ns();
		return;
	}
	log_info("stopping");
	s->stopping = true;
	s->stop_by_ns = now_ns() + STOP_NS;
	s->core.start_at_ns = 0;
	if (s->core.pidfd >= 0)
		pidfd_send(s->core.pidfd, SIGTERM);
	else
		s->exit_code = 0;
}

/* At once, but not more than once a second, whatever others do to their rules. */
static void on_rules(struct spawner *s)
{
	if (rules_watch_read(s->rules) && !s->restore_at_ns)
		s->restore_at_ns = s->restored_ns + RESTORE_NS;
}

static void on_event(struct spawner *s, uint64_t data)
{
	uint32_t index = (uint32_t)data;

	switch ((enum event_source)(data >> 32)) {
	case EV_SIGNAL: on_signal(s); return;
	case EV_CORE: core_on_message(s); return;
	case EV_CORE_EXIT: core_on_exit(s); return;
	case EV_BOX: box_on_message(s, index); return;
	case EV_BOX_EXIT: box_on_exit(s, index); return;
	case EV_JOB: job_on_ready(s, index); return;
	case EV_RULES: on_rules(s); return;
	}
}

/* When to wake without an event, in ms; -1: never. */
static int patience(const struct spawner *s)
{
	int64_t due = INT64_MAX, now = now_ns();

	if (!list_empty(&s->lingering))
		return SWEEP_MS;
	if (s->core.start_at_ns)
		due = s->core.start_at_ns;
	if (s->stopping && s->stop_by_ns < due)
		due = s->stop_by_ns;
	if (s->disk_retry_ns > now && s->disk_retry_ns < due)
		due = s->disk_retry_ns;
	if (s->restore_at_ns && !s->restoring && s->restore_at_ns < due)
		due = s->restore_at_ns;
	if (s->sync_at_ns && !s->syncing && s->sync_at_ns < due)
		due = s->sync_at_ns;
	if (due == INT64_MAX)
		return -1;
	return due <= now ? 0 : (int)((due - now) / 1000000 + 1);
}

static void on_time(struct spawner *s)
{
	int64_t now = now_ns();

	boxes_sweep(s);
	if (s->core.start_at_ns && s->core.start_at_ns <= now)
		core_start(s);
	if (s->stopping && s->stop_by_ns <= now && s->core.pidfd >= 0)
		pidfd_send(s->core.pidfd, SIGKILL);
	if (s->disk_retry_ns && s->disk_retry_ns <= now) {
		s->disk_retry_ns = 0;
		disks_pump(s);
	}
	if (s->restore_at_ns && s->restore_at_ns <= now && !s->restoring)
		job_network(s);
	if (s->sync_at_ns && s->sync_at_ns <= now && !s->syncing)
		job_layers_sync(s);
	core_greet(s);
}

/* One event a turn: handling one may close what the next would be about. */
static int run(struct spawner *s)
{
	struct epoll_event event;

	while (s->exit_code < 0) {
		int n = epoll_wait(s->epoll, &event, 1, patience(s));

		check(n >= 0 || errno == EINTR);
		if (n == 1)
			on_event(s, event.data.u64);
		on_time(s);
	}
	return s->exit_code;
}

/* What containers that go on do not need. */
static void clear_up(struct spawner *s)
{
	struct err e = ERR_INIT;

	jobs_kill_all(s);
	egress_stop(&s->egress);
	cgroups_remove(&s->cgroups);
	if (setns(s->host_mounts, CLONE_NEWNS) < 0)
		return;
	task_group_forget(&s->task_groups);
	if (netns_leave(s, &e) < 0 && e.errnum != EBUSY)
		log_warn("%s", e.msg);
}

int main(int argc, char **argv)
{
	static struct spawner spawner;
	struct err e = ERR_INIT;
	static struct options o; /* paths of it are used as long as we live */
	int r;

	log_setup("mayfly-spawner", LOG_INFO);
	if (parse_options(&o, argc, argv, &e) < 0) {
		log_error("%s", e.msg);
		fputs(usage, stderr);
		return 2;
	}
	r = start(&spawner, &o, &e);
	if (r < 0) {
		log_error("%s", e.msg);
		return r == -EINVAL ? 2 : 1; /* wrong usage, or what it met */
	}
	tell_ready(&spawner);
	core_start(&spawner);
	disks_pump(&spawner);
	r = run(&spawner);
	clear_up(&spawner);
	return r;
}
