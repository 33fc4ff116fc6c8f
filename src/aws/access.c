/*
 * Who sent the request? Signature Version 4 against the secret that core's function finds. The
 * head alone tells whether the key exists, before a large body is taken in; the signature is
 * judged when the body is there, since it covers the body's hash.
 */
#include "aws/aws_int.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "base/time.h"

#define S3_MISMATCH_TEXT                                                                  \
	"The request signature we calculated does not match the signature you provided. " \
	"Check your key and signing method."
#define SMALL_BODY 32768
#define MISMATCH_TEXT                                                                     \
	"The request signature we calculated does not match the signature you provided. " \
	"Check your AWS Secret Access Key and signing method. Consult the service "       \
	"documentation for details."

int64_t aws_now_ms(const struct aws *a)
{
	return a->config.now_ms ? a->config.now_ms() : time_wall_ms();
}

void aws_sigv4_request(const struct http_request *r, struct sigv4_request *ret)
{
	*ret = (struct sigv4_request){.method = r->method,
	    .path = r->path,
	    .query = r->query,
	    .headers = r->headers,
	    .header_count = r->header_count};
}

static void copy(char *out, size_t size, struct str s)
{
	size_t len = min_size(s.len, size - 1);

	memcpy(out, s.ptr, len);
	out[len] = '\0';
}

/* A region becomes part of names and ARNs, so it is checked even where nothing is. */
static bool region_valid(struct str region)
{
	if (region.len == 0 || region.len >= 64)
		return false;
	for (size_t i = 0; i < region.len; i++) {
		char c = region.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return true;
}

static bool ascii_word(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
			return false;
	return s.len > 0 && s.len <= 128;
}

static void dev_principal(
    const struct aws *a, const struct sigv4_auth *auth, struct aws_principal *ret)
{
	*ret = (struct aws_principal){.type = AWS_ROOT};
	copy(ret->account, sizeof(ret->account), str_from(a->config.account));
	copy(ret->user_id, sizeof(ret->user_id), str_from(a->config.account));
	snprintf(ret->arn, sizeof(ret->arn), "arn:aws:iam::%s:root", a->config.account);
	copy(ret->access_key_id, sizeof(ret->access_key_id),
	    auth && auth->access_key_id.len ? auth->access_key_id : STR("test"));
}

static bool is_loopback(struct str origin)
{
	static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};

	if (!str_has_prefix(origin, "http://") && !str_has_prefix(origin, "https://"))
		return false;
	origin = str_sub(origin, origin.ptr[4] == 's' ? 8 : 7);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct str rest = str_sub(origin, strlen(hosts[i]));

		if (str_has_prefix(origin, hosts[i]) && (!rest.len || rest.ptr[0] == ':'))
			return true;
	}
	return false;
}

/* With --dev nothing is signed, so any page in a browser on this machine could send requests: the
 * browser says for whom. */
static int check_origin(const struct http_request *r, struct err *e)
{
	struct str origin = http_header(r, "origin");

	if (!origin.ptr || is_loopback(origin))
		return 0;
	return fail(e, AWS_ACCESS_DENIED,
	    "With --dev, requests for web pages are taken from localhost only, not from %.*s",
	    (int)min_size(origin.len, 200), origin.ptr);
}

/* S3 has its own words for what all services refuse. */
static int find_key(struct aws *a, const struct sigv4_auth *auth, bool s3,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE], struct err *e)
{
	int r = a->config.find_key(
	    a->config.find_key_ctx, auth->access_key_id, auth->token, aws_now_ms(a), ret, secret);

	switch (r) {
	case 0: return 0;
	case AWS_KEY_EXPIRED:
		return fail(e, AWS_EXPIRED_TOKEN,
		    s3 ? "The provided token has expired."
		       : "The security token included in the request is expired");
	case AWS_KEY_UNKNOWN:
		return fail(e, AWS_UNKNOWN_KEY,
		    s3 ? "The AWS Access Key Id you provided does not exist in our records."
		       : "The security token included in the request is invalid.");
	case AWS_KEY_TOKEN_INVALID:
		return fail(e, AWS_BAD_TOKEN,
		    s3 ? "The provided token is malformed or otherwise invalid."
		       : "The security token included in the request is invalid.");
	default: return err_sys(e, -r, "looking up an access key");
	}
}

static int code_of(int sigv4_result)
{
	switch (sigv4_result) {
	case SIGV4_INCOMPLETE: return AWS_INCOMPLETE_AUTH;
	case SIGV4_BAD_URL: return AWS_BAD_URL_AUTH;
	case SIGV4_UNSUPPORTED: return AWS_UNSUPPORTED_AUTH;
	case SIGV4_SKEWED: return AWS_SKEWED;
	case SIGV4_EXPIRED: return AWS_URL_EXPIRED;
	default: return AWS_BAD_SIGNATURE;
	}
}

int aws_access_refusal(int sigv4_result, const struct err *why, struct err *e)
{
	return fail(e, code_of(sigv4_result), "%s", why->msg);
}

/* The same of S3. */
static int refusal_of_s3(int result, const struct err *why, struct err *e)
{
	switch (result) {
	case SIGV4_SKEWED:
		return fail(e, AWS_SKEWED,
		    "The difference between the request time and the current time is too large.");
	case SIGV4_EXPIRED: return fail(e, AWS_URL_EXPIRED, "Request has expired");
	case SIGV4_INCOMPLETE:
		return fail(e, AWS_ACCESS_DENIED,
		    "There were headers present in the request which were not signed");
	default: return aws_access_refusal(result, why, e);
	}
}

static bool body_is_small(const struct http_request *r)
{
	struct str length = http_header(r, "Content-Length");
	int64_t n;

	return !length.ptr ? !http_header(r, "Transfer-Encoding").ptr
			   : str_to_int64(length, 0, SMALL_BODY, &n);
}

/* What the head alone tells of a signed request. */
static int check_head(
    struct aws *a, const struct sigv4_request *s, const struct sigv4_auth *auth, struct err *e)
{
	struct err why = ERR_INIT;
	int r;

	if (!region_valid(auth->region) || !ascii_word(auth->access_key_id))
		return fail(
		    e, AWS_INCOMPLETE_AUTH, "Credential has an impossible region or key id.");
	if (a->config.dev)
		return 0;
	r = sigv4_check_headers(s, auth, &why);
	if (r == 0)
		r = sigv4_check_time(auth, aws_now_ms(a), &why);
	if (r < 0)
		return s->s3 ? refusal_of_s3(r, &why, e) : aws_access_refusal(r, &why, e);
	return 0;
}

/* In rest-xml the head says what the payload's hash is. */
static int announced_hash(struct aws_request *q, struct err *e)
{
	struct str *hash = &q->auth.payload_hash;

	if (!hash->ptr && q->auth.presigned) {
		*hash = sigv4_parameter(&q->arena, q->http->query, "X-Amz-Content-Sha256");
		if (!hash->ptr)
			*hash = STR("UNSIGNED-PAYLOAD");
	}
	if (!hash->ptr)
		return fail(e, AWS_UNSUPPORTED_AUTH,
		    "Missing required header for this request: x-amz-content-sha256");
	if (sigv4_payload_kind(*hash) == SIGV4_PAYLOAD_INVALID)
		return fail(e, AWS_VALIDATION,
		    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, "
		    "or a valid sha256 value.");
	return 0;
}

/* ... so that the signature is judged before anything of the body is read. */
static int verify_head(struct aws_request *q, const struct sigv4_request *s, struct err *e)
{
	char computed[SIGV4_HEX];

	sigv4_cache_key(
	    &q->aws->cache, q->secret, q->auth.date, q->auth.region, q->auth.service, q->key);
	sigv4_signature(&q->arena, s, &q->auth, q->key, q->auth.payload_hash, computed);
	if (!sigv4_equal(computed, q->auth.signature))
		return fail(e, AWS_BAD_SIGNATURE, S3_MISMATCH_TEXT);
	return 0;
}

int aws_access_head(struct aws_request *q, struct err *e)
{
	const struct aws_config *config = &q->aws->config;
	struct sigv4_request s;
	int r;

	if (config->dev && check_origin(q->http, e) < 0)
		return -EACCES;
	aws_sigv4_request(q->http, &s);
	s.s3 = q->route.protocol == AWS_REST_XML;
	if (!q->is_signed) {
		bool open = (q->route.op && q->route.op->anonymous) || s.s3 ||
			    (q->route.protocol == AWS_QUERY && !q->route.op);

		q->auth.payload_hash = http_header(q->http, "x-amz-content-sha256");

		if (!config->dev && !open)
			return fail(e, AWS_MISSING_AUTH, "Missing Authentication Token");
		if (config->dev)
			dev_principal(q->aws, NULL, &q->call.principal);
		copy(q->call.region, sizeof(q->call.region), str_from(config->region));
		return 0;
	}
	r = check_head(q->aws, &s, &q->auth, e);
	if (r < 0)
		return r;
	copy(q->call.region, sizeof(q->call.region), q->auth.region);
	if (config->dev) {
		dev_principal(q->aws, &q->auth, &q->call.principal);
		return 0;
	}
	r = find_key(q->aws, &q->auth, s.s3, &q->call.principal, q->secret, e);
	if (r == 0 && s.s3) {
		r = announced_hash(q, e);
		return r < 0 ? r : verify_head(q, &s, e);
	}
	/* A small body is hashed at once, when it is there. */
	if (r == 0 && sigv4_payload_kind(q->auth.payload_hash) == SIGV4_PAYLOAD_HASHED &&
	    !body_is_small(q->http))
		q->hash = sigv4_hash_new();
	return r;
}

/* The hash that the signature covers. */
static int payload_hash(
    const struct sigv4_auth *auth, const char body_hash[SIGV4_HEX], struct str *ret, struct err *e)
{
	enum sigv4_payload kind = sigv4_payload_kind(auth->payload_hash);

	if (kind == SIGV4_PAYLOAD_INVALID)
		return fail(e, AWS_BAD_SIGNATURE,
		    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, "
		    "or a SHA-256 in hexadecimal digits.");
	if (!auth->payload_hash.ptr) {
		*ret = str_from(body_hash);
		return 0;
	}
	*ret = auth->payload_hash;
	if (kind == SIGV4_PAYLOAD_HASHED && !sigv4_equal(body_hash, auth->payload_hash))
		return fail(e, AWS_BAD_SIGNATURE,
		    "The provided 'x-amz-content-sha256' header does not match what was computed.");
	return 0;
}

static int verify(struct aws *a, struct arena *arena, const struct sigv4_request *s,
    const struct sigv4_auth *auth, const char *secret, const char body_hash[SIGV4_HEX],
    uint8_t key[32], struct err *e)
{
	char computed[SIGV4_HEX];
	struct str hash;
	int r = payload_hash(auth, body_hash, &hash, e);

	if (r < 0)
		return r;
	sigv4_cache_key(&a->cache, secret, auth->date, auth->region, auth->service, key);
	sigv4_signature(arena, s, auth, key, hash, computed);
	if (!sigv4_equal(computed, auth->signature))
		return fail(e, AWS_BAD_SIGNATURE, MISMATCH_TEXT);
	return 0;
}

/* Core may not have passed on every piece, so count. */
static void body_hash(struct aws_request *q, char ret[SIGV4_HEX])
{
	if (q->hash && q->hashed == buf_len(&q->body))
		sigv4_hash_end(q->hash, ret);
	else
		sigv4_sha256_hex(buf_str(&q->body), ret);
}

int aws_access_chunks(const struct aws_request *q, int result, const struct err *why, struct err *e)
{
	if (q->route.protocol == AWS_REST_XML && result == SIGV4_INCOMPLETE)
		return fail(e, AWS_INCOMPLETE_BODY, "%s", why->msg);
	return aws_access_refusal(result, why, e);
}

static int unchunk(struct aws_request *q, const uint8_t *key, struct err *e)
{
	enum sigv4_payload kind = sigv4_payload_kind(q->auth.payload_hash);
	struct err why = ERR_INIT;
	int r;

	if (kind < SIGV4_PAYLOAD_CHUNKED || kind == SIGV4_PAYLOAD_INVALID)
		return 0;
	r = sigv4_chunks_decode(&q->body, kind, &q->auth, key, &why);
	return r < 0 ? aws_access_chunks(q, r, &why, e) : 0;
}

int aws_access_hash(const struct aws_request *q, const char hash[SIGV4_HEX], struct err *e)
{
	if (sigv4_equal(hash, q->auth.payload_hash))
		return 0;
	return fail(e, AWS_BAD_PAYLOAD_HASH,
	    "The provided 'x-amz-content-sha256' header does not match what was computed.");
}

/* Of a body in rest-xml that has been collected; the signature was judged with the head. */
static int check_collected(struct aws_request *q, struct err *e)
{
	bool checked = q->is_signed && !q->aws->config.dev;
	char hash[SIGV4_HEX];

	if (q->auth.payload_hash.ptr &&
	    sigv4_payload_kind(q->auth.payload_hash) == SIGV4_PAYLOAD_HASHED) {
		body_hash(q, hash);
		return aws_access_hash(q, hash, e);
	}
	return unchunk(q, checked ? q->key : NULL, e);
}

int aws_access_body(struct aws_request *q, struct err *e)
{
	char hash[SIGV4_HEX] = "";
	struct sigv4_request s;
	uint8_t key[32];
	int r;

	if (q->route.protocol == AWS_REST_XML)
		return check_collected(q, e);
	if (!q->is_signed) {
		if (!q->aws->config.dev && !(q->route.op && q->route.op->anonymous))
			return fail(e, AWS_MISSING_AUTH, "Request is missing Authentication Token");
		return 0;
	}
	if (q->aws->config.dev)
		return unchunk(q, NULL, e);
	aws_sigv4_request(q->http, &s);
	if (sigv4_payload_kind(q->auth.payload_hash) == SIGV4_PAYLOAD_HASHED)
		body_hash(q, hash);
	r = verify(q->aws, &q->arena, &s, &q->auth, q->secret, hash, key, e);
	if (r == 0)
		r = unchunk(q, key, e);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

int aws_authenticate(struct aws *a, struct http_request *r, const char *signing_name,
    const char *region, struct aws_principal *ret, struct err *e)
{
	char secret[AWS_SECRET_SIZE], hash[SIGV4_HEX];
	struct aws_principal who;
	struct sigv4_request s;
	struct sigv4_auth auth;
	struct err why = ERR_INIT;
	uint8_t key[32];
	int result;

	if (a->config.dev) {
		dev_principal(a, NULL, ret);
		return check_origin(r, e);
	}
	aws_sigv4_request(r, &s);
	result = sigv4_parse(r->arena, &s, &auth, &why);
	if (result == SIGV4_UNSIGNED)
		return fail(e, AWS_MISSING_AUTH, "Missing Authentication Token");
	if (result < 0)
		return fail(e, AWS_INCOMPLETE_AUTH, "%s", why.msg);
	if (!str_is(auth.service, signing_name))
		return fail(e, AWS_BAD_SIGNATURE,
		    "Credential should be scoped to correct service: '%s'.", signing_name);
	if (region && !str_is(auth.region, region))
		return fail(e, AWS_BAD_SIGNATURE,
		    "Credential should be scoped to a valid region, not '%.*s'; this is '%s'.",
		    STR_FMT(auth.region), region);
	result = check_head(a, &s, &auth, e);
	if (result == 0)
		result = find_key(a, &auth, false, &who, secret, e);
	if (result < 0)
		return result;
	sigv4_sha256_hex(buf_str(&r->body), hash);
	result = verify(a, r->arena, &s, &auth, secret, hash, key, e);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(key, sizeof(key));
	if (result == 0)
		*ret = who;
	return result;
}

/* For a POST form, which proves itself by a signature of its policy alone. */
static int check_text(struct aws_request *q, const struct sigv4_auth *auth, struct str text,
    struct str signature, struct aws_principal *ret, struct err *e)
{
	char secret[AWS_SECRET_SIZE], computed[SIGV4_HEX];
	uint8_t key[32];
	int r = find_key(q->aws, auth, true, ret, secret, e);

	if (r < 0)
		return r;
	sigv4_cache_key(&q->aws->cache, secret, auth->date, auth->region, auth->service, key);
	sigv4_text_signature(key, text, computed);
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(key, sizeof(key));
	if (!sigv4_equal(computed, signature))
		return fail(e, AWS_BAD_SIGNATURE, S3_MISMATCH_TEXT);
	return 0;
}

int call_authenticate_text(struct call *c, struct str credential, struct str token, struct str text,
    struct str signature, struct err *e)
{
	struct aws_request *q = aws_request_of(c);
	struct sigv4_auth auth = {.token = token};
	struct aws_principal who;

	if (!sigv4_parse_scope(credential, &auth) || !region_valid(auth.region) ||
	    !ascii_word(auth.access_key_id) || !str_is(auth.service, q->call.service->signing_name))
		return fail(e, AWS_BAD_URL_AUTH,
		    "The credential is not of the form <access key>/<date>/<region>/%s/"
		    "aws4_request",
		    q->call.service->signing_name);
	if (q->aws->config.dev) {
		dev_principal(q->aws, &auth, &who);
	} else {
		int r = check_text(q, &auth, text, signature, &who, e);

		if (r < 0)
			return r;
	}
	c->principal = who;
	copy(c->region, sizeof(c->region), auth.region);
	copy(c->account, sizeof(c->account), str_from(who.account));
	return 0;
}
