/* Where the server is and with which keys to sign: from the environment and from files. */
#pragma once

#include "base/base.h"
#include "base/err.h"

#define CONFIG_ENDPOINT "http://127.0.0.1:4566"
#define CONFIG_REGION "us-east-1"
#define CONFIG_DATA "/var/lib/mayfly"

struct config_keys {
	char *id, *secret, *token; /* token NULL: none */
};

void config_keys_done(struct config_keys *k);
#define _cleanup_keys_ _cleanup_(config_keys_done)

/* The keys of a profile in a file of AWS's shared-credentials format. -ENOENT: no such file or no
 * such profile in it. */
int config_keys_read(const char *path, const char *profile, struct config_keys *ret, struct err *e);

/* Keys as every AWS client finds them; then those of a server on this machine, if this user may
 * read them; then "dev", which a server started with --dev takes. */
void config_keys_find(struct config_keys *ret);

const char *config_endpoint(void);
const char *config_region(void);
