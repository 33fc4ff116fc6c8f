/*
 * Core's life as its parent sees it: confined before its first instruction, greeted when nothing
 * of the core before it is left, killed when it breaks the rules, started again. See core_fds.h
 * for what it finds. See spawner_int.h.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "seccomp_core.h"
#include "spawn/core_fds.h"
#include "spawner/confine.h"
#include "spawner/ids.h"
#include "spawner/root.h"
#include "spawner/spawner_int.h"

#define SOCKET_BUFFER (16 << 20) /* two answers for each of 2,048 boxes, and room */
#define MESSAGE_FDS 253          /* that the kernel lets one message have */
#define QUICK_NS 1000000000      /* dying earlier than this is suspicious */
#define DELAY_FIRST_NS 100000000
#define DELAY_MOST_NS 10000000000
#define EXE_FD (CORE_FD_FIRST_LISTENER + LISTENERS_MAX)

/* ---- in the new process ---- */

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	log_error("starting core: %s: %s", what, strerror(-r));
	_exit(1);
}

/* Through high numbers, so that no source is overwritten before it has moved. */
static void arrange_fds(const struct spawner *s, int socket)
{
	int from[LISTENERS_MAX + 2], to[LISTENERS_MAX + 2], null;
	unsigned n = 0;

	from[n] = socket;
	to[n++] = CORE_FD_SPAWNER;
	for (unsigned i = 0; i < s->listener_count; i++) {
		from[n] = s->listeners[i];
		to[n++] = (int)(CORE_FD_FIRST_LISTENER + i);
	}
	from[n] = s->exe_core;
	to[n++] = EXE_FD;
	for (unsigned i = 0; i < n; i++) {
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, EXE_FD + 1);
		must(from[i] < 0 ? -errno : 0, "moving descriptors");
	}
	for (unsigned i = 0; i < n; i++)
		must(dup3(from[i], to[i], to[i] == EXE_FD ? O_CLOEXEC : 0) < 0 ? -errno : 0,
		    "placing descriptors");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(null < 0 || dup2(null, 0) < 0 ? -errno : 0, "opening /dev/null");
	must(syscall(SYS_close_range, CORE_FD_FIRST_LISTENER + s->listener_count, EXE_FD - 1, 0) < 0
		 ? -errno
		 : 0,
	    "closing descriptors");
	must(syscall(SYS_close_range, EXE_FD + 1, ~0u, 0) < 0 ? -errno : 0, "closing descriptors");
}

static void execute(const struct spawner *s)
{
	static char path[] = "PATH=/usr/bin:/bin", lang[] = "LANG=C.UTF-8", home[] = "HOME=/data";
	static char dev[] = "--dev"; /* a literal of the branch would end with it */
	char *envp[] = {path, lang, home, CONFINE_SANITIZER, NULL};
	char count[8], *argv[CORE_ARGS_MAX + 8];
	unsigned n = 0;

	snprintf(count, sizeof(count), "%u", s->listener_count);
	argv[n++] = (char[]){"mayfly-core"};
	argv[n++] = (char[]){"--data"};
	argv[n++] = (char[]){ROOT_DATA};
	argv[n++] = (char[]){"--listeners"};
	argv[n++] = count;
	if (s->dev)
		argv[n++] = dev;
	for (unsigned i = 0; i < s->core_arg_count; i++)
		argv[n++] = s->core_args[i];
	argv[n] = NULL;
	must(confine_exec(EXE_FD, argv, envp, seccomp_core, ARRAY_SIZE(seccomp_core)),
	    "executing it");
}

_noreturn_ static void run(const struct spawner *s, int socket)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	confine_signals();
	setsid();
	must(root_enter(ROOT_CORE), "changing the root");
	arrange_fds(s, socket);
	must(confine_to(ID_CORE), "dropping rights");
	execute(s);
	_exit(1);
}

/* ---- in the spawner ---- */

static int spawn(struct spawner *s, int core_end)
{
	struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_PIDFD,
	    .pidfd = (uintptr_t)&s->core.pidfd,
	    .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0)
		run(s, core_end);
	if (pid < 0) {
		s->core.pidfd = -1;
		return -errno;
	}
	return 0;
}

static void plan_restart(struct spawner *s, bool quick)
{
	int64_t delay = 0;

	s->core.quick_deaths = quick ? s->core.quick_deaths + 1 : 0;
	if (s->core.quick_deaths > 1) {
		unsigned shift = s->core.quick_deaths - 2;

		delay = shift < 8 ? (int64_t)DELAY_FIRST_NS << shift : DELAY_MOST_NS;
		delay = delay < DELAY_MOST_NS ? delay : DELAY_MOST_NS;
	}
	s->core.start_at_ns = now_ns() + delay;
}

void core_start(struct spawner *s)
{
	int ends[2], size = SOCKET_BUFFER, r;

	s->core.start_at_ns = 0;
	s->core.started_ns = now_ns();
	r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
	if (r == 0) {
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		r = spawn(s, ends[1]);
		close(ends[1]);
		s->core.socket = ends[0];
	}
	if (r == 0)
		r = watch(s, s->core.pidfd, EV_CORE_EXIT, 0);
	if (r == 0)
		r = watch(s, s->core.socket, EV_CORE, 0);
	if (r < 0) {
		log_error("starting core: %s", strerror(-r));
		plan_restart(s, true);
		return;
	}
	core_greet(s);
}

static uint64_t host_memory(const struct spawner *s)
{
	uint64_t limit = cgroups_memory(&s->cgroups), total;
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return limit;
	total = (uint64_t)info.totalram * info.mem_unit;
	return limit < total ? limit : total;
}

void core_greet(struct spawner *s)
{
	struct wire_msg m = {.kind = WIRE_HELLO};
	cpu_set_t cpus;

	if (s->core.pidfd < 0 || s->gate.open || !gate_idle(&s->gate))
		return;
	m.hello.cpu_style = s->cgroups.ops->cpu_style;
	m.hello.cgroup2_freeze = s->cgroups.dir[TREE_UNIFIED] >= 0;
	m.hello.boxes_max = s->gate.slots;
	m.hello.cpus =
	    sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
	m.hello.memory_bytes = host_memory(s);
	s->gate.open = true;
	core_tell(s, &m, NULL, 0);
}

static void drop_socket(struct spawner *s)
{
	if (s->core.socket < 0)
		return;
	unwatch(s, s->core.socket);
	drop_fds(&s->core.socket, 1);
	s->core.socket = -1;
}

void core_kill(struct spawner *s, const char *why)
{
	log_error("killing core: %s", why);
	s->gate.open = false; /* not another word from it */
	drop_socket(s);
	if (s->core.pidfd >= 0)
		pidfd_send(s->core.pidfd, SIGKILL);
}

void core_tell(struct spawner *s, const struct wire_msg *m, const int *fds, size_t count)
{
	int r;

	if (!s->gate.open || s->core.socket < 0)
		return;
	r = fd_send_fds(s->core.socket, m, sizeof(*m), fds, count, MSG_DONTWAIT);
	if (r == -EAGAIN)
		core_kill(s, "it does not read its messages");
	else if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		core_kill(s, strerror(-r));
}

/* Is this what gate_descriptor() says? By calls that cannot block, whatever it is. */
static bool descriptor_fits(enum gate_descriptor wanted, int fd)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int got;

	switch (wanted) {
	case GATE_FD_RECORD:
		got = fcntl(fd, F_GET_SEALS);
		return got >= 0 && (got & seals) == seals;
	case GATE_FD_PIPE: return fcntl(fd, F_GETPIPE_SZ) > 0;
	case GATE_FD_NONE: break;
	}
	return false;
}

static bool descriptors_fit(const struct wire_msg *m, const int *fds, size_t count)
{
	enum gate_descriptor wanted = gate_descriptor(m->kind);

	return wanted == GATE_FD_NONE ? count == 0 : count == 1 && descriptor_fits(wanted, fds[0]);
}

/* fd: what the gate says that this kind carries; still the caller's. */
static void dispatch(struct spawner *s, const struct wire_msg *m, int fd)
{
	switch (m->kind) {
	case WIRE_BOX_MAKE: box_make(s, m); return;
	case WIRE_BOX_ROOT: box_name_root(s, m); return;
	case WIRE_BOX_ASSIGN: box_assign(s, m); return;
	case WIRE_BOX_KILL: box_kill(s, m->slot); return;
	case WIRE_UNPACK: job_unpack(s, m); return;
	case WIRE_CODE_DELETE: job_delete(s, m); return;
	case WIRE_LAYER_UNPACK:
	case WIRE_LAYER_DELETE: job_layer(s, m, fd); return;
	case WIRE_ARCHIVE_SPLIT: job_split(s, m, fd); return;
	default: job_container(s, m, fd); return; /* the gate lets nothing else through */
	}
}

/* As fd_recv_fds(), but with room for as many descriptors as a message can have: what does not fit
 * the kernel would close in our name. */
static ssize_t receive(int sock, void *data, size_t size, int fds[MESSAGE_FDS], size_t *count)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*count = 0;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		check(len <= (MESSAGE_FDS - *count) * sizeof(int));
		memcpy(fds + *count, CMSG_DATA(c), len);
		*count += len / sizeof(int);
	}
	return msg.msg_flags & MSG_CTRUNC ? 0 : n;
}

void core_on_message(struct spawner *s)
{
	char data[sizeof(struct wire_msg) + 1];
	int fds[MESSAGE_FDS];
	struct wire_msg m;
	const char *why = NULL;
	size_t count = 0;
	ssize_t n = receive(s->core.socket, data, sizeof(data), fds, &count);

	if (n == -EAGAIN)
		return;
	if ((n == 0 && !count) ||
	    n == -ECONNRESET) { /* it closed its end: it is dying, or has to */
		unwatch(s, s->core.socket);
		pidfd_send(s->core.pidfd, s->stopping ? 0 : SIGKILL);
		return;
	}
	if (n == sizeof(m))
		memcpy(&m, data, sizeof(m));
	if (n == sizeof(m) ? !descriptors_fit(&m, fds, count) : count) {
		core_kill(s, "descriptors where none belong");
		drop_fds(fds, count);
		return;
	}
	switch (gate_request(&s->gate, data, n < 0 ? 0 : (size_t)n, &m, &why)) {
	case GATE_DO: dispatch(s, &m, count ? fds[0] : -1); break;
	case GATE_IGNORE: break;
	case GATE_FATAL: core_kill(s, why); break;
	}
	while (count)
		close(fds[--count]); /* of a kind whose closing cannot block */
}

static void say_how(int status)
{
	if (WIFEXITED(status))
		log_warn("core exited with code %d", WEXITSTATUS(status));
	else
		log_warn("core was killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
}

void core_on_exit(struct spawner *s)
{
	int status;

	unwatch(s, s->core.pidfd);
	status = pidfd_reap(s->core.pidfd);
	base_closep(&s->core.pidfd);
	s->core.pidfd = -1;
	drop_socket(s);
	s->gate.open = false;
	boxes_kill_all(s);
	jobs_orphan(s);
	if (!s->stopping || status != 0)
		say_how(status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CORE_EXIT_CONFIG)
		s->exit_code = CORE_EXIT_CONFIG;
	else if (s->stopping)
		s->exit_code = 0;
	else
		plan_restart(s, now_ns() - s->core.started_ns < QUICK_NS);
}
