/* What code that runs in boxes and containers gets of this server: an AWS endpoint on a socket that
 * listens inside, and keys of its role. */
#pragma once

#include "auth/auth.h"
#include "core/core.h"

#define INSIDE_PORT "4566" /* of AWS_ENDPOINT_URL, wherever code runs */

/* Serve the API on this listening socket, which is taken. ctx is the core; NULL: it cannot be. */
void *inside_endpoint_open(void *ctx, int listen_fd);
void inside_endpoint_close(void *ctx, void *handle);

/* Keys that act as the role, in a session of this name. */
void inside_role_keys(struct core *c, const char *role_arn, const char *session, int64_t lifetime_s,
    struct auth_keys *ret);
