/* Records from core. See record.h. */
#include "spawner/record.h"

#include <stdio.h>

#define TMPFS_OPTIONS_MAX 64

struct reader {
	const char *at, *end;
	const char *why; /* the first thing that was wrong; NULL so far */
};

static void wrong(struct reader *r, const char *why)
{
	if (!r->why)
		r->why = why;
	r->at = r->end;
}

static void take(struct reader *r, void *ret, size_t len)
{
	memset(ret, 0, len);
	if ((size_t)(r->end - r->at) < len) {
		wrong(r, "record too short");
		return;
	}
	memcpy(ret, r->at, len);
	r->at += len;
}

static uint32_t take_u32(struct reader *r)
{
	uint32_t n;

	take(r, &n, sizeof(n));
	return n;
}

static uint64_t take_u64(struct reader *r)
{
	uint64_t n;

	take(r, &n, sizeof(n));
	return n;
}

static bool take_bool(struct reader *r)
{
	uint32_t n = take_u32(r);

	if (n > 1)
		wrong(r, "neither yes nor no");
	return n == 1;
}

static uint32_t take_below(struct reader *r, uint32_t limit, const char *why)
{
	uint32_t n = take_u32(r);

	if (n >= limit)
		wrong(r, why);
	return n < limit ? n : 0;
}

/* Points into the record; "" when something is wrong. */
static const char *take_text(struct reader *r)
{
	uint32_t len = take_u32(r);
	const char *text = r->at;

	if ((size_t)(r->end - r->at) <= len) {
		wrong(r, "text too long");
		return "";
	}
	if (memchr(text, '\0', (size_t)len + 1) != text + len) {
		wrong(r, "text with a NUL, or without one at its end");
		return "";
	}
	r->at += len + 1;
	return text;
}

static void take_short(struct reader *r, char *ret, size_t size)
{
	const char *text = take_text(r);

	if (strlen(text) >= size)
		wrong(r, "text too long");
	snprintf(ret, size, "%s", text);
}

bool record_id_ok(const char *id)
{
	return strlen(id) == CONTAINER_ID_SIZE - 1 &&
	       strspn(id, "0123456789abcdef") == CONTAINER_ID_SIZE - 1;
}

static void take_id(struct reader *r, char ret[CONTAINER_ID_SIZE])
{
	take_short(r, ret, CONTAINER_ID_SIZE);
	if (!record_id_ok(ret))
		wrong(r, "not an id");
}

/* A name that becomes part of a path. */
static void check_name(struct reader *r, const char *name, size_t most)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = strlen(name);

	if (len == 0 || len > most || strspn(name, allowed) != len || name[0] == '.')
		wrong(r, "not a name");
}

/* Absolute, and nowhere upwards. */
static void check_path(struct reader *r, const char *path)
{
	if (path[0] != '/' || strlen(path) >= 4096)
		wrong(r, "not an absolute path");
	for (const char *p = path; (p = strstr(p, "/..")); p += 3)
		if (p[3] == '/' || p[3] == '\0')
			wrong(r, "path with ..");
}

/* Where something goes that must not cover what is the kernel's own. */
static void check_target(struct reader *r, const char *path)
{
	char clean[4096];

	check_path(r, path);
	if (!path_clean(path, clean, sizeof(clean)) || container_target_refused(clean))
		wrong(r, "something that would cover /, /proc, /sys or /dev");
}

static size_t take_texts(struct reader *r, const char **ret, size_t most)
{
	uint32_t count = take_below(r, (uint32_t)most + 1, "too many texts");

	for (uint32_t i = 0; i < count; i++)
		ret[i] = take_text(r);
	return count;
}

static size_t take_pairs(struct reader *r, struct container_pair *ret, size_t most)
{
	uint32_t count = take_below(r, (uint32_t)most + 1, "too many pairs");

	for (uint32_t i = 0; i < count; i++) {
		ret[i].name = take_text(r);
		ret[i].value = take_text(r);
		if (!ret[i].name[0] || strchr(ret[i].name, '='))
			wrong(r, "name without letters, or with =");
	}
	return count;
}

static struct reader begin(const void *data, size_t len, enum record_kind kind)
{
	struct reader r = {.at = data, .end = (const char *)data + len};

	if (len > CONTAINER_SPEC_MAX || take_u32(&r) != kind)
		wrong(&r, "not a record of this kind");
	return r;
}

static int finish(struct reader *r, const char **ret_why)
{
	if (r->at != r->end)
		wrong(r, "record too long");
	*ret_why = r->why;
	return r->why ? -EINVAL : 0;
}

int record_sandbox(const void *data, size_t len, struct sandbox_spec *ret, const char **ret_why)
{
	struct reader r = begin(data, len, RECORD_SANDBOX);

	memset(ret, 0, sizeof(*ret));
	take_id(&r, ret->id);
	ret->network =
	    (enum container_network)take_below(&r, CONTAINER_NET_HOST + 1, "no such network");
	ret->share_pid = take_bool(&r);
	ret->share_ipc = take_bool(&r);
	ret->host_pid = take_bool(&r);
	ret->host_ipc = take_bool(&r);
	ret->cpu_milli = take_u32(&r);
	ret->memory_bytes = take_u64(&r);
	ret->disk_bytes = take_u64(&r);
	ret->pids_max = take_u32(&r);
	ret->shm_bytes = take_u64(&r);
	if ((ret->share_pid && ret->host_pid) || (ret->share_ipc && ret->host_ipc))
		wrong(&r, "a namespace that is shared and the host's");
	if (ret->cpu_milli > 1000000 || ret->memory_bytes > INT64_MAX ||
	    ret->disk_bytes > (UINT64_C(1) << 44) || ret->pids_max > (1 << 22) ||
	    ret->shm_bytes > INT64_MAX)
		wrong(&r, "limit out of range");
	return finish(&r, ret_why);
}

/* ---- containers ---- */

static void take_layers(struct reader *r, struct container_spec *s)
{
	s->layer_count = take_below(r, CONTAINER_LAYERS_MAX + 1, "too many layers");
	s->layers = (const uint8_t(*)[WIRE_HASH_SIZE])(const void *)r->at;
	if (s->layer_count == 0)
		wrong(r, "no layer");
	if ((size_t)(r->end - r->at) < s->layer_count * WIRE_HASH_SIZE)
		wrong(r, "record too short");
	else
		r->at += s->layer_count * WIRE_HASH_SIZE;
}

static void take_process(struct reader *r, struct record_container *c)
{
	struct container_spec *s = &c->spec;

	s->args = c->args;
	s->arg_count = take_texts(r, c->args, CONTAINER_ARGS_MAX);
	if (s->arg_count == 0)
		wrong(r, "nothing to run");
	s->env = c->env;
	s->env_count = take_pairs(r, c->env, CONTAINER_ENV_MAX);
	s->cwd = take_text(r);
	check_path(r, s->cwd);
	s->hostname = take_text(r);
	if (strlen(s->hostname) > 64)
		wrong(r, "host name too long");
	s->uid = take_below(r, 65536, "user out of range");
	s->gid = take_below(r, 65536, "group out of range");
	s->groups = c->groups;
	s->group_count = take_below(r, CONTAINER_GROUPS_MAX + 1, "too many groups");
	for (size_t i = 0; i < s->group_count; i++)
		c->groups[i] = take_below(r, 65536, "group out of range");
	s->terminal = take_bool(r);
	s->open_stdin = take_bool(r);
	s->read_only_root = take_bool(r);
	s->init = take_bool(r);
	s->privileged = take_bool(r);
	s->no_new_privileges = take_bool(r);
	s->no_network = take_bool(r);
	s->capabilities = take_u64(r);
}

static void take_limits(struct reader *r, struct container_spec *s)
{
	s->cpu_shares = take_u32(r);
	s->memory_bytes = take_u64(r);
	s->memory_reservation_bytes = take_u64(r);
	s->shm_bytes = take_u64(r);
	s->swap_bytes = (int64_t)take_u64(r);
	s->swappiness = take_below(r, 102, "limit out of range");
	if (s->memory_bytes > INT64_MAX || s->memory_reservation_bytes > INT64_MAX ||
	    s->shm_bytes > INT64_MAX || s->swap_bytes < -1 || s->cpu_shares > 262144)
		wrong(r, "limit out of range");
}

/* Of a tmpfs; none is fine. */
static void check_options(struct reader *r, const char *options)
{
	struct str rest = str_from(options);
	unsigned n = 0;

	while (rest.ptr && *options)
		if (!container_tmpfs_option(str_cut(&rest, ',')) || ++n > TMPFS_OPTIONS_MAX)
			wrong(r, "no such option of a tmpfs");
}

static void take_mounts(struct reader *r, struct record_container *c)
{
	struct container_spec *s = &c->spec;

	s->mounts = c->mounts;
	s->mount_count = take_below(r, CONTAINER_MOUNTS_MAX + 1, "too many mounts");
	for (size_t i = 0; i < s->mount_count; i++) {
		struct container_mount *m = &c->mounts[i];

		m->kind = (enum container_mount_kind)take_below(
		    r, CONTAINER_MOUNT_ROOT + 1, "no such kind of mount");
		m->source = take_text(r);
		m->target = take_text(r);
		m->read_only = take_bool(r);
		m->size_bytes = take_u64(r);
		check_target(r, m->target);
		if (m->kind == CONTAINER_MOUNT_VOLUME || m->kind == CONTAINER_MOUNT_TASK)
			check_name(r, m->source, 255);
		if (m->kind == CONTAINER_MOUNT_HOST || m->kind == CONTAINER_MOUNT_ROOT)
			check_path(r, m->source);
		if (m->kind == CONTAINER_MOUNT_TMPFS)
			check_options(r, m->source);
		if (m->size_bytes > INT64_MAX)
			wrong(r, "size out of range");
	}
}

static bool limit_known(const char *name)
{
	static const char *const known[] = {"as", "core", "cpu", "data", "fsize", "locks",
	    "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	    "sigpending", "stack"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return false;
}

static void take_devices(struct reader *r, struct record_container *c)
{
	struct container_spec *s = &c->spec;

	s->limits = c->limits;
	s->limit_count = take_below(r, CONTAINER_LIMITS_MAX + 1, "too many limits");
	for (size_t i = 0; i < s->limit_count; i++) {
		take_short(r, c->limits[i].name, sizeof(c->limits[i].name));
		c->limits[i].soft = take_u64(r);
		c->limits[i].hard = take_u64(r);
		if (!limit_known(c->limits[i].name))
			wrong(r, "no such resource limit");
	}
	s->devices = c->devices;
	s->device_count = take_below(r, CONTAINER_DEVICES_MAX + 1, "too many devices");
	for (size_t i = 0; i < s->device_count; i++) {
		struct container_device *d = &c->devices[i];

		take_short(r, d->host, sizeof(d->host));
		take_short(r, d->inside, sizeof(d->inside));
		d->read = take_bool(r);
		d->write = take_bool(r);
		d->mknod = take_bool(r);
		check_path(r, d->host);
		check_target(r, d->inside);
		if (strncmp(d->host, "/dev/", 5) != 0)
			wrong(r, "device outside of /dev");
	}
}

/* Those that belong to a namespace; all others are the host's. */
static bool sysctl_known(const char *name)
{
	static const char *const known[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",
	    "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
	    "kernel.shm_rmid_forced"};

	if (strchr(name, '/'))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i]) == 0)
			return true;
	return strncmp(name, "net.", 4) == 0 || strncmp(name, "fs.mqueue.", 10) == 0;
}

static void take_ports(struct reader *r, struct record_container *c)
{
	struct container_spec *s = &c->spec;

	s->sysctls = c->sysctls;
	s->sysctl_count = take_pairs(r, c->sysctls, CONTAINER_SYSCTLS_MAX);
	for (size_t i = 0; i < s->sysctl_count; i++)
		if (!sysctl_known(c->sysctls[i].name))
			wrong(r, "not a setting of a namespace");
	s->ports = c->ports;
	s->port_count = take_below(r, CONTAINER_PORTS_MAX + 1, "too many ports");
	for (size_t i = 0; i < s->port_count; i++) {
		struct container_port *p = &c->ports[i];

		p->udp = take_bool(r);
		take_short(r, p->host_address, sizeof(p->host_address));
		p->host = (uint16_t)take_below(r, 65536, "port out of range");
		p->inside = (uint16_t)take_below(r, 65536, "port out of range");
		if (!p->inside)
			wrong(r, "port out of range");
	}
}

int record_container(
    const void *data, size_t len, struct record_container *ret, const char **ret_why)
{
	struct reader r = begin(data, len, RECORD_CONTAINER);
	struct container_spec *s = &ret->spec;

	memset(s, 0, sizeof(*s));
	take_id(&r, s->id);
	take_id(&r, s->sandbox);
	s->runtime = take_text(&r);
	check_name(&r, s->runtime, 32);
	take_layers(&r, s);
	take_process(&r, ret);
	take_limits(&r, s);
	take_mounts(&r, ret);
	take_devices(&r, ret);
	take_ports(&r, ret);
	return finish(&r, ret_why);
}

int record_exec(const void *data, size_t len, struct record_exec *ret, const char **ret_why)
{
	struct reader r = begin(data, len, RECORD_EXEC);
	struct container_exec *x = &ret->exec;
	bool own_env;

	memset(x, 0, sizeof(*x));
	take_id(&r, x->id);
	take_id(&r, ret->sandbox);
	take_id(&r, x->exec_id);
	x->args = ret->args;
	x->arg_count = take_texts(&r, ret->args, CONTAINER_ARGS_MAX);
	if (x->arg_count == 0)
		wrong(&r, "nothing to run");
	own_env = take_bool(&r);
	x->env_count = take_pairs(&r, ret->env, CONTAINER_ENV_MAX);
	x->env = own_env ? ret->env : NULL;
	x->terminal = take_bool(&r);
	x->rows = (uint16_t)take_below(&r, 65536, "terminal out of range");
	x->columns = (uint16_t)take_below(&r, 65536, "terminal out of range");
	return finish(&r, ret_why);
}
