/*
 * The life of one execution environment as core sees it, and the pools that make starting one
 * cheap. Loop thread. A box runs one program (an interpreter with Mayfly's bootstrap, or a
 * function's own `bootstrap`) for one version of one function; who decides when to start, reset
 * or kill it, and what it is sent, is above (invoke).
 *
 *   making -> blank -> [starting -> warm] -> assigning -> initialising -> ready -> dead
 *
 * Blank and warm boxes wait in pools and belong to nobody. box_start() takes one, or has one made.
 */
#pragma once

#include "runtime/runtime.h"
#include "spawn/spawn.h"

struct boxes;
struct box;

/* Something that can be run in a box. Static data of the caller. */
struct box_program {
	const char *name;            /* "node", "python", "bootstrap": for people */
	bool framed;                 /* speaks the framed channel; otherwise the HTTP Runtime API */
	const char *const *argv;     /* NULL-terminated; argv[0] is the path inside the box */
	const char *const *warm_env; /* environment of a pre-started one, NULL-terminated */
};

struct boxes_options {
	uint64_t pool_memory_bytes; /* pre-started boxes may use this much together */
	unsigned pool_each;         /* at most so many pre-started per program */
	/* Serve the AWS endpoint on a socket that listens inside a box; owned by the callee until
	 * endpoint_close(handle). */
	void *(*endpoint_open)(void *ctx, int listen_fd);
	void (*endpoint_close)(void *ctx, void *handle);
	void *ctx;
};

/* spawn_fd: the socket to the spawner. The programs are those worth pre-starting. */
struct boxes *boxes_new(struct loop *l, int spawn_fd, const struct boxes_options *o,
    const struct box_program *const *programs, size_t program_count, struct err *e);
void boxes_free(struct boxes *bs);
struct spawn *boxes_spawn(struct boxes *bs);
/* Counts for the status page: all boxes, those waiting in pools, bytes those use. */
void boxes_count(struct boxes *bs, unsigned *ret_all, unsigned *ret_pooled, uint64_t *ret_bytes);

struct box_spec {
	const struct box_program *program;
	bool fresh; /* start the interpreter with env: it could change how it starts */
	struct spawn_assignment assignment;
	const char *cwd; /* to start the program in, or NULL: /var/task; lives as long as the box */
	struct str env; /* complete: "NAME=value" strings, each with its NUL, one after the other */
	uint32_t env_count;
	struct str init_json;                               /* framed: payload of FRAME_INIT */
	const char *function, *version, *handler, *account; /* HTTP: what register answers */
};

struct box_handler {
	/* The runtime asked for its first event (again, after a reset). */
	void (*on_ready)(struct box *b);
	void (*on_init_error)(struct box *b, struct str type, struct str body);
	/* An answer that streams, to an event sent with `stream`: see runtime.h. */
	void (*on_stream)(struct box *b, struct str content_type);
	void (*on_piece)(struct box *b, struct str data);
	void (*on_answer)(struct box *b, struct runtime_answer *a);
	/* After box_take_back(): the last `count` events were never begun. */
	void (*on_taken_back)(struct box *b, unsigned count);
	/* Bytes that the program wrote to stdout or stderr. Not called inside box_start(). */
	void (*on_output)(struct box *b, struct str bytes);
	/* The program has ended by itself; all its output has been delivered. What is left of it is
	 * gone only after box_stop() or box_kill(). */
	void (*on_exit)(struct box *b, int wait_status, bool out_of_memory);
	/* The program is not there (ENOENT), lacks what its first line or its linking asks for
	 * (ELIBACC), or cannot be run for another reason. Otherwise as on_exit. */
	void (*on_no_program)(struct box *b, int errnum);
	/* After box_send(): all extensions have asked for their next event. After box_retire() and
	 * box_wind_down(): they have ended. */
	void (*on_settled)(struct box *b);
	/* An extension has ended or could not be started. Otherwise as on_exit. */
	void (*on_extension_lost)(struct box *b, const char *type, const char *why);
	/* The box cannot go on (could not be made, assigned, or broke the protocol). It is being
	 * removed; b is invalid after this returns. */
	void (*on_dead)(struct box *b, const char *why);
};

/* False while as many as the machine can start at a time have begun a moment ago: more would only
 * make all of them late. A pre-started one, if there is one, can always be taken. */
bool boxes_may_start(struct boxes *bs, const struct box_spec *spec);
/* Take or make a box for the spec (copied). Returns NULL when no slot is free (-EAGAIN in e).
 * The first callback comes later, from the loop. */
struct box *box_start(struct boxes *bs, const struct box_spec *spec, const struct box_handler *h,
    void *ctx, struct err *e);
void *box_ctx(const struct box *b);
/* When this start (or the last reset) began to run code of the function, monotonic ns. */
int64_t box_init_started_ns(const struct box *b);

/* Kill everything in it and forget it: no callback follows. */
void box_kill(struct box *b);
/* Kill all its processes but keep the box and its /tmp. No callback until box_restart(), which
 * may be called at once: the program is started again when all has gone, and on_ready or
 * on_init_error, on_exit or on_no_program follows. */
void box_stop(struct box *b);
void box_restart(struct box *b);

/* An event for a box that is ready; thaws it if need be. Framed programs take several. */
void box_send(struct box *b, const struct runtime_event *ev);
/* Is nobody at work for the last event but, perhaps, the runtime? Always true without extensions.
 */
bool box_settled(const struct box *b);
/* Extensions that have registered; their names and "INVOKE,SHUTDOWN" or less. */
size_t box_extension_count(const struct box *b);
const char *box_extension(const struct box *b, size_t i, const char **ret_events);
/* Tell the extensions of a box that is ready and has nothing to do that it ends. True if they
 * deserve the time until deadline_ms (wall time): on_settled may come earlier. */
bool box_retire(struct box *b, const char *reason, int64_t deadline_ms);
/* Kill the runtime and tell the extensions that what it did ended badly: "TIMEOUT" or "FAILURE".
 * False if none of them listens. If true, on_settled may come before deadline_ms (wall time);
 * either way box_stop() has to follow. */
bool box_wind_down(struct box *b, const char *reason, int64_t deadline_ms);
/* The pieces of a stream wait, and so does the program that writes them; see runtime_pause(). */
void box_pause(struct box *b, bool paused);
/* Have back what its program has not read of the events sent to it. False when it
 * cannot be; a box that is stopped or ends meanwhile does not answer. */
bool box_take_back(struct box *b);
/* Deliver what is in the output pipe now: before an answer is booked. */
void box_drain_output(struct box *b);
/* Stop all its processes until the next box_send() or box_stop(). Only when nothing is outstanding.
 */
void box_freeze(struct box *b);
/* Highest memory use so far, bytes, from the kernel; sampled at most once a millisecond. */
uint64_t box_memory_peak(struct box *b);
/* CPU time per 100 ms from now on, µs; 0: no limit. */
void box_set_cpu(struct box *b, uint32_t quota_us);
