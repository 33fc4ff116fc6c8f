/*
 * The life of a request: head (route, is the key known?), body (hash while it streams), then
 * authenticate, decode, validate, authorise, call, answer. An operation whose body streams has all
 * of that done with the head, and gets the body by stream.c. A request owns its arena and its body,
 * so that a large body can be decoded on a worker even if the client goes away meanwhile.
 */
#include "aws/aws_int.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"

#define REFUSED_BODY_MAX (64 * 1024)
#define DEFAULT_BODY_MAX (1024 * 1024)
#define FORM_BODY_MAX (5ull * 1024 * 1024 * 1024 + 1024 * 1024) /* an upload by POST form */

struct aws *aws_new(struct loop *l, const struct aws_config *config)
{
	struct aws *a = xcalloc(1, sizeof(*a));

	check(config->account && config->region && (config->dev || config->find_key));
	a->loop = l;
	a->config = *config;
	return a;
}

void aws_free(struct aws *a)
{
	if (!a)
		return;
	OPENSSL_cleanse(&a->cache, sizeof(a->cache));
	free(a);
}

void aws_service_add(struct aws *a, const struct aws_service *s, void *ctx)
{
	check(a->service_count < AWS_SERVICES_MAX);
	a->services[a->service_count++] = (struct aws_registered){s, ctx, NULL};
}

void aws_service_add_hooks(struct aws *a, const struct aws_service *s, const struct aws_hooks *h)
{
	for (size_t i = 0; i < a->service_count; i++)
		if (a->services[i].service == s)
			a->services[i].hooks = h;
}

void aws_request_free(struct aws_request *q)
{
	if (q->alive)
		*q->alive = false;
	if (q->answer.has_file)
		close(q->answer.fd);
	if (q->answer.pieces)
		q->answer.pieces->free(q->answer.pieces);
	aws_stream_done(q);
	sigv4_hash_free(q->hash);
	buf_done(&q->body);
	arena_done(&q->arena);
	OPENSSL_cleanse(q->secret, sizeof(q->secret));
	OPENSSL_cleanse(q->key, sizeof(q->key));
	free(q);
}

/* ---- head ---- */

static void bind(struct aws_request *q)
{
	q->call.op = q->route.op;
	q->call.service = q->route.service;
	if (q->route.registered)
		q->call.ctx = q->route.registered->ctx;
}

static void set_account(struct aws_request *q)
{
	memcpy(q->call.account,
	    q->call.principal.account[0] ? q->call.principal.account : q->aws->config.account,
	    sizeof(q->call.account));
}

/* Not an operation, but the service may know what it is. */
static bool takes_other(const struct aws_request *q)
{
	return !q->route.op && q->route.registered && q->route.registered->hooks &&
	       q->route.registered->hooks->other;
}

static int look_at_head(struct aws_request *q, struct err *e)
{
	struct sigv4_request s;
	struct err why = ERR_INIT;
	int r;

	aws_sigv4_request(q->http, &s);
	r = sigv4_parse(&q->arena, &s, &q->auth, &why);
	q->is_signed = r == 0;
	aws_route_head(
	    q->aws, &q->arena, q->http, q->is_signed ? q->auth.service : STR_NULL, &q->route);
	bind(q);
	if (r < 0 && r != SIGV4_UNSIGNED && !q->aws->config.dev)
		return aws_access_refusal(r, &why, e);
	r = aws_access_head(q, e);
	if (r < 0)
		return r;
	if (takes_other(q))
		return 0;
	/* An operation of the query protocol is named in the body. */
	if (q->route.protocol != AWS_QUERY && (!q->route.op || !q->route.op->handler))
		return aws_unknown_op(&q->route, NULL, NULL, e);
	return 0;
}

static uint64_t body_max(const struct aws_request *q)
{
	if (q->refused)
		return REFUSED_BODY_MAX;
	return q->route.op ? q->route.op->body_max : DEFAULT_BODY_MAX;
}

static bool announced_too_large(const struct http_request *r, uint64_t max)
{
	struct str length = http_header(r, "Content-Length");
	int64_t n;

	return length.ptr && (!str_to_int64(length, 0, INT64_MAX, &n) || (uint64_t)n > max);
}

static bool streams(const struct aws_request *q);
static void run_at_head(struct aws_request *q);

static void refuse_too_large(struct aws_request *q)
{
	struct err e = ERR_INIT;

	fail(&e, AWS_TOO_LARGE,
	    "Request must be smaller than %" PRIu64 " bytes for the %s operation", body_max(q),
	    q->route.op ? q->route.op->name : "requested");
	aws_reply_error(q, q->refused ? &q->refusal : &e);
}

void aws_on_head(struct aws *a, struct http_request *r)
{
	struct aws_request *q = xcalloc(1, sizeof(*q));

	r->user = q;
	q->aws = a;
	q->http = r;
	q->call.http = r;
	q->call.arena = &q->arena;
	arena_init(&q->arena);
	rand_uuid(q->call.request_id);
	q->refused = look_at_head(q, &q->refusal) < 0;
	r->known = !q->refused && (q->is_signed || a->config.dev);
	if (!q->refused && streams(q)) {
		run_at_head(q);
		return;
	}
	r->body_limit = body_max(q);
	if (announced_too_large(r, r->body_limit))
		refuse_too_large(q);
}

void aws_on_body(struct http_request *r, const void *data, size_t len)
{
	struct aws_request *q = r->user;

	if (q && q->stream.on) {
		aws_stream_data(q, data, len);
		return;
	}
	if (!q || !q->hash)
		return;
	sigv4_hash_add(q->hash, data, len);
	q->hashed += len;
}

/* ---- the call ---- */

static void settle(struct aws_request *q, int result, const struct err *e)
{
	if (result == 0)
		aws_reply_result(q);
	else
		aws_reply_error(q, e);
}

static int run_op(struct aws_request *q, struct err *e)
{
	const struct aws_op *op = q->call.op;
	int r = 0;

	q->call.out = arena_alloc(&q->arena, max_size(op->out ? op->out->size : 0, 1));
	if (q->aws->config.authorize)
		r = q->aws->config.authorize(q->aws->config.authorize_ctx, &q->call, q->in, e);
	q->stage = AWS_RUNNING;
	q->in_handler = true;
	if (r == 0)
		r = op->run(&q->call, q->in, q->call.out, e);
	q->in_handler = false;
	return r;
}

/* What fits no operation is the service's own affair. */
static int run_other(struct aws_request *q, struct err *e)
{
	int r;

	q->stage = AWS_RUNNING;
	q->in_handler = true;
	r = q->route.registered->hooks->other(&q->call, e);
	q->in_handler = false;
	return r == AWS_NOT_MINE ? aws_unknown_op(&q->route, NULL, NULL, e) : r;
}

static void run(struct aws_request *q)
{
	struct err e = ERR_INIT;
	int r = q->call.op ? run_op(q, &e) : run_other(q, &e);

	if (r != CALL_PENDING) {
		check((!q->early || q->answer.has_file || q->answer.pieces || q->answer.has_text) &&
		      r <= 0);
		settle(q, r, &e);
		return;
	}
	check(q->on_stop);
	if (q->ended)
		aws_request_free(q);
	else if (q->early)
		settle(q, q->outcome, &q->outcome_err);
	else if (q->stage == AWS_RUNNING)
		q->stage = AWS_PENDING;
}

/* S3 tells what is wrong in a document from what is wrong in a header. */
static int validate_document(struct aws_request *q, struct err *e)
{
	const struct aws_field *f = aws_payload(q->call.op->in);
	const void *member;
	const char *text;

	if (!f || f->shape->type != AWS_STRUCTURE)
		return 0;
	member = aws_member(f, q->in);
	if (!member && f->required)
		return call_fail(&q->call, e, AWS_SERIALIZATION, "Request Body is empty");
	if (!member || !aws_validate(&q->arena, f->shape, member, &text))
		return 0;
	return call_fail(&q->call, e, AWS_SERIALIZATION,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema: %s",
	    text);
}

static int check_required(struct aws_request *q, struct err *e)
{
	const struct aws_shape *in = q->call.op->in;

	for (unsigned i = 0; q->call.service->missing_error && i < in->field_count; i++)
		if (in->fields[i].required && !aws_member(&in->fields[i], q->in))
			return fail(e, q->call.service->missing_error,
			    "The request must contain the parameter %s.", in->fields[i].name);
	return 0;
}

static int validate(struct aws_request *q, struct err *e)
{
	const struct aws_shape *in = q->call.op->in;
	const char *text;
	int r;

	if (!in)
		return 0;
	r = q->route.protocol == AWS_REST_XML ? validate_document(q, e) : check_required(q, e);
	if (r == 0 && aws_validate(&q->arena, in, q->in, &text))
		r = call_fail(&q->call, e, AWS_VALIDATION, "%s", text);
	return r;
}

static void validate_and_run(struct aws_request *q)
{
	struct err e = ERR_INIT;

	if (validate(q, &e) < 0)
		aws_reply_error(q, &e);
	else
		run(q);
}

/* A form that is posted to a queue's own address need not name the queue. */
static void imply_path(struct aws_request *q)
{
	const struct aws_shape *in = q->call.op->in;
	const char *name = q->call.service->path_member;

	for (unsigned i = 0; name && q->http->path.len > 1 && i < in->field_count; i++) {
		const struct aws_field *f = &in->fields[i];
		struct str host = http_header(q->http, "Host");

		if (strcmp(f->name, name) == 0 && !aws_member(f, q->in))
			*(const char **)aws_make_member(&q->arena, f, q->in) = arena_printf(
			    &q->arena, "http://%.*s%.*s", STR_FMT(host), STR_FMT(q->http->path));
	}
}

static int decode(struct aws_request *q, struct err *e)
{
	const struct aws_shape *in = q->call.op->in;

	if (!in)
		return 0;
	if (q->route.protocol == AWS_QUERY) {
		int r = aws_decode_query(&q->arena, in, &q->params, q->in, e);

		if (r == 0)
			imply_path(q);
		return r;
	}
	if (q->route.protocol == AWS_REST_XML)
		return aws_decode_xml(&q->arena, in, buf_str(&q->body), q->in, e);
	return aws_decode_json(&q->arena, in, buf_str(&q->body), q->in, e);
}

static void finish_decoding(struct aws_request *q, int r, struct err *e)
{
	const struct aws_shape *in = q->call.op->in;

	if (r == 0 && in &&
	    (q->route.protocol == AWS_REST_JSON || q->route.protocol == AWS_REST_XML))
		r = aws_decode_http(&q->arena, in, q->http, &q->route, q->in, e);
	if (r < 0)
		aws_reply_error(q, e);
	else
		validate_and_run(q);
}

static void decode_on_worker(struct loop_work *w)
{
	struct aws_request *q = container_of(w, struct aws_request, decoding.work);

	q->decoding.result = decode(q, &q->decoding.err);
}

static void decoded(struct loop_work *w)
{
	struct aws_request *q = container_of(w, struct aws_request, decoding.work);

	if (q->gone)
		aws_request_free(q);
	else
		finish_decoding(q, q->decoding.result, &q->decoding.err);
}

static void start_decoding(struct aws_request *q)
{
	const struct aws_op *op = q->call.op;
	struct err e = ERR_INIT;
	int r;

	q->in = arena_alloc(&q->arena, max_size(op->in ? op->in->size : 0, 1));
	if (q->aws->loop && q->route.protocol != AWS_QUERY &&
	    buf_len(&q->body) >= AWS_OFFLOAD_MIN) {
		q->stage = AWS_DECODING;
		q->decoding.work.run = decode_on_worker;
		q->decoding.work.done = decoded;
		loop_work_start(q->aws->loop, &q->decoding.work);
		return;
	}
	r = decode(q, &e);
	finish_decoding(q, r, &e);
}

/* Is the handler called before the body has arrived? */
static bool streams(const struct aws_request *q)
{
	const struct aws_field *f = q->call.op ? aws_payload(q->call.op->in) : NULL;

	return takes_other(q) ||
	       (q->route.protocol == AWS_REST_XML && f && (f->flags & AWS_FIELD_STREAMING));
}

static void run_at_head(struct aws_request *q)
{
	struct err e = ERR_INIT;
	bool alive = true;

	set_account(q);
	if (aws_stream_open(q, q->call.op ? q->call.op->body_max : FORM_BODY_MAX, &e) < 0) {
		aws_reply_error(q, &e);
		return;
	}
	q->alive = &alive;
	if (q->call.op)
		start_decoding(q);
	else
		run(q);
	if (!alive)
		return;
	q->alive = NULL;
	aws_stream_begin(q);
}

/* Content-MD5 of a document. */
static int check_digest(struct aws_request *q, struct err *e)
{
	struct str sent = http_header(q->http, "Content-MD5");
	uint8_t digest[16];
	char text[BASE64_ENCODED_SIZE(16)];

	if (!sent.ptr || q->route.protocol != AWS_REST_XML)
		return 0;
	check(
	    EVP_Digest(buf_data(&q->body), buf_len(&q->body), digest, NULL, EVP_md5(), NULL) == 1);
	base64_encode(digest, sizeof(digest), text);
	if (sent.len != strlen(text))
		return fail(e, AWS_INVALID_DIGEST, "The Content-MD5 you specified was invalid.");
	if (!str_is(sent, text))
		return fail(e, AWS_BAD_DIGEST,
		    "The Content-MD5 you specified did not match what we received.");
	return 0;
}

/* Everything between the last byte and the handler that can be refused. */
static int identify(struct aws_request *q, struct err *e)
{
	int r;

	if (q->refused) {
		*e = q->refusal;
		return -EINVAL;
	}
	if (q->route.protocol == AWS_QUERY) {
		r = aws_params_parse(&q->arena, q->http->query, buf_str(&q->body), &q->params, e);
		if (r < 0)
			return r;
		aws_route_form(q->aws, &q->params, &q->route);
	}
	r = aws_access_body(q, e);
	if (r == 0)
		r = check_digest(q, e);
	if (r < 0)
		return r;
	if (!q->route.op || !q->route.op->handler)
		return aws_unknown_op(&q->route, aws_params_get(&q->params, "Action"),
		    aws_params_get(&q->params, "Version"), e);
	bind(q);
	set_account(q);
	return 0;
}

void aws_on_request(struct http_request *r)
{
	struct aws_request *q = r->user;
	struct err e = ERR_INIT;

	if (q->stream.on) {
		aws_stream_end(q);
		return;
	}
	q->body = r->body;
	r->body = (struct buf)BUF_INIT;
	if (identify(q, &e) < 0)
		aws_reply_error(q, &e);
	else
		start_decoding(q);
}

void aws_on_cancel(struct http_request *r)
{
	struct aws_request *q = r->user;

	if (!q)
		return;
	r->user = NULL;
	q->http = NULL;
	q->call.http = NULL;
	if (q->stage == AWS_DECODING) {
		q->gone = true;
		return;
	}
	if (q->stage == AWS_PENDING || q->stage == AWS_STREAMS)
		q->on_stop(&q->call);
	aws_request_free(q);
}
