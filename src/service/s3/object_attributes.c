/* GetObjectAttributes: chosen facts of an object, its parts among them. */
#include "service/s3/read_int.h"
#include "service/s3/request_int.h"

struct reading {
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	const struct s3_get_object_attributes_in *in;
};

static bool wants(const struct reading *r, const char *name)
{
	for (size_t i = 0; i < r->in->object_attributes->count; i++)
		if (strcmp(r->in->object_attributes->items[i], name) == 0)
			return true;
	return false;
}

static const struct s3_get_object_attributes_parts *show_parts(
    const struct reading *r, const struct object *o)
{
	struct call *c = r->call;
	struct s3_get_object_attributes_parts *p =
	    call_new(c, struct s3_get_object_attributes_parts);
	struct s3_parts_list *list = call_new(c, struct s3_parts_list);
	struct s3_object_part *items = call_array(c, o->part_count, struct s3_object_part);
	size_t from = r->in->part_number_marker ? (size_t)*r->in->part_number_marker : 0;
	size_t max = r->in->max_parts ? (size_t)*r->in->max_parts : S3_LIST_MAX;
	size_t i = from;

	for (; i < o->part_count && list->count < max; i++) {
		struct s3_object_part *item = &items[list->count++];

		item->part_number = call_int(c, (int64_t)i + 1);
		item->size = call_int(c, (int64_t)o->parts[i].size);
		checksum_show(item, o->checksum_kind, call_str(c, o->parts[i].checksum));
	}
	list->items = items;
	p->parts = list;
	p->total_parts_count = call_int(c, (int64_t)o->part_count);
	p->part_number_marker = call_int(c, (int64_t)from);
	p->next_part_number_marker = call_int(c, (int64_t)i);
	p->max_parts = call_int(c, (int64_t)max);
	p->is_truncated = call_bool(c, i < o->part_count);
	return p;
}

static void show(const struct reading *r, const struct object *o)
{
	struct call *c = r->call;
	struct s3_get_object_attributes_out *out = c->out;

	if (wants(r, "ETag"))
		out->e_tag = call_str(c, o->etag);
	if (wants(r, "ObjectSize"))
		out->object_size = call_int(c, (int64_t)o->size);
	if (wants(r, "StorageClass"))
		out->storage_class = o->storage_class ? call_str(c, o->storage_class) : "STANDARD";
	if (wants(r, "ObjectParts") && o->part_count)
		out->object_parts = show_parts(r, o);
	if (wants(r, "Checksum") && o->checksum) {
		struct s3_checksum *sum = call_new(c, struct s3_checksum);

		checksum_show(sum, o->checksum_kind, call_str(c, o->checksum));
		sum->checksum_type = o->checksum_composite ? "COMPOSITE" : "FULL_OBJECT";
		out->checksum = sum;
	}
	out->last_modified = call_int(c, o->modified_ms);
	if (r->bucket->versioning != VERSIONING_NEVER)
		out->version_id = call_str(c, o->version);
}

static void on_found(void *ctx, int result, const struct object *o)
{
	struct reading *r = ctx;
	struct call *c = r->call;
	struct err e = ERR_INIT;

	if (c) {
		result = read_refused(c, r->bucket, r->in->key, r->in->version_id, result, o, &e);
		if (result == 0)
			show(r, o);
		call_reply(c, result, &e);
	}
	bucket_unref(r->bucket);
	free(r);
}

static void on_stop(struct call *c)
{
	((struct reading *)c->user)->call = NULL;
}

int s3_get_object_attributes(struct call *c, const struct s3_get_object_attributes_in *in,
    struct s3_get_object_attributes_out *out, struct err *e)
{
	struct reading *g;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner,
	    in->version_id ? "s3:GetObjectVersionAttributes" : "s3:GetObjectAttributes", in->key,
	    &b, e);

	(void)out;
	if (r == 0)
		r = version_check(in->version_id, e);
	if (r == 0 && in->max_parts && *in->max_parts < 0)
		r = fail(e, S3_INVALID_ARGUMENT, "Argument max-parts must not be negative");
	if (r == 0 && in->part_number_marker && *in->part_number_marker < 0)
		r = fail(
		    e, S3_INVALID_ARGUMENT, "Argument part-number-marker must not be negative");
	if (r < 0)
		return r;
	g = xcalloc(1, sizeof(*g));
	g->call = c;
	g->bucket = bucket_ref(b);
	g->in = in;
	c->user = g;
	call_on_stop(c, on_stop);
	object_find(b, in->key, in->version_id, on_found, g);
	return CALL_PENDING;
}
