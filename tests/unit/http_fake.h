/* A stand-in for src/http in tests of what sits above it: answers are kept to be looked at. */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include "http/http.h"

static struct {
	unsigned status, replies;
	char headers[8192]; /* "name: value\n"… */
	struct buf body;
	bool streaming, ended, aborted;
	int64_t length;
	void (*on_drain)(struct http_request *r);
	bool paused; /* the request's body */
	const char *trailer;
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
	answer.length = length;
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

void http_reply_file(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int fd, uint64_t offset, uint64_t length)
{
	char *out;

	(void)r;
	keep_head(status, headers, header_count);
	out = buf_reserve(&answer.body, length + 1);
	check(pread(fd, out, length, (off_t)offset) == (ssize_t)length);
	out[length] = '\0';
	buf_commit(&answer.body, length + 1);
	close(fd);
}

void http_reply_pieces(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct http_pieces *p, uint64_t length)
{
	char *out = buf_reserve(&answer.body, length + 1);
	uint64_t offset, piece, done = 0;
	int fd;

	(void)r;
	keep_head(status, headers, header_count);
	for (; done < length; done += piece) {
		check(p->next(p, &fd, &offset, &piece) == 0 && piece <= length - done);
		check(pread(fd, out + done, piece, (off_t)offset) == (ssize_t)piece);
		close(fd);
	}
	p->free(p);
	out[length] = '\0';
	buf_commit(&answer.body, length + 1);
}

void http_request_pause(struct http_request *r)
{
	(void)r;
	answer.paused = true;
}

void http_request_resume(struct http_request *r)
{
	(void)r;
	answer.paused = false;
}

/* One value for every name. */
struct str http_trailer(const struct http_request *r, const char *name)
{
	(void)r;
	(void)name;
	return str_from(answer.trailer);
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
