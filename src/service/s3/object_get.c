/*
 * GetObject and HeadObject: find the record, look at the conditions, choose the bytes, answer from
 * the file. The two have the same members in their inputs and outputs, but types of their own.
 */
#include <stdio.h>

#include "base/time.h"
#include "service/s3/read_int.h"
#include "service/s3/request_int.h"

/* ---- versions ---- */

bool version_valid(const char *version)
{
	unsigned char raw[16];

	return strcmp(version, "null") == 0 ||
	       (strlen(version) == VERSION_ID_SIZE - 1 && hex_decode(str_from(version), raw, 16));
}

int version_check(const char *version, struct err *e)
{
	if (version && !*version)
		return fail(e, S3_INVALID_ARGUMENT, "Version id cannot be the empty string");
	if (version && !version_valid(version))
		return fail(e, S3_INVALID_ARGUMENT, "Invalid version id specified");
	return 0;
}

int read_refused(struct call *c, struct bucket *b, const char *key, const char *version, int result,
    const struct object *o, struct err *e)
{
	struct err hidden = ERR_INIT;
	char when[TIME_ISO_SIZE];

	if (result == 0 && o->marker && version) {
		time_format_http(o->modified_ms, when);
		call_header(c, "x-amz-delete-marker", "true");
		call_header(c, "x-amz-version-id", o->version);
		call_header(c, "Last-Modified", when);
		call_header(c, "Allow", "DELETE");
		call_error_member(c, "ResourceType", "DeleteMarker");
		return fail(e, S3_METHOD_NOT_ALLOWED,
		    "The specified method is not allowed against this resource.");
	}
	if (result == 0 && o->marker) {
		call_header(c, "x-amz-delete-marker", "true");
		call_header(c, "x-amz-version-id", o->version);
		result = -ENOENT;
	}
	if (result != -ENOENT)
		return result < 0 ? s3_failed(c, result, key, e) : 0;
	/* Who may not list does not learn what is not there. */
	if (s3_allowed(c, b, "s3:ListBucket", NULL, &hidden) < 0)
		return fail(e, S3_ACCESS_DENIED, "Access Denied");
	call_error_member(c, "Key", call_str(c, key));
	if (!version)
		return fail(e, S3_NO_SUCH_KEY, "The specified key does not exist.");
	call_error_member(c, "VersionId", call_str(c, version));
	return fail(e, S3_NO_SUCH_VERSION, "The specified version does not exist.");
}

/* ---- conditions ---- */

int read_conditions_check(
    struct call *c, const struct read_conditions *r, const struct object *o, struct err *e)
{
	int64_t modified = o->modified_ms / 1000 * 1000;
	const char *broken = NULL;

	if (r->if_match ? !etag_matches(r->if_match, o->etag)
			: r->if_unmodified_since && modified > *r->if_unmodified_since)
		broken = r->if_match ? "If-Match" : "If-Unmodified-Since";
	if (broken) {
		call_error_member(c, "Condition", broken);
		return fail(e, S3_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	}
	if (r->if_none_match ? etag_matches(r->if_none_match, o->etag)
			     : r->if_modified_since && modified <= *r->if_modified_since)
		return fail(e, S3_NOT_MODIFIED, "Not Modified");
	return 0;
}

static int not_modified(struct call *c, const struct object *o, int result, const struct err *e)
{
	char when[TIME_ISO_SIZE];

	if (e->code != S3_NOT_MODIFIED)
		return result;
	time_format_http(o->modified_ms, when);
	call_header(c, "ETag", call_printf(c, "\"%s\"", o->etag));
	call_header(c, "Last-Modified", when);
	if (o->cache_control)
		call_header(c, "Cache-Control", o->cache_control);
	if (o->expires)
		call_header(c, "Expires", o->expires);
	if (strcmp(o->version, "null") != 0)
		call_header(c, "x-amz-version-id", o->version);
	return result;
}

/* ---- which bytes ---- */

struct bytes {
	uint64_t from, length;
	bool partial;
	size_t part; /* from 1; 0: none asked for */
};

static bool number_in(struct str s, uint64_t *ret)
{
	int64_t n;

	if (!str_to_int64(s, 0, INT64_MAX, &n))
		return false;
	*ret = (uint64_t)n;
	return true;
}

static int unsatisfiable(struct call *c, const struct object *o, const char *range, struct err *e)
{
	call_error_member(c, "RangeRequested", call_str(c, range));
	call_error_member(c, "ActualObjectSize", call_printf(c, "%" PRIu64, o->size));
	call_header(c, "Content-Range", call_printf(c, "bytes */%" PRIu64, o->size));
	return fail(e, S3_INVALID_RANGE, "The requested range is not satisfiable");
}

/* What cannot be understood, or asks for several ranges, gets the whole object, as on AWS. */
static int choose_range(
    struct call *c, const struct object *o, const char *range, struct bytes *ret, struct err *e)
{
	struct str last = str_from(range), first;
	uint64_t from = 0, to = UINT64_MAX, count = 0;

	if (!str_has_prefix(last, "bytes=") || strchr(range, ','))
		return 0;
	last = (struct str){last.ptr + 6, last.len - 6};
	first = str_trim(str_cut(&last, '-'));
	if (!last.ptr)
		return 0;
	last = str_trim(last);
	if (!first.len) {
		if (!number_in(last, &count))
			return 0;
		if (count == 0 || o->size == 0)
			return unsatisfiable(c, o, range, e);
		from = count < o->size ? o->size - count : 0;
	} else if (!number_in(first, &from) || (last.len && !number_in(last, &to)) || to < from) {
		return 0;
	}
	if (from >= o->size)
		return unsatisfiable(c, o, range, e);
	to = to < o->size ? to : o->size - 1;
	*ret = (struct bytes){from, to - from + 1, true, 0};
	return 0;
}

static int choose_part(
    struct call *c, const struct object *o, int64_t number, struct bytes *ret, struct err *e)
{
	size_t parts = o->part_count ? o->part_count : 1;

	if (number < 1 || number > (int64_t)parts) {
		call_error_member(c, "PartNumberRequested", call_printf(c, "%" PRId64, number));
		call_error_member(c, "ActualPartCount", call_printf(c, "%zu", parts));
		return fail(
		    e, S3_INVALID_PART_NUMBER, "The requested partnumber is not satisfiable");
	}
	ret->part = (size_t)number;
	if (!o->part_count)
		return 0;
	ret->from = 0;
	for (size_t i = 0; i + 1 < ret->part; i++)
		ret->from += o->parts[i].size;
	ret->length = o->parts[ret->part - 1].size;
	ret->partial = true;
	return 0;
}

/* ---- answering ---- */

struct read {
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	const struct s3_get_object_in *get; /* one of the two */
	const struct s3_head_object_in *head;
	unsigned tries;
};

#define IN(r, member) ((r)->get ? (r)->get->member : (r)->head->member)

static const struct s3_metadata *metadata_of(struct call *c, const struct object *o)
{
	struct s3_metadata *m = call_new(c, struct s3_metadata);
	struct s3_metadata_entry *entries =
	    call_array(c, o->metadata_count, struct s3_metadata_entry);

	for (size_t i = 0; i < o->metadata_count; i++) {
		entries[i].key = call_str(c, o->metadata[i].name);
		entries[i].value = call_str(c, o->metadata[i].value);
	}
	m->count = o->metadata_count;
	m->entries = entries;
	return m;
}

static const char *expires_of(struct call *c, const struct object *o, const int64_t *override)
{
	char text[TIME_ISO_SIZE];

	if (!override)
		return call_str(c, o->expires);
	time_format_http(*override, text);
	return call_str(c, text);
}

static bool wants_checksum(const struct read *r, const struct bytes *x)
{
	const char *mode = IN(r, checksum_mode);

	return mode && strcmp(mode, "ENABLED") == 0 && !(x->partial && !x->part);
}

static const char *checksum_of(const struct object *o, const struct bytes *x)
{
	return x->part && o->part_count ? o->parts[x->part - 1].checksum : o->checksum;
}

#define OR(override, own) call_str(c, (override) ? (override) : (own))

/* The same members in two structures. */
#define SHOW(c, r, out, o, x)                                                                   \
	do {                                                                                    \
		(out)->accept_ranges = "bytes";                                                 \
		(out)->cache_control = OR(IN(r, response_cache_control), (o)->cache_control);   \
		(out)->content_disposition =                                                    \
		    OR(IN(r, response_content_disposition), (o)->content_disposition);          \
		(out)->content_encoding =                                                       \
		    OR(IN(r, response_content_encoding), (o)->content_encoding);                \
		(out)->content_language =                                                       \
		    OR(IN(r, response_content_language), (o)->content_language);                \
		(out)->content_type = OR(IN(r, response_content_type), (o)->content_type);      \
		(out)->expires = expires_of(c, o, IN(r, response_expires));                     \
		(out)->content_length = call_int(c, (int64_t)(x)->length);                      \
		if ((x)->partial)                                                               \
			(out)->content_range =                                                  \
			    call_printf(c, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, (x)->from, \
				(x)->from + (x)->length - 1, (o)->size);                        \
		(out)->e_tag = call_printf(c, "\"%s\"", (o)->etag);                             \
		(out)->last_modified = call_int(c, (o)->modified_ms);                           \
		(out)->metadata = metadata_of(c, o);                                            \
		(out)->storage_class = call_str(c, (o)->storage_class);                         \
		(out)->website_redirect_location = call_str(c, (o)->redirect);                  \
		(out)->expiration = lifecycle_expiration(c, (r)->bucket, IN(r, key), o);        \
		if ((o)->tag_count)                                                             \
			(out)->tag_count = call_int(c, (int64_t)(o)->tag_count);                \
		if ((x)->part && (o)->part_count)                                               \
			(out)->parts_count = call_int(c, (int64_t)(o)->part_count);             \
		if ((r)->bucket->versioning != VERSIONING_NEVER)                                \
			(out)->version_id = call_str(c, (o)->version);                          \
		if (wants_checksum(r, x) && checksum_of(o, x)) {                                \
			checksum_show(out, (o)->checksum_kind, call_str(c, checksum_of(o, x))); \
			(out)->checksum_type =                                                  \
			    (o)->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";              \
		}                                                                               \
	} while (0)

static int check_overrides(const struct read *r, struct err *e)
{
	if (r->call->principal.type == AWS_ANONYMOUS &&
	    (IN(r, response_cache_control) || IN(r, response_content_disposition) ||
		IN(r, response_content_encoding) || IN(r, response_content_language) ||
		IN(r, response_content_type) || IN(r, response_expires)))
		return fail(e, S3_INVALID_REQUEST,
		    "Request specific response headers cannot be used for anonymous GET "
		    "requests.");
	return 0;
}

static int choose(const struct read *r, const struct object *o, struct bytes *x, struct err *e)
{
	struct read_conditions conditions = {IN(r, if_match), IN(r, if_none_match),
	    IN(r, if_modified_since), IN(r, if_unmodified_since)};
	int result = read_conditions_check(r->call, &conditions, o, e);

	*x = (struct bytes){0, o->size, false, 0};
	if (result < 0)
		return not_modified(r->call, o, result, e);
	if (IN(r, range) && IN(r, part_number))
		return fail(e, S3_INVALID_REQUEST,
		    "Cannot specify both Range header and partNumber query parameter");
	if (IN(r, range))
		return choose_range(r->call, o, IN(r, range), x, e);
	if (IN(r, part_number))
		return choose_part(r->call, o, *IN(r, part_number), x, e);
	return 0;
}

static void free_read(struct read *r)
{
	bucket_unref(r->bucket);
	free(r);
}

static int send(struct read *r, const struct object *o, const struct bytes *x)
{
	struct call *c = r->call;
	struct s3_get_object_out *get = c->out;
	struct s3_head_object_out *head = c->out;

	if (!r->get) {
		SHOW(c, r, head, o, x);
		if (x->partial || x->part)
			call_status(c, 206);
		call_reply(c, 0, NULL);
		return 0;
	}
	*get = (struct s3_get_object_out){0}; /* of an earlier try */
	SHOW(c, r, get, o, x);
	return read_send(c, o, x->from, x->length, x->partial || x->part ? 206 : 200);
}

static void on_found(void *ctx, int result, const struct object *o)
{
	struct read *r = ctx;
	struct call *c = r->call;
	struct err e = ERR_INIT;
	struct bytes x = {0};

	if (!c) {
		free_read(r);
		return;
	}
	result = read_refused(c, r->bucket, IN(r, key), IN(r, version_id), result, o, &e);
	if (result == 0)
		result = check_overrides(r, &e);
	if (result == 0)
		result = choose(r, o, &x, &e);
	if (result == 0)
		result = send(r, o, &x);
	if (result == -ENOENT && !e.code && r->tries++ < 3) {
		/* Its file went while we looked: there is a new version by now. */
		object_find(r->bucket, IN(r, key), IN(r, version_id), on_found, r);
		return;
	}
	if (result < 0 && !e.code)
		result = s3_failed(c, result, IN(r, key), &e);
	if (result < 0)
		call_reply(c, result, &e);
	free_read(r);
}

static void on_stop(struct call *c)
{
	((struct read *)c->user)->call = NULL;
}

static int start(struct call *c, const struct s3_get_object_in *get,
    const struct s3_head_object_in *head, struct err *e)
{
	struct read ask = {.get = get, .head = head}, *r;
	const char *version = IN(&ask, version_id);
	int result = bucket_get(c, IN(&ask, bucket), IN(&ask, expected_bucket_owner),
	    version ? "s3:GetObjectVersion" : "s3:GetObject", IN(&ask, key), &ask.bucket, e);

	if (result == 0)
		result = version_check(version, e);
	if (result == 0)
		result = request_encryption(c, e);
	if (result < 0)
		return result;
	r = xcalloc(1, sizeof(*r));
	*r = ask;
	r->call = c;
	bucket_ref(r->bucket);
	c->user = r;
	call_on_stop(c, on_stop);
	object_find(r->bucket, IN(r, key), version, on_found, r);
	return CALL_PENDING;
}

int s3_get_object(
    struct call *c, const struct s3_get_object_in *in, struct s3_get_object_out *out, struct err *e)
{
	(void)out;
	return start(c, in, NULL, e);
}

int s3_head_object(struct call *c, const struct s3_head_object_in *in,
    struct s3_head_object_out *out, struct err *e)
{
	(void)out;
	return start(c, NULL, in, e);
}
