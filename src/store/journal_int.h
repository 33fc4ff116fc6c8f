/*
 * Inside of the journal: segments, shared by the writer (journal.c, loop thread), its worker job
 * and readers (journal_read.c, any thread). A segment is immutable but for its bytes behind
 * `used`; who holds a reference may read what was used when the reference was taken.
 */
#pragma once

#include "base/list.h"
#include "store/journal.h"

#define JOURNAL_MAGIC "MFJRNL1\n"
#define JOURNAL_HEADER 32
#define JOURNAL_RECORD_MAX (1024 * 1024)
#define JOURNAL_NEXT "next"
#define JOURNAL_NAME_SIZE 24

struct journal_header {
	char magic[8];
	uint64_t base; /* 0 in a prepared segment: the first one is never prepared */
	char unused[16];
};

struct journal_record {
	uint32_t len, crc;
};

struct segment {
	struct list node; /* journal.segments or journal.closing */
	unsigned refs;    /* atomic */
	uint64_t base;
	size_t size; /* of the file and the mapping */
	size_t used; /* loop thread only; readers keep a copy */
	char *map;   /* NULL: closed; readers map it for themselves */
	bool named;  /* atomic: its file has its own name, not "next" */
};

struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment *s); /* any thread; unmaps with the last reference */

static inline bool segment_named(const struct segment *s)
{
	return __atomic_load_n(&s->named, __ATOMIC_ACQUIRE);
}

/* dir/name of the segment that starts at base; the caller frees it. */
char *segment_path(const char *dir, uint64_t base);

static inline size_t record_size(size_t len)
{
	return sizeof(struct journal_record) + ((len + 7) & ~(size_t)7);
}

/* Length of the record at `off` if one can be there, going by its frame only; 0: none. */
static inline size_t record_at(const char *map, size_t used, size_t off)
{
	struct journal_record r;

	if (used < sizeof(r) || off > used - sizeof(r))
		return 0;
	memcpy(&r, map + off, sizeof(r));
	if (r.len == 0 || r.len > JOURNAL_RECORD_MAX || record_size(r.len) > used - off)
		return 0;
	return r.len;
}

bool record_intact(const char *map, size_t off); /* a frame that record_at() accepted */

struct journal {
	struct loop *loop;
	char *dir;
	struct journal_options options;
	struct list segments; /* all, oldest first; the last one is written to */
	struct segment *active;
	struct segment *next; /* prepared, or NULL */
	uint64_t synced;      /* position up to which all is on disk */
	uint64_t disk_bytes;
	size_t reserved; /* length of the open reservation */
	bool dirty, dir_dirty, working, closed;
	struct loop_timer timer;
	struct list waiters;

	/* The job of the worker: its own copies and references, result in the last lines. */
	struct loop_work work;
	struct segment **job_segments; /* closing ones, then the active one */
	size_t job_count;
	uint64_t job_end;
	size_t job_used; /* of the active one */
	size_t job_next_size;
	bool job_dir;
	int job_result;
	struct segment *job_next;
};
