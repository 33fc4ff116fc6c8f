/* Resource policies of secrets: checked and kept. Loop thread. */
#include "auth/policy.h"

#include "service/secretsmanager/secretsmanager_int.h"

static int check_policy(const char *text, bool block_public, struct err *e)
{
	struct err why = ERR_INIT;
	struct policy *p;
	bool is_public;

	if (policy_check(str_from(text), POLICY_RESOURCE, &why) < 0)
		return fail(e, SECRETSMANAGER_MALFORMED_POLICY_DOCUMENT_EXCEPTION, "%s", why.msg);
	p = policy_parse(str_from(text), true, &why);
	if (!p)
		return fail(e, SECRETSMANAGER_MALFORMED_POLICY_DOCUMENT_EXCEPTION, "%s", why.msg);
	is_public = policy_is_public(p);
	policy_free(p);
	if (block_public && is_public)
		return fail(e, SECRETSMANAGER_PUBLIC_POLICY_EXCEPTION,
		    "The resource policy would let everybody in: name principals, or leave out "
		    "BlockPublicPolicy.");
	return 0;
}

int secretsmanager_put_resource_policy(struct call *c,
    const struct secretsmanager_put_resource_policy_in *in,
    struct secretsmanager_put_resource_policy_out *out, struct err *e)
{
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r == 0)
		r = check_policy(
		    in->resource_policy, in->block_public_policy && *in->block_public_policy, e);
	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	docs_set(head, "policy", in->resource_policy);
	out->arn = s.arn;
	out->name = s.name;
	return docs_put_call(c, manager_of(c)->store, manager_of(c)->heads, s.key, head);
}

int secretsmanager_get_resource_policy(struct call *c,
    const struct secretsmanager_get_resource_policy_in *in,
    struct secretsmanager_get_resource_policy_out *out, struct err *e)
{
	struct secret s;
	int r = secret_find(c, in->secret_id, SEEN, &s, e);

	if (r < 0)
		return r;
	out->arn = s.arn;
	out->name = s.name;
	out->resource_policy = call_str(c, docs_str(s.head, "policy"));
	return 0;
}

int secretsmanager_delete_resource_policy(struct call *c,
    const struct secretsmanager_delete_resource_policy_in *in,
    struct secretsmanager_delete_resource_policy_out *out, struct err *e)
{
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	json_object_del(head, "policy");
	out->arn = s.arn;
	out->name = s.name;
	return docs_put_call(c, manager_of(c)->store, manager_of(c)->heads, s.key, head);
}

int secretsmanager_validate_resource_policy(struct call *c,
    const struct secretsmanager_validate_resource_policy_in *in,
    struct secretsmanager_validate_resource_policy_out *out, struct err *e)
{
	struct secretsmanager_validation_errors_type *errors =
	    call_new(c, struct secretsmanager_validation_errors_type);
	struct secretsmanager_validation_errors_entry *entry =
	    call_new(c, struct secretsmanager_validation_errors_entry);
	struct secret s;
	int r = in->secret_id ? secret_find(c, in->secret_id, SEEN, &s, e) : 0;

	if (r < 0)
		return r;
	r = check_policy(in->resource_policy, true, e);
	if (r < 0 && e->code != SECRETSMANAGER_PUBLIC_POLICY_EXCEPTION)
		return r;
	*entry = (struct secretsmanager_validation_errors_entry){
	    "BLOCK_PUBLIC_POLICY", call_str(c, e->msg)};
	*errors = (struct secretsmanager_validation_errors_type){r < 0, entry};
	out->policy_validation_passed = call_bool(c, r == 0);
	out->validation_errors = errors;
	return 0;
}
