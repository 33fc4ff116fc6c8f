/* Answering with an object's bytes: straight from its file to the socket. */
#include <unistd.h>

#include "service/s3/read_int.h"

/* The first piece with bytes from `from` on; *from becomes the place in it. */
static size_t piece_at(const struct object *o, uint64_t *from)
{
	size_t i = 0;

	while (i < o->extent_count && *from >= o->extents[i].length)
		*from -= o->extents[i++].length;
	return i;
}

int read_send(
    struct call *c, const struct object *o, uint64_t from, uint64_t length, unsigned status)
{
	struct store *store = s3_of(c)->options.store;
	const struct store_extent *x;
	int fd;

	call_status(c, status);
	if (length == 0) {
		call_reply(c, 0, NULL);
		return 0;
	}
	x = &o->extents[piece_at(o, &from)];
	if (x == o->extents + o->extent_count)
		return -EIO;
	fd = store_file_open(store, x->file);
	if (fd < 0)
		return fd;
	if (from + length > x->length) {
		close(fd);
		return -EOPNOTSUPP;
	}
	call_reply_file(c, fd, x->offset + from, length);
	return 0;
}
