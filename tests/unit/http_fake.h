/* A stand-in for src/http in tests of what sits above it: answers are kept to be looked at. */
#pragma once

#include <stdio.h>

#include "http/http.h"

static struct {
	unsigned status, replies;
	char headers[8192]; /* "name: value\n"… */
	struct buf body;
	bool streaming, ended, aborted;
	void (*on_drain)(struct http_request *r);
} answer;

static void keep_head(unsigned status, const struct http_header *headers, size_t count)
{
	size_t len = 0;

	answer.status = status;
	answer.replies++;
	answer.headers[0] = '\0';
	for (size_t i = 0; i < count; i++)
		len += (size_t)snprintf(answer.headers + len, sizeof(answer.headers) - len,
		    "%.*s: %.*s\n", STR_FMT(headers[i].name), STR_FMT(headers[i].value));
	buf_clear(&answer.body);
}

void http_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct str body)
{
	(void)r;
	keep_head(status, headers, header_count);
	buf_append_str(&answer.body, body);
	buf_append(&answer.body, "", 1); /* so that it can be compared as a string */
}

void http_reply_start(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int64_t length, void (*on_drain)(struct http_request *r))
{
	(void)r;
	(void)length;
	keep_head(status, headers, header_count);
	answer.streaming = true;
	answer.on_drain = on_drain;
}

size_t http_reply_data(struct http_request *r, struct str data)
{
	(void)r;
	buf_append_str(&answer.body, data);
	return buf_len(&answer.body);
}

void http_reply_end(struct http_request *r)
{
	(void)r;
	answer.ended = true;
}

void http_reply_abort(struct http_request *r)
{
	(void)r;
	answer.aborted = true;
}

struct str http_header(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, str_from(name)))
			return r->headers[i].value;
	return STR_NULL;
}

/* Value of a header of the answer, or NULL; valid until the next call. */
_unused_ static const char *answer_header(const char *name)
{
	static char value[1024];
	char start[128];
	const char *at;

	snprintf(start, sizeof(start), "%s: ", name);
	for (at = answer.headers; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		if (strncasecmp(at, start, strlen(start)))
			continue;
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + strlen(start), "\n"),
		    at + strlen(start));
		return value;
	}
	return NULL;
}
