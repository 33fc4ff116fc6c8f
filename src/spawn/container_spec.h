/*
 * What core asks for when it asks for sandboxes, containers and processes in them, and the record
 * that says so to the spawner: written by container_record.c, read by src/spawner/record.c.
 *
 * A record is a row of numbers (4 or 8 bytes, the host's order) and texts (4 bytes of length, the
 * bytes, a NUL) in the order of the members below; lists begin with their count. First comes an
 * enum record_kind. Nothing may follow the last member.
 */
#pragma once

#include "base/path.h"
#include "base/str.h"
#include "spawn/wire.h"

#define CONTAINER_ID_SIZE 33 /* 32 hex digits of lower case, chosen by core */
#define CONTAINER_LAYERS_MAX 128
#define CONTAINER_MOUNTS_MAX 64
#define CONTAINER_SPEC_MAX WIRE_RECORD_MAX /* bytes of a record, all texts included */
#define CONTAINER_PORTS_MAX WIRE_PORTS_MAX

enum record_kind { RECORD_SANDBOX = 1, RECORD_CONTAINER, RECORD_EXEC };

#define CONTAINER_ARGS_MAX 4096
#define CONTAINER_ENV_MAX 4096
#define CONTAINER_GROUPS_MAX 64
#define CONTAINER_LIMITS_MAX 16
#define CONTAINER_DEVICES_MAX 64
#define CONTAINER_SYSCTLS_MAX 64

enum container_network {
	CONTAINER_NET_NONE,   /* a namespace for each container, loopback only */
	CONTAINER_NET_TASK,   /* awsvpc: one namespace and one address for the whole sandbox */
	CONTAINER_NET_BRIDGE, /* a namespace and an address for each container, ports published */
	CONTAINER_NET_HOST,   /* the host's */
};

struct sandbox_spec {
	char id[CONTAINER_ID_SIZE];
	enum container_network network;
	bool share_pid, share_ipc; /* between the containers; the pause process holds them */
	bool host_pid, host_ipc;   /* the host's instead */
	uint64_t shm_bytes;        /* of /dev/shm, with share_ipc; 0: 64 MiB */
	uint32_t cpu_milli;        /* quota of the whole, 1000 = one CPU; 0: none */
	uint64_t memory_bytes;     /* 0: none */
	uint64_t disk_bytes;       /* of writable layers and scratch volumes; 0: 20 GiB */
	uint32_t pids_max;         /* 0: 16384 */
};

struct container_port {
	bool udp;
	char host_address[16]; /* dotted; "": every address of the host */
	uint16_t host;         /* 0: a free one is chosen */
	uint16_t inside;
};

enum container_mount_kind {
	CONTAINER_MOUNT_HOST,   /* source: path on the host, below a --bind-root */
	CONTAINER_MOUNT_VOLUME, /* source: name of a volume that outlives tasks */
	CONTAINER_MOUNT_TASK,   /* source: name of a scratch directory of the sandbox */
	CONTAINER_MOUNT_TMPFS,  /* size_bytes; source: options with commas between (below) */
	CONTAINER_MOUNT_TEXT, /* source: contents of a small file (resolv.conf, hosts, hostname) */
	CONTAINER_MOUNT_ROOT, /* source: a part of the root that stays writable when the root is not
			       */
};

struct container_mount {
	enum container_mount_kind kind;
	const char *source, *target;
	bool read_only;
	uint64_t size_bytes;
};

/* Why nothing may be mounted at this clean path (base/path.h), or NULL: what the kernel and the
 * runtime show there tells programs, the runtime's too, what is so. */
static inline const char *container_target_refused(const char *path)
{
	static const char *const below[] = {"/proc", "/sys", "/dev/pts", "/dev/init"};
	bool own = path[1] == '\0' || !strcmp(path, "/dev");

	for (size_t i = 0; i < ARRAY_SIZE(below); i++)
		own = own || path_is_below(path, below[i]);
	return own ? "/, /proc, /sys, /dev and /dev/pts cannot be covered; choose another path"
		   : NULL;
}

/* Is it an option that a tmpfs of a container may have? Its size is a member of its own. */
static inline bool container_tmpfs_option(struct str option)
{
	static const char *const flags[] = {"defaults", "ro", "rw", "exec", "noexec", "suid",
	    "nosuid", "dev", "nodev", "sync", "async", "dirsync", "atime", "noatime", "diratime",
	    "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"};
	static const char *const numbers[] = {"mode", "uid", "gid", "nr_inodes", "nr_blocks"};
	struct str digits = option, name = str_cut(&digits, '=');
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (str_is(option, flags[i]))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (str_is(name, numbers[i]))
			while (n < digits.len && digits.ptr[n] >= '0' && digits.ptr[n] <= '9')
				n++;
	return n > 0 && n == digits.len && n <= 9;
}

struct container_limit {
	char name[16]; /* "nofile" */
	uint64_t soft, hard;
};

struct container_device {
	char host[128], inside[128];
	bool read, write, mknod;
};

struct container_pair {
	const char *name, *value;
};

/* Everything is copied. Texts are UTF-8 without NUL. */
struct container_spec {
	char id[CONTAINER_ID_SIZE], sandbox[CONTAINER_ID_SIZE];
	const char *runtime;                     /* "crun", "runc", "runsc" */
	const uint8_t (*layers)[WIRE_HASH_SIZE]; /* unpacked layers (diff ids), lowest first */
	size_t layer_count;
	const char *const *args; /* process.args */
	size_t arg_count;
	const struct container_pair *env;
	size_t env_count;
	const char *cwd, *hostname;
	uint32_t uid, gid; /* inside; the host sees them in the sandbox's mapped range */
	const uint32_t *groups;
	size_t group_count;
	bool terminal, open_stdin, read_only_root, init, privileged, no_new_privileges;
	bool no_network;       /* loopback only, with CONTAINER_NET_BRIDGE */
	uint64_t capabilities; /* bit n: capability n; container_capabilities at most, unless the
				* spawner was told otherwise */
	uint32_t cpu_shares;   /* relative; 0: default */
	uint64_t memory_bytes, memory_reservation_bytes, shm_bytes; /* 0: none; 64 MiB */
	int64_t swap_bytes;                                         /* -1: none asked */
	uint32_t swappiness; /* 0 to 100, and 1 more; 0: none asked. For v1 groups: v2 has none */
	const struct container_mount *mounts;
	size_t mount_count;
	const struct container_limit *limits;
	size_t limit_count;
	const struct container_device *devices;
	size_t device_count;
	const struct container_pair *sysctls;
	size_t sysctl_count;
	const struct container_port *ports; /* with CONTAINER_NET_BRIDGE only */
	size_t port_count;
};

struct container_exec {
	char id[CONTAINER_ID_SIZE];      /* of the container */
	char exec_id[CONTAINER_ID_SIZE]; /* chosen by core */
	const char *const *args;
	size_t arg_count;
	const struct container_pair *env; /* NULL: the container's */
	size_t env_count;
	bool terminal;
	uint16_t rows, columns;
};
enum container_state {
	CONTAINER_CREATED, /* made, its first instruction not run yet */
	CONTAINER_RUNNING,
	CONTAINER_EXITED, /* its bundle and log are there until it is removed */
};
