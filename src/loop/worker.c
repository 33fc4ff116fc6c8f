/*
 * Worker threads for what must block, and the hand-over from other threads to the loop.
 *
 * Threads start one by one while work waits and none is idle. One eventfd wakes the loop; it is
 * watched edge-triggered and therefore never read, and written only once until the loop has
 * collected.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/loop_int.h"

int pool_init(struct loop_pool *p, unsigned limit, struct err *e)
{
	*p = (struct loop_pool){.limit = limit};
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0)
		return err_sys(e, errno, "making the event loop's wake-up descriptor");
	p->threads = xcalloc(max_size(limit, 1), sizeof(*p->threads));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wanted, NULL);
	list_init(&p->queued);
	list_init(&p->finished);
	list_init(&p->posted);
	return 0;
}

/* Under the lock. */
static void wake(struct loop_pool *p)
{
	uint64_t one = 1;

	if (p->woken)
		return;
	p->woken = true;
	/* Cannot fail: the counter would have to reach 2^64. */
	check(write(p->wake_fd, &one, sizeof(one)) == sizeof(one));
}

static void *work(void *arg)
{
	struct loop_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct loop_work *w = list_first(&p->queued, struct loop_work, node);

		if (w) {
			list_remove(&w->node);
			pthread_mutex_unlock(&p->lock);
			w->run(w);
			pthread_mutex_lock(&p->lock);
			list_push_back(&p->finished, &w->node);
			wake(p);
			continue;
		}
		if (p->stopping)
			break;
		p->idle++;
		pthread_cond_wait(&p->wanted, &p->lock);
		p->idle--;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals belong to the loop's thread. */
static void add_thread(struct loop_pool *p)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->threads[p->count], NULL, work, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		p->count++;
	else
		log_warn("cannot start worker thread %u: %s; raise the limit of processes",
		    p->count + 1, strerror(r));
}

void pool_start(struct loop_pool *p, struct loop_work *w)
{
	bool more;

	check(p->limit);
	pthread_mutex_lock(&p->lock);
	list_push_back(&p->queued, &w->node);
	more = !p->idle && p->count < p->limit;
	pthread_cond_signal(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	if (more)
		add_thread(p);
	if (p->count)
		return;
	/* Not one thread to be had: slow is better than never. */
	list_remove(&w->node);
	w->run(w);
	pthread_mutex_lock(&p->lock);
	list_push_back(&p->finished, &w->node);
	wake(p);
	pthread_mutex_unlock(&p->lock);
}

void pool_post(struct loop_pool *p, struct loop_task *t)
{
	pthread_mutex_lock(&p->lock);
	list_push_back(&p->posted, &t->node);
	wake(p);
	pthread_mutex_unlock(&p->lock);
}

static void move_all(struct list *from, struct list *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

void pool_collect(struct loop_pool *p, struct list *finished, struct list *posted)
{
	pthread_mutex_lock(&p->lock);
	p->woken = false;
	move_all(&p->finished, finished);
	move_all(&p->posted, posted);
	pthread_mutex_unlock(&p->lock);
}

void pool_stop(struct loop_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	while (p->count)
		pthread_join(p->threads[--p->count], NULL);
}

void pool_done(struct loop_pool *p)
{
	pthread_cond_destroy(&p->wanted);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	base_closep(&p->wake_fd);
}
