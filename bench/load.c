/*
 * Load for the benchmarks: threads with one blocking connection each, so that ours and the peer are
 * asked by the same client. Prints operations a second and the median in microseconds.
 *
 *   load http PORT CONNECTIONS SECONDS LIST     requests of LIST over and over; each line is the
 *                                               path of a file with a raw request, and maybe that
 *                                               of a file to be fsynced after its answer
 *   load sqs PORT CONNECTIONS SECONDS KEY SECRET QUEUE_URL      send, receive, delete
 *   load rabbit PORT CONNECTIONS SECONDS QUEUE                  the same: persistent, confirmed
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aws/sigv4.h"
#include "base/fd.h"
#include "base/time.h"
#ifdef HAVE_RABBITMQ
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#define ANSWER_MAX (1 << 20)
#define SAMPLES_MAX 200000
#define LINES_MAX 4096

struct job {
	char *request;
	size_t len;
	char *sync; /* NULL: nothing to be synced */
};

static struct {
	uint16_t port;
	unsigned connections;
	int64_t until_ns;
	char **args;
	struct job jobs[LINES_MAX];
	size_t job_count;
	atomic_size_t done, samples;
	int64_t took_ns[SAMPLES_MAX];
} run;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void note(int64_t from_ns)
{
	size_t i = atomic_fetch_add(&run.samples, 1);

	if (i < SAMPLES_MAX)
		run.took_ns[i] = time_mono_ns() - from_ns;
	atomic_fetch_add(&run.done, 1);
}

/* ---- HTTP ---- */

struct connection {
	int fd;
	char *mem;
	size_t len; /* of the answer that is in mem */
	struct str body;
};

static void open_connection(struct connection *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(run.port)};
	int one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connecting");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->mem = xmalloc(ANSWER_MAX + 1);
}

static void send_all(struct connection *c, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			die("sending");
		data += n;
		len -= (size_t)n;
	}
}

/* Answers with a Content-Length only, which is what both sides give here. Bodies larger than the
 * buffer are read over themselves. */
static int read_answer(struct connection *c)
{
	size_t head = 0, want = 0;
	char *end, *length;

	c->len = 0;
	while (!head) {
		ssize_t n = recv(c->fd, c->mem + c->len, ANSWER_MAX - c->len, 0);

		if (n <= 0)
			die("receiving");
		c->len += (size_t)n;
		c->mem[c->len] = '\0';
		end = strstr(c->mem, "\r\n\r\n");
		head = end ? (size_t)(end - c->mem) + 4 : 0;
	}
	length = strcasestr(c->mem, "\r\ncontent-length:");
	want = length && length < c->mem + head ? strtoul(length + 17, NULL, 10) : 0;
	c->body = (struct str){c->mem + head, want};
	for (size_t have = c->len - head; have < want;) {
		bool fits = head + want <= ANSWER_MAX;
		size_t room = ANSWER_MAX - (fits ? head + have : head);
		ssize_t n = recv(c->fd, c->mem + (fits ? head + have : head), room, 0);

		if (n <= 0)
			die("receiving");
		have += (size_t)n;
	}
	c->mem[min_size(head + want, ANSWER_MAX)] = '\0';
	return atoi(c->mem + 9);
}

static void expect(struct connection *c, const char *what)
{
	int status = read_answer(c);

	if (status >= 200 && status < 300)
		return;
	fprintf(stderr, "load: %s: %.*s\n", what, 1000, c->mem);
	exit(1);
}

static void sync_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		die(path);
	close(fd);
}

static void *run_http(void *arg)
{
	size_t at = (size_t)(uintptr_t)arg;
	struct connection c;

	open_connection(&c);
	for (int64_t now; (now = time_mono_ns()) < run.until_ns; at += run.connections) {
		const struct job *j = &run.jobs[at % run.job_count];

		send_all(&c, j->request, j->len);
		expect(&c, "a request");
		if (j->sync)
			sync_file(j->sync);
		note(now);
	}
	return NULL;
}

static void read_list(const char *path)
{
	_cleanup_buf_ struct buf list = BUF_INIT;
	struct str rest;

	if (fd_read_file(AT_FDCWD, path, 1 << 20, &list) < 0)
		die(path);
	rest = buf_str(&list);
	while (rest.len && run.job_count < LINES_MAX) {
		struct str line = str_cut(&rest, '\n'), file = str_cut(&line, ' ');
		_cleanup_free_ char *name = xstrndup(file.ptr, file.len);
		struct buf request = BUF_INIT;
		struct job *j = &run.jobs[run.job_count++];

		if (fd_read_file(AT_FDCWD, name, 256 << 20, &request) < 0)
			die(name);
		j->request = buf_data(&request);
		j->len = buf_len(&request);
		j->sync = line.ptr ? xstrndup(line.ptr, line.len) : NULL;
	}
}

/* ---- SQS ---- */

static void call_sqs(struct connection *c, const char *action, const char *body)
{
	struct arena a = {0};
	struct sigv4_keys keys = {run.args[0], run.args[1], NULL};
	char *target = arena_printf(&a, "AmazonSQS.%s", action), hash[SIGV4_HEX];
	char *host = arena_printf(&a, "127.0.0.1:%u", run.port);
	struct http_header h[3 + SIGV4_SIGN_HEADERS] = {{STR("Host"), str_from(host)},
	    {STR("Content-Type"), STR("application/x-amz-json-1.0")},
	    {STR("X-Amz-Target"), str_from(target)}};
	struct sigv4_request r = {.method = STR("POST"),
	    .path = STR("/"),
	    .query = STR(""),
	    .headers = h,
	    .header_count = 3};
	_cleanup_buf_ struct buf out = BUF_INIT;
	size_t n;

	sigv4_sha256_hex(str_from(body), hash);
	n = 3 + sigv4_sign(&a, &r, &keys, "us-east-1", "sqs", time_wall_ms(), hash, h + 3);
	buf_puts(&out, "POST / HTTP/1.1\r\n");
	for (size_t i = 0; i < n; i++)
		buf_printf(&out, "%.*s: %.*s\r\n", STR_FMT(h[i].name), STR_FMT(h[i].value));
	buf_printf(&out, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	send_all(c, buf_data(&out), buf_len(&out));
	expect(c, action);
	arena_done(&a);
}

/* Each cycle removes one message, not always the one it sent; the queue stays short. */
static void *run_sqs(void *arg _unused_)
{
	const char *url = run.args[2];
	_cleanup_free_ char *sent =
	    xasprintf("{\"QueueUrl\":\"%s\",\"MessageBody\":\"%0512d\"}", url, 7);
	_cleanup_free_ char *received =
	    xasprintf("{\"QueueUrl\":\"%s\",\"WaitTimeSeconds\":5}", url);
	struct connection c;

	open_connection(&c);
	for (int64_t now; (now = time_mono_ns()) < run.until_ns;) {
		_cleanup_free_ char *removed = NULL;
		char *from, *to;

		call_sqs(&c, "SendMessage", sent);
		call_sqs(&c, "ReceiveMessage", received);
		from = strstr(c.body.ptr, "\"ReceiptHandle\":\"");
		to = from ? strchr(from + 17, '"') : NULL;
		if (!to)
			die("ReceiveMessage gave none");
		removed = xasprintf("{\"QueueUrl\":\"%s\",\"ReceiptHandle\":\"%.*s\"}", url,
		    (int)(to - from - 17), from + 17);
		call_sqs(&c, "DeleteMessage", removed);
		note(now);
	}
	return NULL;
}

/* ---- RabbitMQ ---- */

#ifdef HAVE_RABBITMQ
static void check_reply(amqp_rpc_reply_t r, const char *what)
{
	if (r.reply_type == AMQP_RESPONSE_NORMAL)
		return;
	fprintf(stderr, "load: %s failed\n", what);
	exit(1);
}

static amqp_connection_state_t open_rabbit(const char *queue)
{
	amqp_connection_state_t c = amqp_new_connection();
	amqp_socket_t *s = amqp_tcp_socket_new(c);

	if (!s || amqp_socket_open(s, "127.0.0.1", run.port))
		die("connecting");
	check_reply(
	    amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
	amqp_channel_open(c, 1);
	check_reply(amqp_get_rpc_reply(c), "opening a channel");
	amqp_queue_declare(
	    c, 1, amqp_cstring_bytes(queue), 0, 1 /* durable */, 0, 0, amqp_empty_table);
	check_reply(amqp_get_rpc_reply(c), "declaring the queue");
	amqp_confirm_select(c, 1);
	check_reply(amqp_get_rpc_reply(c), "asking for confirms");
	return c;
}

static void *run_rabbit(void *arg _unused_)
{
	amqp_bytes_t queue = amqp_cstring_bytes(run.args[0]);
	amqp_connection_state_t c = open_rabbit(run.args[0]);
	amqp_basic_properties_t p = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
	char text[513];

	snprintf(text, sizeof(text), "%0512d", 7);
	for (int64_t now; (now = time_mono_ns()) < run.until_ns;) {
		amqp_frame_t frame;
		amqp_rpc_reply_t got;
		amqp_message_t message;

		if (amqp_basic_publish(
			c, 1, amqp_empty_bytes, queue, 0, 0, &p, amqp_cstring_bytes(text)) ||
		    amqp_simple_wait_frame(c, &frame) ||
		    frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
			die("publishing");
		got = amqp_basic_get(c, 1, queue, 0);
		check_reply(got, "getting");
		/* Somebody else may have taken it; theirs is left for us then. */
		if (got.reply.id != AMQP_BASIC_GET_OK_METHOD)
			continue;
		check_reply(amqp_read_message(c, 1, &message, 0), "reading");
		amqp_basic_ack(c, 1, ((amqp_basic_get_ok_t *)got.reply.decoded)->delivery_tag, 0);
		amqp_destroy_message(&message);
		amqp_maybe_release_buffers(c);
		note(now);
	}
	return NULL;
}
#endif

/* ---- */

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void run_threads(void *(*fn)(void *), double seconds)
{
	pthread_t *threads = xcalloc(run.connections, sizeof(*threads));
	int64_t from = time_mono_ns();
	size_t n;

	run.until_ns = from + (int64_t)(seconds * 1e9);
	for (uintptr_t i = 0; i < run.connections; i++)
		check(pthread_create(&threads[i], NULL, fn, (void *)i) == 0);
	for (unsigned i = 0; i < run.connections; i++)
		pthread_join(threads[i], NULL);
	seconds = (double)(time_mono_ns() - from) / 1e9;
	n = min_size(run.samples, SAMPLES_MAX);
	qsort(run.took_ns, n, sizeof(*run.took_ns), by_time);
	printf(
	    "%.1f %.1f\n", (double)run.done / seconds, n ? (double)run.took_ns[n / 2] / 1e3 : 0.0);
	free(threads);
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fprintf(stderr, "usage: see the head of bench/load.c\n");
		return 2;
	}
	run.port = (uint16_t)atoi(argv[2]);
	run.connections = (unsigned)atoi(argv[3]);
	run.args = argv + 5;
	if (!strcmp(argv[1], "http")) {
		read_list(argv[5]);
		run_threads(run_http, atof(argv[4]));
		return 0;
	}
	if (!strcmp(argv[1], "sqs") && argc == 8) {
		run_threads(run_sqs, atof(argv[4]));
		return 0;
	}
#ifdef HAVE_RABBITMQ
	if (!strcmp(argv[1], "rabbit")) {
		run_threads(run_rabbit, atof(argv[4]));
		return 0;
	}
#endif
	fprintf(stderr, "load: %s is not understood here\n", argv[1]);
	return 2;
}
