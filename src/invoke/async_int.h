/* What async.c and ending.c share: events, from their acceptance to their end. */
#pragma once

#include "base/map.h"
#include "invoke/invoke_int.h"

#define EVENTS_QUEUE "events"
/* In the queue an event is known by its time in hex and its request id: ids that rise are written
 * to one end of the database's index, which is what keeps accepting fast. */
#define EVENT_ID_SIZE (12 + 1 + 36 + 1)

struct async {
	struct invoke *iv;
	struct map active; /* id -> struct event, running or being written */
	/* Over with, but perhaps still seen by the fetch under way, which must not take them again.
	 */
	struct list over;
	bool backlog; /* there may be due events on disk that are not in memory */
	bool fetching;
	bool missed; /* one was left on disk while a fetch was under way */
	bool stopping;
	uint64_t delayed; /* events waiting for a later time */
	int64_t began_ms; /* wall time of our start */
	struct loop_timer timer;
	unsigned limit;     /* events that run at most */
	unsigned accepting; /* events on their way to the disk */
	unsigned running;   /* events that run */
	unsigned asked;     /* of the store, by the fetch under way */
	unsigned finished;  /* since the last tick of pace */
	struct loop_timer pace;
	struct list unwritten; /* events whose end could not be written: it is tried again */
	struct loop_timer rewrite;
};

struct event {
	struct store_write write;
	struct list node; /* in async->over or ->unwritten */
	struct async *async;
	char id[EVENT_ID_SIZE]; /* in the queue */
	struct buf body;        /* as stored */
	int attempts;
	int64_t sent_ms, expires_ms;
	struct ending *ending;               /* when it has ended */
	void (*done)(void *ctx, int result); /* only until it is accepted */
	void *ctx;
};

struct event_fields {
	struct str account, region, name, qualifier, arn, trace_id, id, payload;
};

/* async.c */
bool event_parse(const struct event *ev, struct event_fields *ret);
bool event_policy(const struct event *ev, const struct event_fields *f, struct invoke_policy *ret);
void event_over(struct event *ev); /* it is not in memory any more; may still be on disk */

/* ending.c */
/* It has ended with the result of its last attempt. r is NULL when that never began. What is to be
 * told to dead-letter queue and destinations is on disk in the write that removes the event. */
void ending_success(struct event *ev, struct invoke_result *r);
/* condition as in the record of a destination; why: for the dead letter, NULL: the function's. */
void ending_failure(
    struct event *ev, const char *condition, const char *why, struct invoke_result *r);
void ending_rewrite(struct async *a); /* try those again that could not be written */
void ending_free(struct ending *en);  /* NULL is fine */
