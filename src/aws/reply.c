/* Answers: results and errors in the words of each protocol, one HTTP reply a request. */
#include "aws/aws_int.h"

#include <stdio.h>

#include "base/log.h"

static void add(struct http_header *out, size_t *count, const char *name, struct str value)
{
	check(*count < AWS_HEADERS_MAX);
	out[(*count)++] = (struct http_header){str_from(name), value};
}

/* A header's value must not end the header: what a handler copies from a client or a box is not
 * trusted with that. */
static struct str one_line(struct arena *a, struct str s)
{
	char *out = arena_strndup(a, s.ptr, s.len);

	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)out[i] < ' ' || out[i] == 0x7F)
			out[i] = ' ';
	return (struct str){out, s.len};
}

static struct str header_text(struct arena *a, const struct aws_shape *s, const void *storage)
{
	struct buf b = BUF_INIT;
	struct str text;

	switch (s->type) {
	case AWS_STRING: return one_line(a, str_from(*(const char *const *)storage));
	case AWS_BOOLEAN: return *(const bool *)storage ? STR("true") : STR("false");
	case AWS_DOUBLE: aws_encode_double(&b, *(const double *)storage); break;
	default: buf_printf(&b, "%" PRId64, *(const int64_t *)storage); break;
	}
	text = arena_str(a, buf_str(&b));
	buf_done(&b);
	return text;
}

size_t aws_reply_headers(struct aws_request *q, struct http_header out[AWS_HEADERS_MAX])
{
	const struct aws_shape *shape = q->call.op ? q->call.op->out : NULL;
	size_t count = 0;

	add(out, &count, "x-amzn-RequestId", str_from(q->call.request_id));
	for (unsigned i = 0; shape && q->call.out && i < shape->field_count; i++) {
		const struct aws_field *f = &shape->fields[i];
		const void *member = aws_member(f, q->call.out);

		if (member && f->location == AWS_IN_HEADER && count < 16)
			add(out, &count, f->wire, header_text(&q->arena, f->shape, member));
	}
	for (size_t i = 0; i < q->header_count; i++)
		add(out, &count, q->headers[i].name.ptr, q->headers[i].value);
	return count;
}

unsigned aws_reply_status(const struct aws_request *q)
{
	const struct aws_shape *shape = q->call.op->out;

	for (unsigned i = 0; shape && i < shape->field_count; i++) {
		const int64_t *status = aws_member(&shape->fields[i], q->call.out);

		if (shape->fields[i].location == AWS_IN_STATUS && status && *status >= 200 &&
		    *status <= 599)
			return (unsigned)*status;
	}
	return q->call.op->status;
}

static const char *content_type(uint8_t protocol)
{
	switch (protocol) {
	case AWS_QUERY: return "text/xml";
	case AWS_JSON: return "application/x-amz-json-1.1";
	default: return "application/json";
	}
}

static bool has_content_type(const struct http_header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq_nocase(headers[i].name, STR("Content-Type")))
			return true;
	return false;
}

static void send(struct aws_request *q, unsigned status, struct http_header *headers, size_t count,
    struct str body)
{
	struct http_request *r = q->http;

	if (body.len && !has_content_type(headers, count))
		add(headers, &count, "Content-Type", str_from(content_type(q->route.protocol)));
	q->http = NULL;
	r->user = NULL;
	http_reply(r, status, headers, count, body);
	aws_request_free(q);
}

/* ---- results ---- */

static const struct aws_field *payload_field(const struct aws_shape *s)
{
	for (unsigned i = 0; s && i < s->field_count; i++)
		if (s->fields[i].location == AWS_IN_PAYLOAD)
			return &s->fields[i];
	return NULL;
}

static void encode(struct aws_request *q, struct buf *b)
{
	const struct aws_op *op = q->call.op;

	if (q->route.protocol == AWS_QUERY)
		aws_encode_xml(b, q->call.service, op, q->call.out, q->call.request_id);
	else if (op->out)
		aws_encode_json(b, op->out, q->call.out);
}

void aws_reply_result(struct aws_request *q)
{
	const struct aws_field *payload = payload_field(q->call.op->out);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct http_header headers[AWS_HEADERS_MAX];
	size_t count = aws_reply_headers(q, headers);
	unsigned status = aws_reply_status(q);
	struct str body;

	if (!payload) {
		if (status != 204)
			encode(q, &b);
		body = buf_str(&b);
	} else {
		const void *member = aws_member(payload, q->call.out);

		body = STR("");
		if (member && payload->shape->type == AWS_BLOB) {
			body = *(const struct str *)member;
		} else if (member) {
			aws_encode_json(&b, payload->shape, member);
			body = buf_str(&b);
		}
	}
	send(q, status, headers, count, body);
}

/* ---- errors ---- */

/* The text in full when it came by call_fail(). */
static struct str message_of(const struct aws_request *q, const struct err *e)
{
	if (q->message && strncmp(q->message, e->msg, strlen(e->msg)) == 0)
		return str_from(q->message);
	return str_from(e->msg);
}

static const struct aws_field *error_field(const struct aws_error *error, const char *name)
{
	for (unsigned i = 0; error && i < error->field_count; i++)
		if (strcmp(error->fields[i].name, name) == 0)
			return &error->fields[i];
	return NULL;
}

static bool in_header(const struct aws_fault *f, const char *name)
{
	const struct aws_field *field = error_field(f->error, name);

	return field && field->location == AWS_IN_HEADER;
}

static void json_members(struct buf *b, const struct aws_request *q, const struct aws_fault *f)
{
	for (size_t i = 0; i < q->error_member_count; i++) {
		if (in_header(f, q->error_members[i].name))
			continue;
		buf_json_string(b, str_from(q->error_members[i].name));
		buf_putc(b, ':');
		buf_json_string(b, str_from(q->error_members[i].value));
		buf_putc(b, ',');
	}
}

static void json_error(
    struct buf *b, const struct aws_request *q, const struct aws_fault *f, struct str message)
{
	buf_putc(b, '{');
	if (q->route.protocol == AWS_JSON)
		buf_printf(b, "\"__type\":\"%s\",", f->name);
	json_members(b, q, f);
	if (f->typed)
		buf_printf(b, "\"Type\":\"%s\",", f->sender ? "User" : "Service");
	buf_printf(b, "\"%s\":", f->message);
	buf_json_string(b, message);
	buf_putc(b, '}');
}

static void xml_error(
    struct buf *b, const struct aws_request *q, const struct aws_fault *f, struct str message)
{
	const char *xmlns = q->route.service ? q->route.service->xmlns : NULL;

	if (xmlns)
		buf_printf(b, "<ErrorResponse xmlns=\"%s\">", xmlns);
	else
		buf_puts(b, "<ErrorResponse>");
	buf_printf(b, "<Error><Type>%s</Type><Code>%s</Code><Message>",
	    f->sender ? "Sender" : "Receiver", f->wire);
	aws_xml_escape(b, message);
	buf_puts(b, "</Message>");
	for (size_t i = 0; i < q->error_member_count; i++) {
		buf_printf(b, "<%s>", q->error_members[i].name);
		aws_xml_escape(b, str_from(q->error_members[i].value));
		buf_printf(b, "</%s>", q->error_members[i].name);
	}
	buf_printf(b, "</Error><RequestId>%s</RequestId></ErrorResponse>", q->call.request_id);
}

/* Log once, where it stops; the client learns the id under which the cause is to be found. */
static void hide_system_failure(struct aws_request *q, struct err *e)
{
	struct err cause = *e;

	if (cause.code)
		return;
	log_error(
	    "%s %s: %s", q->call.op ? q->call.op->name : "request", q->call.request_id, cause.msg);
	fail(e, AWS_INTERNAL,
	    "Internal error: the server's log tells the cause under request id %s.",
	    q->call.request_id);
}

void aws_reply_error(struct aws_request *q, const struct err *error)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct http_header headers[AWS_HEADERS_MAX];
	struct err e = *error;
	struct aws_fault f;
	size_t count = 0;

	hide_system_failure(q, &e);
	aws_fault_find(&q->route, e.code, &f);
	q->call.out = NULL; /* members meant for a result do not go with an error */
	count = aws_reply_headers(q, headers);
	if (q->route.protocol == AWS_QUERY) {
		xml_error(&b, q, &f, message_of(q, &e));
	} else {
		add(headers, &count, "x-amzn-ErrorType", str_from(f.name));
		json_error(&b, q, &f, message_of(q, &e));
	}
	for (size_t i = 0; i < q->error_member_count; i++)
		if (in_header(&f, q->error_members[i].name))
			add(headers, &count, error_field(f.error, q->error_members[i].name)->wire,
			    one_line(&q->arena, str_from(q->error_members[i].value)));
	send(q, f.status, headers, count, buf_str(&b));
}
