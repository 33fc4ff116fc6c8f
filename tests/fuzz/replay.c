/*
 * Run a fuzz target over files named on the command line, or over all files of a directory, so
 * that corpora are ordinary tests where there is no libFuzzer. Each input is also run cut in
 * half and without its last byte, which costs nothing and finds reads past the end.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"

#define INPUT_MAX (16u << 20)

/* In memory of exactly its size, so that ASan sees the first byte too many. */
static void run(const char *data, size_t len)
{
	char *exact = xmalloc(len ? len : 1);

	if (len)
		memcpy(exact, data, len);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, len);
	free(exact);
}

static int replay_file(int dirfd, const char *name)
{
	struct buf b = BUF_INIT;
	int r = fd_read_file(dirfd, name, INPUT_MAX, &b);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", name, strerror(-r));
		return r;
	}
	run(buf_str(&b).ptr, buf_len(&b));
	run(buf_str(&b).ptr, buf_len(&b) / 2);
	if (buf_len(&b))
		run(buf_str(&b).ptr, buf_len(&b) - 1);
	buf_done(&b);
	return 1;
}

/* How many inputs were run, or -errno. */
static int replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int count = 0, r = 0;

	if (!dir)
		return -errno;
	while (r >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		r = replay_file(dirfd(dir), entry->d_name);
		count++;
	}
	closedir(dir);
	return r < 0 ? r : count;
}

int main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++) {
		int r = replay_dir(argv[i]);

		if (r == -ENOTDIR)
			r = replay_file(AT_FDCWD, argv[i]);
		if (r < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
			return 1;
		}
		count += r;
	}
	printf("%d inputs\n", count);
	return count ? 0 : 1; /* an empty corpus tests nothing */
}
