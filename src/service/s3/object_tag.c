/* Tags of an object's version: put, get, delete. */
#include "service/s3/read_int.h"
#include "service/s3/request_int.h"

struct tagging {
	struct change change;
	struct call *call;     /* NULL: the client has gone */
	struct object *wanted; /* holds the tags */
};

static struct object *on_edit(struct change *ch, const struct object *old)
{
	const struct tagging *t = container_of(ch, struct tagging, change);
	struct object facts = *old;

	facts.tags = t->wanted->tags;
	facts.tag_count = t->wanted->tag_count;
	return object_new(&facts);
}

static void on_changed(struct change *ch, int result)
{
	struct tagging *t = container_of(ch, struct tagging, change);
	struct call *c = t->call;
	struct err e = ERR_INIT;

	if (c && result == -ENOENT)
		result = read_refused(c, ch->bucket, ch->key, ch->version, result, NULL, &e);
	else if (c && result < 0)
		result = s3_failed(c, result, ch->key, &e);
	/* Both operations answer with the version alone. */
	if (c && result == 0 && strcmp(ch->record->version, "null") != 0)
		call_header(c, "x-amz-version-id", ch->record->version);
	if (c)
		call_reply(c, result, &e);
	object_unref(t->wanted);
	free(t);
}

static void on_stop(struct call *c)
{
	struct tagging *t = c->user;

	t->call = t->change.call = NULL;
}

static int start(struct call *c, struct bucket *b, const char *key, const char *version,
    const struct object *wanted, const char *event)
{
	struct tagging *t = xcalloc(1, sizeof(*t));

	t->call = c;
	t->wanted = object_new(wanted);
	t->change = (struct change){.bucket = b,
	    .key = key,
	    .kind = CHANGE_EDIT,
	    .call = c,
	    .event = event,
	    .version = version,
	    .edit = on_edit,
	    .done = on_changed};
	c->user = t;
	call_on_stop(c, on_stop);
	change_start(&t->change);
	return CALL_PENDING;
}

int s3_put_object_tagging(struct call *c, const struct s3_put_object_tagging_in *in,
    struct s3_put_object_tagging_out *out, struct err *e)
{
	const struct s3_tag_set *set = in->tagging->tag_set;
	struct pair *tags = call_array(c, set->count + 1, struct pair);
	struct object wanted = {
	    .version = "null", .etag = "", .tags = tags, .tag_count = set->count};
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner,
	    in->version_id ? "s3:PutObjectVersionTagging" : "s3:PutObjectTagging", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = version_check(in->version_id, e);
	for (size_t i = 0; i < set->count; i++)
		tags[i] = (struct pair){set->items[i].key, set->items[i].value};
	if (r == 0)
		r = object_tags_check(tags, set->count, S3_TAGS_MAX, e);
	return r < 0 ? r : start(c, b, in->key, in->version_id, &wanted, "ObjectTagging:Put");
}

int s3_delete_object_tagging(struct call *c, const struct s3_delete_object_tagging_in *in,
    struct s3_delete_object_tagging_out *out, struct err *e)
{
	const struct object wanted = {.version = "null", .etag = ""};
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner,
	    in->version_id ? "s3:DeleteObjectVersionTagging" : "s3:DeleteObjectTagging", in->key,
	    &b, e);

	(void)out;
	if (r == 0)
		r = version_check(in->version_id, e);
	return r < 0 ? r : start(c, b, in->key, in->version_id, &wanted, "ObjectTagging:Delete");
}

/* ---- reading ---- */

struct reading {
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	const struct s3_get_object_tagging_in *in;
};

static void on_found(void *ctx, int result, const struct object *o)
{
	struct reading *r = ctx;
	struct call *c = r->call;
	struct err e = ERR_INIT;

	if (c) {
		struct s3_get_object_tagging_out *out = c->out;
		struct s3_tag_set *set = call_new(c, struct s3_tag_set);

		result = read_refused(c, r->bucket, r->in->key, r->in->version_id, result, o, &e);
		if (result == 0) {
			struct s3_tag *tags = call_array(c, o->tag_count + 1, struct s3_tag);

			for (size_t i = 0; i < o->tag_count; i++)
				tags[i] = (struct s3_tag){
				    call_str(c, o->tags[i].name), call_str(c, o->tags[i].value)};
			set->count = o->tag_count;
			set->items = tags;
			out->tag_set = set;
			if (r->bucket->versioning != VERSIONING_NEVER)
				out->version_id = call_str(c, o->version);
		}
		call_reply(c, result, &e);
	}
	bucket_unref(r->bucket);
	free(r);
}

static void forget(struct call *c)
{
	((struct reading *)c->user)->call = NULL;
}

int s3_get_object_tagging(struct call *c, const struct s3_get_object_tagging_in *in,
    struct s3_get_object_tagging_out *out, struct err *e)
{
	struct reading *g;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner,
	    in->version_id ? "s3:GetObjectVersionTagging" : "s3:GetObjectTagging", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = version_check(in->version_id, e);
	if (r < 0)
		return r;
	g = xcalloc(1, sizeof(*g));
	g->call = c;
	g->bucket = bucket_ref(b);
	g->in = in;
	c->user = g;
	call_on_stop(c, forget);
	object_find(b, in->key, in->version_id, on_found, g);
	return CALL_PENDING;
}
