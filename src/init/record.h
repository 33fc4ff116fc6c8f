/* Reading INIT_START: pure, so that it can be tested and fuzzed outside of a box. */
#pragma once

#include "init/init.h"

struct words {
	char *list[INIT_WORDS_MAX + 4]; /* argv, NULL, environment, NULL; points into the record */
	char **argv, **envp;
	const char *cwd; /* NULL: not given */
};

/* Is this datagram of len bytes a well-formed record? If it starts anything, fill w. */
bool record_read(struct init_record *r, size_t len, struct words *w);
