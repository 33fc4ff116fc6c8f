/*
 * The usage ledger: one fixed-size record for every invocation and every task, and what it would
 * have cost.
 *
 * Booking is a copy into a mapped journal (store/journal.h), no system call. Queries run on a
 * worker. All sums are exact integers: compute is kept in MB·ms, money in nano-dollars rounded
 * once a row. Loop thread only. Throttled requests are not usage and are not booked.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"

struct meter;

enum meter_outcome {
	METER_SUCCESS,
	METER_ERROR, /* the function answered with an error */
	METER_TIMEOUT,
	METER_CRASH,
	METER_OOM,
	METER_INIT_ERROR,
};

enum meter_kind { METER_SYNC, METER_EVENT, METER_URL };

enum meter_arch { METER_X86_64, METER_ARM64 };

struct meter_usage {
	uint32_t function; /* of meter_function_id() */
	uint32_t version;  /* 0: $LATEST */
	unsigned char request_id[16];
	int64_t start_ms; /* wall clock */
	uint32_t duration_us;
	uint32_t billed_ms;
	uint32_t init_us; /* 0: warm start */
	uint32_t memory_mb;
	uint32_t max_memory_mb;
	uint32_t tmp_mb;
	enum meter_arch arch;
	enum meter_outcome outcome;
	enum meter_kind kind;
};

/* Open or create the ledger in directory `dir`. price_file: JSON as in docs/prices.json, or NULL
 * for the built-in prices (AWS's published ones, us-east-1). Blocking, for start-up. */
struct meter *meter_open(struct loop *l, const char *dir, const char *price_file, struct err *e);
void meter_close(struct meter *m); /* NULL is fine; what was booked goes to disk */

/* The function's number in this ledger, for struct meter_usage; costs a hash look-up, so callers
 * keep it with their function object. Never 0. Names are at most 512 bytes together. */
uint32_t meter_function_id(struct meter *m, struct str account, struct str region, struct str name);

/* Book one invocation. 0, or -ENOSPC when the disk is full. */
int meter_book(struct meter *m, const struct meter_usage *u);

/* One task of containers, when it has stopped. Billed as on Fargate, whatever its launch type: from
 * the start of the image pull to the end, rounded up to a second and at least a minute, for what
 * was asked, not for what was used. One that ends where it starts never began and costs nothing. */
struct meter_task {
	struct str account, region, cluster, family;
	struct str id;            /* of the task: last part of its ARN */
	struct str launch_type;   /* "FARGATE", "EC2", "EXTERNAL" */
	struct str provider;      /* capacity provider ("FARGATE_SPOT"), ptr NULL if none */
	int64_t start_ms, end_ms; /* wall clock */
	uint32_t cpu_units;       /* 1024: one vCPU */
	uint32_t memory_mib;
	uint32_t disk_gib; /* ephemeral storage, 20 of which cost nothing */
	enum meter_arch arch;
};

/* 0, or -ENOSPC when the disk is full. */
int meter_book_task(struct meter *m, const struct meter_task *t);

enum meter_group { METER_BY_TOTAL, METER_BY_FUNCTION, METER_BY_DAY, METER_BY_FUNCTION_DAY };

struct meter_row {
	struct str account, region, function; /* ptr NULL unless grouped by function */
	bool is_task;                         /* function is "cluster/family" */
	int64_t day_ms;                       /* start of the UTC day; -1 unless grouped by day */
	uint64_t requests, errors;            /* errors: every outcome but success */
	uint64_t cold_starts;
	uint64_t duration_us, billed_ms;
	uint64_t compute_mb_ms; /* billed_ms * memory_mb; / 1,024,000 gives GB-seconds */
	uint64_t tmp_mb_ms;     /* billed_ms * MB of /tmp above 512 */
	int64_t request_nanousd, compute_nanousd, tmp_nanousd;
	/* ---- tasks ---- */
	uint64_t tasks, task_ms, task_seconds; /* as they ran; as they are billed */
	uint64_t cpu_unit_s;   /* billed seconds * cpu units; / 1024: vCPU-seconds */
	uint64_t memory_mib_s; /* / 1024: GB-seconds */
	uint64_t disk_gib_s;   /* of ephemeral storage above 20 GiB */
	int64_t cpu_nanousd, memory_nanousd, disk_nanousd;
};

/* Sum usage with from_ms <= start < to_ms. Account and region: ptr NULL for all. fn runs once on
 * the loop thread; rows are ordered by account, region, function (tasks behind functions), then
 * day, and valid during the call only. result is 0 or -errno. Price tiers are counted per account,
 * region, architecture and month from the beginning of the queried time on. */
void meter_query(struct meter *m, int64_t from_ms, int64_t to_ms, struct str account,
    struct str region, enum meter_group by,
    void (*fn)(void *ctx, int result, const struct meter_row *rows, size_t count), void *ctx);

/* Forget whole journal segments of usage that ended before before_ms; returns bytes given back. */
uint64_t meter_drop(struct meter *m, int64_t before_ms);
