/* A compiled event pattern: what its compiler and its matcher share. */
#pragma once

#include "base/str.h"
#include "source/event_pattern.h"

/* JSON numbers: whole ones are compared exactly. */
struct event_number {
	bool whole;
	json_int_t integer;
	double real; /* also of whole ones */
};

enum event_text_kind {
	TEXT_EXACT,
	TEXT_PREFIX,
	TEXT_SUFFIX,
	TEXT_NOCASE,
	TEXT_PREFIX_NOCASE,
	TEXT_SUFFIX_NOCASE,
	TEXT_WILDCARD,
};

struct event_text {
	enum event_text_kind kind;
	char *text;
	size_t len;
};

enum event_op {
	EVENT_NULL,
	EVENT_TRUE,
	EVENT_FALSE,
	EVENT_NUMBER,
	EVENT_TEXTS,
	EVENT_EXCEPT, /* none of texts and numbers */
	EVENT_NUMERIC,
	EVENT_CIDR,
	EVENT_EXISTS,
};

struct event_test {
	enum event_op op;
	struct event_text *texts;
	size_t text_count;
	struct event_number *numbers;
	size_t number_count;
	double low, high;
	bool low_open, high_open, exists;
	int family;
	unsigned bits;
	uint8_t address[16];
};

struct event_field {
	char *name;
	bool either;              /* "$or": one of groups, on the same document */
	struct event_test *tests; /* one of them, or */
	size_t test_count;
	struct event_group *groups; /* what is below (one of them if `either`) */
	size_t group_count;
};

struct event_group {
	struct event_field *fields; /* all of them */
	size_t field_count;
};

struct event_pattern {
	struct event_group root;
};

/* event_match.c */
struct event_number event_number(const json_t *n);
const char *event_text_name(enum event_text_kind kind);
