/* What the files of this folder share. */
#pragma once

#include "base/list.h"
#include "invoke/invoke.h"

#define INVOKE_TAIL_MAX 4096
#define INIT_TIMEOUT_NS (10 * (int64_t)1000000000)
#define RETIRE_NS (2 * (int64_t)1000000000)
#define FREEZE_GRACE_NS (20 * (int64_t)1000000)

struct invoke {
	struct invoke_options o;
	struct list versions;
	struct list idle; /* environments with nothing to do, of all versions, oldest first */
	int64_t reserved_sum;
	unsigned unreserved_running;
	struct list spare;     /* invocations for reuse */
	uint64_t serial;       /* of the newest invocation */
	int64_t many_until_ns; /* more than a few invocations have run lately */
	struct list finished;  /* invocations whose callers are told at the end of the turn */
	struct loop_task replies;
	struct invoke_counts counts;
	struct async *async;
};

struct invoke_function {
	struct invoke *iv;
	char *account, *region, *name;
	int64_t reserved;
	unsigned running;
	unsigned refs;
	uint32_t meter_id;
	char hash[9];   /* in lineages */
	bool recursion; /* loops through it are wanted */
};

struct invoke_version {
	struct list node;
	struct invoke_function *function;
	struct invoke_config c; /* strings are ours */
	char *strings;
	struct invoke_image *image; /* ours, or NULL */
	struct box_program image_program;
	struct box_spec spec;
	struct list environments;
	struct list idle;    /* LIFO */
	struct list busy;    /* environments that run something */
	struct list waiting; /* invocations, FIFO */
	unsigned environment_count, starting, waiting_count, busy_count;
	unsigned leaving;        /* environments whose extensions say good-bye: they serve nobody */
	unsigned unfinished;     /* invocations that hold this version */
	int64_t run_ns;          /* moving average of recent run times; 0: unknown */
	int64_t floor_ns;        /* the shortest of late, slowly forgotten; 0: unknown */
	struct loop_timer timer; /* looks again at what waits */
	uint64_t seen, stuck;    /* serials: head of the queue at the last look, at two in a row */
	bool retired;
	uint32_t meter_version;
	char *start_suffix; /* " Version: N\n" */
};

enum environment_state {
	ENVIRONMENT_STARTING, /* first init, on its own clock */
	ENVIRONMENT_BOUND,    /* init repeated inside an invocation */
	ENVIRONMENT_READY,
	ENVIRONMENT_RETIRING,  /* its extensions have time to say good-bye */
	ENVIRONMENT_RESETTING, /* the same before it is stopped: its runtime has been killed */
	ENVIRONMENT_STOPPED,   /* nothing runs in it; the next invocation starts it again */
};

struct environment {
	struct list node;      /* in version->environments */
	struct list idle_node; /* in version->idle, or in version->busy */
	struct list lru_node;  /* in invoke->idle, likewise */
	struct invoke_version *version;
	struct box *box;
	enum environment_state state;
	struct log_stream *stream;
	char stream_name[64];
	struct list running; /* invocations sent, in order; the head is the one that runs */
	unsigned outstanding;
	struct linger *linger; /* an invocation that was answered, but its extensions go on */
	bool busy;             /* in version->busy */
	bool taking;           /* back what was sent ahead: nothing more is */
	int64_t start_ns, start_wall_ms; /* of the head */
	int64_t ended_ns;                /* when the last invocation ended */
	int64_t init_ns;                 /* of the first init; reported with the first invoke */
	int64_t idle_since_ns;
	int64_t drained_ns; /* turn in which its output was read last */
	unsigned quiet;     /* invocations since it last printed */
	struct loop_timer timer;
	struct loop_timer pace; /* set while the pace makes a stream wait */
	struct buf partial;     /* output without its newline yet */
};

struct invocation {
	struct list node;
	struct invoke_version *version;
	enum meter_kind kind;
	char request_id[37], trace_id[INVOKE_TRACE_SIZE];
	char *arn;
	struct buf client_context, payload;
	struct buf *tail; /* NULL: not wanted */
	bool forgotten, has_answer, streamed;
	enum invoke_outcome outcome; /* when finished; payload then is the answer */
	void (*on_stream)(void *ctx, struct str content_type);
	void (*on_piece)(void *ctx, struct str data); /* NULL: the answer is wanted whole */
	void (*done)(void *ctx, struct invoke_result *r);
	void *ctx;
	struct environment *environment; /* where it runs or is sent ahead */
	struct {
		uint64_t bytes;     /* so far */
		bool held, paced;   /* why the function has to wait: its caller, the pace */
		int64_t tokens;     /* bytes that may leave at once; negative: too many have left */
		int64_t counted_ns; /* when that was so */
	} stream;
	uint64_t serial; /* of all invocations, from 1 */
};

/* version.c */
/* Keep it in memory while its environments and invocations may go. */
void version_hold(struct invoke_version *v);
void version_let_go(struct invoke_version *v);
void version_dispatch(struct invoke_version *v);
void version_unref_if_done(struct invoke_version *v);
void version_requeue(struct invoke_version *v, struct invocation *n); /* to the front */
struct invocation *version_take_waiting(struct invoke_version *v);

/* invoke.c */
/* It has ended. Its caller is told at the end of the turn, after boxes got what waits for them. The
 * payload may be taken. */
void invocation_finish(struct invocation *n, enum invoke_outcome outcome, struct buf *payload);

/* environment.c */
struct environment *environment_new(struct invoke_version *v, struct err *e);
void environment_run(struct environment *en, struct invocation *n);
/* The head ends here with this error, whatever it is doing. */
void environment_cut(struct environment *en, const char *type, const char *text);
void environment_free(struct environment *en); /* nothing may be outstanding */
void environment_kill(struct environment *en); /* the same, without time for extensions */
bool environment_is_short(const struct invoke_version *v); /* runs take microseconds */
/* What runs in it takes longer than anybody should wait for a short one. */
bool environment_is_late(const struct environment *en);
bool environment_can_take(const struct environment *en, const struct invocation *n);

/* stream.c */
void stream_begin(struct environment *en, struct str content_type);
void stream_piece(struct environment *en, struct str data);
void stream_end(struct environment *en);

/* variables.c */
void variables_build(struct environment *en, struct box_spec *spec, struct buf *env,
    struct buf *init_json, const struct invoke_keys *keys);
void variables_reserved(const struct invoke_version *v, bool *ret_fresh);

/* report.c */
struct report {
	enum invoke_outcome outcome;
	const char *error_type; /* for the log; NULL when OK */
	int64_t duration_ns, init_ns;
	uint64_t peak_bytes;
};
void report_init_start(struct environment *en);
void report_extensions(struct environment *en); /* those that are ready */
void report_init_failed(struct environment *en, int64_t init_ns, bool in_invoke, const char *status,
    const char *error_type);
void report_start(struct environment *en, struct invocation *n);
void report_line(struct environment *en, struct invocation *n, struct str line);
void report_end(struct environment *en, struct invocation *n, const struct report *r);
void report_output(struct environment *en, struct str bytes);
/* What has no newline yet becomes a line. n: the invocation that ends with it, or NULL. */
void report_flush(struct environment *en, struct invocation *n);

/* lineage.c */
/* What stands for a function in lineages. */
void lineage_hash(const char *account, const char *region, const char *name, char out[9]);
/* The header one hop further, to the function of that hash; trace may be "". False: the chain has
 * come this way too often. */
bool lineage_next(const char *trace, const char hash[9], char out[INVOKE_TRACE_SIZE]);

/* async.c */
struct async *async_new(struct invoke *iv);
void async_free(struct async *a);
void async_resume(struct async *a);
void async_stop(struct async *a);

/* ---- image.c ---- */
struct invoke_image *image_copy(const struct invoke_image *i);
void image_free(struct invoke_image *i); /* NULL is fine */
