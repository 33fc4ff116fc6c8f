/* What the handlers of SQS share. */
#pragma once

#include <jansson.h>

#include "auth/policy.h"
#include "aws/aws.h"
#include "gen/sqs.h"
#include "service/sqs/sqs.h"

#define SECOND_MS 1000

struct sqs {
	struct queues *queues;
	struct store *store;
	const char *url;
};

static inline struct sqs *sqs_of(const struct call *c)
{
	return c->ctx;
}

/* ---- service.c ---- */

/* The document of a queue, parsed: {"attributes": {…}, "tags": {…}}, and its policy. */
struct facts {
	json_t *doc;
	struct policy *policy; /* NULL: none */
};
const struct facts *facts_of(struct queue *q);
/* Attributes as set by clients, or NULL. */
const char *facts_attribute(struct queue *q, const char *name);

/* The queue of this URL, if the caller may do this to it ("sqs:SendMessage"). */
int open_queue(
    struct call *c, const char *url, const char *action, struct queue **ret, struct err *e);
/* 0 or AccessDenied. q NULL: for operations on no queue in particular. */
int may(struct call *c, struct queue *q, const char *action, struct err *e);
int no_queue(struct err *e);
const char *queue_url(struct call *c, const struct queue *q);

/* Write the changed settings and document (taken), then answer what is in c->out. Returns
 * CALL_PENDING. */
int change_queue(struct call *c, struct queue *q, const struct queue_settings *s, json_t *doc);
/* A copy of the document as the changes under way will leave it, to be changed. */
json_t *draft_of(struct queue *q, struct queue_settings *ret);
/* A call that waits for the engine: give as done and ctx, then return CALL_PENDING. */
struct waiting;
struct waiting *sqs_wait(struct call *c);
void sqs_wait_done(void *ctx, int result);
int fail_disk(int result, struct err *e);

/* ---- attribute.c ---- */

/* Merge given attributes into doc and derive the settings. q NULL: while it is created. */
int merge_attributes(struct call *c, struct queue *q, const char *arn,
    const struct sqs_queue_attribute_map *given, json_t *doc, struct queue_settings *s,
    struct err *e);
/* Value of an attribute that is kept or has a default, or NULL. */
const char *attribute_value(struct queue *q, const char *name);

/* ---- tag.c ---- */

int merge_tags(json_t *doc, const struct sqs_tag_map *tags, struct err *e);

/* ---- batch.c ---- */

#define BATCH_MAX 10

/* Count and ids of a batch. ids has count entries. */
int check_batch(const char *entry, const char *const *ids, size_t count, struct err *e);

/* Entries that failed so far. */
struct failures {
	size_t count;
	struct sqs_batch_result_error_entry items[BATCH_MAX];
};
void note_failure(struct call *c, struct failures *f, const char *id, const struct err *e);
const struct sqs_batch_result_error_entry_list *failure_list(struct call *c, struct failures *f);

/* A write of up to ten sends or deletions that a call waits for. */
struct batch_write {
	struct store_write write;
	struct call *c; /* NULL: the client has gone */
	size_t count;
	struct queue_staged *staged[BATCH_MAX];
};
struct batch_write *batch_new(struct call *c);
/* Commit what was staged and wait; answers at once when there is nothing. Returns what a handler
 * returns. */
int batch_commit(struct batch_write *b);
void batch_drop(struct batch_write *b); /* with nothing staged */
