/*
 * AWS Signature Version 4: reading what a request says, and the canonical form that is signed.
 * Signed chunks are in sigv4_chunk.c, the client's side in sigv4_sign.c.
 */
#include "aws/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

#include "aws/sigv4_int.h"
#include "base/time.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define QUERY_MAX 2000 /* parameters in a query string */
#define HMAC_BLOCK 64u
#define SHORT_TEXT 448u

/* ---- hashes ---- */

/* Looked up once: EVP_sha256() costs as much as hashing a request. */
static const EVP_MD *md;
static pthread_once_t md_once = PTHREAD_ONCE_INIT;

static void fetch_md(void)
{
	md = EVP_MD_fetch(NULL, "SHA256", NULL);
	check(md);
}

static const EVP_MD *sha256_md(void)
{
	pthread_once(&md_once, fetch_md);
	return md;
}

static void sha256(struct str data, uint8_t ret[32])
{
	check(EVP_Digest(data.ptr ? data.ptr : "", data.len, ret, NULL, sha256_md(), NULL) == 1);
}

/* H((key ^ opad) + H((key ^ ipad) + data)), for short keys and texts, which those of signatures
 * are: three times as fast as HMAC(). */
static void short_hmac(const uint8_t *key, size_t key_len, struct str data, uint8_t ret[32])
{
	uint8_t inner[HMAC_BLOCK + SHORT_TEXT], outer[HMAC_BLOCK + 32];

	memset(inner, 0x36, HMAC_BLOCK);
	memset(outer, 0x5C, HMAC_BLOCK);
	for (size_t i = 0; i < key_len; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
	memcpy(inner + HMAC_BLOCK, data.ptr, data.len);
	sha256((struct str){(const char *)inner, HMAC_BLOCK + data.len}, outer + HMAC_BLOCK);
	sha256((struct str){(const char *)outer, sizeof(outer)}, ret);
	OPENSSL_cleanse(inner, HMAC_BLOCK);
	OPENSSL_cleanse(outer, sizeof(outer));
}

void sigv4_hmac(const void *key, size_t key_len, struct str data, uint8_t ret[32])
{
	unsigned len = 32;

	if (key_len <= HMAC_BLOCK && data.len <= SHORT_TEXT && data.len)
		short_hmac(key, key_len, data, ret);
	else
		check(HMAC(sha256_md(), key, (int)key_len, (const unsigned char *)data.ptr,
		    data.len, ret, &len));
}

void sigv4_hmac_hex(const uint8_t key[32], struct str data, char ret[SIGV4_HEX])
{
	uint8_t mac[32];

	sigv4_hmac(key, 32, data, mac);
	hex_encode(mac, sizeof(mac), ret);
}

void sigv4_text_signature(const uint8_t key[32], struct str text, char ret[SIGV4_HEX])
{
	sigv4_hmac_hex(key, text, ret);
}

void sigv4_sha256_hex(struct str data, char ret[SIGV4_HEX])
{
	uint8_t digest[32];

	sha256(data, digest);
	hex_encode(digest, sizeof(digest), ret);
}

struct sigv4_hash {
	EVP_MD_CTX *ctx;
};

struct sigv4_hash *sigv4_hash_new(void)
{
	struct sigv4_hash *h = xmalloc(sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	check(h->ctx && EVP_DigestInit_ex(h->ctx, sha256_md(), NULL) == 1);
	return h;
}

void sigv4_hash_restart(struct sigv4_hash *h)
{
	check(EVP_DigestInit_ex(h->ctx, NULL, NULL) == 1);
}

void sigv4_hash_add(struct sigv4_hash *h, const void *data, size_t len)
{
	check(EVP_DigestUpdate(h->ctx, data, len) == 1);
}

void sigv4_hash_end(struct sigv4_hash *h, char ret[SIGV4_HEX])
{
	uint8_t digest[32];

	check(EVP_DigestFinal_ex(h->ctx, digest, NULL) == 1);
	hex_encode(digest, sizeof(digest), ret);
}

void sigv4_hash_free(struct sigv4_hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

/* ---- reading ---- */

static struct str header(const struct sigv4_request *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (str_eq_nocase(r->headers[i].name, str_from(name)))
			return r->headers[i].value;
	return STR_NULL;
}

static int incomplete(struct err *e, const char *what)
{
	err_set(e, EPERM, "%s", what);
	return SIGV4_INCOMPLETE;
}

bool sigv4_parse_scope(struct str scope, struct sigv4_auth *ret)
{
	ret->access_key_id = str_cut(&scope, '/');
	ret->date = str_cut(&scope, '/');
	ret->region = str_cut(&scope, '/');
	ret->service = str_cut(&scope, '/');
	return str_is(scope, "aws4_request") && ret->access_key_id.len && ret->date.len == 8 &&
	       ret->region.len && ret->service.len;
}

static int check_parts(const struct sigv4_auth *auth, struct err *e)
{
	if (!auth->time.ptr || !time_parse_amz(auth->time, (int64_t *)&auth->time_ms))
		return incomplete(
		    e, "Date must be in ISO-8601 'basic format', as X-Amz-Date: 20250102T030405Z.");
	if (memcmp(auth->time.ptr, auth->date.ptr, 8))
		return incomplete(e, "Date in Credential scope does not match YYYYMMDD from "
				     "ISO-8601 version of date from HTTP");
	if (auth->signature.len != 64)
		return incomplete(e, "Signature must be 64 hexadecimal digits.");
	return 0;
}

static int parse_header(struct str value, struct sigv4_auth *ret, struct err *e)
{
	struct str rest = str_sub(value, sizeof(ALGORITHM) - 1);
	bool scope_ok = false;

	while (rest.ptr) {
		struct str part = str_trim(str_cut(&rest, ',')), name = str_cut(&part, '=');

		if (str_is(name, "Credential"))
			scope_ok = sigv4_parse_scope(part, ret);
		else if (str_is(name, "SignedHeaders"))
			ret->signed_headers = part;
		else if (str_is(name, "Signature"))
			ret->signature = part;
	}
	if (!ret->access_key_id.len)
		return incomplete(e, "Authorization header requires 'Credential' parameter.");
	if (!scope_ok)
		return incomplete(e, "Credential must have exactly 5 slash-delimited elements, "
				     "e.g. keyid/date/region/service/aws4_request.");
	if (!ret->signed_headers.len)
		return incomplete(e, "Authorization header requires 'SignedHeaders' parameter.");
	if (!ret->signature.len)
		return incomplete(e, "Authorization header requires 'Signature' parameter.");
	return 0;
}

struct str sigv4_parameter(struct arena *a, struct str query, const char *name)
{
	while (query.ptr) {
		struct str v = str_cut(&query, '&'), n = str_cut(&v, '=');
		char *out;
		ssize_t len;

		if (!str_is(n, name))
			continue;
		out = arena_alloc(a, v.len + 1);
		len = url_decode(v, false, out);
		return len < 0 ? STR_NULL : (struct str){out, (size_t)len};
	}
	return STR_NULL;
}

static int parse_presigned(
    struct arena *a, const struct sigv4_request *r, struct sigv4_auth *ret, struct err *e)
{
	struct str expires = sigv4_parameter(a, r->query, "X-Amz-Expires");

	if (!str_is(sigv4_parameter(a, r->query, "X-Amz-Algorithm"), ALGORITHM))
		return incomplete(e, "X-Amz-Algorithm must be AWS4-HMAC-SHA256.");
	if (!sigv4_parse_scope(sigv4_parameter(a, r->query, "X-Amz-Credential"), ret))
		return incomplete(
		    e, "X-Amz-Credential must have exactly 5 slash-delimited elements.");
	ret->signed_headers = sigv4_parameter(a, r->query, "X-Amz-SignedHeaders");
	ret->signature = sigv4_parameter(a, r->query, "X-Amz-Signature");
	ret->time = sigv4_parameter(a, r->query, "X-Amz-Date");
	ret->token = sigv4_parameter(a, r->query, "X-Amz-Security-Token");
	ret->presigned = true;
	if (!str_to_int64(expires, 1, SIGV4_EXPIRES_MAX_S, &ret->expires_s))
		return incomplete(e, "X-Amz-Expires must be a number from 1 to 604800.");
	if (!ret->signed_headers.len)
		return incomplete(e, "X-Amz-SignedHeaders is missing.");
	return check_parts(ret, e);
}

static int unsupported(struct err *e)
{
	err_set(e, EPERM,
	    "The authorization mechanism you have provided is not supported. Please use "
	    "AWS4-HMAC-SHA256.");
	return SIGV4_UNSUPPORTED;
}

/* A URL presigned with version 2. */
static bool old_signature(struct arena *a, const struct sigv4_request *r)
{
	return r->query.len && sigv4_parameter(a, r->query, "AWSAccessKeyId").ptr &&
	       sigv4_parameter(a, r->query, "Signature").ptr;
}

int sigv4_parse(
    struct arena *a, const struct sigv4_request *r, struct sigv4_auth *ret, struct err *e)
{
	struct str authorization = header(r, "Authorization");
	struct sigv4_auth auth = {.payload_hash = header(r, "x-amz-content-sha256")};
	int result;

	if (!authorization.ptr) {
		if (!r->query.len || !sigv4_parameter(a, r->query, "X-Amz-Signature").ptr)
			return old_signature(a, r) ? unsupported(e) : SIGV4_UNSIGNED;
		result = parse_presigned(a, r, &auth, e);
		result = result == SIGV4_INCOMPLETE ? SIGV4_BAD_URL : result;
	} else if (!str_has_prefix(authorization, ALGORITHM " ")) {
		return unsupported(e);
	} else {
		auth.time = header(r, "X-Amz-Date");
		auth.token = header(r, "X-Amz-Security-Token");
		result = parse_header(authorization, &auth, e);
		if (result == 0)
			result = check_parts(&auth, e);
	}
	if (result == 0)
		*ret = auth;
	return result;
}

int sigv4_check_time(const struct sigv4_auth *auth, int64_t now_ms, struct err *e)
{
	int64_t last_ms =
	    auth->time_ms + (auth->presigned ? auth->expires_s * 1000 : SIGV4_SKEW_MS);
	char now[TIME_ISO_SIZE], edge[TIME_ISO_SIZE];

	if (now_ms > last_ms) {
		time_format_amz(now_ms, now);
		time_format_amz(auth->presigned ? last_ms : now_ms - SIGV4_SKEW_MS, edge);
		if (auth->presigned)
			err_set(e, EPERM, "Signature expired: %s is now later than %s.", now, edge);
		else
			err_set(e, EPERM,
			    "Signature expired: %.*s is now earlier than %s (%s - 15 min.)",
			    STR_FMT(auth->time), edge, now);
		return auth->presigned ? SIGV4_EXPIRED : SIGV4_SKEWED;
	}
	if (auth->time_ms > now_ms + SIGV4_SKEW_MS) {
		time_format_amz(now_ms, now);
		time_format_amz(now_ms + SIGV4_SKEW_MS, edge);
		err_set(e, EPERM,
		    "Signature not yet current: %.*s is still later than %s (%s + 15 min.)",
		    STR_FMT(auth->time), edge, now);
		return auth->presigned ? SIGV4_EXPIRED : SIGV4_SKEWED;
	}
	return 0;
}

static bool is_signed(struct str list, struct str name)
{
	while (list.ptr)
		if (str_eq_nocase(str_cut(&list, ';'), name))
			return true;
	return false;
}

int sigv4_check_headers(const struct sigv4_request *r, const struct sigv4_auth *auth, struct err *e)
{
	static const char amz[] = "x-amz-";

	if (!is_signed(auth->signed_headers, STR("host")))
		return incomplete(e, "'Host' must be a 'SignedHeader' in the AWS Authorization.");
	for (size_t i = 0; i < r->header_count; i++) {
		struct str name = r->headers[i].name;
		struct str start = {name.ptr, min_size(name.len, sizeof(amz) - 1)};

		if (!str_eq_nocase(start, STR("x-amz-")) || is_signed(auth->signed_headers, name))
			continue;
		err_set(e, EPERM, "'%.*s' must be a 'SignedHeader' in the AWS Authorization.",
		    (int)min_size(name.len, 64), name.ptr);
		return SIGV4_INCOMPLETE;
	}
	return 0;
}

/* ---- keys ---- */

void sigv4_key(
    const char *secret, struct str date, struct str region, struct str service, uint8_t ret[32])
{
	_cleanup_buf_ struct buf start = BUF_INIT;
	uint8_t key[32];

	buf_printf(&start, "AWS4%s", secret);
	sigv4_hmac(buf_data(&start), buf_len(&start), date, key);
	sigv4_hmac(key, sizeof(key), region, key);
	sigv4_hmac(key, sizeof(key), service, key);
	sigv4_hmac(key, sizeof(key), STR("aws4_request"), ret);
	OPENSSL_cleanse(start.mem, start.capacity);
	OPENSSL_cleanse(key, sizeof(key));
}

/* Into a field of fixed size; false: too long. */
static bool keep(char *out, size_t size, struct str s)
{
	if (s.len >= size)
		return false;
	memcpy(out, s.ptr, s.len);
	memset(out + s.len, 0, size - s.len);
	return true;
}

void sigv4_cache_key(struct sigv4_cache *cache, const char *secret, struct str date,
    struct str region, struct str service, uint8_t ret[32])
{
	struct sigv4_scope what;
	struct sigv4_cached *slot;

	if (!keep(what.secret, sizeof(what.secret), str_from(secret)) ||
	    !keep(what.date, sizeof(what.date), date) ||
	    !keep(what.region, sizeof(what.region), region) ||
	    !keep(what.service, sizeof(what.service), service)) {
		sigv4_key(secret, date, region, service, ret);
		return;
	}
	slot = &cache->slots[str_hash((struct str){(const char *)&what, sizeof(what)}) %
			     ARRAY_SIZE(cache->slots)];
	if (!slot->used || CRYPTO_memcmp(&slot->what, &what, sizeof(what))) {
		sigv4_key(secret, date, region, service, slot->key);
		slot->what = what;
		slot->used = true;
	}
	memcpy(ret, slot->key, 32);
	OPENSSL_cleanse(&what, sizeof(what));
}

/* ---- the canonical request ---- */

/* Drop "." and empty segments, resolve "..": services other than S3 sign the tidy path. */
static struct str tidy_path(struct arena *a, struct str path)
{
	char *out = arena_alloc(a, path.len + 2);
	bool slash = path.len && path.ptr[path.len - 1] == '/';
	size_t len = 0;

	while (path.ptr) {
		struct str segment = str_cut(&path, '/');

		if (segment.len == 0 || str_is(segment, "."))
			continue;
		if (str_is(segment, "..")) {
			while (len > 0 && out[--len] != '/')
				;
			continue;
		}
		out[len++] = '/';
		memcpy(out + len, segment.ptr, segment.len);
		len += segment.len;
	}
	if (len == 0 || slash)
		out[len++] = '/';
	return (struct str){out, len};
}

static void canonical_path(struct buf *b, struct arena *a, const struct sigv4_request *r)
{
	struct str path = r->path.len ? r->path : STR("/");
	char *out;

	if (r->s3) {
		char *plain = arena_alloc(a, path.len + 1);
		ssize_t len = url_decode(path, false, plain);

		path = len < 0 ? path : (struct str){plain, (size_t)len};
	} else {
		path = tidy_path(a, path);
	}
	out = buf_reserve(b, path.len * 3 + 1);
	buf_commit(b, url_encode(path, true, out));
}

struct pair {
	struct str name, value;
};

static int compare_str(struct str a, struct str b)
{
	int r = memcmp(a.ptr, b.ptr, min_size(a.len, b.len));

	return r ? r : (a.len > b.len) - (a.len < b.len);
}

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int r = compare_str(x->name, y->name);

	return r ? r : compare_str(x->value, y->value);
}

/* Clients differ in what they escape, so decode and encode again. */
static struct str recode(struct arena *a, struct str s)
{
	char *plain = arena_alloc(a, s.len + 1), *out;
	ssize_t len = url_decode(s, false, plain);
	struct str in = len < 0 ? s : (struct str){plain, (size_t)len};

	out = arena_alloc(a, in.len * 3 + 1);
	return (struct str){out, url_encode(in, false, out)};
}

static void canonical_query(struct buf *b, struct arena *a, struct str query, bool presigned)
{
	struct pair *pairs;
	size_t count = 1, n = 0;

	for (size_t i = 0; i < query.len; i++)
		count += query.ptr[i] == '&';
	count = min_size(count, QUERY_MAX);
	pairs = arena_array(a, count, struct pair);
	while (query.len && n < count) {
		struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');

		if ((!name.len && !value.len) || (presigned && str_is(name, "X-Amz-Signature")))
			continue;
		pairs[n++] = (struct pair){recode(a, name), recode(a, value)};
	}
	qsort(pairs, n, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_putc(b, '&');
		buf_append_str(b, pairs[i].name);
		buf_putc(b, '=');
		buf_append_str(b, pairs[i].value);
	}
}

/* Trimmed, runs of spaces as one. */
static void header_value(struct buf *b, struct str v)
{
	v = str_trim(v);
	while (v.len) {
		const char *gap = memmem(v.ptr, v.len, "  ", 2);
		size_t len = gap ? (size_t)(gap - v.ptr) + 1 : v.len;

		buf_append(b, v.ptr, len);
		while (len < v.len && v.ptr[len] == ' ')
			len++;
		v = (struct str){v.ptr + len, v.len - len};
	}
}

static void canonical_headers(struct buf *b, const struct sigv4_request *r, struct str list)
{
	unsigned names = 0;

	while (list.ptr && names++ < HTTP_HEADERS_MAX) {
		struct str name = str_cut(&list, ';');
		bool first = true;

		buf_append_str(b, name);
		buf_putc(b, ':');
		for (size_t i = 0; i < r->header_count; i++) {
			if (!str_eq_nocase(r->headers[i].name, name))
				continue;
			if (!first)
				buf_putc(b, ',');
			first = false;
			header_value(b, r->headers[i].value);
		}
		buf_putc(b, '\n');
	}
}

void sigv4_canonical(struct buf *b, struct arena *a, const struct sigv4_request *r,
    const struct sigv4_auth *auth, struct str payload_hash)
{
	buf_append_str(b, r->method);
	buf_putc(b, '\n');
	canonical_path(b, a, r);
	buf_putc(b, '\n');
	canonical_query(b, a, r->query, auth->presigned);
	buf_putc(b, '\n');
	canonical_headers(b, r, auth->signed_headers);
	buf_putc(b, '\n');
	buf_append_str(b, auth->signed_headers);
	buf_putc(b, '\n');
	buf_append_str(b, payload_hash);
}

void sigv4_signature(struct arena *a, const struct sigv4_request *r, const struct sigv4_auth *auth,
    const uint8_t key[32], struct str payload_hash, char ret[SIGV4_HEX])
{
	_cleanup_buf_ struct buf canonical = BUF_INIT, text = BUF_INIT;
	char hash[SIGV4_HEX];

	buf_reserve(&canonical, 2048);
	buf_reserve(&text, 256);
	sigv4_canonical(&canonical, a, r, auth, payload_hash);
	sigv4_sha256_hex(buf_str(&canonical), hash);
	buf_puts(&text, ALGORITHM "\n");
	sigv4_append_scope(&text, auth);
	buf_puts(&text, hash);
	sigv4_hmac_hex(key, buf_str(&text), ret);
}

void sigv4_append_scope(struct buf *b, const struct sigv4_auth *auth)
{
	buf_append_str(b, auth->time);
	buf_putc(b, '\n');
	buf_append_str(b, auth->date);
	buf_putc(b, '/');
	buf_append_str(b, auth->region);
	buf_putc(b, '/');
	buf_append_str(b, auth->service);
	buf_puts(b, "/aws4_request\n");
}

bool sigv4_equal(const char computed[SIGV4_HEX], struct str sent)
{
	return sent.len == SIGV4_HEX - 1 && CRYPTO_memcmp(computed, sent.ptr, SIGV4_HEX - 1) == 0;
}
