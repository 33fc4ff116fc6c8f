/*
 * Event source mappings: what polls a queue or a broker and runs a function with what it finds. Each
 * kind of source is one file behind struct source_ops; batches, filters, partial failures, scaling
 * and the states that clients poll for are common. Loop thread (brokers' libraries may bring
 * threads of their own, which talk to the loop by loop_post()).
 *
 * A mapping lives here, stored and in memory; service/lambda is its API and core wires both. The
 * function is found anew for each batch, by name and qualifier.
 */
#pragma once

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
	/* The version a batch runs on, or NULL: the function is gone. */
	struct invoke_version *(*resolve)(void *ctx, struct str account, struct str region,
	    struct str name, struct str qualifier);
	void *ctx;
};

struct sources *sources_open(const struct source_options *o, struct err *e);
void sources_close(struct sources *s); /* NULL is fine; batches under way are not lost: they are
					* visible again after their time */
/* Start polling; when functions and queues are loaded. */
void sources_resume(struct sources *s);

/* The rest (configuration, states, create/update/delete/list, struct source_ops) is declared by
 * this room as it is built. */
