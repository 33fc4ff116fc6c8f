/*
 * Sums of usage by function, day and architecture. Those of a full segment never change, so they
 * are kept in a file beside it: a query over years reads little. On a worker. See meter_int.h.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/log.h"
#include "meter/meter_int.h"
#include "store/crc.h"

#define MAGIC 0x324d55535245544du /* "MTERSUM2" */
#define SUM_MAX (64u << 20)
#define TASK_SECONDS_MIN 60 /* Fargate's minute */
#define DISK_GIB_FREE 20

struct sum_head {
	uint64_t magic;
	int64_t min_ms, max_ms;
	uint32_t count, crc;
};

void rollup_init(struct rollup *r)
{
	*r = (struct rollup){.min_ms = INT64_MAX, .max_ms = INT64_MIN};
}

void rollup_done(struct rollup *r)
{
	map_for_each (&r->cells, entry) {
		struct cell *c = entry->value;

		free(c->key);
		free(c);
	}
	map_done(&r->cells);
}

/* The cell like `like` (sums ignored), made if missing. */
static struct cell *cell_of(struct rollup *r, const struct cell *like)
{
	size_t n = (size_t)like->account_len + like->region_len + like->name_len;
	char key[FUNCTION_KEY_MAX + 32];
	struct str k = {key, n + 13};
	struct cell *c;

	memcpy(key, &like->account_len, 2);
	memcpy(key + 2, &like->region_len, 2);
	memcpy(key + 4, &like->day_ms, 8);
	key[12] = (char)(like->arch | like->what << 4);
	memcpy(key + 13, like->key, n);
	c = map_get(&r->cells, k);
	if (c)
		return c;
	c = xcalloc(1, sizeof(*c));
	c->key = xstrndup(like->key, n);
	c->account_len = like->account_len;
	c->region_len = like->region_len;
	c->name_len = like->name_len;
	c->arch = like->arch;
	c->what = like->what;
	c->day_ms = like->day_ms;
	map_put(&r->cells, k, c);
	return c;
}

static void add(struct cell *c, const struct cell *more)
{
	c->requests += more->requests;
	c->errors += more->errors;
	c->cold_starts += more->cold_starts;
	c->duration_us += more->duration_us;
	c->billed_ms += more->billed_ms;
	c->compute_mb_ms += more->compute_mb_ms;
	c->tmp_mb_ms += more->tmp_mb_ms;
	c->tasks += more->tasks;
	c->task_ms += more->task_ms;
	c->task_seconds += more->task_seconds;
	c->cpu_unit_s += more->cpu_unit_s;
	c->memory_mib_s += more->memory_mib_s;
	c->disk_gib_s += more->disk_gib_s;
}

void rollup_merge(struct rollup *into, const struct rollup *from)
{
	map_for_each (&from->cells, entry) {
		const struct cell *c = entry->value;

		add(cell_of(into, c), c);
	}
}

/* ---- scanning a segment ---- */

struct known {                          /* function numbers of the segment being read */
	struct cell *functions;         /* names only; the key points into the mapping */
	struct cell *last[METER_ARCHS]; /* sums of the last record, as a rule of the next too */
	uint32_t last_id[METER_ARCHS];
	size_t room;
};

static void learn(struct known *k, struct str s)
{
	struct function_record h;
	struct cell *f;

	if (s.len < sizeof(h))
		return;
	memcpy(&h, s.ptr, sizeof(h));
	if (s.len != sizeof(h) + h.account_len + h.region_len + h.name_len ||
	    s.len > FUNCTION_KEY_MAX || h.function > 10000000)
		return;
	if (h.function >= k->room) {
		size_t room = max_size(k->room * 2, (size_t)h.function + 16);

		k->functions = xrealloc(k->functions, room * sizeof(*k->functions));
		memset(&k->functions[k->room], 0, (room - k->room) * sizeof(*k->functions));
		k->room = room;
	}
	f = &k->functions[h.function];
	f->key = (char *)(uintptr_t)(s.ptr + sizeof(h));
	f->account_len = h.account_len;
	f->region_len = h.region_len;
	f->name_len = h.name_len;
}

static int64_t day_of(int64_t ms)
{
	return ms - ((ms % DAY_MS) + DAY_MS) % DAY_MS;
}

static void widen(struct rollup *r, int64_t start_ms)
{
	if (start_ms < r->min_ms)
		r->min_ms = start_ms;
	if (start_ms > r->max_ms)
		r->max_ms = start_ms;
}

static void count_task(struct rollup *r, const struct known *k, const struct task_record *t)
{
	uint64_t ms = t->end_ms > t->start_ms ? (uint64_t)(t->end_ms - t->start_ms) : 0;
	uint64_t s = ms ? max_size((ms + 999) / 1000, TASK_SECONDS_MIN) : 0;
	struct cell like, *c;

	if (t->function >= k->room || !k->functions[t->function].key)
		return;
	like = k->functions[t->function];
	like.arch = t->arch % METER_ARCHS;
	like.what = t->what == METER_SPOT_TASK ? METER_SPOT_TASK : METER_TASK;
	like.day_ms = day_of(t->start_ms);
	c = cell_of(r, &like);
	c->tasks++;
	c->task_ms += ms;
	c->task_seconds += s;
	c->cpu_unit_s += s * t->cpu_units;
	c->memory_mib_s += s * t->memory_mib;
	if (t->disk_gib > DISK_GIB_FREE)
		c->disk_gib_s += s * (t->disk_gib - DISK_GIB_FREE);
	widen(r, t->start_ms);
}

static void count(struct rollup *r, struct known *k, const struct usage_record *u)
{
	struct cell like, *c;
	unsigned arch = u->arch % METER_ARCHS;
	int64_t day = day_of(u->start_ms);

	if (u->function >= k->room || !k->functions[u->function].key)
		return;
	c = k->last[arch];
	if (!c || k->last_id[arch] != u->function || c->day_ms != day) {
		like = k->functions[u->function];
		like.arch = (uint8_t)arch;
		like.day_ms = day;
		c = k->last[arch] = cell_of(r, &like);
		k->last_id[arch] = u->function;
	}
	c->requests++;
	c->errors += u->outcome != METER_SUCCESS;
	c->cold_starts += u->init_us != 0;
	c->duration_us += u->duration_us;
	c->billed_ms += u->billed_ms;
	c->compute_mb_ms += (uint64_t)u->billed_ms * u->memory_mb;
	if (u->tmp_mb > 512)
		c->tmp_mb_ms += (uint64_t)u->billed_ms * (u->tmp_mb - 512);
	widen(r, u->start_ms);
}

void rollup_scan(struct rollup *r, struct journal_reader *reader, struct journal_part part,
    int64_t from_ms, int64_t to_ms)
{
	struct known k = {0};
	uint64_t at;
	struct str s;

	journal_reader_seek(reader, part.from);
	while (journal_reader_next(reader, &s, &at) && at < part.to) {
		struct usage_record u;
		struct task_record t;

		if (s.ptr[0] == RECORD_FUNCTION)
			learn(&k, s);
		if (s.ptr[0] == RECORD_TASK && s.len == sizeof(t)) {
			memcpy(&t, s.ptr, sizeof(t));
			if (t.start_ms >= from_ms && t.start_ms < to_ms)
				count_task(r, &k, &t);
		}
		if (s.ptr[0] != RECORD_USAGE || s.len != sizeof(u))
			continue;
		memcpy(&u, s.ptr, sizeof(u));
		if (u.start_ms >= from_ms && u.start_ms < to_ms)
			count(r, &k, &u);
	}
	free(k.functions);
}

/* ---- files ---- */

static char *sum_path(const char *dir, uint64_t segment)
{
	return xasprintf("%s/%016" PRIx64 ".sum", dir, segment);
}

void rollup_save(const struct rollup *r, const char *dir, uint64_t segment)
{
	struct sum_head h = {MAGIC, r->min_ms, r->max_ms, (uint32_t)r->cells.count, 0};
	_cleanup_free_ char *path = sum_path(dir, segment);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int result;

	buf_append(&b, &h, sizeof(h));
	map_for_each (&r->cells, entry) {
		struct cell c = *(const struct cell *)entry->value;
		char *key = c.key;

		c.key = NULL; /* no address on disk */
		buf_append(&b, &c, sizeof(c));
		buf_append(&b, key, (size_t)c.account_len + c.region_len + c.name_len);
	}
	h.crc = crc32c(buf_data(&b) + sizeof(h), buf_len(&b) - sizeof(h));
	memcpy(buf_data(&b), &h, sizeof(h));
	result = fd_write_file(AT_FDCWD, path, buf_data(&b), buf_len(&b), 0600);
	if (result < 0) /* the next query counts again */
		log_debug("cannot write %s: %s", path, strerror(-result));
}

static bool load_cell(struct rollup *r, struct str *s)
{
	struct cell c;
	size_t n;

	if (s->len < sizeof(c))
		return false;
	memcpy(&c, s->ptr, sizeof(c));
	n = (size_t)c.account_len + c.region_len + c.name_len;
	if (n > FUNCTION_KEY_MAX || s->len - sizeof(c) < n || c.arch >= METER_ARCHS ||
	    c.what >= METER_WHATS)
		return false;
	c.key = (char *)(uintptr_t)(s->ptr + sizeof(c));
	add(cell_of(r, &c), &c);
	s->ptr += sizeof(c) + n;
	s->len -= sizeof(c) + n;
	return true;
}

bool rollup_load(struct rollup *r, const char *dir, uint64_t segment)
{
	_cleanup_free_ char *path = sum_path(dir, segment);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct sum_head h;
	struct str s;

	if (fd_read_file(AT_FDCWD, path, SUM_MAX, &b) < 0 || buf_len(&b) < sizeof(h))
		return false;
	s = buf_str(&b);
	memcpy(&h, s.ptr, sizeof(h));
	s = (struct str){s.ptr + sizeof(h), s.len - sizeof(h)};
	if (h.magic != MAGIC || crc32c(s.ptr, s.len) != h.crc)
		return false;
	for (uint32_t i = 0; i < h.count; i++)
		if (!load_cell(r, &s)) {
			rollup_done(r);
			rollup_init(r);
			return false;
		}
	r->min_ms = h.min_ms;
	r->max_ms = h.max_ms;
	return true;
}
