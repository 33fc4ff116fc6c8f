/*
 * Putting files of a layer into its directory. Every path is resolved by the kernel as if that
 * directory were the root (RESOLVE_IN_ROOT), as in a container; the last component is never
 * followed. Single-threaded.
 */
#pragma once

#include <sys/stat.h>
#include <time.h>

#include "base/base.h"

#define PLACE_PATH_MAX 4096
#define PLACE_DEPTH_MAX 128

struct place;

/* What an entry is like apart from its contents. */
struct place_facts {
	uint32_t uid, gid;
	mode_t mode; /* permissions, with set-id and sticky bits */
	struct timespec mtime;
	/* Called with the finished object for its attributes. 0 or -errno. */
	int (*on_made)(void *ctx, int fd);
	void *ctx;
};

/* root: a directory; stays the caller's. */
struct place *place_new(int root);
void place_free(struct place *p);

/* All return 0 or -errno, -ENOTEMPTY: a directory with files is in the way, -ELOOP: a loop of
 * links or too deep, -EINVAL: no path that could be inside, -ENAMETOOLONG. */

/* Clean path (no leading '/', no "." and no empty component) into out; -EINVAL with "..". "" is
 * the directory itself. */
int place_clean(const char *path, char out[PLACE_PATH_MAX]);

/* Begin a file: returns a descriptor for writing, to be given to place_file_end(). */
int place_file(struct place *p, const char *path, const struct place_facts *f);
/* Takes fd. */
int place_file_end(struct place *p, int fd, const struct place_facts *f);
int place_directory(struct place *p, const char *path, const struct place_facts *f);
int place_link(struct place *p, const char *path, const char *target, const struct place_facts *f);
int place_hard_link(struct place *p, const char *path, const char *target);
int place_fifo(struct place *p, const char *path, const struct place_facts *f);
/* Hide what lower layers have: one name, or all that is in a directory. */
int place_whiteout(struct place *p, const char *path);
int place_opaque(struct place *p, const char *directory);
/* Times of directories, which making files in them has changed. */
int place_finish(struct place *p);
