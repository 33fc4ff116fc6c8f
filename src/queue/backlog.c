/*
 * The part of a long queue that is only on disk. In memory is every message whose id is not above
 * the queue's cursor, and some that are; what lies above and is not in memory is read in when few
 * messages are left to receive. So a backlog of any length takes bounded memory. Bodies have a
 * bound of their own over all queues: beyond it a message is in memory without, and its body is
 * read when its turn comes. Loop thread; reads run on workers.
 */
#include "base/log.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define READ_MAX 1000
#define READ_BYTES (4 * 1024 * 1024)
#define LOAD_BYTES (4 * 1024 * 1024)
/* Blocked groups hide what stands behind them: look so far past them. */
#define LOOK_AHEAD QUEUE_INFLIGHT_MAX

static size_t waiting(const struct queue *q)
{
	return q->n[M_READY] + q->n[M_DELAYED];
}

static bool is_full(const struct queue *q)
{
	if (q->settings.fifo)
		return q->available > q->all->window || waiting(q) > LOOK_AHEAD;
	return waiting(q) > 2 * q->all->window;
}

/* ---- growing ---- */

static void set_cursor(struct queue *q, uint64_t order, uint64_t seq)
{
	q->backlog = true;
	q->cursor_order = order;
	q->cursor_seq = seq;
}

/* Standard queues: messages that wait for their time stand in the way of none; they are read again
 * when it has come. */
static void forget_delayed(struct queue *q)
{
	list_for_each_safe (n, &q->delayed) {
		struct message *m = list_entry(n, struct message, node);

		if (!message_above(m, q->cursor_order, q->cursor_seq) || !list_empty(&m->dirty))
			continue;
		message_free(m);
		q->on_disk++;
	}
}

/* From now on what comes is only on disk. */
static void overflow(struct queue *q)
{
	/* What has been ready may lie above a cursor that stands already: see stays_on_disk(). */
	if (!q->backlog || q->top_order < q->cursor_order ||
	    (q->top_order == q->cursor_order && q->top_seq < q->cursor_seq))
		set_cursor(q, q->top_order, q->top_seq);
	if (q->settings.fifo)
		return;
	forget_delayed(q);
}

/* One of a group that has nothing here comes in: others' backlogs must not starve it. */
static bool stays_on_disk(const struct message *m)
{
	const struct queue *q = m->queue;

	if (!q->backlog || !message_above(m, q->cursor_order, q->cursor_seq))
		return false;
	return q->settings.fifo || m->group == &q->none || m->group->refs > 1 ||
	       waiting(q) > 4 * q->all->window;
}

static void drop_content(struct message *m)
{
	if (m->queue->all->content_bytes > m->queue->all->content_max)
		message_set_content(m, NULL);
}

void backlog_admit(struct message *m)
{
	struct queue *q = m->queue;

	if (q->reading) { /* the cursor may pass it, without having seen it */
		list_push_back(&q->late, &m->node);
	} else if (stays_on_disk(m)) {
		message_free(m);
		q->on_disk++;
		queue_dispatch(q);
	} else {
		drop_content(m);
		message_settle(m);
		if (is_full(q))
			overflow(q);
	}
}

void backlog_rewind(struct queue *q, uint64_t order, uint64_t seq)
{
	if (q->backlog &&
	    (order > q->cursor_order || (order == q->cursor_order && seq > q->cursor_seq)))
		return;
	set_cursor(q, order, seq ? seq - 1 : 0);
	queue_dispatch(q);
}

/* ---- reading on ---- */

static void take_row(struct queue *q, const struct store_message *row)
{
	struct str raw = row->body;
	struct content_view v;
	struct message *m;
	uint64_t order, seq;

	if (!id_decode(row->id, &order, &seq))
		return;
	q->cursor_order = order;
	q->cursor_seq = seq;
	if (message_find(q, seq))
		return;
	q->on_disk -= q->on_disk > 0;
	if (!content_view(raw, &v)) {
		log_error("a message of queue %s is damaged and left out", q->arn);
		return;
	}
	m = message_new(q, order, seq);
	m->sent_ms = v.sent_ms;
	m->bytes = content_size(&v);
	m->receives = (unsigned)row->attempts;
	m->visible_ms = row->due_ms;
	message_set_content(m, content_copy(raw));
	message_set_group(m, v.group_id);
	drop_content(m);
	/* In flight when we stopped: whoever has it keeps it for the rest of its time. */
	if (m->receives && m->visible_ms > time_wall_ms()) {
		m->received_ms = row->due_ms - q->settings.visibility_ms;
		message_wait(m, row->due_ms);
	} else {
		message_settle(m);
	}
}

static void take_rows(struct queue *q, const struct store_message *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		take_row(q, &rows[i]);
	if (!backlog_resumes(q))
		q->resume_seq = 0;
	if (!count) {
		q->backlog = false;
		q->on_disk = 0;
	}
}

/* What waited for the read to end. */
static void settle_late(struct queue *q)
{
	while (!list_empty(&q->dead))
		message_free(list_first(&q->dead, struct message, node));
	while (!list_empty(&q->late)) {
		struct message *m = list_first(&q->late, struct message, node);

		list_remove(&m->node);
		backlog_admit(m);
	}
}

static void on_read(void *ctx, int result, const struct store_message *rows, size_t count)
{
	struct queue *q = ctx;

	if (!q->gone && result == 0 && q->read_epoch == q->epoch)
		take_rows(q, rows, count);
	q->reading = false;
	settle_late(q);
	if (!q->gone && result < 0) {
		log_error("queue %s cannot be read: %s", q->arn, strerror(-result));
		receivers_end(q, result); /* who comes next makes us try again */
	} else if (!q->gone) {
		queue_dispatch(q);
	}
	queue_unref(q);
}

bool backlog_resumes(const struct queue *q)
{
	return q->backlog && q->cursor_seq < q->resume_seq;
}

static bool needs_more(const struct queue *q)
{
	size_t low = q->all->window / 4;

	if (backlog_resumes(q))
		return true;
	if (!q->settings.fifo)
		return q->available <= low && waiting(q) < q->all->window;
	if (waiting(q) <= low)
		return true;
	return !q->available && waiting(q) < LOOK_AHEAD &&
	       !(list_empty(&q->receivers) && list_empty(&q->hasty));
}

void backlog_more(struct queue *q)
{
	char id[ID_LEN];

	if (!q->backlog || q->reading || q->gone || q->all->stopping || !needs_more(q))
		return;
	q->reading = true;
	q->read_epoch = q->epoch;
	queue_ref(q);
	id_encode(q->cursor_order, q->cursor_seq, id);
	store_receive_after(q->all->store, q->store_name, (struct str){id, sizeof(id)}, READ_MAX,
	    READ_BYTES, on_read, q);
}

/* ---- bodies ---- */

static void take_body(struct queue *q, const struct store_message *row)
{
	struct content_view v;
	struct message *m;
	uint64_t order, seq;

	if (!id_decode(row->id, &order, &seq) || !content_view(row->body, &v))
		return;
	m = message_find(q, seq);
	if (m && m->state == M_READY && !m->content)
		message_set_content(m, content_copy(row->body));
}

static void find_lost(struct queue *q)
{
	for (size_t i = 0; i < q->load_count; i++) {
		struct message *m = message_find(q, q->loads[i]);

		if (m && m->state == M_READY && !m->content) {
			log_error("a message of queue %s is damaged and left out", q->arn);
			m->lost = true;
		}
	}
}

static void on_loaded(void *ctx, int result, const struct store_message *rows, size_t count)
{
	struct queue *q = ctx;

	q->loading = false;
	for (size_t i = 0; !q->gone && i < count; i++)
		take_body(q, &rows[i]);
	if (!q->gone && result < 0) {
		log_error("queue %s cannot be read: %s", q->arn, strerror(-result));
		receivers_end(q, result);
	} else if (!q->gone) {
		find_lost(q);
		queue_dispatch(q);
	}
	queue_unref(q);
}

void backlog_load(struct queue *q)
{
	char ids[LOAD_MAX][ID_LEN];
	size_t count = 0, bytes = 0;

	if (q->loading || q->gone || q->all->stopping)
		return;
	list_for_each (gn, &q->ready_groups) {
		struct group *g = list_entry(gn, struct group, node);

		list_for_each (n, &g->waiting) {
			struct message *m = list_entry(n, struct message, node);

			if (m->state != M_READY || count == LOAD_MAX || bytes > LOAD_BYTES)
				break;
			if (m->content)
				continue;
			q->loads[count] = m->seq;
			id_encode(m->order, m->seq, ids[count++]);
			bytes += m->bytes;
		}
		if (count == LOAD_MAX || bytes > LOAD_BYTES)
			break;
	}
	if (!count)
		return;
	q->loading = true;
	q->load_count = count;
	queue_ref(q);
	store_receive_ids(q->all->store, q->store_name, ids, ID_LEN, count, on_loaded, q);
}
