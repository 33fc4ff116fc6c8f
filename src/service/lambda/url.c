/* Function URLs. See url.h. Loop thread. */
#include "service/lambda/url.h"

#include <stdio.h>

#include "aws/aws.h"
#include "base/rand.h"
#include "base/time.h"
#include "service/lambda/invoke_int.h"
#include "service/lambda/url_answer.h"
#include "service/lambda/url_event.h"
#include "service/lambda/url_int.h"

#define BODY_MAX (6 * 1024 * 1024)
#define BODY_UNWANTED (64 * 1024)

/* What is before ".lambda-url." in a host name; none for other hosts. */
static struct str host_id(struct str host)
{
	static const char mark[] = ".lambda-url.";
	const char *at = host.len ? memmem(host.ptr, host.len, mark, sizeof(mark) - 1) : NULL;

	return at ? (struct str){host.ptr, (size_t)(at - host.ptr)} : STR_NULL;
}

bool url_is_host(struct str host)
{
	return host_id(host).ptr;
}

/* Which URL, and the path that the function sees. */
static struct str find_id(const struct http_request *r, struct str *ret_path)
{
	struct str id = host_id(http_header(r, "host")), rest;

	if (id.ptr) {
		*ret_path = r->path;
		return id;
	}
	rest = str_sub(r->path, strlen(URL_PATH_PREFIX));
	id = str_cut(&rest, '/');
	/* The slash before the rest belongs to it. */
	*ret_path = rest.ptr ? (struct str){rest.ptr - 1, rest.len + 1} : STR("/");
	return id;
}

void url_reply_message(struct http_request *r, unsigned status, const char *type,
    const char *message, const char *request_id)
{
	struct http_header headers[3] = {{STR("content-type"), STR("application/json")},
	    {STR("x-amzn-ErrorType"), str_from(type)},
	    {STR("x-amzn-RequestId"), str_from(request_id)}};
	_cleanup_buf_ struct buf body = BUF_INIT;

	buf_puts(&body, "{\"Message\":");
	buf_json_string(&body, str_from(message));
	buf_putc(&body, '}');
	http_reply(r, status, headers, 3, buf_str(&body));
}

/* ---- CORS: the platform's business, the function does not see preflights ---- */

static bool listed(const char *const *list, size_t count, struct str value)
{
	for (size_t i = 0; i < count; i++) {
		const char *star = strchr(list[i], '*');
		size_t before;

		if (!star && str_eq_nocase(str_from(list[i]), value))
			return true;
		if (!star)
			continue;
		/* One wildcard, as in https: *.example.com. */
		before = (size_t)(star - list[i]);
		if (value.len >= strlen(list[i]) - 1 && memcmp(value.ptr, list[i], before) == 0 &&
		    str_has_suffix(value, star + 1))
			return true;
	}
	return false;
}

static struct str join(struct arena *a, const char *const *list, size_t count)
{
	struct buf b = BUF_INIT;
	struct str all;

	for (size_t i = 0; i < count; i++) {
		buf_puts(&b, i ? "," : "");
		buf_puts(&b, list[i]);
	}
	all = arena_str(a, buf_str(&b));
	buf_done(&b);
	return all;
}

static void put(struct url_call *u, struct str name, struct str value)
{
	u->cors[u->cors_count++] = (struct http_header){name, value};
}

/* Headers that every reply to this request carries. */
static void make_cors(struct url_call *u, const struct url_cors *c, bool preflight)
{
	struct arena *a = u->r->arena;
	struct str origin = http_header(u->r, "origin");

	if (!c || !origin.len || !listed(c->origins, c->origin_count, origin))
		return;
	u->cors = arena_array(a, 8, struct http_header);
	put(u, STR("access-control-allow-origin"), origin);
	put(u, STR("vary"), STR("Origin"));
	if (c->credentials)
		put(u, STR("access-control-allow-credentials"), STR("true"));
	if (c->expose_count)
		put(u, STR("access-control-expose-headers"), join(a, c->expose, c->expose_count));
	if (!preflight)
		return;
	if (c->method_count)
		put(u, STR("access-control-allow-methods"), join(a, c->methods, c->method_count));
	if (c->header_count)
		put(u, STR("access-control-allow-headers"), join(a, c->headers, c->header_count));
	if (c->max_age_s >= 0)
		put(u, STR("access-control-max-age"),
		    str_from(arena_printf(a, "%" PRId64, c->max_age_s)));
}

static bool is_preflight(const struct http_request *r)
{
	return str_is(r->method, "OPTIONS") && http_header(r, "origin").len &&
	       http_header(r, "access-control-request-method").len;
}

/* ---- the answer ---- */

/* Loop thread only: static saves clearing kilobytes a request. */
struct http_header *url_reply_headers(const struct url_call *u, const struct url_answer *a,
    struct str default_type, size_t *ret_count)
{
	static struct http_header headers[URL_REPLY_HEADERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < a->header_count; i++) {
		/* The platform's CORS headers win over the function's. */
		struct str prefix = {a->headers[i].name.ptr, 15};

		if (u->cors_count && a->headers[i].name.len > 15 &&
		    str_eq_nocase(prefix, STR("access-control-")))
			continue;
		headers[n++] = a->headers[i];
	}
	if (!a->has_content_type)
		headers[n++] = (struct http_header){STR("Content-Type"), default_type};
	for (size_t i = 0; i < u->cors_count; i++)
		headers[n++] = u->cors[i];
	headers[n++] = (struct http_header){STR("x-amzn-RequestId"), {u->request_id, 36}};
	*ret_count = n;
	return headers;
}

static void reply_answer(struct url_call *u, struct str payload)
{
	static struct url_answer a;
	const struct http_header *headers;
	size_t n;

	if (url_answer_parse(u->r->arena, payload, &a) < 0) {
		url_reply_message(u->r, 502, "BadGatewayException",
		    "The function's answer is no valid HTTP reply: statusCode must be 100 to 599, "
		    "body a string, and base64 if isBase64Encoded is true.",
		    u->request_id);
		return;
	}
	headers = url_reply_headers(u, &a, STR("application/json"), &n);
	http_reply(u->r, a.status, headers, n, a.body);
}

void url_reply_failed(struct url_call *u, enum invoke_outcome outcome)
{
	if (outcome == INVOKE_NO_BOX)
		url_reply_message(u->r, 503, "ServiceUnavailableException",
		    "No box could be made for the function: see the server's log.", u->request_id);
	else
		url_reply_message(
		    u->r, 502, "InternalServerError", "Internal Server Error", u->request_id);
}

static void on_done(void *ctx, struct invoke_result *result)
{
	struct url_call *u = ctx;

	if (result->outcome == INVOKE_OK)
		reply_answer(u, buf_str(result->payload));
	else
		url_reply_failed(u, result->outcome);
}

/* ---- the request ---- */

/* Who signs is told what is wrong with it; who does not, nothing. */
static void refuse(struct http_request *r, const struct err *e, const char *request_id)
{
	const char *type = e->code == AWS_BAD_SIGNATURE ? "InvalidSignatureException"
			   : e->code == AWS_UNKNOWN_KEY ? "UnrecognizedClientException"
							: "AccessDeniedException";

	url_reply_message(
	    r, 403, type, e->code == AWS_MISSING_AUTH ? "Forbidden" : e->msg, request_id);
}

static bool allowed(struct lambda *l, struct http_request *r, struct str id,
    const struct url_route *route, struct aws_principal *who, const char *request_id)
{
	struct err e = ERR_INIT;
	const struct aws_principal *caller = NULL;

	if (route->iam) {
		if (aws_authenticate(url_config_engine(l), r, "lambda", route->region, who, &e) <
		    0) {
			refuse(r, &e, request_id);
			return false;
		}
		caller = who;
	}
	if (url_config_allows(l, id, caller))
		return true;
	url_reply_message(r, 403, "AccessDeniedException",
	    "Forbidden. For troubleshooting Function URL authorization issues, see: "
	    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
	    request_id);
	return false;
}

static void start(struct lambda *l, struct url_call *u, const struct url_route *route,
    const struct aws_principal *caller, struct str path)
{
	struct http_request *r = u->r;
	struct str trace = http_header(r, "x-amzn-trace-id");
	struct invoke_request q = {.version = route->version,
	    .kind = METER_URL,
	    .arn = route->arn,
	    .on_stream = route->stream ? url_stream_begin : NULL,
	    .on_piece = route->stream ? url_stream_piece : NULL,
	    .done = route->stream ? url_stream_done : on_done,
	    .ctx = u};
	struct str host = http_header(r, "host");
	struct url_context c = {.id = route->id,
	    .domain = str_cut(&host, ':'),
	    .path = path,
	    .request_id = u->request_id,
	    .now_ms = time_wall_ms(),
	    .caller = caller};
	enum invoke_refusal refusal;

	memcpy(q.request_id, u->request_id, sizeof(q.request_id));
	if (trace.len && trace.len < sizeof(q.trace_id) && utf8_valid(trace))
		memcpy(q.trace_id, trace.ptr, trace.len);
	else
		invoke_trace_id(q.trace_id);
	c.trace_id = q.trace_id;
	url_event_build(&q.payload, r, &c);
	refusal = invoke_start(url_config_invoke(l), &q, &u->invocation);
	if (refusal == INVOKE_RECURSIVE)
		url_reply_message(
		    r, 400, "RecursiveInvocationException", LAMBDA_LOOP_TEXT, u->request_id);
	else if (refusal != INVOKE_ACCEPTED)
		url_reply_message(
		    r, 429, "TooManyRequestsException", "Rate Exceeded.", u->request_id);
}

/* Anybody may send these: no more is taken in than a function that is there can take. */
void url_on_head(struct lambda *l, struct http_request *r)
{
	struct url_route route;
	struct str path;

	r->body_limit =
	    url_config_route(l, find_id(r, &path), &route) < 0 ? BODY_UNWANTED : BODY_MAX;
}

void url_on_request(struct lambda *l, struct http_request *r)
{
	struct url_call *u = arena_new(r->arena, struct url_call);
	struct aws_principal who;
	struct url_route route;
	struct str path, id = find_id(r, &path);
	int found = url_config_route(l, id, &route);

	rand_uuid(u->request_id);
	if (found == -ENOENT) {
		url_reply_message(r, 404, "ResourceNotFoundException", "Not Found", u->request_id);
		return;
	}
	if (found < 0) {
		url_reply_message(r, 503, "ServiceUnavailableException",
		    "The function is not active: see its State.", u->request_id);
		return;
	}
	u->r = r;
	r->user = u;
	make_cors(u, route.cors, is_preflight(r));
	if (route.cors && is_preflight(r)) {
		http_reply(r, 200, u->cors, u->cors_count, STR_NULL);
		return;
	}
	if (allowed(l, r, id, &route, &who, u->request_id))
		start(l, u, &route, route.iam ? &who : NULL, path);
}

void url_on_cancel(struct http_request *r)
{
	struct url_call *u = r->user;

	if (u && u->invocation) {
		invocation_forget(u->invocation);
		url_stream_cancel(u);
	}
}
