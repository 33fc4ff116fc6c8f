/*
 * Reading events. The loop thread plans: which stretches of the journal can hold what is asked
 * for, by position, by the streams' first and last event and by the blocks' timestamps. A worker
 * scans them with a journal reader, up to a bound; results point into the mappings of the reader,
 * which lives until the answer was given. See logs.h.
 *
 * Tokens are journal positions: "f/" go on from here, "b/" what is before.
 */
#include <stdio.h>

#include "base/time.h"
#include "logs/logs_int.h"

#define PAGE_BYTES (1024 * 1024)
#define SCAN_BYTES (64u << 20)
#define SCAN_NS 500000000
#define DAY_MS 86400000

struct range {
	uint64_t from, to;
};

struct hit {
	uint64_t at;
	struct log_record head;
	struct str text;
};

struct query {
	struct loop_work work;
	struct log_group *group; /* loop thread only */
	struct journal_reader *reader;
	struct range *ranges;
	size_t range_count;
	uint64_t low, high;    /* what there is to scan at all */
	unsigned char *wanted; /* bit set of stream numbers; NULL: all */
	uint32_t wanted_count;
	int64_t from_ms, to_ms;
	unsigned limit;
	bool backward, filter, had_token;
	char token[LOGS_TOKEN_SIZE];
	uint64_t token_at;
	struct log_pattern *pattern;

	struct hit *hits;
	size_t hit_count, hit_room, bytes;
	uint64_t stop; /* forward: first position not looked at; backward: last one looked at */
	bool exhausted;
	int result;

	logs_page_fn *fn;
	void *ctx;
};

static void free_query(struct query *q)
{
	journal_reader_free(q->reader);
	log_pattern_free(q->pattern);
	if (q->group)
		log_group_unref(q->group);
	free(q->ranges);
	free(q->wanted);
	free(q->hits);
	free(q);
}

/* ---- the scan, on a worker ---- */

static bool wants(const struct query *q, const struct log_record *r, struct str text)
{
	if (r->kind != RECORD_EVENT || r->ts_ms < q->from_ms || r->ts_ms >= q->to_ms)
		return false;
	if (q->wanted &&
	    (r->stream >= q->wanted_count || !(q->wanted[r->stream / 8] >> r->stream % 8 & 1)))
		return false;
	return !q->pattern || log_pattern_match(q->pattern, text);
}

/* False when the page is full without this record. */
static bool look(struct query *q, struct str data, uint64_t at)
{
	struct log_record r;
	struct str text;

	if (data.len < sizeof(r))
		return true;
	memcpy(&r, data.ptr, sizeof(r));
	text = (struct str){data.ptr + sizeof(r), data.len - sizeof(r)};
	if (!wants(q, &r, text))
		return true;
	if (q->hit_count && q->bytes + text.len + 26 > PAGE_BYTES)
		return false;
	if (q->hit_count == q->hit_room) {
		q->hit_room = q->hit_room ? q->hit_room * 2 : 64;
		q->hits = xrealloc(q->hits, q->hit_room * sizeof(*q->hits));
	}
	q->hits[q->hit_count++] = (struct hit){at, r, text};
	q->bytes += text.len + 26;
	return true;
}

static void scan(struct query *q)
{
	int64_t end_ns = time_mono_ns() + SCAN_NS;
	uint64_t scanned = 0, at;
	unsigned seen = 0;
	struct str data;

	q->stop = q->backward ? q->high : q->low;
	for (size_t i = 0; i < q->range_count; i++) {
		const struct range *r = &q->ranges[q->backward ? q->range_count - 1 - i : i];

		journal_reader_seek(q->reader, q->backward ? r->to : r->from);
		while (q->backward ? journal_reader_prev(q->reader, &data, &at) && at >= r->from
				   : journal_reader_next(q->reader, &data, &at) && at < r->to) {
			scanned += data.len + 8;
			if (q->hit_count >= q->limit || scanned > SCAN_BYTES ||
			    ((++seen % 256 == 0 || data.len > 16384) && time_mono_ns() > end_ns) ||
			    !look(q, data, at)) {
				if (!q->backward)
					q->stop = at;
				return;
			}
			q->stop = q->backward ? at : at + 1;
		}
	}
	q->stop = q->backward ? q->low : q->high;
	q->exhausted = true;
}

static int by_time(const void *x, const void *y)
{
	const struct hit *a = x, *b = y;

	if (a->head.ts_ms != b->head.ts_ms)
		return a->head.ts_ms < b->head.ts_ms ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static void run(struct loop_work *w)
{
	struct query *q = container_of(w, struct query, work);

	scan(q);
	if (q->hit_count)
		qsort(q->hits, q->hit_count, sizeof(*q->hits), by_time);
}

/* ---- the answer ---- */

static void format_token(char out[LOGS_TOKEN_SIZE], const char *kind, uint64_t at)
{
	snprintf(out, LOGS_TOKEN_SIZE, "%s%056" PRIu64, kind, at);
}

static void set_tokens(const struct query *q, struct log_page *p)
{
	bool same = q->had_token && q->hit_count == 0 && q->exhausted;

	if (q->result < 0)
		return;
	if (q->filter) {
		if (!q->exhausted)
			format_token(p->forward, "f/", q->stop);
		return;
	}
	if (q->backward) {
		format_token(p->forward, "f/", q->high);
		format_token(p->backward, "b/", q->stop);
		if (same)
			memcpy(p->backward, q->token, sizeof(p->backward));
	} else {
		format_token(p->forward, "f/", q->stop);
		format_token(p->backward, "b/", q->low);
		if (same)
			memcpy(p->forward, q->token, sizeof(p->forward));
	}
}

static void done(struct loop_work *w)
{
	struct query *q = container_of(w, struct query, work);
	struct log_event *events = xcalloc(q->hit_count + 1, sizeof(*events));
	struct log_page p = {.result = q->result, .events = events};

	for (size_t i = 0; i < q->hit_count; i++) {
		const struct hit *h = &q->hits[i];
		const struct log_stream *s =
		    h->head.stream < q->group->id_count ? q->group->by_id[h->head.stream] : NULL;
		struct log_event *v = &events[p.count];

		if (!s) /* deleted */
			continue;
		v->ts_ms = h->head.ts_ms;
		v->ingested_ms = h->head.ingested_ms;
		v->text = h->text;
		v->stream = str_from(s->name);
		snprintf(v->id, sizeof(v->id), "%056" PRIu64, h->at);
		p.count++;
	}
	set_tokens(q, &p);
	q->fn(q->ctx, &p);
	free(events);
	free_query(q);
}

static void nothing(struct loop_work *w)
{
	(void)w;
}

/* ---- planning ---- */

static bool parse_token(struct query *q, struct str token)
{
	struct str digits = str_sub(token, 2);
	int64_t at;

	if (token.len != 58 || token.ptr[1] != '/' ||
	    (token.ptr[0] != 'f' && token.ptr[0] != 'b') || token.ptr[2] == '-')
		return false;
	while (digits.len > 1 && *digits.ptr == '0')
		digits = str_sub(digits, 1);
	if (!str_to_int64(digits, 0, INT64_MAX, &at))
		return false;
	memcpy(q->token, token.ptr, token.len);
	q->had_token = true;
	q->token_at = (uint64_t)at;
	q->backward = token.ptr[0] == 'b';
	return !(q->backward && q->filter);
}

static void want(struct query *q, const struct log_stream *s, uint64_t *first, uint64_t *last)
{
	q->wanted[s->id / 8] |= (unsigned char)(1 << s->id % 8);
	if (!s->first_at)
		return;
	if (s->first_at < *first)
		*first = s->first_at;
	if (s->last_at > *last)
		*last = s->last_at;
}

/* Which streams, and between which positions they have anything. */
static int choose_streams(
    struct query *q, const struct log_query *in, uint64_t *ret_first, uint64_t *ret_end)
{
	struct log_group *group = q->group;
	uint64_t first = UINT64_MAX, last = 0;

	if (!in->stream_count && !in->stream_prefix.len)
		return 0;
	q->wanted_count = group->id_count;
	q->wanted = xcalloc(1, group->id_count / 8 + 1);
	for (size_t i = 0; i < in->stream_count; i++) {
		struct log_stream *s = map_get(&group->streams, in->streams[i]);

		if (!s)
			return -ENOENT;
		want(q, s, &first, &last);
	}
	if (in->stream_prefix.len)
		map_for_each (&group->streams, entry) {
			const struct log_stream *s = entry->value;

			if (strncmp(s->name, in->stream_prefix.ptr, in->stream_prefix.len) == 0)
				want(q, s, &first, &last);
		}
	*ret_first = first;
	*ret_end = last ? last + 1 : 0;
	return 0;
}

static void add_range(struct query *q, uint64_t from, uint64_t to)
{
	struct range *last = q->range_count ? &q->ranges[q->range_count - 1] : NULL;

	if (from >= to)
		return;
	if (last && last->to == from)
		last->to = to;
	else
		q->ranges[q->range_count++] = (struct range){from, to};
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int plan(struct query *q, const struct log_query *in)
{
	struct log_group *group = q->group;
	uint64_t end = journal_end(group->journal), first = 0, last = end;
	int64_t now = time_wall_ms();
	int r = choose_streams(q, in, &first, &last);

	if (r < 0)
		return r;
	if (group->retention_days && q->from_ms < now - group->retention_days * (int64_t)DAY_MS)
		q->from_ms = now - group->retention_days * (int64_t)DAY_MS;
	q->low = journal_first(group->journal);
	q->high = end;
	if (q->had_token && q->backward)
		q->high = smaller(q->high, q->token_at);
	else if (q->had_token)
		q->low = larger(q->low, smaller(q->token_at, end));
	q->ranges = xcalloc(group->block_count + 1, sizeof(*q->ranges));
	for (size_t i = 0; i < group->block_count; i++) {
		const struct log_block *b = &group->blocks[i];
		uint64_t to = i + 1 < group->block_count ? group->blocks[i + 1].from : end;

		if (b->max_ms >= q->from_ms && b->min_ms < q->to_ms)
			add_range(q, larger(larger(b->from, q->low), first),
			    smaller(smaller(to, q->high), last));
	}
	q->reader = journal_read(group->journal, q->low);
	return 0;
}

static void start(
    struct logs *g, const struct log_query *in, bool filter, logs_page_fn *fn, void *ctx)
{
	struct query *q = xcalloc(1, sizeof(*q));
	struct log_group *group = log_group_find(g, in->group);

	q->pattern = in->pattern;
	q->fn = fn;
	q->ctx = ctx;
	q->filter = filter;
	q->backward = !filter && !in->from_head;
	q->from_ms = in->from_ms;
	q->to_ms = in->to_ms;
	q->limit = (unsigned)min_size(in->limit ? in->limit : LOGS_PAGE_EVENTS, LOGS_PAGE_EVENTS);
	q->work.done = done;
	if (!group) {
		q->result = -ENOENT;
	} else {
		q->group = group;
		group->refs++;
		q->result = log_group_open(group, NULL);
	}
	if (q->result == 0 && in->token.len && !parse_token(q, in->token))
		q->result = -EINVAL;
	if (q->result == 0)
		q->result = plan(q, in);
	q->work.run = q->result < 0 ? nothing : run;
	loop_work_start(g->loop, &q->work);
}

void logs_get(struct logs *g, const struct log_query *q, logs_page_fn *fn, void *ctx)
{
	check(q->stream_count == 1 && !q->pattern);
	start(g, q, false, fn, ctx);
}

void logs_filter(struct logs *g, const struct log_query *q, logs_page_fn *fn, void *ctx)
{
	start(g, q, true, fn, ctx);
}
