/*
 * What this machine has for tasks, as ECS counts it: 1024 CPU units a CPU and MiB of memory. What a
 * task reserves is its own size, else the sum of its containers' (soft memory limit before the
 * hard one). Memory is never promised twice; CPU units neither, unless `cpu_percent` says so. That
 * holds for Fargate's tasks as well: there is no other machine that could take them.
 */
#include <string.h>

#include "sched/task_int.h"

int64_t spec_number(const json_t *v)
{
	int64_t n = 0;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (json_is_string(v) && !str_to_int64(str_from(json_string_value(v)), 0, INT32_MAX, &n))
		return 0;
	return n;
}

static const json_t *override_of(const json_t *overrides, const json_t *def)
{
	const char *name = docs_str(def, "name"), *other;
	size_t i;
	json_t *o;

	json_array_foreach(json_object_get(overrides, "containerOverrides"), i, o)
	{
		other = docs_str(o, "name");
		if (name && other && !strcmp(name, other))
			return o;
	}
	return NULL;
}

static int64_t either(const json_t *over, const json_t *def, const char *name)
{
	const json_t *v = json_object_get(over, name);

	return spec_number(v ? v : json_object_get(def, name));
}

void host_sizes(const json_t *definition, const json_t *overrides, int64_t *ret_cpu_units,
    int64_t *ret_memory_mib)
{
	int64_t cpu = 0, memory = 0, soft;
	size_t i;
	json_t *def;

	json_array_foreach(json_object_get(definition, "containerDefinitions"), i, def)
	{
		const json_t *over = override_of(overrides, def);

		cpu += either(over, def, "cpu");
		soft = either(over, def, "memoryReservation");
		memory += soft ? soft : either(over, def, "memory");
	}
	*ret_cpu_units = either(overrides, definition, "cpu");
	if (!*ret_cpu_units)
		*ret_cpu_units = cpu;
	*ret_memory_mib = either(overrides, definition, "memory");
	if (!*ret_memory_mib)
		*ret_memory_mib = memory;
}

void host_reserve(struct tasks *all, const struct task *t, int sign)
{
	all->host.cpu_units_free -= sign * t->cpu_units;
	all->host.memory_mib_free -= sign * t->memory_mib;
}

void tasks_host(const struct tasks *all, struct tasks_host *ret)
{
	*ret = all->host;
	list_for_each (n, &all->live) {
		const struct task *t = list_entry(n, struct task, node);

		if (t->phase == TASK_RUNNING)
			ret->running++;
		else if (t->phase < TASK_RUNNING)
			ret->pending++;
	}
}

/* ---- ports of the host ---- */

/* Ports of the host that a container with this definition asks for by number. */
static bool wants_port(const json_t *def, bool host_network, int64_t port, const char *protocol)
{
	size_t i;
	json_t *m;

	json_array_foreach(json_object_get(def, "portMappings"), i, m)
	{
		const char *p = docs_str(m, "protocol");
		int64_t n = docs_int(m, "hostPort");

		if (!n && host_network)
			n = docs_int(m, "containerPort");
		if (n == port && !strcmp(p ? p : "tcp", protocol))
			return true;
	}
	return false;
}

static const struct task *port_user(const struct tasks *all, int64_t port, const char *protocol)
{
	list_for_each (n, &all->live) {
		const struct task *t = list_entry(n, struct task, node);

		if (t->network != CONTAINER_NET_BRIDGE && t->network != CONTAINER_NET_HOST)
			continue;
		for (unsigned i = 0; i < t->unit_count; i++)
			if (wants_port(
				t->units[i].def, t->network == CONTAINER_NET_HOST, port, protocol))
				return t;
	}
	return NULL;
}

static bool ports_free(const struct tasks *all, const json_t *definition, struct err *detail)
{
	enum container_network net = spec_network(definition);
	size_t i, k;
	json_t *def, *m;

	if (net != CONTAINER_NET_BRIDGE && net != CONTAINER_NET_HOST)
		return true;
	json_array_foreach(json_object_get(definition, "containerDefinitions"), i, def)
	{
		json_array_foreach(json_object_get(def, "portMappings"), k, m)
		{
			const char *protocol = docs_str(m, "protocol") ?: "tcp";
			int64_t port = docs_int(m, "hostPort");
			const struct task *user;

			if (!port && net == CONTAINER_NET_HOST)
				port = docs_int(m, "containerPort");
			user = port ? port_user(all, port, protocol) : NULL;
			if (user) {
				err_set(detail, EADDRINUSE, "port %lld/%s is used by task %s",
				    (long long)port, protocol, user->id);
				return false;
			}
		}
	}
	return true;
}

const char *tasks_lacks(
    const struct tasks *all, const json_t *definition, const json_t *overrides, struct err *detail)
{
	int64_t cpu, memory;

	host_sizes(definition, overrides, &cpu, &memory);
	if (cpu > all->host.cpu_units_free)
		return "RESOURCE:CPU";
	if (memory > all->host.memory_mib_free)
		return "RESOURCE:MEMORY";
	return ports_free(all, definition, detail) ? NULL : "RESOURCE:PORTS";
}
