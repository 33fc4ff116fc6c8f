/*
 * Which extensions a box has: the executable files of /opt/extensions, where layers put them. No
 * heap; what lies in the folder is the customer's. Called by main.c.
 */
#include "init/extension.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_program(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

/* Insert in order. */
static void put(char paths[][EXTENSION_PATH_SIZE], int count, const char *path)
{
	int at = count;

	for (; at > 0 && strcmp(paths[at - 1], path) > 0; at--)
		memcpy(paths[at], paths[at - 1], EXTENSION_PATH_SIZE);
	snprintf(paths[at], EXTENSION_PATH_SIZE, "%s", path);
}

/* The programs among some entries; the new count. */
static int take(int fd, const char *dir, const char *entries, long len,
    char paths[][EXTENSION_PATH_SIZE], int count)
{
	char path[EXTENSION_PATH_SIZE];

	for (long at = 0; at < len && count >= 0;) {
		const struct dirent64 *d = (const struct dirent64 *)(const void *)(entries + at);
		int n = snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);

		at += d->d_reclen;
		if (n >= (int)sizeof(path) || !is_program(fd, d->d_name))
			continue;
		if (count == INIT_EXTENSIONS_MAX)
			return -E2BIG;
		put(paths, count++, path);
	}
	return count;
}

int extension_list(const char *dir, char paths[][EXTENSION_PATH_SIZE])
{
	static char entries[4096] __attribute__((aligned(8)));
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	long n;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	while (count >= 0 && (n = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0)
		count = take(fd, dir, entries, n, paths, count);
	close(fd);
	return count;
}
