/*
 * The outbox: records on disk that wait to be delivered to targets of other kinds than our own
 * database's. They are read a few at a time; one that cannot be delivered is put off, longer each
 * time. Loop thread.
 */
#include <stdio.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/time.h"
#include "target/target_int.h"

#define ACTIVE_MAX 32 /* in memory at once */
#define POLL_NS (1000 * (int64_t)1000000)
#define RETRY_BASE_MS 1000
#define RETRY_MAX_MS (5 * 60 * (int64_t)1000)
#define AGE_MAX_MS (24 * 3600 * (int64_t)1000)
#define ID_SIZE (12 + 1 + 36 + 1)
#define FIELDS 8
#define NULL_LENGTH UINT32_MAX

struct outbox {
	struct targets *targets;
	struct map active; /* id -> struct letter */
	/* Over with, but perhaps still seen by the fetch under way, which must not take them again.
	 */
	struct list over;
	uint64_t waiting; /* on disk, those in memory included */
	unsigned asked;   /* of the store, by the fetch under way */
	bool fetching, again, stopping;
	struct loop_timer timer;
};

struct letter {
	struct list node; /* in outbox->over */
	struct store_write write;
	struct outbox *outbox;
	char id[ID_SIZE];
	struct buf body;
	struct target_record record;
	struct target_attribute attributes[TARGET_ATTRIBUTES_MAX];
	int attempts;
	int64_t sent_ms;
	bool removed;
};

/* ---- stored form: each string as its length and its bytes with a NUL ---- */

static void put(struct buf *out, struct str s)
{
	uint32_t n = s.ptr ? (uint32_t)s.len : NULL_LENGTH;

	buf_append(out, &n, sizeof(n));
	buf_append_str(out, s);
	buf_putc(out, '\0');
}

static bool get(struct buf *in, struct str *ret)
{
	uint32_t n;
	size_t len;

	if (buf_len(in) < sizeof(n))
		return false;
	memcpy(&n, buf_data(in), sizeof(n));
	buf_consume(in, sizeof(n));
	len = n == NULL_LENGTH ? 0 : n;
	if (len >= buf_len(in) || buf_data(in)[len])
		return false;
	*ret = n == NULL_LENGTH ? STR_NULL : (struct str){buf_data(in), len};
	buf_consume(in, len + 1);
	return true;
}

void record_encode(struct buf *out, const struct target_record *r)
{
	const char *const fields[FIELDS] = {r->arn, r->service, r->source_arn, r->source_account,
	    r->trace_id, r->group_id, r->dedup_id, r->object_key};

	check(r->attribute_count <= TARGET_ATTRIBUTES_MAX);
	for (size_t i = 0; i < FIELDS; i++)
		put(out, str_from(fields[i]));
	put(out, r->body.ptr ? r->body : STR(""));
	for (size_t i = 0; i < r->attribute_count; i++) {
		put(out, str_from(r->attributes[i].name));
		put(out, str_from(r->attributes[i].type));
		put(out, str_from(r->attributes[i].value));
	}
}

bool record_decode(struct buf *in, struct target_record *r,
    struct target_attribute attributes[TARGET_ATTRIBUTES_MAX])
{
	const char **const fields[FIELDS] = {&r->arn, &r->service, &r->source_arn,
	    &r->source_account, &r->trace_id, &r->group_id, &r->dedup_id, &r->object_key};
	struct str s;

	for (size_t i = 0; i < FIELDS; i++) {
		if (!get(in, &s))
			return false;
		*fields[i] = s.ptr;
	}
	if (!get(in, &r->body) || !r->arn)
		return false;
	r->attributes = attributes;
	while (buf_len(in)) {
		struct target_attribute *a = &attributes[r->attribute_count];
		const char **const parts[] = {&a->name, &a->type, &a->value};

		if (r->attribute_count == TARGET_ATTRIBUTES_MAX)
			return false;
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			if (!get(in, &s) || !s.ptr)
				return false;
			*parts[i] = s.ptr;
		}
		r->attribute_count++;
	}
	return true;
}

/* ---- one letter ---- */

static void look(struct outbox *o, int64_t in_ns)
{
	if (o->stopping || o->fetching || o->waiting <= o->active.count)
		return;
	if (in_ns == 0 || !o->timer.slot)
		loop_timer_set(o->targets->loop, &o->timer, in_ns);
}

static void letter_free(struct letter *l)
{
	map_remove(&l->outbox->active, str_from(l->id));
	if (l->removed)
		l->outbox->waiting--;
	buf_done(&l->body);
	free(l);
}

static void letter_over(struct letter *l)
{
	struct outbox *o = l->outbox;

	if (o->fetching) {
		list_push_back(&o->over, &l->node);
		return;
	}
	letter_free(l);
	look(o, o->again ? 0 : POLL_NS);
}

static void on_written(struct store_write *w, int result)
{
	struct letter *l = container_of(w, struct letter, write);

	if (result < 0) {
		log_error("a delivery to %s cannot be noted and may be repeated: %s", l->record.arn,
		    strerror(-result));
		l->removed = false;
	}
	letter_over(l);
}

static void drop(struct letter *l)
{
	l->removed = true;
	store_write_init(&l->write, on_written);
	store_remove(&l->write, OUTBOX_QUEUE, str_from(l->id));
	store_commit(l->outbox->targets->store, &l->write);
}

static void put_off(struct letter *l)
{
	int64_t wait_ms = RETRY_MAX_MS;

	if (l->attempts < 10 && (RETRY_BASE_MS << l->attempts) < RETRY_MAX_MS)
		wait_ms = RETRY_BASE_MS << l->attempts;
	store_write_init(&l->write, on_written);
	store_requeue(
	    &l->write, OUTBOX_QUEUE, str_from(l->id), time_wall_ms() + wait_ms, l->attempts + 1);
	store_commit(l->outbox->targets->store, &l->write);
}

static bool is_final(int result)
{
	return result == -ENOENT || result == -EACCES || result == -EINVAL || result == -EMSGSIZE;
}

static void on_delivered(void *arg, int result)
{
	struct letter *l = arg;
	bool old = time_wall_ms() - l->sent_ms > AGE_MAX_MS;

	if (result < 0 && !is_final(result) && !old) {
		put_off(l);
		return;
	}
	if (result < 0)
		log_warn("a record for %s could not be delivered and is given up: %s",
		    l->record.arn, strerror(-result));
	drop(l);
}

static void deliver(struct letter *l)
{
	const struct registered *to;

	if (!record_decode(&l->body, &l->record, l->attributes)) {
		log_error("record %s of the outbox cannot be read and is given up", l->id);
		l->record.arn = "";
		drop(l);
		return;
	}
	to = target_find(l->outbox->targets, l->record.arn);
	if (to && to->ops->deliver)
		to->ops->deliver(to->ctx, &l->record, on_delivered, l);
	else
		on_delivered(l, -EINVAL);
}

/* ---- from disk ---- */

static void take(struct outbox *o, const struct store_message *m)
{
	struct letter *l;
	char id[ID_SIZE];

	snprintf(id, sizeof(id), "%.*s", STR_FMT(m->id));
	if (map_get(&o->active, str_from(id)))
		return;
	l = xcalloc(1, sizeof(*l));
	l->outbox = o;
	memcpy(l->id, id, sizeof(id));
	l->attempts = m->attempts;
	l->sent_ms = m->sent_ms;
	buf_append_str(&l->body, m->body);
	map_put(&o->active, str_from(l->id), l);
	deliver(l);
}

static void on_fetched(void *ctx, int result, const struct store_message *m, size_t count)
{
	struct outbox *o = ctx;

	o->fetching = false;
	if (o->stopping)
		return;
	if (result < 0)
		log_error("the outbox cannot be read: %s", strerror(-result));
	/* As many as were asked for, those under way among them: there may be more. */
	o->again = o->again || count == o->asked;
	for (size_t i = 0; i < count && o->active.count < ACTIVE_MAX; i++)
		take(o, &m[i]);
	list_for_each_safe (n, &o->over) {
		list_remove(n);
		letter_free(list_entry(n, struct letter, node));
	}
	look(o, o->again && o->active.count < ACTIVE_MAX ? 0 : POLL_NS);
}

static void on_timer(struct loop_timer *t)
{
	struct outbox *o = container_of(t, struct outbox, timer);

	if (o->fetching || o->stopping || o->active.count >= ACTIVE_MAX)
		return;
	o->fetching = true;
	o->again = false;
	/* Those under way are still in the queue, and come first. */
	o->asked = ACTIVE_MAX + (unsigned)o->active.count;
	store_receive(o->targets->store, OUTBOX_QUEUE, time_wall_ms(), o->asked, on_fetched, o);
}

void outbox_put(struct outbox *o, const struct target_record *r, struct store_write *w)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	const int64_t now_ms = time_wall_ms();
	char id[ID_SIZE], random[37];

	(void)o;
	rand_uuid(random);
	snprintf(id, sizeof(id), "%012" PRIx64 "-%s", (uint64_t)now_ms & 0xffffffffffff, random);
	record_encode(&body, r);
	store_send(w, OUTBOX_QUEUE, str_from(id), buf_str(&body), now_ms);
}

void outbox_added(struct outbox *o)
{
	o->waiting++;
	o->again = true;
	look(o, 0);
}

struct outbox *outbox_new(struct targets *t)
{
	struct outbox *o = xcalloc(1, sizeof(*o));

	o->targets = t;
	list_init(&o->over);
	o->timer.on_due = on_timer;
	return o;
}

void outbox_resume(struct outbox *o)
{
	int64_t left = store_queue_length(o->targets->store, OUTBOX_QUEUE);

	if (left <= 0)
		return;
	o->waiting = (uint64_t)left;
	look(o, 0);
}

void outbox_stop(struct outbox *o)
{
	o->stopping = true;
	loop_timer_stop(o->targets->loop, &o->timer);
}

void outbox_free(struct outbox *o)
{
	loop_timer_stop(o->targets->loop, &o->timer);
	map_for_each (&o->active, entry) {
		struct letter *l = entry->value;

		buf_done(&l->body);
		free(l);
	}
	map_done(&o->active);
	free(o);
}
