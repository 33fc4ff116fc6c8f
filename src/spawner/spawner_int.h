/*
 * Everything the root program remembers: one struct, all of it static, on one thread. Nothing is
 * allocated once core runs.
 *
 *   main.c   options, start, the loop        box.c   boxes: make, assign, kill
 *   core.c   core's life                     job.c   children that do one thing
 *   disks.c  who gets which /tmp             containers.c  what such a child does for containers
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"
#include "spawn/wire.h"
#include "spawner/cgroup.h"
#include "spawner/egress.h"
#include "spawner/gate.h"
#include "spawner/process.h"
#include "spawner/task_group.h"

#define LISTENERS_MAX 16
#define CORE_ARGS_MAX 64
#define JOBS_MAX                                                                                 \
	47 /* WIRE_REQUESTS_MAX, WIRE_CONTAINER_REQUESTS_MAX, DISK_JOBS_MAX, one that stays, one \
	    * that syncs, one for the network */
#define DISK_JOBS_MAX 4
#define POOL_MAX 4            /* ready /tmp disks of the smallest size */
#define ASKED_MAX 16          /* such disks on their way */
#define TASK_POOL_MAX 4       /* ready disks for tasks */
#define RESTORE_NS 1000000000 /* between two looks after the network of containers */

/* What an event is about: the upper half of epoll's data; the lower half is an index. */
enum event_source { EV_SIGNAL, EV_CORE, EV_CORE_EXIT, EV_BOX, EV_BOX_EXIT, EV_JOB, EV_RULES };

struct box {
	int pidfd;   /* -1: no process */
	int control; /* core's end, while the box is being made; else -1 */
	pid_t pid;
	struct list waiting;   /* in spawner.disk_queue: assignment waits for its /tmp */
	struct list lingering; /* in spawner.lingering: only its cgroup is left */
	uint32_t seat;         /* of its address, with --egress; 0: none */
	uint32_t memory_mb, tmp_mb, layer_count;
	uint8_t code[WIRE_HASH_SIZE];
	uint8_t layers[WIRE_LAYERS_MAX][WIRE_HASH_SIZE];
	uint32_t root_count; /* 0: the template stays its root */
};

/* The image that becomes a box's root. Apart, because it is large and rare: memory that was never
 * written is not there, and whatever is there has its page tables copied whenever we fork. */
struct box_root {
	uint8_t layers[WIRE_ROOT_LAYERS_MAX][WIRE_HASH_SIZE];
};

enum job_kind {
	JOB_NONE,
	JOB_DISK,
	JOB_UNPACK,
	JOB_DELETE,
	JOB_MAKER,
	JOB_LAYER,
	JOB_LAYER_DELETE,
	JOB_SPLIT,
	JOB_LAYERS_SYNC, /* nobody asked for it */
	JOB_NETWORK,     /* nor for this */
	JOB_CONTAINER,   /* sends struct wire_msg for core, the last of them WIRE_CONTAINER_DONE */
};

struct job {
	enum job_kind kind;
	int pidfd, socket; /* socket: struct wire_outcome comes, with a mount when it is a disk;
			    * see job_kind for others */
	bool orphan;       /* the core that asked is gone */
	uint32_t slot, generation; /* JOB_DISK: for this box */
	uint64_t serial;
};

struct core {
	int pidfd; /* -1: not running */
	int socket;
	int64_t started_ns, start_at_ns; /* start_at_ns 0: no start due */
	unsigned quick_deaths;
};

struct spawner {
	int epoll, signals;
	/* Namespaces: to come home to; to clone boxes from; of container runtimes. */
	int own_mounts, box_mounts, host_mounts;
	int data, code, layers, blobs, images; /* directories */
	int exe_core, exe_init, exe_unpack, exe_pause;
	int listeners[LISTENERS_MAX];
	unsigned listener_count;
	int ready_fd; /* -1: nobody waits */
	bool dev;
	char **core_args;
	unsigned core_arg_count;

	char instance[40];
	struct task_groups task_groups;
	const char *const *binds; /* of --bind-root */
	unsigned bind_count;
	bool allow_privileged;

	struct cgroups cgroups;
	struct egress egress;
	struct gate gate;
	struct core core;
	struct box boxes[WIRE_BOXES_MAX];
	struct box_root roots[WIRE_BOXES_MAX];
	struct list lingering, disk_queue;

	struct job jobs[JOBS_MAX];
	unsigned disk_jobs;
	bool syncing;                   /* a job syncs layers */
	int64_t sync_at_ns, sync_by_ns; /* when the next one is due (0: none), at the latest */
	int rules;      /* the kernel tells when rules of the packet filter go; -1: nobody does */
	bool restoring; /* a job looks after the containers' network */
	int64_t restore_at_ns,
	    restored_ns;   /* when the next one is due (0: none), when the last began */
	bool no_loop;      /* /tmp is a tmpfs on this host */
	struct job *maker; /* NULL: none runs */
	unsigned disks_asked;
	int64_t disk_retry_ns;
	int pool[POOL_MAX + ASKED_MAX];
	unsigned pool_count;
	int task_pool[TASK_POOL_MAX];
	unsigned task_pool_count, task_disks_asked;
	bool task_disks_wanted;
	int task_disk; /* in the child that makes a sandbox: its disk, if one was ready; else -1 */

	bool stopping;
	int64_t stop_by_ns;
	int exit_code; /* -1: not decided */
};

/* ---- main.c ---- */
int watch(struct spawner *s, int fd, enum event_source source, uint32_t index);
void unwatch(struct spawner *s, int fd);
int64_t now_ns(void);

/* ---- core.c ---- */
void core_start(struct spawner *s);
/* Greet a core that waits, if everything of the one before it is gone. */
void core_greet(struct spawner *s);
void core_on_message(struct spawner *s);
void core_on_exit(struct spawner *s);
/* A message to core; drops it when there is no core that knows of boxes. */
void core_tell(struct spawner *s, const struct wire_msg *m, const int *fds, size_t count);
void core_kill(struct spawner *s, const char *why);

/* ---- box.c ---- */
void boxes_init(struct spawner *s);
void box_make(struct spawner *s, const struct wire_msg *m);
void box_name_root(struct spawner *s, const struct wire_msg *m);
void box_assign(struct spawner *s, const struct wire_msg *m);
void box_kill(struct spawner *s, uint32_t slot);
void box_on_message(struct spawner *s, uint32_t slot);
void box_on_exit(struct spawner *s, uint32_t slot);
void boxes_kill_all(struct spawner *s);
/* Try again to remove groups that were busy. */
void boxes_sweep(struct spawner *s);
/* A /tmp for the box, or why there is none: goes on with its assignment. mount stays ours. */
void box_on_disk(struct spawner *s, uint32_t slot, int mount, int result);

/* ---- job.c ---- */
void job_unpack(struct spawner *s, const struct wire_msg *m);
void job_delete(struct spawner *s, const struct wire_msg *m);
/* fd: what the message carried, or -1; stays the caller's, as the child has a copy. */
void job_layer(struct spawner *s, const struct wire_msg *m, int fd);
void job_split(struct spawner *s, const struct wire_msg *m, int fd);
void job_container(struct spawner *s, const struct wire_msg *m, int fd);
void job_on_ready(struct spawner *s, uint32_t index);
void jobs_kill_all(struct spawner *s);
/* Have layers on the disk that were named before it had them: in a while, now. */
void job_layers_sync_later(struct spawner *s);
void job_layers_sync(struct spawner *s);
/* Have the containers' rules made again if they are gone. */
void job_network(struct spawner *s);
/* Core is gone: stop its unpacking, forget who asked. */
void jobs_orphan(struct spawner *s);
/* A disk of a size of its own; box_on_disk() is the answer. */
void job_disk(struct spawner *s, uint32_t slot, uint32_t mb);
struct job *job_maker(struct spawner *s);

/* ---- containers.c ---- */
/* In a child of its own: do what m asks, send the answer (and what was found) over out, end. */
_noreturn_ void containers_run(struct spawner *s, const struct wire_msg *m, int fd, int out);
/* In one, too: see bridge_restore(). */
int containers_restore_network(const struct spawner *s, struct err *e);

/* ---- disks.c ---- */
_noreturn_ void disks_make(int socket, int images);
void disks_on_made(struct spawner *s, const struct wire_outcome *o, int mount);
void disks_on_lost(struct spawner *s);
/* Serve whom can be served; order what the queue and the pool want. */
void disks_pump(struct spawner *s);
/* A disk for a task, the caller's; -1: none is ready. */
int disks_take_for_task(struct spawner *s);
