/* Lines of files that others write: conmon's log, environment files. Pure; any thread. */
#pragma once

#include "base/str.h"

/* conmon's k8s-file format: TIME stdout|stderr F|P TEXT, without the end of line. */
struct log_line {
	int64_t ts_ms;
	unsigned stream; /* 0: stdout, 1: stderr */
	bool partial;    /* the next one of its stream goes on with it */
	struct str text;
};
/* false: conmon did not write that. */
bool line_parse_log(struct str line, struct log_line *ret);

/* The next NAME=VALUE of an environment file, as it stands there; *rest is moved on. Comments,
 * empty lines, lines without a name or '=' and lines with NUL are passed over. false: no more. */
bool line_next_variable(struct str *rest, struct str *ret_name, struct str *ret_value);
