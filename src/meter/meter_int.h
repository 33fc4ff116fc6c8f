/*
 * Inside of the meter. meter.c: opening and booking (loop thread); rollup.c: sums of a segment and
 * the files that keep them; query.c: queries on a worker; prices.c: what it costs.
 *
 * Function numbers hold within one journal segment: each segment begins anew to say which number
 * is which function, so that old segments can be dropped.
 */
#pragma once

#include "base/map.h"
#include "meter/meter.h"
#include "store/journal.h"

#define DAY_MS 86400000
#define FUNCTION_KEY_MAX 1024
#define TIERS_MAX 8
#define METER_ARCHS 2

enum { RECORD_USAGE = 1, RECORD_FUNCTION, RECORD_TASK };

struct usage_record {
	uint8_t kind, outcome, arch, source;
	uint32_t function, version, memory_mb;
	unsigned char request_id[16];
	int64_t start_ms;
	uint32_t duration_us, billed_ms, init_us, max_memory_mb, tmp_mb, unused;
};

struct task_record {
	uint8_t kind, arch, what, unused;
	uint32_t function;        /* number of "cluster/family" */
	char id[32];              /* of the task */
	int64_t start_ms, end_ms; /* wall clock */
	uint32_t cpu_units, memory_mib, disk_gib, unused2;
};

struct function_record { /* followed by account, region and name */
	uint8_t kind, unused[3];
	uint32_t function;
	uint16_t account_len, region_len, name_len, unused2;
};

/* ---- sums ---- */

enum meter_what { METER_FUNCTION, METER_TASK, METER_SPOT_TASK, METER_WHATS };

struct cell {      /* of one function or family of tasks, day, architecture and price */
	char *key; /* account, region and name one after the other */
	uint16_t account_len, region_len, name_len;
	uint8_t arch, what;
	int64_t day_ms;
	uint64_t requests, errors, cold_starts, duration_us, billed_ms, compute_mb_ms, tmp_mb_ms;
	uint64_t tasks, task_ms, task_seconds, cpu_unit_s, memory_mib_s, disk_gib_s;
};

struct rollup {
	struct map cells;       /* key with day and arch -> cell */
	int64_t min_ms, max_ms; /* starts of the usage in it; min > max: none */
};

void rollup_init(struct rollup *r);
void rollup_done(struct rollup *r);
/* Add the part of a segment that starts in [from_ms, to_ms). */
void rollup_scan(struct rollup *r, struct journal_reader *reader, struct journal_part part,
    int64_t from_ms, int64_t to_ms);
void rollup_merge(struct rollup *into, const struct rollup *from);
/* Sums of whole segments, kept beside them in "<segment>.sum". False: not there or not whole. */
bool rollup_load(struct rollup *r, const char *dir, uint64_t segment);
void rollup_save(const struct rollup *r, const char *dir, uint64_t segment);

static inline struct str cell_account(const struct cell *c)
{
	return (struct str){c->key, c->account_len};
}

static inline struct str cell_region(const struct cell *c)
{
	return (struct str){c->key + c->account_len, c->region_len};
}

static inline struct str cell_name(const struct cell *c)
{
	return (struct str){c->key + c->account_len + c->region_len, c->name_len};
}

/* ---- prices, in pico-dollars ---- */

struct tier {
	uint64_t up_to_gb_s; /* of a month; UINT64_MAX: the rest */
	int64_t pico_per_gb_s;
};

struct task_price {
	int64_t pico_per_vcpu_h, pico_per_gb_h;
};

struct prices {
	int64_t pico_per_request;
	int64_t tmp_pico_per_gb_s;
	struct tier compute[METER_ARCHS][TIERS_MAX];
	struct task_price tasks[METER_WHATS][METER_ARCHS]; /* [METER_FUNCTION]: none */
	int64_t disk_pico_per_gb_h;
};

#define MB_MS_PER_GB_S 1024000
#define UNIT_S_PER_H (1024 * 3600) /* of CPU units and of MiB */

int prices_load(struct prices *p, const char *path, struct err *e); /* NULL: built in */
/* Price of mb_ms more after `before` in this month, in pico-dollars times MB_MS_PER_GB_S. */
__extension__ typedef __int128 meter_int128;
meter_int128 prices_compute(
    const struct prices *p, enum meter_arch arch, uint64_t before_mb_ms, uint64_t mb_ms);

struct meter {
	struct loop *loop;
	char *dir;
	struct journal *journal;
	struct prices prices;
	struct map functions; /* key -> function */
	struct function **by_id;
	uint32_t count, room; /* by_id[0] is none */
	unsigned queries;
	bool closed;
};

void meter_query_done(struct meter *m);
