/*
 * How clients name functions: name, name:qualifier, account:function:name, partial and whole ARNs.
 * And the texts that go with them. Loop thread.
 */
#include "service/lambda/lambda_int.h"

static bool all_of(struct str s, const char *extra)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c && strchr(extra, c))))
			return false;
	}
	return s.len > 0;
}

static bool is_digits(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	}
	return s.len > 0;
}

bool is_number(const char *s)
{
	return is_digits(str_from(s));
}

/* "us-east-1", "us-gov-west-1": ends in -<digit>, and has another dash before. A function may not
 * be told from it by its look alone, so a region counts only with something behind it. */
static bool is_region(struct str s)
{
	return s.len >= 8 && s.ptr[s.len - 2] == '-' && s.ptr[s.len - 1] >= '0' &&
	       s.ptr[s.len - 1] <= '9' && s.ptr[2] == '-' && s.ptr[0] >= 'a' && s.ptr[0] <= 'z' &&
	       all_of(s, "-");
}

static bool take_arn_prefix(struct str *s)
{
	struct str rest = *s, part = str_cut(&rest, ':');

	if (!str_is(part, "arn"))
		return true;
	part = str_cut(&rest, ':');
	if (!str_has_prefix(part, "aws") || !rest.ptr)
		return false;
	part = str_cut(&rest, ':');
	if (!str_is(part, "lambda") || !rest.ptr)
		return false;
	*s = rest;
	return true;
}

bool name_parse(struct str s, struct name *ret)
{
	struct name n = {0};
	struct str rest, part;

	if (!take_arn_prefix(&s))
		return false;
	rest = s;
	part = str_cut(&rest, ':');
	if (rest.ptr && is_region(part)) {
		n.region = part;
		s = rest;
		part = str_cut(&rest, ':');
	}
	if (rest.ptr && part.len == 12 && is_digits(part)) {
		n.account = part;
		s = rest;
		part = str_cut(&rest, ':');
	}
	if (rest.ptr && str_is(part, "function"))
		s = rest;
	n.name = str_cut(&s, ':');
	n.qualifier = s;
	if (!all_of(n.name, "-_"))
		return false;
	if (n.qualifier.ptr && !str_is(n.qualifier, LATEST) && !all_of(n.qualifier, "-_"))
		return false;
	*ret = n;
	return true;
}

const char *ref_arn(struct call *c, const struct ref *r)
{
	return call_printf(c, "arn:aws:lambda:%s:%s:function:%s%s%s", r->region, r->account,
	    r->name, r->qualifier ? ":" : "", r->qualifier ? r->qualifier : "");
}

const char *function_arn(struct call *c, const struct function *f, const char *qualifier)
{
	struct ref r = {f->region, f->account, f->name, qualifier};

	return ref_arn(c, &r);
}

int ref_not_found(struct call *c, const struct ref *r, struct err *e)
{
	return call_fail(
	    c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "Function not found: %s", ref_arn(c, r));
}

int ref_resolve(struct call *c, const char *function_name, const char *qualifier, struct ref *ret,
    struct err *e)
{
	struct name n;
	struct ref r = {c->region, c->account, NULL, qualifier};

	if (!name_parse(str_from(function_name), &n))
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "'%s' is no function name: give a name, a partial ARN or an ARN.",
		    function_name);
	if (n.qualifier.ptr && qualifier && !str_is(n.qualifier, qualifier))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The derived qualifier from the function name does not match the specified "
		    "qualifier.");
	if (n.region.ptr && !str_is(n.region, c->region))
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Functions from '%.*s' are not reachable from '%s'", STR_FMT(n.region),
		    c->region);
	r.name = call_strn(c, n.name);
	if (n.account.ptr)
		r.account = call_strn(c, n.account);
	if (n.qualifier.ptr)
		r.qualifier = call_strn(c, n.qualifier);
	if (r.qualifier && !r.qualifier[0])
		r.qualifier = NULL;
	*ret = r;
	return 0;
}
