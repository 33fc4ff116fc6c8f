/*
 * The writer thread: takes all writes that were queued while the last commit was being synced and
 * commits them as one transaction. A write that fails its version check is undone alone (by a
 * savepoint where it has several operations). When the database itself fails, for instance because
 * the disk is full, the group is rolled back and its writes are tried one by one.
 *
 * The log (WAL) is copied into the database by a second thread with its own connection, so that
 * commits go on meanwhile; the writer copies the short rest, after which SQLite starts the log
 * over. A log that is overwritten in place is also cheaper to sync than one that grows.
 */
#include <errno.h>

#include "base/log.h"
#include "base/time.h"
#include "store/sqlite_int.h"

#define GROUP_MAX 1024
#define CHECKPOINT_FRAMES 2000 /* of 4 KiB */
#define REST_FRAMES 300

static const char *const sql[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVE] = "SAVEPOINT one",
    [SQL_RELEASE] = "RELEASE one",
    [SQL_UNDO] = "ROLLBACK TO one",
    [SQL_VERSION] = "SELECT version FROM keys WHERE space = ?1 AND key = ?2",
    [SQL_PUT] = "INSERT INTO keys (space, key, value, version) VALUES (?1, ?2, ?3, ?4) "
		"ON CONFLICT (space, key) DO UPDATE SET value = ?3, version = ?4",
    [SQL_DELETE] = "DELETE FROM keys WHERE space = ?1 AND key = ?2",
    [SQL_SEND] = "INSERT INTO messages (queue, id, body, due_ms, sent_ms, attempts) "
		 "VALUES (?1, ?2, ?3, ?4, ?5, 0) ON CONFLICT DO NOTHING",
    [SQL_REQUEUE] = "UPDATE messages SET due_ms = ?3, attempts = ?4 WHERE queue = ?1 AND id = ?2",
    [SQL_KEEP] = "INSERT INTO files (id, refs) VALUES (?1, 1) "
		 "ON CONFLICT (id) DO UPDATE SET refs = refs + 1",
    [SQL_SHARE] = "UPDATE files SET refs = refs + 1 WHERE id = ?1",
    [SQL_DROP] = "UPDATE files SET refs = refs - 1 WHERE id = ?1",
    [SQL_GONE] = "DELETE FROM files WHERE id = ?1 AND refs < 1",
    [SQL_REMOVE] = "DELETE FROM messages WHERE queue = ?1 AND id = ?2",
    [SQL_REQUIRE] = "SELECT 1 FROM messages WHERE queue = ?1 AND id = ?2",
    [SQL_CLEAR] = "DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages "
		  "WHERE queue = ?1 AND id <= ?2 LIMIT ?3)",
};

/* -errno of a failed step. A full disk shows in several ways, some only by the system's error. */
static int failure(struct writer *w, int code)
{
	int system = sqlite3_system_errno(w->db);

	w->code = code & 0xff;
	if (w->code == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT || system == EFBIG))
		return -ENOSPC;
	return store_errno(code);
}

static int step(struct writer *w, enum statement which)
{
	sqlite3_stmt *st = w->statements[which];
	int r = sqlite3_step(st);

	sqlite3_reset(st);
	return r == SQLITE_DONE || r == SQLITE_ROW ? 0 : failure(w, r);
}

static sqlite3_stmt *bind(struct writer *w, enum statement which, const struct store_op *o)
{
	sqlite3_stmt *st = w->statements[which];

	sqlite3_bind_text(st, 1, o->space.ptr, (int)o->space.len, SQLITE_STATIC);
	sqlite3_bind_blob(st, 2, o->key.ptr, (int)o->key.len, SQLITE_STATIC);
	return st;
}

static int find_version(struct writer *w, const struct store_op *o, int64_t *ret)
{
	sqlite3_stmt *st = bind(w, SQL_VERSION, o);
	int r = sqlite3_step(st);

	*ret = r == SQLITE_ROW ? sqlite3_column_int64(st, 0) : STORE_ABSENT;
	sqlite3_reset(st);
	return r == SQLITE_ROW || r == SQLITE_DONE ? 0 : failure(w, r);
}

static int apply_key(struct writer *w, const struct store_op *o)
{
	int64_t version = 0;
	sqlite3_stmt *st;
	int r = find_version(w, o, &version);

	if (r < 0)
		return r;
	if (o->number != STORE_ANY && o->number != version)
		return -EAGAIN;
	st = bind(w, o->kind == OP_PUT ? SQL_PUT : SQL_DELETE, o);
	if (o->kind == OP_PUT) {
		sqlite3_bind_blob(st, 3, o->value.ptr, (int)o->value.len, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, version + 1);
	}
	return step(w, o->kind == OP_PUT ? SQL_PUT : SQL_DELETE);
}

static int require(struct writer *w, const struct store_op *o)
{
	sqlite3_stmt *st = bind(w, SQL_REQUIRE, o);
	int r = sqlite3_step(st);

	sqlite3_reset(st);
	if (r == SQLITE_ROW)
		return 0;
	return r == SQLITE_DONE ? -EAGAIN : failure(w, r);
}

static int apply_message(struct writer *w, const struct store_op *o)
{
	static const enum statement which[] = {[OP_SEND] = SQL_SEND,
	    [OP_REQUEUE] = SQL_REQUEUE,
	    [OP_REMOVE] = SQL_REMOVE,
	    [OP_REQUIRE] = SQL_REQUIRE,
	    [OP_CLEAR] = SQL_CLEAR};
	sqlite3_stmt *st;
	int r;

	if (o->kind == OP_REQUIRE)
		return require(w, o);
	st = bind(w, which[o->kind], o);
	if (o->kind == OP_CLEAR)
		sqlite3_bind_int64(st, 3, o->number);
	if (o->kind == OP_SEND) {
		sqlite3_bind_blob(st, 3, o->value.ptr, (int)o->value.len, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, o->number);
		sqlite3_bind_int64(st, 5, o->sent_ms);
	} else if (o->kind == OP_REQUEUE) {
		sqlite3_bind_int64(st, 3, o->number);
		sqlite3_bind_int(st, 4, o->attempts);
	}
	r = step(w, which[o->kind]);
	if (r == 0 && o->kind == OP_SEND && sqlite3_changes(w->db) == 0)
		return -EEXIST;
	return r;
}

static int step_file(struct writer *w, enum statement which, int64_t id)
{
	sqlite3_bind_int64(w->statements[which], 1, id);
	return step(w, which);
}

static int apply_file(struct writer *w, struct store_op *o)
{
	int r;

	if (o->kind == OP_KEEP)
		return step_file(w, SQL_KEEP, o->number);
	if (o->kind == OP_SHARE) {
		r = step_file(w, SQL_SHARE, o->number);
		return r == 0 && sqlite3_changes(w->db) == 0 ? -ENOENT : r;
	}
	r = step_file(w, SQL_DROP, o->number);
	if (r == 0)
		r = step_file(w, SQL_GONE, o->number);
	o->gone = r == 0 && sqlite3_changes(w->db) > 0;
	return r;
}

/* A failed version check leaves nothing behind; anything else fails the transaction. */
static bool is_refusal(int r)
{
	return r == -EAGAIN || r == -EEXIST || r == -ENOENT;
}

static int apply_one(struct writer *w, struct store_op *o)
{
	switch (o->kind) {
	case OP_PUT:
	case OP_DELETE: return apply_key(w, o);
	case OP_KEEP:
	case OP_SHARE:
	case OP_DROP: return apply_file(w, o);
	default: return apply_message(w, o);
	}
}

static int apply(struct writer *w, const struct store_write *write)
{
	bool save = write->ops && write->ops->next; /* a single operation needs no undoing */
	int r = save ? step(w, SQL_SAVE) : 0;

	for (struct store_op *o = write->ops; o && r == 0; o = o->next)
		r = apply_one(w, o);
	if (!save || (r < 0 && !is_refusal(r)))
		return r;
	if (r < 0) {
		int undone = step(w, SQL_UNDO);

		if (undone < 0)
			return undone;
	}
	step(w, SQL_RELEASE);
	return r;
}

/* ---- the connection ---- */

static void close_db(struct writer *w)
{
	for (size_t i = 0; i < SQL_COUNT; i++) {
		sqlite3_finalize(w->statements[i]);
		w->statements[i] = NULL;
	}
	sqlite3_close(w->db);
	w->db = NULL;
}

static int open_db(struct store *s, struct err *e)
{
	struct writer *w = &s->writer;

	w->db = store_db_open(s->path, e);
	if (!w->db)
		return -EIO;
	for (size_t i = 0; i < SQL_COUNT; i++) {
		if (sqlite3_prepare_v3(w->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
			&w->statements[i], NULL) != SQLITE_OK) {
			err_set(e, EIO, "preparing \"%s\": %s", sql[i], sqlite3_errmsg(w->db));
			close_db(w);
			return -EIO;
		}
	}
	return 0;
}

/* After a failed transaction; a connection that saw an I/O error is made anew. */
static void recover(struct store *s)
{
	struct writer *w = &s->writer;
	struct err e = ERR_INIT;
	bool full = w->code == SQLITE_FULL;

	if (w->db && !sqlite3_get_autocommit(w->db))
		step(w, SQL_ROLLBACK);
	if (full && w->db && sqlite3_get_autocommit(w->db))
		return;
	log_error("store: a commit failed (SQLite error %d); opening the database anew", w->code);
	close_db(w);
	if (open_db(s, &e) < 0)
		log_error("store: %s", e.msg);
}

/* ---- committing ---- */

static int commit(struct store *s, struct list *batch)
{
	struct writer *w = &s->writer;
	struct err e = ERR_INIT;
	int r = w->db ? 0 : open_db(s, &e);

	if (r == 0)
		r = step(w, SQL_BEGIN);
	if (r < 0)
		return r;
	list_for_each (n, batch) {
		struct store_write *write = list_entry(n, struct store_write, node);

		write->result = apply(w, write);
		if (write->result < 0 && !is_refusal(write->result))
			return write->result;
	}
	return step(w, SQL_COMMIT);
}

/* The group failed as a whole: each write gets its own chance and its own result. */
static void commit_singly(struct store *s, struct list *batch)
{
	struct list one, done;

	list_init(&one);
	list_init(&done);
	while (!list_empty(batch)) {
		struct store_write *write = list_first(batch, struct store_write, node);
		int r;

		list_remove(&write->node);
		list_push_back(&one, &write->node);
		r = commit(s, &one);
		if (r < 0) {
			recover(s);
			write->result = r;
		}
		list_remove(&write->node);
		list_push_back(&done, &write->node);
	}
	while (!list_empty(&done)) {
		struct list *n = done.next;

		list_remove(n);
		list_push_back(batch, n);
	}
}

static void commit_group(struct store *s, struct list *batch)
{
	int r = commit(s, batch);

	if (r == 0)
		return;
	recover(s);
	if (r != -EIO && batch->next->next != batch) {
		commit_singly(s, batch);
		return;
	}
	list_for_each (n, batch)
		list_entry(n, struct store_write, node)->result = r;
}

static int on_wal(void *ctx, sqlite3 *db, const char *name, int frames)
{
	struct store *s = ctx;

	(void)db;
	(void)name;
	pthread_mutex_lock(&s->lock);
	s->wal_frames = frames;
	if (frames >= CHECKPOINT_FRAMES)
		pthread_cond_signal(&s->checkpoint);
	pthread_mutex_unlock(&s->lock);
	return SQLITE_OK;
}

static size_t take_batch(struct store *s, struct list *batch)
{
	size_t n = 0;

	while (!list_empty(&s->queued) && n < GROUP_MAX) {
		struct list *node = s->queued.next;

		list_remove(node);
		list_push_back(batch, node);
		n++;
	}
	return n;
}

/* With s->lock held. */
static void hand_back(struct store *s, struct list *batch)
{
	while (!list_empty(batch)) {
		struct list *node = batch->next;

		list_remove(node);
		list_push_back(&s->finished, node);
	}
	if (!s->posted && !s->stopping) {
		s->posted = true;
		loop_post(s->loop, &s->task);
	}
}

static void *write_thread(void *ctx)
{
	struct store *s = ctx;
	struct list batch;

	list_init(&batch);
	sqlite3_wal_hook(s->writer.db, on_wal, s);
	pthread_mutex_lock(&s->lock);
	for (;;) {
		bool finish;

		while (list_empty(&s->queued) && !s->stopping && !s->finish_log)
			pthread_cond_wait(&s->wake, &s->lock);
		finish = s->finish_log;
		s->finish_log = false;
		if (!take_batch(s, &batch) && s->stopping)
			break;
		pthread_mutex_unlock(&s->lock);
		if (finish && s->writer.db)
			sqlite3_wal_checkpoint_v2(
			    s->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		if (!list_empty(&batch))
			commit_group(s, &batch);
		if (s->writer.db)
			sqlite3_wal_hook(s->writer.db, on_wal, s); /* it may be a new one */
		pthread_mutex_lock(&s->lock);
		if (!list_empty(&batch))
			hand_back(s, &batch);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Copy the log, again while it grows a lot meanwhile; then leave the rest to the writer. */
static void copy_log(struct store *s, sqlite3 *db)
{
	int total = 0, copied = 0, r = SQLITE_OK;

	for (int i = 0; i < 4; i++) {
		r = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &total, &copied);
		if (r != SQLITE_OK)
			break;
		pthread_mutex_lock(&s->lock);
		total = s->wal_frames;
		pthread_mutex_unlock(&s->lock);
		if (total - copied < REST_FRAMES)
			break;
	}
	if (r != SQLITE_OK && r != SQLITE_BUSY)
		log_error("store: checkpoint: %s", sqlite3_errmsg(db));
	pthread_mutex_lock(&s->lock);
	s->finish_log = r == SQLITE_OK;
	s->wal_frames = 0;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

static void *checkpoint_thread(void *ctx)
{
	struct store *s = ctx;
	struct err e = ERR_INIT;
	sqlite3 *db = store_db_open(s->path, &e);

	if (!db)
		log_error("store: checkpointer: %s", e.msg);
	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		if (s->wal_frames < CHECKPOINT_FRAMES || !db) {
			pthread_cond_wait(&s->checkpoint, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		copy_log(s, db);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	sqlite3_close(db);
	return NULL;
}

int store_writer_start(struct store *s, struct err *e)
{
	int r = open_db(s, e);

	if (r < 0)
		return r;
	r = pthread_create(&s->writer.thread, NULL, write_thread, s);
	if (r) {
		close_db(&s->writer);
		return err_sys(e, r, "starting the writer thread");
	}
	r = pthread_create(&s->checkpointer, NULL, checkpoint_thread, s);
	check(r == 0); /* a thread was to be had a moment ago */
	return 0;
}

void store_writer_stop(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_cond_signal(&s->checkpoint);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->writer.thread, NULL);
	pthread_join(s->checkpointer, NULL);
	close_db(&s->writer);
}
