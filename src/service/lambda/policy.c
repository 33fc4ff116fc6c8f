/*
 * Resource policies: the statements that AddPermission makes, in AWS's form, and whether they let
 * somebody in. Loop thread.
 */
#include "base/log.h"
#include "base/time.h"
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

struct policy *policy_compile(json_t *doc)
{
	json_t *whole = json_pack(
	    "{s:s, s:O}", "Version", "2012-10-17", "Statement", json_object_get(doc, "Statement"));
	_cleanup_free_ char *text = json_dumps(whole, JSON_COMPACT);
	struct err e = ERR_INIT;
	struct policy *p = policy_parse(str_from(text), true, &e);

	json_decref(whole);
	if (!p)
		log_error(
		    "a function's resource policy is not valid and lets nobody in: %s", e.msg);
	return p;
}

bool policy_allows(const struct policy *p, const struct caller *who)
{
	const struct policy_value values[] = {
	    {"aws:SourceArn", who->source_arn},
	    {"aws:SourceAccount", who->source_account},
	    {"lambda:FunctionUrlAuthType", who->url_auth_type},
	    {"lambda:InvokedViaFunctionUrl", who->via_url ? "true" : "false"},
	};
	const struct policy_request r = {.principal = who->principal,
	    .service = who->service,
	    .action = who->action,
	    .values = values,
	    .value_count = ARRAY_SIZE(values),
	    .now_ms = time_wall_ms()};

	return policy_evaluate(p, &r) == POLICY_ALLOW;
}

bool function_allows(const struct function *f, const char *qualifier, const struct caller *who)
{
	const struct item *it = item_find(&f->policies, qualifier ? qualifier : "");

	return it && policy_allows(it->policy, who);
}
