/*
 * From clone3() to box-init. The order matters: mounts, network and limits as real root, then the
 * user namespace (so that it owns none of them), then ids, capabilities and the filter.
 * See blank.h.
 */
#include "spawner/blank.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "init/init.h"
#include "seccomp_box.h"
#include "spawner/confine.h"
#include "spawner/ids.h"
#include "spawner/net.h"

#define CONTROL_FD 3
#define EXE_FD 4

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	log_error("making a box: %s: %s", what, strerror(-r));
	_exit(1);
}

static void must_call(int r, const char *what)
{
	must(r < 0 ? -errno : 0, what);
}

/* The template is the root already (root_box_mounts()). Users of a box see only their own
 * processes: box-init stays out of sight. */
static void mount_proc(void)
{
	must_call(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2"),
	    "mounting /proc");
}

/* Only ever lower: raising needs a right that we may not have. */
static void set_limit(int which, rlim_t most)
{
	struct rlimit now;

	must_call(getrlimit((__rlimit_resource_t)which, &now), "reading a limit");
	now.rlim_max = now.rlim_max < most ? now.rlim_max : most;
	now.rlim_cur = now.rlim_max;
	must_call(setrlimit((__rlimit_resource_t)which, &now), "setting a limit");
}

static void set_limits(void)
{
	set_limit(RLIMIT_NOFILE, 1024);
	/* For programs that ask how many threads they may have. The group's pids.max is what holds:
	 * it counts box-init too, and sets no limit of a user's that others might share. */
	set_limit(RLIMIT_NPROC, BOX_PIDS_MAX);
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_MEMLOCK, 65536);
	set_limit(RLIMIT_MSGQUEUE, 0);
	must_call(sethostname("mayfly", 6), "naming the host");
}

/* Show the listeners to the spawner and wait until it has mapped our ids. */
static void meet_spawner(int control, int api, int endpoint)
{
	int fds[2] = {api, endpoint};
	char byte = 0;

	must_call(unshare(CLONE_NEWUSER), "making the user namespace");
	must(fd_send_fds(control, &byte, 1, fds, 2, 0), "reporting");
	close(api);
	close(endpoint);
	if (recv(control, &byte, 1, 0) != 1)
		_exit(0); /* killed, or the spawner is gone: nobody misses us */
}

/* With the rights that a new user namespace gives over itself, close it for good. */
static void seal_namespaces(void)
{
	int fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);

	must_call(fd, "opening max_user_namespaces");
	must_call((int)write(fd, "0", 1), "forbidding user namespaces");
	close(fd);
	must_call(unshare(CLONE_NEWCGROUP), "making the cgroup namespace");
}

/* box-init keeps, inside its namespace, what starting and killing the runtime's user takes. What
 * it starts has an empty bounding set. */
static void keep_three_capabilities(void)
{
	static const unsigned long kept[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0};

	must_call((int)syscall(SYS_capget, &head, caps), "reading capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		caps[0].inheritable |= 1u << kept[i];
	/* Inheritable before the bounding set is empty, the rest after: the kernel wants it so. */
	must_call((int)syscall(SYS_capset, &head, caps), "keeping capabilities");
	must(confine_bounding_set(), "emptying the bounding set");
	caps[0].effective = caps[0].permitted = caps[0].inheritable;
	caps[1] = (struct __user_cap_data_struct){0};
	must_call((int)syscall(SYS_capset, &head, caps), "dropping capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		must_call(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0),
		    "keeping capabilities");
}

/* A thousand busy processes must not keep box-init from killing them. What it starts begins as
 * everybody. */
static void come_first(void)
{
	const struct sched_param none = {0};

	if (sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none) == 0)
		(void)setpriority(PRIO_PROCESS, 0, -20);
}

static void become_init(void)
{
	const gid_t gid = ID_INSIDE_INIT;
	const uid_t uid = ID_INSIDE_INIT;

	come_first();
	must_call(setgroups(0, NULL), "dropping groups");
	must_call(setresgid(gid, gid, gid), "setting the group");
	must_call(setresuid(uid, uid, uid), "setting the user");
	keep_three_capabilities();
	/* Changing ids clears the death signal. */
	must_call(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "tying to the spawner");
	must_call(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "forbidding new rights");
}

static void arrange_fds(int control, int init_exe)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* Out of the way first: either may sit where the other has to go. */
	int high_control = fcntl(control, F_DUPFD_CLOEXEC, 16);
	int high_exe = fcntl(init_exe, F_DUPFD_CLOEXEC, 16);

	must_call(null, "opening /dev/null");
	must_call(high_control < 0 ? high_control : high_exe, "moving descriptors");
	for (int fd = 0; fd < 3; fd++)
		must_call(dup2(null, fd), "moving /dev/null");
	must_call(dup2(high_control, CONTROL_FD), "moving the control socket");
	must_call(dup3(high_exe, EXE_FD, O_CLOEXEC), "moving the program");
	must_call((int)syscall(SYS_close_range, EXE_FD + 1, ~0u, 0), "closing descriptors");
}

/* The filter, and box-init's end of it where init/init.h says. */
static void install_filter(void)
{
	struct sock_fprog filter = {ARRAY_SIZE(seccomp_box), (struct sock_filter *)seccomp_box};
	int listener = (int)syscall(
	    SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);

	must_call(listener, "filtering");
	if (listener == INIT_FD_NOTIFY) /* the lowest that is free, as a rule */
		must_call(fcntl(listener, F_SETFD, 0), "keeping the listener");
	else
		must_call(dup2(listener, INIT_FD_NOTIFY), "moving the listener");
}

_noreturn_ void blank_run(const struct blank *b)
{
	static char name[] = "box-init";
	static char *const argv[] = {name, NULL};
	static char *const envp[] = {NULL};
	int api, endpoint;

	must_call(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "tying to the spawner");
	confine_signals();
	setsid();
	must(b->groups->ops->enter(b->groups, b->slot), "entering the cgroup");
	must(net_box(&api, &endpoint), "setting up the network");
	mount_proc();
	if (b->seat)
		must(egress_enter(b->egress, b->host, b->seat), "making its way out");
	set_limits();
	meet_spawner(b->control, api, endpoint);
	seal_namespaces();
	become_init();
	arrange_fds(b->control, b->init_exe);
	install_filter();
	syscall(SYS_execveat, EXE_FD, "", argv, envp, AT_EMPTY_PATH);
	_exit(127);
}
