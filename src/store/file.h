/*
 * Files of the store: bytes too large for a row, written once, read by descriptor. A file is made
 * piece by piece on a worker, hashed there, and durable when sealed; it lives as long as rows say
 * so: store_file_keep() and store_file_drop() count references in the same write that changes what
 * refers to it, so that copies share their bytes. A file that no row keeps (an upload that was
 * abandoned, a crash before the commit) is removed at once or by store_files_sweep().
 *
 * Loop thread, unless said otherwise. Memory of a file being written is bounded by who heeds what
 * store_file_write() returns.
 */
#pragma once

#include "store/store.h"

enum {
	STORE_MD5 = 1 << 0,
	STORE_CRC32 = 1 << 1,
	STORE_CRC32C = 1 << 2,
	STORE_CRC64NVME = 1 << 3,
	STORE_SHA1 = 1 << 4,
	STORE_SHA256 = 1 << 5,
};

struct store_hashes {
	unsigned has; /* those asked for */
	uint8_t md5[16];
	uint8_t crc32[4], crc32c[4], crc64nvme[8]; /* big-endian, as they are sent */
	uint8_t sha1[20], sha256[32];
};

/* A piece of a file. */
struct store_extent {
	uint64_t file;
	uint64_t offset, length;
};

struct store_sealed {
	uint64_t id; /* 0: no bytes came, so there is no file */
	uint64_t size;
	struct store_hashes hashes;
};

struct store_file;

#define STORE_FILE_QUEUE 524288 /* pause the source when as much waits */

/* A new file. on_drain (may be NULL) runs on the loop when less than half of STORE_FILE_QUEUE waits
 * again after store_file_write() returned more, and when writing has failed. */
struct store_file *store_file_new(
    struct store *s, unsigned hashes, void (*on_drain)(void *ctx), void *ctx);
/* Append; data is copied. Returns the number of bytes that wait to be written. */
size_t store_file_write(struct store_file *f, const void *data, size_t len);
/* 0, or -errno of what went wrong so far (-ENOSPC). */
int store_file_error(const struct store_file *f);
/* All is written: make it durable. done runs on the loop with 0 and the facts, or -errno and
 * nothing left on disk; f is gone then. on_drain is not called any more. */
void store_file_seal(struct store_file *f,
    void (*done)(void *ctx, int result, const struct store_sealed *sealed), void *ctx);
/* Give up; the file disappears. No callback runs any more. NULL is fine. */
void store_file_abandon(struct store_file *f);

/* Take possession of a fresh file as part of w. */
void store_file_keep(struct store_write *w, uint64_t id);
/* Reference a file that a row keeps already once more as part of w, which fails with -ENOENT when
 * the file has been dropped for good meanwhile. */
void store_file_share(struct store_write *w, uint64_t id);
/* One reference less as part of w; with the last one the file is removed after the commit. */
void store_file_drop(struct store_write *w, uint64_t id);
/* Remove a sealed file that was never kept (its write failed). */
void store_file_forget(struct store *s, uint64_t id);

/* Give a sealed file that was never kept away: it becomes `name` in the directory dir of the same
 * disk, replacing what is there. done (on the loop) gets 0 or -errno, and the file is gone then. */
void store_file_give(struct store *s, uint64_t id, int dir, const char *name,
    void (*done)(void *ctx, int result), void *ctx);

/* Files that are being read piece by piece stay until the last release, even when they are dropped
 * for good meanwhile. Loop thread. */
void store_files_hold(struct store *s, const struct store_extent *extents, size_t count);
void store_files_release(struct store *s, const struct store_extent *extents, size_t count);

/* A descriptor of the caller's for reading, or -errno. Any thread. */
int store_file_open(struct store *s, uint64_t id);
/* Read up to len bytes from `offset` on of the sequence of pieces into data. Blocking: on workers.
 * Returns the number of bytes (short only at the end) or -errno. */
ssize_t store_file_read(struct store *s, const struct store_extent *extents, size_t count,
    uint64_t offset, void *data, size_t len);
/* Hash a sequence of pieces on a worker. extents are copied. */
void store_file_hash(struct store *s, const struct store_extent *extents, size_t count,
    unsigned hashes, void (*done)(void *ctx, int result, const struct store_hashes *h), void *ctx);

/* Remove files made before this start that no row keeps, little by little on a worker. */
void store_files_sweep(struct store *s);

/* ---- hashing by hand (any thread) ---- */

struct store_hasher;
struct store_hasher *store_hasher_new(unsigned hashes);
void store_hasher_add(struct store_hasher *h, const void *data, size_t len);
void store_hasher_end(struct store_hasher *h, struct store_hashes *ret); /* frees h */
void store_hasher_free(struct store_hasher *h);                          /* NULL is fine */

uint32_t crc32_ieee(uint32_t crc, const void *data, size_t len); /* begin with 0 */
uint64_t crc64_nvme(uint64_t crc, const void *data, size_t len); /* begin with 0 */
/* Checksum of two sequences behind each other from those of each; len2 in bytes. which is one of
 * STORE_CRC32, STORE_CRC32C, STORE_CRC64NVME. */
uint64_t crc_combine(unsigned which, uint64_t crc1, uint64_t crc2, uint64_t len2);
