/*
 * What is written later: how often messages were received and until when they are in flight, a
 * second after it happened and together, since most are deleted before. And what leaves by itself
 * because it is too old. Loop thread.
 */
#include "base/log.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define SAVE_NS (1000 * (int64_t)1000000)
#define SAVE_GROUP 256
#define SWEEP_MAX_MS 60000
#define SWEEP_MIN_MS 50
#define RETRY_MS 10000

/* ---- receives and visibility ---- */

struct saving {
	struct store_write write;
};

static void on_saved(struct store_write *w, int result)
{
	if (result < 0)
		log_warn("receives of messages cannot be written: %s", strerror(-result));
	free(container_of(w, struct saving, write));
}

static void save(struct message *m, struct store_write *w)
{
	int64_t due_ms = m->visible_ms ? m->visible_ms : m->received_ms;
	char id[ID_LEN];

	list_remove(&m->dirty);
	if (m->state == M_LEAVING || m->state == M_DEAD)
		return;
	id_encode(m->order, m->seq, id);
	store_requeue(
	    w, m->queue->store_name, (struct str){id, sizeof(id)}, due_ms, (int)m->receives);
}

static void save_all(struct queues *all)
{
	while (!list_empty(&all->dirty)) {
		struct saving *s = xcalloc(1, sizeof(*s));

		store_write_init(&s->write, on_saved);
		for (size_t n = 0; n < SAVE_GROUP && !list_empty(&all->dirty); n++)
			save(list_first(&all->dirty, struct message, dirty), &s->write);
		store_commit(all->store, &s->write);
	}
}

static void on_save(struct loop_timer *t)
{
	save_all(container_of(t, struct queues, save_timer));
}

void message_dirty(struct message *m)
{
	struct queues *all = m->queue->all;

	if (!list_empty(&m->dirty) || all->stopping)
		return;
	list_push_back(&all->dirty, &m->dirty);
	all->save_timer.on_due = on_save;
	if (!all->save_timer.slot)
		loop_timer_set(all->loop, &all->save_timer, SAVE_NS);
}

void saving_stop(struct queues *all)
{
	loop_timer_stop(all->loop, &all->save_timer);
	save_all(all);
}

/* ---- too old ---- */

struct expiry {
	struct store_write write;
	struct message *message;
};

static void on_expired(struct store_write *w, int result)
{
	struct expiry *x = container_of(w, struct expiry, write);
	struct message *m = x->message;
	struct queue *q = m->queue;

	if (result == 0 || q->gone || m->epoch != q->epoch) {
		message_free(m);
	} else {
		log_warn("a message that is too old cannot be removed: %s", strerror(-result));
		message_wait(m, time_wall_ms() + RETRY_MS);
	}
	queue_unref(q);
	free(x);
}

void message_expire(struct message *m)
{
	struct expiry *x = xcalloc(1, sizeof(*x));
	char id[ID_LEN];

	x->message = m;
	queue_ref(m->queue);
	message_hold(m, M_LEAVING);
	id_encode(m->order, m->seq, id);
	store_write_init(&x->write, on_expired);
	store_remove(&x->write, m->queue->store_name, (struct str){id, sizeof(id)});
	store_commit(m->queue->all->store, &x->write);
}

static void expire_old(struct queue *q)
{
	int64_t now_ms = time_wall_ms();

	for (size_t i = 0; i < q->slot_count; i++) {
		for (struct message *m = q->slots[i], *next; m; m = next) {
			next = m->next;
			if ((m->state == M_READY || m->state == M_DELAYED ||
				m->state == M_INFLIGHT) &&
			    message_expired(m, now_ms))
				message_expire(m);
		}
	}
}

static void on_sweep(struct loop_timer *t)
{
	struct queue *q = container_of(t, struct queue, sweep);

	expire_old(q);
	if (q->message_count || q->backlog) {
		queue_dispatch(q); /* the next on disk may be too old as well */
		sweep_watch(q);
	}
}

void sweep_watch(struct queue *q)
{
	int64_t ms = q->settings.retention_ms / 2;

	if (q->sweep.slot || q->gone)
		return;
	q->sweep.on_due = on_sweep;
	ms = ms > SWEEP_MAX_MS ? SWEEP_MAX_MS : ms < SWEEP_MIN_MS ? SWEEP_MIN_MS : ms;
	loop_timer_set(q->all->loop, &q->sweep, ms * 1000000);
}
