/*
 * All resources of a template, made on the server or changed where they differ. What is no longer
 * in the template stays on the server: `mayfly rm` removes it.
 */
#pragma once

#include <jansson.h>

#include "cli/client.h"
#include "cli/template.h"

/* Carry out the template of `dir`; name: of the stack, which names what the template leaves
 * unnamed (NULL: the directory's). *ret_report is a list of what there is now: objects with
 * LogicalId, Type, Name, Outcome, and for functions FunctionArn and FunctionUrl. *ret_outputs is
 * the Outputs section, resolved. An exit code; what went wrong has been said. t is changed. */
int stack_deploy(struct client *c, const char *dir, const char *name, struct template *t,
    json_t **ret_report, json_t **ret_outputs);
