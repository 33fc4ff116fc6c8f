/*
 * config.json of an OCI bundle, written from what core asked for (checked by record.c) and from
 * constants: namespaces, seccomp, masked paths, device rules. Pure. Never read again by us.
 */
#pragma once

#include "base/base.h"
#include "spawn/container_spec.h"

#define CONFIG_DEVICES "/dev" /* below mounts_at: the n-th device of the spec is /dev/n */

/* What the spawner adds to the wishes. */
struct config {
	const struct container_spec *spec;
	const struct sandbox_spec *sandbox;
	pid_t pause;          /* holds the namespaces */
	const char *cgroup;   /* linux.cgroupsPath */
	bool cgroup_v2;       /* what limits */
	const char *net_path; /* a network namespace instead of the pause's; NULL: that */
	const char *shm_at;   /* /dev/shm of tasks with an IPC namespace for all their containers */
	const char *mounts_at; /* the n-th mount of the spec that is not a tmpfs lies at <this>/n */
	const char *init_path; /* on the host; NULL: without */
	uint64_t capabilities; /* those that it gets */
	const struct config_device *devices; /* of spec->devices, in that order */
};

struct config_device {
	uint32_t major, minor, mode;
};

/* "NET_ADMIN", by number. */
const char *config_capability(unsigned number);
/* Text of `size` bytes at most, NUL included, into out. Its length, or -E2BIG. */
ssize_t config_json(const struct config *c, char *out, size_t size);
/* process.json for another process in such a container. */
ssize_t config_json_exec(
    const struct config *c, const struct container_exec *x, char *out, size_t size);
