/*
 * Conditions of policy statements: the operators, and how many values are held against how many.
 * Pure functions; any thread.
 */
#include <arpa/inet.h>
#include <math.h>

#include "auth/policy_int.h"
#include "base/time.h"

#define BROADEST_V4 8 /* a wider range of addresses narrows nothing */
#define BROADEST_V6 32

static const struct {
	const char *name;
	enum policy_type type;
	enum policy_order order;
	bool negated;
} operators[] = {
    {"StringEquals", POLICY_STRING, POLICY_EQUAL, false},
    {"StringNotEquals", POLICY_STRING, POLICY_EQUAL, true},
    {"StringEqualsIgnoreCase", POLICY_STRING_NOCASE, POLICY_EQUAL, false},
    {"StringNotEqualsIgnoreCase", POLICY_STRING_NOCASE, POLICY_EQUAL, true},
    {"StringLike", POLICY_LIKE, POLICY_EQUAL, false},
    {"StringNotLike", POLICY_LIKE, POLICY_EQUAL, true},
    {"ArnEquals", POLICY_ARN, POLICY_EQUAL, false},
    {"ArnLike", POLICY_ARN, POLICY_EQUAL, false},
    {"ArnNotEquals", POLICY_ARN, POLICY_EQUAL, true},
    {"ArnNotLike", POLICY_ARN, POLICY_EQUAL, true},
    {"NumericEquals", POLICY_NUMERIC, POLICY_EQUAL, false},
    {"NumericNotEquals", POLICY_NUMERIC, POLICY_EQUAL, true},
    {"NumericLessThan", POLICY_NUMERIC, POLICY_LESS, false},
    {"NumericLessThanEquals", POLICY_NUMERIC, POLICY_LESS_EQUAL, false},
    {"NumericGreaterThan", POLICY_NUMERIC, POLICY_GREATER, false},
    {"NumericGreaterThanEquals", POLICY_NUMERIC, POLICY_GREATER_EQUAL, false},
    {"DateEquals", POLICY_DATE, POLICY_EQUAL, false},
    {"DateNotEquals", POLICY_DATE, POLICY_EQUAL, true},
    {"DateLessThan", POLICY_DATE, POLICY_LESS, false},
    {"DateLessThanEquals", POLICY_DATE, POLICY_LESS_EQUAL, false},
    {"DateGreaterThan", POLICY_DATE, POLICY_GREATER, false},
    {"DateGreaterThanEquals", POLICY_DATE, POLICY_GREATER_EQUAL, false},
    {"Bool", POLICY_BOOL, POLICY_EQUAL, false},
    {"BinaryEquals", POLICY_BINARY, POLICY_EQUAL, false},
    {"IpAddress", POLICY_IP, POLICY_EQUAL, false},
    {"NotIpAddress", POLICY_IP, POLICY_EQUAL, true},
    {"Null", POLICY_NULL, POLICY_EQUAL, false},
};

bool policy_operator_find(const char *name, struct policy_operator *ret)
{
	struct str s = str_from(name);

	*ret = (struct policy_operator){0};
	if (str_has_prefix(s, "ForAllValues:"))
		ret->set = POLICY_ALL_VALUES;
	else if (str_has_prefix(s, "ForAnyValue:"))
		ret->set = POLICY_ANY_VALUE;
	if (ret->set)
		s = str_sub(s, strcspn(name, ":") + 1);
	if (str_has_suffix(s, "IfExists")) {
		ret->if_exists = true;
		s.len -= strlen("IfExists");
	}
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		if (!str_is(s, operators[i].name))
			continue;
		ret->type = operators[i].type;
		ret->order = operators[i].order;
		ret->negated = operators[i].negated;
		/* Whether it exists is what Null asks. */
		return ret->type != POLICY_NULL || !ret->if_exists;
	}
	return false;
}

/* ---- comparing one with one ---- */

static bool in_order(enum policy_order order, double is, double want)
{
	switch (order) {
	case POLICY_LESS: return is < want;
	case POLICY_LESS_EQUAL: return is <= want;
	case POLICY_GREATER: return is > want;
	case POLICY_GREATER_EQUAL: return is >= want;
	default: return !(is < want) && !(is > want);
	}
}

static bool to_number(const char *s, double *ret)
{
	char *end;

	if (!*s || s[strspn(s, "0123456789+-.eE")])
		return false;
	*ret = strtod(s, &end);
	return !*end && end != s && isfinite(*ret);
}

/* ISO 8601, or seconds since 1970. */
static bool to_date(const char *s, double *ret)
{
	int64_t ms;

	if (to_number(s, ret)) {
		*ret *= 1000;
		return true;
	}
	if (!time_parse_iso(str_from(s), &ms))
		return false;
	*ret = (double)ms;
	return true;
}

struct range {
	int family;
	uint8_t bytes[16];
	unsigned bits; /* that count */
};

static bool to_range(const char *s, struct range *ret)
{
	char address[INET6_ADDRSTRLEN];
	size_t n = strcspn(s, "/");
	int64_t bits;
	unsigned max;

	if (n >= sizeof(address))
		return false;
	memcpy(address, s, n);
	address[n] = 0;
	ret->family = strchr(address, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(ret->family, address, ret->bytes) != 1)
		return false;
	ret->bits = max = ret->family == AF_INET6 ? 128 : 32;
	if (!s[n])
		return true;
	if (!str_to_int64(str_from(s + n + 1), 0, max, &bits))
		return false;
	ret->bits = (unsigned)bits;
	return true;
}

static bool in_range(const char *is, const char *want)
{
	struct range a, b;
	unsigned whole;

	if (!to_range(is, &a) || !to_range(want, &b) || a.family != b.family || a.bits < b.bits)
		return false;
	whole = b.bits / 8;
	if (memcmp(a.bytes, b.bytes, whole) != 0)
		return false;
	return b.bits % 8 == 0 || (a.bytes[whole] ^ b.bytes[whole]) >> (8 - b.bits % 8) == 0;
}

static bool same_bytes(const char *is, const char *want)
{
	struct str a = str_from(is), b = str_from(want);
	_cleanup_free_ char *x = xmalloc(a.len + 1), *y = xmalloc(b.len + 1);
	ssize_t n = base64_decode(a, x), m = base64_decode(b, y);

	return n >= 0 && n == m && memcmp(x, y, (size_t)n) == 0;
}

static bool compare_text(
    enum policy_type type, enum policy_order order, const char *is, const char *want)
{
	double a, b;

	switch (type) {
	case POLICY_STRING: return strcmp(is, want) == 0;
	case POLICY_STRING_NOCASE:
	case POLICY_BOOL: return str_eq_nocase(str_from(is), str_from(want));
	case POLICY_NUMERIC:
		return to_number(is, &a) && to_number(want, &b) && in_order(order, a, b);
	case POLICY_DATE: return to_date(is, &a) && to_date(want, &b) && in_order(order, a, b);
	case POLICY_BINARY: return same_bytes(is, want);
	case POLICY_IP: return in_range(is, want);
	default: return false;
	}
}

static bool compare(const struct policy_operator *op, const char *is, const char *want,
    const struct policy_request *r, bool variables)
{
	_cleanup_buf_ struct buf expanded = BUF_INIT;

	if (op->type == POLICY_LIKE)
		return policy_matches_expanded(want, is, r, variables);
	if (op->type == POLICY_ARN)
		return policy_arn_matches(want, is, r, variables);
	if (variables && strstr(want, "${")) {
		if (!policy_expand(want, r, &expanded))
			return false;
		buf_putc(&expanded, '\0');
		want = buf_data(&expanded);
	}
	return compare_text(op->type, op->order, is, want);
}

/* ---- many with many ---- */

static bool one_holds(const struct policy_condition *c, const char *is,
    const struct policy_request *r, bool variables)
{
	bool found = false;

	for (size_t i = 0; i < c->values.count && !found; i++)
		found = compare(&c->op, is, c->values.list[i], r, variables);
	return found != c->op.negated;
}

static bool null_holds(const struct policy_condition *c, bool there)
{
	for (size_t i = 0; i < c->values.count; i++) {
		struct str want = str_from(c->values.list[i]);

		if (str_eq_nocase(want, there ? STR("false") : STR("true")))
			return true;
	}
	return false;
}

static bool holds_without(const struct policy_operator *op)
{
	if (op->if_exists || op->set == POLICY_ALL_VALUES)
		return true;
	return op->set == POLICY_ONE && op->negated;
}

bool policy_condition_holds(
    const struct policy_condition *c, const struct policy_request *r, bool variables)
{
	char scratch[POLICY_SCRATCH];
	struct str key = str_from(c->key);
	const char *is = policy_value_at(r, key, 0, scratch);
	/* Of several values where one is expected, none may be a forbidden one. */
	bool all = c->op.set == POLICY_ALL_VALUES || (c->op.set == POLICY_ONE && c->op.negated);

	if (c->op.type == POLICY_NULL)
		return null_holds(c, is != NULL);
	if (!is)
		return holds_without(&c->op);
	for (size_t i = 0; (is = policy_value_at(r, key, i, scratch)); i++) {
		if (one_holds(c, is, r, variables) != all)
			return !all;
	}
	return all;
}

/* ---- what narrows ---- */

static bool is_fixed(enum policy_type type, const char *value)
{
	struct range range;

	if (strstr(value, "${"))
		return false;
	if (type == POLICY_IP)
		return to_range(value, &range) &&
		       range.bits >= (range.family == AF_INET6 ? BROADEST_V6 : BROADEST_V4);
	/* In an equality the characters mean themselves, but AWS counts them all the same. */
	return !strpbrk(value, "*?");
}

bool policy_condition_narrows(const struct policy_condition *c)
{
	static const char *const keys[] = {"aws:SourceIp", "aws:SourceArn", "aws:SourceVpc",
	    "aws:SourceVpce", "aws:SourceOwner", "aws:SourceAccount", "aws:userid", "aws:username",
	    "aws:PrincipalOrgID", "aws:PrincipalOrgPaths", "aws:PrincipalAccount",
	    "aws:PrincipalArn", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:VpcSourceIp",
	    "s3:DataAccessPointAccount", "s3:DataAccessPointArn"};
	bool known = false;

	if (c->op.negated || c->op.if_exists || c->op.set == POLICY_ALL_VALUES ||
	    c->op.order != POLICY_EQUAL || c->op.type == POLICY_NULL)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		known = known || str_eq_nocase(str_from(c->key), str_from(keys[i]));
	for (size_t i = 0; i < c->values.count && known; i++)
		known = is_fixed(c->op.type, c->values.list[i]);
	return known;
}
