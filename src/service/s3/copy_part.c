/* UploadPartCopy: a part that refers to the files of another object. Its sums are taken by reading
 * it, as a part has an entity tag of its own. */
#include "service/s3/copy_int.h"
#include "service/s3/multipart_int.h"

struct part_copy {
	struct copy_source source;
	struct part_commit commit;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket, *source_bucket;
	char *key, *id;
	const struct s3_upload_part_copy_in *in; /* while call */
	unsigned kind, number;
	bool chosen; /* the upload says which sum */
	const struct object *from;
	struct store_extent *extents;
	size_t extent_count;
	uint64_t size;
};

static void free_copy(struct part_copy *p)
{
	bucket_unref(p->bucket);
	bucket_unref(p->source_bucket);
	object_unref(p->from);
	free(p->extents);
	free(p->key);
	free(p->id);
	free(p);
}

static void end(struct part_copy *p, int result, struct err *e)
{
	struct call *c = p->call;

	if (c && result == -ENOENT && !e->code)
		result = upload_missing(c, p->id, e);
	else if (c && result < 0 && !e->code)
		result = s3_failed(c, result, p->key, e);
	if (c)
		call_reply(c, result, e);
	free_copy(p);
}

static void on_committed(struct part_commit *commit, int result)
{
	struct part_copy *p = container_of(commit, struct part_copy, commit);
	struct call *c = p->call;
	struct err e = ERR_INIT;

	if (result == 0 && c) {
		struct s3_upload_part_copy_out *out = c->out;
		struct s3_copy_part_result *r = call_new(c, struct s3_copy_part_result);

		r->e_tag = call_printf(c, "\"%s\"", commit->part->etag);
		r->last_modified = call_int(c, commit->part->modified_ms);
		if (p->chosen)
			checksum_show(r, p->kind, call_str(c, commit->part->checksum));
		out->copy_part_result = r;
		if (p->source_bucket->versioning != VERSIONING_NEVER)
			out->copy_source_version_id = call_str(c, p->from->version);
	}
	end(p, result, &e);
}

static void on_hashed(void *ctx, int result, const struct store_hashes *h)
{
	struct part_copy *p = ctx;
	char etag[33], sum[CHECKSUM_SIZE];
	struct err e = ERR_INIT;
	struct object facts = {.version = "null",
	    .etag = etag,
	    .size = p->size,
	    .modified_ms = s3_now_ms(p->bucket->s3),
	    .checksum_kind = p->kind,
	    .checksum = sum,
	    .extents = p->extents,
	    .extent_count = p->extent_count};

	if (result < 0) {
		end(p, result == -ENOENT ? -ESTALE : result, &e);
		return;
	}
	hex_encode(h->md5, sizeof(h->md5), etag);
	checksum_text(p->kind, h, sum);
	p->commit = (struct part_commit){.bucket = p->bucket,
	    .key = p->key,
	    .id = p->id,
	    .number = p->number,
	    .part = object_new(&facts),
	    .shared = true,
	    .done = on_committed};
	part_commit_start(&p->commit);
}

/* "bytes=0-9", whole and within the object. */
static int choose(struct part_copy *p, const struct object *o, uint64_t *ret_from,
    uint64_t *ret_length, struct err *e)
{
	const char *range = p->in->copy_source_range;
	struct str last = str_from(range), first;
	int64_t from = 0, to = 0;

	*ret_from = 0;
	*ret_length = o->size;
	if (!range)
		return 0;
	first = str_cut(&last, '-');
	if (!str_has_prefix(first, "bytes=") || !last.ptr ||
	    !str_to_int64(str_sub(first, 6), 0, INT64_MAX, &from) ||
	    !str_to_int64(last, 0, INT64_MAX, &to) || to < from)
		return fail(e, S3_INVALID_ARGUMENT,
		    "The x-amz-copy-source-range value must be of the form bytes=first-last where "
		    "first and last are the zero-based offsets of the first and last bytes to "
		    "copy");
	if ((uint64_t)to >= o->size)
		return fail(e, S3_INVALID_ARGUMENT,
		    "Range specified is not valid for source object of size: %" PRIu64, o->size);
	*ret_from = (uint64_t)from;
	*ret_length = (uint64_t)(to - from) + 1;
	return 0;
}

static void on_source(struct copy_source *s, int result, const struct object *o, struct err *e)
{
	struct part_copy *p = container_of(s, struct part_copy, source);
	uint64_t from = 0;

	if (result == 0)
		result = choose(p, o, &from, &p->size, e);
	if (result == 0 && p->size > S3_PUT_MAX)
		result = fail(e, S3_INVALID_REQUEST,
		    "The specified copy source is larger than the maximum allowable size for a "
		    "copy "
		    "source: 5368709120");
	if (result < 0) {
		end(p, result, e);
		return;
	}
	p->from = object_ref(o);
	p->extents = copy_extents(o, from, p->size, &p->extent_count);
	store_file_hash(p->bucket->s3->options.store, p->extents, p->extent_count,
	    STORE_MD5 | p->kind, on_hashed, p);
}

static void on_upload(void *ctx, int result, const struct object *upload)
{
	struct part_copy *p = ctx;
	struct err e = ERR_INIT;

	if (result < 0 || !p->call) {
		end(p, result, &e);
		return;
	}
	p->kind = upload->checksum_kind;
	p->chosen = upload->checksum != NULL;
	copy_source_find(&p->source);
}

static void on_stop(struct call *c)
{
	struct part_copy *p = c->user;

	p->call = p->source.call = NULL;
	p->in = NULL;
}

int s3_upload_part_copy(struct call *c, const struct s3_upload_part_copy_in *in,
    struct s3_upload_part_copy_out *out, struct err *e)
{
	const struct read_conditions conditions = {in->copy_source_if_match,
	    in->copy_source_if_none_match, in->copy_source_if_modified_since,
	    in->copy_source_if_unmodified_since};
	struct copy_source source = {0};
	struct bucket *b;
	struct part_copy *p;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	(void)out;
	if (r == 0 && (*in->part_number < 1 || *in->part_number > S3_PARTS_MAX))
		r = fail(e, S3_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, inclusive");
	if (r == 0)
		r = request_encryption(c, e);
	if (r == 0)
		r = copy_source_parse(
		    c, in->copy_source, in->expected_source_bucket_owner, &conditions, &source, e);
	if (r < 0)
		return r;
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->in = in;
	p->bucket = bucket_ref(b);
	p->source = source;
	p->source_bucket = bucket_ref(source.bucket);
	p->source.done = on_source;
	p->key = xstrdup(in->key);
	p->id = xstrdup(in->upload_id);
	p->number = (unsigned)*in->part_number;
	c->user = p;
	call_on_stop(c, on_stop);
	upload_find(b, p->key, p->id, on_upload, p);
	return CALL_PENDING;
}
