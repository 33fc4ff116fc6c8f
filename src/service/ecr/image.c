/* Images of a repository: listed, shown, put, deleted. */
#include <stdio.h>

#include "service/ecr/ecr_int.h"

#define PAGE 100

/* ---- what is there ---- */

struct gathering {
	struct images *images;
	struct arena *arena;
	struct ecr_held *items;
	size_t count, capacity, prefix;
};

static bool count_one(void *ctx, const char *key _unused_, const json_t *doc _unused_)
{
	++*(size_t *)ctx;
	return true;
}

static bool add_held(void *ctx, const char *key, const json_t *doc)
{
	struct gathering *g = ctx;
	struct ecr_held *h = &g->items[g->count++];
	const json_t *record;

	h->digest = arena_strdup(g->arena, key + g->prefix);
	h->media_type = arena_strdup(g->arena, docs_str(doc, "mediaType"));
	h->pushed_ms = docs_int(doc, "at");
	record = docs_get(images_manifests(g->images), h->digest);
	h->bytes = record ? docs_int(record, "bytes") : 0;
	return true;
}

/* A list of tags grows in steps of eight. */
static bool add_tag(void *ctx, const char *key, const json_t *doc)
{
	struct gathering *g = ctx;
	const char *digest = docs_str(doc, "digest");

	for (size_t i = 0; i < g->count; i++) {
		struct ecr_held *h = &g->items[i];

		if (strcmp(h->digest, digest) != 0)
			continue;
		if (h->tag_count % 8 == 0) {
			const char **more = arena_array(g->arena, h->tag_count + 8, const char *);

			if (h->tag_count)
				memcpy(more, h->tags, h->tag_count * sizeof(*more));
			h->tags = more;
		}
		h->tags[h->tag_count++] = arena_strdup(g->arena, key + g->prefix);
		break;
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct ecr_held *x = a, *y = b;

	if (x->pushed_ms != y->pushed_ms)
		return x->pushed_ms < y->pushed_ms ? -1 : 1;
	return strcmp(x->digest, y->digest);
}

struct ecr_held *ecr_images(struct images *i, struct arena *a, const char *key, size_t *ret_count)
{
	struct gathering g = {.images = i, .arena = a, .prefix = strlen(key) + 1};
	char prefix[ECR_KEY_SIZE + 1];
	size_t count = 0;

	snprintf(prefix, sizeof(prefix), "%s@", key);
	docs_walk(images_held(i), prefix, prefix, count_one, &count);
	g.items = arena_array(a, count + 1, struct ecr_held);
	docs_walk(images_held(i), prefix, prefix, add_held, &g);
	prefix[g.prefix - 1] = ':';
	docs_walk(images_tags(i), prefix, prefix, add_tag, &g);
	if (g.count)
		qsort(g.items, g.count, sizeof(*g.items), compare);
	*ret_count = g.count;
	return g.items;
}

static struct ecr_held *images_of(struct call *c, const char *key, size_t *ret)
{
	return ecr_images(ecr_of(c)->images, c->arena, key, ret);
}

/* By digest, by tag, or by both that have to agree; NULL and why. */
static const struct ecr_held *find(const struct ecr_held *held, size_t count,
    const struct ecr_image_identifier *id, const char **ret_code, const char **ret_why)
{
	*ret_code = "MissingDigestAndTag";
	*ret_why = "Invalid request parameters: both tag and digest cannot be null";
	if (!id->image_digest && !id->image_tag)
		return NULL;
	*ret_code = "ImageNotFound";
	*ret_why = "Requested image not found";
	for (size_t i = 0; i < count; i++) {
		bool tagged = !id->image_tag;

		for (size_t t = 0; t < held[i].tag_count && !tagged; t++)
			tagged = strcmp(held[i].tags[t], id->image_tag) == 0;
		if (!tagged || (id->image_digest && !id->image_tag &&
				   strcmp(id->image_digest, held[i].digest) != 0))
			continue;
		if (!id->image_digest || strcmp(id->image_digest, held[i].digest) == 0)
			return &held[i];
		*ret_code = "ImageTagDoesNotMatchDigest";
		*ret_why = "The tag means another image than the digest";
	}
	return NULL;
}

/* ---- listing ---- */

static bool wanted(const struct ecr_held *h, const char *tag_status)
{
	if (!tag_status || strcmp(tag_status, "ANY") == 0)
		return true;
	return (h->tag_count > 0) == (strcmp(tag_status, "TAGGED") == 0);
}

/* Pages go by position: "0000000007". */
static int open_page(struct call *c, const char *token, size_t *ret_from, struct err *e)
{
	const char *text;
	int64_t from = 0;

	if (!docs_token_open(c, token, &text) ||
	    (text[0] && !str_to_int64(str_from(text), 0, INT32_MAX, &from)))
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION, "Invalid parameter at 'nextToken'");
	*ret_from = (size_t)from;
	return 0;
}

int ecr_list_images(struct call *c, const struct ecr_list_images_in *in,
    struct ecr_list_images_out *out, struct err *e)
{
	struct ecr_image_identifier_list *list = call_new(c, struct ecr_image_identifier_list);
	size_t most = in->max_results ? (size_t)*in->max_results : PAGE, count, from = 0, at = 0;
	const char *status = in->filter ? in->filter->tag_status : NULL;
	struct ecr_image_identifier *items;
	struct ecr_held *held;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = open_page(c, in->next_token, &from, e);
	if (r < 0)
		return r;
	held = images_of(c, key, &count);
	items = call_array(c, most + 1, struct ecr_image_identifier);
	for (size_t i = 0; i < count; i++) {
		size_t tags = held[i].tag_count ? held[i].tag_count : 1;

		for (size_t t = 0; wanted(&held[i], status) && t < tags; t++, at++) {
			if (at < from || list->count > most)
				continue;
			items[list->count].image_digest = held[i].digest;
			items[list->count++].image_tag = held[i].tag_count ? held[i].tags[t] : NULL;
			if (list->count <= most)
				continue;
			list->count--;
			out->next_token = docs_token(c, call_printf(c, "%zu", at));
			list->items = items;
			out->image_ids = list;
			return 0;
		}
	}
	list->items = items;
	out->image_ids = list;
	return 0;
}

static void show_detail(
    struct call *c, const struct ecr_held *h, const char *name, struct ecr_image_detail *d)
{
	const json_t *record = docs_get(images_manifests(ecr_of(c)->images), h->digest);

	d->registry_id = c->account;
	d->repository_name = name;
	d->image_digest = h->digest;
	d->image_size_in_bytes = call_int(c, h->bytes);
	d->image_pushed_at = call_int(c, h->pushed_ms);
	d->image_manifest_media_type = h->media_type;
	d->artifact_media_type = record ? call_str(c, docs_str(record, "configType")) : NULL;
	d->image_status = "ACTIVE";
	if (h->tag_count) {
		struct ecr_image_tag_list *tags = call_new(c, struct ecr_image_tag_list);

		tags->count = h->tag_count;
		tags->items = h->tags;
		d->image_tags = tags;
	}
}

static int describe_named(struct call *c, const struct ecr_describe_images_in *in,
    const struct ecr_held *held, size_t count, struct ecr_image_detail_list *list,
    struct ecr_image_detail *items, struct err *e)
{
	const char *code, *why;

	for (size_t i = 0; i < in->image_ids->count; i++) {
		const struct ecr_image_identifier *id = &in->image_ids->items[i];
		const struct ecr_held *h = find(held, count, id, &code, &why);

		if (!h)
			return call_fail(c, e, ECR_IMAGE_NOT_FOUND_EXCEPTION,
			    "The image with imageId {imageDigest:'%s', imageTag:'%s'} does not "
			    "exist "
			    "within the repository with name '%s' in the registry with id '%s'",
			    id->image_digest ? id->image_digest : "null",
			    id->image_tag ? id->image_tag : "null", in->repository_name,
			    c->account);
		show_detail(c, h, in->repository_name, &items[list->count++]);
	}
	return 0;
}

int ecr_describe_images(struct call *c, const struct ecr_describe_images_in *in,
    struct ecr_describe_images_out *out, struct err *e)
{
	struct ecr_image_detail_list *list = call_new(c, struct ecr_image_detail_list);
	size_t most = in->max_results ? (size_t)*in->max_results : PAGE, count, from = 0;
	const char *status = in->filter ? in->filter->tag_status : NULL;
	struct ecr_image_detail *items;
	struct ecr_held *held;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = open_page(c, in->next_token, &from, e);
	if (r < 0)
		return r;
	held = images_of(c, key, &count);
	items = call_array(
	    c, (in->image_ids ? in->image_ids->count : most) + 1, struct ecr_image_detail);
	if (in->image_ids)
		r = describe_named(c, in, held, count, list, items, e);
	for (size_t i = from; !in->image_ids && i < count; i++) {
		if (!wanted(&held[i], status))
			continue;
		if (list->count == most) {
			out->next_token = docs_token(c, call_printf(c, "%zu", i));
			break;
		}
		show_detail(c, &held[i], in->repository_name, &items[list->count++]);
	}
	list->items = items;
	out->image_details = list;
	return r;
}

/* ---- getting ---- */

static void add_failure(struct call *c _unused_, struct ecr_image_failure *f,
    const struct ecr_image_identifier *id, const char *code, const char *why)
{
	f->image_id = id;
	f->failure_code = code;
	f->failure_reason = why;
}

static bool show_image(struct call *c, const struct ecr_held *h, const char *name, const char *tag,
    struct ecr_image *i)
{
	struct ecr_image_identifier *id = call_new(c, struct ecr_image_identifier);
	struct buf text = BUF_INIT;
	int r = images_manifest_text(ecr_of(c)->images, h->digest, &text);

	id->image_digest = h->digest;
	id->image_tag = tag;
	i->image_id = id;
	i->image_manifest = call_strn(c, buf_str(&text));
	i->image_manifest_media_type = h->media_type;
	i->registry_id = c->account;
	i->repository_name = name;
	buf_done(&text);
	return r == 0;
}

int ecr_batch_get_image(struct call *c, const struct ecr_batch_get_image_in *in,
    struct ecr_batch_get_image_out *out, struct err *e)
{
	struct ecr_image_failure_list *failures = call_new(c, struct ecr_image_failure_list);
	struct ecr_image_list *list = call_new(c, struct ecr_image_list);
	struct ecr_image *items = call_array(c, in->image_ids->count + 1, struct ecr_image);
	struct ecr_image_failure *failed =
	    call_array(c, in->image_ids->count + 1, struct ecr_image_failure);
	struct ecr_held *held;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	size_t count;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	held = images_of(c, key, &count);
	for (size_t i = 0; i < in->image_ids->count; i++) {
		const struct ecr_image_identifier *id = &in->image_ids->items[i];
		const char *code, *why;
		const struct ecr_held *h = find(held, count, id, &code, &why);

		if (h && show_image(c, h, in->repository_name, id->image_tag, &items[list->count]))
			list->count++;
		else
			add_failure(c, &failed[failures->count++], id, code, why);
	}
	list->items = items;
	failures->items = failed;
	out->images = list;
	out->failures = failures;
	return 0;
}

/* ---- deleting ---- */

int ecr_batch_delete_image(struct call *c, const struct ecr_batch_delete_image_in *in,
    struct ecr_batch_delete_image_out *out, struct err *e)
{
	struct ecr_image_failure_list *failures = call_new(c, struct ecr_image_failure_list);
	struct ecr_image_identifier_list *list = call_new(c, struct ecr_image_identifier_list);
	struct ecr_image_identifier *items =
	    call_array(c, in->image_ids->count + 1, struct ecr_image_identifier);
	struct ecr_image_failure *failed =
	    call_array(c, in->image_ids->count + 1, struct ecr_image_failure);
	struct images *images = ecr_of(c)->images;
	struct docs_change *g;
	struct ecr_held *held;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	size_t count;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	held = images_of(c, key, &count);
	g = images_change_new(images);
	for (size_t i = 0; i < in->image_ids->count; i++) {
		const struct ecr_image_identifier *id = &in->image_ids->items[i];
		const char *code, *why;
		const struct ecr_held *h = find(held, count, id, &code, &why);

		if (!h) {
			add_failure(c, &failed[failures->count++], id, code, why);
			continue;
		}
		if (id->image_tag)
			images_release(images, g, key, id->image_tag);
		else
			images_drop(images, g, key, h->digest);
		items[list->count].image_digest = h->digest;
		items[list->count++].image_tag = id->image_tag;
	}
	images_collect_soon(images);
	list->items = items;
	failures->items = failed;
	out->image_ids = list;
	out->failures = failures;
	return docs_commit_call(c, g);
}

/* ---- putting ---- */

struct put {
	struct call *call; /* NULL: the client has gone */
	const struct ecr_put_image_in *in;
};

static int put_failed(struct call *c, const struct ecr_put_image_in *in, enum image_put_error error,
    const char *why, struct err *e)
{
	switch (error) {
	case IMAGE_PUT_NO_BLOB: return fail(e, ECR_LAYERS_NOT_FOUND_EXCEPTION, "%s", why);
	case IMAGE_PUT_IMMUTABLE:
		return call_fail(c, e, ECR_IMAGE_TAG_ALREADY_EXISTS_EXCEPTION,
		    "The image tag '%s' already exists in the '%s' repository and cannot be "
		    "overwritten "
		    "because the tag is immutable.",
		    in->image_tag, in->repository_name);
	case IMAGE_PUT_SAME:
		return call_fail(c, e, ECR_IMAGE_ALREADY_EXISTS_EXCEPTION,
		    "Image with digest and tag '%s' already exists in the repository with name "
		    "'%s' in "
		    "registry with id '%s'",
		    in->image_tag, in->repository_name, c->account);
	case IMAGE_PUT_FAILED: return fail(e, ECR_SERVER_EXCEPTION, "%s", why);
	default:
		return fail(e,
		    in->image_digest ? ECR_IMAGE_DIGEST_DOES_NOT_MATCH_EXCEPTION
				     : ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '%s'", why);
	}
}

static void on_put(void *ctx, enum image_put_error error, const char *why, const char *digest)
{
	struct put *p = ctx;
	struct call *c = p->call;
	struct err e = ERR_INIT;

	if (c && error != IMAGE_PUT_OK) {
		call_reply(c, put_failed(c, p->in, error, why, &e), &e);
	} else if (c) {
		const struct ecr_put_image_in *in = p->in;
		struct ecr_put_image_out *out = c->out;
		struct ecr_image *image = call_new(c, struct ecr_image);
		struct ecr_image_identifier *id = call_new(c, struct ecr_image_identifier);

		id->image_digest = call_str(c, digest);
		id->image_tag = in->image_tag;
		image->image_id = id;
		image->image_manifest = in->image_manifest;
		image->image_manifest_media_type = in->image_manifest_media_type;
		image->registry_id = c->account;
		image->repository_name = in->repository_name;
		out->image = image;
		call_reply(c, 0, NULL);
	}
	free(p);
}

static void on_put_stop(struct call *c)
{
	((struct put *)c->user)->call = NULL;
}

int ecr_put_image(struct call *c, const struct ecr_put_image_in *in,
    struct ecr_put_image_out *out _unused_, struct err *e)
{
	struct image_reference name;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	struct put *p;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	if ((in->image_tag && !image_tag_ok(str_from(in->image_tag))) ||
	    (in->image_digest && !image_digest_ok(str_from(in->image_digest))))
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'imageTag' or 'imageDigest'");
	ecr_reference(c, in->repository_name, &name);
	snprintf(name.tag, sizeof(name.tag), "%s", in->image_tag ? in->image_tag : "");
	snprintf(name.digest, sizeof(name.digest), "%s", in->image_digest ? in->image_digest : "");
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->in = in;
	c->user = p;
	call_on_stop(c, on_put_stop);
	image_put(ecr_of(c)->images, &name, str_from(in->image_manifest),
	    in->image_manifest_media_type ? in->image_manifest_media_type : "", on_put, p);
	return CALL_PENDING;
}
