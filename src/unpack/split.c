/* See split.h. */
#include "unpack/split.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>

#include "base/fd.h"
#include "unpack/place.h"
#include "unpack/stream.h"

struct splitting {
	struct stream *stream;
	struct archive *tar;
	int output;
	struct wire_outcome *ret;
};

static int refuse(struct wire_outcome *ret, int errnum, const char *text)
{
	ret->result = -errnum;
	snprintf(ret->text, sizeof(ret->text), "%s", text);
	return -errnum;
}

static int broken(struct splitting *s)
{
	switch (stream_error(s->stream)) {
	case -EFBIG: return refuse(s->ret, EFBIG, "the archive is too large");
	case -EIO: return refuse(s->ret, EIO, "the archive could not be read to its end");
	default:
		return refuse(s->ret, EINVAL,
		    "this is no archive of images (docker save, OCI), or it is broken");
	}
}

static int put(struct splitting *s, const void *data, size_t len)
{
	if (fd_write_full(s->output, data, len) < 0)
		return refuse(s->ret, EPIPE, "reading the archive was given up");
	return 0;
}

static int put_head(struct splitting *s, const char *name, const char *link)
{
	const struct wire_member head = {(uint32_t)strlen(name), link ? (uint32_t)strlen(link) : 0};
	int r = put(s, &head, sizeof(head));

	if (r == 0)
		r = put(s, name, head.name_len);
	if (r == 0 && head.link_len)
		r = put(s, link, head.link_len);
	return r;
}

static int put_data(struct splitting *s)
{
	static char piece[sizeof(uint32_t) + WIRE_PIECE_MAX];
	la_ssize_t n;

	for (;;) {
		uint32_t len;
		int r;

		n = archive_read_data(s->tar, piece + sizeof(len), WIRE_PIECE_MAX);
		if (n < 0)
			return broken(s);
		len = (uint32_t)n;
		memcpy(piece, &len, sizeof(len));
		r = put(s, piece, sizeof(len) + len);
		if (r < 0 || n == 0)
			return r;
	}
}

/* Links of docker save are relative to where they are: told as they are. */
static int split_entry(struct splitting *s, struct archive_entry *entry)
{
	const char *given = archive_entry_pathname(entry);
	const char *link = archive_entry_hardlink(entry);
	bool file = archive_entry_filetype(entry) == AE_IFREG;
	char name[PLACE_PATH_MAX];
	int r;

	if (!given || place_clean(given, name) < 0 || strlen(name) > WIRE_NAME_MAX)
		return refuse(s->ret, EINVAL, "the archive has a name with '..' or too long a one");
	/* A hard link is told as a link from the top. */
	if (link && (strlen(link) >= WIRE_NAME_MAX || !link[0]))
		return refuse(s->ret, EINVAL, "the archive has too long a link");
	if (link) {
		char top[WIRE_NAME_MAX + 2];

		snprintf(top, sizeof(top), "%s%s", link[0] == '/' ? "" : "/", link);
		return put_head(s, name, top);
	}
	if (archive_entry_filetype(entry) == AE_IFLNK) {
		link = archive_entry_symlink(entry);
		if (!link || !link[0] || strlen(link) > WIRE_NAME_MAX)
			return refuse(s->ret, EINVAL, "the archive has too long a link");
		return put_head(s, name, link);
	}
	if (!file || !name[0])
		return 0;
	r = put_head(s, name, NULL);
	return r < 0 ? r : put_data(s);
}

static la_ssize_t next_piece(struct archive *a, void *ctx, const void **ret)
{
	struct splitting *s = ctx;
	ssize_t n = stream_read(s->stream, ret);

	if (n < 0)
		archive_set_error(a, EINVAL, "decompression failed");
	return n;
}

static void split_all(struct splitting *s)
{
	struct archive_entry *entry;
	unsigned entries = 0;
	int r = 0;

	while (r == 0) {
		r = archive_read_next_header(s->tar, &entry);
		if (r == ARCHIVE_EOF)
			return;
		if (r < ARCHIVE_WARN)
			r = broken(s);
		else if (++entries > SPLIT_ENTRIES_MAX)
			r = refuse(s->ret, E2BIG, "the archive has more than 100000 entries");
		else
			r = split_entry(s, entry);
	}
}

void split_archive(int fd, int output, uint64_t limit_bytes, struct wire_outcome *ret)
{
	struct splitting s = {.stream = stream_new(fd, limit_bytes),
	    .tar = archive_read_new(),
	    .output = output,
	    .ret = ret};
	uint8_t hash[WIRE_HASH_SIZE];

	memset(ret, 0, sizeof(*ret));
	check(s.tar);
	archive_read_support_format_tar(s.tar);
	if (archive_read_open(s.tar, &s, NULL, next_piece, NULL) < ARCHIVE_WARN)
		broken(&s);
	else
		split_all(&s);
	/* Whoever writes must not find the pipe closed before the padding at the end. */
	if (ret->result == 0 && stream_finish(s.stream, hash) < 0)
		broken(&s);
	ret->size_bytes = stream_bytes(s.stream);
	archive_read_free(s.tar);
	stream_free(s.stream);
}
