/* Reading files of the store, hashing them again, and sweeping away those that no row keeps. See
 * file.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "store/file.h"
#include "store/sqlite_int.h"

#define HASH_PIECE (256 * 1024)
#define HASH_SHARE (8u << 20) /* of one turn on a worker */

int store_file_open(struct store *s, uint64_t id)
{
	char name[FILE_NAME_SIZE];
	int fd;

	file_name(id, name);
	fd = openat(s->files, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Whole, unless the file is shorter than its rows say. */
static int read_piece(struct store *s, uint64_t id, uint64_t offset, char *data, size_t len)
{
	_cleanup_close_ int fd = store_file_open(s, id);

	if (fd < 0)
		return fd;
	while (len) {
		ssize_t n = pread(fd, data, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t store_file_read(struct store *s, const struct store_extent *extents, size_t count,
    uint64_t offset, void *data, size_t len)
{
	size_t got = 0;

	for (size_t i = 0; i < count && got < len; i++) {
		const struct store_extent *x = &extents[i];
		size_t n;
		int r;

		if (offset >= x->length) {
			offset -= x->length;
			continue;
		}
		n = x->length - offset < len - got ? (size_t)(x->length - offset) : len - got;
		r = read_piece(s, x->file, x->offset + offset, (char *)data + got, n);
		if (r < 0)
			return r;
		got += n;
		offset = 0;
	}
	return (ssize_t)got;
}

/* ---- hashing ---- */

struct hash_job {
	struct loop_work work;
	struct store *store;
	struct store_extent *extents;
	size_t count;
	size_t next; /* extent, and how far in it */
	uint64_t at;
	struct store_hasher *hasher;
	int result;
	struct store_hashes hashes;
	void (*done)(void *ctx, int result, const struct store_hashes *h);
	void *ctx;
};

/* Hash on in the next extent, at most `most` bytes. The bytes, or -errno. */
static ssize_t hash_extent(struct hash_job *j, char *piece, size_t most)
{
	const struct store_extent *x = &j->extents[j->next];
	_cleanup_close_ int fd = store_file_open(j->store, x->file);
	size_t got = 0;

	if (fd < 0)
		return fd;
	while (j->at < x->length && got < most) {
		size_t want = min_size(x->length - j->at, HASH_PIECE);
		ssize_t n = pread(fd, piece, want, (off_t)(x->offset + j->at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		store_hasher_add(j->hasher, piece, (size_t)n);
		j->at += (uint64_t)n;
		got += (size_t)n;
	}
	if (j->at >= x->length) {
		j->next++;
		j->at = 0;
	}
	return (ssize_t)got;
}

/* A share: gigabytes at once would keep everybody else from the workers. */
static void run_hash(struct loop_work *w)
{
	struct hash_job *j = container_of(w, struct hash_job, work);
	_cleanup_free_ char *piece = xmalloc(HASH_PIECE);
	size_t got = 0;

	while (j->next < j->count && got < HASH_SHARE && j->result == 0) {
		ssize_t n = hash_extent(j, piece, HASH_SHARE - got);

		if (n < 0)
			j->result = (int)n;
		else
			got += (size_t)n;
	}
}

static void hash_done(struct loop_work *w)
{
	struct hash_job *j = container_of(w, struct hash_job, work);
	bool closed = j->store->closed;

	if (j->next < j->count && j->result == 0 && !closed) {
		loop_work_start(j->store->loop, &j->work);
		return;
	}
	store_hasher_end(j->hasher, &j->hashes);
	store_job_done(j->store);
	if (!closed)
		j->done(j->ctx, j->result, j->result ? NULL : &j->hashes);
	free(j->extents);
	free(j);
}

void store_file_hash(struct store *s, const struct store_extent *extents, size_t count,
    unsigned hashes, void (*done)(void *ctx, int result, const struct store_hashes *h), void *ctx)
{
	struct hash_job *j = xcalloc(1, sizeof(*j));

	j->store = s;
	j->extents = xcalloc(max_size(count, 1), sizeof(*extents));
	if (count)
		memcpy(j->extents, extents, count * sizeof(*extents));
	j->count = count;
	j->hasher = store_hasher_new(hashes);
	j->done = done;
	j->ctx = ctx;
	j->work.run = run_hash;
	j->work.done = hash_done;
	s->jobs++;
	loop_work_start(s->loop, &j->work);
}

/* ---- sweeping: one directory a job ---- */

static bool is_kept(struct reader *r, uint64_t id)
{
	bool kept;

	sqlite3_bind_int64(r->file, 1, (int64_t)id);
	kept = sqlite3_step(r->file) != SQLITE_DONE; /* when in doubt, keep */
	sqlite3_reset(r->file);
	return kept;
}

static void sweep_directory(struct store *s, struct reader *r, int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *d;
	unsigned removed = 0;

	if (!dir) {
		close(fd);
		return;
	}
	while ((d = readdir(dir))) {
		unsigned char raw[8];
		uint64_t id = 0;

		if (strlen(d->d_name) != 16 || !hex_decode(str_from(d->d_name), raw, sizeof(raw)))
			continue;
		for (size_t i = 0; i < sizeof(raw); i++)
			id = id << 8 | raw[i];
		if (id < s->first_file && !is_kept(r, id) && unlinkat(fd, d->d_name, 0) == 0)
			removed++;
	}
	if (removed)
		log_info("store: removed %u unfinished files of a former life", removed);
	closedir(dir);
}

static void run_sweep(struct loop_work *w)
{
	struct store *s = container_of(w, struct store, sweep);
	struct reader *r = reader_take(s);
	char name[3];
	int fd;

	if (!r)
		return;
	snprintf(name, sizeof(name), "%02x", s->sweep_next & 0xff);
	fd = openat(s->files, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		sweep_directory(s, r, fd);
	reader_give(s, r);
}

static void sweep_done(struct loop_work *w)
{
	struct store *s = container_of(w, struct store, sweep);

	if (!s->closed && ++s->sweep_next < 256)
		loop_work_start(s->loop, &s->sweep);
	else
		store_job_done(s);
}

void store_files_sweep(struct store *s)
{
	check(!s->sweep.run);
	s->sweep.run = run_sweep;
	s->sweep.done = sweep_done;
	s->jobs++;
	loop_work_start(s->loop, &s->sweep);
}
