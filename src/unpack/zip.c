/*
 * Extraction of a zip file. libarchive reads and writes; what may be written is decided here,
 * entry by entry, and counted in bytes really produced, not in what headers claim. See zip.h.
 */
#include "unpack/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 65536

static const char not_a_zip[] =
    "Could not unzip uploaded file. Please check your file, then try to upload again.";

struct extraction {
	struct archive *in, *out;
	uint64_t limit, written;
	uint32_t entries;
	struct wire_outcome *ret;
};

static int refuse(struct wire_outcome *ret, int errnum, const char *text)
{
	ret->result = -errnum;
	snprintf(ret->text, sizeof(ret->text), "%s", text);
	return -errnum;
}

static int too_big(struct extraction *x)
{
	char text[96];

	snprintf(
	    text, sizeof(text), "Unzipped size must be smaller than %" PRIu64 " bytes", x->limit);
	return refuse(x->ret, EFBIG, text);
}

/* ---- names ---- */

/* Walk the components of `path`: how deep it ends, starting at `depth`; -1 when it ever leaves. */
static int walk(const char *path, int depth)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			if (--depth < 0)
				return -1;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			depth++;
		}
		if (n > 255)
			return -1;
		path += n + (path[n] == '/');
	}
	return depth;
}

static bool has_dots(const char *path)
{
	for (const char *p = path; (p = strstr(p, "..")); p += 2)
		if ((p == path || p[-1] == '/') && (p[2] == '\0' || p[2] == '/'))
			return true;
	return false;
}

bool zip_path_ok(const char *path)
{
	int depth = walk(path, 0);

	if (path[0] == '/' || has_dots(path) || strlen(path) >= ZIP_NAME_MAX)
		return false;
	return depth >= 0 && depth <= ZIP_DEPTH_MAX;
}

/* Upwards only at the start: behind a name, which may be a link itself, ".." can lead anywhere. */
bool zip_link_ok(const char *path, const char *target)
{
	int depth = walk(path, 0) - 1;

	if (target[0] == '\0' || target[0] == '/' || strlen(target) >= ZIP_NAME_MAX)
		return false;
	for (; strncmp(target, "../", 3) == 0; target += 3)
		depth--;
	if (strcmp(target, "..") == 0)
		return depth > 0;
	return depth >= 0 && !has_dots(target);
}

/* ---- entries ---- */

/* 1: skip it (the root itself); 0: write it; below 0: refused, and said so. */
static int judge(struct extraction *x, struct archive_entry *entry)
{
	const char *path = archive_entry_pathname(entry), *link = archive_entry_symlink(entry);
	mode_t type = archive_entry_filetype(entry);

	if (++x->entries > ZIP_ENTRIES_MAX)
		return refuse(x->ret, E2BIG, "The zip file has more than 100000 entries.");
	if (!path || !zip_path_ok(path))
		return refuse(x->ret, EINVAL,
		    "The zip file has an entry with an absolute path, '..' or a name that is too "
		    "long.");
	if (walk(path, 0) == 0)
		return 1;
	if (archive_entry_hardlink(entry))
		return refuse(x->ret, EINVAL, "The zip file has a hard link.");
	if (type == AE_IFLNK) {
		if (!link || !zip_link_ok(path, link))
			return refuse(x->ret, EINVAL,
			    "The zip file has a symbolic link that leads out of it.");
		return 0;
	}
	if (type != AE_IFREG && type != AE_IFDIR)
		return refuse(
		    x->ret, EINVAL, "The zip file has an entry that is no file or directory.");
	return 0;
}

/* Readable by every box, writable by nobody but its owner; only the executable bit is kept. */
static void normalise(struct archive_entry *entry)
{
	mode_t type = archive_entry_filetype(entry);
	bool open = type == AE_IFDIR || (archive_entry_perm(entry) & 0111);

	archive_entry_set_perm(entry, open ? 0755 : 0644);
	archive_entry_set_uid(entry, getuid());
	archive_entry_set_gid(entry, getgid());
	archive_entry_unset_size(entry); /* a header's claim: we count */
	archive_entry_acl_clear(entry);
	archive_entry_xattr_clear(entry);
	archive_entry_set_fflags(entry, 0, 0);
}

static int copy_data(struct extraction *x)
{
	static char block[BLOCK];
	la_ssize_t n;

	while ((n = archive_read_data(x->in, block, sizeof(block))) > 0) {
		if ((uint64_t)n > x->limit - x->written)
			return too_big(x);
		x->written += (uint64_t)n;
		if (archive_write_data(x->out, block, (size_t)n) != n)
			return refuse(x->ret, EIO, "The unpacked code could not be written.");
	}
	return n < 0 ? refuse(x->ret, EINVAL, not_a_zip) : 0;
}

static int extract_entry(struct extraction *x, struct archive_entry *entry)
{
	int r = judge(x, entry);

	if (r != 0)
		return r < 0 ? r : 0;
	normalise(entry);
	if (archive_write_header(x->out, entry) < ARCHIVE_WARN)
		return refuse(x->ret, EINVAL,
		    "The zip file has entries that contradict each other or too long a name.");
	if (archive_entry_filetype(entry) == AE_IFREG) {
		r = copy_data(x);
		if (r < 0)
			return r;
	}
	if (archive_write_finish_entry(x->out) < ARCHIVE_WARN)
		return refuse(x->ret, EIO, "The unpacked code could not be written.");
	return 0;
}

static int extract_all(struct extraction *x)
{
	struct archive_entry *entry;
	int r;

	for (;;) {
		r = archive_read_next_header(x->in, &entry);
		if (r == ARCHIVE_EOF)
			return x->entries ? 0
					  : refuse(x->ret, EINVAL,
						"Uploaded file must be a non-empty zip");
		if (r < ARCHIVE_WARN)
			return refuse(x->ret, EINVAL, not_a_zip);
		if (archive_entry_is_encrypted(entry))
			return refuse(x->ret, EINVAL, not_a_zip);
		r = extract_entry(x, entry);
		if (r < 0)
			return r;
	}
}

void zip_extract(int archive, uint64_t limit_bytes, struct wire_outcome *ret)
{
	struct extraction x = {.limit = limit_bytes, .ret = ret};
	const int flags = ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
			  ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
			  ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;

	umask(0022);
	memset(ret, 0, sizeof(*ret));
	x.in = archive_read_new();
	x.out = archive_write_disk_new();
	check(x.in && x.out);
	archive_read_support_format_zip_seekable(x.in);
	archive_write_disk_set_options(x.out, flags);
	if (archive_read_open_fd(x.in, archive, BLOCK) != ARCHIVE_OK)
		refuse(ret, EINVAL, not_a_zip);
	else
		extract_all(&x);
	/* Closing writes the times and modes of directories. */
	if (archive_write_close(x.out) < ARCHIVE_WARN && ret->result == 0)
		refuse(ret, EIO, "The unpacked code could not be written.");
	ret->size_bytes = x.written;
	archive_write_free(x.out);
	archive_read_free(x.in);
}
