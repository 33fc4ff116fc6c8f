/*
 * SQS queues as event sources: one waiting receiver a mapping, which fills one batch at a time; as
 * many batches run as the function, the server and AWS's scaling allow. Messages that the filter
 * does not want and those that were processed are deleted; all others are received again when their
 * visibility timeout is over, which is the queue's own way to retry. Loop thread.
 *
 * FIFO order needs nothing here: the queue gives out no message of a group as long as one of it is
 * being processed.
 */
#include <stdio.h>

#include "base/log.h"
#include "source/source_int.h"
#include "source/sqs_int.h"

/* "Lambda starts with five concurrent batches and adds up to 300 more per minute", up to 1,250. */
#define SCALE_START 5
#define SCALE_PER_S 5
#define SCALE_MAX 1250

/* Taken at once, so that no turn of the loop becomes long. */
#define SLICE_BYTES (1024 * 1024)
#define SLICE_FILTERED_BYTES (128 * 1024)
#define SLICE_MESSAGES 500

#define WAIT_LONG_MS QUEUE_WAIT_MAX_MS
#define LOOK_AGAIN_NS 500000000 /* for a queue or a function that is not there */
#define SCALE_LOOK_NS 200000000
/* A throttled batch is kept from others no longer than that. */
#define HOLD_MAX_NS (11 * 3600 * (int64_t)1000000000)

struct sqs {
	struct source_run *run;
	struct queue_receiver receiver;
	bool receiving;
	unsigned asked;
	struct source_batch *open; /* being filled */
	struct removal *unwanted;  /* filtered out of what is being taken */
	struct list removals;
	struct loop_timer timer;
	struct loop_task again;
	int64_t busy_since_ns; /* batches have been running since; 0: none runs */
	struct buf text;       /* of one record */
};

static struct loop *loop_of(const struct sqs *q)
{
	return q->run->sources->o.loop;
}

/* It may be deleted, and made again, at any time: looked up for each use. */
static struct queue *queue_of(const struct sqs *q)
{
	return queue_find_arn(q->run->sources->o.queues, q->run->arn);
}

/* ---- deleting messages ---- */

#define REMOVE_AT_ONCE 500

struct removal {
	struct store_write write;
	struct list node;
	struct sqs *sqs; /* NULL: the instance is gone */
	struct arena arena;
	const char **receipts;
	size_t count, room, at;
	struct queue_staged *staged[REMOVE_AT_ONCE];
	size_t staged_count;
};

static void pull_soon(struct sqs *q)
{
	loop_defer(loop_of(q), &q->again);
}

static void check_idle(struct sqs *q);

static void removal_free(struct removal *d)
{
	list_remove(&d->node);
	arena_done(&d->arena);
	free(d->receipts);
	free(d);
}

static struct removal *removal_new(struct sqs *q)
{
	struct removal *d = xcalloc(1, sizeof(*d));

	d->sqs = q;
	arena_init(&d->arena);
	list_init(&d->node);
	return d;
}

static void removal_add(struct removal *d, const char *receipt)
{
	if (d->count == d->room) {
		d->room = d->room ? d->room * 2 : 16;
		d->receipts = xrealloc(d->receipts, d->room * sizeof(*d->receipts));
	}
	d->receipts[d->count++] = arena_strdup(&d->arena, receipt);
}

static void remove_some(struct removal *d);

static void on_removed(struct store_write *w, int result)
{
	struct removal *d = container_of(w, struct removal, write);

	for (size_t i = 0; i < d->staged_count; i++)
		queue_finish(d->staged[i], result);
	if (result < 0)
		log_error("processed messages could not be deleted and will come again: %s",
		    strerror(-result));
	remove_some(d);
}

static void stage(struct removal *d)
{
	size_t end = min_size(d->count, d->at + REMOVE_AT_ONCE);
	struct queue *queue = queue_of(d->sqs);

	store_write_init(&d->write, on_removed);
	d->staged_count = 0;
	for (; d->at < end; d->at++) {
		struct str receipt = str_from(d->receipts[d->at]);
		struct queue_staged *s = NULL;

		if (queue && queue_stage_delete(queue, receipt, &d->write, &s) == 0 && s)
			d->staged[d->staged_count++] = s;
	}
}

/* The next ones, until none is left; the instance may have gone meanwhile. */
static void remove_some(struct removal *d)
{
	struct sqs *q = d->sqs;

	while (q && d->at < d->count) {
		stage(d);
		if (d->staged_count) {
			store_commit(q->run->sources->o.store, &d->write);
			return;
		}
	}
	removal_free(d);
	if (q)
		check_idle(q);
}

/* Takes d. */
static void removal_start(struct removal *d)
{
	list_push_back(&d->sqs->removals, &d->node);
	remove_some(d);
}

/* ---- filling a batch ---- */

static void take(struct sqs *q, const struct queue_received *m);

static void dispatch(struct sqs *q)
{
	struct source_batch *b = take_ptr(q->open);

	if (!q->busy_since_ns)
		q->busy_since_ns = loop_now_ns(loop_of(q));
	source_batch_send(b, STR("]}"));
}

static void add(struct sqs *q, const struct queue_received *m)
{
	if (!q->open)
		q->open = source_batch_new(q->run, STR("{\"Records\":["));
	/* The first one tells where this began: batches of one, as loops make them, are exact. */
	if (!q->open->count && m->trace.len && m->trace.len < sizeof(q->open->trace_id))
		memcpy(q->open->trace_id, m->trace.ptr, m->trace.len);
	if (source_batch_add(q->open, buf_str(&q->text), m->id, m->receipt, 0))
		return;
	dispatch(q);
	add(q, m);
}

static void take(struct sqs *q, const struct queue_received *m)
{
	buf_clear(&q->text);
	sqs_record(&q->text, m, q->run->arn, q->run->region);
	if (!q->run->filter || filter_matches(q->run->filter, buf_str(&q->text))) {
		add(q, m);
		return;
	}
	if (!q->unwanted)
		q->unwanted = removal_new(q);
	removal_add(q->unwanted, m->receipt);
}

static int64_t window_left_ms(const struct sqs *q)
{
	int64_t end_ns = q->open->since_ns + q->run->window_ns;

	return (end_ns - loop_now_ns(loop_of(q)) + 999999) / 1000000;
}

static bool is_complete(const struct sqs *q, size_t came)
{
	if (q->open->count >= q->run->batch_size)
		return true;
	if (q->run->window_ns)
		return window_left_ms(q) <= 0;
	/* A full slice: there may be more. */
	return came < q->asked;
}

static void look_in(struct sqs *q, int64_t delay_ns)
{
	if (!q->timer.slot)
		loop_timer_set(loop_of(q), &q->timer, delay_ns);
}

static void on_received(
    struct queue_receiver *rcv, int result, const struct queue_received *m, size_t count)
{
	struct sqs *q = container_of(rcv, struct sqs, receiver);

	q->receiving = false;
	if (result == -ECANCELED)
		return;
	for (size_t i = 0; i < count; i++)
		take(q, &m[i]);
	if (q->unwanted)
		removal_start(take_ptr(q->unwanted));
	if (q->open && (result < 0 || is_complete(q, count)))
		dispatch(q);
	/* Too many in flight, or the disk: not at once. Where the queue has gone, pull() sees it.
	 */
	if (result < 0 && result != -ENOENT)
		look_in(q, LOOK_AGAIN_NS);
	else
		pull_soon(q);
}

/* ---- how many at a time ---- */

static unsigned limit(const struct sqs *q)
{
	unsigned max = q->run->concurrency_max ? q->run->concurrency_max : SCALE_MAX;
	int64_t busy_ns = q->busy_since_ns ? loop_now_ns(loop_of(q)) - q->busy_since_ns : 0;
	unsigned min = q->run->concurrency_min ? q->run->concurrency_min : SCALE_START;
	int64_t now = min + busy_ns * SCALE_PER_S / 1000000000;

	return now < (int64_t)max ? (unsigned)now : max;
}

/* May another batch begin? Messages are better kept in the queue than in line for a box: their
 * visibility timeout is not running there. */
static bool has_room(const struct sqs *q)
{
	struct invoke_counts c;

	if (q->run->held || q->run->in_flight >= limit(q))
		return false;
	/* A few are everybody's right. */
	if (q->run->in_flight < SCALE_START)
		return true;
	invoke_count(q->run->sources->o.invoke, &c);
	return c.waiting == 0;
}

static void ask(struct sqs *q, struct queue *queue, int64_t wait_ms)
{
	const struct source_run *r = q->run;
	size_t have = q->open ? q->open->count : 0;
	int64_t visibility_ms = queue_settings(queue)->visibility_ms + r->window_ns / 1000000;

	q->asked = (unsigned)min_size(r->batch_size - have, SLICE_MESSAGES);
	q->receiver = (struct queue_receiver){.done = on_received, .wait_ms = wait_ms};
	q->receiver.max = q->asked;
	q->receiver.max_bytes = r->filter ? SLICE_FILTERED_BYTES : SLICE_BYTES;
	q->receiver.visibility_ms =
	    visibility_ms < QUEUE_VISIBILITY_MAX_MS ? visibility_ms : QUEUE_VISIBILITY_MAX_MS;
	q->receiving = true;
	queue_receive(queue, &q->receiver);
}

static void pull(struct sqs *q)
{
	struct queue *queue = queue_of(q);

	if (q->receiving || q->run->stopping)
		return;
	if (!q->run->in_flight)
		q->busy_since_ns = 0;
	if (!queue) {
		source_batch_free(take_ptr(q->open)); /* its messages went with the queue */
		source_run_result(q->run, "PROBLEM: The queue does not exist");
		look_in(q, LOOK_AGAIN_NS);
	} else if (q->open) {
		ask(q, queue, q->run->window_ns ? window_left_ms(q) : 0);
	} else if (!has_room(q)) {
		look_in(q, SCALE_LOOK_NS);
	} else if (!source_run_function(q->run)) {
		source_run_result(q->run, "PROBLEM: The function does not exist or cannot run");
		look_in(q, LOOK_AGAIN_NS);
	} else {
		ask(q, queue, WAIT_LONG_MS);
	}
}

static void on_again(struct loop_task *t)
{
	pull(container_of(t, struct sqs, again));
}

static void on_timer(struct loop_timer *t)
{
	pull(container_of(t, struct sqs, timer));
}

/* ---- the operations ---- */

static bool claims(const json_t *doc)
{
	struct str arn = str_from(json_string_value(json_object_get(doc, "EventSourceArn")));

	for (int i = 0; i < 2 && arn.ptr; i++)
		(void)str_cut(&arn, ':');
	return arn.ptr && str_has_prefix(arn, "sqs:");
}

static int check_source(
    struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e)
{
	const char *arn = json_string_value(json_object_get(doc, "EventSourceArn"));
	struct queue *queue = queue_find_arn(s->o.queues, arn);

	if (!queue)
		return err_set(e, ENOENT,
		    "Error occurred while ReceiveMessage. SQS Error Code: "
		    "AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified "
		    "queue does not exist.");
	if (queue_settings(queue)->visibility_ms < function_timeout_ms)
		return err_set(e, EINVAL,
		    "Queue visibility timeout: %" PRId64
		    " seconds is less than Function timeout: %" PRId64 " seconds",
		    queue_settings(queue)->visibility_ms / 1000, function_timeout_ms / 1000);
	return 0;
}

static void *start(struct source_run *r)
{
	struct sqs *q = xcalloc(1, sizeof(*q));

	q->run = r;
	list_init(&q->removals);
	list_init(&q->again.node);
	q->again.run = on_again;
	q->timer.on_due = on_timer;
	pull_soon(q);
	return q;
}

static void give_back(struct sqs *q, const struct source_batch *b, size_t first)
{
	struct queue *queue = queue_of(q);

	for (size_t i = first; queue && b && i < b->count; i++)
		(void)queue_visibility(queue, str_from(b->records[i].handle), 0);
}

static void check_idle(struct sqs *q)
{
	if (q->run->stopping && !q->run->in_flight && list_empty(&q->removals))
		source_run_idle(q->run);
}

static void stop_receiving(struct sqs *q)
{
	if (q->receiving)
		queue_receive_cancel(&q->receiver);
	q->receiving = false;
	give_back(q, q->open, 0);
	source_batch_free(take_ptr(q->open));
	loop_timer_stop(loop_of(q), &q->timer);
	loop_task_cancel(&q->again);
}

static void stop(void *instance)
{
	struct sqs *q = instance;

	stop_receiving(q);
	check_idle(q);
}

static void release(void *instance)
{
	struct sqs *q = instance;

	stop_receiving(q);
	/* Writes go on without us. */
	list_for_each_safe (n, &q->removals) {
		struct removal *d = list_entry(n, struct removal, node);

		d->sqs = NULL;
		list_remove(&d->node);
	}
	buf_done(&q->text);
	free(q);
}

/* Only the first message is known to be part of the loop. It becomes a dead letter as one that
 * failed does, or disappears when the queue has no place for those. */
static void end_loop(struct sqs *q, const struct source_batch *b)
{
	struct queue *queue = queue_of(q);
	struct removal *d;

	give_back(q, b, 1);
	if (!queue || queue_settings(queue)->dead_letter_arn[0])
		return;
	d = removal_new(q);
	removal_add(d, b->records[0].handle);
	removal_start(d);
}

static void ended(void *instance, struct source_batch *b, enum batch_end end)
{
	struct sqs *q = instance;

	if (end == BATCH_DONE) {
		struct removal *d = removal_new(q);

		for (size_t i = 0; i < b->count; i++)
			if (!b->records[i].failed)
				removal_add(d, b->records[i].handle);
		removal_start(d);
	} else if (end == BATCH_DROPPED) {
		give_back(q, b, 0);
	} else if (end == BATCH_LOOPED) {
		end_loop(q, b);
	}
	source_batch_free(b);
	if (q->run->stopping)
		check_idle(q);
	else
		pull_soon(q);
}

/* Nobody else gets its messages meanwhile: they would only count as received once more. */
static bool hold(void *instance, struct source_batch *b, int64_t ms)
{
	struct sqs *q = instance;
	struct queue *queue = queue_of(q);
	int64_t visibility_ms;

	if (!queue || loop_now_ns(loop_of(q)) - b->since_ns > HOLD_MAX_NS)
		return false;
	visibility_ms = queue_settings(queue)->visibility_ms + ms;
	for (size_t i = 0; i < b->count; i++)
		(void)queue_visibility(queue, str_from(b->records[i].handle), visibility_ms);
	return true;
}

static void more(void *instance)
{
	pull_soon(instance);
}

static const char *const data_keys[] = {"body", NULL};

const struct source_ops sqs_source = {
    .name = "sqs",
    .reason = "USER_INITIATED",
    .data = {data_keys, false},
    .claims = claims,
    .verify = check_source,
    .start = start,
    .stop = stop,
    .free = release,
    .ended = ended,
    .hold = hold,
    .more = more,
};
