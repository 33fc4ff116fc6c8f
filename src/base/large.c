/* A thread that frees large memory. See large.h. */
#include "base/large.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>

/* Blocks of this size and above are mapped one by one. Left alone, glibc raises the bound to 32 MiB
 * once such a block is freed; blocks then come from the heap, where calloc(3) has to clear them and
 * realloc(3) to copy them, which the kernel does by moving pages. */
#define OWN_PAGES_MIN (4 << 20)
/* Kept by the heap for the next: as glibc's own rule, twice the bound above. */
#define HEAP_KEEPS (8 << 20)
#define BACKLOG_MAX ((size_t)512 << 20) /* bytes that may wait to be freed */

struct block {
	struct block *next;
	size_t size;
};

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct block *blocks;
	size_t backlog;
	bool running;
} freer = {.lock = PTHREAD_MUTEX_INITIALIZER, .wanted = PTHREAD_COND_INITIALIZER};

static void *run(void *arg)
{
	struct block *b, *next;
	size_t freed = 0;

	pthread_mutex_lock(&freer.lock);
	for (;;) {
		freer.backlog -= freed;
		freed = 0;
		b = freer.blocks;
		freer.blocks = NULL;
		if (!b && !freer.running)
			break;
		if (!b) {
			pthread_cond_wait(&freer.wanted, &freer.lock);
			continue;
		}
		pthread_mutex_unlock(&freer.lock);
		for (; b; b = next) {
			next = b->next;
			freed += b->size;
			free(b);
		}
		pthread_mutex_lock(&freer.lock);
	}
	pthread_mutex_unlock(&freer.lock);
	return arg;
}

int large_start(void)
{
	sigset_t all, old;
	int r;

	mallopt(M_MMAP_THRESHOLD, OWN_PAGES_MIN);
	mallopt(M_TRIM_THRESHOLD, HEAP_KEEPS);
	freer.running = true;
	sigfillset(&all); /* signals belong to the caller's thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&freer.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		freer.running = false;
	return -r;
}

void large_stop(void)
{
	bool was_running;

	pthread_mutex_lock(&freer.lock);
	was_running = freer.running;
	freer.running = false;
	pthread_cond_signal(&freer.wanted);
	pthread_mutex_unlock(&freer.lock);
	if (was_running)
		pthread_join(freer.thread, NULL);
}

void large_free(void *block, size_t size)
{
	struct block *b = block;
	bool taken = false;

	if (b && size >= LARGE_MIN) {
		pthread_mutex_lock(&freer.lock);
		taken = freer.running && freer.backlog + size <= BACKLOG_MAX;
		if (taken) {
			*b = (struct block){freer.blocks, size};
			freer.blocks = b;
			freer.backlog += size;
			pthread_cond_signal(&freer.wanted);
		}
		pthread_mutex_unlock(&freer.lock);
	}
	if (!taken)
		free(block);
}
