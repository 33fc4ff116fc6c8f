/*
 * Starting a program inside a box: the record for box-init, the output pipe and, for framed
 * programs, the channel. Called by box.c.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/box_int.h"

#define OUTPUT_PIPE_BYTES (256 * 1024)

static struct init_record orders; /* 24 KB: too much for the stack; loop thread only */

static void on_output(struct loop_io *io, uint32_t events)
{
	(void)events;
	box_drain_output(container_of(io, struct box, output));
}

static int open_output(struct box *b, int *ret_write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* A larger pipe lets a chatty program run on while core is busy; less is fine too. */
	(void)fcntl(ends[1], F_SETPIPE_SZ, OUTPUT_PIPE_BYTES);
	(void)fd_nonblock(ends[0]);
	b->output = (struct loop_io){.fd = ends[0], .events = EPOLLIN, .on_ready = on_output};
	*ret_write_end = ends[1];
	return loop_io_add(b->owner->loop, &b->output);
}

static int add_string(struct init_record *r, const char *s, size_t len)
{
	if (len + 1 > INIT_STRINGS_MAX - r->string_bytes)
		return -E2BIG;
	memcpy(r->strings + r->string_bytes, s, len);
	r->strings[r->string_bytes + len] = '\0';
	r->string_bytes += (uint32_t)len + 1;
	return 0;
}

static int fill(struct init_record *r, const char *const *argv, struct str env, uint32_t env_count)
{
	int result = 0;

	for (; *argv && result == 0; argv++, r->argc++)
		result = add_string(r, *argv, strlen(*argv));
	if (result < 0 || env.len > INIT_STRINGS_MAX - r->string_bytes)
		return -E2BIG;
	memcpy(r->strings + r->string_bytes, env.ptr, env.len);
	r->string_bytes += (uint32_t)env.len;
	r->envc = env_count;
	return 0;
}

int start_program(struct box *b, const char *const *argv, struct str env, uint32_t env_count)
{
	struct init_record *record = &orders;
	_cleanup_close_ int output = -1, theirs = -1;
	int pair[2], r, pass[2];
	bool framed = b->program->framed;

	*record = (struct init_record){.kind = INIT_START};
	r = fill(record, argv, env, env_count);
	if (r < 0)
		return r;
	r = open_output(b, &output);
	if (r < 0)
		return r;
	if (framed) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return -errno;
		theirs = pair[1];
		(void)fd_nonblock(pair[0]);
		b->runtime = runtime_channel_new(b->owner->loop, pair[0], &box_runtime_handler, b);
	}
	pass[0] = output;
	pass[1] = theirs;
	return fd_send_fds(b->fds[WIRE_FD_CONTROL], record,
	    INIT_RECORD_SHORT + record->string_bytes, pass, framed ? 2 : 1, MSG_DONTWAIT);
}

int start_order(struct box *b, enum init_kind kind)
{
	struct init_record *record = &orders;

	*record = (struct init_record){.kind = kind};
	return fd_send_fds(
	    b->fds[WIRE_FD_CONTROL], record, INIT_RECORD_SHORT, NULL, 0, MSG_DONTWAIT);
}
