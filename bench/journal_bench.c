/*
 * What booking one invocation and logging one line cost on the warm path, in nanoseconds.
 * Usage: journal_bench [DIRECTORY]. The loop turns every 1,000 calls, so syncing goes on.
 */
#include <stdio.h>

#include "base/time.h"
#include "logs/logs.h"
#include "meter/meter.h"

#define ROUNDS 5
#define CALLS 200000

static double book(struct loop *l, struct meter *m, uint32_t id)
{
	struct meter_usage u = {.function = id, .billed_ms = 1, .memory_mb = 128};
	int64_t start = time_mono_ns(), spent = 0;

	for (int i = 0; i < CALLS; i++) {
		u.start_ms = i;
		check(meter_book(m, &u) == 0);
		if (i % 1000 == 999) {
			spent += time_mono_ns() - start;
			loop_turn(l, 0);
			start = time_mono_ns();
		}
	}
	return (double)spent / CALLS;
}

static double append(struct loop *l, struct log_stream *s)
{
	static const char line[] =
	    "2025-11-24T23:09:56.123Z\t8f507cfc-xmpl-4697-b07a-ac58fc914c95\t"
	    "INFO\thello from a function, here is a line";
	int64_t start = time_mono_ns(), spent = 0;

	for (int i = 0; i < CALLS; i++) {
		check(logs_append(s, i, line, sizeof(line) - 1) == 0);
		if (i % 1000 == 999) {
			spent += time_mono_ns() - start;
			loop_turn(l, 0);
			start = time_mono_ns();
		}
	}
	return (double)spent / CALLS;
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "/tmp";
	_cleanup_free_ char *usage = xasprintf("%s/bench-usage", dir);
	_cleanup_free_ char *logs_dir = xasprintf("%s/bench-logs", dir);
	_cleanup_free_ char *store_dir = xasprintf("%s/bench-store", dir);
	struct loop *l = loop_new(1, NULL);
	struct err e = ERR_INIT;
	struct meter *m = meter_open(l, usage, NULL, &e);
	struct store *s = store_open(l, store_dir, &e);
	struct logs *g = s ? logs_open(l, s, logs_dir, &e) : NULL;
	struct log_group_id id = {STR("123456789012"), STR("us-east-1"), STR("bench")};
	struct log_stream *stream = g ? logs_stream(g, id, STR("s"), &e) : NULL;

	if (!m || !stream) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	printf("%14s %14s\n", "meter_book ns", "logs_append ns");
	for (int i = 0; i < ROUNDS; i++) {
		double booked = book(l, m, meter_function_id(m, id.account, id.region, id.name));

		printf("%14.0f %14.0f\n", booked, append(l, stream));
	}
	logs_stream_unref(stream);
	for (int i = 0; i < 10; i++)
		loop_turn(l, 10);
	logs_close(g);
	meter_close(m);
	store_close(s);
	loop_turn(l, 10);
	loop_free(l);
	return 0;
}
