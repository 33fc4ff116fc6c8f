/* Resources and rights of a container: CPU shares, memory, capabilities, ulimits, devices, sysctls.
 */
#include <linux/capability.h>
#include <string.h>

#include "sched/task_int.h"

#define SHARES_MIN 2
#define SHARES_MAX 262144
#define LIST_MAX 64

/* In the order of their numbers. */
static const char *const capabilities[] = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
    "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
    "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
    "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE",
    "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON",
    "BPF", "CHECKPOINT_RESTORE"};

#define BIT(name) (UINT64_C(1) << CAP_##name)
/* Docker's. */
static const uint64_t usual = BIT(CHOWN) | BIT(DAC_OVERRIDE) | BIT(FOWNER) | BIT(FSETID) |
			      BIT(KILL) | BIT(SETGID) | BIT(SETUID) | BIT(SETPCAP) |
			      BIT(NET_BIND_SERVICE) | BIT(NET_RAW) | BIT(SYS_CHROOT) | BIT(MKNOD) |
			      BIT(AUDIT_WRITE) | BIT(SETFCAP);
static const uint64_t all = (UINT64_C(1) << ARRAY_SIZE(capabilities)) - 1;

static int mask(const json_t *list, uint64_t *ret, struct err *e)
{
	size_t i, n;
	json_t *v;

	*ret = 0;
	json_array_foreach(list, i, v)
	{
		const char *name = json_string_value(v);

		if (!name)
			continue;
		if (!strncmp(name, "CAP_", 4))
			name += 4;
		for (n = 0; n < ARRAY_SIZE(capabilities) && strcmp(capabilities[n], name); n++)
			;
		if (!strcmp(name, "ALL"))
			*ret |= all;
		else if (n == ARRAY_SIZE(capabilities))
			return err_set(e, EINVAL, "unknown capability %.64s", name);
		else
			*ret |= UINT64_C(1) << n;
	}
	return 0;
}

static int build_capabilities(const json_t *linux_params, struct container_spec *ret, struct err *e)
{
	const json_t *c = json_object_get(linux_params, "capabilities"),
		     *add_list = json_object_get(c, "add"), *drop_list = json_object_get(c, "drop");
	uint64_t add, drop;
	int r = mask(add_list, &add, e);

	if (r == 0)
		r = mask(drop_list, &drop, e);
	if (r < 0)
		return r;
	/* "Drop ALL, add one" means that one, whatever the order. */
	ret->capabilities = drop == all ? add : (usual | add) & ~drop;
	if (ret->privileged)
		ret->capabilities = all;
	return 0;
}

static void build_memory(
    const struct unit *u, const json_t *linux_params, struct container_spec *ret)
{
	const json_t *swap = json_object_get(linux_params, "maxSwap"),
		     *swappiness = json_object_get(linux_params, "swappiness");
	int64_t shares = spec_number(spec_member(u, "cpu"));

	ret->cpu_shares = (uint32_t)(shares < SHARES_MIN   ? SHARES_MIN
				     : shares > SHARES_MAX ? SHARES_MAX
							   : shares);
	ret->memory_bytes = (uint64_t)spec_number(spec_member(u, "memory")) << 20;
	ret->memory_reservation_bytes = (uint64_t)spec_number(spec_member(u, "memoryReservation"))
					<< 20;
	ret->shm_bytes = (uint64_t)docs_int(linux_params, "sharedMemorySize") << 20;
	ret->swap_bytes = swap ? json_integer_value(swap) << 20 : -1;
	if (swap && swappiness) /* without the former the latter is not looked at, as on AWS */
		ret->swappiness = (uint32_t)json_integer_value(swappiness) + 1;
	ret->init = json_is_true(json_object_get(linux_params, "initProcessEnabled"));
}

static void build_ulimits(struct arena *a, const json_t *list, struct container_spec *ret)
{
	struct container_limit *out = arena_array(a, json_array_size(list), struct container_limit);
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *name = docs_str(v, "name");

		snprintf(out[i].name, sizeof(out[i].name), "%s", name ? name : "");
		out[i].soft = (uint64_t)docs_int(v, "softLimit"); /* -1: none */
		out[i].hard = (uint64_t)docs_int(v, "hardLimit");
	}
	ret->limits = out;
	ret->limit_count = json_array_size(list);
}

static bool permitted(const json_t *device, const char *what)
{
	const json_t *list = json_object_get(device, "permissions");
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		if (json_is_string(v) && !strcmp(json_string_value(v), what))
			return true;
	}
	return json_array_size(list) == 0;
}

static int build_devices(
    struct arena *a, const json_t *list, struct container_spec *ret, struct err *e)
{
	struct container_device *out =
	    arena_array(a, json_array_size(list), struct container_device);
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *host = docs_str(v, "hostPath"), *inside = docs_str(v, "containerPath");

		if (!host || strlen(host) >= sizeof(out->host) ||
		    (inside && strlen(inside) >= sizeof(out->inside)))
			return err_set(e, EINVAL, "a device's path is missing or too long");
		strcpy(out[i].host, host);
		strcpy(out[i].inside, inside && *inside ? inside : host);
		out[i].read = permitted(v, "read");
		out[i].write = permitted(v, "write");
		out[i].mknod = permitted(v, "mknod");
	}
	ret->devices = out;
	ret->device_count = json_array_size(list);
	return 0;
}

static void build_sysctls(struct arena *a, const json_t *list, struct container_spec *ret)
{
	struct container_pair *out = arena_array(a, json_array_size(list), struct container_pair);
	size_t i, n = 0;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *name = docs_str(v, "namespace"), *value = docs_str(v, "value");

		if (name && value)
			out[n++] = (struct container_pair){name, value};
	}
	ret->sysctls = out;
	ret->sysctl_count = n;
}

int limits_build(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e)
{
	const struct unit *u = in->unit;
	const json_t *linux_params = json_object_get(u->def, "linuxParameters"),
		     *ulimits = json_object_get(u->def, "ulimits"),
		     *devices = json_object_get(linux_params, "devices"),
		     *sysctls = json_object_get(u->def, "systemControls");
	int r;

	if (json_array_size(ulimits) > LIST_MAX || json_array_size(devices) > LIST_MAX ||
	    json_array_size(sysctls) > LIST_MAX)
		return err_set(e, EINVAL, "more than %d ulimits, devices or sysctls", LIST_MAX);
	build_memory(u, linux_params, ret);
	build_ulimits(a, ulimits, ret);
	build_sysctls(a, sysctls, ret);
	r = build_capabilities(linux_params, ret, e);
	return r < 0 ? r : build_devices(a, devices, ret, e);
}
