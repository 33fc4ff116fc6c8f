/* Signing a request, for the command line client and for tests. */
#include "aws/sigv4_int.h"
#include "base/time.h"

#include <openssl/crypto.h>

static int by_name(const void *a, const void *b)
{
	const struct http_header *x = a, *y = b;
	int r = strncasecmp(x->name.ptr, y->name.ptr, min_size(x->name.len, y->name.len));

	return r ? r : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

/* "host;x-amz-date": sorted, small letters, each once. */
static struct str header_list(struct arena *a, const struct http_header *headers, size_t count)
{
	struct http_header *sorted = arena_array(a, count + 1, struct http_header);
	size_t len = 0;
	char *out;

	memcpy(sorted, headers, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (size_t i = 0; i < count; i++)
		len += sorted[i].name.len + 1;
	out = arena_alloc(a, len + 1);
	len = 0;
	for (size_t i = 0; i < count; i++) {
		if (i && str_eq_nocase(sorted[i].name, sorted[i - 1].name))
			continue;
		if (len)
			out[len++] = ';';
		for (size_t k = 0; k < sorted[i].name.len; k++) {
			char c = sorted[i].name.ptr[k];

			out[len++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		}
	}
	return (struct str){out, len};
}

size_t sigv4_sign(struct arena *a, const struct sigv4_request *r, const struct sigv4_keys *keys,
    const char *region, const char *service, int64_t now_ms, const char *payload_hash,
    struct http_header out[SIGV4_SIGN_HEADERS])
{
	struct http_header *all =
	    arena_array(a, r->header_count + SIGV4_SIGN_HEADERS, struct http_header);
	char *time = arena_alloc(a, TIME_ISO_SIZE), signature[SIGV4_HEX];
	struct sigv4_request full = *r;
	struct sigv4_auth auth = {.region = str_from(region), .service = str_from(service)};
	size_t count = 0;
	uint8_t key[32];

	time_format_amz(now_ms, time);
	auth.time = str_from(time);
	auth.date = (struct str){time, 8};
	out[count++] = (struct http_header){STR("X-Amz-Date"), auth.time};
	if (keys->session_token)
		out[count++] = (struct http_header){
		    STR("X-Amz-Security-Token"), str_from(keys->session_token)};
	memcpy(all, r->headers, r->header_count * sizeof(*all));
	memcpy(all + r->header_count, out, count * sizeof(*all));
	full.headers = all;
	full.header_count = r->header_count + count;
	auth.signed_headers = header_list(a, all, full.header_count);
	sigv4_key(keys->secret, auth.date, auth.region, auth.service, key);
	sigv4_signature(a, &full, &auth, key, str_from(payload_hash), signature);
	OPENSSL_cleanse(key, sizeof(key));
	out[count++] = (struct http_header){STR("Authorization"),
	    str_from(arena_printf(a,
		"AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%.*s, "
		"Signature=%s",
		keys->access_key_id, time, region, service, STR_FMT(auth.signed_headers),
		signature))};
	return count;
}
