/*
 * The states of a message and the lists that follow from them: what may be received, group by
 * group; what waits for its time. Every change of state is made here, so that counts, timers and
 * the list of groups with something to receive always agree. Loop thread.
 */
#include <stdio.h>

#include "base/time.h"
#include "queue/queue_int.h"

/* ---- table by seq ---- */

static size_t slot_of(const struct queue *q, uint64_t seq)
{
	return (size_t)((seq * 0x9e3779b97f4a7c15u) >> 20) & (q->slot_count - 1);
}

static void grow(struct queue *q)
{
	struct message **old = q->slots;
	size_t count = q->slot_count;

	q->slot_count = count ? count * 2 : 16;
	q->slots = xcalloc(q->slot_count, sizeof(struct message *));
	for (size_t i = 0; i < count; i++) {
		while (old[i]) {
			struct message *m = old[i];
			size_t at = slot_of(q, m->seq);

			old[i] = m->next;
			m->next = q->slots[at];
			q->slots[at] = m;
		}
	}
	free(old);
}

struct message *message_find(const struct queue *q, uint64_t seq)
{
	struct message *m = q->slot_count ? q->slots[slot_of(q, seq)] : NULL;

	while (m && m->seq != seq)
		m = m->next;
	return m;
}

static void set_state(struct message *m, enum message_state s)
{
	m->queue->n[m->state]--;
	m->queue->n[s]++;
	m->state = (uint8_t)s;
}

struct message *message_new(struct queue *q, uint64_t order, uint64_t seq)
{
	struct message *m = xcalloc(1, sizeof(*m));
	size_t at;

	if (q->message_count >= q->slot_count)
		grow(q);
	m->queue = q;
	m->order = order;
	m->seq = seq;
	m->epoch = q->epoch;
	list_init(&m->node);
	list_init(&m->dirty);
	at = slot_of(q, seq);
	m->next = q->slots[at];
	q->slots[at] = m;
	q->message_count++;
	q->n[M_STAGED]++;
	sweep_watch(q);
	return m;
}

/* ---- groups ---- */

static void group_init(struct group *g)
{
	list_init(&g->node);
	list_init(&g->waiting);
}

struct group *group_find(struct queue *q, struct str id)
{
	struct group *g;

	if (!id.len) {
		if (!q->none.node.next)
			group_init(&q->none);
		return &q->none;
	}
	g = map_get(&q->groups, id);
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		group_init(g);
		memcpy(g->id, id.ptr, min_size(id.len, QUEUE_ID_MAX));
		map_put(&q->groups, id, g);
	}
	return g;
}

void message_set_group(struct message *m, struct str id)
{
	m->group = group_find(m->queue, id);
	m->group->refs++;
}

static bool is_open(const struct queue *q, const struct group *g)
{
	const struct message *m = list_first(&g->waiting, struct message, node);

	if (!m || m->state != M_READY)
		return false;
	return !q->settings.fifo || !g->held;
}

/* After any change in the group. The group may be gone then. */
static void update(struct queue *q, struct group *g)
{
	bool open = is_open(q, g);
	size_t count = open ? g->ready : 0;

	q->available += count - g->counted;
	g->counted = count;
	if (!open) {
		list_remove(&g->node);
	} else if (list_empty(&g->node)) {
		list_push_back(&q->ready_groups, &g->node);
		queue_dispatch(q);
	}
	if (q->backlog && q->available <= q->all->window / 4)
		queue_dispatch(q); /* which reads on */
	if (g != &q->none && !g->refs) {
		map_remove(&q->groups, str_from(g->id));
		free(g);
	}
}

/* ---- leaving ---- */

static void leave_state(struct message *m)
{
	loop_timer_stop(m->queue->all->loop, &m->timer);
	list_remove(&m->node);
	if (!m->group)
		return;
	if (m->state == M_READY)
		m->group->ready--;
	if (m->state == M_INFLIGHT || m->state == M_LEAVING)
		m->group->held--;
}

static void leave_group(struct message *m)
{
	struct group *g = m->group;

	if (!g)
		return;
	g->refs--;
	m->group = NULL;
	update(m->queue, g);
}

static void unlink_slot(struct message *m)
{
	struct message **at = &m->queue->slots[slot_of(m->queue, m->seq)];

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	m->queue->message_count--;
	m->queue->n[m->state]--;
}

void message_set_content(struct message *m, struct content *c)
{
	struct queues *all = m->queue->all;

	if (m->content) {
		all->content_bytes -= m->content->len;
		free(m->content);
	}
	m->content = c;
	if (c)
		all->content_bytes += c->len;
}

void message_free(struct message *m)
{
	struct queue *q = m->queue;

	leave_state(m);
	leave_group(m);
	list_remove(&m->dirty);
	message_set_content(m, NULL);
	if (q->reading) {
		/* What is being read may have it: it must be known when that arrives. */
		set_state(m, M_DEAD);
		list_push_back(&q->dead, &m->node);
		return;
	}
	unlink_slot(m);
	free(m);
}

/* ---- times ---- */

bool message_expired(const struct message *m, int64_t now_ms)
{
	return m->sent_ms + m->queue->settings.retention_ms <= now_ms;
}

bool message_above(const struct message *m, uint64_t order, uint64_t seq)
{
	return m->order > order || (m->order == order && m->seq > seq);
}

static void on_due(struct loop_timer *t)
{
	struct message *m = container_of(t, struct message, timer);

	if (m->state == M_INFLIGHT)
		message_release(m);
	else
		message_settle(m);
}

static void wake_at(struct message *m, int64_t wall_ms)
{
	int64_t ms = wall_ms - time_wall_ms();

	m->timer.on_due = on_due;
	loop_timer_set(m->queue->all->loop, &m->timer, (ms > 0 ? ms : 0) * 1000000);
}

/* ---- changes of state ---- */

/* FIFO: by seq. New ones belong at the end, those that come back at the front. */
static void insert(struct group *g, struct message *m)
{
	struct list *at = g->waiting.prev;
	const struct message *first = list_first(&g->waiting, struct message, node);

	if (!m->queue->settings.fifo) {
		list_push_back(&g->waiting, &m->node);
		return;
	}
	if (first && first->seq > m->seq) {
		list_push_front(&g->waiting, &m->node);
		return;
	}
	while (at != &g->waiting && list_entry(at, struct message, node)->seq > m->seq)
		at = at->prev;
	list_insert_between(&m->node, at, at->next);
}

static void delay(struct message *m)
{
	struct queue *q = m->queue;

	leave_state(m);
	set_state(m, M_DELAYED);
	if (q->settings.fifo)
		insert(m->group, m);
	else
		list_push_back(&q->delayed, &m->node);
	wake_at(m, m->visible_ms);
	update(q, m->group);
}

static void make_ready(struct message *m)
{
	struct queue *q = m->queue;

	leave_state(m);
	set_state(m, M_READY);
	m->group->ready++;
	insert(m->group, m);
	if (message_above(m, q->top_order, q->top_seq)) {
		q->top_order = m->order;
		q->top_seq = m->seq;
	}
	update(q, m->group);
	queue_dispatch(q);
}

void message_settle(struct message *m)
{
	int64_t now_ms = time_wall_ms();

	if (message_expired(m, now_ms))
		message_expire(m);
	else if (m->visible_ms > now_ms)
		delay(m);
	else if (m->content && dead_letter_due(m))
		dead_letter_move(m);
	else
		make_ready(m);
}

void message_hold(struct message *m, enum message_state s)
{
	leave_state(m);
	set_state(m, s);
	if (!m->group) /* known by its id alone */
		return;
	m->group->held++;
	update(m->queue, m->group);
}

void message_release(struct message *m)
{
	m->visible_ms = 0;
	message_dirty(m);
	message_settle(m);
}

void message_wait(struct message *m, int64_t visible_ms)
{
	m->visible_ms = visible_ms;
	if (m->state != M_INFLIGHT)
		message_hold(m, M_INFLIGHT);
	wake_at(m, visible_ms);
	message_dirty(m);
}
