/*
 * After 101 Switching Protocols: the connection is no longer one of requests and answers but bytes
 * both ways. Uses the connection's own buffers and sending; entered from the frames of conn.c, and
 * by handlers from anywhere on the loop's thread.
 */
#include <sys/epoll.h>

#include <netinet/tcp.h>

#include "http/http_int.h"

#define TUNNEL_READ 32768 /* bytes taken per turn */
/* A client that vanished without a word is noticed after about three minutes of silence. */
#define ALIVE_IDLE_S 60
#define ALIVE_EVERY_S 20
#define ALIVE_TRIES 6

static struct http_conn *conn_of(struct http_tunnel *t)
{
	struct http_conn *c = container_of(t, struct http_conn, tunnel);

	check(!c->dead && c->phase == CONN_TUNNEL);
	return c;
}

/* Is `word` an element of this comma-separated list? A protocol's version does not count. */
static bool lists(struct str value, const char *word, bool versions)
{
	while (value.ptr) {
		struct str item = str_trim(str_cut(&value, ','));

		if (versions)
			item = str_trim(str_cut(&item, '/'));
		if (str_eq_nocase(item, str_from(word)))
			return true;
	}
	return false;
}

static bool header_lists(
    const struct http_request *r, const char *name, const char *word, bool versions)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, str_from(name)) &&
		    lists(r->headers[i].value, word, versions))
			return true;
	return false;
}

bool http_upgrade_asked(const struct http_request *r, const char *protocol)
{
	return r->conn->head.minor == 1 && header_lists(r, "connection", "upgrade", false) &&
	       header_lists(r, "upgrade", protocol, true);
}

static void keep_alive(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, ALIVE_IDLE_S},
	    {IPPROTO_TCP, TCP_KEEPINTVL, ALIVE_EVERY_S}, {IPPROTO_TCP, TCP_KEEPCNT, ALIVE_TRIES}};

	/* Fails on a Unix socket, whose other end cannot vanish. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static void send_head(struct http_conn *c, const char *protocol)
{
	struct buf *b = &c->server->scratch;

	buf_clear(b);
	buf_puts(b, "HTTP/1.1 101 Switching Protocols\r\n");
	buf_append_str(b, server_date(c->server));
	buf_printf(b, "Connection: upgrade\r\nUpgrade: %s\r\n\r\n", protocol);
	conn_send(c, buf_str(b), STR_NULL);
}

struct http_tunnel *http_upgrade(struct http_request *r, const char *protocol,
    const struct http_tunnel_handler *handler, void *ctx)
{
	struct http_conn *c = conn_to_answer(r);

	check(c->phase == CONN_HANDLER && http_upgrade_asked(r, protocol));
	c->seen = false;
	if (buf_len(&c->in)) {
		conn_refuse(c, 400, "bytes of the other protocol came before it was switched to");
		return NULL;
	}
	keep_alive(c->io.fd);
	send_head(c, protocol);
	conn_drop_request(c);
	c->tunnel = (struct http_tunnel){.handler = handler, .ctx = ctx};
	c->stall_timeout_ms = handler->stall_timeout_ms;
	c->has_own_stall = true;
	c->phase = CONN_TUNNEL;
	c->want_drain = c->paused = false;
	if (c->broken)
		loop_defer(c->server->loop, &c->task);
	if (!c->busy)
		conn_settle(c);
	return &c->tunnel;
}

size_t http_tunnel_send(struct http_tunnel *t, struct str data)
{
	struct http_conn *c = conn_of(t);

	if (data.len && !c->broken) {
		buf_append_str(&c->out, data);
		conn_gather(c);
	}
	if (buf_len(&c->out) >= HTTP_DRAIN_LOW)
		c->want_drain = true;
	return buf_len(&c->out);
}

void http_tunnel_pause(struct http_tunnel *t)
{
	struct http_conn *c = conn_of(t);

	c->paused = true;
	if (!c->busy)
		conn_settle(c);
}

void http_tunnel_resume(struct http_tunnel *t)
{
	struct http_conn *c = conn_of(t);

	c->paused = false;
	if (!c->busy)
		conn_settle(c);
}

void http_tunnel_finish(struct http_tunnel *t)
{
	struct http_conn *c = conn_of(t);
	bool was_busy = c->busy;

	c->busy = true;
	if (!c->blocked)
		conn_flush(c);
	c->paused = false;
	conn_begin_closing(c, true);
	if (!was_busy)
		conn_leave(c);
}

void http_tunnel_close(struct http_tunnel *t)
{
	conn_close(conn_of(t));
}

/* ---- from the frames of conn.c ---- */

ssize_t conn_tunnel_receive(struct http_conn *c)
{
	struct http_tunnel *t = &c->tunnel;
	char piece[TUNNEL_READ];
	ssize_t n = conn_receive(c, piece, sizeof(piece));

	if (n > 0)
		t->handler->on_data(t->ctx, piece, (size_t)n);
	else if (n == 0)
		t->handler->on_end(t->ctx);
	return n;
}

void conn_tunnel_hung_up(struct http_conn *c)
{
	if (c->tunnel.handler->on_hang_up)
		c->tunnel.handler->on_hang_up(c->tunnel.ctx);
}

void conn_tunnel_sent(struct http_conn *c)
{
	if (!c->want_drain || buf_len(&c->out) >= HTTP_DRAIN_LOW)
		return;
	c->want_drain = false;
	if (c->tunnel.handler->on_drain)
		c->tunnel.handler->on_drain(c->tunnel.ctx);
}
