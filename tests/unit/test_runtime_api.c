/* The HTTP Runtime API over loopback, played by honest and hostile clients. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#define ID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define ID_B "bbbbbbbb-0000-4000-8000-000000000002"
#define NEXT "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"

struct play {
	struct loop *loop;
	struct runtime_api *api;
	struct runtime *rt;
	struct sockaddr_in address;
	int ready, init_errors, answers, broken;
	bool free_on_answer, send_on_answer;
	char type[128], id[37], why[256];
	bool is_error;
	struct buf body;
	bool stream, pause, free_on_piece; /* the answer may come in pieces; pause at each */
	int streams, pieces, moved;
	char content_type[128];
	struct buf streamed;
};

static void invoke(struct play *p, const char *id)
{
	struct runtime_event ev = {.arn = "arn:aws:lambda:f",
	    .client_context = STR("{\n\"a\":1}"),
	    .deadline_ms = 1234567,
	    .payload = STR("{\"event\":1}"),
	    .stream = p->stream};

	snprintf(ev.request_id, sizeof(ev.request_id), "%s", id);
	snprintf(ev.trace_id, sizeof(ev.trace_id), "Root=1");
	runtime_send(p->rt, &ev);
}

static void on_extensions(void *ctx)
{
	((struct play *)ctx)->moved++;
}

static void on_ready(void *ctx)
{
	((struct play *)ctx)->ready++;
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	struct play *p = ctx;

	p->init_errors++;
	snprintf(p->type, sizeof(p->type), "%.*s", STR_FMT(type));
	buf_clear(&p->body);
	buf_append_str(&p->body, body);
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	struct play *p = ctx;

	p->answers++;
	p->is_error = a->is_error;
	snprintf(p->type, sizeof(p->type), "%.*s", STR_FMT(a->error_type));
	snprintf(p->id, sizeof(p->id), "%s", a->request_id);
	buf_clear(&p->body);
	buf_append_str(&p->body, buf_str(a->payload));
	if (p->free_on_answer) {
		runtime_free(p->rt);
		p->rt = NULL;
	} else if (p->send_on_answer) {
		p->send_on_answer = false;
		invoke(p, ID_B);
	}
}

static void on_broken(void *ctx, const char *why)
{
	struct play *p = ctx;

	p->broken++;
	snprintf(p->why, sizeof(p->why), "%s", why);
}

static void on_stream(void *ctx, struct str content_type)
{
	struct play *p = ctx;

	p->streams++;
	snprintf(p->content_type, sizeof(p->content_type), "%.*s", STR_FMT(content_type));
}

static void on_piece(void *ctx, struct str data)
{
	struct play *p = ctx;

	p->pieces++;
	buf_append_str(&p->streamed, data);
	if (p->pause)
		runtime_pause(p->rt, true);
	if (p->free_on_piece) {
		runtime_free(p->rt);
		p->rt = NULL;
	}
}

static const struct runtime_handler handler = {
    .on_stream = on_stream,
    .on_piece = on_piece,
    .on_ready = on_ready,
    .on_init_error = on_init_error,
    .on_answer = on_answer,
    .on_broken = on_broken,
    .on_extensions = on_extensions,
};

static void turns(struct play *p, int n)
{
	while (n--)
		assert_true(loop_turn(p->loop, 0) >= 0);
}

static int setup(void **state)
{
	struct play *p = calloc(1, sizeof(*p));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(p->address);

	p->address =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&p->address, len), 0);
	assert_int_equal(listen(fd, 64), 0);
	getsockname(fd, (struct sockaddr *)&p->address, &len);
	p->loop = loop_new(0, NULL);
	p->api = runtime_api_open(p->loop);
	p->rt = runtime_api_new(p->api, fd, &handler, p, NULL);
	assert_non_null(p->rt);
	runtime_api_describe(p->rt, "fn", "7", "app.handler", "123456789012");
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct play *p = *state;

	runtime_free(p->rt);
	runtime_api_close(p->api);
	loop_free(p->loop);
	buf_done(&p->body);
	buf_done(&p->streamed);
	free(p);
	return 0;
}

static int dial(struct play *p)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	assert_int_equal(connect(fd, (struct sockaddr *)&p->address, sizeof(p->address)), 0);
	turns(p, 1);
	return fd;
}

/* The server may close in the middle: then the rest is not sent. */
static void push(struct play *p, int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
		assert_true(loop_turn(p->loop, 0) >= 0);
	}
	turns(p, 4);
}

static void say(struct play *p, int fd, const char *text)
{
	push(p, fd, text, strlen(text));
}

/* What has come back so far. */
static const char *hear(int fd)
{
	static char text[65536];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void expect(struct play *p, int fd, const char *part)
{
	const char *got = "";

	for (int i = 0; i < 500; i++) {
		got = hear(fd);
		if (*got)
			break;
		assert_true(loop_turn(p->loop, 1) >= 0);
	}
	if (!strstr(got, part))
		fail_msg("'%s' is not in '%s'", part, got);
}

static void post(struct play *p, int fd, const char *path, const char *headers, const char *body)
{
	char text[4096];

	snprintf(text, sizeof(text),
	    "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s", path, headers,
	    strlen(body), body);
	say(p, fd, text);
}

static void respond(struct play *p, int fd, const char *id, const char *what, const char *body)
{
	char path[128];

	snprintf(path, sizeof(path), "/2018-06-01/runtime/invocation/%s/%s", id, what);
	post(p, fd, path, "", body);
}

static void test_round_trip(void **state)
{
	struct play *p = *state;
	int fd = dial(p);
	const char *got;

	say(p, fd, NEXT);
	assert_int_equal(p->ready, 1);
	assert_string_equal(hear(fd), "");
	invoke(p, ID_A);
	turns(p, 2);
	got = hear(fd);
	assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(got, "Lambda-Runtime-Aws-Request-Id: " ID_A "\r\n"));
	assert_non_null(strstr(got, "Lambda-Runtime-Deadline-Ms: 1234567\r\n"));
	assert_non_null(strstr(got, "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:f\r\n"));
	assert_non_null(strstr(got, "Lambda-Runtime-Trace-Id: Root=1\r\n"));
	assert_non_null(strstr(got, "Lambda-Runtime-Client-Context: { \"a\":1}\r\n"));
	assert_null(strstr(got, "Cognito"));
	assert_non_null(strstr(got, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(got, "\r\n\r\n{\"event\":1}"));
	/* The next event is there before the runtime asks for it. */
	p->send_on_answer = true;
	respond(p, fd, ID_A, "response", "\"fine\"");
	expect(p, fd, "HTTP/1.1 202 Accepted\r\n");
	assert_int_equal(p->answers, 1);
	assert_false(p->is_error);
	assert_string_equal(p->id, ID_A);
	assert_true(str_is(buf_str(&p->body), "\"fine\""));
	say(p, fd, NEXT);
	expect(p, fd, "Lambda-Runtime-Aws-Request-Id: " ID_B);
	post(p, fd, "/2018-06-01/runtime/invocation/" ID_B "/error",
	    "Lambda-Runtime-Function-Error-Type: Runtime.Bad\r\n", "{\"errorType\":\"X\"}");
	expect(p, fd, "202");
	assert_int_equal(p->answers, 2);
	assert_true(p->is_error);
	assert_string_equal(p->type, "Runtime.Bad");
	assert_int_equal(p->ready, 1);
	close(fd);
}

static void test_wrong_state(void **state)
{
	struct play *p = *state;
	int fd = dial(p), other = dial(p);

	respond(p, fd, ID_A, "response", "1");
	expect(p, fd, "HTTP/1.1 400 Bad Request\r\n");
	say(p, fd, NEXT);
	invoke(p, ID_A);
	turns(p, 2);
	expect(p, fd, ID_A);
	say(p, other, NEXT);
	expect(p, other, "InvalidStateTransition");
	respond(p, fd, ID_B, "response", "1");
	expect(p, fd, "\"errorType\":\"InvalidRequestID\"");
	assert_int_equal(p->answers, 0);
	respond(p, fd, ID_A, "response", "1");
	expect(p, fd, "202");
	respond(p, fd, ID_A, "response", "2");
	expect(p, fd, "HTTP/1.1 403 Forbidden\r\n");
	respond(p, fd, ID_A, "error", "2");
	expect(p, fd, "403");
	post(p, fd, "/2018-06-01/runtime/init/error", "", "{}");
	expect(p, fd, "\"errorType\":\"InvalidStateTransition\"");
	assert_int_equal(p->answers, 1);
	assert_int_equal(p->init_errors, 0);
	say(p, fd, "GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(p, fd, "403");
	close(fd);
	close(other);
}

static int running(struct play *p)
{
	int fd = dial(p);

	say(p, fd, NEXT);
	invoke(p, ID_A);
	turns(p, 2);
	expect(p, fd, ID_A);
	return fd;
}

/* The next event waits already when the runtime answers the one before again; and an event that is
 * tried again comes with the id it had. */
static void test_second_answer(void **state)
{
	struct play *p = *state;
	int fd = running(p);

	respond(p, fd, ID_A, "response", "1");
	expect(p, fd, "202");
	invoke(p, ID_B);
	respond(p, fd, ID_A, "response", "2");
	expect(p, fd, "\"errorType\":\"InvalidStateTransition\"");
	respond(p, fd, ID_B, "response", "2");
	expect(p, fd, "\"errorType\":\"InvalidRequestID\"");
	say(p, fd, NEXT);
	expect(p, fd, ID_B);
	respond(p, fd, ID_B, "response", "3");
	expect(p, fd, "202");
	invoke(p, ID_B);
	say(p, fd, NEXT);
	expect(p, fd, ID_B);
	respond(p, fd, ID_B, "response", "4");
	expect(p, fd, "202");
	assert_int_equal(p->answers, 3);
	close(fd);
}

static void test_small_things(void **state)
{
	struct play *p = *state;
	int fd = dial(p);

	say(p, fd, "GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(p, fd, "\r\n\r\npong");
	say(p, fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(p, fd, "404 Not Found");
	say(p, fd, "DELETE /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(p, fd, "405");
	say(p, fd, "PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
	expect(p, fd, "Telemetry.NotSupported");
	say(p, fd, "PUT /2020-08-15/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
	expect(p, fd, "Logs.NotSupported");
	close(fd);
}

static void test_init_error(void **state)
{
	struct play *p = *state;
	int fd = dial(p);

	post(p, fd, "/2018-06-01/runtime/init/error",
	    "Lambda-Runtime-Function-Error-Type: nonsense\r\n", "{\"errorMessage\":\"x\"}");
	expect(p, fd, "202");
	assert_int_equal(p->init_errors, 1);
	assert_string_equal(p->type, "Function.Unknown");
	assert_true(str_is(buf_str(&p->body), "{\"errorMessage\":\"x\"}"));
	say(p, fd, NEXT);
	expect(p, fd, "403");
	close(fd);
}

static void test_sizes(void **state)
{
	struct play *p = *state;
	int fd = running(p);
	char head[256];
	char *body = calloc(1, FRAME_PAYLOAD_MAX);

	memset(body, '7', FRAME_PAYLOAD_MAX);
	snprintf(head, sizeof(head),
	    "POST /2018-06-01/runtime/invocation/" ID_A "/response HTTP/1.1\r\nHost: x\r\n"
	    "Content-Length: %u\r\n\r\n",
	    FRAME_PAYLOAD_MAX);
	say(p, fd, head);
	push(p, fd, body, FRAME_PAYLOAD_MAX);
	expect(p, fd, "202");
	assert_int_equal(buf_len(&p->body), FRAME_PAYLOAD_MAX);
	free(body);
	say(p, fd, NEXT);
	invoke(p, ID_B);
	turns(p, 2);
	snprintf(head, sizeof(head),
	    "POST /2018-06-01/runtime/invocation/" ID_B "/response HTTP/1.1\r\nHost: x\r\n"
	    "Content-Length: %u\r\n\r\n",
	    FRAME_PAYLOAD_MAX + 1);
	hear(fd);
	say(p, fd, head);
	expect(p, fd, "\"errorType\":\"RequestEntityTooLarge\"");
	assert_int_equal(p->answers, 2);
	assert_true(p->is_error);
	assert_string_equal(p->type, "Function.ResponseSizeTooLarge");
	close(fd);
}

static void test_chunked(void **state)
{
	struct play *p = *state;
	int fd = running(p);
	char chunk[8200];

	say(p, fd,
	    "POST /2018-06-01/runtime/invocation/" ID_A "/response HTTP/1.1\r\nHost: x\r\n"
	    "Transfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
	    "3\r\none\r\n4\r\n two\r\n0\r\n\r\n");
	expect(p, fd, "202");
	assert_true(str_is(buf_str(&p->body), "one two"));
	say(p, fd, NEXT);
	invoke(p, ID_B);
	turns(p, 2);
	hear(fd);
	say(p, fd,
	    "POST /2018-06-01/runtime/invocation/" ID_B "/response HTTP/1.1\r\nHost: x\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n");
	memset(chunk, 'x', sizeof(chunk));
	memcpy(chunk, "1ffa\r\n", 6);
	memcpy(chunk + 6 + 0x1ffa, "\r\n", 2);
	for (int i = 0; i < 800 && p->answers == 1; i++)
		push(p, fd, chunk, 0x1ffa + 8);
	expect(p, fd, "413");
	assert_int_equal(p->answers, 2);
	assert_string_equal(p->type, "Function.ResponseSizeTooLarge");
	close(fd);
}

static void test_prelude(void **state)
{
	struct play *p = *state;
	int fd = running(p);
	static const char body[] = "{\"statusCode\":201}\0\0\0\0\0\0\0\0hello";
	char head[512];

	snprintf(head, sizeof(head),
	    "POST /2018-06-01/runtime/invocation/" ID_A
	    "/response HTTP/1.1\r\nHost: x\r\nContent-Type: "
	    "application/vnd.awslambda.http-integration-response\r\nContent-Length: %zu\r\n\r\n",
	    sizeof(body) - 1);
	say(p, fd, head);
	push(p, fd, body, sizeof(body) - 1);
	assert_true(str_is(buf_str(&p->body),
	    "{\"statusCode\":201,\"isBase64Encoded\":true,\"body\":\"aGVsbG8=\"}"));
	close(fd);
}

static void test_bad_mode(void **state)
{
	struct play *p = *state;
	int fd = running(p);

	post(p, fd, "/2018-06-01/runtime/invocation/" ID_A "/response",
	    "Lambda-Runtime-Function-Response-Mode: magic\r\n", "1");
	expect(p, fd, "InvalidFunctionResponseMode");
	assert_int_equal(p->answers, 0);
	close(fd);
}

/* Two answers arriving at the same time, one that never ends, one from a client that goes. */
static void test_two_uploads(void **state)
{
	struct play *p = *state;
	int fd = running(p), other = dial(p), third = dial(p);

	say(p, other,
	    "POST /2018-06-01/runtime/invocation/" ID_A "/response HTTP/1.1\r\nHost: x\r\n"
	    "Content-Length: 100\r\n\r\nhalf");
	respond(p, third, ID_A, "response", "1");
	expect(p, third, "403");
	close(other);
	turns(p, 4);
	assert_int_equal(p->answers, 0);
	respond(p, fd, ID_A, "response", "1");
	expect(p, fd, "202");
	assert_int_equal(p->answers, 1);
	close(fd);
	close(third);
}

static void test_client_goes_while_waiting(void **state)
{
	struct play *p = *state;
	int fd = dial(p), again;

	say(p, fd, NEXT);
	close(fd);
	turns(p, 4);
	invoke(p, ID_A);
	turns(p, 2);
	again = dial(p);
	say(p, again, NEXT);
	expect(p, again, ID_A);
	close(again);
}

static void test_reset(void **state)
{
	struct play *p = *state;
	int fd = running(p), again;

	runtime_api_reset(p->rt);
	turns(p, 4);
	assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
	close(fd);
	again = dial(p);
	respond(p, again, ID_A, "response", "late");
	expect(p, again, "InvalidRequestID");
	say(p, again, NEXT);
	assert_int_equal(p->ready, 2);
	invoke(p, ID_B);
	turns(p, 2);
	expect(p, again, ID_B);
	assert_int_equal(p->answers, 0);
	close(again);
}

static void test_freed_in_callback(void **state)
{
	struct play *p = *state;
	int fd = running(p), idle = dial(p);

	p->free_on_answer = true;
	respond(p, fd, ID_A, "response", "1");
	assert_int_equal(p->answers, 1);
	assert_null(p->rt);
	turns(p, 3);
	close(fd);
	close(idle);
}

static void test_too_many_connections(void **state)
{
	struct play *p = *state;
	int fds[100];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(p);
	turns(p, 20);
	say(p, fds[0], NEXT);
	assert_int_equal(p->ready, 1);
	expect(p, fds[ARRAY_SIZE(fds) - 1], "503");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* --- extensions ------------------------------------------------------------------------------- */

static void enroll(struct play *p, int fd, const char *name, const char *body, char id[37])
{
	char headers[256];
	const char *got, *at;

	snprintf(headers, sizeof(headers),
	    "Lambda-Extension-Name: %s\r\nLambda-Extension-Accept-Feature: accountId\r\n", name);
	post(p, fd, "/2020-01-01/extension/register", headers, body);
	got = hear(fd);
	at = strstr(got, "Lambda-Extension-Identifier: ");
	assert_non_null(at);
	snprintf(id, 37, "%s", at + strlen("Lambda-Extension-Identifier: "));
	assert_non_null(strstr(got, "{\"functionName\":\"fn\",\"functionVersion\":\"7\","
				    "\"handler\":\"app.handler\",\"accountId\":"
				    "\"123456789012\"}"));
}

static void extension_next(struct play *p, int fd, const char *id)
{
	char text[512];

	snprintf(text, sizeof(text),
	    "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: "
	    "x\r\nLambda-Extension-Identifier: %s\r\n\r\n",
	    id);
	say(p, fd, text);
}

static void test_extension(void **state)
{
	struct play *p = *state;
	int ext = dial(p), fd = dial(p);
	char id[37];
	const char *got;

	enroll(p, ext, "watcher", "{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}", id);
	say(p, fd, NEXT);
	assert_int_equal(p->ready, 0);
	extension_next(p, ext, id);
	assert_int_equal(p->ready, 1);
	invoke(p, ID_A);
	turns(p, 2);
	expect(p, fd, ID_A);
	got = hear(ext);
	assert_non_null(strstr(got, "Lambda-Extension-Event-Identifier: "));
	assert_non_null(
	    strstr(got, "{\"eventType\":\"INVOKE\",\"deadlineMs\":1234567,\"requestId\":\"" ID_A
			"\",\"invokedFunctionArn\":\"arn:aws:lambda:f\",\"tracing\":{\"type\":\"X-"
			"Amzn-Trace-Id\","
			"\"value\":\"Root=1\"}}"));
	/* The next event waits until the extension is done with this one. */
	respond(p, fd, ID_A, "response", "1");
	assert_int_equal(p->answers, 1);
	hear(fd);
	say(p, fd, NEXT);
	invoke(p, ID_B);
	turns(p, 2);
	assert_string_equal(hear(fd), "");
	extension_next(p, ext, id);
	expect(p, fd, ID_B);
	expect(p, ext, ID_B);
	/* Busy: it learns of the end when it asks for the next event. */
	assert_true(runtime_api_minds_end(p->rt));
	runtime_api_shutdown(p->rt, "TIMEOUT", 98);
	turns(p, 2);
	assert_string_equal(hear(ext), "");
	extension_next(p, ext, id);
	expect(p, ext,
	    "{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":98,\"shutdownReason\":\"TIMEOUT\"}");
	runtime_api_shutdown(p->rt, "SPINDOWN", 99);
	extension_next(p, ext, id);
	expect(p, ext,
	    "{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":99,\"shutdownReason\":\"SPINDOWN\"}");
	post(p, ext, "/2020-01-01/extension/register", "Lambda-Extension-Name: late\r\n", "{}");
	expect(p, ext, "Extension.RegistrationClosed");
	close(ext);
	close(fd);
}

/* The runtime speaks framed; its extensions do not. */
static void test_extension_beside(void **state)
{
	struct play *p = *state;
	const struct runtime_event ev = {.request_id = ID_A, .arn = "arn:aws:lambda:f"};
	int ext = dial(p), fd = dial(p);
	const char *events;
	char id[37];

	runtime_api_beside(p->rt);
	enroll(p, ext, "watcher", "{\"events\":[\"INVOKE\"]}", id);
	assert_int_equal(p->moved, 1);
	assert_int_equal(runtime_api_extensions(p->rt), 1);
	assert_string_equal(runtime_api_extension(p->rt, 0, &events), "watcher");
	assert_string_equal(events, "INVOKE");
	assert_false(runtime_api_settled(p->rt));
	extension_next(p, ext, id);
	assert_int_equal(p->moved, 2);
	assert_true(runtime_api_settled(p->rt));
	runtime_api_init_done(p->rt);
	runtime_api_tell(p->rt, &ev);
	turns(p, 2);
	expect(p, ext, ID_A);
	assert_false(runtime_api_settled(p->rt));
	/* Nobody may answer in the runtime's place. */
	say(p, fd, NEXT);
	expect(p, fd, "InvalidStateTransition");
	post(p, fd, "/2018-06-01/runtime/invocation/" ID_A "/response", "", "1");
	expect(p, fd, "InvalidStateTransition");
	post(p, fd, "/2018-06-01/runtime/init/error", "", "{}");
	expect(p, fd, "InvalidStateTransition");
	extension_next(p, ext, id);
	assert_true(runtime_api_settled(p->rt));
	assert_int_equal(p->ready + p->answers + p->init_errors, 0);
	close(ext);
	close(fd);
}

static void test_extension_refusals(void **state)
{
	struct play *p = *state;
	int fd = dial(p);
	char id[37], name[64], headers[256];

	post(p, fd, "/2020-01-01/extension/register", "", "{}");
	expect(p, fd, "Extension.InvalidExtensionName");
	post(p, fd, "/2020-01-01/extension/register", "Lambda-Extension-Name: a\r\n", "[");
	expect(p, fd, "InvalidRequestFormat");
	post(p, fd, "/2020-01-01/extension/register", "Lambda-Extension-Name: a\r\n",
	    "{\"events\":[\"NO\"]}");
	expect(p, fd, "Extension.InvalidEventType");
	post(p, fd, "/2020-01-01/extension/register", "Lambda-Extension-Name: a\r\n",
	    "{\"events\":[7]}");
	expect(p, fd, "Extension.InvalidEventType");
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		enroll(p, fd, name, "{\"events\":[]}", id);
	}
	post(p, fd, "/2020-01-01/extension/register", "Lambda-Extension-Name: x0\r\n", "{}");
	expect(p, fd, "Extension.InvalidExtensionState");
	post(p, fd, "/2020-01-01/extension/register", "Lambda-Extension-Name: x10\r\n", "{}");
	expect(p, fd, "Extension.TooManyExtensions");
	extension_next(p, fd, "");
	expect(p, fd, "Extension.MissingExtensionIdentifier");
	extension_next(p, fd, "zzz");
	expect(p, fd, "Extension.InvalidExtensionIdentifier");
	extension_next(p, fd, ID_A);
	expect(p, fd, "Extension.UnknownExtensionIdentifier");
	snprintf(headers, sizeof(headers), "Lambda-Extension-Identifier: %s\r\n", id);
	post(p, fd, "/2020-01-01/extension/init/error", headers, "{}");
	expect(p, fd, "Extension.MissingHeader");
	snprintf(headers, sizeof(headers),
	    "Lambda-Extension-Identifier: %s\r\nLambda-Extension-Function-Error-Type: X.Y\r\n", id);
	post(p, fd, "/2020-01-01/extension/init/error", headers, "{}");
	expect(p, fd, "202");
	assert_int_equal(p->init_errors, 1);
	assert_string_equal(p->type, "Extension.InitError");
	post(p, fd, "/2020-01-01/extension/exit/error", headers, "{}");
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, "extension x9: X.Y");
	close(fd);
}

#define STREAM(id)                                                                    \
	"POST /2018-06-01/runtime/invocation/" id "/response HTTP/1.1\r\nHost: x\r\n" \
	"Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\nTrailer: x\r\n"    \
	"Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n"
#define FAILS                                                       \
	"0\r\nLambda-Runtime-Function-Error-Type: Runtime.Half\r\n" \
	"Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiJIYWxmIn0=\r\n\r\n"

static void expect_error(struct play *p, const char *type, const char *body)
{
	assert_int_equal(p->answers, 1);
	assert_true(p->is_error);
	assert_string_equal(p->type, type);
	assert_non_null(strstr((buf_putc(&p->body, '\0'), buf_data(&p->body)), body));
}

static void test_trailers_fail_a_collected_answer(void **state)
{
	struct play *p = *state;
	int fd = running(p);

	say(p, fd, STREAM(ID_A) "3\r\none\r\n" FAILS);
	expect(p, fd, "202");
	expect_error(p, "Runtime.Half", "{\"errorType\":\"Half\"}");
	assert_int_equal(p->streams, 0);
	close(fd);
}

static void test_stream(void **state)
{
	struct play *p = *state;
	int fd;

	p->stream = true;
	fd = running(p);
	say(p, fd, STREAM(ID_A));
	assert_int_equal(p->streams, 0);
	say(p, fd, "3\r\none\r\n");
	assert_int_equal(p->streams, 1);
	assert_string_equal(p->content_type, "text/plain");
	assert_true(str_is(buf_str(&p->streamed), "one"));
	p->pause = true;
	say(p, fd, "1\r\n \r\n3\r\ntwo\r\n0\r\n\r\n");
	assert_int_equal(p->pieces, 2);
	assert_int_equal(p->answers, 0);
	p->pause = false;
	runtime_pause(p->rt, false);
	expect(p, fd, "202");
	assert_true(str_is(buf_str(&p->streamed), "one two"));
	assert_int_equal(p->answers, 1);
	assert_false(p->is_error);
	assert_int_equal(buf_len(&p->body), 0);
	/* A plain answer to somebody who would take a stream. */
	say(p, fd, NEXT);
	invoke(p, ID_B);
	turns(p, 2);
	hear(fd);
	respond(p, fd, ID_B, "response", "\"fine\"");
	expect(p, fd, "202");
	assert_int_equal(p->streams, 1);
	assert_true(str_is(buf_str(&p->body), "\"fine\""));
	close(fd);
}

static void test_stream_fails(void **state)
{
	struct play *p = *state;
	int fd;

	p->stream = true;
	fd = running(p);
	say(p, fd, STREAM(ID_A) "3\r\none\r\n" FAILS);
	expect(p, fd, "202");
	assert_int_equal(p->pieces, 1);
	expect_error(p, "Runtime.Half", "{\"errorType\":\"Half\"}");
	close(fd);
}

static void test_stream_is_cut(void **state)
{
	struct play *p = *state;
	int fd, other;

	p->stream = true;
	fd = running(p);
	other = dial(p);
	say(p, fd, STREAM(ID_A) "3\r\none\r\n");
	respond(p, other, ID_A, "error", "{}");
	expect(p, other, "403");
	close(fd);
	turns(p, 5);
	assert_int_equal(p->answers, 0);
	respond(p, other, ID_A, "response", "1");
	expect(p, other, "403");
	p->stream = false;
	p->send_on_answer = true;
	say(p, other, NEXT);
	expect_error(p, "Runtime.TruncatedResponse", "ended before the answer did");
	expect(p, other, ID_B);
	close(other);
}

static void test_stream_is_cut_and_told(void **state)
{
	struct play *p = *state;
	int fd, other;

	p->stream = true;
	fd = running(p);
	other = dial(p);
	say(p, fd, STREAM(ID_A) "3\r\none\r\n");
	close(fd);
	turns(p, 5);
	post(p, other, "/2018-06-01/runtime/invocation/" ID_A "/error",
	    "Lambda-Runtime-Function-Error-Type: Function.Oops\r\n", "{\"a\":1}");
	expect(p, other, "202");
	expect_error(p, "Function.Oops", "{\"a\":1}");
	close(other);
}

static void test_freed_in_piece(void **state)
{
	struct play *p = *state;
	int fd;

	p->stream = p->free_on_piece = p->pause = true;
	fd = running(p);
	say(p, fd, STREAM(ID_A) "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
	assert_int_equal(p->pieces, 1);
	assert_null(p->rt);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_round_trip),
	    TEST(test_wrong_state),
	    TEST(test_second_answer),
	    TEST(test_small_things),
	    TEST(test_init_error),
	    TEST(test_sizes),
	    TEST(test_chunked),
	    TEST(test_prelude),
	    TEST(test_bad_mode),
	    TEST(test_two_uploads),
	    TEST(test_client_goes_while_waiting),
	    TEST(test_reset),
	    TEST(test_freed_in_callback),
	    TEST(test_too_many_connections),
	    TEST(test_extension),
	    TEST(test_extension_beside),
	    TEST(test_extension_refusals),
	    TEST(test_trailers_fail_a_collected_answer),
	    TEST(test_stream),
	    TEST(test_stream_fails),
	    TEST(test_stream_is_cut),
	    TEST(test_stream_is_cut_and_told),
	    TEST(test_freed_in_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
