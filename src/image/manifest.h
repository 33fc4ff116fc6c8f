/*
 * What is in an image, as its JSON says: manifests, indexes and configurations of OCI and Docker,
 * from anybody. Pure. Any thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "image/image.h"

#define MANIFEST_MAX (4u << 20) /* bytes, as registries have it */
#define CONFIG_MAX (4u << 20)
#define MANIFEST_CHILDREN_MAX 256
#define MEDIA_TYPE_SIZE 128

#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_TAR "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"

struct descriptor {
	char digest[IMAGE_DIGEST_SIZE];
	char media_type[MEDIA_TYPE_SIZE];
	uint64_t size;
};

enum manifest_kind {
	MANIFEST_IMAGE, /* config and layers of a container image */
	MANIFEST_INDEX,
	MANIFEST_OTHER, /* an artifact: config and layers of something else */
};

struct manifest {
	enum manifest_kind kind;
	char media_type[MEDIA_TYPE_SIZE];
	struct descriptor config;
	struct descriptor *parts; /* layers, lowest first; or the children of an index */
	size_t part_count;
	int chosen;                      /* index: the child for this machine; -1: there is none */
	char subject[IMAGE_DIGEST_SIZE]; /* "": none */
};

/* media_type: as it was sent with, or "": what the text itself says, or looks like. 0 or -EINVAL.
 */
int manifest_parse(struct str text, const char *media_type, struct manifest *ret, struct err *e);
void manifest_done(struct manifest *m);

/* A configuration: its text stays in root, arrays and strings point into it. */
struct config {
	json_t *root;
	struct image_config config;
	uint8_t (*diff_ids)[WIRE_HASH_SIZE];
	size_t layer_count;
	char *lists; /* memory of the arrays */
};
int config_parse_json(struct str text, struct config *ret, struct err *e);
void config_done(struct config *c);

/* "sha256:<hex>" of some bytes. */
void digest_of(struct str data, char out[IMAGE_DIGEST_SIZE]);
