/* The usage ledger: opening and booking, on the loop thread. See meter.h. */
#include "meter/meter.h"

#include "base/log.h"
#include "meter/meter_int.h"

static const struct journal_options journal_options = {8 << 20, 1 << 20, 100};

_Static_assert(sizeof(struct usage_record) == 64, "a record on disk");
_Static_assert(sizeof(struct task_record) == 72, "a record on disk");

#define NAMES_MAX 640 /* account, region, cluster and family */

struct function {
	uint32_t id;
	uint64_t segment; /* that has its record; UINT64_MAX: none yet */
	size_t len;
	char record[]; /* struct function_record and names, as they go to the journal */
};

static struct function *add_function(
    struct meter *m, uint32_t id, const struct function_record *head, const char *names)
{
	size_t n = (size_t)head->account_len + head->region_len + head->name_len;
	struct function *f = xcalloc(1, sizeof(*f) + sizeof(*head) + n);
	struct function_record *r = (struct function_record *)(void *)f->record;

	f->id = id;
	f->segment = UINT64_MAX;
	f->len = sizeof(*head) + n;
	*r = *head;
	r->function = id;
	memcpy(r + 1, names, n);
	if (id >= m->room) {
		uint32_t room = id * 2 + 16;

		m->by_id = xrealloc(m->by_id, room * sizeof(struct function *));
		memset(&m->by_id[m->room], 0, (room - m->room) * sizeof(struct function *));
		m->room = room;
	}
	m->by_id[id] = f;
	if (id >= m->count)
		m->count = id + 1;
	return f;
}

static size_t make_key(
    const struct function_record *h, const char *names, char out[FUNCTION_KEY_MAX])
{
	size_t n = (size_t)h->account_len + h->region_len + h->name_len;

	memcpy(out, &h->account_len, 2); /* lengths keep "a"+"bc" and "ab"+"c" apart */
	memcpy(out + 2, &h->region_len, 2);
	memcpy(out + 4, names, n);
	return n + 4;
}

/* Numbers in the segment that is written to stay as they are. */
static void load_functions(struct meter *m)
{
	uint64_t segment = journal_segment(m->journal, 1), at;
	struct journal_reader *r = journal_read(m->journal, segment);
	char key[FUNCTION_KEY_MAX];
	struct str s;

	while (journal_reader_next(r, &s, &at)) {
		struct function_record h;
		struct function *f;

		if (s.len < sizeof(h) || s.ptr[0] != RECORD_FUNCTION)
			continue;
		memcpy(&h, s.ptr, sizeof(h));
		if (s.len != sizeof(h) + h.account_len + h.region_len + h.name_len ||
		    s.len > FUNCTION_KEY_MAX - 8 || h.function == 0 ||
		    h.function > m->count + 1000000 ||
		    (h.function < m->room && m->by_id[h.function]))
			continue;
		f = add_function(m, h.function, &h, s.ptr + sizeof(h));
		f->segment = segment;
		map_put(&m->functions, (struct str){key, make_key(&h, s.ptr + sizeof(h), key)}, f);
	}
	journal_reader_free(r);
}

static void free_meter(struct meter *m)
{
	for (uint32_t i = 1; i < m->count; i++)
		free(m->by_id[i]);
	free(m->by_id);
	map_done(&m->functions);
	free(m->dir);
	free(m);
}

struct meter *meter_open(struct loop *l, const char *dir, const char *price_file, struct err *e)
{
	struct meter *m = xcalloc(1, sizeof(*m));

	m->loop = l;
	m->dir = xstrdup(dir);
	m->count = 1;
	if (prices_load(&m->prices, price_file, e) == 0)
		m->journal = journal_open(l, dir, &journal_options, e);
	if (!m->journal) {
		free_meter(m);
		return NULL;
	}
	load_functions(m);
	return m;
}

void meter_query_done(struct meter *m)
{
	if (--m->queries == 0 && m->closed)
		free_meter(m);
}

void meter_close(struct meter *m)
{
	if (!m)
		return;
	journal_close(m->journal);
	m->journal = NULL;
	m->closed = true;
	if (!m->queries)
		free_meter(m);
}

uint32_t meter_function_id(struct meter *m, struct str account, struct str region, struct str name)
{
	struct function_record h = {.kind = RECORD_FUNCTION};
	char key[FUNCTION_KEY_MAX], names[FUNCTION_KEY_MAX];
	struct str k = {key, 0};
	struct function *f;

	check(account.len + region.len + name.len <= NAMES_MAX);
	h.account_len = (uint16_t)account.len;
	h.region_len = (uint16_t)region.len;
	h.name_len = (uint16_t)name.len;
	memcpy(names, account.ptr, account.len);
	memcpy(names + account.len, region.ptr, region.len);
	memcpy(names + account.len + region.len, name.ptr, name.len);
	k.len = make_key(&h, names, key);
	f = map_get(&m->functions, k);
	if (!f) {
		f = add_function(m, m->count, &h, names);
		map_put(&m->functions, k, f);
	}
	return f->id;
}

/* The segment that the next record of this size goes to must say who the function is. */
static int define(struct meter *m, struct function *f, size_t size)
{
	while (f->segment != journal_segment(m->journal, size)) {
		uint64_t segment = journal_segment(m->journal, f->len);
		int r = journal_append(m->journal, f->record, f->len, NULL);

		if (r < 0)
			return r;
		f->segment = segment;
	}
	return 0;
}

int meter_book(struct meter *m, const struct meter_usage *u)
{
	struct function *f;
	struct usage_record *r;
	void *to;
	int result;

	check(u->function && u->function < m->count && u->arch < METER_ARCHS);
	f = m->by_id[u->function];
	result = define(m, f, sizeof(*r));
	if (result == 0)
		result = journal_reserve(m->journal, sizeof(*r), &to, NULL);
	if (unlikely(result < 0))
		return result;
	r = to;
	*r = (struct usage_record){
	    .kind = RECORD_USAGE,
	    .outcome = (uint8_t)u->outcome,
	    .arch = (uint8_t)u->arch,
	    .source = (uint8_t)u->kind,
	    .function = u->function,
	    .version = u->version,
	    .memory_mb = u->memory_mb,
	    .start_ms = u->start_ms,
	    .duration_us = u->duration_us,
	    .billed_ms = u->billed_ms,
	    .init_us = u->init_us,
	    .max_memory_mb = u->max_memory_mb,
	    .tmp_mb = u->tmp_mb,
	};
	memcpy(r->request_id, u->request_id, sizeof(r->request_id));
	journal_commit(m->journal);
	return 0;
}

static enum meter_what what_of(const struct meter_task *t)
{
	return str_is(t->provider, "FARGATE_SPOT") ? METER_SPOT_TASK : METER_TASK;
}

int meter_book_task(struct meter *m, const struct meter_task *t)
{
	_cleanup_free_ char *name = xasprintf("%.*s/%.*s", STR_FMT(t->cluster), STR_FMT(t->family));
	uint32_t id = meter_function_id(m, t->account, t->region, str_from(name));
	struct task_record *r;
	void *to;
	int result = define(m, m->by_id[id], sizeof(*r));

	check(t->arch < METER_ARCHS);
	if (result == 0)
		result = journal_reserve(m->journal, sizeof(*r), &to, NULL);
	if (unlikely(result < 0))
		return result;
	r = to;
	*r = (struct task_record){
	    .kind = RECORD_TASK,
	    .arch = (uint8_t)t->arch,
	    .what = (uint8_t)what_of(t),
	    .function = id,
	    .start_ms = t->start_ms,
	    .end_ms = t->end_ms,
	    .cpu_units = t->cpu_units,
	    .memory_mib = t->memory_mib,
	    .disk_gib = t->disk_gib,
	};
	memcpy(r->id, t->id.ptr, min_size(t->id.len, sizeof(r->id)));
	journal_commit(m->journal);
	return 0;
}

uint64_t meter_drop(struct meter *m, int64_t before_ms)
{
	struct journal_reader *r = journal_read(m->journal, 0);
	uint64_t upto = 0;

	for (size_t i = 0; i < journal_reader_parts(r); i++) {
		struct journal_part part = journal_reader_part(r, i);
		struct rollup sums;
		bool old;

		rollup_init(&sums);
		if (part.closed && !rollup_load(&sums, m->dir, part.from))
			rollup_scan(&sums, r, part, INT64_MIN, INT64_MAX);
		old = part.closed && sums.max_ms < before_ms;
		rollup_done(&sums);
		if (!old)
			break;
		upto = part.to;
	}
	journal_reader_free(r);
	return upto ? journal_drop(m->journal, upto) : 0;
}
