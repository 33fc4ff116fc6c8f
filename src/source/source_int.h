/*
 * What the files of this folder share. A new kind of source: one file with a struct source_ops,
 * named in kinds[] of kind.c, and what service/lambda/event_source_check.c should know about its
 * limits.
 */
#pragma once

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "source/filter.h"
#include "source/source.h"

#define SOURCE_PAYLOAD_MAX 6291556 /* of an invocation */
#define SOURCE_SPACE "source"

struct sources {
	struct source_options o;
	struct map mappings; /* "account/region/uuid" -> struct source_mapping */
	bool polling;        /* sources_resume() was called */
};

struct source_mapping {
	struct sources *sources;
	char *key, *account, *region;
	json_t *doc;
	int64_t stored;
	enum source_state state;
	bool writing;           /* a change is on its way to the disk */
	struct source_run *run; /* NULL: not polled */
	struct loop_task settle;
	char last_result[200]; /* "": nothing happened yet */
};

/* ---- kinds of sources ---- */

struct source_batch;
struct source_run;

enum batch_end {
	BATCH_DONE,    /* the function took it, but for the records that are marked `failed` */
	BATCH_FAILED,  /* the function failed */
	BATCH_DROPPED, /* it never ran: the mapping stops */
	BATCH_LOOPED,  /* nor shall it: its first record, whose trace it has, goes round a loop */
};

struct source_ops {
	const char *name;        /* "sqs" */
	const char *reason;      /* StateTransitionReason */
	struct filter_data data; /* for filters */
	/* Is this its document? */
	bool (*claims)(const json_t *doc);
	/* As source_check(). */
	int (*verify)(
	    struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e);
	/* Begin to poll. What is not there (yet, any more) is waited for. The instance lives until
	 * free(). */
	void *(*start)(struct source_run *r);
	/* Take nothing any more; source_run_idle() when nothing is under way, perhaps before it
	 * returns.
	 */
	void (*stop)(void *instance);
	/* Now, whatever is under way: it has not happened. */
	void (*free)(void *instance);
	/* A batch that was sent has ended; it is the instance's again. */
	void (*ended)(void *instance, struct source_batch *b, enum batch_end end);
	/* It cannot run just now and will be tried again within ms: keep what it holds. May be
	 * NULL. False: give it up (BATCH_DROPPED follows). */
	bool (*hold)(void *instance, struct source_batch *b, int64_t ms);
	/* Room for more may have come up: a batch has ended, the function is there again. */
	void (*more)(void *instance);
};

const struct source_ops *source_kind_find(const json_t *doc); /* kind.c; NULL if none */
extern const struct source_ops sqs_source, kafka_source, rabbitmq_source;

/* ---- run.c: a mapping being polled ---- */

struct source_run {
	struct sources *sources;
	struct source_mapping *mapping;
	const struct source_ops *ops;
	void *instance;
	const char *account, *region, *arn; /* of the source: "" if it has none; the document's */
	const char *function_arn;
	char *name, *qualifier; /* of the function */
	unsigned batch_size;
	int64_t window_ns;
	unsigned concurrency_max; /* 0: not limited by the user */
	unsigned concurrency_min; /* 0: as the source begins */
	bool partial;             /* ReportBatchItemFailures */
	struct filter *filter;    /* NULL: everything */
	struct list batches;      /* that were sent */
	unsigned in_flight, held; /* batches that were sent; those that cannot run just now */
	bool stopping;
	const json_t *doc;
};

struct source_run *source_run_new(struct source_mapping *m);
/* Stop it; source_mapping_idle() follows when nothing is under way. */
void source_run_stop(struct source_run *r);
void source_run_free(struct source_run *r); /* NULL is fine; now */
void source_run_idle(struct source_run *r); /* of an instance that was stopped */
struct invoke_version *source_run_function(const struct source_run *r); /* NULL: gone */
/* LastProcessingResult. */
void source_run_result(struct source_run *r, const char *fmt, ...) _printf_(2, 3);

/* mapping.c */
void source_mapping_idle(struct source_mapping *m);

/* ---- batch.c ---- */

struct source_record {
	const char *id;     /* as the function reports it */
	const char *handle; /* the source's own; may be NULL */
	int64_t number;     /* likewise: an offset, a delivery tag */
	bool failed;
};

struct source_batch {
	struct list node; /* in run->batches once sent */
	struct source_run *run;
	struct arena arena; /* of ids and handles */
	struct buf text;    /* the event, built in place; complete once sent */
	struct source_record *records;
	size_t count, room;
	int64_t since_ns; /* first record */
	char trace_id[INVOKE_TRACE_SIZE];
	struct invocation *invocation; /* NULL: not running */
	unsigned tries;                /* refusals in a row */
	bool held;                     /* refused, waits to be tried again */
	bool fresh;                    /* no comma before the next record */
	bool given_up, looped;         /* ends when the timer fires */
	struct loop_timer timer;
	void *user; /* the source's */
};

/* head: what the event begins with, up to the first record. */
struct source_batch *source_batch_new(struct source_run *r, struct str head);
void source_batch_free(struct source_batch *b); /* NULL is fine; one that was sent is forgotten */
/* Add a record; id and handle are copied. False when the event would become too large for an
 * invocation: send this batch, take another. A record that fits nowhere alone is taken. */
bool source_batch_add(
    struct source_batch *b, struct str text, const char *id, const char *handle, int64_t number);
/* Run the function with it: ends in ops->ended(), never before it returns. tail closes the event.
 * As often as it takes: throttled batches are held and tried again. */
void source_batch_send(struct source_batch *b, struct str tail);
/* Send it again, in delay_ns: records may have been taken out by batch_keep(). */
void source_batch_resend(struct source_batch *b, int64_t delay_ns);
/* Those that wait to be sent again end soon, as the run is stopping. */
void source_batch_drop_waiting(struct source_run *r);

/* response.c: what a function said of the records of its batch. Marks those that failed; false if
 * all of them have. */
bool source_response_apply(struct source_batch *b, struct str payload);
