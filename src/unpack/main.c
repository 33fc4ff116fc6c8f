/*
 * mayfly-unpack: turns one zip file, written by anybody, into a directory. A throw-away process
 * without rights, network or other files than its three descriptors: 3 the archive, 4 the empty
 * directory, 5 the pipe that takes one struct wire_outcome. Started by the spawner (tree.c).
 */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "unpack/zip.h"

#define ARCHIVE_FD 3
#define TARGET_FD 4
#define OUTCOME_FD 5

#ifdef MAYFLY_SANITIZED
/* Looking for leaks needs calls that the filter refuses, and options come from /proc, which is not
 * there. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

int main(int argc, char **argv)
{
	struct wire_outcome outcome = {0};
	int64_t limit;

	/* Names in zips are UTF-8; libarchive gives up on what the locale has not. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc != 2 || !str_to_int64(str_from(argv[1]), 0, INT64_MAX, &limit)) {
		fputs("usage: mayfly-unpack LIMIT-BYTES (started by mayfly-spawner)\n", stderr);
		return 2;
	}
	if (fchdir(TARGET_FD) < 0)
		return 1;
	zip_extract(ARCHIVE_FD, (uint64_t)limit, &outcome);
	return fd_write_full(OUTCOME_FD, &outcome, sizeof(outcome)) < 0;
}
