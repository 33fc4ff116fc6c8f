/*
 * Notices that rules of nf_tables were removed, by whomever, in the network namespace of the
 * caller: a socket that the kernel tells. What we change ourselves while containers come and go are
 * elements of maps, of which nothing is said here.
 */
#pragma once

#include "base/base.h"

/* Does not block; -errno. */
int rules_watch_open(void);
/* Take what has come: true if a table or a rule went, or if so much came that something was lost.
 */
bool rules_watch_read(int fd);
