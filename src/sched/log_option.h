/*
 * What a container's logConfiguration asks: which options its driver takes, and how its lines are
 * read. Pure; loop thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "logs/regex.h"

struct log_options {
	struct log_regex *begins; /* a line that matches begins an event; NULL: every line is one */
	size_t buffer_max;        /* bytes that may wait to be read */
};

/* Of a `LogConfiguration`; NULL is one that asks nothing. 0, or -EINVAL and e says in words for the
 * client what is wrong. ret is to be given back in any case. Drivers that this machine does not
 * have are not looked at: a task that needs one is not placed. */
int log_options_parse(const json_t *configuration, struct log_options *ret, struct err *e);
void log_options_done(struct log_options *o);
