/*
 * SQLite driver: opening, reads and the loop thread's side of writes. See store.h, sqlite_int.h.
 *
 * Reads use one connection of their own, under a lock: they are for start-up and for workers that
 * refill a queue in memory, never for the path of a request.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "store/sqlite_int.h"

#define TURN_NS (2 * (int64_t)1000000) /* for telling results, before others have their turn */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS keys ("
    " space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " version INTEGER NOT NULL CHECK (version > 0),"
    " PRIMARY KEY (space, key)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS messages ("
    " queue TEXT NOT NULL, id BLOB NOT NULL, body BLOB NOT NULL, due_ms INTEGER NOT NULL,"
    " sent_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, UNIQUE (queue, id)) STRICT;"
    "DROP INDEX IF EXISTS messages_due;"
    "CREATE INDEX IF NOT EXISTS messages_timed ON messages (queue, due_ms) WHERE sent_ms > 0;"
    "CREATE INDEX IF NOT EXISTS messages_tried ON messages (queue, id, due_ms) WHERE attempts > 0;"
    "CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY, refs INTEGER NOT NULL) STRICT;"
    "PRAGMA user_version = 1;";

int store_errno(int sqlite_code)
{
	switch (sqlite_code & 0xff) {
	case SQLITE_OK: return 0;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_TOOBIG: return -EFBIG;
	case SQLITE_READONLY: return -EROFS;
	default: return -EIO;
	}
}

static int run_sql(sqlite3 *db, const char *text, struct err *e)
{
	char *message = NULL;
	int r = sqlite3_exec(db, text, NULL, NULL, &message);

	if (r == SQLITE_OK)
		return 0;
	/* "disk I/O error" may mean that there is no room for its shared memory. */
	r = sqlite3_system_errno(db) == ENOSPC ? -ENOSPC : store_errno(r);
	err_set(e, -r, "%s", message ? message : sqlite3_errmsg(db));
	sqlite3_free(message);
	return r;
}

sqlite3 *store_db_open(const char *path, struct err *e)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		NULL) != SQLITE_OK) {
		err_set(e, EIO, "opening %s: %s", path, db ? sqlite3_errmsg(db) : "no memory");
		sqlite3_close(db);
		return NULL;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, 5000);
	if (run_sql(db,
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY;"
		"PRAGMA cache_size = -16384; PRAGMA trusted_schema = OFF;",
		e) < 0) {
		err_wrap(e, "opening %s", path);
		sqlite3_close(db);
		return NULL;
	}
	return db;
}

/* ---- results of writes, on the loop thread ---- */

/* Tell results, one at least. */
static void finish(struct store *s, int64_t until_ns)
{
	struct store_write *w;

	while ((w = list_first(&s->results, struct store_write, node))) {
		list_remove(&w->node);
		if (w->result == 0)
			files_dropped(s, w->ops);
		store_write_done(w, w->result);
		if (time_mono_ns() >= until_ns)
			break;
	}
}

static void take_finished(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->posted = false;
	while (!list_empty(&s->finished)) {
		struct list *n = s->finished.next;

		list_remove(n);
		list_push_back(&s->results, n);
	}
	pthread_mutex_unlock(&s->lock);
}

/* One commit may end a thousand writes, and each is told to somebody who answers a client. */
static void tell_results(struct store *s)
{
	finish(s, time_mono_ns() + TURN_NS);
	if (!list_empty(&s->results))
		loop_defer(s->loop, &s->tell_rest);
}

static void on_rest(struct loop_task *t)
{
	tell_results(container_of(t, struct store, tell_rest));
}

static void on_finished(struct loop_task *t)
{
	struct store *s = container_of(t, struct store, task);

	take_finished(s);
	if (s->closed)
		store_job_done(s);
	else if (!list_empty(&s->results) && list_empty(&s->tell_rest.node))
		tell_results(s);
}

void store_write_done(struct store_write *w, int result)
{
	while (w->ops) {
		struct store_op *o = w->ops;

		w->ops = o->next;
		free(o);
	}
	w->done(w, result);
}

void store_write_init(struct store_write *w, void (*done)(struct store_write *w, int result))
{
	list_init(&w->node);
	w->done = done;
	w->ops = NULL;
	w->result = 0;
}

static struct str append(char **at, struct str s)
{
	struct str copy = {*at, s.len};

	if (s.len)
		memcpy(*at, s.ptr, s.len);
	*at += s.len;
	return copy;
}

/* Operations are gathered in reverse; store_commit() turns them round. */
static struct store_op *add(
    struct store_write *w, enum op_kind kind, const char *space, struct str key, struct str value)
{
	size_t n = strlen(space);
	struct store_op *o = xmalloc(sizeof(*o) + n + key.len + value.len + 1);
	char *at = (char *)(o + 1);

	*o = (struct store_op){.next = w->ops, .kind = kind};
	o->space = append(&at, (struct str){space, n});
	o->key = append(&at, key);
	o->value = append(&at, value);
	w->ops = o;
	return o;
}

void store_put(struct store_write *w, const char *space, struct str key, struct str value,
    int64_t expect_version)
{
	add(w, OP_PUT, space, key, value)->number = expect_version;
}

void store_delete(struct store_write *w, const char *space, struct str key, int64_t expect_version)
{
	add(w, OP_DELETE, space, key, STR_NULL)->number = expect_version;
}

void store_send(
    struct store_write *w, const char *queue, struct str id, struct str body, int64_t due_ms)
{
	struct store_op *o = add(w, OP_SEND, queue, id, body);

	o->number = due_ms;
	o->sent_ms = time_wall_ms();
}

void store_send_untimed(
    struct store_write *w, const char *queue, struct str id, struct str body, int64_t due_ms)
{
	add(w, OP_SEND, queue, id, body)->number = due_ms;
}

void store_requeue(
    struct store_write *w, const char *queue, struct str id, int64_t due_ms, int attempts)
{
	struct store_op *o = add(w, OP_REQUEUE, queue, id, STR_NULL);

	o->number = due_ms;
	o->attempts = attempts;
}

void store_remove(struct store_write *w, const char *queue, struct str id)
{
	add(w, OP_REMOVE, queue, id, STR_NULL);
}

void store_require(struct store_write *w, const char *queue, struct str id)
{
	add(w, OP_REQUIRE, queue, id, STR_NULL);
}

void store_clear(struct store_write *w, const char *queue, struct str last, unsigned max)
{
	add(w, OP_CLEAR, queue, last, STR_NULL)->number = max;
}

void store_add_file_op(struct store_write *w, enum op_kind kind, uint64_t id)
{
	add(w, kind, "", STR_NULL, STR_NULL)->number = (int64_t)id;
}

void store_hand_over(struct store *s)
{
	bool idle;

	if (list_empty(&s->gathered))
		return;
	pthread_mutex_lock(&s->lock);
	idle = list_empty(&s->queued);
	list_splice_back(&s->queued, &s->gathered);
	if (idle)
		pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

static void on_turn_end(struct loop_task *t)
{
	store_hand_over(container_of(t, struct store, hand_over));
}

/* All of a turn together: one by one, the first of many clients' writes would be alone in a commit,
 * and the others wait for its sync. */
void store_commit(struct store *s, struct store_write *w)
{
	struct store_op *turned = NULL;

	while (w->ops) {
		struct store_op *o = w->ops;

		w->ops = o->next;
		o->next = turned;
		turned = o;
	}
	w->ops = turned;
	list_push_back(&s->gathered, &w->node);
	loop_defer(s->loop, &s->hand_over);
}

/* ---- opening and closing ---- */

static void free_store(struct store *s)
{
	readers_close(s);
	map_for_each (&s->held, entry)
		free(entry->value);
	map_done(&s->held);
	sqlite3_close(s->reader);
	base_closep(&s->blobs);
	base_closep(&s->files);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->read_lock);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->checkpoint);
	free(s->dir);
	free(s->path);
	free(s);
}

static int open_files(struct store *s, struct err *e)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs", s->dir);
	_cleanup_close_ int fd = -1;
	int r;

	if ((mkdir(s->dir, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(blobs, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "creating %s", blobs);
	s->blobs = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->blobs < 0)
		return err_sys(e, errno, "opening %s", blobs);
	/* SQLite gives the log the mode that the database has. */
	fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "opening %s", s->path);
	/* Now: a later close would take away all locks that SQLite has on it in this process. */
	close(take_fd(&fd));
	s->reader = store_db_open(s->path, e);
	if (!s->reader)
		return -EIO;
	r = run_sql(s->reader, schema, e);
	return r < 0 ? r : files_open(s, e);
}

struct store *store_open(struct loop *l, const char *dir, struct err *e)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->dir = xstrdup(dir);
	s->path = xasprintf("%s/mayfly.db", dir);
	s->blobs = s->files = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->read_lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->checkpoint, NULL);
	list_init(&s->gathered);
	list_init(&s->hand_over.node);
	s->hand_over.run = on_turn_end;
	list_init(&s->queued);
	list_init(&s->finished);
	list_init(&s->readers);
	list_init(&s->task.node);
	s->task.run = on_finished;
	list_init(&s->results);
	list_init(&s->tell_rest.node);
	s->tell_rest.run = on_rest;
	if (open_files(s, e) < 0 || store_writer_start(s, e) < 0) {
		free_store(s);
		return NULL;
	}
	return s;
}

void store_job_done(struct store *s)
{
	if (--s->jobs == 0 && s->closed)
		free_store(s);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	loop_task_cancel(&s->hand_over);
	loop_task_cancel(&s->tell_rest);
	store_hand_over(s);
	store_writer_stop(s);
	s->jobs += s->posted; /* the task is in the loop's hands: it ends like a job */
	take_finished(s);
	finish(s, INT64_MAX);
	s->closed = true;
	if (!s->jobs)
		free_store(s);
}

/* ---- reading ---- */

/* LIKE and ranges have rules of their own about bytes; comparing the first bytes has none. */
int store_scan(struct store *s, const char *space, struct str prefix,
    int (*fn)(void *ctx, struct str key, struct str value, int64_t version), void *ctx,
    struct err *e)
{
	static const char text[] = "SELECT key, value, version FROM keys WHERE space = ?1 AND "
				   "key >= ?2 ORDER BY key";
	sqlite3_stmt *st = NULL;
	int r, stop = 0;

	pthread_mutex_lock(&s->read_lock);
	r = sqlite3_prepare_v2(s->reader, text, -1, &st, NULL);
	if (r == SQLITE_OK) {
		sqlite3_bind_text(st, 1, space, -1, SQLITE_STATIC);
		sqlite3_bind_blob(
		    st, 2, prefix.len ? prefix.ptr : "", (int)prefix.len, SQLITE_STATIC);
	}
	while (!stop && r != SQLITE_DONE && st && (r = sqlite3_step(st)) == SQLITE_ROW) {
		struct str key = {sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0)};
		struct str value = {
		    sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)};

		if (key.len < prefix.len || (prefix.len && memcmp(key.ptr, prefix.ptr, prefix.len)))
			break;
		stop = fn(ctx, key, value, sqlite3_column_int64(st, 2));
	}
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		stop = err_set(e, -store_errno(r), "reading %s from the store: %s", space,
		    sqlite3_errmsg(s->reader));
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
	return stop;
}

int64_t store_queue_length(struct store *s, const char *queue)
{
	sqlite3_stmt *st = NULL;
	int64_t n = -EIO;

	pthread_mutex_lock(&s->read_lock);
	if (sqlite3_prepare_v2(s->reader, "SELECT count(*) FROM messages WHERE queue = ?1", -1, &st,
		NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, queue, -1, SQLITE_STATIC);
		if (sqlite3_step(st) == SQLITE_ROW)
			n = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
	return n;
}

struct receive {
	struct loop_work work;
	struct store *store;
	char *queue;
	int64_t due_ms;
	unsigned max;
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

static void read_messages(struct loop_work *w)
{
	static const char text[] =
	    "SELECT id, body, due_ms, sent_ms, attempts FROM messages "
	    "WHERE queue = ?1 AND due_ms <= ?2 AND sent_ms > 0 ORDER BY due_ms LIMIT ?3";
	struct receive *q = container_of(w, struct receive, work);
	struct store *s = q->store;
	sqlite3_stmt *st = NULL;
	int r;

	pthread_mutex_lock(&s->read_lock);
	r = sqlite3_prepare_v2(s->reader, text, -1, &st, NULL);
	if (r == SQLITE_OK) {
		sqlite3_bind_text(st, 1, q->queue, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 2, q->due_ms);
		sqlite3_bind_int64(st, 3, q->max);
	}
	while (st && q->count < q->max && (r = sqlite3_step(st)) == SQLITE_ROW)
		q->messages[q->count++] = (struct store_message){copy_column(st, 0),
		    copy_column(st, 1), sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
		    sqlite3_column_int(st, 4)};
	q->result = r == SQLITE_ROW || r == SQLITE_DONE || r == SQLITE_OK ? 0 : store_errno(r);
	sqlite3_finalize(st);
	pthread_mutex_unlock(&s->read_lock);
}

static void receive_done(struct loop_work *w)
{
	struct receive *q = container_of(w, struct receive, work);
	struct store *s = q->store;

	if (!s->closed)
		q->fn(q->ctx, q->result, q->messages, q->result ? 0 : q->count);
	store_job_done(s);
	for (size_t i = 0; i < q->count; i++) {
		free((void *)(uintptr_t)q->messages[i].id.ptr);
		free((void *)(uintptr_t)q->messages[i].body.ptr);
	}
	free(q->messages);
	free(q->queue);
	free(q);
}

void store_receive(struct store *s, const char *queue, int64_t due_ms, unsigned max,
    void (*fn)(void *ctx, int result, const struct store_message *m, size_t count), void *ctx)
{
	struct receive *q = xcalloc(1, sizeof(*q));

	q->store = s;
	q->queue = xstrdup(queue);
	q->due_ms = due_ms;
	q->max = max;
	q->messages = xcalloc(max ? max : 1, sizeof(*q->messages));
	q->fn = fn;
	q->ctx = ctx;
	q->work.run = read_messages;
	q->work.done = receive_done;
	s->jobs++;
	loop_work_start(s->loop, &q->work);
}
