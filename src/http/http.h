/*
 * HTTP/1.1 server on the loop. Strict where leniency smuggles: bare LF, Content-Length with
 * Transfer-Encoding, two lengths, obs-fold, space before the colon, control characters and
 * unknown transfer codings are refused with 400 and the connection closed. Knows nothing of AWS.
 *
 * A request is collected whole (a body streams into one buffer that the handler may take), or its
 * body is handed on piece by piece; it is answered whole, from a file, or as a stream. Pipelined
 * requests are answered in order, one at a time. A client that closes, or half-closes, its side
 * while its request is being handled has gone: that is how a killed process looks. HEAD, 204 and
 * 304 never get a body. One thread: the loop's.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "loop/loop.h"

#define HTTP_HEADERS_MAX 100
#define HTTP_HEAD_MAX 32768 /* request line and headers together, bytes */
#define HTTP_TRAILER_FIELDS_MAX 16

struct http_header {
	struct str name; /* as sent; compare without case */
	struct str value;
};

struct http_request {
	struct arena *arena; /* dropped after the reply */
	struct str method;
	struct str target; /* as sent */
	struct str path;   /* target before '?', not decoded */
	struct str query;  /* target after '?', not decoded; ptr NULL when there is no '?' */
	struct http_header *headers;
	size_t header_count;
	struct buf body; /* may be taken by the handler (leave BUF_INIT behind); stays empty when
			  * streamed */
	uint64_t body_limit; /* set in on_head; beyond it the client gets 413. Default 1 MiB */
	bool keep_alive;
	bool known;         /* set in on_head: not just anybody, see bodies_max */
	bool stream;        /* set in on_head: the body is not collected, only told to on_body */
	void *listener_ctx; /* ctx of the listener the connection came in by */
	void *user;         /* the handler's */

	struct http_conn *conn; /* the server's */
};

struct http_handler {
	/* Head is complete, body not read yet: set body_limit, or http_reply() at once to refuse
	 * (after which a small body is skipped; a large one ends the connection). A client that
	 * sent Expect: 100-continue gets its 100 after this. May be NULL. */
	void (*on_head)(struct http_request *r);
	/* A piece of the body has been appended to r->body (for hashing while it streams), or, of a
	 * request with `stream` set, a piece that is gone when this returns. May reply. May be
	 * NULL.
	 */
	void (*on_body)(struct http_request *r, const void *data, size_t len);
	/* All there. Answer now or later, exactly once. */
	void (*on_request)(struct http_request *r);
	/* The client has gone, timed out or broken the rules, after the first call of a handler for
	 * this request and before the end of the reply: forget r, do not reply; it is freed after
	 * this returns. Called from the loop or from http_listener_close() and http_server_free(),
	 * never from within http_reply_*(). Not called once the reply has been handed over whole
	 * or aborted. May be NULL. */
	void (*on_cancel)(struct http_request *r);
};

struct http_limits {
	int64_t head_timeout_ms;  /* from first byte of a request to the end of its head: 408 */
	int64_t body_timeout_ms;  /* without a byte of body: 408 */
	int64_t idle_timeout_ms;  /* between requests: closed silently; 0: never */
	int64_t send_timeout_ms;  /* client does not read the answer: closed */
	unsigned connections_max; /* per server; beyond it a new one gets 503 and is closed */
	/* Bodies that are arriving, all together, beyond the first 16 KiB of each: who would exceed
	 * it gets 503. Anybody's, and those of requests with `known` set, count apart. Streamed
	 * bodies do not count. 0: no limit. */
	uint64_t bodies_max, bodies_known_max;
	uint32_t body_rate_min; /* bytes a second after body_timeout_ms: 408; 0: no limit */
};
/* 10 s, 30 s, 60 s, 30 s, 4096, 128 MiB, 1 GiB, 1 KiB/s */
extern const struct http_limits http_limits_default;

struct http_server;

struct http_server *http_server_new(
    struct loop *l, const struct http_handler *h, const struct http_limits *limits);
/* Another connections_max; those that are there stay. */
void http_server_limit(struct http_server *s, unsigned connections_max);
void http_server_free(struct http_server *s); /* closes all connections and listeners */

/* Accept on a listening socket, which becomes the server's. ctx goes to listener_ctx of each
 * request. Any number of listeners; each costs one descriptor and ~100 bytes. */
struct http_listener *http_listen(struct http_server *s, int fd, void *ctx, struct err *e);
/* At most so many connections at a time by this listener; further ones are closed at once. */
void http_listener_limit(struct http_listener *l, unsigned connections_max);
/* Close the listener and every connection that came in by it (requests are cancelled). */
void http_listener_close(struct http_listener *l);
/* Serve a connection made elsewhere; the socket becomes the server's, at failure too. 0 or
 * -errno. */
int http_server_adopt(struct http_server *s, int fd, void *ctx);
/* How many connections are open. */
size_t http_server_connections(const struct http_server *s);

/* Value of the first header of that name; ptr NULL when absent. */
struct str http_header(const struct http_request *r, const char *name);
/* The same of the trailer fields behind a chunked body, from on_request on: at most
 * HTTP_TRAILER_FIELDS_MAX of them, 8 KiB, never one that frames or routes. */
struct str http_trailer(const struct http_request *r, const char *name);

/* Backpressure for a request with `stream` set, from on_head until on_request (where there is
 * nothing left to pause). Between the two calls neither on_body nor on_request is called; what was
 * received stays in the connection's one buffer, the socket is not read (so the client's window
 * closes), and body_timeout does not run. resume() goes on at the end of the turn, never from
 * within the call. Both may be called twice. A client that goes away while paused is cancelled as
 * ever. */
void http_request_pause(struct http_request *r);
void http_request_resume(struct http_request *r);

/* Answer whole. Content-Length, Date and Connection are added; other headers are the caller's.
 * Dropped are headers that would break the framing: those three, Transfer-Encoding, Keep-Alive,
 * and any with a bad name or a control character in its value. A status outside 200-599 becomes
 * 502. Body and headers are copied before return. The request is freed. */
void http_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct str body);

/* Answer with length bytes of a file from offset on, by sendfile(2): they never enter our memory.
 * Headers as in http_reply(). fd becomes the server's and is closed at the end; it must be a
 * regular file. At most 1 MiB leaves in one turn of the loop. A file that turns out shorter breaks
 * the connection, so that the client sees a truncated answer. HEAD, 204 and 304 get the head alone.
 * The handler is done with the request: on_cancel is not called any more. */
void http_reply_file(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int fd, uint64_t offset, uint64_t length);

/* The same of several files in a row: an object that was uploaded in parts. Each is opened when its
 * turn comes, so that ten thousand cost one descriptor. */
struct http_pieces {
	/* The next one: 0 and a regular file, which becomes the server's; or -errno, which breaks
	 * the connection. */
	int (*next)(struct http_pieces *p, int *ret_fd, uint64_t *ret_offset, uint64_t *ret_length);
	void (*free)(struct http_pieces *p); /* at the end, in any case */
};
/* length bytes altogether. */
void http_reply_pieces(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct http_pieces *p, uint64_t length);

/* Answer as a stream: chunked when length is negative (close-delimited for HTTP/1.0). data() never
 * blocks; it returns how many bytes wait to be sent, so that a producer can pause; on_drain is
 * called when fewer than 64 KiB wait again, after data() has returned that much or more (may be
 * NULL). Small pieces are gathered until the end of the turn. end() frees the request; with a
 * length, data beyond it is dropped and a short answer ends like abort(). abort() breaks the
 * connection so that the client sees a truncated answer, and frees the request. Answering HEAD
 * with a length gives that Content-Length without a body. */
void http_reply_start(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int64_t length, void (*on_drain)(struct http_request *r));
size_t http_reply_data(struct http_request *r, struct str data);
void http_reply_end(struct http_request *r);
void http_reply_abort(struct http_request *r);

/* ---- switching protocols (RFC 9110, 7.8) ----
 *
 * A request may ask for another protocol on its connection. It gets it only where a handler calls
 * http_upgrade(); everywhere else the wish is ignored and the request answered as ever. After the
 * 101 the connection carries bytes both ways; it belongs to its listener as before. */

struct http_tunnel;

struct http_tunnel_handler {
	/* At most 32 KiB that have come; not kept here. Not called while paused. */
	void (*on_data)(void *ctx, const void *data, size_t len);
	/* The client has ended its side; all it sent has been told. Sending goes on. */
	void (*on_end)(void *ctx);
	/* The client has ended its side, or is gone, but of what it sent some may not have been
	 * told yet: heard while paused, too. May be NULL. */
	void (*on_hang_up)(void *ctx);
	/* Fewer than 64 KiB wait again, after send() has returned that much or more. May be NULL.
	 */
	void (*on_drain)(void *ctx);
	/* The connection broke, stalled, or is closed by http_listener_close() or
	 * http_server_free(): forget it. The last call. Never from within http_tunnel_*(). */
	void (*on_lost)(void *ctx);
	/* How long a client may take none of what waits for it; 0: as long as it likes (one that
	 * vanished is found out by TCP). */
	int64_t stall_timeout_ms;
};

/* Does the request ask for this protocol, by HTTP/1.1, Connection and Upgrade? */
bool http_upgrade_asked(const struct http_request *r, const char *protocol);
/* Answer 101, where it asked, from on_request on; the request is freed. handler outlives the
 * tunnel. NULL: the client did not wait for the 101; that is refused with 400, because bytes behind
 * a request may have been meant as another request by whoever stands between. */
struct http_tunnel *http_upgrade(struct http_request *r, const char *protocol,
    const struct http_tunnel_handler *handler, void *ctx);
/* Never blocks; returns how many bytes wait to be sent, for the producer to pause. Gathered until
 * the end of the turn. */
size_t http_tunnel_send(struct http_tunnel *t, struct str data);
/* Backpressure: the socket is not read meanwhile. Both may be called twice. */
void http_tunnel_pause(struct http_tunnel *t);
void http_tunnel_resume(struct http_tunnel *t);
/* Send what waits, then end our side; the client has a moment to do the same. No call of the
 * handler follows, and t is no more. */
void http_tunnel_finish(struct http_tunnel *t);
/* At once, whatever waits. As above. */
void http_tunnel_close(struct http_tunnel *t);

/* Dotted address and port of the client, "" for a Unix socket. */
void http_peer(const struct http_request *r, char address[64], uint16_t *port);

const char *http_status_text(unsigned status); /* "Not Found"; "Unknown" */
