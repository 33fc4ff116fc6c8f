/* A template's resources in the order they need each other. See stack.h. */
#include "cli/stack_int.h"

#include <stdio.h>

#include "cli/config.h"
#include "cli/manifest.h"
#include "cli/term.h"

typedef int step(struct stack *s, const struct template_resource *r, json_t *properties);

/* First every resource gets its name, so that any may refer to any; then they are made, a line of
 * this table after the other. */
static const struct kind {
	const char *type;
	step *name, *make;
} kinds[] = {
    {"AWS::IAM::Role", stack_role_name, stack_role},
    {"AWS::SQS::Queue", stack_queue_name, stack_queue},
    {"AWS::SQS::Queue", NULL, stack_queue_attributes},
    {"AWS::SQS::QueuePolicy", NULL, stack_queue_policy},
    {"AWS::S3::Bucket", stack_bucket_name, stack_bucket},
    {"AWS::S3::BucketPolicy", NULL, stack_bucket_policy},
    {"AWS::Serverless::Function", stack_function_name, stack_function},
    {"AWS::Lambda::Permission", NULL, stack_permission},
    {"AWS::Lambda::EventSourceMapping", NULL, stack_mapping},
};

/* ---- for the kinds ---- */

const char *stack_need(const char *id, const json_t *properties, const char *name, int *ret_code)
{
	const char *v = json_string_value(json_object_get(properties, name));

	if (!v && !*ret_code)
		*ret_code = cli_fail(CLI_USAGE, NULL, "resource %s needs %s", id, name);
	return v ? v : "";
}

int stack_check_names(const char *id, const json_t *properties, const char *const *known)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)properties, name, value)
	{
		const char *const *k = known;

		while (*k && strcmp(*k, name))
			k++;
		if (!*k)
			return cli_fail(CLI_USAGE,
			    "leave it out, or set it with another tool after deploying",
			    "resource %s: property %s is not understood", id, name);
	}
	return CLI_OK;
}

void stack_report(
    struct stack *s, const char *id, const char *type, const char *name, const char *outcome)
{
	json_array_append_new(s->report, json_pack("{s:s,s:s,s:s,s:s}", "LogicalId", id, "Type",
					     type, "Name", name, "Outcome", outcome));
}

json_t *stack_list(const json_t *v)
{
	if (json_is_array(v))
		return json_deep_copy(v);
	return json_is_string(v) ? json_pack("[O]", v) : json_array();
}

/* ---- the whole ---- */

static int find_account(struct stack *s)
{
	struct client_request r = {
	    .service = "sts",
	    .method = "POST",
	    .path = "/",
	    .type = "application/x-www-form-urlencoded",
	    .body = STR("Action=GetCallerIdentity&Version=2011-06-15"),
	};
	_cleanup_answer_ struct client_answer a = {0};
	int code = client_send(s->client, &r, &a);
	struct str body = buf_str(&a.body);
	const char *at;

	if (!code && (a.status < 200 || a.status > 299))
		code = client_refused(s->client, &a, "asking for the account");
	if (code)
		return code;
	at = memmem(body.ptr, body.len, "<Account>", 9);
	if (!at || body.ptr + body.len - at < 21)
		return cli_fail(CLI_FAILED, "is AWS_ENDPOINT_URL the address of a mayfly server?",
		    "the server does not say which account this is");
	snprintf(s->account, sizeof(s->account), "%.12s", at + 9);
	return CLI_OK;
}

static void define_pseudo(struct stack *s)
{
	template_define(s->t, "AWS::AccountId", "Ref", s->account);
	template_define(s->t, "AWS::Region", "Ref", s->region);
	template_define(s->t, "AWS::Partition", "Ref", "aws");
	template_define(s->t, "AWS::URLSuffix", "Ref", "amazonaws.com");
	template_define(s->t, "AWS::StackName", "Ref", s->name);
}

static bool is_known(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].type, type))
			return true;
	}
	return false;
}

static int check_types(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (!is_known(t->resources[i].type))
			return cli_fail(CLI_USAGE, "mayfly(1) lists the types that are",
			    "resource %s: type %s is not understood", t->resources[i].id,
			    t->resources[i].type);
	}
	return CLI_OK;
}

static int resolved(
    struct stack *s, const struct template_resource *r, const json_t *v, json_t **ret)
{
	struct err e = ERR_INIT;

	*ret = template_resolve(s->t, v, &e);
	return *ret ? CLI_OK : cli_fail(CLI_USAGE, NULL, "resource %s: %s", r->id, e.msg);
}

/* What names a resource is resolved before the others have names, so it may refer to parameters
 * only. */
static int name_one(struct stack *s, const struct kind *k, const struct template_resource *r)
{
	static const char *const members[] = {
	    "FunctionName", "QueueName", "BucketName", "RoleName", "FifoQueue"};
	json_t *few = json_object();
	int code = CLI_OK;

	for (size_t i = 0; !code && i < ARRAY_SIZE(members); i++) {
		json_t *v = json_object_get(r->properties, members[i]), *text;

		if (!v)
			continue;
		code = resolved(s, r, v, &text);
		if (!code)
			json_object_set_new(few, members[i], text);
	}
	if (!code)
		code = k->name(s, r, few);
	json_decref(few);
	return code;
}

static int make_one(struct stack *s, const struct kind *k, const struct template_resource *r)
{
	_cleanup_free_ char *line = xasprintf("making %s", r->id);
	json_t *properties;
	int code = resolved(s, r, r->properties, &properties);

	if (code)
		return code;
	term_progress(line);
	code = k->make(s, r, properties);
	json_decref(properties);
	return code;
}

static int each(struct stack *s, const struct kind *k,
    int (*fn)(struct stack *, const struct kind *, const struct template_resource *))
{
	for (size_t i = 0; i < s->t->count; i++) {
		const struct template_resource *r = &s->t->resources[i];
		int code = strcmp(r->type, k->type) ? CLI_OK : fn(s, k, r);

		if (code)
			return code;
	}
	return CLI_OK;
}

static int make_all(struct stack *s)
{
	int code = check_types(s->t);

	for (size_t i = 0; !code && i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].name)
			code = each(s, &kinds[i], name_one);
	}
	for (size_t i = 0; !code && i < ARRAY_SIZE(kinds); i++)
		code = each(s, &kinds[i], make_one);
	return code ? code : stack_put_notifications(s);
}

static int outputs(struct stack *s, json_t **ret)
{
	json_t *all = json_object_get(s->t->document, "Outputs"), *one, *out = json_object();
	const char *name;
	struct err e = ERR_INIT;

	json_object_foreach(all, name, one)
	{
		json_t *v = template_resolve(s->t, json_object_get(one, "Value"), &e);

		if (!v) {
			json_decref(out);
			return cli_fail(CLI_USAGE, NULL, "output %s: %s", name, e.msg);
		}
		json_object_set_new(out, name, v);
	}
	*ret = out;
	return CLI_OK;
}

int stack_deploy(struct client *c, const char *dir, const char *name, struct template *t,
    json_t **ret_report, json_t **ret_outputs)
{
	_cleanup_free_ char *own = name ? xstrdup(name) : manifest_guess_name(dir);
	struct stack s = {.client = c,
	    .dir = dir,
	    .name = own,
	    .region = config_region(),
	    .t = t,
	    .report = json_array(),
	    .notifications = json_object()};
	int code = find_account(&s);

	if (!code) {
		define_pseudo(&s);
		code = make_all(&s);
	}
	if (!code)
		code = outputs(&s, ret_outputs);
	term_progress(NULL);
	json_decref(s.notifications);
	if (code)
		json_decref(s.report);
	else
		*ret_report = s.report;
	return code;
}
