/*
 * Event source mappings over SQS, with the queue and the invoke path played by the test: states,
 * batches, filters, partial failures, back-off, what is under way when a mapping stops.
 */
#include "unit.h"

#include <stdio.h>

#include "scratch.h"
#include "source/source.h"

#define ARN "arn:aws:sqs:us-east-1:123456789012:q"

/* ---- a queue ---- */

struct fake_message {
	char id[37], receipt[40], body[200];
	bool taken, deleted;
	int64_t visibility_ms; /* as last set; -1: never */
	unsigned receives;
};

struct queue {
	struct queue_settings settings;
	struct queue_receiver *waiting;
	struct fake_message messages[4096];
	size_t count;
};

struct queue_staged {
	struct fake_message *m;
};

static struct queue the_queue;
static bool queue_there, function_there;
static unsigned deletions;

struct queue *queue_find_arn(struct queues *q, const char *arn)
{
	(void)q;
	return queue_there && strcmp(arn, ARN) == 0 ? &the_queue : NULL;
}

const struct queue_settings *queue_settings(const struct queue *q)
{
	return &q->settings;
}

static size_t give(struct queue *q, struct queue_receiver *r, struct queue_received *out)
{
	size_t n = 0;

	for (size_t i = 0; i < q->count && n < r->max; i++) {
		struct fake_message *m = &q->messages[i];

		if (m->taken || m->deleted)
			continue;
		m->taken = true;
		m->receives++;
		out[n++] = (struct queue_received){.id = m->id,
		    .receipt = m->receipt,
		    .body = str_from(m->body),
		    .trace = STR("Root=1-5759e988-bd862e3fe1be46a994272793"),
		    .sender = STR("AIDA"),
		    .sequence = "",
		    .md5 = "d41d8cd98f00b204e9800998ecf8427e",
		    .attributes_md5 = "",
		    .sent_ms = 1,
		    .first_received_ms = 2,
		    .receives = m->receives};
	}
	return n;
}

void queue_receive(struct queue *q, struct queue_receiver *r)
{
	static struct queue_received out[4096];
	size_t n = give(q, r, out);

	if (n || !r->wait_ms)
		r->done(r, 0, out, n);
	else
		q->waiting = r;
}

void queue_receive_cancel(struct queue_receiver *r)
{
	if (the_queue.waiting == r)
		the_queue.waiting = NULL;
}

static struct fake_message *by_receipt(struct str receipt)
{
	for (size_t i = 0; i < the_queue.count; i++)
		if (str_is(receipt, the_queue.messages[i].receipt))
			return &the_queue.messages[i];
	return NULL;
}

int queue_stage_delete(
    struct queue *q, struct str receipt, struct store_write *w, struct queue_staged **ret)
{
	char key[64];

	(void)q;
	snprintf(key, sizeof(key), "%.*s", STR_FMT(receipt));
	store_put(w, "deleted", str_from(key), STR("x"), STORE_ANY);
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->m = by_receipt(receipt);
	return 0;
}

void queue_finish(struct queue_staged *s, int result)
{
	assert_int_equal(result, 0);
	s->m->deleted = true;
	deletions++;
	free(s);
}

int queue_visibility(struct queue *q, struct str receipt, int64_t visibility_ms)
{
	struct fake_message *m = by_receipt(receipt);

	(void)q;
	m->visibility_ms = visibility_ms;
	if (!visibility_ms)
		m->taken = false;
	return 0;
}

static void put(const char *body)
{
	struct fake_message *m = &the_queue.messages[the_queue.count];
	struct queue_receiver *r = the_queue.waiting;

	*m = (struct fake_message){.visibility_ms = -1};
	snprintf(m->id, sizeof(m->id), "id-%zu", the_queue.count);
	snprintf(m->receipt, sizeof(m->receipt), "receipt-%zu", the_queue.count);
	snprintf(m->body, sizeof(m->body), "%s", body);
	the_queue.count++;
	the_queue.waiting = NULL;
	if (r)
		queue_receive(&the_queue, r);
}

/* ---- a function ---- */

struct invocation {
	struct invoke_request q;
	bool ended, forgotten;
};

static struct invocation invocations[4096];
static size_t invoked, ended;
static enum invoke_refusal refusal;
static unsigned refused, waiting_now;

static struct invoke_version *resolve(
    void *ctx, struct str account, struct str region, struct str name, struct str qualifier)
{
	(void)ctx;
	assert_true(str_is(account, "123456789012") && str_is(region, "us-east-1"));
	assert_true(str_is(name, "f") && str_is(qualifier, "live"));
	return function_there ? (struct invoke_version *)invocations : NULL;
}

enum invoke_refusal invoke_start(
    struct invoke *iv, struct invoke_request *r, struct invocation **ret)
{
	(void)iv;
	if (refusal) {
		buf_done(&r->payload);
		refused++;
		return refusal;
	}
	invocations[invoked] = (struct invocation){.q = *r};
	*ret = &invocations[invoked++];
	return INVOKE_ACCEPTED;
}

void invocation_forget(struct invocation *n)
{
	n->forgotten = true;
	buf_done(&n->q.payload);
}

void invoke_count(const struct invoke *iv, struct invoke_counts *ret)
{
	(void)iv;
	*ret = (struct invoke_counts){.waiting = waiting_now};
}

static void answer(size_t i, enum invoke_outcome outcome, const char *text)
{
	struct buf payload = BUF_INIT;
	struct invoke_result r = {.outcome = outcome, .payload = &payload};

	assert_true(i < invoked && !invocations[i].ended);
	invocations[i].ended = true;
	ended++;
	buf_puts(&payload, text);
	buf_done(&invocations[i].q.payload);
	invocations[i].q.done(invocations[i].q.ctx, &r);
	buf_done(&payload);
}

static size_t records_of(size_t i)
{
	struct str s = buf_str(&invocations[i].q.payload);
	json_t *doc = json_loadb(s.ptr, s.len, 0, NULL);
	size_t n = json_array_size(json_object_get(doc, "Records"));

	assert_non_null(doc);
	json_decref(doc);
	return n;
}

/* ---- the rig ---- */

static struct rig {
	char *dir;
	struct loop *loop;
	struct store *store;
	struct sources *sources;
	struct source_mapping *mapping;
	int done, result;
} rig;

static void turns(int n)
{
	for (int i = 0; i < n; i++)
		loop_turn(rig.loop, 5);
}

static void open_sources(void)
{
	const struct source_options o = {.loop = rig.loop, .store = rig.store, .resolve = resolve};
	struct err e = ERR_INIT;

	rig.sources = sources_open(&o, &e);
	assert_non_null(rig.sources);
	sources_resume(rig.sources);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	memset(&the_queue, 0, sizeof(the_queue));
	memset(invocations, 0, sizeof(invocations));
	rig = (struct rig){.dir = scratch_new(), .loop = loop_new(2, &e)};
	rig.store = store_open(rig.loop, rig.dir, &e);
	the_queue.settings.visibility_ms = 30000;
	queue_there = function_there = true;
	deletions = refused = waiting_now = 0;
	invoked = ended = 0;
	refusal = INVOKE_ACCEPTED;
	open_sources();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < invoked; i++)
		if (!invocations[i].ended && !invocations[i].forgotten)
			buf_done(&invocations[i].q.payload);
	sources_close(rig.sources);
	store_close(rig.store);
	loop_free(rig.loop);
	scratch_remove(rig.dir);
	return 0;
}

static void on_done(void *ctx, int result, struct source_mapping *m)
{
	(void)ctx;
	rig.done = 1;
	rig.result = result;
	rig.mapping = m;
}

static void create(const char *extra)
{
	json_t *doc = json_loads(extra, 0, NULL);

	assert_non_null(doc);
	json_object_set_new(doc, "UUID", json_string("6d9bce8e-836b-442c-8070-74e77903c815"));
	json_object_set_new(doc, "EventSourceArn", json_string(ARN));
	json_object_set_new(doc, "FunctionArn",
	    json_string("arn:aws:lambda:us-east-1:123456789012:function:f:live"));
	rig.done = 0;
	source_create(rig.sources, STR("123456789012"), STR("us-east-1"), doc, on_done, NULL);
	assert_true(scratch_wait(rig.loop, &rig.done));
	assert_int_equal(rig.result, 0);
	turns(3);
}

static void update(const char *key, json_t *value)
{
	json_t *doc = json_deep_copy(source_doc(rig.mapping));

	json_object_set_new(doc, key, value);
	rig.done = 0;
	source_update(rig.mapping, doc, on_done, NULL);
	assert_true(scratch_wait(rig.loop, &rig.done));
	assert_int_equal(rig.result, 0);
}

static const char *state_now(void)
{
	return source_state_name(source_state(rig.mapping));
}

static void wait_deletions(unsigned n)
{
	for (int i = 0; i < 400 && deletions < n; i++)
		loop_turn(rig.loop, 5);
	assert_int_equal(deletions, n);
}

/* ---- tests ---- */

static void test_runs(void **state)
{
	struct str s;

	(void)state;
	create("{\"BatchSize\":10}");
	assert_string_equal(state_now(), "Enabled");
	put("hello \"x\"");
	assert_int_equal(invoked, 1);
	s = buf_str(&invocations[0].q.payload);
	assert_int_equal(records_of(0), 1);
	assert_non_null(memmem(s.ptr, s.len, "\"body\":\"hello \\\"x\\\"\"", 18));
	assert_non_null(memmem(s.ptr, s.len, "\"eventSourceARN\":\"" ARN "\"", 20));
	assert_string_equal(invocations[0].q.trace_id, "Root=1-5759e988-bd862e3fe1be46a994272793");
	assert_int_equal(deletions, 0);
	answer(0, INVOKE_OK, "null");
	wait_deletions(1);
	assert_string_equal(source_last_result(rig.mapping), "OK");
}

static void test_states(void **state)
{
	(void)state;
	create("{\"BatchSize\":1}");
	put("a");
	update("Enabled", json_false());
	turns(3);
	/* Until the batch under way has ended. */
	assert_string_equal(state_now(), "Disabling");
	assert_false(source_is_steady(rig.mapping));
	answer(0, INVOKE_OK, "");
	wait_deletions(1);
	turns(3);
	assert_string_equal(state_now(), "Disabled");
	put("b");
	turns(3);
	assert_int_equal(invoked, 1);
	update("Enabled", json_true());
	turns(3);
	assert_string_equal(state_now(), "Enabled");
	assert_int_equal(invoked, 2);
	/* Survives a restart. */
	sources_close(rig.sources);
	open_sources();
	rig.mapping = source_find(rig.sources, STR("123456789012"), STR("us-east-1"),
	    STR("6d9bce8e-836b-442c-8070-74e77903c815"));
	assert_non_null(rig.mapping);
	turns(3);
	assert_string_equal(state_now(), "Enabled");
	rig.done = 0;
	source_delete(rig.mapping, on_done, NULL);
	assert_true(scratch_wait(rig.loop, &rig.done));
	assert_string_equal(state_now(), "Deleting");
	for (int i = 0; i < 100; i++)
		loop_turn(rig.loop, 5);
	assert_null(source_find(rig.sources, STR("123456789012"), STR("us-east-1"),
	    STR("6d9bce8e-836b-442c-8070-74e77903c815")));
}

static void test_batch(void **state)
{
	(void)state;
	for (int i = 0; i < 25; i++)
		put("x");
	create("{\"BatchSize\":10}");
	turns(5);
	assert_int_equal(invoked, 3);
	assert_int_equal(records_of(0), 10);
	assert_int_equal(records_of(2), 5);
	answer(1, INVOKE_ERROR, "{}");
	answer(0, INVOKE_OK, "{}");
	wait_deletions(10);
	turns(5);
	assert_int_equal(deletions, 10);
	assert_false(the_queue.messages[15].deleted);
}

static void test_window(void **state)
{
	int64_t begin;

	(void)state;
	create("{\"BatchSize\":3,\"MaximumBatchingWindowInSeconds\":1}");
	begin = time_mono_ns();
	put("a");
	turns(2);
	put("b");
	turns(2);
	assert_int_equal(invoked, 0);
	put("c");
	assert_int_equal(invoked, 1);
	assert_true(time_mono_ns() - begin < 900000000);
	assert_int_equal(records_of(0), 3);
	turns(2);
	put("d");
	turns(2);
	assert_int_equal(invoked, 1);
	/* The queue ends the wait. */
	begin = time_mono_ns();
	while (time_mono_ns() - begin < 1000000000)
		loop_turn(rig.loop, 50);
	assert_non_null(the_queue.waiting);
	assert_true(the_queue.waiting->wait_ms <= 1000);
	the_queue.waiting->done(the_queue.waiting, 0, NULL, 0);
	assert_int_equal(invoked, 2);
	assert_int_equal(records_of(1), 1);
}

static void test_filter(void **state)
{
	(void)state;
	create("{\"BatchSize\":10,\"FilterCriteria\":{\"Filters\":[{\"Pattern\":"
	       "\"{\\\"body\\\":{\\\"n\\\":[1]}}\"}]}}");
	put("{\"n\":2}");
	put("{\"n\":1}");
	put("plain");
	wait_deletions(2);
	assert_int_equal(invoked, 1);
	assert_int_equal(records_of(0), 1);
	answer(0, INVOKE_OK, "");
	wait_deletions(3);
}

static const struct {
	const char *response;
	bool deleted[3];
} responses[] = {
    {"", {true, true, true}},
    {"null", {true, true, true}},
    {"\"\"", {true, true, true}},
    {"[]", {true, true, true}},
    {"{}", {true, true, true}},
    {"{\"batchItemFailures\":[]}", {true, true, true}},
    {"{\"batchItemFailures\":null}", {true, true, true}},
    {"{\"batchItemFailures\":[{\"itemIdentifier\":\"id-1\"}]}", {true, false, true}},
    {"{\"batchItemFailures\":[{\"itemIdentifier\":\"id-0\"},{\"itemIdentifier\":\"id-2\"}]}",
	{false, true, false}},
    {"{\"batchItemFailures\":[{\"itemIdentifier\":\"id-9\"}]}", {false, false, false}},
    {"{\"batchItemFailures\":[{\"itemIdentifier\":\"\"}]}", {false, false, false}},
    {"{\"batchItemFailures\":[{\"itemIdentifier\":null}]}", {false, false, false}},
    {"{\"batchItemFailures\":[{\"id\":\"id-0\"}]}", {false, false, false}},
    {"{\"batchItemFailures\":\"id-0\"}", {false, false, false}},
    {"not json", {false, false, false}},
    {"\"text\"", {false, false, false}},
};

static void test_partial(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
		if (i) {
			teardown(NULL);
			setup(NULL);
		}
		for (int k = 0; k < 3; k++)
			put("x");
		create(
		    "{\"BatchSize\":10,\"FunctionResponseTypes\":[\"ReportBatchItemFailures\"]}");
		assert_int_equal(records_of(0), 3);
		answer(0, INVOKE_OK, responses[i].response);
		turns(20);
		for (int k = 0; k < 3; k++)
			if (the_queue.messages[k].deleted != responses[i].deleted[k])
				fail_msg("%s: record %d", responses[i].response, k);
	}
}

static void test_throttled(void **state)
{
	(void)state;
	refusal = INVOKE_RESERVED_FULL;
	create("{\"BatchSize\":1}");
	put("a");
	put("b");
	turns(5);
	assert_int_equal(refused, 1);
	/* Nothing more is taken, and what was stays hidden. */
	assert_true(the_queue.messages[0].visibility_ms > 30000);
	assert_false(the_queue.messages[1].taken);
	refusal = INVOKE_ACCEPTED;
	for (int i = 0; i < 200 && invoked < 2; i++)
		loop_turn(rig.loop, 10);
	assert_int_equal(invoked, 2);
	answer(0, INVOKE_NO_BOX, "");
	for (int i = 0; i < 200 && invoked < 3; i++)
		loop_turn(rig.loop, 10);
	assert_int_equal(invoked, 3);
	answer(2, INVOKE_OK, "");
	wait_deletions(1);
	/* Stopping gives back at once what is held. */
	refusal = INVOKE_RESERVED_FULL;
	answer(1, INVOKE_NO_BOX, "");
	update("Enabled", json_false());
	for (int i = 0; i < 100 && strcmp(state_now(), "Disabled") != 0; i++)
		loop_turn(rig.loop, 10);
	assert_string_equal(state_now(), "Disabled");
	assert_int_equal(the_queue.messages[1].visibility_ms, 0);
}

/* Only the message that brings the loop with it goes. */
static void test_looped(void **state)
{
	(void)state;
	refusal = INVOKE_RECURSIVE;
	for (int i = 0; i < 3; i++)
		put("x");
	create("{\"BatchSize\":10}");
	wait_deletions(3);
	/* Each once it was the first: the others were given back. */
	assert_int_equal(refused, 3);
	assert_int_equal(the_queue.messages[0].receives, 1);
	assert_int_equal(the_queue.messages[2].receives, 3);
	assert_int_equal(invoked, 0);
}

/* The queue's own way of ending what fails is taken where there is one. */
static void test_looped_dead_letter(void **state)
{
	(void)state;
	refusal = INVOKE_RECURSIVE;
	put("x");
	snprintf(the_queue.settings.dead_letter_arn, sizeof(the_queue.settings.dead_letter_arn),
	    "arn:aws:sqs:us-east-1:123456789012:dead");
	create("{\"BatchSize\":1}");
	turns(20);
	the_queue.settings.dead_letter_arn[0] = '\0';
	assert_int_equal(refused, 1);
	assert_int_equal(deletions, 0);
	assert_false(the_queue.messages[0].deleted);
}

static void test_function_away(void **state)
{
	(void)state;
	function_there = false;
	create("{\"BatchSize\":1}");
	put("a");
	turns(5);
	assert_int_equal(invoked, 0);
	assert_false(the_queue.messages[0].taken);
	assert_non_null(strstr(source_last_result(rig.mapping), "PROBLEM: The function"));
	function_there = true;
	for (int i = 0; i < 200 && !invoked; i++)
		loop_turn(rig.loop, 10);
	assert_int_equal(invoked, 1);
}

static void test_queue_away(void **state)
{
	struct queue_receiver *r;

	(void)state;
	create("{\"BatchSize\":1}");
	assert_non_null(the_queue.waiting);
	queue_there = false;
	r = take_ptr(the_queue.waiting);
	r->done(r, -ENOENT, NULL, 0);
	turns(5);
	assert_null(the_queue.waiting);
	assert_non_null(strstr(source_last_result(rig.mapping), "PROBLEM: The queue"));
	queue_there = true;
	for (int i = 0; i < 200 && !the_queue.waiting; i++)
		loop_turn(rig.loop, 10);
	put("a");
	assert_int_equal(invoked, 1);
}

static void test_concurrency(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		put("x");
	create("{\"BatchSize\":1,\"ScalingConfig\":{\"MaximumConcurrency\":2}}");
	turns(20);
	assert_int_equal(invoked, 2);
	answer(0, INVOKE_OK, "");
	turns(5);
	assert_int_equal(invoked, 3);
}

static void test_scaling(void **state)
{
	int64_t begin = time_mono_ns();

	(void)state;
	for (int i = 0; i < 50; i++)
		put("x");
	create("{\"BatchSize\":1}");
	turns(20);
	assert_int_equal(invoked, 5);
	while (time_mono_ns() - begin < 1500000000)
		loop_turn(rig.loop, 50);
	assert_in_range(invoked, 8, 14);
	/* The machine is full: messages stay in the queue. */
	waiting_now = 1;
	begin = (int64_t)invoked;
	for (int i = 0; i < 20; i++)
		loop_turn(rig.loop, 50);
	assert_int_equal(invoked, begin);
}

static void test_large(void **state)
{
	(void)state;
	for (int i = 0; i < 2500; i++)
		put("0123456789");
	create("{\"BatchSize\":10000,\"MaximumBatchingWindowInSeconds\":0}");
	turns(20);
	/* All in one batch, taken in slices. */
	assert_int_equal(invoked, 1);
	assert_int_equal(records_of(0), 2500);
	answer(0, INVOKE_OK, "");
	wait_deletions(2500);
}

static void test_duplicate(void **state)
{
	json_t *doc;

	(void)state;
	create("{\"BatchSize\":1}");
	doc = json_deep_copy(source_doc(rig.mapping));
	assert_string_equal(
	    source_duplicate(rig.sources, STR("123456789012"), STR("us-east-1"), doc),
	    "6d9bce8e-836b-442c-8070-74e77903c815");
	json_object_set_new(
	    doc, "FunctionArn", json_string("arn:aws:lambda:us-east-1:123456789012:function:f"));
	assert_null(source_duplicate(rig.sources, STR("123456789012"), STR("us-east-1"), doc));
	json_decref(doc);
}

static void test_closes_at_work(void **state)
{
	(void)state;
	create("{\"BatchSize\":1}");
	for (int i = 0; i < 3; i++)
		put("x");
	turns(3);
	assert_int_equal(invoked, 3);
	sources_stop(rig.sources);
	put("y");
	assert_int_equal(invoked, 3);
	answer(0, INVOKE_OK, "");
	wait_deletions(1);
	sources_close(rig.sources);
	rig.sources = NULL;
	assert_true(invocations[1].forgotten);
}

static void test_unknown_kinds(void **state)
{
	struct err e = ERR_INIT;
	json_t *doc =
	    json_pack("{s:s}", "EventSourceArn", "arn:aws:kinesis:us-east-1:123456789012:stream/s");

	(void)state;
	assert_null(source_kind(doc, &e));
	assert_non_null(strstr(e.msg, "service kinesis are not supported"));
	json_decref(doc);
	doc = json_object();
	assert_null(source_kind(doc, &e));
	assert_string_equal(e.msg, "Unrecognized event source.");
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_states, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_window, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_partial, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_throttled, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_looped, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_looped_dead_letter, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_function_away, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_queue_away, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_concurrency, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_scaling, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_large, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_duplicate, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_closes_at_work, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unknown_kinds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
