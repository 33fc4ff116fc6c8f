/*
 * Stacking unpacked layers of images into one file system, for boxes and containers. Layers are
 * named by their hash below one directory; whiteouts and opaque directories in them are marked as
 * `userxattr` wants it (docs/adr/0017-containers.md).
 */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

#define OVERLAY_LAYERS_MAX 127

/* A detached mount of layers/<hash>…, lowest first; or -errno (-ENOENT: one is not there, -E2BIG:
 * too many). bottom: a directory to lie below all of them, or -1. upper, work: empty directories of
 * one file system for what is written, or both -1: read-only, and then there has to be a bottom,
 * because overlayfs wants two. All are directory descriptors and stay the caller's. at: a directory
 * of this mount namespace, on which some kernels need it mounted for a moment. /proc must be
 * mounted. */
int overlay_mount(int layers, const uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count, int bottom,
    int upper, int work, const char *at);

/* How kernels before 6.8 take that many layers: dirs is highest first. For overlay.c and tests. */
int overlay_mount_joined(const int *dirs, size_t count, int upper, int work, const char *at);
