/*
 * Append-only records in memory-mapped segment files: what the usage ledger and the logs are
 * made of. Appending is a copy into the mapping, no system call, so it costs nothing on the warm
 * path; the bytes belong to the page cache at once and survive kill -9 of this process. A worker
 * syncs to disk every sync interval and whenever asked, for power loss. Space is reserved
 * with posix_fallocate before a segment is used: a full disk is an error from journal_append(),
 * never a SIGBUS.
 *
 * Segment on disk: 32 bytes of header (magic, position of its first byte in the journal), then
 * records: u32 length, u32 CRC-32C of the payload, payload, padding to 8 bytes. A zero length ends
 * the segment's data; after a crash a record with a wrong checksum ends it too. Segments are named
 * by the position of their first byte, 16 hex digits; the one prepared for later is called "next".
 *
 * Loop thread only, but for readers. Full segments are cut to what they hold.
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
	uint64_t room_kept; /* of a large disk: it is full for new segments when no more is left */
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
/* Go to a position that a record was found at, or where a segment begins. */
void journal_reader_seek(struct journal_reader *r, uint64_t at);
/* Next record; false at the end. data is valid until the reader is freed. */
bool journal_reader_next(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at);
/* Record before the current position; false at the beginning. */
bool journal_reader_prev(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at);
void journal_reader_free(struct journal_reader *r);

/* Segments that a reader sees, oldest first: for summaries of whole segments. */
struct journal_part {
	uint64_t from, to; /* positions */
	bool closed;       /* will not grow any more */
};
size_t journal_reader_parts(struct journal_reader *r);
struct journal_part journal_reader_part(struct journal_reader *r, size_t i);

/* Where the segment begins that the next record of `len` bytes or less would go to. */
uint64_t journal_segment(struct journal *j, size_t len);

/* Forget whole segments that lie below `before`, with files named like them plus ".sum" (summaries
 * that the caller keeps); returns bytes given back. */
uint64_t journal_drop(struct journal *j, uint64_t before);
uint64_t journal_bytes(const struct journal *j); /* on disk */

/* done(ctx, 0) once everything appended so far is on disk. */
void journal_sync(struct journal *j, void (*done)(void *ctx, int result), void *ctx);
