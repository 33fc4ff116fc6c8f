/*
 * Hash map from byte strings to pointers: open addressing, grows by doubling, deletion without
 * tombstones. The map copies keys and never touches values. Not thread-safe.
 */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct map_entry {
	struct str key; /* NULL ptr: empty slot */
	uint64_t hash;
	void *value;
};

struct map {
	struct map_entry *slots;
	size_t capacity; /* power of two, or 0 */
	size_t count;
};

#define MAP_INIT           \
	{                  \
		NULL, 0, 0 \
	}

void map_done(struct map *m); /* frees keys and table, not the values */
void *map_get(const struct map *m, struct str key);
/* Insert or replace; returns the value that was there before, or NULL. value is not NULL. */
void *map_put(struct map *m, struct str key, void *value);
/* Remove; returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);

/* Walk all entries; the map must not change meanwhile. Start with *at = 0; NULL at the end. */
struct map_entry *map_next(const struct map *m, size_t *at);

#define map_for_each(m, entry)                                                        \
	for (size_t entry##_at = 0, entry##_once = 1; entry##_once; entry##_once = 0) \
		for (struct map_entry * entry; (entry = map_next((m), &entry##_at));)
