/* See feed.h. Both sides; each function says in the header which. */
#include "source/feed.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MESSAGE_COST 256
#define STACK_BYTES (512 * 1024)

static void free_message(struct feed_message *m)
{
	buf_done(&m->text);
	free(m->lane_name);
	free(m);
}

void feed_command_free(struct feed_command *c)
{
	free(c->lane_name);
	free(c);
}

static void drop_messages(struct feed *f)
{
	list_for_each_safe (n, &f->messages) {
		struct feed_message *m = list_entry(n, struct feed_message, node);

		list_remove(n);
		f->held -= m->cost;
		free_message(m);
	}
}

static void drop_commands(struct feed *f)
{
	list_for_each_safe (n, &f->commands) {
		list_remove(n);
		feed_command_free(list_entry(n, struct feed_command, node));
	}
}

static void unref(struct feed *f)
{
	bool last;

	pthread_mutex_lock(&f->lock);
	last = --f->refs == 0;
	pthread_mutex_unlock(&f->lock);
	if (!last)
		return;
	drop_messages(f);
	drop_commands(f);
	close(f->wake_fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void wake(struct feed *f)
{
	const uint64_t one = 1;

	/* Only a counter at its end could fail, and then it is awake. */
	(void)!write(f->wake_fd, &one, sizeof(one));
}

/* ---- to the loop ---- */

static void on_posted(struct loop_task *t)
{
	struct feed *f = container_of(t, struct feed, task);
	bool listening;

	pthread_mutex_lock(&f->lock);
	f->posted = false;
	listening = f->loop != NULL;
	pthread_mutex_unlock(&f->lock);
	if (listening)
		f->on_news(f->ctx);
	unref(f);
}

/* With the lock held. */
static void post(struct feed *f)
{
	if (f->posted || !f->loop)
		return;
	f->posted = true;
	f->refs++;
	loop_post(f->loop, &f->task);
}

void feed_put(struct feed *f, struct feed_message *m)
{
	m->cost = m->text.capacity + MESSAGE_COST;
	pthread_mutex_lock(&f->lock);
	m->epoch = f->epoch;
	f->held += m->cost;
	list_push_back(&f->messages, &m->node);
	post(f);
	pthread_mutex_unlock(&f->lock);
}

void feed_reset(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	f->epoch++;
	drop_messages(f);
	drop_commands(f);
	post(f);
	pthread_mutex_unlock(&f->lock);
}

void feed_problem(struct feed *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&f->lock);
	vsnprintf(f->problem, sizeof(f->problem), fmt, ap);
	post(f);
	pthread_mutex_unlock(&f->lock);
	va_end(ap);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
	struct feed *f = arg;

	f->main(f, f->config);
	pthread_mutex_lock(&f->lock);
	f->ended = true;
	post(f);
	pthread_mutex_unlock(&f->lock);
	unref(f);
	return NULL;
}

bool feed_is_stopping(struct feed *f)
{
	bool stopping;

	pthread_mutex_lock(&f->lock);
	stopping = f->stopping;
	pthread_mutex_unlock(&f->lock);
	return stopping;
}

bool feed_is_full(struct feed *f)
{
	bool full;

	pthread_mutex_lock(&f->lock);
	full = f->held >= FEED_BYTES_MAX || f->stopping;
	pthread_mutex_unlock(&f->lock);
	return full;
}

void feed_take_commands(struct feed *f, struct list *out)
{
	pthread_mutex_lock(&f->lock);
	list_for_each_safe (n, &f->commands) {
		struct feed_command *c = list_entry(n, struct feed_command, node);

		list_remove(n);
		if (c->epoch == f->epoch)
			list_push_back(out, n);
		else
			feed_command_free(c);
	}
	pthread_mutex_unlock(&f->lock);
}

void feed_wait(struct feed *f, int fd, int timeout_ms)
{
	struct pollfd p[2] = {{.fd = f->wake_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	uint64_t count;

	if (poll(p, fd < 0 ? 1 : 2, timeout_ms) > 0 && (p[0].revents & POLLIN))
		(void)!read(f->wake_fd, &count, sizeof(count));
}

/* ---- the loop's side ---- */

struct feed *feed_new(struct loop *l, void (*on_news)(void *ctx), void *ctx)
{
	struct feed *f = xcalloc(1, sizeof(*f));

	pthread_mutex_init(&f->lock, NULL);
	f->refs = 1;
	f->loop = l;
	f->on_news = on_news;
	f->ctx = ctx;
	f->task.run = on_posted;
	list_init(&f->task.node);
	list_init(&f->messages);
	list_init(&f->commands);
	f->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	check(f->wake_fd >= 0);
	return f;
}

int feed_start(struct feed *f, void (*main)(struct feed *f, void *config), void *config)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	f->main = main;
	f->config = config;
	f->refs++; /* no thread is there yet */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, run, f);
	pthread_attr_destroy(&attr);
	if (r)
		f->refs--;
	return -r;
}

unsigned feed_collect(struct feed *f, struct list *out, char *problem)
{
	unsigned epoch;

	pthread_mutex_lock(&f->lock);
	list_for_each_safe (n, &f->messages) {
		list_remove(n);
		list_push_back(out, n);
	}
	memcpy(problem, f->problem, sizeof(f->problem));
	epoch = f->epoch;
	pthread_mutex_unlock(&f->lock);
	return epoch;
}

void feed_send(
    struct feed *f, unsigned epoch, enum feed_verb verb, const char *lane_name, int64_t number)
{
	struct feed_command *c = xcalloc(1, sizeof(*c));

	c->epoch = epoch;
	c->verb = verb;
	c->lane_name = xstrdup(lane_name);
	c->number = number;
	pthread_mutex_lock(&f->lock);
	list_push_back(&f->commands, &c->node);
	pthread_mutex_unlock(&f->lock);
}

void feed_flush(struct feed *f)
{
	wake(f);
}

void feed_message_free(struct feed *f, struct feed_message *m)
{
	bool was_full;

	pthread_mutex_lock(&f->lock);
	was_full = f->held >= FEED_BYTES_MAX;
	f->held -= m->cost;
	if (was_full && f->held < FEED_BYTES_MAX)
		wake(f);
	pthread_mutex_unlock(&f->lock);
	list_remove(&m->node);
	free_message(m);
}

void feed_stop(struct feed *f)
{
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_mutex_unlock(&f->lock);
	wake(f);
}

bool feed_has_ended(struct feed *f)
{
	bool ended;

	pthread_mutex_lock(&f->lock);
	ended = f->ended;
	pthread_mutex_unlock(&f->lock);
	return ended;
}

void feed_release(struct feed *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->loop = NULL;
	f->stopping = true;
	pthread_mutex_unlock(&f->lock);
	wake(f);
	unref(f);
}
