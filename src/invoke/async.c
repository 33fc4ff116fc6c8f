/*
 * Events: accepted once they are on disk, run as soon as possible, tried again twice when the
 * function fails (after one and two minutes) and for up to six hours while it is throttled. At
 * least once: an event leaves the queue only when its last attempt has been booked.
 *
 * New events run from memory while few are under way; beyond that they stay on disk and are
 * fetched in batches, so a flood of events costs disk and not memory. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "invoke/invoke_int.h"

#define QUEUE "events"
/* Events under way at once: few at first, so that a flood of short ones does not start a box for
 * each; doubled as long as they take longer than a tick each. */
#define ACTIVE_MIN 16
#define ACTIVE_MAX 512
#define PACE_NS (100 * (int64_t)1000000)
#define RETRIES_MAX 2
#define AGE_MAX_MS (6 * 3600 * (int64_t)1000)
#define THROTTLE_BASE_MS 1000
#define THROTTLE_MAX_MS (5 * 60 * (int64_t)1000)
/* While so many are being accepted, those on disk come in by and by: whoever calls waits for his
 * answer, an event for nobody. */
#define CROWD 8
#define YIELD_NS (5 * (int64_t)1000000)
#define POLL_NS (250 * (int64_t)1000000)

/* In the queue an event is known by its time in hex and its request id: ids that rise are written
 * to one end of the database's index, which is what keeps accepting fast. */
#define ID_SIZE (12 + 1 + 36 + 1)

struct async {
	struct invoke *iv;
	struct map active; /* id -> struct event, running or being written */
	bool backlog;      /* there may be due events on disk that are not in memory */
	bool fetching;
	bool missed; /* one was left on disk while a fetch was under way */
	bool stopping;
	uint64_t delayed; /* events waiting for a later time */
	int64_t began_ms; /* wall time of our start */
	struct loop_timer timer;
	unsigned limit;     /* events that run at most */
	unsigned accepting; /* events on their way to the disk */
	unsigned running;   /* events that run */
	unsigned asked;     /* of the store, by the fetch under way */
	unsigned finished;  /* since the last tick of pace */
	struct loop_timer pace;
};

struct event {
	struct store_write write;
	struct async *async;
	char id[ID_SIZE]; /* in the queue */
	struct buf body;  /* as stored */
	int attempts;
	int64_t sent_ms;
	int64_t throttle_ms;
	void (*done)(void *ctx, int result); /* only until it is accepted */
	void *ctx;
};

/* Stored form: seven lines (account, region, name, qualifier, arn, trace id, id), then the payload.
 */
struct fields {
	struct str account, region, name, qualifier, arn, trace_id, id, payload;
};

static bool parse(struct str body, struct fields *ret)
{
	struct str *const all[] = {&ret->account, &ret->region, &ret->name, &ret->qualifier,
	    &ret->arn, &ret->trace_id, &ret->id};

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

static void event_free(struct event *ev)
{
	struct async *a = ev->async;

	map_remove(&a->active, str_from(ev->id));
	if (!a->active.count)
		a->limit = ACTIVE_MIN;
	a->iv->counts.events--;
	buf_done(&ev->body);
	free(ev);
	look_again(a);
}

static struct event *event_of(struct store_write *w)
{
	return container_of(w, struct event, write);
}

static void on_removed(struct store_write *w, int result)
{
	if (result < 0)
		log_error("an event that has run cannot be removed and may run again: %s",
		    strerror(-result));
	event_free(event_of(w));
}

static void remove_event(struct event *ev)
{
	store_write_init(&ev->write, on_removed);
	store_remove(&ev->write, QUEUE, str_from(ev->id));
	store_commit(ev->async->iv->o.store, &ev->write);
}

static void on_delayed(struct store_write *w, int result)
{
	struct event *ev = event_of(w);

	if (result < 0)
		log_error("an event's next attempt cannot be written: %s", strerror(-result));
	ev->async->delayed++;
	event_free(ev);
}

static void delay(struct event *ev, int64_t delay_ms)
{
	store_write_init(&ev->write, on_delayed);
	store_requeue(&ev->write, QUEUE, str_from(ev->id), time_wall_ms() + delay_ms, ev->attempts);
	store_commit(ev->async->iv->o.store, &ev->write);
}

/* ---- how many at once ---- */

static void watch_pace(struct async *a)
{
	if (!a->pace.slot && !a->stopping)
		loop_timer_set(a->iv->o.loop, &a->pace, PACE_NS);
}

static void on_pace(struct loop_timer *t)
{
	struct async *a = container_of(t, struct async, pace);

	if (a->backlog && a->finished < a->limit && a->limit < ACTIVE_MAX) {
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
	struct invoke *iv = ev->async->iv;

	ev->async->running--;
	ev->async->finished++;
	if (r->outcome == INVOKE_NO_BOX) { /* our fault: not an attempt */
		delay(ev, THROTTLE_BASE_MS);
		return;
	}
	ev->attempts++;
	if (r->outcome == INVOKE_OK || ev->attempts > RETRIES_MAX)
		remove_event(ev);
	else
		delay(ev, iv->o.retry_base_ms * ev->attempts);
}

static void on_throttled(struct event *ev)
{
	int64_t age_ms = time_wall_ms() - ev->sent_ms;
	int64_t wait_ms = age_ms / 2;

	if (age_ms > AGE_MAX_MS) {
		log_warn("event %s was throttled for six hours and is given up", ev->id);
		remove_event(ev);
		return;
	}
	/* Grows with the age, so it doubles roughly with each try, and survives a restart. */
	if (wait_ms < THROTTLE_BASE_MS)
		wait_ms = THROTTLE_BASE_MS;
	delay(ev, wait_ms > THROTTLE_MAX_MS ? THROTTLE_MAX_MS : wait_ms);
}

static void copy(char *out, size_t size, struct str s)
{
	snprintf(out, size, "%.*s", STR_FMT(s));
}

static void run(struct event *ev)
{
	struct invoke *iv = ev->async->iv;
	struct invoke_request r = {.kind = METER_EVENT, .done = on_done, .ctx = ev};
	struct fields f;
	char arn[320];

	if (ev->async->stopping) { /* it is on disk and runs after the next start */
		event_free(ev);
		return;
	}
	if (!parse(buf_str(&ev->body), &f)) {
		log_error("event %s cannot be read and is given up", ev->id);
		remove_event(ev);
		return;
	}
	r.version = iv->o.resolve(iv->o.ctx, f.account, f.region, f.name, f.qualifier);
	if (!r.version) {
		log_warn("event %s is for a function that is gone", ev->id);
		remove_event(ev);
		return;
	}
	copy(arn, sizeof(arn), f.arn);
	r.arn = arn;
	copy(r.request_id, sizeof(r.request_id), f.id);
	copy(r.trace_id, sizeof(r.trace_id), f.trace_id);
	buf_append_str(&r.payload, f.payload);
	if (invoke_start(iv, &r, NULL) == INVOKE_ACCEPTED)
		ev->async->running++;
	else
		on_throttled(ev);
}

/* ---- accepting ---- */

static void on_accepted(struct store_write *w, int result)
{
	struct event *ev = event_of(w);

	ev->async->accepting--;
	ev->done(ev->ctx, result);
	if (result < 0) {
		event_free(ev);
	} else if (ev->async->running >= ev->async->limit) {
		ev->async->backlog = true;
		ev->async->missed = ev->async->fetching;
		watch_pace(ev->async);
		event_free(ev);
	} else {
		run(ev);
	}
}

void invoke_event(struct invoke *iv, const struct invoke_event *in,
    void (*done)(void *ctx, int result), void *ctx)
{
	const int64_t now_ms = time_wall_ms();
	struct event *ev;
	char id[ID_SIZE];

	snprintf(
	    id, sizeof(id), "%012" PRIx64 "-%s", (uint64_t)now_ms & 0xffffffffffff, in->request_id);
	ev = event_new(iv->async, id);
	ev->done = done;
	ev->ctx = ctx;
	ev->sent_ms = now_ms;
	encode(ev, in);
	store_write_init(&ev->write, on_accepted);
	store_send(&ev->write, QUEUE, str_from(ev->id), buf_str(&ev->body), ev->sent_ms);
	iv->async->accepting++;
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
		char id[ID_SIZE];

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
	/* As many as we asked for: there may be more. The end of one of those under way asks again.
	 */
	a->backlog = count >= a->asked || a->missed;
	a->missed = false;
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
	store_receive(a->iv->o.store, QUEUE, time_wall_ms(), a->asked, on_fetched, a);
}

struct async *async_new(struct invoke *iv)
{
	struct async *a = xcalloc(1, sizeof(*a));

	a->iv = iv;
	a->timer.on_due = on_timer;
	a->pace.on_due = on_pace;
	a->limit = ACTIVE_MIN;
	a->began_ms = time_wall_ms();
	return a;
}

void async_resume(struct async *a)
{
	int64_t left = store_queue_length(a->iv->o.store, QUEUE);

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
}

void async_free(struct async *a)
{
	loop_timer_stop(a->iv->o.loop, &a->timer);
	map_for_each (&a->active, e) {
		struct event *ev = e->value;

		buf_done(&ev->body);
		free(ev);
	}
	map_done(&a->active);
	free(a);
}
