/*
 * Entry by entry from libarchive's tar reader to place.c. The tar is hashed as it is decompressed
 * (stream.c), so that one pass does all. See layer.h.
 */
#include "unpack/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/str.h"
#include "unpack/place.h"
#include "unpack/stream.h"

#define TAR_BLOCK 512

struct extraction {
	struct stream *stream;
	struct archive *tar;
	struct place *place;
	struct archive_entry *entry;
	uint64_t limit;
	uint32_t entries, left_out;
	bool padded; /* to a full block, behind the last byte */
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

	snprintf(text, sizeof(text), "the layer is larger than %" PRIu64 " MiB unpacked",
	    x->limit >> 20);
	return refuse(x->ret, EFBIG, text);
}

/* Names are the archive's: in messages only what is printable of them. */
static int refuse_entry(struct extraction *x, int errnum, const char *path, const char *why)
{
	char name[100];
	size_t n = 0;

	for (; path && path[n] && n + 1 < sizeof(name); n++)
		name[n] = (char)(path[n] >= ' ' && path[n] < 127 ? path[n] : '?');
	name[n] = '\0';
	x->ret->result = -errnum;
	snprintf(x->ret->text, sizeof(x->ret->text), "the layer's entry %s %s", name, why);
	return -errnum;
}

static int failed(struct extraction *x, int r, const char *path)
{
	switch (r) {
	case -ENOSPC:
	case -EDQUOT:
		return refuse(x->ret, ENOSPC, "no space left on the disk for the layer's files");
	case -EFBIG: return too_big(x);
	case -EINVAL: return refuse_entry(x, EINVAL, path, "has a path with '..'");
	case -ENAMETOOLONG: return refuse_entry(x, EINVAL, path, "has too long a path");
	case -ELOOP: return refuse_entry(x, EINVAL, path, "is too deep or behind a loop of links");
	case -ENOTEMPTY:
	case -EEXIST:
	case -EISDIR:
	case -ENOTDIR:
	case -ENOENT: return refuse_entry(x, EINVAL, path, "contradicts an earlier entry");
	default: return refuse_entry(x, r < 0 ? -r : EIO, path, strerror(r < 0 ? -r : EIO));
	}
}

/* ---- attributes ---- */

static bool attribute_kept(const char *name)
{
	if (strcmp(name, "security.capability") == 0)
		return true;
	return strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0;
}

static int set_attributes(void *ctx, int fd)
{
	struct archive_entry *entry = ((struct extraction *)ctx)->entry;
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !attribute_kept(name))
			continue;
		/* Disks without attributes are no reason to refuse an image; -EINVAL is what a
		 * malformed capability gets. */
		if (fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP && errno != EINVAL)
			return -errno;
	}
	return 0;
}

/* ---- files ---- */

static int write_at(int fd, const char *data, size_t len, int64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* 0, -errno of the disk, or 1: the archive is broken. */
static int copy_data(struct extraction *x, int fd)
{
	int64_t end = 0, at, size = archive_entry_size(x->entry);
	const void *data;
	size_t n;
	int r;

	if (size < 0 || (uint64_t)size > x->limit)
		return -EFBIG;
	while ((r = archive_read_data_block(x->tar, &data, &n, &at)) == ARCHIVE_OK) {
		if (at < 0 || (uint64_t)at > x->limit || n > x->limit - (uint64_t)at)
			return -EFBIG;
		r = write_at(fd, data, n, at);
		if (r < 0)
			return r;
		end = at + (int64_t)n > end ? at + (int64_t)n : end;
	}
	if (r != ARCHIVE_EOF)
		return 1;
	if (size > end && ftruncate(fd, size) < 0) /* a hole at the end */
		return -errno;
	return 0;
}

static int extract_file(struct extraction *x, const char *path, const struct place_facts *f)
{
	int fd = place_file(x->place, path, f), r;

	if (fd < 0)
		return failed(x, fd, path);
	r = copy_data(x, fd);
	if (r == 0) {
		r = place_file_end(x->place, fd, f);
	} else {
		close(fd);
		if (r == 1 && stream_error(x->stream) != -EFBIG)
			return refuse(x->ret, EINVAL, "the layer is broken or cut off");
		r = r == 1 ? -EFBIG : r;
	}
	return r < 0 ? failed(x, r, path) : 0;
}

/* ---- entries ---- */

static int extract_hard_link(struct extraction *x, const char *path, const char *link)
{
	char target[PLACE_PATH_MAX];
	int r = place_clean(link, target);

	if (r == 0)
		r = place_hard_link(x->place, path, target);
	if (r == -ENOENT || r == -ENOTDIR || r == -EPERM) {
		if (x->left_out) /* to a device, perhaps */
			return 0;
		return refuse_entry(
		    x, EINVAL, path, "is a hard link to what is not in the same layer");
	}
	return r < 0 ? failed(x, r, path) : 0;
}

/* 1: it was one; 0: it was none; below 0: refused. */
static int extract_whiteout(struct extraction *x, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char other[PLACE_PATH_MAX];
	size_t dir = (size_t)(name - path);
	int r;

	if (strncmp(name, ".wh.", 4) != 0)
		return 0;
	memcpy(other, path, dir);
	if (strcmp(name, ".wh..wh..opq") == 0) {
		other[dir ? dir - 1 : 0] = '\0';
		r = place_opaque(x->place, other);
	} else if (strncmp(name, ".wh..wh.", 8) == 0) {
		return 1; /* notes of aufs to itself */
	} else {
		name += 4;
		if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			return failed(x, -EINVAL, path);
		memcpy(other + dir, name, strlen(name) + 1);
		r = place_whiteout(x->place, other);
	}
	return r < 0 ? failed(x, r, path) : 1;
}

static int extract_as(struct extraction *x, const char *path, const struct place_facts *f)
{
	const char *link = archive_entry_hardlink(x->entry);
	int r;

	if (link)
		return extract_hard_link(x, path, link);
	switch (archive_entry_filetype(x->entry)) {
	case AE_IFREG: return extract_file(x, path, f);
	case AE_IFDIR: r = place_directory(x->place, path, f); break;
	case AE_IFLNK:
		link = archive_entry_symlink(x->entry);
		r = link && link[0] ? place_link(x->place, path, link, f) : -EINVAL;
		break;
	case AE_IFIFO: r = place_fifo(x->place, path, f); break;
	default: x->left_out++; return 0; /* containers have the devices that they are given */
	}
	return r < 0 ? failed(x, r, path) : 0;
}

static int extract_entry(struct extraction *x)
{
	struct archive_entry *entry = x->entry;
	const char *given = archive_entry_pathname(entry);
	int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	char path[PLACE_PATH_MAX];
	struct place_facts f = {.mode = archive_entry_perm(entry),
	    .mtime = {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)},
	    .on_made = set_attributes,
	    .ctx = x};
	int r;

	if (++x->entries > LAYER_ENTRIES_MAX)
		return refuse(x->ret, E2BIG, "the layer has more than 500000 entries");
	if (!given)
		given = archive_entry_pathname_utf8(entry);
	r = given ? place_clean(given, path) : -EINVAL;
	if (r < 0)
		return failed(x, r, given);
	if (!path[0])
		return 0; /* the root of a container is what the runtime makes it */
	if (uid < 0 || uid >= LAYER_IDS || gid < 0 || gid >= LAYER_IDS)
		return refuse_entry(x, EINVAL, path,
		    "belongs to a user or group above 65535, which containers do not have");
	f.uid = (uint32_t)uid;
	f.gid = (uint32_t)gid;
	r = extract_whiteout(x, path);
	if (r != 0)
		return r < 0 ? r : 0;
	return extract_as(x, path, &f);
}

static int broken(struct extraction *x)
{
	switch (stream_error(x->stream)) {
	case -EFBIG: return too_big(x);
	case -EIO: return refuse(x->ret, EIO, "the layer could not be read to its end");
	default: return refuse(x->ret, EINVAL, "the layer is broken or cut off, or not a tar");
	}
}

static int extract_all(struct extraction *x)
{
	int r;

	for (;;) {
		r = archive_read_next_header(x->tar, &x->entry);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN)
			return broken(x);
		r = extract_entry(x);
		if (r < 0)
			return r;
	}
	r = place_finish(x->place);
	return r < 0 ? failed(x, r, "(directories)") : 0;
}

static int verify(struct extraction *x, const uint8_t expected[WIRE_HASH_SIZE])
{
	uint8_t hash[WIRE_HASH_SIZE];
	char hex[2 * WIRE_HASH_SIZE + 1], text[200];

	if (stream_finish(x->stream, hash) < 0)
		return broken(x);
	if (memcmp(hash, expected, sizeof(hash)) == 0)
		return 0;
	hex_encode(hash, sizeof(hash), hex);
	snprintf(text, sizeof(text),
	    "the layer's contents are not what the image says: sha256:%s after decompression", hex);
	return refuse(x->ret, EBADMSG, text);
}

static const char zeros[TAR_BLOCK];

static la_ssize_t next_piece(struct archive *a, void *ctx, const void **ret)
{
	struct extraction *x = ctx;
	ssize_t n = x->padded ? 0 : stream_read(x->stream, ret);

	if (n < 0)
		archive_set_error(a, EINVAL, "decompression failed");
	if (n != 0 || x->padded)
		return n;
	/* umoci ends layers right behind the last file, without filling its block, and Docker takes
	 * them. The hash is of what came. */
	x->padded = true;
	*ret = zeros;
	return (TAR_BLOCK - (ssize_t)(stream_bytes(x->stream) % TAR_BLOCK)) % TAR_BLOCK;
}

void layer_extract(int fd, int root, const uint8_t expected[WIRE_HASH_SIZE], uint64_t limit_bytes,
    struct wire_outcome *ret)
{
	struct extraction x = {.stream = stream_new(fd, limit_bytes),
	    .tar = archive_read_new(),
	    .place = place_new(root),
	    .limit = limit_bytes,
	    .ret = ret};

	umask(0);
	memset(ret, 0, sizeof(*ret));
	check(x.tar);
	archive_read_support_format_tar(x.tar);
	if (archive_read_open(x.tar, &x, NULL, next_piece, NULL) < ARCHIVE_WARN)
		broken(&x);
	else if (extract_all(&x) == 0)
		verify(&x, expected);
	ret->size_bytes = stream_bytes(x.stream);
	archive_read_free(x.tar);
	place_free(x.place);
	stream_free(x.stream);
}
