/* Listing a bucket in the order of keys: one walk on a worker collects a page of objects, versions
 * or uploads. list.c walks, list_objects.c, list_versions.c and multipart_list.c answer. */
#pragma once

#include "service/s3/s3_int.h"

enum listed { LIST_OBJECTS, LIST_VERSIONS, LIST_UPLOADS };

struct list_item {
	char *key;             /* or a common prefix, then object is NULL */
	char *suffix;          /* of an upload: its id */
	struct object *object; /* head only */
	bool latest;
};

struct listing {
	/* the caller's */
	enum listed what;
	struct bucket *bucket;
	struct call *call; /* NULL: the client has gone */
	char *prefix;      /* "" none; these two become the listing's */
	char *delimiter;   /* "" none */
	size_t max;
	void (*reply)(struct listing *l); /* result is set */
	/* results */
	int result;
	struct list_item *items;
	size_t count;
	bool truncated;
	char *last; /* where the next page begins behind, when truncated: key or common prefix */
	/* private */
	struct buf from;
	unsigned visited;
};

/* A listing for the call, which becomes pending. */
struct listing *listing_new(struct call *c, struct bucket *b, enum listed what, const char *prefix,
    const char *delimiter, const int64_t *max);
/* Begin behind this key, or common prefix; NULL: at the beginning. */
void listing_after(struct listing *l, const char *marker);
/* Begin behind this row of the key: the part of its row key behind the NUL. */
void listing_after_row(struct listing *l, const char *key, const char *suffix);
/* Walk; then reply(), after which the listing is freed. Returns CALL_PENDING. */
int listing_start(struct listing *l, void (*reply)(struct listing *l));

/* Of one that was not started. */
void listing_free(struct listing *l);

/* For answers: percent-encoded where the client asked for it. */
const char *list_text(struct call *c, const char *text, const char *encoding);
const struct s3_common_prefix_list *list_prefixes(const struct listing *l, const char *encoding);
const struct s3_checksum_algorithm_list *list_algorithms(struct call *c, const struct object *o);
/* 0, or InvalidArgument. */
int list_arguments(struct call *c, const int64_t *max, const char *encoding, struct err *e);
