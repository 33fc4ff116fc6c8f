/* Switching protocols: who gets it, bytes both ways, backpressure, half-close, stalls. */
#include "http_rig.h"

#define SWITCH "Connection: keep-alive, Upgrade\r\nUpgrade: other, Test/1\r\n\r\n"
#define SIZE 5000000

static struct {
	struct http_tunnel *tunnel;
	struct http_request *held;
	bool echo, hold, finish_at_end, pause_each, close_on_data, finish_on_data;
	size_t got, to_send;
	uint64_t sum;
	int ends, hang_ups, drains, losts;
} u;

static void more(void *ctx _unused_)
{
	static char block[10000];

	u.drains++;
	memset(block, 'x', sizeof(block));
	while (u.to_send) {
		size_t n = min_size(u.to_send, sizeof(block));
		size_t waiting = http_tunnel_send(u.tunnel, (struct str){block, n});

		u.to_send -= n;
		assert_true(waiting < 65536 + 2 * sizeof(block));
		if (waiting >= 65536)
			return;
	}
}

static void on_data(void *ctx, const void *data, size_t len)
{
	assert_ptr_equal(ctx, &u);
	assert_true(len <= 32768);
	u.sum = sum_body(u.sum, u.got, data, len);
	u.got += len;
	if (u.echo)
		http_tunnel_send(u.tunnel, (struct str){data, len});
	if (u.pause_each)
		http_tunnel_pause(u.tunnel);
	if (u.close_on_data)
		http_tunnel_close(u.tunnel);
	if (u.finish_on_data)
		http_tunnel_finish(u.tunnel);
	if (u.close_on_data || u.finish_on_data)
		u.tunnel = NULL;
}

static void on_end(void *ctx _unused_)
{
	u.ends++;
	if (u.finish_at_end) {
		http_tunnel_send(u.tunnel, STR("bye"));
		http_tunnel_finish(u.tunnel);
		u.tunnel = NULL;
	}
}

static void on_hang_up(void *ctx _unused_)
{
	u.hang_ups++;
}

static void on_lost(void *ctx _unused_)
{
	u.losts++;
	u.tunnel = NULL;
}

static const struct http_tunnel_handler patient = {on_data, on_end, on_hang_up, more, on_lost, 0};
static const struct http_tunnel_handler strict = {on_data, on_end, NULL, more, on_lost, 100};
static const struct http_tunnel_handler *handler;

static void switch_over(struct http_request *r)
{
	u.tunnel = http_upgrade(r, "test", handler, &u);
}

static void on_asked(struct http_request *r)
{
	if (!http_upgrade_asked(r, "test"))
		http_reply(r, 426, NULL, 0, STR("ask for test"));
	else if (u.hold)
		u.held = r;
	else if (str_is(r->path, "/plain"))
		http_reply(r, 200, NULL, 0, STR("as ever"));
	else
		switch_over(r);
}

static int set_up_tunnels(void **state _unused_)
{
	static const struct http_handler h = {NULL, NULL, on_asked, NULL};
	struct http_limits limits = http_limits_default;
	struct err e = ERR_INIT;
	socklen_t len = sizeof(t.address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&t, 0, sizeof(t));
	memset(&u, 0, sizeof(u));
	handler = &patient;
	limits.idle_timeout_ms = 50; /* of requests: tunnels may be silent */
	t.loop = loop_new(0, &e);
	t.server = http_server_new(t.loop, &h, &limits);
	t.address.sin_family = AF_INET;
	t.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&t.address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&t.address, &len);
	t.listener = http_listen(t.server, fd, &t.ctx, &e);
	return 0;
}

/* A client that has its 101. */
static int dial_tunnel(void)
{
	struct buf reply = BUF_INIT;
	int fd = dial();

	say_text(fd, GET("/") SWITCH);
	listen_to(fd, &reply, 5);
	assert_true(str_has_prefix(buf_str(&reply), "HTTP/1.1 101 Switching Protocols\r\n"));
	assert_int_equal(count(text_of(&reply), "Connection: upgrade\r\nUpgrade: test\r\n\r\n"), 1);
	assert_int_equal(count(buf_data(&reply), "Content-Length"), 0);
	assert_true(str_has_suffix(buf_str(&reply), "\r\n\r\n"));
	buf_done(&reply);
	assert_non_null(u.tunnel);
	return fd;
}

static void only_who_asks_rightly_gets_it(void **state _unused_)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
	    {GET("/") "\r\n", "HTTP/1.1 426 "},
	    {GET("/") "Upgrade: test\r\n\r\n", "HTTP/1.1 426 "},
	    {GET("/") "Connection: upgrade\r\n\r\n", "HTTP/1.1 426 "},
	    {GET("/") "Connection: upgrade\r\nUpgrade: tests\r\n\r\n", "HTTP/1.1 426 "},
	    {GET("/") "Connection: upgrades\r\nUpgrade: test\r\n\r\n", "HTTP/1.1 426 "},
	    {"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n", "HTTP/1.1 426 "},
	    {GET("/plain") SWITCH, "HTTP/1.1 200 "},
	    {GET("/") SWITCH, "HTTP/1.1 101 "},
	    {GET("/") "Connection: upgrade\r\nUpgrade: x\r\nUpgrade:TEST\r\n\r\n", "HTTP/1.1 101 "},
	    {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: upgrade\r\n"
	     "Upgrade: test\r\n\r\nhi",
		"HTTP/1.1 101 "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf reply = BUF_INIT;

		ask(cases[i].request, strlen(cases[i].request), &reply);
		assert_true(str_has_prefix(buf_str(&reply), cases[i].answer));
		buf_done(&reply);
		turn(5);
		if (u.tunnel)
			http_tunnel_close(u.tunnel);
		u.tunnel = NULL;
	}
	turn(2);
	assert_int_equal(http_server_connections(t.server), 0);
}

/* What stands behind the request may be a request, smuggled past a proxy that knows no upgrade. */
static void bytes_before_the_switch_are_refused(void **state _unused_)
{
	struct buf reply = BUF_INIT;
	const char *text = GET("/") SWITCH GET("/plain") "\r\n";
	int fd;

	assert_true(ask(text, strlen(text), &reply));
	assert_true(str_has_prefix(buf_str(&reply), "HTTP/1.1 400 "));
	assert_int_equal(count(text_of(&reply), "HTTP/1.1"), 1);
	assert_null(u.tunnel);
	buf_clear(&reply);
	u.hold = true;
	fd = dial();
	say_text(fd, GET("/") SWITCH);
	say_text(fd, "early");
	assert_non_null(u.held);
	switch_over(u.held);
	assert_null(u.tunnel);
	listen_to(fd, &reply, 5);
	assert_true(str_has_prefix(buf_str(&reply), "HTTP/1.1 400 "));
	close(fd);
	turn(5);
	assert_int_equal(http_server_connections(t.server), 0);
	buf_done(&reply);
}

static void bytes_go_both_ways_and_silence_is_allowed(void **state _unused_)
{
	int fd = dial_tunnel();
	char *data = xmalloc(SIZE);
	struct buf reply = BUF_INIT;

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)(i * i % 251);
	turn(100); /* longer than the idle time between requests */
	assert_non_null(u.tunnel);
	say(fd, data, SIZE);
	for (int i = 0; i < 5000 && u.got < SIZE; i++)
		turn(1);
	assert_int_equal(u.got, SIZE);
	assert_true(u.sum == sum_body(0, 0, data, SIZE));
	u.to_send = SIZE;
	more(NULL);
	assert_int_not_equal(u.to_send, 0); /* it was told to wait */
	listen_to(fd, &reply, 20);
	assert_int_equal(buf_len(&reply), SIZE);
	assert_int_equal(u.to_send, 0);
	close(fd);
	turn(5);
	assert_int_equal(u.hang_ups, 1);
	assert_int_equal(u.ends, 1);
	buf_done(&reply);
	free(data);
}

static void a_paused_tunnel_reads_nothing(void **state _unused_)
{
	int fd = dial_tunnel();
	char block[60000] = {0}; /* fits the kernel's buffers, so that the end behind it arrives */
	size_t before;

	u.pause_each = true;
	say(fd, block, sizeof(block));
	turn(10);
	before = u.got;
	assert_true(before > 0 && before <= 32768);
	shutdown(fd, SHUT_WR);
	turn(10);
	assert_int_equal(u.got, before);
	assert_int_equal(u.ends, 0);
	assert_int_equal(u.hang_ups, 1); /* but this is heard */
	for (int i = 0; i < 10000 && !u.ends; i++) {
		http_tunnel_resume(u.tunnel);
		turn(1);
	}
	assert_int_equal(u.got, sizeof(block));
	assert_int_equal(u.ends, 1);
	close(fd);
}

static void one_side_may_end_before_the_other(void **state _unused_)
{
	struct buf reply = BUF_INIT;
	int fd = dial_tunnel();

	u.finish_at_end = true;
	say_text(fd, "question");
	http_tunnel_send(u.tunnel, STR("one "));
	shutdown(fd, SHUT_WR);
	turn(5);
	assert_int_equal(u.got, 8);
	assert_true(listen_to(fd, &reply, 10));
	assert_string_equal(text_of(&reply), "one bye");
	close(fd);
	turn(2);
	assert_int_equal(http_server_connections(t.server), 0);
	assert_int_equal(u.losts, 0);
	buf_done(&reply);
}

/* All of it arrives, though the client goes on sending and reads late. */
static void finishing_sends_what_waits(void **state _unused_)
{
	struct buf reply = BUF_INIT;
	int fd = dial_tunnel();

	u.to_send = 65536;
	more(NULL);
	http_tunnel_finish(u.tunnel);
	u.tunnel = NULL;
	say_text(fd, "still talking");
	assert_true(listen_to(fd, &reply, 50));
	assert_int_equal(buf_len(&reply), 65536);
	assert_int_equal(u.got, 0);
	close(fd);
	turn(5);
	assert_int_equal(http_server_connections(t.server), 0);
	buf_done(&reply);
}

static void who_reads_nothing_is_dropped_if_that_was_asked_for(void **state _unused_)
{
	int64_t until;
	int fd;

	handler = &strict;
	fd = dial_tunnel();
	u.to_send = 50000000;
	more(NULL);
	until = time_mono_ns() + 3000 * MS;
	while (u.tunnel && time_mono_ns() < until)
		turn(1);
	assert_int_equal(u.losts, 1);
	close(fd);
	turn(2);
	handler = &patient;
	memset(&u, 0, sizeof(u));
	fd = dial_tunnel();
	u.to_send = 50000000;
	more(NULL);
	until = time_mono_ns() + 300 * MS;
	while (time_mono_ns() < until)
		turn(1);
	assert_int_equal(u.losts, 0);
	close(fd);
	turn(5);
	assert_int_equal(u.losts, 1);
}

static void handlers_may_close_and_finish_from_within(void **state _unused_)
{
	struct buf reply = BUF_INIT;
	int fd = dial_tunnel();

	u.close_on_data = true;
	say_text(fd, "a");
	turn(2);
	assert_true(listen_to(fd, &reply, 5));
	close(fd);
	u.close_on_data = false;
	u.finish_on_data = u.echo = true;
	fd = dial_tunnel();
	say_text(fd, "b");
	turn(2);
	assert_true(listen_to(fd, &reply, 5));
	assert_string_equal(text_of(&reply), "b");
	close(fd);
	turn(5);
	assert_int_equal(u.losts, 0);
	assert_int_equal(http_server_connections(t.server), 0);
	buf_done(&reply);
}

static void a_closed_listener_takes_its_tunnels_along(void **state _unused_)
{
	struct linger reset = {.l_onoff = 1};
	int fd = dial_tunnel(), other;

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	turn(5);
	assert_int_equal(u.losts, 1);
	other = dial_tunnel();
	http_listener_close(t.listener);
	assert_int_equal(u.losts, 2);
	assert_null(u.tunnel);
	close(other);
}

#undef WITH
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up_tunnels, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH(only_who_asks_rightly_gets_it),
	    WITH(bytes_before_the_switch_are_refused),
	    WITH(bytes_go_both_ways_and_silence_is_allowed),
	    WITH(a_paused_tunnel_reads_nothing),
	    WITH(one_side_may_end_before_the_other),
	    WITH(finishing_sends_what_waits),
	    WITH(who_reads_nothing_is_dropped_if_that_was_asked_for),
	    WITH(handlers_may_close_and_finish_from_within),
	    WITH(a_closed_listener_takes_its_tunnels_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
