/*
 * AWS Signature Version 4, both sides: what a server checks and what the command line client
 * makes. Functions of their arguments, but for the cache of signing keys. Knows nothing of
 * accounts; who a key belongs to is found by a function that core hands to the engine.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "http/http.h"

#define SIGV4_SKEW_MS (15 * 60 * 1000)
#define SIGV4_EXPIRES_MAX_S 604800
#define SIGV4_HEX 65 /* 64 hex digits and a NUL */

struct sigv4_request {
	struct str method, path, query; /* path and query as sent */
	const struct http_header *headers;
	size_t header_count;
	bool s3; /* the path is encoded once and not tidied */
};

/* What a request says about its signature. Slices point into the request or the arena. */
struct sigv4_auth {
	struct str access_key_id, date, region, service, signed_headers, signature;
	struct str time;         /* "20150830T123600Z" */
	struct str token;        /* session token, or ptr NULL */
	struct str payload_hash; /* x-amz-content-sha256, or ptr NULL */
	int64_t time_ms;
	int64_t expires_s; /* presigned only */
	bool presigned;
};

enum {
	SIGV4_UNSIGNED = -1101,   /* no signature at all */
	SIGV4_INCOMPLETE = -1102, /* a broken one: e says how */
	SIGV4_EXPIRED = -1103,    /* a presigned URL */
	SIGV4_MISMATCH = -1104,
	SIGV4_SKEWED = -1105,      /* its time is too far from ours */
	SIGV4_BAD_URL = -1106,     /* a broken one in a presigned URL: e says how */
	SIGV4_UNSUPPORTED = -1107, /* not AWS4-HMAC-SHA256 */
};

/* Read the Authorization header, or the X-Amz-* parameters of a presigned URL. 0,
 * SIGV4_UNSIGNED, SIGV4_INCOMPLETE, SIGV4_BAD_URL or SIGV4_UNSUPPORTED. */
int sigv4_parse(
    struct arena *a, const struct sigv4_request *r, struct sigv4_auth *ret, struct err *e);

/* "AKID/20150830/us-east-1/iam/aws4_request" (an access key id has no slash) into its parts. */
bool sigv4_parse_scope(struct str scope, struct sigv4_auth *ret);

/* Decoded value of a query parameter; ptr NULL when absent. */
struct str sigv4_parameter(struct arena *a, struct str query, const char *name);

/* Is the time within ±15 minutes, or a presigned URL within its life? 0, SIGV4_SKEWED or
 * SIGV4_EXPIRED. */
int sigv4_check_time(const struct sigv4_auth *auth, int64_t now_ms, struct err *e);

/* Are Host and every x-amz-* header covered by the signature? 0 or SIGV4_INCOMPLETE. */
int sigv4_check_headers(
    const struct sigv4_request *r, const struct sigv4_auth *auth, struct err *e);

void sigv4_key(
    const char *secret, struct str date, struct str region, struct str service, uint8_t ret[32]);

/* Signing keys by (secret, date, region, service): four HMACs saved a request. Loop thread. */
struct sigv4_cache {
	struct sigv4_cached {
		struct sigv4_scope {
			char secret[72], date[16], region[64], service[40]; /* NUL to the end */
		} what;
		uint8_t key[32];
		bool used;
	} slots[64];
};
void sigv4_cache_key(struct sigv4_cache *cache, const char *secret, struct str date,
    struct str region, struct str service, uint8_t ret[32]);

/* The text whose hash is signed. Goes to the end of b. */
void sigv4_canonical(struct buf *b, struct arena *a, const struct sigv4_request *r,
    const struct sigv4_auth *auth, struct str payload_hash);
/* The signature that this request should carry. */
void sigv4_signature(struct arena *a, const struct sigv4_request *r, const struct sigv4_auth *auth,
    const uint8_t key[32], struct str payload_hash, char ret[SIGV4_HEX]);
/* Without telling by its time how much is equal. */
bool sigv4_equal(const char computed[SIGV4_HEX], struct str sent);

/* SHA-256 of a body, at once or piece by piece; lower-case hex. */
void sigv4_sha256_hex(struct str data, char ret[SIGV4_HEX]);
/* The signature of a text as a whole: of the policy in a POST form. */
void sigv4_text_signature(const uint8_t key[32], struct str text, char ret[SIGV4_HEX]);
struct sigv4_hash;
struct sigv4_hash *sigv4_hash_new(void);
void sigv4_hash_restart(struct sigv4_hash *h);
void sigv4_hash_add(struct sigv4_hash *h, const void *data, size_t len);
void sigv4_hash_end(struct sigv4_hash *h, char ret[SIGV4_HEX]);
void sigv4_hash_free(struct sigv4_hash *h);

/* ---- bodies in signed chunks (x-amz-content-sha256: STREAMING-…) ---- */

enum sigv4_payload {
	SIGV4_PAYLOAD_HASHED, /* a hash in hex, or no header at all */
	SIGV4_PAYLOAD_UNSIGNED,
	SIGV4_PAYLOAD_CHUNKED,                  /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
	SIGV4_PAYLOAD_CHUNKED_TRAILER,          /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
	SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER, /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
	SIGV4_PAYLOAD_INVALID,
};
enum sigv4_payload sigv4_payload_kind(struct str payload_hash);

/* Piece by piece. auth must outlive it; key, which is copied, is NULL when signatures are not to be
 * checked. */
struct sigv4_chunks;
struct sigv4_chunks *sigv4_chunks_new(
    enum sigv4_payload kind, const struct sigv4_auth *auth, const uint8_t *key);
void sigv4_chunks_free(struct sigv4_chunks *c);
/* Consume from *in: 1 with *ret being the next data (a slice of *in), 0 when *in is used up, else
 * SIGV4_INCOMPLETE (malformed) or SIGV4_MISMATCH. Data is proved only by what follows it. */
int sigv4_chunks_next(struct sigv4_chunks *c, struct str *in, struct str *ret, struct err *e);
/* Nothing more arrives: is it complete, and all of it proved? */
int sigv4_chunks_end(const struct sigv4_chunks *c, struct err *e);
struct str sigv4_chunks_trailer(const struct sigv4_chunks *c, const char *name);

/* Replace the chunked body by what it carries. key is NULL when signatures are not to be checked.
 * 0, SIGV4_INCOMPLETE (malformed) or SIGV4_MISMATCH; the body is then in no useful state. */
int sigv4_chunks_decode(struct buf *body, enum sigv4_payload kind, const struct sigv4_auth *auth,
    const uint8_t *key, struct err *e);

/* ---- the client's side ---- */

struct sigv4_keys {
	const char *access_key_id, *secret;
	const char *session_token; /* NULL: none */
};

#define SIGV4_SIGN_HEADERS 3
/* Sign: r carries all headers to be sent (Host among them) but those this adds. Fills out with
 * X-Amz-Date, Authorization and, for temporary keys, X-Amz-Security-Token (in the arena); returns
 * how many. payload_hash is hex or UNSIGNED-PAYLOAD. */
size_t sigv4_sign(struct arena *a, const struct sigv4_request *r, const struct sigv4_keys *keys,
    const char *region, const char *service, int64_t now_ms, const char *payload_hash,
    struct http_header out[SIGV4_SIGN_HEADERS]);
