/* Meter: sums, prices and tiers to the nano-dollar, many segments, restarts, dropping. */
#include "unit.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "meter/meter.h"
#include "scratch.h"

#define DAY 86400000ll
#define T0 (20000 * DAY) /* 2024-10-04 */

struct fixture {
	struct loop *loop;
	char *dir, *path;
	struct meter *meter;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(1, NULL);
	f->dir = scratch_new();
	f->path = xasprintf("%s/usage", f->dir);
	*state = f;
	return 0;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 5);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	meter_close(f->meter);
	settle(f);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static void open_it(struct fixture *f, const char *prices)
{
	struct err e = ERR_INIT;

	f->meter = meter_open(f->loop, f->path, prices, &e);
	assert_string_equal(e.msg, "");
	assert_non_null(f->meter);
}

static void reopen(struct fixture *f)
{
	meter_close(f->meter);
	settle(f);
	open_it(f, NULL);
}

static uint32_t function(struct fixture *f, const char *name)
{
	return meter_function_id(f->meter, STR("123456789012"), STR("us-east-1"), str_from(name));
}

static void book(struct fixture *f, uint32_t id, int64_t start_ms, uint32_t billed_ms,
    enum meter_outcome outcome)
{
	struct meter_usage u = {.function = id,
	    .start_ms = start_ms,
	    .duration_us = billed_ms * 1000 - 500,
	    .billed_ms = billed_ms,
	    .memory_mb = 1024,
	    .tmp_mb = 1024,
	    .outcome = outcome};

	assert_int_equal(meter_book(f->meter, &u), 0);
}

struct answer {
	int finished;
	size_t count;
	struct meter_row rows[8];
	char names[8][32];
};

static void on_rows(void *ctx, int result, const struct meter_row *rows, size_t count)
{
	struct answer *a = ctx;

	assert_int_equal(result, 0);
	a->count = count;
	for (size_t i = 0; i < count && i < 8; i++) {
		a->rows[i] = rows[i];
		if (rows[i].function.ptr)
			snprintf(a->names[i], 32, "%.*s", STR_FMT(rows[i].function));
	}
	a->finished = 1;
}

static struct answer ask(struct fixture *f, int64_t from, int64_t to, enum meter_group by)
{
	struct answer a = {0};

	meter_query(f->meter, from, to, STR_NULL, STR("us-east-1"), by, on_rows, &a);
	assert_true(scratch_wait(f->loop, &a.finished));
	return a;
}

static void sums_and_prices_are_exact(void **state)
{
	struct fixture *f = *state;
	struct answer a;
	uint32_t x, y;

	open_it(f, NULL);
	x = function(f, "x");
	y = function(f, "y");
	assert_int_equal(function(f, "x"), x);
	assert_int_not_equal(x, y);
	a = ask(f, 0, INT64_MAX, METER_BY_TOTAL);
	assert_true(a.count == 1 && a.rows[0].requests == 0);
	book(f, x, T0, 1000, METER_SUCCESS);
	book(f, x, T0 + DAY, 1000, METER_TIMEOUT);
	book(f, y, T0 + 5, 2000, METER_SUCCESS);
	a = ask(f, 0, INT64_MAX, METER_BY_TOTAL);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.rows[0].requests, 3);
	assert_int_equal(a.rows[0].errors, 1);
	assert_int_equal(a.rows[0].compute_mb_ms, 4 * 1024000);
	assert_int_equal(a.rows[0].request_nanousd, 600);
	assert_int_equal(a.rows[0].compute_nanousd, 66667); /* 4 * 16,666.7 */
	assert_int_equal(a.rows[0].tmp_nanousd, 62);        /* 4 * 0.5 GB * 30.9 */
	for (int round = 0; round < 2; round++) {
		a = ask(f, 0, INT64_MAX, METER_BY_FUNCTION_DAY);
		assert_int_equal(a.count, 3);
		assert_string_equal(a.names[0], "x");
		assert_string_equal(a.names[2], "y");
		assert_true(a.rows[0].day_ms == T0 && a.rows[1].day_ms == T0 + DAY);
		a = ask(f, 0, INT64_MAX, METER_BY_DAY);
		assert_true(a.count == 2 && a.rows[0].requests == 2 && a.rows[1].requests == 1);
		a = ask(f, T0, T0 + 5, METER_BY_FUNCTION);
		assert_true(a.count == 1 && a.rows[0].requests == 1);
		reopen(f);
		assert_int_equal(function(f, "y"), y);
	}
}

static void tiers_fill_in_order_of_time(void **state)
{
	static const char json[] =
	    "{\"usd_per_million_requests\": 0, \"tmp_usd_per_gb_second\": 0,"
	    "\"arm64_usd_per_gb_second\": [{\"usd\": 1}],"
	    "\"x86_64_usd_per_gb_second\": [{\"up_to_gb_seconds\": 3, \"usd\": "
	    "0.001}, {\"usd\": 0.0001}]}";
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/prices", f->dir);
	struct err e = ERR_INIT;
	struct answer a;
	uint32_t x;

	assert_int_equal(fd_write_file(AT_FDCWD, path, json, strlen(json), 0600), 0);
	open_it(f, path);
	x = function(f, "x");
	book(f, x, T0, 2000, METER_SUCCESS);
	book(f, x, T0 + DAY, 2000, METER_SUCCESS);
	book(f, x, T0 + 40 * DAY, 2000, METER_SUCCESS); /* another month: from the first tier */
	a = ask(f, 0, INT64_MAX, METER_BY_DAY);
	assert_int_equal(a.count, 3);
	assert_int_equal(a.rows[0].compute_nanousd, 2000000);
	assert_int_equal(a.rows[1].compute_nanousd, 1100000);
	assert_int_equal(a.rows[2].compute_nanousd, 2000000);
	assert_int_equal(fd_write_file(AT_FDCWD, path, "{}", 2, 0600), 0);
	assert_null(meter_open(f->loop, f->dir, path, &e));
	assert_non_null(strstr(e.msg, "prices"));
}

static void book_task(struct fixture *f, const char *family, int64_t start_ms, int64_t ran_ms,
    const char *provider, uint32_t disk_gib)
{
	const struct meter_task t = {.account = STR("123456789012"),
	    .region = STR("us-east-1"),
	    .cluster = STR("default"),
	    .family = str_from(family),
	    .id = STR("0123456789abcdef0123456789abcdef"),
	    .launch_type = STR("FARGATE"),
	    .provider = str_from(provider),
	    .start_ms = start_ms,
	    .end_ms = start_ms + ran_ms,
	    .cpu_units = 256,
	    .memory_mib = 512,
	    .disk_gib = disk_gib};

	assert_int_equal(meter_book_task(f->meter, &t), 0);
}

static void tasks_are_billed_as_on_fargate(void **state)
{
	struct fixture *f = *state;
	struct answer a;

	open_it(f, NULL);
	book(f, function(f, "x"), T0, 1000, METER_SUCCESS);
	book_task(f, "web", T0, 3599001, NULL, 20); /* an hour, rounded up */
	book_task(f, "job", T0 + 1, 1, NULL, 20);   /* a minute at least */
	book_task(f, "job", T0 + 1, 0, NULL, 20);   /* never began */
	book_task(f, "web", T0 + DAY, 3600000, "FARGATE_SPOT", 30);
	for (int round = 0; round < 2; round++) {
		a = ask(f, 0, INT64_MAX, METER_BY_FUNCTION);
		assert_int_equal(a.count, 3);
		assert_string_equal(a.names[0], "x");
		assert_true(!a.rows[0].is_task && a.rows[0].requests == 1 && a.rows[0].tasks == 0);
		assert_string_equal(a.names[1], "default/job");
		assert_true(a.rows[1].is_task && a.rows[1].tasks == 2);
		assert_true(a.rows[1].task_seconds == 60 && a.rows[1].task_ms == 1);
		assert_int_equal(a.rows[1].cpu_nanousd, 168667);   /* 0.25 * 0.04048 / 60 */
		assert_int_equal(a.rows[1].memory_nanousd, 37042); /* 0.5 * 0.004445 / 60 */
		assert_string_equal(a.names[2], "default/web");
		assert_true(a.rows[2].tasks == 2 && a.rows[2].task_seconds == 7200);
		assert_int_equal(a.rows[2].cpu_unit_s, 256 * 7200);
		assert_int_equal(a.rows[2].memory_mib_s, 512 * 7200);
		assert_int_equal(a.rows[2].cpu_nanousd, 10120000 + 3036000);
		assert_int_equal(a.rows[2].memory_nanousd, 2222500 + 666750);
		assert_int_equal(a.rows[2].disk_nanousd, 1110000); /* 10 GB for an hour */
		a = ask(f, T0 + DAY, INT64_MAX, METER_BY_TOTAL);
		assert_true(a.count == 1 && a.rows[0].tasks == 1 && a.rows[0].requests == 0);
		a = ask(f, 0, INT64_MAX, METER_BY_DAY);
		assert_true(a.count == 2 && a.rows[0].tasks == 3 && a.rows[0].requests == 1);
		reopen(f);
	}
}

static void price_files_may_have_tasks(void **state)
{
	static const char json[] =
	    "{\"usd_per_million_requests\": 0, \"tmp_usd_per_gb_second\": 0,"
	    "\"arm64_usd_per_gb_second\": [{\"usd\": 1}], \"x86_64_usd_per_gb_second\": [{\"usd\": "
	    "1}],"
	    "\"fargate\": {\"x86_64\": {\"usd_per_vcpu_hour\": 4, \"usd_per_gb_hour\": 2},"
	    "\"arm64\": {\"usd_per_vcpu_hour\": 0, \"usd_per_gb_hour\": 0},"
	    "\"spot_x86_64\": {\"usd_per_vcpu_hour\": 0, \"usd_per_gb_hour\": 0},"
	    "\"spot_arm64\": {\"usd_per_vcpu_hour\": 0, \"usd_per_gb_hour\": 0},"
	    "\"disk_usd_per_gb_hour\": 0.5}}";
	static const char broken[] = "\"spot_arm64\"";
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/prices", f->dir), *bad = xstrdup(json);
	struct err e = ERR_INIT;
	struct answer a;

	assert_int_equal(fd_write_file(AT_FDCWD, path, json, strlen(json), 0600), 0);
	open_it(f, path);
	book_task(f, "web", T0, 3600000, NULL, 21);
	a = ask(f, 0, INT64_MAX, METER_BY_TOTAL);
	assert_int_equal(a.rows[0].cpu_nanousd, 1000000000);
	assert_int_equal(a.rows[0].memory_nanousd, 1000000000);
	assert_int_equal(a.rows[0].disk_nanousd, 500000000);
	strstr(bad, broken)[1] = 'x'; /* one price is not there */
	assert_int_equal(fd_write_file(AT_FDCWD, path, bad, strlen(bad), 0600), 0);
	assert_null(meter_open(f->loop, f->dir, path, &e));
	assert_non_null(strstr(e.msg, "prices"));
}

#define MANY 60000 /* several segments */

static void segments_are_summed_once_and_dropped(void **state)
{
	struct fixture *f = *state;
	struct answer a;
	uint32_t ids[3];
	uint64_t freed;

	open_it(f, NULL);
	for (int i = 0; i < 3; i++)
		ids[i] = function(f, (const char *[]){"a", "b", "c"}[i]);
	for (int i = 0; i < MANY; i++) {
		book(f, ids[i % 3], T0 + i * 10000ll, 1, METER_SUCCESS);
		if (i % 3 == 0)
			book_task(f, "t", T0 + i * 10000ll, 1, NULL, 20);
		if (i % 500 == 0)
			loop_turn(f->loop, 0);
	}
	for (int round = 0; round < 3; round++) { /* counted, from sums, after a restart */
		a = ask(f, 0, INT64_MAX, METER_BY_FUNCTION);
		assert_int_equal(a.count, 4);
		for (int i = 0; i < 3; i++)
			assert_int_equal(a.rows[i].requests, MANY / 3);
		assert_int_equal(a.rows[3].tasks, MANY / 3);
		a = ask(f, T0 + 5000000, T0 + 5000000 + 30000, METER_BY_TOTAL);
		assert_int_equal(a.rows[0].requests, 3);
		if (round == 1)
			reopen(f);
	}
	freed = meter_drop(f->meter, T0 + MANY / 2 * 10000ll);
	assert_true(freed > 0);
	a = ask(f, 0, INT64_MAX, METER_BY_TOTAL);
	assert_true(a.rows[0].requests < MANY && a.rows[0].requests >= MANY / 2);
	a = ask(f, T0 + MANY / 2 * 10000ll, INT64_MAX, METER_BY_FUNCTION); /* names are known */
	assert_int_equal(a.count, 4);
}

static void book_until_killed(struct fixture *f, int pipe_fd)
{
	uint32_t id;

	open_it(f, NULL);
	id = function(f, "k");
	for (int i = 1;; i++) {
		book(f, id, T0, 1, METER_SUCCESS);
		if (write(pipe_fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static void what_was_booked_survives_kill(void **state)
{
	struct fixture *f = *state;
	int pipes[2], last = 0, value;
	struct answer a;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		book_until_killed(f, pipes[1]);
	}
	close(pipes[1]);
	while (last < 20000 && read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	close(pipes[0]);
	open_it(f, NULL);
	a = ask(f, 0, INT64_MAX, METER_BY_TOTAL);
	assert_true(last >= 20000);
	assert_true((int)a.rows[0].requests >= last && (int)a.rows[0].requests <= last + 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(sums_and_prices_are_exact),
	    T(tiers_fill_in_order_of_time),
	    T(tasks_are_billed_as_on_fargate),
	    T(price_files_may_have_tasks),
	    T(segments_are_summed_once_and_dropped),
	    T(what_was_booked_survives_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
