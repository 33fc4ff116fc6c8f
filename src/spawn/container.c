/*
 * Core's client for sandboxes and containers. See container.h. Requests wait for their turn,
 * because the spawner serves only WIRE_CONTAINER_REQUESTS_MAX of them at a time. For each container
 * core knows to be there it holds the descriptors of enum wire_kept_fd and watches conmon's end by
 * them.
 */
#include "spawn/container.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "base/time.h"
#include "spawn/container_record.h"
#include "spawn/spawn_int.h"

typedef void net_done(void *ctx, int result, const char *why, const struct container_net *net);

/* A container that is there, or was and is not removed. */
struct kept {
	struct spawn *spawn;
	struct container_facts facts;
	struct loop_io process; /* fd -1: it has ended */
	int exit_dir, oom;
	int log;       /* until it is asked for */
	bool removing; /* its conmon may be killed for that */
};

struct exec {
	struct list node;
	struct spawn *spawn;
	char id[CONTAINER_ID_SIZE];
	struct loop_io io; /* the watcher's socket */
	void (*on_end)(void *ctx, int exit_code);
	void *ctx;
};

struct request {
	struct list node;
	struct wire_msg msg;
	int fd; /* goes with it; -1: none */
	char id[CONTAINER_ID_SIZE], sandbox[CONTAINER_ID_SIZE];
	char exec_id[CONTAINER_ID_SIZE];
	bool terminal;
	struct container_port *ports; /* as asked */
	size_t port_count;
	union {
		container_done *plain;
		net_done *net;
		void (*usage)(void *ctx, const struct container_usage *u);
		void (*attach)(void *ctx, int result, const char *why, int socket);
		void (*exec)(void *ctx, int result, const char *why, const int streams[3]);
	} done;
	void (*on_end)(void *ctx, int exit_code);
	void *ctx;
};

struct containers {
	struct spawn *spawn;
	const struct container_handler *handler;
	void *ctx;
	struct map kept;              /* by id: struct kept */
	struct list waiting, running; /* struct request */
	unsigned running_count;
	struct list execs; /* struct exec */
};

/* ---- those that are there ---- */

static struct kept *find_kept(struct containers *c, const char *id)
{
	return map_get(&c->kept, str_from(id));
}

static void free_kept(struct kept *k)
{
	if (k->process.fd >= 0)
		loop_io_remove(k->spawn->loop, &k->process);
	base_closep(&k->process.fd);
	base_closep(&k->exit_dir);
	base_closep(&k->oom);
	base_closep(&k->log);
	free(k);
}

static void forget(struct containers *c, const char *id)
{
	struct kept *k = map_remove(&c->kept, str_from(id));

	if (k)
		free_kept(k);
}

static void forget_sandbox(struct containers *c, const char *sandbox)
{
	for (;;) {
		struct kept *found = NULL;

		map_for_each (&c->kept, entry) {
			struct kept *k = entry->value;

			if (strcmp(k->facts.sandbox, sandbox) == 0)
				found = k;
		}
		if (!found)
			return;
		forget(c, found->facts.id);
	}
}

static int64_t stat_ms(const struct stat *st)
{
	return st->st_mtim.tv_sec * INT64_C(1000) + st->st_mtim.tv_nsec / 1000000;
}

/* conmon has left its exit code; if it was killed, there is none. */
static int read_exit(struct kept *k)
{
	_cleanup_close_ int fd =
	    openat(k->exit_dir, k->facts.id, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int64_t code;
	char text[16];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (n <= 0 || fstat(fd, &st) < 0)
		return -ENOENT;
	text[n] = '\0';
	if (!str_to_int64(str_trim(str_from(text)), 0, 255, &code))
		return -EBADMSG;
	k->facts.exit_code = (int)code;
	k->facts.finished_ms = stat_ms(&st);
	return 0;
}

static bool read_oom(const struct kept *k)
{
	char text[1024], *line;
	ssize_t n = k->oom >= 0 ? pread(k->oom, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return false;
	text[n] = '\0';
	line = strstr(text, "oom_kill ");
	return line && strtoull(line + 9, NULL, 10) > 0;
}

static struct request *add_request(struct containers *c, uint32_t kind, const char *id, void *ctx);
static void pump(struct containers *c);

/* Nobody would tell of its end: it ends now. */
static void kill_unwatched(struct containers *c, const struct kept *k)
{
	struct request *q = add_request(c, WIRE_CONTAINER_SIGNAL, k->facts.id, NULL);

	log_error("conmon of container %s was killed; so is the container", k->facts.id);
	q->msg.container.signal = SIGKILL;
	pump(c);
}

static void on_conmon_end(struct loop_io *io, uint32_t events _unused_)
{
	struct kept *k = container_of(io, struct kept, process);
	struct containers *c = k->spawn->containers;
	struct container_facts facts;

	loop_io_remove(k->spawn->loop, io);
	base_closep(&io->fd);
	io->fd = -1;
	if (read_exit(k) < 0) {
		k->facts.exit_code = 128 + SIGKILL;
		k->facts.finished_ms = time_wall_ms();
		if (!k->removing)
			kill_unwatched(c, k);
	}
	k->facts.oom_killed = read_oom(k);
	k->facts.state = CONTAINER_EXITED;
	base_closep(&k->exit_dir);
	base_closep(&k->oom);
	k->exit_dir = k->oom = -1;
	facts = k->facts; /* the handler may remove it */
	if (c->handler)
		c->handler->on_exit(c->ctx, &facts);
}

/* fds: of enum wire_kept_fd, NULL if it has ended; they and log are taken. */
static void keep(struct containers *c, const struct container_facts *facts,
    const int fds[WIRE_KEPT_FDS], int log)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	forget(c, facts->id);
	*k = (struct kept){.spawn = c->spawn,
	    .facts = *facts,
	    .process = {.fd = -1, .events = EPOLLIN, .on_ready = on_conmon_end},
	    .exit_dir = -1,
	    .oom = -1,
	    .log = log};
	map_put(&c->kept, str_from(k->facts.id), k);
	if (!fds)
		return;
	k->process.fd = fds[WIRE_KEPT_PROCESS];
	k->exit_dir = fds[WIRE_KEPT_EXIT];
	k->oom = fds[WIRE_KEPT_OOM];
	check(loop_io_add(c->spawn->loop, &k->process) == 0);
}

/* ---- asking ---- */

static void pump(struct containers *c)
{
	while (c->running_count < WIRE_CONTAINER_REQUESTS_MAX && !list_empty(&c->waiting)) {
		struct request *q = list_first(&c->waiting, struct request, node);

		list_remove(&q->node);
		list_push_back(&c->running, &q->node);
		c->running_count++;
		spawn_post(c->spawn, &q->msg, take_fd(&q->fd));
	}
}

static void free_request(struct request *q)
{
	base_closep(&q->fd);
	free(q->ports);
	free(q);
}

static void set_ids(struct request *q, const char *sandbox, const char *id)
{
	snprintf(q->sandbox, sizeof(q->sandbox), "%s", sandbox);
	snprintf(q->id, sizeof(q->id), "%s", id);
	hex_decode(str_from(q->sandbox), q->msg.container.sandbox, WIRE_ID_SIZE);
	hex_decode(str_from(q->id), q->msg.container.id, WIRE_ID_SIZE);
}

/* id: of a container that is known, or NULL. A stranger is asked for all the same: not there. */
static struct request *add_request(struct containers *c, uint32_t kind, const char *id, void *ctx)
{
	struct request *q = xcalloc(1, sizeof(*q));
	const struct kept *k = id ? find_kept(c, id) : NULL;

	q->msg.kind = kind;
	q->msg.serial = ++c->spawn->last_serial;
	q->fd = -1;
	q->ctx = ctx;
	set_ids(q, k ? k->facts.sandbox : "", id ? id : "");
	list_push_back(&c->waiting, &q->node);
	return q;
}

void spawn_sandbox_make(struct spawn *s, const struct sandbox_spec *spec, net_done *done, void *ctx)
{
	struct request *q = add_request(s->containers, WIRE_SANDBOX_MAKE, NULL, ctx);

	set_ids(q, spec->id, "");
	q->fd = container_record_sandbox(spec);
	q->done.net = done;
	pump(s->containers);
}

void spawn_sandbox_remove(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct request *q = add_request(s->containers, WIRE_SANDBOX_REMOVE, NULL, ctx);

	set_ids(q, id, "");
	q->done.plain = done;
	map_for_each (&s->containers->kept, entry) {
		struct kept *k = entry->value;

		k->removing |= strcmp(k->facts.sandbox, id) == 0;
	}
	pump(s->containers);
}

void spawn_container_make(
    struct spawn *s, const struct container_spec *spec, net_done *done, void *ctx)
{
	struct request *q = add_request(s->containers, WIRE_CONTAINER_MAKE, NULL, ctx);

	set_ids(q, spec->sandbox, spec->id);
	q->done.net = done;
	q->fd = container_record_container(spec);
	if (spec->port_count) {
		q->ports = xcalloc(spec->port_count, sizeof(*q->ports));
		memcpy(q->ports, spec->ports, spec->port_count * sizeof(*q->ports));
		q->port_count = spec->port_count;
	}
	if (q->fd < 0) { /* too long: said when we are back in the loop, as all answers are */
		struct sandbox_spec none = {0};

		log_warn("the description of container %s is too long", spec->id);
		q->fd = container_record_sandbox(&none);
	}
	pump(s->containers);
}

static void plain(
    struct spawn *s, uint32_t kind, const char *id, int signal, container_done *done, void *ctx)
{
	struct request *q = add_request(s->containers, kind, id, ctx);

	q->msg.container.signal = (uint32_t)signal;
	q->done.plain = done;
	pump(s->containers);
}

void spawn_container_start(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct kept *k = find_kept(s->containers, id);

	if (k && k->facts.state == CONTAINER_CREATED)
		k->facts.started_ms = time_wall_ms(); /* its end may be told before its start */
	plain(s, WIRE_CONTAINER_START, id, 0, done, ctx);
}

void spawn_container_signal(
    struct spawn *s, const char *id, int signal, container_done *done, void *ctx)
{
	plain(s, WIRE_CONTAINER_SIGNAL, id, signal, done, ctx);
}

void spawn_container_remove(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct kept *k = find_kept(s->containers, id);

	if (k)
		k->removing = true;
	plain(s, WIRE_CONTAINER_REMOVE, id, 0, done, ctx);
}

int spawn_container_log(struct spawn *s, const char *id)
{
	struct kept *k = find_kept(s->containers, id);

	return k ? take_fd(&k->log) : -1;
}

void spawn_container_usage(struct spawn *s, const char *id,
    void (*done)(void *ctx, const struct container_usage *u), void *ctx)
{
	add_request(s->containers, WIRE_CONTAINER_USAGE, id, ctx)->done.usage = done;
	pump(s->containers);
}

void spawn_container_attach(struct spawn *s, const char *id,
    void (*done)(void *ctx, int result, const char *why, int socket), void *ctx)
{
	add_request(s->containers, WIRE_CONTAINER_ATTACH, id, ctx)->done.attach = done;
	pump(s->containers);
}

void spawn_container_resize(struct spawn *s, const char *id, uint16_t rows, uint16_t columns)
{
	struct request *q = add_request(s->containers, WIRE_CONTAINER_RESIZE, id, NULL);

	q->msg.container.rows = rows;
	q->msg.container.columns = columns;
	pump(s->containers);
}

void spawn_container_exec(struct spawn *s, const struct container_exec *x,
    void (*done)(void *ctx, int result, const char *why, const int streams[3]),
    void (*on_end)(void *ctx, int exit_code), void *ctx)
{
	struct request *q = add_request(s->containers, WIRE_CONTAINER_EXEC, x->id, ctx);

	snprintf(q->exec_id, sizeof(q->exec_id), "%s", x->exec_id);
	q->fd = container_record_exec(x, q->sandbox);
	q->terminal = x->terminal;
	q->done.exec = done;
	q->on_end = on_end;
	if (q->fd < 0) {
		struct sandbox_spec none = {0};

		q->fd = container_record_sandbox(&none);
	}
	pump(s->containers);
}

/* ---- processes beside the first one ---- */

static void free_exec(struct exec *x)
{
	loop_io_remove(x->spawn->loop, &x->io);
	base_closep(&x->io.fd);
	list_remove(&x->node);
	free(x);
}

static void on_exec_end(struct loop_io *io, uint32_t events _unused_)
{
	struct exec *x = container_of(io, struct exec, io);
	void (*on_end)(void *ctx, int exit_code) = x->on_end;
	void *ctx = x->ctx;
	int64_t code = 128 + SIGKILL; /* the watcher was killed, and the process may have been */
	char text[16];
	ssize_t n = recv(io->fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	text[n > 0 ? n : 0] = '\0';
	(void)str_to_int64(str_from(text), 0, 255, &code);
	free_exec(x);
	if (on_end)
		on_end(ctx, (int)code);
}

static void add_exec(struct containers *c, const struct request *q, int fd)
{
	struct exec *x = xcalloc(1, sizeof(*x));

	*x = (struct exec){.spawn = c->spawn,
	    .io = {.fd = fd, .events = EPOLLIN, .on_ready = on_exec_end},
	    .on_end = q->on_end,
	    .ctx = q->ctx};
	memcpy(x->id, q->exec_id, sizeof(x->id));
	list_push_back(&c->execs, &x->node);
	check(loop_io_add(c->spawn->loop, &x->io) == 0);
}

void spawn_container_exec_kill(struct spawn *s, const char *exec_id)
{
	list_for_each_safe (n, &s->containers->execs) {
		struct exec *x = list_entry(n, struct exec, node);

		if (strcmp(x->id, exec_id) == 0)
			shutdown(x->io.fd, SHUT_WR); /* its watcher kills it and tells */
	}
}

/* ---- answers ---- */

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void dotted(uint32_t address, char out[16])
{
	out[0] = '\0';
	if (address)
		inet_ntop(AF_INET, &address, out, 16);
}

/* fds: the listeners, if there are any; the callee's afterwards. */
static const struct container_net *read_net(const struct wire_net *w, const int *fds,
    struct container_port *ports, size_t port_count, struct container_net *ret)
{
	*ret = (struct container_net){.prefix_len = w->prefix_len, .ports = ports};
	if (!w->has_namespace && !w->address)
		return NULL;
	dotted(w->address, ret->address);
	dotted(w->gateway, ret->gateway);
	if (w->address)
		snprintf(ret->mac, sizeof(ret->mac), "%02x:%02x:%02x:%02x:%02x:%02x", w->mac[0],
		    w->mac[1], w->mac[2], w->mac[3], w->mac[4], w->mac[5]);
	for (int i = 0; i < CONTAINER_FD_COUNT; i++)
		ret->fds[i] = fds && w->has_namespace ? fds[i] : -1;
	ret->port_count = w->port_count < port_count ? w->port_count : port_count;
	for (size_t i = 0; i < ret->port_count; i++)
		ports[i].host = w->host_port[i];
	return ret;
}

static void made_sandbox(struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	struct container_net net;
	bool fits = count == (m->net.has_namespace ? WIRE_NET_FDS : 0);

	if (m->result < 0) {
		q->done.net(q->ctx, m->result, m->text, NULL);
		return;
	}
	check(fits);
	q->done.net(q->ctx, 0, "", read_net(&m->net, fds, NULL, 0, &net));
}

/* What comes with a container that is there; returns those of its network. */
static const int *take_kept(struct containers *c, const struct container_facts *facts,
    const struct wire_msg *m, const int *fds, size_t count)
{
	size_t kept = facts->state == CONTAINER_EXITED ? 0 : WIRE_KEPT_FDS;
	size_t net = kept + (m->container.has_log != 0);

	check(count == net + (m->net.has_namespace ? WIRE_NET_FDS : 0));
	keep(c, facts, kept ? fds : NULL, net > kept ? fds[kept] : -1);
	return fds + net;
}

static void made_container(
    struct containers *c, struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	struct container_facts facts = {.state = CONTAINER_CREATED};
	struct container_net net;
	const int *net_fds;

	memcpy(facts.id, q->id, sizeof(facts.id));
	memcpy(facts.sandbox, q->sandbox, sizeof(facts.sandbox));
	if (m->result < 0) {
		facts.state = CONTAINER_EXITED; /* there may be something to remove */
		keep(c, &facts, NULL, -1);
		q->done.net(q->ctx, m->result, m->text, NULL);
		return;
	}
	net_fds = take_kept(c, &facts, m, fds, count);
	q->done.net(q->ctx, 0, "", read_net(&m->net, net_fds, q->ports, q->port_count, &net));
}

static void told_usage(struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	int all[5];
	size_t next = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = m->result == 0 && (m->container.usage >> i & 1) && next < count
			     ? fds[next++]
			     : -1;
	close_all(fds + next, count - next);
	q->done.usage(q->ctx, &(struct container_usage){all[0], all[1], all[2], all[3], all[4]});
}

static void told_exec(
    struct containers *c, struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	int streams[3] = {-1, -1, -1};
	size_t wanted = q->terminal ? 2 : 4;

	if (m->result < 0 || count != wanted) {
		close_all(fds, count);
		q->done.exec(q->ctx, m->result < 0 ? m->result : -EIO, m->text, NULL);
		return;
	}
	for (size_t i = 1; i < count; i++)
		streams[i - 1] = fds[i];
	q->done.exec(q->ctx, 0, "", streams);
	add_exec(c, q, fds[0]);
}

static void told_plain(
    struct containers *c, struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	struct kept *k = find_kept(c, q->id);

	close_all(fds, count);
	if (q->msg.kind == WIRE_CONTAINER_START && k && k->facts.state == CONTAINER_CREATED) {
		if (m->result == 0)
			k->facts.state = CONTAINER_RUNNING;
		else
			k->facts.started_ms = 0;
	}
	if (q->msg.kind == WIRE_CONTAINER_REMOVE && m->result == 0)
		forget(c, q->id);
	if (q->msg.kind == WIRE_SANDBOX_REMOVE && m->result == 0)
		forget_sandbox(c, q->sandbox);
	if (q->msg.kind == WIRE_CONTAINERS_FIND)
		c->handler->on_found(c->ctx, NULL, NULL, NULL);
	else if (q->done.plain)
		q->done.plain(q->ctx, m->result, m->text);
}

static void answered(
    struct containers *c, struct request *q, struct wire_msg *m, const int *fds, size_t count)
{
	bool one = m->result == 0 && count == 1;

	switch (q->msg.kind) {
	case WIRE_SANDBOX_MAKE: made_sandbox(q, m, fds, count); return;
	case WIRE_CONTAINER_MAKE: made_container(c, q, m, fds, count); return;
	case WIRE_CONTAINER_USAGE: told_usage(q, m, fds, count); return;
	case WIRE_CONTAINER_EXEC: told_exec(c, q, m, fds, count); return;
	case WIRE_CONTAINER_ATTACH:
		q->done.attach(q->ctx, m->result, m->text, one ? fds[0] : -1);
		return;
	default: told_plain(c, q, m, fds, count);
	}
}

static void on_done(struct containers *c, struct wire_msg *m, const int *fds, size_t count)
{
	list_for_each_safe (n, &c->running) {
		struct request *q = list_entry(n, struct request, node);

		if (q->msg.serial != m->serial)
			continue;
		list_remove(&q->node);
		c->running_count--;
		answered(c, q, m, fds, count);
		free_request(q);
		pump(c);
		return;
	}
	close_all(fds, count);
}

/* ---- what a former life left ---- */

static void found_sandbox(struct containers *c, struct wire_msg *m, const int *fds, size_t count)
{
	size_t net_fds = m->net.has_namespace ? WIRE_NET_FDS : 0;
	struct sandbox_spec spec = {.network = CONTAINER_NET_NONE};
	struct container_net net;
	bool record = count == 1 + net_fds;

	check(record || count == net_fds);
	if (!record || container_record_read_sandbox(fds[0], &spec) < 0)
		log_warn("a sandbox without a record was found");
	hex_encode(m->container.sandbox, WIRE_ID_SIZE, spec.id);
	if (record)
		close(fds[0]);
	c->handler->on_found(
	    c->ctx, &spec, NULL, read_net(&m->net, record ? fds + 1 : fds, NULL, 0, &net));
}

static void found_container(struct containers *c, struct wire_msg *m, const int *fds, size_t count)
{
	const struct wire_container *w = &m->container;
	struct container_port ports[WIRE_PORTS_MAX] = {0};
	struct container_facts facts = {.state = (enum container_state)w->state,
	    .exit_code = w->exit_code,
	    .oom_killed = w->oom_killed != 0,
	    .started_ms = w->started_ms,
	    .finished_ms = w->finished_ms};
	struct container_net net;
	const int *net_fds;

	hex_encode(w->id, WIRE_ID_SIZE, facts.id);
	hex_encode(w->sandbox, WIRE_ID_SIZE, facts.sandbox);
	net_fds = take_kept(c, &facts, m, fds, count);
	c->handler->on_found(
	    c->ctx, NULL, &facts, read_net(&m->net, net_fds, ports, WIRE_PORTS_MAX, &net));
}

void containers_on_message(struct containers *c, struct wire_msg *m, const int *fds, size_t count)
{
	switch (m->kind) {
	case WIRE_SANDBOX_FOUND: found_sandbox(c, m, fds, count); return;
	case WIRE_CONTAINER_FOUND: found_container(c, m, fds, count); return;
	default: on_done(c, m, fds, count);
	}
}

/* ---- life ---- */

void spawn_containers_start(struct spawn *s, const struct container_handler *h, void *ctx)
{
	s->containers->handler = h;
	s->containers->ctx = ctx;
	add_request(s->containers, WIRE_CONTAINERS_FIND, NULL, NULL);
	pump(s->containers);
}

struct containers *containers_new(struct spawn *s)
{
	struct containers *c = xcalloc(1, sizeof(*c));

	c->spawn = s;
	list_init(&c->waiting);
	list_init(&c->running);
	list_init(&c->execs);
	return c;
}

static void free_requests(struct list *l)
{
	list_for_each_safe (n, l)
		free_request(list_entry(n, struct request, node));
}

void containers_free(struct containers *c)
{
	if (!c)
		return;
	map_for_each (&c->kept, entry)
		free_kept(entry->value);
	map_done(&c->kept);
	free_requests(&c->waiting);
	free_requests(&c->running);
	list_for_each_safe (n, &c->execs)
		free_exec(list_entry(n, struct exec, node));
	free(c);
}
