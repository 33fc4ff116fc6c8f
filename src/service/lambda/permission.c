/* AddPermission, GetPolicy, RemovePermission: one policy for each qualifier. Loop thread. */
#include "service/lambda/lambda_int.h"

#define POLICY_MAX 20480

static int check_policy_revision(const struct item *it, const char *revision_id, struct err *e)
{
	const char *is = it ? doc_str(it->doc, "RevisionId") : NULL;

	if (!revision_id || (is && strcmp(is, revision_id) == 0))
		return 0;
	return fail(e, LAMBDA_PRECONDITION_FAILED_EXCEPTION,
	    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy "
	    "API to retrieve the latest Revision Id");
}

/* The function, and that the qualifier means something. */
static int find(struct call *c, const char *function_name, const char *qualifier, struct ref *ref,
    struct function **ret, struct err *e)
{
	int r = function_of(c, function_name, qualifier, ref, ret, e);

	if (r < 0)
		return r;
	if (ref->qualifier && !version_by_qualifier(*ret, ref->qualifier))
		return ref_not_found(c, ref, e);
	return 0;
}

static const char *name_of(const struct ref *ref)
{
	return ref->qualifier ? ref->qualifier : "";
}

static size_t find_statement(json_t *statements, const char *sid)
{
	json_t *statement;
	size_t i;

	json_array_foreach(statements, i, statement)
	{
		if (strcmp(doc_str(statement, "Sid"), sid) == 0)
			return i;
	}
	return SIZE_MAX;
}

static const char *as_text(struct call *c, const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT);
	const char *out = call_str(c, text);

	free(text);
	return out;
}

static const char *policy_text(struct call *c, const json_t *doc)
{
	json_t *policy = json_pack("{s:s, s:s, s:O}", "Version", "2012-10-17", "Id", "default",
	    "Statement", json_object_get(doc, "Statement"));
	const char *text = as_text(c, policy);

	json_decref(policy);
	return text;
}

static void finish_add(struct change *ch)
{
	const struct item *it = item_find(&ch->function->policies, ch->name);
	json_t *statements = json_object_get(it->doc, "Statement");
	struct lambda_add_permission_out *out = ch->call->out;

	out->statement =
	    as_text(ch->call, json_array_get(statements, json_array_size(statements) - 1));
}

static int check_add(struct call *c, const struct item *it, const struct ref *ref,
    const struct lambda_add_permission_in *in, struct err *e)
{
	json_t *statements = it ? json_object_get(it->doc, "Statement") : NULL;

	(void)c;
	if (ref->qualifier && strcmp(ref->qualifier, LATEST) == 0)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "We currently do not support adding policies for $LATEST.");
	if (find_statement(statements, in->statement_id) != SIZE_MAX)
		return fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "The statement id (%s) provided already exists. Please provide a new "
		    "statement id, or remove the existing statement.",
		    in->statement_id);
	return check_policy_revision(it, in->revision_id, e);
}

static int check_size(struct call *c, const json_t *doc, struct err *e)
{
	size_t size = strlen(policy_text(c, doc));

	if (size <= POLICY_MAX)
		return 0;
	return fail(e, LAMBDA_POLICY_LENGTH_EXCEEDED_EXCEPTION,
	    "The final policy size (%zu) is bigger than the limit (%d).", size, POLICY_MAX);
}

int lambda_add_permission(struct call *c, const struct lambda_add_permission_in *in,
    struct lambda_add_permission_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct change *ch;
	struct ref ref;
	json_t *statement, *doc;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	it = item_find(&f->policies, name_of(&ref));
	r = check_add(c, it, &ref, in, e);
	if (r < 0)
		return r;
	statement = policy_statement(c, in, ref_arn(c, &ref), e);
	if (!statement)
		return -EINVAL;
	doc = it ? json_deep_copy(it->doc) : json_pack("{s:[]}", "Statement");
	json_array_append_new(json_object_get(doc, "Statement"), statement);
	doc_new_revision(doc);
	r = check_size(c, doc, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	ch = change_new(c, f, finish_add);
	ch->name = call_str(c, name_of(&ref));
	change_put(ch, RECORD_POLICY, name_of(&ref), doc);
	return change_commit(ch);
}

int lambda_get_policy(struct call *c, const struct lambda_get_policy_in *in,
    struct lambda_get_policy_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	if (r < 0)
		return r;
	it = item_find(&f->policies, name_of(&ref));
	if (!it)
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The resource you requested does not exist.");
	out->policy = policy_text(c, it->doc);
	out->revision_id = call_str(c, doc_str(it->doc, "RevisionId"));
	return 0;
}

int lambda_remove_permission(struct call *c, const struct lambda_remove_permission_in *in,
    struct lambda_remove_permission_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct change *ch;
	struct ref ref;
	json_t *doc = NULL;
	size_t at;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	it = item_find(&f->policies, name_of(&ref));
	if (!it)
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "No policy is associated with the given resource.");
	at = find_statement(json_object_get(it->doc, "Statement"), in->statement_id);
	if (at == SIZE_MAX)
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Statement %s is not found in resource policy.", in->statement_id);
	r = check_policy_revision(it, in->revision_id, e);
	if (r < 0)
		return r;
	if (json_array_size(json_object_get(it->doc, "Statement")) > 1) {
		doc = json_deep_copy(it->doc);
		json_array_remove(json_object_get(doc, "Statement"), at);
		doc_new_revision(doc);
	}
	ch = change_new(c, f, NULL);
	change_put(ch, RECORD_POLICY, name_of(&ref), doc);
	return change_commit(ch);
}
