/*
 * Staging: adding messages and deletions to the write of whoever causes them, and what becomes of
 * them when that write has ended. Also the memory of FIFO queues for duplicates, which is on disk
 * too, as rows of their own that expire. Loop thread.
 */
#include <stdio.h>

#include <openssl/sha.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define TRACE_MAX 8192
#define SENDER_MAX 255
#define ROW_ID_LEN 36
#define DEDUP_KEY_SIZE (2 * QUEUE_ID_MAX + 2)

struct queue_staged {
	struct queue *queue;
	struct message *message; /* NULL: a duplicate, or a deletion that another one makes */
	struct dedup *dedup;
	bool deletion;
};

static struct queue_staged *staged_new(struct queue *q, struct message *m, bool deletion)
{
	struct queue_staged *s = xcalloc(1, sizeof(*s));

	s->queue = q;
	s->message = m;
	s->deletion = deletion;
	queue_ref(q);
	return s;
}

/* ---- duplicates ---- */

static void dedup_free(struct queue *q, struct dedup *d)
{
	if (map_get(&q->dedups, str_from(d->key)) == d)
		map_remove(&q->dedups, str_from(d->key));
	list_remove(&d->node);
	free(d);
}

void dedups_drop(struct queue *q)
{
	loop_timer_stop(q->all->loop, &q->dedup_timer);
	while (!list_empty(&q->dedup_order))
		dedup_free(q, list_first(&q->dedup_order, struct dedup, node));
	map_done(&q->dedups);
}

struct cleaning {
	struct store_write write;
};

static void on_cleaned(struct store_write *w, int result)
{
	if (result < 0)
		log_warn("old deduplication ids cannot be removed: %s", strerror(-result));
	free(container_of(w, struct cleaning, write));
}

static void on_dedup_due(struct loop_timer *t)
{
	struct queue *q = container_of(t, struct queue, dedup_timer);
	int64_t now_ms = time_wall_ms();
	struct cleaning *c = xcalloc(1, sizeof(*c));
	struct dedup *d;
	unsigned n = 0;
	char id[ID_LEN];

	id_encode(0, 0, id);
	while ((d = list_first(&q->dedup_order, struct dedup, node)) && d->expires_ms <= now_ms &&
	       !d->pending && n++ < 1000) {
		id_encode((uint64_t)d->expires_ms, d->seq, id);
		dedup_free(q, d);
	}
	store_write_init(&c->write, on_cleaned);
	store_clear(&c->write, q->dedup_name, (struct str){id, sizeof(id)}, 2000);
	store_commit(q->all->store, &c->write);
	if (d)
		loop_timer_set(q->all->loop, t,
		    d->expires_ms > now_ms ? (d->expires_ms - now_ms + 1000) * 1000000 : 0);
}

static struct dedup *dedup_add(
    struct queue *q, struct str key, const char *id, uint64_t seq, int64_t expires_ms)
{
	struct dedup *d = xcalloc(1, sizeof(*d) + key.len + 1);

	memcpy(d->key, key.ptr, key.len);
	memcpy(d->id, id, ROW_ID_LEN);
	d->seq = seq;
	d->expires_ms = expires_ms;
	map_put(&q->dedups, key, d);
	list_push_back(&q->dedup_order, &d->node);
	q->dedup_timer.on_due = on_dedup_due;
	if (!q->dedup_timer.slot)
		loop_timer_set(
		    q->all->loop, &q->dedup_timer, (expires_ms - time_wall_ms() + 1000) * 1000000);
	return d;
}

static struct str dedup_key(
    const struct queue *q, const struct queue_message *m, char out[DEDUP_KEY_SIZE])
{
	int n = q->settings.dedup_per_group
		    ? snprintf(out, DEDUP_KEY_SIZE, "%.*s\n%.*s", STR_FMT(m->group_id),
			  STR_FMT(m->dedup_id))
		    : snprintf(out, DEDUP_KEY_SIZE, "%.*s", STR_FMT(m->dedup_id));

	return (struct str){out, (size_t)n};
}

static struct dedup *dedup_find(struct queue *q, struct str key)
{
	struct dedup *d = map_get(&q->dedups, key);

	return d && (d->pending || d->expires_ms > time_wall_ms()) ? d : NULL;
}

static struct dedup *dedup_stage(struct queue *q, struct str key, const char *id, uint64_t seq,
    int64_t now_ms, struct store_write *w)
{
	struct dedup *d = dedup_add(q, key, id, seq, now_ms + q->all->dedup_ms);
	char row[ID_LEN], body[ROW_ID_LEN + DEDUP_KEY_SIZE];

	d->pending = true;
	id_encode((uint64_t)d->expires_ms, seq, row);
	memcpy(body, id, ROW_ID_LEN);
	memcpy(body + ROW_ID_LEN, key.ptr, key.len);
	store_send_untimed(w, q->dedup_name, (struct str){row, sizeof(row)},
	    (struct str){body, ROW_ID_LEN + key.len}, d->expires_ms);
	return d;
}

/* Start-up: rows may have come in the order of other clocks, so they are not sorted by time; of two
 * with one key the later is meant. */
static int load_row(void *ctx, struct str row, struct str body)
{
	struct queue *q = ctx;
	uint64_t expires_ms, seq;
	char id[37] = "";
	struct dedup *known;

	if (!id_decode(row, &expires_ms, &seq) || body.len <= ROW_ID_LEN ||
	    (int64_t)expires_ms <= time_wall_ms())
		return 0;
	memcpy(id, body.ptr, ROW_ID_LEN);
	known = map_get(&q->dedups, str_sub(body, ROW_ID_LEN));
	if (known && known->seq > seq)
		return 0;
	if (known)
		dedup_free(q, known);
	dedup_add(q, str_sub(body, ROW_ID_LEN), id, seq, (int64_t)expires_ms);
	return 0;
}

int dedups_load(struct queue *q, struct err *e)
{
	return store_queue_each(q->all->store, q->dedup_name, load_row, q, e);
}

/* ---- checks ---- */

static size_t size_of(const struct queue_message *m)
{
	size_t n = m->body.len;

	for (size_t i = 0; i < m->attribute_count; i++)
		n += m->attributes[i].name.len + m->attributes[i].type.len +
		     m->attributes[i].value.len;
	return n;
}

static int check_ids(const struct queue *q, const struct queue_message *m, struct err *e)
{
	if (m->group_id.len > QUEUE_ID_MAX || m->dedup_id.len > QUEUE_ID_MAX)
		return err_set(e, EINVAL,
		    "MessageGroupId and MessageDeduplicationId can only "
		    "include up to 128 characters.");
	if (!q->settings.fifo && m->dedup_id.len)
		return err_set(e, EINVAL,
		    "The request includes a parameter that is not valid for "
		    "this queue type: MessageDeduplicationId");
	if (!q->settings.fifo)
		return 0;
	if (!m->group_id.len)
		return err_set(
		    e, ENODATA, "The request must contain the parameter MessageGroupId.");
	if (!m->dedup_id.len && !q->settings.content_dedup)
		return err_set(e, EINVAL,
		    "The queue should either have ContentBasedDeduplication "
		    "enabled or MessageDeduplicationId provided explicitly");
	return 0;
}

static int check_message(const struct queue *q, const struct queue_message *m, struct err *e)
{
	if (!m->body.len)
		return err_set(e, ENODATA, "The request must contain the parameter MessageBody.");
	if (m->attribute_count > QUEUE_ATTRIBUTES_MAX)
		return err_set(e, EINVAL,
		    "Number of message attributes [%zu] exceeds the allowed maximum [10].",
		    m->attribute_count);
	if (size_of(m) > (size_t)q->settings.message_max)
		return err_set(e, EMSGSIZE,
		    "One or more parameters are invalid. Reason: Message must be shorter than "
		    "%" PRId64 " bytes.",
		    q->settings.message_max);
	if (m->trace.len > TRACE_MAX || (m->sender && strlen(m->sender) > SENDER_MAX))
		return err_set(e, EINVAL, "AWSTraceHeader is too long.");
	return check_ids(q, m, e);
}

/* ---- sending ---- */

static void fill(const struct queue *q, const char *id, uint64_t seq, struct queue_sent *ret)
{
	if (!ret)
		return;
	memcpy(ret->id, id, 36);
	ret->id[36] = '\0';
	ret->sequence[0] = '\0';
	if (q->settings.fifo)
		sequence_format(seq, ret->sequence);
}

/* Is on disk already, or will be with a write that was staged before: then ours depends on it. */
static struct queue_staged *stage_duplicate(struct queue *q, const struct dedup *d,
    const struct queue_message *m, struct store_write *w, struct queue_sent *ret)
{
	struct queue_sent unused;
	char row[ID_LEN];

	id_encode((uint64_t)d->expires_ms, d->seq, row);
	if (d->pending)
		store_require(w, q->dedup_name, (struct str){row, sizeof(row)});
	free(content_new(m, d->id, 0, NULL, ret ? ret : &unused)); /* for the MD5s */
	fill(q, d->id, d->seq, ret);
	return staged_new(q, NULL, false);
}

static void stage_row(struct message *m, int64_t due_ms, struct store_write *w)
{
	char id[ID_LEN];

	id_encode(m->order, m->seq, id);
	store_send_untimed(w, m->queue->store_name, (struct str){id, sizeof(id)},
	    (struct str){m->content->data, m->content->len}, due_ms);
}

static struct message *stage_message(
    struct queue *q, struct content *c, int64_t sent_ms, int64_t due_ms, struct store_write *w)
{
	struct message *m =
	    message_new(q, q->settings.fifo ? 0 : (uint64_t)due_ms, queues_next_seq(q->all));
	struct content_view v;

	check(content_view((struct str){c->data, c->len}, &v));
	m->sent_ms = sent_ms;
	m->visible_ms = due_ms;
	m->bytes = content_size(&v);
	message_set_content(m, c);
	message_set_group(m, v.group_id);
	stage_row(m, due_ms, w);
	return m;
}

struct queue_staged *queue_stage(struct queue *q, const struct queue_message *given,
    struct store_write *w, struct queue_sent *ret, struct err *e)
{
	struct queue_message m = *given;
	int64_t now_ms = time_wall_ms(), delay_ms = q->settings.delay_ms;
	char id[37], hash[65], key_text[DEDUP_KEY_SIZE];
	unsigned char sum[SHA256_DIGEST_LENGTH];
	struct str key = STR_NULL;
	struct queue_staged *s;
	struct dedup *d;

	if (check_message(q, &m, e) < 0)
		return NULL;
	if (q->settings.fifo && !m.dedup_id.len) {
		SHA256((const unsigned char *)m.body.ptr, m.body.len, sum);
		hex_encode(sum, sizeof(sum), hash);
		m.dedup_id = (struct str){hash, 64};
	}
	if (q->settings.fifo) {
		key = dedup_key(q, &m, key_text);
		d = dedup_find(q, key);
		if (d)
			return stage_duplicate(q, d, &m, w, ret);
	} else if (m.delay_ms >= 0) {
		delay_ms = m.delay_ms;
	}
	rand_uuid(id);
	s = staged_new(q,
	    stage_message(q, content_new(&m, id, now_ms, NULL, ret), now_ms, now_ms + delay_ms, w),
	    false);
	if (q->settings.fifo)
		s->dedup = dedup_stage(q, key, id, s->message->seq, now_ms, w);
	fill(q, id, s->message->seq, ret);
	return s;
}

struct queue_staged *stage_copy(
    struct queue *to, const struct content *c, const char *source_arn, struct store_write *w)
{
	int64_t now_ms = time_wall_ms();
	struct content_view v;

	if (!content_view((struct str){c->data, c->len}, &v) ||
	    (to->settings.fifo && !v.group_id.len))
		return NULL;
	/* FIFO: its life begins anew, as on AWS; standard: the time in both queues counts. */
	if (to->settings.fifo)
		v.sent_ms = now_ms;
	return staged_new(to,
	    stage_message(to, content_moved(c, source_arn, v.sent_ms), v.sent_ms, now_ms, w),
	    false);
}

/* ---- deleting ---- */

static int judge(const struct queue *q, const struct message *m, unsigned receives)
{
	bool known = m->received_ms != 0; /* received in this life of ours */

	if (receives < m->receives)
		return q->settings.fifo ? -ESTALE : 0;
	if (q->settings.fifo && known && m->state != M_INFLIGHT && m->state != M_LEAVING)
		return -ESTALE;
	return 1;
}

int queue_stage_delete(
    struct queue *q, struct str receipt, struct store_write *w, struct queue_staged **ret)
{
	uint64_t order, seq;
	struct message *m;
	unsigned receives;
	char id[ID_LEN];
	int r;

	if (!handle_decode(q, receipt, &order, &seq, &receives))
		return -EINVAL;
	*ret = NULL;
	m = message_find(q, seq);
	if (m ? m->state == M_STAGED || m->state == M_DEAD : !q->backlog)
		return 0;
	r = m && m->group ? judge(q, m, receives) : 1;
	if (r <= 0)
		return r;
	id_encode(m ? m->order : order, seq, id);
	store_remove(w, q->store_name, (struct str){id, sizeof(id)});
	if (m && m->state == M_LEAVING) { /* another one removes it from memory */
		*ret = staged_new(q, NULL, true);
		return 0;
	}
	if (!m)
		m = message_new(q, order, seq);
	message_hold(m, M_LEAVING);
	*ret = staged_new(q, m, true);
	return 0;
}

/* ---- the end of a write ---- */

static void finish_deletion(struct queue *q, struct message *m, int result)
{
	uint64_t order = m->order, seq = m->seq;

	if (result == 0 || q->gone || m->epoch != q->epoch) {
		message_free(m);
	} else if (m->group) {
		message_wait(m, m->visible_ms);
	} else {
		message_free(m);
		backlog_rewind(q, order, seq);
	}
}

static void finish_message(struct queue *q, struct message *m, int result)
{
	if (result < 0 || q->gone || m->epoch != q->epoch)
		message_free(m);
	else
		backlog_admit(m);
}

static void finish_dedup(struct queue *q, struct dedup *d, int result)
{
	if (result < 0)
		dedup_free(q, d);
	else
		d->pending = false;
}

void queue_finish(struct queue_staged *s, int result)
{
	if (!s)
		return;
	if (s->dedup)
		finish_dedup(s->queue, s->dedup, result);
	if (s->message && s->deletion)
		finish_deletion(s->queue, s->message, result);
	else if (s->message)
		finish_message(s->queue, s->message, result);
	queue_unref(s->queue);
	free(s);
}
