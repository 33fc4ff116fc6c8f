/*
 * mayfly-unpack: turns one archive, written by anybody, into a directory or, for archives of
 * images, a stream of its files. A throw-away process without network or other files than its three
 * descriptors: 3 the archive, 4 the empty directory or a pipe, 5 the socket that takes one struct
 * wire_outcome. Started by the spawner (unpack.c): without any right, or for layers as root of a
 * user namespace that has the users of containers.
 */
#include <fcntl.h>
#include <locale.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "unpack/layer.h"
#include "unpack/split.h"
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

static int usage(void)
{
	fputs("usage: mayfly-unpack zip LIMIT-BYTES | layer LIMIT-BYTES SHA256 | split "
	      "LIMIT-BYTES (started by mayfly-spawner)\n",
	    stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct wire_outcome outcome = {0};
	uint8_t hash[WIRE_HASH_SIZE];
	int64_t limit;

	/* Names in archives are UTF-8; libarchive gives up on what the locale has not. */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 3 || !str_to_int64(str_from(argv[2]), 0, INT64_MAX, &limit))
		return usage();
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "zip") == 0) {
		if (fchdir(TARGET_FD) < 0)
			return 1;
		zip_extract(ARCHIVE_FD, (uint64_t)limit, &outcome);
	} else if (argc == 4 && strcmp(argv[1], "layer") == 0 &&
		   hex_decode(str_from(argv[3]), hash, sizeof(hash))) {
		OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
		layer_extract(ARCHIVE_FD, TARGET_FD, hash, (uint64_t)limit, &outcome);
	} else if (argc == 3 && strcmp(argv[1], "split") == 0) {
		OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
		split_archive(ARCHIVE_FD, TARGET_FD, (uint64_t)limit, &outcome);
	} else {
		return usage();
	}
	return fd_write_full(OUTCOME_FD, &outcome, sizeof(outcome)) < 0;
}
