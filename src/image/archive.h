/*
 * The contents of an archive of images, as the spawner's child tells them: a stream of files. Core
 * keeps each as a blob and finds the images among them afterwards. Blocking: on a thread.
 */
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "image/blob.h"
#include "image/manifest.h"

#define ARCHIVE_IMAGES_MAX 64
#define ARCHIVE_NAMES_MAX 16 /* of one image */

struct archive_file {
	char digest[IMAGE_DIGEST_SIZE]; /* "": a link */
	uint64_t size;
	char *link;
};

struct archive_image {
	struct buf top, manifest; /* top: an index that leads to it; empty if there is none */
	char top_type[MEDIA_TYPE_SIZE];
	struct manifest parsed;
	struct config config;
	char *names[ARCHIVE_NAMES_MAX];
	size_t name_count;
};

struct archive_images {
	struct map files; /* name -> struct archive_file */
	struct archive_image images[ARCHIVE_IMAGES_MAX];
	size_t count;
};

/* Read struct wire_member from fd until it ends. 0 or -errno and e. */
int archive_read_members(
    int fd, int blobs, const bool *cancel, struct archive_images *a, struct err *e);
/* Find the images. 0 or -EINVAL and e. */
int archive_find(int blobs, struct archive_images *a, struct err *e);
void archive_done(struct archive_images *a);
