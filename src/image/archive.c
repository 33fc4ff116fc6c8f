/*
 * See archive.h. Two kinds: manifest.json of docker save names configurations and layers by path,
 * index.json of an OCI layout names manifests by digest. Where both are there, the latter is what
 * keeps digests as they were.
 */
#include "image/archive.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

#define FILES_MAX 100000
#define LINKS_MAX 8
#define JSON_MAX (4u << 20)

/* ---- the stream ---- */

static int broken(struct err *e)
{
	return err_set(e, EINVAL, "the archive's contents are not what they should be");
}

static int read_name(int fd, uint32_t len, char out[WIRE_NAME_MAX + 1])
{
	int r = len <= WIRE_NAME_MAX ? fd_read_full(fd, out, len) : -EPROTO;

	out[r == 0 ? len : 0] = '\0';
	return r;
}

static int copy_pieces(int fd, struct blob_writer *w, const bool *cancel)
{
	static _Thread_local char piece[WIRE_PIECE_MAX];
	uint32_t len;
	int r;

	for (;;) {
		r = fd_read_full(fd, &len, sizeof(len));
		if (r < 0 || len == 0)
			return r;
		if (len > sizeof(piece))
			return -EPROTO;
		r = fd_read_full(fd, piece, len);
		if (r == 0)
			r = blob_add(w, piece, len);
		if (r == 0 && __atomic_load_n(cancel, __ATOMIC_RELAXED))
			r = -ECANCELED;
		if (r < 0)
			return r;
	}
}

static int read_file(int fd, int blobs, const bool *cancel, struct archive_file *f)
{
	int r = 0;
	struct blob_writer *w = blob_begin(blobs, &r);

	if (!w)
		return r;
	r = copy_pieces(fd, w, cancel);
	if (r < 0)
		blob_abandon(w);
	return r < 0 ? r : blob_end_any(w, f->digest, &f->size);
}

static void add_file(struct archive_images *a, const char *name, struct archive_file *f)
{
	struct archive_file *old = map_put(&a->files, str_from(name), f);

	if (old)
		free(old->link);
	free(old);
}

/* 1: there was one more; 0: the end. */
static int read_member(int fd, int blobs, const bool *cancel, struct archive_images *a)
{
	char name[WIRE_NAME_MAX + 1], link[WIRE_NAME_MAX + 1];
	struct wire_member head;
	struct archive_file *f;
	ssize_t n;
	int r;

	do
		n = read(fd, &head, 1);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	r = fd_read_full(fd, (char *)&head + 1, sizeof(head) - 1);
	if (r == 0)
		r = read_name(fd, head.name_len, name);
	if (r == 0)
		r = read_name(fd, head.link_len, link);
	if (r < 0)
		return r;
	f = xcalloc(1, sizeof(*f));
	if (head.link_len)
		f->link = xstrdup(link);
	else
		r = read_file(fd, blobs, cancel, f);
	if (r < 0) {
		free(f);
		return r;
	}
	add_file(a, name, f);
	return 1;
}

int archive_read_members(
    int fd, int blobs, const bool *cancel, struct archive_images *a, struct err *e)
{
	int r;

	do
		r = read_member(fd, blobs, cancel, a);
	while (r == 1 && a->files.count <= FILES_MAX);
	if (r == 1)
		return err_set(e, E2BIG, "the archive has more than %d files", FILES_MAX);
	if (r == -EPROTO || r == -EPIPE)
		return broken(e);
	return r < 0 ? err_sys(e, -r, "keeping the archive's contents") : 0;
}

/* ---- files by name ---- */

/* Where a link in the directory of `from` leads: "/x" is from the top. */
static bool join(const char *from, const char *link, char out[WIRE_NAME_MAX + 1])
{
	const char *slash = strrchr(from, '/');
	size_t n = slash && link[0] != '/' ? (size_t)(slash - from) : 0;

	memcpy(out, from, n);
	while (*link) {
		size_t len = strcspn(link, "/");

		if (len == 2 && link[0] == '.' && link[1] == '.') {
			while (n && out[n - 1] != '/')
				n--;
			n -= n > 0;
		} else if (len && !(len == 1 && link[0] == '.')) {
			if (n + len + 1 > WIRE_NAME_MAX)
				return false;
			if (n)
				out[n++] = '/';
			memcpy(out + n, link, len);
			n += len;
		}
		link += len + (link[len] == '/');
	}
	out[n] = '\0';
	return true;
}

static const struct archive_file *find(const struct archive_images *a, const char *name)
{
	const struct archive_file *f;
	char at[WIRE_NAME_MAX + 1], next[WIRE_NAME_MAX + 1];

	if (!name || strlen(name) > WIRE_NAME_MAX)
		return NULL;
	memcpy(at, name, strlen(name) + 1);
	for (int i = 0; i < LINKS_MAX; i++) {
		f = map_get(&a->files, str_from(at));
		if (!f || !f->link)
			return f;
		if (!join(at, f->link, next))
			return NULL;
		memcpy(at, next, sizeof(at));
	}
	return NULL;
}

static json_t *load_json(int blobs, const struct archive_file *f)
{
	struct buf text = BUF_INIT;
	json_t *root = NULL;

	if (f && blob_read(blobs, f->digest, JSON_MAX, &text) == 0)
		root = json_loadb(buf_data(&text), buf_len(&text), JSON_REJECT_DUPLICATES, NULL);
	buf_done(&text);
	return root;
}

static int add_image(int blobs, struct archive_images *a, struct archive_image *i, struct err *e)
{
	struct buf text = BUF_INIT;
	int r = manifest_parse(buf_str(&i->manifest), "", &i->parsed, e);

	if (r == 0 && i->parsed.kind != MANIFEST_IMAGE)
		r = err_set(e, EINVAL, "the archive has something else than images");
	if (r == 0 && blob_read(blobs, i->parsed.config.digest, CONFIG_MAX, &text) < 0)
		r = err_set(e, EINVAL, "the archive lacks the configuration of an image");
	if (r == 0)
		r = config_parse_json(buf_str(&text), &i->config, e);
	if (r == 0 && i->config.layer_count != i->parsed.part_count)
		r = err_set(e, EINVAL, "an image of the archive has other layers than it says");
	for (size_t n = 0; r == 0 && n < i->parsed.part_count; n++)
		if (blob_size(blobs, i->parsed.parts[n].digest) != (int64_t)i->parsed.parts[n].size)
			r = err_set(
			    e, EINVAL, "the archive lacks layer %s", i->parsed.parts[n].digest);
	buf_done(&text);
	a->count++; /* archive_done() frees it */
	return r;
}

static void add_name(struct archive_image *i, const char *name)
{
	if (name && name[0] && i->name_count < ARCHIVE_NAMES_MAX)
		i->names[i->name_count++] = xstrdup(name);
}

/* ---- docker save ---- */

static json_t *descriptor_json(const char *type, const struct archive_file *f)
{
	return json_pack(
	    "{s:s,s:s,s:I}", "mediaType", type, "digest", f->digest, "size", (json_int_t)f->size);
}

/* A manifest of our own: docker save has none. Its layers are plain tars as a rule; who reads them
 * finds out, whatever the media type says. */
static int write_manifest(
    const struct archive_images *a, const json_t *entry, struct buf *ret, struct err *e)
{
	const json_t *list = json_object_get(entry, "Layers");
	const struct archive_file *config =
	    find(a, json_string_value(json_object_get(entry, "Config")));
	json_t *layers = json_array(), *root;
	char *text;

	for (size_t n = 0; n < json_array_size(list); n++) {
		const struct archive_file *f = find(a, json_string_value(json_array_get(list, n)));

		if (f)
			json_array_append_new(layers, descriptor_json(MEDIA_OCI_TAR, f));
	}
	if (!config || json_array_size(layers) != json_array_size(list) || !json_is_array(list)) {
		json_decref(layers);
		return err_set(e, EINVAL, "manifest.json of the archive names files that it lacks");
	}
	root = json_pack("{s:i,s:s,s:o,s:o}", "schemaVersion", 2, "mediaType", MEDIA_OCI_MANIFEST,
	    "config", descriptor_json(MEDIA_OCI_CONFIG, config), "layers", layers);
	text = json_dumps(root, JSON_COMPACT);
	check(text);
	buf_puts(ret, text);
	free(text);
	json_decref(root);
	return 0;
}

static int find_docker(int blobs, struct archive_images *a, const json_t *root, struct err *e)
{
	int r = 0;

	if (!json_is_array(root) || json_array_size(root) > ARCHIVE_IMAGES_MAX)
		return err_set(e, EINVAL, "manifest.json of the archive is no list, or too long");
	for (size_t n = 0; r == 0 && n < json_array_size(root); n++) {
		const json_t *entry = json_array_get(root, n);
		const json_t *tags = json_object_get(entry, "RepoTags");
		struct archive_image *i = &a->images[a->count];

		for (size_t k = 0; k < json_array_size(tags); k++)
			add_name(i, json_string_value(json_array_get(tags, k)));
		r = write_manifest(a, entry, &i->manifest, e);
		if (r == 0)
			r = add_image(blobs, a, i, e);
		else
			a->count++;
	}
	return r;
}

/* ---- OCI ---- */

static const char *annotation(const json_t *entry, const char *name)
{
	return json_string_value(json_object_get(json_object_get(entry, "annotations"), name));
}

static int take_oci(int blobs, struct archive_images *a, const json_t *entry, struct err *e)
{
	const char *digest = json_string_value(json_object_get(entry, "digest"));
	const char *name = annotation(entry, "io.containerd.image.name");
	struct archive_image *i = &a->images[a->count];
	struct manifest m;
	int r;

	if (!digest || !image_digest_ok(str_from(digest)) ||
	    blob_read(blobs, digest, MANIFEST_MAX, &i->manifest) < 0) {
		a->count++;
		return err_set(
		    e, EINVAL, "index.json of the archive names a manifest that it lacks");
	}
	add_name(i, name ? name : annotation(entry, "org.opencontainers.image.ref.name"));
	r = manifest_parse(buf_str(&i->manifest), "", &m, e);
	if (r == 0 && m.kind == MANIFEST_INDEX) {
		i->top = i->manifest;
		i->manifest = (struct buf)BUF_INIT;
		snprintf(i->top_type, sizeof(i->top_type), "%s", m.media_type);
		if (m.chosen < 0 ||
		    blob_read(blobs, m.parts[m.chosen].digest, MANIFEST_MAX, &i->manifest) < 0)
			r = err_set(e, EINVAL, "the archive has no image for this machine");
		manifest_done(&m);
	} else if (r == 0) {
		manifest_done(&m);
	}
	if (r == 0)
		return add_image(blobs, a, i, e);
	a->count++;
	return r;
}

static int find_oci(int blobs, struct archive_images *a, const json_t *root, struct err *e)
{
	const json_t *list = json_object_get(root, "manifests");
	int r = 0;

	if (!json_is_array(list) || json_array_size(list) > ARCHIVE_IMAGES_MAX)
		return err_set(e, EINVAL, "index.json of the archive is no index, or too long");
	for (size_t n = 0; r == 0 && n < json_array_size(list); n++)
		r = take_oci(blobs, a, json_array_get(list, n), e);
	return r;
}

/* Newer versions of docker save write both and name the images in the old one only. */
static void name_by_docker(struct archive_images *a, const json_t *docker)
{
	for (size_t n = 0; n < a->count && n < json_array_size(docker); n++) {
		const json_t *tags = json_object_get(json_array_get(docker, n), "RepoTags");

		if (json_array_size(docker) != a->count || !json_array_size(tags))
			continue;
		while (a->images[n].name_count)
			free(a->images[n].names[--a->images[n].name_count]);
		for (size_t k = 0; k < json_array_size(tags); k++)
			add_name(&a->images[n], json_string_value(json_array_get(tags, k)));
	}
}

int archive_find(int blobs, struct archive_images *a, struct err *e)
{
	json_t *oci = load_json(blobs, find(a, "index.json"));
	json_t *docker = load_json(blobs, find(a, "manifest.json"));
	int r;

	if (oci) {
		r = find_oci(blobs, a, oci, e);
		if (r == 0 && docker)
			name_by_docker(a, docker);
	} else if (docker) {
		r = find_docker(blobs, a, docker, e);
	} else {
		r = err_set(e, EINVAL,
		    "this is no archive of images: neither manifest.json (docker save) nor "
		    "index.json "
		    "(OCI) is in it");
	}
	if (r == 0 && !a->count)
		r = err_set(e, EINVAL, "there is no image in the archive");
	json_decref(oci);
	json_decref(docker);
	return r;
}

void archive_done(struct archive_images *a)
{
	map_for_each (&a->files, entry) {
		struct archive_file *f = entry->value;

		free(f->link);
		free(f);
	}
	map_done(&a->files);
	for (size_t n = 0; n < a->count; n++) {
		struct archive_image *i = &a->images[n];

		buf_done(&i->top);
		buf_done(&i->manifest);
		manifest_done(&i->parsed);
		config_done(&i->config);
		for (size_t k = 0; k < i->name_count; k++)
			free(i->names[k]);
	}
}
