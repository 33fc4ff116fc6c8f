/*
 * Switching protocols. See client_stream.h. libcurl connects, through proxies and TLS as for any
 * other request; the head is written and read here, because libcurl has no upgrades.
 */
#include "cli/client_stream.h"

#include <poll.h>
#include <stdio.h>

#include "base/time.h"
#include "cli/client_int.h"

#define HEAD_MAX 65536
#define BODY_MAX (1 << 20)
/* For the task to start and the process in it; pulling is over by then. */
#define ANSWER_MS 120000

volatile sig_atomic_t client_interrupted;

struct client_stream {
	struct client *client;
	curl_socket_t fd;
	struct buf early; /* came with the head */
};

int client_stream_fd(const struct client_stream *s)
{
	return s->fd;
}

ssize_t client_stream_receive(struct client_stream *s, void *to, size_t size)
{
	size_t n = min_size(size, buf_len(&s->early));
	CURLcode code;

	if (n) {
		memcpy(to, buf_data(&s->early), n);
		buf_consume(&s->early, n);
		return (ssize_t)n;
	}
	code = curl_easy_recv(s->client->curl, to, size, &n);
	return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

ssize_t client_stream_send(struct client_stream *s, const void *from, size_t size)
{
	size_t n = 0;
	CURLcode code = curl_easy_send(s->client->curl, from, size, &n);

	return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

void client_stream_close(struct client_stream *s)
{
	if (!s)
		return;
	curl_easy_reset(s->client->curl);
	curl_easy_cleanup(s->client->curl);
	s->client->curl = curl_easy_init();
	check(s->client->curl);
	buf_done(&s->early);
	free(s);
}

static void put_request(
    struct client *c, const struct client_request *r, const char *protocol, struct buf *out)
{
	struct http_header h[CLIENT_HEADERS_MAX];
	struct arena a;
	size_t count;

	arena_init(&a);
	count = client_sign(c, r, &a, h);
	buf_printf(out, "%s %.*s%s HTTP/1.1\r\n", r->method, STR_FMT(c->base), r->path);
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%.*s: %.*s\r\n", STR_FMT(h[i].name), STR_FMT(h[i].value));
	buf_printf(out, "Connection: upgrade\r\nUpgrade: %s\r\nContent-Length: %zu\r\n\r\n",
	    protocol, r->body.len);
	buf_append_str(out, r->body);
	arena_done(&a);
}

static int wait_for(const struct client_stream *s, short events, int64_t until_ns)
{
	struct pollfd p = {.fd = s->fd, .events = events};
	int64_t left_ms = (until_ns - time_mono_ns()) / 1000000;
	int n = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;

	if (client_interrupted)
		return -EINTR;
	return n > 0 || (n < 0 && errno == EINTR) ? 0 : -ETIMEDOUT;
}

static int send_all(struct client_stream *s, const struct buf *b, int64_t until_ns)
{
	struct str rest = buf_str(b);
	int r = 0;

	while (rest.len && r == 0) {
		ssize_t n = client_stream_send(s, rest.ptr, rest.len);

		if (n == -EAGAIN)
			r = wait_for(s, POLLOUT, until_ns);
		else if (n < 0)
			r = (int)n;
		else
			rest = (struct str){rest.ptr + n, rest.len - (size_t)n};
	}
	return r;
}

/* More bytes into b. 0 at the end, else what was received or -errno. */
static ssize_t receive_more(struct client_stream *s, struct buf *b, int64_t until_ns)
{
	for (;;) {
		ssize_t n = client_stream_receive(s, buf_reserve(b, 8192), 8192);
		int r;

		if (n > 0)
			buf_commit(b, (size_t)n);
		if (n != -EAGAIN)
			return n;
		r = wait_for(s, POLLIN, until_ns);
		if (r < 0)
			return r;
	}
}

/* The head into answer->headers, what came behind it into *rest. */
static int receive_head(
    struct client_stream *s, struct client_answer *answer, struct buf *rest, int64_t until_ns)
{
	const char *end = NULL;
	struct str line;
	int64_t status;

	while (!end) {
		ssize_t n = receive_more(s, rest, until_ns);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		end = memmem(buf_data(rest), buf_len(rest), "\r\n\r\n", 4);
		if (!end && buf_len(rest) > HEAD_MAX)
			return -EIO;
	}
	buf_append(&answer->headers, buf_data(rest), (size_t)(end + 4 - buf_data(rest)));
	buf_consume(rest, buf_len(&answer->headers));
	line = buf_str(&answer->headers);
	if (!str_has_prefix(line, "HTTP/1.1 ") || line.len < 12 ||
	    !str_to_int64((struct str){line.ptr + 9, 3}, 100, 599, &status))
		return -EIO;
	answer->status = (long)status;
	return 0;
}

/* Of an answer that is no 101: with a length, as our server's are, or until the end. */
static int receive_body(
    struct client_stream *s, struct client_answer *answer, struct buf *rest, int64_t until_ns)
{
	int64_t length = BODY_MAX;
	ssize_t n = 1;

	str_to_int64(client_answer_header(answer, "content-length"), 0, BODY_MAX, &length);
	while (n > 0 && buf_len(rest) < (size_t)length)
		n = receive_more(s, rest, until_ns);
	buf_append(&answer->body, buf_data(rest), min_size(buf_len(rest), (size_t)length));
	buf_clear(rest);
	return n < 0 ? (int)n : 0;
}

static CURLcode dial(struct client_stream *s)
{
	struct client *c = s->client;
	CURLcode code;

	client_configure(c, c->endpoint);
	curl_easy_setopt(c->curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c->curl, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(c->curl, CURLOPT_HTTPPROXYTUNNEL, 1L);
	code = curl_easy_perform(c->curl);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(c->curl, CURLINFO_ACTIVESOCKET, &s->fd);
	return code;
}

static int talk(struct client_stream *s, const struct client_request *r, const char *protocol,
    struct client_answer *answer)
{
	struct buf request = BUF_INIT;
	int64_t until_ns = time_mono_ns() + ANSWER_MS * INT64_C(1000000);
	int result;

	put_request(s->client, r, protocol, &request);
	result = send_all(s, &request, until_ns);
	buf_done(&request);
	if (result == 0)
		result = receive_head(s, answer, &s->early, until_ns);
	if (result == 0 && answer->status != 101)
		result = receive_body(s, answer, &s->early, until_ns);
	return result;
}

int client_stream_open(struct client *c, const struct client_request *r, const char *protocol,
    struct client_stream **ret, struct client_answer *answer)
{
	struct client_stream *s = xcalloc(1, sizeof(*s));
	CURLcode code;
	int result;

	s->client = c;
	code = dial(s);
	if (code != CURLE_OK) {
		client_stream_close(s);
		return client_no_answer(c, code);
	}
	result = talk(s, r, protocol, answer);
	if (result == 0 && answer->status == 101) {
		*ret = s;
		return CLI_OK;
	}
	client_stream_close(s);
	if (result == 0)
		return CLIENT_NOTED;
	if (result == -EINTR)
		return CLIENT_INTERRUPTED;
	return client_no_answer(
	    c, result == -ETIMEDOUT ? CURLE_OPERATION_TIMEDOUT : CURLE_RECV_ERROR);
}
