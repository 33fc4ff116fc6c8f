/*
 * Plays core with the real client of src/spawn/container.h, for container.py: takes one line of
 * JSON a command on the first listener, and answers each, and tells of what happens, by such lines.
 */
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "loop/loop.h"
#include "spawn/container.h"
#include "spawn/core_fds.h"

static struct loop *loop;
static struct spawn *spawn;
static int client = -1;
static struct loop_io listener_io, client_io;
#define LOGS_MAX 256
static char line[1 << 20];
static size_t line_len;

struct command {
	json_t *json;
	int listeners[CONTAINER_FD_COUNT];
	char output[2][65536];
};

static void say(json_t *j)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char *text = json_dumps(j, JSON_COMPACT);

	buf_printf(&b, "%s\n", text);
	if (client >= 0)
		(void)fd_write_full(client, buf_data(&b), buf_len(&b));
	free(text);
	json_decref(j);
}

static const char *text_of(json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "";
}

static int64_t number_of(json_t *j, const char *name)
{
	return json_integer_value(json_object_get(j, name));
}

static bool truth_of(json_t *j, const char *name)
{
	return json_is_true(json_object_get(j, name));
}

static json_t *reply_to(struct command *c, int result, const char *why)
{
	json_t *r = json_object();

	json_object_set_new(r, "n", json_integer(number_of(c->json, "n")));
	json_object_set_new(r, "result", json_integer(result));
	json_object_set_new(r, "why", json_stringn(why ? why : "", strlen(why ? why : "")));
	if (!json_object_get(r, "why"))
		json_object_set_new(r, "why", json_string("not UTF-8"));
	return r;
}

static void finish(struct command *c, json_t *r)
{
	json_decref(c->json);
	free(c);
	say(r);
}

static void on_plain(void *ctx, int result, const char *why)
{
	finish(ctx, reply_to(ctx, result, why));
}

/* The listeners stay open, as they do in core, and answer nobody. */
static void add_net(json_t *r, const struct container_net *net)
{
	json_t *ports = json_array();

	if (!net) {
		json_decref(ports);
		return;
	}
	json_object_set_new(r, "address", json_string(net->address));
	json_object_set_new(r, "gateway", json_string(net->gateway));
	json_object_set_new(r, "mac", json_string(net->mac));
	json_object_set_new(r, "listeners", json_boolean(net->fds[0] >= 0 && net->fds[1] >= 0));
	for (size_t i = 0; i < net->port_count; i++)
		json_array_append_new(ports, json_integer(net->ports[i].host));
	json_object_set_new(r, "ports", ports);
	if (!getenv("KEEP_LISTENERS"))
		for (int i = 0; i < CONTAINER_FD_COUNT; i++)
			if (net->fds[i] >= 0)
				close(net->fds[i]);
}

static void on_net(void *ctx, int result, const char *why, const struct container_net *net)
{
	json_t *r = reply_to(ctx, result, why);

	add_net(r, net);
	finish(ctx, r);
}

static json_t *bytes(const char *text, size_t len)
{
	json_t *s = json_stringn(text, len);

	return s ? s : json_string("not UTF-8");
}

/* It is given once, and read many times: what is open stays so until the end. */
static int log_of(const char *id)
{
	static struct {
		char id[CONTAINER_ID_SIZE];
		int fd;
	} logs[LOGS_MAX];
	static size_t count;

	for (size_t i = 0; i < count; i++)
		if (strcmp(logs[i].id, id) == 0)
			return logs[i].fd;
	check(count < LOGS_MAX);
	logs[count].fd = spawn_container_log(spawn, id);
	if (logs[count].fd < 0)
		return -1;
	snprintf(logs[count].id, sizeof(logs[count].id), "%s", id);
	return logs[count++].fd;
}

static json_t *read_log(struct command *c, const char *id)
{
	static char text[1 << 20];
	int fd = log_of(id);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
	json_t *r = reply_to(c, fd < 0 ? -1 : 0, "");

	json_object_set_new(r, "log", bytes(text, n > 0 ? (size_t)n : 0));
	return r;
}

static void add_counter(json_t *r, const char *name, int fd)
{
	char text[4096];
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;

	json_object_set_new(r, name, n < 0 ? json_null() : bytes(text, (size_t)n));
	if (fd >= 0)
		close(fd);
}

static void on_usage(void *ctx, const struct container_usage *u)
{
	json_t *r = reply_to(ctx, 0, "");

	add_counter(r, "memory", u->memory);
	add_counter(r, "peak", u->peak);
	add_counter(r, "cpu", u->cpu);
	add_counter(r, "pids", u->pids);
	add_counter(r, "net", u->net);
	finish(ctx, r);
}

/* Speaks to it once and listens for a second. */
static void on_attach(void *ctx, int result, const char *why, int sock)
{
	struct command *c = ctx;
	json_t *r = reply_to(c, result, why);
	const char *input = text_of(c->json, "input");
	char text[8192];
	size_t used = 0;

	if (sock >= 0) {
		struct pollfd p = {.fd = sock, .events = POLLIN};

		if (input[0])
			(void)!send(sock, input, strlen(input), MSG_NOSIGNAL);
		while (used < sizeof(text) && poll(&p, 1, 1000) == 1) {
			ssize_t n = recv(sock, text + used, sizeof(text) - used, 0);

			if (n <= 0)
				break;
			used += (size_t)n;
		}
		json_object_set_new(r, "output", bytes(text, used));
		close(sock);
	}
	finish(c, r);
}

static void on_exec_end(void *ctx, int exit_code)
{
	struct command *c = ctx;
	json_t *r = reply_to(c, 0, "");

	json_object_set_new(r, "code", json_integer(exit_code));
	json_object_set_new(r, "out", json_string(c->output[0]));
	json_object_set_new(r, "err", json_string(c->output[1]));
	finish(c, r);
}

static void drain(int fd, char *out, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t used = 0;
	ssize_t n;

	while (used + 1 < size && poll(&p, 1, 5000) == 1 &&
	       (n = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fd);
}

/* Blocks the loop until the process has closed its streams: this is a test. */
static void on_exec(void *ctx, int result, const char *why, const int streams[3])
{
	struct command *c = ctx;
	const char *input = text_of(c->json, "input");

	if (result < 0) {
		finish(c, reply_to(c, result, why));
		return;
	}
	if (truth_of(c->json, "leave"))
		return;
	(void)fd_write_full(streams[0], input, strlen(input));
	if (streams[1] < 0) {
		drain(streams[0], c->output[0], sizeof(c->output[0]));
		return;
	}
	close(streams[0]);
	drain(streams[1], c->output[0], sizeof(c->output[0]));
	drain(streams[2], c->output[1], sizeof(c->output[1]));
}

/* ---- specs ---- */

static size_t texts(json_t *list, const char **ret)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++)
		ret[i] = json_string_value(json_array_get(list, i));
	return n;
}

static size_t pairs(json_t *map, struct container_pair *ret)
{
	const char *name;
	json_t *value;
	size_t n = 0;

	json_object_foreach(map, name, value)
	{
		ret[n++] = (struct container_pair){name, json_string_value(value)};
	}
	return n;
}

static void sandbox_make(struct command *c)
{
	json_t *j = c->json;
	struct sandbox_spec s = {.network = (enum container_network)number_of(j, "network"),
	    .share_pid = truth_of(j, "share_pid"),
	    .share_ipc = truth_of(j, "share_ipc"),
	    .host_pid = truth_of(j, "host_pid"),
	    .host_ipc = truth_of(j, "host_ipc"),
	    .cpu_milli = (uint32_t)number_of(j, "cpu_milli"),
	    .memory_bytes = (uint64_t)number_of(j, "memory"),
	    .disk_bytes = (uint64_t)number_of(j, "disk"),
	    .pids_max = (uint32_t)number_of(j, "pids")};

	snprintf(s.id, sizeof(s.id), "%s", text_of(j, "id"));
	spawn_sandbox_make(spawn, &s, on_net, c);
}

static size_t mounts(json_t *list, struct container_mount *ret)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++) {
		json_t *m = json_array_get(list, i);

		ret[i] = (struct container_mount){
		    .kind = (enum container_mount_kind)number_of(m, "kind"),
		    .source = text_of(m, "source"),
		    .target = text_of(m, "target"),
		    .read_only = truth_of(m, "ro"),
		    .size_bytes = (uint64_t)number_of(m, "size")};
	}
	return n;
}

static size_t ports(json_t *list, struct container_port *ret)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++) {
		json_t *p = json_array_get(list, i);

		ret[i] = (struct container_port){.udp = truth_of(p, "udp"),
		    .host = (uint16_t)number_of(p, "host"),
		    .inside = (uint16_t)number_of(p, "inside")};
		snprintf(
		    ret[i].host_address, sizeof(ret[i].host_address), "%s", text_of(p, "address"));
	}
	return n;
}

static size_t limits(json_t *list, struct container_limit *ret)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n; i++) {
		json_t *l = json_array_get(list, i);

		ret[i] = (struct container_limit){
		    .soft = (uint64_t)number_of(l, "soft"), .hard = (uint64_t)number_of(l, "hard")};
		snprintf(ret[i].name, sizeof(ret[i].name), "%s", text_of(l, "name"));
	}
	return n;
}

static void container_make(struct command *c)
{
	static uint8_t layers[CONTAINER_LAYERS_MAX][WIRE_HASH_SIZE];
	static const char *args[64];
	static struct container_pair env[64], sysctls[16];
	static struct container_mount mount_list[CONTAINER_MOUNTS_MAX];
	static struct container_port port_list[CONTAINER_PORTS_MAX];
	static struct container_limit limit_list[16];
	json_t *j = c->json, *layer_list = json_object_get(j, "layers");
	struct container_spec s = {.runtime = text_of(j, "runtime"),
	    .layers = (const uint8_t(*)[WIRE_HASH_SIZE])layers,
	    .layer_count = json_array_size(layer_list),
	    .args = args,
	    .arg_count = texts(json_object_get(j, "args"), args),
	    .env = env,
	    .env_count = pairs(json_object_get(j, "env"), env),
	    .cwd = text_of(j, "cwd"),
	    .hostname = text_of(j, "hostname"),
	    .uid = (uint32_t)number_of(j, "uid"),
	    .gid = (uint32_t)number_of(j, "gid"),
	    .terminal = truth_of(j, "terminal"),
	    .open_stdin = truth_of(j, "stdin"),
	    .read_only_root = truth_of(j, "read_only"),
	    .init = truth_of(j, "init"),
	    .privileged = truth_of(j, "privileged"),
	    .no_new_privileges = truth_of(j, "nnp"),
	    .capabilities = json_object_get(j, "capabilities")
				? (uint64_t)number_of(j, "capabilities")
				: UINT64_C(0xa80425fb),
	    .cpu_shares = (uint32_t)number_of(j, "shares"),
	    .memory_bytes = (uint64_t)number_of(j, "memory"),
	    .swap_bytes = -1,
	    .mounts = mount_list,
	    .mount_count = mounts(json_object_get(j, "mounts"), mount_list),
	    .limits = limit_list,
	    .limit_count = limits(json_object_get(j, "limits"), limit_list),
	    .sysctls = sysctls,
	    .sysctl_count = pairs(json_object_get(j, "sysctls"), sysctls),
	    .ports = port_list,
	    .port_count = ports(json_object_get(j, "ports"), port_list)};

	for (size_t i = 0; i < s.layer_count; i++)
		hex_decode(str_from(json_string_value(json_array_get(layer_list, i))), layers[i],
		    WIRE_HASH_SIZE);
	snprintf(s.id, sizeof(s.id), "%s", text_of(j, "id"));
	snprintf(s.sandbox, sizeof(s.sandbox), "%s", text_of(j, "sandbox"));
	spawn_container_make(spawn, &s, on_net, c);
}

static void exec(struct command *c)
{
	static const char *args[64];
	static struct container_pair env[64];
	json_t *j = c->json;
	struct container_exec x = {.args = args,
	    .arg_count = texts(json_object_get(j, "args"), args),
	    .env = json_object_get(j, "env") ? env : NULL,
	    .env_count = pairs(json_object_get(j, "env"), env),
	    .terminal = truth_of(j, "terminal"),
	    .rows = (uint16_t)number_of(j, "rows"),
	    .columns = (uint16_t)number_of(j, "columns")};

	snprintf(x.id, sizeof(x.id), "%s", text_of(j, "id"));
	snprintf(x.exec_id, sizeof(x.exec_id), "%s", text_of(j, "exec_id"));
	spawn_container_exec(spawn, &x, on_exec, on_exec_end, c);
}

/* ---- commands ---- */

static void obey(json_t *j)
{
	const char *op = text_of(j, "op"), *id = text_of(j, "id");
	struct command *c = calloc(1, sizeof(*c));

	c->json = j;
	if (strcmp(op, "sandbox_make") == 0)
		sandbox_make(c);
	else if (strcmp(op, "sandbox_remove") == 0)
		spawn_sandbox_remove(spawn, id, on_plain, c);
	else if (strcmp(op, "make") == 0)
		container_make(c);
	else if (strcmp(op, "start") == 0)
		spawn_container_start(spawn, id, on_plain, c);
	else if (strcmp(op, "signal") == 0)
		spawn_container_signal(spawn, id, (int)number_of(j, "signal"), on_plain, c);
	else if (strcmp(op, "remove") == 0)
		spawn_container_remove(spawn, id, on_plain, c);
	else if (strcmp(op, "log") == 0)
		finish(c, read_log(c, id));
	else if (strcmp(op, "usage") == 0)
		spawn_container_usage(spawn, id, on_usage, c);
	else if (strcmp(op, "attach") == 0)
		spawn_container_attach(spawn, id, on_attach, c);
	else if (strcmp(op, "exec") == 0)
		exec(c);
	else if (strcmp(op, "exec_kill") == 0) {
		spawn_container_exec_kill(spawn, text_of(j, "exec_id"));
		finish(c, reply_to(c, 0, ""));
	} else if (strcmp(op, "resize") == 0) {
		spawn_container_resize(spawn, id, 33, 77);
		finish(c, reply_to(c, 0, ""));
	} else
		finish(c, reply_to(c, -EINVAL, "no such command"));
}

static void on_client(struct loop_io *io, uint32_t events _unused_)
{
	ssize_t n = read(io->fd, line + line_len, sizeof(line) - line_len);
	char *end;

	if (n <= 0) {
		loop_io_remove(loop, io);
		close(client);
		client = -1;
		return;
	}
	line_len += (size_t)n;
	while ((end = memchr(line, '\n', line_len))) {
		json_t *j = json_loadb(line, (size_t)(end - line), 0, NULL);
		size_t used = (size_t)(end + 1 - line);

		memmove(line, end + 1, line_len - used);
		line_len -= used;
		check(j);
		obey(j);
	}
}

/* ---- events ---- */

static void add_facts(json_t *r, const struct container_facts *f)
{
	json_object_set_new(r, "id", json_string(f->id));
	json_object_set_new(r, "sandbox", json_string(f->sandbox));
	json_object_set_new(r, "state", json_integer(f->state));
	json_object_set_new(r, "code", json_integer(f->exit_code));
	json_object_set_new(r, "oom", json_boolean(f->oom_killed));
	json_object_set_new(r, "started", json_integer(f->started_ms));
	json_object_set_new(r, "finished", json_integer(f->finished_ms));
}

static json_t *event(const char *name)
{
	json_t *r = json_object();

	json_object_set_new(r, "event", json_string(name));
	return r;
}

static void on_exit_(void *ctx _unused_, const struct container_facts *f)
{
	json_t *r = event("exit");

	add_facts(r, f);
	say(r);
}

static void on_found(void *ctx _unused_, const struct sandbox_spec *sandbox,
    const struct container_facts *f, const struct container_net *net)
{
	json_t *r = event(sandbox ? "sandbox" : f ? "container" : "end");

	if (sandbox) {
		json_object_set_new(r, "id", json_string(sandbox->id));
		json_object_set_new(r, "network", json_integer(sandbox->network));
		json_object_set_new(r, "memory", json_integer((int64_t)sandbox->memory_bytes));
	}
	if (f)
		add_facts(r, f);
	add_net(r, net);
	say(r);
}

static const struct container_handler handler = {.on_exit = on_exit_, .on_found = on_found};

static void on_listener(struct loop_io *io, uint32_t events _unused_)
{
	static bool started;

	client = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (client < 0)
		return;
	line_len = 0;
	client_io = (struct loop_io){.fd = client, .events = EPOLLIN, .on_ready = on_client};
	check(loop_io_add(loop, &client_io) == 0);
	if (!started)
		spawn_containers_start(spawn, &handler, NULL);
	started = true;
}

static void on_term(int signal _unused_)
{
	_exit(0);
}

int main(void)
{
	static const struct spawn_handler boxes;
	struct err e = ERR_INIT;

	signal(SIGTERM, on_term);
	loop = loop_new(0, &e);
	spawn = loop ? spawn_new(loop, CORE_FD_SPAWNER, &boxes, NULL, &e) : NULL;
	check(spawn);
	listener_io = (struct loop_io){
	    .fd = CORE_FD_FIRST_LISTENER, .events = EPOLLIN, .on_ready = on_listener};
	check(loop_io_add(loop, &listener_io) == 0);
	printf("HELLO pid %d\n", (int)getpid());
	fflush(stdout);
	loop_run(loop);
	return 1;
}
