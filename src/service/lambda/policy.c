/*
 * Resource policies: the statements that AddPermission makes, in AWS's form, and whether they let
 * somebody in. Only what AddPermission can write is understood; anything else denies. Loop thread.
 */
#include "service/lambda/lambda_int.h"

/* ---- making ---- */

static json_t *principal_of(const char *text)
{
	struct str p = str_from(text);

	if (strcmp(text, "*") == 0)
		return json_string("*");
	if (is_number(text) && p.len == 12)
		return json_pack("{s:o}", "AWS", json_sprintf("arn:aws:iam::%s:root", text));
	if (str_has_prefix(p, "arn:aws:iam::") || str_has_prefix(p, "arn:aws:sts::"))
		return json_pack("{s:s}", "AWS", text);
	if (str_has_suffix(p, ".amazonaws.com") || str_has_suffix(p, ".amazon.com") ||
	    str_has_suffix(p, ".amazonaws.com.cn"))
		return json_pack("{s:s}", "Service", text);
	return NULL;
}

static void condition(json_t *conditions, const char *operator, const char * key, const char *value)
{
	json_t *all = json_object_get(conditions, operator);

	if (!value)
		return;
	if (!all) {
		all = json_object();
		json_object_set_new(conditions, operator, all);
	}
	doc_set_str(all, key, value);
}

static json_t *conditions_of(const struct lambda_add_permission_in *in)
{
	json_t *all = json_object();

	condition(all, "StringEquals", "AWS:SourceAccount", in->source_account);
	condition(all, "StringEquals", "aws:PrincipalOrgID", in->principal_org_id);
	condition(all, "StringEquals", "lambda:EventSourceToken", in->event_source_token);
	condition(all, "StringEquals", "lambda:FunctionUrlAuthType", in->function_url_auth_type);
	condition(all, "ArnLike", "AWS:SourceArn", in->source_arn);
	if (in->invoked_via_function_url)
		condition(all, "Bool", "lambda:InvokedViaFunctionUrl",
		    *in->invoked_via_function_url ? "true" : "false");
	return all;
}

json_t *policy_statement(
    struct call *c, const struct lambda_add_permission_in *in, const char *resource, struct err *e)
{
	json_t *principal, *conditions, *out;

	(void)c;
	if (in->function_url_auth_type && strcmp(in->action, "lambda:InvokeFunctionUrl") != 0) {
		fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action");
		return NULL;
	}
	principal = principal_of(in->principal);
	if (!principal) {
		fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The provided principal was invalid. Please check the principal and try "
		    "again.");
		return NULL;
	}
	out = json_object();
	doc_set_str(out, "Sid", in->statement_id);
	doc_set_str(out, "Effect", "Allow");
	json_object_set_new(out, "Principal", principal);
	doc_set_str(out, "Action", in->action);
	doc_set_str(out, "Resource", resource);
	conditions = conditions_of(in);
	if (json_object_size(conditions))
		json_object_set(out, "Condition", conditions);
	json_decref(conditions);
	return out;
}

/* ---- deciding ---- */

/* '*' any number of characters, '?' one; no backtracking beyond the last star. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool principal_matches(const json_t *principal, const struct policy_request *r)
{
	const char *aws = doc_str(principal, "AWS"), *service = doc_str(principal, "Service");

	if (json_is_string(principal))
		return strcmp(json_string_value(principal), "*") == 0;
	if (service)
		return r->service && strcmp(service, r->service) == 0;
	if (!aws || !r->account)
		return false;
	if (r->arn && strcmp(aws, r->arn) == 0)
		return true;
	/* arn:aws:iam::ACCOUNT:root stands for the whole account. */
	return strlen(aws) == 30 && strncmp(aws, "arn:aws:iam::", 13) == 0 &&
	       strncmp(aws + 13, r->account, 12) == 0 && strcmp(aws + 25, ":root") == 0;
}

static const char *actual(const char *key, const struct policy_request *r)
{
	if (strcmp(key, "AWS:SourceAccount") == 0)
		return r->source_account;
	if (strcmp(key, "AWS:SourceArn") == 0)
		return r->source_arn;
	if (strcmp(key, "lambda:FunctionUrlAuthType") == 0)
		return r->url_auth_type;
	if (strcmp(key, "lambda:InvokedViaFunctionUrl") == 0)
		return r->via_url ? "true" : "false";
	return NULL; /* organisations and tokens: never met here */
}

static bool conditions_hold(json_t *conditions, const struct policy_request *r)
{
	const char *operator, * key;
	json_t *all, *want;

	json_object_foreach(conditions, operator, all)
	{
		bool like = strcmp(operator, "ArnLike") == 0;

		json_object_foreach(all, key, want)
		{
			const char *is = actual(key, r), *text = json_string_value(want);

			if (!is || !text)
				return false;
			if (like ? !matches(text, is) : strcmp(text, is) != 0)
				return false;
		}
	}
	return true;
}

bool policy_allows(const json_t *policy, const struct policy_request *r)
{
	json_t *statement;
	size_t i;

	json_array_foreach(json_object_get(policy, "Statement"), i, statement)
	{
		const char *action = doc_str(statement, "Action");

		if (action && matches(action, r->action) &&
		    principal_matches(json_object_get(statement, "Principal"), r) &&
		    conditions_hold(json_object_get(statement, "Condition"), r))
			return true;
	}
	return false;
}

bool function_allows(
    const struct function *f, const char *qualifier, const struct policy_request *r)
{
	const struct item *it = item_find(&f->policies, qualifier ? qualifier : "");

	return it && policy_allows(it->doc, r);
}
