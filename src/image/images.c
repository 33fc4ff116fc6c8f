/*
 * All images of this machine: opening, the tables that say what is here under which names, and
 * collecting what nothing refers to any more. See image_int.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "image/image_int.h"

#define COLLECT_NS (60 * INT64_C(1000000000)) /* after start: who uses what has said so by then */
#define SOON_NS (2 * INT64_C(1000000000))
#define AGE_S 3600 /* of blobs that a manifest may still be coming for */

/* ---- tables ---- */

void repository_key(const struct image_reference *r, char out[REPOSITORY_KEY_SIZE])
{
	snprintf(out, REPOSITORY_KEY_SIZE, "%s|%s",
	    r->registry[0] ? r->registry
	    : r->realm[0]  ? r->realm
			   : IMAGE_REALM_DEFAULT,
	    r->repository);
}

json_t *manifest_record(const struct manifest *m, const struct config *c, size_t size)
{
	json_t *doc = json_object(), *refs = json_array(), *layers;
	char hex[2 * WIRE_HASH_SIZE + 1];
	uint64_t bytes = m->config.size;

	docs_set(doc, "mediaType", m->media_type);
	docs_set_int(doc, "size", (int64_t)size);
	if (m->kind != MANIFEST_INDEX)
		json_array_append_new(refs, json_string(m->config.digest));
	for (size_t i = 0; i < m->part_count; i++) {
		json_array_append_new(refs, json_string(m->parts[i].digest));
		bytes += m->parts[i].size;
	}
	json_object_set_new(doc, "refs", refs);
	if (m->subject[0])
		docs_set(doc, "subject", m->subject);
	if (m->kind != MANIFEST_INDEX)
		docs_set(doc, "configType", m->config.media_type);
	docs_set_int(doc, "bytes", (int64_t)bytes);
	if (!c)
		return doc;
	layers = json_array();
	for (size_t i = 0; i < c->layer_count; i++) {
		hex_encode(c->diff_ids[i], WIRE_HASH_SIZE, hex);
		json_array_append_new(layers, json_string(hex));
	}
	json_object_set_new(doc, "layers", layers);
	docs_set(doc, "created", json_string_value(json_object_get(c->root, "created")));
	return doc;
}

bool images_layer_there(const struct images *i, const uint8_t diff_id[WIRE_HASH_SIZE])
{
	char hex[2 * WIRE_HASH_SIZE + 1];

	hex_encode(diff_id, WIRE_HASH_SIZE, hex);
	return faccessat(i->layers, hex, F_OK, 0) == 0;
}

/* ---- collecting ---- */

struct collecting {
	struct job job;
	struct map blobs;  /* digests that are needed */
	struct map layers; /* diff ids, in hex */
};

static char here; /* what maps used as sets hold */

static void mark_manifest(struct images *i, struct collecting *c, const char *digest, int depth)
{
	const json_t *doc = docs_get(i->manifests, digest), *refs, *layers;

	if (map_put(&c->blobs, str_from(digest), &here) || !doc || depth > 4)
		return;
	refs = json_object_get(doc, "refs");
	for (size_t n = 0; n < json_array_size(refs); n++)
		mark_manifest(i, c, json_string_value(json_array_get(refs, n)), depth + 1);
	layers = json_object_get(doc, "layers");
	for (size_t n = 0; n < json_array_size(layers); n++)
		map_put(&c->layers, str_from(json_string_value(json_array_get(layers, n))), &here);
}

struct walk {
	struct images *images;
	struct collecting *c;
	struct docs_change *change;
	unsigned removed;
};

static bool mark_held(void *ctx, const char *key, const json_t *doc)
{
	struct walk *w = ctx;
	const char *at = strrchr(key, '@');

	(void)doc;
	if (at)
		mark_manifest(w->images, w->c, at + 1, 0);
	return true;
}

static void mark_live(struct images *i, struct collecting *c)
{
	char hex[2 * WIRE_HASH_SIZE + 1];

	map_for_each (&i->live, entry) {
		const struct image *image = entry->value;

		mark_manifest(i, c, image->digest, 0);
		for (size_t n = 0; n < image->config.layer_count; n++) {
			hex_encode(image->config.diff_ids[n], WIRE_HASH_SIZE, hex);
			map_put(&c->layers, str_from(hex), &here);
		}
	}
}

/* Records of manifests that nobody holds. */
static bool drop_record(void *ctx, const char *key, const json_t *doc)
{
	struct walk *w = ctx;

	(void)doc;
	if (map_get(&w->c->blobs, str_from(key)))
		return true;
	docs_delete(w->change, w->images->manifests, key);
	w->removed++;
	return true;
}

/* On a thread: there may be many. Young ones stay, for uploads are not in the tables yet. */
static void remove_blobs(struct job *j)
{
	struct collecting *c = container_of(j, struct collecting, job);
	int dir = openat(j->images->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	time_t before = (time_t)(time_wall_ms() / 1000) - AGE_S;
	struct dirent *entry;
	char digest[IMAGE_DIGEST_SIZE];
	struct stat st;

	while (d && !j->cancel && (entry = readdir(d))) {
		if (strlen(entry->d_name) != 2 * WIRE_HASH_SIZE)
			continue;
		snprintf(digest, sizeof(digest), "sha256:%.64s", entry->d_name);
		if (map_get(&c->blobs, str_from(digest)) ||
		    fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_mtime > before)
			continue;
		unlinkat(dir, entry->d_name, 0);
	}
	if (d)
		closedir(d);
}

static void collected(struct job *j)
{
	struct collecting *c = container_of(j, struct collecting, job);

	j->images->busy--;
	map_done(&c->blobs);
	map_done(&c->layers);
	free(c);
}

static void remove_layers(struct images *i, struct collecting *c)
{
	int dir = openat(i->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	uint8_t id[WIRE_HASH_SIZE];
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (hex_decode(str_from(entry->d_name), id, sizeof(id)) &&
		    !map_get(&c->layers, str_from(entry->d_name)))
			spawn_layer_delete(i->spawn, id, NULL, NULL);
	if (d)
		closedir(d);
}

static void collect(struct loop_timer *t)
{
	struct images *i = container_of(t, struct images, collect_timer);
	struct collecting *c;
	struct walk w;

	if (i->busy || !list_empty(&i->pulls)) {
		loop_timer_set(i->loop, t, SOON_NS);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	w = (struct walk){.images = i, .c = c, .change = docs_change_new(i->store)};
	docs_walk(i->held, "", "", mark_held, &w);
	mark_live(i, c);
	docs_walk(i->manifests, "", "", drop_record, &w);
	docs_commit(w.change, NULL, NULL);
	remove_layers(i, c);
	c->job.run = remove_blobs;
	c->job.done = collected;
	i->busy++;
	if (!job_start(i, &c->job)) {
		c->job.images = i;
		collected(&c->job);
	}
}

void images_collect_soon(struct images *i)
{
	loop_timer_set(i->loop, &i->collect_timer, SOON_NS);
}

void images_collect_off(struct images *i)
{
	i->busy++;
}

void images_collect_on(struct images *i)
{
	check(i->busy);
	i->busy--;
}

/* ---- life ---- */

static int open_tables(struct images *i, struct err *e)
{
	i->names = docs_open(i->store, "image-names", e);
	i->held = i->names ? docs_open(i->store, "image-held", e) : NULL;
	i->manifests = i->held ? docs_open(i->store, "image-manifests", e) : NULL;
	i->repos = i->manifests ? docs_open(i->store, "image-repositories", e) : NULL;
	return i->repos ? 0 : -EIO;
}

static int open_layers(const struct images *i, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/layers", i->data);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, errno, "opening %s", path) : fd;
}

struct images *images_open(const struct images_options *o, struct err *e)
{
	struct images *i = xcalloc(1, sizeof(*i));

	i->loop = o->loop;
	i->store = o->store;
	i->spawn = o->spawn;
	i->data = xstrdup(o->data);
	i->docker_config = o->docker_config ? xstrdup(o->docker_config) : NULL;
	i->mirrors = o->mirrors;
	i->mirror_count = o->mirror_count;
	i->own_hosts = o->own_hosts;
	i->stall_s = o->registry_timeout_s;
	i->layers = -1;
	list_init(&i->jobs);
	list_init(&i->layer_queue);
	list_init(&i->pulls);
	list_init(&i->uploads);
	i->collect_timer.on_due = collect;
	i->blobs = blobs_open(o->data, e);
	if (i->blobs >= 0)
		i->layers = open_layers(i, e);
	if (i->layers < 0 || open_tables(i, e) < 0) {
		images_close(i);
		return NULL;
	}
	loop_timer_set(i->loop, &i->collect_timer, COLLECT_NS);
	return i;
}

void images_stop(struct images *i)
{
	jobs_stop(i);
}

void images_close(struct images *i)
{
	if (!i)
		return;
	jobs_stop(i);
	loop_timer_stop(i->loop, &i->collect_timer);
	docs_close(i->names);
	docs_close(i->held);
	docs_close(i->manifests);
	docs_close(i->repos);
	base_closep(&i->blobs);
	base_closep(&i->layers);
	map_done(&i->layer_jobs);
	map_done(&i->live);
	map_done(&i->fresh);
	free(i->docker_config);
	free(i->data);
	free(i);
}
