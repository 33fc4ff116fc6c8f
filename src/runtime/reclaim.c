/*
 * Taking back what a box has not read: its end of the events' socket is drained, on a worker
 * thread, because a box that is in the middle of a read holds the socket's lock, for as long as it
 * likes to have its memory paged in. What comes out are bytes that core itself has written, the
 * last ones.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/reclaim_int.h"

#define RECLAIM_STEP 65536

struct reclaim {
	struct loop_work work;
	int fd;
	struct buf bytes;
	void (*done)(void *ctx, struct buf *bytes);
	void *ctx;
};

/* A worker's. */
static void drain(struct loop_work *w)
{
	struct reclaim *r = container_of(w, struct reclaim, work);
	ssize_t n;

	do {
		n = recv(r->fd, buf_reserve(&r->bytes, RECLAIM_STEP), RECLAIM_STEP, MSG_DONTWAIT);
		if (n > 0)
			buf_commit(&r->bytes, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
}

static void tell(struct loop_work *w)
{
	struct reclaim *r = container_of(w, struct reclaim, work);

	if (r->done)
		r->done(r->ctx, &r->bytes);
	close(r->fd);
	buf_done(&r->bytes);
	free(r);
}

struct reclaim *reclaim_start(
    struct loop *l, int fd, void (*done)(void *ctx, struct buf *bytes), void *ctx)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct reclaim *r;

	if (copy < 0)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->fd = copy;
	r->done = done;
	r->ctx = ctx;
	r->work.run = drain;
	r->work.done = tell;
	loop_work_start(l, &r->work);
	return r;
}

void reclaim_forget(struct reclaim *r)
{
	if (r)
		r->done = NULL;
}
