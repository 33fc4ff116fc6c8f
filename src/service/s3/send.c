/* Answering with an object's bytes: straight from its files to the socket. */
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

/* ---- an object of several files ---- */

struct pieces {
	struct http_pieces base;
	struct store *store;
	const struct object *object;
	size_t next;
	uint64_t from; /* in the next one */
	int fd;        /* the first one, opened while the client could still be told; or -1 */
};

static int next_piece(
    struct http_pieces *base, int *ret_fd, uint64_t *ret_offset, uint64_t *ret_length)
{
	struct pieces *p = container_of(base, struct pieces, base);
	const struct store_extent *x = &p->object->extents[p->next];
	int fd = take_fd(&p->fd);

	if (p->next == p->object->extent_count)
		return -EIO;
	if (fd < 0)
		fd = store_file_open(p->store, x->file);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	*ret_offset = x->offset + p->from;
	*ret_length = x->length - p->from;
	p->next++;
	p->from = 0;
	return 0;
}

static void free_pieces(struct http_pieces *base)
{
	struct pieces *p = container_of(base, struct pieces, base);

	base_closep(&p->fd);
	store_files_release(p->store, p->object->extents, p->object->extent_count);
	object_unref(p->object);
	free(p);
}

static void send_pieces(
    struct call *c, const struct object *o, size_t first, uint64_t from, uint64_t length, int fd)
{
	struct pieces *p = xcalloc(1, sizeof(*p));

	p->base = (struct http_pieces){next_piece, free_pieces};
	p->store = s3_of(c)->options.store;
	p->object = object_ref(o);
	p->next = first;
	p->from = from;
	p->fd = fd;
	store_files_hold(p->store, o->extents, o->extent_count);
	call_reply_pieces(c, &p->base, length);
}

int read_send(
    struct call *c, const struct object *o, uint64_t from, uint64_t length, unsigned status)
{
	const struct store_extent *x;
	size_t first;
	int fd;

	call_status(c, status);
	if (length == 0) {
		call_reply(c, 0, NULL);
		return 0;
	}
	first = piece_at(o, &from);
	if (first == o->extent_count)
		return -EIO;
	x = &o->extents[first];
	fd = store_file_open(s3_of(c)->options.store, x->file);
	if (fd < 0)
		return fd;
	if (from + length > x->length)
		send_pieces(c, o, first, from, length, fd);
	else
		call_reply_file(c, fd, x->offset + from, length);
	return 0;
}
