/*
 * Blobs that clients push: written and hashed as a file of the store (on its workers), which
 * becomes a blob when its digest is known. Which repository has which blob follows from its
 * manifests; what came a moment ago and is in none yet is remembered in memory: who pushes to a
 * server that was started again in between sends it again. Loop thread.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/rand.h"
#include "image/image_int.h"
#include "store/file.h"

#define UPLOADS_MAX 256
#define IDLE_NS (3600 * INT64_C(1000000000))
#define YIELD_NS (15 * INT64_C(1000000000)) /* idle for so long, one makes room for another */
#define FRESH_MAX 8192
#define KEY_SIZE (REPOSITORY_KEY_SIZE + 140)

struct image_upload {
	struct list node; /* in images.uploads: who was touched last comes last */
	struct images *images;
	char id[37];
	char repository[REPOSITORY_KEY_SIZE];
	struct store_file *file; /* NULL: sealing */
	uint64_t size;
	struct loop_timer idle;
	int64_t idle_since_ns;
	void (*on_drain)(void *ctx);
	void *drain_ctx;
	char wanted[IMAGE_DIGEST_SIZE]; /* "": any */
	char got[IMAGE_DIGEST_SIZE];
	void (*done)(void *ctx, int result, const char *digest, uint64_t size);
	void *ctx;
};

static char here;

/* ---- which blobs belong to which repository ---- */

static void make_fresh(struct images *i, const char *repository, const char *digest)
{
	char key[KEY_SIZE];

	/* Whoever's push is cut in two by this sends some blobs again. */
	if (i->fresh.count >= FRESH_MAX)
		map_done(&i->fresh);
	snprintf(key, sizeof(key), "%s@%s", repository, digest);
	map_put(&i->fresh, str_from(key), &here);
}

struct search {
	const struct images *images;
	const char *digest;
	bool found;
};

static bool look_in_manifest(void *ctx, const char *key, const json_t *doc)
{
	struct search *s = ctx;
	const char *manifest = strrchr(key, '@') + 1;
	const json_t *record = docs_get(s->images->manifests, manifest);
	const json_t *refs = json_object_get(record, "refs");

	(void)doc;
	s->found = strcmp(manifest, s->digest) == 0;
	for (size_t n = 0; !s->found && n < json_array_size(refs); n++)
		s->found = strcmp(json_string_value(json_array_get(refs, n)), s->digest) == 0;
	return !s->found;
}

int64_t image_blob_in(struct images *i, const struct image_reference *r, const char *digest)
{
	struct search s = {.images = i, .digest = digest};
	char repository[REPOSITORY_KEY_SIZE], key[KEY_SIZE];

	if (!image_digest_ok(str_from(digest)))
		return -ENOENT;
	repository_key(r, repository);
	snprintf(key, sizeof(key), "%s@%s", repository, digest);
	if (!map_get(&i->fresh, str_from(key))) {
		snprintf(key, sizeof(key), "%s@", repository);
		docs_walk(i->held, key, key, look_in_manifest, &s);
		if (!s.found)
			return -ENOENT;
	}
	return blob_size(i->blobs, digest);
}

bool image_blob_mount(struct images *i, const struct image_reference *from,
    const struct image_reference *to, const char *digest)
{
	char repository[REPOSITORY_KEY_SIZE];

	if (image_blob_in(i, from, digest) < 0)
		return false;
	repository_key(to, repository);
	make_fresh(i, repository, digest);
	return true;
}

int image_blob_open(const struct images *i, const char *digest)
{
	return blob_open(i->blobs, digest);
}

/* ---- uploads ---- */

static void on_idle(struct loop_timer *t)
{
	image_upload_abandon(container_of(t, struct image_upload, idle));
}

static void on_drain(void *ctx)
{
	struct image_upload *u = ctx;

	if (u->on_drain)
		u->on_drain(u->drain_ctx);
}

/* Nobody keeps others out by uploads that he only begins. */
static bool make_room(struct images *i)
{
	int64_t before = loop_now_ns(i->loop) - YIELD_NS;

	if (i->upload_count < UPLOADS_MAX)
		return true;
	list_for_each (n, &i->uploads) {
		struct image_upload *u = list_entry(n, struct image_upload, node);

		if (image_upload_busy(u) || u->idle_since_ns > before)
			continue;
		image_upload_abandon(u);
		return true;
	}
	return false;
}

static void rest(struct image_upload *u)
{
	u->idle_since_ns = loop_now_ns(u->images->loop);
	loop_timer_set(u->images->loop, &u->idle, IDLE_NS);
	list_remove(&u->node);
	list_push_back(&u->images->uploads, &u->node);
}

struct image_upload *image_upload_start(struct images *i, const struct image_reference *r)
{
	struct image_upload *u;

	if (!make_room(i))
		return NULL;
	u = xcalloc(1, sizeof(*u));
	u->images = i;
	rand_uuid(u->id);
	repository_key(r, u->repository);
	u->file = store_file_new(i->store, STORE_SHA256, on_drain, u);
	u->idle.on_due = on_idle;
	list_init(&u->node);
	rest(u);
	i->upload_count++;
	return u;
}

const char *image_upload_id(const struct image_upload *u)
{
	return u->id;
}

struct image_upload *image_upload_find(
    struct images *i, const struct image_reference *r, struct str id)
{
	char repository[REPOSITORY_KEY_SIZE];

	repository_key(r, repository);
	list_for_each (n, &i->uploads) {
		struct image_upload *u = list_entry(n, struct image_upload, node);

		if (str_is(id, u->id) && strcmp(u->repository, repository) == 0 && u->file)
			return u;
	}
	return NULL;
}

uint64_t image_upload_size(const struct image_upload *u)
{
	return u->size;
}

bool image_upload_busy(const struct image_upload *u)
{
	return u->on_drain || !u->file;
}

void image_upload_hold(struct image_upload *u, void (*drain)(void *ctx), void *ctx)
{
	u->on_drain = drain;
	u->drain_ctx = ctx;
	if (drain)
		loop_timer_stop(u->images->loop, &u->idle);
	else
		rest(u);
}

size_t image_upload_write(struct image_upload *u, const void *data, size_t len)
{
	u->size += len;
	if (!u->on_drain) /* whole pieces, by the ECR API */
		rest(u);
	return store_file_write(u->file, data, len);
}

static void free_upload(struct image_upload *u)
{
	loop_timer_stop(u->images->loop, &u->idle);
	list_remove(&u->node);
	u->images->upload_count--;
	free(u);
}

void image_upload_abandon(struct image_upload *u)
{
	check(u->file);
	store_file_abandon(u->file);
	free_upload(u);
}

static void finish(struct image_upload *u, int result)
{
	if (result == 0)
		make_fresh(u->images, u->repository, u->got);
	u->done(u->ctx, result, u->got, u->size);
	free_upload(u);
}

static void on_given(void *ctx, int result)
{
	finish(ctx, result);
}

static void on_sealed(void *ctx, int result, const struct store_sealed *sealed)
{
	struct image_upload *u = ctx;

	if (result < 0) {
		finish(u, result);
		return;
	}
	memcpy(u->got, "sha256:", 7);
	hex_encode(sealed->hashes.sha256, WIRE_HASH_SIZE, u->got + 7);
	if (u->wanted[0] && strcmp(u->wanted, u->got) != 0) {
		store_file_forget(u->images->store, sealed->id);
		finish(u, -EBADMSG);
	} else if (!sealed->id) { /* nothing came: the blob of no bytes */
		finish(u, blob_put(u->images->blobs, STR(""), u->got));
	} else {
		store_file_give(
		    u->images->store, sealed->id, u->images->blobs, u->got + 7, on_given, u);
	}
}

void image_upload_end(struct image_upload *u, const char *digest,
    void (*done)(void *ctx, int result, const char *digest, uint64_t size), void *ctx)
{
	u->done = done;
	u->ctx = ctx;
	u->on_drain = NULL;
	loop_timer_stop(u->images->loop, &u->idle);
	snprintf(u->wanted, sizeof(u->wanted), "%s", digest ? digest : "");
	store_file_seal(take_ptr(u->file), on_sealed, u);
}
