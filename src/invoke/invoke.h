/*
 * The invoke path: the one way in for whatever wants a function to run. Knows functions as things
 * with limits, versions as things that can be run, and nothing of any API. Loop thread.
 *
 * An invocation passes the concurrency gate or is refused at once; then it goes to a warm box (last
 * in, first out), or waits for one that is busy for less than a millisecond more, or for a new
 * one. Its end is booked in the ledger and logged before its caller hears of it.
 */
#pragma once

#include "base/buf.h"
#include "box/box.h"
#include "logs/logs.h"
#include "meter/meter.h"
#include "store/store.h"
#include "target/target.h"

struct invoke;
struct invoke_function; /* what the versions of one function share: name, reserved concurrency */
struct invoke_version;  /* code and configuration that can be run; never changes */
struct invocation;

#define INVOKE_TRACE_SIZE RUNTIME_TRACE_SIZE

struct invoke_keys {
	char access_key_id[32];
	char secret_access_key[64];
	char session_token[1200];
};

/* What becomes of the events of a function, by qualifier. Strings are valid until the next call
 * into what knows the function. */
struct invoke_policy {
	int64_t retries;             /* 0–2 */
	int64_t age_max_ms;          /* an event that is older is not begun */
	const char *dead_letter_arn; /* each may be NULL or "" */
	const char *on_success_arn, *on_failure_arn;
};
#define INVOKE_RETRIES_MAX 2
#define INVOKE_AGE_MAX_MS (6 * 3600 * (int64_t)1000)

struct invoke_options {
	struct loop *loop;
	struct boxes *boxes;
	struct logs *logs;
	struct meter *meter;
	struct store *store;
	unsigned concurrency; /* of all functions together; 1,000 as AWS's default */
	int64_t idle_ms;      /* a box nobody needed for so long is given back */
	/* First retry of an event after this, second after twice. 60,000 as on AWS; all other times
	 * of events (back-off while throttled, age) are shortened or lengthened in proportion. */
	int64_t retry_base_ms;
	struct targets *targets;   /* of what becomes of events; NULL: in tests */
	int64_t stream_rate;       /* bytes a second of a streamed answer after 6 MiB; 0: no pace */
	const char *endpoint_port; /* port of AWS_ENDPOINT_URL inside boxes */
	/* Temporary keys of a role, for the box of a version. */
	int (*keys)(void *ctx, const char *role_arn, const char *session, struct invoke_keys *ret);
	/* The version that a stored event is for now, or NULL: it has been deleted or cannot run.
	 */
	struct invoke_version *(*resolve)(void *ctx, struct str account, struct str region,
	    struct str name, struct str qualifier);
	/* What is wanted for its events; false: it has been deleted. NULL: the defaults, always. */
	bool (*policy)(void *ctx, struct str account, struct str region, struct str name,
	    struct str qualifier, struct invoke_policy *ret);
	void *ctx;
};

struct invoke *invoke_new(const struct invoke_options *o);
void invoke_free(struct invoke *iv);
/* Begin to run what a former life left in the event queue; when functions are loaded. */
void invoke_resume(struct invoke *iv);
/* Begin no more events: before the boxes go, at the end. Those accepted stay on disk. */
void invoke_stop(struct invoke *iv);
unsigned invoke_concurrency(const struct invoke *iv);
int64_t invoke_reserved_sum(const struct invoke *iv);

/* ---- functions and versions ---- */

struct invoke_function *invoke_function_new(
    struct invoke *iv, const char *account, const char *region, const char *name);
/* Drop the owner's hold; it lives on until its versions are gone. */
void invoke_function_unref(struct invoke_function *f);
/* At most so many at a time, taken out of the common pool; -1: from the common pool. */
void invoke_function_reserve(struct invoke_function *f, int64_t reserved);
int64_t invoke_function_reserved(const struct invoke_function *f);
/* A chain of requests comes through it again and again by intention: do not stop it. */
void invoke_function_allow_recursion(struct invoke_function *f, bool allow);
/* Otherwise stopped when it would come back so often (the function has run as often by then). */
#define INVOKE_LOOPS_MAX 16

struct invoke_variable {
	const char *name, *value;
};

/* A container image that a function runs in: the root of its box, and the program of its own that
 * speaks the HTTP Runtime API. */
struct invoke_image {
	const uint8_t (*layers)[WIRE_HASH_SIZE]; /* unpacked ones, lowest first */
	size_t layer_count;
	const char *const *argv; /* NULL at the end; a name without '/' is looked for in PATH */
	const char *const *env;  /* the image's own, "NAME=value"; NULL at the end */
	const char *cwd;         /* NULL or "": "/" */
};

struct invoke_config {
	const char *version;         /* "$LATEST" or a number */
	const char *runtime;         /* as asked for: "nodejs20.x" */
	const char *runtime_version; /* what runs: "nodejs:20.v20.20.2", for INIT_START */
	const char *runtime_arn;
	const struct box_program *program; /* NULL with an image */
	const struct invoke_image *image;  /* NULL: code and layers */
	const char *handler;
	const char *role_arn;
	const char *log_group;
	bool log_json;
	uint32_t memory_mb, tmp_mb;
	int64_t timeout_ms;
	const struct invoke_variable *variables; /* the user's */
	size_t variable_count;
	uint8_t code[WIRE_HASH_SIZE];
	uint8_t layers[WIRE_LAYERS_MAX][WIRE_HASH_SIZE];
	uint32_t layer_count;
};

/* All of c is copied. The version holds its function. */
struct invoke_version *invoke_version_new(struct invoke_function *f, const struct invoke_config *c);
/* No new invocations: running and waiting ones finish, idle boxes go, then it is freed. */
void invoke_version_retire(struct invoke_version *v);
const char *invoke_version_name(const struct invoke_version *v);

/* ---- running ---- */

enum invoke_outcome {
	INVOKE_OK,
	INVOKE_ERROR, /* the function said so */
	INVOKE_TIMEOUT,
	INVOKE_CRASH,
	INVOKE_OOM,
	INVOKE_INIT_ERROR,
	INVOKE_NO_BOX, /* our failure: nothing ran, nothing is booked */
};

struct invoke_result {
	enum invoke_outcome outcome;
	bool streamed; /* on_stream() was called: the payload is the error that cut it, or empty */
	struct buf *payload; /* may be taken; error JSON unless INVOKE_OK; text for NO_BOX */
	struct str tail;     /* last 4 KiB of the log, if asked for */
	const char *version; /* that ran */
	const char *request_id;
};

struct invoke_request {
	struct invoke_version *version;
	enum meter_kind kind;
	char request_id[37];              /* empty: made here */
	char trace_id[INVOKE_TRACE_SIZE]; /* X-Amzn-Trace-Id of what causes it; empty: made here */
	const char *arn;                  /* as the caller wrote it; copied */
	struct str client_context;
	struct buf payload; /* taken, also when refused */
	bool tail;
	/* Take the answer of a function that streams as it comes: on_stream() once, on_piece() for
	 * each piece, from within the loop, then done(). Both or neither. A function that does not
	 * stream answers as ever. */
	void (*on_stream)(void *ctx, struct str content_type);
	void (*on_piece)(void *ctx, struct str data);
	void (*done)(
	    void *ctx, struct invoke_result *r); /* once, not before invoke_start() returns */
	void *ctx;
};

/* Of a streamed answer, in all; beyond it the function is stopped. */
#define INVOKE_STREAM_MAX (200u * 1024 * 1024)

enum invoke_refusal {
	INVOKE_ACCEPTED,
	INVOKE_RESERVED_FULL,
	INVOKE_ACCOUNT_FULL,
	INVOKE_RECURSIVE, /* it would go round and round: trying again is of no use */
};

/* Run it. *ret is valid until done(); it may be NULL. */
enum invoke_refusal invoke_start(
    struct invoke *iv, struct invoke_request *r, struct invocation **ret);
/* A trace id in X-Ray's format: the time in hex, then a random part; not sampled. */
void invoke_trace_id(char out[INVOKE_TRACE_SIZE]);
/* Between the two calls no pieces come and the function has to wait, while its time runs. Harmless
 * when nothing streams. */
void invocation_pause(struct invocation *n, bool paused);
/* The caller has gone: done() will not be called. What has begun runs to its end and is booked;
 * what still waits does not begin. */
void invocation_forget(struct invocation *n);

/* ---- events: accepted durably, run later, at least once ---- */

#define INVOKE_EVENT_MAX 1048576 /* payload, bytes */

struct invoke_event {
	struct str account, region, name, qualifier; /* qualifier may be empty */
	char request_id[37];
	char trace_id[INVOKE_TRACE_SIZE]; /* as of the request that causes it */
	const char *arn;
	struct str payload;
};

/* done(ctx, 0) once it is on disk, or -errno and it will not run. All is copied. */
void invoke_event(struct invoke *iv, const struct invoke_event *ev,
    void (*done)(void *ctx, int result), void *ctx);

/* The same as part of the caller's write, whose result is to be told afterwards: 0 lets it run. */
struct invoke_staged;
struct invoke_staged *invoke_event_stage(
    struct invoke *iv, const struct invoke_event *ev, struct store_write *w);
void invoke_event_finish(struct invoke_staged *s, int result);

struct invoke_counts {
	uint64_t invocations, errors, throttles, cold_starts;
	unsigned running, waiting, environments, events;
};
void invoke_count(const struct invoke *iv, struct invoke_counts *ret);
