/*
 * Interactive streams over a real HTTP server; the spawner is played: it hands out the other ends
 * of pipes, of a real terminal, and of a socket as conmon's is.
 */
#include "http_rig.h"

#include <netinet/tcp.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "attach/attach.h"
#include "attach/frame.h"

#define ASK "Connection: upgrade\r\nUpgrade: mayfly-stream\r\n\r\n"

/* What the spawner was asked and what it answers. */
static struct {
	int result;
	bool late; /* answer when told to */
	int process[3];
	void (*exec_done)(void *ctx, int result, const char *why, const int streams[3]);
	void (*attach_done)(void *ctx, int result, const char *why, int socket);
	void (*on_end)(void *ctx, int exit_code);
	void *ctx;
	int streams[3];
	bool terminal;
	uint16_t rows, columns;
} sp;

/* What requests ask for. */
static struct {
	bool attach, terminal, stdin_open, stopped;
	int attached, refused, ended;
} q;

static void make_streams(void)
{
	int pair[2];

	memset(sp.process, -1, sizeof(sp.process));
	memset(sp.streams, -1, sizeof(sp.streams));
	if (sp.terminal) {
		assert_int_equal(openpty(&sp.streams[0], &sp.process[0], NULL, NULL, NULL), 0);
		return;
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
		sp.streams[i] = pair[i == 0];
		sp.process[i] = pair[i != 0];
		fd_nonblock(sp.process[i]);
	}
}

static void answer(void)
{
	void *ctx = sp.ctx;

	if (sp.exec_done)
		sp.exec_done(ctx, sp.result, "no such command", sp.streams);
	else
		sp.attach_done(ctx, sp.result, "it does not run", sp.streams[0]);
}

void spawn_container_exec(struct spawn *s _unused_, const struct container_exec *x,
    void (*done)(void *ctx, int result, const char *why, const int streams[3]),
    void (*on_end)(void *ctx, int exit_code), void *ctx)
{
	sp.terminal = x->terminal;
	sp.exec_done = done;
	sp.on_end = on_end;
	sp.ctx = ctx;
	if (sp.result == 0)
		make_streams();
	if (!sp.late)
		answer();
}

void spawn_container_attach(struct spawn *s _unused_, const char *id,
    void (*done)(void *ctx, int result, const char *why, int socket), void *ctx)
{
	int pair[2];

	assert_string_equal(id, "abc");
	sp.exec_done = NULL;
	sp.attach_done = done;
	sp.ctx = ctx;
	memset(sp.process, -1, sizeof(sp.process));
	if (sp.result == 0) {
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
		sp.streams[0] = pair[0];
		sp.process[0] = pair[1];
	}
	if (!sp.late)
		answer();
}

void spawn_container_resize(
    struct spawn *s _unused_, const char *id _unused_, uint16_t rows, uint16_t columns)
{
	sp.rows = rows;
	sp.columns = columns;
}

static void attached(void *ctx _unused_, bool success)
{
	*(success ? &q.attached : &q.refused) += 1;
}

static bool going(void *ctx _unused_)
{
	return !q.stopped;
}

static void ended(void *ctx _unused_)
{
	q.ended++;
}

static void on_asked(struct http_request *r)
{
	const struct attach_from from = {t.loop, NULL, r};
	const struct container_exec x = {.terminal = q.terminal};
	struct attach_container c = {.terminal = q.terminal,
	    .stdin_open = q.stdin_open,
	    .rows = 5,
	    .columns = 6,
	    .attached = attached,
	    .going = going,
	    .end = ended};

	strcpy(c.id, "abc");
	if (q.attach)
		attach_container(&from, &c);
	else
		attach_exec(&from, &x, q.stdin_open);
}

static int set_up_attach(void **state _unused_)
{
	static const struct http_handler h = {.on_request = on_asked, .on_cancel = attach_cancel};
	struct err e = ERR_INIT;
	socklen_t len = sizeof(t.address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&t, 0, sizeof(t));
	memset(&sp, 0, sizeof(sp));
	memset(&q, 0, sizeof(q));
	q.stdin_open = true;
	t.loop = loop_new(0, &e);
	t.server = http_server_new(t.loop, &h, NULL);
	t.address.sin_family = AF_INET;
	t.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&t.address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&t.address, &len);
	t.listener = http_listen(t.server, fd, NULL, &e);
	return 0;
}

static int tear_down_attach(void **state)
{
	for (int i = 0; i < 3; i++)
		if (sp.process[i] > 2)
			close(sp.process[i]);
	return tear_down(state);
}

/* A client that has its 101, and what came behind it. */
static int dial_stream(struct buf *got)
{
	const char *end;
	int fd = dial(), one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	say_text(fd, GET("/") ASK);
	listen_to(fd, got, 5);
	assert_true(str_has_prefix(buf_str(got), "HTTP/1.1 101 "));
	end = strstr(text_of(got), "\r\n\r\n");
	buf_consume(got, (size_t)(end + 4 - buf_data(got)));
	return fd;
}

static void send_frame(int fd, enum attach_kind kind, const void *data, size_t len)
{
	struct buf b = BUF_INIT;

	attach_frame_put(&b, kind, (struct str){data, len});
	say(fd, buf_data(&b), buf_len(&b));
	buf_done(&b);
	turn(3);
}

static struct attach_frame take_frame(struct buf *got)
{
	struct str in = buf_str(got);
	struct attach_frame f = {0};

	assert_int_equal(attach_frame_next(&in, &f), 1);
	buf_consume(got, buf_len(got) - in.len);
	return f;
}

static void expect_data(struct buf *got, enum attach_kind kind, const char *text)
{
	struct attach_frame f = take_frame(got);

	assert_int_equal(f.kind, kind);
	assert_true(str_is(f.data, text));
}

static void expect_number(struct buf *got, enum attach_kind kind, uint32_t n)
{
	struct attach_frame f = take_frame(got);

	assert_int_equal(f.kind, kind);
	assert_int_equal(attach_frame_u32(&f), n);
}

static void feed(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turn(2);
}

static void expect_input(int fd, const char *text)
{
	char data[1000];
	ssize_t n = read(fd, data, sizeof(data));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(data, text, strlen(text));
}

static void close_process(int i)
{
	close(sp.process[i]);
	sp.process[i] = -1;
	turn(3);
}

static void only_the_right_lengths_are_frames(void **state _unused_)
{
	static const struct {
		const char *bytes;
		size_t len;
		int result;
	} cases[] = {
	    {"\1\0\0\0\1a", 6, 1},
	    {"\1\0\0\0\1", 5, 0},
	    {"\1\0\0\0", 4, 0},
	    {"\1\0\0\0\0", 5, -EPROTO},
	    {"\1\0\1\0\1", 5, -EPROTO},
	    {"\1\0\1\0\0", 5, 0},
	    {"\2\0\0\0\0", 5, 1},
	    {"\2\0\0\0\1", 5, -EPROTO},
	    {"\3\0\0\0\4\0\1\0\2", 9, 1},
	    {"\3\0\0\0\3", 5, -EPROTO},
	    {"\0\0\0\0\0", 5, -EPROTO},
	    {"\x10\xff\xff\xff\xff", 5, -EPROTO},
	    {"\x14\0\0\4\1", 5, -EPROTO},
	    {"\x16\0\0\0\0", 5, -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str in = {cases[i].bytes, cases[i].len};
		struct attach_frame f;

		assert_int_equal(attach_frame_next(&in, &f), cases[i].result);
		assert_int_equal(in.len, cases[i].result > 0 ? 0 : cases[i].len);
	}
}

static void exec_carries_three_streams_and_the_exit_code(void **state _unused_)
{
	struct buf got = BUF_INIT;
	int fd = dial_stream(&got);

	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	send_frame(fd, ATTACH_STDIN, "hello", 5);
	expect_input(sp.process[0], "hello");
	feed(sp.process[1], "out");
	feed(sp.process[2], "err");
	listen_to(fd, &got, 3);
	expect_data(&got, ATTACH_STDOUT, "out");
	expect_data(&got, ATTACH_STDERR, "err");
	send_frame(fd, ATTACH_STDIN_END, "", 0);
	expect_input(sp.process[0], ""); /* its end */
	close_process(1);
	close_process(2);
	assert_false(listen_to(fd, &got, 3));
	sp.on_end(sp.ctx, 42);
	assert_true(listen_to(fd, &got, 10));
	expect_number(&got, ATTACH_EXIT, 42);
	assert_int_equal(buf_len(&got), 0);
	close(fd);
	buf_done(&got);
}

/* A daemon that an exec'd process leaves behind may keep its output open. */
static void nobody_waits_for_output_of_who_has_ended(void **state _unused_)
{
	struct buf got = BUF_INIT;
	int fd = dial_stream(&got);
	int64_t from = time_mono_ns();

	sp.on_end(sp.ctx, -1);
	feed(sp.process[1], "late");
	assert_true(listen_to(fd, &got, 1500));
	assert_true(time_mono_ns() - from >= 300 * MS);
	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	expect_data(&got, ATTACH_STDOUT, "late");
	expect_number(&got, ATTACH_EXIT, (uint32_t)-1);
	close(fd);
	buf_done(&got);
}

static void a_terminal_is_one_stream_with_a_size(void **state _unused_)
{
	struct buf got = BUF_INIT, size = BUF_INIT;
	struct winsize w = {0};
	int fd;

	q.terminal = true;
	fd = dial_stream(&got);
	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	attach_frame_put_size(&size, 33, 101);
	say(fd, buf_data(&size), buf_len(&size));
	turn(3);
	assert_int_equal(ioctl(sp.process[0], TIOCGWINSZ, &w), 0);
	assert_int_equal(w.ws_row, 33);
	assert_int_equal(w.ws_col, 101);
	feed(sp.process[0], "prompt$ ");
	listen_to(fd, &got, 3);
	expect_data(&got, ATTACH_STDOUT, "prompt$ ");
	send_frame(fd, ATTACH_STDIN, "ls\n", 3);
	expect_input(sp.process[0], "ls\n");
	listen_to(fd, &got, 3);
	expect_data(&got, ATTACH_STDOUT, "ls\r\n");
	close_process(0);
	sp.on_end(sp.ctx, 0);
	assert_true(listen_to(fd, &got, 10));
	expect_number(&got, ATTACH_EXIT, 0);
	close(fd);
	buf_done(&got);
	buf_done(&size);
}

/* The client sends what it has credit for, and no more; the process reads when it likes. */
static void input_is_bounded_by_credit(void **state _unused_)
{
	struct buf got = BUF_INIT;
	_cleanup_free_ char *block = xcalloc(1, ATTACH_FRAME_MAX);
	size_t credit = 0, sent = 0, read_back = 0;
	int fd = dial_stream(&got);
	char data[4096];

	for (int i = 0; i < 3000 && read_back < 1000000; i++) {
		ssize_t n;

		listen_to(fd, &got, 1);
		while (buf_len(&got)) {
			struct attach_frame f = take_frame(&got);

			assert_int_equal(f.kind, ATTACH_CREDIT);
			credit += attach_frame_u32(&f);
			assert_true(credit <= ATTACH_WINDOW);
		}
		if (credit) {
			send_frame(fd, ATTACH_STDIN, block, min_size(credit, 10000));
			sent += min_size(credit, 10000);
			credit -= min_size(credit, 10000);
		}
		if (i < 50)
			continue;
		/* 64 KiB in the pipe, 64 KiB in the session */
		assert_true(sent - read_back <= 65536 + ATTACH_WINDOW);
		n = read(sp.process[0], data, sizeof(data));
		read_back += n > 0 ? (size_t)n : 0;
	}
	assert_true(read_back >= 1000000);
	send_frame(fd, ATTACH_STDIN, block, ATTACH_FRAME_MAX);
	send_frame(fd, ATTACH_STDIN, block, ATTACH_FRAME_MAX); /* too much, surely */
	assert_true(listen_to(fd, &got, 10));
	while (buf_len(&got)) {
		struct attach_frame f = take_frame(&got);

		assert_true(f.kind == ATTACH_CREDIT || (f.kind == ATTACH_ERROR && !buf_len(&got)));
	}
	sp.on_end(sp.ctx, 0);
	close(fd);
	buf_done(&got);
}

/* Who closes its stdin does not stop its client. */
static void input_that_nobody_reads_is_dropped(void **state _unused_)
{
	struct buf got = BUF_INIT;
	_cleanup_free_ char *block = xcalloc(1, 30000);
	int fd = dial_stream(&got);

	signal(SIGPIPE, SIG_IGN);
	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	close_process(0);
	for (int i = 0; i < 20; i++) {
		send_frame(fd, ATTACH_STDIN, block, 30000);
		listen_to(fd, &got, 1);
		while (buf_len(&got))
			assert_int_equal(take_frame(&got).kind, ATTACH_CREDIT);
	}
	close_process(1);
	close_process(2);
	sp.on_end(sp.ctx, 1);
	assert_true(listen_to(fd, &got, 10));
	expect_number(&got, ATTACH_EXIT, 1);
	close(fd);
	buf_done(&got);
}

static void a_slow_client_holds_its_process_back(void **state _unused_)
{
	struct buf got = BUF_INIT;
	static char block[65536];
	size_t written = 0, seen = 0;
	int fd = dial_stream(&got), stuck = 0;

	while (stuck < 200) {
		ssize_t n = write(sp.process[1], block, sizeof(block));

		written += n > 0 ? (size_t)n : 0;
		stuck = n > 0 ? 0 : stuck + 1;
		turn(1);
	}
	close_process(1);
	close_process(2);
	sp.on_end(sp.ctx, 0);
	turn(500); /* longer than the quiet time */
	assert_true(listen_to(fd, &got, 1500));
	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	while (seen < written) {
		struct attach_frame f = take_frame(&got);

		assert_int_equal(f.kind, ATTACH_STDOUT);
		seen += f.data.len;
	}
	assert_int_equal(seen, written);
	expect_number(&got, ATTACH_EXIT, 0);
	close(fd);
	buf_done(&got);
}

static void without_stdin_there_is_no_credit(void **state _unused_)
{
	struct buf got = BUF_INIT;
	int fd;

	q.stdin_open = false;
	fd = dial_stream(&got);
	expect_input(sp.process[0], "");
	send_frame(fd, ATTACH_STDIN, "x", 1);
	assert_true(listen_to(fd, &got, 10));
	assert_int_equal(take_frame(&got).kind, ATTACH_ERROR);
	sp.on_end(sp.ctx, 0);
	close(fd);
	buf_done(&got);
}

/* Its streams are closed; what the process makes of that is its own affair. */
static void a_client_that_goes_pulls_the_plug(void **state _unused_)
{
	struct buf got = BUF_INIT;
	int fd = dial_stream(&got);

	close(fd);
	turn(5);
	expect_input(sp.process[0], "");
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(write(sp.process[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	sp.on_end(sp.ctx, 0); /* frees the session: the leak checker looks */
	assert_int_equal(http_server_connections(t.server), 0);
	buf_done(&got);
}

static void a_client_that_goes_before_the_start_leaves_nothing(void **state _unused_)
{
	int fd;

	sp.late = true;
	fd = dial();
	say_text(fd, GET("/") ASK);
	turn(2);
	close(fd);
	turn(5);
	answer();
	assert_int_equal(read(sp.process[0], &(char){0}, 1), 0);
	sp.on_end(sp.ctx, 0);
	q.attach = true;
	close_process(0);
	fd = dial();
	say_text(fd, GET("/") ASK);
	turn(2);
	close(fd);
	turn(5);
	answer();
	assert_int_equal(q.refused, 1);
	assert_int_equal(q.ended, 1);
}

static void what_cannot_start_is_an_ordinary_answer(void **state _unused_)
{
	struct buf reply = BUF_INIT;

	sp.result = -ENOEXEC;
	ask(GET("/") ASK, strlen(GET("/") ASK), &reply);
	assert_non_null(strstr(text_of(&reply), "HTTP/1.1 409 "));
	assert_non_null(strstr(buf_data(&reply), "{\"message\":\"no such command\"}"));
	buf_clear(&reply);
	q.attach = true;
	sp.result = -ENOENT;
	ask(GET("/") ASK, strlen(GET("/") ASK), &reply);
	assert_non_null(strstr(text_of(&reply), "HTTP/1.1 404 "));
	assert_int_equal(q.refused, 1);
	buf_clear(&reply);
	ask(GET("/") "\r\n", strlen(GET("/") "\r\n"), &reply);
	assert_non_null(strstr(text_of(&reply), "HTTP/1.1 426 "));
	assert_non_null(strstr(buf_data(&reply), "upgrade: mayfly-stream\r\n"));
	assert_int_equal(q.ended, 2);
	buf_done(&reply);
}

static void a_container_speaks_as_conmon_does(void **state _unused_)
{
	struct buf got = BUF_INIT;
	char block[30000] = {0}, data[40000];
	size_t sum = 0;
	int fd;

	q.attach = q.terminal = true;
	fd = dial_stream(&got);
	assert_int_equal(q.attached, 1);
	assert_int_equal(sp.rows, 5);
	assert_int_equal(sp.columns, 6);
	expect_number(&got, ATTACH_CREDIT, ATTACH_WINDOW);
	feed(sp.process[0], "\2out");
	feed(sp.process[0], "\3err");
	listen_to(fd, &got, 3);
	expect_data(&got, ATTACH_STDOUT, "out");
	expect_data(&got, ATTACH_STDERR, "err");
	send_frame(fd, ATTACH_STDIN, block, sizeof(block));
	for (ssize_t n; (n = recv(sp.process[0], data, sizeof(data), 0)) > 0; sum += (size_t)n)
		assert_true(n <= 8192); /* conmon's buffer; it drops the rest of a packet */
	assert_int_equal(sum, sizeof(block));
	close_process(0);
	assert_true(listen_to(fd, &got, 10));
	while (take_frame(&got).kind != ATTACH_END)
		;
	assert_int_equal(buf_len(&got), 0);
	assert_int_equal(q.ended, 1);
	close(fd);
	buf_done(&got);
}

static void the_end_of_input_is_told_to_conmon(void **state _unused_)
{
	struct buf got = BUF_INIT;
	int fd;

	q.attach = true;
	fd = dial_stream(&got);
	send_frame(fd, ATTACH_STDIN, "last", 4);
	send_frame(fd, ATTACH_STDIN_END, "", 0);
	expect_input(sp.process[0], "last");
	expect_input(sp.process[0], "");
	feed(sp.process[0], "\2answer");
	buf_clear(&got);
	listen_to(fd, &got, 3);
	expect_data(&got, ATTACH_STDOUT, "answer");
	close(fd);
	turn(5);
	assert_int_equal(q.ended, 1);
	buf_done(&got);
}

/* conmon waits for who reads its output, and a task could not end. */
static void who_reads_nothing_does_not_keep_a_container_from_ending(void **state _unused_)
{
	struct buf got = BUF_INIT;
	static char packet[8193] = {2};
	int64_t until;
	int fd, stuck = 0;

	q.attach = true;
	fd = dial_stream(&got);
	while (stuck < 200) {
		stuck = write(sp.process[0], packet, sizeof(packet)) > 0 ? 0 : stuck + 1;
		turn(1);
	}
	until = time_mono_ns() + 1500 * MS;
	while (time_mono_ns() < until)
		turn(1);
	assert_int_equal(q.ended, 0);
	assert_int_equal(write(sp.process[0], packet, sizeof(packet)), -1);
	q.stopped = true;
	until = time_mono_ns() + 1500 * MS;
	while (time_mono_ns() < until && !q.ended)
		turn(1);
	assert_int_equal(write(sp.process[0], packet, sizeof(packet)), -1);
	assert_int_not_equal(errno, EAGAIN);
	close(fd);
	turn(5);
	assert_int_equal(q.ended, 1);
	buf_done(&got);
}

#undef WITH
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up_attach, tear_down_attach)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_the_right_lengths_are_frames),
	    WITH(exec_carries_three_streams_and_the_exit_code),
	    WITH(nobody_waits_for_output_of_who_has_ended),
	    WITH(a_terminal_is_one_stream_with_a_size),
	    WITH(input_is_bounded_by_credit),
	    WITH(input_that_nobody_reads_is_dropped),
	    WITH(a_slow_client_holds_its_process_back),
	    WITH(without_stdin_there_is_no_credit),
	    WITH(a_client_that_goes_pulls_the_plug),
	    WITH(a_client_that_goes_before_the_start_leaves_nothing),
	    WITH(what_cannot_start_is_an_ordinary_answer),
	    WITH(a_container_speaks_as_conmon_does),
	    WITH(the_end_of_input_is_told_to_conmon),
	    WITH(who_reads_nothing_does_not_keep_a_container_from_ending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
