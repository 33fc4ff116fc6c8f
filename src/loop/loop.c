/*
 * The loop: one epoll_wait a turn, then io, timers, finished work and deferred tasks, in that
 * order. See loop.h for the contract. Everything here runs on the loop's thread, but
 * loop_post().
 */
#include "loop/loop.h"

#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "loop/loop_int.h"

#define QUICK_WAITS_MAX 8u
#define QUICK_WAITS_SPIN 2u /* from here on spinning is expected to pay */

#define SLOW_NS 10000000   /* of CPU time: more than a callback may take */
#define CPU_AGE_NS 1000000 /* how old the last look at the clock of CPU time may be */

extern const char __executable_start; /* of the linker: addresses in the log are relative to it */

struct loop *loop_new(unsigned workers, struct err *e)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	/* Edge-triggered, so that it need not be read; no io has the address of the loop. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = l};

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err_sys(e, errno, "making an event loop");
		free(l);
		return NULL;
	}
	if (pool_init(&l->pool, workers, e) < 0) {
		close(l->epoll_fd);
		free(l);
		return NULL;
	}
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->pool.wake_fd, &ev) < 0) {
		err_sys(e, errno, "watching the event loop's wake-up descriptor");
		pool_done(&l->pool);
		close(l->epoll_fd);
		free(l);
		return NULL;
	}
	list_init(&l->tasks);
	list_init(&l->running);
	l->now_ns = time_mono_ns();
	return l;
}

static int64_t thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Between these two a callback runs; clocks are read only once somebody has asked. The clock of CPU
 * time is a system call, so it is read once in a while: what is charged to a callback may be too
 * much by CPU_AGE_NS. */
static int64_t begin(struct loop *l)
{
	int64_t now_ns;

	if (likely(!l->measuring))
		return 0;
	now_ns = time_mono_ns();
	if (now_ns - l->cpu_read_ns > CPU_AGE_NS) {
		l->cpu_ns = thread_cpu_ns();
		l->cpu_read_ns = now_ns;
	}
	return now_ns;
}

static void judge_slow(struct loop *l, int64_t took_ns, uintptr_t callback)
{
	int64_t cpu_ns = thread_cpu_ns() - l->cpu_ns;

	l->cpu_read_ns = 0;
	if (cpu_ns <= SLOW_NS + CPU_AGE_NS)
		return;
	l->slow++;
	if (cpu_ns <= l->slowest_cpu_ns)
		return;
	l->slowest_cpu_ns = cpu_ns;
	log_warn("slow callback: %" PRId64 " us of CPU time in %" PRId64 " us, at +0x%" PRIxPTR,
	    cpu_ns / 1000, took_ns / 1000, callback - (uintptr_t)&__executable_start);
}

static void end(struct loop *l, int64_t since_ns, uintptr_t callback)
{
	int64_t took_ns;

	if (likely(!since_ns))
		return;
	took_ns = time_mono_ns() - since_ns;
	if (took_ns > l->slowest_ns)
		l->slowest_ns = took_ns;
	if (took_ns > SLOW_NS)
		judge_slow(l, took_ns, callback);
}

unsigned loop_slow_callbacks(const struct loop *l)
{
	return l->slow;
}

int64_t loop_slowest_ns(struct loop *l)
{
	int64_t slowest_ns = l->slowest_ns;

	l->measuring = true;
	l->slowest_ns = 0;
	return slowest_ns;
}

static void finish_work(struct loop *l)
{
	struct list finished;

	list_init(&finished);
	pool_collect(&l->pool, &finished, &l->tasks);
	while (!list_empty(&finished)) {
		struct loop_work *w = list_first(&finished, struct loop_work, node);
		uintptr_t callback = (uintptr_t)w->done; /* w may be gone afterwards */
		int64_t since_ns = begin(l);

		list_remove(&w->node);
		w->done(w);
		end(l, since_ns, callback);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	check(!l->turning);
	pool_stop(&l->pool);
	finish_work(l);
	pool_done(&l->pool);
	free(l->timers.slots);
	close(l->epoll_fd);
	free(l);
}

int64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

void loop_set_spin(struct loop *l, int64_t spin_ns)
{
	l->spin_ns = spin_ns;
	l->quick_waits = 0;
}

void loop_hold_spin(struct loop *l, bool hold)
{
	l->spin_held = hold;
}

int loop_io_add(struct loop *l, struct loop_io *io)
{
	struct epoll_event ev = {.events = io->events, .data.ptr = io};

	check(!io->added);
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev) < 0)
		return -errno;
	io->added = true;
	return 0;
}

int loop_io_change(struct loop *l, struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = io};

	check(io->added);
	if (io->events == events)
		return 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_io_remove(struct loop *l, struct loop_io *io)
{
	if (!io->added)
		return;
	io->added = false;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	/* Its memory may be gone before the rest of this batch is dispatched. */
	for (int i = l->batch_at + 1; i < l->batch_count; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ns)
{
	if (t->slot)
		heap_remove(&l->timers, t);
	t->due_ns = time_mono_ns() + (delay_ns > 0 ? delay_ns : 0);
	heap_add(&l->timers, t);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	if (t->slot)
		heap_remove(&l->timers, t);
}

static bool waits(const struct list *node)
{
	return node->next && node->next != node;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (!waits(&t->node))
		list_push_back(&l->tasks, &t->node);
}

void loop_task_cancel(struct loop_task *t)
{
	if (waits(&t->node))
		list_remove(&t->node);
}

void loop_work_start(struct loop *l, struct loop_work *w)
{
	pool_start(&l->pool, w);
}

void loop_post(struct loop *l, struct loop_task *t)
{
	pool_post(&l->pool, t);
}

/* How long a wait may last: milliseconds, rounded up so that no turn comes too early. */
static int wait_ms(const struct loop *l, int timeout_ms)
{
	struct loop_timer *first = heap_first(&l->timers);
	int64_t ms;

	if (!list_empty(&l->tasks) || l->stop)
		return 0;
	if (!first)
		return timeout_ms;
	ms = (first->due_ns - time_mono_ns() + 999999) / 1000000;
	if (ms <= 0)
		return 0;
	if (timeout_ms >= 0 && ms > timeout_ms)
		return timeout_ms;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int wait_once(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->epoll_fd, l->events, LOOP_BATCH, timeout_ms);

	return n >= 0 ? n : errno == EINTR ? 0 : -errno;
}

/*
 * Look without sleeping for up to spin_ns, if that has paid lately. Whatever way we waited, an
 * event within spin_ns counts for spinning and a longer wait against it, so that an idle or
 * slow-ticking loop sleeps.
 */
static int wait_spinning(struct loop *l, int timeout_ms)
{
	int64_t from_ns = time_mono_ns(), until_ns = from_ns + l->spin_ns;
	struct loop_timer *first = heap_first(&l->timers);
	int n = 0;

	if (l->quick_waits >= QUICK_WAITS_SPIN) {
		if (first && first->due_ns < until_ns)
			until_ns = first->due_ns;
		do
			n = wait_once(l, 0);
		while (n == 0 && time_mono_ns() < until_ns);
	}
	if (n == 0)
		n = wait_once(l, wait_ms(l, timeout_ms));
	if (n > 0 && time_mono_ns() - from_ns <= l->spin_ns)
		l->quick_waits += l->quick_waits < QUICK_WAITS_MAX;
	else
		l->quick_waits /= 2;
	return n;
}

/* True if other threads have handed something over. */
static bool dispatch(struct loop *l, int count)
{
	bool woken = false;

	l->batch_count = count;
	for (l->batch_at = 0; l->batch_at < l->batch_count; l->batch_at++) {
		struct loop_io *io = l->events[l->batch_at].data.ptr;
		uint32_t events = l->events[l->batch_at].events;
		uintptr_t callback;
		int64_t since_ns;

		if ((void *)io == (void *)l) {
			woken = true;
			continue;
		}
		/* Removed, or no longer interested, since the batch was fetched. */
		if (!io || !(events &= io->events | EPOLLERR | EPOLLHUP))
			continue;
		since_ns = begin(l);
		callback = (uintptr_t)io->on_ready;
		io->on_ready(io, events);
		end(l, since_ns, callback);
	}
	l->batch_at = l->batch_count = 0;
	return woken;
}

static void fire_timers(struct loop *l)
{
	struct loop_timer *t;

	while ((t = heap_first(&l->timers)) && t->due_ns <= l->now_ns) {
		uintptr_t callback = (uintptr_t)t->on_due;
		int64_t since_ns = begin(l);

		heap_remove(&l->timers, t);
		t->on_due(t);
		end(l, since_ns, callback);
	}
}

/* A task deferred by a task waits for the next turn, so that none can starve the sockets. */
static void run_tasks(struct loop *l)
{
	struct loop_task *t;

	if (list_empty(&l->tasks))
		return;
	list_insert_between(&l->running, l->tasks.prev, &l->tasks);
	list_remove(&l->tasks);
	while ((t = list_first(&l->running, struct loop_task, node))) {
		uintptr_t callback = (uintptr_t)t->run;
		int64_t since_ns = begin(l);

		list_remove(&t->node);
		t->run(t);
		end(l, since_ns, callback);
	}
}

int loop_turn(struct loop *l, int timeout_ms)
{
	int ms = wait_ms(l, timeout_ms);
	int n;

	check(!l->turning);
	n = l->spin_ns && !l->spin_held && ms ? wait_spinning(l, timeout_ms) : wait_once(l, ms);
	if (n < 0)
		return n;
	l->turning = true;
	l->now_ns = time_mono_ns();
	n = dispatch(l, n);
	fire_timers(l);
	if (n)
		finish_work(l);
	run_tasks(l);
	l->turning = false;
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!l->stop && r == 0)
		r = loop_turn(l, -1);
	l->stop = false;
	return r;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
