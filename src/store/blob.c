/*
 * Blobs: one file each in blobs/, named by the SHA-256 of its bytes. Written on a worker under a
 * temporary name and renamed when durable, so a blob is there whole or not at all. See store.h.
 */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/sqlite_int.h"

struct blob_put {
	struct loop_work work;
	struct store *store;
	char name[65];
	struct str data;
	int result;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static bool is_name(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

static void write_blob(struct loop_work *w)
{
	struct blob_put *b = container_of(w, struct blob_put, work);

	if (faccessat(b->store->blobs, b->name, F_OK, 0) == 0)
		b->result = 0;
	else
		b->result = fd_write_file(b->store->blobs, b->name, b->data.ptr, b->data.len, 0600);
}

static void put_done(struct loop_work *w)
{
	struct blob_put *b = container_of(w, struct blob_put, work);

	store_job_done(b->store);
	b->done(b->ctx, b->result);
	free(b);
}

void store_blob_put(struct store *s, const char sha256_hex[65], struct str data,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct blob_put *b = xcalloc(1, sizeof(*b));

	check(is_name(sha256_hex));
	b->store = s;
	memcpy(b->name, sha256_hex, sizeof(b->name));
	b->data = data;
	b->done = done;
	b->ctx = ctx;
	b->work.run = write_blob;
	b->work.done = put_done;
	s->jobs++;
	loop_work_start(s->loop, &b->work);
}

int store_blob_open(struct store *s, const char sha256_hex[65])
{
	int fd;

	if (!is_name(sha256_hex))
		return -EINVAL;
	fd = openat(s->blobs, sha256_hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int store_blob_delete(struct store *s, const char sha256_hex[65])
{
	if (!is_name(sha256_hex))
		return -EINVAL;
	return unlinkat(s->blobs, sha256_hex, 0) < 0 ? -errno : 0;
}

int store_blob_each(struct store *s, void (*fn)(void *ctx, const char *sha256_hex), void *ctx)
{
	int fd = openat(s->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((d = readdir(dir))) {
		if (is_name(d->d_name))
			fn(ctx, d->d_name);
		else if (d->d_type == DT_REG)
			unlinkat(fd, d->d_name, 0); /* half written when we last died */
	}
	closedir(dir);
	return 0;
}
