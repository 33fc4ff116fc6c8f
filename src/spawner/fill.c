/* See fill.h. Run in a child, before the container is there: nothing changes meanwhile. Links are
 * copied, never followed; devices, sockets and pipes are left out. */
#include "spawner/fill.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

#define BYTES_MAX (INT64_C(16) << 30)
#define ENTRIES_MAX 200000
#define DEPTH_MAX 128

struct fill {
	int64_t bytes;
	unsigned entries, depth;
};

static int fill_dir(struct fill *f, int from, int to);

static int take_over(int to, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0 ||
	    futimens(to, times) < 0)
		return -errno;
	return 0;
}

static int fill_file(struct fill *f, int from, int to, const char *name)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC),
			    out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;

	if (in < 0 || out < 0 || fstat(in, &st) < 0)
		return -errno;
	f->bytes += st.st_size;
	if (f->bytes > BYTES_MAX)
		return -EFBIG;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(out, in, NULL, (size_t)left);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		left -= n;
	}
	return take_over(out, &st);
}

static int fill_link(int from, int to, const char *name, const struct stat *st)
{
	char target[4096];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int fill_below(struct fill *f, int from, int to, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int in = openat(from, name, flags), out = -1;
	int r;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, flags);
	if (out < 0)
		return -errno;
	if (++f->depth > DEPTH_MAX)
		return -ELOOP;
	r = fill_dir(f, in, out);
	f->depth--;
	return r;
}

static int fill_entry(struct fill *f, int from, int to, const char *name)
{
	struct stat st;

	if (++f->entries > ENTRIES_MAX)
		return -EFBIG;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR: return fill_below(f, from, to, name);
	case S_IFREG: return fill_file(f, from, to, name);
	case S_IFLNK: return fill_link(from, to, name, &st);
	}
	return 0;
}

static int fill_dir(struct fill *f, int from, int to)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	struct stat st;

	if (!d)
		return -errno;
	while (r == 0 && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = fill_entry(f, from, to, entry->d_name);
	closedir(d);
	if (r == 0)
		r = fstat(from, &st) < 0 ? -errno : take_over(to, &st);
	return r;
}

int fill_tree(int from, int to, struct err *e)
{
	struct fill f = {0};
	int r = fill_dir(&f, from, to);

	if (r == -EFBIG)
		return err_set(e, EFBIG,
		    "what the image has there is too much for a new volume: 16 GiB in %d entries "
		    "at "
		    "most",
		    ENTRIES_MAX);
	return r < 0 ? err_sys(e, -r, "filling a new volume from the image") : 0;
}
