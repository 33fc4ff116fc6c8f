/*
 * Function URLs with InvokeMode RESPONSE_STREAM: what the function writes goes to the client as it
 * comes. A function that wants to say status and headers sends them first, as JSON with eight zero
 * bytes behind it, under a content type of its own. Nothing is sent before the first byte of the
 * body, so a function that fails until then is still a 502; later the connection breaks. Loop
 * thread.
 */
#include "service/lambda/url_int.h"

#define PRELUDE_TYPE "application/vnd.awslambda.http-integration-response"
#define PRELUDE_MAX 65536
#define MARK_SIZE 8
#define WAITING_MAX 262144 /* bytes that wait for the client before the function has to */

static void on_drain(struct http_request *r)
{
	struct url_call *u = r->user;

	if (!u->paused)
		return;
	u->paused = false;
	invocation_pause(u->invocation, false);
}

static void start(struct url_call *u, const struct url_answer *a, struct str type)
{
	size_t n;
	const struct http_header *headers = url_reply_headers(u, a, type, &n);

	u->phase = URL_SENDS;
	http_reply_start(u->r, a->status, headers, n, -1, on_drain);
}

static void send(struct url_call *u, struct str data)
{
	if (http_reply_data(u->r, data) < WAITING_MAX || u->paused)
		return;
	u->paused = true;
	invocation_pause(u->invocation, true);
}

void url_stream_begin(void *ctx, struct str content_type)
{
	struct url_call *u = ctx;
	struct url_answer a = {.status = 200};

	if (str_has_prefix(content_type, PRELUDE_TYPE))
		u->phase = URL_PRELUDE;
	else
		start(u, &a, content_type.len ? content_type : STR("application/octet-stream"));
}

/* The function does not keep to the form. It runs on; nobody listens. */
static void refuse(struct url_call *u, const char *why)
{
	invocation_forget(u->invocation);
	buf_done(&u->prelude);
	url_reply_message(u->r, 502, "BadGatewayException", why, u->request_id);
}

static void take_prelude(struct url_call *u, struct str data)
{
	static struct url_answer a;
	static const char mark[MARK_SIZE];
	struct buf *b = &u->prelude;
	/* The mark may have begun in the piece before. */
	size_t from = buf_len(b) < MARK_SIZE ? 0 : buf_len(b) - MARK_SIZE + 1;
	const char *at;
	size_t len;

	buf_append_str(b, data);
	at = memmem(buf_data(b) + from, buf_len(b) - from, mark, MARK_SIZE);
	len = at ? (size_t)(at - buf_data(b)) : buf_len(b);
	if (len > PRELUDE_MAX) {
		refuse(u, "The status and headers that the function sent are longer than 64 KiB.");
		return;
	}
	if (!at)
		return;
	if (url_prelude_parse(u->r->arena, (struct str){buf_data(b), len}, &a) < 0) {
		refuse(u,
		    "What the function sent before its body is no JSON object with statusCode, "
		    "headers and cookies.");
		return;
	}
	start(u, &a, STR("application/octet-stream"));
	buf_consume(b, len + MARK_SIZE);
	if (buf_len(b))
		send(u, buf_str(b));
	buf_done(b);
}

void url_stream_piece(void *ctx, struct str data)
{
	struct url_call *u = ctx;

	if (u->phase == URL_PRELUDE)
		take_prelude(u, data);
	else if (data.len)
		send(u, data);
}

/* The function answered whole: that is the body. */
static void reply_whole(struct url_call *u, struct str payload)
{
	struct url_answer a = {.status = 200};
	size_t n;
	const struct http_header *headers = url_reply_headers(u, &a, STR("application/json"), &n);

	http_reply(u->r, 200, headers, n, payload);
}

void url_stream_done(void *ctx, struct invoke_result *result)
{
	struct url_call *u = ctx;
	bool fine = result->outcome == INVOKE_OK;

	buf_done(&u->prelude);
	if (u->phase == URL_SENDS && fine)
		http_reply_end(u->r);
	else if (u->phase == URL_SENDS)
		http_reply_abort(u->r);
	else if (fine && u->phase == URL_WAITS)
		reply_whole(u, result->payload ? buf_str(result->payload) : STR(""));
	else
		url_reply_failed(u, result->outcome);
}

void url_stream_cancel(struct url_call *u)
{
	buf_done(&u->prelude);
}
