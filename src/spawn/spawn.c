/*
 * Core's client of the spawner. See spawn.h. Messages that the socket does not take at once wait
 * in a queue; unpacking and deleting wait for their turn, because the spawner takes only
 * WIRE_REQUESTS_MAX of them at a time.
 */
#include "spawn/spawn.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "spawn/spawn_int.h"

#define HELLO_TIMEOUT_MS 5000
#define QUEUE_MAX 16384 /* far more than a healthy spawner ever leaves us */
#define BATCH 32

struct queued {
	struct list node;
	struct wire_msg msg;
	int fd; /* goes with it; -1: none */
};

struct request {
	struct list node;
	struct wire_msg msg;
	int fd; /* goes with msg; -1: none */
	void (*opened)(void *ctx, int fd);
	void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes);
	void *ctx;
};

/* Without the spawner there are no boxes: it has died, and we are about to be killed with it. */
_noreturn_ static void lost(const char *what, int r)
{
	log_error("the spawner is gone (%s: %s); ending", what, r < 0 ? strerror(-r) : "closed");
	_exit(1);
}

/* ---- sending ---- */

static void flush(struct spawn *s)
{
	while (!list_empty(&s->queue)) {
		struct queued *q = list_first(&s->queue, struct queued, node);
		int r = fd_send_fds(
		    s->io.fd, &q->msg, sizeof(q->msg), &q->fd, q->fd >= 0, MSG_DONTWAIT);

		if (r == -EAGAIN)
			return;
		if (r < 0)
			lost("sending", r);
		list_remove(&q->node);
		base_closep(&q->fd);
		free(q);
		s->queued--;
	}
	loop_io_change(s->loop, &s->io, EPOLLIN);
}

void spawn_post(struct spawn *s, const struct wire_msg *m, int fd)
{
	struct queued *q;
	int r = -EAGAIN;

	if (list_empty(&s->queue))
		r = fd_send_fds(s->io.fd, m, sizeof(*m), &fd, fd >= 0, MSG_DONTWAIT);
	if (r == 0) {
		base_closep(&fd);
		return;
	}
	if (r != -EAGAIN)
		lost("sending", r);
	check(s->queued < QUEUE_MAX);
	q = xmalloc(sizeof(*q));
	q->msg = *m;
	q->fd = fd;
	list_push_back(&s->queue, &q->node);
	s->queued++;
	loop_io_change(s->loop, &s->io, EPOLLIN | EPOLLOUT);
}

static void post(struct spawn *s, const struct wire_msg *m)
{
	spawn_post(s, m, -1);
}

void spawn_box_make(struct spawn *s, uint32_t slot, uint32_t generation)
{
	struct wire_msg m = {.kind = WIRE_BOX_MAKE, .slot = slot, .generation = generation};

	post(s, &m);
}

static void name_root(
    struct spawn *s, uint32_t slot, uint32_t generation, const struct spawn_assignment *a)
{
	struct wire_msg m = {.kind = WIRE_BOX_ROOT, .slot = slot, .generation = generation};

	for (uint32_t i = 0; i < a->root_count; i += m.layer_count) {
		uint32_t left = a->root_count - i;

		m.layer_count = left < WIRE_LAYERS_MAX ? left : WIRE_LAYERS_MAX;
		memcpy(m.layers, a->root[i], m.layer_count * WIRE_HASH_SIZE);
		post(s, &m);
	}
}

void spawn_box_assign(
    struct spawn *s, uint32_t slot, uint32_t generation, const struct spawn_assignment *a)
{
	struct wire_msg m = {.kind = WIRE_BOX_ASSIGN,
	    .slot = slot,
	    .generation = generation,
	    .memory_mb = a->memory_mb,
	    .tmp_mb = a->tmp_mb,
	    .layer_count = a->layer_count};

	check(a->layer_count <= WIRE_LAYERS_MAX && a->root_count <= WIRE_ROOT_LAYERS_MAX);
	name_root(s, slot, generation, a);
	memcpy(m.hash, a->code, sizeof(m.hash));
	memcpy(m.layers, a->layers, sizeof(m.layers));
	post(s, &m);
}

void spawn_box_kill(struct spawn *s, uint32_t slot, uint32_t generation)
{
	struct wire_msg m = {.kind = WIRE_BOX_KILL, .slot = slot, .generation = generation};

	post(s, &m);
}

static void pump_requests(struct spawn *s)
{
	while (s->running_count < WIRE_REQUESTS_MAX && !list_empty(&s->waiting)) {
		struct request *q = list_first(&s->waiting, struct request, node);

		list_remove(&q->node);
		list_push_back(&s->running, &q->node);
		s->running_count++;
		spawn_post(s, &q->msg, take_fd(&q->fd));
	}
}

static struct request *add_request(struct spawn *s, uint32_t kind, const uint8_t *hash)
{
	struct request *q = xcalloc(1, sizeof(*q));

	q->msg.kind = kind;
	q->msg.serial = ++s->last_serial;
	q->fd = -1;
	if (hash)
		memcpy(q->msg.hash, hash, WIRE_HASH_SIZE);
	list_push_back(&s->waiting, &q->node);
	return q;
}

void spawn_unpack(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE], uint64_t limit_bytes,
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx)
{
	struct request *q = add_request(s, WIRE_UNPACK, hash);

	q->msg.limit_bytes = limit_bytes;
	q->done = done;
	q->ctx = ctx;
	pump_requests(s);
}

void spawn_code_delete(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE])
{
	add_request(s, WIRE_CODE_DELETE, hash);
	pump_requests(s);
}

void spawn_layer_unpack(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE], int pipe,
    uint64_t limit_bytes, void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes),
    void *ctx)
{
	struct request *q = add_request(s, WIRE_LAYER_UNPACK, hash);

	q->msg.limit_bytes = limit_bytes;
	q->fd = pipe;
	q->done = done;
	q->ctx = ctx;
	pump_requests(s);
}

void spawn_layer_delete(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE],
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx)
{
	struct request *q = add_request(s, WIRE_LAYER_DELETE, hash);

	q->done = done;
	q->ctx = ctx;
	pump_requests(s);
}

void spawn_archive_split(struct spawn *s, int pipe, uint64_t limit_bytes,
    void (*opened)(void *ctx, int fd),
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx)
{
	struct request *q = add_request(s, WIRE_ARCHIVE_SPLIT, NULL);

	q->msg.limit_bytes = limit_bytes;
	q->fd = pipe;
	q->opened = opened;
	q->done = done;
	q->ctx = ctx;
	pump_requests(s);
}

/* ---- receiving ---- */

static void on_archive_opened(struct spawn *s, const struct wire_msg *m, int fd)
{
	list_for_each (n, &s->running) {
		struct request *q = list_entry(n, struct request, node);

		if (q->msg.serial != m->serial || !q->opened)
			continue;
		q->opened(q->ctx, fd);
		return;
	}
	close(fd);
}

static void on_request_done(struct spawn *s, const struct wire_msg *m)
{
	list_for_each_safe (n, &s->running) {
		struct request *q = list_entry(n, struct request, node);

		if (q->msg.serial != m->serial)
			continue;
		list_remove(&q->node);
		s->running_count--;
		if (q->done)
			q->done(q->ctx, m->result, m->text, m->size_bytes);
		else if (m->result < 0)
			log_warn("removing unpacked code: %s", strerror(-m->result));
		free(q);
		break;
	}
	pump_requests(s);
}

/* All of them, or all but WIRE_FD_PEAK, which old kernels do not have. */
static void on_made(struct spawn *s, const struct wire_msg *m, const int *passed, size_t count)
{
	int fds[WIRE_FD_COUNT];
	size_t next = 0;

	for (int i = 0; i < WIRE_FD_COUNT; i++) {
		bool missing = count == 0 || (i == WIRE_FD_PEAK && count == WIRE_FD_COUNT - 1);

		fds[i] = missing ? -1 : passed[next++];
	}
	s->handler->on_made(s->ctx, m->slot, m->generation, m->result, fds);
}

static void dispatch(struct spawn *s, struct wire_msg *m, const int *fds, size_t count)
{
	bool whole = count == WIRE_FD_COUNT || count == WIRE_FD_COUNT - 1;

	m->text[sizeof(m->text) - 1] = '\0';
	if (m->kind == WIRE_BOX_MADE && whole == (m->result == 0) && (whole || count == 0)) {
		on_made(s, m, fds, count);
		return;
	}
	if (m->kind == WIRE_ARCHIVE_OPENED && count == 1) {
		on_archive_opened(s, m, fds[0]);
		return;
	}
	if (m->kind == WIRE_CONTAINER_DONE || m->kind == WIRE_CONTAINER_FOUND ||
	    m->kind == WIRE_SANDBOX_FOUND) {
		containers_on_message(s->containers, m, fds, count);
		return;
	}
	check(count == 0); /* the spawner sends descriptors with nothing else */
	switch (m->kind) {
	case WIRE_BOX_ASSIGNED:
		s->handler->on_assigned(s->ctx, m->slot, m->generation, m->result, m->text);
		return;
	case WIRE_BOX_DEAD: s->handler->on_dead(s->ctx, m->slot, m->generation); return;
	case WIRE_UNPACKED:
	case WIRE_CODE_DELETED:
	case WIRE_LAYER_UNPACKED:
	case WIRE_LAYER_DELETED:
	case WIRE_ARCHIVE_DONE: on_request_done(s, m); return;
	default: log_error("message of unknown kind %u from the spawner", m->kind);
	}
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct spawn *s = container_of(io, struct spawn, io);
	int fds[FD_PASS_MAX];
	struct wire_msg m;
	size_t count;

	if (events & EPOLLOUT)
		flush(s);
	/* A handler may not free us: core keeps its client until it ends. */
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = fd_recv_fds(io->fd, &m, sizeof(m), fds, &count, MSG_DONTWAIT);

		if (n == -EAGAIN)
			return;
		if (n != sizeof(m))
			lost("receiving", n < 0 ? (int)n : 0);
		dispatch(s, &m, fds, count);
	}
}

/* ---- life ---- */

static int await_hello(int fd, struct wire_hello *ret, struct err *e)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int fds[FD_PASS_MAX];
	struct wire_msg m;
	size_t count;
	ssize_t n;

	if (poll(&p, 1, HELLO_TIMEOUT_MS) != 1)
		return err_set(e, ETIMEDOUT, "no greeting from the spawner within 5 s");
	n = fd_recv_fds(fd, &m, sizeof(m), fds, &count, 0);
	if (n != sizeof(m) || m.kind != WIRE_HELLO || m.hello.boxes_max > WIRE_BOXES_MAX)
		return err_set(e, EPROTO,
		    "descriptor %d is not the spawner's socket; start mayfly with `mayfly serve`",
		    fd);
	*ret = m.hello;
	return 0;
}

struct spawn *spawn_new(
    struct loop *l, int fd, const struct spawn_handler *h, void *ctx, struct err *e)
{
	struct wire_hello hello;
	struct spawn *s;
	int r = await_hello(fd, &hello, e);

	if (r < 0)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	s->loop = l;
	s->handler = h;
	s->ctx = ctx;
	s->hello = hello;
	list_init(&s->queue);
	list_init(&s->waiting);
	list_init(&s->running);
	s->containers = containers_new(s);
	s->io = (struct loop_io){.fd = fd, .events = EPOLLIN, .on_ready = on_ready};
	r = loop_io_add(l, &s->io);
	if (r < 0) {
		err_sys(e, -r, "watching the spawner");
		containers_free(s->containers);
		free(s);
		return NULL;
	}
	return s;
}

static void free_requests(struct list *l)
{
	list_for_each_safe (n, l) {
		struct request *q = list_entry(n, struct request, node);

		base_closep(&q->fd);
		free(q);
	}
}

void spawn_free(struct spawn *s)
{
	if (!s)
		return;
	loop_io_remove(s->loop, &s->io);
	list_for_each_safe (n, &s->queue) {
		struct queued *q = list_entry(n, struct queued, node);

		base_closep(&q->fd);
		free(q);
	}
	free_requests(&s->waiting);
	free_requests(&s->running);
	containers_free(s->containers);
	free(s);
}

const struct wire_hello *spawn_hello(const struct spawn *s)
{
	return &s->hello;
}
