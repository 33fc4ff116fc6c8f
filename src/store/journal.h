/*
 * Append-only records in memory-mapped segment files: what the usage ledger and the logs are
 * made of. Appending is a copy into the mapping, no system call, so it costs nothing on the warm
 * path; the bytes belong to the page cache at once and survive kill -9 of this process. A worker
 * syncs to disk every sync interval and whenever asked, for power loss. Space is reserved
 * with posix_fallocate before a segment is used: a full disk is an error from journal_append(),
 * never a SIGBUS.
 *
 * Record on disk: u32 length, u32 CRC-32C of the payload, payload, padding to 8 bytes. A zero
 * length ends the segment's data; after a crash a record with a wrong checksum ends it too.
 * Segments are named by the number of their first byte in the journal, 16 hex digits.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"

struct journal;

struct journal_options {
	size_t segment_bytes;     /* size of a full-grown segment, e.g. 8 MiB */
	size_t first_bytes;       /* size of a journal's very first segment, doubling from there */
	int64_t sync_interval_ms; /* how long an append may stay unsynced; 0: only when asked */
};

/* Open or create the journal in directory `path`. Blocking, start-up or first use. */
struct journal *journal_open(
    struct loop *l, const char *path, const struct journal_options *o, struct err *e);
void journal_close(struct journal *j);

/* Append one record of at most 1 MiB; returns 0 or -errno (-ENOSPC). *ret_at (may be NULL) is its
 * position, strictly increasing. */
int journal_append(struct journal *j, const void *data, size_t len, uint64_t *ret_at);
/* As above, but the caller fills the len bytes at *ret_data before returning to the loop. */
int journal_reserve(struct journal *j, size_t len, void **ret_data, uint64_t *ret_at);
void journal_commit(struct journal *j); /* seal the record of the last journal_reserve() */

uint64_t journal_first(const struct journal *j); /* position of the oldest record kept */
uint64_t journal_end(const struct journal *j);   /* position behind the newest record */

/* A reader sees what was committed before it was opened, and may be used on any one thread while
 * the loop goes on appending. Positions that were dropped start at the oldest kept. */
struct journal_reader;
struct journal_reader *journal_read(struct journal *j, uint64_t from);
/* Next record; false at the end. data is valid until the reader is freed. */
bool journal_reader_next(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at);
/* Record before the current position; false at the beginning. */
bool journal_reader_prev(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at);
void journal_reader_free(struct journal_reader *r);

/* Forget whole segments that lie below `before`; returns bytes given back. */
uint64_t journal_drop(struct journal *j, uint64_t before);
uint64_t journal_bytes(const struct journal *j); /* on disk */

/* done(ctx, 0) once everything appended so far is on disk. */
void journal_sync(struct journal *j, void (*done)(void *ctx, int result), void *ctx);
