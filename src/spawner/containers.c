/*
 * A child of the spawner that serves one request about sandboxes and containers. It is root,
 * single-threaded and may block; the spawner has long gone on. See containers_int.h.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "spawner/containers_int.h"

#define SECONDS_MAX 120 /* whatever it is, it is given up then */

static int answer_socket;

void answer_add(struct answer *a, int fd)
{
	check(a->count < FD_PASS_MAX);
	a->fds[a->count++] = fd;
}

void containers_tell(struct answer *a)
{
	(void)fd_send_fds(answer_socket, &a->msg, sizeof(a->msg), a->fds, a->count, 0);
	while (a->count)
		close(a->fds[--a->count]);
}

/* The sealed memfd, mapped. The spawner has checked the seals. */
static const void *map_record(int fd, size_t *ret_len)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > CONTAINER_SPEC_MAX)
		return NULL;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	*ret_len = (size_t)st.st_size;
	return p == MAP_FAILED ? NULL : p;
}

static int do_exec(
    const struct spawner *s, const void *data, size_t len, struct answer *a, struct err *e)
{
	static struct record_exec x;
	struct place p = {.s = s, .dir = -1, .bundle = -1};
	const char *why;
	int r = record_exec(data, len, &x, &why);

	if (r < 0)
		return err_set(e, EINVAL, "%s", why);
	memcpy(p.sandbox, x.sandbox, sizeof(p.sandbox));
	memcpy(p.id, x.exec.id, sizeof(p.id));
	r = place_open(&p, false, e);
	return r < 0 ? r : exec_start(&p, &x.exec, a, e);
}

static int with_record(
    const struct spawner *s, const struct wire_msg *m, int fd, struct answer *a, struct err *e)
{
	static struct record_container container;
	struct sandbox_spec sandbox;
	size_t len = 0;
	const void *data = map_record(fd, &len);
	const char *why = "no record";
	int r = -EINVAL;

	if (m->kind == WIRE_CONTAINER_EXEC && data)
		return do_exec(s, data, len, a, e);
	if (m->kind == WIRE_SANDBOX_MAKE && data) {
		r = record_sandbox(data, len, &sandbox, &why);
		if (r == 0)
			return sandbox_make(s, &sandbox, data, len, a, e);
	} else if (data) {
		r = record_container(data, len, &container, &why);
		if (r == 0)
			return container_make(s, &container, data, len, a, e);
	}
	return err_set(e, -r, "%s", why);
}

static int with_container(
    struct place *p, const struct wire_msg *m, struct answer *a, struct err *e)
{
	int r = place_open(p, false, e);

	if (m->kind == WIRE_CONTAINER_REMOVE && r == -ENOENT)
		return 0; /* removing may be repeated */
	if (r < 0)
		return r;
	switch (m->kind) {
	case WIRE_CONTAINER_START: return container_start(p, e);
	case WIRE_CONTAINER_SIGNAL: return container_signal(p, (int)m->container.signal, e);
	case WIRE_CONTAINER_REMOVE: return container_remove(p, false, e);
	case WIRE_CONTAINER_USAGE: return inspect_usage(p, a, e);
	case WIRE_CONTAINER_ATTACH: return inspect_attach(p, a, e);
	default: return inspect_resize(p, m->container.rows, m->container.columns, e);
	}
}

static int serve(
    const struct spawner *s, const struct wire_msg *m, int fd, struct answer *a, struct err *e)
{
	struct place p = {.s = s, .dir = -1, .bundle = -1};

	hex_encode(m->container.sandbox, WIRE_ID_SIZE, p.sandbox);
	switch (m->kind) {
	case WIRE_SANDBOX_MAKE:
	case WIRE_CONTAINER_MAKE:
	case WIRE_CONTAINER_EXEC: return with_record(s, m, fd, a, e);
	case WIRE_SANDBOX_REMOVE: return sandbox_remove(s, p.sandbox, e);
	case WIRE_CONTAINERS_FIND: inspect_find(s, a); return 0;
	default:
		hex_encode(m->container.id, WIRE_ID_SIZE, p.id);
		return with_container(&p, m, a, e);
	}
}

int containers_restore_network(const struct spawner *s, struct err *e)
{
	alarm(SECONDS_MAX);
	if (setns(s->host_mounts, CLONE_NEWNS) < 0)
		return err_sys(e, errno, "entering the namespace of container runtimes");
	return netns_restore(s, e);
}

_noreturn_ void containers_run(struct spawner *s, const struct wire_msg *m, int fd, int out)
{
	static struct answer answer;
	struct err e = ERR_INIT;
	int r;

	answer_socket = out;
	alarm(SECONDS_MAX);
	umask(0022);
	if (setns(s->host_mounts, CLONE_NEWNS) < 0)
		r = err_sys(&e, errno, "entering the namespace of container runtimes");
	else
		r = serve(s, m, fd, &answer, &e);
	answer.msg.kind = WIRE_CONTAINER_DONE;
	answer.msg.result = r;
	if (r < 0) {
		memcpy(answer.msg.text, e.msg, sizeof(answer.msg.text));
		while (answer.count)
			close(answer.fds[--answer.count]);
	}
	containers_tell(&answer);
	_exit(0);
}
