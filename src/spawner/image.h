/*
 * A container image as the root of a box: its layers, read-only, with the box's own /proc, /dev,
 * /tmp and a few files of /etc on top. Everything an image contains is hostile: no link in it is
 * followed.
 */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

/* A detached, read-only mount of unpacked layers (lowest first); or -errno. */
int image_mount(int layers, const uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count);

/* In the mount namespace of a box: make the image its only root, box-init's too. tmp: a detached
 * mount. -ENOTDIR: the image has something else where a directory belongs. */
int image_become_root(int image, int tmp);
