/*
 * The confined child: in its own namespaces, its root a template without data in which only the
 * target can be written, without network, with a filter. For a zip it is a user without rights; for
 * a layer it is root over the users of containers and nobody else. See unpack.h.
 */
#include "spawner/unpack.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "seccomp_layer.h"
#include "seccomp_unpack.h"
#include "spawner/confine.h"
#include "spawner/ids.h"
#include "spawner/remove.h"
#include "spawner/root.h"

#define ZIP_SECONDS 120
#define LAYER_SECONDS 900

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

static int without_files(int output)
{
	int r = root_enter(ROOT_BOX);

	return r < 0 ? r : output;
}

static void limit(const struct unpack_task *t)
{
	rlim_t seconds = t->mode == UNPACK_ZIP ? ZIP_SECONDS : LAYER_SECONDS;
	struct rlimit cpu = {seconds, seconds}, core = {0, 0}, files = {64, 64};
	struct rlimit size = {t->limit_bytes + 1, t->limit_bytes + 1};
#ifndef MAYFLY_SANITIZED
	struct rlimit memory = {512 << 20, 512 << 20};

	setrlimit(RLIMIT_AS, &memory);
#endif
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_FSIZE, &size);
}

/* Tell the parent of our user namespace and wait until it has mapped ids. */
static int enter_user_namespace(int parent)
{
	char byte = 0;

	if (unshare(CLONE_NEWUSER) < 0 || send(parent, &byte, 1, 0) != 1 ||
	    recv(parent, &byte, 1, 0) != 1)
		return -EPERM;
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* What making files of any owner and mode takes, over the users of containers alone. */
static int keep_rights_over_files(void)
{
	const uint32_t kept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER |
			      1u << CAP_FSETID | 1u << CAP_SETFCAP;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{.effective = kept, .permitted = kept}};

	for (unsigned long cap = 0; cap < 64; cap++)
		if (!(cap < 32 && kept & 1u << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    (errno != EINVAL || cap <= CAP_CHECKPOINT_RESTORE))
			return -errno;
	if (syscall(SYS_capset, &head, caps) < 0)
		return -errno;
	/* Changing ids has cleared the death signal. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* 3: archive, 4: target, 5: outcome, 6: the program. */
static void arrange_fds(const struct unpack_task *t, int target, int out)
{
	int moved[4], from[4] = {t->input, target, out, t->exe};

	for (int i = 0; i < 4; i++)
		if (from[i] < 0 || (moved[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 32)) < 0)
			_exit(126);
	for (int i = 0; i < 3; i++)
		if (dup2(moved[i], 3 + i) < 0)
			_exit(126);
	if (dup3(moved[3], 6, O_CLOEXEC) < 0 || syscall(SYS_close_range, 7, ~0u, 0) < 0)
		_exit(126);
}

_noreturn_ static void run(const struct unpack_task *t, int target, int parent)
{
	static char name[] = "mayfly-unpack";
	static char modes[][8] = {"zip", "layer", "split"};
	static char lang[] = "LANG=C.UTF-8";
	char *const envp[] = {lang, NULL};
	char most[24], hash[2 * WIRE_HASH_SIZE + 1],
	    *argv[] = {name, modes[t->mode], most, NULL, NULL};
	int r;

	snprintf(most, sizeof(most), "%" PRIu64, t->limit_bytes);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	confine_signals();
	target = t->mode == UNPACK_SPLIT ? without_files(t->output) : isolate(target);
	r = target < 0 ? target : t->mode == UNPACK_LAYER ? enter_user_namespace(parent) : 0;
	if (r < 0)
		_exit(125);
	arrange_fds(t, target, parent);
	limit(t);
	if (t->mode == UNPACK_LAYER) {
		hex_encode(t->hash, WIRE_HASH_SIZE, hash);
		argv[3] = hash;
		r = keep_rights_over_files();
		if (r == 0)
			confine_exec(6, argv, envp, seccomp_layer, ARRAY_SIZE(seccomp_layer));
	} else {
		r = confine_to(ID_UNPACK);
		if (r == 0)
			confine_exec(6, argv, envp, seccomp_unpack, ARRAY_SIZE(seccomp_unpack));
	}
	_exit(127);
}

/* ---- in the parent ---- */

static int write_map(pid_t pid, const char *file)
{
	char path[48], text[48];
	_cleanup_close_ int fd = -1;
	int n = snprintf(text, sizeof(text), "0 %u %u\n", ID_CONTAINERS, ID_CONTAINERS_COUNT);

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, (size_t)n) < 0 ? -errno : 0;
}

static int map_ids(pid_t pid, int child)
{
	char byte;
	int r;

	if (recv(child, &byte, 1, 0) != 1)
		return -EPIPE;
	r = write_map(pid, "uid_map");
	if (r == 0)
		r = write_map(pid, "gid_map");
	return r == 0 && send(child, &byte, 1, MSG_NOSIGNAL) != 1 ? -EPIPE : r;
}

/* Believe no more of its words than their size. */
static int await(const struct unpack_task *t, pid_t pid, int child, struct wire_outcome *ret)
{
	int r = t->mode == UNPACK_LAYER ? map_ids(pid, child) : 0, status;

	if (r == 0)
		r = fd_read_full(child, ret, sizeof(*ret));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (r < 0)
		log_error("mayfly-unpack ended without an answer (status %d)", status);
	return r == 0 && ret->result > 0 ? -EPROTO : r;
}

int unpack_into(int target, const struct unpack_task *t, struct wire_outcome *ret)
{
	struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET,
	    .exit_signal = SIGCHLD};
	/* Cloned here, where it is mounted; the child's namespace is another. */
	_cleanup_close_ int child = -1, tree = open_tree(target, "",
					    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	int ends[2];
	pid_t pid;

	if ((tree < 0 && target >= 0) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	child = ends[0];
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		close(child);
		run(t, tree, ends[1]);
	}
	close(ends[1]);
	return pid < 0 ? -EAGAIN : await(t, pid, child, ret);
}

void unpack_split(int input, int output, int exe, uint64_t limit_bytes, struct wire_outcome *ret)
{
	const struct unpack_task task = {.mode = UNPACK_SPLIT,
	    .input = input,
	    .output = output,
	    .exe = exe,
	    .limit_bytes = limit_bytes};
	int r = unpack_into(-1, &task, ret);

	if (r == 0)
		return;
	ret->result = r;
	snprintf(ret->text, sizeof(ret->text), "reading the archive failed: %s", strerror(-r));
}

int unpack_publish(int dir, const char *temporary, const char *name, int target, bool sync)
{
	if (fchmod(target, 0755) < 0 || (sync && syncfs(target) < 0))
		return -errno;
	if (renameat2(dir, temporary, dir, name, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ? remove_tree(dir, temporary) : -errno;
	return sync && fsync(dir) < 0 ? -errno : 0;
}
