/* What the headers of a request say about a new object. Presigned requests may carry those that
 * begin with "x-amz-" in the query string. Everything here lives in the call's arena. */
#include <ctype.h>
#include <strings.h>

#include "service/s3/request_int.h"

#define TAG_KEY_MAX 128
#define TAG_VALUE_MAX 256
#define META "x-amz-meta-"

/* ---- fields ---- */

static const char *decoded(struct call *c, struct str s, bool plus)
{
	char *out = arena_alloc(c->arena, s.len + 1);
	ssize_t n = url_decode(s, plus, out);

	if (n < 0 || memchr(out, '\0', (size_t)n))
		return NULL;
	out[n] = '\0';
	return out;
}

static const char *from_query(struct call *c, const char *name)
{
	struct str rest = c->http->query;

	while (rest.ptr) {
		struct str value = str_cut(&rest, '&');
		const char *key = decoded(c, str_cut(&value, '='), true);

		if (key && strcasecmp(key, name) == 0)
			return value.ptr ? decoded(c, value, true) : "";
	}
	return NULL;
}

const char *request_field(struct call *c, const char *name)
{
	struct str s = http_header(c->http, name);

	if (s.ptr)
		return call_strn(c, s);
	return strncmp(name, "x-amz-", 6) == 0 && c->http->query.ptr ? from_query(c, name) : NULL;
}

/* ---- tags ---- */

static bool tag_text_fits(const char *s, size_t max)
{
	return utf8_valid(str_from(s)) && utf8_count(str_from(s)) <= max;
}

int object_tags_check(const struct pair *tags, size_t count, size_t max, struct err *e)
{
	if (count > max)
		return fail(e, max == S3_TAGS_MAX ? S3_INVALID_TAG : S3_INVALID_TAG,
		    max == S3_TAGS_MAX ? "Object tags cannot be greater than %zu"
				       : "Bucket tag count cannot be greater than %zu",
		    max);
	for (size_t i = 0; i < count; i++) {
		if (!*tags[i].name || !tag_text_fits(tags[i].name, TAG_KEY_MAX))
			return fail(e, S3_INVALID_TAG, "The TagKey you have provided is invalid");
		if (strncmp(tags[i].name, "aws:", 4) == 0)
			return fail(
			    e, S3_INVALID_TAG, "System tags cannot be added/updated by requester");
		if (!tag_text_fits(tags[i].value, TAG_VALUE_MAX))
			return fail(e, S3_INVALID_TAG, "The TagValue you have provided is invalid");
		for (size_t j = 0; j < i; j++)
			if (strcmp(tags[i].name, tags[j].name) == 0)
				return fail(e, S3_INVALID_TAG,
				    "Cannot provide multiple Tags with the same key");
	}
	return 0;
}

int request_tags(struct call *c, const char *text, struct object *ret, struct err *e)
{
	struct pair *tags = call_array(c, S3_TAGS_MAX + 1, struct pair);
	struct str rest = str_from(text);
	size_t n = 0;

	if (!rest.len)
		return 0;
	while (rest.ptr && n <= S3_TAGS_MAX) {
		struct str value = str_cut(&rest, '&'), key = str_cut(&value, '=');

		tags[n].name = decoded(c, key, true);
		tags[n].value = value.ptr ? decoded(c, value, true) : "";
		if (!key.len || !tags[n].name || !tags[n].value)
			return fail(e, S3_INVALID_ARGUMENT,
			    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded "
			    "URL query parameters without tag name duplicates.");
		n++;
	}
	ret->tags = tags;
	ret->tag_count = n;
	return object_tags_check(tags, n, S3_TAGS_MAX, e);
}

/* ---- metadata ---- */

static const char *lower(struct call *c, const char *s)
{
	char *out = arena_strdup(c->arena, s);

	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

static void add_metadata(
    struct call *c, struct pair *all, size_t *count, const char *name, const char *value)
{
	name = lower(c, name + strlen(META));
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(all[i].name, name) == 0) {
			all[i].value = call_printf(c, "%s,%s", all[i].value, value);
			return;
		}
	}
	all[(*count)++] = (struct pair){name, value};
}

static size_t count_parameters(struct str query)
{
	size_t n = query.ptr ? 1 : 0;

	for (size_t i = 0; i < query.len; i++)
		n += query.ptr[i] == '&';
	return n;
}

static int read_metadata(struct call *c, struct object *ret, struct err *e)
{
	const struct http_request *h = c->http;
	struct str rest = h->query;
	struct pair *all = call_array(c, h->header_count + count_parameters(rest) + 1, struct pair);
	size_t count = 0, bytes = 0;

	for (size_t i = 0; i < h->header_count; i++) {
		const char *name = call_strn(c, h->headers[i].name);

		if (strncasecmp(name, META, strlen(META)) == 0)
			add_metadata(c, all, &count, name, call_strn(c, h->headers[i].value));
	}
	while (rest.ptr) {
		struct str value = str_cut(&rest, '&');
		const char *name = decoded(c, str_cut(&value, '='), true);
		const char *text = value.ptr ? decoded(c, value, true) : "";

		if (name && text && strncasecmp(name, META, strlen(META)) == 0)
			add_metadata(c, all, &count, name, text);
	}
	for (size_t i = 0; i < count; i++)
		bytes += strlen(all[i].name) + strlen(all[i].value);
	if (bytes > S3_METADATA_MAX) {
		call_error_member(c, "Size", call_printf(c, "%zu", bytes));
		call_error_member(c, "MaxSizeAllowed", "2048");
		return fail(e, S3_METADATA_TOO_LARGE,
		    "Your metadata headers exceed the maximum allowed metadata size");
	}
	ret->metadata = all;
	ret->metadata_count = count;
	return 0;
}

/* ---- what is there and what is not ---- */

int request_not_there(struct call *c, const char *name, struct err *e)
{
	call_error_member(c, "Header", name);
	return fail(e, S3_NOT_IMPLEMENTED,
	    "%.64s asks for what this server does not do: leave it out.", name);
}

/* Whoever asks for encryption relies on it: what is only said would be worse than a refusal. */
int request_encryption(struct call *c, struct err *e)
{
	static const char *const names[] = {"x-amz-server-side-encryption",
	    "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context",
	    "x-amz-server-side-encryption-bucket-key-enabled",
	    "x-amz-server-side-encryption-customer-algorithm",
	    "x-amz-server-side-encryption-customer-key",
	    "x-amz-copy-source-server-side-encryption-customer-algorithm"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (request_field(c, names[i]))
			return request_not_there(c, names[i], e);
	return 0;
}

static int check_acl(struct call *c, struct err *e)
{
	static const char *const grants[] = {"x-amz-grant-full-control", "x-amz-grant-read",
	    "x-amz-grant-read-acp", "x-amz-grant-write-acp"};
	const char *acl = request_field(c, "x-amz-acl");
	bool fine =
	    !acl || strcmp(acl, "private") == 0 || strcmp(acl, "bucket-owner-full-control") == 0;

	for (size_t i = 0; i < ARRAY_SIZE(grants); i++)
		fine &= !request_field(c, grants[i]);
	return fine ? 0
		    : fail(e, S3_ACCESS_CONTROL_LIST_NOT_SUPPORTED,
			  "The bucket does not allow ACLs");
}

static int check_locks(struct call *c, struct err *e)
{
	if (request_field(c, "x-amz-object-lock-mode") ||
	    request_field(c, "x-amz-object-lock-legal-hold") ||
	    request_field(c, "x-amz-object-lock-retain-until-date"))
		return fail(e, S3_INVALID_REQUEST, "Bucket is missing Object Lock Configuration");
	return 0;
}

int request_class(const char *class, struct object *ret, struct err *e)
{
	static const char *const classes[] = {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA",
	    "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"};

	for (size_t i = 0; class && i < ARRAY_SIZE(classes); i++) {
		if (strcmp(class, classes[i]) != 0)
			continue;
		ret->storage_class = i == 0 ? NULL : class;
		return 0;
	}
	return class ? fail(e, S3_INVALID_STORAGE_CLASS,
			   "The storage class you specified is not valid")
		     : 0;
}

/* What remains of Content-Encoding without the coding of the transfer. */
static const char *encoding(struct call *c)
{
	struct str rest = http_header(c->http, "content-encoding");
	const char *out = NULL;

	while (rest.ptr) {
		struct str one = str_trim(str_cut(&rest, ','));

		if (one.len && !str_eq_nocase(one, STR("aws-chunked")))
			out =
			    out ? call_printf(c, "%s,%.*s", out, STR_FMT(one)) : call_strn(c, one);
	}
	return out;
}

int request_facts(struct call *c, struct object *ret, struct err *e)
{
	const char *tags = request_field(c, "x-amz-tagging");
	const char *type = request_field(c, "content-type");
	int r = check_acl(c, e);

	ret->version = "null";
	ret->content_type = type && *type ? type : "binary/octet-stream";
	ret->cache_control = request_field(c, "cache-control");
	ret->content_disposition = request_field(c, "content-disposition");
	ret->content_language = request_field(c, "content-language");
	ret->content_encoding = encoding(c);
	ret->expires = request_field(c, "expires");
	ret->redirect = request_field(c, "x-amz-website-redirect-location");
	if (r == 0)
		r = check_locks(c, e);
	if (r == 0)
		r = request_encryption(c, e);
	if (r == 0)
		r = request_class(request_field(c, "x-amz-storage-class"), ret, e);
	if (r == 0)
		r = read_metadata(c, ret, e);
	if (r == 0 && tags)
		r = request_tags(c, tags, ret, e);
	return r;
}

int request_md5(struct call *c, bool *ret_has, unsigned char ret[16], struct err *e)
{
	struct str s = http_header(c->http, "content-md5");
	unsigned char raw[32];

	*ret_has = s.ptr != NULL;
	if (!s.ptr)
		return 0;
	if (s.len > 32 || base64_decode(s, raw) != 16)
		return fail(e, S3_INVALID_DIGEST, "The Content-MD5 you specified was invalid.");
	memcpy(ret, raw, 16);
	return 0;
}

/* ---- conditions ---- */

bool etag_matches(const char *list, const char *etag)
{
	struct str rest = str_from(list);

	while (rest.ptr) {
		struct str one = str_trim(str_cut(&rest, ','));

		if (str_is(one, "*"))
			return true;
		if (str_has_prefix(one, "W/"))
			one = str_sub(one, 2);
		if (one.len >= 2 && one.ptr[0] == '"' && one.ptr[one.len - 1] == '"')
			one = (struct str){one.ptr + 1, one.len - 2};
		if (str_is(one, etag))
			return true;
	}
	return false;
}

int conditions_parse(struct call *c, struct write_conditions *ret, struct err *e)
{
	ret->if_match = request_field(c, "if-match");
	ret->if_none_match = request_field(c, "if-none-match");
	if ((ret->if_none_match && strcmp(ret->if_none_match, "*") != 0) ||
	    (ret->if_match && ret->if_none_match)) {
		call_error_member(c, "Header", ret->if_match ? "If-Match" : "If-None-Match");
		return fail(e, S3_NOT_IMPLEMENTED,
		    "A header you provided implies functionality that is not implemented");
	}
	return 0;
}

int conditions_check(const struct write_conditions *w, const struct object *current, struct err *e)
{
	if (w->if_match && !current)
		return fail(e, S3_NO_SUCH_KEY, "The specified key does not exist.");
	if ((w->if_none_match && current) ||
	    (w->if_match && !etag_matches(w->if_match, current->etag)))
		return fail(e, S3_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return 0;
}
