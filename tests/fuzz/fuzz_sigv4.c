/*
 * What a client says about its signature. Text: method, path and query on the first line with
 * spaces between, then headers, an empty line, and the body (taken as signed chunks, and as an
 * event stream). Properties: nothing read out of bounds; what our signer signs, our verifier
 * accepts; unchunked bodies only shrink.
 */
#include "fuzz.h"

#include "aws/eventstream.h"
#include "aws/sigv4.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define HEADERS_MAX 12

/* What the HTTP server lets through as a name, or nearly. */
static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || strchr(",;:", s.ptr[i]))
			return false;
	return s.len > 0;
}

static void sign_and_verify(struct arena *a, const struct sigv4_request *r)
{
	struct http_header headers[HEADERS_MAX + SIGV4_SIGN_HEADERS];
	struct sigv4_keys keys = {"AKIDEXAMPLE", SECRET, NULL};
	struct sigv4_request s = *r;
	char signature[SIGV4_HEX];
	struct sigv4_auth auth;
	uint8_t key[32];
	size_t count = 0;

	for (size_t i = 0; i < r->header_count; i++)
		if (!str_eq_nocase(r->headers[i].name, STR("authorization")) &&
		    !str_eq_nocase(r->headers[i].name, STR("x-amz-date")) &&
		    is_token(r->headers[i].name))
			headers[count++] = r->headers[i];
	s.headers = headers;
	s.header_count = count;
	s.header_count += sigv4_sign(a, &s, &keys, "us-east-1", "lambda", 1440938160000,
	    "UNSIGNED-PAYLOAD", headers + count);
	check(sigv4_parse(a, &s, &auth, NULL) == 0);
	sigv4_key(SECRET, auth.date, auth.region, auth.service, key);
	sigv4_signature(a, &s, &auth, key, STR("UNSIGNED-PAYLOAD"), signature);
	check(sigv4_equal(signature, auth.signature));
}

static void judge(struct arena *a, const struct sigv4_request *r)
{
	char signature[SIGV4_HEX];
	struct sigv4_auth auth;
	struct err e = ERR_INIT;
	uint8_t key[32] = {0};

	if (sigv4_parse(a, r, &auth, &e) == 0) {
		check(auth.date.len == 8 && auth.signature.len == 64);
		sigv4_check_time(&auth, 1440938160000, &e);
		sigv4_check_headers(r, &auth, &e);
		sigv4_payload_kind(auth.payload_hash);
		sigv4_signature(a, r, &auth, key, STR("x"), signature);
	}
	sign_and_verify(a, r);
}

static void take_body(struct str body)
{
	struct sigv4_auth auth = {.date = STR("20130524"),
	    .region = STR("us-east-1"),
	    .service = STR("s3"),
	    .time = STR("20130524T000000Z"),
	    .signature = STR("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")};
	struct eventstream_message m;
	uint8_t key[32] = {0};

	for (enum sigv4_payload kind = SIGV4_PAYLOAD_CHUNKED;
	     kind <= SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER; kind++) {
		for (unsigned checked = 0; checked < 2; checked++) {
			_cleanup_buf_ struct buf b = BUF_INIT;

			buf_append_str(&b, body);
			sigv4_chunks_decode(&b, kind, &auth, checked ? key : NULL, NULL);
			check(buf_len(&b) <= body.len);
		}
	}
	if (eventstream_parse(body, &m) > 0)
		check(m.payload.len < body.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of exactly this size, so that ASan sees what reads beyond. */
	char *copy = size ? xmalloc(size) : NULL;
	struct http_header headers[HEADERS_MAX];
	struct sigv4_request r = {.headers = headers};
	struct str rest = {copy, size}, line;
	struct arena a;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	arena_init(&a);
	line = str_cut(&rest, '\n');
	r.method = str_cut(&line, ' ');
	r.path = str_cut(&line, ' ');
	r.query = line;
	while (rest.ptr && r.header_count < HEADERS_MAX) {
		struct str value = str_cut(&rest, '\n'), name;

		if (value.len == 0)
			break;
		name = str_cut(&value, ':');
		if (value.ptr)
			headers[r.header_count++] = (struct http_header){name, value};
	}
	judge(&a, &r);
	if (rest.ptr)
		take_body(rest);
	arena_done(&a);
	free(copy);
	return 0;
}
