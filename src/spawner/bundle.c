/* The bundle of a container: its root, what is mounted into it, config.json. See containers_int.h.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"
#include "spawner/fill.h"
#include "spawner/ids.h"
#include "spawner/overlay.h"
#include "spawner/remove.h"
#include "spawner/root.h"

#define CONFIG_MAX (2 << 20)
#define NET_PATH ROOT_HOST_MOUNTS "/net"
/* Docker's: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE,
 * NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP. */
#define CAPABILITIES_DEFAULT UINT64_C(0xa80425fb)
/* And what Fargate gives to who asks: tracing, of processes in the same user namespace. */
#define CAPABILITIES_ALLOWED (CAPABILITIES_DEFAULT | UINT64_C(1) << CAP_SYS_PTRACE)
#define CAPABILITIES_ALL UINT64_C(0x1ffffffffff)

uint64_t bundle_capabilities(const struct spawner *s, const struct container_spec *spec)
{
	if (spec->privileged)
		return CAPABILITIES_ALL;
	return spec->capabilities & (s->allow_privileged ? CAPABILITIES_ALL : CAPABILITIES_ALLOWED);
}

/* Rather not at all than with less than was asked for. */
static int check_rights(const struct spawner *s, const struct container_spec *spec, struct err *e)
{
	uint64_t beyond = spec->capabilities & ~CAPABILITIES_ALLOWED & CAPABILITIES_ALL;

	if (s->allow_privileged)
		return 0;
	if (spec->privileged)
		return err_set(e, EACCES,
		    "privileged containers are not allowed; start serve with --allow-privileged");
	if (beyond)
		return err_set(e, EACCES,
		    "the capability %s is not allowed; start serve with --allow-privileged",
		    config_capability((unsigned)__builtin_ctzll(beyond)));
	return 0;
}

static int move_to(int tree, const char *at)
{
	return move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* ---- the root ---- */

/* A directory on the sandbox's disk that the inner root owns. */
static int inner_dir(const char *path, mode_t mode)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return chown(path, ID_CONTAINERS, ID_CONTAINERS) < 0 || chmod(path, mode) < 0 ? -errno : 0;
}

static int mount_root(const struct place *p, const struct container_spec *spec, struct err *e)
{
	_cleanup_close_ int upper = -1, work = -1, tree = -1,
			    layers = open("/data/layers", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[80];
	int r;

	snprintf(path, sizeof(path), ROOT_HOST_DISK "/%s", p->id);
	r = mkdir(path, 0755) < 0 ? -errno : 0;
	strcat(path, "/work");
	if (r == 0)
		r = inner_dir(path, 0755);
	work = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), ROOT_HOST_DISK "/%s/upper", p->id);
	if (r == 0)
		r = inner_dir(path, 0755);
	upper = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || layers < 0 || upper < 0 || work < 0)
		return err_sys(e, r < 0 ? -r : errno, "making the writable layer");
	tree = overlay_mount(
	    layers, spec->layers, spec->layer_count, -1, upper, work, ROOT_HOST_ROOTFS);
	if (tree < 0)
		return err_sys(e, -tree, "stacking the image's layers");
	r = move_to(tree, ROOT_HOST_ROOTFS);
	return r < 0 ? err_sys(e, -r, "mounting the root") : 0;
}

/* ---- what is mounted into it ---- */

static int open_beneath(const char *root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = -1;

	while (*path == '/')
		path++;
	if (top >= 0)
		fd = (int)syscall(SYS_openat2, top, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int open_host(const struct spawner *s, const char *path, struct err *e)
{
	for (unsigned i = 0; i < s->bind_count; i++) {
		size_t len = strlen(s->binds[i]);
		char root[32];
		int fd;

		while (len > 1 && s->binds[i][len - 1] == '/')
			len--;
		if (strncmp(path, s->binds[i], len) != 0 || (path[len] && path[len] != '/'))
			continue;
		snprintf(root, sizeof(root), ROOT_HOST_BINDS "/%u", i);
		fd = open_beneath(root, path + len);
		return fd < 0 ? err_sys(e, -fd, "opening %s on the host (without links)", path)
			      : fd;
	}
	return err_set(
	    e, EACCES, "%s on the host may not be mounted; allow it with serve --bind-root", path);
}

/* What the image has there, links and all, as a directory. */
static int open_image(const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_DIRECTORY | O_CLOEXEC),
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int root = open(ROOT_HOST_ROOTFS, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* One that containers may write to, or like the image's at `target` (may be NULL). */
static int make_dir(const char *at, const char *target, struct err *e)
{
	_cleanup_close_ int from = target ? open_image(target, O_RDONLY) : -1, to = -1;
	int r = inner_dir(at, 0777);

	if (r < 0)
		return err_sys(e, -r, "making the volume for %s", target ? target : at);
	if (from < 0)
		return 0;
	to = open(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return to < 0 ? err_sys(e, errno, "opening the volume for %s", target)
		      : fill_tree(from, to, e);
}

/* A directory of this name; made whole under another one if there is none. */
static int open_made(const char *top, const char *name, const char *target, struct err *e)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	char path[400], half[32];
	_cleanup_close_ int dir = -1;
	int r, fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, flags);
	if (fd >= 0)
		return fd;
	name_unfinished(half);
	snprintf(path, sizeof(path), "%s/%s", top, half);
	if (mkdir(top, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "making the volume %s", name);
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "opening volumes");
	remove_unfinished(dir);
	(void)remove_tree(dir, half);
	r = make_dir(path, target, e);
	if (r == 0 && renameat2(dir, half, dir, name, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		r = err_sys(e, errno, "naming the volume %s", name);
	(void)remove_tree(dir, half); /* it failed, or another task was faster */
	fd = r < 0 ? r : openat(dir, name, flags);
	return r == 0 && fd < 0 ? err_sys(e, errno, "opening the volume %s", name) : fd;
}

/* What stays writable of a read-only root: the image's directory itself, or one of the sandbox's
 * disk if it has none, by a name that no volume has. */
static int open_root(const struct place *p, const char *path, size_t index, struct err *e)
{
	char name[64];
	int fd = open_image(path, O_PATH);

	if (fd >= 0)
		return fd;
	snprintf(name, sizeof(name), ".%s.%zu", p->id, index);
	return open_made(ROOT_HOST_DISK "/v", name, NULL, e);
}

static int write_text(const char *text, const char *at)
{
	_cleanup_close_ int fd = open(at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));

	return r == 0 && fchown(fd, ID_CONTAINERS, ID_CONTAINERS) < 0 ? -errno : r;
}

static int make_target(int source, const char *at)
{
	struct stat st;
	int fd;

	if (fstat(source, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return mkdir(at, 0755) < 0 ? -errno : 0;
	fd = open(at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int show(int source, const char *at, bool read_only)
{
	struct mount_attr attr = {
	    .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0)};
	_cleanup_close_ int tree = open_tree(
	    source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	int r = make_target(source, at);

	if (r < 0 || tree < 0)
		return r < 0 ? r : -errno;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return -errno;
	return move_to(tree, at);
}

static int put_mount(
    const struct place *p, const struct container_mount *m, size_t index, struct err *e)
{
	_cleanup_close_ int source = -1;
	char at[32];
	int r;

	snprintf(at, sizeof(at), ROOT_HOST_MOUNTS "/%zu", index);
	switch (m->kind) {
	case CONTAINER_MOUNT_TMPFS: return 0;
	case CONTAINER_MOUNT_TEXT:
		r = write_text(m->source, at);
		return r < 0 ? err_sys(e, -r, "writing %s", m->target) : 0;
	case CONTAINER_MOUNT_HOST: source = open_host(p->s, m->source, e); break;
	case CONTAINER_MOUNT_VOLUME:
		source = open_made("/data/volumes", m->source, m->target, e);
		break;
	case CONTAINER_MOUNT_TASK:
		source = open_made(ROOT_HOST_DISK "/v", m->source, m->target, e);
		break;
	case CONTAINER_MOUNT_ROOT: source = open_root(p, m->source, index, e); break;
	}
	if (source < 0)
		return source;
	r = show(source, at, m->read_only);
	return r < 0 ? err_sys(e, -r, "mounting %s", m->target) : 0;
}

static int put_net(int net)
{
	char from[32];
	int fd = open(NET_PATH, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", net);
	return mount(from, NET_PATH, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static int put_mounts(
    const struct place *p, const struct container_spec *spec, int net, struct err *e)
{
	int r = 0;

	if (mount("mounts", ROOT_HOST_MOUNTS, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m") <
	    0)
		return err_sys(e, errno, "mounting a place for mounts");
	for (size_t i = 0; i < spec->mount_count && r == 0; i++)
		r = put_mount(p, &spec->mounts[i], i, e);
	if (r == 0 && net >= 0 && put_net(net) < 0)
		r = err_sys(e, errno, "keeping the network namespace");
	return r;
}

/* ---- config.json ---- */

/* The runtime would say only that it is not permitted. */
static int check_limits(const struct container_spec *spec, struct err *e)
{
	static const struct {
		const char *name;
		int which;
	} known[] = {{"as", RLIMIT_AS}, {"core", RLIMIT_CORE}, {"cpu", RLIMIT_CPU},
	    {"data", RLIMIT_DATA}, {"fsize", RLIMIT_FSIZE}, {"locks", RLIMIT_LOCKS},
	    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
	    {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"rss", RLIMIT_RSS},
	    {"rtprio", RLIMIT_RTPRIO}, {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING},
	    {"stack", RLIMIT_STACK}};

	for (size_t i = 0; i < spec->limit_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
			struct rlimit now, wanted = {spec->limits[i].soft, spec->limits[i].hard};

			if (strcmp(known[k].name, spec->limits[i].name) != 0)
				continue;
			if (wanted.rlim_cur > wanted.rlim_max)
				return err_set(e, EINVAL,
				    "limit %s: the soft one is above the hard one", known[k].name);
			getrlimit((__rlimit_resource_t)known[k].which, &now);
			if (wanted.rlim_max > now.rlim_max &&
			    setrlimit((__rlimit_resource_t)known[k].which, &wanted) < 0)
				return err_set(e, EPERM,
				    "limit %s: %" PRIu64 " is above the %" PRIu64
				    " of mayfly itself, which may not raise it",
				    known[k].name, (uint64_t)wanted.rlim_max,
				    (uint64_t)now.rlim_max);
			setrlimit((__rlimit_resource_t)known[k].which, &now);
		}
	return 0;
}

static int write_config(const struct place *p, const struct sandbox_spec *sandbox,
    const struct container_spec *spec, const struct process *pause, int net, struct err *e)
{
	static char text[CONFIG_MAX];
	struct config_device devices[CONTAINER_DEVICES_MAX];
	struct config c = {.spec = spec,
	    .sandbox = sandbox,
	    .pause = pause->pid,
	    .net_path = net >= 0 ? NET_PATH : NULL,
	    .cgroup_v2 = p->s->task_groups.v2,
	    .shm_at = ROOT_HOST_DISK SANDBOX_SHM,
	    .mounts_at = ROOT_HOST_MOUNTS,
	    .init_path = spec->init ? ROOT_HOST_PAUSE : NULL,
	    .capabilities = bundle_capabilities(p->s, spec),
	    .devices = devices};
	char group[160];
	ssize_t n;
	int r = devices_make(p->s, spec, devices, e);

	if (r == 0)
		r = check_limits(spec, e);
	if (r < 0)
		return r;
	task_group_path(&p->s->task_groups, p->sandbox, p->id, group);
	c.cgroup = group;
	n = config_json(&c, text, sizeof(text));
	r = n < 0 ? (int)n : place_write(AT_FDCWD, BUNDLE_AT "/config.json", text, (size_t)n);
	return r < 0 ? err_sys(e, -r, "writing config.json") : 0;
}

static int make_run(void)
{
	if (mount("run", RUN_AT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=16m") <
		0 ||
	    mkdir(BUNDLE_AT, 0700) < 0 || mkdir(STATE_AT, 0700) < 0)
		return -errno;
	return 0;
}

int bundle_enter(
    const struct place *p, const struct process *pause, const char *runtime, struct err *e)
{
	_cleanup_close_ int disk = sandbox_disk(p, pause, e);
	int r;

	if (disk < 0)
		return disk;
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "making a mount namespace");
	r = move_to(disk, ROOT_HOST_DISK);
	if (r < 0)
		return err_sys(e, -r, "mounting the disk");
	r = make_run();
	return r < 0 ? err_sys(e, -r, "mounting " RUN_AT) : runtime_see_groups(p, runtime, e);
}

int bundle_make(const struct place *p, const struct sandbox_spec *sandbox,
    const struct container_spec *spec, const struct process *pause, int net, struct err *e)
{
	int r = check_rights(p->s, spec, e);

	if (r == 0)
		r = mount_root(p, spec, e);
	if (r == 0)
		r = put_mounts(p, spec, net, e);
	if (r == 0)
		r = targets_check(spec, e);
	return r < 0 ? r : write_config(p, sandbox, spec, pause, net, e);
}
