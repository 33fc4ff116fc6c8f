/*
 * Moving messages from queue to queue: dead letters by themselves, and back again by tasks. One
 * write takes the message out of one queue and into the other. Tasks are on disk and go on after a
 * restart. Loop thread.
 */
#include <stdio.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define RETRY_MS 10000
#define MOVE_STEP 100
#define MOVES_KEPT 10 /* of one source */
#define SPACE "queue-moves"
#define NO_SOURCE "CouldNotDetermineMessageSource"

/* ---- one message ---- */

struct departure {
	struct message *message;
	struct queue_staged *arrival;
};

/* Adds both halves to w; false when it cannot go there. */
static bool depart(struct departure *d, struct message *m, struct queue *to, const char *source_arn,
    struct store_write *w)
{
	char id[ID_LEN];

	d->arrival = stage_copy(to, m->content, source_arn, w);
	if (!d->arrival)
		return false;
	d->message = m;
	message_hold(m, M_LEAVING);
	id_encode(m->order, m->seq, id);
	store_remove(w, m->queue->store_name, (struct str){id, sizeof(id)});
	return true;
}

static void arrive(struct departure *d, int result)
{
	struct message *m = d->message;
	struct queue *q = m->queue;

	if (result == 0 || q->gone || m->epoch != q->epoch)
		message_free(m);
	else
		message_wait(m, time_wall_ms() + RETRY_MS);
	queue_finish(d->arrival, result);
}

/* ---- dead letters ---- */

struct dead_letter {
	struct store_write write;
	struct queue *queue;
	struct departure departure;
};

static struct queue *dead_letter_queue(const struct queue *q)
{
	struct queue *to =
	    q->settings.receives_max ? queue_find_arn(q->all, q->settings.dead_letter_arn) : NULL;

	return to && to != q && to->settings.fifo == q->settings.fifo ? to : NULL;
}

const char *queue_dead_letter_arn(const struct queue *q)
{
	struct queue *to = dead_letter_queue(q);

	return to ? to->arn : NULL;
}

bool dead_letter_due(const struct message *m)
{
	const struct queue *q = m->queue;

	return q->settings.receives_max && m->receives >= q->settings.receives_max &&
	       dead_letter_queue(q);
}

static void on_buried(struct store_write *w, int result)
{
	struct dead_letter *l = container_of(w, struct dead_letter, write);

	if (result < 0)
		log_warn("queue %s: a dead letter cannot be moved: %s", l->queue->arn,
		    strerror(-result));
	arrive(&l->departure, result);
	queue_unref(l->queue);
	free(l);
}

void dead_letter_move(struct message *m)
{
	struct dead_letter *l = xcalloc(1, sizeof(*l));
	struct queue *q = m->queue, *to = dead_letter_queue(q);

	store_write_init(&l->write, on_buried);
	l->queue = q;
	if (!depart(&l->departure, m, to, q->arn, &l->write)) {
		log_error(
		    "queue %s: a dead letter does not fit into %s and is dropped", q->arn, to->arn);
		message_expire(m);
		free(l);
		return;
	}
	queue_ref(q);
	store_commit(q->all->store, &l->write);
}

/* ---- tasks ---- */

struct move {
	struct queue_move pub;
	struct list node; /* queues.moves */
	struct queues *all;
	char *source_arn, *target_arn;
	const char *failure;
	struct loop_timer timer;
	bool busy;     /* a step is being written */
	bool waiting;  /* for its rate */
	bool recorded; /* its end is on disk, or on its way */
};

struct step {
	struct store_write write;
	struct queue *queue;
	struct move *move;
	size_t count;
	struct departure departures[MOVE_STEP];
};

static const char *const status_names[] = {
    [QUEUE_MOVE_RUNNING] = "RUNNING",
    [QUEUE_MOVE_COMPLETED] = "COMPLETED",
    [QUEUE_MOVE_CANCELLING] = "CANCELLING",
    [QUEUE_MOVE_CANCELLED] = "CANCELLED",
    [QUEUE_MOVE_FAILED] = "FAILED",
};

static void record(const struct move *v, int64_t moved, struct store_write *w)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s %d %" PRId64 " %" PRId64 " %" PRId64 " %s %s", v->source_arn,
	    v->pub.rate, moved, v->pub.to_move, v->pub.started_ms, status_names[v->pub.status],
	    v->target_arn);
	store_put(w, SPACE, str_from(v->pub.handle), buf_str(&b), STORE_ANY);
	buf_done(&b);
}

struct note {
	struct store_write write;
};

static void on_noted(struct store_write *w, int result)
{
	if (result < 0)
		log_warn("a message move task cannot be written: %s", strerror(-result));
	free(container_of(w, struct note, write));
}

static void note(struct move *v)
{
	struct note *n = xcalloc(1, sizeof(*n));

	store_write_init(&n->write, on_noted);
	record(v, v->pub.moved, &n->write);
	store_commit(v->all->store, &n->write);
}

static void end(struct move *v, enum queue_move_status status, const char *failure)
{
	struct queue *q = queue_find_arn(v->all, v->source_arn);

	loop_timer_stop(v->all->loop, &v->timer);
	v->pub.status = status;
	v->pub.failure = failure;
	if (q && q->move == v)
		q->move = NULL;
	note(v);
}

static void move_free(struct move *v)
{
	loop_timer_stop(v->all->loop, &v->timer);
	list_remove(&v->node);
	free(v->source_arn);
	free(v->target_arn);
	free(v);
}

void move_forget(struct queue *q)
{
	if (q->move)
		end(q->move, QUEUE_MOVE_FAILED, "AWS.SimpleQueueService.NonExistentQueue");
}

/* Where a message goes back to. */
static struct queue *destination(const struct move *v, const struct message *m)
{
	struct content_view view;
	char arn[320];

	if (v->target_arn[0])
		return queue_find_arn(v->all, v->target_arn);
	if (!content_view((struct str){m->content->data, m->content->len}, &view) ||
	    !view.source_arn.len)
		return NULL;
	snprintf(arn, sizeof(arn), "%.*s", STR_FMT(view.source_arn));
	return queue_find_arn(v->all, arn);
}

static void on_pause_over(struct loop_timer *t)
{
	struct move *v = container_of(t, struct move, timer);
	struct queue *q = queue_find_arn(v->all, v->source_arn);

	v->waiting = false;
	if (q)
		move_continue(q);
}

static void pause_for_rate(struct move *v, size_t moved)
{
	if (!v->pub.rate)
		return;
	v->waiting = true;
	v->timer.on_due = on_pause_over;
	loop_timer_set(v->all->loop, &v->timer, (int64_t)moved * 1000000000 / v->pub.rate);
}

static void on_stepped(struct store_write *w, int result)
{
	struct step *s = container_of(w, struct step, write);
	struct move *v = s->move;
	struct queue *q = s->queue;

	for (size_t i = 0; i < s->count; i++)
		arrive(&s->departures[i], result);
	v->busy = false;
	if (result == 0)
		v->pub.moved += (int64_t)s->count;
	if (v->pub.status == QUEUE_MOVE_CANCELLING)
		end(v, QUEUE_MOVE_CANCELLED, "");
	else if (result < 0 && v->pub.status == QUEUE_MOVE_RUNNING)
		end(v, QUEUE_MOVE_FAILED, "InternalError");
	if (!q->gone)
		queue_dispatch(q);
	queue_unref(q);
	free(s);
}

static size_t step_size(const struct move *v)
{
	size_t n =
	    v->pub.rate ? max_size(1, min_size(MOVE_STEP, (size_t)v->pub.rate / 10)) : MOVE_STEP;

	return min_size(n, (size_t)(v->pub.to_move - v->pub.moved));
}

/* Returns how many were taken; -1 when one has nowhere to go. */
static int gather(struct move *v, struct queue *q, struct step *s)
{
	size_t max = step_size(v);
	struct message *m;

	while (s->count < max && (m = queue_pick(q))) {
		struct queue *to = destination(v, m);

		if (!to || to == q || !depart(&s->departures[s->count], m, to, NULL, &s->write))
			return s->count ? (int)s->count : -1;
		s->count++;
	}
	return (int)s->count;
}

static void step(struct move *v, struct queue *q)
{
	struct step *s = xcalloc(1, sizeof(*s));
	int n;

	store_write_init(&s->write, on_stepped);
	n = gather(v, q, s);
	if (n > 0) {
		s->queue = q;
		s->move = v;
		queue_ref(q);
		v->busy = true;
		record(v, v->pub.moved + n, &s->write);
		store_commit(q->all->store, &s->write);
		pause_for_rate(v, s->count);
		return;
	}
	free(s);
	if (n < 0)
		end(v, QUEUE_MOVE_FAILED, NO_SOURCE);
	else if (!q->backlog && !q->reading && !q->loading)
		end(v, QUEUE_MOVE_COMPLETED, "");
}

void move_continue(struct queue *q)
{
	struct move *v = q->move;

	if (!v || v->busy || v->waiting || q->all->stopping)
		return;
	if (v->pub.moved >= v->pub.to_move)
		end(v, QUEUE_MOVE_COMPLETED, "");
	else
		step(v, q);
}

static struct move *move_new(
    struct queues *all, const char *source_arn, const char *target_arn, int rate)
{
	struct move *v = xcalloc(1, sizeof(*v));

	v->all = all;
	v->source_arn = xstrdup(source_arn);
	v->target_arn = xstrdup(target_arn);
	v->pub.source_arn = v->source_arn;
	v->pub.target_arn = v->target_arn;
	v->pub.failure = "";
	v->pub.rate = rate;
	list_push_back(&all->moves, &v->node);
	return v;
}

/* Only the latest of each source are remembered. */
static void forget_oldest(struct queues *all, const char *source_arn)
{
	struct move *oldest = NULL;
	size_t n = 0;

	list_for_each (at, &all->moves) {
		struct move *v = list_entry(at, struct move, node);

		if (strcmp(v->source_arn, source_arn) != 0)
			continue;
		if (!oldest)
			oldest = v;
		n++;
	}
	if (n > MOVES_KEPT && !oldest->busy && oldest->pub.status != QUEUE_MOVE_RUNNING) {
		struct note *w = xcalloc(1, sizeof(*w));

		store_write_init(&w->write, on_noted);
		store_delete(&w->write, SPACE, str_from(oldest->pub.handle), STORE_ANY);
		store_commit(all->store, &w->write);
		move_free(oldest);
	}
}

int queue_move_start(
    struct queue *source, struct queue *target, int rate, const struct queue_move **ret)
{
	struct queue_counts c;
	struct move *v;

	if (source->move)
		return -EBUSY;
	v = move_new(source->all, source->arn, target ? target->arn : "", rate);
	queue_counts(source, &c);
	rand_uuid(v->pub.handle);
	v->pub.to_move = c.visible;
	v->pub.started_ms = time_wall_ms();
	source->move = v;
	note(v);
	forget_oldest(source->all, source->arn);
	queue_dispatch(source);
	*ret = &v->pub;
	return 0;
}

static struct move *find(struct queues *all, struct str handle)
{
	list_for_each (n, &all->moves) {
		struct move *v = list_entry(n, struct move, node);

		if (str_is(handle, v->pub.handle))
			return v;
	}
	return NULL;
}

const struct queue_move *queue_move_find(struct queues *q, struct str handle)
{
	struct move *v = find(q, handle);

	return v ? &v->pub : NULL;
}

int queue_move_cancel(struct queues *q, struct str handle, int64_t *ret_moved)
{
	struct move *v = find(q, handle);

	if (!v)
		return -ENOENT;
	if (v->pub.status != QUEUE_MOVE_RUNNING)
		return -EALREADY;
	*ret_moved = v->pub.moved;
	if (v->busy)
		v->pub.status = QUEUE_MOVE_CANCELLING;
	else
		end(v, QUEUE_MOVE_CANCELLED, "");
	return 0;
}

size_t queue_moves(
    struct queues *q, const char *source_arn, const struct queue_move **ret, size_t max)
{
	size_t n = 0;

	for (struct list *at = q->moves.prev; at != &q->moves && n < max; at = at->prev) {
		struct move *v = list_entry(at, struct move, node);

		if (strcmp(v->source_arn, source_arn) == 0)
			ret[n++] = &v->pub;
	}
	return n;
}

/* ---- restarts ---- */

static struct str word(struct str *s)
{
	return s->ptr ? str_cut(s, ' ') : STR_NULL;
}

static int64_t number(struct str *s)
{
	int64_t v = 0;

	return str_to_int64(word(s), 0, INT64_MAX, &v) ? v : 0;
}

static int load(void *ctx, struct str key, struct str value, int64_t version)
{
	struct queues *all = ctx;
	struct str source = word(&value);
	_cleanup_free_ char *source_arn = xstrndup(source.len ? source.ptr : "", source.len);
	_cleanup_free_ char *target_arn = NULL;
	struct str status;
	struct move *v;
	int64_t numbers[4];

	(void)version;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		numbers[i] = number(&value);
	status = word(&value);
	if (key.len != 36 || !value.ptr)
		return 0;
	target_arn = xstrndup(value.ptr, value.len);
	v = move_new(all, source_arn, target_arn, (int)numbers[0]);
	memcpy(v->pub.handle, key.ptr, key.len);
	v->pub.moved = numbers[1];
	v->pub.to_move = numbers[2];
	v->pub.started_ms = numbers[3];
	for (size_t i = 0; i < ARRAY_SIZE(status_names); i++)
		if (str_is(status, status_names[i]))
			v->pub.status = (enum queue_move_status)i;
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct move *x = *(struct move *const *)a, *y = *(struct move *const *)b;

	return (x->pub.started_ms > y->pub.started_ms) - (x->pub.started_ms < y->pub.started_ms);
}

static void sort(struct queues *all)
{
	struct move **v;
	size_t n = 0;

	list_for_each (at, &all->moves)
		n++;
	v = xcalloc(n + 1, sizeof(struct move *));
	for (size_t i = 0; i < n; i++) {
		v[i] = list_first(&all->moves, struct move, node);
		list_remove(&v[i]->node);
	}
	qsort(v, n, sizeof(struct move *), by_start);
	for (size_t i = 0; i < n; i++)
		list_push_back(&all->moves, &v[i]->node);
	free(v);
}

int moves_load(struct queues *all, struct err *e)
{
	int r = store_scan(all->store, SPACE, STR_NULL, load, all, e);

	if (r == 0)
		sort(all);
	return r;
}

void moves_resume(struct queues *all)
{
	list_for_each_safe (n, &all->moves) {
		struct move *v = list_entry(n, struct move, node);
		struct queue *q = queue_find_arn(all, v->source_arn);

		if (v->pub.status == QUEUE_MOVE_CANCELLING)
			end(v, QUEUE_MOVE_CANCELLED, "");
		if (v->pub.status != QUEUE_MOVE_RUNNING)
			continue;
		if (!q || q->move) {
			end(v, QUEUE_MOVE_FAILED, NO_SOURCE);
			continue;
		}
		q->move = v;
		queue_dispatch(q);
	}
}

void moves_drop(struct queues *all)
{
	while (!list_empty(&all->moves))
		move_free(list_first(&all->moves, struct move, node));
}
