/*
 * The HTTP Runtime API of Lambda, for runtimes that are not ours: served by core on a listening
 * socket that was made inside the box. Loop thread; one struct api_box for each box.
 *
 * The client is hostile: each box has a server of its own with few connections, one answer may be
 * arriving at a time, and every request is checked against the state of the box before its body
 * is read. Paths, states, texts: as Lambda documents them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "runtime/api_int.h"

#define BODY_SMALL (64 * 1024)
#define BODY_INIT_ERROR (256 * 1024)
#define BODY_SLACK (64 * 1024) /* so that it is us who say 413, in Lambda's words */

struct runtime_api {
	struct loop *loop;
	struct list boxes;
	struct list ended; /* servers of freed boxes: they may be at work further down the stack */
	struct loop_task sweep;
};

static const struct http_limits box_limits = {
    .head_timeout_ms = 30000,
    .body_timeout_ms = 60000,
    .idle_timeout_ms = 0, /* a frozen client is not a lazy one */
    .send_timeout_ms = 60000,
    .connections_max = 48,
};

/* --- answers ---------------------------------------------------------------------------------- */

static const struct http_header json_type = {{"Content-Type", 12}, {"application/json", 16}};

void api_reply(struct http_request *r, unsigned status, struct str json)
{
	http_reply(r, status, &json_type, 1, json);
}

void api_reply_error(struct http_request *r, unsigned status, const char *type, const char *message)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	buf_puts(&b, "{\"errorMessage\":");
	buf_json_string(&b, str_from(message));
	buf_puts(&b, ",\"errorType\":");
	buf_json_string(&b, str_from(type));
	buf_puts(&b, "}\n");
	api_reply(r, status, buf_str(&b));
}

static void accept_it(struct http_request *r)
{
	api_reply(r, 202, STR("{\"status\":\"OK\"}\n"));
}

static const char *state_name(enum api_state s)
{
	static const char *const names[] = {
	    [API_INIT] = "Started",
	    [API_FAILED] = "InitError",
	    [API_IDLE] = "Ready",
	    [API_RUNNING] = "Running",
	    [API_ANSWERED] = "InvocationResponse",
	};

	return names[s];
}

static void refuse_transition(struct api_box *b, struct http_request *r, const char *to)
{
	api_reply_error(r, 403, "InvalidStateTransition",
	    arena_printf(r->arena,
		"State transition from %s to %s failed for runtime. Error: State transition is not "
		"allowed",
		state_name(b->state), to));
}

/* --- events ----------------------------------------------------------------------------------- */

/* Header values are one line: the line breaks of JSON text are blanks as well. */
static struct str one_line(struct arena *a, struct str s)
{
	char *copy = arena_strndup(a, s.ptr, s.len);

	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = ' ';
	return (struct str){copy, s.len};
}

static void give_event(struct api_box *b)
{
	struct http_request *r = take_ptr(b->next);
	struct arena *a = r->arena;
	struct api_event *ev = &b->event;
	struct http_header h[7] = {json_type};
	size_t n = 1;

	h[n++] = (struct http_header){
	    STR("Lambda-Runtime-Aws-Request-Id"), arena_str(a, str_from(ev->request_id))};
	h[n++] = (struct http_header){STR("Lambda-Runtime-Deadline-Ms"),
	    str_from(arena_printf(a, "%" PRId64, ev->deadline_ms))};
	h[n++] = (struct http_header){
	    STR("Lambda-Runtime-Invoked-Function-Arn"), one_line(a, buf_str(&ev->arn))};
	if (*ev->trace_id)
		h[n++] = (struct http_header){
		    STR("Lambda-Runtime-Trace-Id"), one_line(a, str_from(ev->trace_id))};
	if (buf_len(&ev->client_context))
		h[n++] = (struct http_header){STR("Lambda-Runtime-Client-Context"),
		    one_line(a, buf_str(&ev->client_context))};
	if (buf_len(&ev->identity))
		h[n++] = (struct http_header){
		    STR("Lambda-Runtime-Cognito-Identity"), one_line(a, buf_str(&ev->identity))};
	http_reply(r, 200, h, n, buf_str(&ev->payload));
	/* It may be megabytes, and a box idles for long. */
	buf_done(&ev->payload);
}

void api_advance(struct api_box *b)
{
	if (b->state != API_IDLE || !extension_all_arrived(b))
		return;
	if (b->waiting && b->next) {
		b->waiting = false;
		b->state = API_RUNNING;
		extension_tell_invoke(b);
		give_event(b);
	}
	if (!b->ready_told) {
		b->ready_told = true;
		b->base.handler->on_ready(b->base.ctx);
	}
}

static void set(struct buf *b, struct str s)
{
	buf_clear(b);
	buf_append_str(b, s);
}

static void api_send(struct runtime *r, const struct runtime_event *ev)
{
	struct api_box *b = container_of(r, struct api_box, base);
	struct api_event *to = &b->event;

	check(!b->waiting && b->state != API_RUNNING);
	snprintf(to->request_id, sizeof(to->request_id), "%s", ev->request_id);
	snprintf(to->trace_id, sizeof(to->trace_id), "%s", ev->trace_id);
	to->deadline_ms = ev->deadline_ms;
	to->stream = ev->stream;
	set(&to->arn, str_from(ev->arn ? ev->arn : ""));
	set(&to->client_context, ev->client_context);
	set(&to->identity, ev->identity);
	set(&to->payload, ev->payload);
	b->waiting = true;
	api_advance(b);
}

/* --- the runtime's requests ------------------------------------------------------------------ */

/* Lambda knows types such as Runtime.ExitError and Function.Whatever; the rest is "Unknown". */
static struct str known_type(struct str type)
{
	struct str name = STR_NULL;

	if (str_has_prefix(type, "Runtime."))
		name = str_sub(type, strlen("Runtime."));
	else if (str_has_prefix(type, "Function."))
		name = str_sub(type, strlen("Function."));
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!((c >= 'A' && c <= 'Z') || (i && c >= 'a' && c <= 'z')))
			name = STR_NULL;
	}
	if (name.len && name.len < 64)
		return type;
	return str_has_prefix(type, "Runtime.") ? STR("Runtime.Unknown") : STR("Function.Unknown");
}

static struct str error_type(const struct http_request *r)
{
	return known_type(http_header(r, "Lambda-Runtime-Function-Error-Type"));
}

static void init_failed(struct api_box *b, struct http_request *r)
{
	_cleanup_buf_ struct buf body = r->body;
	struct str type = error_type(r);
	char copy[80];

	if (b->state != API_INIT) {
		refuse_transition(b, r, "InitError");
		body = (struct buf)BUF_INIT;
		return;
	}
	r->body = (struct buf)BUF_INIT;
	snprintf(copy, sizeof(copy), "%.*s", STR_FMT(type));
	b->state = API_FAILED;
	accept_it(r);
	b->base.handler->on_init_error(b->base.ctx, str_from(copy), buf_str(&body));
}

/* The event is done, one way or the other. b may be gone afterwards. */
static void answer_then(
    struct api_box *b, enum api_state state, bool is_error, struct str type, struct buf *body)
{
	char request_id[37];
	struct runtime_answer a = {
	    .request_id = request_id, .is_error = is_error, .error_type = type, .payload = body};

	memcpy(request_id, b->event.request_id, sizeof(request_id));
	memcpy(b->answered, request_id, sizeof(b->answered));
	b->state = state;
	b->upload = NULL;
	b->streaming = false;
	b->base.handler->on_answer(b->base.ctx, &a);
	buf_done(body);
}

static void answer(struct api_box *b, bool is_error, struct str type, struct buf *body)
{
	answer_then(b, API_ANSWERED, is_error, type, body);
}

/* An answer began to stream, its connection ended, and the runtime has turned to its next event. */
static void answer_truncated(struct api_box *b)
{
	const struct str type = STR("Runtime.TruncatedResponse");
	struct buf body = BUF_INIT;

	runtime_error_json(&body, type, STR("The connection ended before the answer did."));
	answer_then(b, API_IDLE, true, type, &body);
}

static void ask_next(struct api_box *b, struct http_request *r)
{
	bool cut = b->state == API_RUNNING && b->streaming && !b->upload;

	if ((b->state == API_RUNNING && !cut) || b->state == API_FAILED) {
		refuse_transition(b, r, "Ready");
		return;
	}
	/* A client that lost its connection asks again before we have noticed: the newer counts. */
	if (b->next)
		refuse_transition(b, take_ptr(b->next), "Ready");
	b->next = r;
	b->state = API_IDLE;
	if (cut)
		answer_truncated(b);
	else
		api_advance(b);
}

static void answer_too_large(struct api_box *b, struct http_request *r)
{
	struct buf body = BUF_INIT;

	api_reply_error(r, 413, "RequestEntityTooLarge",
	    "Exceeded maximum allowed payload size (6291556 bytes).");
	runtime_error_json(&body, STR(RUNTIME_TOO_LARGE_TYPE), STR(RUNTIME_TOO_LARGE_TEXT));
	answer(b, true, STR(RUNTIME_TOO_LARGE_TYPE), &body);
}

/* An answer for a function URL, streamed: JSON prelude, eight zero bytes, body. It becomes the
 * one object that a buffered answer would be. False if it is not of that shape. */
static bool join_prelude(struct buf *body)
{
	static const char zeros[8];
	struct str all = buf_str(body), prelude, rest;
	const char *cut = memmem(all.ptr, all.len, zeros, sizeof(zeros));
	struct buf joined = BUF_INIT;

	if (!cut)
		return false;
	prelude = str_trim((struct str){all.ptr, (size_t)(cut - all.ptr)});
	rest = str_sub(all, (size_t)(cut - all.ptr) + sizeof(zeros));
	if (prelude.len < 2 || prelude.ptr[0] != '{' || prelude.ptr[prelude.len - 1] != '}')
		return false;
	buf_append(&joined, prelude.ptr, prelude.len - 1);
	buf_puts(&joined, memchr(prelude.ptr, ':', prelude.len) ? "," : "");
	buf_puts(&joined, "\"isBase64Encoded\":true,\"body\":\"");
	buf_commit(&joined,
	    base64_encode(rest.ptr, rest.len, buf_reserve(&joined, BASE64_ENCODED_SIZE(rest.len))));
	buf_puts(&joined, "\"}");
	buf_done(body);
	*body = joined;
	return true;
}

static bool is_http_integration(const struct http_request *r)
{
	return str_has_prefix(
	    http_header(r, "Content-Type"), "application/vnd.awslambda.http-integration-response");
}

/* A runtime that fails while it streams says so behind the body. The error takes its place. */
static bool failed_in_trailers(const struct http_request *r, struct buf *body, struct str *ret_type)
{
	struct str type = http_trailer(r, "Lambda-Runtime-Function-Error-Type"), coded;
	char *text;
	ssize_t n;

	if (!type.ptr)
		return false;
	*ret_type = known_type(type);
	coded = http_trailer(r, "Lambda-Runtime-Function-Error-Body");
	text = arena_alloc(r->arena, coded.len + 1);
	n = base64_decode(coded, text);
	buf_clear(body);
	if (n > 0)
		buf_append(body, text, (size_t)n);
	else
		runtime_error_json(body, *ret_type, STR("The function failed while it streamed."));
	return true;
}

/* What has been collected is too large, or is no object but becomes one. */
static bool has_failed(const struct http_request *r, struct buf *body, struct str *ret_type)
{
	if (failed_in_trailers(r, body, ret_type))
		return true;
	if (!is_http_integration(r) || !join_prelude(body) || buf_len(body) <= FRAME_PAYLOAD_MAX)
		return false;
	*ret_type = STR(RUNTIME_TOO_LARGE_TYPE);
	buf_clear(body);
	runtime_error_json(body, *ret_type, STR(RUNTIME_TOO_LARGE_TEXT));
	return true;
}

static void take_answer(struct api_box *b, struct http_request *r, bool is_error)
{
	struct buf body = r->body;
	struct str type = is_error ? error_type(r) : STR("");
	char copy[80];

	if (buf_len(&body) > FRAME_PAYLOAD_MAX) {
		answer_too_large(b, r);
		return;
	}
	r->body = (struct buf)BUF_INIT;
	if (r->stream)
		is_error = failed_in_trailers(r, &body, &type);
	else if (!is_error)
		is_error = has_failed(r, &body, &type);
	snprintf(copy, sizeof(copy), "%.*s", STR_FMT(type));
	accept_it(r);
	answer(b, is_error, str_from(copy), &body);
}

static void take_piece(struct api_box *b, struct http_request *r, struct str data)
{
	if (!b->streaming) {
		b->streaming = true;
		b->base.handler->on_stream(b->base.ctx, http_header(r, "Content-Type"));
	}
	b->base.handler->on_piece(b->base.ctx, data);
}

static void api_pause(struct runtime *r, bool paused)
{
	struct api_box *b = container_of(r, struct api_box, base);

	if (b->upload && paused)
		http_request_pause(b->upload);
	else if (b->upload)
		http_request_resume(b->upload);
}

/* --- routes ----------------------------------------------------------------------------------- */

enum route {
	ROUTE_NONE,
	ROUTE_PING,
	ROUTE_NEXT,
	ROUTE_RESPONSE,
	ROUTE_ERROR,
	ROUTE_INIT_ERROR,
	ROUTE_RESTORE,
	ROUTE_EXTENSION,
	ROUTE_TELEMETRY,
	ROUTE_LOGS,
};

#define RUNTIME_BASE "/2018-06-01/runtime/"
#define EXTENSION_BASE "/2020-01-01/extension/"

static const struct {
	const char *path, *method;
	enum route route;
} routes[] = {
    {RUNTIME_BASE "invocation/next", "GET", ROUTE_NEXT},
    {RUNTIME_BASE "init/error", "POST", ROUTE_INIT_ERROR},
    {RUNTIME_BASE "restore/next", "GET", ROUTE_RESTORE},
    {RUNTIME_BASE "restore/error", "POST", ROUTE_RESTORE},
    {"/2018-06-01/ping", "GET", ROUTE_PING},
    {"/ping", "GET", ROUTE_PING},
    {"/2022-07-01/telemetry", "PUT", ROUTE_TELEMETRY},
    {"/2020-08-15/logs", "PUT", ROUTE_LOGS},
};

/* *ret_rest: the request id of an answer, or what follows /extension/. */
static enum route find_route(
    const struct http_request *r, struct str *ret_rest, bool *ret_path_known)
{
	struct str rest;

	*ret_path_known = true;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (str_is(r->path, routes[i].path))
			return str_is(r->method, routes[i].method) ? routes[i].route : ROUTE_NONE;
	if (str_has_prefix(r->path, EXTENSION_BASE)) {
		*ret_rest = str_sub(r->path, strlen(EXTENSION_BASE));
		return ROUTE_EXTENSION;
	}
	if (str_has_prefix(r->path, RUNTIME_BASE "invocation/")) {
		rest = str_sub(r->path, strlen(RUNTIME_BASE "invocation/"));
		*ret_rest = str_cut(&rest, '/');
		if (str_is(rest, "response") || str_is(rest, "error")) {
			if (!str_is(r->method, "POST"))
				return ROUTE_NONE;
			return rest.len == strlen("error") ? ROUTE_ERROR : ROUTE_RESPONSE;
		}
	}
	*ret_path_known = false;
	return ROUTE_NONE;
}

/* Before the body of an answer is read: is it one that may come now? */
static void admit_answer(struct api_box *b, struct http_request *r, enum route route, struct str id)
{
	struct str mode = http_header(r, "Lambda-Runtime-Function-Response-Mode");
	int64_t length = 0;
	bool known = *b->event.request_id && !b->waiting && str_is(id, b->event.request_id);
	/* A second answer is out of turn, whether or not the next event waits already. (An event
	 * that is tried again has the same id as before: then it is known.) */
	bool again = !known && *b->answered && str_is(id, b->answered);
	/* A stream that was cut can still be said to have failed. */
	bool busy = b->upload || (b->streaming && route != ROUTE_ERROR);

	if (!again && !known) {
		api_reply_error(r, 400, "InvalidRequestID", "Invalid request ID");
	} else if (again || b->state != API_RUNNING || busy) {
		refuse_transition(
		    b, r, route == ROUTE_ERROR ? "InvocationErrorResponse" : "InvocationResponse");
	} else if (mode.ptr && !str_eq_nocase(mode, STR("streaming"))) {
		api_reply_error(r, 400, "InvalidFunctionResponseMode",
		    "Invalid function response mode: the only value is 'streaming'");
	} else if (mode.ptr && b->event.stream && route == ROUTE_RESPONSE) {
		b->upload = r;
		r->stream = true;
		r->body_limit = UINT64_MAX; /* how much may be streamed is decided above */
	} else if (str_to_int64(http_header(r, "Content-Length"), 0, INT64_MAX, &length) &&
		   length > FRAME_PAYLOAD_MAX) {
		answer_too_large(b, r);
	} else {
		b->upload = r;
		r->body_limit = FRAME_PAYLOAD_MAX + BODY_SLACK;
	}
}

static void on_head(struct http_request *r)
{
	struct api_box *b = r->listener_ctx;
	struct str rest = STR_NULL;
	bool known;
	enum route route = find_route(r, &rest, &known);

	r->body_limit = route == ROUTE_INIT_ERROR ? BODY_INIT_ERROR : BODY_SMALL;
	if ((route == ROUTE_RESPONSE || route == ROUTE_ERROR) && !b->beside)
		admit_answer(b, r, route, rest);
}

/* A chunked answer tells its length only by coming. */
static void on_body(struct http_request *r, const void *data, size_t len)
{
	struct api_box *b = r->listener_ctx;

	if (r == b->upload && r->stream)
		take_piece(b, r, (struct str){data, len});
	else if (r == b->upload && buf_len(&r->body) > FRAME_PAYLOAD_MAX)
		answer_too_large(b, r);
}

static bool is_of_runtime(enum route route)
{
	return route == ROUTE_NEXT || route == ROUTE_RESPONSE || route == ROUTE_ERROR ||
	       route == ROUTE_INIT_ERROR;
}

static void on_request(struct http_request *r)
{
	struct api_box *b = r->listener_ctx;
	struct str rest = STR_NULL;
	bool known;
	enum route route = find_route(r, &rest, &known);

	if (b->beside && is_of_runtime(route)) {
		refuse_transition(b, r, "Ready");
		return;
	}
	switch (route) {
	case ROUTE_PING: http_reply(r, 200, NULL, 0, STR("pong")); break;
	case ROUTE_NEXT: ask_next(b, r); break;
	case ROUTE_RESPONSE:
	case ROUTE_ERROR: take_answer(b, r, route == ROUTE_ERROR); break;
	case ROUTE_INIT_ERROR: init_failed(b, r); break;
	case ROUTE_RESTORE: refuse_transition(b, r, "Restoring"); break;
	case ROUTE_EXTENSION: extension_request(b, r, rest); break;
	case ROUTE_TELEMETRY:
		api_reply(r, 202,
		    STR("{\"errorMessage\":\"Telemetry API is not supported\","
			"\"errorType\":\"Telemetry.NotSupported\"}\n"));
		break;
	case ROUTE_LOGS:
		api_reply(r, 202,
		    STR("{\"errorMessage\":\"Logs API is not supported\","
			"\"errorType\":\"Logs.NotSupported\"}\n"));
		break;
	case ROUTE_NONE:
		http_reply(r, known ? 405 : 404, NULL, 0,
		    known ? STR("405 method not allowed\n") : STR("404 page not found\n"));
	}
}

static void on_cancel(struct http_request *r)
{
	struct api_box *b = r->listener_ctx;

	if (r == b->next)
		b->next = NULL;
	else if (r == b->upload)
		b->upload = NULL; /* it may try again, unless it streams */
	else
		extension_cancel(b, r);
}

static const struct http_handler http_side = {on_head, on_body, on_request, on_cancel};

/* --- life ------------------------------------------------------------------------------------- */

struct ended {
	struct list node;
	struct http_server *server;
};

static void sweep(struct runtime_api *api)
{
	while (!list_empty(&api->ended)) {
		struct ended *e = list_first(&api->ended, struct ended, node);

		list_remove(&e->node);
		http_server_free(e->server);
		free(e);
	}
}

static void on_sweep(struct loop_task *t)
{
	sweep(container_of(t, struct runtime_api, sweep));
}

static void free_event(struct api_event *ev)
{
	buf_done(&ev->arn);
	buf_done(&ev->client_context);
	buf_done(&ev->identity);
	buf_done(&ev->payload);
}

static void api_free(struct runtime *r)
{
	struct api_box *b = container_of(r, struct api_box, base);
	struct ended *e = xcalloc(1, sizeof(*e));

	if (b->listener)
		http_listener_close(b->listener);
	e->server = b->server;
	list_push_back(&b->api->ended, &e->node);
	loop_defer(b->api->loop, &b->api->sweep);
	list_remove(&b->node);
	close(b->listen_fd);
	free_event(&b->event);
	buf_done(&b->shutdown);
	free(b->function);
	free(b->version);
	free(b->function_handler);
	free(b->account);
	free(b);
}

static const struct runtime_ops api_ops = {.free = api_free, .send = api_send, .pause = api_pause};

static int listen_again(struct api_box *b, struct err *e)
{
	int fd = fcntl(b->listen_fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return err_sys(e, errno, "duplicating the socket of the Runtime API");
	b->listener = http_listen(b->server, fd, b, e);
	return b->listener ? 0 : -EIO;
}

struct runtime *runtime_api_new(struct runtime_api *api, int listen_fd,
    const struct runtime_handler *h, void *ctx, struct err *e)
{
	struct api_box *b = xcalloc(1, sizeof(*b));

	b->base = (struct runtime){&api_ops, h, ctx};
	b->api = api;
	b->listen_fd = listen_fd;
	b->server = http_server_new(api->loop, &http_side, &box_limits);
	list_push_back(&api->boxes, &b->node);
	runtime_api_describe(&b->base, NULL, NULL, NULL, NULL);
	if (listen_again(b, e) < 0) {
		api_free(&b->base);
		return NULL;
	}
	return &b->base;
}

void runtime_api_reset(struct runtime *r)
{
	struct api_box *b = container_of(r, struct api_box, base);
	struct err e = ERR_INIT;

	check(r->ops == &api_ops);
	if (b->listener)
		http_listener_close(b->listener);
	b->listener = NULL;
	b->next = b->upload = NULL;
	b->state = API_INIT;
	b->waiting = b->streaming = false;
	b->ready_told = b->beside;
	b->extension_count = 0;
	buf_clear(&b->shutdown);
	b->event.request_id[0] = b->answered[0] = '\0';
	if (listen_again(b, &e) < 0)
		b->base.handler->on_broken(b->base.ctx, e.msg);
}

void runtime_api_beside(struct runtime *r)
{
	struct api_box *b = container_of(r, struct api_box, base);

	check(r->ops == &api_ops);
	b->beside = b->ready_told = true;
}

void runtime_api_init_done(struct runtime *r)
{
	container_of(r, struct api_box, base)->state = API_IDLE;
}

static void replace(char **s, const char *with)
{
	free(*s);
	*s = xstrdup(with ? with : "");
}

void runtime_api_describe(struct runtime *r, const char *function, const char *version,
    const char *handler, const char *account)
{
	struct api_box *b = container_of(r, struct api_box, base);

	check(r->ops == &api_ops);
	replace(&b->function, function);
	replace(&b->version, version);
	replace(&b->function_handler, handler);
	replace(&b->account, account);
}

struct runtime_api *runtime_api_open(struct loop *l)
{
	struct runtime_api *api = xcalloc(1, sizeof(*api));

	api->loop = l;
	list_init(&api->boxes);
	list_init(&api->ended);
	list_init(&api->sweep.node);
	api->sweep.run = on_sweep;
	return api;
}

void runtime_api_close(struct runtime_api *api)
{
	if (!api)
		return;
	check(list_empty(&api->boxes));
	loop_task_cancel(&api->sweep);
	sweep(api);
	free(api);
}
