/*
 * What the children of the spawner share that do the work of sandboxes and containers. All of it
 * runs in the mount namespace of container runtimes (ROOT_HOST); paths are that root's.
 *
 *   /data/tasks/                 root's, 0700
 *     <sandbox>/                 locked by whoever works on it
 *       record                   as core sent it
 *       (pause)                  "PID START": the pause process; noted last: it is whole
 *       (boot)                   id of the machine's start, to tell what cannot be alive
 *       (net)                    struct wire_net
 *       <container>/             record, log, (conmon), (init), (net), (ports)
 *         <container>            the exit code, written by conmon when it has ended
 *         (started)              when, in milliseconds
 *   /data/net/                   bridge.h's
 *   /data/volumes/<name>         outlive tasks
 *
 * What is in brackets are notes: attributes "trusted.mayfly.NAME" of the directory, which are there
 * whole or not at all and need no file each.
 *
 *   /run/                        a tmpfs in the mount namespace of conmon and the runtime: what
 *                                does not outlive them, and what the disk need not be asked for
 *     bundle/                    the OCI bundle, with conmon's sockets; pid
 *     state/                     the runtime's own
 */
#pragma once

#include "spawner/bridge.h"
#include "spawner/config_json.h"
#include "spawner/record.h"
#include "spawner/spawner_int.h"

#define TASKS_AT "/data/tasks"
#define SANDBOX_SHM "/shm" /* on the sandbox's disk, if its containers share /dev/shm */
#define RUN_AT "/run"
#define BUNDLE_AT RUN_AT "/bundle"
#define STATE_AT RUN_AT "/state"

/* What the child says at its end. */
struct answer {
	struct wire_msg msg;
	int fds[FD_PASS_MAX];
	size_t count;
};

/* ---- containers.c ---- */
/* Send something before the answer. */
void containers_tell(struct answer *a);
void answer_add(struct answer *a, int fd); /* fd is the answer's then */

/* ---- place.c: directories and small files ---- */

struct place {
	const struct spawner *s;
	char sandbox[CONTAINER_ID_SIZE], id[CONTAINER_ID_SIZE]; /* id: "" for a sandbox itself */
	int dir;                                                /* the sandbox's; locked; -1 */
	int bundle;                                             /* the container's; -1 */
};

/* A process that may have gone: with the time of its start, so that no other is taken for it. */
struct process {
	pid_t pid; /* 0: none */
	uint64_t start;
};

/* Open and lock. make: make what is missing (the container's if p->id is set, else the
 * sandbox's). -ENOENT. */
int place_open(struct place *p, bool make, struct err *e);
void place_close(struct place *p);
/* Path of the container's directory, or of a file in it. */
void place_path(const struct place *p, const char *file, char out[160]);
int place_write(int dir, const char *name, const void *data, size_t len);
/* At most size bytes; how many, or -errno. */
ssize_t place_read(int dir, const char *name, void *data, size_t size);
/* The record of the sandbox or the bundle, into static space of one each. */
int place_read_sandbox(const struct place *p, struct sandbox_spec *ret);
struct record_container *place_read_container(const struct place *p);
/* Has the machine been started again since the sandbox was made? */
bool place_is_stale(const struct place *p);
int place_note_boot(const struct place *p);

/* Notes of a directory, replaced as a whole. -errno; of place_noted() also -ERANGE, else the size.
 */
int place_note(int dir, const char *name, const void *data, size_t len);
ssize_t place_noted(int dir, const char *name, void *data, size_t size);

int process_note(int dir, const char *name, pid_t pid);
struct process process_noted(int dir, const char *name);
/* From a file that another program wrote its pid to. */
struct process process_read(int dir, const char *name);
/* A descriptor of that very process; -ESRCH: it has gone. */
int process_open(const struct process *p);
/* SIGKILL and wait until it is gone, for 5 s at most. */
int process_end(const struct process *p);

/* ---- netns.c: what is done inside a network namespace of the sandbox's user namespace ---- */

struct netns {
	int metadata, endpoint; /* listening; -1: none */
	int ns;                 /* the namespace */
};
/* A new one, with loopback and listeners. user: the pause process. */
int netns_make(pid_t user, struct netns *ret, struct err *e);
/* New listeners in that of a process. */
int netns_listen(pid_t of, struct netns *ret, struct err *e);
/* An address and published ports; what came of it into net. `name` in p's directories (net, ports)
 * remembers it. */
int netns_attach(const struct place *p, int ns, const struct container_spec *spec,
    struct wire_net *net, struct err *e);
/* Give back what netns_attach() took. */
int netns_detach(const struct place *p, int dir, struct err *e);
/* See bridge_restore(), and bridge_remove(). */
int netns_restore(const struct spawner *s, struct err *e);
int netns_leave(const struct spawner *s, struct err *e);
void netns_add(struct answer *a, struct netns *n, const struct wire_net *net);

/* ---- sandbox.c ---- */
int sandbox_make(const struct spawner *s, const struct sandbox_spec *spec, const void *record,
    size_t len, struct answer *a, struct err *e);
int sandbox_remove(const struct spawner *s, const char *id, struct err *e);
/* A descriptor of its disk; this process is in the namespace of runtimes afterwards. */
int sandbox_disk(const struct place *p, const struct process *pause, struct err *e);

/* ---- container.c ---- */
int container_make(const struct spawner *s, struct record_container *r, const void *record,
    size_t len, struct answer *a, struct err *e);
int container_start(const struct place *p, struct err *e);
int container_signal(const struct place *p, int signal, struct err *e);
/* Of an open place, which is closed and gone then. sandbox_goes: its disk does too. */
int container_remove(struct place *p, bool sandbox_goes, struct err *e);
/* Descriptors in the order of enum wire_kept_fd. */
int container_add_kept(const struct place *p, struct answer *a, struct err *e);

/* ---- bundle.c ---- */
/* Into a mount namespace of its own, with the sandbox's disk. */
int bundle_enter(
    const struct place *p, const struct process *pause, const char *runtime, struct err *e);
/* There: rootfs, mounts and config.json. net: a namespace of its own, or -1. */
int bundle_make(const struct place *p, const struct sandbox_spec *sandbox,
    const struct container_spec *spec, const struct process *pause, int net, struct err *e);
uint64_t bundle_capabilities(const struct spawner *s, const struct container_spec *spec);

/* ---- device.c ---- */

/* Make the nodes of devices that were asked for, in ROOT_HOST_MOUNTS, with the host's modes: the
 * host's root's, and so of no use unless they are open to all; the inner root's with
 * --allow-privileged. ret: as many as spec->devices. */
int devices_make(const struct spawner *s, const struct container_spec *spec,
    struct config_device *ret, struct err *e);

/* ---- target.c ---- */
/* There, with the root and what is to be mounted: -EINVAL if a link of the image leads a mount or a
 * device to what must not be covered. */
int targets_check(const struct container_spec *spec, struct err *e);

/* ---- runtime.c: programs that are run ---- */
struct creation {
	pid_t conmon, hurry; /* hurry: of task_group_hurry() */
	int sync, go;
};
/* conmon, in this process's mount namespace. It takes as long to load as the bundle to be made, so
 * it is started before and waits. */
int runtime_begin(
    const struct place *p, const struct container_spec *spec, struct creation *ret, struct err *e);
/* The bundle is there: have the runtime create it. -errno with the runtime's words. */
int runtime_create(struct creation *c, struct err *e);
void runtime_abandon(struct creation *c);
/* In a mount namespace that is nobody else's: the cgroup trees that this runtime wants. */
int runtime_see_groups(const struct place *p, const char *name, struct err *e);
/* Into the mounts of a container that is there, where RUN_AT and the cgroup trees are as its
 * runtime left them. -ESRCH: conmon has gone, and they with it. */
int runtime_join(const struct place *p, struct err *e);
/* Run the runtime with these arguments (NULL at the end) and wait; its exit code, or -errno. */
int runtime_run(const char *runtime, const char *const *args, struct err *e);
const char *runtime_path(const char *name, char out[64]); /* NULL: there is no such runtime */

/* ---- inspect.c: descriptors for core ---- */
void inspect_log(const struct place *p, struct answer *a);
int inspect_usage(const struct place *p, struct answer *a, struct err *e);
int inspect_attach(const struct place *p, struct answer *a, struct err *e);
int inspect_resize(const struct place *p, unsigned rows, unsigned columns, struct err *e);
void inspect_find(const struct spawner *s, struct answer *a);

/* ---- exec.c ---- */
int exec_start(
    const struct place *p, const struct container_exec *x, struct answer *a, struct err *e);
