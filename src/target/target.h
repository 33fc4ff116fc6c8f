/*
 * Delivering a record to what an ARN names: a function, a queue, a bucket. Notifications,
 * destinations, dead letters and subscriptions all end here; what can be a target registers itself
 * from above (core wires it), so that the next kind of target is one file. Loop thread.
 *
 * Delivery is part of the change that causes it: target_stage() adds the record to the caller's
 * store_write, so both are on disk or neither is, and target_finish() lets it go once the write has
 * ended. A target that cannot be written to in the same database gets its record through the outbox
 * (queue "outbox" of the store), which tries again, from one second to five minutes apart, until it
 * is delivered or a day old.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"
#include "store/store.h"

struct targets;
struct target_staged;

struct target_attribute {
	const char *name;
	const char *type; /* "String", "Number" */
	const char *value;
};

#define TARGET_ATTRIBUTES_MAX 10

struct target_record {
	const char *arn;            /* where to */
	const char *service;        /* who sends: "s3.amazonaws.com"; NULL: the owner's own wish, as
				     * with destinations and dead letters, not asked for a permission */
	const char *source_arn;     /* aws:SourceArn of the permission check */
	const char *source_account; /* aws:SourceAccount */
	struct str body;
	const struct target_attribute
	    *attributes; /* message attributes, where the target has them */
	size_t attribute_count;
	const char *trace_id; /* X-Amzn-Trace-Id with its lineage; NULL: none */
	const char *group_id; /* FIFO targets; NULL: none */
	const char *dedup_id;
	const char *object_key; /* buckets: name of the object that is made */
};

struct target_ops {
	const char *service; /* third part of the ARN: "lambda", "sqs", "s3" */
	/* Does it exist, and may record->service send there? 0, or -ENOENT, -EACCES or -EINVAL (an
	 * ARN that is not well formed) with e saying why in words for a client. r->body may be
	 * empty: this is asked at configuration time. */
	int (*check)(void *ctx, const struct target_record *r, struct err *e);
	/* Either: add the record to w; all of r is copied. NULL and e (errnum as check's, or
	 * EMSGSIZE) when it cannot be; nothing was added then. */
	void *(*stage)(
	    void *ctx, const struct target_record *r, struct store_write *w, struct err *e);
	/* w has ended: 0, it is on disk, go on with it; negative, forget it. Frees token. */
	void (*finish)(void *ctx, void *token, int result);
	/* Or, with stage and finish NULL: deliver it later, out of the outbox. done(arg, 0), or
	 * -errno to be tried again (-ENOENT, -EACCES, -EINVAL and -EMSGSIZE are final), perhaps
	 * before deliver returns. r lives until done(). */
	void (*deliver)(void *ctx, const struct target_record *r,
	    void (*done)(void *arg, int result), void *arg);
};

struct targets *targets_new(struct loop *l, struct store *s);
/* NULL is fine. What waits stays on disk; what is being delivered must have ended. */
void targets_free(struct targets *t);
/* ops and ctx outlive the targets. */
void targets_add(struct targets *t, const struct target_ops *ops, void *ctx);
/* Begin to deliver what a former life left in the outbox: when all have been added. */
void targets_resume(struct targets *t);
/* Begin no more deliveries out of the outbox. */
void targets_stop(struct targets *t);

/* The third part of an ARN ("sqs"); empty when it is none. */
struct str target_service(const char *arn);

/* As target_ops.check; -EINVAL for an ARN that no target fits. */
int target_check(struct targets *t, const struct target_record *r, struct err *e);

/* Add the delivery to w. NULL and e when the target is gone, does not permit it or refuses the
 * record; nothing was added then. */
struct target_staged *target_stage(
    struct targets *t, const struct target_record *r, struct store_write *w, struct err *e);
/* Mandatory after the write has ended, with its result. NULL is fine. */
void target_finish(struct target_staged *s, int result);

/* Stage and commit in a write of its own. done (may be NULL) gets 0 once the record is safe, or
 * -errno, also when it cannot be staged, and then before this returns. */
void target_send(struct targets *t, const struct target_record *r,
    void (*done)(void *ctx, int result), void *ctx);
