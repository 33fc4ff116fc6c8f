/* What the files about policies share. */
#pragma once

#include <jansson.h>

#include "auth/policy.h"
#include "base/buf.h"

/* ---- policy_check.c ---- */

/* The document if it is one of this kind; NULL and e. */
json_t *policy_load(struct str text, enum policy_kind kind, struct err *e);

/* ---- policy_condition.c ---- */

enum policy_type {
	POLICY_STRING,
	POLICY_STRING_NOCASE,
	POLICY_LIKE,
	POLICY_ARN,
	POLICY_NUMERIC,
	POLICY_DATE,
	POLICY_BOOL,
	POLICY_BINARY,
	POLICY_IP,
	POLICY_NULL,
};

enum policy_order {
	POLICY_EQUAL,
	POLICY_LESS,
	POLICY_LESS_EQUAL,
	POLICY_GREATER,
	POLICY_GREATER_EQUAL
};

enum policy_set { POLICY_ONE, POLICY_ALL_VALUES, POLICY_ANY_VALUE };

/* "ForAllValues:StringNotEqualsIfExists", taken apart. */
struct policy_operator {
	enum policy_type type;
	enum policy_order order;
	enum policy_set set;
	bool negated, if_exists;
};
bool policy_operator_find(const char *name, struct policy_operator *ret);

struct policy_strings {
	const char **list;
	size_t count;
};

struct policy_condition {
	struct policy_operator op;
	const char *key;
	struct policy_strings values;
};
/* variables: "${aws:username}" is replaced, as in documents of 2012-10-17. */
bool policy_condition_holds(
    const struct policy_condition *c, const struct policy_request *r, bool variables);
/* Does it confine who comes in to fixed values of what AWS counts? See policy_is_public(). */
bool policy_condition_narrows(const struct policy_condition *c);

/* ---- policy_match.c ---- */

#define POLICY_SCRATCH 320
/* Value number n of a context key, or NULL; scratch may hold it. */
const char *policy_value_at(
    const struct policy_request *r, struct str key, size_t n, char scratch[POLICY_SCRATCH]);
/* pattern as it stands in a document, against text. */
bool policy_matches_expanded(
    const char *pattern, const char *text, const struct policy_request *r, bool variables);
/* pattern with its variables replaced, every character meaning itself; false if one has no value.
 */
bool policy_expand(const char *pattern, const struct policy_request *r, struct buf *ret);
/* The same for each part of an ARN. */
bool policy_arn_matches(
    const char *pattern, const char *text, const struct policy_request *r, bool variables);
