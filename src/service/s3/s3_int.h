/*
 * Shared by the files of this folder. The object side: bucket.c, object*.c, change.c, multipart*.c,
 * list*.c, copy.c; the configuration side: config*.c, policy.c, cors.c, form.c, lifecycle.c,
 * notify.c.
 *
 * Every handler begins with bucket_get(), which asks s3_allowed(); every change of an object ends in
 * change.c, which adds s3_event()'s deliveries to the same write as the change itself.
 */
#pragma once

#include <jansson.h>

#include "base/map.h"
#include "gen/s3.h"
#include "service/s3/s3.h"
#include "store/file.h"

#define S3_KEY_MAX 1024
#define S3_PUT_MAX (5ull << 30)     /* one PUT, one part, one copy */
#define S3_OBJECT_MAX (5ull << 40)  /* many parts */
#define S3_PART_MIN (5u << 20)      /* but for the last */
#define S3_PARTS_MAX 10000
#define S3_TAGS_MAX 10              /* of an object; a bucket has 50 */
#define S3_METADATA_MAX 2048        /* bytes of names and values */
#define S3_LIST_MAX 1000

/* ---- buckets ---- */

enum versioning { VERSIONING_NEVER, VERSIONING_ENABLED, VERSIONING_SUSPENDED };

/* Configuration documents, kept as the text that answers the Get operation (XML without the
 * declaration, JSON for the policy) and in a parsed form. */
enum config_kind {
	CONFIG_POLICY,
	CONFIG_PUBLIC_ACCESS,
	CONFIG_CORS,
	CONFIG_LIFECYCLE,
	CONFIG_NOTIFICATION,
	CONFIG_TAGGING,
	CONFIG_ENCRYPTION,
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
	void *(*parse)(struct bucket *b, const char *text, struct err *e);
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

	int64_t row;            /* version of its row in the store */
	bool making, deleting;  /* a write is under way: it is not there (any more) */
	unsigned changes;       /* of objects, under way */
	struct list edits;      /* struct bucket_edit: of the bucket itself, one at a time */
	struct map locks;       /* key -> struct key_lock, see change.c */
};

struct s3 {
	struct s3_options options;
	struct map buckets; /* name -> struct bucket */
	struct bucket **sorted; /* by name */
	size_t bucket_count, bucket_capacity;
	struct object_cache *cache;
	uint64_t last_seq;
	bool closing;
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
 * AccessDenied… expected_owner and key may be NULL. */
int bucket_get(struct call *c, const char *name, const char *expected_owner, const char *action,
    const char *key, struct bucket **ret, struct err *e);
struct bucket *bucket_find(struct s3 *s, const char *name); /* NULL: none, or not any more */
/* Replace or remove (text NULL) a configuration document and answer the call when it is on disk.
 * text (malloc'ed) and parsed become the bucket's at success, and are dropped at failure. Returns
 * CALL_PENDING. */
int bucket_configure(
    struct call *c, struct bucket *b, enum config_kind kind, char *text, void *parsed);
/* The same for what is not a document. */
int bucket_set_versioning(struct call *c, struct bucket *b, enum versioning v);

/* ---- policy.c: who may ---- */

/* May the caller do this ("s3:GetObject") to the bucket, or the object `key` in it? 0, or
 * AccessDenied. The owner's principals may everything that no policy denies; anonymous ones only
 * what a policy allows and the public-access block does not forbid. */
int s3_allowed(
    struct call *c, struct bucket *b, const char *action, const char *key, struct err *e);

/* ---- notify.c: who is told ---- */

struct object;

struct s3_happened {
	struct call *call;  /* who did it, from where; NULL: the installation itself */
	const char *name;   /* "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated"… */
	const char *key;
	uint64_t size;      /* of created objects */
	const char *etag;   /* NULL: none */
	const char *version; /* NULL: bucket never versioned */
	uint64_t seq;       /* sequencer */
	const char *lineage; /* trace header of what caused it when call is NULL; may be NULL */
};

struct s3_notice;
/* Add the deliveries of this event to w, the write of the change itself. NULL: nobody is told. */
struct s3_notice *s3_event(
    struct bucket *b, const struct s3_happened *what, struct store_write *w);
/* w has ended; frees the notice. NULL is fine. */
void s3_event_end(struct s3_notice *n, int result);

/* ---- cors.c, form.c: the engine's hooks ---- */

void s3_answering(struct call *c, unsigned status);
int s3_other(struct call *c, struct err *e);

/* ---- lifecycle.c ---- */

void lifecycle_start(struct s3 *s);
void lifecycle_stop(struct s3 *s);
/* Rule and date for x-amz-expiration, or NULL. */
const char *lifecycle_expiration(struct call *c, const struct bucket *b, const char *key,
    const struct object *o);

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
	void *memory;
	size_t memory_size;
};

struct object *object_ref(const struct object *o);
void object_unref(const struct object *o); /* NULL is fine */
/* A copy of what o points to, with one reference. */
struct object *object_new(const struct object *o);
void object_encode(const struct object *o, struct buf *b);
/* NULL when the bytes are not a record. Any thread. */
struct object *object_decode(struct str bytes);

/* Spaces of a bucket in the store: 'o' current versions, keyed by the object's key; 'v' older ones,
 * key, NUL, 16 hex digits that count down; 'u' uploads; 'p' parts. */
#define SPACE_SIZE 24
void bucket_space(const struct bucket *b, char which, char out[SPACE_SIZE]);

/* ---- change.c: everything that changes objects ---- */

enum change_kind {
	CHANGE_PUT,    /* `object` becomes the current version */
	CHANGE_DELETE, /* remove, or put a delete marker on top; with `version`, that one alone */
	CHANGE_EDIT,   /* replace the record of a version by what edit() makes of it */
};

/* One change of one key, in the caller's storage until done(). Changes of a key happen one after
 * another. Takes care of versioning, notifications, references to files and the cache. */
struct change {
	/* the caller's */
	struct bucket *bucket;
	const char *key; /* copied */
	enum change_kind kind;
	struct call *call; /* for events; forget it (NULL) when the client goes away */
	const char *event; /* "ObjectCreated:Put"; NULL: told to nobody. Deletions know theirs */
	const char *lineage;
	struct object *object; /* PUT: version, seq and time are filled in; consumed */
	const char *version;   /* DELETE, EDIT: NULL, the current one */
	/* Look at what is there (NULL: nothing, or a delete marker if `marked`), refuse with a
	 * negative value (after fail(&ch->error…)) or go on with 0. May be NULL. */
	int (*check)(struct change *ch, const struct object *current);
	struct object *(*edit)(struct change *ch, const struct object *old);
	/* Add to the write; called with `record` set. May be NULL. */
	void (*more)(struct change *ch, struct store_write *w);
	/* The object's file is known to the store already, so its references stay (Complete). */
	bool files_kept;
	/* result 0: on disk; -ENOENT: no such version to delete or edit; what check() returned; or
	 * -errno. For PUT and EDIT, record is the new one; for DELETE, what was removed (NULL: there
	 * was nothing) and marker the delete marker that was made. The caller frees ch. */
	void (*done)(struct change *ch, int result);

	/* results, until done() returns */
	const struct object *record;
	const struct object *marker;
	struct err error;

	/* private */
	struct store_write write;
	struct list node;
	struct key_lock *lock;
	struct object *current, *other, *next;
	struct s3_notice *notice;
	char *key_copy;
};
void change_start(struct change *ch);

/* ---- lookup.c: reading records ---- */

/* The record of a version (NULL: the current one). done runs on the loop, perhaps before this
 * returns: 0 and o (maybe a delete marker), -ENOENT, or -errno. o is valid during the call. */
void object_find(struct bucket *b, const char *key, const char *version,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx);
