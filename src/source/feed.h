/*
 * What goes between a broker's thread and the loop: messages one way, what became of them the other
 * way. Neither ever waits for the other: the loop is told by loop_post(), the thread by an eventfd
 * that it polls. Counted: a thread that is slow to end outlives the mapping it worked for.
 *
 * When the broker forgets what it gave us (a connection is lost, partitions are taken away) a new
 * epoch begins: what is of an older one is worth nothing any more, and comes again.
 */
#pragma once

#include <pthread.h>

#include "base/buf.h"
#include "base/list.h"
#include "loop/loop.h"

/* As much may wait at the loop or be under way; then the thread takes no more. */
#define FEED_BYTES_MAX (32 * (size_t)1024 * 1024)

struct feed_lane;

struct feed_message {
	struct list node;
	unsigned epoch;
	char *lane_name; /* "orders-0"; "orders::/" */
	int64_t number;  /* an offset, a delivery tag */
	int64_t time_ms; /* 0: not known */
	struct buf text; /* the record of the event; empty: it is passed over */
	size_t cost;
	struct feed_lane *lane; /* broker.c's */
};

enum feed_verb {
	FEED_DONE,  /* Kafka: all below number; RabbitMQ: this one */
	FEED_AGAIN, /* RabbitMQ: give it to somebody again */
};

struct feed_command {
	struct list node;
	unsigned epoch;
	enum feed_verb verb;
	char *lane_name;
	int64_t number;
};

struct feed {
	pthread_mutex_t lock; /* of all that follows, but for what is the loop's alone */
	unsigned refs;
	struct loop *loop; /* NULL: nobody listens any more */
	struct list messages, commands;
	struct loop_task task;
	bool posted, stopping, ended;
	size_t held;
	unsigned epoch;
	char problem[160]; /* "": none */
	int wake_fd;
	/* The loop's: something happened. */
	void (*on_news)(void *ctx);
	void *ctx;
	void (*main)(struct feed *f, void *config); /* the thread */
	void *config;
};

/* ---- the loop's side ---- */

struct feed *feed_new(struct loop *l, void (*on_news)(void *ctx), void *ctx);
/* main frees config. 0 or -errno: there is no thread then, and config is the caller's. */
int feed_start(struct feed *f, void (*main)(struct feed *f, void *config), void *config);
/* All that came, moved to the end of out; the epoch now. problem (160 bytes) is what is wrong. */
unsigned feed_collect(struct feed *f, struct list *out, char *problem);
void feed_send(
    struct feed *f, unsigned epoch, enum feed_verb verb, const char *lane_name, int64_t number);
void feed_flush(struct feed *f); /* after one or more feed_send() */
void feed_message_free(struct feed *f, struct feed_message *m);
void feed_stop(struct feed *f);
bool feed_has_ended(struct feed *f);
void feed_release(struct feed *f); /* NULL is fine; the thread ends by itself */

/* ---- the thread's side ---- */

bool feed_is_stopping(struct feed *f);
bool feed_is_full(struct feed *f);
void feed_put(struct feed *f, struct feed_message *m);     /* its epoch is set here */
void feed_take_commands(struct feed *f, struct list *out); /* of this epoch only */
void feed_command_free(struct feed_command *c);
void feed_reset(struct feed *f);                                        /* a new epoch */
void feed_problem(struct feed *f, const char *fmt, ...) _printf_(2, 3); /* "": none any more */
/* Wait for the loop, fd (-1: none) or the time; swallows the wake-up. */
void feed_wait(struct feed *f, int fd, int timeout_ms);
