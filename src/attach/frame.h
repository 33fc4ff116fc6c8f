/*
 * The protocol "mayfly-stream": what is spoken on a connection after `Upgrade: mayfly-stream`, by
 * POST /_mayfly/tasks/ID/exec and /attach. Frames both ways, nothing else:
 *
 *   1 byte kind, 4 bytes length of the data (most significant first), the data
 *
 *   client to server
 *     1 STDIN       1 to 65536 bytes, no more than there is credit for
 *     2 STDIN_END   empty; once, no STDIN after it
 *     3 RESIZE      rows, columns: 2 bytes each; of a terminal, else ignored
 *   server to client
 *     16 STDOUT, 17 STDERR   1 to 65536 bytes; all of a terminal is STDOUT
 *     18 CREDIT     4 bytes: so many more bytes of STDIN may be sent. There is none at first, and
 *                   none ever for a process without stdin
 *     19 EXIT       4 bytes, signed: the exit code of an exec'd process; the last frame
 *     20 ERROR      up to 1024 bytes of text for a person: the stream broke; the last frame
 *     21 END        empty: all the output of a container has been sent; the last frame. How it
 * ended is in the task's record
 *
 * Numbers are big-endian. Credit keeps RESIZE from being stuck behind input that nobody reads, and
 * bounds what the server holds of it. Whoever breaks a rule is disconnected. A client that goes
 * away closes the process's streams, as pulling the plug of a terminal does: with a terminal the
 * kernel hangs up on its processes; without one stdin ends and output goes nowhere. What heeds
 * neither goes on, as with `docker exec`; a container whose attached client is gone goes on, too.
 *
 * The other direction needs no credit: a client that does not read holds its process back.
 */
#pragma once

#include "base/buf.h"

#define ATTACH_PROTOCOL "mayfly-stream"
#define ATTACH_FRAME_HEAD 5
#define ATTACH_FRAME_MAX 65536 /* bytes of data */
#define ATTACH_WINDOW 65536    /* the most credit that is ever outstanding */
#define ATTACH_ERROR_MAX 1024

enum attach_kind {
	ATTACH_STDIN = 1,
	ATTACH_STDIN_END,
	ATTACH_RESIZE,
	ATTACH_STDOUT = 16,
	ATTACH_STDERR,
	ATTACH_CREDIT,
	ATTACH_EXIT,
	ATTACH_ERROR,
	ATTACH_END,
};

struct attach_frame {
	enum attach_kind kind;
	struct str data; /* where it was received */
};

/* Cut the first frame off *in. 1: there is one; 0: some of it has yet to come, *in is as it was;
 * -EPROTO: no such kind, or a length that this kind cannot have. No more than a frame's head and
 * ATTACH_FRAME_MAX bytes need be kept for it. */
int attach_frame_next(struct str *in, struct attach_frame *ret);
/* data is at most ATTACH_FRAME_MAX bytes. */
void attach_frame_put(struct buf *out, enum attach_kind kind, struct str data);
void attach_frame_put_u32(struct buf *out, enum attach_kind kind, uint32_t n);
void attach_frame_put_size(struct buf *out, uint16_t rows, uint16_t columns);
uint32_t attach_frame_u32(const struct attach_frame *f);
void attach_frame_size(const struct attach_frame *f, uint16_t *ret_rows, uint16_t *ret_columns);
