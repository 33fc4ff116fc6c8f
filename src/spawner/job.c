/*
 * Short-lived children for what would hold the loop up: /tmp disks, unpacking, deleting. A child
 * sends one struct wire_outcome (and, for a disk, the mount) and exits; whatever else it does, it
 * is killed then. Only the maker of disks (disks.c) stays. See spawner_int.h.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "spawner/confine.h"
#include "spawner/disk.h"
#include "spawner/layer.h"
#include "spawner/spawner_int.h"
#include "spawner/tree.h"
#include "spawner/unpack.h"

struct task {
	enum job_kind kind;
	uint32_t mb;
	uint64_t limit_bytes;
	const uint8_t *hash;
	const struct wire_msg *msg;
	int fd;             /* what came with msg */
	int output, reader; /* JOB_SPLIT: where the members go, and who reads them: core */
};

_noreturn_ static void run(struct spawner *s, const struct task *t, int out)
{
	struct wire_outcome outcome = {0};
	struct err e = ERR_INIT;
	int mount = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	confine_signals();
	close(s->data); /* with its lock: the next spawner need not wait for our end */
	switch (t->kind) {
	case JOB_DISK:
		mount = disk_make(s->images, t->mb, &e);
		outcome.result = mount < 0 ? mount : 0;
		memcpy(outcome.text, e.msg, sizeof(outcome.text));
		break;
	case JOB_UNPACK:
		tree_unpack(s->code, s->blobs, s->exe_unpack, t->hash, t->limit_bytes, &outcome);
		break;
	case JOB_DELETE: outcome.result = tree_delete(s->code, t->hash); break;
	case JOB_LAYER:
		layer_unpack(s->layers, t->fd, s->exe_unpack, t->hash, t->limit_bytes, &outcome);
		break;
	case JOB_LAYER_DELETE: outcome.result = tree_delete(s->layers, t->hash); break;
	case JOB_LAYERS_SYNC: layers_sync(s->layers); break;
	case JOB_SPLIT:
		close(t->reader); /* core's end must be the only one: the writer sees it close */
		unpack_split(t->fd, t->output, s->exe_unpack, t->limit_bytes, &outcome);
		break;
	case JOB_NETWORK:
		outcome.result = containers_restore_network(s, &e);
		memcpy(outcome.text, e.msg, sizeof(outcome.text));
		break;
	case JOB_MAKER: disks_make(out, s->images);
	case JOB_CONTAINER: containers_run(s, t->msg, t->fd, out);
	case JOB_NONE: break;
	}
	fd_send_fds(out, &outcome, sizeof(outcome), &mount, mount >= 0, 0);
	_exit(0);
}

static struct job *start(struct spawner *s, const struct task *t)
{
	struct job *j = s->jobs;
	int ends[2], pidfd = -1;
	struct clone_args args = {.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
	    .pidfd = (uintptr_t)&pidfd,
	    .exit_signal = SIGCHLD};
	pid_t pid;

	while (j < s->jobs + JOBS_MAX && j->kind != JOB_NONE)
		j++;
	check(j < s->jobs + JOBS_MAX); /* the gate and disks.c count */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return NULL;
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		run(s, t, ends[1]);
	close(ends[1]);
	if (pid < 0 || watch(s, ends[0], EV_JOB, (uint32_t)(j - s->jobs)) < 0) {
		log_error("starting a helper: %s", strerror(errno));
		close(ends[0]);
		if (pid > 0) {
			pidfd_send(pidfd, SIGKILL);
			pidfd_reap(pidfd);
			close(pidfd);
		}
		return NULL;
	}
	*j = (struct job){.kind = t->kind, .pidfd = pidfd, .socket = ends[0]};
	return j;
}

/* What core is told when such a job has ended. */
static uint32_t answer_kind(enum job_kind kind)
{
	switch (kind) {
	case JOB_UNPACK: return WIRE_UNPACKED;
	case JOB_DELETE: return WIRE_CODE_DELETED;
	case JOB_LAYER: return WIRE_LAYER_UNPACKED;
	case JOB_LAYER_DELETE: return WIRE_LAYER_DELETED;
	case JOB_SPLIT: return WIRE_ARCHIVE_DONE;
	default: check(false); return 0;
	}
}

static void answer(
    struct spawner *s, enum job_kind kind, uint64_t serial, const struct wire_outcome *o)
{
	struct wire_msg m = {.kind = answer_kind(kind),
	    .serial = serial,
	    .result = o->result,
	    .size_bytes = o->size_bytes};

	memcpy(m.text, o->text, sizeof(m.text));
	s->gate.requests--;
	core_tell(s, &m, NULL, 0);
}

static bool start_request(
    struct spawner *s, const struct wire_msg *m, enum job_kind kind, int fd, const int ends[2])
{
	struct task t = {.kind = kind,
	    .limit_bytes = m->limit_bytes,
	    .hash = m->hash,
	    .fd = fd,
	    .output = ends ? ends[1] : -1,
	    .reader = ends ? ends[0] : -1};
	struct wire_outcome failed = {.result = -EAGAIN, .text = "The host is out of processes."};
	struct job *j = start(s, &t);

	if (j)
		j->serial = m->serial;
	else
		answer(s, kind, m->serial, &failed);
	return j != NULL;
}

void job_unpack(struct spawner *s, const struct wire_msg *m)
{
	start_request(s, m, JOB_UNPACK, -1, NULL);
}

void job_delete(struct spawner *s, const struct wire_msg *m)
{
	start_request(s, m, JOB_DELETE, -1, NULL);
}

void job_layer(struct spawner *s, const struct wire_msg *m, int fd)
{
	start_request(s, m, m->kind == WIRE_LAYER_UNPACK ? JOB_LAYER : JOB_LAYER_DELETE, fd, NULL);
}

/* Core gets the other end of the pipe at once: it reads while the child writes. */
void job_split(struct spawner *s, const struct wire_msg *m, int fd)
{
	const struct wire_msg opened = {.kind = WIRE_ARCHIVE_OPENED, .serial = m->serial};
	const struct wire_outcome failed = {.result = -EMFILE, .text = "The host is out of pipes."};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		answer(s, JOB_SPLIT, m->serial, &failed);
		return;
	}
	if (start_request(s, m, JOB_SPLIT, fd, ends))
		core_tell(s, &opened, &ends[0], 1);
	close(ends[0]);
	close(ends[1]);
}

/* It has said what it had to say: nothing it still does matters. */
static void end(struct spawner *s, struct job *j)
{
	pidfd_send(j->pidfd, SIGKILL);
	pidfd_reap(j->pidfd);
	unwatch(s, j->socket);
	close(j->socket);
	close(j->pidfd);
	j->kind = JOB_NONE;
}

/* ---- containers ---- */

static void container_done(struct spawner *s, uint64_t serial, int result, const char *why)
{
	struct wire_msg m = {.kind = WIRE_CONTAINER_DONE, .serial = serial, .result = result};

	snprintf(m.text, sizeof(m.text), "%s", why);
	s->gate.container_requests--;
	core_tell(s, &m, NULL, 0);
}

void job_container(struct spawner *s, const struct wire_msg *m, int fd)
{
	struct task t = {.kind = JOB_CONTAINER, .msg = m, .fd = fd};
	struct job *j;

	s->task_disk = m->kind == WIRE_SANDBOX_MAKE ? disks_take_for_task(s) : -1;
	j = start(s, &t);
	base_closep(&s->task_disk);
	s->task_disk = -1;
	if (j)
		j->serial = m->serial;
	else
		container_done(s, m->serial, -EAGAIN, "The host is out of processes.");
}

/* What the child says goes to core as it is. False: that was not its last word. */
static bool relay(
    struct spawner *s, const struct job *j, struct wire_msg *m, int *fds, size_t count)
{
	bool last = m->kind == WIRE_CONTAINER_DONE;

	m->serial = j->serial;
	if (last)
		s->gate.container_requests--;
	if (!j->orphan)
		core_tell(s, m, fds, count);
	while (count)
		close(fds[--count]);
	return last;
}

static void container_on_ready(struct spawner *s, struct job *j)
{
	int fds[FD_PASS_MAX];
	struct wire_msg m;
	struct job done;
	size_t count = 0;
	ssize_t n = fd_recv_fds(j->socket, &m, sizeof(m), fds, &count, 0);

	if (n == sizeof(m) && !relay(s, j, &m, fds, count))
		return;
	done = *j;
	end(s, j);
	if (n != sizeof(m) && done.orphan)
		s->gate.container_requests--;
	else if (n != sizeof(m))
		container_done(s, done.serial, -EIO, "The helper process died.");
	disks_pump(s);
}

/* ---- layers ---- */

/* Not before the whole image has come: writing it all would hold up whatever has to be on the disk
 * before somebody is answered, the image's name among it. */
#define SYNC_AFTER_NS INT64_C(2000000000)
#define SYNC_BY_NS INT64_C(30000000000) /* however many layers come */

void job_layers_sync_later(struct spawner *s)
{
	int64_t now = now_ns();

	if (!s->sync_at_ns)
		s->sync_by_ns = now + SYNC_BY_NS;
	s->sync_at_ns = now + SYNC_AFTER_NS < s->sync_by_ns ? now + SYNC_AFTER_NS : s->sync_by_ns;
}

void job_layers_sync(struct spawner *s)
{
	s->sync_at_ns = 0;
	s->syncing = start(s, &(struct task){.kind = JOB_LAYERS_SYNC}) != NULL;
	if (!s->syncing)
		job_layers_sync_later(s);
}

/* ---- the containers' network ---- */

void job_network(struct spawner *s)
{
	s->restored_ns = now_ns();
	s->restoring = start(s, &(struct task){.kind = JOB_NETWORK}) != NULL;
	s->restore_at_ns = s->restoring ? 0 : s->restored_ns + RESTORE_NS; /* no child to be had */
}

static void restored(struct spawner *s, const struct wire_outcome *o)
{
	s->restoring = false;
	if (o->result < 0)
		log_error("rules of the packet filter are gone: %s", o->text);
}

/* ---- disks ---- */

void job_disk(struct spawner *s, uint32_t slot, uint32_t mb)
{
	struct task t = {.kind = JOB_DISK, .mb = mb};
	struct job *j = start(s, &t);

	if (!j) {
		box_on_disk(s, slot, -1, -EAGAIN);
		return;
	}
	j->slot = slot;
	j->generation = s->gate.slot[slot].generation;
	s->disk_jobs++;
}

struct job *job_maker(struct spawner *s)
{
	return start(s, &(struct task){.kind = JOB_MAKER});
}

static void disk_done(
    struct spawner *s, const struct job *j, const struct wire_outcome *o, int mount)
{
	const struct gate_slot *slot = &s->gate.slot[j->slot];
	int r = o->result < 0 ? o->result : mount < 0 ? -EIO : 0;

	s->disk_jobs--;
	if (r < 0)
		log_error("making a /tmp: %s", o->text[0] ? o->text : strerror(-r));
	if (slot->state == SLOT_ASSIGNING && slot->generation == j->generation && !j->orphan)
		box_on_disk(s, j->slot, mount, r);
}

/* ---- endings ---- */

static void finish(struct spawner *s, struct job *j, const struct wire_outcome *o, int mount)
{
	struct job done = *j;

	end(s, j);
	if (done.kind == JOB_MAKER)
		disks_on_lost(s);
	else if (done.kind == JOB_DISK)
		disk_done(s, &done, o, mount);
	else if (done.kind == JOB_LAYERS_SYNC)
		s->syncing = false;
	else if (done.kind == JOB_NETWORK)
		restored(s, o);
	else if (done.orphan)
		s->gate.requests--;
	else
		answer(s, done.kind, done.serial, o);
	if (done.kind == JOB_LAYER && o->result == 0)
		job_layers_sync_later(s);
}

void job_on_ready(struct spawner *s, uint32_t index)
{
	struct wire_outcome o = {.result = -EIO, .text = "The helper process died."};
	struct job *j = &s->jobs[index];
	int fds[FD_PASS_MAX], mount = -1;
	size_t count = 0;
	bool whole;

	if (j->kind == JOB_CONTAINER) {
		container_on_ready(s, j);
		return;
	}
	whole = fd_recv_fds(j->socket, &o, sizeof(o), fds, &count, 0) == sizeof(o);
	o.text[sizeof(o.text) - 1] = '\0';
	if (count)
		mount = fds[0];
	if (whole && j->kind == JOB_MAKER)
		disks_on_made(s, &o, mount);
	else
		finish(s, j, &o, mount);
	base_closep(&mount);
	disks_pump(s);
}

void jobs_orphan(struct spawner *s)
{
	for (struct job *j = s->jobs; j < s->jobs + JOBS_MAX; j++) {
		j->orphan = true;
		if (j->kind != JOB_NONE && j->kind != JOB_DISK && j->kind != JOB_MAKER &&
		    j->kind != JOB_LAYERS_SYNC && j->kind != JOB_NETWORK)
			pidfd_send(j->pidfd, SIGKILL); /* its socket tells */
	}
}

void jobs_kill_all(struct spawner *s)
{
	for (struct job *j = s->jobs; j < s->jobs + JOBS_MAX; j++)
		if (j->kind != JOB_NONE)
			end(s, j);
}
