/* What the files of this folder share. */
#pragma once

#include "base/buf.h"
#include "target/target.h"

struct registered {
	const struct target_ops *ops;
	void *ctx;
};

struct targets {
	struct loop *loop;
	struct store *store;
	struct registered *list;
	size_t count;
	struct outbox *outbox;
};

/* Who takes what is for this ARN, or NULL. */
const struct registered *target_find(const struct targets *t, const char *arn);

/* ---- outbox.c ---- */

#define OUTBOX_QUEUE "outbox"

struct outbox *outbox_new(struct targets *t);
void outbox_free(struct outbox *o);
void outbox_resume(struct outbox *o);
void outbox_stop(struct outbox *o);
/* Add the record to w, to be delivered when outbox_added(o) says that it is on disk. */
void outbox_put(struct outbox *o, const struct target_record *r, struct store_write *w);
void outbox_added(struct outbox *o);

/* The stored form of a record. decode: r's pointers are into `in`, which is changed; attributes are
 * put into `attributes`. False when it is none. */
void record_encode(struct buf *out, const struct target_record *r);
bool record_decode(struct buf *in, struct target_record *r,
    struct target_attribute attributes[TARGET_ATTRIBUTES_MAX]);
