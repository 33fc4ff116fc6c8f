/* Deterministic zips over libarchive. See zip.h. */
#include "cli/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#define FILES_MAX 50000
#define DEPTH_MAX 64
#define EPOCH 315532800 /* 1980-01-01, the first date that a zip can hold */

struct names {
	char **items;
	size_t count;
};

static void names_done(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->items[i]);
	free(n->items);
}

static bool is_left_out(const char *name, bool top)
{
	static const char *const never[] = {".", "..", ".git", "__pycache__", ".DS_Store"};

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		if (!strcmp(name, never[i]))
			return true;
	}
	return top && (!strcmp(name, "mayfly.json") || !strncmp(name, "template.y", 10) ||
			  !strcmp(name, "template.json"));
}

static int walk(int root, const char *prefix, int depth, struct names *n, struct err *e);

static int add_name(
    int root, const char *prefix, const char *name, int depth, struct names *n, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s%s%s", prefix, *prefix ? "/" : "", name);
	struct stat st;

	if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "looking at %s", path);
	if (S_ISDIR(st.st_mode))
		return walk(root, path, depth + 1, n, e);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return err_set(
		    e, EINVAL, "%s is neither a file nor a directory; move it away", path);
	if (n->count == FILES_MAX)
		return err_set(e, EFBIG, "more than %d files", FILES_MAX);
	n->items = xrealloc(n->items, (n->count + 1) * sizeof(*n->items));
	n->items[n->count++] = take_ptr(path);
	return 0;
}

static int walk(int root, const char *prefix, int depth, struct names *n, struct err *e)
{
	int fd = openat(root, *prefix ? prefix : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!d) {
		r = err_sys(e, errno, "reading directory %s", *prefix ? prefix : ".");
		base_closep(&fd);
		return r;
	}
	if (depth > DEPTH_MAX)
		r = err_set(e, EFBIG, "more than %d directories deep", DEPTH_MAX);
	while (r == 0 && (entry = readdir(d))) {
		if (!is_left_out(entry->d_name, depth == 0))
			r = add_name(root, prefix, entry->d_name, depth, n, e);
	}
	closedir(d);
	return r;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t len)
{
	struct buf *b = ctx;

	if (buf_len(b) + len > ZIP_MAX) {
		archive_set_error(a, EFBIG, "the zip is larger than 50 MB");
		return -1;
	}
	buf_append(b, data, len);
	return (la_ssize_t)len;
}

static int archive_failed(struct archive *a, const char *name, struct err *e)
{
	const char *why = archive_error_string(a);
	int errnum = archive_errno(a);

	return err_set(e, errnum > 0 ? errnum : EIO, "packing %s: %s", name, why ? why : "failed");
}

static int write_link(
    struct archive *a, struct archive_entry *entry, int root, const char *name, struct err *e)
{
	char target[4096];
	ssize_t n = readlinkat(root, name, target, sizeof(target) - 1);

	if (n < 0)
		return err_sys(e, errno, "reading link %s", name);
	target[n] = '\0';
	archive_entry_set_filetype(entry, AE_IFLNK);
	archive_entry_set_perm(entry, 0777);
	archive_entry_set_symlink(entry, target);
	return archive_write_header(a, entry) ? archive_failed(a, name, e) : 0;
}

static int write_file(struct archive *a, struct archive_entry *entry, int root, const char *name,
    bool executable, struct err *e)
{
	_cleanup_buf_ struct buf data = BUF_INIT;
	/* Code may be 250 MB unpacked; more is refused by the server anyway. */
	int r = fd_read_file(root, name, 256 << 20, &data);

	if (r < 0)
		return err_sys(e, -r, "reading %s", name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, executable ? 0755 : 0644);
	archive_entry_set_size(entry, (la_int64_t)buf_len(&data));
	if (archive_write_header(a, entry) ||
	    archive_write_data(a, buf_str(&data).ptr, buf_len(&data)) != (la_ssize_t)buf_len(&data))
		return archive_failed(a, name, e);
	return 0;
}

static int write_entry(struct archive *a, int root, const char *name, struct err *e)
{
	struct archive_entry *entry = archive_entry_new();
	struct stat st;
	int r;

	check(entry);
	archive_entry_set_pathname(entry, name);
	archive_entry_set_mtime(entry, EPOCH, 0);
	if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_sys(e, errno, "looking at %s", name);
	else if (S_ISLNK(st.st_mode))
		r = write_link(a, entry, root, name, e);
	else
		r = write_file(a, entry, root, name, st.st_mode & 0111, e);
	archive_entry_free(entry);
	return r;
}

static int write_all(int root, const struct names *n, struct buf *ret, struct err *e)
{
	struct archive *a = archive_write_new();
	int r = 0;

	check(a);
	archive_write_set_format_zip(a);
	archive_write_set_bytes_in_last_block(a, 1);
	if (archive_write_open(a, ret, NULL, on_write, NULL))
		r = archive_failed(a, "the zip", e);
	for (size_t i = 0; r == 0 && i < n->count; i++)
		r = write_entry(a, root, n->items[i], e);
	if (r == 0 && archive_write_close(a))
		r = archive_failed(a, "the zip", e);
	archive_write_free(a);
	return r;
}

int zip_make(const char *dir, struct buf *ret, size_t *ret_files, struct err *e)
{
	_cleanup_close_ int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(names_done) struct names n = {NULL, 0};
	int r;

	if (root < 0)
		return err_sys(e, errno, "opening %s", dir);
	r = walk(root, "", 0, &n, e);
	if (r < 0)
		return r;
	if (!n.count)
		return err_set(e, ENOENT, "there are no files in %s", dir);
	qsort(n.items, n.count, sizeof(*n.items), by_bytes);
	/* A zip holds local time, and libarchive asks the time zone for it. */
	setenv("TZ", "UTC0", 1);
	tzset();
	*ret_files = n.count;
	return write_all(root, &n, ret, e);
}
