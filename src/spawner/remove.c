/* Removing trees. See remove.h. */
#include "spawner/remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEPTH_MAX 256
#define LIFTED_SIZE 48
#define UNFINISHED ".new-" /* and the number of the process */

/* What lies deeper than DEPTH_MAX is moved beside the tree, to be removed after it: containers make
 * trees as deep as they like. */
struct removal {
	int top;
	unsigned lifted, removed;
};

static int remove_below(struct removal *t, int dir, const char *name, int depth);

static int empty_dir(struct removal *t, int dir, int depth)
{
	DIR *d = fdopendir(dir);
	struct dirent *entry;
	int r = d ? 0 : -errno;

	while (d && r == 0 && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_below(t, dirfd(d), entry->d_name, depth);
	if (d)
		closedir(d);
	else
		close(dir);
	return r;
}

static void name_lifted(unsigned number, char out[LIFTED_SIZE])
{
	snprintf(out, LIFTED_SIZE, ".deep-%d-%u", (int)getpid(), number);
}

static int lift(struct removal *t, int dir, const char *name)
{
	char to[LIFTED_SIZE];

	name_lifted(t->lifted++, to);
	return renameat(dir, name, t->top, to) < 0 ? -errno : 0;
}

static int remove_below(struct removal *t, int dir, const char *name, int depth)
{
	int sub, r;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth >= DEPTH_MAX)
		return lift(t, dir, name);
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return -errno;
	r = empty_dir(t, sub, depth + 1);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

int remove_tree(int dir, const char *name)
{
	struct removal t = {.top = dir};
	int r = remove_below(&t, dir, name, 0);

	while (r == 0 && t.removed < t.lifted) {
		char deep[LIFTED_SIZE];

		name_lifted(t.removed++, deep);
		r = remove_below(&t, dir, deep, 0);
	}
	return r;
}

void remove_hidden(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] == '.' && entry->d_name[1] && entry->d_name[1] != '.')
			remove_tree(dir, entry->d_name);
	if (d)
		closedir(d);
}

void name_unfinished(char out[32])
{
	snprintf(out, 32, UNFINISHED "%d", (int)getpid());
}

void remove_unfinished(int dir)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (strncmp(name, UNFINISHED, sizeof(UNFINISHED) - 1) == 0 &&
		    kill(atoi(name + sizeof(UNFINISHED) - 1), 0) < 0 && errno == ESRCH)
			remove_tree(dir, name);
	}
	if (d)
		closedir(d);
}
