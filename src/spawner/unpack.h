/* Running mayfly-unpack, confined, on an archive of anybody's. In short-lived children only. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

struct unpack_task {
	int input;           /* the archive: a file, or for layers a pipe */
	int exe;             /* mayfly-unpack */
	const uint8_t *hash; /* what a layer's contents have; NULL: a zip */
	uint64_t limit_bytes;
};

/* Into the directory `target`, which belongs to ID_UNPACK or, for a layer, to ID_CONTAINERS. 0 when
 * the child has given an answer, which is in ret, or -errno. */
int unpack_into(int target, const struct unpack_task *t, struct wire_outcome *ret);

/* Give the directory `temporary` (open as target) its name, so that it survives a power cut.
 * Removed if that name is there already. */
int unpack_publish(int dir, const char *temporary, const char *name, int target);
