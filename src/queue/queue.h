/*
 * Queues of messages: what SQS is made of, without its API. Standard and FIFO, visibility, delays,
 * waiting receivers, dead letters, move tasks. The sqs service, event source mappings and targets
 * meet here. Loop thread.
 *
 * A message is on disk before its sender hears of it, and gone from disk before its deletion is
 * answered. What is received, extended or counted is written along with the next group and may be
 * lost by a crash, which at-least-once allows. The messages that may be received next are in
 * memory, the rest of a long backlog only on disk. An empty queue and a waiting receiver cost no
 * CPU.
 */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "loop/loop.h"
#include "store/store.h"

struct queues;
struct queue;

#define QUEUE_NAME_MAX 80
#define QUEUE_MESSAGE_MAX (1024 * 1024) /* body and attributes together, bytes */
#define QUEUE_ATTRIBUTES_MAX 10
#define QUEUE_BATCH_MAX 10
#define QUEUE_INFLIGHT_MAX 120000 /* standard; FIFO has the same limit since 2025 */
#define QUEUE_WAIT_MAX_MS 20000

struct queues *queues_open(struct loop *l, struct store *s, struct err *e);
void queues_close(struct queues *q); /* NULL is fine; waiting receivers are told: nothing came */

struct queue_settings {
	int64_t delay_ms, visibility_ms, retention_ms, wait_ms;
	int64_t message_max; /* bytes */
	bool fifo, content_dedup, dedup_per_group, throughput_per_group;
	char dead_letter_arn[256]; /* "" none */
	unsigned receives_max;     /* before a message goes there */
};

struct queue *queue_find(struct queues *q, struct str account, struct str region, struct str name);
struct queue *queue_find_arn(struct queues *q, const char *arn);
const char *queue_arn(const struct queue *q);
const struct queue_settings *queue_settings(const struct queue *q);

/* ---- sending ---- */

struct queue_attribute {
	struct str name, type, value; /* value: text or raw bytes, as type says */
};

struct queue_message {
	struct str body;
	const struct queue_attribute *attributes;
	size_t attribute_count;
	struct str trace;    /* AWSTraceHeader; empty: none */
	struct str group_id; /* FIFO, and fair queues; empty: none */
	struct str dedup_id;
	int64_t delay_ms;  /* -1: the queue's */
	const char *sender; /* SenderId */
};

struct queue_sent {
	char id[37];
	char md5[33], attributes_md5[33], trace_md5[33]; /* "" when there is nothing to hash */
	char sequence[21]; /* FIFO */
};

struct queue_staged;
/* Add the message to the caller's write; all is copied. NULL and e (text for the client) when it is
 * refused. *ret may be NULL. Then queue_sent() with the write's result, which frees the handle. A
 * FIFO duplicate succeeds with the ids of the first and adds nothing. */
struct queue_staged *queue_stage(struct queue *q, const struct queue_message *m,
    struct store_write *w, struct queue_sent *ret, struct err *e);
void queue_sent(struct queue_staged *s, int result);

/* ---- receiving ---- */

struct queue_received {
	const char *id;      /* message id */
	const char *receipt; /* handle, unique for this receive */
	struct str body, trace, group_id, dedup_id, sequence, sender;
	const struct queue_attribute *attributes;
	size_t attribute_count;
	const char *md5, *attributes_md5;
	int64_t sent_ms, first_received_ms;
	unsigned receives; /* this one included */
};

/* A receiver that may wait, in the caller's storage. done runs once, perhaps before
 * queue_receive() returns, with 0..max messages that are valid during the call. */
struct queue_receiver {
	unsigned max; /* messages; 1..10 for the API, more for a mapping */
	size_t max_bytes;      /* stop before the batch grows beyond; 0: no bound */
	int64_t visibility_ms; /* -1: the queue's */
	int64_t wait_ms;       /* 0: answer at once */
	struct str attempt_id; /* FIFO ReceiveRequestAttemptId; empty: none */
	void (*done)(struct queue_receiver *r, const struct queue_received *m, size_t count);
	/* private */
	struct list node;
	struct loop_timer timer;
	struct queue *queue;
};
void queue_receive(struct queue *q, struct queue_receiver *r);
void queue_receive_cancel(struct queue_receiver *r); /* harmless when not waiting */

/* ---- afterwards; results: 0, -EINVAL (not a handle of this queue), -ENOENT (gone, or received
 * again since, where that matters), -errno ---- */

/* Add the deletion to w; a message that is gone already counts as deleted. */
struct queue_staged *queue_delete(
    struct queue *q, struct str receipt, struct store_write *w, int *ret_result);
void queue_deleted(struct queue_staged *s, int result);
/* Make it visible so long from now (0: at once), at most 12 h after its receive. */
int queue_visibility(struct queue *q, struct str receipt, int64_t visibility_ms);
/* Where the message would be sent to once it was received too often, or NULL. */
const char *queue_dead_letter_arn(const struct queue *q);

/* Called on the loop when messages become visible in an empty queue or the queue goes away, for
 * who wants to know without a waiting receiver. */
struct queue_watch {
	struct list node;
	void (*changed)(struct queue_watch *w, struct queue *q); /* q NULL: it has been deleted */
};
void queue_watch(struct queue *q, struct queue_watch *w);
void queue_unwatch(struct queue_watch *w);
