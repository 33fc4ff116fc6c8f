/*
 * Multipart uploads: multipart.c (rows, locks, one part's commit, the end of an upload without an
 * object), multipart_part.c, multipart_complete.c, multipart_list.c (API).
 *
 * An upload and its parts are records like objects. Whatever changes an upload holds its lock, so a
 * part is either seen by the completion or refused.
 */
#pragma once

#include "service/s3/request_int.h"

#define UPLOAD_ID_LEN 48
#define PART_ROW_SIZE (UPLOAD_ID_LEN + 8)

bool upload_id_valid(const char *id);
void upload_row(struct buf *b, const char *key, const char *id);
void part_row(char out[PART_ROW_SIZE], const char *id, unsigned number);
int upload_missing(struct call *c, const char *id, struct err *e); /* NoSuchUpload */

/* The record of an upload. done runs on the loop: 0 and o (valid during the call) or -ENOENT… */
void upload_find(struct bucket *b, const char *key, const char *id,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx);

/* ---- the lock of an upload ---- */

struct upload_lock {
	struct lock_wait wait;
	struct bucket *bucket;        /* referenced */
	char name[UPLOAD_ID_LEN + 1]; /* NUL, then the id */
};
void upload_lock_take(
    struct upload_lock *l, struct bucket *b, const char *id, void (*run)(struct lock_wait *w));
void upload_lock_release(struct upload_lock *l);

/* ---- all parts ---- */

struct part {
	unsigned number;
	struct object *record;
};
struct parts {
	struct part *items; /* by number */
	size_t count, capacity;
	/* of the walk */
	char prefix[PART_ROW_SIZE];
	size_t max;
	bool truncated;
	void (*done)(void *ctx, int result);
	void *ctx;
};
/* Collect those behind number `after`, at most max; done() on the loop. */
void parts_read(struct parts *p, struct bucket *b, const char *id, unsigned after, size_t max,
    void (*done)(void *ctx, int result), void *ctx);
void parts_done(struct parts *p);

/* ---- committing one part ---- */

struct part_commit {
	/* the caller's; memory lives until done() */
	struct bucket *bucket;
	const char *key, *id;
	unsigned number;
	struct object *part; /* one reference becomes ours */
	bool shared;         /* its files are another object's too */
	/* 0; -ENOENT: no such upload; -ENODEV: no such bucket; -ESTALE: files to be shared have
	 * gone; or -errno. Fresh files are forgotten then. */
	void (*done)(struct part_commit *p, int result);
	/* private */
	struct upload_lock lock;
	struct store_write write;
};
void part_commit_start(struct part_commit *p);

/* ---- ending uploads ---- */

/* Remove rows and files of an upload as part of w, but not the files of the `kept` parts. */
void upload_end(struct store_write *w, struct bucket *b, const char *key, const char *id,
    const struct parts *all, const bool *kept);
/* Abort: 0, or -ENOENT. For the API, lifecycle and deleted buckets. */
void upload_abort(struct bucket *b, const char *key, const char *id,
    void (*done)(void *ctx, int result), void *ctx);
void uploads_abort_all(struct bucket *b, void (*done)(void *ctx, int result), void *ctx);
