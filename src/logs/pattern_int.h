/*
 * Inside of filter patterns. pattern.c parses and matches terms and [fields]; pattern_json.c looks
 * up $.paths in a JSON event. Both share conditions: trees of && and || over comparisons.
 */
#pragma once

#include "logs/pattern.h"
#include "logs/regex.h"

#define PATTERN_DEPTH 16 /* of parentheses */
#define PATTERN_NODES 64 /* comparisons, terms or fields */
#define PATTERN_STEPS 16 /* of a path */
#define PATTERN_REGEXES 5
#define PATTERN_FIELDS 64

struct matcher { /* what a piece of text is compared with */
	char *text;
	size_t len;
	bool wild; /* '*' stands for anything */
	bool is_number;
	double number;
	struct log_regex *regex; /* then the rest is unused */
};

enum compare {
	CMP_AND,
	CMP_OR,
	CMP_EQ,
	CMP_NE,
	CMP_LT,
	CMP_LE,
	CMP_GT,
	CMP_GE,
	CMP_NULL,
	CMP_TRUE,
	CMP_FALSE,
	CMP_EXISTS,
	CMP_NOT_EXISTS,
};

struct path_step {
	char *name; /* NULL: index */
	size_t index;
};

struct condition {
	enum compare compare;
	struct condition *left, *right; /* CMP_AND, CMP_OR */
	struct path_step *steps;        /* JSON */
	size_t step_count;
	struct matcher value;
};

enum term_kind { TERM_ALL, TERM_ANY, TERM_NONE };

struct term {
	enum term_kind kind;
	struct matcher value;
};

struct field {
	bool ellipsis;
	struct condition *condition; /* NULL: anything */
};

enum pattern_kind { PATTERN_TERMS, PATTERN_FIELDS_LIST, PATTERN_JSON };

struct log_pattern {
	enum pattern_kind kind;
	struct term terms[PATTERN_NODES];
	size_t term_count;
	struct field fields[PATTERN_FIELDS];
	size_t field_count;
	struct condition *root;
};

struct parser {
	const char *start, *at, *end;
	struct err *e;
	unsigned nodes, regexes, depth;
	bool json;
};

/* Text against matcher: regex, wildcard or the same. */
bool matcher_matches(const struct matcher *m, struct str text);
bool matcher_compare(const struct matcher *m, enum compare c, struct str text);

/* Complain at the place the parser is; always false. */
bool pattern_fail(struct parser *p, const char *what);
void pattern_skip(struct parser *p); /* white space */

/* pattern_json.c */
bool json_parse_path(struct parser *p, struct condition *c);
bool json_match(const struct condition *root, struct str message);
