/*
 * Who gets which /tmp: a pool of the usual size, kept full by one long-lived child, the maker, and
 * the boxes that wait. The maker knows two orders, a byte each, and answers each with a struct
 * wire_outcome and the mount of a new disk, which it never sees again. Another size takes a job of
 * its own. A second pool has disks of the usual size for tasks, once there has been one. See
 * spawner_int.h and disk.h.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "spawner/disk.h"
#include "spawner/spawner_int.h"

#define RETRY_NS 1000000000
#define SOCKET_FD 3
#define ORDER_BOX 'b'
#define ORDER_TASK 't'
#define IMAGES_FD 4

/* ---- in the maker ---- */

/* It lives long: what it keeps open, be it the mount of a dead box, would stay. */
static int keep_two(int socket, int images)
{
	int high_socket = fcntl(socket, F_DUPFD_CLOEXEC, 16);
	int high_images = fcntl(images, F_DUPFD_CLOEXEC, 16);

	if (high_socket < 0 || high_images < 0 || dup3(high_socket, SOCKET_FD, O_CLOEXEC) < 0 ||
	    dup3(high_images, IMAGES_FD, O_CLOEXEC) < 0)
		return -errno;
	return syscall(SYS_close_range, IMAGES_FD + 1, ~0u, 0) < 0 ? -errno : 0;
}

_noreturn_ void disks_make(int socket, int images)
{
	char order;

	if (keep_two(socket, images) < 0)
		_exit(1);
	while (recv(SOCKET_FD, &order, 1, 0) == 1) {
		struct wire_outcome o = {.size_bytes = order == ORDER_TASK};
		struct err e = ERR_INIT;
		_cleanup_close_ int mount = order == ORDER_TASK
						? disk_task(IMAGES_FD, 0, &e)
						: disk_make(IMAGES_FD, WIRE_TMP_MB_MIN, &e);

		o.result = mount < 0 ? mount : 0;
		memcpy(o.text, e.msg, sizeof(o.text));
		if (fd_send_fds(SOCKET_FD, &o, sizeof(o), &mount, mount >= 0, 0) < 0)
			break;
	}
	_exit(0);
}

/* ---- in the spawner ---- */

static void give(struct spawner *s, struct box *b, int mount, int result)
{
	list_remove(&b->waiting);
	box_on_disk(s, (uint32_t)(b - s->boxes), mount, result);
}

/* False: it has to go on waiting. */
static bool serve(struct spawner *s, struct box *b)
{
	_cleanup_close_ int mount = -1;

	if (!s->no_loop && b->tmp_mb != WIRE_TMP_MB_MIN) {
		if (s->disk_jobs == DISK_JOBS_MAX)
			return false;
		list_remove(&b->waiting);
		job_disk(s, (uint32_t)(b - s->boxes), b->tmp_mb);
		return true;
	}
	if (!s->no_loop && !s->pool_count)
		return false;
	mount = s->no_loop ? disk_tmpfs(b->tmp_mb) : s->pool[--s->pool_count];
	give(s, b, mount, mount < 0 ? mount : 0);
	return true;
}

/* Whoever waits longest hears of it; the others may have more luck. False: nobody waits. */
static bool fail_one(struct spawner *s, int result)
{
	s->disk_retry_ns = now_ns() + RETRY_NS;
	list_for_each_safe (n, &s->disk_queue) {
		struct box *b = list_entry(n, struct box, waiting);

		if (b->tmp_mb != WIRE_TMP_MB_MIN)
			continue;
		give(s, b, -1, result);
		return true;
	}
	return false;
}

static int order(struct spawner *s, char what, unsigned *asked)
{
	int r = -EAGAIN;

	if (!s->maker)
		s->maker = job_maker(s);
	if (s->maker)
		r = fd_send_fds(s->maker->socket, &what, 1, NULL, 0, MSG_DONTWAIT);
	*asked += r == 0;
	return r;
}

void disks_pump(struct spawner *s)
{
	/* After a failure the pool has time, those who wait have not. */
	unsigned want = now_ns() < s->disk_retry_ns ? 0 : POOL_MAX;
	int r = 0;

	list_for_each_safe (n, &s->disk_queue) {
		struct box *b = list_entry(n, struct box, waiting);

		want += !serve(s, b) && b->tmp_mb == WIRE_TMP_MB_MIN;
	}
	if (s->no_loop || s->stopping)
		return;
	while (r == 0 && s->pool_count + s->disks_asked < want && s->disks_asked < ASKED_MAX)
		r = order(s, ORDER_BOX, &s->disks_asked);
	while (r < 0 && fail_one(s, r))
		;
	while (s->task_disks_wanted && s->task_pool_count + s->task_disks_asked < TASK_POOL_MAX &&
	       order(s, ORDER_TASK, &s->task_disks_asked) == 0)
		;
}

/* None: the task makes its own, and says why if it cannot. */
static void task_disk_made(struct spawner *s, int kept)
{
	s->task_disks_asked--;
	if (kept >= 0)
		s->task_pool[s->task_pool_count++] = kept;
	else
		s->task_disks_wanted = false; /* until the next task */
}

int disks_take_for_task(struct spawner *s)
{
	s->task_disks_wanted = !s->no_loop;
	return s->task_pool_count ? s->task_pool[--s->task_pool_count] : -1;
}

void disks_on_made(struct spawner *s, const struct wire_outcome *o, int mount)
{
	int kept = o->result == 0 && mount >= 0 ? dup_cloexec(mount) : -1;

	if (o->size_bytes) {
		task_disk_made(s, kept);
		return;
	}
	s->disks_asked--;
	if (kept >= 0) {
		check(s->pool_count < POOL_MAX + ASKED_MAX);
		s->pool[s->pool_count++] = kept;
		return;
	}
	log_error(
	    "making a /tmp: %s", o->text[0] ? o->text : strerror(o->result ? -o->result : EIO));
	fail_one(s, o->result < 0 ? o->result : -EIO);
}

void disks_on_lost(struct spawner *s)
{
	log_error("the process that makes /tmp disks died");
	s->maker = NULL;
	s->task_disks_asked = 0;
	s->task_disks_wanted = false;
	for (; s->disks_asked; s->disks_asked--)
		fail_one(s, -EIO);
}
