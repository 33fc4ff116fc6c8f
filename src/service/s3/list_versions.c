/* ListObjectVersions: every version of every key, the newest first. */
#include <stdio.h>

#include "service/s3/list_int.h"
#include "service/s3/read_int.h"

static void show_version(struct call *c, const struct list_item *i, const struct s3_owner *owner,
    const char *encoding, struct s3_object_version *ret)
{
	const struct object *o = i->object;

	*ret = (struct s3_object_version){.key = list_text(c, i->key, encoding),
	    .e_tag = call_printf(c, "\"%s\"", o->etag),
	    .size = call_int(c, (int64_t)o->size),
	    .is_latest = call_bool(c, i->latest),
	    .last_modified = call_int(c, o->modified_ms),
	    .storage_class = o->storage_class ? call_str(c, o->storage_class) : "STANDARD",
	    .checksum_algorithm = list_algorithms(c, o),
	    .checksum_type = !o->checksum_kind       ? NULL
			     : o->checksum_composite ? "COMPOSITE"
						     : "FULL_OBJECT",
	    .version_id = call_str(c, o->version),
	    .owner = owner};
}

static void show_all(const struct listing *l, struct s3_list_object_versions_out *out)
{
	struct call *c = l->call;
	struct s3_object_version_list *versions = call_new(c, struct s3_object_version_list);
	struct s3_delete_markers *markers = call_new(c, struct s3_delete_markers);
	struct s3_object_version *v = call_array(c, l->count, struct s3_object_version);
	struct s3_delete_marker_entry *m = call_array(c, l->count, struct s3_delete_marker_entry);
	const struct s3_owner *owner = s3_owner_of(c, l->bucket->account);

	for (size_t i = 0; i < l->count; i++) {
		const struct list_item *item = &l->items[i];

		if (item->object && item->object->marker)
			m[markers->count++] = (struct s3_delete_marker_entry){
			    .key = list_text(c, item->key, out->encoding_type),
			    .is_latest = call_bool(c, item->latest),
			    .last_modified = call_int(c, item->object->modified_ms),
			    .version_id = call_str(c, item->object->version),
			    .owner = owner};
		else if (item->object)
			show_version(c, item, owner, out->encoding_type, &v[versions->count++]);
	}
	versions->items = v;
	markers->items = m;
	out->versions = versions->count ? versions : NULL;
	out->delete_markers = markers->count ? markers : NULL;
}

static void reply(struct listing *l)
{
	struct call *c = l->call;
	struct s3_list_object_versions_out *out = c->out;
	const struct list_item *last = l->count ? &l->items[l->count - 1] : NULL;

	show_all(l, out);
	out->common_prefixes = list_prefixes(l, out->encoding_type);
	out->is_truncated = call_bool(c, l->truncated);
	if (l->truncated)
		out->next_key_marker = list_text(c, l->last, out->encoding_type);
	/* "null" alone does not tell where it stands among the others. */
	if (l->truncated && last && last->object)
		out->next_version_id_marker =
		    version_is(last->object, "null")
			? call_printf(c, "%016" PRIx64 "0000000000000000", last->object->seq)
			: call_str(c, last->object->version);
	call_reply(c, 0, NULL);
}

static int begin(struct listing *l, const struct s3_list_object_versions_in *in, struct err *e)
{
	unsigned char raw[8];
	char suffix[17];
	uint64_t seq = 0;

	if (!in->version_id_marker || !*in->version_id_marker ||
	    strcmp(in->version_id_marker, "null") == 0) {
		listing_after(l, in->key_marker);
		return 0;
	}
	if (!in->key_marker || !*in->key_marker)
		return fail(e, S3_INVALID_ARGUMENT,
		    "A version-id marker cannot be specified without a key marker.");
	if (!version_valid(in->version_id_marker) ||
	    !hex_decode((struct str){in->version_id_marker, 16}, raw, sizeof(raw)))
		return fail(e, S3_INVALID_ARGUMENT, "Invalid version id specified");
	for (size_t i = 0; i < sizeof(raw); i++)
		seq = seq << 8 | raw[i];
	snprintf(suffix, sizeof(suffix), "%016" PRIx64, ~seq);
	listing_after_row(l, in->key_marker, suffix);
	return 0;
}

int s3_list_object_versions(struct call *c, const struct s3_list_object_versions_in *in,
    struct s3_list_object_versions_out *out, struct err *e)
{
	struct listing *l;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:ListBucketVersions", NULL, &b, e);

	if (r == 0)
		r = list_arguments(c, in->max_keys, in->encoding_type, e);
	if (r < 0)
		return r;
	out->name = call_str(c, b->name);
	out->encoding_type = in->encoding_type;
	out->prefix = list_text(c, in->prefix ? in->prefix : "", in->encoding_type);
	out->delimiter = list_text(c, in->delimiter, in->encoding_type);
	out->key_marker = list_text(c, in->key_marker ? in->key_marker : "", in->encoding_type);
	out->version_id_marker = call_str(c, in->version_id_marker ? in->version_id_marker : "");
	out->max_keys = call_int(c, in->max_keys ? *in->max_keys : S3_LIST_MAX);
	l = listing_new(c, b, LIST_VERSIONS, in->prefix, in->delimiter, in->max_keys);
	r = begin(l, in, e);
	if (r < 0) {
		listing_free(l);
		return r;
	}
	return listing_start(l, reply);
}
