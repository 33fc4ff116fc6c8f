/*
 * Answers: whole ones are built in one buffer and handed to the socket in one call; streams are
 * gathered until the end of the turn. What the socket does not take waits in c->out. Called by
 * handlers, from the loop or from anywhere else on its thread.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "http/http_int.h"

#define JOIN_MAX 16384      /* bodies up to this are copied behind the head: one piece to send */
#define GATHER_MAX 65536    /* a stream's pieces are sent before the end of the turn beyond this */
#define KEEP_CAPACITY 65536 /* larger buffers are not kept when empty */

bool conn_send_failed(ssize_t n)
{
	return n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS;
}

void conn_flush(struct http_conn *c)
{
	size_t len = buf_len(&c->out);
	ssize_t n;

	if (c->broken || !len)
		return;
	n = send(c->io.fd, buf_data(&c->out), len, MSG_NOSIGNAL | MSG_DONTWAIT);
	c->broken = conn_send_failed(n);
	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	c->blocked = !c->broken && buf_len(&c->out);
	if (c->blocked && n > 0)
		conn_wait(c, WAIT_SEND);
	if (c->broken || (!c->blocked && c->out.capacity > KEEP_CAPACITY))
		buf_done(&c->out);
}

static void queue(struct http_conn *c, struct str first, struct str second, size_t sent)
{
	if (sent < first.len)
		buf_append(&c->out, first.ptr + sent, first.len - sent);
	sent = sent > first.len ? sent - first.len : 0;
	buf_append(&c->out, second.ptr + sent, second.len - sent);
}

static void send_pieces(struct http_conn *c, struct str first, struct str second, int flags)
{
	struct iovec iov[2] = {
	    {(void *)first.ptr, first.len},
	    {(void *)second.ptr, second.len},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	size_t total = first.len + second.len;
	ssize_t n;

	if (c->broken)
		return;
	if (buf_len(&c->out)) {
		queue(c, first, second, 0);
		if (!c->blocked)
			conn_flush(c);
		return;
	}
	flags |= MSG_NOSIGNAL | MSG_DONTWAIT;
	n = second.len ? sendmsg(c->io.fd, &msg, flags)
		       : send(c->io.fd, first.ptr, first.len, flags);
	if (likely(n >= 0 && (size_t)n == total))
		return;
	c->broken = conn_send_failed(n);
	if (c->broken)
		return;
	queue(c, first, second, n > 0 ? (size_t)n : 0);
	c->blocked = true;
}

void conn_send(struct http_conn *c, struct str first, struct str second)
{
	send_pieces(c, first, second, 0);
}

void conn_send_more(struct http_conn *c, struct str data)
{
	send_pieces(c, data, STR_NULL, MSG_MORE);
}

/* Headers that belong to the framing, or to us. */
static bool is_ours(struct str name)
{
	switch (name.len) {
	case 4: return str_eq_nocase(name, STR("date"));
	case 10:
		return str_eq_nocase(name, STR("connection")) ||
		       str_eq_nocase(name, STR("keep-alive"));
	case 14: return str_eq_nocase(name, STR("content-length"));
	case 17: return str_eq_nocase(name, STR("transfer-encoding"));
	default: return false;
	}
}

static char *put(char *to, const char *from, size_t len)
{
	if (len)
		memcpy(to, from, len);
	return to + len;
}

static void put_headers(struct buf *b, const struct http_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct http_header *h = &headers[i];
		size_t len = h->name.len + h->value.len + 4;
		char *p;

		if (is_ours(h->name) || !http_header_sendable(h->name, h->value))
			continue;
		p = put(buf_reserve(b, len), h->name.ptr, h->name.len);
		p = put(put(p, ": ", 2), h->value.ptr, h->value.len);
		put(p, "\r\n", 2);
		buf_commit(b, len);
	}
}

/* Decimal digits of n; printf costs more than all the rest of an answer. */
static struct str digits(uint64_t n, char out[20])
{
	char *p = out + 20;

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return (struct str){p, (size_t)(out + 20 - p)};
}

static void put_status_line(struct buf *b, unsigned status)
{
	char number[20];

	if (status == 200) {
		buf_append_str(b, STR("HTTP/1.1 200 OK\r\n"));
		return;
	}
	buf_append_str(b, STR("HTTP/1.1 "));
	buf_append_str(b, digits(status, number));
	buf_append(b, " ", 1);
	buf_puts(b, http_status_text(status));
	buf_append(b, "\r\n", 2);
}

struct buf *conn_put_head(struct http_conn *c, unsigned status, const struct http_header *headers,
    size_t count, int64_t length)
{
	struct buf *b = &c->server->scratch;
	char number[20];

	buf_clear(b);
	buf_reserve(b, 1024);
	put_status_line(b, status);
	buf_append_str(b, server_date(c->server));
	if (length >= 0) {
		buf_append_str(b, STR("Content-Length: "));
		buf_append_str(b, digits((uint64_t)length, number));
		buf_append(b, "\r\n", 2);
	} else if (length == HTTP_CHUNKED) {
		buf_append_str(b, STR("Transfer-Encoding: chunked\r\n"));
	}
	if (!c->keep)
		buf_append_str(b, STR("Connection: close\r\n"));
	else if (c->head.minor == 0)
		buf_append_str(b, STR("Connection: keep-alive\r\n"));
	put_headers(b, headers, count);
	buf_append(b, "\r\n", 2);
	return b;
}

unsigned conn_final_status(unsigned status)
{
	return status < 200 || status > 599 ? 502 : status;
}

bool conn_answer_has_no_body(const struct http_conn *c, unsigned status)
{
	return c->is_head || status == 204 || status == 304;
}

static void send_whole(struct http_conn *c, unsigned status, const struct http_header *headers,
    size_t count, struct str body)
{
	bool lengthless = status == 204 || status == 304;
	struct buf *b = conn_put_head(
	    c, status, headers, count, lengthless ? HTTP_NO_LENGTH : (int64_t)body.len);

	if (conn_answer_has_no_body(c, status))
		body = STR_NULL;
	if (body.len <= JOIN_MAX) {
		buf_append_str(b, body);
		body = STR_NULL;
	}
	conn_send(c, buf_str(b), body);
	if (b->capacity > KEEP_CAPACITY)
		buf_done(b);
}

struct http_conn *conn_to_answer(const struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(c && c->request == r && !c->dead);
	check((c->phase == CONN_HANDLER || c->phase == CONN_BODY) && !c->skipping);
	return c;
}

static struct http_conn *streaming(const struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(c && c->request == r && !c->dead && c->phase == CONN_STREAM);
	return c;
}

void http_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct str body)
{
	struct http_conn *c = conn_to_answer(r);

	c->keep = r->keep_alive && conn_can_continue(c);
	send_whole(c, conn_final_status(status), headers, header_count, body);
	conn_answered(c);
}

void conn_send_error(struct http_conn *c, unsigned status, const char *why)
{
	const struct http_header headers[] = {
	    {STR("Content-Type"), STR("text/plain; charset=utf-8")},
	};
	char text[256];
	int n = snprintf(text, sizeof(text), "%u %s: %s.\n", status, http_status_text(status), why);

	c->keep = false;
	send_whole(c, status, headers, ARRAY_SIZE(headers), (struct str){text, (size_t)n});
}

/* Whatever a handler does in one turn leaves together. */
void conn_gather(struct http_conn *c)
{
	if (buf_len(&c->out) >= GATHER_MAX && !c->blocked)
		conn_flush(c);
	if (c->broken || (buf_len(&c->out) && !c->blocked))
		loop_defer(c->server->loop, &c->task);
	if (c->blocked && !c->busy)
		conn_settle(c);
}

void http_reply_start(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int64_t length, void (*on_drain)(struct http_request *r))
{
	struct http_conn *c = conn_to_answer(r);

	status = conn_final_status(status);
	c->bodyless = conn_answer_has_no_body(c, status);
	c->counted = length >= 0;
	c->stream_left = length >= 0 ? (uint64_t)length : 0;
	c->chunked_out = length < 0 && c->head.minor == 1 && !c->bodyless;
	c->on_drain = on_drain;
	/* Without length or chunks, the end of the connection is the end of the body. */
	c->keep = r->keep_alive && !c->body_unread && conn_can_continue(c) &&
		  (c->counted || c->chunked_out || c->bodyless);
	if (status == 204 || status == 304)
		length = HTTP_NO_LENGTH;
	else if (length < 0)
		length = c->head.minor == 1 ? HTTP_CHUNKED : HTTP_NO_LENGTH;
	c->phase = CONN_STREAM;
	buf_append_str(&c->out, buf_str(conn_put_head(c, status, headers, header_count, length)));
	conn_gather(c);
	if (!c->busy)
		conn_settle(c);
}

static void put_piece(struct http_conn *c, struct str data)
{
	char size[24];
	int n = 0;

	if (c->chunked_out)
		n = snprintf(size, sizeof(size), "%zx\r\n", data.len);
	buf_reserve(&c->out, data.len + (size_t)n + 2);
	buf_append(&c->out, size, (size_t)n);
	buf_append_str(&c->out, data);
	if (c->chunked_out)
		buf_append(&c->out, "\r\n", 2);
}

size_t http_reply_data(struct http_request *r, struct str data)
{
	struct http_conn *c = streaming(r);

	if (c->counted && data.len > c->stream_left)
		data.len = c->stream_left;
	if (c->counted)
		c->stream_left -= data.len;
	if (data.len && !c->bodyless && !c->broken) {
		put_piece(c, data);
		conn_gather(c);
	}
	if (buf_len(&c->out) >= HTTP_DRAIN_LOW)
		c->want_drain = true;
	return buf_len(&c->out);
}

void http_reply_end(struct http_request *r)
{
	struct http_conn *c = streaming(r);

	if (c->counted && c->stream_left && !c->bodyless) {
		http_reply_abort(r);
		return;
	}
	if (c->chunked_out && !c->broken)
		buf_append_str(&c->out, STR("0\r\n\r\n"));
	if (!c->blocked)
		conn_flush(c);
	loop_task_cancel(&c->task);
	conn_answered(c);
}

void http_reply_abort(struct http_request *r)
{
	struct http_conn *c = streaming(r);
	struct linger reset = {.l_onoff = 1};

	/* Only a reset tells a client whose answer is delimited by the close that it is cut. */
	if (!c->counted && !c->chunked_out)
		setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	c->seen = false;
	conn_close(c);
}

struct str http_header(const struct http_request *r, const char *name)
{
	struct str wanted = str_from(name);

	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, wanted))
			return r->headers[i].value;
	return STR_NULL;
}
