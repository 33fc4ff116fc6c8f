/*
 * Reading the messages of a queue by their ids: the next of a long backlog in the order of ids, or
 * some whose bodies were not kept in memory. On workers, under the lock of the reading connection;
 * results on the loop thread. See store.h.
 */
#include "store/sqlite_int.h"

struct read {
	struct loop_work work;
	struct store *store;
	char *queue;
	char *ids; /* one to read after, or those to read */
	size_t id_len, id_count;
	bool after;
	unsigned max;
	size_t max_bytes;
	struct store_message *messages;
	size_t count;
	int result;
	void (*fn)(void *ctx, int result, const struct store_message *m, size_t count);
	void *ctx;
};

static struct str copy_column(sqlite3_stmt *st, int i)
{
	struct str s = {sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i)};

	return (struct str){xstrndup(s.len ? s.ptr : "", s.len), s.len};
}

static size_t take_row(struct read *q, sqlite3_stmt *st)
{
	struct store_message *m = &q->messages[q->count++];

	*m = (struct store_message){copy_column(st, 0), copy_column(st, 1),
	    sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3), sqlite3_column_int(st, 4)};
	return m->body.len;
}

static int read_after(struct read *q, sqlite3_stmt *st)
{
	size_t bytes = 0;
	int r = SQLITE_ROW;

	sqlite3_bind_blob(st, 2, q->ids, (int)q->id_len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, q->max);
	while (q->count < q->max && bytes <= q->max_bytes && (r = sqlite3_step(st)) == SQLITE_ROW)
		bytes += take_row(q, st);
	return r;
}

static int read_ids(struct read *q, sqlite3_stmt *st)
{
	int r = SQLITE_DONE;

	for (size_t i = 0; i < q->id_count; i++) {
		sqlite3_bind_blob(st, 2, q->ids + i * q->id_len, (int)q->id_len, SQLITE_STATIC);
		r = sqlite3_step(st);
		if (r == SQLITE_ROW)
			take_row(q, st);
		else if (r != SQLITE_DONE)
			break;
		sqlite3_reset(st);
	}
	return r;
}

static void read_messages(struct loop_work *w)
{
	static const char next[] = "SELECT id, body, due_ms, sent_ms, attempts FROM messages "
				   "WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
	static const char single[] = "SELECT id, body, due_ms, sent_ms, attempts FROM messages "
				     "WHERE queue = ?1 AND id = ?2";
	struct read *q = container_of(w, struct read, work);
	struct store *s = q->store;
	sqlite3_stmt *st = NULL;
	int r;

	pthread_mutex_lock(&s->read_lock);
	r = sqlite3_prepare_v2(s->reader, q->after ? next : single, -1, &st, NULL);
	if (r == SQLITE_OK) {
		sqlite3_bind_text(st, 1, q->queue, -1, SQLITE_STATIC);
		r = q->after ? read_after(q, st) : read_ids(q, st);
	}
	q->result = r == SQLITE_ROW || r == SQLITE_DONE ? 0 : store_errno(r);
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
}

static void read_done(struct loop_work *w)
{
	struct read *q = container_of(w, struct read, work);
	struct store *s = q->store;

	if (!s->closed)
		q->fn(q->ctx, q->result, q->messages, q->result ? 0 : q->count);
	store_job_done(s);
	for (size_t i = 0; i < q->count; i++) {
		free((void *)(uintptr_t)q->messages[i].id.ptr);
		free((void *)(uintptr_t)q->messages[i].body.ptr);
	}
	free(q->messages);
	free(q->ids);
	free(q->queue);
	free(q);
}

static void start(struct store *s, const char *queue, struct read *q)
{
	q->store = s;
	q->queue = xstrdup(queue);
	q->messages = xcalloc(q->max ? q->max : 1, sizeof(*q->messages));
	q->work.run = read_messages;
	q->work.done = read_done;
	s->jobs++;
	loop_work_start(s->loop, &q->work);
}

void store_receive_after(struct store *s, const char *queue, struct str after, unsigned max,
    size_t max_bytes,
    void (*fn)(void *ctx, int result, const struct store_message *m, size_t count), void *ctx)
{
	struct read *q = xcalloc(1, sizeof(*q));

	q->after = true;
	q->ids = xstrndup(after.len ? after.ptr : "", after.len);
	q->id_len = after.len;
	q->max = max;
	q->max_bytes = max_bytes;
	q->fn = fn;
	q->ctx = ctx;
	start(s, queue, q);
}

void store_receive_ids(struct store *s, const char *queue, const void *ids, size_t id_len,
    size_t count, void (*fn)(void *ctx, int result, const struct store_message *m, size_t count),
    void *ctx)
{
	struct read *q = xcalloc(1, sizeof(*q));

	q->ids = xmalloc(count * id_len + 1);
	memcpy(q->ids, ids, count * id_len);
	q->id_len = id_len;
	q->id_count = count;
	q->max = (unsigned)count;
	q->fn = fn;
	q->ctx = ctx;
	start(s, queue, q);
}

ssize_t store_queue_last_tried(
    struct store *s, const char *queue, int64_t due_ms, void *id, size_t size)
{
	static const char text[] = "SELECT id FROM messages WHERE queue = ?1 AND attempts > 0 AND "
				   "due_ms > ?2 ORDER BY id DESC LIMIT 1";
	sqlite3_stmt *st = NULL;
	ssize_t len = -EIO;
	int r;

	pthread_mutex_lock(&s->read_lock);
	r = sqlite3_prepare_v2(s->reader, text, -1, &st, NULL);
	if (r == SQLITE_OK) {
		sqlite3_bind_text(st, 1, queue, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 2, due_ms);
		r = sqlite3_step(st);
	}
	if (r == SQLITE_DONE)
		len = 0;
	if (r == SQLITE_ROW) {
		len = (ssize_t)min_size((size_t)sqlite3_column_bytes(st, 0), size);
		memcpy(id, sqlite3_column_blob(st, 0), (size_t)len);
	}
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
	return len;
}

int store_queue_each(struct store *s, const char *queue,
    int (*fn)(void *ctx, struct str id, struct str body), void *ctx, struct err *e)
{
	static const char text[] = "SELECT id, body FROM messages WHERE queue = ?1 ORDER BY id";
	sqlite3_stmt *st = NULL;
	int r, stop = 0;

	pthread_mutex_lock(&s->read_lock);
	r = sqlite3_prepare_v2(s->reader, text, -1, &st, NULL);
	if (r == SQLITE_OK)
		sqlite3_bind_text(st, 1, queue, -1, SQLITE_STATIC);
	while (!stop && st && (r = sqlite3_step(st)) == SQLITE_ROW) {
		struct str id = {sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0)};
		struct str body = {sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)};

		stop = fn(ctx, id, body);
	}
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		stop = err_set(e, -store_errno(r), "reading queue %s from the store: %s", queue,
		    sqlite3_errmsg(s->reader));
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
	return stop;
}
