/*
 * What functions and containers print: groups of streams of events, as CloudWatch Logs has them,
 * without knowing that API. Groups are durable store keys and live in memory; the streams and
 * events of a group are in one mapped journal (store/journal.h).
 *
 * Loop thread only; queries scan on a worker and answer in a callback. Times are milliseconds
 * since 1970. A page of events is in the order of arrival, sorted by timestamp within the page.
 * Results: -ENOENT no such group or stream, -EEXIST it is there already, -EINVAL a token that is
 * not ours, -ENOSPC disk full.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "logs/pattern.h"
#include "loop/loop.h"
#include "store/store.h"

struct logs;
struct log_stream;

#define LOGS_NAME_MAX 512
#define LOGS_EVENT_MAX (1024 * 1024 - 64) /* bytes of one event's text */
#define LOGS_PAGE_EVENTS 10000
#define LOGS_TOKEN_SIZE 80
#define LOGS_ID_SIZE 57 /* 56 digits and NUL */

/* dir is made if missing. Blocking, for start-up. The store must outlive this. */
struct logs *logs_open(struct loop *l, struct store *s, const char *dir, struct err *e);
void logs_close(struct logs *g); /* NULL is fine; no query may be under way */

/* Group and stream names as AWS allows them (stream: anything but ':' and '*'). */
bool logs_group_name_valid(struct str name);
bool logs_stream_name_valid(struct str name);

struct log_group_id {
	struct str account, region, name;
};

/* ---- writing: the hot path ---- */

/* Find or make the stream (and its group) and take a reference: for boxes, which make a stream
 * each. NULL and e: bad name or disk full. */
struct log_stream *logs_stream(
    struct logs *g, struct log_group_id group, struct str name, struct err *e);
void logs_stream_unref(struct log_stream *s); /* NULL is fine */

/* Append one event; a copy into the mapping. 0, -ENOSPC, -EMSGSIZE, or -ENOENT once the stream
 * was deleted (take a new one then). Survives kill -9 at once; on disk within a second. */
int logs_append(struct log_stream *s, int64_t ts_ms, const char *text, size_t len);

/* ---- groups and streams: for API handlers ---- */

typedef void logs_done_fn(void *ctx, int result);

struct log_tag {
	struct str key, value;
};

struct log_group_info {
	struct log_group_id id;
	int64_t created_ms;
	int retention_days;    /* 0: kept for ever */
	uint64_t stored_bytes; /* on disk */
	const struct log_tag *tags;
	size_t tag_count;
};

/* Each calls done once the change is on disk (or failed), never before returning. */
void logs_group_create(struct logs *g, struct log_group_id id, const struct log_tag *tags,
    size_t tag_count, logs_done_fn *done, void *ctx);
void logs_group_delete(struct logs *g, struct log_group_id id, logs_done_fn *done, void *ctx);
void logs_group_retention(
    struct logs *g, struct log_group_id id, int days, logs_done_fn *done, void *ctx);
/* Replaces all tags of the group. */
void logs_group_tags(struct logs *g, struct log_group_id id, const struct log_tag *tags,
    size_t tag_count, logs_done_fn *done, void *ctx);

/* 0 or -ENOENT; strings in *ret are valid until the loop goes on. */
int logs_group_get(struct logs *g, struct log_group_id id, struct log_group_info *ret);
/* The same as the changes under way will leave it: to build the next change on. What one of those
 * that fail would have changed may then be stored by the next all the same. */
int logs_group_latest(struct logs *g, struct log_group_id id, struct log_group_info *ret);

struct log_group_list {
	struct str account, region;
	struct str prefix;   /* ptr NULL: any */
	struct str contains; /* ptr NULL: any; ASCII case is ignored */
	struct str after; /* name of the last group of the page before; ptr NULL: from the start */
	unsigned limit;
};
/* Groups in order of name; returns true when there are more. */
bool logs_groups(struct logs *g, const struct log_group_list *q,
    void (*fn)(void *ctx, const struct log_group_info *i), void *ctx);

struct log_stream_info {
	struct str name;
	int64_t created_ms;
	int64_t first_event_ms, last_event_ms; /* timestamps; -1: no event yet */
	int64_t last_ingestion_ms;             /* -1: no event yet */
};

void logs_stream_create(
    struct logs *g, struct log_group_id id, struct str name, logs_done_fn *done, void *ctx);
void logs_stream_delete(
    struct logs *g, struct log_group_id id, struct str name, logs_done_fn *done, void *ctx);
int logs_stream_get(
    struct logs *g, struct log_group_id id, struct str name, struct log_stream_info *ret);

struct log_stream_list {
	struct str prefix;  /* ptr NULL: any */
	bool by_last_event; /* else by name */
	bool descending;
	struct str token;
	unsigned limit; /* at most 50 */
};
/* 0 or -errno. The token of the next page is appended to ret_token, nothing at the end. */
int logs_streams(struct logs *g, struct log_group_id id, const struct log_stream_list *q,
    void (*fn)(void *ctx, const struct log_stream_info *i), void *ctx, struct buf *ret_token);

/* Drop what is older than its group's retention at this time: whole journal segments, and streams
 * that have nothing left. A timer does it for a few groups a minute; this does it for all. */
void logs_expire(struct logs *g, int64_t now_ms);

/* ---- events: for API handlers ---- */

struct log_event {
	int64_t ts_ms, ingested_ms;
	struct str text;
	struct str stream;     /* name */
	char id[LOGS_ID_SIZE]; /* unique in the group, ordered by arrival */
};

/* Append events (ts_ms and text are used) to an existing stream; done once they are on disk.
 * Checking order, age and size is the handler's. */
void logs_put(struct logs *g, struct log_group_id id, struct str stream,
    const struct log_event *events, size_t count, logs_done_fn *done, void *ctx);

struct log_page {
	int result;
	const struct log_event *events; /* valid during the callback */
	size_t count;
	/* logs_get: both always set; at the end the token that was passed in comes back.
	 * logs_filter: only `forward`, empty at the end. */
	char forward[LOGS_TOKEN_SIZE], backward[LOGS_TOKEN_SIZE];
};
typedef void logs_page_fn(void *ctx, const struct log_page *p);

struct log_query {
	struct log_group_id group;
	const struct str *streams; /* logs_get: exactly one; logs_filter: none means all */
	size_t stream_count;
	struct str stream_prefix; /* logs_filter; ptr NULL: any */
	int64_t from_ms, to_ms;   /* from <= timestamp < to; INT64_MIN and INT64_MAX for no bound */
	bool from_head;           /* logs_get without a token: oldest events first */
	unsigned limit;           /* 0: as many as a page holds */
	struct str token;         /* ptr NULL or empty: first page */
	struct log_pattern
	    *pattern; /* logs_filter; becomes ours, in failure too; NULL: every event */
};

/* Events of one stream, paged in both directions. Each page holds at most `limit` events,
 * LOGS_PAGE_EVENTS or 1 MiB; the work done for one is bounded too, so a page may be short or empty
 * while its token still moves on. fn is called once, never before returning. */
void logs_get(struct logs *g, const struct log_query *q, logs_page_fn *fn, void *ctx);
/* Events of many streams that match the pattern, oldest first. Pages as above. */
void logs_filter(struct logs *g, const struct log_query *q, logs_page_fn *fn, void *ctx);
