/*
 * box-init: pid 1 of a box. Starts what core asks for as the box's second user, reaps, kills.
 * Static, one thread, no heap. It keeps CAP_SETUID, CAP_SETGID and CAP_KILL of the box's user
 * namespace; what it starts has nothing. Started by the spawner (spawner/blank.c).
 */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/extension.h"
#include "init/notify.h"
#include "init/record.h"

#define CONTROL 3
#define UID_RUNTIME 993 /* spawner/ids.h maps them */
#define GID_RUNTIME 990
#define FDS_MAX 3
#define KILL_STEP_US 200
#define END_STEPS 500 /* of them: a tenth of a second */

struct program {
	pid_t pid; /* 0: free */
	uint32_t tag;
};

static struct program programs[INIT_PROGRAMS_MAX];
static struct init_record record;
static struct words words;
static volatile int exec_errno; /* why the last program did not start; set by the child */

static void tell(uint32_t kind, uint32_t tag, pid_t pid, int status)
{
	struct init_record answer = {
	    .kind = kind, .tag = tag, .pid = (uint32_t)pid, .status = status};

	/* Core reads or core is gone: then our next receive ends the box. */
	while (send(CONTROL, &answer, INIT_RECORD_SHORT, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* ---- in the new process ---- */

static int drop_all(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	if (setgroups(0, NULL) < 0 || setresgid(GID_RUNTIME, GID_RUNTIME, GID_RUNTIME) < 0 ||
	    setresuid(UID_RUNTIME, UID_RUNTIME, UID_RUNTIME) < 0)
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_capset, &head, none);
}

/* The kernel should take memory from here first, and leave pid 1 alone. */
static void offer_to_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, "500", 3);
		close(fd);
	}
}

static int place_fds(const int *fds, size_t count)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), high[FDS_MAX];

	/* The sources may sit on the targets: first out of the way. */
	for (size_t i = 0; i < count; i++)
		if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16)) < 0)
			return -1;
	if (null < 0 || dup2(null, 0) < 0 || dup2(high[0], 1) < 0 || dup2(high[0], 2) < 0)
		return -1;
	if (count < 3)
		return close(3);
	return dup2(high[1], 3) < 0 ? -1 : dup2(high[2], 4);
}

/* As the program itself would: in the directories of its own PATH. Returns only if it is in none,
 * or cannot be run. */
static void run_from_path(void)
{
	const char *path = "/usr/local/bin:/usr/bin:/bin", *end;
	static char full[PATH_MAX];
	int error = ENOENT;

	for (char **v = words.envp; *v; v++)
		if (strncmp(*v, "PATH=", 5) == 0)
			path = *v + 5;
	for (; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		if (snprintf(full, sizeof(full), "%.*s/%s", (int)(end - path), path,
			words.argv[0]) >= (int)sizeof(full))
			continue;
		execve(full, words.argv, words.envp);
		if (errno != ENOENT && errno != ENOTDIR)
			error = errno;
	}
	errno = error;
}

/* All that is not 0 to 4 is close-on-exec. */
static void try_run(const int *fds, size_t count)
{
	sigset_t none;

	if (place_fds(fds, count) < 0)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	offer_to_oom();
	setsid();
	if (drop_all() < 0)
		return;
	if (words.cwd ? chdir(words.cwd) < 0 : chdir("/var/task") < 0 && chdir("/") < 0) {
		errno = ENOTDIR; /* not to be taken for the program */
		return;
	}
	if (!strchr(words.argv[0], '/')) {
		run_from_path();
		return;
	}
	execve(words.argv[0], words.argv, words.envp);
	if (errno == ENOTDIR)
		errno = ENOENT;
	/* The same error tells that the file is missing and that its interpreter is. */
	if (errno == ENOENT)
		errno = access(words.argv[0], F_OK) == 0 ? ELIBACC : ENOENT;
}

_noreturn_ static void run(const int *fds, size_t count)
{
	try_run(fds, count);
	exec_errno = errno;
	_exit(127);
}

/* ---- pid 1 ---- */

static struct program *find(pid_t pid)
{
	for (struct program *p = programs; p < programs + INIT_PROGRAMS_MAX; p++)
		if (p->pid == pid)
			return p;
	return NULL;
}

/* vfork(2): nothing is copied, and we go on when it has executed or given up. Its change of user
 * makes the memory that it shared undumpable, and with that our /proc files root's. */
static int start(const int *fds, size_t count, pid_t *ret_pid)
{
	pid_t pid;

	if (count < 1)
		return EBADF;
	exec_errno = 0;
	pid = vfork();
	if (pid == 0)
		run(fds, count);
	if (pid < 0)
		return errno;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (exec_errno)
		waitpid(pid, NULL, 0);
	*ret_pid = pid;
	return exec_errno;
}

static void on_start(const int *fds, size_t count, uint32_t tag)
{
	struct program *p = find(0);
	pid_t pid = 0;
	int failed = p ? start(fds, count, &pid) : EAGAIN;

	if (failed)
		tell(INIT_FAILED, tag, 0, failed);
	else
		*p = (struct program){pid, tag};
}

static void on_extensions(const int *fds, size_t count)
{
	static char paths[INIT_EXTENSIONS_MAX][EXTENSION_PATH_SIZE];
	char *argv[2] = {NULL, NULL};
	int n = extension_list(INIT_EXTENSION_DIR, paths);

	if (n < 0)
		tell(INIT_FAILED, record.tag, 0, -n);
	words.argv = argv;
	for (int i = 0; i < n; i++) {
		argv[0] = paths[i];
		on_start(fds, count < 1 ? 0 : 1, record.tag + (uint32_t)i);
	}
	words.argv = NULL;
	tell(INIT_BEGUN, record.tag, 0, n < 0 ? 0 : n);
}

static void reap(bool telling)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct program *p = find(pid);

		if (p && telling)
			tell(INIT_EXITED, p->tag, pid, status);
		if (p)
			p->pid = 0;
	}
}

/* A fork bomb may outrun one sweep: repeat until there is nobody. */
static void on_kill(void)
{
	while (kill(-1, SIGKILL) == 0 || errno != ESRCH) {
		reap(false);
		usleep(KILL_STEP_US);
	}
	reap(false);
	tell(INIT_KILLED, record.tag, 0, 0);
}

static void signal_programs(int signal)
{
	for (struct program *p = programs; p < programs + INIT_PROGRAMS_MAX; p++)
		if (p->pid && p->tag == record.tag)
			kill(-p->pid, signal);
}

/* A zombie whose parent has left the group would keep the group for ever: do not wait for that. */
static void on_end(void)
{
	for (struct program *p = programs; p < programs + INIT_PROGRAMS_MAX; p++) {
		pid_t group = p->pid;

		if (!group || p->tag != record.tag)
			continue;
		for (int i = 0; i < END_STEPS && (kill(-group, SIGKILL) == 0 || p->pid == group);
		     i++) {
			reap(true);
			usleep(KILL_STEP_US);
		}
	}
	tell(INIT_ENDED, record.tag, 0, 0);
}

/* One datagram and its descriptors; more descriptors than ours are closed by the kernel. */
static ssize_t receive(int fds[FDS_MAX], size_t *count)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&record, sizeof(record)};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(CONTROL, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*count = 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
	}
	return m.msg_flags & MSG_TRUNC ? 0 : n;
}

/* False: core is gone or makes no sense. */
static bool on_order(void)
{
	int fds[FDS_MAX];
	size_t count;
	ssize_t n = receive(fds, &count);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (!record_read(&record, (size_t)n, &words))
		return false;
	switch (record.kind) {
	case INIT_START: on_start(fds, count, record.tag); break;
	case INIT_EXTENSIONS: on_extensions(fds, count); break;
	case INIT_KILL: on_kill(); break;
	case INIT_TERM: signal_programs(SIGTERM); break;
	case INIT_END: on_end(); break;
	}
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return true;
}

int main(void)
{
	struct signalfd_siginfo info;
	struct pollfd polls[3] = {{.fd = CONTROL, .events = POLLIN}, {.events = POLLIN},
	    {.fd = INIT_FD_NOTIFY, .events = POLLIN}};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
	fcntl(INIT_FD_NOTIFY, F_SETFD, FD_CLOEXEC);
	polls[1].fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			return 1;
		if (polls[2].revents & POLLIN)
			notify_answer();
		if (polls[1].revents && read(polls[1].fd, &info, sizeof(info)) > 0)
			reap(true);
		if (polls[0].revents && !on_order())
			return 0;
	}
}
