/*
 * Log streams and appending. A stream is a record in its group's journal and an entry in memory:
 * boxes make one each, so it costs a copy and an allocation. See logs.h.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"
#include "logs/logs_int.h"

/* Logs leave room for what matters more: tables, the ledger, images. */
static const struct journal_options journal_options = {8 << 20, 64 << 10, 1000, 64 << 20};

bool logs_stream_name_valid(struct str name)
{
	return name.len > 0 && name.len <= LOGS_NAME_MAX && utf8_valid(name) &&
	       !memchr(name.ptr, ':', name.len) && !memchr(name.ptr, '*', name.len) &&
	       !memchr(name.ptr, '\0', name.len);
}

struct log_stream *log_stream_add(struct log_group *group, uint32_t id, struct str name)
{
	struct log_stream *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->group = group;
	s->name = xstrndup(name.ptr, name.len);
	s->id = id;
	s->first_ms = s->last_ms = s->ingested_ms = -1;
	if (id >= group->id_room) {
		size_t room = max_size(group->id_room * 2, (size_t)id + 16);

		group->by_id = xrealloc(group->by_id, room * sizeof(struct log_stream *));
		memset(&group->by_id[group->id_room], 0,
		    (room - group->id_room) * sizeof(struct log_stream *));
		group->id_room = room;
	}
	group->by_id[id] = s;
	if (id >= group->id_count)
		group->id_count = id + 1;
	map_put(&group->streams, name, s);
	return s;
}

void log_stream_remove(struct log_stream *s)
{
	s->group->by_id[s->id] = NULL;
	map_remove(&s->group->streams, str_from(s->name));
	s->group = NULL;
	logs_stream_unref(s);
}

void logs_stream_unref(struct log_stream *s)
{
	if (!s || --s->refs)
		return;
	free(s->name);
	free(s);
}

void log_group_note_block(struct log_group *group, uint64_t at, int64_t ts_ms)
{
	struct log_block *b = group->block_count ? &group->blocks[group->block_count - 1] : NULL;

	if (b && at - b->from < BLOCK_BYTES) {
		if (ts_ms < b->min_ms)
			b->min_ms = ts_ms;
		if (ts_ms > b->max_ms)
			b->max_ms = ts_ms;
		return;
	}
	if (group->block_count == group->block_room) {
		group->block_room = group->block_room ? group->block_room * 2 : 4;
		group->blocks = xrealloc(group->blocks, group->block_room * sizeof(*group->blocks));
	}
	group->blocks[group->block_count++] = (struct log_block){at, ts_ms, ts_ms};
}

static void note_event(struct log_stream *s, int64_t ts_ms, int64_t ingested_ms, uint64_t at)
{
	if (!s->first_at) {
		s->first_at = at;
		s->first_ms = s->last_ms = ts_ms;
	}
	if (ts_ms < s->first_ms)
		s->first_ms = ts_ms;
	if (ts_ms > s->last_ms)
		s->last_ms = ts_ms;
	s->last_at = at;
	s->ingested_ms = ingested_ms;
	log_group_note_block(s->group, at, ts_ms);
}

void log_group_note(
    struct log_group *group, const struct log_record *r, struct str text, uint64_t at)
{
	struct log_stream *s = r->stream < group->id_count ? group->by_id[r->stream] : NULL;

	if (r->kind == RECORD_STREAM && !s && r->stream && r->stream < group->id_count + 1000000) {
		if (!map_get(&group->streams, text))
			log_stream_add(group, r->stream, text)->created_ms = r->ts_ms;
	} else if (r->kind == RECORD_DELETED && s) {
		log_stream_remove(s);
	} else if (r->kind == RECORD_EVENT && s) {
		note_event(s, r->ts_ms, r->ingested_ms, at);
	}
}

int log_group_open(struct log_group *group, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", group->logs->dir, group->dir);
	struct journal_reader *reader;
	uint64_t upto, at;
	struct str data;

	if (group->journal)
		return 0;
	group->journal = journal_open(group->logs->loop, dir, &journal_options, e);
	if (!group->journal)
		return -EIO;
	upto = log_table_load(group, dir);
	reader = journal_read(group->journal, upto);
	while (journal_reader_next(reader, &data, &at)) {
		struct log_record r;

		if (data.len < sizeof(r))
			continue;
		memcpy(&r, data.ptr, sizeof(r));
		log_group_note(group, &r, str_sub(data, sizeof(r)), at);
	}
	journal_reader_free(reader);
	group->segment = journal_segment(group->journal, 1);
	if (upto > journal_end(group->journal)) /* power failed: the table knew more */
		log_table_save(group, true);
	return 0;
}

static int append(struct log_group *group, const struct log_record *head, const char *text,
    size_t len, uint64_t *ret_at)
{
	uint64_t segment;
	void *to;
	int r = journal_reserve(group->journal, sizeof(*head) + len, &to, ret_at);

	if (unlikely(r < 0))
		return r;
	memcpy(to, head, sizeof(*head));
	if (len)
		memcpy((char *)to + sizeof(*head), text, len);
	journal_commit(group->journal);
	segment = journal_segment(group->journal, 1);
	if (unlikely(segment != group->segment)) {
		group->segment = segment;
		log_table_save(group, false);
	}
	return 0;
}

static int make(struct log_group *group, struct str name, struct log_stream **ret)
{
	struct log_record head = {
	    .kind = RECORD_STREAM, .stream = group->id_count, .ts_ms = time_wall_ms()};
	uint64_t at;
	int r = append(group, &head, name.ptr, name.len, &at);

	if (r < 0)
		return r;
	*ret = log_stream_add(group, head.stream, name);
	(*ret)->created_ms = head.ts_ms;
	return 0;
}

struct log_stream *logs_stream(
    struct logs *g, struct log_group_id id, struct str name, struct err *e)
{
	struct log_group *group = log_group_find(g, id);
	struct log_stream *s;
	int r;

	if (!logs_stream_name_valid(name) || (!group && !logs_group_name_valid(id.name))) {
		err_set(e, EINVAL, "not a name for a log stream: %.*s", STR_FMT(name));
		return NULL;
	}
	if (!group)
		group = log_group_make(g, id);
	if (log_group_open(group, e) < 0)
		return NULL;
	s = map_get(&group->streams, name);
	if (!s && (r = make(group, name, &s)) < 0) {
		err_sys(e, -r, "making log stream %.*s", STR_FMT(name));
		return NULL;
	}
	s->refs++;
	return s;
}

int logs_append(struct log_stream *s, int64_t ts_ms, const char *text, size_t len)
{
	struct log_record head = {.kind = RECORD_EVENT, .stream = s->id, .ts_ms = ts_ms};
	uint64_t at;
	int r;

	if (unlikely(!s->group || !s->group->journal))
		return -ENOENT;
	if (unlikely(len > LOGS_EVENT_MAX))
		return -EMSGSIZE;
	head.ingested_ms = time_wall_ms();
	r = append(s->group, &head, text, len, &at);
	if (likely(r == 0))
		note_event(s, ts_ms, head.ingested_ms, at);
	return r;
}

/* ---- for API handlers ---- */

struct answer {
	struct loop_task task;
	struct log_group *group;
	int result;
	logs_done_fn *done;
	void *ctx;
};

static void tell(struct loop_task *t)
{
	struct answer *a = container_of(t, struct answer, task);

	if (a->group)
		log_group_unref(a->group);
	a->done(a->ctx, a->result);
	free(a);
}

static void on_synced(void *ctx, int result)
{
	struct answer *a = ctx;

	a->result = result;
	tell(&a->task);
}

/* Answer when all of the group's journal is on disk; at once, but later, when it failed already. */
static void answer(
    struct logs *g, struct log_group *group, int result, logs_done_fn *done, void *ctx)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	list_init(&a->task.node);
	a->task.run = tell;
	a->result = result;
	a->done = done;
	a->ctx = ctx;
	if (result < 0) {
		loop_defer(g->loop, &a->task);
		return;
	}
	a->group = group;
	group->refs++;
	journal_sync(group->journal, on_synced, a);
}

static int find(struct logs *g, struct log_group_id id, struct str name,
    struct log_group **ret_group, struct log_stream **ret)
{
	int r;

	*ret_group = log_group_find(g, id);
	if (!*ret_group)
		return -ENOENT;
	r = log_group_open(*ret_group, NULL);
	if (r < 0)
		return r;
	*ret = map_get(&(*ret_group)->streams, name);
	return *ret ? 0 : -ENOENT;
}

void logs_stream_create(
    struct logs *g, struct log_group_id id, struct str name, logs_done_fn *done, void *ctx)
{
	struct log_group *group;
	struct log_stream *s = NULL;
	int r = find(g, id, name, &group, &s);

	if (r == 0)
		r = -EEXIST;
	else if (r == -ENOENT && group)
		r = logs_stream_name_valid(name) ? make(group, name, &s) : -EINVAL;
	answer(g, group, r, done, ctx);
}

void logs_stream_delete(
    struct logs *g, struct log_group_id id, struct str name, logs_done_fn *done, void *ctx)
{
	struct log_group *group;
	struct log_stream *s;
	int r = find(g, id, name, &group, &s);

	if (r == 0) {
		struct log_record head = {.kind = RECORD_DELETED, .stream = s->id};
		uint64_t at;

		r = append(group, &head, NULL, 0, &at);
		if (r == 0)
			log_stream_remove(s);
	}
	answer(g, group, r, done, ctx);
}

void logs_put(struct logs *g, struct log_group_id id, struct str stream,
    const struct log_event *events, size_t count, logs_done_fn *done, void *ctx)
{
	struct log_group *group;
	struct log_stream *s;
	int r = find(g, id, stream, &group, &s);

	for (size_t i = 0; i < count && r == 0; i++)
		r = logs_append(s, events[i].ts_ms, events[i].text.ptr, events[i].text.len);
	answer(g, group, r, done, ctx);
}

static struct log_stream_info describe(const struct log_stream *s)
{
	return (struct log_stream_info){
	    str_from(s->name), s->created_ms, s->first_ms, s->last_ms, s->ingested_ms};
}

int logs_stream_get(
    struct logs *g, struct log_group_id id, struct str name, struct log_stream_info *ret)
{
	struct log_group *group;
	struct log_stream *s;
	int r = find(g, id, name, &group, &s);

	if (r == 0)
		*ret = describe(s);
	return r;
}

struct place {
	int64_t last_ms; /* 0 when ordered by name */
	const char *name;
};

static int compare(struct place a, struct place b, bool descending)
{
	int c = a.last_ms != b.last_ms ? (a.last_ms < b.last_ms ? -1 : 1) : strcmp(a.name, b.name);

	return descending ? -c : c;
}

static struct place place_of(const struct log_stream *s, bool by_last_event)
{
	return (struct place){by_last_event ? s->last_ms : 0, s->name};
}

#define STREAMS_MAX 50

struct selection {
	struct log_stream *best[STREAMS_MAX + 1];
	unsigned count, room;
};

/* Keep the first few of an order: no sorting of a hundred thousand streams on this thread. */
static void offer(struct selection *sel, struct log_stream *s, const struct log_stream_list *q)
{
	struct place p = place_of(s, q->by_last_event);
	unsigned at = sel->count;

	while (
	    at > 0 && compare(p, place_of(sel->best[at - 1], q->by_last_event), q->descending) < 0)
		at--;
	if (at == sel->room)
		return;
	if (sel->count < sel->room)
		sel->count++;
	memmove(&sel->best[at + 1], &sel->best[at],
	    (sel->count - 1 - at) * sizeof(struct log_stream *));
	sel->best[at] = s;
}

/* The token is "<last event>/<name>" of the last stream of the page before. */
static bool parse_token(struct str token, char name[LOGS_NAME_MAX + 1], struct place *ret)
{
	struct str number = str_cut(&token, '/');

	if (!token.ptr || token.len > LOGS_NAME_MAX ||
	    !str_to_int64(number, INT64_MIN, INT64_MAX, &ret->last_ms))
		return false;
	memcpy(name, token.ptr, token.len);
	name[token.len] = '\0';
	ret->name = name;
	return true;
}

int logs_streams(struct logs *g, struct log_group_id id, const struct log_stream_list *q,
    void (*fn)(void *ctx, const struct log_stream_info *i), void *ctx, struct buf *ret_token)
{
	struct log_group *group = log_group_find(g, id);
	struct selection sel = {.room = (unsigned)min_size(q->limit, STREAMS_MAX) + 1};
	char name[LOGS_NAME_MAX + 1];
	struct place after;
	int r;

	if (!group)
		return -ENOENT;
	if (q->token.len && !parse_token(q->token, name, &after))
		return -EINVAL;
	r = log_group_open(group, NULL);
	if (r < 0)
		return r;
	map_for_each (&group->streams, entry) {
		struct log_stream *s = entry->value;

		if (q->prefix.len && strncmp(s->name, q->prefix.ptr, q->prefix.len) != 0)
			continue;
		if (q->token.len &&
		    compare(place_of(s, q->by_last_event), after, q->descending) <= 0)
			continue;
		offer(&sel, s, q);
	}
	for (unsigned i = 0; i < sel.count && i < sel.room - 1; i++) {
		struct log_stream_info info = describe(sel.best[i]);

		fn(ctx, &info);
		if (i + 2 == sel.room && sel.count == sel.room)
			buf_printf(ret_token, "%" PRId64 "/%s",
			    place_of(sel.best[i], q->by_last_event).last_ms, sel.best[i]->name);
	}
	return 0;
}
