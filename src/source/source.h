/*
 * Event source mappings: what polls a queue or a broker and runs a function with what it finds.
 * Each kind of source is one file behind struct source_ops (source_int.h; sqs.c is the one to read
 * first); batches, filters, partial failures and the states that clients poll for are common. Loop
 * thread (brokers' libraries bring threads of their own, which talk to the loop by loop_post()).
 *
 * A mapping lives here, stored and in memory; service/lambda is its API and core wires both. The
 * function is found anew for each batch, by name and qualifier, and may come and go meanwhile.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "invoke/invoke.h"
#include "queue/queue.h"
#include "store/store.h"
#include "target/target.h"

struct sources;
struct source_mapping;

struct source_options {
	struct loop *loop;
	struct store *store;
	struct invoke *invoke;
	struct queues *queues;
	struct targets *targets; /* on-failure destinations */
	/* The version a batch runs on, or NULL: the function is gone, or cannot run just now. */
	struct invoke_version *(*resolve)(void *ctx, struct str account, struct str region,
	    struct str name, struct str qualifier);
	void *ctx;
	/* The text of a secret (an ARN, or its name), which the caller frees; NULL and e. NULL:
	 * there are no secrets here. */
	char *(*secret)(
	    void *ctx, struct str account, struct str region, const char *secret_id, struct err *e);
	void *secret_ctx;
};

/* "NAME=amqp://[USER:PASSWORD@]HOST[:PORT]": where the broker is whose ARN says NAME. Before
 * sources_open(). 0, or negative with e. */
int source_broker_add(const char *text, struct err *e);

/* Load all mappings; blocking, for start-up. NULL and e on failure. */
struct sources *sources_open(const struct source_options *o, struct err *e);
/* No change of a mapping is on its way to the disk: close the store before, or wait. */
void sources_close(struct sources *s); /* NULL is fine; batches under way are not lost: they are
					* visible again after their time */
/* Start polling; when functions and queues are loaded. */
void sources_resume(struct sources *s);
/* Take no more batches; those under way go on. Before the end. */
void sources_stop(struct sources *s);

/* ---- mappings ----
 *
 * A mapping's document has the members of the API's EventSourceMappingConfiguration as they were
 * asked for, all defaults filled in: UUID, FunctionArn, Enabled, BatchSize…, Tags, LastModified
 * (wall ms); FunctionArn keeps the qualifier. Documents in memory do not change. */

enum source_state {
	SOURCE_CREATING,
	SOURCE_ENABLING,
	SOURCE_ENABLED,
	SOURCE_UPDATING,
	SOURCE_DISABLING,
	SOURCE_DISABLED,
	SOURCE_DELETING,
};

const char *source_state_name(enum source_state state); /* as clients poll for it */
struct source_mapping *source_find(
    struct sources *s, struct str account, struct str region, struct str uuid);
/* All of an account and region, by UUID; the caller frees the array, which ends in NULL. */
struct source_mapping **source_list(struct sources *s, struct str account, struct str region);
/* The one there is already for the same source and function, being made perhaps; or NULL. */
const char *source_duplicate(
    struct sources *s, struct str account, struct str region, const json_t *doc);

const json_t *source_doc(const struct source_mapping *m);
enum source_state source_state(const struct source_mapping *m);
bool source_is_steady(const struct source_mapping *m);          /* it may be updated or deleted */
const char *source_reason(const struct source_mapping *m);      /* StateTransitionReason */
const char *source_last_result(const struct source_mapping *m); /* NULL: nothing happened yet */

/* What kind of source is it, by its document? "sqs"; NULL and e (text for the
 * client) when it is none that this build has. */
const char *source_kind(const json_t *doc, struct err *e);
/* Does what it names exist and fit? 0 or negative with e. function_timeout_ms: -1 when unknown. */
int source_check(struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e);
/* Can these be filter criteria for this source? */
int source_check_filter(const json_t *doc, struct err *e);

/* Changes: doc becomes ours; done (never before the call returns) gets 0 once it is on disk, m
 * then has the state that the client is told; or -errno, m NULL for a mapping that was to be made.
 * The mapping is steady. */
typedef void source_done(void *ctx, int result, struct source_mapping *m);
void source_create(struct sources *s, struct str account, struct str region, json_t *doc,
    source_done *done, void *ctx);
void source_update(struct source_mapping *m, json_t *doc, source_done *done, void *ctx);
void source_tag(struct source_mapping *m, json_t *doc, source_done *done, void *ctx);
/* It is gone a while after done(). */
void source_delete(struct source_mapping *m, source_done *done, void *ctx);
