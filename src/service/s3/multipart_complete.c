/*
 * CompleteMultipartUpload: under the upload's lock, the parts that the client names become one
 * object by one write, without touching a byte of theirs. Asked again for what has been completed,
 * the answer is the same.
 */
#include <endian.h>
#include <stdio.h>

#include "service/s3/multipart_int.h"

struct completion {
	struct upload_lock lock;
	struct change change;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	char *key, *id;
	const struct s3_complete_multipart_upload_in *in; /* while call */
	struct object *upload;
	struct parts parts;
	bool *kept; /* of parts: becomes part of the object */
	size_t *chosen, chosen_count;
	struct write_conditions conditions;
	char *if_match;
	bool locked;
};

static void free_completion(struct completion *p)
{
	parts_done(&p->parts);
	bucket_unref(p->bucket);
	object_unref(p->upload);
	free(p->kept);
	free(p->chosen);
	free(p->key);
	free(p->id);
	free(p->if_match);
	free(p);
}

static void end(struct completion *p, int result, struct err *e)
{
	struct call *c = p->call;

	if (c && result == -ENOENT && !e->code)
		result = upload_missing(c, p->id, e);
	else if (c && result < 0 && !e->code)
		result = s3_failed(c, result, p->key, e);
	if (c)
		call_reply(c, result, e);
	if (p->locked)
		upload_lock_release(&p->lock);
	free_completion(p);
}

static void show(struct completion *p, const struct object *o)
{
	struct call *c = p->call;
	struct s3_complete_multipart_upload_out *out = c->out;
	struct str host = http_header(c->http, "host");
	char *key = arena_alloc(c->arena, strlen(p->key) * 3 + 1);

	url_encode(str_from(p->key), true, key);
	out->bucket = call_str(c, p->bucket->name);
	out->key = call_str(c, p->key);
	out->location = call_printf(c, "http://%.*s/%s/%s", STR_FMT(host), p->bucket->name, key);
	out->e_tag = call_printf(c, "\"%s\"", o->etag);
	out->expiration = lifecycle_expiration(c, p->bucket, p->key, o);
	if (strcmp(o->version, "null") != 0)
		out->version_id = call_str(c, o->version);
	checksum_show(out, o->checksum_kind, call_str(c, o->checksum));
	out->checksum_type = o->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";
}

/* ---- choosing parts ---- */

static int wrong_part(struct completion *p, const struct s3_completed_part *want, struct err *e)
{
	struct call *c = p->call;

	call_error_member(c, "UploadId", p->id);
	call_error_member(c, "PartNumber", call_printf(c, "%" PRId64, *want->part_number));
	if (want->e_tag)
		call_error_member(c, "ETag", call_str(c, want->e_tag));
	return fail(e, S3_INVALID_PART,
	    "One or more of the specified parts could not be found.  The part may not have been "
	    "uploaded, or the specified entity tag may not match the part's entity tag.");
}

static const char *sum_of(const struct s3_completed_part *want, unsigned kind)
{
	switch (kind) {
	case STORE_CRC32: return want->checksum_crc32;
	case STORE_CRC32C: return want->checksum_crc32_c;
	case STORE_CRC64NVME: return want->checksum_crc64_nvme;
	case STORE_SHA1: return want->checksum_sha1;
	case STORE_SHA256: return want->checksum_sha256;
	default: return NULL;
	}
}

/* Index of the part of that number, or SIZE_MAX. */
static size_t find_part(const struct parts *all, int64_t number)
{
	size_t low = 0, high = all->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (all->items[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < all->count && all->items[low].number == number ? low : SIZE_MAX;
}

static int check_part(
    struct completion *p, const struct s3_completed_part *want, bool last, size_t at, struct err *e)
{
	unsigned kind = p->upload->checksum_kind;
	const struct object *o = at == SIZE_MAX ? NULL : p->parts.items[at].record;
	const char *sum = sum_of(want, kind);

	if (!o || !want->e_tag || !etag_matches(want->e_tag, o->etag) ||
	    (sum && strcmp(sum, o->checksum) != 0))
		return wrong_part(p, want, e);
	if (!sum && p->upload->checksum && p->upload->checksum_composite)
		return fail(e, S3_INVALID_REQUEST,
		    "The upload was created using a %s checksum. The complete request must include "
		    "the checksum for each part. It was missing for part %" PRId64
		    " in the request.",
		    checksum_name(kind), *want->part_number);
	if (last || o->size >= S3_PART_MIN)
		return 0;
	call_error_member(p->call, "ProposedSize", call_printf(p->call, "%" PRIu64, o->size));
	call_error_member(p->call, "MinSizeAllowed", "5242880");
	call_error_member(
	    p->call, "PartNumber", call_printf(p->call, "%" PRId64, *want->part_number));
	call_error_member(p->call, "ETag", call_str(p->call, o->etag));
	return fail(e, S3_ENTITY_TOO_SMALL,
	    "Your proposed upload is smaller than the minimum allowed size");
}

static int choose_parts(struct completion *p, struct err *e)
{
	const struct s3_completed_part_list *list =
	    p->in->multipart_upload ? p->in->multipart_upload->parts : NULL;
	int r = 0;

	if (!list || list->count == 0 || list->count > S3_PARTS_MAX)
		return fail(e, S3_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	p->kept = xcalloc(p->parts.count + 1, sizeof(*p->kept));
	p->chosen = xcalloc(list->count, sizeof(*p->chosen));
	for (size_t i = 0; i < list->count; i++) {
		const struct s3_completed_part *want = &list->items[i];

		if (!want->part_number)
			return fail(e, S3_MALFORMED_XML,
			    "The XML you provided was not well-formed or did not validate against "
			    "our published schema");
		if (i && *want->part_number <= *list->items[i - 1].part_number)
			return fail(e, S3_INVALID_PART_ORDER,
			    "The list of parts was not in ascending order. Parts must be ordered "
			    "by part number.");
		p->chosen[i] = find_part(&p->parts, *want->part_number);
	}
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		r = check_part(p, &list->items[i], i + 1 == list->count, p->chosen[i], e);
		if (r == 0)
			p->kept[p->chosen[i]] = true;
	}
	p->chosen_count = list->count;
	return r;
}

/* ---- sums of the whole ---- */

static const struct object *chosen(const struct completion *p, size_t i)
{
	return p->parts.items[p->chosen[i]].record;
}

static void make_etag(const struct completion *p, char out[48])
{
	struct store_hasher *h = store_hasher_new(STORE_MD5);
	struct store_hashes sums;
	unsigned char raw[16];

	for (size_t i = 0; i < p->chosen_count; i++) {
		hex_decode(str_from(chosen(p, i)->etag), raw, sizeof(raw));
		store_hasher_add(h, raw, sizeof(raw));
	}
	store_hasher_end(h, &sums);
	hex_encode(sums.md5, sizeof(sums.md5), out);
	snprintf(out + 32, 16, "-%zu", p->chosen_count);
}

static void composite_sum(const struct completion *p, char out[CHECKSUM_SIZE])
{
	unsigned kind = p->upload->checksum_kind;
	struct store_hasher *h = store_hasher_new(kind);
	struct store_hashes sums;
	unsigned char raw[CHECKSUM_SIZE];

	for (size_t i = 0; i < p->chosen_count; i++) {
		ssize_t n = base64_decode(str_from(chosen(p, i)->checksum), raw);

		store_hasher_add(h, raw, n > 0 ? (size_t)n : 0);
	}
	store_hasher_end(h, &sums);
	checksum_text(kind, &sums, out);
	snprintf(out + strlen(out), CHECKSUM_SIZE - strlen(out), "-%zu", p->chosen_count);
}

static uint64_t number_of(const struct object *part)
{
	unsigned char raw[CHECKSUM_SIZE];
	ssize_t n = base64_decode(str_from(part->checksum), raw);
	uint64_t v = 0;

	for (ssize_t i = 0; i < n && i < 8; i++)
		v = v << 8 | raw[i];
	return v;
}

static void whole_sum(const struct completion *p, char out[CHECKSUM_SIZE])
{
	unsigned kind = p->upload->checksum_kind;
	uint64_t crc = 0;
	uint32_t narrow;

	for (size_t i = 0; i < p->chosen_count; i++)
		crc = i ? crc_combine(kind, crc, number_of(chosen(p, i)), chosen(p, i)->size)
			: number_of(chosen(p, i));
	narrow = htobe32((uint32_t)crc);
	crc = htobe64(crc);
	base64_encode(kind == STORE_CRC64NVME ? (const void *)&crc : (const void *)&narrow,
	    checksum_bytes(kind), out);
}

static int check_sum(struct completion *p, const char *sum, struct err *e)
{
	unsigned kind = p->upload->checksum_kind;
	const struct s3_complete_multipart_upload_in *in = p->in;
	const struct s3_completed_part as_part = {.checksum_crc32 = in->checksum_crc32,
	    .checksum_crc32_c = in->checksum_crc32_c,
	    .checksum_crc64_nvme = in->checksum_crc64_nvme,
	    .checksum_sha1 = in->checksum_sha1,
	    .checksum_sha256 = in->checksum_sha256};
	const char *want = sum_of(&as_part, kind);
	const char *type = p->upload->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";

	if (in->checksum_type && strcmp(in->checksum_type, type) != 0)
		return fail(e, S3_INVALID_REQUEST,
		    "The upload was created using the %s checksum mode. The complete request must "
		    "use the same checksum mode.",
		    type);
	/* A composite sum may come with or without the number of parts. */
	if (want && strcmp(want, sum) != 0 &&
	    !(p->upload->checksum_composite && strncmp(want, sum, strlen(want)) == 0 &&
		sum[strlen(want)] == '-'))
		return fail(e, S3_BAD_DIGEST,
		    "The %s you specified did not match the calculated checksum.",
		    checksum_name(kind));
	return 0;
}

/* ---- the object ---- */

static int check_size(struct completion *p, uint64_t size, struct err *e)
{
	if (size > S3_OBJECT_MAX) {
		call_error_member(p->call, "MaxSizeAllowed", "5497558138880");
		return fail(e, S3_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	}
	if (p->in->mpu_object_size && *p->in->mpu_object_size != (int64_t)size)
		return fail(e, S3_INVALID_REQUEST,
		    "The provided 'x-amz-mp-object-size' header value %" PRId64
		    " does not match what was computed: %" PRIu64,
		    *p->in->mpu_object_size, size);
	return 0;
}

static struct object *make_object(struct completion *p, struct err *e)
{
	struct object facts = *p->upload;
	struct object_part *parts = xcalloc(p->chosen_count, sizeof(*parts));
	struct store_extent *extents;
	struct object *made = NULL;
	char etag[48], sum[CHECKSUM_SIZE];
	size_t n = 0;

	facts.size = 0;
	for (size_t i = 0; i < p->chosen_count; i++) {
		parts[i] = (struct object_part){chosen(p, i)->size, chosen(p, i)->checksum};
		facts.size += parts[i].size;
		n += chosen(p, i)->extent_count;
	}
	extents = xcalloc(n + 1, sizeof(*extents));
	facts.parts = parts;
	facts.part_count = p->chosen_count;
	facts.extents = extents;
	facts.extent_count = 0;
	for (size_t i = 0; i < p->chosen_count; i++)
		for (size_t x = 0; x < chosen(p, i)->extent_count; x++)
			extents[facts.extent_count++] = chosen(p, i)->extents[x];
	make_etag(p, etag);
	facts.etag = etag;
	if (facts.checksum_composite)
		composite_sum(p, sum);
	else
		whole_sum(p, sum);
	facts.checksum = sum;
	if (check_size(p, facts.size, e) == 0 && check_sum(p, sum, e) == 0)
		made = object_new(&facts);
	free(parts);
	free(extents);
	return made;
}

static int on_check(struct change *ch, const struct object *current)
{
	struct completion *p = container_of(ch, struct completion, change);

	return conditions_check(&p->conditions, current, &ch->error);
}

static void on_more(struct change *ch, struct store_write *w)
{
	struct completion *p = container_of(ch, struct completion, change);

	upload_end(w, p->bucket, p->key, p->id, &p->parts, p->kept);
}

static void on_changed(struct change *ch, int result)
{
	struct completion *p = container_of(ch, struct completion, change);
	struct err e = ch->error;

	if (result == 0 && p->call)
		show(p, ch->record);
	end(p, result, &e);
}

static void on_parts(void *ctx, int result)
{
	struct completion *p = ctx;
	struct err e = ERR_INIT;
	struct object *made = NULL;

	if (result == 0 && !p->call)
		result = -ECANCELED;
	if (result == 0)
		result = choose_parts(p, &e);
	if (result == 0) {
		made = make_object(p, &e);
		result = made ? 0 : -EINVAL;
	}
	if (result < 0) {
		end(p, result, &e);
		return;
	}
	p->change = (struct change){.bucket = p->bucket,
	    .key = p->key,
	    .kind = CHANGE_PUT,
	    .call = p->call,
	    .event = "ObjectCreated:CompleteMultipartUpload",
	    .object = made,
	    .files = FILES_KEPT,
	    .approve = on_check,
	    .more = on_more,
	    .done = on_changed};
	change_start(&p->change);
}

/* No such upload: but perhaps it is the object by now. */
static void on_object(void *ctx, int result, const struct object *o)
{
	struct completion *p = ctx;
	struct err e = ERR_INIT;

	if (p->call && result == 0 && o->upload && strcmp(o->upload, p->id) == 0) {
		show(p, o);
		end(p, 0, &e);
		return;
	}
	end(p, -ENOENT, &e);
}

static void on_upload(void *ctx, int result, const struct object *o)
{
	struct completion *p = ctx;
	struct err e = ERR_INIT;

	if (result == -ENOENT) {
		object_find(p->bucket, p->key, NULL, on_object, p);
		return;
	}
	if (result < 0) {
		end(p, result, &e);
		return;
	}
	p->upload = object_new(o);
	parts_read(&p->parts, p->bucket, p->id, 0, S3_PARTS_MAX, on_parts, p);
}

static void run(struct lock_wait *w)
{
	struct completion *p = container_of(w, struct completion, lock.wait);

	p->locked = true;
	upload_find(p->bucket, p->key, p->id, on_upload, p);
}

static void on_stop(struct call *c)
{
	struct completion *p = c->user;

	p->call = p->change.call = NULL;
	p->in = NULL;
}

int s3_complete_multipart_upload(struct call *c, const struct s3_complete_multipart_upload_in *in,
    struct s3_complete_multipart_upload_out *out, struct err *e)
{
	struct write_conditions conditions = {0};
	struct completion *p;
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = conditions_parse(c, &conditions, e);
	if (r < 0)
		return r;
	if (!upload_id_valid(in->upload_id))
		return upload_missing(c, in->upload_id, e);
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->bucket = bucket_ref(b);
	p->key = xstrdup(in->key);
	p->id = xstrdup(in->upload_id);
	p->in = in;
	p->if_match = conditions.if_match ? xstrdup(conditions.if_match) : NULL;
	p->conditions =
	    (struct write_conditions){p->if_match, conditions.if_none_match ? "*" : NULL};
	c->user = p;
	call_on_stop(c, on_stop);
	upload_lock_take(&p->lock, b, p->id, run);
	return CALL_PENDING;
}
