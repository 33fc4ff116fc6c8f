/*
 * Sockets of the server: listeners, accepting, the birth and end of connections. What happens on
 * a connection is in conn.c, answers are in reply.c. One thread: the loop's.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/time.h"
#include "http/http_int.h"

#define ACCEPT_BATCH 16 /* connections taken per wake-up, so that none starves the others */
#define REFUSE_MAX 64   /* connections beyond the limit that still get an answer */
#define PAUSE_NS INT64_C(100000000)
#define WARN_EVERY_NS INT64_C(10000000000)

const struct http_limits http_limits_default = {
    .head_timeout_ms = 10000,
    .body_timeout_ms = 30000,
    .idle_timeout_ms = 60000,
    .send_timeout_ms = 30000,
    .connections_max = 4096,
    .bodies_max = 128u << 20,
    .bodies_known_max = 1u << 30,
    .body_rate_min = 1024,
};

struct http_server *http_server_new(
    struct loop *l, const struct http_handler *h, const struct http_limits *limits)
{
	struct http_server *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->handler = *h;
	s->limits = limits ? *limits : http_limits_default;
	list_init(&s->listeners);
	list_init(&s->adopted);
	return s;
}

static void lose_all(struct list *connections)
{
	while (!list_empty(connections))
		conn_lose(list_first(connections, struct http_conn, node));
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	while (!list_empty(&s->listeners))
		http_listener_close(list_first(&s->listeners, struct http_listener, node));
	lose_all(&s->adopted);
	buf_done(&s->scratch);
	buf_done(&s->inbox);
	free(s);
}

size_t http_server_connections(const struct http_server *s)
{
	return s->connections;
}

struct str server_date(struct http_server *s)
{
	int64_t now_ns = loop_now_ns(s->loop), wall_ms;
	char text[TIME_ISO_SIZE];

	if (now_ns >= s->date_until_ns) {
		wall_ms = time_wall_ms();
		time_format_http(wall_ms, text);
		snprintf(s->date, sizeof(s->date), "Date: %s\r\n", text);
		s->date_len = strlen(s->date);
		s->date_until_ns = now_ns + (1000 - wall_ms % 1000) * 1000000;
	}
	return (struct str){s->date, s->date_len};
}

struct http_conn *conn_new(struct http_server *s, struct list *siblings, int fd, void *ctx)
{
	struct http_conn *c = xcalloc(1, sizeof(*c));
	int one = 1;

	/* Fails on a Unix socket, which never waits anyway. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->server = s;
	c->ctx = ctx;
	c->file = -1;
	c->io =
	    (struct loop_io){.fd = fd, .events = EPOLLIN | EPOLLRDHUP, .on_ready = conn_on_ready};
	c->timer.on_due = conn_on_due;
	c->task.run = conn_on_task;
	list_init(&c->task.node);
	arena_init(&c->arena);
	http_head_reset(&c->head);
	if (loop_io_add(s->loop, &c->io) < 0) {
		close(fd);
		free(c);
		return NULL;
	}
	list_push_back(siblings, &c->node);
	s->connections++;
	return c;
}

static void destroy(struct http_conn *c)
{
	arena_done(&c->arena);
	if (c->request) {
		buf_done(&c->request->body);
		free(c->request->headers);
		free(c->request);
	}
	buf_done(&c->in);
	buf_done(&c->bytes);
	buf_done(&c->out);
	free(c);
}

void conn_uncount(struct http_conn *c)
{
	c->server->arriving[c->body_known] -= c->body_counted;
	c->body_counted = 0;
}

void conn_close(struct http_conn *c)
{
	if (!c->dead) {
		c->dead = true;
		conn_uncount(c);
		if (c->listener)
			c->listener->connection_count--;
		loop_io_remove(c->server->loop, &c->io);
		loop_timer_stop(c->server->loop, &c->timer);
		loop_task_cancel(&c->task);
		close(c->io.fd);
		conn_file_done(c);
		list_remove(&c->node);
		c->server->connections--;
	}
	if (!c->busy)
		destroy(c);
}

void conn_lose(struct http_conn *c)
{
	bool busy = c->busy;

	if (c->phase == CONN_TUNNEL && !c->dead) {
		/* The handler finds a tunnel that is closed already: see conn_close(). */
		const struct http_tunnel t = c->tunnel;

		c->busy = true;
		conn_close(c);
		t.handler->on_lost(t.ctx);
		c->busy = busy;
		if (!busy)
			destroy(c);
		return;
	}
	if (c->seen) {
		c->seen = false;
		/* The handler may close the listener, and so this connection, meanwhile. */
		c->busy = true;
		if (c->server->handler.on_cancel)
			c->server->handler.on_cancel(c->request);
		c->busy = busy;
	}
	conn_close(c);
}

/* More clients than allowed: the first few are told so, the others find a closed door. */
static void admit(struct http_listener *l, int fd, const union conn_address *peer)
{
	struct http_server *s = l->server;
	struct http_conn *c;

	if (s->connections >= (size_t)s->limits.connections_max + REFUSE_MAX ||
	    (l->connections_max && l->connection_count >= l->connections_max)) {
		close(fd);
		return;
	}
	c = conn_new(s, &l->connections, fd, l->ctx);
	if (!c)
		return;
	c->listener = l;
	l->connection_count++;
	c->peer = *peer;
	if (s->connections > s->limits.connections_max)
		conn_refuse(c, 503, "too many connections; try again later");
	else
		conn_settle(c);
}

/* Without descriptors or memory a listener stays ready for ever: look again a little later. */
static void pause_accepting(struct http_listener *l, int errnum)
{
	struct http_server *s = l->server;
	int64_t now_ns = loop_now_ns(s->loop);

	if (!s->warned_ns || now_ns - s->warned_ns > WARN_EVERY_NS) {
		s->warned_ns = now_ns;
		log_warn("cannot accept connections: %s; raise the limit of open files",
		    strerror(errnum));
	}
	loop_io_remove(s->loop, &l->io);
	loop_timer_set(s->loop, &l->pause, PAUSE_NS);
}

static void end_pause(struct loop_timer *t)
{
	struct http_listener *l = container_of(t, struct http_listener, pause);

	if (loop_io_add(l->server->loop, &l->io) < 0)
		loop_timer_set(l->server->loop, &l->pause, PAUSE_NS);
}

static void on_accept(struct loop_io *io, uint32_t events)
{
	struct http_listener *l = container_of(io, struct http_listener, io);

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		union conn_address peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(io->fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			admit(l, fd, &peer);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			pause_accepting(l, errno);
			return;
		}
		/* Else this client has gone already. */
	}
}

struct http_listener *http_listen(struct http_server *s, int fd, void *ctx, struct err *e)
{
	struct http_listener *l = xcalloc(1, sizeof(*l));
	int r = fd_nonblock(fd);

	l->server = s;
	l->ctx = ctx;
	l->io = (struct loop_io){.fd = fd, .events = EPOLLIN, .on_ready = on_accept};
	l->pause.on_due = end_pause;
	list_init(&l->connections);
	if (r == 0)
		r = loop_io_add(s->loop, &l->io);
	if (r < 0) {
		err_sys(e, -r, "listening for HTTP on descriptor %d", fd);
		close(fd);
		free(l);
		return NULL;
	}
	list_push_back(&s->listeners, &l->node);
	return l;
}

void http_server_limit(struct http_server *s, unsigned connections_max)
{
	s->limits.connections_max = connections_max;
}

void http_listener_limit(struct http_listener *l, unsigned connections_max)
{
	l->connections_max = connections_max;
}

void http_listener_close(struct http_listener *l)
{
	loop_io_remove(l->server->loop, &l->io);
	loop_timer_stop(l->server->loop, &l->pause);
	close(l->io.fd);
	list_remove(&l->node);
	lose_all(&l->connections);
	free(l);
}

int http_server_adopt(struct http_server *s, int fd, void *ctx)
{
	struct http_conn *c;
	socklen_t len = sizeof(c->peer);
	int r = fd_nonblock(fd);

	if (r < 0) {
		close(fd);
		return r;
	}
	c = conn_new(s, &s->adopted, fd, ctx);
	if (!c)
		return -ENOMEM;
	if (getpeername(fd, &c->peer.any, &len) < 0)
		c->peer = (union conn_address){0};
	conn_settle(c);
	return 0;
}

/* inet_ntop() prints, which takes longer than the rest of an event. */
static void put_ipv4(const uint8_t octets[4], char *out)
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*out++ = '.';
		if (octets[i] >= 100)
			*out++ = (char)('0' + octets[i] / 100);
		if (octets[i] >= 10)
			*out++ = (char)('0' + octets[i] / 10 % 10);
		*out++ = (char)('0' + octets[i] % 10);
	}
	*out = '\0';
}

void http_peer(const struct http_request *r, char address[64], uint16_t *port)
{
	const union conn_address *p = &r->conn->peer;

	address[0] = '\0';
	*port = 0;
	if (p->any.sa_family == AF_INET) {
		put_ipv4((const uint8_t *)&p->v4.sin_addr, address);
		*port = ntohs(p->v4.sin_port);
	} else if (p->any.sa_family == AF_INET6) {
		/* An IPv4 client of a socket that takes both. */
		if (IN6_IS_ADDR_V4MAPPED(&p->v6.sin6_addr))
			put_ipv4(p->v6.sin6_addr.s6_addr + 12, address);
		else
			inet_ntop(AF_INET6, &p->v6.sin6_addr, address, 64);
		*port = ntohs(p->v6.sin6_port);
	}
}
