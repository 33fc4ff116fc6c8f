/* See manifest.h. Every number and list is bounded before it is used. */
#include "image/manifest.h"

#include <openssl/evp.h>
#include <stdio.h>

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "unknown"
#endif

void digest_of(struct str data, char out[IMAGE_DIGEST_SIZE])
{
	uint8_t hash[WIRE_HASH_SIZE];

	check(EVP_Digest(data.ptr, data.len, hash, NULL, EVP_sha256(), NULL) == 1);
	memcpy(out, "sha256:", 7);
	hex_encode(hash, sizeof(hash), out + 7);
}

static const char *member(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static json_t *load(struct str text, size_t most, const char *what, struct err *e)
{
	json_t *root =
	    text.len <= most ? json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (json_is_object(root))
		return root;
	json_decref(root);
	err_set(e, EINVAL, "the %s is %s", what, text.len > most ? "too large" : "no JSON object");
	return NULL;
}

/* ---- manifests ---- */

static int take_descriptor(const json_t *from, struct descriptor *ret, struct err *e)
{
	const char *digest = member(from, "digest"), *type = member(from, "mediaType");
	const json_t *size = json_object_get(from, "size");

	if (!image_digest_ok(str_from(digest)))
		return err_set(e, EINVAL, "the manifest has a digest that is not a SHA-256");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return err_set(e, EINVAL, "the manifest says no size of %.20s", digest);
	if (strlen(type) >= sizeof(ret->media_type))
		return err_set(e, EINVAL, "the manifest has too long a media type");
	memcpy(ret->digest, digest, sizeof(ret->digest));
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", type);
	ret->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int take_parts(const json_t *list, size_t most, struct manifest *m, struct err *e)
{
	size_t n = json_array_size(list);
	int r = 0;

	if (!json_is_array(list) || n > most)
		return err_set(
		    e, EINVAL, "the manifest has no list of parts, or more than %zu", most);
	m->parts = xcalloc(n + 1, sizeof(*m->parts));
	for (; r == 0 && m->part_count < n; m->part_count++)
		r = take_descriptor(
		    json_array_get(list, m->part_count), &m->parts[m->part_count], e);
	return r;
}

/* The first for this machine; one without a variant, or the plainest, wins. */
static int choose(const json_t *list)
{
	int found = -1;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *child = json_array_get(list, i);
		const json_t *p = json_object_get(child, "platform");
		const char *variant = member(p, "variant");

		if (strcmp(member(p, "os"), "linux") != 0 ||
		    strcmp(member(p, "architecture"), ARCHITECTURE) != 0)
			continue;
		if (!variant[0] || strcmp(variant, "v8") == 0)
			return (int)i;
		if (found < 0)
			found = (int)i;
	}
	/* Archives of one image for one platform do not always say which. */
	if (found < 0 && json_array_size(list) == 1 &&
	    !json_object_get(json_array_get(list, 0), "platform"))
		return 0;
	return found;
}

static int take_index(const json_t *root, struct manifest *m, struct err *e)
{
	const json_t *list = json_object_get(root, "manifests");
	int r = take_parts(list, MANIFEST_CHILDREN_MAX, m, e);

	m->kind = MANIFEST_INDEX;
	m->chosen = r < 0 ? -1 : choose(list);
	return r;
}

static bool is_image_config(const char *type)
{
	return strcmp(type, MEDIA_OCI_CONFIG) == 0 ||
	       strcmp(type, "application/vnd.docker.container.image.v1+json") == 0;
}

static int take_image(const json_t *root, struct manifest *m, struct err *e)
{
	int r = take_descriptor(json_object_get(root, "config"), &m->config, e);

	if (r == 0)
		r = take_parts(json_object_get(root, "layers"), MANIFEST_CHILDREN_MAX, m, e);
	m->kind = is_image_config(m->config.media_type) ? MANIFEST_IMAGE : MANIFEST_OTHER;
	if (r == 0 && m->kind == MANIFEST_IMAGE && m->part_count > IMAGE_LAYERS_MAX)
		return err_set(e, EINVAL, "the image has more than %d layers", IMAGE_LAYERS_MAX);
	return r;
}

static bool is_index(const char *type)
{
	return strcmp(type, MEDIA_OCI_INDEX) == 0 || strcmp(type, MEDIA_DOCKER_LIST) == 0;
}

static bool is_manifest(const char *type)
{
	return strcmp(type, MEDIA_OCI_MANIFEST) == 0 || strcmp(type, MEDIA_DOCKER_MANIFEST) == 0;
}

/* What it says itself comes first: a reader that believed the header and one that believed the
 * text would see two images. */
static int take(const json_t *root, const char *media_type, struct manifest *m, struct err *e)
{
	const char *own = member(root, "mediaType"), *type = own[0] ? own : media_type;
	const char *subject = member(json_object_get(root, "subject"), "digest");
	bool index = json_object_get(root, "manifests") != NULL;

	if (json_integer_value(json_object_get(root, "schemaVersion")) != 2)
		return err_set(e, EINVAL,
		    "the manifest is not of schema 2; push the image again with a newer tool");
	if (index && json_object_get(root, "layers"))
		return err_set(e, EINVAL, "the manifest is an index and an image at once");
	if (!is_index(type) && !is_manifest(type))
		type = index ? MEDIA_OCI_INDEX : MEDIA_OCI_MANIFEST;
	if (is_index(type) != index)
		return err_set(e, EINVAL, "the manifest is not of the media type that it names");
	snprintf(m->media_type, sizeof(m->media_type), "%s", type);
	if (image_digest_ok(str_from(subject)))
		memcpy(m->subject, subject, sizeof(m->subject));
	return index ? take_index(root, m, e) : take_image(root, m, e);
}

int manifest_parse(struct str text, const char *media_type, struct manifest *ret, struct err *e)
{
	struct manifest m = {.chosen = -1};
	json_t *root = load(text, MANIFEST_MAX, "manifest", e);
	int r;

	if (!root)
		return -EINVAL;
	r = take(root, media_type, &m, e);
	json_decref(root);
	if (r < 0)
		manifest_done(&m);
	else
		*ret = m;
	return r;
}

void manifest_done(struct manifest *m)
{
	free(m->parts);
	m->parts = NULL;
	m->part_count = 0;
}

/* ---- configurations ---- */

static size_t count_strings(const json_t *value)
{
	return json_is_object(value) ? json_object_size(value) : json_array_size(value);
}

/* Strings of a list, or names of an object, with NULL at the end; what is neither is passed over.
 */
static const char *const *take_list(const json_t *value, const char ***at)
{
	const char **begin = *at;

	if (json_is_object(value)) {
		const char *key;
		json_t *v;

		json_object_foreach((json_t *)(uintptr_t)value, key, v) * (*at)++ = key;
	}
	for (size_t i = 0; i < json_array_size(value); i++)
		if (json_string_value(json_array_get(value, i)))
			*(*at)++ = json_string_value(json_array_get(value, i));
	*(*at)++ = NULL;
	return begin;
}

static void take_settings(struct config *c)
{
	static const char *const names[] = {"Entrypoint", "Cmd", "Env", "Volumes", "ExposedPorts"};
	const json_t *config = json_object_get(c->root, "config");
	const char *const **places[] = {&c->config.entrypoint, &c->config.cmd, &c->config.env,
	    &c->config.volumes, &c->config.exposed_ports};
	size_t count = ARRAY_SIZE(names);
	const char **at;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		count += count_strings(json_object_get(config, names[i]));
	at = xcalloc(count, sizeof(*at));
	c->lists = (char *)at;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		*places[i] = take_list(json_object_get(config, names[i]), &at);
	c->config.user = member(config, "User");
	c->config.working_dir = member(config, "WorkingDir");
	c->config.stop_signal = member(config, "StopSignal");
	c->config.architecture = member(c->root, "architecture");
	c->config.os = member(c->root, "os");
}

static int take_layers(struct config *c, struct err *e)
{
	const json_t *list = json_object_get(json_object_get(c->root, "rootfs"), "diff_ids");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > IMAGE_LAYERS_MAX)
		return err_set(e, EINVAL, "the image's configuration lists no layers, or too many");
	c->diff_ids = xcalloc(n + 1, sizeof(*c->diff_ids));
	for (; c->layer_count < n; c->layer_count++) {
		const char *id = json_string_value(json_array_get(list, c->layer_count));

		if (!id || !image_digest_ok(str_from(id)) ||
		    !hex_decode(str_from(id + 7), c->diff_ids[c->layer_count], WIRE_HASH_SIZE))
			return err_set(e, EINVAL, "the image's configuration has a bad layer");
	}
	return 0;
}

int config_parse_json(struct str text, struct config *ret, struct err *e)
{
	struct config c = {.root = load(text, CONFIG_MAX, "image's configuration", e)};
	int r = c.root ? take_layers(&c, e) : -EINVAL;

	if (r < 0) {
		config_done(&c);
		return r;
	}
	take_settings(&c);
	*ret = c;
	return 0;
}

void config_done(struct config *c)
{
	json_decref(c->root);
	free(c->diff_ids);
	free(c->lists);
	*c = (struct config){0};
}
