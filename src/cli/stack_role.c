/* AWS::IAM::Role, and what SAM's Policies mean. */
#include "cli/stack_int.h"

#include "cli/role.h"

int stack_role_name(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *given = json_string_value(json_object_get(properties, "RoleName"));
	_cleanup_free_ char *name =
	    given ? xstrdup(given) : xasprintf("%.31s-%.32s", s->name, r->id);
	_cleanup_free_ char *arn = xasprintf("arn:aws:iam::%s:role/%s", s->account, name);

	template_define(s->t, r->id, "Ref", name);
	template_define(s->t, r->id, "Arn", arn);
	return CLI_OK;
}

static int put_policies(struct stack *s, const char *role, const json_t *properties)
{
	json_t *arns = json_object_get(properties, "ManagedPolicyArns"), *one;
	json_t *inlines = json_object_get(properties, "Policies");
	int code = role_strip(s->client, role);
	size_t i;

	json_array_foreach(arns, i, one)
	{
		if (!code)
			code = role_attach(s->client, role, json_string_value(one));
	}
	json_array_foreach(inlines, i, one)
	{
		if (!code)
			code = role_put_policy(s->client, role, field_text(one, "PolicyName"),
			    json_object_get(one, "PolicyDocument"));
	}
	return code;
}

int stack_role(struct stack *s, const struct template_resource *r, json_t *properties)
{
	static const char *const names[] = {"RoleName", "AssumeRolePolicyDocument",
	    "ManagedPolicyArns", "Policies", "Description", NULL};
	const char *role = field_text(json_object_get(s->t->values, r->id), "Ref");
	_cleanup_free_ char *arn = NULL;
	int code = stack_check_names(r->id, properties, names);

	if (!code)
		code = role_put(
		    s->client, role, json_object_get(properties, "AssumeRolePolicyDocument"), &arn);
	if (!code)
		code = put_policies(s, role, properties);
	if (!code)
		stack_report(s, r->id, r->type, role, "there");
	return code;
}

/* ---- SAM's policy templates: what they allow on what their parameter names ---- */

static const struct policy_template {
	const char *name, *parameter, *actions; /* one word each, separated by spaces */
	const char *resources[2];               /* %s: the parameter */
} templates[] = {
    {"S3ReadPolicy", "BucketName",
	"s3:GetObject s3:ListBucket s3:GetBucketLocation s3:GetObjectVersion "
	"s3:GetLifecycleConfiguration",
	{"arn:aws:s3:::%s", "arn:aws:s3:::%s/*"}},
    {"S3WritePolicy", "BucketName", "s3:PutObject s3:PutObjectAcl s3:PutLifecycleConfiguration",
	{"arn:aws:s3:::%s", "arn:aws:s3:::%s/*"}},
    {"S3CrudPolicy", "BucketName",
	"s3:GetObject s3:ListBucket s3:GetBucketLocation s3:GetObjectVersion s3:PutObject "
	"s3:PutObjectAcl s3:GetLifecycleConfiguration s3:PutLifecycleConfiguration "
	"s3:DeleteObject",
	{"arn:aws:s3:::%s", "arn:aws:s3:::%s/*"}},
    {"SQSSendMessagePolicy", "QueueName", "sqs:SendMessage*", {"arn:aws:sqs:*:*:%s", NULL}},
    {"SQSPollerPolicy", "QueueName",
	"sqs:ChangeMessageVisibility sqs:ChangeMessageVisibilityBatch sqs:DeleteMessage "
	"sqs:DeleteMessageBatch sqs:GetQueueAttributes sqs:ReceiveMessage",
	{"arn:aws:sqs:*:*:%s", NULL}},
    {"LambdaInvokePolicy", "FunctionName", "lambda:InvokeFunction",
	{"arn:aws:lambda:*:*:function:%s*", NULL}},
};

static json_t *words(const char *text)
{
	json_t *list = json_array();
	struct str rest = str_from(text);

	while (rest.ptr) {
		struct str word = str_cut(&rest, ' ');

		json_array_append_new(list, json_stringn(word.ptr, word.len));
	}
	return list;
}

/* The one place where a pattern of the table above meets its parameter. */
static json_t *resource(const char *pattern, const char *parameter)
{
	const char *at = strstr(pattern, "%s");

	return json_sprintf("%.*s%s%s", (int)(at - pattern), pattern, parameter, at + 2);
}

static json_t *document_of(const struct policy_template *p, const char *parameter)
{
	json_t *resources = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(p->resources) && p->resources[i]; i++)
		json_array_append_new(resources, resource(p->resources[i], parameter));
	return json_pack("{s:s,s:[{s:s,s:o,s:o}]}", "Version", "2012-10-17", "Statement", "Effect",
	    "Allow", "Action", words(p->actions), "Resource", resources);
}

static int put_template(struct stack *s, const char *id, const char *role, size_t at,
    const char *name, const json_t *arguments)
{
	_cleanup_free_ char *unique = xasprintf("%s-%zu", name, at);

	for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
		const struct policy_template *p = &templates[i];
		json_t *document;
		int code;

		if (strcmp(p->name, name))
			continue;
		document = document_of(p, field_text(arguments, p->parameter));
		code = role_put_policy(s->client, role, unique, document);
		json_decref(document);
		return code;
	}
	return cli_fail(CLI_USAGE, "write the statements themselves",
	    "resource %s: policy template %s is not understood", id, name);
}

static int put_one(struct stack *s, const char *id, const char *role, size_t i, const json_t *one)
{
	_cleanup_free_ char *name = xasprintf("%s-%zu", id, i);
	void *first = json_object_iter((json_t *)(uintptr_t)one);

	if (json_is_string(one))
		return role_attach(s->client, role, json_string_value(one));
	if (json_object_get(one, "Statement"))
		return role_put_policy(s->client, role, name, one);
	if (!first)
		return cli_fail(CLI_USAGE, NULL, "resource %s: a policy is empty", id);
	return put_template(
	    s, id, role, i, json_object_iter_key(first), json_object_iter_value(first));
}

int stack_role_policies(struct stack *s, const char *id, const char *role, const json_t *policies)
{
	json_t *list = json_is_array(policies) ? json_incref((json_t *)(uintptr_t)policies)
					       : json_pack("[O]", policies),
	       *one;
	int code = CLI_OK;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (!code)
			code = put_one(s, id, role, i, one);
	}
	json_decref(list);
	return code;
}
