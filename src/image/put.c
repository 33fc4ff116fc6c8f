/* Manifests that clients push: checked, written as a blob on a worker, then named. See image.h. */
#include <stdio.h>

#include "image/image_int.h"

struct putting {
	struct loop_work work;
	struct images *images;
	struct image_reference reference;
	struct buf text;
	char digest[IMAGE_DIGEST_SIZE];
	struct manifest manifest;
	struct config config;
	bool has_config;
	enum image_put_error error;
	struct err why;
	struct loop_task task;
	void (*done)(void *ctx, enum image_put_error error, const char *why, const char *digest);
	void *ctx;
};

static void finish(struct putting *p)
{
	p->images->busy--;
	p->done(p->ctx, p->error, p->why.msg, p->digest);
	buf_done(&p->text);
	manifest_done(&p->manifest);
	config_done(&p->config);
	free(p);
}

static void refuse(struct putting *p, enum image_put_error error, const char *why)
{
	p->error = error;
	if (why)
		snprintf(p->why.msg, sizeof(p->why.msg), "%s", why);
}

/* The blobs are in a manifest that is seen, and no longer only fresh. */
static void settle(struct putting *p)
{
	char repository[REPOSITORY_KEY_SIZE], key[REPOSITORY_KEY_SIZE + 140];

	repository_key(&p->reference, repository);
	for (size_t n = 0; n <= p->manifest.part_count; n++) {
		const char *digest = n < p->manifest.part_count ? p->manifest.parts[n].digest
								: p->manifest.config.digest;

		snprintf(key, sizeof(key), "%s@%s", repository, digest);
		map_remove(&p->images->fresh, str_from(key));
	}
}

static void saved(void *ctx, int result)
{
	struct putting *p = ctx;

	if (result < 0)
		refuse(p, IMAGE_PUT_FAILED, strerror(-result));
	else
		settle(p);
	finish(p);
}

static void on_kept(struct loop_work *w)
{
	struct putting *p = container_of(w, struct putting, work);
	struct images *i = p->images;
	struct docs_change *g;

	if (p->error != IMAGE_PUT_OK) {
		finish(p);
		return;
	}
	g = docs_change_new(i->store);
	images_repository_ensure(i, g, &p->reference);
	docs_put(g, i->manifests, p->digest,
	    manifest_record(&p->manifest, p->has_config ? &p->config : NULL, buf_len(&p->text)));
	images_hold(i, g, &p->reference, p->digest, p->manifest.media_type, buf_len(&p->text));
	docs_commit(g, saved, p);
}

/* On a worker: the configuration says which layers the image has, unpacked. */
static void keep(struct loop_work *w)
{
	struct putting *p = container_of(w, struct putting, work);
	struct buf text = BUF_INIT;
	int r = blob_put(p->images->blobs, buf_str(&p->text), p->digest);

	if (r < 0) {
		refuse(p, IMAGE_PUT_FAILED, strerror(-r));
		return;
	}
	if (p->manifest.kind != MANIFEST_IMAGE)
		return;
	if (blob_read(p->images->blobs, p->manifest.config.digest, CONFIG_MAX, &text) < 0) {
		refuse(p, IMAGE_PUT_NO_BLOB, "the image's configuration cannot be read");
	} else if (config_parse_json(buf_str(&text), &p->config, &p->why) < 0) {
		refuse(p, IMAGE_PUT_BROKEN, NULL);
	} else {
		p->has_config = true;
		if (p->config.layer_count != p->manifest.part_count)
			refuse(p, IMAGE_PUT_BROKEN,
			    "the manifest has other layers than the configuration");
	}
	buf_done(&text);
}

static bool blobs_there(struct putting *p)
{
	const struct manifest *m = &p->manifest;
	const char *missing = NULL;

	if (m->kind != MANIFEST_INDEX &&
	    image_blob_in(p->images, &p->reference, m->config.digest) != (int64_t)m->config.size)
		missing = m->config.digest;
	for (size_t n = 0; n < m->part_count && !missing; n++) {
		int64_t size = image_blob_in(p->images, &p->reference, m->parts[n].digest);

		if (size < 0 || (uint64_t)size != m->parts[n].size)
			missing = m->parts[n].digest;
	}
	if (!missing)
		return true;
	refuse(p, IMAGE_PUT_NO_BLOB, NULL);
	snprintf(p->why.msg, sizeof(p->why.msg), "blob unknown to registry, or of another size: %s",
	    missing);
	return false;
}

static bool tag_free(struct putting *p)
{
	char repository[REPOSITORY_KEY_SIZE], key[REPOSITORY_KEY_SIZE + 140];
	const json_t *repo, *name;
	const char *mutability, *digest;

	if (!p->reference.tag[0])
		return true;
	repository_key(&p->reference, repository);
	repo = docs_latest(p->images->repos, repository);
	mutability = repo ? docs_str(repo, "imageTagMutability") : NULL;
	snprintf(key, sizeof(key), "%s:%s", repository, p->reference.tag);
	name = docs_latest(p->images->names, key);
	digest = name ? docs_str(name, "digest") : NULL;
	if (digest && strcmp(digest, p->digest) == 0) {
		refuse(p, IMAGE_PUT_SAME, "the tag means this image already");
		return false;
	}
	if (!digest || !mutability || strcmp(mutability, "IMMUTABLE") != 0)
		return true;
	refuse(p, IMAGE_PUT_IMMUTABLE, NULL);
	snprintf(p->why.msg, sizeof(p->why.msg),
	    "the tag '%.60s' means an image already and the repository's tags are immutable",
	    p->reference.tag);
	return false;
}

static void end_now(struct loop_task *t)
{
	finish(container_of(t, struct putting, task));
}

void image_put(struct images *i, const struct image_reference *r, struct str text,
    const char *media_type,
    void (*done)(void *ctx, enum image_put_error error, const char *why, const char *digest),
    void *ctx)
{
	struct putting *p = xcalloc(1, sizeof(*p));

	p->images = i;
	p->reference = *r;
	p->done = done;
	p->ctx = ctx;
	i->busy++;
	digest_of(text, p->digest);
	if (r->digest[0] && strcmp(r->digest, p->digest) != 0)
		refuse(p, IMAGE_PUT_BROKEN,
		    "the manifest does not have the digest that it is sent by");
	else if (manifest_parse(text, media_type, &p->manifest, &p->why) < 0)
		refuse(p, IMAGE_PUT_BROKEN, NULL);
	if (p->error != IMAGE_PUT_OK || !tag_free(p) || !blobs_there(p)) {
		p->task.run = end_now;
		loop_defer(i->loop, &p->task);
		return;
	}
	buf_append_str(&p->text, text);
	p->work.run = keep;
	p->work.done = on_kept;
	loop_work_start(i->loop, &p->work);
}
