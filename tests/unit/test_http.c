/* The HTTP server over real sockets: requests, answers, streams, time-outs, limits. */
#include "http_rig.h"

static void a_refused_upload_can_read_why(void **state)
{
	size_t size = 6u << 20;
	char *body = xcalloc(1, size);
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, GET("/") "Content-Length: 6291456\r\n\r\n");
	say(fd, body, size);
	shutdown(fd, SHUT_WR);
	assert_true(listen_to(fd, &reply, 50));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 413 ", 13), 0);
	assert_int_equal(t.cancels, 1);
	close(fd);
	free(body);
	buf_done(&reply);
}

/* The answers without their Date lines, which change. */
static char *normal(struct buf *reply)
{
	char *text = xstrdup(text_of(reply)), *date;

	while ((date = strstr(text, "Date: ")))
		memmove(date, date + 37, strlen(date + 37) + 1);
	return text;
}

static void valid_requests_survive_every_slicing(void **state)
{
	static const char *const valid[] = {
	    GET("/a?b") "X: caf\xc3\xa9\r\n\r\n",
	    "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" GET("/next") "\r\n",
	    CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n" GET("/next") "\r\n",
	    "\r\nGET / HTTP/1.0\r\n\r\n",
	    "GET http://h/abs HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	    "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" GET(
		"/next") "\r\n",
	    "POST /stop HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" GET("/next") "\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		_cleanup_free_ char *wanted = NULL;
		struct buf reply = BUF_INIT;

		ask(valid[i], strlen(valid[i]), &reply);
		wanted = normal(&reply);
		assert_true(count(wanted, "HTTP/1.1 ") >= 1);
		for (size_t cut = 1; cut < strlen(valid[i]); cut++) {
			_cleanup_free_ char *got = NULL;
			int fd = dial();

			buf_clear(&reply);
			say(fd, valid[i], cut);
			turn(1);
			say(fd, valid[i] + cut, strlen(valid[i]) - cut);
			listen_to(fd, &reply, 3);
			close(fd);
			got = normal(&reply);
			assert_string_equal(got, wanted);
		}
		buf_done(&reply);
	}
	assert_int_equal(t.cancels, 0);
}

static void an_answer_has_its_headers_and_no_other(void **state)
{
	struct buf reply = BUF_INIT;
	const char *s;

	(void)state;
	assert_false(ask(GET("/x") "\r\n", strlen(GET("/x") "\r\n"), &reply));
	s = text_of(&reply);
	assert_int_equal(strncmp(s, "HTTP/1.1 200 OK\r\nDate: ", 23), 0);
	assert_int_equal(count(s, "X-Ok: caf\xc3\xa9\r\n"), 1);
	assert_int_equal(count(s, "Content-Length: 9\r\n"), 1);
	assert_int_equal(count(s, "ontent-"), 1);
	assert_null(strcasestr(s, "transfer-encoding"));
	assert_null(strcasestr(s, "connection"));
	assert_null(strcasestr(s, "cookie"));
	assert_null(strstr(s, "X-Lf"));
	assert_null(strstr(s, "Bad"));
	assert_non_null(strstr(s, "\r\n\r\nGET /x 0:"));
	buf_clear(&reply);
	assert_false(ask(GET("/odd") "\r\n", strlen(GET("/odd") "\r\n"), &reply));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 502 ", 13), 0);
	buf_done(&reply);
}

static void bodyless_answers_have_no_body(void **state)
{
	const char *two = "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n" GET(
	    "/none") "\r\n"
		     "HEAD /counted HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
	struct buf reply = BUF_INIT;
	const char *s;

	(void)state;
	assert_true(ask(two, strlen(two), &reply));
	s = text_of(&reply);
	assert_int_equal(count(s, "HTTP/1.1 200 OK"), 2);
	assert_int_equal(count(s, "\r\n\r\nHTTP/1.1 "), 2);
	assert_int_equal(count(s, "Content-Length: 10\r\n"), 1);
	assert_int_equal(count(s, "Content-Length: 5000000\r\n"), 1);
	assert_int_equal(count(s, "Content-Length"), 2); /* none for the 204 */
	assert_string_equal(s + strlen(s) - 4, "\r\n\r\n");
	buf_done(&reply);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct buf b = BUF_INIT, reply = BUF_INIT;
	const char *at;

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "POST /%d. HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", i);
	ask(buf_data(&b), buf_len(&b), &reply);
	at = text_of(&reply);
	for (int i = 0; i < 1000; i++) {
		char wanted[64];

		snprintf(wanted, sizeof(wanted), "POST /%d. 3:abc", i);
		at = strstr(at, wanted);
		assert_non_null(at);
	}
	assert_int_equal(count(text_of(&reply), "HTTP/1.1 200"), 1000);
	buf_done(&b);
	buf_done(&reply);
}

static void one_request_at_a_time(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();
	static char flood[300000];
	int64_t from_ns;

	(void)state;
	say_text(fd, GET("/later") "\r\n" GET("/second") "\r\n");
	turn(5);
	assert_non_null(t.held);
	assert_int_equal(t.requests, 1);
	assert_false(listen_to(fd, &reply, 3));
	assert_int_equal(buf_len(&reply), 0);
	assert_true(str_is(t.held->path, "/later")); /* not moved by what has arrived since */
	http_reply(t.held, 200, NULL, 0, STR("first"));
	assert_int_equal(t.requests, 1); /* not from within the answer */
	listen_to(fd, &reply, 3);
	assert_int_equal(t.requests, 2);
	assert_true(strstr(text_of(&reply), "first") < strstr(text_of(&reply), "/second"));
	say_text(fd, GET("/later") "\r\n");
	turn(2);
	memset(flood, '\r', sizeof(flood));
	/* What is read ahead is bounded, and what is not read does not make the loop spin. */
	for (int i = 0; i < 200; i++) {
		send(fd, flood, sizeof(flood), MSG_NOSIGNAL);
		loop_turn(t.loop, 0);
	}
	from_ns = time_mono_ns();
	for (int i = 0; i < 3; i++)
		loop_turn(t.loop, 10);
	assert_true(time_mono_ns() - from_ns > 25 * MS);
	assert_int_equal(t.requests, 3);
	http_reply(t.held, 200, NULL, 0, STR("third"));
	buf_clear(&reply);
	listen_to(fd, &reply, 5);
	assert_int_equal(count(text_of(&reply), "HTTP/1.1 414"), 1);
	close(fd);
	buf_done(&reply);
}

static void large_uploads_arrive_whole(void **state)
{
	size_t size = 5000000;
	char *body = xmalloc(size);
	struct buf b = BUF_INIT, reply = BUF_INIT;
	struct str at;

	(void)state;
	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + i * i % 23);
	buf_printf(&b, "POST /large HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", size);
	buf_append(&b, body, size);
	ask_patiently(buf_data(&b), buf_len(&b), &reply, 200);
	buf_clear(&b);
	buf_puts(&b, "POST /large HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0, n = 1; i < size; i += n, n = n * 3 % 70001 + 1) {
		n = min_size(n, size - i);
		buf_printf(&b, "%zX\r\n", n);
		buf_append(&b, body + i, n);
		buf_puts(&b, "\r\n");
	}
	buf_puts(&b, "0\r\n\r\n");
	ask_patiently(buf_data(&b), buf_len(&b), &reply, 200);
	at = buf_str(&reply);
	for (int i = 0; i < 2; i++) {
		const char *p = memmem(at.ptr, at.len, "5000000:", 8);

		assert_non_null(p);
		assert_memory_equal(p + 8, body, size);
		at = str_sub(at, (size_t)(p - at.ptr) + 8 + size);
	}
	assert_int_equal(t.requests, 2);
	free(body);
	buf_done(&b);
	buf_done(&reply);
}

static void early_answers_skip_small_bodies_only(void **state)
{
	struct buf b = BUF_INIT, reply = BUF_INIT;

	(void)state;
	buf_puts(&b, "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n");
	memset(buf_reserve(&b, 60000), 'x', 60000);
	buf_commit(&b, 60000);
	buf_puts(&b, GET("/next") "\r\n");
	assert_false(ask(buf_data(&b), buf_len(&b), &reply));
	assert_int_equal(count(text_of(&reply), "HTTP/1.1 403"), 1);
	assert_int_equal(count(text_of(&reply), "GET /next"), 1);
	buf_clear(&reply);
	buf_clear(&b);
	buf_puts(&b, "POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n\r\n");
	assert_true(ask(buf_data(&b), buf_len(&b), &reply));
	assert_int_equal(count(text_of(&reply), "Connection: close"), 1);
	assert_int_equal(t.cancels, 0);
	buf_done(&b);
	buf_done(&reply);
}

static void expect_continue_is_answered_when_the_body_is_wanted(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, GET("/x") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	assert_false(listen_to(fd, &reply, 3));
	assert_string_equal(text_of(&reply), "HTTP/1.1 100 Continue\r\n\r\n");
	say_text(fd, "ok");
	assert_false(listen_to(fd, &reply, 3));
	assert_non_null(strstr(text_of(&reply), "GET /x 2:ok"));
	/* botocore waits for it before an empty body as well. */
	buf_clear(&reply);
	say_text(fd, GET("/x") "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n");
	assert_false(listen_to(fd, &reply, 3));
	assert_int_equal(
	    strncmp(text_of(&reply), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200", 37), 0);
	close(fd);
	fd = dial();
	buf_clear(&reply);
	say_text(fd, GET("/refuse") "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n");
	assert_true(listen_to(fd, &reply, 5)); /* closed: the client may be confused */
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 403", 12), 0);
	close(fd);
	fd = dial();
	buf_clear(&reply);
	say_text(fd, GET("/refuse") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	assert_true(listen_to(fd, &reply, 5));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 403", 12), 0);
	assert_null(strstr(text_of(&reply), "100 Continue"));
	close(fd);
	buf_done(&reply);
}

static void old_clients_get_what_they_understand(void **state)
{
	struct buf reply = BUF_INIT;
	const char *r = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";

	(void)state;
	assert_true(ask(r, strlen(r), &reply));
	assert_int_equal(count(text_of(&reply), "Connection: keep-alive\r\n"), 1);
	assert_int_equal(count(text_of(&reply), "Connection: close\r\n"), 1);
	buf_clear(&reply);
	r = "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
	assert_true(ask(r, strlen(r), &reply));
	assert_null(strstr(text_of(&reply), "chunked"));
	assert_int_equal(
	    buf_len(&reply) - (size_t)(strstr(text_of(&reply), "\r\n\r\n") + 4 - buf_data(&reply)),
	    5000000);
	buf_done(&reply);
}

static void streams_wait_for_slow_clients(void **state)
{
	struct buf reply = BUF_INIT, body = BUF_INIT;
	struct http_chunked c = {0};
	struct str in, piece;
	int fd = dial(), r;

	(void)state;
	say_text(fd, GET("/stream") "\r\n" GET("/next") "\r\n");
	turn(20);
	assert_non_null(t.streaming); /* blocked: nobody reads */
	assert_true(t.max_waiting < 100000);
	assert_int_equal(t.requests, 1);
	assert_false(listen_to(fd, &reply, 20));
	assert_null(t.streaming);
	assert_true(t.drains > 1);
	in = str_sub(
	    buf_str(&reply), (size_t)(strstr(text_of(&reply), "\r\n\r\n") + 4 - buf_data(&reply)));
	while ((r = http_chunked_next(&c, &in, &piece)) == HTTP_CHUNK_DATA)
		buf_append_str(&body, piece);
	assert_int_equal(r, HTTP_CHUNK_END);
	assert_int_equal(buf_len(&body), 5000000);
	assert_int_equal(strncmp(in.ptr, "HTTP/1.1 200", 12), 0);
	buf_clear(&reply);
	say_text(fd, GET("/counted") "\r\n" GET("/next") "\r\n");
	assert_false(listen_to(fd, &reply, 20));
	in = str_sub(
	    buf_str(&reply), (size_t)(strstr(text_of(&reply), "\r\n\r\n") + 4 - buf_data(&reply)));
	assert_non_null(strstr(text_of(&reply), "Content-Length: 5000000\r\n"));
	assert_int_equal(strncmp(in.ptr + 5000000, "HTTP/1.1 200", 12), 0);
	close(fd);
	buf_done(&reply);
	buf_done(&body);
}

static void broken_streams_look_broken(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, GET("/abort") "\r\n");
	turn(3);
	http_reply_data(t.held, STR("half"));
	assert_false(listen_to(fd, &reply, 3));
	assert_non_null(strstr(text_of(&reply), "\r\n\r\n4\r\nhalf\r\n"));
	http_reply_abort(t.held);
	assert_true(listen_to(fd, &reply, 3));
	assert_null(strstr(text_of(&reply), "0\r\n\r\n"));
	close(fd);
	buf_clear(&reply);
	assert_true(ask(GET("/short") "\r\n", strlen(GET("/short") "\r\n"), &reply));
	fd = dial();
	say_text(fd, "GET /abort HTTP/1.0\r\n\r\n");
	turn(3);
	http_reply_abort(t.held);
	assert_true(recv(fd, buf_reserve(&reply, 100), 100, 0) > 0);
	assert_int_equal(recv(fd, buf_reserve(&reply, 100), 100, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
	assert_int_equal(t.cancels, 0);
	buf_done(&reply);
}

static void a_client_that_leaves_cancels(void **state)
{
	int fd = dial();

	(void)state;
	say_text(fd, GET("/later") "\r\n");
	turn(2);
	assert_non_null(t.held);
	close(fd);
	turn(3);
	assert_int_equal(t.cancels, 1);
	fd = dial();
	say_text(fd, GET("/x") "Content-Length: 100\r\n\r\nhalf");
	turn(2);
	close(fd);
	turn(3);
	assert_int_equal(t.cancels, 2);
	fd = dial();
	say_text(fd, GET("/stream") "\r\n");
	turn(10);
	assert_non_null(t.streaming);
	close(fd);
	turn(5);
	assert_int_equal(t.cancels, 3);
	fd = dial();
	say_text(fd, "GET /half");
	close(fd);
	turn(3);
	assert_int_equal(t.cancels, 3);
	assert_int_equal(http_server_connections(t.server), 0);
}

static void closing_the_listener_cancels(void **state)
{
	int held = dial(), idle = dial(), closer = dial();
	struct buf reply = BUF_INIT;

	(void)state;
	say_text(held, GET("/later") "\r\n");
	say_text(idle, GET("/x") "\r\n");
	turn(2);
	assert_int_equal(http_server_connections(t.server), 3);
	say_text(closer, GET("/close") "\r\n" GET("/x") "\r\n"); /* from its own handler */
	turn(2);
	assert_null(t.listener);
	assert_int_equal(t.cancels, 2);
	assert_int_equal(t.requests, 3);
	assert_int_equal(http_server_connections(t.server), 0);
	assert_true(listen_to(idle, &reply, 3));
	close(held);
	close(idle);
	close(closer);
	buf_done(&reply);
}

static int short_set_up(void **state)
{
	struct http_limits limits = {
	    .head_timeout_ms = 60,
	    .body_timeout_ms = 60,
	    .idle_timeout_ms = 120,
	    .send_timeout_ms = 60,
	    .connections_max = 3,
	};

	(void)state;
	set_up(&limits);
	return 0;
}

/* Milliseconds until the server closes. */
static int64_t time_to_close(int fd, struct buf *reply)
{
	int64_t from_ns = time_mono_ns();

	assert_true(listen_to(fd, reply, 3000));
	close(fd);
	return (time_mono_ns() - from_ns) / MS;
}

static void slow_clients_are_timed_out(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();
	int64_t ms, from_ns;

	(void)state;
	turn(1);
	assert_true((ms = time_to_close(fd, &reply)) >= 100 && ms < 1000);
	assert_int_equal(buf_len(&reply), 0); /* idle: silently */
	fd = dial();
	from_ns = time_mono_ns();
	for (int i = 0; i < 10000 && !buf_len(&reply); i++) { /* dripping does not help */
		send(fd, "G", 1, MSG_NOSIGNAL);
		listen_to(fd, &reply, 2);
	}
	assert_true(time_mono_ns() - from_ns < 1000 * MS);
	time_to_close(fd, &reply);
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 408 ", 13), 0);
	buf_clear(&reply);
	fd = dial();
	say_text(fd, GET("/x") "Content-Length: 5\r\n\r\nab");
	assert_true((ms = time_to_close(fd, &reply)) >= 50 && ms < 2000);
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 408 ", 13), 0);
	assert_int_equal(t.cancels, 1);
	buf_done(&reply);
}

static int budget_set_up(void **state)
{
	struct http_limits limits = {.head_timeout_ms = 5000,
	    .body_timeout_ms = 60,
	    .idle_timeout_ms = 5000,
	    .send_timeout_ms = 5000,
	    .connections_max = 10,
	    .bodies_max = 100000,
	    .body_rate_min = 1000};

	(void)state;
	set_up(&limits);
	return 0;
}

static void bodies_must_not_drip(void **state)
{
	struct buf reply = BUF_INIT;
	int64_t from_ns = time_mono_ns();
	int fd = dial();

	(void)state;
	say_text(fd, GET("/x") "Content-Length: 5000\r\n\r\n");
	while (!buf_len(&reply) && time_mono_ns() - from_ns < 3000 * MS) {
		send(fd, "a", 1, MSG_NOSIGNAL);
		listen_to(fd, &reply, 10);
	}
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 408 ", 13), 0);
	close(fd);
	buf_done(&reply);
}

/* Send the head and 70,000 bytes of a body of 200,000; what comes back. */
static int send_part(struct buf *reply)
{
	static char part[70000];
	int fd = dial();

	say_text(fd, GET("/large") "Content-Length: 200000\r\n\r\n");
	for (size_t sent = 0; sent < sizeof(part);) {
		ssize_t n = send(fd, part + sent, sizeof(part) - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		turn(1);
	}
	listen_to(fd, reply, 20);
	return fd;
}

static void arriving_bodies_share_a_budget(void **state)
{
	struct buf reply = BUF_INIT;
	int first, second;

	(void)state;
	first = send_part(&reply);
	assert_int_equal(buf_len(&reply), 0);
	second = send_part(&reply);
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 503 ", 13), 0);
	close(first);
	close(second);
	turn(5);
	buf_clear(&reply);
	first = send_part(&reply); /* there is room again */
	assert_int_equal(buf_len(&reply), 0);
	close(first);
	buf_done(&reply);
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
	int fd = dial();
	int64_t from_ns = time_mono_ns();

	(void)state;
	say_text(fd, GET("/big") "\r\n");
	turn(2);
	while (http_server_connections(t.server) && time_mono_ns() - from_ns < 3000 * MS)
		loop_turn(t.loop, 10);
	assert_int_equal(http_server_connections(t.server), 0);
	assert_int_equal(t.cancels, 0); /* it was handed over whole */
	close(fd);
	fd = dial();
	say_text(fd, GET("/stream") "\r\n");
	while (!t.cancels && time_mono_ns() - from_ns < 6000 * MS)
		loop_turn(t.loop, 10);
	assert_int_equal(t.cancels, 1);
	close(fd);
}

static void a_working_handler_is_not_timed_out(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, GET("/later") "\r\n");
	assert_false(listen_to(fd, &reply, 250));
	assert_non_null(t.held);
	http_reply(t.held, 200, NULL, 0, STR("late"));
	assert_false(listen_to(fd, &reply, 20));
	assert_non_null(strstr(text_of(&reply), "late"));
	assert_true(listen_to(fd, &reply, 1000)); /* idle again */
	close(fd);
	buf_done(&reply);
}

static void a_pausing_stream_is_not_timed_out(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, GET("/abort") "\r\n");
	turn(2);
	for (int i = 0; i < 3; i++) {
		http_reply_data(t.held, STR("piece"));
		assert_false(listen_to(fd, &reply, 100));
	}
	http_reply_end(t.held);
	assert_false(listen_to(fd, &reply, 5));
	assert_int_equal(count(text_of(&reply), "5\r\npiece\r\n"), 3);
	assert_string_equal(buf_data(&reply) + buf_len(&reply) - 5, "0\r\n\r\n");
	assert_int_equal(t.cancels, 0);
	close(fd);
	buf_done(&reply);
}

static void too_many_connections_are_told_so(void **state)
{
	struct buf reply = BUF_INIT;
	int fds[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	turn(2);
	assert_true(listen_to(fds[3], &reply, 10));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 503 ", 13), 0);
	buf_clear(&reply);
	say_text(fds[0], GET("/x") "\r\n");
	assert_false(listen_to(fds[0], &reply, 5));
	assert_non_null(strstr(text_of(&reply), "200 OK"));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	buf_done(&reply);
}

static void running_out_of_descriptors_does_not_spin(void **state)
{
	struct rlimit old, low;
	struct buf reply = BUF_INIT;
	int fd = dial(), spare = dup(fd), turns = 0;
	int64_t until_ns;

	(void)state;
	close(spare);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)spare; /* the lowest that is free */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	until_ns = time_mono_ns() + 50 * MS;
	while (time_mono_ns() < until_ns) {
		loop_turn(t.loop, 10);
		turns++;
	}
	setrlimit(RLIMIT_NOFILE, &old);
	assert_true(turns < 20);
	assert_int_equal(http_server_connections(t.server), 0);
	say_text(fd, GET("/x") "\r\n");
	listen_to(fd, &reply, 300);
	assert_non_null(strstr(text_of(&reply), "200 OK"));
	close(fd);
	buf_done(&reply);
}

static void adopted_sockets_are_served_too(void **state)
{
	struct buf reply = BUF_INIT;
	char address[64];
	uint16_t port = 1;
	int pair[2], fd = dial();

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd_nonblock(pair[0]);
	assert_int_equal(http_server_adopt(t.server, pair[1], &t.ctx), 0);
	say_text(pair[0], GET("/later") "\r\n");
	turn(2);
	http_peer(t.held, address, &port);
	assert_string_equal(address, "");
	assert_int_equal(port, 0);
	assert_true(str_is(http_header(t.held, "HOST"), "h"));
	assert_null(http_header(t.held, "Hos").ptr);
	http_reply(t.held, 404, NULL, 0, STR("x"));
	listen_to(pair[0], &reply, 3);
	assert_non_null(strstr(text_of(&reply), "HTTP/1.1 404 Not Found\r\n"));
	close(pair[0]);
	say_text(fd, GET("/later") "\r\n");
	turn(2);
	http_peer(t.held, address, &port);
	assert_string_equal(address, "127.0.0.1");
	assert_true(port > 0);
	close(fd);
	buf_done(&reply);
}

#define BUDGET(test) cmocka_unit_test_setup_teardown(test, budget_set_up, tear_down)
#define SHORT(test) cmocka_unit_test_setup_teardown(test, short_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH(a_refused_upload_can_read_why),
	    WITH(valid_requests_survive_every_slicing),
	    WITH(an_answer_has_its_headers_and_no_other),
	    WITH(bodyless_answers_have_no_body),
	    WITH(pipelined_requests_are_answered_in_order),
	    WITH(one_request_at_a_time),
	    WITH(large_uploads_arrive_whole),
	    WITH(early_answers_skip_small_bodies_only),
	    WITH(expect_continue_is_answered_when_the_body_is_wanted),
	    WITH(old_clients_get_what_they_understand),
	    WITH(streams_wait_for_slow_clients),
	    WITH(broken_streams_look_broken),
	    WITH(a_client_that_leaves_cancels),
	    WITH(closing_the_listener_cancels),
	    BUDGET(bodies_must_not_drip),
	    BUDGET(arriving_bodies_share_a_budget),
	    SHORT(slow_clients_are_timed_out),
	    SHORT(a_client_that_does_not_read_is_dropped),
	    SHORT(a_working_handler_is_not_timed_out),
	    SHORT(a_pausing_stream_is_not_timed_out),
	    SHORT(too_many_connections_are_told_so),
	    WITH(running_out_of_descriptors_does_not_spin),
	    WITH(adopted_sockets_are_served_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
