/*
 * What a function answered, as the HTTP reply that a function URL makes of it (payload format 2.0).
 * One pass over bytes that come from a box and are hostile; no tree is built. Any thread.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "http/http.h"

#define URL_HEADERS_MAX 64

struct url_answer {
	unsigned status;
	struct http_header headers[URL_HEADERS_MAX];
	size_t header_count;
	struct str body;
	bool has_content_type;
};

/* Read the payload; strings are in the payload or in the arena. -EINVAL: it is no valid answer
 * (the client gets 502). */
int url_answer_parse(struct arena *a, struct str payload, struct url_answer *ret);

/* The same of what comes before the body of an answer that streams: statusCode (200 if it is not
 * there), headers and cookies. */
int url_prelude_parse(struct arena *a, struct str prelude, struct url_answer *ret);
