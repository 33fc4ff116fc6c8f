/* ListParts and ListMultipartUploads. */
#include "service/s3/list_int.h"
#include "service/s3/multipart_int.h"

/* ---- parts of an upload ---- */

struct listing_parts {
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	const struct s3_list_parts_in *in; /* while call */
	struct object *upload;
	struct parts parts;
};

static void free_parts_listing(struct listing_parts *l)
{
	parts_done(&l->parts);
	object_unref(l->upload);
	bucket_unref(l->bucket);
	free(l);
}

static void show_parts(struct listing_parts *l)
{
	struct call *c = l->call;
	struct s3_list_parts_out *out = c->out;
	struct s3_parts *list = call_new(c, struct s3_parts);
	struct s3_part *items = call_array(c, l->parts.count, struct s3_part);

	for (size_t i = 0; i < l->parts.count; i++) {
		const struct object *o = l->parts.items[i].record;

		items[i].part_number = call_int(c, l->parts.items[i].number);
		items[i].e_tag = call_printf(c, "\"%s\"", o->etag);
		items[i].size = call_int(c, (int64_t)o->size);
		items[i].last_modified = call_int(c, o->modified_ms);
		if (l->upload->checksum)
			checksum_show(&items[i], o->checksum_kind, call_str(c, o->checksum));
	}
	list->count = l->parts.count;
	list->items = items;
	out->parts = list->count ? list : NULL;
	out->is_truncated = call_bool(c, l->parts.truncated);
	if (list->count)
		out->next_part_number_marker = call_int(c, l->parts.items[list->count - 1].number);
}

static void show_upload(struct listing_parts *l)
{
	struct call *c = l->call;
	struct s3_list_parts_out *out = c->out;
	struct s3_initiator *who = call_new(c, struct s3_initiator);
	const struct object *o = l->upload;

	out->bucket = call_str(c, l->bucket->name);
	out->key = call_str(c, l->in->key);
	out->upload_id = call_str(c, l->in->upload_id);
	out->owner = s3_owner_of(c, l->bucket->account);
	who->id = out->owner->id;
	out->initiator = who;
	out->storage_class = o->storage_class ? call_str(c, o->storage_class) : "STANDARD";
	out->part_number_marker =
	    call_int(c, l->in->part_number_marker ? *l->in->part_number_marker : 0);
	out->max_parts = call_int(c, l->in->max_parts ? *l->in->max_parts : S3_LIST_MAX);
	if (o->checksum) {
		out->checksum_algorithm = checksum_name(o->checksum_kind);
		out->checksum_type = o->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";
	}
}

static void on_parts(void *ctx, int result)
{
	struct listing_parts *l = ctx;
	struct err e = ERR_INIT;

	if (l->call) {
		if (result == 0) {
			show_upload(l);
			show_parts(l);
		} else {
			result = s3_failed(l->call, result, NULL, &e);
		}
		call_reply(l->call, result, &e);
	}
	free_parts_listing(l);
}

static void on_upload(void *ctx, int result, const struct object *o)
{
	struct listing_parts *l = ctx;
	const struct s3_list_parts_in *in = l->in;
	struct err e = ERR_INIT;
	size_t max;

	if (l->call && result == 0) {
		l->upload = object_new(o);
		max = in->max_parts && *in->max_parts < S3_LIST_MAX ? (size_t)*in->max_parts
								    : S3_LIST_MAX;
		parts_read(&l->parts, l->bucket, in->upload_id,
		    in->part_number_marker ? (unsigned)*in->part_number_marker : 0, max, on_parts,
		    l);
		return;
	}
	if (l->call) {
		result = result == -ENOENT ? upload_missing(l->call, in->upload_id, &e)
					   : s3_failed(l->call, result, NULL, &e);
		call_reply(l->call, result, &e);
	}
	free_parts_listing(l);
}

static void on_stop(struct call *c)
{
	struct listing_parts *l = c->user;

	l->call = NULL;
	l->in = NULL;
}

int s3_list_parts(
    struct call *c, const struct s3_list_parts_in *in, struct s3_list_parts_out *out, struct err *e)
{
	struct listing_parts *l;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:ListMultipartUploadParts",
	    in->key, &b, e);

	(void)out;
	if (r == 0)
		r = list_arguments(c, in->max_parts, NULL, e);
	if (r == 0 && in->part_number_marker &&
	    (*in->part_number_marker < 0 || *in->part_number_marker > INT32_MAX))
		r = fail(e, S3_INVALID_ARGUMENT,
		    "Argument part-number-marker must be an integer between 0 and 2147483647");
	if (r < 0)
		return r;
	l = xcalloc(1, sizeof(*l));
	l->call = c;
	l->bucket = bucket_ref(b);
	l->in = in;
	c->user = l;
	call_on_stop(c, on_stop);
	upload_find(b, in->key, in->upload_id, on_upload, l);
	return CALL_PENDING;
}

/* ---- uploads of a bucket ---- */

static void reply_uploads(struct listing *l)
{
	struct call *c = l->call;
	struct s3_list_multipart_uploads_out *out = c->out;
	struct s3_multipart_upload_list *list = call_new(c, struct s3_multipart_upload_list);
	struct s3_multipart_upload *items = call_array(c, l->count, struct s3_multipart_upload);
	const struct s3_owner *owner = s3_owner_of(c, l->bucket->account);
	struct s3_initiator *who = call_new(c, struct s3_initiator);
	const struct list_item *last = l->count ? &l->items[l->count - 1] : NULL;

	who->id = owner->id;
	for (size_t i = 0; i < l->count; i++) {
		const struct object *o = l->items[i].object;

		if (!o)
			continue;
		items[list->count++] = (struct s3_multipart_upload){
		    .key = list_text(c, l->items[i].key, out->encoding_type),
		    .upload_id = call_str(c, l->items[i].suffix),
		    .initiated = call_int(c, o->modified_ms),
		    .storage_class = o->storage_class ? call_str(c, o->storage_class) : "STANDARD",
		    .checksum_algorithm = o->checksum ? checksum_name(o->checksum_kind) : NULL,
		    .checksum_type = !o->checksum            ? NULL
				     : o->checksum_composite ? "COMPOSITE"
							     : "FULL_OBJECT",
		    .initiator = who,
		    .owner = owner};
	}
	list->items = items;
	out->uploads = list->count ? list : NULL;
	out->common_prefixes = list_prefixes(l, out->encoding_type);
	out->is_truncated = call_bool(c, l->truncated);
	if (l->truncated) {
		out->next_key_marker = list_text(c, l->last, out->encoding_type);
		out->next_upload_id_marker = call_str(c, last && last->object ? last->suffix : "");
	}
	call_reply(c, 0, NULL);
}

int s3_list_multipart_uploads(struct call *c, const struct s3_list_multipart_uploads_in *in,
    struct s3_list_multipart_uploads_out *out, struct err *e)
{
	struct listing *l;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:ListBucketMultipartUploads", NULL, &b, e);

	if (r == 0)
		r = list_arguments(c, in->max_uploads, in->encoding_type, e);
	if (r < 0)
		return r;
	out->bucket = call_str(c, b->name);
	out->encoding_type = in->encoding_type;
	out->prefix = list_text(c, in->prefix ? in->prefix : "", in->encoding_type);
	out->delimiter = list_text(c, in->delimiter, in->encoding_type);
	out->key_marker = list_text(c, in->key_marker ? in->key_marker : "", in->encoding_type);
	out->upload_id_marker = call_str(c, in->upload_id_marker ? in->upload_id_marker : "");
	out->max_uploads = call_int(c, in->max_uploads ? *in->max_uploads : S3_LIST_MAX);
	l = listing_new(c, b, LIST_UPLOADS, in->prefix, in->delimiter, in->max_uploads);
	if (in->key_marker && *in->key_marker && in->upload_id_marker && *in->upload_id_marker)
		listing_after_row(l, in->key_marker, in->upload_id_marker);
	else
		listing_after(l, in->key_marker);
	return listing_start(l, reply_uploads);
}
