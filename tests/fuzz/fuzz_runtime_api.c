/*
 * A hostile runtime at the HTTP Runtime API, with four connections: the byte 0xff and a digit
 * switch between them, the rest is what is sent. There is always an event for whoever asks; its
 * request id is ID and the number of answers so far.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#define CONNECTIONS 4

struct play {
	struct runtime *rt;
	unsigned answers;
	bool failed, streams, paused;
};

static void send_event(struct play *p)
{
	struct runtime_event ev = {.arn = "arn\n:x",
	    .trace_id = "Root=1",
	    .client_context = STR("{}"),
	    .identity = STR("{}"),
	    .payload = STR("{\"a\":1}")};

	snprintf(ev.request_id, sizeof(ev.request_id), "aaaaaaaa-0000-4000-8000-0000000000%02u",
	    p->answers % 100);
	ev.stream = p->answers % 2;
	runtime_send(p->rt, &ev);
}

static void on_ready(void *ctx)
{
	(void)ctx;
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	struct play *p = ctx;

	check(type.len < 80 && body.len <= FRAME_PAYLOAD_MAX && !p->failed);
	p->failed = true;
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	struct play *p = ctx;

	check((unsigned)atoi(a->request_id + 34) == p->answers % 100);
	check(buf_len(a->payload) <= FRAME_PAYLOAD_MAX);
	check(!p->paused);
	p->streams = false;
	p->answers++;
	send_event(p);
}

static void on_broken(void *ctx, const char *why)
{
	(void)ctx;
	check(*why);
}

static void on_stream(void *ctx, struct str content_type)
{
	struct play *p = ctx;

	check(p->answers % 2 && !p->streams && content_type.len <= 32768);
	p->streams = true;
}

static void on_piece(void *ctx, struct str data)
{
	struct play *p = ctx;

	check(p->streams && !p->paused && data.len);
	p->paused = data.len & 1;
	runtime_pause(p->rt, p->paused);
}

static const struct runtime_handler handler = {
    NULL, on_ready, on_init_error, on_answer, on_broken, on_stream, on_piece};

static int listen_anywhere(struct sockaddr_un *address, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	check(bind(fd, (struct sockaddr *)address, sizeof(sa_family_t)) == 0);
	*len = sizeof(*address);
	check(getsockname(fd, (struct sockaddr *)address, len) == 0);
	check(listen(fd, CONNECTIONS) == 0);
	return fd;
}

static void drain(int fd)
{
	char nowhere[4096];

	while (recv(fd, nowhere, sizeof(nowhere), MSG_DONTWAIT) > 0)
		;
}

static void play(struct loop *l, struct play *p, const int *fds, const uint8_t *data, size_t size)
{
	int fd = fds[0];

	for (size_t at = 0; at < size;) {
		const uint8_t *mark = memchr(data + at, 0xff, size - at);
		size_t n = mark ? (size_t)(mark - data) - at : size - at;

		send(fd, data + at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		for (int i = 0; i < 4; i++) {
			check(loop_turn(l, 0) >= 0);
			if (p->paused) {
				p->paused = false;
				runtime_pause(p->rt, false);
			}
		}
		drain(fd);
		at += n;
		if (at + 1 < size)
			fd = fds[data[at + 1] % CONNECTIONS];
		at += 2;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *l = loop_new(0, NULL);
	struct runtime_api *api = runtime_api_open(l);
	struct play p = {0};
	struct sockaddr_un address;
	socklen_t len;
	int listener = listen_anywhere(&address, &len), fds[CONNECTIONS];

	p.rt = runtime_api_new(api, listener, &handler, &p, NULL);
	check(p.rt);
	runtime_api_describe(p.rt, "f", "1", "h", "123456789012");
	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		check(connect(fds[i], (struct sockaddr *)&address, len) == 0);
	}
	send_event(&p);
	play(l, &p, fds, data, size);
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	check(loop_turn(l, 0) >= 0);
	runtime_free(p.rt);
	check(loop_turn(l, 0) >= 0);
	runtime_api_close(api);
	loop_free(l);
	return 0;
}
