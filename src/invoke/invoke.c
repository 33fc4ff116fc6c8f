/*
 * The gate and the book of invocations: who may run, and how each ends. Boxes are environment.c's,
 * the choice among them version.c's. Loop thread.
 */
#include "invoke/invoke.h"

#include <endian.h>
#include <stdio.h>

#include "base/rand.h"
#include "base/time.h"
#include "invoke/invoke_int.h"

#define COPY_MAX 16384
#define FEW 2 /* running invocations, up to which a turn serves one at a time */
/* So long after there were more, there will be more again: clients that all got their answers in
 * one turn send their next requests in one, too. */
#define MANY_NS 2000000

static void on_replies(struct loop_task *t);

struct invoke *invoke_new(const struct invoke_options *o)
{
	struct invoke *iv = xcalloc(1, sizeof(*iv));

	iv->o = *o;
	list_init(&iv->versions);
	list_init(&iv->idle);
	list_init(&iv->spare);
	list_init(&iv->finished);
	iv->replies.run = on_replies;
	iv->async = async_new(iv);
	return iv;
}

void invoke_free(struct invoke *iv)
{
	if (!iv)
		return;
	loop_task_cancel(&iv->replies);
	async_free(iv->async);
	list_for_each_safe (n, &iv->spare)
		free(list_entry(n, struct invocation, node));
	free(iv);
}

void invoke_resume(struct invoke *iv)
{
	async_resume(iv->async);
}

void invoke_stop(struct invoke *iv)
{
	async_stop(iv->async);
}

unsigned invoke_concurrency(const struct invoke *iv)
{
	return iv->o.concurrency;
}

int64_t invoke_reserved_sum(const struct invoke *iv)
{
	return iv->reserved_sum;
}

void invoke_count(const struct invoke *iv, struct invoke_counts *ret)
{
	*ret = iv->counts;
}

/* ---- functions ---- */

struct invoke_function *invoke_function_new(
    struct invoke *iv, const char *account, const char *region, const char *name)
{
	struct invoke_function *f = xcalloc(1, sizeof(*f));

	f->iv = iv;
	f->account = xstrdup(account);
	f->region = xstrdup(region);
	f->name = xstrdup(name);
	f->reserved = -1;
	f->refs = 1;
	lineage_hash(account, region, name, f->hash);
	f->meter_id =
	    meter_function_id(iv->o.meter, str_from(account), str_from(region), str_from(name));
	return f;
}

void invoke_function_unref(struct invoke_function *f)
{
	if (--f->refs)
		return;
	invoke_function_reserve(f, -1);
	free(f->account);
	free(f->region);
	free(f->name);
	free(f);
}

void invoke_function_reserve(struct invoke_function *f, int64_t reserved)
{
	/* What runs already is counted where it will be taken off again. */
	if (f->reserved < 0 && reserved >= 0)
		f->iv->unreserved_running -= f->running;
	else if (f->reserved >= 0 && reserved < 0)
		f->iv->unreserved_running += f->running;
	f->iv->reserved_sum += (reserved > 0 ? reserved : 0) - (f->reserved > 0 ? f->reserved : 0);
	f->reserved = reserved;
}

int64_t invoke_function_reserved(const struct invoke_function *f)
{
	return f->reserved;
}

void invoke_function_allow_recursion(struct invoke_function *f, bool allow)
{
	f->recursion = allow;
}

/* ---- the gate ---- */

/* Spinning pays while one caller waits for one answer. Where many do, it takes the CPU from them.
 */
static void hold_spin(struct invoke *iv)
{
	const int64_t now_ns = loop_now_ns(iv->o.loop);

	if (iv->counts.running > FEW)
		iv->many_until_ns = now_ns + MANY_NS;
	loop_hold_spin(iv->o.loop, now_ns < iv->many_until_ns);
}

static enum invoke_refusal gate_enter(struct invoke_function *f)
{
	struct invoke *iv = f->iv;

	if (f->reserved >= 0) {
		if (f->running >= f->reserved)
			return INVOKE_RESERVED_FULL;
	} else {
		if ((int64_t)iv->unreserved_running + iv->reserved_sum >=
		    (int64_t)iv->o.concurrency)
			return INVOKE_ACCOUNT_FULL;
		iv->unreserved_running++;
	}
	f->running++;
	iv->counts.running++;
	hold_spin(iv);
	return INVOKE_ACCEPTED;
}

static void gate_leave(struct invoke_function *f)
{
	f->running--;
	f->iv->counts.running--;
	hold_spin(f->iv);
	if (f->reserved < 0)
		f->iv->unreserved_running--;
}

/* ---- invocations ---- */

static struct invocation *take_spare(struct invoke *iv)
{
	struct invocation *n = list_first(&iv->spare, struct invocation, node);

	if (!n)
		return xcalloc(1, sizeof(*n));
	list_remove(&n->node);
	*n = (struct invocation){0};
	return n;
}

static void release(struct invoke *iv, struct invocation *n)
{
	buf_done(&n->payload);
	buf_done(&n->client_context);
	free(n->arn);
	if (n->tail) {
		buf_done(n->tail);
		free(n->tail);
	}
	n->arn = NULL;
	n->tail = NULL;
	list_push_front(&iv->spare, &n->node);
}

void invoke_trace_id(char out[INVOKE_TRACE_SIZE])
{
	static const char shape[] =
	    "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0";
	const uint32_t now = htobe32((uint32_t)(time_wall_ms() / 1000));
	char digits[41];

	/* Printing it would take as long as all else that is done for a request's names. */
	memcpy(out, shape, sizeof(shape));
	hex_encode(&now, 4, digits);
	memcpy(out + 7, digits, 8);
	rand_hex(digits, 40);
	memcpy(out + 16, digits, 24);
	memcpy(out + 48, digits + 24, 16);
}

static void fill(struct invocation *n, struct invoke_request *r)
{
	n->version = r->version;
	n->kind = r->kind;
	memcpy(n->request_id, r->request_id, sizeof(n->request_id));
	if (!n->request_id[0])
		rand_uuid(n->request_id);
	memcpy(n->trace_id, r->trace_id, sizeof(n->trace_id));
	n->arn = xstrdup(r->arn);
	if (r->client_context.len)
		buf_append_str(&n->client_context, r->client_context);
	n->payload = r->payload;
	r->payload = (struct buf)BUF_INIT;
	if (r->tail)
		n->tail = xcalloc(1, sizeof(*n->tail));
	n->on_stream = r->on_stream;
	n->on_piece = r->on_piece;
	n->done = r->done;
	n->ctx = r->ctx;
}

/* The trace goes on with this invocation in its lineage. */
static enum invoke_refusal follow_trace(struct invoke_request *r)
{
	const struct invoke_function *f = r->version->function;
	char next[INVOKE_TRACE_SIZE];

	if (!r->trace_id[0])
		invoke_trace_id(r->trace_id);
	if (!lineage_next(r->trace_id, f->hash, next) && !f->recursion)
		return INVOKE_RECURSIVE;
	memcpy(r->trace_id, next, sizeof(next));
	return INVOKE_ACCEPTED;
}

enum invoke_refusal invoke_start(
    struct invoke *iv, struct invoke_request *r, struct invocation **ret)
{
	enum invoke_refusal refusal = follow_trace(r);
	struct invocation *n;

	if (refusal == INVOKE_ACCEPTED)
		refusal = gate_enter(r->version->function);
	if (refusal != INVOKE_ACCEPTED) {
		iv->counts.throttles += refusal != INVOKE_RECURSIVE;
		buf_done(&r->payload);
		return refusal;
	}
	n = take_spare(iv);
	fill(n, r);
	n->serial = ++iv->serial;
	list_push_back(&n->version->waiting, &n->node);
	n->version->waiting_count++;
	n->version->unfinished++;
	if (ret)
		*ret = n;
	version_dispatch(n->version);
	return INVOKE_ACCEPTED;
}

void invocation_forget(struct invocation *n)
{
	n->forgotten = true;
	invocation_pause(n, false);
}

/* Tell the caller. */
static void tell(struct invoke *iv, struct invocation *n)
{
	struct invoke_version *v = n->version;
	struct invoke_result r = {.outcome = n->outcome,
	    .streamed = n->streamed,
	    .payload = n->has_answer ? &n->payload : NULL,
	    .version = v->c.version,
	    .request_id = n->request_id,
	    .tail = n->tail ? buf_str(n->tail) : STR_NULL};

	gate_leave(v->function);
	if (n->outcome != INVOKE_NO_BOX)
		iv->counts.invocations++;
	if (n->outcome != INVOKE_OK && !n->forgotten)
		iv->counts.errors++;
	if (!n->forgotten)
		n->done(n->ctx, &r);
	release(iv, n);
	v->unfinished--;
	version_unref_if_done(v);
}

static void on_replies(struct loop_task *t)
{
	struct invoke *iv = container_of(t, struct invoke, replies);
	struct invocation *n;

	while ((n = list_first(&iv->finished, struct invocation, node))) {
		list_remove(&n->node);
		tell(iv, n);
	}
}

void invocation_finish(struct invocation *n, enum invoke_outcome outcome, struct buf *payload)
{
	struct invoke *iv = n->version->function->iv;

	n->outcome = outcome;
	n->environment = NULL;
	n->has_answer = payload != NULL;
	/* The answer takes the place of the event. Small ones are copied, so that the channel keeps
	 * its memory for the next. */
	if (payload && buf_len(payload) > COPY_MAX) {
		buf_done(&n->payload);
		n->payload = *payload;
		*payload = (struct buf)BUF_INIT;
	} else {
		buf_clear(&n->payload);
		if (payload)
			buf_append_str(&n->payload, buf_str(payload));
	}
	list_push_back(&iv->finished, &n->node);
	loop_defer(iv->o.loop, &iv->replies);
}
