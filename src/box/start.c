/*
 * Starting a program inside a box: the record for box-init and, for framed programs, the
 * channel. Called by box.c.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/box_int.h"

static struct init_record orders; /* 24 KB: too much for the stack; loop thread only */

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
	_cleanup_close_ int output = -1, events = -1, answers = -1;
	struct runtime_channel_fds ours;
	int r, pass[3];
	bool framed = b->program->framed;

	*record = (struct init_record){.kind = INIT_START};
	r = fill(record, argv, env, env_count);
	if (r < 0)
		return r;
	r = output_open(b, &output);
	if (r < 0)
		return r;
	if (framed) {
		r = runtime_channel_pairs(&ours, &pass[1]);
		if (r < 0)
			return r;
		events = pass[1];
		answers = pass[2];
		b->runtime = runtime_channel_new(b->owner->loop, &ours, &box_runtime_handler, b);
	}
	pass[0] = output;
	return fd_send_fds(b->fds[WIRE_FD_CONTROL], record,
	    INIT_RECORD_SHORT + record->string_bytes, pass, framed ? 3 : 1, MSG_DONTWAIT);
}

int start_order(struct box *b, enum init_kind kind)
{
	struct init_record *record = &orders;

	*record = (struct init_record){.kind = kind};
	return fd_send_fds(
	    b->fds[WIRE_FD_CONTROL], record, INIT_RECORD_SHORT, NULL, 0, MSG_DONTWAIT);
}
