/*
 * Core's end of the framed channel: two Unix sockets to one bootstrap, one in each direction
 * (frame.h, runtimes/README.md).
 * Loop thread; owned by whoever called runtime_channel_new().
 *
 * Receiving: one recv takes many answers into memory that all channels of a thread share; whole
 * frames are handed on from there, only what is cut off is kept. Nothing is believed: kind, order,
 * sequence, id and length are checked, and the first wrong byte ends the channel. Sending: frames
 * are gathered in one buffer and written at the end of the turn. In the steady state nothing is
 * allocated, unless the callee takes an answer's memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/reclaim_int.h"
#include "runtime/runtime_int.h"

#define SCRATCH_SIZE (128 * 1024)
#define KEEP_SIZE (64 * 1024) /* larger buffers are given back when empty */
#define EXTRA_MEMBER_MAX 3600 /* Lambda's limit for a client context is 3,583 */
#define READS_MAX 8           /* per turn and box, so that one box does not starve the others */

static _Thread_local char scratch[SCRATCH_SIZE];

enum channel_state {
	STATE_STARTING, /* FRAME_WARM has to come */
	STATE_WARM,     /* runtime_init() has to come */
	STATE_INIT,     /* FRAME_READY or FRAME_INIT_ERROR has to come */
	STATE_READY,
	STATE_FAILED, /* FRAME_INIT_ERROR came: only the end is left */
};

struct sent {
	uint64_t from; /* where in all we ever sent its frame begins */
	uint32_t sequence;
	bool stream;
	char request_id[37];
};

struct channel {
	struct runtime base;
	struct loop *loop;
	struct loop_io io;
	struct loop_io to_box;   /* watched while the socket is full */
	int unread;              /* the box's end of the same */
	struct reclaim *reclaim; /* going on: nothing is sent meanwhile */
	uint64_t queued;         /* bytes of all frames ever */
	struct loop_task flush;
	bool *gone; /* set when freed inside a callback */
	bool broken;
	enum channel_state state;

	struct sent sent[RUNTIME_AHEAD_MAX]; /* a ring: not answered yet */
	uint32_t first, count;
	uint32_t sequence;
	char *arn; /* of the event before */

	struct frame head; /* being received */
	size_t head_len;
	size_t body_left;
	bool skip; /* the body is too large and thrown away */
	struct buf body;
	struct buf out;

	bool streaming;  /* pieces of the oldest answer have been told */
	bool paused;     /* the caller wants no more of them for now */
	struct buf held; /* what had been received by then */
	struct loop_task go_on;
};

static struct channel *to_channel(struct runtime *r)
{
	return container_of(r, struct channel, base);
}

static void trim(struct buf *b)
{
	if (!buf_len(b) && b->capacity > KEEP_SIZE)
		buf_done(b);
	else if (!buf_len(b))
		buf_clear(b);
}

/* Nothing is read or written afterwards; the owner frees. */
static void fail(struct channel *c, const char *why)
{
	if (c->broken)
		return;
	c->broken = true;
	loop_io_remove(c->loop, &c->io);
	loop_io_remove(c->loop, &c->to_box);
	loop_task_cancel(&c->flush);
	loop_task_cancel(&c->go_on);
	reclaim_forget(c->reclaim);
	c->base.handler->on_broken(c->base.ctx, why);
}

/* --- receiving -------------------------------------------------------------------------------- */

static struct sent *oldest(struct channel *c)
{
	return c->count ? &c->sent[c->first % RUNTIME_AHEAD_MAX] : NULL;
}

static const char *check_answer(struct channel *c, const struct frame *f)
{
	const struct sent *s = oldest(c);

	if (c->state != STATE_READY)
		return "an answer before init was done";
	if (!s)
		return "an answer to no event";
	if (f->sequence != s->sequence || memcmp(f->request_id, s->request_id, 36) != 0)
		return "an answer to another event";
	return NULL;
}

static const char *check_piece(struct channel *c, const struct frame *f)
{
	const char *why = check_answer(c, f);

	if (why)
		return why;
	if (!oldest(c)->stream)
		return "a piece of an answer that was to be whole";
	return f->length > FRAME_HEADER_SIZE + FRAME_PIECE_MAX ? "a piece that is too large" : NULL;
}

/* What is wrong with this header, or NULL. */
static const char *check_header(struct channel *c, const struct frame *f)
{
	if (f->length < FRAME_HEADER_SIZE)
		return "a frame shorter than its header";
	if (f->flags || f->extra)
		return "a frame with flags or extra bytes";
	switch (f->kind) {
	case FRAME_WARM:
	case FRAME_READY:
		if (f->length != FRAME_HEADER_SIZE)
			return "a state change with a payload";
		if (c->state != (f->kind == FRAME_WARM ? STATE_STARTING : STATE_INIT))
			return "a state change out of order";
		return NULL;
	case FRAME_INIT_ERROR: return c->state == STATE_INIT ? NULL : "an init error out of order";
	case FRAME_RESULT:
	case FRAME_ERROR: return check_answer(c, f);
	case FRAME_PIECE: return check_piece(c, f);
	default: return "a frame of unknown kind";
	}
}

/* The type of an error, or of a stream's content, stands where a trace id would: printable, or cut
 * there. */
static struct str label(const struct frame *f, char lowest)
{
	size_t n = 0;

	while (n < sizeof(f->trace_id) && f->trace_id[n] >= lowest && f->trace_id[n] < 0x7f)
		n++;
	return (struct str){f->trace_id, n};
}

static struct str error_type(const struct frame *f)
{
	return label(f, ' ' + 1);
}

static void deliver_answer(struct channel *c)
{
	struct sent *s = oldest(c);
	char request_id[37];
	struct runtime_answer a = {
	    .request_id = request_id,
	    .is_error = c->head.kind == FRAME_ERROR,
	    .error_type = c->head.kind == FRAME_ERROR ? error_type(&c->head) : STR(""),
	    .payload = &c->body,
	};

	memcpy(request_id, s->request_id, sizeof(request_id));
	c->first++;
	c->count--;
	c->streaming = false;
	if (c->skip) {
		a.is_error = true;
		a.error_type = STR(RUNTIME_TOO_LARGE_TYPE);
		runtime_error_json(&c->body, a.error_type, STR(RUNTIME_TOO_LARGE_TEXT));
	}
	c->base.handler->on_answer(c->base.ctx, &a);
}

static void deliver_init_error(struct channel *c)
{
	struct str type = error_type(&c->head);

	c->state = STATE_FAILED;
	if (c->skip) {
		type = STR(RUNTIME_TOO_LARGE_TYPE);
		runtime_error_json(&c->body, type, STR(RUNTIME_TOO_LARGE_TEXT));
	}
	c->base.handler->on_init_error(c->base.ctx, type, buf_str(&c->body));
}

static void deliver_piece(struct channel *c)
{
	if (!c->streaming) {
		c->streaming = true;
		c->base.handler->on_stream(c->base.ctx, label(&c->head, ' '));
	}
	c->base.handler->on_piece(c->base.ctx, buf_str(&c->body));
}

/* A frame is whole. The callback may free the channel: false then. */
static bool deliver(struct channel *c)
{
	bool gone = false;

	c->gone = &gone;
	switch (c->head.kind) {
	case FRAME_WARM:
		c->state = STATE_WARM;
		c->base.handler->on_warm(c->base.ctx);
		break;
	case FRAME_READY:
		c->state = STATE_READY;
		c->base.handler->on_ready(c->base.ctx);
		break;
	case FRAME_INIT_ERROR: deliver_init_error(c); break;
	case FRAME_PIECE: deliver_piece(c); break;
	default: deliver_answer(c);
	}
	if (gone)
		return false;
	c->gone = NULL;
	c->head_len = 0;
	buf_clear(&c->body);
	trim(&c->body);
	return true;
}

static bool begin(struct channel *c)
{
	const char *why = check_header(c, &c->head);

	if (why) {
		fail(c, why);
		return false;
	}
	c->body_left = c->head.length - FRAME_HEADER_SIZE;
	c->skip = c->body_left > FRAME_PAYLOAD_MAX;
	return true;
}

/* Take in what was received; false when the channel is broken or freed. */
static bool parse(struct channel *c, const char *data, size_t len)
{
	for (;;) {
		size_t n;

		if (c->head_len < FRAME_HEADER_SIZE) {
			n = min_size(len, FRAME_HEADER_SIZE - c->head_len);
			memcpy((char *)&c->head + c->head_len, data, n);
			c->head_len += n;
			data += n;
			len -= n;
			if (c->head_len < FRAME_HEADER_SIZE)
				return true;
			if (!begin(c))
				return false;
		}
		n = min_size(len, c->body_left);
		if (!c->skip)
			buf_append(&c->body, data, n);
		c->body_left -= n;
		data += n;
		len -= n;
		if (c->body_left)
			return true;
		if (!deliver(c))
			return false;
		if (c->paused) {
			buf_append(&c->held, data, len);
			return true;
		}
	}
}

/* A large body is received where it is to stay. Memory follows what has come, not what a header
 * promises. */
static ssize_t receive_body(struct channel *c)
{
	size_t want = min_size(c->body_left, max_size(SCRATCH_SIZE, buf_len(&c->body)));
	ssize_t n = recv(c->io.fd, buf_reserve(&c->body, want), want, MSG_DONTWAIT);

	if (n > 0) {
		buf_commit(&c->body, (size_t)n);
		c->body_left -= (size_t)n;
		if (!c->body_left && !deliver(c))
			return -ECANCELED;
	}
	return n < 0 ? -errno : n;
}

static ssize_t receive_frames(struct channel *c)
{
	ssize_t n = recv(c->io.fd, scratch, sizeof(scratch), MSG_DONTWAIT);

	if (n > 0 && !parse(c, scratch, (size_t)n))
		return -ECANCELED;
	return n < 0 ? -errno : n;
}

static void end(struct channel *c, ssize_t error)
{
	/* A box that dies with unread frames in its socket resets it: that is a close, too. So is
	 * the end of a program that was killed while it wrote a frame. */
	fail(c, error && error != -ECONNRESET ? strerror((int)-error) : "");
}

/* Read what is there, up to a fair share. False when the channel is broken or freed. */
static bool receive(struct channel *c)
{
	for (int i = 0; i < READS_MAX && !c->paused; i++) {
		bool large = c->body_left > SCRATCH_SIZE && !c->skip;
		ssize_t n = large ? receive_body(c) : receive_frames(c);

		if (n == -ECANCELED)
			return false;
		if (n == -EAGAIN)
			return true;
		if (n == -EINTR)
			continue;
		if (n <= 0) {
			end(c, n);
			return false;
		}
		/* A short read has emptied the socket as a rule. */
		if (!large && (size_t)n < SCRATCH_SIZE)
			return true;
	}
	return true;
}

/* Wait for what is wanted. A channel that is paused and hung up would wake us for nothing. */
static void watch(struct channel *c)
{
	const uint32_t events = c->paused ? 0 : EPOLLIN;

	if (c->broken || (!c->io.added && c->paused))
		return;
	if (c->io.added) {
		loop_io_change(c->loop, &c->io, events);
		return;
	}
	c->io.events = events;
	if (loop_io_add(c->loop, &c->io) < 0)
		fail(c, "the channel cannot be watched any more");
}

static void on_go_on(struct loop_task *t)
{
	struct channel *c = container_of(t, struct channel, go_on);
	_cleanup_buf_ struct buf held = c->held;

	c->held = (struct buf)BUF_INIT;
	if (parse(c, buf_str(&held).ptr, buf_len(&held)))
		watch(c);
}

static void channel_pause(struct runtime *r, bool paused)
{
	struct channel *c = to_channel(r);

	if (c->broken || c->paused == paused)
		return;
	c->paused = paused;
	if (paused)
		watch(c);
	else
		loop_defer(c->loop, &c->go_on);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void send_out(struct channel *c)
{
	while (buf_len(&c->out)) {
		ssize_t n = send(
		    c->to_box.fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			int error = errno;

			/* The last answers may still wait to be read. */
			buf_clear(&c->out);
			if (receive(c))
				end(c, error == EPIPE ? 0 : -error);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	trim(&c->out);
	if (!buf_len(&c->out))
		loop_io_remove(c->loop, &c->to_box);
	else if (!c->to_box.added)
		check(loop_io_add(c->loop, &c->to_box) >= 0);
}

static void on_flush(struct loop_task *t)
{
	send_out(container_of(t, struct channel, flush));
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct channel *c = container_of(io, struct channel, io);

	if (c->paused && events & (EPOLLHUP | EPOLLERR)) {
		loop_io_remove(c->loop, &c->io);
		return;
	}
	if (!receive(c))
		return;
	/* What the answers made room for goes out before anything else is done in this turn: the
	 * box works on while we reply. */
	if (buf_len(&c->out) && !c->to_box.added && !c->reclaim) {
		loop_task_cancel(&c->flush);
		send_out(c);
	}
}

static void on_writable(struct loop_io *io, uint32_t events)
{
	(void)events;
	send_out(container_of(io, struct channel, to_box));
}

static void queue(struct channel *c, const struct frame *f, struct str extra, struct str payload)
{
	buf_reserve(&c->out, f->length);
	buf_append(&c->out, f, sizeof(*f));
	buf_append_str(&c->out, extra);
	buf_append_str(&c->out, payload);
	c->queued += f->length;
	/* While the socket is full, on_writable() sends. */
	if (!c->to_box.added && !c->reclaim)
		loop_defer(c->loop, &c->flush);
}

static void channel_init(struct runtime *r, struct str init_json)
{
	struct channel *c = to_channel(r);
	struct frame f = {.kind = FRAME_INIT};

	if (c->broken)
		return;
	check(c->state == STATE_WARM);
	check(init_json.len <= FRAME_PAYLOAD_MAX);
	f.length = (uint32_t)(FRAME_HEADER_SIZE + init_json.len);
	c->state = STATE_INIT;
	queue(c, &f, STR(""), init_json);
}

static void add_member(struct buf *b, const char *name, struct str value)
{
	if (!value.len)
		return;
	/* Whatever a client made of it, the three together stay below the 64 KiB of `extra`. */
	if (value.len > EXTRA_MEMBER_MAX) {
		log_warn("%s of %zu bytes is not passed to the function, the limit is %d", name,
		    value.len, EXTRA_MEMBER_MAX);
		return;
	}
	buf_printf(b, "%s\"%s\":", buf_len(b) ? "," : "{", name);
	buf_json_string(b, value);
}

/* The few things that most events do not have, or share with the one before. */
static void build_extra(struct channel *c, const struct runtime_event *ev, struct buf *extra)
{
	if (ev->arn && (!c->arn || strcmp(c->arn, ev->arn) != 0)) {
		free(c->arn);
		c->arn = xstrdup(ev->arn);
		add_member(extra, "arn", str_from(ev->arn));
	}
	add_member(extra, "clientContext", ev->client_context);
	add_member(extra, "identity", ev->identity);
	if (buf_len(extra))
		buf_putc(extra, '}');
}

static void remember(struct channel *c, const char *request_id, bool stream)
{
	struct sent *s = &c->sent[(c->first + c->count) % RUNTIME_AHEAD_MAX];

	check(c->count < RUNTIME_AHEAD_MAX);
	s->from = c->queued;
	s->sequence = ++c->sequence;
	s->stream = stream;
	memcpy(s->request_id, request_id, sizeof(s->request_id));
	c->count++;
}

static void channel_send(struct runtime *r, const struct runtime_event *ev)
{
	struct channel *c = to_channel(r);
	_cleanup_buf_ struct buf extra = BUF_INIT;
	struct frame f = {.kind = FRAME_INVOKE};

	if (c->broken)
		return;
	check(c->state != STATE_STARTING && c->state != STATE_WARM);
	check(ev->payload.len <= FRAME_PAYLOAD_MAX);
	check(strlen(ev->request_id) == sizeof(f.request_id));
	remember(c, ev->request_id, ev->stream);
	build_extra(c, ev, &extra);
	check(buf_len(&extra) <= UINT16_MAX);
	f.length = (uint32_t)(FRAME_HEADER_SIZE + buf_len(&extra) + ev->payload.len);
	f.extra = (uint16_t)buf_len(&extra);
	f.flags = ev->stream ? FRAME_FLAG_STREAM : 0;
	f.sequence = c->sequence;
	f.timeout_ms = (uint32_t)(ev->timeout_ms < 0 ? 0 : ev->timeout_ms);
	memcpy(f.request_id, ev->request_id, sizeof(f.request_id));
	memcpy(f.trace_id, ev->trace_id, strnlen(ev->trace_id, sizeof(f.trace_id)));
	queue(c, &f, buf_str(&extra), ev->payload);
}

/* --- taking back ------------------------------------------------------------------------------ */

/* The frames that begin at `from` or later are not sent, but for the oldest. How many? */
static unsigned forget_sent(struct channel *c, uint64_t from)
{
	unsigned n = 0;

	while (
	    c->count > 1 && c->sent[(c->first + c->count - 1) % RUNTIME_AHEAD_MAX].from >= from) {
		c->queued = c->sent[(c->first + c->count - 1) % RUNTIME_AHEAD_MAX].from;
		c->count--;
		c->sequence--;
		n++;
	}
	return n;
}

/* The bytes are the last that were sent. What of them belongs to a frame of which the box has read
 * a part already, or to the oldest, goes out again. */
static void on_reclaimed(void *ctx, struct buf *bytes)
{
	struct channel *c = ctx;
	const uint64_t sent = c->queued - buf_len(&c->out);
	const uint64_t from = sent - buf_len(bytes);
	unsigned count;

	check(buf_len(bytes) <= sent);
	c->reclaim = NULL;
	count = forget_sent(c, from);
	buf_append_str(bytes, buf_str(&c->out));
	buf_clear(&c->out);
	buf_append(&c->out, buf_data(bytes), c->queued - from);
	if (count) { /* it may have been told in one of them */
		free(c->arn);
		c->arn = NULL;
	}
	send_out(c);
	if (!c->broken)
		c->base.handler->on_taken_back(c->base.ctx, count);
}

static bool channel_take_back(struct runtime *r)
{
	struct channel *c = to_channel(r);

	if (c->broken || c->reclaim || c->unread < 0)
		return false;
	c->reclaim = reclaim_start(c->loop, c->unread, on_reclaimed, c);
	if (!c->reclaim)
		return false;
	loop_task_cancel(&c->flush);
	loop_io_remove(c->loop, &c->to_box);
	return true;
}

/* --- life ------------------------------------------------------------------------------------- */

static void channel_free(struct runtime *r)
{
	struct channel *c = to_channel(r);

	if (c->gone)
		*c->gone = true;
	if (!c->broken) {
		loop_io_remove(c->loop, &c->io);
		loop_io_remove(c->loop, &c->to_box);
		loop_task_cancel(&c->flush);
		loop_task_cancel(&c->go_on);
		reclaim_forget(c->reclaim);
	}
	close(c->io.fd);
	buf_done(&c->held);
	close(c->to_box.fd);
	if (c->unread >= 0)
		close(c->unread);
	buf_done(&c->body);
	buf_done(&c->out);
	free(c->arn);
	free(c);
}

static const struct runtime_ops channel_ops = {
    .free = channel_free,
    .init = channel_init,
    .send = channel_send,
    .pause = channel_pause,
    .take_back = channel_take_back,
};

/* A process that sleeps in read(2) on a Unix socket is woken when the other end takes what it has
 * written to the same socket. So each way has a pair of its own. */
static int one_way(int *ret_ours, int *ret_theirs, int closed)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	(void)fd_nonblock(pair[0]);
	fd_refuse_fds(pair[0]);
	shutdown(pair[0], closed);
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
	return 0;
}

int runtime_channel_pairs(struct runtime_channel_fds *ret_ours, int ret_theirs[2])
{
	int r = one_way(&ret_ours->to_box, &ret_theirs[0], SHUT_RD);

	if (r < 0)
		return r;
	ret_ours->unread = fcntl(ret_theirs[0], F_DUPFD_CLOEXEC, 3);
	r = ret_ours->unread < 0 ? -errno : one_way(&ret_ours->from_box, &ret_theirs[1], SHUT_WR);
	if (r == 0)
		return 0;
	close(ret_ours->to_box);
	close(ret_theirs[0]);
	if (ret_ours->unread >= 0)
		close(ret_ours->unread);
	return r;
}

struct runtime *runtime_channel_new(struct loop *l, const struct runtime_channel_fds *fds,
    const struct runtime_handler *h, void *ctx)
{
	struct channel *c = xcalloc(1, sizeof(*c));

	c->base = (struct runtime){&channel_ops, h, ctx};
	c->loop = l;
	c->to_box =
	    (struct loop_io){.fd = fds->to_box, .events = EPOLLOUT, .on_ready = on_writable};
	c->io = (struct loop_io){.fd = fds->from_box, .events = EPOLLIN, .on_ready = on_ready};
	c->unread = fds->unread;
	c->flush.run = on_flush;
	list_init(&c->flush.node);
	c->go_on.run = on_go_on;
	list_init(&c->go_on.node);
	check(loop_io_add(l, &c->io) >= 0);
	return &c->base;
}
