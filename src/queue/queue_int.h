/*
 * Inside of the queues. queues.c: the registry and the settings on disk; content.c: what a message
 * is as bytes; message.c: the states of a message; send.c: staging and duplicates; receive.c:
 * receivers and what they may do afterwards; backlog.c: what is on disk and not in memory; save.c:
 * lazy writes and expiry; dead.c: dead letters and move tasks.
 *
 * A message's id in the store is {order, seq}, big-endian. order is the time it is due (FIFO: 0),
 * seq rises over all queues and restarts. So ids sort as messages become receivable, and the rest
 * of a long backlog is what lies above a cursor and not in memory.
 */
#pragma once

#include "base/map.h"
#include "queue/queue.h"

#define ID_LEN 16
#define HANDLE_SIZE 48
#define SEQUENCE_SIZE 21
#define LOAD_MAX 64

enum message_state {
	M_STAGED,   /* its write is under way */
	M_DELAYED,  /* not due yet */
	M_READY,    /* may be received */
	M_INFLIGHT, /* received, not deleted */
	M_LEAVING,  /* its removal is being written */
	M_DEAD,     /* gone; kept while a read that may have seen it is under way */
	M_STATES,
};

struct content {
	uint32_t len;
	char data[]; /* as stored */
};

/* Messages of one MessageGroupId. FIFO: received only while none is in flight. */
struct group {
	struct list node;    /* in queue.ready_groups while something may be received */
	struct list waiting; /* messages; FIFO: in order, delayed ones too */
	size_t ready;        /* of them, those that are ready */
	size_t counted;      /* of them, those in queue.available */
	size_t held;         /* in flight or leaving */
	size_t refs;         /* messages of it in memory */
	char id[QUEUE_ID_MAX + 1];
};

struct message {
	struct message *next; /* in the table of its queue */
	struct list node;     /* group.waiting, queue.delayed or queue.dead */
	struct list dirty;    /* queues.dirty: not on disk as it is here */
	struct loop_timer timer;
	struct queue *queue;
	struct group *group;
	struct content *content; /* NULL: only on disk */
	uint64_t order, seq;
	int64_t sent_ms, first_ms, received_ms, visible_ms;
	uint32_t bytes; /* of body and attributes */
	unsigned epoch; /* of the queue, which counts its purges */
	unsigned receives;
	bool lost; /* its body cannot be read any more */
	uint8_t state;
};

struct dedup {
	struct list node; /* queue.dedup_order */
	int64_t expires_ms;
	uint64_t seq;
	bool pending; /* its message is not on disk yet */
	char id[37];  /* of that message */
	char key[];   /* also the key in queue.dedups */
};

struct attempt {
	struct list node; /* queue.attempt_order */
	int64_t expires_ms;
	size_t count;
	struct {
		uint64_t seq;
		unsigned receives;
	} messages[QUEUE_BATCH_MAX];
	char id[QUEUE_ID_MAX + 1];
};

struct waiter { /* of a creation under way */
	struct waiter *next;
	void (*done)(void *ctx, int result);
	void *ctx;
};

struct queue {
	struct queues *all;
	unsigned refs; /* writes and reads under way */
	bool creating, deleting, gone;
	struct waiter *waiters;
	char *arn, *account, *region, *name;
	char id[13];
	unsigned epoch, draft_epoch;
	char store_name[32], dedup_name[16];
	struct queue_settings settings, draft;
	struct buf document, draft_document;
	int64_t created_ms, modified_ms, purged_ms;
	void *cached;
	void (*cached_free)(void *thing);

	struct message **slots; /* by seq */
	size_t slot_count, message_count;
	size_t n[M_STATES];
	struct map groups;
	struct group none; /* of messages without a group */
	struct list ready_groups;
	size_t available;    /* messages that may be received now */
	struct list delayed; /* standard queues */
	struct list dead;
	struct list late; /* written while the disk was read */
	struct loop_timer sweep;

	bool backlog; /* messages above the cursor are on disk, and only there */
	bool reading, loading;
	uint64_t loads[LOAD_MAX]; /* whose bodies are being read */
	size_t load_count;
	unsigned read_epoch;
	uint64_t cursor_order, cursor_seq;
	/* FIFO, after a restart: the last one in flight. Nothing is given out before the cursor has
	 * passed it, as its group is not known to be held. 0: none. */
	uint64_t resume_seq;
	uint64_t top_order, top_seq; /* highest id that has been ready */
	int64_t on_disk;             /* how many, roughly */

	struct list receivers; /* that wait for messages */
	struct list hasty;     /* that wait for the disk only */
	struct loop_task dispatch;

	struct map dedups;
	struct list dedup_order;
	struct loop_timer dedup_timer;
	struct map attempts;
	struct list attempt_order;
	struct move *move; /* away from here, running */
};

struct queues {
	struct loop *loop;
	struct store *store;
	struct map by_arn;
	uint64_t seq;       /* the last one given */
	uint64_t seq_limit; /* beyond this one none is given before that is on disk; 0: none was */
	size_t content_bytes, content_max;
	size_t window;    /* messages in memory before the rest stays on disk */
	int64_t dedup_ms; /* how long duplicates are recognised */
	struct list dirty;
	struct loop_timer save_timer;
	struct list moves; /* oldest first */
	struct list trash;
	struct trash *emptying;
	bool stopping;
};

/* ---- queues.c ---- */

void queue_ref(struct queue *q);
void queue_unref(struct queue *q);
uint64_t queues_next_seq(struct queues *all);

/* ---- content.c ---- */

struct content_view {
	char id[37], md5[33], attributes_md5[33];
	struct str body, trace, group_id, dedup_id, sender, source_arn;
	int64_t sent_ms;
	unsigned attribute_count;
	struct str attributes; /* encoded */
};

/* id: 36 characters. source_arn may be NULL. The MD5s are also written to *ret if not NULL. */
struct content *content_new(const struct queue_message *m, const char *id, int64_t sent_ms,
    const char *source_arn, struct queue_sent *ret);
struct content *content_copy(struct str raw);
/* The same message, now with this origin (NULL: none). */
struct content *content_moved(const struct content *c, const char *source_arn, int64_t sent_ms);
bool content_view(struct str raw, struct content_view *ret);
void content_attributes(
    const struct content_view *v, struct queue_attribute ret[QUEUE_ATTRIBUTES_MAX]);
uint32_t content_size(const struct content_view *v); /* as limits count it */

void id_encode(uint64_t order, uint64_t seq, char out[ID_LEN]);
bool id_decode(struct str id, uint64_t *ret_order, uint64_t *ret_seq);
void handle_encode(const struct message *m, char out[HANDLE_SIZE]);
void sequence_format(uint64_t seq, char out[SEQUENCE_SIZE]);
bool handle_decode(const struct queue *q, struct str handle, uint64_t *ret_order, uint64_t *ret_seq,
    unsigned *ret_receives);

/* ---- message.c ---- */

struct message *message_new(struct queue *q, uint64_t order, uint64_t seq);
struct message *message_find(const struct queue *q, uint64_t seq);
void message_free(struct message *m);
void message_set_content(struct message *m, struct content *c); /* NULL drops it */
struct group *group_find(struct queue *q, struct str id);       /* made if missing */
void message_set_group(struct message *m, struct str id);
/* Becomes delayed or ready, as its time says; or leaves, when it is too old or a dead letter. */
void message_settle(struct message *m);
void message_hold(struct message *m, enum message_state s); /* from ready: in flight or leaving */
void message_release(struct message *m);                    /* back to be received */
void message_wait(struct message *m, int64_t visible_ms);   /* in flight until then */
bool message_expired(const struct message *m, int64_t now_ms);
bool message_above(const struct message *m, uint64_t order, uint64_t seq);

/* ---- receive.c ---- */

void queue_dispatch(struct queue *q); /* soon */
/* The next message to be received, with its body; NULL when none is ready in memory. */
struct message *queue_pick(struct queue *q);
void receivers_end(struct queue *q, int result);
void attempts_drop(struct queue *q);

/* ---- backlog.c ---- */

bool backlog_resumes(const struct queue *q); /* nothing is to be given out yet */
void backlog_admit(struct message *m);       /* it is on disk now */
void backlog_more(struct queue *q);          /* read on if few messages are left */
void backlog_load(struct queue *q);          /* read the bodies of those that come next */
/* A message above the cursor, or not in memory, may be on disk again: look from there. */
void backlog_rewind(struct queue *q, uint64_t order, uint64_t seq);

/* ---- send.c ---- */

/* Add a copy of the message to w, for another queue. */
struct queue_staged *stage_copy(
    struct queue *to, const struct content *c, const char *source_arn, struct store_write *w);
int dedups_load(struct queue *q, struct err *e);
void dedups_drop(struct queue *q);

/* ---- save.c ---- */

void message_dirty(struct message *m);
/* Removes it from disk, then from memory. */
void message_expire(struct message *m);
void sweep_watch(struct queue *q);
void saving_stop(struct queues *all);

/* ---- dead.c ---- */

/* It has been received often enough and there is a place for it. */
bool dead_letter_due(const struct message *m);
void dead_letter_move(struct message *m);
int moves_load(struct queues *all, struct err *e);
void moves_resume(struct queues *all);
void moves_drop(struct queues *all);
void move_continue(struct queue *q);
void move_forget(struct queue *q); /* its source goes away */
