/*
 * Request bodies that are never collected: each piece is freed of its framing, hashed and handed
 * to the operation's handler as it arrives. Nothing of it is proved before the end, which is when
 * the handler learns that it may keep what it got. The handler may answer, and so free the
 * request, from within any of its functions.
 */
#include "aws/aws_int.h"

static int64_t number(struct str s)
{
	int64_t n;

	return s.ptr && str_to_int64(s, 0, INT64_MAX, &n) ? n : -1;
}

int aws_stream_open(struct aws_request *q, uint64_t max, struct err *e)
{
	enum sigv4_payload kind = sigv4_payload_kind(q->auth.payload_hash);
	struct str length = http_header(q->http, "Content-Length");
	bool checked = q->is_signed && !q->aws->config.dev;
	struct aws_stream *s = &q->stream;

	if (q->call.op && !length.ptr && !http_header(q->http, "Transfer-Encoding").ptr)
		return fail(
		    e, AWS_MISSING_LENGTH, "You must provide the Content-Length HTTP header.");
	s->on = true;
	s->max = max;
	s->length = number(length);
	q->http->stream = true;
	q->http->body_limit = max;
	if (kind >= SIGV4_PAYLOAD_CHUNKED && kind != SIGV4_PAYLOAD_INVALID) {
		s->length = number(http_header(q->http, "x-amz-decoded-content-length"));
		s->chunks = sigv4_chunks_new(kind, &q->auth, checked ? q->key : NULL);
		q->http->body_limit += max / 8 + 1024 * 1024; /* of framing */
	} else if (kind == SIGV4_PAYLOAD_HASHED && q->auth.payload_hash.ptr) {
		q->hash = sigv4_hash_new();
	}
	if (s->length < 0 || (uint64_t)s->length <= max)
		return 0;
	call_error_member(&q->call, "MaxSizeAllowed", arena_printf(&q->arena, "%" PRIu64, max));
	return fail(e, AWS_TOO_LARGE, "Your proposed upload exceeds the maximum allowed size");
}

void aws_stream_begin(struct aws_request *q)
{
	/* The handler still makes up its mind. */
	if (!q->stream.taker)
		http_request_pause(q->http);
}

/* The engine's own refusal, midway: the handler is told as if the client had gone. */
static void refuse(struct aws_request *q, const struct err *e)
{
	q->on_stop(&q->call);
	aws_reply_error(q, e);
}

/* False: the request is gone. */
static bool hand_on(struct aws_request *q, struct str data)
{
	struct aws_stream *s = &q->stream;
	struct err e = ERR_INIT;
	bool alive = true;

	s->seen += data.len;
	if (s->seen > s->max || (s->length >= 0 && s->seen > (uint64_t)s->length)) {
		if (s->seen > s->max)
			fail(&e, AWS_TOO_LARGE,
			    "Your proposed upload exceeds the maximum allowed size");
		else
			fail(&e, AWS_INCOMPLETE_BODY,
			    "The request body is longer than its headers announce.");
		refuse(q, &e);
		return false;
	}
	q->alive = &alive;
	s->taker->on_data(&q->call, data.ptr, data.len);
	if (alive)
		q->alive = NULL;
	return alive;
}

static bool decode(struct aws_request *q, struct str in)
{
	struct aws_stream *s = &q->stream;
	struct err why = ERR_INIT, e = ERR_INIT;
	struct str piece;
	int r;

	while (!s->paused && (r = sigv4_chunks_next(s->chunks, &in, &piece, &why)) != 0) {
		if (r < 0) {
			aws_access_chunks(q, r, &why, &e);
			refuse(q, &e);
			return false;
		}
		if (!hand_on(q, piece))
			return false;
	}
	if (s->paused)
		buf_append_str(&s->held, in);
	return true;
}

void aws_stream_data(struct aws_request *q, const void *data, size_t len)
{
	struct str in = {data, len};

	if (!q->stream.taker)
		return;
	if (q->hash)
		sigv4_hash_add(q->hash, data, len);
	if (q->stream.paused)
		buf_append_str(&q->stream.held, in); /* the server keeps it; to be safe */
	else if (q->stream.chunks)
		decode(q, in);
	else
		hand_on(q, in);
}

static int check_end(struct aws_request *q, struct err *e)
{
	struct aws_stream *s = &q->stream;
	struct err why = ERR_INIT;
	char hash[SIGV4_HEX];
	int r;

	if (s->chunks) {
		r = sigv4_chunks_end(s->chunks, &why);
		if (r < 0)
			return aws_access_chunks(q, r, &why, e);
	}
	if (s->length >= 0 && s->seen != (uint64_t)s->length)
		return fail(e, AWS_INCOMPLETE_BODY,
		    "You did not provide the number of bytes specified by the Content-Length HTTP "
		    "header");
	if (!q->hash)
		return 0;
	sigv4_hash_end(q->hash, hash);
	return aws_access_hash(q, hash, e);
}

void aws_stream_end(struct aws_request *q)
{
	struct err e = ERR_INIT;

	check(q->stream.taker);
	if (check_end(q, &e) < 0) {
		refuse(q, &e);
		return;
	}
	q->stream.ended = true;
	q->stream.taker->on_end(&q->call);
}

void aws_stream_done(struct aws_request *q)
{
	loop_task_cancel(&q->stream.resume);
	sigv4_chunks_free(q->stream.chunks);
	buf_done(&q->stream.held);
}

/* ---- for handlers ---- */

void call_body_start(struct call *c, const struct call_body *b)
{
	struct aws_request *q = aws_request_of(c);

	check(q->stream.on && !q->stream.taker && q->on_stop && q->stage != AWS_HEAD);
	q->stream.taker = b;
	if (!q->in_handler && !q->stream.paused)
		http_request_resume(q->http);
}

void call_body_pause(struct call *c)
{
	struct aws_request *q = aws_request_of(c);

	if (q->stream.paused || q->stream.ended)
		return;
	q->stream.paused = true;
	loop_task_cancel(&q->stream.resume);
	http_request_pause(q->http);
}

/* At the end of the turn: what was held goes first. */
static void resume(struct loop_task *t)
{
	struct aws_request *q = container_of(t, struct aws_request, stream.resume);
	struct buf held = q->stream.held;
	bool alive = true;

	q->stream.held = (struct buf)BUF_INIT;
	if (buf_len(&held))
		alive = decode(q, buf_str(&held));
	buf_done(&held);
	if (alive && !q->stream.paused)
		http_request_resume(q->http);
}

void call_body_resume(struct call *c)
{
	struct aws_request *q = aws_request_of(c);

	if (!q->stream.paused)
		return;
	q->stream.paused = false;
	if (!buf_len(&q->stream.held)) {
		http_request_resume(q->http);
		return;
	}
	q->stream.resume.run = resume;
	loop_defer(q->aws->loop, &q->stream.resume);
}

int64_t call_body_length(const struct call *c)
{
	return ((const struct aws_request *)c)->stream.length;
}

struct str call_body_trailer(const struct call *c, const char *name)
{
	const struct aws_request *q = (const struct aws_request *)c;

	if (q->stream.chunks)
		return sigv4_chunks_trailer(q->stream.chunks, name);
	return http_trailer(q->http, name);
}
