/* What the files of the loop share: the loop itself, its timer heap and its workers. */
#pragma once

#include <pthread.h>
#include <sys/epoll.h>

#include "loop/loop.h"

#define LOOP_BATCH 128

/* The due time sits beside the pointer, so that sifting does not chase pointers. */
struct loop_slot {
	int64_t due_ns;
	struct loop_timer *timer;
};

/* 1-based binary heap, earliest first. */
struct loop_heap {
	struct loop_slot *slots;
	size_t count, capacity;
};

void heap_add(struct loop_heap *h, struct loop_timer *t);
void heap_remove(struct loop_heap *h, struct loop_timer *t);
/* The earliest timer, or NULL. */
struct loop_timer *heap_first(const struct loop_heap *h);

/* Everything below `lock` is shared with other threads. */
struct loop_pool {
	pthread_t *threads;
	unsigned limit, count;
	int wake_fd;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct list queued, finished, posted;
	unsigned idle;
	bool woken, stopping;
};

int pool_init(struct loop_pool *p, unsigned limit, struct err *e);
/* Finish what is queued, join the threads. Work may be left in `finished`. */
void pool_stop(struct loop_pool *p);
void pool_done(struct loop_pool *p);
void pool_start(struct loop_pool *p, struct loop_work *w);
void pool_post(struct loop_pool *p, struct loop_task *t);
/* Move what other threads have handed over to the ends of two lists of the loop's own. */
void pool_collect(struct loop_pool *p, struct list *finished, struct list *posted);

struct loop {
	int epoll_fd;
	bool stop, turning, measuring;
	int64_t now_ns;
	int64_t slowest_ns;
	/* CPU time of this thread, read now and then: no callback that is short needs it. */
	int64_t cpu_ns, cpu_read_ns, slowest_cpu_ns;
	unsigned slow;
	int64_t spin_ns;
	unsigned quick_waits; /* how often lately something came within spin_ns */
	bool spin_held;
	struct loop_heap timers;
	struct list tasks, running;
	struct loop_pool pool;
	/* The batch being dispatched: loop_io_remove() blanks what is still to come in it. */
	int batch_at, batch_count;
	struct epoll_event events[LOOP_BATCH];
};
