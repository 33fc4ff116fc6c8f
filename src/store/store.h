/*
 * Everything durable, behind three small interfaces: keys, queues, blobs. Nothing above knows
 * which database is below. Loop thread only; the disk is touched by one writer thread that
 * commits in groups (collect while the last sync runs).
 *
 * A write is visible to nobody until its callback says it is on disk: callers keep the hot
 * objects in memory and swap in the new version in the callback. Failure (disk full, version
 * conflict) leaves everything as it was.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"

struct store;

/* Open or create the databases below `dir` (a directory path, made if missing).
 * Blocking, for start-up. */
struct store *store_open(struct loop *l, const char *dir, struct err *e);
/* Waits for what is queued to reach the disk; callbacks not yet run run inside. NULL is fine. */
void store_close(struct store *s);

/* ---- keys: (space, key) -> value with a version that counts up from 1 ---- */

/* All entries of a space whose key starts with prefix, in key order. Blocking: start-up only.
 * fn returns 0 to go on; anything else stops and is returned. */
int store_scan(struct store *s, const char *space, struct str prefix,
    int (*fn)(void *ctx, struct str key, struct str value, int64_t version), void *ctx,
    struct err *e);

/* The value of one key, read on a worker: done runs on the loop with 0, -ENOENT or -errno; value is
 * valid during the call. */
void store_get(struct store *s, const char *space, struct str key,
    void (*done)(void *ctx, int result, struct str value, int64_t version), void *ctx);

enum store_step { STORE_GO_ON, STORE_STOP, STORE_SEEK };

/* Walk a space in the order of keys, from the first that is not below `from`, on a worker with a
 * connection of its own that sees one state of the data. visit runs ON THE WORKER: it touches only
 * what ctx holds; STORE_SEEK goes on at the key it put into `seek` (which lies above this one).
 * done runs on the loop with 0 or -errno. */
void store_walk(struct store *s, const char *space, struct str from,
    enum store_step (*visit)(
	void *ctx, struct str key, struct str value, int64_t version, struct buf *seek),
    void (*done)(void *ctx, int result), void *ctx);

struct store_write {
	struct list node;
	/* 0, -EAGAIN (version conflict; nothing of this write happened) or -errno (ENOSPC…). The
	 * write itself may be freed inside. */
	void (*done)(struct store_write *w, int result);
	/* private from here */
	struct store_op *ops;
	int result;
};

#define STORE_ANY (-1)   /* expected version: whatever is there */
#define STORE_ABSENT (0) /* expected version: nothing is there */

/* Begin a write in the caller's storage, add operations (values and keys are copied), commit.
 * Its operations happen together or not at all, durably before done(result 0). Writes are
 * applied in the order of commits. */
void store_write_init(struct store_write *w, void (*done)(struct store_write *w, int result));
void store_put(struct store_write *w, const char *space, struct str key, struct str value,
    int64_t expect_version);
void store_delete(struct store_write *w, const char *space, struct str key, int64_t expect_version);
/* A queue message; `id` (unique in its queue, chosen by the caller) identifies it later. One that
 * is there already fails the write with -EEXIST. Ids that begin with the time (fixed width) are
 * indexed at half the cost of random ones. Requeue and remove of a message that is gone do
 * nothing. */
void store_send(
    struct store_write *w, const char *queue, struct str id, struct str body, int64_t due_ms);
/* The same for queues that are read by id: store_receive() does not find it, which saves an index.
 * Its sent_ms is 0. */
void store_send_untimed(
    struct store_write *w, const char *queue, struct str id, struct str body, int64_t due_ms);
void store_requeue(
    struct store_write *w, const char *queue, struct str id, int64_t due_ms, int attempts);
void store_remove(struct store_write *w, const char *queue, struct str id);
/* The write fails with -EAGAIN when this message is not in the queue. */
void store_require(struct store_write *w, const char *queue, struct str id);
/* Remove up to max messages whose id is not above `last`. */
void store_clear(struct store_write *w, const char *queue, struct str last, unsigned max);
void store_commit(struct store *s, struct store_write *w);

/* ---- queues ---- */

struct store_message {
	struct str id, body;
	int64_t due_ms, sent_ms;
	int attempts;
};

/* Up to max messages of the queue due at or before due_ms, oldest due first, read on a worker;
 * fn runs once on the loop thread with all of them (memory valid only during the call). Messages
 * stay in the queue until store_remove(); keeping track of what is in flight is the caller's. */
void store_receive(struct store *s, const char *queue, int64_t due_ms, unsigned max,
    void (*fn)(void *ctx, int result, const struct store_message *m, size_t count), void *ctx);
/* The same by id instead of by time: those whose id is above `after` (empty: all), until there are
 * max or their bodies exceed max_bytes; at least one if there is any. */
void store_receive_after(struct store *s, const char *queue, struct str after, unsigned max,
    size_t max_bytes,
    void (*fn)(void *ctx, int result, const struct store_message *m, size_t count), void *ctx);
/* The same for those of `count` ids that are there, in that order. ids is copied; each is id_len
 * bytes. */
void store_receive_ids(struct store *s, const char *queue, const void *ids, size_t id_len,
    size_t count, void (*fn)(void *ctx, int result, const struct store_message *m, size_t count),
    void *ctx);
/* All messages of a queue in the order of ids. Blocking: start-up. fn returns 0 to go on; anything
 * else stops and is returned. */
int store_queue_each(struct store *s, const char *queue,
    int (*fn)(void *ctx, struct str id, struct str body), void *ctx, struct err *e);
/* The highest id of those in a queue that store_requeue() gave attempts and a time above due_ms, at
 * most size bytes; returns its length, 0 when there is none, or -errno. Blocking: start-up. */
ssize_t store_queue_last_tried(
    struct store *s, const char *queue, int64_t due_ms, void *id, size_t size);
/* Number of messages in a queue. Blocking: start-up and tests. */
int64_t store_queue_length(struct store *s, const char *queue);

/* ---- blobs: files named by their SHA-256, lower-case hex ---- */

/* Write the bytes durably (temporary file, fsync, rename) on a worker; done on the loop thread.
 * data must stay valid until then. A blob that exists already is not written again. */
void store_blob_put(struct store *s, const char sha256_hex[65], struct str data,
    void (*done)(void *ctx, int result), void *ctx);
/* Open for reading; returns a descriptor of the caller's or -errno. */
int store_blob_open(struct store *s, const char sha256_hex[65]);
int store_blob_delete(struct store *s, const char sha256_hex[65]);
/* Every blob that is there; blocking, start-up only (to find those nobody refers to). */
int store_blob_each(struct store *s, void (*fn)(void *ctx, const char *sha256_hex), void *ctx);
