/* Which interpreters of this host functions can run in. */
#pragma once

#include "base/base.h"

#define INTERPRETERS_MAX 16

/* Fill ret with "node=v20.19.2:/usr/bin/node" and the like, the newest of each language first.
 * Each is run with --version, an empty environment and 5 s of time. Returns how many; the strings
 * are the caller's. */
size_t interpreters_find(char *ret[INTERPRETERS_MAX]);
