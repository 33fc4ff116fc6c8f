/* What handlers use: values for the output, errors with more to say, waiting, event streams. */
#include "aws/aws_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "aws/eventstream.h"

const char *call_str(struct call *c, const char *s)
{
	return s ? arena_strdup(c->arena, s) : NULL;
}

const char *call_strn(struct call *c, struct str s)
{
	return s.ptr ? arena_strndup(c->arena, s.ptr, s.len) : NULL;
}

_printf_(2, 0)
    __attribute__((nonnull)) static char *format(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;
	char *out;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	check(n >= 0);
	out = arena_alloc(a, (size_t)n + 1);
	vsnprintf(out, (size_t)n + 1, fmt, ap);
	return out;
}

const char *call_printf(struct call *c, const char *fmt, ...)
{
	va_list ap;
	char *out;

	va_start(ap, fmt);
	out = format(c->arena, fmt, ap);
	va_end(ap);
	return out;
}

const int64_t *call_int(struct call *c, int64_t v)
{
	int64_t *p = arena_new(c->arena, int64_t);

	*p = v;
	return p;
}

const bool *call_bool(struct call *c, bool v)
{
	bool *p = arena_new(c->arena, bool);

	*p = v;
	return p;
}

const struct str *call_blob(struct call *c, struct str s)
{
	struct str *p = arena_new(c->arena, struct str);

	*p = s;
	return p;
}

int call_fail(struct call *c, struct err *e, int code, const char *fmt, ...)
{
	struct aws_request *q = aws_request_of(c);
	va_list ap;

	va_start(ap, fmt);
	q->message = format(c->arena, fmt, ap);
	va_end(ap);
	return fail(e, code, "%s", q->message);
}

void call_error_member(struct call *c, const char *name, const char *text)
{
	struct aws_request *q = aws_request_of(c);

	check(q->error_member_count < AWS_ERROR_MEMBERS_MAX);
	q->error_members[q->error_member_count++] =
	    (struct aws_pair){name, arena_strdup(c->arena, text)};
}

struct buf call_take_body(struct call *c)
{
	struct aws_request *q = aws_request_of(c);
	struct buf body = q->body;

	q->body = (struct buf)BUF_INIT;
	return body;
}

void call_header(struct call *c, const char *name, const char *value)
{
	struct aws_request *q = aws_request_of(c);
	char *text = arena_strdup(c->arena, value);

	check(q->header_count < AWS_REPLY_HEADERS_MAX);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7F)
			*p = ' ';
	q->headers[q->header_count++] =
	    (struct http_header){str_from(arena_strdup(c->arena, name)), str_from(text)};
}

void call_set_request_id(struct call *c, const char *id)
{
	check(strlen(id) == 36);
	memcpy(c->request_id, id, sizeof(c->request_id));
}

void call_on_stop(struct call *c, void (*fn)(struct call *c))
{
	aws_request_of(c)->on_stop = fn;
}

void call_reply(struct call *c, int result, const struct err *e)
{
	struct aws_request *q = aws_request_of(c);

	check(result <= 0 && (result == 0 || e));
	if (q->in_handler) {
		/* Before the handler has returned: keep it until it has. */
		check(!q->early && q->stage == AWS_RUNNING);
		q->early = true;
		q->outcome = result;
		if (e)
			q->outcome_err = *e;
		return;
	}
	check(q->stage == AWS_PENDING);
	if (result == 0)
		aws_reply_result(q);
	else
		aws_reply_error(q, e);
}

/* ---- other answers ---- */

void call_status(struct call *c, unsigned status)
{
	aws_request_of(c)->answer.status = status;
}

/* What was put into `answer` goes out now, or when the handler has returned. */
static void settle(struct aws_request *q)
{
	if (q->in_handler) {
		check(!q->early);
		q->early = true;
		q->outcome = 0;
	} else {
		check(q->stage == AWS_PENDING);
		aws_reply_result(q);
	}
}

void call_reply_file(struct call *c, int fd, uint64_t offset, uint64_t length)
{
	struct aws_request *q = aws_request_of(c);

	q->answer.has_file = true;
	q->answer.fd = fd;
	q->answer.offset = offset;
	q->answer.length = length;
	settle(q);
}

void call_reply_pieces(struct call *c, struct http_pieces *p, uint64_t length)
{
	struct aws_request *q = aws_request_of(c);

	q->answer.pieces = p;
	q->answer.length = length;
	settle(q);
}

void call_reply_text(struct call *c, unsigned status, const char *content_type, struct str text)
{
	struct aws_request *q = aws_request_of(c);

	q->answer.status = status;
	q->answer.has_text = true;
	q->answer.content_type = content_type ? arena_strdup(c->arena, content_type) : NULL;
	q->answer.text = arena_str(c->arena, text);
	settle(q);
}

struct str call_path(const struct call *c)
{
	const struct aws_request *q = (const struct aws_request *)c;

	return q->route.path.ptr ? q->route.path : q->http->path;
}

/* ---- event streams ---- */

static void drained(struct http_request *r)
{
	struct aws_request *q = r->user;

	if (q->on_drain)
		q->on_drain(&q->call);
}

void call_stream_start(struct call *c, void (*on_drain)(struct call *c))
{
	struct aws_request *q = aws_request_of(c);
	unsigned status = aws_reply_status(q);
	size_t count;
	struct http_header *headers = aws_reply_headers(q, status, &count);

	check(q->on_stop && (q->stage == AWS_PENDING || q->stage == AWS_RUNNING));
	/* The model's Content-Type member of InvokeWithResponseStream is that of the payload; the
	 * stream itself has one type only. */
	for (size_t i = 0; i < count; i++)
		if (str_eq_nocase(headers[i].name, STR("Content-Type")))
			headers[i--] = headers[--count];
	headers[count++] =
	    (struct http_header){STR("Content-Type"), STR("application/vnd.amazon.eventstream")};
	q->stage = AWS_STREAMS;
	q->on_drain = on_drain;
	http_reply_start(q->http, status, headers, count, -1, drained);
}

size_t call_stream_event(
    struct call *c, const char *type, const char *content_type, struct str payload)
{
	struct aws_request *q = aws_request_of(c);
	_cleanup_buf_ struct buf b = BUF_INIT;

	check(q->stage == AWS_STREAMS);
	eventstream_append(&b, type, content_type, payload);
	return http_reply_data(q->http, buf_str(&b));
}

static void finish(struct call *c, void (*end)(struct http_request *r))
{
	struct aws_request *q = aws_request_of(c);
	struct http_request *r = q->http;

	check(q->stage == AWS_STREAMS);
	q->http = NULL;
	r->user = NULL;
	end(r);
	if (q->in_handler)
		q->ended = true;
	else
		aws_request_free(q);
}

void call_stream_end(struct call *c)
{
	finish(c, http_reply_end);
}

void call_stream_abort(struct call *c)
{
	finish(c, http_reply_abort);
}
