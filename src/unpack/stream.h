/*
 * A layer's bytes on their way from a descriptor to whoever reads tar: gzip, zstd or plain, found
 * out by looking, decompressed, counted and hashed. Single-threaded; nothing in it is trusted.
 */
#pragma once

#include <archive.h>

#include "base/base.h"
#include "spawn/wire.h"

struct stream;

/* Reads from fd, which stays the caller's. limit_bytes: of decompressed data. */
struct stream *stream_new(int fd, uint64_t limit_bytes);
void stream_free(struct stream *s);

/* The next piece; valid until the next call. 0 at the end, or -errno: -EFBIG beyond the limit,
 * -EINVAL for broken compression, -EIO when fd could not be read. */
ssize_t stream_read(struct stream *s, const void **ret);
/* The first error of stream_read(), or 0. */
int stream_error(const struct stream *s);
uint64_t stream_bytes(const struct stream *s);

/* Read what is left and tell the SHA-256 of all. 0 or -errno as above. */
int stream_finish(struct stream *s, uint8_t ret_hash[WIRE_HASH_SIZE]);
