/*
 * The protocol engine: finds the operation of an HTTP request, checks who sent it (SigV4), decodes
 * and validates the input by table, calls the handler, encodes what it returns. One engine for
 * rest-json, rest-xml, json 1.0 and 1.1 and query. Loop thread only.
 *
 * A handler is a typed function, declared in gen/<service>.h:
 *
 *   int lambda_get_alias(struct call *c, const struct lambda_get_alias_in *in,
 *       struct lambda_get_alias_out *out, struct err *e)
 *   {
 *           const struct alias *a = find(c->ctx, in->function_name, in->name);
 *
 *           if (!a)
 *                   return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
 *                       "Cannot find alias arn: %s", arn_of(c, in));
 *           out->name = call_str(c, a->name);
 *           out->revision_id = call_str(c, a->revision);
 *           return 0;
 *   }
 *
 * `in` is whole: required members are there and every constraint of the model holds; absent
 * optional members are NULL. `in`, `out` and all that call_*() returns live until the reply and
 * no longer. Defining the function is all it takes, because the tables refer to it by a weak
 * symbol; THE LINKER DOES NOT PULL AN ARCHIVE MEMBER FOR A WEAK SYMBOL, so a service library must
 * be linked with link_whole (declare_dependency(link_whole: lambda_service_lib)).
 */
#pragma once

#include "aws/model.h"
#include "aws/principal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "http/http.h"

/* Errors that every service may answer; those of a service are in gen/<service>.h. */
enum aws_common_error {
	AWS_VALIDATION = 1, /* ValidationException 400 */
	AWS_SERIALIZATION,  /* SerializationException 400 */
	AWS_ACCESS_DENIED,  /* AccessDeniedException 403 (400 in json) */
	AWS_UNKNOWN_OP,   /* UnknownOperationException 404 (400 in json), InvalidAction in query */
	AWS_THROTTLED,    /* ThrottlingException 429 (400 in json and query) */
	AWS_TOO_LARGE,    /* RequestEntityTooLargeException 413 */
	AWS_UNAVAILABLE,  /* ServiceUnavailableException 503 */
	AWS_INTERNAL,     /* InternalFailure 500 */
	AWS_MISSING_AUTH, /* MissingAuthenticationTokenException 403 */
	AWS_INCOMPLETE_AUTH, /* IncompleteSignatureException 403 (400 in json and query) */
	AWS_UNKNOWN_KEY,     /* UnrecognizedClientException 403 (400 in json) */
	AWS_BAD_SIGNATURE,   /* InvalidSignatureException 403 (400 in json) */
	AWS_EXPIRED_TOKEN,   /* ExpiredTokenException 403 (400 in json) */
	/* In rest-xml each of the above has S3's name: InvalidArgument, MalformedXML, AccessDenied,
	 * NotImplemented 501, SlowDown, EntityTooLarge, ServiceUnavailable, InternalError,
	 * AccessDenied, AuthorizationHeaderMalformed, InvalidAccessKeyId, SignatureDoesNotMatch,
	 * ExpiredToken. Those below are told apart there; elsewhere they are InvalidSignature,
	 * Validation, UnrecognizedClient or Serialization. */
	AWS_SKEWED,           /* RequestTimeTooSkewed 403 */
	AWS_URL_EXPIRED,      /* AccessDenied 403, of a presigned URL */
	AWS_BAD_URL_AUTH,     /* AuthorizationQueryParametersError 400 */
	AWS_UNSUPPORTED_AUTH, /* InvalidRequest 400: signature version 2 */
	AWS_BAD_TOKEN,        /* InvalidToken 400 */
	AWS_BAD_PAYLOAD_HASH, /* XAmzContentSHA256Mismatch 400 */
	AWS_BAD_DIGEST,       /* BadDigest 400 */
	AWS_INVALID_DIGEST,   /* InvalidDigest 400 */
	AWS_INCOMPLETE_BODY,  /* IncompleteBody 400 */
	AWS_MISSING_LENGTH,   /* MissingContentLength 411 */
	AWS_WRONG_METHOD,     /* MethodNotAllowed 405 */
	AWS_BAD_URI,          /* InvalidURI 400 */
};

#define CALL_PENDING 1

/* One call of an operation. Everything in it lives until the reply. */
struct call {
	struct arena *arena;
	void *ctx;  /* of the service, from aws_service_add() */
	void *user; /* the handler's own, NULL at first */
	const struct aws_service *service;
	const struct aws_op *op;
	char request_id[37];
	char region[64];
	char account[13]; /* of the principal; the default account for anonymous calls */
	struct aws_principal principal;
	struct http_request *http; /* head only: use call_take_body() for the body */
	void *out;                 /* the operation's output struct */
};

/* ---- for handlers ---- */

/* The client's fault: note the code and the text, return a negative value to be returned. code is
 * one of gen/<service>.h or of the enum above. Text beyond 255 bytes is cut: see call_fail(). */
int fail(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);
/* The same for text of any length. */
int call_fail(struct call *c, struct err *e, int code, const char *fmt, ...) _printf_(4, 5);
/* Another member of the error's body ("Reason") or, where the model says so, a header
 * ("retryAfterSeconds"). name is not copied; text is. A list's text is JSON. At most eight. */
void call_error_member(struct call *c, const char *name, const char *text);

/* Copies for members of `out`, in the request's arena. call_str(NULL) is NULL. */
const char *call_str(struct call *c, const char *s);
const char *call_strn(struct call *c, struct str s);
const char *call_printf(struct call *c, const char *fmt, ...) _printf_(2, 3);
const int64_t *call_int(struct call *c, int64_t v); /* integers, and timestamps in wall ms */
const bool *call_bool(struct call *c, bool v);
const struct str *call_blob(struct call *c, struct str s); /* not copied: lives until the reply */
/* Zeroed structures, list items and map entries. */
#define call_new(c, type) arena_new((c)->arena, type)
#define call_array(c, count, type) arena_array((c)->arena, count, type)

/* Take the body of the request (Invoke's payload, which is never parsed); the caller frees. A blob
 * payload member of `in` points into it. */
struct buf call_take_body(struct call *c);
/* A header of the answer. Both are copied. At most twenty-four. */
void call_header(struct call *c, const char *name, const char *value);
/* Use this request id in the answer (Invoke: that of the invocation). 36 characters. */
void call_set_request_id(struct call *c, const char *id);

/* Mandatory before returning CALL_PENDING: fn runs when the client has gone. The call is freed
 * when it returns, so forget c in there; call_reply() must not follow. */
void call_on_stop(struct call *c, void (*fn)(struct call *c));
/* Continue a pending call, exactly once: result as if the handler returned it; e may be NULL when
 * result is 0. c is freed. */
void call_reply(struct call *c, int result, const struct err *e);

/* Instead of call_reply(), for operations that answer with an event stream: head from the members
 * of `out`, then events, then the end. The stop callback stays armed until call_stream_end().
 * call_stream_event() returns how many bytes wait to be sent; on_drain as in http.h (may be
 * NULL). */
void call_stream_start(struct call *c, void (*on_drain)(struct call *c));
size_t call_stream_event(
    struct call *c, const char *type, const char *content_type, struct str payload);
void call_stream_end(struct call *c);
void call_stream_abort(struct call *c); /* the client sees a truncated answer */

/* ---- streamed bodies (rest-xml: PutObject, UploadPart) ----
 *
 * An operation whose input has a blob payload member with AWS_STREAMING is called when its head is
 * there; that member of `in` is NULL. The handler answers at once (the rest of the body is
 * skipped), or calls call_on_stop() and call_body_start() and returns CALL_PENDING. It may answer
 * at any time, from within on_data() too; c is gone then. */
struct call_body {
	/* Decoded bytes: the framing of aws-chunked bodies is removed. Not kept when it returns. */
	void (*on_data)(struct call *c, const void *data, size_t len);
	/* All has arrived, and all that the engine can check holds: length, the signature of each
	 * chunk and of the trailer, x-amz-content-sha256. What does not hold the engine answers
	 * itself, having called the stop callback: on_end() is then not called. Checksums of the
	 * content (Content-MD5, x-amz-checksum-*) are the service's. */
	void (*on_end)(struct call *c);
};
/* b must live as long as the program. Nothing is delivered before the handler has returned. */
void call_body_start(struct call *c, const struct call_body *b);
/* Backpressure: no on_data() or on_end() between the two. Both may be called twice. */
void call_body_pause(struct call *c);
void call_body_resume(struct call *c);
/* Decoded length as announced; -1 when unknown (chunked without x-amz-decoded-content-length). */
int64_t call_body_length(const struct call *c);
/* In on_end(): a trailer field ("x-amz-checksum-crc32"), of aws-chunked coding or of HTTP; ptr
 * NULL when absent. */
struct str call_body_trailer(const struct call *c, const char *name);

/* Instead of call_reply(c, 0, NULL), or before returning 0: the streaming payload member of `out`
 * is this piece of a file. fd becomes the engine's, in any case. */
void call_reply_file(struct call *c, int fd, uint64_t offset, uint64_t length);
/* The same of several files in a row, length bytes altogether; p becomes the engine's. */
void call_reply_pieces(struct call *c, struct http_pieces *p, uint64_t length);
/* Answer with this status instead of the model's: 206. Errors, 304 and 412 too, go by fail(). */
void call_status(struct call *c, unsigned status);
/* Instead of call_reply(c, 0, NULL), or before returning 0: this body, whatever the model says
 * (GetBucketPolicy, answers of the `other` hook). Headers by call_header(). text is copied. */
void call_reply_text(struct call *c, unsigned status, const char *content_type, struct str text);

/* The path by which the request was routed, not decoded: "/bucket/key" however it was addressed. */
struct str call_path(const struct call *c);
/* Is text signed by credential ("AKID/date/region/s3/aws4_request"), as in POST forms? 0 with
 * c->principal, region and account filled, or negative with e filled by fail(). token may be
 * STR_NULL. */
int call_authenticate_text(struct call *c, struct str credential, struct str token, struct str text,
    struct str signature, struct err *e);

/* ---- documents of a service's own shapes ----
 *
 * A structure as JSON text and back, for services that keep what they were given. Reading validates
 * no constraint: it was checked when it came in. */
/* By the model's name ("CORSConfiguration"); NULL: there is none. */
const struct aws_shape *aws_shape_find(const struct aws_service *s, const char *name);
void aws_shape_encode(const struct aws_shape *s, const void *storage, struct buf *out);
/* In the arena; NULL and e for what is not of this shape. */
void *aws_shape_decode(const struct aws_shape *s, struct str text, struct arena *a, struct err *e);

/* ---- for core ---- */

struct aws;

struct aws_config {
	bool dev;            /* accept any key, and unsigned requests */
	const char *account; /* 12 digits; of dev mode and of anonymous calls */
	const char *region;  /* for unsigned requests; "us-east-1" */
	/* Find the secret of a key: see aws/principal.h. May be NULL in dev mode. */
	int (*find_key)(void *ctx, struct str access_key_id, struct str session_token,
	    int64_t now_ms, struct aws_principal *ret, char secret[AWS_SECRET_SIZE]);
	void *find_key_ctx;
	/* May this principal do this? NULL: yes. 0, or negative with e filled by fail(). Runs after
	 * decoding, before the handler. */
	int (*authorize)(void *ctx, struct call *c, const void *in, struct err *e);
	void *authorize_ctx;
	int64_t (*now_ms)(void); /* NULL: the wall clock. For tests */
};

/* config's strings stay the caller's and must outlive the engine. */
struct aws *aws_new(struct loop *l, const struct aws_config *config);
/* All requests are gone before: free the HTTP servers first. */
void aws_free(struct aws *a);
/* s is a generated table (`&lambda_service`), ctx goes to call.ctx. */
void aws_service_add(struct aws *a, const struct aws_service *s, void *ctx);

/* What a service may add to the engine's ways. Each may be NULL. ctx is that of the service. */
struct aws_hooks {
	/* Another path to route by, or ptr NULL: S3's virtual hosts ("bucket.s3.…" in Host becomes
	 * the first segment). The signature is checked over what was sent. Allocates from arena. */
	struct str (*path)(void *ctx, const struct http_request *r, struct arena *arena);
	/* A request for this service that fits no operation: POST forms, OPTIONS preflights. Comes
	 * with the head and c->op NULL; c->principal is anonymous unless the request is signed
	 * otherwise. Returns like a handler (call_body_start(), call_reply_text(), fail()), or
	 * AWS_NOT_MINE for the engine's refusal. */
	int (*other)(struct call *c, struct err *e);
	/* Every answer is about to leave, errors too (c->op may be NULL): call_header() what it
	 * should carry (CORS). */
	void (*answering)(struct call *c, unsigned status);
};
#define AWS_NOT_MINE (-1301)
/* h must outlive the engine. s has been added. */
void aws_service_add_hooks(struct aws *a, const struct aws_service *s, const struct aws_hooks *h);

/* The http_handler's functions, for requests that core does not keep for itself. They use
 * r->user. on_request may be left uncalled only if on_cancel is called. */
void aws_on_head(struct aws *a, struct http_request *r);
void aws_on_body(struct http_request *r, const void *data, size_t len);
void aws_on_request(struct http_request *r);
void aws_on_cancel(struct http_request *r);

/* Only authenticate (function URLs with AWS_IAM): 0, or negative with e filled by fail(). The body
 * is whole. For the service of this signing name in this region (NULL: in any). */
int aws_authenticate(struct aws *a, struct http_request *r, const char *signing_name,
    const char *region, struct aws_principal *ret, struct err *e);
