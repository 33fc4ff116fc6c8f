/* Unpacked code: making it in a confined child, removing it. Run in short-lived children only. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

/* 64 hex digits and a NUL. */
void tree_name(const uint8_t hash[WIRE_HASH_SIZE], char out[65]);

/* blobs/<hash> to code/<hash> by `unpack_exe`, durable when it returns. code, blobs: directories.
 */
void tree_unpack(int code, int blobs, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret);
/* Also for layers. */
int tree_delete(int code, const uint8_t hash[WIRE_HASH_SIZE]);

/* A detached, read-only mount of code/<hash>; or -errno. */
int tree_mount(int code, const uint8_t hash[WIRE_HASH_SIZE]);
/* The same of several stacked ones, lowest first. */
int tree_mount_layers(const uint8_t hashes[][WIRE_HASH_SIZE], unsigned count);
