/*
 * Another process in a container: `runtime exec`, watched by a process of ours that core ends by
 * closing its end of a socket, and that tells the exit code by it. The runtime waits for the
 * process and ends as it does. See containers_int.h.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"

#define CONFIG_MAX (2 << 20)
#define CONSOLE_MS 10000
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
/* In the watcher. */
#define BUNDLE_FD 4
#define LOG_FD 5

enum { CONFIG, PID, CONSOLE, LOG, NAMES };

/* ---- the watcher ---- */

/* The process itself, not the runtime: that would leave it behind. */
static void end_process(const char *pid_file, int runtime)
{
	struct process inside = process_read(BUNDLE_FD, pid_file);

	if (inside.pid)
		kill(inside.pid, SIGKILL);
	else
		pidfd_send(runtime, SIGKILL);
}

static void clear(const char *const names[NAMES])
{
	for (int i = 0; i < NAMES; i++)
		unlinkat(BUNDLE_FD, names[i], 0);
}

/* The first line of the runtime's log: why nothing was started. */
static void read_why(int log, char *words, size_t size)
{
	ssize_t n = pread(log, words, size - 1, 0);

	words[n > 0 ? n : 0] = '\0';
	words[strcspn(words, "\n")] = '\0';
}

/* Nothing was started if there is no pid, or if the runtime's last step failed. Then the runtime
 * has said why on stderr, too, and its own code says less than those that shells have for that. */
static int exit_code(const char *pid_file, int status)
{
	static const char *const there[] = {
	    "ermission denied", "not permitted", " directory", "format error"};
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	char words[256];

	read_why(LOG_FD, words, sizeof(words));
	if (faccessat(BUNDLE_FD, pid_file, F_OK, 0) == 0 &&
	    (code != 1 || strncmp(words, "exec: ", 6)))
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(there); i++)
		if (strstr(words, there[i]) && !strstr(words, "o such file"))
			return EXIT_NOT_EXECUTABLE;
	return EXIT_NOT_FOUND;
}

_noreturn_ static void watch_runtime(pid_t pid, int tell, const char *const names[NAMES])
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd polls[] = {{.fd = pidfd, .events = POLLIN}, {.fd = tell, .events = POLLIN}};
	char text[16];
	int status = 0, n;

	alarm(0);
	while (poll(polls, 2, -1) >= 0 && !polls[0].revents) {
		char byte;

		if (polls[1].revents && recv(tell, &byte, 1, MSG_DONTWAIT) <= 0) {
			end_process(names[PID], pidfd);
			polls[1].fd = -1;
		}
	}
	waitpid(pid, &status, 0);
	n = snprintf(text, sizeof(text), "%d", exit_code(names[PID], status));
	clear(names);
	(void)send(tell, text, (size_t)n, MSG_NOSIGNAL);
	_exit(0);
}

_noreturn_ static void run_runtime(const char *runtime, const char *const *argv, const int io[3])
{
	char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};
	int high[3];

	for (int i = 0; i < 3; i++)
		high[i] = fcntl(io[i], F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < 3; i++)
		dup2(high[i], i);
	syscall(SYS_close_range, 3, ~0u, 0);
	execve(runtime, (char *const *)argv, envp);
	_exit(127);
}

/* In a process of its own, that the spawner does not know. */
static int start_watched(const struct place *p, const char *runtime, const char *const *argv,
    const int io[3], int tell, int log, const char *const names[NAMES])
{
	_cleanup_close_ int bundle = open(BUNDLE_AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t watcher = bundle < 0 ? -1 : task_group_fork(&p->s->task_groups, NULL);

	if (watcher == 0) {
		pid_t pid;

		setsid();
		pid = fork();
		if (pid == 0)
			run_runtime(runtime, argv, io);
		/* Not the descriptors of streams: their ends would not come. */
		tell = dup2(fcntl(tell, F_DUPFD_CLOEXEC, 64), 3);
		fcntl(3, F_SETFD, FD_CLOEXEC);
		log = fcntl(log, F_DUPFD_CLOEXEC, 64);
		dup3(bundle, BUNDLE_FD, O_CLOEXEC);
		dup3(log, LOG_FD, O_CLOEXEC);
		syscall(SYS_close_range, LOG_FD + 1, ~0u, 0);
		close(0);
		watch_runtime(pid, tell, names);
	}
	return watcher < 0 ? -errno : 0;
}

/* ---- terminals ---- */

static int listen_console(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0) {
		int r = -errno;

		base_closep(&fd);
		return r;
	}
	return fd;
}

/* The runtime connects and sends the terminal's master, or ends, which the watcher tells. */
static int accept_console(int listener, int told, const struct container_exec *x)
{
	struct winsize size = {.ws_row = x->rows, .ws_col = x->columns};
	struct pollfd ready[] = {
	    {.fd = listener, .events = POLLIN}, {.fd = told, .events = POLLIN}};
	_cleanup_close_ int fd = -1;
	int fds[FD_PASS_MAX];
	size_t count = 0;
	char name[256];

	if (poll(ready, 2, CONSOLE_MS) < 1)
		return -ETIMEDOUT;
	if (!ready[0].revents)
		return -EIO;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || fd_recv_fds(fd, name, sizeof(name), fds, &count, 0) < 0 || count != 1)
		return -EIO;
	if (x->rows)
		ioctl(fds[0], TIOCSWINSZ, &size);
	return fds[0];
}

/* ---- starting ---- */

static int write_process(const struct place *p, const struct container_exec *x, const char *at,
    const char **ret_runtime, char path[64], struct err *e)
{
	static char text[CONFIG_MAX];
	const struct record_container *record = place_read_container(p);
	struct config c = {0};
	ssize_t n;
	int r;

	*ret_runtime = record ? runtime_path(record->spec.runtime, path) : NULL;
	if (!*ret_runtime)
		return err_set(e, ENOENT, "the container's record or runtime is not there");
	r = runtime_join(p, e);
	if (r < 0)
		return r;
	c.spec = &record->spec;
	c.capabilities = bundle_capabilities(p->s, &record->spec);
	n = config_json_exec(&c, x, text, sizeof(text));
	r = n < 0 ? (int)n : place_write(AT_FDCWD, at, text, (size_t)n);
	return r < 0 ? err_sys(e, -r, "writing %s", at) : 0;
}

static int make_pipes(int inner[3], int outer[3])
{
	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		inner[i] = ends[i == 0 ? 0 : 1];
		outer[i] = ends[i == 0 ? 1 : 0];
	}
	/* Written to by the inner root, which may be root in name only. */
	return 0;
}

static int add_terminal(const struct container_exec *x, int listener, int told, int log,
    struct answer *a, struct err *e)
{
	int fd = accept_console(listener, told, x);
	char words[160];

	read_why(log, words, sizeof(words));
	if (fd < 0)
		return err_set(e, EIO, "the process could not be started in the container%s%s",
		    words[0] ? ": " : "", words);
	answer_add(a, fd);
	return 0;
}

int exec_start(
    const struct place *p, const struct container_exec *x, struct answer *a, struct err *e)
{
	char path[64], full[NAMES][80];
	const char *names[NAMES];
	const char *argv[] = {"crun", "--root", STATE_AT, "--log", full[LOG], "exec", "--process",
	    full[CONFIG], "--pid-file", full[PID], p->id, NULL, NULL, NULL, NULL};
	int ends[2], inner[3], outer[3], r;
	_cleanup_close_ int listener = -1, log = -1;
	const char *runtime;

	for (int i = 0; i < NAMES; i++) {
		snprintf(full[i], sizeof(full[i]), BUNDLE_AT "/%c%s", "xpcl"[i], x -> exec_id);
		names[i] = full[i] + sizeof(BUNDLE_AT);
	}
	r = write_process(p, x, full[CONFIG], &runtime, path, e);
	if (r < 0)
		return r;
	log = open(full[LOG], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (log < 0)
		return err_sys(e, errno, "making a log for the runtime");
	inner[0] = inner[1] = inner[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (x->terminal) {
		listener = listen_console(full[CONSOLE]);
		argv[10] = "--console-socket";
		argv[11] = full[CONSOLE];
		argv[12] = "--tty";
		argv[13] = p->id;
	} else if (make_pipes(inner, outer) < 0) {
		return err_sys(e, errno, "making pipes");
	}
	if ((x->terminal && listener < 0) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, errno, "making sockets");
	answer_add(a, ends[0]);
	r = start_watched(p, runtime, argv, inner, ends[1], log, names);
	close(ends[1]);
	if (r < 0)
		return err_sys(e, -r, "starting a process");
	if (x->terminal)
		return add_terminal(x, listener, ends[0], log, a, e);
	for (int i = 0; i < 3; i++)
		answer_add(a, outer[i]);
	return 0;
}
