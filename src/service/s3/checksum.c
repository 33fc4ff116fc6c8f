/* The five checksums of S3: which one a request wants, where its value comes, how it is written. */
#include <stdio.h>
#include <strings.h>

#include "service/s3/request_int.h"

static const struct kind {
	unsigned kind;
	const char *name, *header;
	size_t bytes;
} kinds[] = {
    {STORE_CRC32, "CRC32", "x-amz-checksum-crc32", 4},
    {STORE_CRC32C, "CRC32C", "x-amz-checksum-crc32c", 4},
    {STORE_CRC64NVME, "CRC64NVME", "x-amz-checksum-crc64nvme", 8},
    {STORE_SHA1, "SHA1", "x-amz-checksum-sha1", 20},
    {STORE_SHA256, "SHA256", "x-amz-checksum-sha256", 32},
};

static const struct kind *find(unsigned kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].kind == kind)
			return &kinds[i];
	return NULL;
}

unsigned checksum_kind(const char *algorithm)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcasecmp(kinds[i].name, algorithm) == 0)
			return kinds[i].kind;
	return 0;
}

const char *checksum_name(unsigned kind)
{
	const struct kind *k = find(kind);

	return k ? k->name : NULL;
}

size_t checksum_bytes(unsigned kind)
{
	const struct kind *k = find(kind);

	return k ? k->bytes : 0;
}

bool checksum_valid(unsigned kind, const char *value)
{
	unsigned char raw[CHECKSUM_SIZE];
	size_t len = strlen(value);

	return len < sizeof(raw) &&
	       base64_decode((struct str){value, len}, raw) == (ssize_t)checksum_bytes(kind);
}

const void *checksum_raw(unsigned kind, const struct store_hashes *h)
{
	switch (kind) {
	case STORE_CRC32: return h->crc32;
	case STORE_CRC32C: return h->crc32c;
	case STORE_CRC64NVME: return h->crc64nvme;
	case STORE_SHA1: return h->sha1;
	case STORE_SHA256: return h->sha256;
	default: return NULL;
	}
}

void checksum_text(unsigned kind, const struct store_hashes *h, char out[CHECKSUM_SIZE])
{
	const void *raw = checksum_raw(kind, h);

	out[0] = '\0';
	if (raw)
		base64_encode(raw, checksum_bytes(kind), out);
}

static int take_value(
    const struct kind *k, const char *value, struct checksum_want *w, struct err *e)
{
	if (!checksum_valid(k->kind, value))
		return fail(e, S3_INVALID_REQUEST, "Value for %s header is invalid.", k->header);
	snprintf(w->value, sizeof(w->value), "%s", value);
	return 0;
}

static int several(struct err *e)
{
	return fail(e, S3_INVALID_REQUEST,
	    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
}

int checksum_field(const char *name, const char *value, struct checksum_want *w, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].header, name) != 0)
			continue;
		if (w->value[0])
			return several(e);
		w->kind = kinds[i].kind;
		return take_value(&kinds[i], value, w, e);
	}
	return -ENOENT;
}

/* Headers alone: SDKs put the sum of an empty body into the query string of what they presign. */
static const char *header(struct call *c, const char *name)
{
	struct str s = http_header(c->http, name);

	return s.ptr ? call_strn(c, s) : NULL;
}

static int from_headers(struct call *c, struct checksum_want *w, struct err *e)
{
	static const char *const unknown[] = {"x-amz-checksum-sha512", "x-amz-checksum-md5",
	    "x-amz-checksum-xxhash64", "x-amz-checksum-xxhash3", "x-amz-checksum-xxhash128"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *value = header(c, kinds[i].header);

		if (!value)
			continue;
		if (w->kind)
			return several(e);
		w->kind = kinds[i].kind;
		if (take_value(&kinds[i], value, w, e) < 0)
			return -EINVAL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		if (header(c, unknown[i]))
			return fail(e, S3_NOT_IMPLEMENTED,
			    "%s is not implemented: use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256.",
			    unknown[i]);
	return 0;
}

static int from_trailer(struct call *c, struct checksum_want *w, struct err *e)
{
	struct str list = http_header(c->http, "x-amz-trailer");

	while (list.ptr) {
		struct str name = str_trim(str_cut(&list, ','));

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (!str_eq_nocase(name, str_from(kinds[i].header)))
				continue;
			if (w->kind)
				return several(e);
			w->kind = kinds[i].kind;
			w->in_trailer = true;
		}
	}
	return 0;
}

int checksum_wanted(struct call *c, struct checksum_want *ret, struct err *e)
{
	struct checksum_want w = {0};
	const char *algorithm = header(c, "x-amz-sdk-checksum-algorithm");
	int r = from_headers(c, &w, e);

	if (r == 0)
		r = from_trailer(c, &w, e);
	if (r < 0)
		return r;
	if (algorithm && !checksum_kind(algorithm))
		return fail(e, S3_INVALID_REQUEST,
		    "Checksum algorithm provided is unsupported. Please try again with any of the "
		    "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	if (algorithm && !w.kind)
		return fail(e, S3_INVALID_REQUEST,
		    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* "
		    "or x-amz-trailer headers were found.");
	if (algorithm && checksum_kind(algorithm) != w.kind)
		return fail(e, S3_INVALID_REQUEST,
		    "Value for x-amz-sdk-checksum-algorithm header is invalid.");
	if (!w.kind)
		w.kind = STORE_CRC64NVME;
	*ret = w;
	return 0;
}

int checksum_document(struct call *c, struct err *e)
{
	struct checksum_want w = {0};
	struct store_hashes sums;
	struct store_hasher *h;
	_cleanup_buf_ struct buf body = call_take_body(c);
	char text[CHECKSUM_SIZE];
	int r = from_headers(c, &w, e);

	if (r < 0 || !w.kind)
		return r;
	h = store_hasher_new(w.kind);
	store_hasher_add(h, buf_data(&body), buf_len(&body));
	store_hasher_end(h, &sums);
	checksum_text(w.kind, &sums, text);
	if (strcmp(w.value, text) != 0)
		return fail(e, S3_BAD_DIGEST,
		    "The %s you specified did not match the calculated checksum.",
		    checksum_name(w.kind));
	return 0;
}

int checksum_trailer(struct call *c, struct checksum_want *w, struct err *e)
{
	const struct kind *k = find(w->kind);
	struct str value;
	char text[CHECKSUM_SIZE];

	if (!w->in_trailer)
		return 0;
	value = call_body_trailer(c, k->header);
	if (!value.ptr || value.len >= sizeof(text))
		return fail(e, S3_MALFORMED_TRAILER_ERROR,
		    "The request contained trailing data that was not well-formed or did not "
		    "conform to our published schema.");
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	return take_value(k, text, w, e);
}
