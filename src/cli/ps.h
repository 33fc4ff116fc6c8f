/* How tasks are shown: for `mayfly ps` and its tests. */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

#define PS_AGE_SIZE 24
void ps_format_age(int64_t ms, char out[PS_AGE_SIZE]); /* "90 s", "3 min", "5 h", "9 d" */
char *ps_ports(const json_t *task);                    /* "8080->80/tcp"; the caller frees */
char *ps_status(const json_t *task);                   /* "running (healthy)", "exited (1)" */
