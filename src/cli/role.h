/* The role that a function deployed from the command line runs as: mayfly-<function>. */
#pragma once

#include "cli/client.h"

/* Make it unless it is there, with the right to write logs; *ret_arn is the caller's. */
int role_make(struct client *c, const char *function, char **ret_arn);
/* Remove it; that it is not there is fine. */
int role_remove(struct client *c, const char *function);
