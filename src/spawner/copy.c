/* Small copies of host files. See copy.h. */
#include "spawner/copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define FILE_LIMIT (2 << 20)
#define DEPTH_LIMIT 3

static int create(const char *to)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd;
}

int copy_file(const char *from, const char *to, struct err *e)
{
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK), out = -1;
	struct stat st;

	if (in < 0)
		return errno == ENOENT || errno == EACCES ? 0
							  : err_sys(e, errno, "opening %s", from);
	if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_LIMIT)
		return 0;
	out = create(to);
	if (out < 0)
		return err_sys(e, -out, "making %s", to);
	while (st.st_size > 0) {
		ssize_t n = sendfile(out, in, NULL, (size_t)st.st_size);

		if (n <= 0)
			return err_sys(e, n < 0 ? errno : EIO, "copying %s", from);
		st.st_size -= n;
	}
	return 0;
}

int copy_text(const char *text, const char *to, struct err *e)
{
	_cleanup_close_ int out = create(to);
	int r = out < 0 ? out : fd_write_full(out, text, strlen(text));

	return r < 0 ? err_sys(e, -r, "writing %s", to) : 0;
}

static int copy_link(const char *from, const char *to, struct err *e)
{
	char target[4096];
	ssize_t n = readlink(from, target, sizeof(target) - 1);

	if (n < 0)
		return err_sys(e, errno, "reading link %s", from);
	target[n] = '\0';
	return symlink(target, to) < 0 ? err_sys(e, errno, "making link %s", to) : 0;
}

static int copy_dir(const char *from, const char *to, int depth, struct err *e);

static int copy_entry(const char *from, const char *to, int depth, struct err *e)
{
	struct stat st;

	if (lstat(from, &st) < 0)
		return 0;
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, e);
	if (S_ISDIR(st.st_mode))
		return depth < DEPTH_LIMIT ? copy_dir(from, to, depth + 1, e) : 0;
	/* What others may not read on the host does not get into a box. */
	if (S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
		return copy_file(from, to, e);
	return 0;
}

static int copy_dir(const char *from, const char *to, int depth, struct err *e)
{
	DIR *d = opendir(from);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return 0;
	if (mkdir(to, 0755) < 0 && errno != EEXIST)
		r = err_sys(e, errno, "making %s", to);
	while (r == 0 && (entry = readdir(d))) {
		_cleanup_free_ char *source = NULL, *target = NULL;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		source = xasprintf("%s/%s", from, entry->d_name);
		target = xasprintf("%s/%s", to, entry->d_name);
		r = copy_entry(source, target, depth, e);
	}
	closedir(d);
	return r;
}

int copy_tree(const char *from, const char *to, struct err *e)
{
	return copy_dir(from, to, 0, e);
}
