/* One function on the server: made, or changed where it differs from what is wanted. */
#pragma once

#include <jansson.h>

#include "cli/client.h"
#include "cli/manifest.h"

struct deployment {
	struct client *client;                      /* the caller's */
	struct manifest m;                          /* what is wanted */
	struct buf zip;                             /* its code */
	size_t files;                               /* in it */
	bool created, code_changed, config_changed; /* what was done */
	json_t *function;                           /* its configuration as the server tells it */
	json_t *url; /* answer of the function URL's operation, or NULL */
};

/* Make or update it, wait until it can be invoked, give it its URL. An exit code; what went wrong
 * has been said. */
int deployment_run(struct deployment *d);
void deployment_done(struct deployment *d);
