/*
 * The HTTP/1.1 grammar as functions over bytes: no I/O, no clock, and no memory of their own.
 * Called by the server with what has arrived so far; fuzzed on their own.
 *
 * A head is parsed line by line as lines become complete, so each byte is looked at once however
 * the client slices it, and the answer does not depend on the slicing.
 */
#pragma once

#include "base/str.h"
#include "http/http.h"

#define HTTP_TRAILERS_MAX 8192  /* bytes of trailer fields behind a chunked body */
#define HTTP_CHUNK_EXT_MAX 4096 /* bytes of chunk extensions in one body */

/* Where in the head a slice is: survives the move of the buffer. */
struct http_span {
	uint16_t from, len;
};

struct http_head {
	/* What the head says; valid when http_head_parse() has returned a length. */
	struct http_span method, target, path, query;
	struct http_span names[HTTP_HEADERS_MAX], values[HTTP_HEADERS_MAX];
	unsigned header_count;
	int64_t content_length; /* -1: not given */
	unsigned minor;         /* of HTTP/1.x: 0 or 1 */
	bool has_query, keep_alive, chunked, expect_continue;
	const char *why; /* what is wrong, for a person, after an error */

	/* Progress. */
	size_t line_start, scanned;
	unsigned lines, hosts;
	bool close;
};

/* Make h ready for the next request. */
void http_head_reset(struct http_head *h);

/*
 * data is all that has arrived from the start of this head on: each call has at least the bytes
 * of the call before, wherever they now are. Returns the length of the head once it is
 * complete, 0 if more is needed, or minus the status to refuse with (h->why says why).
 * A path of length 0 means "/" (absolute form without one).
 */
ssize_t http_head_parse(struct http_head *h, const char *data, size_t len);

static inline struct str http_span_str(const char *data, struct http_span s)
{
	return (struct str){data + s.from, s.len};
}

/* Decoder of a chunked body; zero it to start. Extensions are checked and dropped. */
struct http_chunked {
	unsigned state;
	unsigned digits;
	uint64_t left; /* bytes of the current chunk still to come */
	uint32_t extension_bytes, trailer_bytes;
};

enum http_chunk { HTTP_CHUNK_MORE, HTTP_CHUNK_DATA, HTTP_CHUNK_TRAILER, HTTP_CHUNK_END };

/* Take what can be taken off the front of *in. DATA: *data is the next piece of the body, a slice
 * of what *in was; call again. TRAILER: the same of the trailer lines, which are well-formed and
 * HTTP_TRAILERS_MAX bytes at most, ends of lines included. MORE: *in is used up. END: the body is
 * complete and *in is what follows it. Or minus the status to refuse with. */
int http_chunked_next(struct http_chunked *c, struct str *in, struct str *data);

/* All trailer lines together, as http_chunked_next() gave them, taken apart into at most
 * HTTP_TRAILER_FIELDS_MAX fields that point into lines. Their count, or minus the status to
 * refuse with: too many, or one that would change framing, routing or who is asking. */
int http_trailers_parse(struct str lines, struct http_header *ret_fields);

/* May this name and value stand in a header that we send? Guards against response splitting. */
bool http_header_sendable(struct str name, struct str value);
