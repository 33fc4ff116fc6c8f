/* The spawner's small root and the two templates in it. See root.h. */
#include "spawner/root.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "spawner/copy.h"
#include "spawner/root_int.h"

#define READ_ONLY (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)

int root_make_dirs(const char *const names[], struct err *e)
{
	for (; *names; names++)
		if (mkdir(*names, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "making %s", *names);
	return 0;
}

int root_set_attr(const char *path, uint64_t set, bool deep)
{
	struct mount_attr attr = {.attr_set = set};

	return mount_setattr(AT_FDCWD, path, deep ? AT_RECURSIVE : 0, &attr, sizeof(attr));
}

int root_bind_tree(const char *from, const char *to, uint64_t attributes, struct err *e)
{
	if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, errno, "binding %s", from);
	if (root_set_attr(to, attributes, true) < 0)
		return err_sys(e, errno, "protecting %s", from);
	return 0;
}

int root_small_tmpfs(const char *at, struct err *e)
{
	if (mount("mayfly", at, "tmpfs", MS_NOSUID, "mode=0755,size=64m") < 0)
		return err_sys(e, errno, "mounting a tmpfs on %s", at);
	return 0;
}

int root_system_tree(const char *root, struct err *e)
{
	static const char *const tops[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};
	char from[16], to[64], target[256];
	struct stat st;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tops) && r == 0; i++) {
		snprintf(from, sizeof(from), "/%s", tops[i]);
		snprintf(to, sizeof(to), "%s/%s", root, tops[i]);
		if (lstat(from, &st) < 0)
			continue;
		if (S_ISLNK(st.st_mode)) {
			ssize_t n = readlink(from, target, sizeof(target) - 1);

			target[n > 0 ? n : 0] = '\0';
			r = symlink(target, to) < 0 ? err_sys(e, errno, "linking %s", to) : 0;
		} else {
			r = mkdir(to, 0755) < 0
				? err_sys(e, errno, "making %s", to)
				: root_bind_tree(from, to, READ_ONLY | MOUNT_ATTR_NODEV, e);
		}
	}
	return r;
}

static int device_nodes(const char *root, struct err *e)
{
	static const struct {
		const char *name;
		unsigned minor;
	} nodes[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
	static const char *const links[][2] = {{"fd", "/proc/self/fd"},
	    {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
	    {"stderr", "/proc/self/fd/2"}};
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(path, sizeof(path), "%s/dev/%s", root, nodes[i].name);
		if (mknod(path, S_IFCHR | 0666, makedev(1, nodes[i].minor)) < 0 ||
		    chmod(path, 0666) < 0)
			return err_sys(e, errno, "making device %s", path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "%s/dev/%s", root, links[i][0]);
		if (symlink(links[i][1], path) < 0)
			return err_sys(e, errno, "linking %s", path);
	}
	return 0;
}

/* Host files that programs of any kind look for. /etc/localtime is core's only: boxes run on UTC.
 */
static int etc_common(const char *root, struct err *e)
{
	static const char *const files[] = {"ld.so.cache", "ssl/openssl.cnf", "services",
	    "protocols", "gai.conf", "mime.types", "debian_version", "os-release"};
	static const char *const trees[] = {"ssl/certs", "pki", "alternatives", "ca-certificates"};
	char from[64], to[80];
	int r = 0;

	snprintf(to, sizeof(to), "%s/etc/ssl", root);
	if (mkdir(to, 0755) < 0)
		return err_sys(e, errno, "making %s", to);
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) {
		snprintf(from, sizeof(from), "/etc/%s", files[i]);
		snprintf(to, sizeof(to), "%s/etc/%s", root, files[i]);
		r = copy_file(from, to, e);
	}
	for (size_t i = 0; i < ARRAY_SIZE(trees) && r == 0; i++) {
		snprintf(from, sizeof(from), "/etc/%s", trees[i]);
		snprintf(to, sizeof(to), "%s/etc/%s", root, trees[i]);
		r = copy_tree(from, to, e);
	}
	return r;
}

/* Debian's pythons look into /etc/python3 and /etc/python3.N when they start. */
static int etc_pythons(struct err *e)
{
	char from[32], to[48];
	int r = copy_tree("/etc/python3", "box/etc/python3", e);

	for (int minor = 6; minor < 30 && r == 0; minor++) {
		snprintf(from, sizeof(from), "/etc/python3.%d", minor);
		snprintf(to, sizeof(to), "box/etc/python3.%d", minor);
		r = copy_tree(from, to, e);
	}
	return r;
}

static int etc_box(const char *resolver, struct err *e)
{
	static const char *const texts[][2] = {
	    {"box/etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n"
			       "sbx_init:x:1:1::/:/sbin/nologin\n"
			       "sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n"
			       "nobody:x:65534:65534::/:/sbin/nologin\n"},
	    {"box/etc/group", "root:x:0:\nsbx_init:x:1:\nsbx_user1051:x:990:\nnogroup:x:65534:\n"},
	    {"box/etc/hosts", "127.0.0.1 localhost mayfly\n169.254.100.1 sandbox.localdomain\n"},
	    {"box/etc/hostname", "mayfly\n"},
	    {"box/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"}};
	int r = etc_common("box", e);

	if (r == 0)
		r = resolver ? copy_text(resolver, "box/etc/resolv.conf", e)
			     : copy_file("/etc/resolv.conf", "box/etc/resolv.conf", e);
	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = copy_text(texts[i][1], texts[i][0], e);
	return r < 0 ? r : etc_pythons(e);
}

/* What a box sees. /proc, /tmp, /var/task and /opt are places to mount on. */
static int make_box(const char *runtimes, const char *resolver, struct err *e)
{
	static const char *const dirs[] = {"box/dev", "box/etc", "box/proc", "box/tmp", "box/opt",
	    "box/home", "box/run", "box/var", "box/var/task", "box/var/runtime", "box/var/lang",
	    "box/var/tmp", NULL};
	int r = root_small_tmpfs("box", e);

	if (r == 0)
		r = root_make_dirs(dirs, e);
	if (r == 0)
		r = root_system_tree("box", e);
	if (r == 0)
		r = device_nodes("box", e);
	if (r == 0)
		r = etc_box(resolver, e);
	if (r == 0 && (symlink("/usr/bin", "box/var/lang/bin") < 0 ||
			  symlink("/usr/lib", "box/var/lang/lib") < 0))
		r = err_sys(e, errno, "linking /var/lang");
	if (r == 0 && runtimes)
		r = root_bind_tree(runtimes, "box/var/runtime", READ_ONLY | MOUNT_ATTR_NODEV, e);
	if (r == 0 && root_set_attr("box", READ_ONLY, false) < 0)
		r = err_sys(e, errno, "making the box template read-only");
	return r;
}

/* Core's own processes only; older kernels know hidepid by number and no subset. */
static int core_proc(struct err *e)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount("proc", "core/proc", "proc", flags, "hidepid=invisible,subset=pid") < 0 &&
	    mount("proc", "core/proc", "proc", flags, "hidepid=2") < 0)
		return err_sys(e, errno, "mounting /proc for core");
	return 0;
}

static int make_core(struct err *e)
{
	static const char *const dirs[] = {
	    "core/dev", "core/etc", "core/proc", "core/data", "core/tmp", NULL};
	int r = root_small_tmpfs("core", e);

	if (r == 0)
		r = root_make_dirs(dirs, e);
	if (r == 0)
		r = root_system_tree("core", e);
	if (r == 0)
		r = device_nodes("core", e);
	if (r == 0)
		r = etc_common("core", e);
	if (r == 0)
		r = copy_file("/etc/resolv.conf", "core/etc/resolv.conf", e);
	if (r == 0)
		r = copy_file("/etc/hosts", "core/etc/hosts", e);
	if (r == 0)
		r = copy_file("/etc/localtime", "core/etc/localtime", e);
	if (r == 0)
		r = copy_text("hosts: files dns\n", "core/etc/nsswitch.conf", e);
	if (r == 0 && symlink("/proc/self/mounts", "core/etc/mtab") < 0) /* mke2fs asks for it */
		r = err_sys(e, errno, "linking mtab");
	if (r == 0)
		r = core_proc(e);
	if (r == 0)
		r = root_bind_tree("data", "core/data",
		    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, e);
	if (r == 0 && root_set_attr("core", READ_ONLY, false) < 0)
		r = err_sys(e, errno, "making core's root read-only");
	return r;
}

/* Below the layers of an image that is to be the root of a box. */
static int make_places(struct err *e)
{
	static const char *const dirs[] = {"places/dev", "places/etc", "places/proc", "places/tmp",
	    "places/opt", "places/var", "places/var/task", NULL};
	static const char *const files[] = {
	    "places/etc/hosts", "places/etc/hostname", "places/etc/resolv.conf"};
	int r = root_make_dirs(dirs, e);

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		r = copy_text("", files[i], e);
	return r;
}

static int make_own(int data, struct err *e)
{
	static const char *const dirs[] = {
	    "data", "proc", "dev", "box", "core", "layers", "places", "host", NULL};
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", data);
	r = root_make_dirs(dirs, e);
	if (r < 0)
		return r;
	if (mount(path, "data", NULL, MS_BIND, NULL) < 0 ||
	    root_set_attr("data", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false) < 0)
		return err_sys(e, errno, "binding the data directory");
	if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(e, errno, "mounting /proc");
	if (mount("/dev", "dev", NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "binding /dev");
	return 0;
}

int root_begin(struct err *e)
{
	umask(0022);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "making a mount namespace of our own");
	return 0;
}

int root_make(const struct root_options *o, struct err *e)
{
	int r;

	if (fchdir(o->data) < 0 || (mkdir("root", 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "making root/ in the data directory");
	r = root_small_tmpfs("root", e);
	if (r == 0 && chdir("root") < 0)
		r = err_sys(e, errno, "entering root/");
	if (r == 0)
		r = make_own(o->data, e);
	if (r == 0)
		r = make_box(o->runtimes, o->resolver, e);
	if (r == 0)
		r = make_places(e);
	if (r == 0)
		r = make_core(e);
	if (r == 0)
		r = root_make_host(o, e);
	if (r < 0)
		return r;
	r = root_enter(".");
	return r < 0 ? err_sys(e, -r, "entering the new root") : 0;
}

int root_enter(const char *root)
{
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* Step aside into a copy of our namespace, and strip that. /proc is still ours by descriptor. */
static int mounts_of(const char *root, int own, struct err *e)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = -1, r;

	if (proc < 0 || unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "making a mount namespace of %s", root);
	r = root_enter(root);
	if (r == 0 && (fd = openat(proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	check(setns(own, CLONE_NEWNS) == 0);
	return r < 0 ? err_sys(e, -r, "making a mount namespace of %s", root) : fd;
}

int root_box_mounts(int own, struct err *e)
{
	return mounts_of(ROOT_BOX, own, e);
}

int root_host_mounts(int own, struct err *e)
{
	return mounts_of(ROOT_HOST, own, e);
}
