/*
 * The registry of queues: creation, settings, deletion, purge, and what of that is on disk. The
 * messages of a queue are in a queue of the store whose name counts the purges: purging and
 * deleting only change names, and what has lost its name is removed in small steps afterwards. Loop
 * thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "queue/queue_int.h"

#define SPACE "queues"
#define TRASH "queue-trash"
#define NUMBERS "queue-numbers" /* one row, "limit" */
#define NUMBERS_STEP (1ull << 30)
#define RECORD "1"
#define WINDOW 10000
#define CONTENT_MAX ((size_t)64 * 1024 * 1024)
#define DEDUP_MS (5 * 60 * (int64_t)1000)
#define PURGE_MS 60000
#define TRASH_STEP 1000

/* ---- names ---- */

static char *arn_of(struct str account, struct str region, struct str name)
{
	return xasprintf(
	    "arn:aws:sqs:%.*s:%.*s:%.*s", STR_FMT(region), STR_FMT(account), STR_FMT(name));
}

static void name_stores(struct queue *q)
{
	snprintf(q->store_name, sizeof(q->store_name), "q%s.%u", q->id, q->epoch);
	snprintf(q->dedup_name, sizeof(q->dedup_name), "d%s", q->id);
}

struct queue *queue_find_arn(struct queues *all, const char *arn)
{
	struct queue *q = map_get(&all->by_arn, str_from(arn));

	return q && !q->creating && !q->deleting ? q : NULL;
}

struct queue *queue_find(struct queues *all, struct str account, struct str region, struct str name)
{
	_cleanup_free_ char *arn = arn_of(account, region, name);

	return queue_find_arn(all, arn);
}

const char *queue_arn(const struct queue *q)
{
	return q->arn;
}

const char *queue_name(const struct queue *q)
{
	return q->name;
}

const char *queue_account(const struct queue *q)
{
	return q->account;
}

const char *queue_region(const struct queue *q)
{
	return q->region;
}

const struct queue_settings *queue_settings(const struct queue *q)
{
	return &q->settings;
}

int64_t queue_created_ms(const struct queue *q)
{
	return q->created_ms;
}

int64_t queue_modified_ms(const struct queue *q)
{
	return q->modified_ms;
}

struct str queue_document(const struct queue *q)
{
	return buf_str(&q->document);
}

const struct queue_settings *queue_draft(const struct queue *q, struct str *ret_document)
{
	*ret_document = buf_str(&q->draft_document);
	return &q->draft;
}

void *queue_cached(const struct queue *q)
{
	return q->cached;
}

void queue_cache(struct queue *q, void *thing, void (*free_fn)(void *thing))
{
	if (q->cached)
		q->cached_free(q->cached);
	q->cached = thing;
	q->cached_free = free_fn;
}

void queue_settings_init(struct queue_settings *s, bool fifo)
{
	*s = (struct queue_settings){.visibility_ms = 30000,
	    .retention_ms = 4 * 86400 * (int64_t)1000,
	    .message_max = QUEUE_MESSAGE_MAX,
	    .fifo = fifo};
}

void queue_counts(const struct queue *q, struct queue_counts *ret)
{
	ret->visible = (int64_t)q->n[M_READY] + q->on_disk;
	ret->delayed = (int64_t)q->n[M_DELAYED];
	ret->in_flight = (int64_t)(q->n[M_INFLIGHT] + q->n[M_LEAVING]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct queue *const *)a)->name, (*(struct queue *const *)b)->name);
}

void queues_each(struct queues *all, struct str account, struct str region, struct str after,
    bool (*fn)(void *ctx, struct queue *q), void *ctx)
{
	_cleanup_free_ struct queue **sorted =
	    xcalloc(all->by_arn.count + 1, sizeof(struct queue *));
	_cleanup_free_ char *from = xstrndup(after.len ? after.ptr : "", after.len);
	size_t n = 0;

	map_for_each (&all->by_arn, entry) {
		struct queue *q = entry->value;

		if (!q->creating && !q->deleting && str_is(account, q->account) &&
		    str_is(region, q->region) && strcmp(q->name, from) > 0)
			sorted[n++] = q;
	}
	qsort(sorted, n, sizeof(struct queue *), by_name);
	for (size_t i = 0; i < n; i++)
		if (!fn(ctx, sorted[i]))
			return;
}

/* ---- numbers of messages ---- */

struct numbers {
	struct store_write write;
};

static void on_reserved(struct store_write *w, int result)
{
	if (result < 0)
		log_warn("numbers of messages cannot be reserved: %s", strerror(-result));
	free(container_of(w, struct numbers, write));
}

/* The next life begins there: no number is given twice, whatever becomes of the clock. Writes are
 * applied in their order, so this one is on disk before those that need it. */
static void reserve(struct queues *all, uint64_t limit)
{
	struct numbers *n = xcalloc(1, sizeof(*n));
	char text[24];

	all->seq_limit = limit;
	snprintf(text, sizeof(text), "%" PRIu64, limit);
	store_write_init(&n->write, on_reserved);
	store_put(&n->write, NUMBERS, STR("limit"), str_from(text), STORE_ANY);
	store_commit(all->store, &n->write);
}

static int load_numbers(void *ctx, struct str key, struct str value, int64_t version)
{
	struct queues *all = ctx;
	int64_t limit = 0;

	(void)key;
	(void)version;
	if (!str_to_int64(value, 0, INT64_MAX, &limit))
		return -EBADMSG;
	all->seq = (uint64_t)limit;
	return 0;
}

uint64_t queues_next_seq(struct queues *all)
{
	uint64_t now = (uint64_t)time_wall_us() << 4;

	all->seq = now > all->seq ? now : all->seq + 1;
	if (all->seq >= all->seq_limit)
		reserve(all, all->seq + NUMBERS_STEP);
	return all->seq;
}

/* ---- life ---- */

static struct queue *queue_new(
    struct queues *all, struct str account, struct str region, struct str name)
{
	struct queue *q = xcalloc(1, sizeof(*q));

	q->all = all;
	q->refs = 1;
	q->account = xstrndup(account.ptr, account.len);
	q->region = xstrndup(region.ptr, region.len);
	q->name = xstrndup(name.ptr, name.len);
	q->arn = arn_of(account, region, name);
	list_init(&q->ready_groups);
	list_init(&q->delayed);
	list_init(&q->dead);
	list_init(&q->late);
	list_init(&q->receivers);
	list_init(&q->hasty);
	list_init(&q->dispatch.node);
	list_init(&q->dedup_order);
	list_init(&q->attempt_order);
	return q;
}

static void free_messages(struct queue *q)
{
	for (size_t i = 0; i < q->slot_count; i++)
		while (q->slots[i])
			message_free(q->slots[i]);
	free(q->slots);
	q->slots = NULL;
	q->slot_count = 0;
	map_done(&q->groups);
}

static void queue_free(struct queue *q)
{
	struct loop *l = q->all->loop;

	q->reading = false; /* it never comes back now */
	loop_timer_stop(l, &q->sweep);
	loop_task_cancel(&q->dispatch);
	free_messages(q);
	loop_task_cancel(&q->dispatch);
	dedups_drop(q);
	attempts_drop(q);
	queue_cache(q, NULL, NULL);
	buf_done(&q->document);
	buf_done(&q->draft_document);
	free(q->arn);
	free(q->account);
	free(q->region);
	free(q->name);
	free(q);
}

void queue_ref(struct queue *q)
{
	q->refs++;
}

void queue_unref(struct queue *q)
{
	if (--q->refs == 0)
		queue_free(q);
}

/* All that nobody writes or waits for. */
static void drop_messages(struct queue *q)
{
	for (size_t i = 0; i < q->slot_count; i++) {
		for (struct message *m = q->slots[i], *next; m; m = next) {
			next = m->next;
			if (m->state == M_READY || m->state == M_DELAYED || m->state == M_INFLIGHT)
				message_free(m);
		}
	}
	q->backlog = false;
	q->on_disk = 0;
	q->resume_seq = 0;
	q->top_order = q->top_seq = 0;
}

/* ---- the record ---- */

static void write_record(const struct queue *q, const struct queue_settings *s, unsigned epoch,
    int64_t modified_ms, int64_t purged_ms, struct str document, struct store_write *w)
{
	struct buf b = BUF_INIT;

	buf_printf(&b,
	    RECORD " %s %u %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64
		   " %" PRId64 " %" PRId64 " %d %d %d %d %u %s\n",
	    q->id, epoch, q->created_ms, modified_ms, purged_ms, s->delay_ms, s->visibility_ms,
	    s->retention_ms, s->wait_ms, s->message_max, s->fifo, s->content_dedup,
	    s->dedup_per_group, s->throughput_per_group, s->receives_max, s->dead_letter_arn);
	buf_append_str(&b, document);
	store_put(w, SPACE, str_from(q->arn), buf_str(&b), STORE_ANY);
	buf_done(&b);
}

static bool read_numbers(struct str *line, int64_t *out, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!line->ptr || !str_to_int64(str_cut(line, ' '), 0, INT64_MAX, &out[i]))
			return false;
	}
	return line->ptr != NULL;
}

static bool read_record(struct queue *q, struct str value)
{
	struct str line = str_cut(&value, '\n'), id;
	struct queue_settings *s = &q->settings;
	int64_t n[14];

	if (!value.ptr || !str_is(str_cut(&line, ' '), RECORD) || !line.ptr)
		return false;
	id = str_cut(&line, ' ');
	if (id.len != 12 || !read_numbers(&line, n, ARRAY_SIZE(n)) ||
	    line.len >= sizeof(s->dead_letter_arn))
		return false;
	memcpy(q->id, id.ptr, id.len);
	q->epoch = q->draft_epoch = (unsigned)n[0];
	q->created_ms = n[1];
	q->modified_ms = n[2];
	q->purged_ms = n[3];
	*s = (struct queue_settings){.delay_ms = n[4],
	    .visibility_ms = n[5],
	    .retention_ms = n[6],
	    .wait_ms = n[7],
	    .message_max = n[8],
	    .fifo = n[9],
	    .content_dedup = n[10],
	    .dedup_per_group = n[11],
	    .throughput_per_group = n[12],
	    .receives_max = (unsigned)n[13]};
	memcpy(s->dead_letter_arn, line.ptr, line.len);
	q->draft = *s;
	buf_append_str(&q->document, value);
	buf_append_str(&q->draft_document, value);
	name_stores(q);
	return true;
}

/* ---- changes ---- */

struct change {
	struct store_write write;
	struct queue *queue;
	struct queue_settings settings;
	struct buf document;
	int64_t at_ms;
	void (*apply)(struct change *c, int result);
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void on_changed(struct store_write *w, int result)
{
	struct change *c = container_of(w, struct change, write);

	c->apply(c, result);
	if (c->done)
		c->done(c->ctx, result);
	buf_done(&c->document);
	queue_unref(c->queue);
	free(c);
}

static struct change *change_new(struct queue *q, void (*apply)(struct change *c, int result),
    void (*done)(void *ctx, int result), void *ctx)
{
	struct change *c = xcalloc(1, sizeof(*c));

	store_write_init(&c->write, on_changed);
	c->queue = q;
	c->at_ms = time_wall_ms();
	c->apply = apply;
	c->done = done;
	c->ctx = ctx;
	queue_ref(q);
	return c;
}

static void remove_queue(struct queue *q)
{
	q->gone = true;
	map_remove(&q->all->by_arn, str_from(q->arn));
	receivers_end(q, -ENOENT);
	move_forget(q);
	loop_timer_stop(q->all->loop, &q->sweep);
	loop_timer_stop(q->all->loop, &q->dedup_timer);
	drop_messages(q);
	queue_unref(q);
}

static void apply_creation(struct change *c, int result)
{
	struct queue *q = c->queue;
	struct waiter *w = q->waiters;

	q->creating = false;
	q->waiters = NULL;
	if (result < 0)
		remove_queue(q);
	while (w) {
		struct waiter *next = w->next;

		if (w->done)
			w->done(w->ctx, result < 0 ? result : -EEXIST);
		free(w);
		w = next;
	}
}

static void wait_for_creation(struct queue *q, void (*done)(void *ctx, int result), void *ctx)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	*w = (struct waiter){q->waiters, done, ctx};
	q->waiters = w;
}

void queue_create(struct queues *all, struct str account, struct str region, struct str name,
    const struct queue_settings *s, struct str document, void (*done)(void *ctx, int result),
    void *ctx)
{
	struct queue *q = queue_new(all, account, region, name);
	struct queue *other = map_get(&all->by_arn, str_from(q->arn));
	struct change *c;

	if (other) {
		queue_unref(q);
		if (other->creating)
			wait_for_creation(other, done, ctx);
		else if (done)
			done(ctx, other->deleting ? -EBUSY : -EEXIST);
		return;
	}
	rand_hex(q->id, 12);
	name_stores(q);
	q->creating = true;
	q->created_ms = q->modified_ms = time_wall_ms();
	q->settings = q->draft = *s;
	buf_append_str(&q->document, document);
	buf_append_str(&q->draft_document, document);
	map_put(&all->by_arn, str_from(q->arn), q);
	c = change_new(q, apply_creation, done, ctx);
	write_record(q, s, q->epoch, q->modified_ms, 0, document, &c->write);
	store_commit(all->store, &c->write);
}

static void apply_update(struct change *c, int result)
{
	struct queue *q = c->queue;

	if (result < 0 || q->gone)
		return;
	q->settings = c->settings;
	q->modified_ms = c->at_ms;
	queue_cache(q, NULL, NULL);
	buf_clear(&q->document);
	buf_append_str(&q->document, buf_str(&c->document));
	queue_dispatch(q);
}

void queue_update(struct queue *q, const struct queue_settings *s, struct str document,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct change *c = change_new(q, apply_update, done, ctx);

	c->settings = *s;
	buf_append_str(&c->document, document);
	q->draft = *s;
	buf_clear(&q->draft_document);
	buf_append_str(&q->draft_document, buf_str(&c->document));
	write_record(
	    q, s, q->draft_epoch, c->at_ms, q->purged_ms, buf_str(&c->document), &c->write);
	store_commit(q->all->store, &c->write);
}

/* ---- what has lost its name ---- */

struct trash {
	struct list node;
	struct store_write write;
	struct queues *all;
	char name[32];
};

static void empty_next(struct queues *all);

static void on_emptied(struct store_write *w, int result)
{
	struct trash *t = container_of(w, struct trash, write);
	struct queues *all = t->all;

	if (result < 0)
		log_warn("%s cannot be removed now: %s", t->name, strerror(-result));
	all->emptying = NULL;
	free(t);
	empty_next(all);
}

static void on_step(struct store_write *w, int result);

static void on_looked(void *ctx, int result, const struct store_message *m, size_t count)
{
	struct trash *t = ctx;

	(void)m;
	if (result == 0 && count && !t->all->stopping) {
		static const char last[32] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
					     "\xff\xff\xff\xff\xff\xff\xff\xff";

		store_write_init(&t->write, on_step);
		store_clear(&t->write, t->name, (struct str){last, sizeof(last)}, TRASH_STEP);
	} else {
		store_write_init(&t->write, on_emptied);
		if (result == 0 && !count)
			store_delete(&t->write, TRASH, str_from(t->name), STORE_ANY);
	}
	store_commit(t->all->store, &t->write);
}

static void look(struct trash *t)
{
	store_receive_after(t->all->store, t->name, STR_NULL, 1, 0, on_looked, t);
}

static void on_step(struct store_write *w, int result)
{
	struct trash *t = container_of(w, struct trash, write);

	if (result < 0)
		on_emptied(w, result); /* the next start tries again */
	else
		look(t);
}

static void empty_next(struct queues *all)
{
	struct trash *t = list_first(&all->trash, struct trash, node);

	if (all->emptying || !t || all->stopping)
		return;
	list_remove(&t->node);
	all->emptying = t;
	look(t);
}

static void trash_add(struct queues *all, const char *name)
{
	struct trash *t = xcalloc(1, sizeof(*t));

	t->all = all;
	snprintf(t->name, sizeof(t->name), "%s", name);
	list_push_back(&all->trash, &t->node);
}

/* ---- deletion and purge ---- */

static void apply_deletion(struct change *c, int result)
{
	struct queue *q = c->queue;

	q->deleting = false;
	if (result < 0 || q->gone)
		return;
	trash_add(q->all, q->store_name);
	trash_add(q->all, q->dedup_name);
	remove_queue(q);
	empty_next(q->all);
}

void queue_delete(struct queue *q, void (*done)(void *ctx, int result), void *ctx)
{
	struct change *c = change_new(q, apply_deletion, done, ctx);

	q->deleting = true;
	store_delete(&c->write, SPACE, str_from(q->arn), STORE_ANY);
	store_put(&c->write, TRASH, str_from(q->store_name), STR_NULL, STORE_ANY);
	store_put(&c->write, TRASH, str_from(q->dedup_name), STR_NULL, STORE_ANY);
	store_commit(q->all->store, &c->write);
}

static void apply_purge(struct change *c, int result)
{
	struct queue *q = c->queue;

	if (q->gone)
		return;
	if (result < 0) {
		q->purged_ms = 0;
		q->draft_epoch = q->epoch;
		return;
	}
	trash_add(q->all, q->store_name);
	q->epoch = q->draft_epoch;
	name_stores(q);
	drop_messages(q);
	empty_next(q->all);
}

bool queue_may_purge(const struct queue *q)
{
	return time_wall_ms() - q->purged_ms >= PURGE_MS;
}

int queue_purge(struct queue *q, void (*done)(void *ctx, int result), void *ctx)
{
	struct change *c;

	if (!queue_may_purge(q))
		return -EBUSY;
	c = change_new(q, apply_purge, done, ctx);
	q->purged_ms = c->at_ms;
	q->draft_epoch = q->epoch + 1;
	write_record(q, &q->draft, q->draft_epoch, q->modified_ms, q->purged_ms,
	    buf_str(&q->draft_document), &c->write);
	store_put(&c->write, TRASH, str_from(q->store_name), STR_NULL, STORE_ANY);
	store_commit(q->all->store, &c->write);
	return 0;
}

/* ---- opening and closing ---- */

static int load(void *ctx, struct str key, struct str value, int64_t version)
{
	struct queues *all = ctx;
	struct str rest = key, part[6];
	struct queue *q;

	(void)version;
	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		part[i] = rest.ptr ? str_cut(&rest, ':') : STR_NULL;
	if (!part[5].len)
		return 0;
	q = queue_new(all, part[4], part[3], part[5]);
	if (!read_record(q, value)) {
		log_error("queue %s cannot be read and is left out", q->arn);
		queue_unref(q);
		return 0;
	}
	map_put(&all->by_arn, key, q);
	return 0;
}

static int load_trash(void *ctx, struct str key, struct str value, int64_t version)
{
	char name[32];

	(void)value;
	(void)version;
	snprintf(name, sizeof(name), "%.*s", STR_FMT(key));
	trash_add(ctx, name);
	return 0;
}

static int load_messages(struct queue *q, struct err *e)
{
	int64_t count = store_queue_length(q->all->store, q->store_name);
	uint64_t order, seq;
	char last[ID_LEN];
	ssize_t n;

	if (count < 0)
		return err_set(e, EIO, "counting the messages of %s", q->arn);
	if (q->settings.fifo) {
		n = store_queue_last_tried(
		    q->all->store, q->store_name, time_wall_ms(), last, sizeof(last));
		if (n > 0 && id_decode((struct str){last, (size_t)n}, &order, &seq))
			q->resume_seq = seq;
	}
	if (count > 0) {
		q->backlog = true;
		q->on_disk = count;
		sweep_watch(q);
		queue_dispatch(q);
	}
	return q->settings.fifo ? dedups_load(q, e) : 0;
}

static int load_all(struct queues *all, struct err *e)
{
	int r = store_scan(all->store, SPACE, STR_NULL, load, all, e);

	if (r == 0)
		r = store_scan(all->store, TRASH, STR_NULL, load_trash, all, e);
	if (r == 0)
		r = store_scan(all->store, NUMBERS, STR_NULL, load_numbers, all, e);
	if (r == 0)
		r = moves_load(all, e);
	map_for_each (&all->by_arn, entry) {
		if (r == 0)
			r = load_messages(entry->value, e);
	}
	return r;
}

struct queues *queues_open(struct loop *l, struct store *s, struct err *e)
{
	struct queues *all = xcalloc(1, sizeof(*all));

	all->loop = l;
	all->store = s;
	all->content_max = CONTENT_MAX;
	all->window = WINDOW;
	all->dedup_ms = DEDUP_MS;
	list_init(&all->dirty);
	list_init(&all->moves);
	list_init(&all->trash);
	if (load_all(all, e) < 0) {
		err_wrap(e, "reading the queues");
		queues_free(all);
		return NULL;
	}
	moves_resume(all);
	empty_next(all);
	return all;
}

void queues_stop(struct queues *all)
{
	map_for_each (&all->by_arn, entry) {
		struct queue *q = entry->value;

		receivers_end(q, -ECANCELED);
		loop_task_cancel(&q->dispatch);
	}
	saving_stop(all);
	if (all->seq_limit)
		reserve(all, all->seq);
	all->stopping = true;
}

void queues_free(struct queues *all)
{
	if (!all)
		return;
	all->stopping = true;
	loop_timer_stop(all->loop, &all->save_timer);
	map_for_each (&all->by_arn, entry)
		queue_free(entry->value);
	map_done(&all->by_arn);
	moves_drop(all);
	while (!list_empty(&all->trash)) {
		struct trash *t = list_first(&all->trash, struct trash, node);

		list_remove(&t->node);
		free(t);
	}
	free(all->emptying);
	free(all);
}
