/*
 * Batches: records gathered into one event, and the function's run with it. A batch that cannot run
 * because of the function's or the server's limits waits, longer each time, and nothing of it is
 * lost. Loop thread.
 */
#include "base/log.h"
#include "base/rand.h"
#include "source/source_int.h"

#define RECORDS_FIRST 16
#define TAIL_ROOM 64 /* what closes an event fits in here */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000

struct source_batch *source_batch_new(struct source_run *r, struct str head)
{
	struct source_batch *b = xcalloc(1, sizeof(*b));

	b->run = r;
	list_init(&b->node);
	arena_init(&b->arena);
	buf_append_str(&b->text, head);
	return b;
}

static void leave(struct source_batch *b)
{
	struct source_run *r = b->run;

	loop_timer_stop(r->sources->o.loop, &b->timer);
	if (b->held)
		r->held--;
	b->held = false;
	if (!list_empty(&b->node))
		r->in_flight--;
	list_remove(&b->node);
}

void source_batch_free(struct source_batch *b)
{
	if (!b)
		return;
	if (b->invocation)
		invocation_forget(b->invocation);
	leave(b);
	arena_done(&b->arena);
	buf_done(&b->text);
	free(b->records);
	free(b);
}

bool source_batch_add(
    struct source_batch *b, struct str text, const char *id, const char *handle, int64_t number)
{
	struct source_record *rec;

	if (b->count && buf_len(&b->text) + text.len + TAIL_ROOM > SOURCE_PAYLOAD_MAX)
		return false;
	if (b->count == b->room) {
		b->room = b->room ? b->room * 2 : RECORDS_FIRST;
		b->records = xrealloc(b->records, b->room * sizeof(*b->records));
	}
	if (b->count && !b->fresh)
		buf_putc(&b->text, ',');
	b->fresh = false;
	if (!b->count)
		b->since_ns = loop_now_ns(b->run->sources->o.loop);
	buf_append_str(&b->text, text);
	rec = &b->records[b->count++];
	*rec = (struct source_record){.id = arena_strdup(&b->arena, id), .number = number};
	if (handle)
		rec->handle = arena_strdup(&b->arena, handle);
	return true;
}

/* ---- running ---- */

static void end(struct source_batch *b, enum batch_end how)
{
	struct source_run *r = b->run;

	leave(b);
	r->ops->ended(r->instance, b, how);
}

static void attempt(struct source_batch *b);

static void on_timer(struct loop_timer *t)
{
	struct source_batch *b = container_of(t, struct source_batch, timer);

	if (b->looped)
		end(b, BATCH_LOOPED);
	else if (b->run->stopping || b->given_up)
		end(b, BATCH_DROPPED);
	else
		attempt(b);
}

/* Jitter: half of the time fixed, half of it chance. */
static int64_t backoff_ms(unsigned tries)
{
	int64_t ms = tries > 7 ? BACKOFF_MAX_MS : BACKOFF_MIN_MS << (tries - 1);

	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return ms / 2 + (int64_t)(rand_u64() % (uint64_t)(ms / 2));
}

static void hold(struct source_batch *b)
{
	struct source_run *r = b->run;
	int64_t ms = backoff_ms(++b->tries);

	if (!b->held)
		r->held++;
	b->held = true;
	b->timer.on_due = on_timer;
	b->given_up = r->stopping || (r->ops->hold && !r->ops->hold(r->instance, b, ms));
	/* It ends in the timer: our callers go on using what ended() may free. */
	loop_timer_set(r->sources->o.loop, &b->timer, b->given_up ? 0 : ms * 1000000);
}

static void on_done(void *ctx, struct invoke_result *res)
{
	struct source_batch *b = ctx;
	struct source_run *r = b->run;

	b->invocation = NULL;
	if (res->outcome == INVOKE_NO_BOX) {
		source_run_result(r, "PROBLEM: The function could not be started");
		hold(b);
		return;
	}
	if (res->outcome != INVOKE_OK) {
		source_run_result(r, "PROBLEM: Function call failed");
		end(b, BATCH_FAILED);
	} else if (r->partial && !source_response_apply(b, buf_str(res->payload))) {
		source_run_result(r, "PROBLEM: Function returned an invalid batch response");
		end(b, BATCH_FAILED);
	} else {
		source_run_result(r, "OK");
		end(b, BATCH_DONE);
	}
}

static struct buf copy_of(const struct buf *b)
{
	struct buf out = BUF_INIT;

	buf_append_str(&out, buf_str(b));
	return out;
}

/* Trying again is of no use: the kind of source gets rid of it, in the timer as above. */
static void stop_loop(struct source_batch *b)
{
	struct source_run *r = b->run;

	log_warn("%s: a record of %s went round in a loop and is stopped: see "
		 "PutFunctionRecursionConfig",
	    r->function_arn, r->arn);
	source_run_result(r, "PROBLEM: The function is part of a recursive loop");
	b->looped = true;
	b->timer.on_due = on_timer;
	loop_timer_set(r->sources->o.loop, &b->timer, 0);
}

static void start(struct source_batch *b, struct invoke_version *v)
{
	struct source_run *r = b->run;
	struct invoke_request q = {.version = v,
	    .kind = METER_SYNC,
	    .arn = r->function_arn,
	    .payload = copy_of(&b->text),
	    .done = on_done,
	    .ctx = b};
	enum invoke_refusal refusal;

	memcpy(q.trace_id, b->trace_id, sizeof(q.trace_id));
	refusal = invoke_start(r->sources->o.invoke, &q, &b->invocation);
	if (refusal != INVOKE_ACCEPTED) {
		b->invocation = NULL;
		if (refusal == INVOKE_RECURSIVE) {
			stop_loop(b);
			return;
		}
		source_run_result(r, "PROBLEM: Function call was throttled");
		hold(b);
		return;
	}
	b->tries = 0;
	if (b->held) {
		b->held = false;
		r->held--;
		r->ops->more(r->instance);
	}
}

static void attempt(struct source_batch *b)
{
	struct source_run *r = b->run;
	struct invoke_version *v;

	v = source_run_function(r);
	if (v) {
		start(b, v);
		return;
	}
	source_run_result(r, "PROBLEM: The function does not exist or cannot run");
	hold(b);
}

void source_batch_send(struct source_batch *b, struct str tail)
{
	buf_append_str(&b->text, tail);
	list_push_back(&b->run->batches, &b->node);
	b->run->in_flight++;
	attempt(b);
}

void source_batch_resend(struct source_batch *b, int64_t delay_ns)
{
	if (list_empty(&b->node)) {
		list_push_back(&b->run->batches, &b->node);
		b->run->in_flight++;
	}
	b->tries = 0;
	b->timer.on_due = on_timer;
	loop_timer_set(b->run->sources->o.loop, &b->timer, delay_ns);
}

void source_batch_drop_waiting(struct source_run *r)
{
	/* Each ends by its timer, at once. */
	list_for_each (n, &r->batches) {
		struct source_batch *b = list_entry(n, struct source_batch, node);

		if (!b->invocation)
			loop_timer_set(r->sources->o.loop, &b->timer, 0);
	}
}
