/*
 * Sessions: their beginning, what the client sends, their end. See attach.h. Loop thread.
 */
#include "attach/attach.h"

#include <stdio.h>
#include <unistd.h>

#include "attach/attach_int.h"

/* After the process has ended, others may hold its output open: they are not waited for. */
#define QUIET_NS INT64_C(300000000)
/* How often to ask whether a container whose output nobody takes is to go on. */
#define ASK_NS INT64_C(1000000000)
#define ENOUGH 65536 /* see http_tunnel_send() */

static struct session *session_new(const struct attach_from *from)
{
	struct session *s = xcalloc(1, sizeof(*s));

	s->loop = from->loop;
	s->spawn = from->spawn;
	s->request = from->request;
	s->request->user = s;
	for (int i = 0; i < END_COUNT; i++)
		s->ends[i].io.fd = -1;
	return s;
}

static void free_if_done(struct session *s)
{
	if (s->request || s->tunnel || s->starting || s->running)
		return;
	ends_close(s);
	loop_timer_stop(s->loop, &s->timer);
	if (s->container.end)
		s->container.end(s->container.ctx);
	buf_done(&s->received);
	buf_done(&s->input);
	free(s);
}

/* ---- to the client ---- */

void session_send(struct session *s, enum attach_kind kind, struct str data)
{
	struct buf b = BUF_INIT;

	if (!s->tunnel)
		return;
	attach_frame_put(&b, kind, data);
	if (http_tunnel_send(s->tunnel, buf_str(&b)) >= ENOUGH && !s->full) {
		s->full = true;
		if (!s->exec)
			loop_timer_set(s->loop, &s->timer, ASK_NS);
	}
	buf_done(&b);
}

static void send_number(struct session *s, enum attach_kind kind, uint32_t n)
{
	struct buf b = BUF_INIT;

	attach_frame_put_u32(&b, kind, n);
	if (s->tunnel)
		http_tunnel_send(s->tunnel, buf_str(&b));
	buf_done(&b);
}

/* Small amounts are saved up while there is credit left. */
void session_credit(struct session *s, size_t consumed)
{
	s->to_credit += (uint32_t)consumed;
	if (!s->to_credit || (s->to_credit < ATTACH_WINDOW / 4 && s->credit > ATTACH_WINDOW / 2))
		return;
	s->credit += s->to_credit;
	send_number(s, ATTACH_CREDIT, s->to_credit);
	s->to_credit = 0;
}

/* The client is told no more; the process may go on. */
static void finish(struct session *s)
{
	if (s->tunnel)
		http_tunnel_finish(s->tunnel);
	s->tunnel = NULL;
	ends_close(s);
	free_if_done(s);
}

static void break_off(struct session *s, const char *why)
{
	session_send(s, ATTACH_ERROR, str_from(why));
	finish(s);
}

void session_look(struct session *s)
{
	bool over = s->output_ended || !ends_read(s);

	if (!s->tunnel || !over || s->running)
		return;
	if (!s->exec)
		session_send(s, ATTACH_END, STR(""));
	else if (s->has_exit_code)
		send_number(s, ATTACH_EXIT, (uint32_t)s->exit_code);
	finish(s);
}

/* ---- from the client ---- */

static int take_frame(struct session *s, const struct attach_frame *f)
{
	uint16_t rows, columns;

	switch (f->kind) {
	case ATTACH_STDIN:
		if (s->input_ended || f->data.len > s->credit)
			return -EPROTO;
		s->credit -= (uint32_t)f->data.len;
		buf_append_str(&s->input, f->data);
		return 0;
	case ATTACH_STDIN_END:
		if (s->input_ended || !s->stdin_open)
			return -EPROTO;
		s->input_ended = true;
		return 0;
	case ATTACH_RESIZE:
		attach_frame_size(f, &rows, &columns);
		ends_resize(s, rows, columns);
		return 0;
	default: return -EPROTO;
	}
}

static void on_data(void *ctx, const void *data, size_t len)
{
	struct session *s = ctx;
	struct attach_frame f;
	struct str in;
	int r;

	buf_append(&s->received, data, len);
	in = buf_str(&s->received);
	while ((r = attach_frame_next(&in, &f)) > 0 && (r = take_frame(s, &f)) == 0)
		;
	buf_consume(&s->received, buf_len(&s->received) - in.len);
	if (r < 0) {
		break_off(s, "the client broke the rules of " ATTACH_PROTOCOL);
		return;
	}
	ends_input(s);
	ends_watch(s);
	session_look(s);
}

/* Clients say STDIN_END when only their input ends. */
static void on_gone(void *ctx)
{
	finish(ctx);
}

static void on_lost(void *ctx)
{
	struct session *s = ctx;

	s->tunnel = NULL;
	finish(s);
}

static void on_drain(void *ctx)
{
	struct session *s = ctx;

	s->full = false;
	ends_watch(s);
	session_look(s);
}

static const struct http_tunnel_handler tunnel_handler = {
    .on_data = on_data,
    .on_end = on_gone,
    .on_hang_up = on_gone,
    .on_drain = on_drain,
    .on_lost = on_lost,
};

void attach_cancel(struct http_request *r)
{
	struct session *s = r->user;

	if (!s)
		return;
	s->request = NULL;
	free_if_done(s);
}

/* ---- beginning ---- */

static void refuse(struct session *s, unsigned status, const char *why)
{
	const struct http_header type = {STR("content-type"), STR("application/json")};
	struct http_request *r = s->request;
	struct buf b = BUF_INIT;

	s->request = NULL;
	buf_puts(&b, "{\"message\":");
	buf_json_string(&b, str_from(why));
	buf_putc(&b, '}');
	r->user = NULL;
	http_reply(r, status, &type, 1, buf_str(&b));
	buf_done(&b);
}

static bool refuse_others(struct http_request *r)
{
	const struct http_header headers[] = {
	    {STR("content-type"), STR("application/json")},
	    {STR("upgrade"), STR(ATTACH_PROTOCOL)},
	};

	if (http_upgrade_asked(r, ATTACH_PROTOCOL))
		return false;
	http_reply(r, 426, headers, ARRAY_SIZE(headers),
	    STR("{\"message\":\"Ask for Upgrade: " ATTACH_PROTOCOL
		", with Connection: upgrade.\"}"));
	return true;
}

/* False: the client has gone meanwhile, or spoke before it was asked. */
static bool begin(struct session *s)
{
	struct http_request *r = s->request;

	if (!r)
		return false;
	s->request = NULL;
	s->tunnel = http_upgrade(r, ATTACH_PROTOCOL, &tunnel_handler, s);
	return s->tunnel;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void on_exec(void *ctx, int result, const char *why, const int streams[3])
{
	struct session *s = ctx;

	s->starting = false;
	s->running = result >= 0;
	if (result < 0 && s->request)
		refuse(s, result == -ENOENT ? 404 : 409, why);
	else if (result >= 0 && begin(s))
		ends_open(s, streams);
	else if (result >= 0)
		close_all(streams, 3);
	if (s->tunnel && s->stdin_open)
		session_credit(s, ATTACH_WINDOW);
	free_if_done(s);
}

static void on_quiet(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, timer);

	if (s->full || s->heard) {
		s->heard = false;
		loop_timer_set(s->loop, t, QUIET_NS);
		return;
	}
	s->output_ended = true;
	session_look(s);
}

static void on_end(void *ctx, int exit_code)
{
	struct session *s = ctx;

	s->running = false;
	s->has_exit_code = true;
	s->exit_code = exit_code;
	if (s->tunnel) {
		s->timer.on_due = on_quiet;
		loop_timer_set(s->loop, &s->timer, QUIET_NS);
		session_look(s);
	} else {
		free_if_done(s);
	}
}

void attach_exec(const struct attach_from *from, const struct container_exec *x, bool stdin_open)
{
	struct session *s;

	if (refuse_others(from->request))
		return;
	s = session_new(from);
	s->exec = true;
	s->terminal = x->terminal;
	s->stdin_open = stdin_open;
	s->starting = true;
	spawn_container_exec(s->spawn, x, on_exec, on_end, s);
}

static void on_ask(struct loop_timer *t)
{
	struct session *s = container_of(t, struct session, timer);

	if (!s->full)
		return;
	if (s->container.going && !s->container.going(s->container.ctx))
		break_off(s, "the container was stopped before all of its output was taken");
	else
		loop_timer_set(s->loop, t, ASK_NS);
}

static void on_attach(void *ctx, int result, const char *why, int socket)
{
	struct session *s = ctx;
	const int fds[END_COUNT] = {socket, -1, -1};
	bool connected = false;

	s->starting = false;
	if (result < 0 && s->request)
		refuse(s, result == -ENOENT ? 404 : 409, why);
	else if (result >= 0 && begin(s))
		connected = true;
	else if (result >= 0)
		close(socket);
	if (connected) {
		s->timer.on_due = on_ask;
		ends_open(s, fds);
		if (s->container.rows && s->container.columns)
			ends_resize(s, s->container.rows, s->container.columns);
		if (s->stdin_open)
			session_credit(s, ATTACH_WINDOW);
	}
	if (s->container.attached)
		s->container.attached(s->container.ctx, connected);
	free_if_done(s);
}

void attach_container(const struct attach_from *from, const struct attach_container *c)
{
	struct session *s;

	if (refuse_others(from->request)) {
		if (c->end)
			c->end(c->ctx);
		return;
	}
	s = session_new(from);
	s->container = *c;
	s->terminal = c->terminal;
	s->stdin_open = c->stdin_open;
	s->starting = true;
	spawn_container_attach(s->spawn, c->id, on_attach, s);
}
