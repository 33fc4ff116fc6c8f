/* Running mayfly-unpack, confined, on an archive of anybody's. In short-lived children only. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

enum unpack_mode { UNPACK_ZIP, UNPACK_LAYER, UNPACK_SPLIT };

struct unpack_task {
	enum unpack_mode mode;
	int input;           /* the archive: a file, or for layers a pipe */
	int exe;             /* mayfly-unpack */
	int output;          /* UNPACK_SPLIT: a pipe */
	const uint8_t *hash; /* UNPACK_LAYER: what its contents have */
	uint64_t limit_bytes;
};

/* Into the directory `target`, which belongs to ID_UNPACK or, for a layer, to ID_CONTAINERS. 0 when
 * the child has given an answer, which is in ret, or -errno. */
int unpack_into(int target, const struct unpack_task *t, struct wire_outcome *ret);

/* The files of an archive of images, one after the other, into a pipe: see struct wire_member. */
void unpack_split(int input, int output, int exe, uint64_t limit_bytes, struct wire_outcome *ret);

/* Give the directory `temporary` (open as target) its name; with `sync`, so that it survives a
 * power cut. Removed if that name is there already. */
int unpack_publish(int dir, const char *temporary, const char *name, int target, bool sync);
