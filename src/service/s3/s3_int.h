/*
 * Shared by the files of this folder. The object side: bucket.c, object*.c, change.c, multipart*.c,
 * list*.c, copy.c; the configuration side: config*.c, policy.c, cors.c, form.c, lifecycle.c,
 * notify.c.
 *
 * Every handler begins with bucket_get(), which asks s3_allowed(); every change of an object ends
 * in change.c, which adds s3_event()'s deliveries to the same write as the change itself.
 */
#pragma once

#include <jansson.h>

#include "base/map.h"
#include "gen/s3.h"
#include "service/s3/s3.h"
#include "store/file.h"

#define S3_KEY_MAX 1024
#define S3_PUT_MAX (5ull << 30)    /* one PUT, one part, one copy */
#define S3_OBJECT_MAX (5ull << 40) /* many parts */
#define S3_PART_MIN (5u << 20)     /* but for the last */
#define S3_PARTS_MAX 10000
#define S3_TAGS_MAX 10       /* of an object; a bucket has 50 */
#define S3_METADATA_MAX 2048 /* bytes of names and values */
#define S3_LIST_MAX 1000

/* ---- buckets ---- */

enum versioning { VERSIONING_NEVER, VERSIONING_ENABLED, VERSIONING_SUSPENDED };

/* Configuration documents, kept as text (JSON of the shape; the policy as it was sent) and in a
 * parsed form. See config_int.h. */
enum config_kind {
	CONFIG_POLICY,
	CONFIG_PUBLIC_ACCESS,
	CONFIG_CORS,
	CONFIG_LIFECYCLE,
	CONFIG_NOTIFICATION,
	CONFIG_TAGGING,
	CONFIG_OWNERSHIP,
	CONFIG_REQUEST_PAYMENT,
	CONFIG_KINDS,
};

struct bucket;

/* config.c holds one of these for each kind. */
struct config_ops {
	const char *name; /* in the stored document: "policy" */
	/* The parsed form of a text that was accepted once; NULL and e if it is not one (any more).
	 * ops without parse keep the text alone. */
	void *(*parse)(enum config_kind kind, const char *text, struct err *e);
	void (*drop)(void *parsed);
};
extern const struct config_ops config_ops[CONFIG_KINDS];

struct config {
	char *text;   /* NULL: not configured */
	void *parsed; /* as config_ops made it; NULL when there is no text */
};

struct bucket {
	struct s3 *s3;
	char *name;
	char account[13]; /* owner */
	char region[64];
	char id[17]; /* its part of the store's spaces; a bucket made again has another */
	int64_t created_ms;
	enum versioning versioning;
	struct config configs[CONFIG_KINDS];

	unsigned refs;
	bool making, deleting; /* a write is under way: it is not there (any more) */
	bool gone;             /* deleted; only references keep it */
	unsigned changes;      /* of objects, under way */
	struct list edits;     /* of the bucket itself, one at a time; see bucket_edit.c */
	struct map locks;      /* name -> struct lock */
};

struct s3 {
	struct s3_options options;
	struct map buckets;     /* name -> struct bucket */
	struct bucket **sorted; /* by name */
	size_t bucket_count, bucket_capacity;
	struct object_cache *cache;
	uint64_t last_seq;
	bool closing;
	struct loop_timer lifecycle; /* next sweep */
	struct sweep *sweep;         /* under way, or NULL */
};

static inline struct s3 *s3_of(const struct call *c)
{
	return c->ctx;
}

int64_t s3_now_ms(const struct s3 *s);
/* "arn:aws:s3:::bucket" or "arn:aws:s3:::bucket/key", in the arena. */
const char *s3_arn(struct call *c, const struct bucket *b, const char *key);
/* 64 hex digits that stand for an account; static storage for one call, copied by call_str(). */
void s3_canonical_id(const char *account, char out[65]);
const struct s3_owner *s3_owner_of(struct call *c, const char *account);

/* The bucket for an operation, which may be done (s3_allowed()): 0 with *ret, or NoSuchBucket,
 * AccessDenied… expected_owner, action (the handler asks s3_allowed() itself) and key may be NULL.
 */
int bucket_get(struct call *c, const char *name, const char *expected_owner, const char *action,
    const char *key, struct bucket **ret, struct err *e);
struct bucket *bucket_find(struct s3 *s, const char *name); /* NULL: none, or not any more */
/* For who waits for something between two uses; look at b->gone afterwards. */
struct bucket *bucket_ref(struct bucket *b);
void bucket_unref(struct bucket *b); /* NULL is fine */
/* Replace or remove (text NULL) a configuration document and answer the call when it is on disk.
 * text (malloc'ed) and parsed become the bucket's at success, and are dropped at failure. Returns
 * CALL_PENDING. */
int bucket_configure(
    struct call *c, struct bucket *b, enum config_kind kind, char *text, void *parsed);
/* The same for what is not a document. */
int bucket_set_versioning(struct call *c, struct bucket *b, enum versioning v);
bool bucket_name_valid(struct str name);
/* After a change or a look-up: the error for the client of what `result` says. */
int s3_failed(struct call *c, int result, const char *key, struct err *e);

/* ---- policy.c: who may ---- */

/* May the caller do this ("s3:GetObject") to the bucket, or the object `key` in it? 0, or
 * AccessDenied. The owner's principals may everything that no policy denies; anonymous ones only
 * what a policy allows and the public-access block does not forbid. */
int s3_allowed(
    struct call *c, struct bucket *b, const char *action, const char *key, struct err *e);

/* ---- notify.c: who is told ---- */

struct object;

struct s3_happened {
	struct call *call; /* who did it, from where; NULL: the installation itself */
	const char *name;  /* "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated"… */
	const char *key;
	uint64_t size;       /* of created objects */
	const char *etag;    /* NULL: none */
	const char *version; /* NULL: bucket never versioned */
	uint64_t seq;        /* sequencer */
	const char *lineage; /* trace header of what caused it when call is NULL; may be NULL */
};

struct s3_notice;
/* Add the deliveries of this event to w, the write of the change itself. NULL: nobody is told. */
struct s3_notice *s3_event(struct bucket *b, const struct s3_happened *what, struct store_write *w);
/* w has ended; frees the notice. NULL is fine. */
void s3_event_end(struct s3_notice *n, int result);

/* ---- cors.c, form.c: the engine's hooks ---- */

void s3_answering(struct call *c, unsigned status);
int s3_other(struct call *c, struct err *e);

/* ---- lifecycle.c ---- */

void lifecycle_start(struct s3 *s);
void lifecycle_stop(struct s3 *s);
/* Rule and date for x-amz-expiration, or NULL. */
const char *lifecycle_expiration(
    struct call *c, const struct bucket *b, const char *key, const struct object *o);

/* ---- object.c: records ---- */

struct pair {
	const char *name, *value;
};

struct object_part {
	uint64_t size;
	const char *checksum; /* base64, NULL: none */
};

/* One version of an object, or a delete marker. Immutable once made; shared by reference. Strings
 * lie in its own memory. */
struct object {
	unsigned refs;
	bool marker; /* delete marker: nothing but version, seq and time */
	int64_t modified_ms;
	uint64_t seq; /* orders the versions of a key, and everything of this installation */
	uint64_t size;
	const char *version; /* "null", or an id */
	const char *etag;    /* without quotes */
	const char *content_type, *cache_control, *content_disposition, *content_encoding,
	    *content_language, *expires, *redirect; /* NULL: absent */
	const char *storage_class;                  /* NULL: STANDARD */
	unsigned checksum_kind;                     /* STORE_CRC32…, 0: none */
	bool checksum_composite;
	const char *checksum; /* base64, "…-N" when composite */
	const struct pair *metadata;
	size_t metadata_count;
	const struct pair *tags;
	size_t tag_count;
	const struct object_part *parts; /* of a multipart upload */
	size_t part_count;
	const struct store_extent *extents;
	size_t extent_count;
	const char *upload; /* id of the multipart upload that made it, NULL: none */
	/* private */
	char *bytes;
	size_t length;
};

const struct object *object_ref(const struct object *o);
void object_unref(const struct object *o); /* NULL is fine */
/* A copy of what o points to, with one reference. */
struct object *object_new(const struct object *o);
void object_encode(const struct object *o, struct buf *b);
/* NULL when the bytes are not a record. Any thread. */
struct object *object_decode(struct str bytes);
/* The same without metadata, tags, parts and extents: for listings. */
struct object *object_decode_head(struct str bytes);

/* Spaces of a bucket in the store: 'o' objects (key, NUL: the current version; key, NUL, 16 hex
 * digits that count down: older ones), 'u' uploads (key, NUL, id), 'p' parts (id, '/', 5 digits).
 * Uploads and parts are records of the same form. */
#define SPACE_SIZE 24
void bucket_space(const struct bucket *b, char which, char out[SPACE_SIZE]);
/* Append the row's key of the current version, or of the older one `seq`. */
void row_current(struct buf *b, const char *key);
void row_older(struct buf *b, const char *key, uint64_t seq);
/* Split a row's key; false when it is none. *ret_old: not the current version. Any thread. */
bool row_split(struct str row, struct str *ret_key, bool *ret_old);
/* First place behind all versions of key. */
void row_behind(struct buf *b, struct str key);

/* ---- lock.c: one at a time ---- */

struct lock_wait {
	struct list node;
	void (*run)(struct lock_wait *w); /* has the lock: lock_release() in the end */
};
/* name is a key, or anything that begins with NUL. Runs at once when it is free. */
void lock_take(struct bucket *b, struct str name, struct lock_wait *w);
void lock_release(struct bucket *b, struct str name);
void locks_done(struct bucket *b);

/* ---- cache.c: the records used last, of the current versions ---- */

struct object_cache *cache_new(size_t bytes_max);
void cache_free(struct object_cache *c);
const struct object *cache_get(struct object_cache *c, const struct bucket *b, const char *key);
/* A reading begins; what it finds may be remembered unless the key was written meanwhile. */
uint32_t cache_mark(struct object_cache *c, const struct bucket *b, const char *key);
void cache_read(struct object_cache *c, const struct bucket *b, const char *key, uint32_t mark,
    const struct object *o);
/* On disk now is this; NULL: nothing. */
void cache_written(
    struct object_cache *c, const struct bucket *b, const char *key, const struct object *o);

/* ---- change.c: everything that changes objects ---- */

enum change_kind {
	CHANGE_PUT,    /* `object` becomes the current version */
	CHANGE_DELETE, /* remove, or put a delete marker on top; with `version`, that one alone */
	CHANGE_EDIT,   /* replace the record of a version by what edit() makes of it */
};

enum change_files {
	FILES_FRESH,  /* just sealed; forgotten when the change fails */
	FILES_SHARED, /* another object's too */
	FILES_KEPT,   /* parts', which hand them over */
};

/* One change of one key, in the caller's storage until done(). Changes of a key happen one after
 * another. Takes care of versioning, notifications, references to files and the cache. */
struct change {
	/* the caller's */
	struct bucket *bucket;
	const char *key; /* copied */
	enum change_kind kind;
	struct call *call; /* for events; forget it (NULL) when the client goes away */
	/* "ObjectCreated:Put"; NULL: told to nobody. Of deletions the part before the colon, which
	 * is ObjectRemoved when NULL. */
	const char *event;
	const char *lineage;
	struct object *object; /* PUT: one reference becomes ours; version, seq, time are set */
	const char *version;   /* DELETE, EDIT: NULL, the current one */
	/* Look at what is there (NULL: nothing, or a delete marker if `marked`), refuse with a
	 * negative value (after fail(&ch->error…)) or go on with 0. May be NULL. */
	int (*approve)(struct change *ch, const struct object *current);
	struct object *(*edit)(struct change *ch, const struct object *old);
	/* Add to the write; called with `record` set. May be NULL. */
	void (*more)(struct change *ch, struct store_write *w);
	enum change_files files; /* PUT */
	/* result 0: on disk; -ENOENT: no such version to delete or edit; -ENODEV: the bucket has
	 * gone; -ESTALE: files to be shared have gone; what approve() returned; or -errno. For PUT
	 * and EDIT, record is the new one; for DELETE, what was removed (NULL: there was nothing)
	 * and marker the delete marker that was made. The caller frees ch. */
	void (*done)(struct change *ch, int result);

	/* results, until done() returns */
	const struct object *record;
	const struct object *marker;
	struct err error;

	/* private */
	struct store_write write;
	struct lock_wait wait;
	const struct object *current, *other;
	bool other_is_next;
	struct s3_notice *notice;
	char *key_copy, *version_copy;
	char event_name[64];
};
void change_start(struct change *ch);

/* ---- lookup.c: reading records ---- */

/* The record of a version (NULL: the current one). done runs on the loop, perhaps before this
 * returns: 0 and o (maybe a delete marker), -ENOENT, or -errno. o is valid during the call. The
 * bucket is referenced meanwhile. */
void object_find(struct bucket *b, const char *key, const char *version,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx);
/* The newest older version of key, or the older one called "null". */
void object_find_older(struct bucket *b, const char *key, bool null_only,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx);
bool version_is(const struct object *o, const char *version);
uint64_t next_seq(struct s3 *s, uint64_t above);
#define VERSION_ID_SIZE 33
void version_id(uint64_t seq, char out[VERSION_ID_SIZE]);
