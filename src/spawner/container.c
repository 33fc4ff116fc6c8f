/* Containers: made, started, signalled, removed. See containers_int.h. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/time.h"
#include "spawner/containers_int.h"
#include "spawner/ids.h"
#include "spawner/remove.h"
#include "spawner/root.h"

#define CONMON_END_MS 2000

/* ---- making ---- */

/* Core may open files in it by name, of those that all may read: the exit code. */
static int let_core_look(const struct place *p)
{
	return fchown(p->bundle, 0, ID_CORE) < 0 || fchmod(p->bundle, 0710) < 0 ? -errno : 0;
}

static int remember(const struct place *p, const void *record, size_t len, struct err *e)
{
	int r = place_write(p->bundle, "record", record, len);

	if (r == 0)
		r = let_core_look(p);
	return r < 0 ? err_sys(e, -r, "making the container's directory") : 0;
}

/* conmon, and what the runtime wrote, with the times of their starts. */
static int note_processes(const struct place *p, pid_t conmon, struct err *e)
{
	struct process init = process_read(AT_FDCWD, BUNDLE_AT "/pid");

	if (!init.pid || process_note(p->bundle, "conmon", conmon) < 0 ||
	    process_note(p->bundle, "init", init.pid) < 0)
		return err_set(e, EIO, "conmon or the runtime has gone");
	return 0;
}

int container_add_kept(const struct place *p, struct answer *a, struct err *e)
{
	struct process conmon = process_noted(p->bundle, "conmon");
	int fds[WIRE_KEPT_FDS];

	fds[WIRE_KEPT_PROCESS] = process_open(&conmon);
	fds[WIRE_KEPT_EXIT] = openat(p->bundle, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fds[WIRE_KEPT_OOM] = task_group_open(
	    &p->s->task_groups, p->sandbox, p->id, "memory", "memory.oom_control", "memory.events");
	for (int i = 0; i < WIRE_KEPT_FDS; i++) {
		if (fds[i] < 0)
			return err_set(e, EIO, "the container ended while it was being made");
		answer_add(a, fds[i]);
	}
	return 0;
}

static int make_net(const struct place *p, const struct sandbox_spec *sandbox,
    const struct container_spec *spec, const struct process *pause, struct netns *n,
    struct wire_net *net, struct err *e)
{
	int r;

	if (sandbox->network != CONTAINER_NET_NONE && sandbox->network != CONTAINER_NET_BRIDGE)
		return 0;
	r = netns_make(pause->pid, n, e);
	if (r < 0)
		return r;
	net->has_namespace = 1;
	if (sandbox->network == CONTAINER_NET_BRIDGE && !spec->no_network)
		return netns_attach(p, n->ns, spec, net, e);
	return place_note(p->bundle, "net", net, sizeof(*net)) < 0
		   ? err_set(e, EIO, "remembering the network failed")
		   : 0;
}

/* conmon first: it loads, and the kernel gets ready to move processes, while the rest is done. */
static int make_all(const struct place *p, const struct container_spec *spec, const void *record,
    size_t len, struct answer *a, struct err *e)
{
	struct process pause = process_noted(p->dir, "pause");
	_cleanup_close_ int alive = process_open(&pause);
	struct sandbox_spec sandbox;
	struct wire_net net = {0};
	struct netns n = {-1, -1, -1};
	struct creation creation = {0};
	int r;

	if (alive < 0 || place_read_sandbox(p, &sandbox) < 0)
		return err_set(e, ESRCH, "the sandbox of the task has gone");
	r = bundle_enter(p, &pause, spec->runtime, e);
	if (r == 0)
		r = runtime_begin(p, spec, &creation, e);
	if (r < 0)
		return r;
	r = remember(p, record, len, e);
	if (r == 0)
		r = make_net(p, &sandbox, spec, &pause, &n, &net, e);
	if (r == 0)
		r = bundle_make(p, &sandbox, spec, &pause, n.ns, e);
	if (r < 0) {
		runtime_abandon(&creation);
		return r;
	}
	r = runtime_create(&creation, e);
	if (r == 0)
		r = note_processes(p, creation.conmon, e);
	if (r == 0)
		r = container_add_kept(p, a, e);
	if (r < 0)
		return r;
	inspect_log(p, a);
	netns_add(a, &n, &net);
	return 0;
}

int container_make(const struct spawner *s, struct record_container *r, const void *record,
    size_t len, struct answer *a, struct err *e)
{
	struct place p = {.s = s, .dir = -1, .bundle = -1};
	int result;

	memcpy(p.sandbox, r->spec.sandbox, sizeof(p.sandbox));
	memcpy(p.id, r->spec.id, sizeof(p.id));
	result = place_open(&p, true, e);
	if (result == 0 && faccessat(p.bundle, "record", F_OK, 0) == 0)
		result = err_set(e, EEXIST, "there is a container of this id");
	return result < 0 ? result : make_all(&p, &r->spec, record, len, a, e);
}

/* ---- starting ---- */

/* What `crun start` does, without running it: the container's first process waits for a byte. */
static int start_directly(const struct place *p)
{
	char path[128];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), STATE_AT "/%s/exec.fifo", p->id);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || unlink(path) < 0 || write(fd, "1", 1) != 1)
		return -errno;
	return 0;
}

int container_start(const struct place *p, struct err *e)
{
	const struct record_container *record = place_read_container(p);
	const char *args[] = {"start", p->id, NULL}, *runtime;
	int64_t now_ms;
	char path[64];
	int r;

	if (!record)
		return err_set(e, EIO, "the container's record cannot be read");
	if (place_noted(p->bundle, "started", &now_ms, sizeof(now_ms)) > 0)
		return err_set(e, EALREADY, "the container has been started before");
	now_ms = time_wall_ms();
	r = place_note(p->bundle, "started", &now_ms, sizeof(now_ms));
	if (r < 0)
		return err_sys(e, -r, "noting the start");
	r = runtime_join(p, e);
	if (r < 0)
		return r;
	if (strcmp(record->spec.runtime, "crun") == 0 && start_directly(p) == 0)
		return 0;
	runtime = runtime_path(record->spec.runtime, path);
	r = runtime ? runtime_run(runtime, args, e) : -ENOENT;
	return r ? err_set(e, EIO, "%s start failed (%d)", record->spec.runtime, r) : 0;
}

int container_signal(const struct place *p, int signal, struct err *e)
{
	struct process init = process_noted(p->bundle, "init");
	_cleanup_close_ int fd = process_open(&init);
	int r;

	if (signal == SIGKILL && fd < 0) /* conmon is gone, and with it who would tell */
		task_group_kill(&p->s->task_groups, p->sandbox, p->id);
	if (fd < 0)
		return 0;
	r = pidfd_send(fd, signal);
	return r < 0 && r != -ESRCH ? err_sys(e, -r, "sending a signal") : 0;
}

/* ---- removing ---- */

/* Its exit code is still worth having: conmon ends by itself, as a rule. */
static void end_processes(const struct place *p)
{
	struct process init = process_noted(p->bundle, "init");
	struct process conmon = process_noted(p->bundle, "conmon");
	_cleanup_close_ int fd = process_open(&conmon);
	struct pollfd gone = {.fd = fd, .events = POLLIN};

	process_end(&init);
	if (fd >= 0)
		poll(&gone, 1, CONMON_END_MS);
	process_end(&conmon);
	/* What was made but not noted, because whoever made it was killed; and what is left of a
	 * shared process namespace. */
	task_group_kill(&p->s->task_groups, p->sandbox, p->id);
}

/* What crun keeps goes with conmon's mounts; others may have more. */
static void forget_runtime(const struct place *p)
{
	const struct record_container *record = place_read_container(p);
	const char *args[] = {"delete", "--force", p->id, NULL}, *runtime;
	struct err e = ERR_INIT;
	char path[64];

	if (!record || strcmp(record->spec.runtime, "crun") == 0)
		return;
	runtime = runtime_path(record->spec.runtime, path);
	if (runtime && runtime_join(p, &e) == 0) {
		runtime_run(runtime, args, &e);
		check(setns(p->s->host_mounts, CLONE_NEWNS) == 0);
	}
}

static int remove_upper(const struct place *p, struct err *e)
{
	struct process pause = process_noted(p->dir, "pause");
	_cleanup_close_ int alive = process_open(&pause), disk = -1;

	if (alive < 0)
		return 0;
	disk = sandbox_disk(p, &pause, e);
	return disk < 0 ? disk : remove_tree(disk, p->id);
}

int container_remove(struct place *p, bool sandbox_goes, struct err *e)
{
	int r;

	if (!place_is_stale(p)) {
		forget_runtime(p);
		end_processes(p);
	}
	r = netns_detach(p, p->bundle, e);
	if (r < 0)
		return r;
	r = task_group_remove(&p->s->task_groups, p->sandbox, p->id);
	if (r == 0 && !sandbox_goes)
		r = remove_upper(p, e);
	if (r == 0)
		r = remove_tree(p->dir, p->id);
	base_closep(&p->bundle);
	p->bundle = -1;
	return r < 0 ? err_sys(e, -r, "removing the container") : 0;
}
