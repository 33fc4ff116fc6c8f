/* Payload format 2.0 of function URLs. See url_event.h and lambda.md (d) for the shape. */
#include "service/lambda/url_event.h"

#include <stdio.h>
#include <time.h>

#define ADD(out, literal) buf_append(out, literal, sizeof(literal) - 1)

/* Headers that the platform sets itself, or that are the codec's business. */
static bool hidden(struct str name)
{
	static const struct str names[] = {STR("cookie"), STR("x-forwarded-for"),
	    STR("x-forwarded-port"), STR("x-forwarded-proto"), STR("x-amzn-trace-id")};

	if (name.len < 6 || ((name.ptr[0] | 32) != 'c' && (name.ptr[0] | 32) != 'x'))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq_nocase(name, names[i]))
			return true;
	return false;
}

static void add_lower(struct buf *out, struct str name)
{
	char *at = buf_reserve(out, name.len);

	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		at[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	buf_commit(out, name.len);
}

static bool seen_before(const struct http_request *r, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq_nocase(r->headers[k].name, r->headers[i].name))
			return true;
	return false;
}

/* One member for each name, values of repeated headers joined by commas. */
static void add_header(struct buf *out, const struct http_request *r, size_t i)
{
	buf_putc(out, '"');
	add_lower(out, r->headers[i].name); /* a token: nothing to escape */
	ADD(out, "\":\"");
	buf_json_escape(out, r->headers[i].value);
	for (size_t k = i + 1; k < r->header_count; k++) {
		if (!str_eq_nocase(r->headers[k].name, r->headers[i].name))
			continue;
		buf_putc(out, ',');
		buf_json_escape(out, r->headers[k].value);
	}
	ADD(out, "\",");
}

static void add_headers(
    struct buf *out, const struct http_request *r, const struct url_context *c, const char *address)
{
	struct str host = http_header(r, "host");
	const char *colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;

	ADD(out, ",\"headers\":{");
	for (size_t i = 0; i < r->header_count; i++)
		if (!hidden(r->headers[i].name) && !seen_before(r, i))
			add_header(out, r, i);
	ADD(out, "\"x-amzn-trace-id\":\"");
	buf_json_escape(out, str_from(c->trace_id));
	ADD(out, "\",\"x-forwarded-for\":\"");
	buf_puts(out, address);
	ADD(out, "\",\"x-forwarded-port\":\"");
	if (colon)
		buf_json_escape(out, str_sub(host, (size_t)(colon - host.ptr) + 1));
	else
		ADD(out, "80");
	ADD(out, "\",\"x-forwarded-proto\":\"http\"}");
}

static void add_cookies(struct buf *out, const struct http_request *r)
{
	bool any = false;

	for (size_t i = 0; i < r->header_count; i++) {
		struct str rest = r->headers[i].value;

		if (!str_eq_nocase(r->headers[i].name, STR("cookie")))
			continue;
		while (rest.ptr) {
			struct str one = str_trim(str_cut(&rest, ';'));

			if (!one.len)
				continue;
			buf_puts(out, any ? "," : ",\"cookies\":[");
			buf_json_string(out, one);
			any = true;
		}
	}
	if (any)
		buf_putc(out, ']');
}

/* ---- query string ---- */

struct parameter {
	struct str name, value; /* decoded, in the request's arena */
	bool merged;
};

static struct str decode(struct arena *a, struct str s)
{
	char *out = arena_alloc(a, s.len + 1);
	ssize_t n = url_decode(s, true, out);

	if (n < 0) /* a broken escape is passed on as it is */
		return s;
	return (struct str){out, (size_t)n};
}

static size_t split(const struct http_request *r, struct parameter *all, size_t max)
{
	struct str rest = r->query;
	size_t n = 0;

	while (rest.ptr && n < max) {
		struct str value = str_cut(&rest, '&'), name;

		if (!value.len)
			continue;
		name = str_cut(&value, '=');
		all[n].name = decode(r->arena, name);
		all[n].value = value.ptr ? decode(r->arena, value) : (struct str){"", 0};
		n++;
	}
	return n;
}

static void add_query(struct buf *out, const struct http_request *r)
{
	const size_t max = 1 + r->query.len / 2;
	struct parameter *all;
	size_t n;

	if (!r->query.len)
		return;
	all = arena_array(r->arena, max, struct parameter);
	n = split(r, all, max);
	for (size_t i = 0; i < n; i++) {
		if (all[i].merged)
			continue;
		buf_puts(out, i ? "," : ",\"queryStringParameters\":{");
		buf_json_string(out, all[i].name);
		ADD(out, ":\"");
		buf_json_escape(out, all[i].value);
		/* Bounded: a head has at most 32 KiB. */
		for (size_t k = i + 1; k < n; k++) {
			if (all[k].merged || !str_eq(all[k].name, all[i].name))
				continue;
			buf_putc(out, ',');
			buf_json_escape(out, all[k].value);
			all[k].merged = true;
		}
		buf_putc(out, '"');
	}
	if (n)
		buf_putc(out, '}');
}

/* ---- request context ---- */

static void add_caller(struct buf *out, const struct aws_principal *p)
{
	const char *id = p->user_id;

	ADD(out, ",\"authentication\":null,\"authorizer\":{\"iam\":{\"accessKey\":");
	buf_json_string(out, str_from(p->access_key_id));
	ADD(out, ",\"accountId\":");
	buf_json_string(out, str_from(p->account));
	ADD(out, ",\"callerId\":");
	buf_json_string(out, str_from(id));
	ADD(out, ",\"cognitoIdentity\":null,\"principalOrgId\":null,\"userArn\":");
	buf_json_string(out, str_from(p->arn));
	ADD(out, ",\"userId\":");
	buf_json_string(out, str_from(id));
	ADD(out, "}}");
}

/* "12/Mar/2020:19:03:58 +0000"; made once a second. */
static const char *time_text(int64_t now_ms)
{
	static const char months[][4] = {
	    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static char text[48];
	static time_t of = -1;
	time_t now = (time_t)(now_ms / 1000);
	struct tm tm;

	if (now == of)
		return text;
	gmtime_r(&now, &tm);
	snprintf(text, sizeof(text), "%02d/%s/%04d:%02d:%02d:%02d +0000", tm.tm_mday,
	    months[(unsigned)tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	of = now;
	return text;
}

static void add_context(
    struct buf *out, const struct http_request *r, const struct url_context *c, const char *address)
{
	struct str agent = http_header(r, "user-agent");

	ADD(out, ",\"requestContext\":{\"accountId\":\"");
	buf_puts(out, c->caller ? c->caller->account : "anonymous");
	ADD(out, "\",\"apiId\":\"");
	buf_puts(out, c->id);
	buf_putc(out, '"');
	if (c->caller)
		add_caller(out, c->caller);
	ADD(out, ",\"domainName\":\"");
	buf_json_escape(out, c->domain);
	ADD(out, "\",\"domainPrefix\":\"");
	buf_puts(out, c->id);
	ADD(out, "\",\"http\":{\"method\":\"");
	buf_append_str(out, r->method); /* a token */
	ADD(out, "\",\"path\":\"");
	buf_json_escape(out, c->path);
	ADD(out, "\",\"protocol\":\"HTTP/1.1\",\"sourceIp\":\"");
	buf_puts(out, address);
	ADD(out, "\",\"userAgent\":\"");
	buf_json_escape(out, agent.ptr ? agent : (struct str){"", 0});
	ADD(out, "\"},\"requestId\":\"");
	buf_puts(out, c->request_id);
	ADD(out, "\",\"routeKey\":\"$default\",\"stage\":\"$default\",\"time\":\"");
	buf_puts(out, time_text(c->now_ms));
	ADD(out, "\",\"timeEpoch\":");
	buf_put_uint(out, (uint64_t)c->now_ms);
	buf_putc(out, '}');
}

/* ---- body ---- */

/* Bodies that arrive as they are; all others arrive in base64. */
static bool is_text(const struct http_request *r)
{
	static const char *const prefixes[] = {"text/", "application/json", "application/xml",
	    "application/javascript", "application/graphql"};
	struct str type = http_header(r, "content-type"), encoding;

	encoding = http_header(r, "content-encoding");
	if (!type.ptr || (encoding.len && !str_eq_nocase(encoding, STR("identity"))))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct str prefix = str_from(prefixes[i]);

		if (type.len >= prefix.len &&
		    str_eq_nocase((struct str){type.ptr, prefix.len}, prefix))
			return true;
	}
	return str_has_suffix(type, "+json") || str_has_suffix(type, "+xml");
}

static void add_body(struct buf *out, const struct http_request *r)
{
	struct str body = buf_str(&r->body);
	bool text = body.len && is_text(r) && utf8_valid(body);

	if (body.len && text) {
		ADD(out, ",\"body\":\"");
		buf_json_escape(out, body);
		buf_putc(out, '"');
	} else if (body.len) {
		char *at;

		ADD(out, ",\"body\":\"");
		at = buf_reserve(out, BASE64_ENCODED_SIZE(body.len));
		buf_commit(out, base64_encode(body.ptr, body.len, at));
		buf_putc(out, '"');
	}
	if (body.len && !text)
		ADD(out, ",\"isBase64Encoded\":true}");
	else
		ADD(out, ",\"isBase64Encoded\":false}");
}

void url_event_build(struct buf *out, const struct http_request *r, const struct url_context *c)
{
	char address[64];
	uint16_t port;

	http_peer(r, address, &port);
	buf_reserve(out, 1024 + r->target.len + buf_len(&r->body));
	ADD(out, "{\"version\":\"2.0\",\"routeKey\":\"$default\",\"rawPath\":\"");
	buf_json_escape(out, c->path);
	ADD(out, "\",\"rawQueryString\":\"");
	buf_json_escape(out, r->query.ptr ? r->query : (struct str){"", 0});
	buf_putc(out, '"');
	add_cookies(out, r);
	add_headers(out, r, c, address);
	add_query(out, r);
	add_context(out, r, c, address);
	add_body(out, r);
}
