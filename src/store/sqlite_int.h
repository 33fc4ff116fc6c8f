/*
 * Inside of the SQLite driver. sqlite.c: opening, reading, the callbacks on the loop thread;
 * sqlite_write.c: the writer thread, which alone owns the writing connection, and the
 * checkpointer. `lock` guards what is marked so; the reading connection has its own lock.
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "base/list.h"
#include "store/store.h"

enum op_kind { OP_PUT, OP_DELETE, OP_SEND, OP_REQUEUE, OP_REMOVE, OP_REQUIRE, OP_CLEAR };

struct store_op {
	struct store_op *next;
	enum op_kind kind;
	struct str space; /* or queue; this, key and value lie behind the struct */
	struct str key;   /* or id */
	struct str value; /* or body */
	int64_t number;   /* expected version, or due_ms */
	int64_t sent_ms;
	int attempts;
};

enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVE,
	SQL_RELEASE,
	SQL_UNDO,
	SQL_VERSION,
	SQL_PUT,
	SQL_DELETE,
	SQL_SEND,
	SQL_REQUEUE,
	SQL_REMOVE,
	SQL_REQUIRE,
	SQL_CLEAR,
	SQL_COUNT,
};

struct writer {
	pthread_t thread;
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_COUNT];
	int code; /* primary SQLite code of the last failure */
};

struct store {
	struct loop *loop;
	char *dir, *path;
	int blobs; /* directory descriptor */

	pthread_mutex_t lock;
	pthread_cond_t wake;       /* the writer: work or stop */
	pthread_cond_t checkpoint; /* the checkpointer: frames or stop */
	struct list queued;        /* lock: store_write */
	struct list finished;      /* lock: store_write, result set */
	bool stopping;             /* lock */
	bool posted;               /* lock: task is on its way */
	int wal_frames;            /* lock: in the log, not yet in the database */
	bool finish_log;           /* lock: the rest of the log is small, the writer copies it */
	struct loop_task task;

	struct writer writer;
	pthread_t checkpointer;

	pthread_mutex_t read_lock;
	sqlite3 *reader;
	unsigned jobs; /* loop thread: under way on workers */
	bool closed;   /* loop thread */
};

/* Open the database at path with our settings; NULL and e on failure. */
sqlite3 *store_db_open(const char *path, struct err *e);
int store_errno(int sqlite_code); /* -errno */

int store_writer_start(struct store *s, struct err *e);
void store_writer_stop(struct store *s); /* after the last queued write */
/* A job on a worker ended; frees the store if that was closed meanwhile. */
void store_job_done(struct store *s);
void store_write_done(struct store_write *w, int result);
