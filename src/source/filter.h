/*
 * Filter criteria of event source mappings: up to ten event patterns, one of which is enough. A
 * pattern looks at the record as the function would see it, its data parsed: AWS's rules for data
 * that is JSON where the pattern wants text, or the other way, are kept here.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

struct filter;

/* AWS's default quota is five and is raised to ten on request; nobody has to ask here. */
#define FILTER_MAX 10

/* Where the data of a record is, by kind of source. */
struct filter_data {
	const char *const *keys; /* "body"; "key" and "value"; "data". NULL-terminated */
	bool base64;             /* in the record */
};

/* filters: [{"Pattern":"{…}"},…]. NULL with e.msg in AWS's words and why, or, with e untouched,
 * when there is no pattern: everything matches. d stays the caller's and outlives the filter. */
struct filter *filter_new(const json_t *filters, const struct filter_data *d, struct err *e);
void filter_free(struct filter *f); /* NULL is fine */
/* record: one record of the event, JSON text. What cannot be read does not match. */
bool filter_matches(const struct filter *f, struct str record);
