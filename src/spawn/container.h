/*
 * Containers as core asks the spawner for them: a sandbox holds what the containers of one task
 * share (cgroup with the task's limits, network namespace, disk), a container is an OCI bundle that
 * an OCI runtime runs under conmon. They outlive core and spawner: whoever starts again is told of
 * those that are there. Loop thread.
 *
 * Core says what it wants in typed, bounded records; the spawner writes config.json. Capabilities,
 * seccomp, masked paths, namespaces and ids are the spawner's constants. Paths on the host never
 * come from core, with one exception: bind mounts of host directories, which must lie below one of
 * the directories that `serve --bind-root` allowed.
 */
#pragma once

#include "spawn/container_spec.h"
#include "spawn/spawn.h"

/* Listening sockets made inside a network namespace, for core to serve; they keep the namespace
 * alive, so close them before removing it. All -1 with CONTAINER_NET_HOST. */
enum container_fd {
	CONTAINER_FD_METADATA, /* 169.254.170.2:80: task metadata and credentials */
	CONTAINER_FD_ENDPOINT, /* 169.254.170.2:4566: AWS_ENDPOINT_URL */
	CONTAINER_FD_COUNT
};

/* What a network namespace is like: of the sandbox with CONTAINER_NET_TASK, else of the container.
 * Texts are "" where there is nothing. */
struct container_net {
	char address[16], gateway[16]; /* dotted; the address can be reached from the host */
	unsigned prefix_len;
	char mac[18];
	int fds[CONTAINER_FD_COUNT];        /* the callee's */
	const struct container_port *ports; /* as asked, host filled in; valid during the call */
	size_t port_count;
};

struct container_facts {
	char id[CONTAINER_ID_SIZE], sandbox[CONTAINER_ID_SIZE];
	enum container_state state;
	int exit_code; /* 128 + signal for deaths by signal; -1: unknown (the machine restarted) */
	bool oom_killed;
	int64_t started_ms, finished_ms; /* wall; 0: not yet */
};

struct container_handler {
	/* A container ended, whoever ended it. */
	void (*on_exit)(void *ctx, const struct container_facts *f);
	/* At start, for each that a former life left (its sandbox before it), then once with both
	 * NULL. net is that of the one that is named, with new listening sockets, or NULL. */
	void (*on_found)(void *ctx, const struct sandbox_spec *sandbox,
	    const struct container_facts *f, const struct container_net *net);
};
void spawn_containers_start(struct spawn *s, const struct container_handler *h, void *ctx);

/* done gets 0, or -errno with words for a person in why. */
typedef void container_done(void *ctx, int result, const char *why);

void spawn_sandbox_make(struct spawn *s, const struct sandbox_spec *spec,
    void (*done)(void *ctx, int result, const char *why, const struct container_net *net),
    void *ctx);
/* Kills what is left in it; gives back address, disk, cgroup. */
void spawn_sandbox_remove(struct spawn *s, const char *id, container_done *done, void *ctx);

/* Make the bundle, mount it, have the runtime create it. net: NULL unless it has a namespace of
 * its own. -EADDRINUSE: a port is taken; -ENOENT: a layer is missing. */
void spawn_container_make(struct spawn *s, const struct container_spec *spec,
    void (*done)(void *ctx, int result, const char *why, const struct container_net *net),
    void *ctx);
void spawn_container_start(struct spawn *s, const char *id, container_done *done, void *ctx);
void spawn_container_signal(
    struct spawn *s, const char *id, int signal, container_done *done, void *ctx);
void spawn_container_remove(struct spawn *s, const char *id, container_done *done, void *ctx);

/* stdout and stderr as conmon writes them (k8s-file format: TIME STREAM F|P TEXT), for reading from
 * the start on; the descriptor is the callee's, open for reading and writing; core's user may read
 * the file, or it could not be watched by inotify. Whoever has read may give the disk back by
 * fallocate(FALLOC_FL_PUNCH_HOLE): the size goes on growing, the blocks do not. Once for each
 * container that was made or found; -1 when there is none. */
int spawn_container_log(struct spawn *s, const char *id);

/* Open files of the kernel, for pread at 0; the callee's; -1 where the kernel has none. */
struct container_usage {
	int memory, peak; /* bytes as decimal text */
	int cpu;          /* v1: nanoseconds as decimal text; v2: cpu.stat */
	int pids;
	int net; /* /proc/net/dev of its namespace */
};
void spawn_container_usage(struct spawn *s, const char *id,
    void (*done)(void *ctx, const struct container_usage *u), void *ctx);

/* Run another process in it. streams: with a terminal one descriptor, else stdin, stdout, stderr;
 * the callee's. on_end gets the exit code once it ended. */
void spawn_container_exec(struct spawn *s, const struct container_exec *x,
    void (*done)(void *ctx, int result, const char *why, const int streams[3]),
    void (*on_end)(void *ctx, int exit_code), void *ctx);
/* A terminal's descriptor is its master: its owner resizes it by TIOCSWINSZ. */
void spawn_container_exec_kill(struct spawn *s, const char *exec_id);

/* The container's own stdin, stdout, stderr, from now on: conmon's attach socket (SOCK_SEQPACKET;
 * packets from it begin with 2: stdout or 3: stderr, packets to it are stdin as they are). */
void spawn_container_attach(struct spawn *s, const char *id,
    void (*done)(void *ctx, int result, const char *why, int socket), void *ctx);
/* Of a container with a terminal. */
void spawn_container_resize(struct spawn *s, const char *id, uint16_t rows, uint16_t columns);
