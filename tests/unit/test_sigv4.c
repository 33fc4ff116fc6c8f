/* Signature Version 4: AWS's published example, vectors made by sigv4_vectors.py (an independent
 * implementation), chunked bodies, and the engine's judgement of forged requests. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include "http_fake.h"

#include "aws/aws.h"
#include "aws/sigv4.h"
#include "base/time.h"
#include "gen/s3.h"
#include "gen/sts.h"
#include "sigv4_vectors.h"

static struct arena arena;

#define H(name, value)                \
	{                             \
		STR(name), STR(value) \
	}

/* The example of "Signature Version 4 signing process": ListUsers of IAM, 30 August 2015. */
static const struct http_header example[] = {
    H("Host", "iam.amazonaws.com"),
    H("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
};
#define EXAMPLE_SIGNATURE "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
#define EXAMPLE_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define NOW_MS 1440938160000 /* 20150830T123600Z */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void the_published_example_comes_out(void **state)
{
	struct sigv4_request r = {STR("GET"), STR("/"), STR("Action=ListUsers&Version=2010-05-08"),
	    example, ARRAY_SIZE(example), false};
	struct sigv4_keys keys = {"AKIDEXAMPLE", EXAMPLE_SECRET, NULL};
	struct http_header out[SIGV4_SIGN_HEADERS];

	(void)state;
	assert_int_equal(sigv4_sign(&arena, &r, &keys, "us-east-1", "iam", NOW_MS, EMPTY, out), 2);
	assert_true(str_is(out[0].value, "20150830T123600Z"));
	assert_true(str_is(out[1].value,
	    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
	    "SignedHeaders=content-type;host;x-amz-date, Signature=" EXAMPLE_SIGNATURE));
}

static void what_was_signed_is_read_back(void **state)
{
	struct http_header headers[5] = {example[0], example[1]};
	struct sigv4_request r = {
	    STR("GET"), STR("/"), STR("Action=ListUsers&Version=2010-05-08"), headers, 2, false};
	struct sigv4_keys keys = {"AKIDEXAMPLE", EXAMPLE_SECRET, "the+token/="};
	struct sigv4_cache cache = {0};
	char signature[SIGV4_HEX];
	struct sigv4_auth auth;
	uint8_t key[32];

	(void)state;
	r.header_count +=
	    sigv4_sign(&arena, &r, &keys, "eu-west-1", "iam", NOW_MS, EMPTY, headers + 2);
	assert_int_equal(sigv4_parse(&arena, &r, &auth, NULL), 0);
	assert_true(str_is(auth.access_key_id, "AKIDEXAMPLE"));
	assert_true(str_is(auth.region, "eu-west-1"));
	assert_true(str_is(auth.token, "the+token/="));
	assert_int_equal(sigv4_check_headers(&r, &auth, NULL), 0);
	for (unsigned i = 0; i < 2; i++) { /* second time from the cache */
		sigv4_cache_key(&cache, EXAMPLE_SECRET, auth.date, auth.region, auth.service, key);
		sigv4_signature(&arena, &r, &auth, key, STR(EMPTY), signature);
		assert_true(sigv4_equal(signature, auth.signature));
	}
	headers[0].value = STR("other.example.com");
	sigv4_signature(&arena, &r, &auth, key, STR(EMPTY), signature);
	assert_false(sigv4_equal(signature, auth.signature));
}

static void independent_vectors_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct http_header headers[8];
		struct sigv4_request r = {.method = str_from(v->method),
		    .path = str_from(v->path),
		    .query = str_from(v->query),
		    .headers = headers,
		    .s3 = v->s3};
		struct str lines = str_from(v->headers);
		struct sigv4_auth auth;
		char signature[SIGV4_HEX];
		uint8_t key[32];

		while (lines.len) {
			struct str value = str_cut(&lines, '\n'), name = str_cut(&value, ':');

			headers[r.header_count++] = (struct http_header){name, value};
		}
		assert_int_equal(sigv4_parse(&arena, &r, &auth, NULL), 0);
		sigv4_key(EXAMPLE_SECRET, auth.date, auth.region, auth.service, key);
		sigv4_signature(&arena, &r, &auth, key, str_from(v->payload_hash), signature);
		if (!sigv4_equal(signature, auth.signature)) {
			struct buf b = BUF_INIT;

			sigv4_canonical(&b, &arena, &r, &auth, str_from(v->payload_hash));
			print_error("vector %zu:\n%.*s\n", i, (int)buf_len(&b), buf_data(&b));
			buf_done(&b);
		}
		assert_true(sigv4_equal(signature, auth.signature));
		assert_int_equal(sigv4_check_time(&auth, NOW_MS, NULL), 0);
	}
}

static void time_has_two_edges(void **state)
{
	struct sigv4_auth auth = {.time = STR("20150830T123600Z"), .time_ms = NOW_MS};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(sigv4_check_time(&auth, NOW_MS + SIGV4_SKEW_MS, &e), 0);
	assert_int_equal(sigv4_check_time(&auth, NOW_MS - SIGV4_SKEW_MS, &e), 0);
	assert_int_equal(sigv4_check_time(&auth, NOW_MS + SIGV4_SKEW_MS + 1000, &e), SIGV4_SKEWED);
	assert_string_equal(e.msg, "Signature expired: 20150830T123600Z is now earlier than "
				   "20150830T123601Z (20150830T125101Z - 15 min.)");
	assert_int_equal(sigv4_check_time(&auth, NOW_MS - SIGV4_SKEW_MS - 1000, &e), SIGV4_SKEWED);
	assert_string_equal(e.msg,
	    "Signature not yet current: 20150830T123600Z is still later than "
	    "20150830T123559Z (20150830T122059Z + 15 min.)");
	auth.presigned = true;
	auth.expires_s = 60;
	assert_int_equal(sigv4_check_time(&auth, NOW_MS + 60000, &e), 0);
	assert_int_equal(sigv4_check_time(&auth, NOW_MS + 60001, &e), SIGV4_EXPIRED);
}

static void broken_signatures_are_incomplete(void **state)
{
	static const char *const bad[] = {
	    "AWS3-HTTPS x",
	    "AWS4-HMAC-SHA256 ",
	    "AWS4-HMAC-SHA256 Credential=A/20150830/r/s/aws4_request, SignedHeaders=host",
	    "AWS4-HMAC-SHA256 Credential=A/20150830/r/s, SignedHeaders=host, Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=A/20150830/r/s/aws4_request, Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=A/20150831/r/s/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    "AWS4-HMAC-SHA256 Credential=A/20150830/r/s/aws4_request, SignedHeaders=host, "
	    "Signature=12",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_header headers[] = {
		    {STR("Authorization"), str_from(bad[i])}, H("X-Amz-Date", "20150830T123600Z")};
		struct sigv4_request r = {.path = STR("/"), .headers = headers, .header_count = 2};
		struct sigv4_auth auth;
		struct err e = ERR_INIT;

		assert_int_equal(
		    sigv4_parse(&arena, &r, &auth, &e), i ? SIGV4_INCOMPLETE : SIGV4_UNSUPPORTED);
		assert_true(strlen(e.msg) > 10);
	}
}

/* ---- chunked bodies ---- */

/* However it arrives, the outcome is that of decoding it at once. */
static void expect_same_in_pieces(struct str in, size_t step, enum sigv4_payload kind,
    const struct sigv4_auth *auth, const uint8_t *key, int outcome, struct str decoded)
{
	struct sigv4_chunks *c = sigv4_chunks_new(kind, auth, key);
	_cleanup_buf_ struct buf out = BUF_INIT;
	int r = 0;

	while (in.len && r == 0) {
		struct str part = {in.ptr, min_size(in.len, step)}, piece;

		in = (struct str){in.ptr + part.len, in.len - part.len};
		while ((r = sigv4_chunks_next(c, &part, &piece, NULL)) > 0)
			buf_append_str(&out, piece);
	}
	if (r == 0)
		r = sigv4_chunks_end(c, NULL);
	assert_int_equal(r, outcome);
	if (r == 0)
		assert_true(str_eq(buf_str(&out), decoded));
	sigv4_chunks_free(c);
}

static int decode_chunks(const char *text, enum sigv4_payload kind, bool check, struct buf *b)
{
	struct sigv4_auth auth = {.date = STR("20130524"),
	    .region = STR("us-east-1"),
	    .service = STR("s3"),
	    .time = STR("20130524T000000Z"),
	    .signature = STR(CHUNK_SEED)};
	uint8_t key[32];
	int r;

	buf_clear(b);
	buf_puts(b, text);
	sigv4_key(EXAMPLE_SECRET, auth.date, auth.region, auth.service, key);
	r = sigv4_chunks_decode(b, kind, &auth, check ? key : NULL, NULL);
	for (size_t step = 1; step < 100; step += 7)
		expect_same_in_pieces(
		    str_from(text), step, kind, &auth, check ? key : NULL, r, buf_str(b));
	return r;
}

static void chunks_are_verified_one_by_one(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char *forged;

	(void)state;
	assert_int_equal(decode_chunks(CHUNKED, SIGV4_PAYLOAD_CHUNKED, true, &b), 0);
	assert_true(str_is(buf_str(&b), "hello, world"));
	assert_int_equal(
	    decode_chunks(CHUNKED_TRAILER, SIGV4_PAYLOAD_CHUNKED_TRAILER, true, &b), 0);
	assert_true(str_is(buf_str(&b), "hello, world"));
	forged = xstrdup(CHUNKED);
	*strstr(forged, "world") = 'W';
	assert_int_equal(decode_chunks(forged, SIGV4_PAYLOAD_CHUNKED, true, &b), SIGV4_MISMATCH);
	assert_int_equal(decode_chunks(forged, SIGV4_PAYLOAD_CHUNKED, false, &b), 0);
	free(forged);
	forged = xstrdup(CHUNKED_TRAILER);
	*strstr(forged, "x-amz-checksum") = 'y';
	assert_int_equal(
	    decode_chunks(forged, SIGV4_PAYLOAD_CHUNKED_TRAILER, true, &b), SIGV4_MISMATCH);
	free(forged);
}

static void cut_chunks_are_refused(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	(void)state;
	/* The last line may lack its CRLF pair; anything shorter is cut. */
	for (size_t len = 0; len + 4 < strlen(CHUNKED); len++) {
		char *cut = xstrndup(CHUNKED, len);

		assert_true(decode_chunks(cut, SIGV4_PAYLOAD_CHUNKED, true, &b) < 0);
		free(cut);
	}
	assert_int_equal(decode_chunks("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
			     SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER, true, &b),
	    0);
	assert_true(str_is(buf_str(&b), "abc"));
	assert_true(decode_chunks("ffffffff\r\nabc\r\n", SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER,
			true, &b) < 0);
	assert_true(decode_chunks("3\r\nabcd\r\n0\r\n\r\n", SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER,
			true, &b) < 0);
}

/* ---- the engine's judgement ---- */

static int64_t clock_ms = NOW_MS;

static int64_t now_ms(void)
{
	return clock_ms;
}

static int find_key(void *ctx, struct str id, struct str token, int64_t now,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE])
{
	(void)ctx;
	(void)now;
	if (token.ptr)
		return str_is(token, "old") ? AWS_KEY_EXPIRED : AWS_KEY_TOKEN_INVALID;
	if (!str_is(id, "AKIDEXAMPLE"))
		return AWS_KEY_UNKNOWN;
	*ret = (struct aws_principal){.type = AWS_USER,
	    .account = "111122223333",
	    .arn = "arn:aws:iam::111122223333:user/jo",
	    .user_id = "AIDAJO",
	    .access_key_id = "AKIDEXAMPLE"};
	strcpy(secret, EXAMPLE_SECRET);
	return 0;
}

int sts_get_caller_identity(struct call *c, const struct sts_get_caller_identity_in *in,
    struct sts_get_caller_identity_out *out, struct err *e)
{
	(void)in;
	(void)e;
	out->account = call_str(c, c->account);
	out->arn = c->principal.arn;
	return 0;
}

struct forgery {
	const char *access_key_id, *secret, *token;
	const char *sent_body;    /* NULL: the one that was signed */
	struct http_header extra; /* added after signing */
	int64_t skew_ms;
	bool is_unsigned;
	unsigned status;
	const char *expect; /* in the answer */
};

static void send_forged(struct aws *aws, const struct forgery *f)
{
	const char *body = "Action=GetCallerIdentity&Version=2011-06-15";
	const char *sent = f->sent_body ? f->sent_body : body;
	struct http_header headers[8] = {H("Host", "localhost")};
	struct sigv4_request s = {STR("POST"), STR("/"), STR_NULL, headers, 1, false};
	struct sigv4_keys keys = {f->access_key_id, f->secret, f->token};
	struct http_request r = {
	    .arena = &arena, .method = s.method, .path = s.path, .headers = headers};
	char hash[SIGV4_HEX];
	size_t count = 1;

	sigv4_sha256_hex(str_from(body), hash);
	if (!f->is_unsigned)
		count += sigv4_sign(
		    &arena, &s, &keys, "us-east-1", "sts", NOW_MS + f->skew_ms, hash, headers + 1);
	if (f->extra.name.ptr)
		headers[count++] = f->extra;
	r.header_count = count;
	answer.replies = 0;
	aws_on_head(aws, &r);
	assert_int_equal(answer.replies, 0);
	buf_puts(&r.body, sent);
	aws_on_body(&r, sent, 10); /* as it came off the wire */
	aws_on_body(&r, sent + 10, strlen(sent) - 10);
	aws_on_request(&r);
	assert_int_equal(answer.replies, 1);
	if (!strstr(buf_data(&answer.body), f->expect))
		print_error("%s\n", buf_data(&answer.body));
	assert_non_null(strstr(buf_data(&answer.body), f->expect));
	assert_int_equal(answer.status, f->status);
}

/* ---- S3: the head is judged before anything of the body is read ---- */

static struct buf stored;

static void s3_stopped(struct call *c)
{
	(void)c;
	buf_clear(&stored);
}

static void s3_data(struct call *c, const void *data, size_t len)
{
	(void)c;
	buf_append(&stored, data, len);
}

static void s3_end(struct call *c)
{
	call_reply(c, 0, NULL);
}

int s3_put_object(
    struct call *c, const struct s3_put_object_in *in, struct s3_put_object_out *out, struct err *e)
{
	static const struct call_body body = {s3_data, s3_end};

	(void)in;
	(void)out;
	(void)e;
	assert_int_equal(c->principal.type, AWS_USER);
	buf_clear(&stored);
	call_on_stop(c, s3_stopped);
	call_body_start(c, &body);
	return CALL_PENDING;
}

struct upload {
	const char *hash; /* announced; NULL: that of "hello", "": none */
	const char *secret, *sent;
	int64_t skew_ms;
	unsigned status;
	const char *expect;
};

static void upload(struct aws *aws, const struct upload *u)
{
	struct http_header headers[8] = {H("Host", "localhost"), H("Content-Length", "5")};
	struct sigv4_request s = {STR("PUT"), STR("/b//a/../%6B"), STR_NULL, headers, 2, true};
	struct sigv4_keys keys = {"AKIDEXAMPLE", u->secret ? u->secret : EXAMPLE_SECRET, NULL};
	struct http_request r = {
	    .arena = &arena, .method = s.method, .path = s.path, .headers = headers};
	char hash[SIGV4_HEX];

	sigv4_sha256_hex(STR("hello"), hash);
	if (!u->hash || *u->hash)
		headers[s.header_count++] = (struct http_header){
		    STR("x-amz-content-sha256"), str_from(u->hash ? u->hash : hash)};
	r.header_count =
	    s.header_count + sigv4_sign(&arena, &s, &keys, "eu-1", "s3", NOW_MS + u->skew_ms,
				 u->hash ? u->hash : hash, headers + s.header_count);
	answer.replies = 0;
	aws_on_head(aws, &r);
	for (const char *p = u->sent; *p && !answer.replies; p++) {
		assert_true(r.stream);
		aws_on_body(&r, p, 1);
	}
	if (!answer.replies)
		aws_on_request(&r);
	assert_int_equal(answer.replies, 1);
	if (!strstr(buf_data(&answer.body), u->expect))
		assert_string_equal(buf_data(&answer.body), u->expect);
	assert_int_equal(answer.status, u->status);
}

static void uploads_are_judged_as_s3_does(void **state)
{
	static const struct aws_config config = {.account = "123456789012",
	    .region = "us-east-1",
	    .find_key = find_key,
	    .now_ms = now_ms};
	static const struct upload cases[] = {
	    {.sent = "hello", .status = 200, .expect = ""},
	    {.hash = "UNSIGNED-PAYLOAD", .sent = "hallo", .status = 200, .expect = ""},
	    {.sent = "hallo", .status = 400, .expect = "<Code>XAmzContentSHA256Mismatch</Code>"},
	    {.sent = "hell", .status = 400, .expect = "<Code>IncompleteBody</Code>"},
	    {.sent = "", .secret = "x", .status = 403, .expect = "<Code>SignatureDoesNotMatch</C"},
	    {.sent = "", .skew_ms = 3600000, .status = 403, .expect = "RequestTimeTooSkewed"},
	    {.sent = "", .hash = "abc", .status = 400, .expect = "<Code>InvalidArgument</Code>"},
	    {.sent = "", .hash = "", .status = 400, .expect = "<Code>InvalidRequest</Code>"},
	};
	struct aws *aws = aws_new(NULL, &config);

	(void)state;
	aws_service_add(aws, &s3_service, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&stored);
		upload(aws, &cases[i]);
		assert_int_equal(buf_len(&stored), cases[i].status == 200 ? 5 : 0);
	}
	aws_free(aws);
	buf_done(&stored);
}

static void forged_requests_do_not_pass(void **state)
{
	static const struct aws_config config = {.account = "123456789012",
	    .region = "us-east-1",
	    .find_key = find_key,
	    .now_ms = now_ms};
	static const struct forgery cases[] = {
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .status = 200,
		.expect = "<Account>111122223333</Account><Arn>arn:aws:iam::111122223333:user/jo"},
	    {"AKIDEXAMPLE", "wrong", .status = 403, .expect = "<Code>SignatureDoesNotMatch</Code>"},
	    {"AKIDOTHER", EXAMPLE_SECRET, .status = 403,
		.expect =
		    "<Code>InvalidClientTokenId</Code><Message>The security token included in "
		    "the request is invalid.</Message>"},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .token = "old", .status = 403,
		.expect = "<Code>ExpiredToken</Code>"},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .token = "bad", .status = 403,
		.expect = "<Code>InvalidClientTokenId</Code>"},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .status = 403,
		.sent_body = "Action=GetCallerIdentity&Version=2011-06-15&x=y",
		.expect = "<Code>SignatureDoesNotMatch</Code>"},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .extra = H("x-amz-meta", "1"), .status = 400,
		.expect = "'x-amz-meta' must be a 'SignedHeader'"},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .skew_ms = -16 * 60000, .status = 403,
		.expect = "Signature expired: "},
	    {"AKIDEXAMPLE", EXAMPLE_SECRET, .skew_ms = 16 * 60000, .status = 403,
		.expect = "Signature not yet current: "},
	    {.is_unsigned = true,
		.status = 403,
		.expect = "<Code>MissingAuthenticationToken</Code>"},
	    {.is_unsigned = true,
		.extra = H("Authorization", "Bearer x"),
		.status = 400,
		.expect = "Please use AWS4-HMAC-SHA256."},
	};
	struct aws *aws = aws_new(NULL, &config);

	(void)state;
	aws_service_add(aws, &sts_service, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		send_forged(aws, &cases[i]);
	aws_free(aws);
}

static int only_jo_with(void *ctx, struct call *c, const void *in, struct err *e)
{
	(void)in;
	assert_string_equal(c->op->name, "GetCallerIdentity");
	assert_string_equal(c->principal.user_id, "AIDAJO");
	return *(bool *)ctx ? 0 : fail(e, AWS_ACCESS_DENIED, "User: jo is not authorized");
}

static void the_authorizer_is_asked_before_the_handler(void **state)
{
	bool allowed = true;
	const struct aws_config config = {.account = "123456789012",
	    .region = "us-east-1",
	    .find_key = find_key,
	    .now_ms = now_ms,
	    .authorize = only_jo_with,
	    .authorize_ctx = &allowed};
	struct forgery good = {"AKIDEXAMPLE", EXAMPLE_SECRET, .status = 200, .expect = "user/jo"};
	struct forgery denied = {"AKIDEXAMPLE", EXAMPLE_SECRET, .status = 403,
	    .expect = "<Code>AccessDenied</Code><Message>User: jo is not authorized"};
	struct aws *aws = aws_new(NULL, &config);

	(void)state;
	aws_service_add(aws, &sts_service, NULL);
	send_forged(aws, &good);
	allowed = false;
	send_forged(aws, &denied);
	aws_free(aws);
}

static int authenticate(struct aws *aws, const char *path, const char *service, const char *region,
    struct aws_principal *p, struct err *e)
{
	struct http_header headers[4] = {H("Host", "url.example.com")};
	struct sigv4_request s = {STR("GET"), STR("/a"), STR("q=1"), headers, 1, false};
	struct sigv4_keys keys = {"AKIDEXAMPLE", EXAMPLE_SECRET, NULL};
	struct http_request r = {.arena = &arena,
	    .method = s.method,
	    .path = str_from(path),
	    .query = s.query,
	    .headers = headers};

	r.header_count =
	    1 + sigv4_sign(&arena, &s, &keys, "us-east-1", service, NOW_MS, EMPTY, headers + 1);
	return aws_authenticate(aws, &r, "lambda", region, p, e);
}

static void function_urls_can_ask_who_it_is(void **state)
{
	static const struct aws_config config = {.account = "123456789012",
	    .region = "us-east-1",
	    .find_key = find_key,
	    .now_ms = now_ms};
	struct aws *aws = aws_new(NULL, &config);
	struct aws_principal p;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(authenticate(aws, "/a", "lambda", NULL, &p, &e), 0);
	assert_string_equal(p.user_id, "AIDAJO");
	assert_true(authenticate(aws, "/b", "lambda", NULL, &p, &e) < 0);
	assert_int_equal(e.code, AWS_BAD_SIGNATURE);
	assert_true(authenticate(aws, "/a", "sts", NULL, &p, &e) < 0);
	assert_int_equal(e.code, AWS_BAD_SIGNATURE);
	assert_int_equal(authenticate(aws, "/a", "lambda", "us-east-1", &p, &e), 0);
	assert_true(authenticate(aws, "/a", "lambda", "eu-west-1", &p, &e) < 0);
	assert_int_equal(e.code, AWS_BAD_SIGNATURE);
	aws_free(aws);
}

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	buf_done(&answer.body);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_published_example_comes_out),
	    cmocka_unit_test(what_was_signed_is_read_back),
	    cmocka_unit_test(independent_vectors_agree),
	    cmocka_unit_test(time_has_two_edges),
	    cmocka_unit_test(broken_signatures_are_incomplete),
	    cmocka_unit_test(chunks_are_verified_one_by_one),
	    cmocka_unit_test(cut_chunks_are_refused),
	    cmocka_unit_test(uploads_are_judged_as_s3_does),
	    cmocka_unit_test(forged_requests_do_not_pass),
	    cmocka_unit_test(the_authorizer_is_asked_before_the_handler),
	    cmocka_unit_test(function_urls_can_ask_who_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
