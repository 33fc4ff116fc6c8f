/* See broker.h. */
#include "source/broker.h"

#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"

#define WINDOW_NS 500000000 /* AWS's for these, when none is asked for */
#define LOOK_AGAIN_NS 500000000
#define PREPARE_AGAIN_NS (5 * (int64_t)1000000000)
#define BACKOFF_MIN_MS 250
#define BACKOFF_MAX_MS 60000
#define EASY 5 /* batches at a time that are everybody's right */
#define LANE_COST 16

struct feed_lane {
	char *name;
	struct list waiting;
	struct group *busy; /* ordered: the batch under way that has records of it */
	unsigned in_open;   /* records in the one being filled */
	int64_t next;       /* behind the last that was taken out of `waiting` */
	bool passed;        /* some were passed over since, nothing tells the broker yet */
};

/* One batch's messages, lane by lane. */
struct group {
	struct list messages;
	size_t count, bytes;
	int64_t since_ns;
	unsigned epoch, tries;
};

struct broker {
	struct source_run *run;
	const struct broker_kind *kind;
	struct feed *feed;
	bool started, stop_sent;
	struct map lanes;
	struct group *open; /* being filled; NULL: none */
	unsigned epoch;
	unsigned failures;     /* in a row; unordered */
	int64_t not_before_ns; /* likewise */
	size_t head_bytes;
	struct loop_timer timer;
	struct loop_task again;
	char problem[160];
};

static struct loop *loop_of(const struct broker *b)
{
	return b->run->sources->o.loop;
}

void broker_put_base64(struct buf *b, const void *data, size_t len)
{
	char *at;

	buf_putc(b, '"');
	at = buf_reserve(b, BASE64_ENCODED_SIZE(len));
	buf_commit(b, base64_encode(data, len, at));
	buf_putc(b, '"');
}

void broker_put_bytes(struct buf *b, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	buf_putc(b, '[');
	for (size_t i = 0; i < len; i++) {
		if (i)
			buf_putc(b, ',');
		buf_put_uint(b, bytes[i]);
	}
	buf_putc(b, ']');
}

/* ---- lanes ---- */

static struct feed_lane *lane_of(struct broker *b, const char *name)
{
	struct feed_lane *lane = map_get(&b->lanes, str_from(name));

	if (lane)
		return lane;
	lane = xcalloc(1, sizeof(*lane));
	lane->name = xstrdup(name);
	list_init(&lane->waiting);
	map_put(&b->lanes, str_from(name), lane);
	return lane;
}

static void drop_list(struct broker *b, struct list *messages)
{
	list_for_each_safe (n, messages)
		feed_message_free(b->feed, list_entry(n, struct feed_message, node));
}

static void drop_group(struct broker *b, struct group *g)
{
	if (!g)
		return;
	drop_list(b, &g->messages);
	free(g);
}

/* The broker has forgotten what it gave us, or we stop. */
static void drop_waiting(struct broker *b)
{
	map_for_each (&b->lanes, entry) {
		struct feed_lane *lane = entry->value;

		drop_list(b, &lane->waiting);
		lane->in_open = 0;
		lane->passed = false;
	}
	drop_group(b, take_ptr(b->open));
}

static bool is_too_old(const struct broker *b, int64_t time_ms)
{
	const json_t *v = json_object_get(b->run->doc, "MaximumRecordAgeInSeconds");
	int64_t max_s = json_is_integer(v) ? json_integer_value(v) : -1;

	return max_s > 0 && time_ms > 0 && time_wall_ms() - time_ms > max_s * 1000;
}

static void arrive(struct broker *b, struct feed_message *m)
{
	if (m->epoch != b->epoch) {
		feed_message_free(b->feed, m);
		return;
	}
	m->lane = lane_of(b, m->lane_name);
	if (buf_len(&m->text) &&
	    ((b->run->filter && !filter_matches(b->run->filter, buf_str(&m->text))) ||
		is_too_old(b, m->time_ms)))
		buf_clear(&m->text);
	if (buf_len(&m->text) || b->kind->ordered) {
		list_push_back(&m->lane->waiting, &m->node);
		return;
	}
	feed_send(b->feed, m->epoch, FEED_DONE, m->lane_name, m->number);
	feed_message_free(b->feed, m);
}

/* ---- filling a batch ---- */

static bool fits(const struct broker *b, const struct feed_lane *lane, const struct feed_message *m)
{
	const struct group *g = b->open;
	size_t bytes = buf_len(&m->text) + 1;

	if (!g)
		return true;
	if (!lane->in_open)
		bytes += 6 * strlen(lane->name) + LANE_COST;
	return g->count < b->run->batch_size &&
	       b->head_bytes + g->bytes + bytes + 128 <= SOURCE_PAYLOAD_MAX;
}

static void take(struct broker *b, struct feed_lane *lane, struct feed_message *m)
{
	struct group *g = b->open;

	if (!g) {
		g = b->open = xcalloc(1, sizeof(*g));
		list_init(&g->messages);
		g->since_ns = loop_now_ns(loop_of(b));
		g->epoch = b->epoch;
	}
	if (!lane->in_open++)
		g->bytes += 6 * strlen(lane->name) + LANE_COST;
	g->bytes += buf_len(&m->text) + 1;
	g->count++;
	list_remove(&m->node);
	list_push_back(&g->messages, &m->node);
}

/* False: the batch is full. */
static bool fill_from(struct broker *b, struct feed_lane *lane)
{
	list_for_each_safe (n, &lane->waiting) {
		struct feed_message *m = list_entry(n, struct feed_message, node);

		if (!buf_len(&m->text)) {
			lane->next = m->number + 1;
			lane->passed = true;
			feed_message_free(b->feed, m);
			continue;
		}
		if (!fits(b, lane, m))
			return false;
		lane->next = m->number + 1;
		take(b, lane, m);
	}
	return true;
}

/* True: the batch is full. */
static bool fill(struct broker *b)
{
	bool full = false, told = false;

	map_for_each (&b->lanes, entry) {
		struct feed_lane *lane = entry->value;

		if (lane->busy)
			continue;
		if (!full)
			full = !fill_from(b, lane);
		if (lane->passed && !lane->in_open) {
			feed_send(b->feed, b->epoch, FEED_DONE, lane->name, lane->next);
			lane->passed = false;
			told = true;
		}
	}
	if (told)
		feed_flush(b->feed);
	return full || (b->open && b->open->count >= b->run->batch_size);
}

/* ---- running it ---- */

static int by_lane(const void *a, const void *b)
{
	const struct feed_message *const *x = a, *const *y = b;
	int r = strcmp((*x)->lane_name, (*y)->lane_name);

	return r ? r : ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

/* Lane by lane, each in its order. */
static void sort(struct group *g)
{
	struct feed_message **all = xcalloc(g->count, sizeof(struct feed_message *));
	size_t n = 0;

	list_for_each_safe (node, &g->messages) {
		all[n++] = list_entry(node, struct feed_message, node);
		list_remove(node);
	}
	qsort(all, n, sizeof(struct feed_message *), by_lane);
	for (size_t i = 0; i < n; i++)
		list_push_back(&g->messages, &all[i]->node);
	free(all);
}

static void add_record(struct source_batch *batch, const struct feed_message *m, bool first)
{
	char id[512]; /* the longest names of a queue and a virtual host, and a number */
	bool added;

	if (first) {
		if (batch->count)
			buf_puts(&batch->text, "],");
		buf_json_string(&batch->text, str_from(m->lane_name));
		buf_puts(&batch->text, ":[");
		batch->fresh = true;
	}
	snprintf(id, sizeof(id), "%s@%" PRId64, m->lane_name, m->number);
	added = source_batch_add(batch, buf_str(&m->text), id, NULL, m->number);
	check(added);
}

static struct source_batch *batch_of(struct broker *b, struct group *g)
{
	struct buf head = BUF_INIT;
	const struct feed_lane *last = NULL;
	struct source_batch *batch;

	b->kind->head(b->run, &head);
	batch = source_batch_new(b->run, buf_str(&head));
	buf_done(&head);
	list_for_each (n, &g->messages) {
		struct feed_message *m = list_entry(n, struct feed_message, node);

		add_record(batch, m, m->lane != last);
		last = m->lane;
		if (b->kind->ordered)
			m->lane->busy = g;
	}
	batch->user = g;
	return batch;
}

static void dispatch(struct broker *b)
{
	struct group *g = take_ptr(b->open);

	sort(g);
	map_for_each (&b->lanes, entry)
		((struct feed_lane *)entry->value)->in_open = 0;
	source_batch_send(batch_of(b, g), STR("]}}"));
}

static void look_in(struct broker *b, int64_t delay_ns)
{
	loop_timer_set(loop_of(b), &b->timer, delay_ns > 0 ? delay_ns : 0);
}

static bool has_room(struct broker *b)
{
	const struct source_run *r = b->run;
	struct invoke_counts c;

	if (r->held || r->in_flight >= b->kind->concurrency)
		return false;
	if (r->in_flight < EASY)
		return true;
	invoke_count(r->sources->o.invoke, &c);
	return c.waiting == 0;
}

static bool prepare(struct broker *b)
{
	struct err e = ERR_INIT;
	void *config;

	if (b->started)
		return true;
	config = b->kind->prepare(b->run, &e);
	if (config && feed_start(b->feed, b->kind->main, config) == 0) {
		b->started = true;
		return true;
	}
	if (config)
		b->kind->discard(config);
	source_run_result(b->run, "PROBLEM: %s", config ? "No thread could be started" : e.msg);
	look_in(b, PREPARE_AGAIN_NS);
	return false;
}

static void pull(struct broker *b)
{
	int64_t now = loop_now_ns(loop_of(b)), left;
	bool full;

	if (b->run->stopping || !prepare(b))
		return;
	if (now < b->not_before_ns) {
		look_in(b, b->not_before_ns - now);
		return;
	}
	full = fill(b);
	if (!b->open)
		return;
	left = b->open->since_ns + b->run->window_ns - now;
	if (!full && left > 0) {
		look_in(b, left);
	} else if (!has_room(b) || !source_run_function(b->run)) {
		if (!b->run->in_flight)
			source_run_result(
			    b->run, "PROBLEM: The function does not exist or cannot run");
		look_in(b, LOOK_AGAIN_NS);
	} else {
		dispatch(b);
		loop_defer(loop_of(b), &b->again);
	}
}

static void on_again(struct loop_task *t)
{
	pull(container_of(t, struct broker, again));
}

static void on_timer(struct loop_timer *t)
{
	pull(container_of(t, struct broker, timer));
}

static void check_idle(struct broker *b)
{
	if (!b->run->stopping || b->run->in_flight)
		return;
	if (!b->started || feed_has_ended(b->feed))
		source_run_idle(b->run);
	else if (!b->stop_sent)
		feed_stop(b->feed);
	b->stop_sent = true;
}

static void on_news(void *ctx)
{
	struct broker *b = ctx;
	struct list came;
	char problem[sizeof(b->problem)];
	unsigned epoch;

	list_init(&came);
	epoch = feed_collect(b->feed, &came, problem);
	if (epoch != b->epoch)
		drop_waiting(b);
	b->epoch = epoch;
	if (strcmp(problem, b->problem) != 0 && !problem[0])
		source_run_result(b->run, "No records processed");
	else if (problem[0])
		source_run_result(b->run, "PROBLEM: %s", problem);
	memcpy(b->problem, problem, sizeof(problem));
	if (b->run->stopping) {
		drop_list(b, &came);
		check_idle(b);
		return;
	}
	list_for_each_safe (n, &came) {
		list_remove(n);
		arrive(b, list_entry(n, struct feed_message, node));
	}
	feed_flush(b->feed);
	pull(b);
}

/* ---- what became of it ---- */

static int64_t backoff_ns(unsigned tries)
{
	int64_t ms = tries > 8 ? BACKOFF_MAX_MS : BACKOFF_MIN_MS << (tries - 1);

	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return (ms / 2 + (int64_t)(rand_u64() % (uint64_t)(ms / 2))) * 1000000;
}

static void tell(struct broker *b, struct group *g, enum feed_verb verb)
{
	list_for_each (n, &g->messages) {
		const struct feed_message *m = list_entry(n, struct feed_message, node);

		feed_send(b->feed, m->epoch, verb, m->lane_name, m->number);
	}
	feed_flush(b->feed);
}

/* All of a lane that was taken is done with. */
static void commit(struct broker *b, struct group *g, struct feed_lane *lane)
{
	lane->busy = NULL;
	lane->passed = false;
	feed_send(b->feed, g->epoch, FEED_DONE, lane->name, lane->next);
}

static void commit_all(struct broker *b, struct group *g)
{
	list_for_each (n, &g->messages) {
		struct feed_message *m = list_entry(n, struct feed_message, node);

		if (m->lane->busy == g)
			commit(b, g, m->lane);
	}
	feed_flush(b->feed);
}

/* Ordered: what is before the first failure of a lane is done with, the rest stays. */
static void keep_failed(struct broker *b, struct group *g, const struct source_batch *batch)
{
	const struct feed_lane *failing = NULL;
	struct feed_lane *last = NULL;
	size_t i = 0;

	list_for_each_safe (n, &g->messages) {
		struct feed_message *m = list_entry(n, struct feed_message, node);

		if (last && m->lane != last && last != failing)
			commit(b, g, last);
		last = m->lane;
		if (batch->records[i++].failed && m->lane != failing) {
			failing = m->lane;
			feed_send(b->feed, g->epoch, FEED_DONE, m->lane_name, m->number);
		}
		if (m->lane == failing)
			continue;
		g->count--;
		feed_message_free(b->feed, m);
	}
	if (last && last != failing)
		commit(b, g, last);
	feed_flush(b->feed);
}

static int64_t retries_max(const struct broker *b)
{
	const json_t *v = json_object_get(b->run->doc, "MaximumRetryAttempts");

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

static bool is_given_up(const struct broker *b, const struct group *g)
{
	const struct feed_message *first = list_entry(g->messages.next, struct feed_message, node);

	return (retries_max(b) >= 0 && g->tries > retries_max(b)) || is_too_old(b, first->time_ms);
}

static void ended_ordered(
    struct broker *b, struct group *g, struct source_batch *batch, enum batch_end end)
{
	if (end == BATCH_DONE)
		keep_failed(b, g, batch);
	if (end == BATCH_DROPPED || g->epoch != b->epoch || list_empty(&g->messages))
		goto over;
	g->tries++;
	if (is_given_up(b, g)) {
		log_warn("event source mapping %s gives up %zu records after %u attempts",
		    b->run->mapping->key, g->count, g->tries);
		commit_all(b, g);
		goto over;
	}
	if (end == BATCH_DONE) {
		struct source_batch *rest = batch_of(b, g);

		buf_puts(&rest->text, "]}}");
		source_batch_resend(rest, backoff_ns(g->tries));
		source_batch_free(batch);
	} else {
		source_batch_resend(batch, backoff_ns(g->tries));
	}
	return;
over:
	map_for_each (&b->lanes, entry) {
		struct feed_lane *lane = entry->value;

		if (lane->busy == g)
			lane->busy = NULL;
	}
	drop_group(b, g);
	source_batch_free(batch);
}

static void ended_unordered(
    struct broker *b, struct group *g, struct source_batch *batch, enum batch_end end)
{
	tell(b, g, end == BATCH_DONE ? FEED_DONE : FEED_AGAIN);
	if (end == BATCH_DONE)
		b->failures = 0;
	/* They come back at once: nothing is sent until it is time. */
	if (end == BATCH_FAILED)
		b->not_before_ns = loop_now_ns(loop_of(b)) + backoff_ns(++b->failures);
	drop_group(b, g);
	source_batch_free(batch);
}

void broker_ended(void *instance, struct source_batch *batch, enum batch_end end)
{
	struct broker *b = instance;

	if (b->kind->ordered)
		ended_ordered(b, batch->user, batch, end);
	else
		ended_unordered(b, batch->user, batch, end);
	if (b->run->stopping)
		check_idle(b);
	else
		loop_defer(loop_of(b), &b->again);
}

/* ---- life ---- */

void broker_more(void *instance)
{
	struct broker *b = instance;

	loop_defer(loop_of(b), &b->again);
}

void *broker_new(struct source_run *r, const struct broker_kind *kind)
{
	struct broker *b = xcalloc(1, sizeof(*b));
	struct buf head = BUF_INIT;

	b->run = r;
	b->kind = kind;
	b->again.run = on_again;
	list_init(&b->again.node);
	b->timer.on_due = on_timer;
	if (!json_object_get(r->doc, "MaximumBatchingWindowInSeconds"))
		r->window_ns = WINDOW_NS;
	kind->head(r, &head);
	b->head_bytes = buf_len(&head);
	buf_done(&head);
	b->feed = feed_new(loop_of(b), on_news, b);
	loop_defer(loop_of(b), &b->again);
	return b;
}

static void stop_taking(struct broker *b)
{
	loop_timer_stop(loop_of(b), &b->timer);
	loop_task_cancel(&b->again);
	drop_waiting(b);
}

void broker_stop(void *instance)
{
	struct broker *b = instance;

	stop_taking(b);
	check_idle(b);
}

void broker_free(void *instance)
{
	struct broker *b = instance;

	stop_taking(b);
	list_for_each (n, &b->run->batches)
		drop_group(b, take_ptr(list_entry(n, struct source_batch, node)->user));
	map_for_each (&b->lanes, entry) {
		struct feed_lane *lane = entry->value;

		free(lane->name);
		free(lane);
	}
	map_done(&b->lanes);
	feed_release(b->feed);
	free(b);
}
