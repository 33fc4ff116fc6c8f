/*
 * What the front end of function URLs (url.c, url_stream.c) asks of the stored configurations
 * (url_config.c), and what its two files share. Private to this folder.
 */
#pragma once

#include "aws/principal.h"
#include "invoke/invoke.h"
#include "service/lambda/url_answer.h"

struct lambda;

#define URL_CORS_LIST_MAX 100

struct url_cors {
	bool credentials;
	int64_t max_age_s; /* -1: not given */
	const char *const *origins, *const *methods, *const *headers, *const *expose;
	size_t origin_count, method_count, header_count, expose_count;
};

struct url_route {
	const char *id;
	struct invoke_version *version; /* chosen for this request: an alias may split traffic */
	const char *region;             /* the function's */
	const char *arn;                /* qualified if the URL is an alias's */
	bool iam;                       /* AuthType AWS_IAM */
	bool stream;                    /* InvokeMode RESPONSE_STREAM */
	const struct url_cors *cors;    /* NULL: none */
};

/* -ENOENT: no such URL. -EBUSY: its function cannot run yet or any more. What *ret points to is
 * valid until the loop goes on. */
int url_config_route(struct lambda *l, struct str id, struct url_route *ret);

/* May this caller (NULL: anonymous) use the URL? Asks the function's resource policy, for both
 * lambda:InvokeFunctionUrl and lambda:InvokeFunction. */
bool url_config_allows(struct lambda *l, struct str id, const struct aws_principal *who);

/* The engine that checks signatures of AWS_IAM URLs. */
struct aws;
struct aws *url_config_engine(struct lambda *l);
struct invoke *url_config_invoke(struct lambda *l);

/* ---- a request to a URL: url.c, url_stream.c ---- */

#define URL_REPLY_HEADERS_MAX (URL_HEADERS_MAX + 12)

struct url_call {
	struct http_request *r; /* its arena holds this */
	struct invocation *invocation;
	char request_id[37];
	/* CORS headers of the reply, made when the request came; in the request's arena. */
	struct http_header *cors;
	size_t cors_count;
	/* Of an answer that streams. */
	enum { URL_WAITS, URL_PRELUDE, URL_SENDS } phase;
	struct buf prelude;
	bool paused;
};

void url_reply_message(struct http_request *r, unsigned status, const char *type,
    const char *message, const char *request_id);
/* Headers of the reply: the function's, CORS, the type if there is none, the request id. Valid
 * until the next call. */
struct http_header *url_reply_headers(const struct url_call *u, const struct url_answer *a,
    struct str default_type, size_t *ret_count);
/* Nothing came of it. */
void url_reply_failed(struct url_call *u, enum invoke_outcome outcome);

/* url_stream.c: callbacks of the invocation; ctx is the url_call. */
void url_stream_begin(void *ctx, struct str content_type);
void url_stream_piece(void *ctx, struct str data);
void url_stream_done(void *ctx, struct invoke_result *result);
/* The client has gone. */
void url_stream_cancel(struct url_call *u);
