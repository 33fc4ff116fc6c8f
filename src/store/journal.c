/*
 * Journal: the writing side, its worker job and recovery. See journal.h.
 *
 * One job at a time runs on a worker. It gives segments that came from "next" their name, syncs
 * what was appended, cuts full segments to size and prepares the next one, so that the loop thread
 * as a rule makes no system call. If segments fill faster than that, the loop thread makes one.
 */
#include "store/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "store/crc.h"
#include "store/journal_int.h"

struct waiter {
	struct list node;
	uint64_t target;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void start_job(struct journal *j);

char *segment_path(const char *dir, uint64_t base)
{
	return xasprintf("%s/%016" PRIx64, dir, base);
}

struct segment *segment_ref(struct segment *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void segment_unref(struct segment *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (s->map)
		munmap(s->map, s->size);
	free(s);
}

bool record_intact(const char *map, size_t off)
{
	struct journal_record r;

	memcpy(&r, map + off, sizeof(r));
	return crc32c(map + off + sizeof(r), r.len) == r.crc;
}

static struct segment *segment_new(uint64_t base, size_t size, size_t used, char *map)
{
	struct segment *s = xcalloc(1, sizeof(*s));

	list_init(&s->node);
	s->refs = 1;
	s->base = base;
	s->size = size;
	s->used = used;
	s->map = map;
	s->named = true;
	return s;
}

/* Make sure that every byte of the file has its place on the disk, then map it. */
static int map_file(int fd, size_t size, char **ret_map)
{
	int r = posix_fallocate(fd, 0, (off_t)size);
	void *map;

	if (r)
		return -r;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

/*
 * Of a small disk a twentieth is left: half of one would be no use to anybody. The worker and the
 * loop may both look before either makes its segment, so that one segment less can be left.
 */
static bool has_room(const struct journal *j, size_t size)
{
	struct statvfs v;

	if (!j->options.room_kept || statvfs(j->dir, &v) < 0)
		return true;
	return (uint64_t)v.f_bavail * v.f_frsize >=
	       size + min_size(j->options.room_kept, (uint64_t)v.f_blocks * v.f_frsize / 20);
}

static int create_segment(const char *path, uint64_t base, size_t size, struct segment **ret)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct journal_header h = {.magic = JOURNAL_MAGIC, .base = base};
	char *map = NULL;
	int r;

	if (fd < 0)
		return -errno;
	r = map_file(fd, size, &map);
	if (r < 0) {
		unlink(path);
		return r == -EFBIG ? -ENOSPC : r;
	}
	memcpy(map, &h, sizeof(h));
	*ret = segment_new(base, size, JOURNAL_HEADER, map);
	return 0;
}

/* ---- the worker's job ---- */

static int sync_dir(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int name_segment(const char *dir, const struct segment *s)
{
	_cleanup_free_ char *from = xasprintf("%s/" JOURNAL_NEXT, dir);
	_cleanup_free_ char *to = segment_path(dir, s->base);

	return rename(from, to) < 0 ? -errno : 0;
}

static int sync_segment(const struct journal *j, const struct segment *s, bool closing)
{
	_cleanup_free_ char *path = NULL;
	size_t used = closing ? s->used : j->job_used;

	if (msync(s->map, used, MS_SYNC) < 0)
		return -errno;
	if (!closing)
		return 0;
	/* Readers stay within the last page of what is used: cutting behind it is safe. */
	path = segment_path(j->dir, s->base);
	if (truncate(path, (off_t)used) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static void run_job(struct loop_work *w)
{
	struct journal *j = container_of(w, struct journal, work);
	_cleanup_free_ char *next = NULL;
	int r = 0;

	for (size_t i = 0; i < j->job_count && r == 0; i++) {
		struct segment *s = j->job_segments[i];

		if (!segment_named(s)) {
			r = name_segment(j->dir, s);
			__atomic_store_n(&s->named, r == 0, __ATOMIC_RELEASE);
			j->job_dir = true;
		}
		if (r == 0)
			r = sync_segment(j, s, i + 1 < j->job_count);
	}
	if (j->job_dir && r == 0)
		r = sync_dir(j->dir);
	j->job_result = r;
	if (!j->job_next_size || r < 0)
		return;
	next = xasprintf("%s/" JOURNAL_NEXT, j->dir);
	if (has_room(j, j->job_next_size) &&
	    create_segment(next, 0, j->job_next_size, &j->job_next) == 0) {
		j->job_next->named = false;
		sync_dir(j->dir);
	}
}

static void finish_waiters(struct journal *j, int result)
{
	list_for_each_safe (n, &j->waiters) {
		struct waiter *w = list_entry(n, struct waiter, node);

		if (result == 0 && w->target > j->synced)
			continue;
		list_remove(n);
		w->done(w->ctx, result);
		free(w);
	}
}

/* A full segment that is on disk needs no mapping any more. */
static void retire(struct journal *j, struct segment *s)
{
	struct segment *plain = segment_new(s->base, s->used, s->used, NULL);

	j->disk_bytes -= s->size - s->used;
	list_insert_between(&plain->node, s->node.prev, s->node.next);
	list_init(&s->node);
	segment_unref(s);
}

static void free_journal(struct journal *j)
{
	list_for_each_safe (n, &j->segments) {
		list_remove(n);
		segment_unref(list_entry(n, struct segment, node));
	}
	segment_unref(j->next);
	segment_unref(j->job_next);
	free(j->job_segments);
	free(j->dir);
	free(j);
}

static void job_done(struct loop_work *w)
{
	struct journal *j = container_of(w, struct journal, work);

	for (size_t i = 0; i < j->job_count; i++) {
		struct segment *s = j->job_segments[i];

		/* dropped in the meantime: off the list */
		if (i + 1 < j->job_count && j->job_result == 0 && !list_empty(&s->node))
			retire(j, s);
		segment_unref(s);
	}
	j->job_count = 0;
	j->working = false;
	if (j->job_next) {
		j->next = j->job_next;
		j->disk_bytes += j->next->size;
		j->job_next = NULL;
	}
	if (j->closed) {
		free_journal(j);
		return;
	}
	if (j->job_result == 0)
		j->synced = j->job_end;
	else
		log_error("cannot sync the journal %s: %s; records may be lost if power fails",
		    j->dir, strerror(-j->job_result));
	finish_waiters(j, j->job_result);
	if (!list_empty(&j->waiters))
		start_job(j);
	else if ((j->dirty || j->job_result < 0) && j->options.sync_interval_ms > 0)
		loop_timer_set(j->loop, &j->timer, j->options.sync_interval_ms * 1000000);
}

static size_t grown_size(const struct journal *j)
{
	return min_size(max_size(j->active->size * 2, j->options.first_bytes),
	    max_size(j->options.segment_bytes, j->options.first_bytes));
}

static void start_job(struct journal *j)
{
	size_t n = 0;

	if (j->working)
		return;
	loop_timer_stop(j->loop, &j->timer);
	list_for_each (m, &j->segments)
		n += list_entry(m, struct segment, node)->map != NULL;
	j->job_segments = xrealloc(j->job_segments, n * sizeof(*j->job_segments));
	n = 0;
	list_for_each (m, &j->segments) {
		struct segment *s = list_entry(m, struct segment, node);

		if (s->map)
			j->job_segments[n++] = segment_ref(s);
	}
	j->job_count = n;
	j->job_used = j->active->used;
	j->job_end = j->active->base + j->active->used;
	j->job_dir = j->dir_dirty;
	j->job_next_size = !j->next && j->active->used > j->active->size / 2 ? grown_size(j) : 0;
	j->dirty = j->dir_dirty = false;
	j->working = true;
	j->work.run = run_job;
	j->work.done = job_done;
	loop_work_start(j->loop, &j->work);
}

static void on_timer(struct loop_timer *t)
{
	start_job(container_of(t, struct journal, timer));
}

/* ---- appending ---- */

static int roll(struct journal *j, size_t need)
{
	uint64_t base = j->active->base + j->active->used;
	struct segment *s = j->next;

	if (s && s->size >= need) {
		struct journal_header *h = (struct journal_header *)(void *)s->map;

		h->base = s->base = base; /* if we die before it is named, this names it */
		j->next = NULL;
	} else {
		_cleanup_free_ char *path = segment_path(j->dir, base);
		size_t size = max_size(grown_size(j), (need + 4095) & ~(size_t)4095);
		int r = has_room(j, size) ? create_segment(path, base, size, &s) : -ENOSPC;

		if (r < 0)
			return r;
		j->dir_dirty = true;
		j->disk_bytes += s->size;
	}
	list_push_back(&j->segments, &s->node);
	j->active = s;
	if (j->options.sync_interval_ms > 0)
		start_job(j);
	return 0;
}

uint64_t journal_segment(struct journal *j, size_t len)
{
	const struct segment *s = j->active;

	return record_size(len) <= s->size - s->used ? s->base : s->base + s->used;
}

int journal_reserve(struct journal *j, size_t len, void **ret_data, uint64_t *ret_at)
{
	check(!j->reserved);
	if (len == 0 || len > JOURNAL_RECORD_MAX)
		return -EMSGSIZE;
	if (unlikely(record_size(len) > j->active->size - j->active->used)) {
		int r = roll(j, JOURNAL_HEADER + record_size(len));

		if (r < 0)
			return r;
	}
	j->reserved = len;
	*ret_data = j->active->map + j->active->used + sizeof(struct journal_record);
	if (ret_at)
		*ret_at = j->active->base + j->active->used;
	return 0;
}

void journal_commit(struct journal *j)
{
	struct segment *s = j->active;
	struct journal_record *r = (struct journal_record *)(void *)(s->map + s->used);
	size_t half = s->size / 2;
	bool was_low = s->used <= half;

	check(j->reserved);
	r->crc = crc32c(r + 1, j->reserved);
	/* Last, so that a record is there whole or not at all whenever we are killed. */
	__atomic_store_n(&r->len, (uint32_t)j->reserved, __ATOMIC_RELEASE);
	s->used += record_size(j->reserved);
	j->reserved = 0;
	if (j->options.sync_interval_ms <= 0)
		return;
	if (!j->dirty && !j->working)
		loop_timer_set(j->loop, &j->timer, j->options.sync_interval_ms * 1000000);
	j->dirty = true;
	if (was_low && s->used > half && !j->next)
		start_job(j);
}

int journal_append(struct journal *j, const void *data, size_t len, uint64_t *ret_at)
{
	void *to;
	int r = journal_reserve(j, len, &to, ret_at);

	if (r < 0)
		return r;
	memcpy(to, data, len);
	journal_commit(j);
	return 0;
}

uint64_t journal_first(const struct journal *j)
{
	return list_first(&j->segments, struct segment, node)->base + JOURNAL_HEADER;
}

uint64_t journal_end(const struct journal *j)
{
	return j->active->base + j->active->used;
}

uint64_t journal_bytes(const struct journal *j)
{
	return j->disk_bytes;
}

uint64_t journal_drop(struct journal *j, uint64_t before)
{
	uint64_t freed = 0;

	list_for_each_safe (n, &j->segments) {
		struct segment *s = list_entry(n, struct segment, node);
		_cleanup_free_ char *path = NULL, *sum = NULL;

		if (s == j->active || s->base + s->used > before || !segment_named(s))
			break;
		path = segment_path(j->dir, s->base);
		sum = xasprintf("%s.sum", path);
		if (unlink(path) < 0 && errno != ENOENT) {
			log_warn("cannot remove %s: %s", path, strerror(errno));
			break;
		}
		unlink(sum);
		freed += s->size;
		list_remove(&s->node);
		segment_unref(s);
	}
	j->disk_bytes -= freed;
	return freed;
}

void journal_sync(struct journal *j, void (*done)(void *ctx, int result), void *ctx)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	w->target = journal_end(j);
	w->done = done;
	w->ctx = ctx;
	list_push_back(&j->waiters, &w->node);
	start_job(j);
}

/* ---- opening and closing ---- */

static size_t scan(const char *map, size_t size)
{
	size_t off = JOURNAL_HEADER, len;

	while ((len = record_at(map, size, off)) && record_intact(map, off))
		off += record_size(len);
	return off;
}

/* Where the valid records of a file end, and where it begins; 0 for a file that is none of ours. */
static size_t inspect(const char *path, uint64_t *ret_base, size_t *ret_size, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct journal_header h;
	struct stat st;
	size_t used;
	void *map;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, errno, "opening %s", path);
		return 0;
	}
	*ret_size = (size_t)st.st_size;
	if (st.st_size < JOURNAL_HEADER || pread(fd, &h, sizeof(h), 0) != sizeof(h) ||
	    memcmp(h.magic, JOURNAL_MAGIC, sizeof(h.magic)) != 0) {
		err_set(e, EINVAL, "%s is not a journal segment", path);
		return 0;
	}
	map = mmap(NULL, *ret_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err_sys(e, errno, "mapping %s", path);
		return 0;
	}
	used = scan(map, *ret_size);
	munmap(map, *ret_size);
	*ret_base = h.base;
	return used;
}

/* A prepared segment is worth keeping only if it was written to before it got its name. */
static int adopt_next(const char *dir, struct err *e)
{
	_cleanup_free_ char *from = xasprintf("%s/" JOURNAL_NEXT, dir), *to = NULL;
	struct err ignored = ERR_INIT;
	uint64_t base = 0;
	size_t size, used;

	if (access(from, F_OK) < 0)
		return 0;
	used = inspect(from, &base, &size, &ignored);
	if (used <= JOURNAL_HEADER || base == 0) {
		unlink(from);
		return 0;
	}
	to = segment_path(dir, base);
	if (rename(from, to) < 0)
		return err_sys(e, errno, "renaming %s", from);
	return sync_dir(dir);
}

static int is_segment(const struct dirent *d)
{
	return strlen(d->d_name) == 16 && strspn(d->d_name, "0123456789abcdef") == 16;
}

static int list_segments(struct journal *j, struct err *e)
{
	struct dirent **names = NULL;
	int n = scandir(j->dir, &names, is_segment, alphasort);
	struct segment *before = NULL;

	if (n < 0)
		return err_sys(e, errno, "reading %s", j->dir);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", j->dir, names[i]->d_name);
		uint64_t base = strtoull(names[i]->d_name, NULL, 16);
		struct segment *s;
		struct stat st;
		size_t size = stat(path, &st) == 0 ? (size_t)st.st_size : 0;

		free(names[i]);
		if (before)
			before->used = min_size(before->size, (size_t)(base - before->base));
		s = before = segment_new(base, size, size, NULL);
		list_push_back(&j->segments, &s->node);
		j->disk_bytes += size;
	}
	free(names);
	return 0;
}

/* Make the last segment writable again behind its last whole record. What a crash left there is
 * cut off, so that it cannot be taken for a record later. */
static int reopen_last(struct journal *j, struct segment *s, struct err *e)
{
	_cleanup_free_ char *path = segment_path(j->dir, s->base);
	_cleanup_close_ int fd = -1;
	uint64_t base = 0;
	size_t size = 0;
	int r;

	s->used = inspect(path, &base, &size, e);
	if (s->used == 0 || base != s->base)
		return s->used ? err_set(e, EINVAL, "%s holds another segment", path) : -EINVAL;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)s->used) < 0)
		return err_sys(e, errno, "recovering %s", path);
	s->size = size;
	r = map_file(fd, size, &s->map);
	if (r == -ENOSPC || r == -EFBIG) { /* read-only then; appending will report the full disk */
		s->size = s->used;
		r = map_file(fd, s->size, &s->map);
	}
	return r < 0 ? err_sys(e, -r, "recovering %s", path) : 0;
}

static int open_active(struct journal *j, struct err *e)
{
	struct segment *s = list_last(&j->segments, struct segment, node);
	_cleanup_free_ char *path = NULL;
	int r;

	if (s) {
		struct err why = ERR_INIT;
		size_t size = s->size;

		if (reopen_last(j, s, &why) == 0) {
			j->active = s;
			return 0;
		}
		/* Power failed before its header was on disk, as a rule: then it is empty. */
		log_error("%s; a new segment is begun behind it", why.msg);
		s->used = s->size = size;
	}
	path = segment_path(j->dir, s ? s->base + max_size(s->size, 1) : 0);
	r = create_segment(path, s ? s->base + max_size(s->size, 1) : 0,
	    max_size(j->options.first_bytes, 4096), &s);
	if (r < 0)
		return err_sys(e, -r, "creating %s", path);
	j->dir_dirty = true;
	j->disk_bytes += s->size;
	list_push_back(&j->segments, &s->node);
	j->active = s;
	return 0;
}

struct journal *journal_open(
    struct loop *l, const char *path, const struct journal_options *o, struct err *e)
{
	struct journal *j = xcalloc(1, sizeof(*j));

	j->loop = l;
	j->dir = xstrdup(path);
	j->options = *o;
	j->timer.on_due = on_timer;
	list_init(&j->segments);
	list_init(&j->waiters);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		err_sys(e, errno, "creating %s", path);
	else if (adopt_next(path, e) == 0 && list_segments(j, e) == 0 && open_active(j, e) == 0) {
		j->synced = journal_end(j);
		return j;
	}
	free_journal(j);
	return NULL;
}

void journal_close(struct journal *j)
{
	int r = 0;

	if (!j)
		return;
	loop_timer_stop(j->loop, &j->timer);
	list_for_each (n, &j->segments) {
		struct segment *s = list_entry(n, struct segment, node);

		if (s->map && s->base + s->used > j->synced && msync(s->map, s->used, MS_SYNC) < 0)
			r = -errno;
		/* else the job under way names it, or the next start does */
		if (!j->working && !segment_named(s))
			s->named = name_segment(j->dir, s) == 0;
	}
	if (j->dir_dirty)
		sync_dir(j->dir);
	j->synced = UINT64_MAX;
	finish_waiters(j, r);
	j->closed = true;
	if (!j->working)
		free_journal(j);
}
