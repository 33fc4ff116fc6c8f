/* Trees of unpacked code in DATA/code. See tree.h. */
#include "spawner/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "seccomp_unpack.h"
#include "spawner/confine.h"
#include "spawner/ids.h"
#include "spawner/root.h"

#define DEPTH_MAX 256
#define UNPACK_SECONDS 120
#define TREE_FLAGS (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

void tree_name(const uint8_t hash[WIRE_HASH_SIZE], char out[65])
{
	hex_encode(hash, WIRE_HASH_SIZE, out);
}

static int open_beneath(int dir, const char *name, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* ---- removing ---- */

static int remove_tree(int dir, const char *name, int depth);

static int empty_dir(int dir, int depth)
{
	DIR *d = fdopendir(dir);
	struct dirent *entry;
	int r = d ? 0 : -errno;

	while (d && r == 0 && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_tree(dirfd(d), entry->d_name, depth);
	if (d)
		closedir(d);
	else
		close(dir);
	return r;
}

static int remove_tree(int dir, const char *name, int depth)
{
	int sub, r;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth >= DEPTH_MAX)
		return -ELOOP;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return -errno;
	r = empty_dir(sub, depth + 1);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

int tree_delete(int code, const uint8_t hash[WIRE_HASH_SIZE])
{
	char name[65], away[80];

	tree_name(hash, name);
	snprintf(away, sizeof(away), ".gone-%d-%.32s", (int)getpid(), name);
	/* Gone at once for new boxes, however long removing takes. */
	if (renameat(code, name, code, away) < 0)
		return errno == ENOENT ? 0 : -errno;
	return remove_tree(code, away, 0);
}

void tree_clean(int code)
{
	int copy = openat(code, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] == '.' && entry->d_name[1] && entry->d_name[1] != '.')
			remove_tree(code, entry->d_name, 0);
	if (d)
		closedir(d);
}

/* ---- unpacking ---- */

static int open_blob(int blobs, const char *name)
{
	struct stat st;
	int fd = open_beneath(blobs, name, O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return fd;
	/* Core owns this directory: do not be talked into reading somebody else's file. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != ID_CORE) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

/* Put the target, a detached mount, over /tmp of a root without data, so that no ".." and no
 * descriptor leads from it to other trees of the same owner. */
static int isolate(int target)
{
	int fd;

	if (move_mount(target, "", AT_FDCWD, ROOT_BOX "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	fd = root_enter(ROOT_BOX);
	if (fd == 0)
		fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void limit_unpack(uint64_t limit_bytes)
{
	struct rlimit cpu = {UNPACK_SECONDS, UNPACK_SECONDS}, core = {0, 0}, files = {64, 64};
	struct rlimit size = {limit_bytes + 1, limit_bytes + 1};
#ifndef MAYFLY_SANITIZED
	struct rlimit memory = {512 << 20, 512 << 20};

	setrlimit(RLIMIT_AS, &memory);
#endif
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_FSIZE, &size);
}

/* mayfly-unpack LIMIT with 3: blob, 4: target, 5: outcome. */
_noreturn_ static void run_unpack(int blob, int target, int out, int exe, uint64_t limit_bytes)
{
	static char name[] = "mayfly-unpack", lang[] = "LANG=C.UTF-8";
	char *const envp[] = {lang, NULL};
	char limit[24], *argv[] = {name, limit, NULL};
	int r, moved[4], from[4] = {blob, -1, out, exe};

	snprintf(limit, sizeof(limit), "%" PRIu64, limit_bytes);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	confine_signals();
	from[1] = isolate(target);
	for (int i = 0; i < 4; i++)
		if (from[i] < 0 || (moved[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 32)) < 0)
			_exit(126);
	for (int i = 0; i < 3; i++)
		if (dup2(moved[i], 3 + i) < 0)
			_exit(126);
	if (dup3(moved[3], 6, O_CLOEXEC) < 0 || syscall(SYS_close_range, 7, ~0u, 0) < 0)
		_exit(126);
	limit_unpack(limit_bytes);
	r = confine_to(ID_UNPACK);
	if (r == 0)
		confine_exec(6, argv, envp, seccomp_unpack, ARRAY_SIZE(seccomp_unpack));
	_exit(127);
}

/* Run the confined child and believe no more of its words than their size. */
static int unpack_into(
    int target, int blob, int exe, uint64_t limit_bytes, struct wire_outcome *ret)
{
	struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET,
	    .exit_signal = SIGCHLD};
	/* Cloned here, where it is mounted; the child's namespace is another. */
	_cleanup_close_ int in = -1, out = -1,
			    tree = open_tree(
				target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	int ends[2], status, r;
	pid_t pid;

	if (tree < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	in = ends[0];
	out = ends[1];
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		run_unpack(blob, tree, out, exe, limit_bytes);
	if (pid < 0)
		return -errno;
	base_closep(&out);
	out = -1;
	r = fd_read_full(in, ret, sizeof(*ret));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (r < 0)
		log_error("mayfly-unpack ended without an answer (status %d)", status);
	if (r == 0 && ret->result > 0)
		r = -EPROTO;
	return r;
}

/* From here on the tree is nobody's to change, and survives a power cut. */
static int publish(int code, const char *temporary, const char *name, int target)
{
	if (fchown(target, 0, 0) < 0 || fchmod(target, 0755) < 0 || syncfs(target) < 0)
		return -errno;
	if (renameat2(code, temporary, code, name, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ? remove_tree(code, temporary, 0) : -errno;
	return fsync(code) < 0 ? -errno : 0;
}

void tree_unpack(int code, int blobs, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret)
{
	char name[65], temporary[32];
	_cleanup_close_ int blob = -1, target = -1;
	int r;

	tree_name(hash, name);
	snprintf(temporary, sizeof(temporary), ".new-%d", (int)getpid());
	remove_tree(code, temporary, 0);
	blob = open_blob(blobs, name);
	r = blob < 0 ? blob : mkdirat(code, temporary, 0700) < 0 ? -errno : 0;
	if (r == 0) {
		target = open_beneath(code, temporary, O_RDONLY | O_DIRECTORY);
		r = target < 0 || fchown(target, ID_UNPACK, ID_UNPACK) < 0 ? -errno : 0;
	}
	if (r == 0)
		r = unpack_into(target, blob, unpack_exe, limit_bytes, ret);
	if (r == 0 && ret->result == 0)
		r = publish(code, temporary, name, target);
	if (r < 0) {
		ret->result = r;
		snprintf(ret->text, sizeof(ret->text), "Unpacking failed: %s", strerror(-r));
	}
	if (ret->result < 0)
		remove_tree(code, temporary, 0);
}

/* ---- mounting ---- */

int tree_mount(int code, const uint8_t hash[WIRE_HASH_SIZE])
{
	struct mount_attr attr = {.attr_set = TREE_FLAGS};
	_cleanup_close_ int dir = -1, tree = -1;
	char name[65];

	tree_name(hash, name);
	dir = open_beneath(code, name, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	tree = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	return take_fd(&tree);
}

int tree_mount_layers(const uint8_t hashes[][WIRE_HASH_SIZE], unsigned count)
{
	char options[WIRE_LAYERS_MAX * (sizeof(ROOT_DATA "/code/") + 65) + 16] = "lowerdir=";
	size_t used = strlen(options);
	char name[65];
	int tree, r;

	for (unsigned i = count; i-- > 0;) { /* overlay wants the highest first */
		tree_name(hashes[i], name);
		used += (size_t)snprintf(options + used, sizeof(options) - used,
		    ROOT_DATA "/code/%s%s", name, i ? ":" : "");
	}
	/* By mount(2), because fsconfig(2) takes no value this long: mount, take a copy, unmount.
	 */
	if (mount("layers", ROOT_LAYERS, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	tree = open_tree(AT_FDCWD, ROOT_LAYERS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = tree < 0 ? -errno : tree;
	umount2(ROOT_LAYERS, MNT_DETACH);
	return r;
}
