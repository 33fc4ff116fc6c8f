/*
 * Answers from files: the head, then sendfile(2) from the page cache to the socket, a bounded
 * amount a turn so that other connections get theirs. A small file is read behind its head and
 * leaves with it in one call. Called by handlers (http_reply_file) and from the frames of conn.c.
 */
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "http/http_int.h"

#define FILE_TURN (1u << 20) /* bytes of a file sent per turn */
#define SMALL_MAX 16384      /* copying these is cheaper than a system call more */

void conn_file_done(struct http_conn *c)
{
	if (c->file >= 0)
		close(take_fd(&c->file));
	if (c->pieces) {
		c->pieces->free(c->pieces);
		c->pieces = NULL;
	}
}

static void end(struct http_conn *c, bool whole)
{
	conn_file_done(c);
	if (whole)
		conn_answered(c);
	else
		conn_close(c); /* the client sees fewer bytes than it was promised */
}

/* What comes after this turn, so that reading it from disk does not hold up the next one. */
static void read_ahead(const struct http_conn *c)
{
	if (c->file_left > FILE_TURN)
		posix_fadvise(c->file, (off_t)c->file_offset + FILE_TURN,
		    (off_t)min_size(c->file_left - FILE_TURN, FILE_TURN), POSIX_FADV_WILLNEED);
}

/* One turn's share. Returns false when the file or the socket has failed. */
static bool send_share(struct http_conn *c)
{
	size_t want = min_size(c->file_left, FILE_TURN);
	off_t offset = (off_t)c->file_offset;
	ssize_t n;

	read_ahead(c);
	n = sendfile(c->io.fd, c->file, &offset, want);
	if (n < 0)
		return !conn_send_failed(n);
	if (n == 0)
		return false; /* the file is shorter than it was */
	c->file_offset += (size_t)n;
	c->file_left -= (size_t)n;
	conn_wait(c, WAIT_SEND);
	return true;
}

/* Go to the next file when one is all sent. */
static bool next_piece(struct http_conn *c)
{
	int r;

	if (c->file_left || !c->pieces_left)
		return true;
	if (c->file >= 0)
		close(take_fd(&c->file));
	r = c->pieces->next(c->pieces, &c->file, &c->file_offset, &c->file_left);
	if (r < 0 || c->file_left == 0)
		return false;
	if (c->file_left > c->pieces_left)
		c->file_left = c->pieces_left;
	c->pieces_left -= c->file_left;
	return true;
}

void conn_file_send(struct http_conn *c)
{
	bool fine = !c->broken && next_piece(c);

	if (fine && !buf_len(&c->out)) {
		c->blocked = false;
		fine = send_share(c);
	}
	if (!fine || (!c->file_left && !c->pieces_left)) {
		end(c, fine);
		return;
	}
	/* The socket is full, or others have their turn first: EPOLLOUT tells in both cases. */
	c->blocked = true;
	if (!c->busy)
		conn_settle(c);
}

static bool read_whole(struct buf *b, int fd, uint64_t offset, size_t len)
{
	ssize_t n = 0;

	for (buf_reserve(b, len); len; len -= (size_t)n, offset += (size_t)n) {
		n = pread(fd, b->mem + b->end, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return false;
		buf_commit(b, (size_t)n);
	}
	return true;
}

void http_reply_file(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, int fd, uint64_t offset, uint64_t length)
{
	struct http_conn *c = conn_to_answer(r);
	struct buf *b;
	bool whole = true;

	check(fd >= 0 && length <= INT64_MAX && offset <= INT64_MAX - length);
	status = conn_final_status(status);
	c->keep = r->keep_alive && !c->body_unread && conn_can_continue(c);
	c->file = fd;
	b = conn_put_head(c, status, headers, header_count,
	    status == 204 || status == 304 ? HTTP_NO_LENGTH : (int64_t)length);
	if (conn_answer_has_no_body(c, status))
		length = 0;
	conn_drop_request(c);
	c->phase = CONN_FILE;
	if (length <= SMALL_MAX) {
		whole = read_whole(b, fd, offset, length);
		if (whole)
			conn_send(c, buf_str(b), STR_NULL);
		end(c, whole);
		return;
	}
	c->file_offset = offset;
	c->file_left = length;
	conn_send_more(c, buf_str(b));
	conn_file_send(c);
}

void http_reply_pieces(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct http_pieces *p, uint64_t length)
{
	struct http_conn *c = conn_to_answer(r);
	struct buf *b;

	check(length <= INT64_MAX);
	status = conn_final_status(status);
	c->keep = r->keep_alive && !c->body_unread && conn_can_continue(c);
	b = conn_put_head(c, status, headers, header_count,
	    status == 204 || status == 304 ? HTTP_NO_LENGTH : (int64_t)length);
	if (conn_answer_has_no_body(c, status))
		length = 0;
	conn_drop_request(c);
	c->phase = CONN_FILE;
	c->pieces = p;
	c->pieces_left = length;
	c->file_left = 0;
	if (length == 0) {
		conn_send(c, buf_str(b), STR_NULL);
		end(c, true);
		return;
	}
	conn_send_more(c, buf_str(b));
	conn_file_send(c);
}
