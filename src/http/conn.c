/*
 * A connection: from bytes to requests, one at a time, and on to the next. Entered from the loop
 * only (conn_on_*), each entry being a frame: between enter() and leave() handlers may answer,
 * close the listener or drop the connection, and memory goes when the frame ends.
 */
#include <sys/epoll.h>

#include "http/http_int.h"

#define READ_SIZE 4096
#define SKIP_MAX 65536      /* longest rest of a body worth reading to keep a connection */
#define KEEP_CAPACITY 65536 /* buffers larger than this are not kept between requests */
/* After a refusal, of what is still being sent: many a client looks for the answer only when it has
 * sent all of it, however long that is. */
#define DRAIN_MS 10000
#define DRAIN_MAX (256u << 20)
#define BODY_LIMIT_DEFAULT (1u << 20)

void conn_wait(struct http_conn *c, enum conn_wait what)
{
	const struct http_limits *limits = &c->server->limits;
	const int64_t ms[] = {
	    [WAIT_NOTHING] = 0,
	    [WAIT_IDLE] = limits->idle_timeout_ms,
	    [WAIT_HEAD] = limits->head_timeout_ms,
	    [WAIT_BODY] = limits->body_timeout_ms,
	    [WAIT_SEND] = limits->send_timeout_ms,
	    [WAIT_DRAIN] = DRAIN_MS,
	};
	int64_t delay_ns = ms[what] * 1000000;

	if (what == WAIT_SEND && c->has_own_stall)
		delay_ns = c->stall_timeout_ms * 1000000;
	if (what == WAIT_BODY)
		delay_ns = conn_body_patience(c, delay_ns);
	c->waiting = what;
	c->deadline_ns = delay_ns > 0 ? loop_now_ns(c->server->loop) + delay_ns : 0;
	/* A timer that comes earlier is left alone: it finds out, and is then set again. So a
	 * request costs no work on timers. */
	if (c->deadline_ns && (!c->timer.slot || c->timer.due_ns > c->deadline_ns + 1000000))
		loop_timer_set(c->server->loop, &c->timer, delay_ns);
}

static bool handler_has_it(const struct http_conn *c)
{
	return c->phase == CONN_HANDLER || c->phase == CONN_STREAM;
}

static void update_events(struct http_conn *c)
{
	bool full = (handler_has_it(c) || c->phase == CONN_FILE || c->blocked) &&
		    buf_len(&c->in) >= READ_AHEAD;
	uint32_t events = 0;

	if (!c->eof && !c->paused && (!full || c->phase == CONN_CLOSING))
		events |= EPOLLIN;
	/* Level-triggered: heard once, it is only of use where it means "cancel". */
	if (!c->eof && (!c->hung_up || handler_has_it(c)))
		events |= EPOLLRDHUP;
	if (c->blocked)
		events |= EPOLLOUT;
	if (events != c->io.events)
		loop_io_change(c->server->loop, &c->io, events);
}

void conn_settle(struct http_conn *c)
{
	if (c->blocked) {
		if (c->waiting != WAIT_SEND)
			conn_wait(c, WAIT_SEND);
	} else if (c->phase == CONN_HEAD && !buf_len(&c->in)) {
		conn_wait(c, WAIT_IDLE);
	} else if (c->phase == CONN_HEAD && c->waiting != WAIT_HEAD) {
		conn_wait(c, WAIT_HEAD); /* from its first byte on, however slowly it drips */
	} else if (handler_has_it(c) || c->paused || c->phase == CONN_TUNNEL) {
		c->waiting = WAIT_NOTHING;
		c->deadline_ns = 0;
	} else if (c->phase == CONN_BODY && c->waiting != WAIT_BODY) {
		conn_wait(c, WAIT_BODY);
	}
	update_events(c);
}

static void enter(struct http_conn *c)
{
	check(!c->busy);
	c->busy = true;
}

void conn_leave(struct http_conn *c)
{
	c->busy = false;
	if (c->dead)
		conn_close(c);
	else
		conn_settle(c);
}

/* In sanitized builds the memory is new each time, so that a handler that keeps a pointer is found
 * out. */
void conn_drop_request(struct http_conn *c)
{
	struct http_request *r = c->request;

	arena_reset(&c->arena);
	conn_uncount(c);
	c->seen = false;
	if (!r)
		return;
	r->conn = NULL;
	buf_clear(&r->body);
	if (r->body.capacity > KEEP_CAPACITY)
		buf_done(&r->body);
#ifdef MAYFLY_SANITIZED
	buf_done(&r->body);
	buf_done(&c->bytes);
	free(r->headers);
	free(r);
	c->request = NULL;
	c->header_room = 0;
#endif
}

void conn_refuse(struct http_conn *c, unsigned status, const char *why)
{
	bool was_busy = c->busy;

	c->busy = true;
	if (c->seen) {
		c->seen = false;
		if (c->server->handler.on_cancel)
			c->server->handler.on_cancel(c->request);
	}
	c->paused = false;
	conn_uncount(c);
	if (!c->dead) {
		conn_send_error(c, status, why);
		conn_drop_request(c);
		conn_begin_closing(c, true);
	}
	if (!was_busy)
		conn_leave(c);
}

/* Once the last answer is out. A socket closed with bytes unread makes the kernel throw away what
 * the client has not yet received, so after a refusal we end our side and read on for a while. */
static void go_on_closing(struct http_conn *c)
{
	if (c->broken) {
		conn_close(c);
	} else if (!c->blocked && (!c->linger || c->eof)) {
		conn_close(c);
	} else if (!c->blocked && !c->shut) {
		c->shut = true;
		shutdown(c->io.fd, SHUT_WR);
		conn_wait(c, WAIT_DRAIN);
	}
}

void conn_begin_closing(struct http_conn *c, bool linger)
{
	c->phase = CONN_CLOSING;
	c->linger = linger;
	go_on_closing(c);
}

bool conn_can_continue(const struct http_conn *c)
{
	const struct http_head *h = &c->head;

	if (c->owes_continue)
		return false;
	if (!c->body_unread)
		return !c->eof;
	/* After Expect nobody knows whether the body will come. */
	return !c->eof && !h->chunked && !h->expect_continue && c->body_left <= SKIP_MAX;
}

void conn_next(struct http_conn *c)
{
	c->phase = CONN_HEAD;
	c->skipping = c->body_unread = false;
	http_head_reset(&c->head);
}

/* The next request may be here already. From a frame its loop goes on with it; otherwise a task
 * does, so that the handler who has just answered is not entered again. */
void conn_answered(struct http_conn *c)
{
	bool was_busy = c->busy;

	c->busy = true;
	c->paused = false;
	conn_drop_request(c);
	if (c->broken)
		conn_close(c);
	else if (!c->keep)
		conn_begin_closing(c, c->body_unread || buf_len(&c->in));
	else if (c->body_unread)
		c->skipping = true;
	else
		conn_next(c);
	if (was_busy)
		return;
	if (!c->dead && buf_len(&c->in))
		loop_defer(c->server->loop, &c->task);
	conn_leave(c);
}

/* r's strings point into c->bytes, so the head moves there; of head and rest the shorter one is
 * copied. */
static const char *set_head_aside(struct http_conn *c, size_t len)
{
	size_t rest = buf_len(&c->in) - len;
	struct buf swap;

	buf_clear(&c->bytes);
	if (rest > len || c->lent) {
		buf_append(&c->bytes, buf_data(&c->in), len);
		buf_consume(&c->in, len);
	} else {
		swap = c->bytes;
		c->bytes = c->in;
		c->in = swap;
		buf_append(&c->in, buf_data(&c->bytes) + len, rest);
	}
	return buf_data(&c->bytes);
}

static void fill_headers(struct http_conn *c, struct http_request *r, const char *data)
{
	const struct http_head *h = &c->head;

	if (c->header_room < h->header_count) {
		c->header_room = max_size(16, h->header_count);
		r->headers = xrealloc(r->headers, c->header_room * sizeof(*r->headers));
	}
	for (unsigned i = 0; i < h->header_count; i++) {
		r->headers[i].name = http_span_str(data, h->names[i]);
		r->headers[i].value = http_span_str(data, h->values[i]);
	}
	r->header_count = h->header_count;
}

static struct http_request *fill_request(struct http_conn *c, const char *data)
{
	const struct http_head *h = &c->head;
	struct http_request *r = c->request;

	if (!r)
		r = c->request = xcalloc(1, sizeof(*r));
	fill_headers(c, r, data);
	r->arena = &c->arena;
	r->method = http_span_str(data, h->method);
	r->target = http_span_str(data, h->target);
	r->path = h->path.len ? http_span_str(data, h->path) : STR("/");
	r->query = h->has_query ? http_span_str(data, h->query) : STR_NULL;
	r->body_limit = BODY_LIMIT_DEFAULT;
	r->keep_alive = h->keep_alive;
	r->known = r->stream = false;
	r->listener_ctx = c->ctx;
	r->user = NULL;
	r->conn = c;
	return r;
}

static void begin_request(struct http_conn *c, size_t head_len)
{
	const struct http_handler *handler = &c->server->handler;
	struct http_request *r = fill_request(c, set_head_aside(c, head_len));

	c->phase = CONN_BODY;
	c->waiting = WAIT_NOTHING;
	c->want_drain = false;
	conn_body_begin(c);
	c->is_head = str_is(r->method, "HEAD");
	/* For an empty body, too: botocore takes a final answer for that of the next request when
	 * it waited for this one in vain. */
	c->owes_continue = c->head.expect_continue;
	if (handler->on_head) {
		c->seen = true;
		handler->on_head(r);
		/* Answered, or gone. */
		if (c->dead || c->phase != CONN_BODY || c->skipping)
			return;
	}
	c->body_known = r->known;
	if (c->body_left > r->body_limit)
		conn_refuse(c, 413, "the body is longer than this operation allows");
}

/* False: wait for more, or there is no more to do. */
static bool advance_head(struct http_conn *c)
{
	struct str in = buf_str(&c->in);
	ssize_t n = c->blocked || !in.len ? 0 : http_head_parse(&c->head, in.ptr, in.len);

	if (n == 0) {
		if (c->eof && !c->blocked)
			conn_close(c);
		return false;
	}
	if (n < 0)
		conn_refuse(c, (unsigned)-n, c->head.why);
	else
		begin_request(c, (size_t)n);
	return true;
}

/* Do what can be done with what has arrived. */
static void advance(struct http_conn *c)
{
	bool more = true;

	while (more && !c->dead) {
		if (c->phase == CONN_HEAD)
			more = advance_head(c);
		else if (c->phase == CONN_BODY)
			more = conn_body_advance(c);
		else
			more = false;
	}
	if (!c->dead && c->phase != CONN_BODY && !buf_len(&c->in) && !c->lent &&
	    c->in.capacity > READ_AHEAD)
		buf_done(&c->in);
}

/* One recv() a turn. Returns what it did, 0 at the end, or -errno (-EAGAIN: nothing there). */
ssize_t conn_receive(struct http_conn *c, void *to, size_t size)
{
	ssize_t n = recv(c->io.fd, to, size, MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		c->eof = true;
	return n;
}

ssize_t conn_receive_into(struct http_conn *c, struct buf *b, size_t want)
{
	ssize_t n;

	if (!b->mem || buf_room(b) < want / 4)
		buf_reserve(b, want);
	n = conn_receive(c, b->mem + b->end, buf_room(b));
	if (n > 0)
		buf_commit(b, (size_t)n);
	return n;
}

ssize_t conn_discard(struct http_conn *c, size_t size)
{
	char nowhere[65536];

	return conn_receive(c, nowhere, min_size(size, sizeof(nowhere)));
}

/* What a client whose answer is out still sends: enough for it to come to read the answer. */
static ssize_t drain(struct http_conn *c)
{
	ssize_t n = conn_discard(c, SIZE_MAX);

	if (n > 0)
		c->drained += (size_t)n;
	return c->drained > DRAIN_MAX ? -ECONNABORTED : n;
}

static ssize_t receive_by_phase(struct http_conn *c)
{
	switch (c->phase) {
	case CONN_CLOSING: return drain(c);
	case CONN_BODY: return conn_body_receive(c);
	case CONN_TUNNEL: return conn_tunnel_receive(c);
	default: return conn_receive_into(c, &c->in, READ_SIZE);
	}
}

static void on_readable(struct http_conn *c, uint32_t events)
{
	ssize_t n;

	if (events & EPOLLRDHUP)
		c->hung_up = true;
	if (events & (EPOLLHUP | EPOLLERR) || (events & EPOLLRDHUP && handler_has_it(c))) {
		conn_lose(c);
		return;
	}
	if (events & EPOLLRDHUP && c->phase == CONN_TUNNEL)
		conn_tunnel_hung_up(c);
	if (!(events & EPOLLIN) || c->paused || c->dead)
		return;
	n = receive_by_phase(c);
	if (c->dead || n == -EAGAIN)
		return;
	if (c->phase == CONN_TUNNEL && n >= 0)
		return;
	if (n < 0 || (n == 0 && (handler_has_it(c) || c->phase == CONN_BODY)))
		conn_lose(c);
	else if (c->phase == CONN_CLOSING)
		go_on_closing(c);
	else
		advance(c);
}

/* After something was sent: who waited for that? */
static void on_sent(struct http_conn *c)
{
	if (c->broken) {
		conn_lose(c);
	} else if (c->phase == CONN_FILE) {
		conn_file_send(c);
	} else if (c->phase == CONN_STREAM) {
		if (!c->want_drain || buf_len(&c->out) >= HTTP_DRAIN_LOW)
			return;
		c->want_drain = false;
		if (c->on_drain)
			c->on_drain(c->request);
	} else if (c->phase == CONN_TUNNEL) {
		conn_tunnel_sent(c);
	} else if (c->phase == CONN_CLOSING) {
		go_on_closing(c);
	}
}

void conn_on_ready(struct loop_io *io, uint32_t events)
{
	struct http_conn *c = container_of(io, struct http_conn, io);

	enter(c);
	if (events & EPOLLOUT) {
		conn_flush(c);
		on_sent(c);
		if (!c->dead)
			advance(c);
	}
	if (!c->dead && events & ~(uint32_t)EPOLLOUT)
		on_readable(c, events);
	if (c->lent)
		conn_body_unlend(c);
	conn_leave(c);
}

void conn_on_task(struct loop_task *t)
{
	struct http_conn *c = container_of(t, struct http_conn, task);

	enter(c);
	if (!c->blocked && buf_len(&c->out))
		conn_flush(c);
	on_sent(c);
	if (!c->dead)
		advance(c);
	conn_leave(c);
}

static void time_out(struct http_conn *c)
{
	if (c->waiting == WAIT_HEAD)
		conn_refuse(c, 408, "the head of the request took too long");
	else if (c->waiting == WAIT_BODY && !c->skipping)
		conn_refuse(c, 408, "the body of the request stopped coming");
	else
		conn_lose(c);
}

void conn_on_due(struct loop_timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, timer);
	int64_t left_ns = c->deadline_ns - loop_now_ns(c->server->loop);

	if (!c->deadline_ns)
		return;
	if (left_ns > 0) {
		loop_timer_set(c->server->loop, t, left_ns);
		if (c->waiting == WAIT_IDLE) {
			buf_done(&c->in);
			buf_done(&c->bytes);
		}
		return;
	}
	enter(c);
	time_out(c);
	conn_leave(c);
}
