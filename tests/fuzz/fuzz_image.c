/*
 * What registries and pushers send as JSON and in headers: the first byte says what it is taken
 * for. What is accepted obeys the bounds that others build on.
 */
#include "fuzz.h"

#include "image/image.h"
#include "image/manifest.h"
#include "image/remote.h"

static void try_manifest(struct str text)
{
	struct err e = ERR_INIT;
	struct manifest m;

	if (manifest_parse(text, "", &m, &e) < 0) {
		check(e.msg[0]);
		return;
	}
	check(m.part_count <= MANIFEST_CHILDREN_MAX && m.chosen < (int)m.part_count);
	check(m.kind != MANIFEST_IMAGE || m.part_count <= IMAGE_LAYERS_MAX);
	for (size_t i = 0; i < m.part_count; i++)
		check(image_digest_ok(str_from(m.parts[i].digest)));
	manifest_done(&m);
}

static void try_config(struct str text)
{
	struct config c;

	if (config_parse_json(text, &c, NULL) < 0)
		return;
	check(c.layer_count <= IMAGE_LAYERS_MAX);
	for (const char *const *s = c.config.env; *s; s++)
		check(strlen(*s) <= text.len);
	check(c.config.cmd && c.config.entrypoint && c.config.volumes && c.config.user);
	config_done(&c);
}

static void try_reference(struct str text)
{
	struct image_reference r, again;
	char out[IMAGE_REFERENCE_MAX];

	if (image_reference_parse(text, NULL, &r, NULL) < 0)
		return;
	image_reference_format(&r, out);
	if (strlen(out) + 1 < sizeof(out)) {
		check(image_reference_parse(str_from(out), NULL, &again, NULL) == 0);
		check(memcmp(&r, &again, sizeof(r)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data + 1, size - 1};
	char username[256], password[1024];
	struct challenge c;

	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'm': try_manifest(text); break;
	case 'c': try_config(text); break;
	case 'r': try_reference(text); break;
	case 'w': (void)challenge_parse(text, &c); break;
	case 'd': (void)docker_credentials(text, "docker.io", username, password); break;
	default: break;
	}
	return 0;
}
