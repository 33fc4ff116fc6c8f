/* Shared by the files of this folder. */
#pragma once

#include <jansson.h>

#include "aws/aws.h"
#include "base/map.h"
#include "gen/iam.h"
#include "service/iam/iam.h"

enum entity_type { ENTITY_USER, ENTITY_ROLE, ENTITY_GROUP, ENTITY_POLICY, ENTITY_TYPES };

/* A user, role, group or managed policy. Members of the document, by type:
 *   all     name, path, id, arn, created (wall ms), tags {}, attached [arn], inline {name: text}
 *   user    keys [{id, secret, status, created}], groups [name], boundary
 *   role    trust, description, max_session, boundary
 *   policy  description, updated, default, next, versions [{id, document, created}] */
struct entity {
	enum entity_type type;
	char *key;     /* "<account>/<name in lower case>": place in its table and in the store */
	char *account; /* "aws" for the policies that come with the server */
	json_t *doc;   /* what is on disk; NULL while it is being made */
	int64_t version;
	/* What the writes under way will leave: NULL when the entity will be gone. Writes are
	 * built on this, so that a client may send several at once. */
	json_t *latest;
	int64_t latest_version; /* 0: not in the store */
	const struct change *last;
	unsigned changes; /* under way */
};

struct table {
	struct entity **items; /* in order of key */
	size_t count, capacity;
};

struct iam {
	struct store *store;
	struct auth *auth;
	struct table tables[ENTITY_TYPES];
	struct map uses;   /* "<account>/<policy ARN>" -> struct policy_use */
	struct map owners; /* access key id -> its user, struct entity */
};

struct policy_use {
	int64_t attached, boundaries;
};

#define ENTITY_ID_SIZE 22 /* "AROA" and 17 more */
#define NAME_MAX_BYTES 128

/* ---- table.c: entities in memory ---- */

extern const char *const entity_nouns[ENTITY_TYPES];  /* "user" */
extern const char *const entity_titles[ENTITY_TYPES]; /* "User" */

/* NULL when there is none. */
struct entity *table_find(struct iam *m, enum entity_type t, const char *account, const char *name);
/* A new entity without documents; there is none of that name. */
struct entity *table_add(struct iam *m, enum entity_type t, const char *account, const char *name);
void table_remove(struct iam *m, struct entity *e); /* frees it */
size_t table_count(const struct iam *m, enum entity_type t, const char *account);
void table_done(struct iam *m);

/* The role or policy an ARN means; NULL when there is none. Whole ARN and case count. */
struct entity *table_by_arn(
    struct iam *m, enum entity_type t, const char *account, const char *arn);

/* One page of the entities of the caller's account (of policies also those of "aws"). */
struct listing {
	struct call *c;
	enum entity_type type;
	const char *path_prefix;                                       /* NULL: any */
	bool (*keep)(const struct listing *l, const struct entity *e); /* NULL: all */
	const void *ctx;                                               /* of keep */
	/* the answer, in the call's arena */
	const struct entity **items;
	size_t count;
	const bool *is_truncated;
	const char *marker; /* of the next page, NULL at the end */
};
int list_entities(struct listing *l, const char *marker, const int64_t *max_items, struct err *e);

/* One page of `total` things that have an order of their own. */
struct page {
	size_t from, count;
	const bool *is_truncated;
	const char *marker;
};
int list_slice(struct call *c, const char *marker, const int64_t *max_items, size_t total,
    struct page *ret, struct err *e);

/* ---- change.c: writes ---- */

/* Write doc (becomes ours; NULL: delete) as the entity's next version and answer the call when it
 * is on disk. Returns CALL_PENDING. */
int iam_change_commit(struct call *c, struct entity *e, json_t *doc);
/* Two at once, or none of them. */
int change_commit_two(
    struct call *c, struct entity *a, json_t *a_doc, struct entity *b, json_t *b_doc);
/* At start: doc (becomes ours) is what the store holds. */
void change_loaded(struct iam *m, struct entity *e, json_t *doc, int64_t version);
struct policy_use change_uses(const struct iam *m, const char *account, const char *arn);

/* ---- entity.c: documents ---- */

const char *iam_doc_str(const json_t *doc, const char *name); /* NULL when absent */
int64_t iam_doc_int(const json_t *doc, const char *name);     /* 0 when absent */
void doc_set(json_t *doc, const char *name, const char *value);
void iam_doc_set_int(json_t *doc, const char *name, int64_t value);

/* What every kind has, fit to be committed as a new entity. id_prefix is "AROA" and the like. */
json_t *doc_new(
    struct call *c, enum entity_type t, const char *id_prefix, const char *name, const char *path);
/* Set path and name, and the ARN that follows from them. */
void doc_place(
    json_t *doc, enum entity_type t, const char *account, const char *name, const char *path);

/* The entity as the last write will leave it, for building the next one; NoSuchEntity. */
int entity_get(
    struct call *c, enum entity_type t, const char *name, struct entity **ret, struct err *e);
/* The same as it is on disk, for reading. */
int entity_read(
    struct call *c, enum entity_type t, const char *name, const json_t **ret, struct err *e);
/* A copy of the latest document, to be changed and committed. */
json_t *entity_edit(const struct entity *e);
/* Room for one more of this name? EntityAlreadyExists or LimitExceeded. */
int entity_absent(struct call *c, enum entity_type t, const char *name, struct err *e);
/* The entity to commit a new document to, after entity_absent(). */
struct entity *entity_new(struct call *c, enum entity_type t, const char *name);
/* Nothing is attached to it or inside it any more, or DeleteConflict. */
int entity_bare(const struct entity *o, struct err *e);

/* A policy of the account or of AWS by ARN, for reading; NoSuchEntity. */
int policy_read(struct call *c, const char *arn, const json_t **ret, struct err *e);
/* A policy of the account, for writing. */
int policy_get(struct call *c, const char *arn, struct entity **ret, struct err *e);
/* NoSuchEntity unless the policy can be attached. */
int policy_attachable(struct call *c, const char *arn, struct err *e);

/* The name a user operation means: its own, or the caller's. */
int user_or_caller(struct call *c, const char *name, const char **ret, struct err *e);

/* ---- tag.c ---- */

/* Add tags to a document; more than 50, or a key twice, is an error. tags may be NULL. */
int tags_add(json_t *doc, const struct iam_tag_list_type *tags, struct err *e);
/* For answers; NULL when there are none and `sparse`. */
const struct iam_tag_list_type *tags_show(struct call *c, const json_t *doc, bool sparse);

/* ---- attach.c ---- */

/* The permissions boundary of a new user or role; arn may be NULL. */
int boundary_set(struct call *c, json_t *doc, const char *arn, struct err *e);
const struct iam_attached_permissions_boundary *boundary_show(struct call *c, const json_t *doc);

/* ---- for answers ---- */

/* A policy as AWS sends it: percent-encoded. */
const char *show_document(struct call *c, const char *text);
void show_user(struct call *c, const json_t *doc, bool whole, struct iam_user *ret);
void show_group(struct call *c, const json_t *doc, struct iam_group *ret);

/* ---- managed.c: policies that come with the server ---- */

void managed_load(struct iam *m);
