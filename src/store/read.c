/*
 * Reading keys on workers: each job takes a connection out of a small pool, so that readers wait
 * neither for each other nor for the writer. See store.h.
 */
#include "base/log.h"
#include "store/sqlite_int.h"

#define IDLE_READERS_MAX 8

/* ---- connections ---- */

static void close_reader(struct reader *r)
{
	sqlite3_finalize(r->get);
	sqlite3_finalize(r->walk);
	sqlite3_finalize(r->file);
	sqlite3_close(r->db);
	free(r);
}

static struct reader *open_reader(struct store *s)
{
	static const char get[] = "SELECT value, version FROM keys WHERE space = ?1 AND key = ?2";
	static const char walk[] = "SELECT key, value, version FROM keys "
				   "WHERE space = ?1 AND key >= ?2 ORDER BY key";
	static const char file[] = "SELECT 1 FROM files WHERE id = ?1";
	struct reader *r = xcalloc(1, sizeof(*r));
	struct err e = ERR_INIT;

	r->db = store_db_open(s->path, &e);
	if (r->db &&
	    (sqlite3_exec(r->db, "PRAGMA cache_size = -4096", NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_prepare_v3(r->db, get, -1, SQLITE_PREPARE_PERSISTENT, &r->get, NULL) !=
		    SQLITE_OK ||
		sqlite3_prepare_v3(r->db, walk, -1, SQLITE_PREPARE_PERSISTENT, &r->walk, NULL) !=
		    SQLITE_OK ||
		sqlite3_prepare_v3(r->db, file, -1, SQLITE_PREPARE_PERSISTENT, &r->file, NULL) !=
		    SQLITE_OK))
		err_set(&e, EIO, "%s", sqlite3_errmsg(r->db));
	if (!e.errnum)
		return r;
	log_error("store: a connection for reading: %s", e.msg);
	close_reader(r);
	return NULL;
}

struct reader *reader_take(struct store *s)
{
	struct reader *r;

	pthread_mutex_lock(&s->read_lock);
	r = list_last(&s->readers, struct reader, node);
	if (r) {
		list_remove(&r->node);
		s->idle_readers--;
	}
	pthread_mutex_unlock(&s->read_lock);
	return r ? r : open_reader(s);
}

void reader_give(struct store *s, struct reader *r)
{
	bool keep;

	pthread_mutex_lock(&s->read_lock);
	keep = s->idle_readers < IDLE_READERS_MAX;
	if (keep) {
		list_push_back(&s->readers, &r->node);
		s->idle_readers++;
	}
	pthread_mutex_unlock(&s->read_lock);
	if (!keep)
		close_reader(r);
}

void readers_close(struct store *s)
{
	while (!list_empty(&s->readers)) {
		struct reader *r = list_first(&s->readers, struct reader, node);

		list_remove(&r->node);
		close_reader(r);
	}
}

static void bind_key(sqlite3_stmt *st, const char *space, struct str key)
{
	sqlite3_bind_text(st, 1, space, -1, SQLITE_STATIC);
	sqlite3_bind_blob(st, 2, key.len ? key.ptr : "", (int)key.len, SQLITE_STATIC);
}

static struct str column(sqlite3_stmt *st, int i)
{
	const void *p = sqlite3_column_blob(st, i);

	return (struct str){p ? p : "", (size_t)sqlite3_column_bytes(st, i)};
}

static int read_errno(struct reader *r, int code)
{
	log_error("store: reading: %s", sqlite3_errmsg(r->db));
	return store_errno(code);
}

/* ---- one key ---- */

struct get {
	struct loop_work work;
	struct store *store;
	char *space;
	struct buf key, value;
	int64_t version;
	int result;
	void (*done)(void *ctx, int result, struct str value, int64_t version);
	void *ctx;
};

static void run_get(struct loop_work *w)
{
	struct get *g = container_of(w, struct get, work);
	struct reader *r = reader_take(g->store);
	int code;

	g->result = -EIO;
	if (!r)
		return;
	bind_key(r->get, g->space, buf_str(&g->key));
	code = sqlite3_step(r->get);
	if (code == SQLITE_ROW) {
		buf_append_str(&g->value, column(r->get, 0));
		g->version = sqlite3_column_int64(r->get, 1);
	}
	g->result = code == SQLITE_ROW ? 0 : code == SQLITE_DONE ? -ENOENT : read_errno(r, code);
	sqlite3_reset(r->get);
	reader_give(g->store, r);
}

static void get_done(struct loop_work *w)
{
	struct get *g = container_of(w, struct get, work);
	bool closed = g->store->closed;

	store_job_done(g->store);
	if (!closed)
		g->done(g->ctx, g->result, buf_str(&g->value), g->version);
	buf_done(&g->key);
	buf_done(&g->value);
	free(g->space);
	free(g);
}

void store_get(struct store *s, const char *space, struct str key,
    void (*done)(void *ctx, int result, struct str value, int64_t version), void *ctx)
{
	struct get *g = xcalloc(1, sizeof(*g));

	g->store = s;
	g->space = xstrdup(space);
	buf_append_str(&g->key, key);
	g->done = done;
	g->ctx = ctx;
	g->work.run = run_get;
	g->work.done = get_done;
	s->jobs++;
	loop_work_start(s->loop, &g->work);
}

/* ---- many keys ---- */

struct walk {
	struct loop_work work;
	struct store *store;
	char *space;
	struct buf from;
	int result;
	enum store_step (*visit)(
	    void *ctx, struct str key, struct str value, int64_t version, struct buf *seek);
	void (*done)(void *ctx, int result);
	void *ctx;
};

static int step_walk(struct walk *k, struct reader *r)
{
	int code;

	bind_key(r->walk, k->space, buf_str(&k->from));
	while ((code = sqlite3_step(r->walk)) == SQLITE_ROW) {
		struct buf seek = BUF_INIT;
		enum store_step step = k->visit(k->ctx, column(r->walk, 0), column(r->walk, 1),
		    sqlite3_column_int64(r->walk, 2), &seek);

		if (step == STORE_SEEK) {
			sqlite3_reset(r->walk);
			buf_done(&k->from);
			k->from = seek;
			bind_key(r->walk, k->space, buf_str(&k->from));
			continue;
		}
		buf_done(&seek);
		if (step == STORE_STOP)
			break;
	}
	sqlite3_reset(r->walk);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : read_errno(r, code);
}

static void run_walk(struct loop_work *w)
{
	struct walk *k = container_of(w, struct walk, work);
	struct reader *r = reader_take(k->store);

	k->result = -EIO;
	if (!r)
		return;
	/* One transaction, so that all steps see the same state. */
	if (sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK) {
		k->result = step_walk(k, r);
		sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
	}
	reader_give(k->store, r);
}

static void walk_done(struct loop_work *w)
{
	struct walk *k = container_of(w, struct walk, work);
	bool closed = k->store->closed;

	store_job_done(k->store);
	if (!closed)
		k->done(k->ctx, k->result);
	buf_done(&k->from);
	free(k->space);
	free(k);
}

void store_walk(struct store *s, const char *space, struct str from,
    enum store_step (*visit)(
	void *ctx, struct str key, struct str value, int64_t version, struct buf *seek),
    void (*done)(void *ctx, int result), void *ctx)
{
	struct walk *k = xcalloc(1, sizeof(*k));

	k->store = s;
	k->space = xstrdup(space);
	buf_append_str(&k->from, from);
	k->visit = visit;
	k->done = done;
	k->ctx = ctx;
	k->work.run = run_walk;
	k->work.done = walk_done;
	s->jobs++;
	loop_work_start(s->loop, &k->work);
}
