/*
 * The invoke path over boxes that the test plays: gate, warm stack, sending ahead, time-outs,
 * crashes, repeated init, extensions, forgetting callers.
 */
#include "invoke_rig.h"

static void cold_then_warm(void **state)
{
	struct caller c;

	(void)state;
	assert_int_equal(call(&c, NULL), INVOKE_ACCEPTED);
	assert_int_equal(box_total, 1);
	boxes[0].handler->on_ready(&boxes[0]);
	assert_int_equal(boxes[0].sent, 1);
	answer(&boxes[0], 0, "\"hi\"", false);
	assert_int_equal(c.done, 1);
	assert_string_equal(c.text, "\"hi\"");
	assert_int_equal(booked_count, 1);
	assert_true(booked[0].init_us > 0 || strstr(log_text, "Init Duration"));
	assert_int_equal(booked[0].max_memory_mb, 36);
	assert_non_null(strstr(log_text, "INIT_START Runtime Version: nodejs:20.v1\t"));
	assert_non_null(strstr(log_text, " Version: $LATEST\n"));
	assert_non_null(
	    strstr(log_text, "\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Dur"));
	log_len = 0;
	call(&c, NULL);
	assert_int_equal(box_total, 1);
	answer(&boxes[0], 1, "1", false);
	assert_null(strstr(log_text, "Init Duration"));
	assert_int_equal(booked[1].init_us, 0);
	assert_int_equal(iv->counts.running, 0);
}

static void extension_goes_on(void **state)
{
	struct box *b = &boxes[0];
	struct caller c, d;

	(void)state;
	call(&c, NULL);
	b->extension = b->at_work = true;
	b->handler->on_ready(b);
	assert_non_null(
	    strstr(log_text, "EXTENSION\tName: watch\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n"));
	answer(b, 0, "1", false);
	assert_int_equal(c.done, 1);
	assert_int_equal(booked_count, 0);
	assert_null(strstr(log_text, "REPORT"));
	/* Nobody else gets this box meanwhile. */
	call(&d, NULL);
	assert_int_equal(b->sent, 1);
	b->at_work = false;
	b->handler->on_settled(b);
	assert_int_equal(booked_count, 1);
	assert_non_null(strstr(log_text, "REPORT RequestId: "));
	loop_turn(loop, 0);
	assert_int_equal(b->sent, 2);
	/* This time it crashes once the caller has been told. */
	b->at_work = true;
	answer(b, 1, "2", false);
	assert_string_equal(d.text, "2");
	b->extension = false;
	b->handler->on_extension_lost(b, "Extension.Crash", "exit code 1");
	assert_int_equal(booked[1].outcome, METER_CRASH);
	assert_true(b->stopped);
	b->at_work = false;
	for (unsigned i = 1; i < box_total; i++)
		boxes[i].handler->on_ready(&boxes[i]);
}

static void extension_says_good_bye(void **state)
{
	struct box *b = &boxes[0];
	struct caller c;

	(void)state;
	call(&c, NULL);
	b->extension = true;
	b->handler->on_ready(b);
	answer(b, 0, "1", false);
	invoke_version_retire(version);
	assert_true(b->retiring);
	assert_false(b->dead);
	b->handler->on_output(b, STR("bye\n"));
	b->handler->on_exit(b, 0, false); /* the runtime went first */
	assert_false(b->stopped);
	b->handler->on_settled(b);
	assert_true(b->dead);
	assert_non_null(strstr(log_text, "bye\n"));
	version = new_version(3000); /* for the teardown */
}

/* Whose invocation has been answered, and whose version has gone, may take that version along. */
static void extension_outlives_its_version(void **state)
{
	struct box *b = &boxes[0];
	struct caller c;

	(void)state;
	call(&c, NULL);
	b->extension = b->at_work = true;
	b->handler->on_ready(b);
	answer(b, 0, "1", false);
	loop_turn(loop, 0);
	invoke_version_retire(version);
	assert_false(b->dead);
	b->extension = b->at_work = false; /* it does not listen for the end */
	b->handler->on_settled(b);
	assert_true(b->dead);
	assert_int_equal(booked_count, 1);
	version = new_version(3000); /* for the teardown */
}

static void extension_is_told_of_a_crash(void **state)
{
	struct box *b = &boxes[0];
	struct caller c, d;

	(void)state;
	call(&c, NULL);
	b->extension = true;
	b->handler->on_ready(b);
	exits(b, 3 << 8);
	assert_int_equal(c.outcome, INVOKE_CRASH);
	assert_string_equal(b->winding, "FAILURE");
	assert_false(b->stopped);
	b->handler->on_exit(b, 9, false); /* its runtime, late */
	/* Who comes meanwhile does not wait for it. */
	call(&d, NULL);
	assert_int_equal(box_total, 2);
	b->handler->on_output(b, STR("flushed\n"));
	b->handler->on_settled(b);
	assert_non_null(strstr(log_text, "flushed\n"));
	loop_turn(loop, 0);
	assert_int_equal(b->restarts, 1); /* who waited for the other one takes it */
	b->handler->on_ready(b);
	answer(b, b->sent - 1, "1", false);
	assert_int_equal(d.outcome, INVOKE_OK);
	boxes[1].handler->on_ready(&boxes[1]);
	b->extension = false;
}

static void extension_has_two_seconds_after_a_time_out(void **state)
{
	struct invoke_version *old = version;
	struct box *b = &boxes[0];
	int64_t until = time_mono_ns() + 5000000000, stopped_ns;
	struct caller c;

	(void)state;
	version = new_version(50);
	invoke_version_retire(old);
	call(&c, NULL);
	b->extension = true;
	b->handler->on_ready(b);
	while (!c.done && time_mono_ns() < until)
		loop_turn(loop, 10);
	stopped_ns = time_mono_ns();
	assert_int_equal(c.outcome, INVOKE_TIMEOUT);
	assert_string_equal(b->winding, "TIMEOUT");
	assert_false(b->stopped);
	while (!b->stopped && time_mono_ns() < until)
		loop_turn(loop, 10);
	assert_true(time_mono_ns() - stopped_ns > 1900000000);
	b->extension = false;
	call(&c, NULL);
	assert_int_equal(b->restarts, 1);
	b->handler->on_ready(b);
	answer(b, b->sent - 1, "1", false);
	assert_int_equal(c.outcome, INVOKE_OK);
	/* What the timer was set to for the invocation cuts nothing short. */
	call(&c, NULL);
	b->extension = true;
	b->stopped = false;
	exits(b, 3 << 8);
	stopped_ns = time_mono_ns();
	while (time_mono_ns() < stopped_ns + 150000000)
		loop_turn(loop, 10);
	assert_string_equal(b->winding, "FAILURE");
	assert_false(b->stopped);
	b->extension = false;
	b->handler->on_settled(b);
	assert_true(b->stopped);
}

static void gate_refuses_what_is_too_much(void **state)
{
	struct caller c[3];

	(void)state;
	invoke_function_reserve(function, 2);
	assert_int_equal(iv->reserved_sum, 2);
	assert_int_equal(call(&c[0], NULL), INVOKE_ACCEPTED);
	assert_int_equal(call(&c[1], NULL), INVOKE_ACCEPTED);
	assert_int_equal(call(&c[2], NULL), INVOKE_RESERVED_FULL);
	for (int i = 0; i < 2; i++)
		boxes[i].handler->on_ready(&boxes[i]);
	for (int i = 0; i < 2; i++)
		answer(&boxes[i], 0, "1", false);
	assert_int_equal(call(&c[2], NULL), INVOKE_ACCEPTED);
	answer(boxes[0].sent == 2 ? &boxes[0] : &boxes[1], 1, "1", false);
	assert_int_equal(c[2].done, 1);
	invoke_function_reserve(function, 0);
	assert_int_equal(call(&c[2], NULL), INVOKE_RESERVED_FULL);
	invoke_function_reserve(function, -1);
	assert_int_equal(iv->unreserved_running, 0);
	assert_int_equal(iv->counts.throttles, 2);
}

static void function_errors_leave_the_box_warm(void **state)
{
	struct caller c;

	(void)state;
	call(&c, NULL);
	boxes[0].handler->on_ready(&boxes[0]);
	answer(&boxes[0], 0, "{\"errorMessage\":\"x\"}", true);
	assert_int_equal(c.outcome, INVOKE_ERROR);
	assert_int_equal(booked[0].outcome, METER_ERROR);
	assert_false(boxes[0].stopped);
	call(&c, NULL);
	answer(&boxes[0], 1, "1", false);
	assert_int_equal(c.outcome, INVOKE_OK);
}

static void crash_stops_the_box_and_the_next_call_restarts_it(void **state)
{
	struct caller c;

	(void)state;
	call(&c, NULL);
	boxes[0].handler->on_ready(&boxes[0]);
	exits(&boxes[0], 3 << 8);
	assert_int_equal(c.outcome, INVOKE_CRASH);
	assert_non_null(strstr(c.text, "Runtime.ExitError"));
	assert_non_null(strstr(c.text, "Runtime exited with error: exit status 3"));
	assert_true(boxes[0].stopped);
	call(&c, NULL);
	assert_int_equal(box_total, 1);
	assert_int_equal(boxes[0].restarts, 1);
	boxes[0].handler->on_ready(&boxes[0]);
	answer(&boxes[0], 1, "1", false);
	assert_int_equal(c.outcome, INVOKE_OK);
}

static void what_cannot_be_started_is_told(void **state)
{
	static const struct {
		int errnum;
		const char *text;
	} cases[] = {
	    {ENOENT, "Error: Couldn't find valid bootstrap(s): ["},
	    {EACCES, ": permission denied"},
	    {ENOEXEC, ": exec format error"},
	    {ELIBACC, ": no such file or directory"},
	};
	struct caller c;

	(void)state;
	call(&c, NULL);
	boxes[0].handler->on_no_program(&boxes[0], ENOENT);
	assert_non_null(strstr(log_text, "Phase: init\tStatus: error\tError Type: Runtime.Inv"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (i)
			call(&c, NULL);
		assert_int_equal(c.done, 0);
		boxes[0].handler->on_no_program(&boxes[0], cases[i].errnum);
		loop_turn(loop, 0);
		assert_int_equal(c.outcome, INVOKE_CRASH);
		assert_non_null(strstr(c.text, "\"errorType\":\"Runtime.InvalidEntrypoint\""));
		assert_non_null(strstr(c.text, cases[i].text));
		assert_non_null(strstr(log_text, cases[i].text));
	}
	assert_non_null(strstr(log_text, "\nRuntime.InvalidEntrypoint\n"));
}

static void time_out_kills_and_tells(void **state)
{
	struct invoke_version *old = version;
	struct caller c;
	int64_t until = time_mono_ns() + 2000000000;

	(void)state;
	version = new_version(50);
	invoke_version_retire(old);
	call(&c, NULL);
	boxes[0].handler->on_ready(&boxes[0]);
	while (!c.done && time_mono_ns() < until)
		loop_turn(loop, 10);
	assert_int_equal(c.outcome, INVOKE_TIMEOUT);
	assert_non_null(strstr(c.text, "\"errorType\":\"Sandbox.Timedout\""));
	assert_non_null(strstr(c.text, "Error: Task timed out after 0.05 seconds\"}"));
	assert_non_null(strstr(log_text, "Duration: 50.00 ms\t"));
	assert_non_null(strstr(log_text, "Status: timeout\n"));
	assert_true(boxes[0].stopped);
}

static void failed_init_is_repeated_inside_the_call(void **state)
{
	struct caller c;

	(void)state;
	call(&c, NULL);
	fails_init(&boxes[0], STR("{}"));
	assert_int_equal(c.done, 0);
	assert_non_null(strstr(log_text, "INIT_REPORT Init Duration: "));
	assert_non_null(strstr(log_text, "\tPhase: init\tStatus: error\tError Type: Runtime.Imp"));
	assert_int_equal(boxes[0].restarts, 1);
	fails_init(&boxes[0], STR("{\"errorType\":\"x\"}"));
	assert_int_equal(c.outcome, INVOKE_INIT_ERROR);
	assert_string_equal(c.text, "{\"errorType\":\"x\"}");
	assert_non_null(strstr(log_text, "Phase: invoke"));
	assert_int_equal(booked[0].outcome, METER_INIT_ERROR);
}

static void trace_ids_have_their_shape(void **state)
{
	char a[INVOKE_TRACE_SIZE], b[INVOKE_TRACE_SIZE];
	unsigned seconds;
	int end = 0;

	(void)state;
	invoke_trace_id(a);
	invoke_trace_id(b);
	assert_int_equal(
	    sscanf(a, "Root=1-%8x-%*24[0-9a-f];Parent=%*16[0-9a-f];Sampled=0%n", &seconds, &end),
	    1);
	assert_int_equal(end, strlen(a));
	assert_int_equal(end, 74);
	assert_in_range(seconds, time_wall_ms() / 1000 - 5, time_wall_ms() / 1000);
	assert_string_not_equal(a + 16, b + 16);
	assert_string_not_equal(a + 41, b + 41);
}

/* One box that is known to be quick. */
static void warm_up(void)
{
	struct caller first;

	for (int i = 0; i < 12; i++) {
		call(&first, NULL);
		if (i == 0)
			boxes[0].handler->on_ready(&boxes[0]);
		answer(&boxes[0], boxes[0].sent - 1, "1", false);
	}
	version->run_ns = version->floor_ns = 10000;
	boxes[0].sent = 0;
}

static void short_calls_are_sent_ahead(void **state)
{
	struct caller c[35];

	(void)state;
	warm_up();
	for (int i = 0; i < 35; i++)
		call(&c[i], NULL);
	assert_int_equal(boxes[0].sent, 32);
	assert_int_equal(box_total, 1);
	answer(&boxes[0], 0, "1", false);
	assert_int_equal(c[0].done, 1);
	assert_int_equal(boxes[0].sent, 33);
	/* A crash: the second has run, those behind it have not. */
	version->run_ns = version->floor_ns = 10000;
	exits(&boxes[0], 9);
	assert_int_equal(c[1].outcome, INVOKE_CRASH);
	assert_int_equal(c[1].done, 1);
	for (int i = 2; i < 35; i++)
		assert_int_equal(c[i].done, 0);
	assert_int_equal(boxes[0].restarts, 1);
	boxes[0].handler->on_ready(&boxes[0]);
	for (unsigned at = 33; c[34].done == 0 && at < 128; at++)
		answer(&boxes[0], at % 64, "1", false);
	for (int i = 2; i < 35; i++)
		assert_int_equal(c[i].outcome, INVOKE_OK);
	assert_int_equal(iv->counts.running, 0);
}

/* The one that runs is not short this time: what waits behind it goes elsewhere. */
static void calls_behind_a_long_one_are_taken_back(void **state)
{
	struct caller c[6];

	(void)state;
	warm_up();
	for (int i = 0; i < 6; i++)
		call(&c[i], NULL);
	assert_int_equal(boxes[0].sent, 6);
	for (int i = 0; i < 100 && !boxes[0].taking; i++)
		loop_turn(loop, 10);
	assert_true(boxes[0].taking);
	assert_int_equal(c[0].done, 0);
	/* Its program had read the second, too. */
	boxes[0].handler->on_taken_back(&boxes[0], 4);
	for (int i = 0; i < 100 && box_total < 2; i++)
		loop_turn(loop, 10);
	assert_int_equal(box_total, 2);
	boxes[1].handler->on_ready(&boxes[1]);
	for (unsigned at = 0; at < 4; at++)
		answer(&boxes[1], at, "1", false);
	for (int i = 2; i < 6; i++)
		assert_int_equal(c[i].outcome + c[i].done, INVOKE_OK + 1);
	assert_int_equal(boxes[0].sent, 6);
	answer(&boxes[0], 0, "1", false);
	answer(&boxes[0], 1, "1", false);
	assert_int_equal(c[0].done + c[1].done, 2);
	assert_int_equal(iv->counts.running, 0);
}

static void forgotten_callers_are_not_called(void **state)
{
	struct invocation *n;
	struct caller c;

	(void)state;
	call(&c, &n);
	boxes[0].handler->on_ready(&boxes[0]);
	invocation_forget(n);
	answer(&boxes[0], 0, "1", false);
	assert_int_equal(c.done, 0);
	assert_int_equal(booked_count, 1);
}

static void lost_boxes_are_replaced(void **state)
{
	struct caller c;
	int64_t until = time_mono_ns() + 2000000000;

	(void)state;
	call(&c, NULL);
	dies(&boxes[0], "no memory");
	assert_int_equal(c.outcome, INVOKE_NO_BOX);
	assert_int_equal(booked_count, 0);
	call(&c, NULL);
	boxes[1].handler->on_ready(&boxes[1]);
	dies(&boxes[1], "the box ended");
	assert_int_equal(c.outcome, INVOKE_CRASH);
	box_limit = box_total;
	call(&c, NULL);
	assert_int_equal(c.done, 0);
	box_limit++;
	while (box_total < box_limit && time_mono_ns() < until)
		loop_turn(loop, 10);
	boxes[2].handler->on_ready(&boxes[2]);
	answer(&boxes[2], 0, "1", false);
	assert_int_equal(c.outcome, INVOKE_OK);
}

static void idle_boxes_freeze(void **state)
{
	struct caller c;
	int64_t until = time_mono_ns() + 2000000000;

	(void)state;
	call(&c, NULL);
	boxes[0].handler->on_ready(&boxes[0]);
	answer(&boxes[0], 0, "1", false);
	while (!boxes[0].frozen && time_mono_ns() < until)
		loop_turn(loop, 10);
	assert_true(boxes[0].frozen);
}

static void retired_versions_finish_what_runs(void **state)
{
	struct invoke_version *old = version;
	struct caller c, next;

	(void)state;
	call(&c, NULL);
	boxes[0].handler->on_ready(&boxes[0]);
	version = new_version(3000);
	invoke_version_retire(old);
	assert_false(boxes[0].dead);
	call(&next, NULL);
	assert_int_equal(box_total, 2);
	answer(&boxes[0], 0, "\"old\"", false);
	assert_string_equal(c.text, "\"old\"");
	assert_true(boxes[0].dead);
	boxes[1].handler->on_ready(&boxes[1]);
	answer(&boxes[1], 0, "\"new\"", false);
	assert_string_equal(next.text, "\"new\"");
}

static void retired_versions_serve_who_waits(void **state)
{
	struct invoke_version *old = version;
	struct caller c[2];
	struct invocation *n;

	(void)state;
	call(&c[0], NULL);
	call(&c[1], &n);
	assert_int_equal(box_total, 2);
	version = new_version(3000);
	invoke_version_retire(old); /* both boxes are only starting */
	boxes[0].handler->on_ready(&boxes[0]);
	answer(&boxes[0], 0, "\"old\"", false);
	assert_string_equal(c[0].text, "\"old\"");
	assert_false(boxes[0].dead);
	invocation_forget(n);
	answer(&boxes[0], 1, "1", false);
	assert_true(boxes[0].dead);
	boxes[1].handler->on_ready(&boxes[1]); /* the last of its version, nobody waits */
	assert_true(boxes[1].dead);
	assert_int_equal(box_total, 2);
}

static void accepted(void *ctx, int result)
{
	*(int *)ctx = result;
}

static void events_are_tried_three_times(void **state)
{
	struct invoke_event ev = {.account = STR("123456789012"),
	    .region = STR("us-east-1"),
	    .name = STR("f"),
	    .qualifier = STR(""),
	    .request_id = "00000000-0000-4000-8000-000000000000",
	    .arn = "arn:f",
	    .payload = STR("{}")};
	int result = -1;

	(void)state;
	invoke_event(iv, &ev, accepted, &result);
	assert_int_equal(result, 0);
	boxes[0].handler->on_ready(&boxes[0]);
	answer(&boxes[0], 0, "{}", true);
	assert_int_equal(requeued_attempts, 1);
	assert_in_range(requeued_in_ms, 59000, 60000);
	assert_int_equal(removed, 0);
	assert_int_equal(booked[0].kind, METER_EVENT);
	invoke_event(iv, &ev, accepted, &result);
	answer(&boxes[0], 1, "1", false);
	assert_int_equal(removed, 1);
	assert_int_equal(iv->counts.events, 0);
}

/* ---- answers that stream ---- */

static struct {
	int streams, pieces;
	uint64_t bytes;
} streamed;

static void on_stream(void *ctx, struct str content_type)
{
	assert_int_equal(((struct caller *)ctx)->done, 0);
	assert_true(str_is(content_type, "text/plain"));
	streamed.streams++;
}

static void on_piece(void *ctx, struct str data)
{
	assert_int_equal(((struct caller *)ctx)->done, 0);
	streamed.pieces++;
	streamed.bytes += data.len;
}

static struct invocation *call_stream(struct caller *c)
{
	struct invocation *n = NULL;
	struct invoke_request r = {.version = version,
	    .arn = "arn:f",
	    .on_stream = on_stream,
	    .on_piece = on_piece,
	    .done = on_done,
	    .ctx = c};

	*c = (struct caller){0};
	memset(&streamed, 0, sizeof(streamed));
	buf_puts(&r.payload, "{}");
	assert_int_equal(invoke_start(iv, &r, &n), INVOKE_ACCEPTED);
	return n;
}

static void begin_stream(struct box *b)
{
	assert_true(b->stream);
	b->handler->on_stream(b, STR("text/plain"));
	b->handler->on_piece(b, STR("one"));
}

static void streams_come_in_pieces(void **state)
{
	struct caller c;
	struct invocation *n = call_stream(&c);
	struct box *b = &boxes[0];

	(void)state;
	invocation_pause(n, true); /* nothing streams */
	b->handler->on_ready(b);
	invocation_pause(n, true);
	assert_false(b->paused);
	begin_stream(b);
	invocation_pause(n, true);
	assert_true(b->paused);
	invocation_pause(n, false);
	assert_false(b->paused);
	b->handler->on_piece(b, STR("two"));
	answer(b, 0, "", false);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.outcome, INVOKE_OK);
	assert_true(c.streamed);
	assert_int_equal(streamed.streams, 1);
	assert_int_equal(streamed.pieces, 2);
	/* One that fails midway; one that does not stream; a caller who wants it whole. */
	call_stream(&c);
	begin_stream(b);
	answer(b, 1, "{}", true);
	assert_int_equal(c.outcome, INVOKE_ERROR);
	assert_true(c.streamed);
	assert_string_equal(c.text, "{}");
	call_stream(&c);
	answer(b, 2, "\"all\"", false);
	assert_false(c.streamed);
	assert_string_equal(c.text, "\"all\"");
	call(&c, NULL);
	assert_false(b->stream);
	answer(b, 3, "1", false);
}

static void forgotten_streams_run_on(void **state)
{
	struct caller c;
	struct invocation *n = call_stream(&c);
	struct box *b = &boxes[0];

	(void)state;
	b->handler->on_ready(b);
	begin_stream(b);
	invocation_pause(n, true);
	invocation_forget(n);
	assert_false(b->paused);
	b->handler->on_piece(b, STR("two"));
	assert_int_equal(streamed.pieces, 1);
	answer(b, 0, "", false);
	assert_int_equal(c.done, 0);
	assert_int_equal(booked_count, 1);
}

static void streams_are_bounded(void **state)
{
	struct caller c;
	static const char mega[1024 * 1024];
	struct box *b = &boxes[0];

	(void)state;
	call_stream(&c);
	b->handler->on_ready(b);
	begin_stream(b);
	for (int i = 0; i < 300 && !b->stopped; i++)
		b->handler->on_piece(b, (struct str){mega, sizeof(mega)});
	assert_true(b->stopped);
	assert_true(streamed.bytes <= INVOKE_STREAM_MAX);
	loop_turn(loop, 0);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.outcome, INVOKE_ERROR);
	assert_non_null(strstr(c.text, "Function.ResponseSizeTooLarge"));
	assert_non_null(strstr(c.text, "(209715200 bytes)"));
	call(&c, NULL);
	assert_int_equal(b->restarts, 1);
	b->handler->on_ready(b);
	answer(b, 1, "1", false);
	assert_int_equal(c.outcome, INVOKE_OK);
}

static void streams_keep_a_pace_if_told(void **state)
{
	struct caller c;
	static const char mega[1024 * 1024];
	struct box *b = &boxes[0];
	int64_t from_ns;

	(void)state;
	iv->o.stream_rate = 4 << 20;
	call_stream(&c);
	b->handler->on_ready(b);
	begin_stream(b);
	for (int i = 0; i < 5; i++)
		b->handler->on_piece(b, (struct str){mega, sizeof(mega)});
	assert_false(b->paused);
	from_ns = time_mono_ns();
	b->handler->on_piece(b, (struct str){mega, sizeof(mega)});
	b->handler->on_piece(b, (struct str){mega, sizeof(mega)});
	assert_true(b->paused);
	while (b->paused && time_mono_ns() - from_ns < 2 * (int64_t)1000000000)
		loop_turn(loop, 50);
	assert_true(time_mono_ns() - from_ns > 150 * (int64_t)1000000);
	assert_false(b->paused);
	b->handler->on_piece(b, (struct str){mega, sizeof(mega)});
	assert_true(b->paused);
	answer(b, 0, "", false); /* what is paused ends all the same */
	assert_int_equal(c.outcome, INVOKE_OK);
	loop_turn(loop, 300);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(cold_then_warm),
	    T(extension_goes_on),
	    T(extension_says_good_bye),
	    T(extension_outlives_its_version),
	    T(extension_is_told_of_a_crash),
	    T(extension_has_two_seconds_after_a_time_out),
	    T(gate_refuses_what_is_too_much),
	    T(function_errors_leave_the_box_warm),
	    T(crash_stops_the_box_and_the_next_call_restarts_it),
	    T(what_cannot_be_started_is_told),
	    T(time_out_kills_and_tells),
	    T(failed_init_is_repeated_inside_the_call),
	    T(trace_ids_have_their_shape),
	    T(short_calls_are_sent_ahead),
	    T(calls_behind_a_long_one_are_taken_back),
	    T(forgotten_callers_are_not_called),
	    T(lost_boxes_are_replaced),
	    T(idle_boxes_freeze),
	    T(retired_versions_finish_what_runs),
	    T(retired_versions_serve_who_waits),
	    T(events_are_tried_three_times),
	    T(streams_come_in_pieces),
	    T(forgotten_streams_run_on),
	    T(streams_are_bounded),
	    T(streams_keep_a_pace_if_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
