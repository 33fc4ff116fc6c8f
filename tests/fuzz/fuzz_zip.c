/*
 * A zip from anybody, unpacked into a directory two below a fresh one. Whatever it says, nothing
 * appears outside, at most the limit is written, and every link stays inside.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "unpack/zip.h"

#define LIMIT 65536

static uint64_t bytes;
static int outside, depth_target;

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
	if (type == FTW_F)
		bytes += (uint64_t)st->st_size;
	if (at->level == 1 && strcmp(path + at->base, "in") != 0)
		outside++;
	if (at->level > depth_target && type != FTW_SL && (st->st_mode & 07022))
		abort(); /* a mode that is not normal */
	return 0;
}

static int wipe(
    const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *at _unused_)
{
	return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char top[] = "/tmp/mayfly-fuzz-zip-XXXXXX", target[64];
	struct wire_outcome outcome;
	int fd = memfd_create("zip", MFD_CLOEXEC), home = open(".", O_RDONLY | O_DIRECTORY);

	check(fd >= 0 && home >= 0 && mkdtemp(top));
	check(fd_write_full(fd, data, size) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	snprintf(target, sizeof(target), "%s/in", top);
	check(mkdir(target, 0700) == 0 && chdir(target) == 0);
	zip_extract(fd, LIMIT, &outcome);
	check(outcome.result <= 0 && memchr(outcome.text, 0, sizeof(outcome.text)));
	check((outcome.result == 0) == (outcome.text[0] == '\0'));
	bytes = 0;
	outside = 0;
	depth_target = 1;
	nftw(top, visit, 8, FTW_PHYS);
	check(bytes <= LIMIT && outside == 0 && outcome.size_bytes <= LIMIT);
	check(fchdir(home) == 0);
	nftw(top, wipe, 8, FTW_PHYS | FTW_DEPTH);
	close(home);
	close(fd);
	return 0;
}
