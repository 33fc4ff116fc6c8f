/*
 * Events: accepted once they are on disk, run as soon as possible, tried again when the function
 * fails (after one and two minutes, unless its configuration says otherwise) and while it is
 * throttled, until they are too old. At least once: an event leaves the queue only when its last
 * attempt has been booked, in the write that hands on what became of it (ending.c).
 *
 * New events run from memory while few are under way; beyond that they stay on disk and are
 * fetched in batches, so a flood of events costs disk and not memory. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "invoke/async_int.h"

/* Events under way at once: few at first, so that a flood of short ones does not start a box for
 * each; doubled as long as they take longer than a tick each, not for want of boxes. */
#define ACTIVE_MIN 32
#define ACTIVE_MAX 512
#define PACE_NS (100 * (int64_t)1000000)
#define THROTTLE_BASE_MS 1000
#define THROTTLE_MAX_MS (5 * 60 * (int64_t)1000)
#define RETRY_BASE_MS 60000 /* on AWS; what retry_base_ms is in proportion to */
/* While so many are being accepted, those on disk come in by and by: whoever calls waits for his
 * answer, an event for nobody. */
#define CROWD 8
#define YIELD_NS (5 * (int64_t)1000000)
#define POLL_NS (250 * (int64_t)1000000)

/* Stored form: seven lines (account, region, name, qualifier, arn, trace id, id), then the payload.
 */
bool event_parse(const struct event *ev, struct event_fields *ret)
{
	struct str *const all[] = {&ret->account, &ret->region, &ret->name, &ret->qualifier,
	    &ret->arn, &ret->trace_id, &ret->id};
	struct str body = buf_str(&ev->body);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!body.ptr)
			return false;
		*all[i] = str_cut(&body, '\n');
	}
	ret->payload = body;
	return body.ptr != NULL && ret->id.len == 36;
}

static void encode(struct event *ev, const struct invoke_event *in)
{
	const struct str head[] = {in->account, in->region, in->name, in->qualifier,
	    str_from(in->arn), str_from(in->trace_id), str_from(in->request_id)};

	for (size_t i = 0; i < ARRAY_SIZE(head); i++) {
		buf_append_str(&ev->body, head[i]);
		buf_putc(&ev->body, '\n');
	}
	buf_append_str(&ev->body, in->payload);
}

bool event_policy(const struct event *ev, const struct event_fields *f, struct invoke_policy *ret)
{
	const struct invoke_options *o = &ev->async->iv->o;

	*ret =
	    (struct invoke_policy){.retries = INVOKE_RETRIES_MAX, .age_max_ms = INVOKE_AGE_MAX_MS};
	return !o->policy || o->policy(o->ctx, f->account, f->region, f->name, f->qualifier, ret);
}

/* As long as the setting makes of what takes so long on AWS. */
static int64_t scaled(const struct async *a, int64_t ms)
{
	int64_t out = ms * a->iv->o.retry_base_ms / RETRY_BASE_MS;

	return out > 0 ? out : 1;
}

static struct event *event_new(struct async *a, const char *id)
{
	struct event *ev = xcalloc(1, sizeof(*ev));

	ev->async = a;
	snprintf(ev->id, sizeof(ev->id), "%s", id);
	map_put(&a->active, str_from(ev->id), ev);
	a->iv->counts.events++;
	return ev;
}

/* What waits on disk comes in when there is room for a good part of it, what waits for its time by
 * and by. */
static void look_again(struct async *a)
{
	if (a->stopping || a->fetching)
		return;
	if (a->backlog && a->running <= a->limit / 2 && !(a->timer.slot && a->accepting))
		loop_timer_set(a->iv->o.loop, &a->timer, a->accepting > CROWD ? YIELD_NS : 0);
	else if ((a->backlog || a->delayed) && !a->timer.slot)
		loop_timer_set(a->iv->o.loop, &a->timer, POLL_NS);
}

static void dispose(struct event *ev)
{
	ending_free(ev->ending);
	buf_done(&ev->body);
	free(ev);
}

static void forget(struct event *ev)
{
	struct async *a = ev->async;

	map_remove(&a->active, str_from(ev->id));
	if (!a->active.count)
		a->limit = ACTIVE_MIN;
	a->iv->counts.events--;
	dispose(ev);
}

void event_over(struct event *ev)
{
	struct async *a = ev->async;

	if (a->fetching) {
		list_push_back(&a->over, &ev->node);
		return;
	}
	forget(ev);
	look_again(a);
}

static struct event *event_of(struct store_write *w)
{
	return container_of(w, struct event, write);
}

static void on_delayed(struct store_write *w, int result)
{
	struct event *ev = event_of(w);

	if (result < 0)
		log_error("an event's next attempt cannot be written: %s", strerror(-result));
	ev->async->delayed++;
	event_over(ev);
}

/* Not beyond the end of its time, which is to be noticed when it comes. */
static void delay(struct event *ev, int64_t delay_ms)
{
	int64_t now_ms = time_wall_ms(), due_ms = now_ms + scaled(ev->async, delay_ms);

	if (due_ms > ev->expires_ms)
		due_ms = ev->expires_ms < now_ms ? now_ms : ev->expires_ms + 1;
	store_write_init(&ev->write, on_delayed);
	store_requeue(&ev->write, EVENTS_QUEUE, str_from(ev->id), due_ms, ev->attempts);
	store_commit(ev->async->iv->o.store, &ev->write);
}

/* ---- how many at once ---- */

static void watch_pace(struct async *a)
{
	if (!a->pace.slot && !a->stopping)
		loop_timer_set(a->iv->o.loop, &a->pace, PACE_NS);
}

/* Most of those under way have no box yet: then it is boxes that are slow, not the functions. More
 * events would only have more boxes start, and those take longer the more there are. */
static bool boxes_are_slow(const struct async *a)
{
	unsigned waiting = 0;

	list_for_each (n, &a->iv->versions)
		waiting += list_entry(n, struct invoke_version, node)->waiting_count;
	return waiting > a->running / 2;
}

static void on_pace(struct loop_timer *t)
{
	struct async *a = container_of(t, struct async, pace);

	if (boxes_are_slow(a)) {
		if (a->limit > ACTIVE_MIN)
			a->limit /= 2;
	} else if (a->backlog && a->finished < a->limit && a->limit < ACTIVE_MAX) {
		a->limit *= 2;
		look_again(a);
	}
	a->finished = 0;
	if (a->backlog)
		watch_pace(a);
}

/* ---- one attempt ---- */

static void on_done(void *ctx, struct invoke_result *r)
{
	struct event *ev = ctx;
	struct invoke_policy p;
	struct event_fields f;

	ev->async->running--;
	ev->async->finished++;
	if (r->outcome == INVOKE_NO_BOX) { /* our fault: not an attempt */
		delay(ev, THROTTLE_BASE_MS);
		return;
	}
	ev->attempts++;
	check(event_parse(ev, &f));
	if (r->outcome == INVOKE_OK)
		ending_success(ev, r);
	else if (event_policy(ev, &f, &p) && ev->attempts <= p.retries)
		delay(ev, RETRY_BASE_MS * (int64_t)ev->attempts);
	else
		ending_failure(ev, "RetriesExhausted", NULL, r);
}

/* The wait grows with the age, so it doubles roughly with each try, and survives a restart. */
static void on_throttled(struct event *ev)
{
	int64_t age_ms = time_wall_ms() - ev->sent_ms;
	int64_t wait_ms = age_ms / 2 * RETRY_BASE_MS / ev->async->iv->o.retry_base_ms;

	if (wait_ms < THROTTLE_BASE_MS)
		wait_ms = THROTTLE_BASE_MS;
	delay(ev, wait_ms > THROTTLE_MAX_MS ? THROTTLE_MAX_MS : wait_ms);
}

static void copy(char *out, size_t size, struct str s)
{
	snprintf(out, size, "%.*s", STR_FMT(s));
}

static void start(struct event *ev, struct invoke_version *v, const struct event_fields *f)
{
	struct invoke_request r = {.version = v, .kind = METER_EVENT, .done = on_done, .ctx = ev};
	char arn[320];

	if (invoke_function_reserved(v->function) == 0) {
		ending_failure(ev, "ZeroReservedConcurrency",
		    "The function's reserved concurrency is 0.", NULL);
		return;
	}
	copy(arn, sizeof(arn), f->arn);
	r.arn = arn;
	copy(r.request_id, sizeof(r.request_id), f->id);
	copy(r.trace_id, sizeof(r.trace_id), f->trace_id);
	buf_append_str(&r.payload, f->payload);
	switch (invoke_start(ev->async->iv, &r, NULL)) {
	case INVOKE_ACCEPTED: ev->async->running++; break;
	case INVOKE_RECURSIVE:
		log_warn("event %s of function %.*s went round in a loop and is stopped: see "
			 "PutFunctionRecursionConfig",
		    ev->id, STR_FMT(f->name));
		ending_failure(ev, "RecursiveInvocation",
		    "The function was stopped because it is part of a recursive loop.", NULL);
		break;
	default: on_throttled(ev);
	}
}

static void on_dropped(struct store_write *w, int result)
{
	if (result < 0)
		log_error("an event that is given up cannot be removed: %s", strerror(-result));
	event_over(event_of(w));
}

static void drop(struct event *ev)
{
	store_write_init(&ev->write, on_dropped);
	store_remove(&ev->write, EVENTS_QUEUE, str_from(ev->id));
	store_commit(ev->async->iv->o.store, &ev->write);
}

static void run(struct event *ev)
{
	struct invoke *iv = ev->async->iv;
	struct invoke_version *v;
	struct invoke_policy p;
	struct event_fields f;

	if (ev->async->stopping) { /* it is on disk and runs after the next start */
		event_over(ev);
	} else if (!event_parse(ev, &f)) {
		log_error("event %s cannot be read and is given up", ev->id);
		drop(ev);
	} else if (!event_policy(ev, &f, &p)) {
		log_warn("event %s is for a function that is gone", ev->id);
		drop(ev);
	} else {
		ev->expires_ms = ev->sent_ms + scaled(ev->async, p.age_max_ms);
		v = iv->o.resolve(iv->o.ctx, f.account, f.region, f.name, f.qualifier);
		if (time_wall_ms() > ev->expires_ms)
			ending_failure(ev, "EventAgeExceeded",
			    "The event was older than its maximum age.", NULL);
		else if (v)
			start(ev, v, &f);
		else
			delay(ev, THROTTLE_BASE_MS); /* its code is on its way */
	}
}

/* ---- accepting ---- */

static struct event *event_make(struct invoke *iv, const struct invoke_event *in)
{
	const int64_t now_ms = time_wall_ms();
	struct event *ev;
	char id[EVENT_ID_SIZE];

	snprintf(
	    id, sizeof(id), "%012" PRIx64 "-%s", (uint64_t)now_ms & 0xffffffffffff, in->request_id);
	ev = event_new(iv->async, id);
	ev->sent_ms = now_ms;
	encode(ev, in);
	iv->async->accepting++;
	return ev;
}

static void put_down(const struct event *ev, struct store_write *w)
{
	store_send(w, EVENTS_QUEUE, str_from(ev->id), buf_str(&ev->body), ev->sent_ms);
}

struct invoke_staged *invoke_event_stage(
    struct invoke *iv, const struct invoke_event *in, struct store_write *w)
{
	struct event *ev = event_make(iv, in);

	put_down(ev, w);
	return (struct invoke_staged *)ev;
}

void invoke_event_finish(struct invoke_staged *s, int result)
{
	struct event *ev = (struct event *)s;
	struct async *a = ev->async;

	a->accepting--;
	if (result < 0) {
		event_over(ev);
	} else if (a->running >= a->limit) {
		a->backlog = true;
		a->missed = a->fetching;
		watch_pace(a);
		event_over(ev);
	} else {
		run(ev);
	}
}

static void on_accepted(struct store_write *w, int result)
{
	struct event *ev = event_of(w);

	ev->done(ev->ctx, result);
	invoke_event_finish((struct invoke_staged *)ev, result);
}

void invoke_event(struct invoke *iv, const struct invoke_event *in,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct event *ev = event_make(iv, in);

	ev->done = done;
	ev->ctx = ctx;
	store_write_init(&ev->write, on_accepted);
	put_down(ev, &ev->write);
	store_commit(iv->o.store, &ev->write);
}

/* ---- from disk ---- */

static void on_fetched(void *ctx, int result, const struct store_message *m, size_t count)
{
	struct async *a = ctx;

	a->fetching = false;
	if (a->stopping)
		return;
	if (result < 0)
		log_error("the event queue cannot be read: %s", strerror(-result));
	for (size_t i = 0; i < count; i++) {
		struct event *ev;
		char id[EVENT_ID_SIZE];

		copy(id, sizeof(id), m[i].id);
		if (map_get(&a->active, m[i].id))
			continue;
		if (a->running >= a->limit) {
			a->missed = true;
			break;
		}
		ev = event_new(a, id);
		ev->attempts = m[i].attempts;
		ev->sent_ms = m[i].sent_ms;
		buf_append_str(&ev->body, m[i].body);
		/* Counted when it was put off, or, from a former life, at the start. */
		if (a->delayed && (m[i].due_ms > m[i].sent_ms || m[i].sent_ms < a->began_ms))
			a->delayed--;
		run(ev);
	}
	list_for_each_safe (n, &a->over) {
		list_remove(n);
		forget(list_entry(n, struct event, node));
	}
	/* As many as we asked for: there may be more. The end of one of those under way asks again.
	 */
	a->backlog = count >= a->asked || a->missed;
	a->missed = false;
	if (result < 0) { /* they are still there; not at once */
		a->backlog = true;
		loop_timer_set(a->iv->o.loop, &a->timer, POLL_NS);
		return;
	}
	if (a->backlog)
		watch_pace(a);
	look_again(a);
}

static void on_timer(struct loop_timer *t)
{
	struct async *a = container_of(t, struct async, timer);

	if (a->fetching || a->stopping || a->running >= a->limit)
		return;
	a->fetching = true;
	/* Those under way are still in the queue, and come first. */
	a->asked = a->limit + (unsigned)a->active.count;
	store_receive(a->iv->o.store, EVENTS_QUEUE, time_wall_ms(), a->asked, on_fetched, a);
}

static void on_rewrite(struct loop_timer *t)
{
	ending_rewrite(container_of(t, struct async, rewrite));
}

struct async *async_new(struct invoke *iv)
{
	struct async *a = xcalloc(1, sizeof(*a));

	a->iv = iv;
	list_init(&a->over);
	list_init(&a->unwritten);
	a->timer.on_due = on_timer;
	a->pace.on_due = on_pace;
	a->rewrite.on_due = on_rewrite;
	a->limit = ACTIVE_MIN;
	a->began_ms = time_wall_ms();
	return a;
}

void async_resume(struct async *a)
{
	int64_t left = store_queue_length(a->iv->o.store, EVENTS_QUEUE);

	if (left <= 0)
		return;
	log_info("%" PRId64 " events are left from before and will run", left);
	/* Each may be due now or later: counted as delayed until it has been fetched. */
	a->delayed = (uint64_t)left;
	a->backlog = true;
	loop_timer_set(a->iv->o.loop, &a->timer, 0);
}

void async_stop(struct async *a)
{
	a->stopping = true;
	loop_timer_stop(a->iv->o.loop, &a->timer);
	loop_timer_stop(a->iv->o.loop, &a->pace);
	loop_timer_stop(a->iv->o.loop, &a->rewrite);
}

void async_free(struct async *a)
{
	async_stop(a);
	map_for_each (&a->active, e)
		dispose(e->value);
	map_done(&a->active);
	free(a);
}
