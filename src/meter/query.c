/* Queries of the ledger: summed and priced on a worker, answered on the loop thread. */
#include <time.h>

#include "meter/meter_int.h"

struct sum { /* a row being made; money in pico-dollars, compute and tmp times MB_MS_PER_GB_S, cpu
	      * and memory times UNIT_S_PER_H, disk times 3600 */
	struct meter_row row;
	meter_int128 request, compute, tmp, cpu, memory, disk;
};

struct query {
	struct loop_work work;
	struct meter *meter;
	char *dir;
	struct prices prices;
	struct journal_reader *reader;
	int64_t from_ms, to_ms;
	char *account, *region; /* NULL: all */
	enum meter_group by;
	struct rollup all;
	struct meter_row *rows;
	size_t count;
	void (*fn)(void *ctx, int result, const struct meter_row *rows, size_t count);
	void *ctx;
};

static void sum_segment(struct query *q, struct journal_part part)
{
	struct rollup whole;

	if (!part.closed) {
		rollup_scan(&q->all, q->reader, part, q->from_ms, q->to_ms);
		return;
	}
	rollup_init(&whole);
	if (!rollup_load(&whole, q->dir, part.from)) {
		rollup_scan(&whole, q->reader, part, INT64_MIN, INT64_MAX);
		if (whole.cells.count) /* else it was dropped meanwhile */
			rollup_save(&whole, q->dir, part.from);
	}
	if (whole.min_ms >= q->from_ms && whole.max_ms < q->to_ms)
		rollup_merge(&q->all, &whole);
	else if (whole.max_ms >= q->from_ms && whole.min_ms < q->to_ms)
		rollup_scan(&q->all, q->reader, part, q->from_ms, q->to_ms);
	rollup_done(&whole);
}

static int compare_str(struct str a, struct str b)
{
	int c = memcmp(a.ptr, b.ptr, min_size(a.len, b.len));

	return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

static int by_account(const struct cell *a, const struct cell *b)
{
	int c = compare_str(cell_account(a), cell_account(b));

	return c ? c : compare_str(cell_region(a), cell_region(b));
}

static int compare_day(const struct cell *a, const struct cell *b)
{
	return a->day_ms < b->day_ms ? -1 : a->day_ms > b->day_ms;
}

/* The order in which usage fills the tiers. */
static int by_time(const void *x, const void *y)
{
	const struct cell *a = *(struct cell *const *)x, *b = *(struct cell *const *)y;
	int c = by_account(a, b);

	if (!c)
		c = a->arch - b->arch;
	if (!c)
		c = compare_day(a, b);
	return c ? c : compare_str(cell_name(a), cell_name(b));
}

struct priced {
	const struct cell *cell;
	meter_int128 compute;
};

static int by_function(const void *x, const void *y)
{
	const struct priced *a = x, *b = y;
	int c = by_account(a->cell, b->cell);

	if (!c)
		c = (a->cell->what != METER_FUNCTION) - (b->cell->what != METER_FUNCTION);
	if (!c)
		c = compare_str(cell_name(a->cell), cell_name(b->cell));
	return c ? c : compare_day(a->cell, b->cell);
}

static int by_day(const void *x, const void *y)
{
	const struct priced *a = x, *b = y;
	int c = compare_day(a->cell, b->cell);

	return c ? c : by_function(x, y);
}

static int month(int64_t day_ms)
{
	time_t t = (time_t)(day_ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	return tm.tm_year * 12 + tm.tm_mon;
}

static void price(struct query *q, struct cell **cells, size_t n, struct priced *out)
{
	uint64_t before = 0;

	for (size_t i = 0; i < n; i++) {
		const struct cell *c = cells[i], *p = i ? cells[i - 1] : NULL;

		if (!p || by_account(p, c) != 0 || p->arch != c->arch ||
		    month(p->day_ms) != month(c->day_ms))
			before = 0;
		out[i].cell = c;
		out[i].compute =
		    prices_compute(&q->prices, (enum meter_arch)c->arch, before, c->compute_mb_ms);
		before += c->compute_mb_ms;
	}
}

static bool same_row(const struct query *q, const struct meter_row *r, const struct cell *c)
{
	bool function = q->by == METER_BY_FUNCTION || q->by == METER_BY_FUNCTION_DAY;
	bool day = q->by == METER_BY_DAY || q->by == METER_BY_FUNCTION_DAY;

	return (!function ||
		   (r->is_task == (c->what != METER_FUNCTION) &&
		       str_eq(r->account, cell_account(c)) && str_eq(r->region, cell_region(c)) &&
		       str_eq(r->function, cell_name(c)))) &&
	       (!day || r->day_ms == c->day_ms);
}

static struct meter_row new_row(const struct query *q, const struct cell *c)
{
	struct meter_row r = {.day_ms = -1};

	if (q->by == METER_BY_FUNCTION || q->by == METER_BY_FUNCTION_DAY) {
		r.account = cell_account(c);
		r.region = cell_region(c);
		r.function = cell_name(c);
		r.is_task = c->what != METER_FUNCTION;
	}
	if (q->by == METER_BY_DAY || q->by == METER_BY_FUNCTION_DAY)
		r.day_ms = c->day_ms;
	return r;
}

static void add(struct sum *s, const struct query *q, const struct priced *p)
{
	const struct cell *c = p->cell;
	const struct task_price *t = &q->prices.tasks[c->what][c->arch];

	s->row.requests += c->requests;
	s->row.errors += c->errors;
	s->row.cold_starts += c->cold_starts;
	s->row.duration_us += c->duration_us;
	s->row.billed_ms += c->billed_ms;
	s->row.compute_mb_ms += c->compute_mb_ms;
	s->row.tmp_mb_ms += c->tmp_mb_ms;
	s->row.tasks += c->tasks;
	s->row.task_ms += c->task_ms;
	s->row.task_seconds += c->task_seconds;
	s->row.cpu_unit_s += c->cpu_unit_s;
	s->row.memory_mib_s += c->memory_mib_s;
	s->row.disk_gib_s += c->disk_gib_s;
	s->cpu += (meter_int128)c->cpu_unit_s * t->pico_per_vcpu_h;
	s->memory += (meter_int128)c->memory_mib_s * t->pico_per_gb_h;
	s->disk += (meter_int128)c->disk_gib_s * q->prices.disk_pico_per_gb_h;
	s->request += (meter_int128)c->requests * q->prices.pico_per_request;
	s->compute += p->compute;
	s->tmp += (meter_int128)c->tmp_mb_ms * q->prices.tmp_pico_per_gb_s;
}

static int64_t nano(meter_int128 pico, int64_t per)
{
	meter_int128 unit = (meter_int128)per * 1000;

	return (int64_t)((pico + unit / 2) / unit);
}

static struct meter_row finish(const struct sum *s)
{
	struct meter_row r = s->row;

	r.request_nanousd = nano(s->request, 1);
	r.compute_nanousd = nano(s->compute, MB_MS_PER_GB_S);
	r.tmp_nanousd = nano(s->tmp, MB_MS_PER_GB_S);
	r.cpu_nanousd = nano(s->cpu, UNIT_S_PER_H);
	r.memory_nanousd = nano(s->memory, UNIT_S_PER_H);
	r.disk_nanousd = nano(s->disk, 3600);
	return r;
}

static bool chosen(const struct query *q, const struct cell *c)
{
	return (!q->account || str_is(cell_account(c), q->account)) &&
	       (!q->region || str_is(cell_region(c), q->region));
}

static void make_rows(struct query *q)
{
	size_t n = 0, room = q->all.cells.count;
	struct cell **cells = xcalloc(room + 1, sizeof(struct cell *));
	struct priced *priced = xcalloc(room + 1, sizeof(*priced));
	struct sum sum = {.row = {.day_ms = -1}};

	map_for_each (&q->all.cells, entry) {
		if (chosen(q, entry->value))
			cells[n++] = entry->value;
	}
	qsort(cells, n, sizeof(struct cell *), by_time);
	price(q, cells, n, priced);
	qsort(priced, n, sizeof(*priced), q->by == METER_BY_DAY ? by_day : by_function);
	q->rows = xcalloc(n + 1, sizeof(*q->rows));
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !same_row(q, &sum.row, priced[i].cell)) {
			if (i)
				q->rows[q->count++] = finish(&sum);
			sum = (struct sum){.row = new_row(q, priced[i].cell)};
		}
		add(&sum, q, &priced[i]);
	}
	if (n || q->by == METER_BY_TOTAL)
		q->rows[q->count++] = finish(&sum);
	free(cells);
	free(priced);
}

static void run(struct loop_work *w)
{
	struct query *q = container_of(w, struct query, work);

	for (size_t i = 0; i < journal_reader_parts(q->reader); i++)
		sum_segment(q, journal_reader_part(q->reader, i));
	make_rows(q);
}

static void done(struct loop_work *w)
{
	struct query *q = container_of(w, struct query, work);

	if (!q->meter->closed)
		q->fn(q->ctx, 0, q->rows, q->count);
	meter_query_done(q->meter);
	journal_reader_free(q->reader);
	rollup_done(&q->all);
	free(q->rows);
	free(q->dir);
	free(q->account);
	free(q->region);
	free(q);
}

void meter_query(struct meter *m, int64_t from_ms, int64_t to_ms, struct str account,
    struct str region, enum meter_group by,
    void (*fn)(void *ctx, int result, const struct meter_row *rows, size_t count), void *ctx)
{
	struct query *q = xcalloc(1, sizeof(*q));

	q->meter = m;
	q->dir = xstrdup(m->dir);
	q->prices = m->prices;
	q->reader = journal_read(m->journal, 0);
	q->from_ms = from_ms;
	q->to_ms = to_ms;
	q->account = account.ptr ? xstrndup(account.ptr, account.len) : NULL;
	q->region = region.ptr ? xstrndup(region.ptr, region.len) : NULL;
	q->by = by;
	q->fn = fn;
	q->ctx = ctx;
	rollup_init(&q->all);
	q->work.run = run;
	q->work.done = done;
	m->queries++;
	loop_work_start(m->loop, &q->work);
}
