/* Stand-ins for boxes, logs, ledger and store below src/invoke, and callers: the real ones are
 * tested with the real server. */
#pragma once

#include "unit.h"

#include <stdio.h>

#include "base/time.h"
#include "invoke/invoke_int.h"

/* ---- stand-ins ---- */

struct box {
	const struct box_handler *handler;
	void *ctx;
	unsigned sent;
	char ids[64][37];
	bool frozen, stopped, dead, taking, paused, stream;
	bool extension, at_work, retiring; /* has an extension; that is not done */
	const char *winding;               /* why it has been told to end, before it is stopped */
	unsigned restarts;
	int64_t started_ns;
};

static struct box boxes[64];
static unsigned box_total, box_limit;
static char log_text[65536];
static size_t log_len;
static struct meter_usage booked[64];
static unsigned booked_count;

bool boxes_may_start(struct boxes *bs, const struct box_spec *spec)
{
	(void)bs;
	(void)spec;
	return true;
}

struct box *box_start(struct boxes *bs, const struct box_spec *spec, const struct box_handler *h,
    void *ctx, struct err *e)
{
	(void)bs;
	assert_true(spec->env_count > 20);
	if (box_total == box_limit) {
		err_set(e, EAGAIN, "full");
		return NULL;
	}
	boxes[box_total] = (struct box){.handler = h, .ctx = ctx, .started_ns = time_mono_ns()};
	return &boxes[box_total++];
}

void *box_ctx(const struct box *b)
{
	return b->ctx;
}

int64_t box_init_started_ns(const struct box *b)
{
	return b->started_ns;
}

void box_kill(struct box *b)
{
	b->dead = true;
}

void box_stop(struct box *b)
{
	b->stopped = true;
}

void box_restart(struct box *b)
{
	assert_true(b->stopped);
	b->stopped = false;
	b->restarts++;
}

bool box_wind_down(struct box *b, const char *reason, int64_t deadline_ms)
{
	assert_true(deadline_ms > time_wall_ms());
	b->winding = b->extension ? reason : NULL;
	return b->extension;
}

void box_send(struct box *b, const struct runtime_event *ev)
{
	assert_false(b->dead || b->stopped);
	assert_true(ev->timeout_ms > 0);
	b->frozen = false;
	b->stream = ev->stream;
	memcpy(b->ids[b->sent++ % 64], ev->request_id, 37);
}

bool box_take_back(struct box *b)
{
	b->taking = true;
	return true;
}

void box_drain_output(struct box *b)
{
	(void)b;
}

void box_pause(struct box *b, bool paused)
{
	assert_false(b->dead);
	b->paused = paused;
}

bool box_settled(const struct box *b)
{
	return !b->at_work;
}

size_t box_extension_count(const struct box *b)
{
	return b->extension;
}

const char *box_extension(const struct box *b, size_t i, const char **ret_events)
{
	assert_true(b->extension && i == 0);
	*ret_events = "INVOKE,SHUTDOWN";
	return "watch";
}

bool box_retire(struct box *b, const char *reason, int64_t deadline_ms)
{
	assert_string_equal(reason, "SPINDOWN");
	assert_true(deadline_ms > time_wall_ms());
	b->retiring = b->extension;
	return b->retiring;
}

void box_freeze(struct box *b)
{
	b->frozen = true;
}

uint64_t box_memory_peak(struct box *b)
{
	(void)b;
	return 36 * 1048576;
}

void box_set_cpu(struct box *b, uint32_t quota_us)
{
	(void)b;
	(void)quota_us;
}

struct log_stream *logs_stream(
    struct logs *g, struct log_group_id group, struct str name, struct err *e)
{
	(void)g;
	(void)e;
	assert_true(str_is(group.name, "/aws/lambda/f"));
	assert_true(name.len > 40);
	return (struct log_stream *)(void *)log_text;
}

void logs_stream_unref(struct log_stream *s)
{
	(void)s;
}

int logs_append(struct log_stream *s, int64_t ts_ms, const char *text, size_t len)
{
	(void)s;
	(void)ts_ms;
	assert_true(log_len + len < sizeof(log_text));
	memcpy(log_text + log_len, text, len);
	log_len += len;
	log_text[log_len] = '\0';
	return 0;
}

uint32_t meter_function_id(struct meter *m, struct str account, struct str region, struct str name)
{
	(void)m;
	(void)account;
	(void)region;
	(void)name;
	return 7;
}

int meter_book(struct meter *m, const struct meter_usage *u)
{
	(void)m;
	booked[booked_count++ % 64] = *u;
	return 0;
}

void store_write_init(struct store_write *w, void (*done)(struct store_write *w, int result))
{
	w->done = done;
}

void store_send(
    struct store_write *w, const char *queue, struct str id, struct str body, int64_t due_ms)
{
	(void)w;
	(void)queue;
	(void)id;
	(void)body;
	(void)due_ms;
}

static int64_t requeued_in_ms;
static int requeued_attempts;
static unsigned removed;

void store_requeue(
    struct store_write *w, const char *queue, struct str id, int64_t due_ms, int attempts)
{
	(void)w;
	(void)queue;
	(void)id;
	requeued_in_ms = due_ms - time_wall_ms();
	requeued_attempts = attempts;
}

void store_remove(struct store_write *w, const char *queue, struct str id)
{
	(void)w;
	(void)queue;
	(void)id;
	removed++;
}

void store_commit(struct store *s, struct store_write *w)
{
	(void)s;
	w->done(w, 0);
}

void store_receive(struct store *s, const char *queue, int64_t due_ms, unsigned max,
    void (*fn)(void *ctx, int result, const struct store_message *m, size_t count), void *ctx)
{
	(void)s;
	(void)queue;
	(void)due_ms;
	(void)max;
	fn(ctx, 0, NULL, 0);
}

int64_t store_queue_length(struct store *s, const char *queue)
{
	(void)s;
	(void)queue;
	return 0;
}

/* ---- set-up ---- */

static struct loop *loop;
static struct invoke *iv;
static struct invoke_function *function;
static struct invoke_version *version;

struct caller {
	bool streamed;
	unsigned done;
	enum invoke_outcome outcome;
	char text[512];
};

static int no_keys(void *ctx, const char *role_arn, const char *session, struct invoke_keys *ret)
{
	(void)ctx;
	(void)role_arn;
	(void)session;
	(void)ret;
	return 0;
}

static struct invoke_version *resolve(
    void *ctx, struct str account, struct str region, struct str name, struct str qualifier)
{
	(void)ctx;
	(void)account;
	(void)region;
	(void)qualifier;
	return str_is(name, "f") ? version : NULL;
}

static struct invoke_version *new_version(int64_t timeout_ms)
{
	static const char *const argv[] = {"/usr/bin/node", NULL};
	static const struct box_program program = {"node", true, argv, argv + 1};
	struct invoke_config c = {.version = "$LATEST",
	    .runtime = "nodejs20.x",
	    .runtime_version = "nodejs:20.v1",
	    .runtime_arn = "arn:x",
	    .program = &program,
	    .handler = "index.handler",
	    .role_arn = "arn:aws:iam::123456789012:role/r",
	    .log_group = "/aws/lambda/f",
	    .memory_mb = 128,
	    .tmp_mb = 512,
	    .timeout_ms = timeout_ms};

	return invoke_version_new(function, &c);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;
	struct invoke_options o = {.concurrency = 1000,
	    .idle_ms = 60000,
	    .retry_base_ms = 60000,
	    .endpoint_port = "4566",
	    .keys = no_keys,
	    .resolve = resolve};

	(void)state;
	loop = o.loop = loop_new(1, &e);
	box_total = booked_count = removed = 0;
	box_limit = 64;
	log_len = 0;
	iv = invoke_new(&o);
	function = invoke_function_new(iv, "123456789012", "us-east-1", "f");
	version = new_version(3000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	invoke_version_retire(version);
	invoke_function_unref(function);
	assert_true(list_empty(&iv->versions));
	invoke_free(iv);
	loop_free(loop);
	return 0;
}

static void on_done(void *ctx, struct invoke_result *r)
{
	struct caller *c = ctx;

	c->done++;
	c->outcome = r->outcome;
	c->streamed = r->streamed;
	if (r->payload)
		snprintf(c->text, sizeof(c->text), "%.*s", STR_FMT(buf_str(r->payload)));
}

static enum invoke_refusal call(struct caller *c, struct invocation **ret)
{
	struct invoke_request r = {.version = version, .arn = "arn:f", .done = on_done, .ctx = c};

	*c = (struct caller){0};
	buf_puts(&r.payload, "{}");
	return invoke_start(iv, &r, ret);
}

static void answer(struct box *b, unsigned nth, const char *text, bool error)
{
	struct buf payload = BUF_INIT;
	struct runtime_answer a = {.request_id = b->ids[nth],
	    .is_error = error,
	    .error_type = error ? STR("Error") : STR_NULL,
	    .payload = &payload};

	buf_puts(&payload, text);
	b->handler->on_answer(b, &a);
	buf_done(&payload);
	loop_turn(loop, 0); /* callers are told at its end */
}

static void exits(struct box *b, int status)
{
	b->handler->on_exit(b, status, false);
	loop_turn(loop, 0);
}

static void fails_init(struct box *b, struct str body)
{
	b->handler->on_init_error(b, STR("Runtime.ImportModuleError"), body);
	loop_turn(loop, 0);
}

static void dies(struct box *b, const char *why)
{
	b->handler->on_dead(b, why);
	loop_turn(loop, 0);
}
