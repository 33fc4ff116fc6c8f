/*
 * A layer from anybody, unpacked into a directory two below a fresh one. Whatever it says, nothing
 * appears outside, no file is larger than the limit, and no device but whiteouts is made.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "unpack/layer.h"

#define LIMIT 65536

static int outside;

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
	if (at->level == 1 && strcmp(path + at->base, "in") != 0)
		outside++;
	if (type == FTW_F && S_ISREG(st->st_mode))
		check(st->st_size <= LIMIT);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		check(S_ISCHR(st->st_mode) && st->st_rdev == 0);
	return 0;
}

static int wipe(
    const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *at _unused_)
{
	return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t hash[WIRE_HASH_SIZE];
	char top[] = "/tmp/mayfly-fuzz-layer-XXXXXX", target[64];
	struct wire_outcome outcome;
	int fd = memfd_create("layer", MFD_CLOEXEC), root;

	check(fd >= 0 && mkdtemp(top));
	check(fd_write_full(fd, data, size) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	snprintf(target, sizeof(target), "%s/in", top);
	check(mkdir(target, 0700) == 0);
	root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(root >= 0);
	layer_extract(fd, root, hash, LIMIT, &outcome);
	check(outcome.result < 0 && memchr(outcome.text, 0, sizeof(outcome.text)));
	check(outcome.text[0] != '\0' && outcome.size_bytes <= LIMIT);
	outside = 0;
	nftw(top, visit, 8, FTW_PHYS);
	check(outside == 0);
	nftw(top, wipe, 8, FTW_PHYS | FTW_DEPTH);
	close(root);
	close(fd);
	return 0;
}
