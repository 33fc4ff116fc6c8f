/*
 * CopyObject: the copy refers to the files of its source, so it takes as long for a large object as
 * for a small one. Bytes are read only where a sum is asked for that the source does not have.
 */
#include "service/s3/copy_int.h"

#define TRIES 4 /* the source may be replaced while we look */

struct copy {
	struct copy_source source;
	struct change change;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket, *source_bucket;
	char *key;
	const struct s3_copy_object_in *in; /* while call */
	struct object *draft;               /* facts of the request, when they replace */
	const struct object *from;
	struct write_conditions conditions;
	char *if_match;
	unsigned kind; /* of sum asked for; 0: as the source */
	bool replace, replace_tags;
	unsigned tries;
};

static void free_copy(struct copy *p)
{
	bucket_unref(p->bucket);
	bucket_unref(p->source_bucket);
	object_unref(p->draft);
	object_unref(p->from);
	free(p->if_match);
	free(p->key);
	free(p);
}

static void end(struct copy *p, int result, struct err *e)
{
	struct call *c = p->call;

	if (c && result < 0 && !e->code)
		result = s3_failed(c, result, p->key, e);
	if (c)
		call_reply(c, result, e);
	free_copy(p);
}

static void show(struct copy *p, const struct object *o)
{
	struct call *c = p->call;
	struct s3_copy_object_out *out = c->out;
	struct s3_copy_object_result *result = call_new(c, struct s3_copy_object_result);

	result->e_tag = call_printf(c, "\"%s\"", o->etag);
	result->last_modified = call_int(c, o->modified_ms);
	checksum_show(result, o->checksum_kind, call_str(c, o->checksum));
	if (o->checksum)
		result->checksum_type = o->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";
	out->copy_object_result = result;
	out->expiration = lifecycle_expiration(c, p->bucket, p->key, o);
	if (p->source_bucket->versioning != VERSIONING_NEVER)
		out->copy_source_version_id = call_str(c, p->from->version);
	if (p->bucket->versioning != VERSIONING_NEVER)
		out->version_id = call_str(c, o->version);
}

/* ---- the change ---- */

static int on_check(struct change *ch, const struct object *current)
{
	struct copy *p = container_of(ch, struct copy, change);

	return conditions_check(&p->conditions, current, &ch->error);
}

static void on_changed(struct change *ch, int result)
{
	struct copy *p = container_of(ch, struct copy, change);
	struct err e = ch->error;

	if (result == -ESTALE && p->call && p->tries++ < TRIES) {
		object_unref(p->from);
		p->from = NULL;
		copy_source_find(&p->source);
		return;
	}
	if (result == 0 && p->call)
		show(p, ch->record);
	end(p, result, &e);
}

/* hashes NULL: those of the source hold for the copy. */
static void commit(struct copy *p, const struct store_hashes *hashes)
{
	const struct object *o = p->from;
	struct object facts = p->replace ? *p->draft : *o;
	char etag[33], sum[CHECKSUM_SIZE];

	if (!p->replace) {
		facts.redirect = p->draft->redirect;
		facts.storage_class = p->draft->storage_class;
	}
	facts.tags = p->replace_tags ? p->draft->tags : o->tags;
	facts.tag_count = p->replace_tags ? p->draft->tag_count : o->tag_count;
	facts.version = "null";
	facts.upload = NULL;
	facts.size = o->size;
	facts.etag = o->etag;
	facts.checksum_kind = o->checksum_kind;
	facts.checksum = o->checksum;
	facts.checksum_composite = false;
	facts.part_count = 0;
	facts.extents = o->extents;
	facts.extent_count = o->extent_count;
	if (hashes) {
		hex_encode(hashes->md5, sizeof(hashes->md5), etag);
		facts.etag = etag;
		facts.checksum_kind = p->kind;
		checksum_text(p->kind, hashes, sum);
		facts.checksum = sum;
	}
	p->change = (struct change){.bucket = p->bucket,
	    .key = p->key,
	    .kind = CHANGE_PUT,
	    .call = p->call,
	    .event = "ObjectCreated:Copy",
	    .object = object_new(&facts),
	    .files = FILES_SHARED,
	    .approve = on_check,
	    .done = on_changed};
	change_start(&p->change);
}

static void on_hashed(void *ctx, int result, const struct store_hashes *hashes)
{
	struct copy *p = ctx;
	struct err e = ERR_INIT;

	if (result == -ENOENT && p->call && p->tries++ < TRIES) {
		object_unref(p->from);
		p->from = NULL;
		copy_source_find(&p->source);
	} else if (result < 0) {
		end(p, result == -ENOENT ? -ESTALE : result, &e);
	} else {
		commit(p, hashes);
	}
}

static int check_source(struct copy *p, const struct object *o, struct err *e)
{
	const struct s3_copy_object_in *in = p->in;
	bool same = p->bucket == p->source.bucket && strcmp(p->key, p->source.key) == 0 &&
		    !p->source.version;

	if (o->size > S3_PUT_MAX)
		return fail(e, S3_INVALID_REQUEST,
		    "The specified copy source is larger than the maximum allowable size for a "
		    "copy "
		    "source: 5368709120");
	if (same && !p->replace && !in->storage_class && !in->website_redirect_location &&
	    !in->server_side_encryption)
		return fail(e, S3_INVALID_REQUEST,
		    "This copy request is illegal because it is trying to copy an object to itself "
		    "without changing the object's metadata, storage class, website redirect "
		    "location or encryption attributes.");
	return 0;
}

static void on_source(struct copy_source *s, int result, const struct object *o, struct err *e)
{
	struct copy *p = container_of(s, struct copy, source);
	unsigned kind;

	if (result == 0)
		result = check_source(p, o, e);
	if (result < 0) {
		end(p, result, e);
		return;
	}
	p->from = object_ref(o);
	kind = p->kind ? p->kind : o->checksum_kind ? o->checksum_kind : STORE_CRC64NVME;
	/* The copy of an object of many parts is of one piece, and so are its sums. */
	if (!o->part_count && o->checksum && kind == o->checksum_kind) {
		commit(p, NULL);
		return;
	}
	p->kind = kind;
	store_file_hash(p->bucket->s3->options.store, o->extents, o->extent_count, STORE_MD5 | kind,
	    on_hashed, p);
}

static void on_stop(struct call *c)
{
	struct copy *p = c->user;

	p->call = p->source.call = p->change.call = NULL;
	p->in = NULL;
}

static int check_directives(const struct s3_copy_object_in *in, struct err *e)
{
	if (in->metadata_directive && strcmp(in->metadata_directive, "COPY") != 0 &&
	    strcmp(in->metadata_directive, "REPLACE") != 0)
		return fail(e, S3_INVALID_ARGUMENT, "Unknown metadata directive.");
	if (in->tagging_directive && strcmp(in->tagging_directive, "COPY") != 0 &&
	    strcmp(in->tagging_directive, "REPLACE") != 0)
		return fail(e, S3_INVALID_ARGUMENT, "Unknown tagging directive.");
	if (in->checksum_algorithm && !checksum_kind(in->checksum_algorithm))
		return fail(e, S3_INVALID_REQUEST,
		    "Checksum algorithm provided is unsupported. Please try again with any of the "
		    "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	return 0;
}

int s3_copy_object(struct call *c, const struct s3_copy_object_in *in,
    struct s3_copy_object_out *out, struct err *e)
{
	const struct read_conditions source_conditions = {in->copy_source_if_match,
	    in->copy_source_if_none_match, in->copy_source_if_modified_since,
	    in->copy_source_if_unmodified_since};
	struct object facts = {.etag = ""};
	struct write_conditions conditions = {0};
	struct copy_source source = {0};
	struct bucket *b;
	struct copy *p;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = check_directives(in, e);
	if (r == 0)
		r = request_facts(c, &facts, e);
	if (r == 0)
		r = conditions_parse(c, &conditions, e);
	if (r == 0)
		r = copy_source_parse(c, in->copy_source, in->expected_source_bucket_owner,
		    &source_conditions, &source, e);
	if (r < 0)
		return r;
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->in = in;
	p->bucket = bucket_ref(b);
	p->key = xstrdup(in->key);
	p->source = source;
	p->source_bucket = bucket_ref(source.bucket);
	p->source.done = on_source;
	p->draft = object_new(&facts);
	p->replace = in->metadata_directive && strcmp(in->metadata_directive, "REPLACE") == 0;
	p->replace_tags = in->tagging_directive && strcmp(in->tagging_directive, "REPLACE") == 0;
	p->kind = in->checksum_algorithm ? checksum_kind(in->checksum_algorithm) : 0;
	p->if_match = conditions.if_match ? xstrdup(conditions.if_match) : NULL;
	p->conditions =
	    (struct write_conditions){p->if_match, conditions.if_none_match ? "*" : NULL};
	c->user = p;
	call_on_stop(c, on_stop);
	copy_source_find(&p->source);
	return CALL_PENDING;
}
