/* Answers: results and errors in the words of each protocol, one HTTP reply a request. */
#include "aws/aws_int.h"

#include <stdio.h>

#include "base/log.h"
#include "base/time.h"

#define SPARE_HEADERS (AWS_ERROR_MEMBERS_MAX + 8)

/* There is room: aws_reply_headers() has counted. */
static void add(struct http_header *out, size_t *count, const char *name, struct str value)
{
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

static struct str header_time(struct arena *a, const struct aws_shape *s, int64_t wall_ms)
{
	char date[TIME_ISO_SIZE];

	if (s->flags & AWS_ISO_TIME)
		time_format_iso_ms(wall_ms, date);
	else
		time_format_http(wall_ms, date);
	return arena_str(a, str_from(date));
}

static struct str header_text(struct arena *a, const struct aws_shape *s, const void *storage)
{
	struct buf b = BUF_INIT;
	struct str text;

	switch (s->type) {
	case AWS_STRING: return one_line(a, str_from(*(const char *const *)storage));
	case AWS_BOOLEAN: return *(const bool *)storage ? STR("true") : STR("false");
	case AWS_TIMESTAMP: return header_time(a, s, *(const int64_t *)storage);
	case AWS_DOUBLE: aws_encode_double(&b, *(const double *)storage); break;
	default: buf_printf(&b, "%" PRId64, *(const int64_t *)storage); break;
	}
	text = arena_str(a, buf_str(&b));
	buf_done(&b);
	return text;
}

/* x-amz-meta-*: a map of strings. */
static void add_map(struct aws_request *q, const struct aws_field *f, const struct aws_list *l,
    struct http_header *out, size_t *count)
{
	for (size_t i = 0; i < l->count; i++) {
		const char *entry = aws_item(f->shape, l, i);
		const char *const *key = (const void *)entry;
		const char *const *value = (const void *)(entry + f->shape->value_offset);

		add(out, count, arena_printf(&q->arena, "%s%s", f->wire, *key),
		    one_line(&q->arena, str_from(*value)));
	}
}

static size_t header_room(const struct aws_request *q)
{
	const struct aws_shape *shape = q->call.op ? q->call.op->out : NULL;
	size_t room = SPARE_HEADERS + AWS_REPLY_HEADERS_MAX;

	for (unsigned i = 0; shape && q->call.out && i < shape->field_count; i++) {
		const struct aws_field *f = &shape->fields[i];
		const struct aws_list *l = aws_member(f, q->call.out);

		room += f->location == AWS_IN_HEADER;
		room += f->location == AWS_IN_HEADERS && l ? l->count : 0;
	}
	return room;
}

/* S3 names the request by two ids. */
static const char *host_id(struct aws_request *q)
{
	char *out = arena_alloc(&q->arena, BASE64_ENCODED_SIZE(sizeof(q->call.request_id)));

	base64_encode(q->call.request_id, strlen(q->call.request_id), out);
	return out;
}

static void add_ids(struct aws_request *q, struct http_header *out, size_t *count)
{
	struct str id = str_from(q->call.request_id);

	if (q->route.protocol != AWS_REST_XML) {
		add(out, count, "x-amzn-RequestId", id);
		return;
	}
	add(out, count, "x-amz-request-id", id);
	add(out, count, "x-amz-id-2", str_from(host_id(q)));
}

struct http_header *aws_reply_headers(struct aws_request *q, unsigned status, size_t *ret_count)
{
	const struct aws_shape *shape = q->call.op ? q->call.op->out : NULL;
	const struct aws_registered *g = q->route.registered;
	struct http_header *out = arena_array(&q->arena, header_room(q), struct http_header);
	size_t count = 0;

	if (g && g->hooks && g->hooks->answering)
		g->hooks->answering(&q->call, status);
	add_ids(q, out, &count);
	for (unsigned i = 0; shape && q->call.out && i < shape->field_count; i++) {
		const struct aws_field *f = &shape->fields[i];
		const void *member = aws_member(f, q->call.out);

		if (member && f->location == AWS_IN_HEADER)
			add(out, &count, f->wire, header_text(&q->arena, f->shape, member));
		else if (member && f->location == AWS_IN_HEADERS)
			add_map(q, f, member, out, &count);
	}
	for (size_t i = 0; i < q->header_count; i++)
		add(out, &count, q->headers[i].name.ptr, q->headers[i].value);
	*ret_count = count;
	return out;
}

unsigned aws_reply_status(const struct aws_request *q)
{
	const struct aws_shape *shape = q->call.op ? q->call.op->out : NULL;

	if (q->answer.status)
		return q->answer.status;
	for (unsigned i = 0; shape && i < shape->field_count; i++) {
		const int64_t *status = aws_member(&shape->fields[i], q->call.out);

		if (shape->fields[i].location == AWS_IN_STATUS && status && *status >= 200 &&
		    *status <= 599)
			return (unsigned)*status;
	}
	return q->call.op ? q->call.op->status : 200;
}

static struct str content_type(const struct aws_request *q)
{
	const struct aws_service *service = q->route.service;

	switch (q->route.protocol) {
	case AWS_QUERY: return STR("text/xml");
	case AWS_REST_XML: return STR("application/xml");
	case AWS_JSON:
		return service && service->json_version && !strcmp(service->json_version, "1.0")
			   ? STR("application/x-amz-json-1.0")
			   : STR("application/x-amz-json-1.1");
	default: return STR("application/json");
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
		add(headers, &count, "Content-Type", content_type(q));
	q->http = NULL;
	r->user = NULL;
	http_reply(r, status, headers, count, body);
	aws_request_free(q);
}

/* ---- results ---- */

/* A payload member that is the body as it is, or ptr NULL. */
static struct str raw_payload(const struct aws_field *f, const void *out)
{
	const void *member = aws_member(f, out);

	if (f->shape->type == AWS_BLOB)
		return member ? *(const struct str *)member : STR("");
	if (f->shape->type == AWS_STRING)
		return member ? str_from(*(const char *const *)member) : STR("");
	return STR_NULL;
}

static void encode(struct aws_request *q, struct buf *b)
{
	const struct aws_op *op = q->call.op;
	const struct aws_field *payload = aws_payload(op->out);

	if (q->route.protocol == AWS_QUERY) {
		aws_encode_xml(b, q->call.service, op, q->call.out, q->call.request_id);
	} else if (q->route.protocol == AWS_REST_XML) {
		aws_encode_rest_xml(b, q->call.service, op, q->call.out);
	} else if (payload) {
		const void *member = aws_member(payload, q->call.out);

		if (member)
			aws_encode_json(b, payload->shape, member);
	} else if (op->out) {
		aws_encode_json(b, op->out, q->call.out);
	}
}

static void send_file(
    struct aws_request *q, unsigned status, const struct http_header *headers, size_t count)
{
	struct http_request *r = q->http;

	q->http = NULL;
	r->user = NULL;
	if (q->answer.pieces)
		http_reply_pieces(
		    r, status, headers, count, take_ptr(q->answer.pieces), q->answer.length);
	else
		http_reply_file(
		    r, status, headers, count, q->answer.fd, q->answer.offset, q->answer.length);
	q->answer.has_file = false;
	aws_request_free(q);
}

/* The length that GET would have, where the output names it. */
static const int64_t *head_length(const struct aws_request *q)
{
	const struct aws_shape *shape = q->call.op ? q->call.op->out : NULL;

	for (unsigned i = 0; shape && str_is(q->http->method, "HEAD") && i < shape->field_count;
	     i++)
		if (shape->fields[i].location == AWS_IN_HEADER &&
		    strcasecmp(shape->fields[i].wire, "Content-Length") == 0)
			return aws_member(&shape->fields[i], q->call.out);
	return NULL;
}

static void send_head(struct aws_request *q, unsigned status, const struct http_header *headers,
    size_t count, int64_t length)
{
	struct http_request *r = q->http;

	q->http = NULL;
	r->user = NULL;
	http_reply_start(r, status, headers, count, length, NULL);
	http_reply_end(r);
	aws_request_free(q);
}

void aws_reply_result(struct aws_request *q)
{
	const struct aws_field *payload = q->call.op ? aws_payload(q->call.op->out) : NULL;
	_cleanup_buf_ struct buf b = BUF_INIT;
	unsigned status = aws_reply_status(q);
	size_t count;
	struct http_header *headers = aws_reply_headers(q, status, &count);
	const int64_t *length = head_length(q);
	struct str body = STR_NULL;

	if (q->answer.has_file || q->answer.pieces) {
		send_file(q, status, headers, count);
		return;
	}
	if (length && *length >= 0) {
		send_head(q, status, headers, count, *length);
		return;
	}
	if (q->answer.has_text) {
		if (q->answer.content_type)
			add(headers, &count, "Content-Type", str_from(q->answer.content_type));
		body = q->answer.text;
	} else if (payload) {
		body = raw_payload(payload, q->call.out);
	}
	if (!body.ptr && status != 204 && q->call.op) {
		encode(q, &b);
		body = buf_str(&b);
	}
	send(q, status, headers, count, body.ptr ? body : STR(""));
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
		const struct aws_field *field = error_field(f->error, q->error_members[i].name);
		struct str text = str_from(q->error_members[i].value);

		if (in_header(f, q->error_members[i].name))
			continue;
		buf_json_string(b, str_from(q->error_members[i].name));
		buf_putc(b, ':');
		if (field && field->shape->type == AWS_LIST)
			buf_append_str(b, text);
		else
			buf_json_string(b, text);
		buf_putc(b, ',');
	}
}

static void json_error(
    struct buf *b, const struct aws_request *q, const struct aws_fault *f, struct str message)
{
	const char *prefix = q->route.service ? q->route.service->error_prefix : NULL;

	buf_putc(b, '{');
	if (prefix && !f->error)
		prefix = "com.amazon.coral.service#";
	if (q->route.protocol == AWS_JSON)
		buf_printf(b, "\"__type\":\"%s%s\",", prefix ? prefix : "", f->name);
	json_members(b, q, f);
	if (f->typed)
		buf_printf(b, "\"Type\":\"%s\",", f->sender ? "User" : "Service");
	buf_printf(b, "\"%s\":", f->message);
	buf_json_string(b, message);
	buf_putc(b, '}');
}

static void xml_members(struct buf *b, const struct aws_request *q)
{
	for (size_t i = 0; i < q->error_member_count; i++) {
		buf_printf(b, "<%s>", q->error_members[i].name);
		aws_xml_escape(b, str_from(q->error_members[i].value));
		buf_printf(b, "</%s>", q->error_members[i].name);
	}
}

static void query_error(
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
	xml_members(b, q);
	buf_printf(b, "</Error><RequestId>%s</RequestId></ErrorResponse>", q->call.request_id);
}

static void rest_xml_error(
    struct buf *b, struct aws_request *q, const struct aws_fault *f, struct str message)
{
	buf_printf(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>",
	    f->wire);
	aws_xml_escape(b, message);
	buf_puts(b, "</Message>");
	xml_members(b, q);
	buf_printf(b, "<RequestId>%s</RequestId><HostId>%s</HostId></Error>", q->call.request_id,
	    host_id(q));
}

/* Older clients of a service that has moved from query to json know its old codes. */
static void add_query_error(
    struct aws_request *q, const struct aws_fault *f, struct http_header *headers, size_t *count)
{
	if (q->route.service && q->route.service->query_compatible)
		add(headers, count, "x-amzn-query-error",
		    str_from(arena_printf(
			&q->arena, "%s;%s", f->wire, f->sender ? "Sender" : "Receiver")));
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
	struct http_header *headers;
	struct err e = *error;
	struct aws_fault f;
	size_t count;

	hide_system_failure(q, &e);
	aws_fault_find(&q->route, e.code, &f);
	q->call.out = NULL; /* members meant for a result do not go with an error */
	headers = aws_reply_headers(q, f.status, &count);
	if (q->route.protocol == AWS_QUERY) {
		query_error(&b, q, &f, message_of(q, &e));
	} else if (q->route.protocol == AWS_REST_XML) {
		rest_xml_error(&b, q, &f, message_of(q, &e));
	} else {
		add(headers, &count, "x-amzn-ErrorType", str_from(f.name));
		add_query_error(q, &f, headers, &count);
		json_error(&b, q, &f, message_of(q, &e));
	}
	for (size_t i = 0; i < q->error_member_count; i++)
		if (in_header(&f, q->error_members[i].name))
			add(headers, &count, error_field(f.error, q->error_members[i].name)->wire,
			    one_line(&q->arena, str_from(q->error_members[i].value)));
	send(q, f.status, headers, count, buf_str(&b));
}
