/*
 * One layer of an image, a tar of anybody's, unpacked into a directory as overlayfs wants it:
 * whiteouts are devices 0:0, opaque directories have user.overlay.opaque. Single-threaded; trusts
 * nothing in it. Devices are left out, attributes other than user.* and security.capability too.
 */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

#define LAYER_ENTRIES_MAX 500000
#define LAYER_IDS 65536 /* users and groups that a container has */

/* Read the layer from descriptor fd (a pipe, say; gzip, zstd or plain) and unpack it into the
 * directory `root`; at most limit_bytes of tar and of each file. ret->size_bytes: of the tar. The
 * SHA-256 of the tar must be `expected`: -EBADMSG. ret->text says what is wrong. */
void layer_extract(int fd, int root, const uint8_t expected[WIRE_HASH_SIZE], uint64_t limit_bytes,
    struct wire_outcome *ret);
