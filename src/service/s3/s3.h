/*
 * The S3-compatible store: buckets and objects on this machine's disk. Files are in the store's
 * `files`, records of objects in its keys, buckets and their configuration in memory too.
 *
 * Loop thread. Services do not include each other: core hands s3_object_read() and
 * s3_object_put() to those that need an object (function code, destinations).
 */
#pragma once

#include "aws/aws.h"
#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"
#include "store/store.h"

struct s3;
struct targets; /* src/target */

struct s3_options {
	struct loop *loop;
	struct store *store;
	struct targets *targets;  /* for notifications; NULL: none are sent */
	const char *account;      /* owner of what the installation itself makes */
	const char *region;       /* of buckets made without a LocationConstraint */
	const char *const *hosts; /* names under which virtual hosts are looked for ("localhost") */
	size_t host_count;
	/* Is this key pair's principal the account itself, or may it act in the whole account?
	 * NULL: whoever has a key of the account may. */
	int64_t (*now_ms)(void); /* NULL: the wall clock. For tests */
};

/* Reads all buckets: blocking, start-up. The options' strings must outlive it. */
struct s3 *s3_open(const struct s3_options *o, struct err *e);
void s3_close(struct s3 *s); /* NULL is fine; no call is under way any more */
/* Begin what goes on by itself: expiration, files that nobody refers to. */
void s3_resume(struct s3 *s);

/* For aws_service_add_hooks(). */
extern const struct aws_hooks s3_hooks;

/* An object opened for reading. */
struct s3_opened {
	const struct store_extent *extents; /* pieces of files, in order; valid during done() */
	size_t extent_count;
	uint64_t size;
	const char *etag;    /* without quotes */
	const char *version; /* "null" when not versioned */
};

/* Find an object on behalf of `account`; version may be NULL. done runs on the loop, perhaps
 * before this returns: result 0, or negative with text in words for a client (-ENOENT: no such
 * bucket, key or version; -EACCES: another account's; -errno). Read with store_file_read(). */
void s3_object_read(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *version,
    void (*done)(void *ctx, int result, const struct s3_opened *o, const char *text), void *ctx);

/* Read a whole object of at most `limit` bytes into memory (done frees nothing; data is valid
 * during the call). -EFBIG: larger. */
void s3_object_load(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *version, size_t limit,
    void (*done)(void *ctx, int result, struct str data, const char *text), void *ctx);

/* Make an object of these bytes, durable before done(ctx, 0). body is copied. lineage may be NULL:
 * the trace header that caused it. */
void s3_object_put(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *content_type, struct str body, const char *lineage,
    void (*done)(void *ctx, int result, const char *text), void *ctx);

/* Buckets as targets: records of events become objects. */
void s3_target_add(struct s3 *s, struct targets *t);

/* For permission and existence checks: 0, -ENOENT, or -EACCES when another account owns it. */
int s3_bucket_check(struct s3 *s, const char *account, const char *bucket);
