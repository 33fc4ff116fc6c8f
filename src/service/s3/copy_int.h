/* Where a copy comes from: copy_source.c finds and checks it, for CopyObject and UploadPartCopy. */
#pragma once

#include "service/s3/read_int.h"
#include "service/s3/request_int.h"

struct copy_source {
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	const char *key, *version; /* in the arena; while call */
	struct read_conditions conditions;
	/* 0 and o, valid during the call; or negative with e set where it is the client's fault. */
	void (*done)(struct copy_source *s, int result, const struct object *o, struct err *e);
};

/* Parse "bucket/key?versionId=x"; may the caller read it? */
int copy_source_parse(struct call *c, const char *text, const char *expected_owner,
    const struct read_conditions *conditions, struct copy_source *ret, struct err *e);
void copy_source_find(struct copy_source *s);
/* The pieces of `from`, length bytes of o. Freed by the caller. */
struct store_extent *copy_extents(
    const struct object *o, uint64_t from, uint64_t length, size_t *ret_count);
