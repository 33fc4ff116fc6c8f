/* Policies of layer versions: who else may use them. Loop thread. */
#include "service/lambda/layer_int.h"

#define POLICY_MAX 20480

static int find(
    struct call *c, const char *name, int64_t number, struct layer_version **ret, struct err *e)
{
	struct layer_ref ref;
	const struct layer *y;

	if (!layer_parse(c, name, &ref))
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "'%s' is no layer name: give a name or the ARN of a layer.", name);
	if (number < 1)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Layer Version Cannot be less than 1.");
	y = strcmp(ref.account, c->account) == 0 ? layer_by_ref(c, &ref) : NULL;
	*ret = y ? layer_version_find(y, number) : NULL;
	if (*ret)
		return 0;
	return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
	    "Layer version arn:aws:lambda:%s:%s:layer:%s:%" PRId64 " does not exist.", ref.region,
	    ref.account, ref.name, number);
}

static const char *as_text(struct call *c, const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT);
	const char *copy = call_str(c, text);

	check(text != NULL);
	free(text);
	return copy;
}

static json_t *statements_of(const struct layer_version *v)
{
	return json_object_get(json_object_get(v->doc, "Policy"), "Statement");
}

static size_t find_statement(const json_t *list, const char *id)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(doc_str(json_array_get(list, i), "Sid"), id) == 0)
			return i;
	return SIZE_MAX;
}

static int check_change(const struct layer_version *v, const char *revision_id, struct err *e)
{
	const char *is = doc_str(json_object_get(v->doc, "Policy"), "RevisionId");

	if (v->writing)
		return fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "The policy of this layer version is being changed: try again.");
	if (revision_id && (!is || strcmp(is, revision_id) != 0))
		return fail(e, LAMBDA_PRECONDITION_FAILED_EXCEPTION,
		    "The Revision Id provided does not match the latest Revision Id. Call the "
		    "GetLayerVersionPolicy API to retrieve the latest Revision Id");
	return 0;
}

/* ---- the operations ---- */

static json_t *statement_of(
    struct call *c, const struct lambda_add_layer_version_permission_in *in, const char *arn)
{
	bool account = is_number(in->principal);
	const char *principal =
	    account ? call_printf(c, "arn:aws:iam::%s:root", in->principal) : in->principal;
	json_t *s = json_object();

	doc_set_str(s, "Sid", in->statement_id);
	doc_set_str(s, "Effect", "Allow");
	if (strcmp(principal, "*") == 0)
		doc_set_str(s, "Principal", "*");
	else
		json_object_set_new(s, "Principal", json_pack("{s:s}", "AWS", principal));
	doc_set_str(s, "Action", in->action);
	doc_set_str(s, "Resource", arn);
	if (in->organization_id)
		json_object_set_new(s, "Condition",
		    json_pack(
			"{s:{s:s}}", "StringEquals", "aws:PrincipalOrgID", in->organization_id));
	return s;
}

static void finish_add(struct call *c, struct layer *y, int64_t number)
{
	const struct layer_version *v = layer_version_find(y, number);
	struct lambda_add_layer_version_permission_out *out = c->out;
	const json_t *list = v ? statements_of(v) : NULL;

	if (!list)
		return;
	out->statement = as_text(c, json_array_get(list, json_array_size(list) - 1));
	out->revision_id = call_str(c, doc_str(json_object_get(v->doc, "Policy"), "RevisionId"));
}

int lambda_add_layer_version_permission(struct call *c,
    const struct lambda_add_layer_version_permission_in *in,
    struct lambda_add_layer_version_permission_out *out, struct err *e)
{
	struct layer_version *v;
	json_t *doc, *policy;
	int r = find(c, in->layer_name, *in->version_number, &v, e);

	(void)out;
	if (r == 0)
		r = check_change(v, in->revision_id, e);
	if (r == 0 && find_statement(statements_of(v), in->statement_id) != SIZE_MAX)
		r = fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "The statement id (%s) provided already exists. Please provide a new "
		    "statement id, or remove the existing statement.",
		    in->statement_id);
	if (r < 0)
		return r;
	doc = json_deep_copy(v->doc);
	policy = json_object_get(doc, "Policy");
	if (!policy) {
		policy = json_pack("{s:[]}", "Statement");
		json_object_set_new(doc, "Policy", policy);
	}
	json_array_append_new(
	    json_object_get(policy, "Statement"), statement_of(c, in, layer_version_arn(c, v)));
	doc_new_revision(policy);
	if (strlen(as_text(c, policy)) > POLICY_MAX) {
		json_decref(doc);
		return fail(e, LAMBDA_POLICY_LENGTH_EXCEEDED_EXCEPTION,
		    "The final policy size is bigger than the limit (%d).", POLICY_MAX);
	}
	return layer_commit(c, v->layer, v->number, doc, 0, finish_add);
}

int lambda_get_layer_version_policy(struct call *c,
    const struct lambda_get_layer_version_policy_in *in,
    struct lambda_get_layer_version_policy_out *out, struct err *e)
{
	struct layer_version *v;
	json_t *policy;
	int r = find(c, in->layer_name, *in->version_number, &v, e);

	if (r < 0)
		return r;
	if (!json_array_size(statements_of(v)))
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "No policy is associated with the given resource.");
	policy = json_pack("{s:s,s:s,s:O}", "Version", "2012-10-17", "Id", "default", "Statement",
	    statements_of(v));
	out->policy = as_text(c, policy);
	out->revision_id = call_str(c, doc_str(json_object_get(v->doc, "Policy"), "RevisionId"));
	json_decref(policy);
	return 0;
}

int lambda_remove_layer_version_permission(struct call *c,
    const struct lambda_remove_layer_version_permission_in *in,
    struct lambda_remove_layer_version_permission_out *out, struct err *e)
{
	struct layer_version *v;
	json_t *doc, *policy;
	size_t at;
	int r = find(c, in->layer_name, *in->version_number, &v, e);

	(void)out;
	if (r == 0)
		r = check_change(v, in->revision_id, e);
	if (r < 0)
		return r;
	at = find_statement(statements_of(v), in->statement_id);
	if (at == SIZE_MAX)
		return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Statement %s is not found in resource policy.", in->statement_id);
	doc = json_deep_copy(v->doc);
	policy = json_object_get(doc, "Policy");
	json_array_remove(json_object_get(policy, "Statement"), at);
	doc_new_revision(policy);
	return layer_commit(c, v->layer, v->number, doc, 0, NULL);
}

/* ---- deciding ---- */

/* "*" without a condition, or the caller's account: organisations are never met here. */
bool layer_visible(struct call *c, const struct layer_version *v)
{
	const json_t *s;
	size_t i;

	if (strcmp(v->layer->account, c->account) == 0)
		return true;
	json_array_foreach(statements_of(v), i, s)
	{
		const char *aws = doc_str(json_object_get(s, "Principal"), "AWS");
		const char *any = doc_str(s, "Principal");

		if (json_object_get(s, "Condition"))
			continue;
		if (any ||
		    (aws && strcmp(aws, call_printf(c, "arn:aws:iam::%s:root", c->account)) == 0))
			return true;
	}
	return false;
}
