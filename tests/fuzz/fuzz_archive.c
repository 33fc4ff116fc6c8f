/*
 * An archive of images. First byte 't': a tar as clients send it, taken apart as the spawner's
 * child does it, then read as core does; else the stream between the two, as a child that is not
 * itself any more may write it. Whatever comes: files have their digests, images their bounds,
 * links end.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/archive.h"
#include "unpack/split.h"

#define LIMIT (1 << 20)

static int wipe(
    const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *at _unused_)
{
	return remove(path);
}

static int stream_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	check(fd >= 0 && fd_write_full(fd, data, size) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

/* What a tar is split into. */
static int split(int tar)
{
	struct wire_outcome outcome;
	int fd = memfd_create("members", MFD_CLOEXEC);

	check(fd >= 0);
	split_archive(tar, fd, LIMIT, &outcome);
	check(memchr(outcome.text, 0, sizeof(outcome.text)));
	check(outcome.result == 0 || outcome.text[0]);
	check(lseek(fd, 0, SEEK_SET) == 0);
	close(tar);
	return fd;
}

static void check_images(int blobs, const struct archive_images *a)
{
	map_for_each (&a->files, entry) {
		const struct archive_file *f = entry->value;

		if (!f->link)
			check(blob_size(blobs, f->digest) == (int64_t)f->size);
	}
	check(a->count <= ARCHIVE_IMAGES_MAX);
	for (size_t i = 0; i < a->count; i++) {
		check(a->images[i].name_count <= ARCHIVE_NAMES_MAX);
		check(a->images[i].parsed.part_count == a->images[i].config.layer_count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char top[] = "/tmp/mayfly-fuzz-archive-XXXXXX";
	bool tar = size && data[0] == 't', cancel = false;
	struct archive_images *a = xcalloc(1, sizeof(*a));
	struct err e = ERR_INIT;
	int fd, blobs, r;

	check(mkdtemp(top));
	blobs = blobs_open(top, &e);
	check(blobs >= 0);
	fd = stream_of(data + tar, size - tar);
	if (tar)
		fd = split(fd);
	r = archive_read_members(fd, blobs, &cancel, a, &e);
	if (r == 0)
		r = archive_find(blobs, a, &e);
	if (r == 0)
		check_images(blobs, a);
	else
		check(e.msg[0]);
	archive_done(a);
	free(a);
	close(blobs);
	close(fd);
	nftw(top, wipe, 8, FTW_PHYS | FTW_DEPTH);
	return 0;
}
