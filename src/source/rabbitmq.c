/*
 * RabbitMQ (Amazon MQ) as an event source, through librabbitmq: a thread and a connection for each
 * mapping, which hands messages to the loop and takes what became of them. What a function fails on
 * goes back to the queue. See broker.h; the functions from main_thread() up to "the loop" are the
 * thread's.
 *
 * The library sends heartbeats only while it is read from, and a full feed is not read from: the
 * kernel's keepalive and user timeout tell instead when the broker has gone.
 */
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "source/broker.h"
#include "source/rabbitmq_int.h"

#define CHANNEL 1
#define FRAME_MAX 131072
#define CONNECT_S 10
#define LATER_MIN_MS 500
#define LATER_MAX_MS 30000
#define DEAD_MS 60000
#define CONCURRENCY 10
#define PREFETCH_MAX 65535
/* As base64 with its properties it has to fit into an event. */
#define BODY_MAX (4 * (size_t)1024 * 1024)
#define CA_FILE "/etc/ssl/certs/ca-certificates.crt"

struct config {
	char *host, *user, *password, *vhost, *queue, *lane;
	int port;
	bool tls;
	uint16_t prefetch;
};

static void discard(void *ctx)
{
	struct config *c = ctx;

	free(c->host);
	free(c->user);
	broker_forget(c->password);
	free(c->vhost);
	free(c->queue);
	free(c->lane);
	free(c);
}

/* ---- connecting ---- */

static int problem(struct feed *f, const char *what, amqp_rpc_reply_t r)
{
	const amqp_connection_close_t *c = r.reply.decoded;
	const amqp_channel_close_t *h = r.reply.decoded;

	if (r.reply_type == AMQP_RESPONSE_NORMAL)
		return 0;
	if (r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
	    r.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
		feed_problem(
		    f, "%s: %.*s", what, (int)c->reply_text.len, (const char *)c->reply_text.bytes);
	else if (r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
		 r.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
		feed_problem(
		    f, "%s: %.*s", what, (int)h->reply_text.len, (const char *)h->reply_text.bytes);
	else
		feed_problem(f, "%s: %s", what,
		    r.library_error ? amqp_error_string2(r.library_error) : "the broker closed");
	return -EIO;
}

static amqp_socket_t *new_socket(amqp_connection_state_t conn, const struct config *c)
{
	amqp_socket_t *s = c->tls ? amqp_ssl_socket_new(conn) : amqp_tcp_socket_new(conn);

	if (!s || !c->tls)
		return s;
	amqp_ssl_socket_set_verify_peer(s, 1);
	amqp_ssl_socket_set_verify_hostname(s, 1);
	return amqp_ssl_socket_set_cacert(s, CA_FILE) == AMQP_STATUS_OK ? s : NULL;
}

static void watch_peer(int fd)
{
	const int on = 1, idle_s = 30, every_s = 10, dead_ms = DEAD_MS;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}

/* A queue that is deleted is told of only to those who say that they listen. */
static amqp_rpc_reply_t say_hello(amqp_connection_state_t conn, const struct config *c)
{
	amqp_table_entry_t can = {.key = amqp_cstring_bytes("consumer_cancel_notify"),
	    .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
	amqp_table_entry_t all = {.key = amqp_cstring_bytes("capabilities"),
	    .value = {
		.kind = AMQP_FIELD_KIND_TABLE, .value.table = {.num_entries = 1, .entries = &can}}};
	const amqp_table_t properties = {.num_entries = 1, .entries = &all};

	return amqp_login_with_properties(conn, c->vhost, 0, FRAME_MAX, 0, &properties,
	    AMQP_SASL_METHOD_PLAIN, c->user, c->password);
}

static int log_in(struct feed *f, const struct config *c, amqp_connection_state_t conn)
{
	struct timeval limit = {.tv_sec = CONNECT_S};
	amqp_socket_t *s = new_socket(conn, c);
	int r;

	if (!s) {
		feed_problem(f, "TLS could not be set up: is " CA_FILE " there?");
		return -EIO;
	}
	r = amqp_socket_open_noblock(s, c->host, c->port, &limit);
	if (r != AMQP_STATUS_OK) {
		feed_problem(
		    f, "Cannot connect to %s:%d: %s", c->host, c->port, amqp_error_string2(r));
		return -EIO;
	}
	watch_peer(amqp_get_sockfd(conn));
	amqp_set_handshake_timeout(conn, &limit);
	amqp_set_rpc_timeout(conn, &limit);
	return problem(f, "The broker refuses the connection", say_hello(conn, c));
}

static int subscribe(struct feed *f, const struct config *c, amqp_connection_state_t conn)
{
	int r;

	amqp_channel_open(conn, CHANNEL);
	r = problem(f, "Opening a channel", amqp_get_rpc_reply(conn));
	if (r < 0)
		return r;
	amqp_basic_qos(conn, CHANNEL, 0, c->prefetch, 0);
	r = problem(f, "Setting the prefetch", amqp_get_rpc_reply(conn));
	if (r < 0)
		return r;
	amqp_basic_consume(conn, CHANNEL, amqp_cstring_bytes(c->queue), amqp_empty_bytes, 0, 0, 0,
	    amqp_empty_table);
	return problem(f, "Consuming the queue", amqp_get_rpc_reply(conn));
}

/* ---- messages ---- */

static int answer(struct feed *f, amqp_connection_state_t conn)
{
	struct list commands;
	int r = AMQP_STATUS_OK;

	list_init(&commands);
	feed_take_commands(f, &commands);
	list_for_each_safe (n, &commands) {
		struct feed_command *c = list_entry(n, struct feed_command, node);
		uint64_t tag = (uint64_t)c->number;

		list_remove(n);
		if (r != AMQP_STATUS_OK)
			;
		else if (c->verb == FEED_DONE)
			r = amqp_basic_ack(conn, CHANNEL, tag, 0);
		else
			r = amqp_basic_nack(conn, CHANNEL, tag, 0, 1);
		feed_command_free(c);
	}
	return r == AMQP_STATUS_OK ? 0 : -EIO;
}

static int deliver(struct feed *f, const struct config *c, amqp_connection_state_t conn,
    const amqp_envelope_t *env)
{
	struct feed_message *m;

	if (env->message.body.len > BODY_MAX) {
		log_warn("a message of %zu bytes in queue %s is too large for an event and is "
			 "rejected",
		    env->message.body.len, c->lane);
		return amqp_basic_reject(conn, CHANNEL, env->delivery_tag, 0) == AMQP_STATUS_OK
			   ? 0
			   : -EIO;
	}
	m = xcalloc(1, sizeof(*m));
	list_init(&m->node);
	m->lane_name = xstrdup(c->lane);
	m->number = (int64_t)env->delivery_tag;
	rabbitmq_record(&m->text, env);
	feed_put(f, m);
	return 0;
}

/* Something else than a message: the queue was deleted, the broker stops. */
static int explain(struct feed *f, amqp_connection_state_t conn)
{
	const struct timeval none = {0};
	amqp_frame_t frame;

	if (amqp_simple_wait_frame_noblock(conn, &frame, &none) != AMQP_STATUS_OK ||
	    frame.frame_type != AMQP_FRAME_METHOD)
		feed_problem(f, "The connection was lost");
	else
		feed_problem(f, "The broker ended it: %s",
		    amqp_method_name(frame.payload.method.id)
			? amqp_method_name(frame.payload.method.id)
			: "unknown method");
	return -EIO;
}

/* One message. 1: there was one; 0: none yet; negative: the connection is of no more use. */
static int consume(struct feed *f, const struct config *c, amqp_connection_state_t conn)
{
	const struct timeval none = {0};
	amqp_envelope_t env;
	amqp_rpc_reply_t r;
	int result;

	amqp_maybe_release_buffers(conn);
	r = amqp_consume_message(conn, &env, &none, 0);
	if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
		if (r.library_error == AMQP_STATUS_TIMEOUT)
			return 0;
		if (r.library_error == AMQP_STATUS_UNEXPECTED_STATE)
			return explain(f, conn);
	}
	if (problem(f, "The connection was lost", r) < 0)
		return -EIO;
	result = deliver(f, c, conn, &env);
	amqp_destroy_envelope(&env);
	return result < 0 ? result : 1;
}

static void serve(struct feed *f, const struct config *c, amqp_connection_state_t conn)
{
	feed_problem(f, "%s", "");
	while (!feed_is_stopping(f)) {
		int r = answer(f, conn);

		while (r >= 0 && !feed_is_full(f)) {
			r = consume(f, c, conn);
			if (r == 0)
				break;
		}
		if (r < 0)
			return;
		feed_wait(f, feed_is_full(f) ? -1 : amqp_get_sockfd(conn), 1000);
	}
	(void)answer(f, conn);
}

static void main_thread(struct feed *f, void *ctx)
{
	struct config *c = ctx;
	int later_ms = LATER_MIN_MS;

	while (!feed_is_stopping(f)) {
		amqp_connection_state_t conn = amqp_new_connection();

		if (conn && log_in(f, c, conn) == 0 && subscribe(f, c, conn) == 0) {
			later_ms = LATER_MIN_MS;
			serve(f, c, conn);
			if (feed_is_stopping(f))
				(void)amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
		}
		if (conn)
			amqp_destroy_connection(conn);
		feed_reset(f);
		if (!feed_is_stopping(f))
			feed_wait(f, -1, later_ms);
		later_ms = later_ms * 2 < LATER_MAX_MS ? later_ms * 2 : LATER_MAX_MS;
	}
	discard(c);
}

/* ---- the loop ---- */

static bool claims(const json_t *doc)
{
	struct str arn = str_from(json_string_value(json_object_get(doc, "EventSourceArn")));

	for (int i = 0; i < 2 && arn.ptr; i++)
		(void)str_cut(&arn, ':');
	return arn.ptr && str_has_prefix(arn, "mq:");
}

static const char *queue_of(const json_t *doc)
{
	return json_string_value(json_array_get(json_object_get(doc, "Queues"), 0));
}

static const char *vhost_of(const json_t *doc)
{
	const char *uri = broker_access(doc, "VIRTUAL_HOST");

	return uri ? uri : "/";
}

static int check_broker(
    struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e)
{
	const char *arn = json_string_value(json_object_get(doc, "EventSourceArn"));
	struct broker_address a;

	(void)function_timeout_ms;
	if (!broker_find(arn, &a))
		return err_set(e, ENOENT,
		    "This server does not know where the broker is: start it with --broker "
		    "NAME=amqp://HOST:PORT, NAME as in %s",
		    arn);
	if (json_array_size(json_object_get(doc, "Queues")) != 1)
		return err_set(e, EINVAL, "Queues must name one queue.");
	if (strlen(queue_of(doc)) > 255 || strlen(vhost_of(doc)) > 200)
		return err_set(e, EINVAL, "The name of the queue or the virtual host is too long.");
	if (broker_access(doc, "BASIC_AUTH") && !s->o.secret)
		return err_set(e, ENOTSUP,
		    "This server keeps no secrets: give USER:PASSWORD@ with --broker and leave "
		    "BASIC_AUTH out.");
	if (!broker_access(doc, "BASIC_AUTH") && !a.user)
		return err_set(e, EINVAL,
		    "SourceAccessConfigurations must have BASIC_AUTH with the ARN of a secret, or "
		    "the server USER:PASSWORD@ with --broker.");
	return 0;
}

static int find_login(
    struct source_run *r, const struct broker_address *a, struct config *c, struct err *e)
{
	const char *uri = broker_access(r->doc, "BASIC_AUTH");

	if (!uri) {
		c->user = xstrdup(a->user ? a->user : "guest");
		c->password = xstrdup(a->user ? a->password : "guest");
		return 0;
	}
	c->user = broker_secret(r->sources, r->account, r->region, uri, "username", e);
	if (c->user)
		c->password = broker_secret(r->sources, r->account, r->region, uri, "password", e);
	if (c->user && c->password)
		return 0;
	return e->msg[0] ? -EIO : err_set(e, EINVAL, "The secret has no username and password");
}

static void *prepare(struct source_run *r, struct err *e)
{
	struct config *c;
	struct broker_address a;

	if (!broker_find(r->arn, &a)) {
		err_set(e, ENOENT, "The broker is not named by --broker any more");
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	if (find_login(r, &a, c, e) < 0) {
		discard(c);
		return NULL;
	}
	c->host = xstrdup(a.host);
	c->port = a.port;
	c->tls = a.tls;
	c->queue = xstrdup(queue_of(r->doc));
	c->vhost = xstrdup(vhost_of(r->doc));
	c->lane = xasprintf("%s::%s", c->queue, c->vhost);
	c->prefetch = (uint16_t)min_size((size_t)r->batch_size * (CONCURRENCY + 1), PREFETCH_MAX);
	return c;
}

static void head(const struct source_run *r, struct buf *b)
{
	buf_puts(b, "{\"eventSource\":\"aws:rmq\",\"eventSourceArn\":");
	buf_json_string(b, str_from(r->arn));
	buf_puts(b, ",\"rmqMessagesByQueue\":{");
}

static const struct broker_kind kind = {
    .concurrency = CONCURRENCY,
    .head = head,
    .prepare = prepare,
    .discard = discard,
    .main = main_thread,
};

static void *start(struct source_run *r)
{
	return broker_new(r, &kind);
}

static const char *const data_keys[] = {"data", NULL};

const struct source_ops rabbitmq_source = {
    .name = "rabbitmq",
    .reason = "USER_INITIATED",
    .data = {data_keys, true},
    .claims = claims,
    .verify = check_broker,
    .start = start,
    .stop = broker_stop,
    .free = broker_free,
    .ended = broker_ended,
    .more = broker_more,
};
