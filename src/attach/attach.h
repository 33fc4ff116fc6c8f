/*
 * Interactive streams: a client's connection on one end, a process in a container on the other.
 * Each request becomes one session, which lives until its client has gone and, if it started a
 * process, that has ended. The protocol is in frame.h. Who may do this has been judged before.
 * Loop thread.
 *
 * What a session holds is bounded: ATTACH_WINDOW bytes of input, and of output what the connection
 * was given before it said enough. A client that reads nothing holds its process back, for as
 * long as it likes; but see `going`.
 */
#pragma once

#include "http/http.h"
#include "spawn/container.h"

struct attach_from {
	struct loop *loop;
	struct spawn *spawn;
	struct http_request
	    *request; /* answered by the session: 101, or why not; its user is ours */
};

/* Run a process. Everything in x is copied. stdin_open: the client may send to its stdin. */
void attach_exec(const struct attach_from *from, const struct container_exec *x, bool stdin_open);

/* The streams of a container itself. */
struct attach_container {
	char id[CONTAINER_ID_SIZE];
	bool stdin_open, terminal;
	uint16_t rows, columns; /* 0: leave the terminal as it is */
	/* The streams are connected (true), or will not be. Called once, if at all. May be NULL. */
	void (*attached)(void *ctx, bool success);
	/* Asked each second while the client does not read: is the container to go on? If not, the
	 * session lets go of it, because a container that ends waits for who reads its output. May
	 * be NULL: yes. */
	bool (*going)(void *ctx);
	/* No call follows. May be NULL. */
	void (*end)(void *ctx);
	void *ctx;
};
void attach_container(const struct attach_from *from, const struct attach_container *c);

/* The http_handler's on_cancel for these requests. */
void attach_cancel(struct http_request *r);
