/*
 * Invoke and InvokeAsync: from a call to the invoke path and back. The payload is looked at only
 * to see that it is JSON. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "service/lambda/invoke_int.h"

#define EVENT_MAX 1048576
#define CHECK_HERE_MAX 262144 /* larger payloads are checked by a worker */
#define CLIENT_CONTEXT_MAX 3583

struct running {
	struct call *call; /* events only: NULL once the client has gone */
	struct invocation *invocation;
	struct buf payload;
	bool old; /* InvokeAsync */
};

struct checked {
	struct loop_work work;
	struct call *call; /* NULL once the client has gone */
	const void *in;
	lambda_dispatch *dispatch;
	struct buf payload;
	bool ok;
	size_t at;
};

/* ---- what is to be run ---- */

static int check_caller(
    struct call *c, const struct ref *ref, const struct function *f, struct err *e)
{
	const struct caller who = {.action = "lambda:InvokeFunction", .principal = &c->principal};

	if (strcmp(ref->account, c->account) == 0 ||
	    (f && function_allows(f, ref->qualifier, &who)))
		return 0;
	return call_fail(c, e, AWS_ACCESS_DENIED,
	    "User: %s is not authorized to perform: lambda:InvokeFunction on resource: %s because "
	    "no resource-based policy allows the lambda:InvokeFunction action",
	    c->principal.arn, ref_arn(c, ref));
}

static int not_runnable(const struct version *v, struct err *e)
{
	const char *code = NULL, *reason = NULL, *state = version_state(v, &code, &reason);

	if (code && strcmp(code, "InvalidRuntime") == 0)
		return fail(e, LAMBDA_INVALID_RUNTIME_EXCEPTION,
		    "Runtime %s is not installed on this server any more: install it and restart "
		    "the server, or change the function's Runtime.",
		    doc_str(v->doc, "Runtime"));
	return fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
	    "The operation cannot be performed at this time. The function is currently in the "
	    "following state: %s",
	    state);
}

int lambda_find_runnable(struct call *c, const char *function_name, const char *qualifier,
    struct ref *ref, struct version **ret, struct err *e)
{
	struct function *f;
	struct version *v;
	int r = ref_resolve(c, function_name, qualifier, ref, e);

	if (r < 0)
		return r;
	f = function_find(
	    c->ctx, str_from(ref->account), str_from(ref->region), str_from(ref->name));
	r = check_caller(c, ref, f, e);
	if (r < 0)
		return r;
	v = f ? version_to_run(f, ref->qualifier, rand_u64()) : NULL;
	if (!v)
		return ref_not_found(c, ref, e);
	*ret = v;
	return v->run ? 0 : not_runnable(v, e);
}

/* ---- what it is given ---- */

int lambda_check_payload(
    struct call *c, struct buf *payload, const struct checked *known, struct err *e)
{
	size_t at = known ? known->at : 0;

	if (!buf_len(payload)) {
		buf_puts(payload, "{}");
		return 0;
	}
	if (known ? known->ok : json_check(buf_str(payload), &at))
		return 0;
	return call_fail(c, e, LAMBDA_INVALID_REQUEST_CONTENT_EXCEPTION,
	    "Could not parse request body into json: Could not parse payload into json: "
	    "unexpected input at byte %zu of %zu",
	    at, buf_len(payload));
}

static int check_size(const struct buf *payload, size_t max, struct err *e)
{
	if (buf_len(payload) <= max)
		return 0;
	return fail(e, LAMBDA_REQUEST_TOO_LARGE_EXCEPTION,
	    "Request must be smaller than %zu bytes for the InvokeFunction operation", max);
}

int lambda_decode_context(struct call *c, const char *text, struct str *ret, struct err *e)
{
	struct str in = str_from(text);
	char *out;
	ssize_t n;
	size_t at;

	if (!text || !in.len)
		return 0;
	if (in.len > CLIENT_CONTEXT_MAX)
		return fail(e, LAMBDA_INVALID_REQUEST_CONTENT_EXCEPTION,
		    "Client context must be at most %d bytes of base64.", CLIENT_CONTEXT_MAX);
	out = arena_alloc(c->arena, in.len);
	n = base64_decode(in, out);
	if (n < 0 || !json_check((struct str){out, (size_t)n}, &at))
		return fail(e, LAMBDA_INVALID_REQUEST_CONTENT_EXCEPTION,
		    "Client context must be a valid Base64-encoded JSON object.");
	*ret = (struct str){out, (size_t)n};
	return 0;
}

void lambda_take_trace(struct call *c, char out[INVOKE_TRACE_SIZE])
{
	struct str sent = http_header(c->http, "X-Amzn-Trace-Id");

	if (sent.len && sent.len < INVOKE_TRACE_SIZE && utf8_valid(sent)) {
		memcpy(out, sent.ptr, sent.len);
		out[sent.len] = 0;
	} else {
		invoke_trace_id(out);
	}
	call_header(c, "X-Amzn-Trace-Id", out);
}

/* ---- events ---- */

static void event_gone(struct call *c)
{
	struct running *rn = c->user;

	rn->call = NULL;
}

static void event_done(void *ctx, int result)
{
	struct running *rn = ctx;
	struct call *c = rn->call;
	struct err e = ERR_INIT;
	int r = 0;

	if (result < 0) {
		log_error("an event could not be written: %s", strerror(-result));
		r = fail(&e, LAMBDA_SERVICE_EXCEPTION,
		    "The event could not be written and will not run: %s.", strerror(-result));
	} else if (c && rn->old) {
		((struct lambda_invoke_async_out *)c->out)->status = call_int(c, 202);
	} else if (c) {
		((struct lambda_invoke_out *)c->out)->status_code = call_int(c, 202);
	}
	buf_done(&rn->payload);
	free(rn);
	if (c)
		call_reply(c, r, &e);
}

static int send_event(struct call *c, const struct ref *ref, struct buf *payload, bool old)
{
	struct lambda *l = c->ctx;
	struct running *rn = xcalloc(1, sizeof(*rn));
	struct invoke_event ev = {.account = str_from(ref->account),
	    .region = str_from(ref->region),
	    .name = str_from(ref->name),
	    .qualifier = ref->qualifier ? str_from(ref->qualifier) : STR(""),
	    .arn = ref_arn(c, ref),
	    .payload = buf_str(payload)};

	memcpy(ev.request_id, c->request_id, sizeof(ev.request_id));
	lambda_take_trace(c, ev.trace_id);
	rn->call = c;
	rn->old = old;
	rn->payload = *payload;
	*payload = (struct buf)BUF_INIT;
	c->user = rn;
	call_on_stop(c, event_gone);
	invoke_event(l->o.invoke, &ev, event_done, rn);
	return CALL_PENDING;
}

/* ---- requests ---- */

static void request_gone(struct call *c)
{
	struct running *rn = c->user;

	/* done() does not come any more. */
	invocation_forget(rn->invocation);
	free(rn);
}

const char *lambda_tail_text(struct call *c, struct str tail)
{
	char *out = arena_alloc(c->arena, BASE64_ENCODED_SIZE(tail.len));

	base64_encode(tail.ptr, tail.len, out);
	return out;
}

int lambda_no_box(struct call *c, const struct invoke_result *result, struct err *e)
{
	return fail(e, LAMBDA_SERVICE_EXCEPTION, "%.200s",
	    result->payload && buf_len(result->payload)
		? call_strn(c, buf_str(result->payload))
		: "No box could be made for the function: see the server's log.");
}

static void on_done(void *ctx, struct invoke_result *result)
{
	struct call *c = ctx;
	struct lambda_invoke_out *out = c->out;
	struct running *rn = c->user;
	struct err e = ERR_INIT;

	free(rn);
	if (result->outcome == INVOKE_NO_BOX) {
		call_reply(c, lambda_no_box(c, result, &e), &e);
		return;
	}
	out->status_code = call_int(c, 200);
	out->executed_version = call_str(c, result->version);
	if (result->outcome != INVOKE_OK)
		out->function_error = "Unhandled";
	if (result->tail.ptr)
		out->log_result = lambda_tail_text(c, result->tail);
	out->payload = call_blob(c, buf_str(result->payload));
	call_reply(c, 0, NULL);
}

int lambda_throttled(struct call *c, enum invoke_refusal refusal, struct err *e)
{
	if (refusal == INVOKE_RECURSIVE)
		return fail(e, LAMBDA_RECURSIVE_INVOCATION_EXCEPTION, LAMBDA_LOOP_TEXT);
	call_error_member(c, "Reason",
	    refusal == INVOKE_RESERVED_FULL ? "ReservedFunctionConcurrentInvocationLimitExceeded"
					    : "ConcurrentInvocationLimitExceeded");
	call_error_member(c, "retryAfterSeconds", "1");
	return fail(e, LAMBDA_TOO_MANY_REQUESTS_EXCEPTION, "Rate Exceeded.");
}

static int run(struct call *c, const struct lambda_invoke_in *in, const struct ref *ref,
    const struct version *v, struct buf *payload, struct err *e)
{
	struct lambda *l = c->ctx;
	struct running *rn;
	enum invoke_refusal refusal;
	struct invoke_request q = {.version = v->run,
	    .kind = METER_SYNC,
	    .arn = ref_arn(c, ref),
	    .tail = in->log_type && strcmp(in->log_type, "Tail") == 0,
	    .done = on_done,
	    .ctx = c};
	int r = lambda_decode_context(c, in->client_context, &q.client_context, e);

	if (r < 0)
		return r;
	memcpy(q.request_id, c->request_id, sizeof(q.request_id));
	lambda_take_trace(c, q.trace_id);
	q.payload = *payload;
	*payload = (struct buf)BUF_INIT;
	rn = xcalloc(1, sizeof(*rn));
	refusal = invoke_start(l->o.invoke, &q, &rn->invocation);
	if (refusal != INVOKE_ACCEPTED) {
		free(rn);
		return lambda_throttled(c, refusal, e);
	}
	c->user = rn;
	call_on_stop(c, request_gone);
	return CALL_PENDING;
}

int lambda_refuse_tenant(const char *tenant_id, struct err *e)
{
	if (tenant_id)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The function does not isolate tenants: leave X-Amz-Tenant-Id out.");
	return 0;
}

static int check_options(const struct lambda_invoke_in *in, struct err *e)
{
	if (in->durable_execution_name)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Durable executions are not supported by this server: leave "
		    "X-Amz-Durable-Execution-Name out.");
	return lambda_refuse_tenant(in->tenant_id, e);
}

static int dispatch(struct call *c, const void *input, struct buf *payload,
    const struct checked *known, struct err *e)
{
	const struct lambda_invoke_in *in = input;
	const char *type = in->invocation_type ? in->invocation_type : "RequestResponse";
	struct lambda_invoke_out *out = c->out;
	struct version *v;
	struct ref ref;
	int r = lambda_find_runnable(c, in->function_name, in->qualifier, &ref, &v, e);

	if (r == 0)
		r = check_options(in, e);
	if (r == 0 && strcmp(type, "Event") == 0)
		r = check_size(payload, EVENT_MAX, e);
	if (r == 0)
		r = lambda_check_payload(c, payload, known, e);
	if (r < 0)
		return r;
	if (strcmp(type, "DryRun") == 0) {
		out->status_code = call_int(c, 204);
		return 0;
	}
	if (strcmp(type, "Event") == 0)
		return send_event(c, &ref, payload, false);
	return run(c, in, &ref, v, payload, e);
}

/* ---- large payloads ---- */

static void check_work(struct loop_work *w)
{
	struct checked *k = container_of(w, struct checked, work);

	k->ok = json_check(buf_str(&k->payload), &k->at);
}

static void check_gone(struct call *c)
{
	struct checked *k = c->user;

	k->call = NULL;
}

static void check_done(struct loop_work *w)
{
	struct checked *k = container_of(w, struct checked, work);
	struct call *c = k->call;
	struct err e = ERR_INIT;
	int r;

	if (c) {
		c->user = NULL;
		r = k->dispatch(c, k->in, &k->payload, k, &e);
		if (r != CALL_PENDING)
			call_reply(c, r, &e);
	}
	buf_done(&k->payload);
	free(k);
}

static int check_elsewhere(
    struct call *c, const void *in, lambda_dispatch *then, struct buf *payload)
{
	struct lambda *l = c->ctx;
	struct checked *k = xcalloc(1, sizeof(*k));

	k->call = c;
	k->in = in;
	k->dispatch = then;
	k->payload = *payload;
	*payload = (struct buf)BUF_INIT;
	k->work.run = check_work;
	k->work.done = check_done;
	c->user = k;
	call_on_stop(c, check_gone);
	loop_work_start(l->o.loop, &k->work);
	return CALL_PENDING;
}

int lambda_with_body(struct call *c, const void *in, lambda_dispatch *then, struct err *e)
{
	_cleanup_buf_ struct buf payload = call_take_body(c);

	if (buf_len(&payload) > CHECK_HERE_MAX)
		return check_elsewhere(c, in, then, &payload);
	return then(c, in, &payload, NULL, e);
}

/* ---- operations ---- */

int lambda_invoke(
    struct call *c, const struct lambda_invoke_in *in, struct lambda_invoke_out *out, struct err *e)
{
	(void)out;
	return lambda_with_body(c, in, dispatch, e);
}

/* At most 256 KiB come by this way: see model/limits.json. */
int lambda_invoke_async(struct call *c, const struct lambda_invoke_async_in *in,
    struct lambda_invoke_async_out *out, struct err *e)
{
	_cleanup_buf_ struct buf payload = call_take_body(c);
	struct version *v;
	struct ref ref;
	int r = lambda_find_runnable(c, in->function_name, NULL, &ref, &v, e);

	(void)out;
	if (r == 0)
		r = lambda_check_payload(c, &payload, NULL, e);
	return r < 0 ? r : send_event(c, &ref, &payload, true);
}
