/*
 * Inside of logs. logs.c: opening, retention; group.c: groups and their store keys; stream.c:
 * streams and appending; table.c: the side file that spares reading a whole journal at start;
 * query.c: reading. A group's journal is opened on first use. All of it on the loop thread but
 * for the scans of query.c.
 */
#pragma once

#include "base/map.h"
#include "logs/logs.h"
#include "store/journal.h"

#define BLOCK_BYTES (256 * 1024)

enum record_kind { RECORD_EVENT = 1, RECORD_STREAM, RECORD_DELETED };

/* In the journal, followed by the text: of an event, or a stream's name. */
struct log_record {
	uint8_t kind;
	uint8_t unused[3];
	uint32_t stream;
	int64_t ts_ms; /* of a stream: when it was created */
	int64_t ingested_ms;
};

/* A stretch of the journal and the timestamps in it: queries skip what cannot match. */
struct log_block {
	uint64_t from; /* up to where the next one begins */
	int64_t min_ms, max_ms;
};

struct group_change;

struct log_group {
	struct logs *logs;
	unsigned refs; /* the map, queries, writes under way */
	char *key;     /* account/region/name; id points into it */
	struct log_group_id id;
	char dir[17]; /* hex */
	int64_t created_ms;
	int retention_days;
	struct log_tag *tags;
	size_t tag_count;
	struct group_change *newest; /* of those under way, or NULL: the next is built on it */

	struct journal *journal; /* NULL: not opened yet, or deleted */
	struct map streams;      /* name -> log_stream */
	struct log_stream **by_id;
	uint32_t id_count; /* next stream's number; 0 is none */
	size_t id_room;
	struct log_block *blocks;
	size_t block_count, block_room;
	uint64_t segment; /* where the segment began that was last appended to */
	bool saving;
};

struct log_stream {
	unsigned refs;           /* the group's and those handed out */
	struct log_group *group; /* NULL: deleted */
	char *name;
	uint32_t id;
	int64_t created_ms, first_ms, last_ms, ingested_ms;
	uint64_t first_at, last_at; /* positions of its first and last event; 0: none */
};

struct logs {
	struct loop *loop;
	struct store *store;
	char *dir;
	struct map groups; /* key -> log_group */
	struct log_group **sorted;
	size_t count, room;
	struct loop_timer timer;
	size_t expire_next;
};

/* group.c */
struct log_group *log_group_find(struct logs *g, struct log_group_id id);
struct log_group *log_group_new(struct logs *g, struct str key);
struct log_group *log_group_make(struct logs *g, struct log_group_id id); /* durable later */
void log_group_insert(struct log_group *group);
void log_group_take_out(struct log_group *group);
void log_group_unref(struct log_group *group);
int log_group_load(struct logs *g, struct str key, struct str value);

/* stream.c */
int log_group_open(struct log_group *group, struct err *e);
struct log_stream *log_stream_add(struct log_group *group, uint32_t id, struct str name);
void log_stream_remove(struct log_stream *s);
void log_group_note(struct log_group *group, const struct log_record *r, struct str text,
    uint64_t at); /* what a record in the journal means for the tables */
void log_group_note_block(struct log_group *group, uint64_t at, int64_t ts_ms);

/* table.c */
uint64_t log_table_load(struct log_group *group, const char *dir); /* position it goes up to */
void log_table_save(struct log_group *group, bool now);
