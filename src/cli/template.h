/*
 * A SAM or CloudFormation template in memory: its resources, its parameters, and what its intrinsic
 * functions mean. Knows nothing of what a resource is; stack.c does.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "cli/cli.h"

#define TEMPLATE_RESOURCES_MAX 500 /* as CloudFormation */

struct template_resource {
	const char *id, *type;
	json_t *properties; /* not yet resolved; Globals are merged in */
};

struct template
{
	json_t *document;
	/* What Ref and GetAtt give: id -> {"Ref": value, attribute: value}. */
	json_t *values;
	struct template_resource *resources;
	size_t count;
};

/* The template of a directory (template.yaml, template.yml or template.json). -ENOENT, and nothing
 * in e, if there is none; other failures are told in e. */
int template_read(const char *dir, struct template *ret, struct err *e);
void template_done(struct template *t);

/* Values of the parameters: their defaults, and "NAME=VALUE" on top. */
int template_parameters(struct template *t, const struct cli_list *given, struct err *e);
/* What an attribute of a resource is from now on; "Ref" is its reference. */
void template_define(struct template *t, const char *id, const char *attribute, const char *value);

/* A copy of v with all intrinsic functions carried out; members that are AWS::NoValue are left out.
 * NULL and e for what refers to nothing. The caller decrefs. */
json_t *template_resolve(const struct template *t, const json_t *v, struct err *e);
