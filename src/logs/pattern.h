/*
 * CloudWatch filter patterns: terms, "phrases", ?any, -none, %regex%, [fields] and { $.json }.
 * Parsed once, immutable afterwards, matched on any thread.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct log_pattern;

#define LOG_PATTERN_MAX 1024 /* bytes */

/* NULL and e->msg (for the client, says where and what) when the pattern is not valid. The empty
 * pattern matches everything. */
struct log_pattern *log_pattern_parse(struct str text, struct err *e);
void log_pattern_free(struct log_pattern *p); /* NULL is fine */
bool log_pattern_match(const struct log_pattern *p, struct str message);
