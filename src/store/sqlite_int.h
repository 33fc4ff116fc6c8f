/*
 * Inside of the SQLite driver. sqlite.c: opening, reading, the callbacks on the loop thread;
 * sqlite_write.c: the writer thread, which alone owns the writing connection, and the
 * checkpointer. `lock` guards what is marked so; the reading connection has its own lock.
 */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "base/list.h"
#include "base/map.h"
#include "store/store.h"

enum op_kind {
	OP_PUT,
	OP_DELETE,
	OP_SEND,
	OP_REQUEUE,
	OP_REMOVE,
	OP_REQUIRE,
	OP_CLEAR,
	OP_KEEP,
	OP_SHARE,
	OP_DROP
};

struct store_op {
	struct store_op *next;
	enum op_kind kind;
	struct str space; /* or queue; this, key and value lie behind the struct */
	struct str key;   /* or id */
	struct str value; /* or body */
	int64_t number;   /* expected version, or due_ms, or a file's id */
	int64_t sent_ms;
	int attempts;
	bool gone; /* OP_DROP: that was the last reference */
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
	SQL_KEEP,
	SQL_SHARE,
	SQL_DROP,
	SQL_GONE,
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
	int blobs, files;    /* directory descriptors */
	uint64_t last_file;  /* atomic: the newest id given to a file */
	uint64_t first_file; /* of this start */

	pthread_mutex_t lock;
	pthread_cond_t wake;       /* the writer: work or stop */
	pthread_cond_t checkpoint; /* the checkpointer: frames or stop */
	struct list gathered;      /* loop thread: store_write of this turn */
	struct loop_task hand_over;
	struct list queued;   /* lock: store_write */
	struct list finished; /* lock: store_write, result set */
	bool stopping;        /* lock */
	bool posted;          /* lock: task is on its way */
	int wal_frames;       /* lock: in the log, not yet in the database */
	bool finish_log;      /* lock: the rest of the log is small, the writer copies it */
	struct loop_task task;
	struct list results; /* loop thread: taken from finished, not yet told */
	struct loop_task tell_rest;

	struct writer writer;
	pthread_t checkpointer;

	pthread_mutex_t read_lock;
	sqlite3 *reader;
	struct list readers;   /* read_lock: idle ones, see read.c */
	unsigned idle_readers; /* read_lock */
	struct map held;       /* loop thread: id -> struct held, see file.c */
	struct loop_work sweep;
	unsigned sweep_next; /* directory */
	unsigned jobs;       /* loop thread: under way on workers */
	bool closed;         /* loop thread */
};

/* Open the database at path with our settings; NULL and e on failure. */
sqlite3 *store_db_open(const char *path, struct err *e);
int store_errno(int sqlite_code); /* -errno */

/* What was gathered goes to the writer. Loop thread. */
void store_hand_over(struct store *s);
int store_writer_start(struct store *s, struct err *e);
void store_writer_stop(struct store *s); /* after the last queued write */
/* A job on a worker ended; frees the store if that was closed meanwhile. */
void store_job_done(struct store *s);
void store_write_done(struct store_write *w, int result);
/* An operation on a file, behind those that w has. */
void store_add_file_op(struct store_write *w, enum op_kind kind, uint64_t id);

/* ---- read.c: connections of workers ---- */

struct reader {
	struct list node;
	sqlite3 *db;
	sqlite3_stmt *get, *walk, *file;
};

/* Blocking: workers. NULL when none can be opened. */
struct reader *reader_take(struct store *s);
void reader_give(struct store *s, struct reader *r);
void readers_close(struct store *s);

/* ---- file.c ---- */

int files_open(struct store *s, struct err *e);
/* Unlink on a worker what the drops among these operations left without a reference. */
void files_dropped(struct store *s, const struct store_op *ops);
#define FILE_NAME_SIZE 24
void file_name(uint64_t id, char out[FILE_NAME_SIZE]);
