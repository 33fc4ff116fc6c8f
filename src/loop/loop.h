/*
 * The event loop of one thread: readiness (epoll), timers, work at the end of a turn, and a few
 * worker threads for what must block.
 *
 * All structs are embedded in the caller's objects; the loop allocates nothing per event. Every
 * callback runs on the loop's thread, except loop_work.run. A callback may remove any io, timer
 * or task, its own included, and free what it is part of.
 *
 * A turn: wait, all ready io, all due timers, finished work, then the deferred tasks. Batching
 * (one send a box for many requests) hangs on that order: gather in io callbacks, send in a task.
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"

struct loop;

/* workers: number of worker threads, started on first use. NULL and e on failure. */
struct loop *loop_new(unsigned workers, struct err *e);
/* Work already started is finished and its done() called. NULL is fine. */
void loop_free(struct loop *l);

/* Run until loop_stop(). Returns 0, or -errno when waiting fails. */
int loop_run(struct loop *l);
/* Make loop_run() return after this turn, or at once if it runs next. The loop's thread only. */
void loop_stop(struct loop *l);
/* One turn, waiting at most timeout_ms (-1: until something happens). For tests. 0 or -errno. */
int loop_turn(struct loop *l, int timeout_ms);
/* Monotonic time at the start of this turn, ns: cheap, good enough for time-outs. */
int64_t loop_now_ns(const struct loop *l);

/* Spin for up to spin_ns before sleeping when the last turns were busy (0: never): on virtual
 * machines waking an idle core costs more than this. */
void loop_set_spin(struct loop *l, int64_t spin_ns);
/* Not now: so much is under way that the price of a wake-up is shared. Cheap to call often. */
void loop_hold_spin(struct loop *l, bool hold);

struct loop_io {
	int fd;
	uint32_t events; /* EPOLLIN | EPOLLOUT | EPOLLRDHUP..., level triggered */
	bool added;      /* the loop's; false at first */
	void (*on_ready)(struct loop_io *io, uint32_t events);
};

/* Watch io->fd for io->events. The descriptor stays the caller's; remove before closing it. */
int loop_io_add(struct loop *l, struct loop_io *io);
int loop_io_change(struct loop *l, struct loop_io *io, uint32_t events);
void loop_io_remove(struct loop *l, struct loop_io *io); /* harmless when not added */

struct loop_timer {
	int64_t due_ns;
	size_t slot; /* 0: not set */
	void (*on_due)(struct loop_timer *t);
};

/* (Re)arm: on_due once, delay_ns from now. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ns);
void loop_timer_stop(struct loop *l, struct loop_timer *t); /* harmless when not set */

struct loop_task {
	struct list node; /* zeroed or list_init()ed when idle */
	void (*run)(struct loop_task *t);
};

/* Run once at the end of this turn (a task deferred by a task: of the next one); deferring a task
 * that waits already does nothing. */
void loop_defer(struct loop *l, struct loop_task *t);
/* Harmless when idle. Not for a task given to loop_post(). */
void loop_task_cancel(struct loop_task *t);

struct loop_work {
	struct list node;
	void (*run)(
	    struct loop_work *w); /* on a worker thread: may block, touches only *w's data */
	void (*done)(struct loop_work *w); /* on the loop's thread, afterwards */
};

/* Hand w to a worker. It stays alive until done(); it cannot be cancelled. Workers take work in
 * the order it was started; with more than one, it may finish in another. */
void loop_work_start(struct loop *l, struct loop_work *w);

/* From any thread: run t on the loop's thread soon. t->node must be idle. */
void loop_post(struct loop *l, struct loop_task *t);

/* Debug: the longest a single callback ran, ns, since the last call. Measuring begins with the
 * first call, which returns 0; without one it costs nothing. */
int64_t loop_slowest_ns(struct loop *l);

/* Debug: how many callbacks, since measuring began, took more than 10 ms of CPU time. Each that
 * is slower than all before is also a warning in the log with its address. Wall time would accuse
 * the innocent: on a busy machine any callback waits for its turn. */
unsigned loop_slow_callbacks(const struct loop *l);
