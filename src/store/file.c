/*
 * Writing files of the store. A file gathers chunks on the loop thread; when enough wait, or at the
 * seal, a job takes them all to a worker, which hashes and writes them: a small object costs one
 * job, a large one keeps one chunk list filling while the other is written. Names are numbers that
 * rise (microseconds of the wall clock), in 256 directories; a name is durable before the file is
 * reported, and what no row keeps is found by the sweep of the next start. See file.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "store/file.h"
#include "store/sqlite_int.h"

#define CHUNK_SIZE (128 * 1024 - 64)     /* below what malloc maps by itself */
#define JOB_BYTES (STORE_FILE_QUEUE / 2) /* worth a job */
#define FLUSH_BYTES (8u << 20) /* start writing back, so that the last sync finds little to do */

struct chunk {
	struct chunk *next;
	size_t len;
	char data[CHUNK_SIZE];
};

enum file_end { FILE_OPEN, FILE_SEAL, FILE_ABANDON };

struct store_file {
	struct store *store;
	void (*on_drain)(void *ctx);
	void (*on_sealed)(void *ctx, int result, const struct store_sealed *sealed);
	void *ctx;
	struct chunk *first, *last; /* filling */
	size_t queued;              /* bytes here and with the worker */
	enum file_end end;
	int error;
	bool working, paused;

	/* the worker's while `working` */
	struct loop_work work;
	struct chunk *job;
	size_t job_bytes;
	enum file_end job_end;
	int job_error;
	int fd;
	uint64_t id, size, flushed;
	struct store_hasher *hasher;
	struct store_hashes hashes;
};

void file_name(uint64_t id, char out[FILE_NAME_SIZE])
{
	snprintf(out, FILE_NAME_SIZE, "%02x/%016" PRIx64, (unsigned)(id & 0xff), id);
}

static uint64_t new_id(struct store *s)
{
	uint64_t now = (uint64_t)time_wall_us();
	uint64_t last = __atomic_load_n(&s->last_file, __ATOMIC_RELAXED), id;

	do {
		id = now > last ? now : last + 1;
	} while (!__atomic_compare_exchange_n(
	    &s->last_file, &last, id, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return id;
}

/* ---- on the worker ---- */

/* A clock that was set back can meet an old name: take the next one. */
static int create(struct store_file *f)
{
	char name[FILE_NAME_SIZE];

	do {
		f->id = new_id(f->store);
		file_name(f->id, name);
		f->fd = openat(f->store->files, name,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	} while (f->fd < 0 && errno == EEXIST);
	if (f->fd >= 0)
		return 0;
	f->id = 0;
	return -errno;
}

static int write_chunk(struct store_file *f, const struct chunk *c)
{
	size_t at = 0;

	while (at < c->len) {
		ssize_t n = pwrite(f->fd, c->data + at, c->len - at, (off_t)(f->size + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	f->size += c->len;
	return 0;
}

static int write_job(struct store_file *f)
{
	int r = 0;

	for (const struct chunk *c = f->job; c && r == 0; c = c->next) {
		if (f->fd < 0)
			r = create(f);
		if (r == 0)
			r = write_chunk(f, c);
		if (r == 0)
			store_hasher_add(f->hasher, c->data, c->len);
	}
	if (r == 0 && f->size - f->flushed >= FLUSH_BYTES) {
		sync_file_range(
		    f->fd, (off_t)f->flushed, (off_t)(f->size - f->flushed), SYNC_FILE_RANGE_WRITE);
		f->flushed = f->size;
	}
	return r;
}

static int sync_name(struct store *s, uint64_t id)
{
	char name[FILE_NAME_SIZE];
	_cleanup_close_ int dir = -1;

	file_name(id, name);
	name[2] = '\0';
	dir = openat(s->files, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 || fsync(dir) < 0 ? -errno : 0;
}

static void discard(struct store_file *f)
{
	char name[FILE_NAME_SIZE];

	if (f->fd < 0)
		return;
	file_name(f->id, name);
	unlinkat(f->store->files, name, 0);
	close(take_fd(&f->fd));
}

static int seal(struct store_file *f)
{
	int r = 0;

	store_hasher_end(take_ptr(f->hasher), &f->hashes);
	if (f->fd < 0)
		return 0;
	if (fdatasync(f->fd) < 0)
		r = -errno;
	if (r == 0)
		r = sync_name(f->store, f->id);
	if (r == 0)
		close(take_fd(&f->fd));
	return r;
}

static void run(struct loop_work *w)
{
	struct store_file *f = container_of(w, struct store_file, work);

	if (f->job_error == 0 && f->job_end != FILE_ABANDON)
		f->job_error = write_job(f);
	if (f->job_error == 0 && f->job_end == FILE_SEAL)
		f->job_error = seal(f);
	while (f->job) {
		struct chunk *c = f->job;

		f->job = c->next;
		free(c);
	}
	if (f->job_error < 0 || f->job_end == FILE_ABANDON)
		discard(f);
}

/* ---- on the loop ---- */

static void free_file(struct store_file *f)
{
	struct store *s = f->store;

	check(f->fd < 0);
	while (f->first) {
		struct chunk *c = f->first;

		f->first = c->next;
		free(c);
	}
	store_hasher_free(f->hasher);
	free(f);
	store_job_done(s);
}

static void start_job(struct store_file *f)
{
	f->job = f->first;
	f->first = f->last = NULL;
	f->job_bytes = f->queued;
	f->job_end = f->end;
	f->job_error = f->error;
	f->working = true;
	loop_work_start(f->store->loop, &f->work);
}

static void finish(struct store_file *f)
{
	struct store_sealed sealed = {f->id, f->size, f->hashes};

	if (f->end == FILE_SEAL && !f->store->closed)
		f->on_sealed(f->ctx, f->error, f->error ? NULL : &sealed);
	free_file(f);
}

static void job_done(struct loop_work *w)
{
	struct store_file *f = container_of(w, struct store_file, work);
	bool failed = f->job_error && !f->error;

	f->working = false;
	f->error = f->job_error;
	f->queued -= f->job_bytes;
	if (f->end != FILE_OPEN && f->job_end == f->end) {
		finish(f);
		return;
	}
	if (f->end != FILE_OPEN || f->queued >= JOB_BYTES)
		start_job(f);
	if (f->paused && f->end == FILE_OPEN && (f->queued < STORE_FILE_QUEUE / 2 || failed)) {
		f->paused = false;
		if (f->on_drain)
			f->on_drain(f->ctx);
	}
}

struct store_file *store_file_new(
    struct store *s, unsigned hashes, void (*on_drain)(void *ctx), void *ctx)
{
	struct store_file *f = xcalloc(1, sizeof(*f));

	f->store = s;
	f->on_drain = on_drain;
	f->ctx = ctx;
	f->fd = -1;
	f->hasher = store_hasher_new(hashes);
	f->work.run = run;
	f->work.done = job_done;
	s->jobs++;
	return f;
}

static void append(struct store_file *f, const char *data, size_t len)
{
	while (len) {
		size_t n;

		if (!f->last || f->last->len == CHUNK_SIZE) {
			struct chunk *c = xmalloc(sizeof(*c));

			c->next = NULL;
			c->len = 0;
			if (f->last)
				f->last->next = c;
			else
				f->first = c;
			f->last = c;
		}
		n = min_size(len, CHUNK_SIZE - f->last->len);
		memcpy(f->last->data + f->last->len, data, n);
		f->last->len += n;
		f->queued += n;
		data += n;
		len -= n;
	}
}

size_t store_file_write(struct store_file *f, const void *data, size_t len)
{
	check(f->end == FILE_OPEN);
	if (f->error)
		return 0; /* nothing waits, and nothing will be kept */
	append(f, data, len);
	if (!f->working && f->queued >= JOB_BYTES)
		start_job(f);
	if (f->queued >= STORE_FILE_QUEUE)
		f->paused = true;
	return f->queued;
}

int store_file_error(const struct store_file *f)
{
	return f->error;
}

void store_file_seal(struct store_file *f,
    void (*done)(void *ctx, int result, const struct store_sealed *sealed), void *ctx)
{
	check(f->end == FILE_OPEN);
	f->end = FILE_SEAL;
	f->on_sealed = done;
	f->ctx = ctx;
	if (!f->working)
		start_job(f);
}

void store_file_abandon(struct store_file *f)
{
	if (!f)
		return;
	check(f->end != FILE_ABANDON);
	f->end = FILE_ABANDON;
	if (f->working)
		return;
	if (f->fd < 0)
		free_file(f);
	else
		start_job(f);
}

/* ---- references ---- */

void store_file_keep(struct store_write *w, uint64_t id)
{
	store_add_file_op(w, OP_KEEP, id);
}

void store_file_share(struct store_write *w, uint64_t id)
{
	store_add_file_op(w, OP_SHARE, id);
}

void store_file_drop(struct store_write *w, uint64_t id)
{
	store_add_file_op(w, OP_DROP, id);
}

struct removal {
	struct loop_work work;
	struct store *store;
	size_t count;
	uint64_t ids[];
};

static void remove_files(struct loop_work *w)
{
	struct removal *m = container_of(w, struct removal, work);
	char name[FILE_NAME_SIZE];

	for (size_t i = 0; i < m->count; i++) {
		file_name(m->ids[i], name);
		if (unlinkat(m->store->files, name, 0) < 0 && errno != ENOENT)
			log_warn("store: removing file %s: %s", name, strerror(errno));
	}
}

static void removed(struct loop_work *w)
{
	struct removal *m = container_of(w, struct removal, work);

	store_job_done(m->store);
	free(m);
}

static struct removal *removal_new(struct store *s, size_t count)
{
	struct removal *m = xcalloc(1, sizeof(*m) + count * sizeof(m->ids[0]));

	m->store = s;
	m->work.run = remove_files;
	m->work.done = removed;
	return m;
}

static void start_removal(struct removal *m)
{
	m->store->jobs++;
	loop_work_start(m->store->loop, &m->work);
}

struct gift {
	struct loop_work work;
	struct store *store;
	uint64_t id;
	int dir, result;
	char *name;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void move_out(struct loop_work *w)
{
	struct gift *g = container_of(w, struct gift, work);
	char name[FILE_NAME_SIZE];

	file_name(g->id, name);
	if (renameat(g->store->files, name, g->dir, g->name) < 0 || fsync(g->dir) < 0) {
		g->result = -errno;
		unlinkat(g->store->files, name, 0);
	}
}

static void moved_out(struct loop_work *w)
{
	struct gift *g = container_of(w, struct gift, work);

	if (!g->store->closed)
		g->done(g->ctx, g->result);
	store_job_done(g->store);
	free(g->name);
	free(g);
}

void store_file_give(struct store *s, uint64_t id, int dir, const char *name,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct gift *g = xcalloc(1, sizeof(*g));

	*g = (struct gift){.work = {.run = move_out, .done = moved_out},
	    .store = s,
	    .id = id,
	    .dir = dir,
	    .name = xstrdup(name),
	    .done = done,
	    .ctx = ctx};
	s->jobs++;
	loop_work_start(s->loop, &g->work);
}

/* ---- files that are being read ---- */

struct held {
	unsigned count;
	bool doomed; /* dropped for good: the last one out removes it */
};

static struct str held_key(const uint64_t *id)
{
	return (struct str){(const char *)id, sizeof(*id)};
}

void store_files_hold(struct store *s, const struct store_extent *extents, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct held *h = map_get(&s->held, held_key(&extents[i].file));

		if (!h) {
			h = xcalloc(1, sizeof(*h));
			map_put(&s->held, held_key(&extents[i].file), h);
		}
		h->count++;
	}
}

void store_files_release(struct store *s, const struct store_extent *extents, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct held *h = map_get(&s->held, held_key(&extents[i].file));

		check(h);
		if (--h->count)
			continue;
		if (h->doomed)
			store_file_forget(s, extents[i].file);
		map_remove(&s->held, held_key(&extents[i].file));
		free(h);
	}
}

void files_dropped(struct store *s, const struct store_op *ops)
{
	struct removal *m;
	size_t n = 0;

	for (const struct store_op *o = ops; o; o = o->next)
		n += o->gone;
	if (!n)
		return;
	m = removal_new(s, n);
	for (const struct store_op *o = ops; o; o = o->next) {
		uint64_t id = (uint64_t)o->number;
		struct held *h = o->gone ? map_get(&s->held, held_key(&id)) : NULL;

		if (h)
			h->doomed = true;
		else if (o->gone)
			m->ids[m->count++] = id;
	}
	start_removal(m);
}

void store_file_forget(struct store *s, uint64_t id)
{
	struct removal *m;

	if (!id)
		return;
	m = removal_new(s, 1);
	m->ids[m->count++] = id;
	start_removal(m);
}

/* ---- start ---- */

static int newest_kept(struct store *s, uint64_t *ret, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int r = sqlite3_prepare_v2(s->reader, "SELECT max(id) FROM files", -1, &st, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_step(st);
	if (r == SQLITE_ROW)
		*ret = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return r == SQLITE_ROW ? 0
			       : err_set(e, EIO, "reading the files of the store: %s",
				     sqlite3_errmsg(s->reader));
}

int files_open(struct store *s, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/files", s->dir);
	uint64_t newest = 0, now = (uint64_t)time_wall_us();
	char name[3];

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "creating %s", path);
	s->files = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->files < 0)
		return err_sys(e, errno, "opening %s", path);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(name, sizeof(name), "%02x", i);
		if (mkdirat(s->files, name, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "creating %s/%s", path, name);
	}
	if (fsync(s->files) < 0)
		return err_sys(e, errno, "syncing %s", path);
	if (newest_kept(s, &newest, e) < 0)
		return -EIO;
	s->first_file = s->last_file = now > newest ? now : newest + 1;
	return 0;
}
