/*
 * What runs inside a box, as core talks to it: one interface over two protocols, the framed channel
 * of Mayfly's own bootstraps (channel.c) and the HTTP Runtime API for everybody else (api.c).
 * Loop thread. The box's side is hostile: whatever breaks the protocol ends in on_broken().
 */
#pragma once

#include "base/buf.h"
#include "http/http.h"
#include "loop/loop.h"

struct runtime;
struct runtime_api;

#define RUNTIME_AHEAD_MAX 64 /* events sent and not answered, framed; one over HTTP */

/* X-Ray's header with a lineage, and a NUL: what a frame has room for. */
#define RUNTIME_TRACE_SIZE 109

struct runtime_event {
	char request_id[37];
	char trace_id[RUNTIME_TRACE_SIZE]; /* "" when there is none */
	const char *arn;                   /* as the caller invoked it */
	struct str client_context;         /* JSON, decoded; empty when there is none */
	struct str identity;               /* JSON for Cognito identity; empty when there is none */
	int64_t timeout_ms;                /* left when it starts */
	int64_t deadline_ms;               /* the same as wall time */
	struct str payload;                /* valid until runtime_send() returns */
	bool stream;                       /* its answer may come in pieces: see on_stream */
};

struct runtime_answer {
	const char *request_id;
	bool is_error;
	struct str error_type; /* is_error: e.g. "Runtime.HandlerNotFound", may be empty */
	struct buf *payload;   /* the callee may take the memory (leave BUF_INIT) */
};

struct runtime_handler {
	void (*on_warm)(void *ctx);  /* framed only: interpreter waits for runtime_init() */
	void (*on_ready)(void *ctx); /* init done: asked for its first event */
	void (*on_init_error)(void *ctx, struct str type, struct str body);
	/* Only for an event that was sent and not answered yet; in the order of sending. */
	void (*on_answer)(void *ctx, struct runtime_answer *a);
	/* Channel closed or protocol broken; why is "" for an orderly close. */
	void (*on_broken)(void *ctx, const char *why);
	/* The answer to an event sent with `stream` comes in pieces, if what runs inside wants
	 * that: once on_stream, then pieces as they come, then on_answer, whose payload is empty or
	 * the error that cut the stream short. content_type may be empty. */
	void (*on_stream)(void *ctx, struct str content_type);
	void (*on_piece)(void *ctx, struct str data);
	/* HTTP only, and may be NULL: an extension has registered or asked for its next event. */
	void (*on_extensions)(void *ctx);
	/* The last `count` events were not read by the program and never will be; it may be 0. */
	void (*on_taken_back)(void *ctx, unsigned count);
};

/* Core's descriptors of a framed channel. */
struct runtime_channel_fds {
	int to_box, from_box;
	int unread; /* another of the end that the box reads from, for runtime_take_back() */
};

/* The socket pairs of a framed channel. ret_theirs: for the box to read from, and to write to. 0 or
 * -errno. */
int runtime_channel_pairs(struct runtime_channel_fds *ret_ours, int ret_theirs[2]);
/* Framed: the descriptors are owned from here. */
struct runtime *runtime_channel_new(struct loop *l, const struct runtime_channel_fds *fds,
    const struct runtime_handler *h, void *ctx);
/* HTTP Runtime API: listener made inside the box's network namespace, owned from here. */
struct runtime *runtime_api_new(struct runtime_api *api, int listen_fd,
    const struct runtime_handler *h, void *ctx, struct err *e);
/* One for all boxes: routes, server and limits. */
struct runtime_api *runtime_api_open(struct loop *l);
void runtime_api_close(struct runtime_api *api);

void runtime_free(struct runtime *r);

/* The process behind it was killed and is being started again (HTTP: connections are dropped and
 * state goes back to "initialising"; framed channels are made anew instead). */
void runtime_api_reset(struct runtime *r);

/* What GET /extension/register and the like answer; strings are copied. HTTP only. */
void runtime_api_describe(struct runtime *r, const char *function, const char *version,
    const char *handler, const char *account);

/* The runtime itself speaks framed: this one serves its extensions alone, and no on_ready comes. */
void runtime_api_beside(struct runtime *r);
/* Then these two replace what requests of the runtime do: init is over, nobody registers any more;
 * and an event has begun. */
void runtime_api_init_done(struct runtime *r);
void runtime_api_tell(struct runtime *r, const struct runtime_event *ev);
/* How many extensions have registered. */
size_t runtime_api_extensions(const struct runtime *r);
/* Its name, and for which events it asked: "INVOKE,SHUTDOWN". i < runtime_api_extensions(). */
const char *runtime_api_extension(const struct runtime *r, size_t i, const char **ret_events);
/* All of them have asked for their next event. */
bool runtime_api_settled(const struct runtime *r);

/* Does any of them want to be told of the end? */
bool runtime_api_minds_end(const struct runtime *r);
/* Tell the extensions of the box that it ends (reason: "SPINDOWN", "TIMEOUT" or "FAILURE"), and
 * that they have until deadline_ms (wall time). Who is still busy with an event is told when he
 * asks for the next. HTTP only. */
void runtime_api_shutdown(struct runtime *r, const char *reason, int64_t deadline_ms);

/* Framed only, after on_warm: become that function. */
void runtime_init(struct runtime *r, struct str init_json);

/* Queue one event. Framed: several may be queued, they are answered one after the other; written
 * at the end of the turn, one system call for all. HTTP: one at a time, held until `next`. */
void runtime_send(struct runtime *r, const struct runtime_event *ev);

/* Between the two calls nothing more of a stream is told, nor read: the box has to wait. Only
 * between on_stream and on_answer, which also ends a pause. */
void runtime_pause(struct runtime *r, bool paused);

/* Take back what the program has not begun to read, but for the oldest event. True: on_taken_back
 * follows once, from the loop, unless the channel ends. Framed only. */
bool runtime_take_back(struct runtime *r);
