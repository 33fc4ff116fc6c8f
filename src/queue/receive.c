/*
 * Who receives, and waits for messages or for the disk: lists and one timer each, nothing polls.
 * What arrives in one turn of the loop is given out together at its end. Then what a receiver may
 * do with a message: delete it or change its visibility. Loop thread.
 */
#include <stdio.h>

#include "base/arena.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define ATTEMPTS_MAX 1000
#define ATTEMPT_MS (5 * 60 * (int64_t)1000)

/* ---- choosing ---- */

/* What may not be given out leaves: too old, received too often, damaged on disk. */
static bool is_refused(struct message *m, int64_t now_ms)
{
	if (message_expired(m, now_ms) || m->lost) {
		message_expire(m);
		return true;
	}
	if (m->content && dead_letter_due(m)) {
		dead_letter_move(m);
		return true;
	}
	return false;
}

struct message *queue_pick(struct queue *q)
{
	int64_t now_ms = time_wall_ms();

	if (backlog_resumes(q))
		return NULL;
	while (!list_empty(&q->ready_groups)) {
		struct group *g = list_first(&q->ready_groups, struct group, node);
		struct message *m = list_first(&g->waiting, struct message, node);

		if (is_refused(m, now_ms))
			continue;
		if (!m->content) {
			backlog_load(q);
			return NULL;
		}
		return m;
	}
	return NULL;
}

/* FIFO: what follows in the group whose head was just taken. */
static struct message *pick_follower(struct group *g)
{
	struct message *m = list_first(&g->waiting, struct message, node);

	return m && m->state == M_READY && m->content && !dead_letter_due(m) ? m : NULL;
}

/* Standard: the next group has its turn. */
static void rotate(struct queue *q, struct group *g)
{
	if (list_empty(&g->node))
		return;
	list_remove(&g->node);
	list_push_back(&q->ready_groups, &g->node);
}

static size_t take(struct queue *q, const struct queue_receiver *r, struct message **ret)
{
	struct message *m = queue_pick(q);
	size_t n = 0, bytes = 0;

	while (m && n < r->max && q->n[M_INFLIGHT] < QUEUE_INFLIGHT_MAX) {
		struct group *g = m->group;

		if (n && r->max_bytes && bytes + m->bytes > r->max_bytes)
			break;
		bytes += m->bytes;
		ret[n++] = m;
		message_hold(m, M_INFLIGHT);
		if (!q->settings.fifo)
			rotate(q, g);
		m = q->settings.fifo ? pick_follower(g) : NULL;
		if (!m)
			m = queue_pick(q);
	}
	return n;
}

/* ---- giving out ---- */

struct delivery {
	struct arena arena;
	struct queue_received *out;
};

static void describe(struct delivery *d, struct message *m, struct queue_received *out)
{
	struct content_view *v = arena_new(&d->arena, struct content_view);
	struct queue_attribute *a = NULL;
	char *receipt = arena_alloc(&d->arena, HANDLE_SIZE);

	check(content_view((struct str){m->content->data, m->content->len}, v));
	handle_encode(m, receipt);
	if (v->attribute_count) {
		a = arena_array(&d->arena, QUEUE_ATTRIBUTES_MAX, struct queue_attribute);
		content_attributes(v, a);
	}
	*out = (struct queue_received){.id = v->id,
	    .receipt = receipt,
	    .body = v->body,
	    .trace = v->trace,
	    .group_id = v->group_id,
	    .dedup_id = v->dedup_id,
	    .sender = v->sender,
	    .sequence = "",
	    .source_arn = v->source_arn,
	    .attributes = a,
	    .attribute_count = v->attribute_count,
	    .md5 = v->md5,
	    .attributes_md5 = v->attributes_md5,
	    .sent_ms = m->sent_ms,
	    .first_received_ms = m->first_ms,
	    .receives = m->receives};
	if (m->queue->settings.fifo) {
		char *sequence = arena_alloc(&d->arena, SEQUENCE_SIZE);

		sequence_format(m->seq, sequence);
		out->sequence = sequence;
	}
}

static void finish(struct queue_receiver *r, int result, const struct queue_received *m, size_t n)
{
	loop_timer_stop(r->queue->all->loop, &r->timer);
	list_remove(&r->node);
	r->queue = NULL;
	r->done(r, result, m, n);
}

/* Beyond the bound for bodies those in flight need none. The receiver still looks at them. */
static struct content *lay_off(struct message *m)
{
	struct queues *all = m->queue->all;
	struct content *c = m->content;

	if (all->content_bytes <= all->content_max)
		return NULL;
	all->content_bytes -= c->len;
	m->content = NULL;
	return c;
}

static void deliver(struct queue_receiver *r, struct message **m, size_t n, int64_t visibility_ms)
{
	struct delivery d;
	struct content **laid_off;

	arena_init(&d.arena);
	d.out = arena_array(&d.arena, n, struct queue_received);
	laid_off = arena_array(&d.arena, n, struct content *);
	for (size_t i = 0; i < n; i++) {
		m[i]->receives++;
		m[i]->received_ms = time_wall_ms();
		if (!m[i]->first_ms)
			m[i]->first_ms = m[i]->received_ms;
		message_wait(m[i], m[i]->received_ms + visibility_ms);
		describe(&d, m[i], &d.out[i]);
		laid_off[i] = lay_off(m[i]);
	}
	finish(r, 0, d.out, n);
	for (size_t i = 0; i < n; i++)
		free(laid_off[i]);
	arena_done(&d.arena);
}

/* ---- receive attempts (FIFO) ---- */

static void attempt_free(struct queue *q, struct attempt *a)
{
	list_remove(&a->node);
	map_remove(&q->attempts, str_from(a->id));
	free(a);
}

void attempts_drop(struct queue *q)
{
	while (!list_empty(&q->attempt_order))
		attempt_free(q, list_first(&q->attempt_order, struct attempt, node));
	map_done(&q->attempts);
}

static void attempt_note(
    struct queue *q, const struct queue_receiver *r, struct message **m, size_t n)
{
	struct attempt *a;

	if (!r->attempt_id.len || r->attempt_id.len > QUEUE_ID_MAX || !q->settings.fifo ||
	    n > QUEUE_BATCH_MAX)
		return;
	a = map_get(&q->attempts, r->attempt_id);
	if (a)
		attempt_free(q, a);
	if (q->attempts.count >= ATTEMPTS_MAX)
		attempt_free(q, list_first(&q->attempt_order, struct attempt, node));
	a = xcalloc(1, sizeof(*a));
	memcpy(a->id, r->attempt_id.ptr, r->attempt_id.len);
	a->expires_ms = time_wall_ms() + ATTEMPT_MS;
	a->count = n;
	for (size_t i = 0; i < n; i++) {
		a->messages[i].seq = m[i]->seq;
		a->messages[i].receives = m[i]->receives + 1; /* with this one */
	}
	map_put(&q->attempts, r->attempt_id, a);
	list_push_back(&q->attempt_order, &a->node);
}

/* The messages of an attempt whose answer was lost, if nothing has happened to them since. */
static size_t attempt_recall(struct queue *q, const struct queue_receiver *r, struct message **ret)
{
	struct attempt *a = r->attempt_id.len ? map_get(&q->attempts, r->attempt_id) : NULL;

	if (!a || a->count > r->max || a->expires_ms < time_wall_ms())
		return 0;
	for (size_t i = 0; i < a->count; i++) {
		ret[i] = message_find(q, a->messages[i].seq);
		if (!ret[i] || ret[i]->state != M_INFLIGHT || !ret[i]->content ||
		    ret[i]->receives != a->messages[i].receives)
			return 0;
	}
	for (size_t i = 0; i < a->count; i++)
		ret[i]->receives--; /* the same receive once more */
	return a->count;
}

/* ---- receivers ---- */

static int64_t visibility_of(const struct queue *q, const struct queue_receiver *r)
{
	return r->visibility_ms >= 0 ? r->visibility_ms : q->settings.visibility_ms;
}

/* Gives what there is. False when there is nothing, or not in memory. */
static bool serve(struct queue *q, struct queue_receiver *r)
{
	struct message *few[QUEUE_BATCH_MAX], **m = few;
	_cleanup_free_ struct message **many = NULL;
	size_t n;

	if (r->max > QUEUE_BATCH_MAX)
		m = many = xcalloc(r->max, sizeof(struct message *));
	n = attempt_recall(q, r, m);
	if (!n)
		n = take(q, r, m);
	if (!n)
		return false;
	attempt_note(q, r, m, n);
	deliver(r, m, n, visibility_of(q, r));
	return true;
}

static bool is_waiting_for_disk(const struct queue *q)
{
	return q->reading || q->loading || !list_empty(&q->late);
}

static void end_list(struct list *l, int result)
{
	struct list ended;

	/* Callbacks may add receivers anew: those are not meant. */
	list_init(&ended);
	while (!list_empty(l)) {
		struct list *n = l->next;

		list_remove(n);
		list_push_back(&ended, n);
	}
	while (!list_empty(&ended))
		finish(list_first(&ended, struct queue_receiver, node), result, NULL, 0);
}

void receivers_end(struct queue *q, int result)
{
	queue_ref(q);
	end_list(&q->hasty, result);
	end_list(&q->receivers, result);
	queue_unref(q);
}

static void run_dispatch(struct loop_task *t)
{
	struct queue *q = container_of(t, struct queue, dispatch);

	queue_ref(q);
	while (!q->gone && !list_empty(&q->hasty) &&
	       serve(q, list_first(&q->hasty, struct queue_receiver, node)))
		;
	while (!q->gone && !list_empty(&q->receivers) &&
	       serve(q, list_first(&q->receivers, struct queue_receiver, node)))
		;
	if (!q->gone) {
		backlog_more(q);
		if (!is_waiting_for_disk(q))
			end_list(&q->hasty, 0);
		move_continue(q);
	}
	queue_unref(q);
}

void queue_dispatch(struct queue *q)
{
	q->dispatch.run = run_dispatch;
	if (!q->gone && !q->all->stopping)
		loop_defer(q->all->loop, &q->dispatch);
}

static void on_timeout(struct loop_timer *t)
{
	finish(container_of(t, struct queue_receiver, timer), 0, NULL, 0);
}

static void wait_for_messages(struct queue *q, struct queue_receiver *r, int64_t wait_ms)
{
	list_push_back(wait_ms > 0 ? &q->receivers : &q->hasty, &r->node);
	backlog_more(q);
	if (wait_ms > 0) {
		r->timer.on_due = on_timeout;
		loop_timer_set(q->all->loop, &r->timer, wait_ms * 1000000);
	} else if (!is_waiting_for_disk(q)) {
		finish(r, 0, NULL, 0);
	}
}

void queue_receive(struct queue *q, struct queue_receiver *r)
{
	int64_t wait_ms = r->wait_ms >= 0 ? r->wait_ms : q->settings.wait_ms;

	list_init(&r->node);
	r->timer = (struct loop_timer){0};
	r->queue = q;
	queue_ref(q);
	if (q->all->stopping)
		finish(r, -ECANCELED, NULL, 0);
	else if (q->n[M_INFLIGHT] >= QUEUE_INFLIGHT_MAX && !q->settings.fifo)
		finish(r, -EDQUOT, NULL, 0);
	else if (serve(q, r))
		backlog_more(q);
	else
		wait_for_messages(q, r, wait_ms);
	queue_unref(q);
}

void queue_receive_cancel(struct queue_receiver *r)
{
	if (!r->queue)
		return;
	loop_timer_stop(r->queue->all->loop, &r->timer);
	list_remove(&r->node);
	r->queue = NULL;
}

/* ---- afterwards ---- */

int queue_visibility(struct queue *q, struct str receipt, int64_t visibility_ms)
{
	int64_t now_ms = time_wall_ms();
	uint64_t order, seq;
	struct message *m;
	unsigned receives;

	if (!handle_decode(q, receipt, &order, &seq, &receives))
		return -EINVAL;
	m = message_find(q, seq);
	if (!m || m->state != M_INFLIGHT || m->receives != receives)
		return -ENOENT;
	if (now_ms + visibility_ms - m->received_ms > QUEUE_VISIBILITY_MAX_MS)
		return -ERANGE;
	if (visibility_ms > 0)
		message_wait(m, now_ms + visibility_ms);
	else
		message_release(m);
	return 0;
}
