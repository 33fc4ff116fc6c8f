/* A scratch directory and a loop to wait with, for tests of what lives on disk. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "base/time.h"
#include "loop/loop.h"

static inline int scratch_remove_one(
    const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static inline void scratch_remove(char *dir)
{
	nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}

static inline char *scratch_new(void)
{
	char *dir = xstrdup("/tmp/mayfly-test-XXXXXX");

	check(mkdtemp(dir) != NULL);
	return dir;
}

/* Turn the loop until *flag is not 0; false after ten seconds. */
static inline bool scratch_wait(struct loop *l, const int *flag)
{
	int64_t end = time_mono_ns() + 10000000000;

	while (!*(volatile const int *)flag && time_mono_ns() < end)
		loop_turn(l, 100);
	return *flag != 0;
}
