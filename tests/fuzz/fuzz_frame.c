/*
 * A hostile bootstrap on the framed channel. The first byte says how far an honest one has come
 * before (warm, init, ready) and in what pieces the rest, which goes to the socket, is written.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#define ID "aaaaaaaa-0000-4000-8000-00000000000"

struct play {
	struct runtime *rt;
	int answers, broken, streams, taken_back;
	unsigned taken_count;
	bool paused;
};

static void on_event(void *ctx)
{
	(void)ctx;
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	(void)ctx;
	check(type.len <= 108 && body.len <= FRAME_PAYLOAD_MAX);
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	struct play *p = ctx;

	check(!p->broken && !p->paused && ++p->answers <= 3);
	check(a->request_id[35] == '0' + p->answers);
	check(buf_len(a->payload) <= FRAME_PAYLOAD_MAX);
	if (p->answers == 2)
		buf_done(a->payload);
}

static void on_taken_back(void *ctx, unsigned count)
{
	struct play *p = ctx;

	p->taken_back++;
	p->taken_count = count;
}

static void on_broken(void *ctx, const char *why)
{
	struct play *p = ctx;

	check(why && !p->broken++);
}

static void on_stream(void *ctx, struct str content_type)
{
	struct play *p = ctx;

	/* The second event only may be answered in pieces. */
	check(!p->broken && p->answers == 1 && !p->streams++ && content_type.len <= 108);
}

static void on_piece(void *ctx, struct str data)
{
	struct play *p = ctx;

	check(p->streams == 1 && !p->paused && data.len <= FRAME_PIECE_MAX);
	p->paused = data.len & 1;
	runtime_pause(p->rt, p->paused);
}

static const struct runtime_handler handler = {.on_warm = on_event,
    .on_ready = on_event,
    .on_init_error = on_init_error,
    .on_answer = on_answer,
    .on_broken = on_broken,
    .on_stream = on_stream,
    .on_piece = on_piece,
    .on_taken_back = on_taken_back};

static void honest(struct loop *l, int box, uint8_t kind)
{
	struct frame f = {.length = sizeof(f), .kind = kind};

	check(write(box, &f, sizeof(f)) == sizeof(f));
	check(loop_turn(l, 0) >= 0);
}

static void send_events(struct runtime *rt)
{
	struct runtime_event ev = {.arn = "arn", .payload = STR("{}")};

	for (char n = '1'; n <= '3'; n++) {
		memcpy(ev.request_id, ID, sizeof(ID));
		ev.request_id[35] = n;
		ev.stream = n == '2';
		runtime_send(rt, &ev);
	}
}

static void play(struct loop *l, struct play *p, int box, const uint8_t *data, size_t size)
{
	size_t step = (size_t)(data[0] >> 2) * 7 + 1;

	if (data[0] & 3)
		honest(l, box, FRAME_WARM);
	if ((data[0] & 3) > 1)
		runtime_init(p->rt, STR("{}"));
	if ((data[0] & 3) > 2) {
		honest(l, box, FRAME_READY);
		send_events(p->rt);
	}
	for (size_t at = 1; at < size; at += step) {
		if (send(box, data + at, min_size(step, size - at), MSG_DONTWAIT | MSG_NOSIGNAL) <
		    0)
			break;
		check(loop_turn(l, 0) >= 0);
		if (p->paused) {
			p->paused = false;
			runtime_pause(p->rt, false);
			check(loop_turn(l, 0) >= 0);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *l = loop_new(0, NULL);
	struct play p = {0};
	int fds[2];
	struct runtime_channel_fds ours;

	check(l && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	/* One pair for both ways does here. */
	ours = (struct runtime_channel_fds){fds[0], dup(fds[0]), -1};
	p.rt = runtime_channel_new(l, &ours, &handler, &p);
	if (size)
		play(l, &p, fds[1], data, size);
	close(fds[1]);
	check(loop_turn(l, 0) >= 0);
	check(loop_turn(l, 0) >= 0);
	check(p.broken == 1);
	runtime_free(p.rt);
	loop_free(l);
	return 0;
}
