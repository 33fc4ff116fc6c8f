/*
 * Writing for people and for pipes: colours, tables that fit, text that cannot steer a terminal.
 * What goes to a terminal from elsewhere (names, log lines, payloads) passes term_write_safe().
 */
#pragma once

#include <stdio.h>

#include "base/base.h"
#include "base/str.h"

enum term_colour { TERM_PLAIN, TERM_BOLD, TERM_DIM, TERM_RED, TERM_GREEN };

/* The escape sequence, or "" if f is no terminal or NO_COLOR is set. */
const char *term_paint(FILE *f, enum term_colour c);

/* Write s; on a terminal control characters (but newline and tab) are shown as ^X. */
void term_write_safe(FILE *f, struct str s);

/* Replace the line of progress on stderr (NULL: wipe it). Silent if stderr is no terminal. */
void term_progress(const char *text);

/* A question on the terminal; true if the answer begins with y. True without asking if stdin or
 * stderr is no terminal. */
bool term_confirm(const char *question);

/* "1.5 KB", "12 MB". */
#define TERM_SIZE_TEXT 24
void term_format_size(uint64_t bytes, char out[TERM_SIZE_TEXT]);

#define TERM_COLUMNS_MAX 12

struct term_column {
	const char *title;
	bool right;  /* aligned to the right */
	bool shrink; /* may be cut with an ellipsis when the line is too long */
};

struct term_table {
	const struct term_column *columns;
	size_t column_count;
	char **cells; /* row by row */
	size_t row_count;
};

void term_table_init(struct term_table *t, const struct term_column *columns, size_t count);
void term_table_done(struct term_table *t);
/* One more row; as many strings as columns, copied. */
void term_table_add(struct term_table *t, const char *const *cells);
/* To stdout, the titles first. On terminals no line is longer than the window. */
void term_table_print(const struct term_table *t);
