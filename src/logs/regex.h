/*
 * Regular expressions that clients write and lines of logs are matched with. Every match has a
 * limit of steps, depth, memory and time (4 ms and 40 ns a byte), so that none can hold a thread.
 * Immutable once compiled, matched on any thread.
 */
#pragma once

#include "base/str.h"

struct log_regex;

/* NULL: not valid, and ret_bad_at (may be NULL) is where in the text. */
struct log_regex *log_regex_new(struct str text, size_t *ret_bad_at);
void log_regex_free(struct log_regex *r); /* NULL is fine */
/* Anywhere in the text: 1 or 0; -ELOOP: it took too long to say. */
int log_regex_match(const struct log_regex *r, struct str text);
