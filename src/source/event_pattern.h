/*
 * Event patterns: which JSON documents somebody wants, as Lambda's filter criteria and
 * EventBridge's rules write it. Compiled once, matched often; knows nothing of where documents come
 * from. Any thread may match with one pattern at the same time.
 *
 * {"a":{"b":["x",{"prefix":"y"}]},"$or":[{"c":[1]},{"d":[{"exists":false}]}]}: all members of an
 * object must match, one alternative of a list is enough. A list in the document matches when one
 * of its elements does. Operators: values, null, "prefix", "suffix", "anything-but", "exists",
 * "numeric", "equals-ignore-case", "wildcard", "cidr".
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

struct event_pattern;

/* NULL and e (why, in words for who wrote it) when it is none. doc is not kept. */
struct event_pattern *event_pattern_new(const json_t *doc, struct err *e);
void event_pattern_free(struct event_pattern *p); /* NULL is fine */
bool event_pattern_matches(const struct event_pattern *p, const json_t *event);
