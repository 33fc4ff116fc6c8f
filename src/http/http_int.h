/* The server inside: what server.c (sockets), conn.c (requests), body.c (their bodies), reply.c
 * (answers), file.c (answers from files) and tunnel.c (other protocols) share. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/list.h"
#include "http/codec.h"
#include "http/http.h"

#define HTTP_DRAIN_LOW 65536 /* on_drain below this many waiting bytes */
#define READ_AHEAD 16384     /* bytes of pipelined requests taken in while one is handled */

struct http_server {
	struct loop *loop;
	struct http_handler handler;
	struct http_limits limits;
	struct list listeners;
	struct list adopted; /* connections without a listener */
	size_t connections;
	uint64_t arriving[2]; /* bytes of bodies, see http_limits.bodies_max; [1]: known */
	struct buf scratch;   /* the answer being built */
	struct buf inbox;     /* where streamed bodies arrive, one connection's at a time */
	char date[40];        /* "Date: ...\r\n" */
	size_t date_len;
	int64_t date_until_ns;
	int64_t warned_ns; /* last complaint about accepting */
};

struct http_listener {
	struct loop_io io;
	struct loop_timer pause; /* set while there are no descriptors to accept with */
	struct http_server *server;
	struct list node;
	struct list connections;
	unsigned connection_count, connections_max; /* 0: no limit */
	void *ctx;
};

enum conn_phase {
	CONN_HEAD,    /* between requests, or a head is arriving */
	CONN_BODY,    /* a body is arriving, or being skipped after an early answer */
	CONN_HANDLER, /* the handler has the whole request */
	CONN_STREAM,  /* the handler is answering as a stream */
	CONN_FILE,    /* a file is being sent; the handler is done */
	CONN_TUNNEL,  /* another protocol is spoken: see tunnel.c */
	CONN_CLOSING, /* last answer is being sent; then the client has a moment to read it */
};

/* What the deadline of a connection is for. */
enum conn_wait { WAIT_NOTHING, WAIT_IDLE, WAIT_HEAD, WAIT_BODY, WAIT_SEND, WAIT_DRAIN };

struct http_tunnel {
	const struct http_tunnel_handler *handler;
	void *ctx;
};

union conn_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct http_conn {
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task task;
	struct http_server *server;
	struct http_listener *listener; /* NULL: adopted */
	struct list node;
	void *ctx;
	union conn_address peer;
	enum conn_phase phase;
	enum conn_wait waiting;

	bool busy;     /* a frame below works on this connection: freeing is left to it */
	bool dead;     /* closed; only the memory is left */
	bool seen;     /* a handler knows the request: on_cancel is owed */
	bool skipping; /* body of a request that has been answered already */
	bool eof;      /* the client has ended its side */
	bool hung_up;  /* EPOLLRDHUP has been heard */
	bool blocked;  /* the socket took less than it was given: waiting for EPOLLOUT */
	bool broken;   /* sending failed */
	bool shut;     /* our side is ended */
	bool has_own_stall;
	bool linger; /* closing: let the client read the answer before the socket goes */

	/* Of the request at hand and its answer. */
	bool body_unread; /* some of the body has not been received */
	bool paused;      /* CONN_BODY, CONN_TUNNEL: the handler wants no more for now */
	bool lent;        /* c->in has the server's inbox while a piece is being handed on */
	bool owes_continue;
	bool is_head;
	bool keep;     /* the connection goes on after this answer */
	bool bodyless; /* to HEAD, or 204, or 304 */
	bool counted;  /* has a length, stream_left bytes of which are still owed */
	bool chunked_out;
	bool want_drain;
	uint64_t body_left, body_got;
	uint64_t body_counted; /* of it, in server->arriving */
	bool body_known;       /* where it is counted */
	int64_t body_began_ns; /* put off by the time it was paused */
	int64_t paused_ns;     /* since when */
	char *trailer_text;    /* in the arena, as they came; NULL before the first */
	size_t trailer_len;
	struct http_header *trailers; /* in the arena */
	size_t trailer_count;
	size_t drained; /* bytes read since the last answer is out */
	uint64_t stream_left;
	int file; /* being sent, from file_offset on; -1: none */
	uint64_t file_offset, file_left;
	struct http_pieces *pieces; /* that follow; NULL: none */
	uint64_t pieces_left;       /* bytes of them */
	void (*on_drain)(struct http_request *r);
	struct http_tunnel tunnel;
	int64_t stall_timeout_ms; /* instead of the server's send_timeout_ms, if has_own_stall */

	int64_t deadline_ns; /* 0: none. The timer may come earlier, and is then set again. */
	struct buf in;       /* received, not used yet */
	struct buf bytes;    /* the head of the request at hand; its strings point here */
	struct buf out;      /* not sent yet */
	struct http_request *request; /* memory of the request, kept for the next one */
	size_t header_room;           /* of request->headers */
	struct arena arena;
	struct http_chunked chunked_in;
	struct http_head head;
};

/* server.c */

/* Serve fd from now on; NULL (and fd closed) when the loop cannot watch it. */
struct http_conn *conn_new(struct http_server *s, struct list *siblings, int fd, void *ctx);
/* Close the socket and take the connection out of its server. The memory goes now, or when the
 * frame that is working on it returns. on_cancel is not called. */
void conn_close(struct http_conn *c);
/* The same, after telling the handler that its request is gone. */
void conn_lose(struct http_conn *c);
/* The body counts no longer as arriving. */
void conn_uncount(struct http_conn *c);
/* The Date header line, made anew once a second. */
struct str server_date(struct http_server *s);

/* conn.c */
void conn_on_ready(struct loop_io *io, uint32_t events);
void conn_on_due(struct loop_timer *t);
void conn_on_task(struct loop_task *t);
/* Set deadline and events as the state of the connection wants them. */
void conn_settle(struct http_conn *c);
/* May the connection go on after an answer now? Yes if what is left of the request's body is
 * little enough to be skipped. */
bool conn_can_continue(const struct http_conn *c);
/* The answer is handed over: the request goes, the connection turns to what is next. */
void conn_answered(struct http_conn *c);
/* The memory of the request goes; nobody knows it any more. */
void conn_drop_request(struct http_conn *c);
/* Answer on the server's own account, then close. */
void conn_refuse(struct http_conn *c, unsigned status, const char *why);
/* Start the time after which the client must have made progress. */
void conn_wait(struct http_conn *c, enum conn_wait what);
/* No more requests: what waits is sent, then our side is ended. linger: the client has a moment to
 * read it. */
void conn_begin_closing(struct http_conn *c, bool linger);
/* The end of a frame that set c->busy. */
void conn_leave(struct http_conn *c);
/* Turn to the next request. */
void conn_next(struct http_conn *c);
/* One recv() a turn. Returns what it did, 0 at the end, or -errno (-EAGAIN: nothing there). */
ssize_t conn_receive(struct http_conn *c, void *to, size_t size);
ssize_t conn_receive_into(struct http_conn *c, struct buf *b, size_t want);
ssize_t conn_discard(struct http_conn *c, size_t size);

/* body.c */

/* The head says what is to come. */
void conn_body_begin(struct http_conn *c);
/* Do what can be done with what has arrived; false: wait for more, or there is no more to do. */
bool conn_body_advance(struct http_conn *c);
ssize_t conn_body_receive(struct http_conn *c);
/* Give the inbox back; what was not used of it stays in c->in. */
void conn_body_unlend(struct http_conn *c);
/* How long the next byte may take, when usually it is so long. */
int64_t conn_body_patience(const struct http_conn *c, int64_t usual_ns);

/* file.c */
void conn_file_done(struct http_conn *c); /* close what is being sent; harmless when nothing is */

/* Send on, or end the answer. */
void conn_file_send(struct http_conn *c);

/* tunnel.c */
ssize_t conn_tunnel_receive(struct http_conn *c);
void conn_tunnel_hung_up(struct http_conn *c);
void conn_tunnel_sent(struct http_conn *c);

/* reply.c */

/* Send what waits, as far as the socket takes it; a failure sets c->broken. */
void conn_flush(struct http_conn *c);
/* Send two pieces, or queue what the socket does not take. */
void conn_send(struct http_conn *c, struct str first, struct str second);
/* The same with more to follow at once: no packet need leave yet. */
void conn_send_more(struct http_conn *c, struct str data);
/* What waits leaves at the end of the turn. */
void conn_gather(struct http_conn *c);
/* Would a later try fail too? Looks at errno. */
bool conn_send_failed(ssize_t n);
/* The request must be one that waits for its answer: everything else is our own bug. */
struct http_conn *conn_to_answer(const struct http_request *r);
/* Lengths of answers other than a number. */
enum { HTTP_NO_LENGTH = -1, HTTP_CHUNKED = -2 };
/* The head of an answer, into the server's scratch buffer. */
struct buf *conn_put_head(struct http_conn *c, unsigned status, const struct http_header *headers,
    size_t count, int64_t length);
unsigned conn_final_status(unsigned status);
bool conn_answer_has_no_body(const struct http_conn *c, unsigned status);
/* Send the answer of conn_refuse(). */
void conn_send_error(struct http_conn *c, unsigned status, const char *why);
