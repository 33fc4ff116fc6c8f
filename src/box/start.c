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

static int fill(struct init_record *r, const char *const *argv, struct str env, uint32_t env_count,
    const char *cwd)
{
	int result = 0;

	for (; *argv && result == 0; argv++, r->argc++)
		result = add_string(r, *argv, strlen(*argv));
	if (result < 0 || env.len > INIT_STRINGS_MAX - r->string_bytes)
		return -E2BIG;
	memcpy(r->strings + r->string_bytes, env.ptr, env.len);
	r->string_bytes += (uint32_t)env.len;
	r->envc = env_count;
	r->cwdc = cwd != NULL;
	return cwd ? add_string(r, cwd, strlen(cwd)) : 0;
}

/* Extensions and the runtime write to the same pipe. */
static int open_output(struct box *b)
{
	return b->output_end >= 0 ? 0 : output_open(b, &b->output_end);
}

void start_no_more(struct box *b)
{
	if (b->output_end >= 0)
		close(b->output_end);
	b->output_end = -1;
}

int start_program(struct box *b, const char *const *argv, struct str env, uint32_t env_count)
{
	struct init_record *record = &orders;
	_cleanup_close_ int events = -1, answers = -1;
	struct runtime_channel_fds ours;
	int r, pass[3];
	bool framed = b->program->framed;

	*record = (struct init_record){.kind = INIT_START};
	r = fill(record, argv, env, env_count, b->spec.cwd);
	if (r < 0)
		return r;
	r = open_output(b);
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
	pass[0] = b->output_end;
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

/* Lambda keeps these from extensions, and all that begins with '_'. */
static bool is_for_runtime(const char *variable)
{
	static const char *const names[] = {"AWS_EXECUTION_ENV=", "AWS_LAMBDA_LOG_GROUP_NAME=",
	    "AWS_LAMBDA_LOG_STREAM_NAME=", "AWS_XRAY_CONTEXT_MISSING=", "AWS_XRAY_DAEMON_ADDRESS=",
	    "LAMBDA_RUNTIME_DIR=", "LAMBDA_TASK_ROOT="};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return variable[0] == '_';
}

int start_extensions(struct box *b)
{
	static const char *const argv[] = {INIT_EXTENSION_DIR, NULL};
	struct init_record *record = &orders;
	const struct str env = b->spec.env;
	int r = open_output(b);

	*record = (struct init_record){.kind = INIT_EXTENSIONS, .tag = 1};
	if (r == 0)
		r = fill(record, argv, STR(""), 0, NULL);
	for (size_t at = 0; r == 0 && at < env.len; at += strlen(env.ptr + at) + 1) {
		if (is_for_runtime(env.ptr + at))
			continue;
		r = add_string(record, env.ptr + at, strlen(env.ptr + at));
		record->envc++;
	}
	if (r < 0)
		return r;
	return fd_send_fds(b->fds[WIRE_FD_CONTROL], record,
	    INIT_RECORD_SHORT + record->string_bytes, &b->output_end, 1, MSG_DONTWAIT);
}
