/* See config_json.h. */
#include "spawner/config_json.h"

#include <ctype.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container_seccomp_bpf.h"
#include "spawner/container_seccomp.h"
#include "spawner/ids.h"
#include "spawner/json_out.h"

/* By number, as <linux/capability.h> has them. */
static const char *const capability_names[] = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
    "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
    "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
    "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE",
    "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON",
    "BPF", "CHECKPOINT_RESTORE"};

static const char *const masked[] = {"/proc/acpi", "/proc/asound", "/proc/interrupts",
    "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"};
static const char *const read_only[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

const char *config_capability(unsigned number)
{
	return number < ARRAY_SIZE(capability_names) ? capability_names[number] : "?";
}

/* ---- the process ---- */

static void put_capabilities(struct json_out *j, uint64_t set)
{
	static const char *const sets[] = {"bounding", "effective", "permitted"};

	json_open(j, "capabilities", '{');
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		json_open(j, sets[i], '[');
		for (size_t n = 0; n < ARRAY_SIZE(capability_names); n++)
			if (set & UINT64_C(1) << n)
				json_joined(j, NULL, "CAP_", capability_names[n], "");
		json_close(j, ']');
	}
	json_close(j, '}');
}

static void put_user(struct json_out *j, const struct container_spec *s)
{
	json_open(j, "user", '{');
	json_uint(j, "uid", s->uid);
	json_uint(j, "gid", s->gid);
	/* The first group is among the others, as with Docker: or giving it up by setegid() would
	 * open what is closed to that group. */
	json_open(j, "additionalGids", '[');
	json_uint(j, NULL, s->gid);
	for (size_t i = 0; i < s->group_count; i++)
		if (s->groups[i] != s->gid)
			json_uint(j, NULL, s->groups[i]);
	json_close(j, ']');
	json_close(j, '}');
}

static void put_env(struct json_out *j, const struct container_pair *env, size_t count)
{
	json_open(j, "env", '[');
	for (size_t i = 0; i < count; i++)
		json_joined(j, NULL, env[i].name, "=", env[i].value);
	json_close(j, ']');
}

static void put_rlimits(struct json_out *j, const struct container_spec *s)
{
	json_open(j, "rlimits", '[');
	for (size_t i = 0; i < s->limit_count; i++) {
		char name[32] = "RLIMIT_";
		size_t at = strlen(name);

		for (const char *c = s->limits[i].name; *c && at + 1 < sizeof(name); c++)
			name[at++] = (char)toupper((unsigned char)*c);
		name[at] = '\0';
		json_open(j, NULL, '{');
		json_text(j, "type", name);
		json_uint(j, "soft", s->limits[i].soft);
		json_uint(j, "hard", s->limits[i].hard);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void put_args(
    struct json_out *j, const struct config *c, const char *const *args, size_t count)
{
	json_open(j, "args", '[');
	if (c->init_path) {
		json_text(j, NULL, "/dev/init");
		json_text(j, NULL, "--");
	}
	for (size_t i = 0; i < count; i++)
		json_text(j, NULL, args[i]);
	json_close(j, ']');
}

static void put_process(struct json_out *j, const struct config *c)
{
	const struct container_spec *s = c->spec;

	json_open(j, "process", '{');
	json_bool(j, "terminal", s->terminal);
	put_user(j, s);
	put_args(j, c, s->args, s->arg_count);
	put_env(j, s->env, s->env_count);
	json_text(j, "cwd", s->cwd);
	put_capabilities(j, c->capabilities);
	put_rlimits(j, s);
	json_bool(j, "noNewPrivileges", s->no_new_privileges);
	json_close(j, '}');
}

/* ---- mounts ---- */

static void put_mount(struct json_out *j, const char *target, const char *type, const char *source,
    const char *const *options)
{
	json_open(j, NULL, '{');
	json_text(j, "destination", target);
	json_text(j, "type", type);
	json_text(j, "source", source);
	json_open(j, "options", '[');
	for (; *options; options++)
		json_text(j, NULL, *options);
	json_close(j, ']');
	json_close(j, '}');
}

/* What belongs to a namespace of the host cannot be mounted anew, only shown. */
static void put_kernel_mounts(struct json_out *j, const struct config *c)
{
	static const char *const proc[] = {"nosuid", "noexec", "nodev", NULL};
	static const char *const shown[] = {"rbind", "nosuid", "noexec", "nodev", NULL};
	static const char *const sys[] = {"nosuid", "noexec", "nodev", "ro", NULL};
	static const char *const sys_shown[] = {"rbind", "nosuid", "noexec", "nodev", "ro", NULL};
	static const char *const cgroup[] = {"ro", "nosuid", "noexec", "nodev", NULL};
	static const char *const mqueue[] = {"nosuid", "noexec", "nodev", NULL};

	if (c->sandbox->host_pid)
		put_mount(j, "/proc", "bind", "/proc", shown);
	else
		put_mount(j, "/proc", "proc", "proc", proc);
	if (c->sandbox->network == CONTAINER_NET_HOST) {
		put_mount(j, "/sys", "bind", "/sys", sys_shown);
	} else {
		put_mount(j, "/sys", "sysfs", "sysfs", c->spec->privileged ? proc : sys);
		put_mount(j, "/sys/fs/cgroup", "cgroup", "cgroup", cgroup);
	}
	if (c->sandbox->host_ipc)
		put_mount(j, "/dev/mqueue", "bind", "/dev/mqueue", shown);
	else
		put_mount(j, "/dev/mqueue", "mqueue", "mqueue", mqueue);
}

/* With the IPC namespace goes the memory that is shared by name: of the task, of the host. */
static void put_shm(struct json_out *j, const struct config *c)
{
	static const char *const shared[] = {"bind", "nosuid", "noexec", "nodev", NULL};
	uint64_t size = c->spec->shm_bytes ? c->spec->shm_bytes : UINT64_C(64) << 20;
	char text[32];
	const char *own[] = {"nosuid", "noexec", "nodev", "mode=1777", text, NULL};

	snprintf(text, sizeof(text), "size=%" PRIu64, size);
	if (c->sandbox->host_ipc)
		put_mount(j, "/dev/shm", "bind", "/dev/shm", shared);
	else if (c->sandbox->share_ipc)
		put_mount(j, "/dev/shm", "bind", c->shm_at, shared);
	else
		put_mount(j, "/dev/shm", "tmpfs", "shm", own);
}

static void put_system_mounts(struct json_out *j, const struct config *c)
{
	static const char *const dev[] = {"nosuid", "strictatime", "mode=755", "size=65536k", NULL};
	static const char *const pts[] = {
	    "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", NULL};
	static const char *const init[] = {"bind", "ro", "nosuid", "nodev", NULL};

	put_mount(j, "/dev", "tmpfs", "tmpfs", dev);
	put_mount(j, "/dev/pts", "devpts", "devpts", pts);
	put_shm(j, c);
	put_kernel_mounts(j, c);
	if (c->init_path)
		put_mount(j, "/dev/init", "bind", c->init_path, init);
}

static bool has_option(const char *options, const char *name)
{
	struct str rest = str_from(options);

	while (rest.ptr)
		if (str_is(str_cut(&rest, ','), name))
			return true;
	return false;
}

/* Docker's options, but for those whose opposite was asked for: crun lets "noexec" win. */
static void put_tmpfs(struct json_out *j, const struct container_mount *m)
{
	static const char *const usual[] = {"nosuid", "nodev", "noexec"};
	uint64_t bytes = m->size_bytes ? m->size_bytes : UINT64_C(64) << 20;
	struct str rest = str_from(m->source), one;
	char option[32];

	json_open(j, NULL, '{');
	json_text(j, "destination", m->target);
	json_text(j, "type", "tmpfs");
	json_text(j, "source", "tmpfs");
	json_open(j, "options", '[');
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (!has_option(m->source, usual[i] + 2))
			json_text(j, NULL, usual[i]);
	json_text(j, NULL, "mode=1777");
	while (*m->source && rest.ptr) {
		one = str_cut(&rest, ',');
		snprintf(option, sizeof(option), "%.*s", STR_FMT(one));
		json_text(j, NULL, option);
	}
	snprintf(option, sizeof(option), "size=%" PRIu64, bytes);
	json_text(j, NULL, option);
	if (m->read_only)
		json_text(j, NULL, "ro");
	json_close(j, ']');
	json_close(j, '}');
}

/* As mounts of nodes that we made: a runtime would take its umask from their modes. */
static void put_devices(struct json_out *j, const struct config *c)
{
	static const char *const bind[] = {"bind", "rprivate", "nosuid", "noexec", NULL};
	char source[64];

	for (size_t i = 0; i < c->spec->device_count; i++) {
		snprintf(source, sizeof(source), "%s" CONFIG_DEVICES "/%zu", c->mounts_at, i);
		put_mount(j, c->spec->devices[i].inside, "bind", source, bind);
	}
}

static void put_wanted_mounts(struct json_out *j, const struct config *c)
{
	static const char *const bind[] = {"rbind", "rprivate", NULL};
	static const char *const bind_ro[] = {"rbind", "rprivate", "ro", NULL};
	char source[64];

	for (size_t i = 0; i < c->spec->mount_count; i++) {
		const struct container_mount *m = &c->spec->mounts[i];

		if (m->kind == CONTAINER_MOUNT_TMPFS) {
			put_tmpfs(j, m);
		} else {
			snprintf(source, sizeof(source), "%s/%zu", c->mounts_at, i);
			put_mount(j, m->target, "bind", source, m->read_only ? bind_ro : bind);
		}
	}
}

/* ---- linux ---- */

static void put_namespace(struct json_out *j, const char *type, const char *path)
{
	json_open(j, NULL, '{');
	json_text(j, "type", type);
	if (path)
		json_text(j, "path", path);
	json_close(j, '}');
}

static void put_namespaces(struct json_out *j, const struct config *c)
{
	const struct sandbox_spec *b = c->sandbox;
	char path[64], net[64];

	snprintf(net, sizeof(net), "/proc/%d/ns/net", (int)c->pause);
	json_open(j, "namespaces", '[');
	put_namespace(j, "mount", NULL);
	put_namespace(j, "cgroup", NULL);
	put_namespace(j, "uts", NULL);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)c->pause);
	put_namespace(j, "user", path);
	if (b->network != CONTAINER_NET_HOST)
		put_namespace(j, "network", c->net_path ? c->net_path : net);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)c->pause);
	if (!b->host_pid)
		put_namespace(j, "pid", b->share_pid ? path : NULL);
	snprintf(path, sizeof(path), "/proc/%d/ns/ipc", (int)c->pause);
	if (!b->host_ipc)
		put_namespace(j, "ipc", b->share_ipc ? path : NULL);
	json_close(j, ']');
}

static void put_memory(struct json_out *j, const struct config *c)
{
	const struct container_spec *s = c->spec;

	if (!s->memory_bytes && !s->memory_reservation_bytes)
		return;
	json_open(j, "memory", '{');
	if (s->memory_bytes)
		json_uint(j, "limit", s->memory_bytes);
	if (s->memory_reservation_bytes)
		json_uint(j, "reservation", s->memory_reservation_bytes);
	if (s->memory_bytes && s->swap_bytes >= 0)
		json_uint(j, "swap", s->memory_bytes + (uint64_t)s->swap_bytes);
	if (s->memory_bytes && s->swap_bytes >= 0 && s->swappiness && !c->cgroup_v2)
		json_uint(j, "swappiness", s->swappiness - 1);
	json_close(j, '}');
}

static void put_device_rules(struct json_out *j, const struct config *c)
{
	json_raw(j, "devices", "[{\"allow\":false,\"access\":\"rwm\"}");
	for (size_t i = 0; i < c->spec->device_count; i++) {
		const struct container_device *d = &c->spec->devices[i];
		char access[4] = "";

		snprintf(access, sizeof(access), "%s%s%s", d->read ? "r" : "", d->write ? "w" : "",
		    d->mknod ? "m" : "");
		json_open(j, NULL, '{');
		json_bool(j, "allow", true);
		json_text(j, "type", S_ISBLK(c->devices[i].mode) ? "b" : "c");
		json_uint(j, "major", c->devices[i].major);
		json_uint(j, "minor", c->devices[i].minor);
		json_text(j, "access", access);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void put_resources(struct json_out *j, const struct config *c)
{
	json_open(j, "resources", '{');
	put_device_rules(j, c);
	put_memory(j, c);
	if (c->spec->cpu_shares) {
		json_open(j, "cpu", '{');
		json_uint(j, "shares", c->spec->cpu_shares < 2 ? 2 : c->spec->cpu_shares);
		json_close(j, '}');
	}
	json_close(j, '}');
}

/* Of the pause's user namespace. crun joins it without being told, runc asks. */
static void put_mappings(struct json_out *j)
{
	static const char *const names[] = {"uidMappings", "gidMappings"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_open(j, names[i], '[');
		json_open(j, NULL, '{');
		json_uint(j, "containerID", 0);
		json_uint(j, "hostID", ID_CONTAINERS);
		json_uint(j, "size", ID_CONTAINERS_COUNT);
		json_close(j, '}');
		json_close(j, ']');
	}
}

static void put_linux(struct json_out *j, const struct config *c)
{
	json_open(j, "linux", '{');
	put_namespaces(j, c);
	if (strcmp(c->spec->runtime, "crun") != 0)
		put_mappings(j);
	json_text(j, "cgroupsPath", c->cgroup);
	put_resources(j, c);
	json_open(j, "sysctl", '{');
	for (size_t i = 0; i < c->spec->sysctl_count; i++)
		json_text(j, c->spec->sysctls[i].name, c->spec->sysctls[i].value);
	json_close(j, '}');
	if (!c->spec->privileged) {
		json_raw(j, "seccomp", container_seccomp);
		json_texts(j, "maskedPaths", masked, ARRAY_SIZE(masked));
		json_texts(j, "readonlyPaths", read_only, ARRAY_SIZE(read_only));
	}
	json_close(j, '}');
}

/* ---- whole ---- */

static ssize_t finish(struct json_out *j)
{
	if (j->used >= j->size)
		return -E2BIG;
	j->at[j->used] = '\0';
	return (ssize_t)j->used;
}

ssize_t config_json(const struct config *c, char *out, size_t size)
{
	struct json_out j = {.at = out, .size = size};

	json_open(&j, NULL, '{');
	json_text(&j, "ociVersion", "1.0.2");
	put_process(&j, c);
	json_open(&j, "root", '{');
	json_text(&j, "path", "/rootfs");
	json_bool(&j, "readonly", c->spec->read_only_root);
	json_close(&j, '}');
	if (c->spec->hostname[0])
		json_text(&j, "hostname", c->spec->hostname);
	json_open(&j, "mounts", '[');
	put_system_mounts(&j, c);
	put_wanted_mounts(&j, c);
	put_devices(&j, c);
	json_close(&j, ']');
	put_linux(&j, c);
	if (!c->spec->privileged) { /* the same filter, compiled: for crun, others do not know it */
		json_open(&j, "annotations", '{');
		json_text(&j, "run.oci.seccomp_bpf_data", container_seccomp_bpf);
		json_close(&j, '}');
	}
	json_close(&j, '}');
	return finish(&j);
}

ssize_t config_json_exec(
    const struct config *c, const struct container_exec *x, char *out, size_t size)
{
	const struct container_spec *s = c->spec;
	struct json_out j = {.at = out, .size = size};

	json_open(&j, NULL, '{');
	json_bool(&j, "terminal", x->terminal);
	if (x->rows) {
		json_open(&j, "consoleSize", '{');
		json_uint(&j, "height", x->rows);
		json_uint(&j, "width", x->columns);
		json_close(&j, '}');
	}
	put_user(&j, s);
	json_texts(&j, "args", x->args, x->arg_count);
	put_env(&j, x->env ? x->env : s->env, x->env ? x->env_count : s->env_count);
	json_text(&j, "cwd", s->cwd);
	put_capabilities(&j, c->capabilities);
	json_bool(&j, "noNewPrivileges", s->no_new_privileges);
	json_close(&j, '}');
	return finish(&j);
}
