/*
 * Patterns of policy documents, their variables, and the values that a request brings for both.
 * Pure functions; any thread.
 *
 * A pattern whose variables were replaced has ESCAPE before each character that stands for itself,
 * so that a user called "*" is not everybody.
 */
#include <stdio.h>

#include "auth/policy_int.h"
#include "base/time.h"

#define ESCAPE '\x01'
#define ARN_PARTS 6

/* ---- what the request brings ---- */

static const char *text_of(char scratch[POLICY_SCRATCH], struct str s)
{
	snprintf(scratch, POLICY_SCRATCH, "%.*s", STR_FMT(s));
	return scratch;
}

/* Whose sessions these are: "arn:aws:sts::1:assumed-role/x/session" is by "arn:aws:iam::1:role/x".
 */
static const char *principal_arn(const struct aws_principal *p, char scratch[POLICY_SCRATCH])
{
	const char *role = strstr(p->arn, ":assumed-role/");

	if (p->type != AWS_ASSUMED_ROLE || !role)
		return p->arn;
	role += strlen(":assumed-role/");
	snprintf(scratch, POLICY_SCRATCH, "arn:aws:iam::%s:role/%.*s", p->account,
	    (int)strcspn(role, "/"), role);
	return scratch;
}

static const char *principal_type(const struct aws_principal *p)
{
	switch (p->type) {
	case AWS_ROOT: return "Account";
	case AWS_USER: return "User";
	case AWS_ASSUMED_ROLE: return "AssumedRole";
	default: return "Anonymous";
	}
}

static const char *of_principal(
    const struct aws_principal *p, struct str key, char scratch[POLICY_SCRATCH])
{
	const char *slash = strrchr(p->arn, '/');

	if (str_eq_nocase(key, STR("aws:PrincipalType")))
		return principal_type(p);
	if (p->type == AWS_ANONYMOUS)
		return NULL;
	if (str_eq_nocase(key, STR("aws:PrincipalAccount")))
		return p->account;
	if (str_eq_nocase(key, STR("aws:PrincipalArn")))
		return principal_arn(p, scratch);
	if (str_eq_nocase(key, STR("aws:userid")))
		return p->user_id;
	if (str_eq_nocase(key, STR("aws:username")) && p->type == AWS_USER && slash)
		return slash + 1;
	return NULL;
}

/* What follows from who asks and when. */
static const char *derived(
    const struct policy_request *r, struct str key, char scratch[POLICY_SCRATCH])
{
	if (key.len < 4 || !str_eq_nocase((struct str){key.ptr, 4}, STR("aws:")))
		return NULL;
	if (str_eq_nocase(key, STR("aws:CurrentTime"))) {
		time_format_iso(r->now_ms, scratch);
		return scratch;
	}
	if (str_eq_nocase(key, STR("aws:EpochTime"))) {
		snprintf(scratch, POLICY_SCRATCH, "%" PRId64, r->now_ms / 1000);
		return scratch;
	}
	if (str_eq_nocase(key, STR("aws:PrincipalIsAWSService")))
		return r->service ? "true" : "false";
	if (str_eq_nocase(key, STR("aws:PrincipalServiceName")))
		return r->service ? text_of(scratch, str_from(r->service)) : NULL;
	return r->principal ? of_principal(r->principal, key, scratch) : NULL;
}

const char *policy_value_at(
    const struct policy_request *r, struct str key, size_t n, char scratch[POLICY_SCRATCH])
{
	bool given = false;

	for (size_t i = 0; i < r->value_count; i++) {
		if (!r->values[i].value || !str_eq_nocase(str_from(r->values[i].key), key))
			continue;
		given = true;
		if (n-- == 0)
			return r->values[i].value;
	}
	return given || n ? NULL : derived(r, key, scratch);
}

/* ---- variables ---- */

static void literally(struct buf *out, struct str s, bool escape)
{
	for (size_t i = 0; i < s.len; i++) {
		if (escape && memchr("*?:\x01", s.ptr[i], 4))
			buf_putc(out, ESCAPE);
		buf_putc(out, s.ptr[i]);
	}
}

/* The inside of ${…}: a key, perhaps with ", 'what to take without one'". */
static bool variable(
    struct buf *out, struct str inside, const struct policy_request *r, bool escape)
{
	char scratch[POLICY_SCRATCH], more[POLICY_SCRATCH];
	struct str rest = inside, key = str_trim(str_cut(&rest, ','));
	const char *value = policy_value_at(r, key, 0, scratch);

	if (key.len == 1 && memchr("*?$", key.ptr[0], 3)) {
		literally(out, key, escape);
		return true;
	}
	rest = str_trim(rest);
	if (value && !policy_value_at(r, key, 1, more))
		literally(out, str_from(value), escape);
	else if (rest.len >= 2 && rest.ptr[0] == '\'' && rest.ptr[rest.len - 1] == '\'')
		literally(out, (struct str){rest.ptr + 1, rest.len - 2}, escape);
	else
		return false;
	return true;
}

static bool expand(
    const char *pattern, const struct policy_request *r, bool escape, struct buf *out)
{
	while (*pattern) {
		const char *end = strncmp(pattern, "${", 2) == 0 ? strchr(pattern, '}') : NULL;

		if (end) {
			struct str inside = {pattern + 2, (size_t)(end - pattern) - 2};

			if (!variable(out, inside, r, escape))
				return false;
			pattern = end + 1;
			continue;
		}
		if (escape && *pattern == ESCAPE)
			buf_putc(out, ESCAPE);
		buf_putc(out, *pattern++);
	}
	return true;
}

bool policy_expand(const char *pattern, const struct policy_request *r, struct buf *ret)
{
	return expand(pattern, r, false, ret);
}

/* ---- patterns ---- */

static bool same(char a, char b, bool ignore_case)
{
	return a == b || (ignore_case && str_eq_nocase((struct str){&a, 1}, (struct str){&b, 1}));
}

/* No backtracking beyond the last star: at most pattern × text steps. */
static bool glob(struct str pattern, struct str text, bool ignore_case, bool escapes)
{
	size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;

	while (t < text.len) {
		bool left = p < pattern.len;
		bool escaped = left && escapes && pattern.ptr[p] == ESCAPE && p + 1 < pattern.len;

		if (left && !escaped && pattern.ptr[p] == '*') {
			star = ++p;
			resume = t;
		} else if (left && ((!escaped && pattern.ptr[p] == '?') ||
				       same(pattern.ptr[p + escaped], text.ptr[t], ignore_case))) {
			p += 1u + escaped;
			t++;
		} else if (star != SIZE_MAX) {
			p = star;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

bool policy_matches(struct str pattern, struct str text, bool ignore_case)
{
	return glob(pattern, text, ignore_case, false);
}

/* The next part of a pattern, up to a ':' that is one. */
static struct str part(struct str *s, bool escapes)
{
	for (size_t i = 0; i < s->len; i++) {
		struct str before = {s->ptr, i};

		if (escapes && s->ptr[i] == ESCAPE) {
			i++;
		} else if (s->ptr[i] == ':') {
			*s = (struct str){s->ptr + i + 1, s->len - i - 1};
			return before;
		}
	}
	return (struct str){s->ptr, s->len};
}

static bool arn_glob(struct str pattern, struct str text, bool escapes)
{
	if (pattern.len == 1 && pattern.ptr[0] == '*')
		return true;
	for (int i = 0; i < ARN_PARTS - 1; i++) {
		size_t pattern_len = pattern.len, text_len = text.len;
		struct str p = part(&pattern, escapes), t = part(&text, false);

		/* Not as many parts as an ARN has. */
		if (p.len == pattern_len || t.len == text_len)
			return false;
		if (!glob(p, t, false, escapes))
			return false;
	}
	return glob(pattern, text, false, escapes);
}

static bool any_matches(
    const char *pattern, const char *text, const struct policy_request *r, bool variables, bool arn)
{
	_cleanup_buf_ struct buf expanded = BUF_INIT;
	struct str p = str_from(pattern);
	bool escapes = variables && strstr(pattern, "${");

	if (escapes) {
		if (!expand(pattern, r, true, &expanded))
			return false;
		p = buf_str(&expanded);
	}
	return arn ? arn_glob(p, str_from(text), escapes) : glob(p, str_from(text), false, escapes);
}

bool policy_matches_expanded(
    const char *pattern, const char *text, const struct policy_request *r, bool variables)
{
	return any_matches(pattern, text, r, variables, false);
}

bool policy_arn_matches(
    const char *pattern, const char *text, const struct policy_request *r, bool variables)
{
	return any_matches(pattern, text, r, variables, true);
}
