/*
 * The core process: all of Mayfly that is not privileged. Started by the spawner in a root of its
 * own (spawn/core_fds.h), ends on SIGTERM when what runs has finished, or after four seconds.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/large.h"
#include "base/log.h"
#include "core/core.h"
#include "invoke/invoke.h"
#include "spawn/core_fds.h"

#define DESCRIPTORS 16384
#define DRAIN_POLL_NS (20 * (int64_t)1000000)
#define DRAIN_POLLS 200

static struct core core;

static void on_drain(struct loop_timer *t)
{
	static int polls;
	struct invoke_counts c;

	invoke_count(core.invoke, &c);
	if (!c.running || ++polls == DRAIN_POLLS)
		loop_stop(core.loop);
	else
		loop_timer_set(core.loop, t, DRAIN_POLL_NS);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	static struct loop_timer drain = {.on_due = on_drain};
	struct signalfd_siginfo info;

	(void)events;
	if (read(io->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_info("stopping");
	core_begin_no_more(&core);
	loop_timer_set(core.loop, &drain, 0);
}

static int watch_signals(struct loop_io *io)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	io->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	io->events = EPOLLIN;
	io->on_ready = on_signal;
	return io->fd < 0 ? -errno : 0;
}

/* The descriptor table grows by copying, and with threads the kernel waits for all of them each
 * time: 20 ms on the state thread. So it is grown once, before there are threads. */
static void grow_descriptor_table(void)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_cur < DESCRIPTORS ? limit.rlim_cur : DESCRIPTORS;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)limit.rlim_cur - 1);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	static struct loop_io signals;
	struct err e = ERR_INIT;
	int r;

	log_setup("core", LOG_INFO);
	grow_descriptor_table();
	if (large_start() < 0)
		log_warn("no thread to free large memory: raise the limit of processes");
	/* Every function's secrets are in here: no core file, and /proc/PID is root's, not that of
	 * another installation's core, which has the same user. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (config_parse(&core.config, argc, argv, &e) < 0 || watch_signals(&signals) < 0) {
		log_error("%s", e.msg);
		return CORE_EXIT_CONFIG;
	}
	if (core.config.debug)
		log_setup("core", LOG_DEBUG);
	r = core_open(&core, &e);
	if (r == 0)
		r = loop_io_add(core.loop, &signals);
	if (r < 0) {
		log_error("cannot start: %s", e.msg);
		core_close(&core);
		large_stop();
		/* Room may come: the spawner tries again. */
		return e.errnum == ENOSPC ? 1 : CORE_EXIT_CONFIG;
	}
	log_info("ready at %s", core.url);
	if (core.config.dev)
		log_warn("--dev: any key is accepted, and requests without a signature");
	r = loop_run(core.loop);
	core_close(&core);
	large_stop();
	return r < 0 ? 1 : 0;
}
