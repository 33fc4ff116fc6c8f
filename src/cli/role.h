/* Roles over IAM's query protocol: those that deploy makes for functions, and those of templates.
 */
#pragma once

#include <jansson.h>

#include "cli/client.h"

/* The role of a function that names none, "mayfly-<function>", with the right to write logs;
 * *ret_arn is the caller's. Nothing happens if it is there. */
int role_make(struct client *c, const char *function, char **ret_arn);
/* Remove it; that it is not there is fine. */
int role_remove(struct client *c, const char *function);

/* "mayfly-<function>", cut to what IAM takes; the caller frees. */
char *role_name(const char *function);
/* Make a role of this name, or leave the one that is there. trust: the document, NULL for that of
 * functions. */
int role_put(struct client *c, const char *role, const json_t *trust, char **ret_arn);
/* Attach a managed policy. A name without "arn:" is one of AWS's own. */
int role_attach(struct client *c, const char *role, const char *policy);
/* Put an inline policy. */
int role_put_policy(struct client *c, const char *role, const char *name, const json_t *document);
/* Take away every inline and attached policy. */
int role_strip(struct client *c, const char *role);
