/* Streamed request bodies with pausing, trailers, and answers from files, over real sockets. */
#include "http_rig.h"

#include <dirent.h>

#define UP(path) "POST " path " HTTP/1.1\r\nHost: h\r\n"
#define SIZE 3000000

static char *pattern(size_t size)
{
	char *body = xmalloc(size);

	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + i * i % 23);
	return body;
}

static void put_chunks(struct buf *b, const char *body, size_t size)
{
	for (size_t i = 0, n = 1; i < size; i += n, n = n * 3 % 70001 + 1) {
		n = min_size(n, size - i);
		buf_printf(b, "%zX\r\n", n);
		buf_append(b, body + i, n);
		buf_puts(b, "\r\n");
	}
}

static void expect_sum(struct buf *reply, const char *body, size_t size, const char *rest)
{
	char wanted[128];

	snprintf(wanted, sizeof(wanted), "\r\n\r\n%zu %llu %s", size,
	    (unsigned long long)sum_body(0, 0, body, size), rest);
	assert_non_null(strstr(text_of(reply), wanted));
}

static void streamed_bodies_arrive_whole_and_are_not_kept(void **state)
{
	struct http_limits limits = http_limits_default;
	_cleanup_free_ char *body = pattern(SIZE);
	struct buf b = BUF_INIT, reply = BUF_INIT;

	(void)state;
	limits.bodies_max = 20000; /* does not count */
	set_up(&limits);
	buf_printf(&b, UP("/up") "Content-Length: %d\r\n\r\n", SIZE);
	buf_append(&b, body, SIZE);
	buf_puts(&b, GET("/next") "\r\n");
	ask_patiently(buf_data(&b), buf_len(&b), &reply, 100);
	expect_sum(&reply, body, SIZE, " HTTP");
	assert_non_null(strstr(buf_data(&reply), "GET /next 0:"));
	buf_clear(&b);
	buf_clear(&reply);
	buf_puts(&b, UP("/up") "Transfer-Encoding: chunked\r\n\r\n");
	put_chunks(&b, body, SIZE);
	buf_puts(&b, "0\r\nX-A: 1\r\nx-b:  two 2 \r\n\r\n" GET("/next") "\r\n");
	ask_patiently(buf_data(&b), buf_len(&b), &reply, 100);
	expect_sum(&reply, body, SIZE, "1 two 2HTTP");
	assert_non_null(strstr(buf_data(&reply), "GET /next 0:"));
	assert_int_equal(t.cancels, 0);
	buf_done(&b);
	buf_done(&reply);
	tear_down(NULL);
}

static void streamed_bodies_survive_every_slicing(void **state)
{
	const char *text =
	    UP("/up") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-A: "
		      "v\r\nX-B: w\r\n\r\n" UP("/up") "Content-Length: 3\r\n\r\nxyz" GET(
			  "/next") "\r\n";
	struct buf reply = BUF_INIT;

	(void)state;
	for (size_t cut = 1; cut < strlen(text); cut++) {
		int fd = dial();

		buf_clear(&reply);
		say(fd, text, cut);
		turn(1);
		say(fd, text + cut, strlen(text) - cut);
		listen_to(fd, &reply, 3);
		close(fd);
		expect_sum(&reply, "abcde", 5, "v w");
		expect_sum(&reply, "xyz", 3, " HTTP");
		assert_non_null(strstr(buf_data(&reply), "GET /next 0:"));
	}
	buf_done(&reply);
}

/* Send what the server takes without being read from; how much that was. */
static size_t push(int fd, const char *data, size_t len, int patience)
{
	size_t sent = 0;

	for (int idle = 0; sent < len && idle < patience;) {
		ssize_t n = send(fd, data + sent, len - sent, MSG_NOSIGNAL);

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		loop_turn(t.loop, n > 0 ? 0 : 1);
	}
	return sent;
}

static void upload_with_pauses(const char *head, const char *body, struct buf *b)
{
	struct buf reply = BUF_INIT;
	int fd = dial(), pauses = 0;
	size_t sent;

	say_text(fd, head);
	sent = push(fd, buf_data(b), buf_len(b), 5);
	for (int i = 0; t.uploading && i < 20000; i++) {
		bool was_paused = t.paused;
		int pieces = t.pieces;

		sent += push(fd, buf_data(b) + sent, buf_len(b) - sent, 1);
		turn(1);
		if (was_paused)
			assert_int_equal(t.pieces, pieces);
		if (!t.paused)
			continue;
		pieces = t.pieces;
		t.paused = false;
		http_request_resume(t.uploading);
		http_request_resume(t.uploading);
		assert_int_equal(t.pieces, pieces); /* not from within the call */
		pauses++;
	}
	assert_true(pauses > 10);
	listen_to(fd, &reply, 5);
	expect_sum(&reply, body, SIZE, "");
	close(fd);
	turn(2);
	buf_done(&reply);
}

static void a_paused_body_waits(void **state)
{
	struct http_limits limits = http_limits_default;
	_cleanup_free_ char *body = pattern(SIZE), *flood = xcalloc(1, 64u << 20);
	struct buf b = BUF_INIT;
	size_t taken;
	int fd;

	(void)state;
	limits.body_timeout_ms = 60;
	limits.body_rate_min = 1u << 20;
	set_up(&limits);
	buf_append(&b, body, SIZE);
	upload_with_pauses(UP("/up-pause") "Content-Length: 3000000\r\n\r\n", body, &b);
	buf_clear(&b);
	put_chunks(&b, body, SIZE);
	buf_puts(&b, "0\r\n\r\n");
	upload_with_pauses(UP("/up-pause") "Transfer-Encoding: chunked\r\n\r\n", body, &b);
	/* The client is held up, and not timed out; nor does the loop spin. */
	fd = dial();
	t.pieces = 0;
	say_text(fd, UP("/up-pause") "Content-Length: 67108864\r\n\r\n");
	taken = push(fd, flood, 64u << 20, 200);
	assert_true(taken < 32u << 20);
	assert_int_equal(t.pieces, 1);
	assert_int_equal(t.cancels, 0);
	t.paused = false;
	http_request_resume(t.uploading);
	taken = push(fd, flood, 1000, 20);
	assert_int_equal(t.pieces, 2);
	close(fd);
	turn(3);
	t.paused = false;
	if (t.uploading)
		http_request_resume(t.uploading);
	for (int i = 0; i < 2000 && t.uploading; i++) {
		if (t.paused) {
			t.paused = false;
			http_request_resume(t.uploading);
		}
		turn(1);
	}
	assert_int_equal(t.cancels, 1); /* its end was found when the body was read on */
	buf_done(&b);
	tear_down(NULL);
}

static void a_pause_at_the_head_keeps_the_client_waiting(void **state)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, UP("/up-wait") "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	assert_false(listen_to(fd, &reply, 5));
	assert_int_equal(buf_len(&reply), 0);
	t.paused = false;
	http_request_resume(t.uploading);
	listen_to(fd, &reply, 3);
	assert_string_equal(text_of(&reply), "HTTP/1.1 100 Continue\r\n\r\n");
	say_text(fd, "abc");
	listen_to(fd, &reply, 3);
	expect_sum(&reply, "abc", 3, "");
	/* A body without bytes waits too; an answer may come first, and nothing of the body. */
	say_text(fd, UP("/up-wait") "Content-Length: 0\r\n\r\n");
	assert_int_equal(t.requests, 1);
	t.paused = false;
	http_request_resume(t.uploading);
	turn(2);
	assert_int_equal(t.requests, 2);
	buf_clear(&reply);
	say_text(fd, UP("/up-wait") "Content-Length: 5\r\n\r\nhello" GET("/next") "\r\n");
	t.pieces = 0;
	http_reply(t.uploading, 403, NULL, 0, STR("no"));
	listen_to(fd, &reply, 3);
	assert_int_equal(t.pieces, 0);
	assert_true(strstr(text_of(&reply), "403") < strstr(buf_data(&reply), "GET /next 0:"));
	close(fd);
	turn(2);
	/* Gone while paused. */
	fd = dial();
	say_text(fd, UP("/up-wait") "Content-Length: 5\r\n\r\nhe");
	setsockopt(
	    fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	close(fd);
	turn(3);
	assert_int_equal(t.cancels, 1);
	buf_done(&reply);
}

static void a_streamed_upload_can_be_refused_midway(void **state)
{
	_cleanup_free_ char *body = xcalloc(1, 6u << 20);
	struct buf reply = BUF_INIT;
	int fd = dial();

	(void)state;
	say_text(fd, UP("/up-refuse") "Content-Length: 6442450944\r\n\r\n");
	say(fd, body, 6u << 20);
	shutdown(fd, SHUT_WR);
	assert_true(listen_to(fd, &reply, 50));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 403 ", 13), 0);
	assert_true(str_has_suffix(buf_str(&reply), "enough"));
	close(fd);
	buf_clear(&reply);
	ask(UP("/up-small") "Content-Length: 11\r\n\r\n", strlen(UP("/up-small")) + 22, &reply);
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 413 ", 13), 0);
	buf_clear(&reply);
	ask(UP("/up-small") "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n",
	    strlen(UP("/up-small")) + 53, &reply);
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 413 ", 13), 0);
	assert_int_equal(t.cancels, 2);
	buf_done(&reply);
}

static void a_client_that_never_stops_sending_is_left(void **state)
{
	_cleanup_free_ char *body = xcalloc(1, 1u << 20);
	size_t sent = 0;
	int fd = dial();

	(void)state;
	say_text(fd, UP("/up-refuse") "Content-Length: 6442450944\r\n\r\n");
	for (int i = 0; i < 1000 && http_server_connections(t.server); i++)
		sent += push(fd, body, 1u << 20, 5);
	assert_int_equal(http_server_connections(t.server), 0);
	assert_true(sent < 300u << 20);
	close(fd);
}

static void trailers_are_bounded_and_do_not_frame(void **state)
{
	struct buf b = BUF_INIT, reply = BUF_INIT;

	(void)state;
	buf_puts(&b, CHUNKED "1\r\nx\r\n0\r\nContent-Length: 3\r\n\r\n");
	assert_true(ask(buf_data(&b), buf_len(&b), &reply));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 400 ", 13), 0);
	buf_clear(&b);
	buf_clear(&reply);
	buf_puts(&b, CHUNKED "0\r\n");
	for (int i = 0; i < 17; i++)
		buf_puts(&b, "A: b\r\n");
	buf_puts(&b, "\r\n");
	assert_true(ask(buf_data(&b), buf_len(&b), &reply));
	assert_int_equal(strncmp(text_of(&reply), "HTTP/1.1 431 ", 13), 0);
	/* They belong to one request alone, and are no headers. */
	buf_clear(&b);
	buf_clear(&reply);
	buf_puts(
	    &b, UP("/up") "Transfer-Encoding: chunked\r\nX-A: head\r\n\r\n0\r\nX-B: b\r\n\r\n");
	buf_puts(&b, UP("/up") "Content-Length: 1\r\n\r\nx");
	ask(buf_data(&b), buf_len(&b), &reply);
	assert_non_null(strstr(text_of(&reply), "\r\n\r\n0 0  bHTTP"));
	assert_true(str_has_suffix(buf_str(&reply), "\r\n\r\n1 120  "));
	buf_done(&b);
	buf_done(&reply);
}

/* ---- answers from files ---- */

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void make_file(const char *data, size_t len)
{
	char path[] = "/tmp/http_body_XXXXXX";

	t.file = mkstemp(path);
	unlink(path);
	for (size_t done = 0; done < len;)
		done += (size_t)write(t.file, data + done, len - done);
	t.file_from = 0;
	t.file_len = len;
}

static void expect_file(const char *data, size_t from, size_t len, int fds)
{
	struct buf reply = BUF_INIT;
	const char *at;

	t.file_from = from;
	t.file_len = len;
	ask_patiently(GET("/file") "\r\n" GET("/next") "\r\n",
	    strlen(GET("/file") "\r\n" GET("/next") "\r\n"), &reply, 20);
	at = strstr(text_of(&reply), "\r\n\r\n");
	assert_non_null(at);
	assert_true((size_t)(buf_data(&reply) + buf_len(&reply) - at) > len + 4);
	assert_memory_equal(at + 4, data + from, len);
	assert_int_equal(strncmp(at + 4 + len, "HTTP/1.1 200 ", 13), 0);
	assert_int_equal(descriptors(), fds);
	buf_done(&reply);
}

static void files_are_answers(void **state)
{
	_cleanup_free_ char *data = pattern(SIZE);
	struct buf reply = BUF_INIT;
	const char *head = "HEAD /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
	int fds;

	(void)state;
	make_file(data, SIZE);
	fds = descriptors();
	expect_file(data, 0, 0, fds);
	expect_file(data, 0, 1, fds);
	expect_file(data, 5, 16384, fds);
	expect_file(data, 5, 16385, fds);
	expect_file(data, 12345, 1u << 20, fds);
	expect_file(data, 0, SIZE, fds);
	t.file_from = 0;
	t.file_len = SIZE;
	assert_true(ask(head, strlen(head), &reply));
	assert_non_null(strstr(text_of(&reply), "Content-Length: 3000000\r\n"));
	assert_true(str_has_suffix(buf_str(&reply), "\r\n\r\n"));
	assert_int_equal(descriptors(), fds);
	close(t.file);
	buf_done(&reply);
}

static void a_file_that_is_shorter_breaks_the_answer(void **state)
{
	static const size_t sizes[] = {100, 2000000};
	_cleanup_free_ char *data = pattern(SIZE);
	struct buf reply = BUF_INIT;
	int fds;

	(void)state;
	make_file(data, 1000000);
	fds = descriptors();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		t.file_from = i ? 0 : 999950;
		t.file_len = sizes[i];
		buf_clear(&reply);
		assert_true(
		    ask_patiently(GET("/file") "\r\n", strlen(GET("/file") "\r\n"), &reply, 50));
		assert_true(buf_len(&reply) < 1000300);
		assert_int_equal(descriptors(), fds);
	}
	assert_int_equal(t.cancels, 0);
	close(t.file);
	buf_done(&reply);
}

static void slow_readers_of_files_hold_up_nobody(void **state)
{
	size_t size = 40u << 20;
	_cleanup_free_ char *data = pattern(size);
	struct buf slow = BUF_INIT, reply = BUF_INIT;
	int fds, fd, other;

	(void)state;
	make_file(data, size);
	fds = descriptors();
	fd = dial();
	other = dial();
	say_text(fd, GET("/file") "\r\n");
	turn(50); /* the socket is full */
	say_text(other, GET("/x") "\r\n");
	listen_to(other, &reply, 3);
	assert_non_null(strstr(text_of(&reply), "GET /x 0:"));
	while (buf_len(&slow) < size && !listen_to(fd, &slow, 20))
		;
	assert_memory_equal(strstr(text_of(&slow), "\r\n\r\n") + 4, data, size);
	/* Who leaves midway leaves nothing behind. */
	say_text(fd, GET("/file") "\r\n");
	turn(3);
	close(fd);
	close(other);
	turn(10);
	assert_int_equal(descriptors(), fds);
	assert_int_equal(http_server_connections(t.server), 0);
	assert_int_equal(t.cancels, 0);
	/* Nor does the end of the server. */
	fd = dial();
	say_text(fd, GET("/file") "\r\n");
	turn(3);
	http_listener_close(t.listener);
	close(fd);
	assert_int_equal(descriptors(), fds - 1);
	close(t.file);
	buf_done(&slow);
	buf_done(&reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(streamed_bodies_arrive_whole_and_are_not_kept),
	    WITH(streamed_bodies_survive_every_slicing),
	    cmocka_unit_test(a_paused_body_waits),
	    WITH(a_pause_at_the_head_keeps_the_client_waiting),
	    WITH(a_streamed_upload_can_be_refused_midway),
	    WITH(a_client_that_never_stops_sending_is_left),
	    WITH(trailers_are_bounded_and_do_not_frame),
	    WITH(files_are_answers),
	    WITH(a_file_that_is_shorter_breaks_the_answer),
	    WITH(slow_readers_of_files_hold_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
