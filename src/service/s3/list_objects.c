/* ListObjects, versions 1 and 2. */
#include "service/s3/list_int.h"

static const struct s3_object_list *contents(
    const struct listing *l, const char *encoding, bool owner)
{
	struct call *c = l->call;
	struct s3_object_list *list = call_new(c, struct s3_object_list);
	struct s3_object *items = call_array(c, l->count, struct s3_object);
	const struct s3_owner *who = owner ? s3_owner_of(c, l->bucket->account) : NULL;

	for (size_t i = 0; i < l->count; i++) {
		const struct object *o = l->items[i].object;

		if (!o)
			continue;
		items[list->count++] = (struct s3_object){
		    .key = list_text(c, l->items[i].key, encoding),
		    .e_tag = call_printf(c, "\"%s\"", o->etag),
		    .size = call_int(c, (int64_t)o->size),
		    .last_modified = call_int(c, o->modified_ms),
		    .storage_class = o->storage_class ? call_str(c, o->storage_class) : "STANDARD",
		    .checksum_algorithm = list_algorithms(c, o),
		    .checksum_type = !o->checksum_kind       ? NULL
				     : o->checksum_composite ? "COMPOSITE"
							     : "FULL_OBJECT",
		    .owner = who};
	}
	list->items = items;
	return list->count ? list : NULL;
}

/* ---- version 1 ---- */

static void reply_first(struct listing *l)
{
	struct call *c = l->call;
	struct s3_list_objects_out *out = c->out;

	out->contents = contents(l, out->encoding_type, true);
	out->common_prefixes = list_prefixes(l, out->encoding_type);
	out->is_truncated = call_bool(c, l->truncated);
	/* Without a delimiter clients go on from the last key. */
	if (l->truncated && (*l->delimiter || !out->contents))
		out->next_marker = list_text(c, l->last, out->encoding_type);
	call_reply(c, 0, NULL);
}

int s3_list_objects(struct call *c, const struct s3_list_objects_in *in,
    struct s3_list_objects_out *out, struct err *e)
{
	struct listing *l;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:ListBucket", NULL, &b, e);

	if (r == 0)
		r = list_arguments(c, in->max_keys, in->encoding_type, e);
	if (r < 0)
		return r;
	out->name = call_str(c, b->name);
	out->encoding_type = in->encoding_type;
	out->prefix = list_text(c, in->prefix ? in->prefix : "", in->encoding_type);
	out->delimiter = list_text(c, in->delimiter, in->encoding_type);
	out->marker = list_text(c, in->marker ? in->marker : "", in->encoding_type);
	out->max_keys = call_int(c, in->max_keys ? *in->max_keys : S3_LIST_MAX);
	l = listing_new(c, b, LIST_OBJECTS, in->prefix, in->delimiter, in->max_keys);
	listing_after(l, in->marker);
	return listing_start(l, reply_first);
}

/* ---- version 2 ---- */

static const char *to_token(struct call *c, const char *last)
{
	size_t n = strlen(last);
	char *out = arena_alloc(c->arena, BASE64_ENCODED_SIZE(n + 1));
	char *text = arena_printf(c->arena, "1%s", last);

	base64_encode(text, n + 1, out);
	return out;
}

static const char *from_token(struct call *c, const char *token)
{
	size_t len = strlen(token);
	char *out = arena_alloc(c->arena, len + 1);
	ssize_t n = base64_decode((struct str){token, len}, out);

	if (n < 1 || out[0] != '1' || memchr(out, '\0', (size_t)n))
		return NULL;
	out[n] = '\0';
	return out + 1;
}

static void reply_second(struct listing *l)
{
	struct call *c = l->call;
	struct s3_list_objects_v2_out *out = c->out;
	bool owner = out->key_count != NULL; /* left there by the handler */

	out->contents = contents(l, out->encoding_type, owner);
	out->common_prefixes = list_prefixes(l, out->encoding_type);
	out->key_count = call_int(c, (int64_t)l->count);
	out->is_truncated = call_bool(c, l->truncated);
	if (l->truncated)
		out->next_continuation_token = to_token(c, l->last);
	call_reply(c, 0, NULL);
}

int s3_list_objects_v2(struct call *c, const struct s3_list_objects_v2_in *in,
    struct s3_list_objects_v2_out *out, struct err *e)
{
	const char *after = in->start_after;
	struct listing *l;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:ListBucket", NULL, &b, e);

	if (r == 0)
		r = list_arguments(c, in->max_keys, in->encoding_type, e);
	if (r < 0)
		return r;
	if (in->continuation_token) {
		after = from_token(c, in->continuation_token);
		if (!after)
			return fail(
			    e, S3_INVALID_ARGUMENT, "The continuation token provided is incorrect");
	}
	out->name = call_str(c, b->name);
	out->encoding_type = in->encoding_type;
	out->prefix = list_text(c, in->prefix ? in->prefix : "", in->encoding_type);
	out->delimiter = list_text(c, in->delimiter, in->encoding_type);
	out->start_after = list_text(c, in->start_after, in->encoding_type);
	out->continuation_token = call_str(c, in->continuation_token);
	out->max_keys = call_int(c, in->max_keys ? *in->max_keys : S3_LIST_MAX);
	if (in->fetch_owner && *in->fetch_owner)
		out->key_count = call_int(c, 0);
	l = listing_new(c, b, LIST_OBJECTS, in->prefix, in->delimiter, in->max_keys);
	listing_after(l, after);
	return listing_start(l, reply_second);
}
