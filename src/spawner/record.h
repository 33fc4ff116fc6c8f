/*
 * Reading what core asks for: a record as spawn/container_spec.h describes it. Bounds and ranges
 * are all that is checked; nothing is looked up. Pure, so that the fuzzer and the unit tests see
 * exactly what the root program runs.
 */
#pragma once

#include "base/base.h"
#include "spawn/container_spec.h"

/* Texts and hashes point into the record, which has to stay; the lists are here. */
struct record_container {
	struct container_spec spec;
	const char *args[CONTAINER_ARGS_MAX];
	struct container_pair env[CONTAINER_ENV_MAX];
	uint32_t groups[CONTAINER_GROUPS_MAX];
	struct container_mount mounts[CONTAINER_MOUNTS_MAX];
	struct container_limit limits[CONTAINER_LIMITS_MAX];
	struct container_device devices[CONTAINER_DEVICES_MAX];
	struct container_pair sysctls[CONTAINER_SYSCTLS_MAX];
	struct container_port ports[CONTAINER_PORTS_MAX];
};

struct record_exec {
	struct container_exec exec;
	char sandbox[CONTAINER_ID_SIZE];
	const char *args[CONTAINER_ARGS_MAX];
	struct container_pair env[CONTAINER_ENV_MAX];
};

/* 0, or -EINVAL with what is wrong in *ret_why (a constant). */
int record_sandbox(const void *data, size_t len, struct sandbox_spec *ret, const char **ret_why);
int record_container(
    const void *data, size_t len, struct record_container *ret, const char **ret_why);
int record_exec(const void *data, size_t len, struct record_exec *ret, const char **ret_why);

/* 32 hex digits of lower case. */
bool record_id_ok(const char *id);
