/*
 * Events on a real store, with targets and a function that the test plays: retries, age, throttles,
 * dead letters, destinations, loops, restarts, and failed writes of an end.
 */
#include "unit.h"

#include "invoke/async_int.h"
#include "scratch.h"

#define TRACE "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"
#define QUEUE "arn:aws:sqs:us-east-1:123456789012:q"
#define DEAD "arn:aws:sqs:us-east-1:123456789012:dead"

/* ---- the rest of the invoke path, played ---- */

static struct {
	enum invoke_refusal refusal;
	enum invoke_outcome outcome;
	const char *answer;
	int64_t reserved;
	unsigned started;
	bool hold; /* do not answer at once */
	struct invoke_request held[64];
	unsigned held_count;
	char trace[INVOKE_TRACE_SIZE];
} box;

static void answer(struct invoke_request *q)
{
	struct buf payload = BUF_INIT;
	struct invoke_result r = {.outcome = box.outcome,
	    .payload = &payload,
	    .version = "$LATEST",
	    .request_id = q->request_id};

	buf_puts(&payload, box.answer);
	q->done(q->ctx, &r);
	buf_done(&payload);
	buf_done(&q->payload);
}

static void answer_held(void)
{
	for (unsigned i = 0; i < box.held_count; i++)
		answer(&box.held[i]);
	box.held_count = 0;
}

enum invoke_refusal invoke_start(
    struct invoke *iv, struct invoke_request *r, struct invocation **ret)
{
	(void)iv;
	(void)ret;
	if (box.refusal != INVOKE_ACCEPTED) {
		buf_done(&r->payload);
		return box.refusal;
	}
	box.started++;
	memcpy(box.trace, r->trace_id, sizeof(box.trace));
	assert_int_equal(r->kind, METER_EVENT);
	box.held[box.held_count++] = *r;
	return INVOKE_ACCEPTED;
}

int64_t invoke_function_reserved(const struct invoke_function *f)
{
	(void)f;
	return box.reserved;
}

/* ---- a target ---- */

static struct {
	unsigned sent, staged;
	size_t max;
	char arn[4][64], text[4][4096], trace[INVOKE_TRACE_SIZE];
} target;

static int check_target(void *ctx, const struct target_record *r, struct err *e)
{
	(void)ctx;
	return strstr(r->arn, "gone") ? err_set(e, ENOENT, "no such queue") : 0;
}

static void *stage(void *ctx, const struct target_record *r, struct store_write *w, struct err *e)
{
	_cleanup_free_ char *key = xasprintf("%u", target.staged);
	char *text = target.text[target.staged % 4];

	if (check_target(ctx, r, e) < 0)
		return NULL;
	if (r->body.len > target.max) {
		err_set(e, EMSGSIZE, "too large");
		return NULL;
	}
	snprintf(target.arn[target.staged % 4], 64, "%s", r->arn);
	snprintf(text, 4096, "%.*s", STR_FMT(r->body));
	for (size_t i = 0; i < r->attribute_count; i++)
		snprintf(text + strlen(text), 4096 - strlen(text), "|%s=%s", r->attributes[i].name,
		    r->attributes[i].value);
	snprintf(target.trace, sizeof(target.trace), "%s", r->trace_id);
	target.staged++;
	store_put(w, "sent", str_from(key), r->body, STORE_ANY);
	return &target;
}

static unsigned finished, failed;

static void finish(void *ctx, void *token, int result)
{
	(void)ctx;
	assert_ptr_equal(token, &target);
	if (result < 0) {
		failed++;
	} else {
		finished++;
		target.sent++;
	}
}

static const struct target_ops ops = {
    .service = "sqs", .check = check_target, .stage = stage, .finish = finish};

/* ---- set-up ---- */

static struct loop *loop;
static char *dir;
static struct invoke iv;
static struct invoke_function function;
static struct invoke_version version = {.function = &function};
static struct invoke_policy policy;
static bool gone, not_ready;

static struct invoke_version *resolve(
    void *ctx, struct str account, struct str region, struct str name, struct str qualifier)
{
	(void)ctx;
	(void)account;
	(void)region;
	(void)qualifier;
	assert_true(str_is(name, "f"));
	return not_ready ? NULL : &version;
}

static bool find_policy(void *ctx, struct str account, struct str region, struct str name,
    struct str qualifier, struct invoke_policy *ret)
{
	(void)ctx;
	(void)account;
	(void)region;
	(void)name;
	(void)qualifier;
	*ret = policy;
	return !gone;
}

static void open_all(void)
{
	iv.o.store = store_open(loop, dir, NULL);
	assert_non_null(iv.o.store);
	iv.o.targets = targets_new(loop, iv.o.store);
	targets_add(iv.o.targets, &ops, NULL);
	iv.async = async_new(&iv);
}

static void close_all(void)
{
	async_stop(iv.async);
	store_close(iv.o.store);
	for (unsigned i = 0; i < box.held_count; i++)
		buf_done(&box.held[i].payload);
	box.held_count = 0;
	async_free(iv.async);
	targets_free(iv.o.targets);
}

static int setup(void **state)
{
	(void)state;
	memset(&box, 0, sizeof(box));
	memset(&target, 0, sizeof(target));
	target.max = 1u << 20;
	box.answer = "{}";
	box.reserved = -1;
	finished = failed = 0;
	gone = not_ready = false;
	policy =
	    (struct invoke_policy){.retries = INVOKE_RETRIES_MAX, .age_max_ms = INVOKE_AGE_MAX_MS};
	loop = loop_new(2, NULL);
	dir = scratch_new();
	iv = (struct invoke){
	    .o = {.loop = loop, .retry_base_ms = 50, .resolve = resolve, .policy = find_policy}};
	list_init(&iv.versions);
	open_all();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_all();
	loop_turn(loop, 0);
	loop_free(loop);
	scratch_remove(dir);
	return 0;
}

static void accepted(void *ctx, int result)
{
	assert_int_equal(result, 0);
	*(int *)ctx = 1;
}

static struct invoke_event event_of(const char *payload)
{
	return (struct invoke_event){.account = STR("123456789012"),
	    .region = STR("us-east-1"),
	    .name = STR("f"),
	    .qualifier = STR(""),
	    .request_id = "00000000-0000-4000-8000-000000000000",
	    .trace_id = TRACE,
	    .arn = "arn:f",
	    .payload = str_from(payload)};
}

static void send(const char *payload)
{
	struct invoke_event ev = event_of(payload);
	int ok = 0;

	invoke_event(&iv, &ev, accepted, &ok);
	assert_true(scratch_wait(loop, &ok));
}

/* Until no event is left, on disk or in memory, answering what runs. */
static void settle(void)
{
	int64_t end = time_mono_ns() + 15 * (int64_t)1000000000;

	do {
		loop_turn(loop, 10);
		if (!box.hold)
			answer_held();
		assert_true(time_mono_ns() < end);
	} while (iv.counts.events || store_queue_length(iv.o.store, EVENTS_QUEUE));
}

/* ---- tests ---- */

static void succeeds(void **state)
{
	(void)state;
	send("{\"a\":1}");
	settle();
	assert_int_equal(box.started, 1);
	assert_int_equal(target.sent, 0);
	policy.on_success_arn = QUEUE;
	policy.on_failure_arn = policy.dead_letter_arn = DEAD;
	box.answer = "{\"b\":2}";
	send("{\"a\":1}");
	settle();
	assert_int_equal(target.sent, 1);
	assert_string_equal(target.arn[0], QUEUE);
	assert_non_null(strstr(target.text[0],
	    "\"requestContext\":{\"requestId\":\"00000000-0000-4000-8000-000000000000\","
	    "\"functionArn\":\"arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST\","
	    "\"condition\":\"Success\",\"approximateInvokeCount\":1},\"requestPayload\":{\"a\":1},"
	    "\"responseContext\":{\"statusCode\":200,\"executedVersion\":\"$LATEST\"},"
	    "\"responsePayload\":{\"b\":2}}"));
	assert_non_null(strstr(target.trace, TRACE ";Lineage=1:"));
}

static void fails_three_times(void **state)
{
	int64_t start = time_mono_ns();

	(void)state;
	policy.on_failure_arn = QUEUE;
	policy.dead_letter_arn = DEAD;
	box.outcome = INVOKE_ERROR;
	box.answer = "{\"errorType\":\"E\",\"errorMessage\":\"bad luck\"}";
	send("{\"a\":1}");
	settle();
	assert_int_equal(box.started, 3);
	assert_true(time_mono_ns() - start >= 140 * 1000000); /* 50 ms, then 100 */
	assert_int_equal(target.sent, 2);
	assert_string_equal(target.arn[0], DEAD);
	assert_string_equal(target.text[0],
	    "{\"a\":1}|RequestID=00000000-0000-4000-8000-000000000000|ErrorCode=200|"
	    "ErrorMessage=bad luck");
	assert_non_null(strstr(
	    target.text[1], "\"condition\":\"RetriesExhausted\",\"approximateInvokeCount\":3}"));
	assert_non_null(strstr(target.text[1],
	    "\"functionError\":\"Unhandled\"},\"responsePayload\":{\"errorType\":\"E\""));
}

static void as_often_as_wanted(void **state)
{
	(void)state;
	policy.retries = 0;
	policy.dead_letter_arn = DEAD;
	box.outcome = INVOKE_TIMEOUT;
	box.answer = "not json";
	send("1");
	settle();
	assert_int_equal(box.started, 1);
	assert_string_equal(
	    target.text[0], "1|RequestID=00000000-0000-4000-8000-000000000000|ErrorCode=200");
}

static void odd_answers(void **state)
{
	(void)state;
	policy.on_success_arn = QUEUE;
	box.answer = "a \"b\"";
	send("1");
	settle();
	assert_non_null(strstr(target.text[0], "\"responsePayload\":\"a \\\"b\\\"\"}"));
	box.answer = "";
	send("1");
	settle();
	assert_non_null(strstr(target.text[1], "\"responsePayload\":null}"));
}

static void too_large_for_its_destination(void **state)
{
	_cleanup_free_ char *large = xasprintf("\"%0600d\"", 0);

	(void)state;
	policy.on_success_arn = QUEUE;
	target.max = 1000;
	box.answer = large;
	send("1");
	settle();
	assert_int_equal(target.sent, 1);
	assert_non_null(strstr(target.text[0], "\"responsePayload\":\"000"));
	target.max = 600;
	send("1");
	settle();
	assert_int_equal(target.sent, 2);
	assert_null(strstr(target.text[1], "responsePayload"));
	assert_non_null(strstr(target.text[1], "\"requestPayload\":1"));
	send(large);
	settle();
	assert_int_equal(target.sent, 3);
	assert_null(strstr(target.text[2], "Payload"));
	assert_non_null(strstr(target.text[2], "\"condition\":\"Success\""));
}

static void gone_destinations(void **state)
{
	(void)state;
	policy.on_success_arn = "arn:aws:sqs:us-east-1:123456789012:gone";
	send("1");
	settle();
	policy.on_success_arn = "arn:aws:sns:us-east-1:123456789012:t";
	send("1");
	settle();
	assert_int_equal(target.sent, 0);
	gone = true; /* the function */
	send("1");
	settle();
	assert_int_equal(box.started, 2);
}

static void too_old(void **state)
{
	(void)state;
	policy.age_max_ms = 60000; /* 50 ms here */
	policy.on_failure_arn = QUEUE;
	policy.dead_letter_arn = DEAD;
	box.refusal = INVOKE_ACCOUNT_FULL;
	send("1");
	settle();
	assert_int_equal(box.started, 0);
	assert_int_equal(target.sent, 2);
	assert_non_null(strstr(target.text[0], "ErrorCode=429|ErrorMessage=The event was older"));
	assert_non_null(strstr(target.text[1],
	    "\"condition\":\"EventAgeExceeded\",\"approximateInvokeCount\":0},"
	    "\"requestPayload\":1}"));
}

static void throttled_for_a_while(void **state)
{
	(void)state;
	policy.dead_letter_arn = DEAD;
	box.refusal = INVOKE_RESERVED_FULL;
	send("1");
	for (int i = 0; i < 30; i++)
		loop_turn(loop, 10);
	assert_int_equal(box.started, 0);
	box.refusal = INVOKE_ACCEPTED;
	settle();
	assert_int_equal(box.started, 1);
	not_ready = true;
	send("1");
	for (int i = 0; i < 30; i++)
		loop_turn(loop, 10);
	not_ready = false;
	settle();
	assert_int_equal(box.started, 2);
	assert_int_equal(target.sent, 0);
}

static void none_reserved(void **state)
{
	(void)state;
	policy.on_failure_arn = QUEUE;
	box.reserved = 0;
	send("1");
	settle();
	assert_int_equal(box.started, 0);
	assert_non_null(strstr(target.text[0], "\"condition\":\"ZeroReservedConcurrency\""));
}

static void stopped_loops(void **state)
{
	(void)state;
	policy.dead_letter_arn = DEAD;
	box.refusal = INVOKE_RECURSIVE;
	send("1");
	settle();
	assert_int_equal(target.sent, 1);
	assert_non_null(strstr(target.text[0], "recursive loop"));
}

static void no_box(void **state)
{
	(void)state;
	policy.retries = 0;
	box.outcome = INVOKE_NO_BOX;
	send("1");
	for (int i = 0; i < 10; i++) {
		loop_turn(loop, 10);
		answer_held();
	}
	box.outcome = INVOKE_OK;
	settle();
	assert_true(box.started >= 2);
	assert_int_equal(target.sent, 0);
}

struct staging {
	struct store_write write;
	struct invoke_staged *staged;
	int result;
};

static void on_staged(struct store_write *w, int result)
{
	struct staging *s = container_of(w, struct staging, write);

	invoke_event_finish(s->staged, result);
	s->result = result < 0 ? result : 1;
}

static int stage_event(int64_t expect_version)
{
	struct invoke_event ev = event_of("{\"staged\":true}");
	struct staging s = {0};

	store_write_init(&s.write, on_staged);
	store_put(&s.write, "other", STR("object"), STR("v"), expect_version);
	s.staged = invoke_event_stage(&iv, &ev, &s.write);
	store_commit(iv.o.store, &s.write);
	assert_true(scratch_wait(loop, &s.result));
	return s.result;
}

static void part_of_a_write(void **state)
{
	(void)state;
	assert_int_equal(stage_event(STORE_ABSENT), 1);
	settle();
	assert_int_equal(box.started, 1);
	assert_string_equal(box.trace, TRACE);
	assert_int_equal(stage_event(7), -EAGAIN);
	settle();
	assert_int_equal(box.started, 1);
}

/* Stopped, or killed, in the middle of an attempt: it runs again after the next start, and its end
 * is told once. */
static void restarts(void **state)
{
	(void)state;
	policy.on_success_arn = QUEUE;
	box.hold = true;
	send("1");
	assert_int_equal(box.started, 1);
	close_all();
	iv.counts = (struct invoke_counts){0};
	open_all();
	async_resume(iv.async);
	box.hold = false;
	settle();
	assert_int_equal(box.started, 2);
	assert_int_equal(target.sent, 1);
}

/* While the server stops nothing begins, and nothing is lost. */
static void begins_nothing_while_stopping(void **state)
{
	(void)state;
	async_stop(iv.async);
	send("1");
	assert_int_equal(box.started, 0);
	assert_int_equal(store_queue_length(iv.o.store, EVENTS_QUEUE), 1);
	close_all();
	open_all();
	async_resume(iv.async);
	settle();
	assert_int_equal(box.started, 1);
}

static void many_run_once(void **state)
{
	struct invoke_event ev = event_of("1");
	int ok = 0;

	(void)state;
	policy.on_success_arn = QUEUE;
	for (int i = 0; i < 500; i++) {
		snprintf(ev.request_id, sizeof(ev.request_id), "00000000-0000-4000-8000-%012d", i);
		invoke_event(&iv, &ev, accepted, &ok);
	}
	settle();
	assert_int_equal(box.started, 500);
	assert_int_equal(target.sent, 500);
	assert_int_equal(finished, 500);
}

/* ---- lineage ---- */

static void round_and_round(void **state)
{
	char a[9], trace[INVOKE_TRACE_SIZE] = TRACE, next[INVOKE_TRACE_SIZE];
	_cleanup_free_ char *first = NULL;
	unsigned ran = 0;

	(void)state;
	lineage_hash("123456789012", "us-east-1", "f", a);
	first = xasprintf(TRACE ";Lineage=1:%s:0", a);
	assert_true(lineage_next(trace, a, next));
	assert_string_equal(next, first);
	while (lineage_next(trace, a, next)) {
		memcpy(trace, next, sizeof(trace));
		assert_true(++ran < 100);
	}
	assert_int_equal(ran, INVOKE_LOOPS_MAX);
	/* Whoever is told of it may run. */
	memcpy(trace, next, sizeof(trace));
	assert_true(lineage_next(trace, "00000001", next));
}

/* Loops of several functions, also such as begin behind others. */
static void longer_loops(void **state)
{
	(void)state;
	for (unsigned lead = 0; lead < 5; lead++) {
		for (unsigned period = 1; period < 20; period++) {
			char trace[INVOKE_TRACE_SIZE] = "", next[INVOKE_TRACE_SIZE], hash[9];
			unsigned hops = 0;

			for (;; hops++) {
				unsigned at = hops < lead ? 100 + hops : (hops - lead) % period;

				snprintf(hash, sizeof(hash), "%08x", at);
				if (!lineage_next(trace, hash, next))
					break;
				memcpy(trace, next, sizeof(trace));
				assert_true(hops < 20 * 64);
			}
			assert_true(hops >= lead + period * 15);
			assert_true(hops <= 2 * (lead + period) + period * 17 + 64);
		}
	}
}

static void no_loops(void **state)
{
	char trace[INVOKE_TRACE_SIZE] = "", next[INVOKE_TRACE_SIZE], hash[9];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(hash, sizeof(hash), "%08x", i);
		assert_true(lineage_next(trace, hash, next));
		memcpy(trace, next, sizeof(trace));
	}
	assert_non_null(strstr(trace, "Lineage=1000:"));
}

static void odd_traces(void **state)
{
	static const char *const odd[] = {"", ";", "Lineage=", "Lineage=1:2",
	    "Lineage=1:xxxxxxxx:999", "Lineage=-1:00000001:0",
	    "Root=1;Lineage=99999:00000001:0;Self=2", ";;;;Lineage=::;"};
	char next[INVOKE_TRACE_SIZE], longest[INVOKE_TRACE_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		assert_true(lineage_next(odd[i], "00000001", next));
		assert_non_null(strstr(next, "Lineage=1:00000001:0"));
		assert_true(next[0] != ';');
	}
	assert_true(lineage_next("Root=1;Lineage=3:00000001:2;Sampled=1", "00000001", next));
	assert_string_equal(next, "Root=1;Sampled=1;Lineage=4:00000001:3");
	assert_false(lineage_next("Lineage=32767:00000002:0", "00000001", next));
	assert_false(lineage_next("Lineage=5:00000001:255", "00000001", next));
	assert_string_equal(next, "Lineage=6:00000001:255");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_true(lineage_next(longest, "00000001", next));
	assert_string_equal(next, "Lineage=1:00000001:0");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(succeeds),
	    T(fails_three_times),
	    T(as_often_as_wanted),
	    T(odd_answers),
	    T(too_large_for_its_destination),
	    T(gone_destinations),
	    T(too_old),
	    T(throttled_for_a_while),
	    T(none_reserved),
	    T(stopped_loops),
	    T(no_box),
	    T(part_of_a_write),
	    T(restarts),
	    T(begins_nothing_while_stopping),
	    T(many_run_once),
	    cmocka_unit_test(round_and_round),
	    cmocka_unit_test(longer_loops),
	    cmocka_unit_test(no_loops),
	    cmocka_unit_test(odd_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
