/* Reading objects: what GetObject, HeadObject, GetObjectAttributes and copies share. */
#pragma once

#include "service/s3/s3_int.h"

bool version_valid(const char *version);
/* 0, or InvalidArgument; NULL is fine. */
int version_check(const char *version, struct err *e);
/* What a look-up found, in words for the client: 0 when o can be read, else negative with e. */
int read_refused(struct call *c, struct bucket *b, const char *key, const char *version, int result,
    const struct object *o, struct err *e);

struct read_conditions {
	const char *if_match, *if_none_match;
	const int64_t *if_modified_since, *if_unmodified_since; /* wall ms */
};
/* 0, PreconditionFailed or NotModified. */
int read_conditions_check(
    struct call *c, const struct read_conditions *r, const struct object *o, struct err *e);

/* Answer with these bytes of the object. 0: answered; -ENOENT: its file has just gone, or -errno.
 */
int read_send(
    struct call *c, const struct object *o, uint64_t from, uint64_t length, unsigned status);
