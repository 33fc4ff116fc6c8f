/*
 * InvokeWithResponseStream: what a function writes goes out as events while it runs, and the last
 * event tells how it ended. A function that does not stream gives one event with all it answered.
 * Nothing is sent before the first byte, so that what cannot run is still an error. Loop thread.
 */
#include "service/lambda/invoke_int.h"

#define WAITING_MAX 262144 /* bytes that wait for the client before the function has to */

struct streaming {
	struct call *call;
	struct invocation *invocation;
	bool started, paused;
};

static void gone(struct call *c)
{
	struct streaming *s = c->user;

	invocation_forget(s->invocation);
	free(s);
}

static void on_drain(struct call *c)
{
	struct streaming *s = c->user;

	if (!s->paused)
		return;
	s->paused = false;
	invocation_pause(s->invocation, false);
}

static void start(struct streaming *s)
{
	struct lambda_invoke_with_response_stream_out *out = s->call->out;

	if (s->started)
		return;
	s->started = true;
	out->status_code = call_int(s->call, 200);
	call_stream_start(s->call, on_drain);
}

static void on_stream(void *ctx, struct str content_type)
{
	(void)ctx;
	(void)content_type; /* the type of the answer is that of event streams */
}

static void on_piece(void *ctx, struct str data)
{
	struct streaming *s = ctx;
	size_t waiting;

	if (!data.len)
		return;
	start(s);
	waiting = call_stream_event(s->call, "PayloadChunk", "application/octet-stream", data);
	if (waiting < WAITING_MAX || s->paused)
		return;
	s->paused = true;
	invocation_pause(s->invocation, true);
}

static void put_member(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s\"%s\":", buf_len(b) ? "," : "{", name);
	buf_json_string(b, value);
}

static void complete(struct streaming *s, const struct invoke_result *result)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (result->outcome != INVOKE_OK) {
		put_member(&b, "ErrorCode", STR("Unhandled"));
		put_member(
		    &b, "ErrorDetails", result->payload ? buf_str(result->payload) : STR(""));
	}
	if (result->tail.ptr)
		put_member(&b, "LogResult", str_from(lambda_tail_text(s->call, result->tail)));
	buf_puts(&b, buf_len(&b) ? "}" : "{}");
	call_stream_event(s->call, "InvokeComplete", "application/json", buf_str(&b));
}

static void on_done(void *ctx, struct invoke_result *result)
{
	struct streaming *s = ctx;
	struct call *c = s->call;
	struct err e = ERR_INIT;

	if (result->outcome == INVOKE_NO_BOX) {
		free(s);
		call_reply(c, lambda_no_box(c, result, &e), &e);
		return;
	}
	if (result->outcome == INVOKE_OK && !result->streamed && result->payload) {
		start(s);
		call_stream_event(
		    c, "PayloadChunk", "application/octet-stream", buf_str(result->payload));
	}
	start(s);
	complete(s, result);
	free(s);
	call_stream_end(c);
}

static int run(struct call *c, const struct lambda_invoke_with_response_stream_in *in,
    const struct ref *ref, const struct version *v, struct buf *payload, struct err *e)
{
	struct lambda *l = c->ctx;
	struct lambda_invoke_with_response_stream_out *out = c->out;
	struct streaming *s;
	enum invoke_refusal refusal;
	struct invoke_request q = {.version = v->run,
	    .kind = METER_SYNC,
	    .arn = ref_arn(c, ref),
	    .tail = in->log_type && strcmp(in->log_type, "Tail") == 0,
	    .on_stream = on_stream,
	    .on_piece = on_piece,
	    .done = on_done};
	int r = lambda_decode_context(c, in->client_context, &q.client_context, e);

	if (r < 0)
		return r;
	memcpy(q.request_id, c->request_id, sizeof(q.request_id));
	lambda_take_trace(c, q.trace_id);
	q.payload = *payload;
	*payload = (struct buf)BUF_INIT;
	q.ctx = s = xcalloc(1, sizeof(*s));
	s->call = c;
	refusal = invoke_start(l->o.invoke, &q, &s->invocation);
	if (refusal != INVOKE_ACCEPTED) {
		free(s);
		return lambda_throttled(c, refusal, e);
	}
	out->executed_version = call_str(c, invoke_version_name(v->run));
	c->user = s;
	call_on_stop(c, gone);
	return CALL_PENDING;
}

static int dispatch(struct call *c, const void *input, struct buf *payload,
    const struct checked *known, struct err *e)
{
	const struct lambda_invoke_with_response_stream_in *in = input;
	struct lambda_invoke_with_response_stream_out *out = c->out;
	struct version *v;
	struct ref ref;
	int r = lambda_find_runnable(c, in->function_name, in->qualifier, &ref, &v, e);

	if (r == 0)
		r = lambda_refuse_tenant(in->tenant_id, e);
	if (r == 0)
		r = lambda_check_payload(c, payload, known, e);
	if (r < 0)
		return r;
	if (in->invocation_type && strcmp(in->invocation_type, "DryRun") == 0) {
		out->status_code = call_int(c, 204);
		return 0;
	}
	return run(c, in, &ref, v, payload, e);
}

int lambda_invoke_with_response_stream(struct call *c,
    const struct lambda_invoke_with_response_stream_in *in,
    struct lambda_invoke_with_response_stream_out *out, struct err *e)
{
	(void)out;
	return lambda_with_body(c, in, dispatch, e);
}
