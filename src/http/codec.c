/*
 * Parsing the head of a request: request line, header fields, and the few fields that decide
 * where the message ends. See codec.h. Strict on purpose: what two parsers could read in two ways
 * is refused, for that is how requests are smuggled.
 */
#include "http/codec.h"

#include "http/codec_int.h"

void http_head_reset(struct http_head *h)
{
	h->header_count = h->lines = h->hosts = 0;
	h->line_start = h->scanned = 0;
	h->content_length = -1;
	h->has_query = h->keep_alive = h->chunked = h->expect_continue = h->close = false;
	h->why = NULL;
}

static int refuse(struct http_head *h, int status, const char *why)
{
	h->why = why;
	return -status;
}

static struct http_span span(const char *data, const char *from, const char *to)
{
	return (struct http_span){(uint16_t)(from - data), (uint16_t)(to - from)};
}

/* First byte in [p, end) that is not of the class. */
static const char *skip(const char *p, const char *end, unsigned class)
{
	while (p < end && is_char(*p, class))
		p++;
	return p;
}

static bool is_word(struct str s, const char *lower)
{
	return str_eq_nocase(s, str_from(lower));
}

/* Absolute form, "http://authority/path": where the path begins, NULL if it is not that form. */
static const char *skip_authority(const char *p, const char *end)
{
	struct str s = {p, (size_t)(end - p)};
	const char *host;

	if (s.len > 7 && is_word((struct str){p, 7}, "http://"))
		host = p + 7;
	else if (s.len > 8 && is_word((struct str){p, 8}, "https://"))
		host = p + 8;
	else
		return NULL;
	p = skip(host, end, CHAR_HOST);
	return p > host && (p == end || *p == '/' || *p == '?') ? p : NULL;
}

static int parse_target(struct http_head *h, const char *data, const char *p, const char *end)
{
	struct str method = http_span_str(data, h->method);
	const char *question;

	h->target = span(data, p, end);
	if (*p == '*' && end == p + 1 && str_is(method, "OPTIONS")) {
		h->path = h->target;
		return 0;
	}
	if (*p != '/')
		p = skip_authority(p, end);
	if (!p || str_is(method, "CONNECT"))
		return refuse(h, 400, "the request target must be a path or an http URL");
	question = memchr(p, '?', (size_t)(end - p));
	h->has_query = question != NULL;
	if (question)
		h->query = span(data, question + 1, end);
	h->path = span(data, p, question ? question : end);
	return 0;
}

static int parse_version(struct http_head *h, const char *p, const char *end)
{
	if (end - p != 8 || memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' ||
	    p[7] < '0' || p[7] > '9')
		return refuse(h, 400, "the request line must end in HTTP/1.1");
	if (p[5] != '1' || p[7] > '1')
		return refuse(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	h->minor = (unsigned)(p[7] - '0');
	return 0;
}

static int parse_request_line(struct http_head *h, const char *data, const char *p, const char *end)
{
	const char *word = p;
	int r;

	p = skip(p, end, CHAR_TOKEN);
	if (p == word || p == end || *p != ' ')
		return refuse(h, 400, "the request line must be: method, target, HTTP/1.1");
	h->method = span(data, word, p);
	word = ++p;
	p = skip(p, end, CHAR_TARGET);
	if (p == word || p == end || *p != ' ')
		return refuse(h, 400, "the request target must be percent-encoded visible ASCII");
	r = parse_target(h, data, word, p);
	return r < 0 ? r : parse_version(h, p + 1, end);
}

static int parse_length(struct http_head *h, struct str value)
{
	int64_t n;

	if (h->content_length >= 0)
		return refuse(h, 400, "Content-Length is given twice");
	/* str_to_int64() takes a minus sign, even of zero. */
	if (!value.len || value.ptr[0] == '-' || !str_to_int64(value, 0, INT64_MAX, &n))
		return refuse(h, 400, "Content-Length is not a decimal number below 2^63");
	h->content_length = n;
	return 0;
}

static int parse_coding(struct http_head *h, struct str value)
{
	if (h->chunked)
		return refuse(h, 400, "Transfer-Encoding is given twice");
	if (!is_word(value, "chunked"))
		return refuse(h, 400, "the only transfer coding understood is chunked, once");
	h->chunked = true;
	return 0;
}

static int parse_host(struct http_head *h, struct str value)
{
	const char *end = value.ptr + value.len;

	if (h->hosts++)
		return refuse(h, 400, "Host is given twice");
	if (skip(value.ptr, end, CHAR_HOST) != end)
		return refuse(h, 400, "Host is not a host name and port");
	return 0;
}

static int parse_expect(struct http_head *h, struct str value)
{
	if (!is_word(value, "100-continue"))
		return refuse(h, 417, "the only expectation met is 100-continue");
	h->expect_continue = true;
	return 0;
}

static int parse_connection(struct http_head *h, struct str value)
{
	while (value.ptr) {
		struct str option = str_trim(str_cut(&value, ','));

		if (is_word(option, "close"))
			h->close = true;
		else if (is_word(option, "keep-alive"))
			h->keep_alive = true;
	}
	return 0;
}

/* The fields that decide where messages end; told apart by length first. */
static int apply(struct http_head *h, struct str name, struct str value)
{
	switch (name.len) {
	case 4: return is_word(name, "host") ? parse_host(h, value) : 0;
	case 6: return is_word(name, "expect") ? parse_expect(h, value) : 0;
	case 10: return is_word(name, "connection") ? parse_connection(h, value) : 0;
	case 14: return is_word(name, "content-length") ? parse_length(h, value) : 0;
	case 17: return is_word(name, "transfer-encoding") ? parse_coding(h, value) : 0;
	default: return 0;
	}
}

static int parse_field(struct http_head *h, const char *data, const char *p, const char *end)
{
	const char *name = p, *colon, *value;

	colon = p = skip(p, end, CHAR_TOKEN);
	if (p == name || p == end || *p != ':')
		return refuse(h, 400, "a header line must be: name, colon, value");
	for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	value = p;
	if (skip(p, end, CHAR_VALUE) != end)
		return refuse(h, 400, "a header value holds a control character");
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (h->header_count == HTTP_HEADERS_MAX)
		return refuse(h, 431, "too many header lines; the limit is 100");
	h->names[h->header_count] = span(data, name, colon);
	h->values[h->header_count++] = span(data, value, end);
	return apply(h, (struct str){name, (size_t)(colon - name)},
	    (struct str){value, (size_t)(end - value)});
}

/* What can be judged only when all fields are known. */
static int finish(struct http_head *h)
{
	if (h->minor == 1 && !h->hosts)
		return refuse(h, 400, "Host is missing");
	if (h->chunked && h->minor == 0)
		return refuse(h, 400, "Transfer-Encoding does not exist in HTTP/1.0");
	if (h->chunked && h->content_length >= 0)
		return refuse(h, 400, "Content-Length and Transfer-Encoding exclude each other");
	if (h->minor == 1)
		h->keep_alive = true;
	if (h->close)
		h->keep_alive = false;
	h->expect_continue = h->expect_continue && h->minor == 1;
	return 0;
}

static int too_large(struct http_head *h)
{
	return h->lines ? refuse(h, 431, "the head is longer than 32768 bytes")
			: refuse(h, 414, "the request line is longer than 32768 bytes");
}

/* One line without its CR LF. 1: it ended the head; 0: go on; or minus the status. */
static int parse_line(struct http_head *h, const char *data, const char *from, const char *end)
{
	if (from == end && h->lines == 0 && h->line_start == 0)
		return 0; /* one empty line before a request is an old client's habit */
	if (from == end && h->lines)
		return 1;
	return h->lines++ ? parse_field(h, data, from, end)
			  : parse_request_line(h, data, from, end);
}

ssize_t http_head_parse(struct http_head *h, const char *data, size_t len)
{
	for (;;) {
		const char *lf, *start = data + h->line_start;
		int r;

		/* Binary protocols on the wrong port need not wait for a line feed. */
		if (!h->lines && h->line_start < len && *start != '\r' &&
		    !is_char(*start, CHAR_TOKEN))
			return refuse(h, 400, "this is not an HTTP request");
		lf = h->scanned < len ? memchr(data + h->scanned, '\n', len - h->scanned) : NULL;
		if ((lf ? (size_t)(lf - data) + 1 : len) > HTTP_HEAD_MAX)
			return too_large(h);
		h->scanned = lf ? (size_t)(lf - data) + 1 : len;
		if (!lf)
			return 0;
		if (lf == start || lf[-1] != '\r')
			return refuse(h, 400, "a line must end in CR LF");
		r = parse_line(h, data, start, lf - 1);
		h->line_start = h->scanned;
		if (r > 0)
			r = finish(h);
		else if (r == 0)
			continue;
		return r < 0 ? r : (ssize_t)h->scanned;
	}
}

bool http_header_sendable(struct str name, struct str value)
{
	return name.len && skip(name.ptr, name.ptr + name.len, CHAR_TOKEN) == name.ptr + name.len &&
	       (!value.len ||
		   skip(value.ptr, value.ptr + value.len, CHAR_VALUE) == value.ptr + value.len);
}
