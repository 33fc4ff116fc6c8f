/*
 * A hostile client of an interactive stream. The first byte says what it is attached to (bit 0:
 * exec or container, 1: terminal, 2: stdin open) and in what pieces the rest is sent.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "attach/attach.h"
#include "attach/frame.h"
#include "fuzz.h"

#define ASK "POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: mayfly-stream\r\n\r\n"

static struct {
	struct loop *loop;
	uint8_t how;
	int ends[3], ours[3];
	void (*on_end)(void *ctx, int exit_code);
	void *ctx;
} p;

/* The frames themselves: what is cut off is what was put in. */
static void cut(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct buf b = BUF_INIT;
	struct attach_frame f;

	while (attach_frame_next(&in, &f) > 0)
		attach_frame_put(&b, f.kind, f.data);
	check(buf_len(&b) == size - in.len);
	check(!buf_len(&b) || memcmp(buf_data(&b), data, buf_len(&b)) == 0);
	buf_done(&b);
}

static void pair(int type, int i)
{
	int fds[2];

	check(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	p.ends[i] = fds[0];
	p.ours[i] = fds[1];
}

void spawn_container_exec(struct spawn *s, const struct container_exec *x,
    void (*done)(void *ctx, int result, const char *why, const int streams[3]),
    void (*on_end)(void *ctx, int exit_code), void *ctx)
{
	(void)s;
	pair(SOCK_STREAM, 0);
	for (int i = 1; i < 3 && !x->terminal; i++)
		pair(SOCK_STREAM, i);
	p.on_end = on_end;
	p.ctx = ctx;
	done(ctx, 0, "", p.ends);
}

void spawn_container_attach(struct spawn *s, const char *id,
    void (*done)(void *ctx, int result, const char *why, int socket), void *ctx)
{
	(void)s;
	(void)id;
	pair(SOCK_SEQPACKET, 0);
	done(ctx, 0, "", p.ends[0]);
}

void spawn_container_resize(struct spawn *s, const char *id, uint16_t rows, uint16_t columns)
{
	(void)s, (void)id, (void)rows, (void)columns;
}

static void on_request(struct http_request *r)
{
	const struct attach_from from = {p.loop, NULL, r};
	const struct container_exec x = {.terminal = p.how & 2};
	const struct attach_container c = {.terminal = p.how & 2, .stdin_open = p.how & 4};

	if (p.how & 1)
		attach_exec(&from, &x, p.how & 4);
	else
		attach_container(&from, &c);
}

/* What the process is given never exceeds what was granted; it is read now and then only. */
static void take_input(void)
{
	char data[5000];

	check(loop_turn(p.loop, 0) >= 0);
	if (p.ours[0] >= 0)
		(void)!recv(p.ours[0], data, sizeof(data), MSG_DONTWAIT);
	for (int i = 0; i < 3; i++)
		if (p.ours[i] >= 0)
			(void)!send(p.ours[i], "\2output", 7, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void play(int client, const uint8_t *data, size_t size)
{
	size_t step = (size_t)(p.how >> 3) * 97 + 1;
	char nowhere[65536];

	check(send(client, ASK, sizeof(ASK) - 1, MSG_NOSIGNAL) == sizeof(ASK) - 1);
	check(loop_turn(p.loop, 0) >= 0);
	check(loop_turn(p.loop, 0) >= 0);
	for (size_t at = 0; at < size; at += step) {
		if (send(client, data + at, min_size(step, size - at),
			MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		take_input();
		(void)!recv(client, nowhere, sizeof(nowhere), MSG_DONTWAIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_handler handler = {
	    .on_request = on_request, .on_cancel = attach_cancel};
	struct http_server *server;
	int fds[2];

	cut(data, size);
	memset(&p, 0, sizeof(p));
	memset(p.ends, -1, sizeof(p.ends));
	memset(p.ours, -1, sizeof(p.ours));
	p.how = size ? data[0] : 0;
	p.loop = loop_new(0, NULL);
	server = http_server_new(p.loop, &handler, NULL);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	check(http_server_adopt(server, fds[0], NULL) == 0);
	if (size)
		play(fds[1], data + 1, size - 1);
	close(fds[1]);
	check(loop_turn(p.loop, 0) >= 0);
	if (p.on_end)
		p.on_end(p.ctx, 0);
	http_server_free(server);
	for (int i = 0; i < 3; i++)
		if (p.ours[i] >= 0)
			close(p.ours[i]);
	loop_free(p.loop);
	return 0;
}
