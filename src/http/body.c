/*
 * Bodies of requests: collected into r->body, or handed on as they come. Called from the frames of
 * conn.c only, but for pausing, which handlers may do whenever they like.
 *
 * A streamed body is received into one buffer of the server's, lent to the connection for a turn:
 * large enough for few system calls, small enough to stay in the cache, and no memory a connection.
 */
#include "http/http_int.h"

#define BODY_READ 262144   /* bytes of a collected body taken per turn */
#define CHUNKED_READ 65536 /* the same for a chunked one */
#define STREAM_READ 131072 /* the same for a streamed one, however it is framed */
#define BODY_FREE 16384    /* so much of each body counts against no budget */

void conn_body_begin(struct http_conn *c)
{
	const struct http_head *h = &c->head;

	c->body_left = h->content_length > 0 ? (uint64_t)h->content_length : 0;
	c->body_got = 0;
	c->body_began_ns = loop_now_ns(c->server->loop);
	c->body_unread = h->chunked || c->body_left;
	c->chunked_in = (struct http_chunked){0};
	c->trailer_text = NULL;
	c->trailer_len = c->trailer_count = 0;
}

/* A byte now and then keeps a body alive only if they add up. */
int64_t conn_body_patience(const struct http_conn *c, int64_t usual_ns)
{
	uint32_t rate = c->server->limits.body_rate_min;
	int64_t earned_ns, spent_ns = loop_now_ns(c->server->loop) - c->body_began_ns;

	if (!rate || !usual_ns)
		return usual_ns;
	earned_ns = usual_ns + (int64_t)(c->body_got * 1000 / rate) * 1000000 - spent_ns;
	if (earned_ns < usual_ns)
		return earned_ns > 1000000 ? earned_ns : 1000000;
	return usual_ns;
}

static void end_body(struct http_conn *c)
{
	c->body_unread = false;
	conn_uncount(c);
	if (c->skipping) {
		conn_next(c);
		return;
	}
	c->phase = CONN_HANDLER;
	c->seen = true;
	c->server->handler.on_request(c->request);
}

/* Count what arrives against the server's budget; false when that is spent. */
static bool count_body(struct http_conn *c)
{
	const struct http_limits *limits = &c->server->limits;
	uint64_t most = c->body_known ? limits->bodies_known_max : limits->bodies_max;
	uint64_t *sum = &c->server->arriving[c->body_known];
	uint64_t counts = c->body_got > BODY_FREE ? c->body_got - BODY_FREE : 0;

	if (most && *sum - c->body_counted + counts > most) {
		conn_refuse(c, 503, "the server is taking in too much at once; try again later");
		return false;
	}
	*sum += counts - c->body_counted;
	c->body_counted = counts;
	return true;
}

static void tell_body(struct http_conn *c, const char *data, size_t len)
{
	if (!c->request->stream && !count_body(c))
		return;
	if (c->server->handler.on_body) {
		c->seen = true;
		c->server->handler.on_body(c->request, data, len);
	}
}

static void add_body(struct http_conn *c, struct str piece)
{
	struct http_request *r = c->request;

	if (c->skipping)
		return;
	c->body_got += piece.len;
	if (c->body_got > r->body_limit) {
		conn_refuse(c, 413, "the body is longer than this operation allows");
		return;
	}
	if (!r->stream) {
		buf_append_str(&r->body, piece);
		piece.ptr = r->body.mem + r->body.end - piece.len;
	}
	tell_body(c, piece.ptr, piece.len);
}

/* The decoder gives no more of them than there is room for. */
static void add_trailer(struct http_conn *c, struct str piece)
{
	if (c->skipping)
		return;
	if (!c->trailer_text)
		c->trailer_text = arena_alloc(&c->arena, HTTP_TRAILERS_MAX);
	check(piece.len <= HTTP_TRAILERS_MAX - c->trailer_len);
	memcpy(c->trailer_text + c->trailer_len, piece.ptr, piece.len);
	c->trailer_len += piece.len;
}

static void end_chunked(struct http_conn *c)
{
	int n;

	if (c->trailer_len) {
		c->trailers = arena_array(&c->arena, HTTP_TRAILER_FIELDS_MAX, struct http_header);
		n = http_trailers_parse((struct str){c->trailer_text, c->trailer_len}, c->trailers);
		if (n < 0) {
			conn_refuse(c, (unsigned)-n,
			    n == -431 ? "too many trailer fields; the limit is 16"
				      : "a trailer field must not frame or route the message");
			return;
		}
		c->trailer_count = (size_t)n;
	}
	end_body(c);
}

static bool advance_chunked(struct http_conn *c)
{
	struct str in = buf_str(&c->in), piece;
	size_t had = in.len;
	int r = http_chunked_next(&c->chunked_in, &in, &piece);

	if (r < 0) {
		conn_refuse(c, (unsigned)-r, "the chunked body is malformed");
		return true;
	}
	/* Consuming does not move memory, so the piece stays where it is. */
	buf_consume(&c->in, had - in.len);
	if (r == HTTP_CHUNK_END)
		end_chunked(c);
	else if (r == HTTP_CHUNK_DATA)
		add_body(c, piece);
	else if (r == HTTP_CHUNK_TRAILER)
		add_trailer(c, piece);
	return r != HTTP_CHUNK_MORE;
}

bool conn_body_advance(struct http_conn *c)
{
	struct str piece;

	if (c->paused)
		return false;
	if (c->owes_continue) {
		c->owes_continue = false;
		if (!buf_len(&c->in))
			conn_send(c, STR("HTTP/1.1 100 Continue\r\n\r\n"), STR_NULL);
	}
	if (c->head.chunked)
		return advance_chunked(c);
	if (!c->body_left) {
		end_body(c);
		return true;
	}
	if (!buf_len(&c->in))
		return false;
	piece = (struct str){buf_data(&c->in), min_size(buf_len(&c->in), c->body_left)};
	c->body_left -= piece.len;
	buf_consume(&c->in, piece.len);
	add_body(c, piece);
	return true;
}

/* A body of known length goes where it will stay. */
static ssize_t receive_whole(struct http_conn *c)
{
	struct buf *b = &c->request->body;
	size_t want = min_size(c->body_left, max_size(READ_AHEAD, min_size(buf_len(b), BODY_READ)));
	ssize_t n = conn_receive(c, buf_reserve(b, want), want);

	if (n > 0) {
		buf_commit(b, (size_t)n);
		c->body_left -= (size_t)n;
		c->body_got += (size_t)n;
		tell_body(c, b->mem + b->end - n, (size_t)n);
	}
	return n;
}

static ssize_t receive_stream(struct http_conn *c)
{
	size_t want = c->head.chunked ? STREAM_READ : min_size(c->body_left, STREAM_READ);
	ssize_t n;

	buf_done(&c->in);
	c->in = c->server->inbox;
	c->server->inbox = (struct buf)BUF_INIT;
	c->lent = true;
	n = conn_receive(c, buf_reserve(&c->in, STREAM_READ), want);
	if (n > 0)
		buf_commit(&c->in, (size_t)n);
	return n;
}

void conn_body_unlend(struct http_conn *c)
{
	struct buf rest = BUF_INIT;

	if (c->dead)
		return;
	c->lent = false;
	if (buf_len(&c->in))
		buf_append_str(&rest, buf_str(&c->in));
	buf_clear(&c->in);
	buf_done(&c->server->inbox);
	c->server->inbox = c->in;
	c->in = rest;
}

ssize_t conn_body_receive(struct http_conn *c)
{
	ssize_t n;

	conn_wait(c, WAIT_BODY);
	if (c->skipping && !c->head.chunked) {
		n = conn_discard(c, min_size(c->body_left, SIZE_MAX));
		if (n > 0)
			c->body_left -= (size_t)n;
		return n;
	}
	if (!c->skipping && c->request->stream && !buf_len(&c->in))
		return receive_stream(c);
	if (c->head.chunked || buf_len(&c->in))
		return conn_receive_into(c, &c->in, CHUNKED_READ);
	return receive_whole(c);
}

void http_request_pause(struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(c && c->request == r && !c->dead && r->stream);
	if (c->phase != CONN_BODY || c->paused)
		return;
	c->paused = true;
	c->paused_ns = loop_now_ns(c->server->loop);
	if (!c->busy)
		conn_settle(c);
}

void http_request_resume(struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(c && c->request == r && !c->dead && r->stream);
	if (!c->paused)
		return;
	c->paused = false;
	c->body_began_ns += loop_now_ns(c->server->loop) - c->paused_ns;
	loop_defer(c->server->loop, &c->task);
	if (!c->busy)
		conn_settle(c);
}

struct str http_trailer(const struct http_request *r, const char *name)
{
	const struct http_conn *c = r->conn;
	struct str wanted = str_from(name);

	for (size_t i = 0; i < c->trailer_count; i++)
		if (str_eq_nocase(c->trailers[i].name, wanted))
			return c->trailers[i].value;
	return STR_NULL;
}
