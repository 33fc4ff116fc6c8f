/*
 * An archive of images (docker save, OCI layout; a tar, perhaps compressed), turned into a sequence
 * of its files for core, which parses no tar: see struct wire_member. Single-threaded.
 */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

#define SPLIT_ENTRIES_MAX 100000

/* Read from fd, write to `output`; at most limit_bytes of tar. ret->text says what is wrong. */
void split_archive(int fd, int output, uint64_t limit_bytes, struct wire_outcome *ret);
