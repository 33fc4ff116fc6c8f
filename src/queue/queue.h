/*
 * Queues of messages: what SQS is made of, without its API. Standard and FIFO, visibility, delays,
 * waiting receivers, dead letters, move tasks. The sqs service, event source mappings and targets
 * meet here. Loop thread.
 *
 * A message is on disk before its sender hears of it, and gone from disk before its deletion is
 * answered. What is received, extended or counted is written a second later, with others, and may
 * be lost by a crash, which at-least-once allows. The messages that may be received next are in
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
#define QUEUE_ID_MAX 128 /* group, deduplication and attempt ids */
#define QUEUE_BATCH_MAX 10
#define QUEUE_INFLIGHT_MAX 120000 /* standard and FIFO */
#define QUEUE_WAIT_MAX_MS 20000
#define QUEUE_VISIBILITY_MAX_MS (12 * 3600 * 1000)

/* Blocking, for start-up. NULL and e on failure. */
struct queues *queues_open(struct loop *l, struct store *s, struct err *e);
/* Waiting receivers are told -ECANCELED; what is in flight is written. Nothing is given out from
 * now on. */
void queues_stop(struct queues *q);
/* After queues_stop() and store_close(), whose last callbacks still need it. NULL is fine. */
void queues_free(struct queues *q);

/* ---- queues ---- */

struct queue_settings {
	int64_t delay_ms, visibility_ms, retention_ms, wait_ms;
	int64_t message_max; /* bytes */
	bool fifo;           /* fixed at creation */
	bool content_dedup, dedup_per_group, throughput_per_group;
	char dead_letter_arn[256]; /* "" none */
	unsigned receives_max;     /* before a message goes there */
};

/* What a queue with these settings is unless somebody says otherwise. */
void queue_settings_init(struct queue_settings *s, bool fifo);

/* Each may be NULL when there is none. Pointers are good until the queue is deleted: look it up
 * again after waiting for anything. */
struct queue *queue_find(struct queues *q, struct str account, struct str region, struct str name);
struct queue *queue_find_arn(struct queues *q, const char *arn);
const char *queue_arn(const struct queue *q);
const char *queue_name(const struct queue *q);
const char *queue_account(const struct queue *q);
const char *queue_region(const struct queue *q);
const struct queue_settings *queue_settings(const struct queue *q);
int64_t queue_created_ms(const struct queue *q);
int64_t queue_modified_ms(const struct queue *q);
/* Where the message goes once it was received too often, or NULL. */
const char *queue_dead_letter_arn(const struct queue *q);
/* All queues of an account and region in the order of their names, from the first whose name is
 * greater than `after`. fn returns false to stop. */
void queues_each(struct queues *q, struct str account, struct str region, struct str after,
    bool (*fn)(void *ctx, struct queue *q), void *ctx);

/* What the service in front keeps with a queue (attributes, tags, policy): bytes for the engine. */
struct str queue_document(const struct queue *q);
/* The same and the settings with the changes that are being written: what the next change must
 * build upon. */
const struct queue_settings *queue_draft(const struct queue *q, struct str *ret_document);
/* A thing made of the document, dropped by free_fn when that changes. */
void *queue_cached(const struct queue *q);
void queue_cache(struct queue *q, void *thing, void (*free_fn)(void *thing));

/* Each answers in done, once it is on disk: 0, -EEXIST, -ENOENT (the queue has gone meanwhile) or
 * -errno. done may be NULL. */
void queue_create(struct queues *q, struct str account, struct str region, struct str name,
    const struct queue_settings *s, struct str document, void (*done)(void *ctx, int result),
    void *ctx);
void queue_update(struct queue *q, const struct queue_settings *s, struct str document,
    void (*done)(void *ctx, int result), void *ctx);
void queue_delete(struct queue *q, void (*done)(void *ctx, int result), void *ctx);
bool queue_may_purge(const struct queue *q);
/* Everything sent before is gone. -EBUSY at once when the last purge is younger than a minute. */
int queue_purge(struct queue *q, void (*done)(void *ctx, int result), void *ctx);

struct queue_counts {
	int64_t visible, delayed, in_flight;
};
void queue_counts(const struct queue *q, struct queue_counts *ret);

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
	int64_t delay_ms;   /* -1: the queue's */
	const char *sender; /* SenderId; NULL: none */
};

struct queue_sent {
	char id[37];
	char md5[33], attributes_md5[33], trace_md5[33]; /* "" when there is nothing to hash */
	char sequence[21];                               /* FIFO */
};

struct queue_staged;
/* Add the message to the caller's write; all is copied. NULL and e (text for the client) when it is
 * refused. *ret may be NULL. A FIFO duplicate succeeds with the ids of the first and adds no
 * message. queue_finish() is mandatory when the write has ended. */
struct queue_staged *queue_stage(struct queue *q, const struct queue_message *m,
    struct store_write *w, struct queue_sent *ret, struct err *e);
/* The write has ended: 0, the message is on disk and may be received (or is gone, for a deletion).
 * Negative: nothing happened. Frees s; NULL is fine. The queue may have been deleted meanwhile. */
void queue_finish(struct queue_staged *s, int result);

/* As clients compute it over some of a message's attributes; "" for none. */
void queue_attributes_md5(const struct queue_attribute *a, size_t count, char ret[33]);

/* ---- receiving ---- */

struct queue_received {
	const char *id;      /* message id */
	const char *receipt; /* handle, unique for this receive */
	struct str body, trace, group_id, dedup_id, sender;
	const char *sequence;  /* FIFO, or "" */
	struct str source_arn; /* of the queue whose dead letter it is; empty: none */
	const struct queue_attribute *attributes;
	size_t attribute_count;
	const char *md5, *attributes_md5; /* "" without attributes */
	int64_t sent_ms, first_received_ms;
	unsigned receives; /* this one included */
};

/* A receiver that may wait, in the caller's storage, zeroed but for the first fields. done runs
 * once, perhaps before queue_receive() returns: 0 with up to max messages, which are valid during
 * the call (none came: count 0), -EDQUOT (too many in flight), -ENOENT (the queue was deleted),
 * -ECANCELED (the engine stops) or -errno of the store. r may be used anew or freed inside. */
struct queue_receiver {
	unsigned max;          /* messages; 1..10 for the API, more for a mapping */
	size_t max_bytes;      /* stop before the batch grows beyond; 0: no bound */
	int64_t visibility_ms; /* -1: the queue's */
	int64_t wait_ms;       /* -1: the queue's; 0: answer at once */
	struct str attempt_id; /* FIFO ReceiveRequestAttemptId; empty: none. Must live until done */
	void (*done)(
	    struct queue_receiver *r, int result, const struct queue_received *m, size_t count);
	/* private */
	struct list node;
	struct loop_timer timer;
	struct queue *queue;
};
void queue_receive(struct queue *q, struct queue_receiver *r);
void queue_receive_cancel(struct queue_receiver *r); /* harmless when not waiting */

/* ---- afterwards ---- */

/* Add the deletion to w. 0 with *ret for queue_finish(), or with *ret NULL: it is gone already,
 * nothing was added. -EINVAL: not a handle of this queue; -ESTALE: FIFO, and the message has been
 * visible again since. */
int queue_stage_delete(
    struct queue *q, struct str receipt, struct store_write *w, struct queue_staged **ret);
/* Make it visible so long from now (0: at once). 0, -EINVAL as above, -ENOENT (gone, or not in
 * flight), -ERANGE (more than 12 h after its receive). */
int queue_visibility(struct queue *q, struct str receipt, int64_t visibility_ms);

/* ---- moving dead letters back ---- */

/* A queue's task moves what is visible when it starts. */
enum queue_move_status {
	QUEUE_MOVE_RUNNING,
	QUEUE_MOVE_COMPLETED,
	QUEUE_MOVE_CANCELLING,
	QUEUE_MOVE_CANCELLED,
	QUEUE_MOVE_FAILED,
};

struct queue_move {
	char handle[37];
	const char *source_arn;
	const char *target_arn; /* "": to the queue each message came from */
	const char *failure;    /* "": none */
	enum queue_move_status status;
	int rate; /* a second; 0: as fast as it goes */
	int64_t moved, to_move, started_ms;
};

/* -EBUSY: one is running already. target NULL: to where each came from. The task survives
 * restarts. */
int queue_move_start(
    struct queue *source, struct queue *target, int rate, const struct queue_move **ret);
/* -ENOENT: no such task, -EALREADY: it runs no more. */
int queue_move_cancel(struct queues *q, struct str handle, int64_t *ret_moved);
const struct queue_move *queue_move_find(struct queues *q, struct str handle);
/* Latest first; returns how many of at most max were filled in. */
size_t queue_moves(
    struct queues *q, const char *source_arn, const struct queue_move **ret, size_t max);
