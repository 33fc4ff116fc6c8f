/* What docker's options mean as an ECS task definition: pure, no server. */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

struct run_options {
	struct cli_list env, env_files, publish, volumes;
	const char *name, *memory, *cpus, *network, *user, *workdir, *entrypoint, *pull;
	bool detach, rm, interactive, tty, read_only, init;
};

#define RUN_FAMILY_MAX 255

/* The input of RegisterTaskDefinition, the caller's. NULL after saying what is wrong. */
json_t *run_definition(const struct run_options *o, const char *image, char **command, int count);

/* What it will be called: --name, or the last part of the image's name. False after saying what
 * is wrong. */
bool run_family(const struct run_options *o, const char *image, char ret[RUN_FAMILY_MAX + 1]);
/* "512m" in MiB, rounded up, bytes if there is no letter; false: no such amount. */
bool run_parse_memory(const char *text, int64_t *ret_mib);
