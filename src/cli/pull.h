/* Getting and giving images, with a bar that shows how far it is. */
#pragma once

#include "cli/client.h"

/* Have the server pull `name`. policy: "missing", "always" or "never". CLI_OK, or an exit code
 * after saying why. *ret_digest (may be NULL) is the caller's. */
int pull_image(struct client *c, const char *name, const char *policy, char **ret_digest);

/* Have the server push `name` to another registry as `to` (NULL: as the name says). As above. */
int push_image(struct client *c, const char *name, const char *to, char **ret_digest);

/* "layer 2 of 5  [=====>    ]  12 MB of 30 MB", for tests. */
#define PULL_LINE_SIZE 160
void pull_format(const json_t *progress, char out[PULL_LINE_SIZE]);
