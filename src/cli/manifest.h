/*
 * What is to be deployed: DIR/mayfly.json, what the files of DIR tell when it says nothing, and
 * what the command line says on top.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cli/cli.h"

struct manifest_overrides {
	const char *name, *runtime, *handler, *role, *url;
	int64_t memory_mb, timeout_s; /* 0: not given */
	struct cli_list env;          /* NAME=VALUE */
};

struct manifest {
	char *name;
	char *url;      /* "NONE", "AWS_IAM", or NULL: no function URL wanted */
	char *role;     /* ARN, or NULL: make one */
	json_t *config; /* members of CreateFunction but FunctionName, Role and Code */
};

int manifest_read(
    const char *dir, const struct manifest_overrides *o, struct manifest *ret, struct err *e);
void manifest_done(struct manifest *m);
/* The name of the directory, fit for a function; the caller frees. */
char *manifest_guess_name(const char *dir);
/* Complete what is given of a function from what the code in dir tells; e for what stays unknown.
 */
int manifest_complete(struct manifest *m, const char *dir, struct err *e);
