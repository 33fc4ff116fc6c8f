/*
 * A server over real sockets with a handler for every situation, and a client that takes turns
 * with it on one thread. Included by each test of src/http that needs sockets.
 */
#pragma once

#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/time.h"
#include "http/codec.h"
#include "http/http.h"

#define MS INT64_C(1000000)
#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n"

static struct {
	struct loop *loop;
	struct http_server *server;
	struct http_listener *listener;
	struct sockaddr_in address;
	struct http_request *held;
	struct http_request *streaming;
	size_t to_stream, max_waiting;
	int heads, requests, cancels, drains;
	uint64_t body_seen, body_sum;
	struct http_request *uploading; /* its body streams */
	bool paused;
	int pieces, file; /* file: what /file answers with */
	uint64_t file_from, file_len;
	char ctx;
} t;

static inline void produce(struct http_request *r)
{
	static char block[10000];

	t.drains++;
	memset(block, 'x', sizeof(block));
	while (t.to_stream) {
		size_t n = min_size(t.to_stream, sizeof(block));
		size_t waiting = http_reply_data(r, (struct str){block, n});

		t.to_stream -= n;
		t.max_waiting = max_size(t.max_waiting, waiting);
		if (waiting >= 65536)
			return;
	}
	t.streaming = NULL;
	http_reply_end(r);
}

static inline void start_stream(struct http_request *r, int64_t length)
{
	t.to_stream = 5000000;
	t.streaming = r;
	http_reply_start(r, 200, NULL, 0, length, produce);
	produce(r);
}

static inline void on_head(struct http_request *r)
{
	t.heads++;
	t.body_seen = t.body_sum = 0;
	if (str_has_prefix(r->path, "/up")) {
		r->stream = true;
		r->body_limit = str_is(r->path, "/up-small") ? 10 : UINT64_C(1) << 40;
		t.uploading = r;
		t.paused = str_is(r->path, "/up-wait");
		if (t.paused)
			http_request_pause(r);
	}
	if (str_is(r->path, "/refuse"))
		http_reply(r, 403, NULL, 0, STR("no"));
	else if (str_is(r->path, "/small"))
		r->body_limit = 10;
	else if (str_is(r->path, "/large"))
		r->body_limit = 8u << 20;
}

/* Which bytes came where, in one number. */
static inline uint64_t sum_body(uint64_t sum, uint64_t at, const void *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (at + i + 1) * ((const unsigned char *)data)[i];
	return sum;
}

static inline void on_piece(struct http_request *r, const void *data, size_t len)
{
	assert_false(t.paused);
	assert_int_equal(buf_len(&r->body), 0);
	t.body_sum = sum_body(t.body_sum, t.body_seen, data, len);
	t.body_seen += len;
	t.pieces++;
	if (str_is(r->path, "/up-pause")) {
		http_request_pause(r);
		http_request_pause(r);
		t.paused = true;
	} else if (str_is(r->path, "/up-refuse") && t.body_seen > 100000) {
		t.uploading = NULL;
		http_reply(r, 403, NULL, 0, STR("enough"));
	}
}

static inline void on_body(struct http_request *r, const void *data, size_t len)
{
	if (r->stream) {
		on_piece(r, data, len);
		return;
	}
	t.body_seen += len;
	assert_ptr_equal((const char *)data + len, r->body.mem + r->body.end);
	if (str_is(r->path, "/stop"))
		http_reply(r, 403, NULL, 0, STR("stop"));
}

static inline void echo(struct http_request *r)
{
	const struct http_header headers[] = {
	    {STR("X-Ok"), STR("caf\xc3\xa9")},
	    {STR("content-length"), STR("7")},
	    {STR("Transfer-Encoding"), STR("chunked")},
	    {STR("CONNECTION"), STR("upgrade")},
	    {STR("X-Split"), STR("a\r\nSet-Cookie: b")},
	    {STR("X-Lf"), STR("a\nb")},
	    {{"X-Nul", 5}, {"a\0b", 3}},
	    {STR("X Bad"), STR("a")},
	    {STR(""), STR("a")},
	};
	struct buf b = BUF_INIT;

	buf_printf(&b, "%.*s %.*s", STR_FMT(r->method), STR_FMT(r->path));
	if (r->query.ptr)
		buf_printf(&b, "?%.*s", STR_FMT(r->query));
	buf_printf(&b, " %zu:", buf_len(&r->body));
	buf_append_str(&b, buf_str(&r->body));
	http_reply(r, 200, headers, ARRAY_SIZE(headers), buf_str(&b));
	buf_done(&b);
}

static inline void end_upload(struct http_request *r)
{
	char text[200];
	struct str a = http_trailer(r, "x-a"), b = http_trailer(r, "X-B");
	int n = snprintf(text, sizeof(text), "%llu %llu %.*s %.*s", (unsigned long long)t.body_seen,
	    (unsigned long long)t.body_sum, STR_FMT(a), STR_FMT(b));

	t.uploading = NULL;
	assert_false(t.paused);
	http_request_pause(r); /* too late to mean anything */
	http_reply(r, 200, NULL, 0, (struct str){text, (size_t)n});
}

static inline void on_request(struct http_request *r)
{
	t.requests++;
	assert_ptr_equal(r->listener_ctx, &t.ctx);
	if (r->stream) {
		end_upload(r);
		return;
	}
	assert_true(t.body_seen == buf_len(&r->body));
	if (str_is(r->path, "/later")) {
		t.held = r;
	} else if (str_is(r->path, "/stream")) {
		start_stream(r, -1);
	} else if (str_is(r->path, "/counted")) {
		start_stream(r, 5000000);
	} else if (str_is(r->path, "/short")) {
		http_reply_start(r, 200, NULL, 0, 10, NULL);
		http_reply_data(r, STR("12345"));
		http_reply_end(r);
	} else if (str_is(r->path, "/abort")) {
		http_reply_start(r, 200, NULL, 0, -1, NULL);
		t.held = r;
	} else if (str_is(r->path, "/file")) {
		http_reply_file(
		    r, 200, NULL, 0, fcntl(t.file, F_DUPFD_CLOEXEC, 0), t.file_from, t.file_len);
	} else if (str_is(r->path, "/none")) {
		http_reply(r, 204, NULL, 0, STR("dropped"));
	} else if (str_is(r->path, "/odd")) {
		http_reply(r, 42, NULL, 0, STR(""));
	} else if (str_is(r->path, "/close")) {
		http_listener_close(t.listener);
		t.listener = NULL;
	} else if (str_is(r->path, "/big")) {
		char *big = xcalloc(1, 20000000);

		http_reply(r, 200, NULL, 0, (struct str){big, 20000000});
		free(big);
	} else {
		echo(r);
	}
}

static inline void on_cancel(struct http_request *r)
{
	(void)r;
	t.cancels++;
	t.held = t.streaming = t.uploading = NULL;
	t.paused = false;
}

static inline void set_up(const struct http_limits *limits)
{
	static const struct http_handler handler = {on_head, on_body, on_request, on_cancel};
	struct err e = ERR_INIT;
	socklen_t len = sizeof(t.address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&t, 0, sizeof(t));
	t.loop = loop_new(0, &e);
	t.server = http_server_new(t.loop, &handler, limits);
	t.address.sin_family = AF_INET;
	t.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&t.address, len), 0);
	assert_int_equal(listen(fd, 256), 0);
	getsockname(fd, (struct sockaddr *)&t.address, &len);
	t.listener = http_listen(t.server, fd, &t.ctx, &e);
	assert_non_null(t.listener);
}

static inline int default_set_up(void **state)
{
	(void)state;
	set_up(NULL);
	return 0;
}

/* Everything a request holds must be given back by the end. */
static inline int tear_down(void **state)
{
	(void)state;
	http_server_free(t.server);
	loop_free(t.loop);
	return 0;
}

static inline int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&t.address, sizeof(t.address)), 0);
	fd_nonblock(fd);
	return fd;
}

static inline void turn(int times)
{
	while (times--)
		assert_int_equal(loop_turn(t.loop, 1), 0);
}

/* Send all of it, and let the server work meanwhile. Stops early when the server refuses more. */
static inline void say(int fd, const void *data, size_t len)
{
	const char *p = data;

	for (int idle = 0; len && idle < 2000;) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		idle = n > 0 ? 0 : idle + 1;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
		loop_turn(t.loop, n > 0 ? 0 : 1);
	}
	loop_turn(t.loop, 0);
}

static inline void say_text(int fd, const char *text)
{
	say(fd, text, strlen(text));
}

/* Read until the server closes (true), or nothing more comes for a while. */
static inline bool listen_to(int fd, struct buf *b, int quiet_turns)
{
	for (int quiet = 0; quiet < quiet_turns;) {
		ssize_t n = recv(fd, buf_reserve(b, 65536), 65536, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		if (n > 0)
			buf_commit(b, (size_t)n);
		quiet = n > 0 ? 0 : quiet + 1;
		loop_turn(t.loop, n > 0 ? 0 : 1);
	}
	return false;
}

static inline const char *text_of(struct buf *b)
{
	buf_putc(b, '\0');
	b->end--;
	return buf_data(b);
}

static inline int count(const char *in, const char *what)
{
	int n = 0;

	while ((in = strstr(in, what))) {
		in += strlen(what);
		n++;
	}
	return n;
}

/* One request on a new connection; what comes back, and whether the server closed. */
static inline bool ask_patiently(const void *data, size_t len, struct buf *reply, int quiet_turns)
{
	int fd = dial();
	bool closed;

	say(fd, data, len);
	closed = listen_to(fd, reply, quiet_turns);
	close(fd);
	turn(2);
	return closed;
}

static inline bool ask(const void *data, size_t len, struct buf *reply)
{
	return ask_patiently(data, len, reply, 5);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, default_set_up, tear_down)
