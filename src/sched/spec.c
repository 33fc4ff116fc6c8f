/*
 * From a container's definition, its overrides and its image's configuration to what the spawner is
 * told. Pure: no state is changed, nothing is asked of anybody. Parts of it are in env.c, mount.c,
 * text.c and limit.c.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "sched/task_int.h"

const json_t *spec_member(const struct unit *u, const char *name)
{
	const json_t *v = json_object_get(u->override, name);

	return v && !json_is_null(v) ? v : json_object_get(u->def, name);
}

const char *spec_task_role(const struct task *t)
{
	const char *role = docs_str(json_object_get(t->base, "overrides"), "taskRoleArn");

	return role && *role ? role : docs_str(t->definition, "taskRoleArn");
}

int64_t spec_task_size(const struct task *t, const char *name)
{
	const json_t *v = json_object_get(json_object_get(t->base, "overrides"), name);

	return spec_number(v ? v : json_object_get(t->definition, name));
}

enum container_network spec_network(const json_t *definition)
{
	const char *mode = docs_str(definition, "networkMode");

	if (!mode || !strcmp(mode, "bridge"))
		return CONTAINER_NET_BRIDGE;
	if (!strcmp(mode, "awsvpc"))
		return CONTAINER_NET_TASK;
	return strcmp(mode, "host") ? CONTAINER_NET_NONE : CONTAINER_NET_HOST;
}

int spec_signal(const char *name)
{
	int64_t n;

	if (!name || !*name)
		return 0;
	if (str_to_int64(str_from(name), 1, SIGRTMAX, &n))
		return (int)n;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	for (int s = 1; s < SIGRTMIN; s++) {
		const char *known = sigabbrev_np(s);

		if (known && !strcasecmp(known, name))
			return s;
	}
	if (!strncasecmp(name, "RTMIN+", 6) && str_to_int64(str_from(name + 6), 0, 30, &n))
		return 34 + (int)n;
	return 0;
}

void spec_dns_name(const char *address, char ret[64])
{
	char dashed[16];

	snprintf(dashed, sizeof(dashed), "%s", address);
	for (char *c = dashed; *c; c++)
		if (*c == '.')
			*c = '-';
	snprintf(ret, 64, "ip-%s.ec2.internal", dashed);
}

const char *spec_hostname(struct arena *a, const struct unit *u)
{
	const char *name = docs_str(u->def, "hostname");
	char *dns;

	if (name && *name)
		return name;
	if (u->task->network != CONTAINER_NET_TASK || !*u->task->place.address)
		return arena_printf(a, "%.12s", u->id);
	dns = arena_alloc(a, 64);
	spec_dns_name(u->task->place.address, dns);
	return dns;
}

/* ---- the sandbox ---- */

static bool is(const json_t *definition, const char *name, const char *value)
{
	const char *s = docs_str(definition, name);

	return s && !strcmp(s, value);
}

static uint64_t disk_bytes(const struct task *t)
{
	const json_t *over =
			 json_object_get(json_object_get(t->base, "overrides"), "ephemeralStorage"),
		     *def = json_object_get(t->definition, "ephemeralStorage");
	int64_t gib = docs_int(over ? over : def, "sizeInGiB");

	return (uint64_t)gib << 30;
}

/* The most that a container asks for. */
static uint64_t shm_bytes(const struct task *t)
{
	int64_t most = 0;

	for (unsigned i = 0; i < t->unit_count; i++) {
		const json_t *linux_params = json_object_get(t->units[i].def, "linuxParameters");
		int64_t mib = docs_int(linux_params, "sharedMemorySize");

		most = mib > most ? mib : most;
	}
	return (uint64_t)most << 20;
}

void spec_sandbox(const struct task *t, struct sandbox_spec *ret)
{
	int64_t cpu = spec_task_size(t, "cpu"), memory = spec_task_size(t, "memory");

	*ret = (struct sandbox_spec){.network = t->network,
	    .share_pid = is(t->definition, "pidMode", "task"),
	    .share_ipc = is(t->definition, "ipcMode", "task"),
	    .host_pid = is(t->definition, "pidMode", "host"),
	    .host_ipc = is(t->definition, "ipcMode", "host"),
	    .cpu_milli = (uint32_t)(cpu * 1000 / 1024),
	    .memory_bytes = (uint64_t)memory << 20,
	    .disk_bytes = disk_bytes(t),
	    .shm_bytes = shm_bytes(t)};
	memcpy(ret->id, t->sandbox_id, sizeof(ret->id));
}

/* ---- a container ---- */

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static const char *const *strings(struct arena *a, const json_t *list, size_t *ret_count)
{
	const char **out;
	size_t i, n = 0;
	json_t *v;

	out = arena_array(a, json_array_size(list) + 1, const char *);
	json_array_foreach(list, i, v)
	{
		if (json_is_string(v))
			out[n++] = json_string_value(v);
	}
	*ret_count = n;
	return out;
}

/* Docker's rules: an entry point of one's own forgets the image's command. */
static int build_args(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e)
{
	size_t entry_count, command_count;
	const char *const *entry =
	    strings(a, json_object_get(in->unit->def, "entryPoint"), &entry_count);
	const char *const *command = strings(a, spec_member(in->unit, "command"), &command_count);
	const char **args;

	if (!command_count && !entry_count) {
		command = in->image->cmd;
		command_count = count(command);
	}
	if (!entry_count) {
		entry = in->image->entrypoint;
		entry_count = count(entry);
	}
	if (!entry_count && !command_count)
		return err_set(e, EINVAL, "no command specified, and the image has none");
	args = arena_array(a, entry_count + command_count + 1, const char *);
	for (size_t i = 0; i < entry_count; i++)
		args[i] = entry[i];
	for (size_t i = 0; i < command_count; i++)
		args[entry_count + i] = command[i];
	ret->args = args;
	ret->arg_count = entry_count + command_count;
	return 0;
}

static bool no_new_privileges(const struct unit *u)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(u->def, "dockerSecurityOptions"), i, v)
	{
		const char *s = json_string_value(v);

		if (s && str_has_prefix(str_from(s), "no-new-privileges") &&
		    !str_has_suffix(str_from(s), "false"))
			return true;
	}
	return false;
}

static bool flag(const struct unit *u, const char *name)
{
	return json_is_true(json_object_get(u->def, name));
}

static const char *working_dir(const struct spec_in *in)
{
	const char *dir = docs_str(in->unit->def, "workingDirectory");

	if (dir && *dir)
		return dir;
	return in->image->working_dir && *in->image->working_dir ? in->image->working_dir : "/";
}

int spec_container(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e)
{
	const struct unit *u = in->unit;
	int r;

	*ret = (struct container_spec){.runtime = "crun",
	    .layers = in->layers,
	    .layer_count = in->layer_count,
	    .cwd = working_dir(in),
	    .hostname = spec_hostname(a, u),
	    .uid = in->uid,
	    .gid = in->gid,
	    .groups = in->groups,
	    .group_count = in->group_count,
	    .terminal = flag(u, "pseudoTerminal"),
	    .open_stdin = flag(u, "interactive"),
	    .read_only_root = flag(u, "readonlyRootFilesystem"),
	    .privileged = flag(u, "privileged"),
	    .no_new_privileges = no_new_privileges(u),
	    .no_network = flag(u, "disableNetworking")};
	memcpy(ret->id, u->id, sizeof(ret->id));
	memcpy(ret->sandbox, in->task->sandbox_id, sizeof(ret->sandbox));
	if (in->task->all && in->task->all->o.runtime)
		ret->runtime = in->task->all->o.runtime;
	r = build_args(a, in, ret, e);
	if (r == 0)
		r = limits_build(a, in, ret, e);
	if (r == 0)
		r = mount_build(a, in, ret, e);
	if (r == 0)
		r = port_build(a, in, ret, e);
	if (r == 0)
		env_build(a, in, ret);
	return r;
}
