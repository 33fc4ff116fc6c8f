/* Names of images, and what they hold. See image_int.h. Loop thread. */
#include <stdio.h>

#include "base/time.h"
#include "image/image_int.h"

#define KEY_SIZE (REPOSITORY_KEY_SIZE + 140)

const char *images_local_digest(const struct images *i, const struct image_reference *r)
{
	char key[KEY_SIZE];
	const json_t *doc;

	repository_key(r, key);
	if (r->digest[0]) {
		snprintf(key + strlen(key), 140, "@%s", r->digest);
		return docs_get(i->held, key) && docs_get(i->manifests, r->digest) ? r->digest
										   : NULL;
	}
	snprintf(key + strlen(key), 140, ":%s", r->tag);
	doc = docs_get(i->names, key);
	return doc ? docs_str(doc, "digest") : NULL;
}

/* Does another tag of this repository mean the digest? */
struct search {
	const char *digest, *but;
	bool found;
};

static bool look_for_digest(void *ctx, const char *key, const json_t *doc)
{
	struct search *s = ctx;
	const char *digest = docs_str(doc, "digest");

	s->found = strcmp(key, s->but) != 0 && digest && strcmp(digest, s->digest) == 0;
	return !s->found;
}

bool images_tagged(
    const struct images *i, const char *repository, const char *digest, const char *but_key)
{
	struct search s = {.digest = digest, .but = but_key};
	char prefix[KEY_SIZE];

	snprintf(prefix, sizeof(prefix), "%s:", repository);
	docs_walk(i->names, prefix, prefix, look_for_digest, &s);
	return s.found;
}

/* What a tag of another registry meant before goes with it; our own keeps images without a tag. */
static void let_go(struct images *i, struct docs_change *g, const char *repository,
    const char *name_key, const char *digest)
{
	const json_t *old = docs_latest(i->names, name_key);
	const char *before = old ? docs_str(old, "digest") : NULL;
	char key[KEY_SIZE];

	if (!before || strcmp(before, digest) == 0 ||
	    images_tagged(i, repository, before, name_key))
		return;
	snprintf(key, sizeof(key), "%s@%s", repository, before);
	if (docs_latest(i->held, key))
		docs_delete(g, i->held, key);
	images_collect_soon(i);
}

void images_hold(struct images *i, struct docs_change *g, const struct image_reference *r,
    const char *digest, const char *media_type, uint64_t size)
{
	char repository[REPOSITORY_KEY_SIZE], key[KEY_SIZE];
	json_t *doc;

	repository_key(r, repository);
	snprintf(key, sizeof(key), "%s@%s", repository, digest);
	if (!docs_latest(i->held, key)) {
		doc = json_object();
		docs_set_int(doc, "at", time_wall_ms());
		docs_set(doc, "mediaType", media_type);
		docs_set_int(doc, "size", (int64_t)size);
		docs_put(g, i->held, key, doc);
	}
	if (!r->tag[0])
		return;
	snprintf(key, sizeof(key), "%s:%s", repository, r->tag);
	if (r->registry[0])
		let_go(i, g, repository, key, digest);
	doc = json_object();
	docs_set(doc, "digest", digest);
	docs_set_int(doc, "at", time_wall_ms());
	docs_put(g, i->names, key, doc);
}

void images_repository_ensure(
    struct images *i, struct docs_change *g, const struct image_reference *r)
{
	char key[REPOSITORY_KEY_SIZE];
	json_t *doc;

	repository_key(r, key);
	if (r->registry[0] || docs_latest(i->repos, key))
		return;
	doc = json_object();
	docs_set_int(doc, "createdAt", time_wall_ms());
	docs_set(doc, "imageTagMutability", "MUTABLE");
	docs_put(g, i->repos, key, doc);
}

/* ---- listing ---- */

struct listing {
	const struct images *images;
	json_t *list;
};

static void set_name(json_t *item, const char *key, const char *colon)
{
	const char *bar = strchr(key, '|');
	struct image_reference r = {0};
	char name[IMAGE_REFERENCE_MAX];

	snprintf(r.repository, sizeof(r.repository), "%.*s", (int)(colon - bar - 1), bar + 1);
	snprintf(r.tag, sizeof(r.tag), "%s", colon + 1);
	snprintf(r.registry, sizeof(r.registry), "%.*s", (int)(bar - key), key);
	/* A realm is "123456789012.us-east-1": no host begins with twelve digits alone. */
	if (strspn(r.registry, "0123456789") == 12 && r.registry[12] == '.' &&
	    !strchr(r.registry + 13, '.')) {
		snprintf(r.realm, sizeof(r.realm), "%.63s", r.registry);
		r.registry[0] = '\0';
	}
	image_reference_format(&r, name);
	docs_set(item, "name", name);
	docs_set(item, "registry", r.registry);
	docs_set(item, "repository", r.repository);
	docs_set(item, "tag", r.tag);
}

static bool list_name(void *ctx, const char *key, const json_t *doc)
{
	struct listing *l = ctx;
	const char *colon = strrchr(key, ':'), *digest = docs_str(doc, "digest");
	const json_t *record, *child;
	json_t *item = json_object();

	record = docs_get(l->images->manifests, digest);
	/* Of an index, what was taken of it. */
	child = record ? docs_get(l->images->manifests,
			     json_string_value(json_array_get(json_object_get(record, "refs"), 0))
				 ?: "")
		       : NULL;
	if (child && !json_object_get(record, "layers"))
		record = child;
	set_name(item, key, colon);
	docs_set(item, "digest", digest);
	docs_set_int(item, "size", record ? docs_int(record, "bytes") : 0);
	docs_set(item, "created", record ? docs_str(record, "created") : NULL);
	docs_set_int(item, "pulled", docs_int(doc, "at"));
	json_array_append_new(l->list, item);
	return true;
}

json_t *images_list(const struct images *i)
{
	struct listing l = {i, json_array()};

	docs_walk(i->names, "", "", list_name, &l);
	return l.list;
}

/* ---- removing ---- */

struct removing {
	struct images *images;
	void (*done)(void *ctx, int result);
	void *ctx;
	struct loop_task task; /* there was nothing */
};

static void removed(void *ctx, int result)
{
	struct removing *m = ctx;

	images_collect_soon(m->images);
	m->done(m->ctx, result);
	free(m);
}

static void not_there(struct loop_task *t)
{
	struct removing *m = container_of(t, struct removing, task);

	m->done(m->ctx, -ENOENT);
	free(m);
}

void images_release(
    struct images *i, struct docs_change *g, const char *repository, const char *tag)
{
	char key[KEY_SIZE], held[KEY_SIZE];
	const json_t *doc;
	const char *digest;

	snprintf(key, sizeof(key), "%s:%s", repository, tag);
	doc = docs_latest(i->names, key);
	digest = doc ? docs_str(doc, "digest") : NULL;
	if (!digest)
		return;
	snprintf(held, sizeof(held), "%s@%s", repository, digest);
	if (!images_tagged(i, repository, digest, key) && docs_latest(i->held, held))
		docs_delete(g, i->held, held);
	docs_delete(g, i->names, key);
}

void images_remove(struct images *i, const struct image_reference *r,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct removing *m = xcalloc(1, sizeof(*m));
	char repository[REPOSITORY_KEY_SIZE];
	struct docs_change *g;

	*m = (struct removing){.images = i, .done = done, .ctx = ctx, .task.run = not_there};
	if (!images_local_digest(i, r) || !r->tag[0]) {
		loop_defer(i->loop, &m->task);
		return;
	}
	repository_key(r, repository);
	g = docs_change_new(i->store);
	images_release(i, g, repository, r->tag);
	docs_commit(g, removed, m);
}

void images_tag(struct images *i, const struct image_reference *from,
    const struct image_reference *to, void (*done)(void *ctx, int result), void *ctx)
{
	struct removing *m = xcalloc(1, sizeof(*m));
	const char *digest = images_local_digest(i, from);
	const json_t *record = digest ? docs_get(i->manifests, digest) : NULL;
	struct docs_change *g;

	*m = (struct removing){.images = i, .done = done, .ctx = ctx, .task.run = not_there};
	if (!record || !to->tag[0]) {
		loop_defer(i->loop, &m->task);
		return;
	}
	g = docs_change_new(i->store);
	images_repository_ensure(i, g, to);
	images_hold(
	    i, g, to, digest, docs_str(record, "mediaType"), (uint64_t)docs_int(record, "size"));
	docs_commit(g, removed, m);
}

/* ---- for the ECR service ---- */

struct docs_change *images_change_new(struct images *i)
{
	return docs_change_new(i->store);
}

struct docs *images_repositories(struct images *i)
{
	return i->repos;
}

struct docs *images_tags(struct images *i)
{
	return i->names;
}

struct docs *images_held(struct images *i)
{
	return i->held;
}

struct docs *images_manifests(struct images *i)
{
	return i->manifests;
}

int images_manifest_text(const struct images *i, const char *digest, struct buf *ret)
{
	return blob_read(i->blobs, digest, MANIFEST_MAX, ret);
}

struct dropping {
	struct images *images;
	struct docs_change *change;
	const char *digest;
};

static bool drop_tag(void *ctx, const char *key, const json_t *doc)
{
	struct dropping *d = ctx;

	if (strcmp(docs_str(doc, "digest"), d->digest) == 0)
		docs_delete(d->change, d->images->names, key);
	return true;
}

void images_drop(
    struct images *i, struct docs_change *g, const char *repository, const char *digest)
{
	struct dropping d = {i, g, digest};
	char prefix[KEY_SIZE], key[KEY_SIZE];

	snprintf(prefix, sizeof(prefix), "%s:", repository);
	docs_walk(i->names, prefix, prefix, drop_tag, &d);
	snprintf(key, sizeof(key), "%s@%s", repository, digest);
	if (docs_latest(i->held, key))
		docs_delete(g, i->held, key);
	images_collect_soon(i);
}
