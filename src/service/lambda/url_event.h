/*
 * The event of a function URL (payload format 2.0) made from an HTTP request. On the warm path: one
 * pass over the head, no allocation but the payload's own. Loop thread, called by url.c.
 */
#pragma once

#include "aws/principal.h"
#include "base/buf.h"
#include "http/http.h"

struct url_context {
	const char *id;    /* of the URL: api id and domain prefix */
	struct str domain; /* Host header without the port */
	struct str path;   /* raw, begins with '/' */
	const char *request_id;
	const char *trace_id;
	int64_t now_ms;
	const struct aws_principal *caller; /* NULL: the URL asks for no signature */
};

/* Append the event to out. */
void url_event_build(struct buf *out, const struct http_request *r, const struct url_context *c);
