/* AddPermission and RemovePermission: the old way to write a queue's policy. Loop thread. */
#include <ctype.h>

#include "service/sqs/sqs_int.h"

#define ACTIONS_MAX 7

static const char *const actions[] = {"*", "SendMessage", "ReceiveMessage", "DeleteMessage",
    "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues",
    "PurgeQueue"};

static int bad(const char *value, const char *name, const char *why, struct err *e)
{
	return fail(e, SQS_INVALID_PARAMETER_VALUE,
	    "Value %.100s for parameter %s is invalid. Reason: %s", value, name, why);
}

static int check_label(const char *label, struct err *e)
{
	size_t n = strlen(label);
	bool ok = n >= 1 && n <= 80;

	for (size_t i = 0; i < n; i++)
		ok = ok && (isalnum((unsigned char)label[i]) || strchr("-_", label[i]));
	return ok ? 0
		  : bad(label, "Label",
			"Can only include alphanumeric characters, hyphens, or underscores. 1 to "
			"80 in length.",
			e);
}

static int check_action(const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(name, actions[i]) == 0)
			return 0;
	return bad(name, "ActionName", "Only the queue's own actions can be permitted.", e);
}

static int check_account(const char *id, struct err *e)
{
	int64_t n;

	if (strlen(id) == 12 && str_to_int64(str_from(id), 0, INT64_MAX, &n))
		return 0;
	return bad(id, "PrincipalId", "Unable to verify: an account id has 12 digits.", e);
}

static int check_request(const struct sqs_add_permission_in *in, struct err *e)
{
	int r = check_label(in->label, e);

	if (r == 0 && (!in->actions->count || !in->aws_account_ids->count))
		return fail(e, SQS_MISSING_PARAMETER,
		    "The request must contain at least one of AWSAccountIds and of Actions.");
	if (r == 0 && in->actions->count > ACTIONS_MAX)
		return fail(e, SQS_OVER_LIMIT, "%zu actions were found, maximum allowed is %d.",
		    in->actions->count, ACTIONS_MAX);
	for (size_t i = 0; r == 0 && i < in->actions->count; i++)
		r = check_action(in->actions->items[i], e);
	for (size_t i = 0; r == 0 && i < in->aws_account_ids->count; i++)
		r = check_account(in->aws_account_ids->items[i], e);
	return r;
}

/* The policy in the document, or a new one; the caller's. */
static json_t *policy_of(struct call *c, const struct queue *q, const json_t *doc)
{
	const char *text =
	    json_string_value(json_object_get(json_object_get(doc, "attributes"), "Policy"));
	json_t *p = text ? json_loads(text, 0, NULL) : NULL;

	if (!p)
		p = json_pack("{s:s, s:s, s:[]}", "Version", "2008-10-17", "Id",
		    call_printf(c, "%s/SQSDefaultPolicy", queue_arn(q)), "Statement");
	/* A single statement may stand without brackets. */
	if (!json_is_array(json_object_get(p, "Statement"))) {
		json_t *list = json_array();

		json_array_append(list, json_object_get(p, "Statement"));
		json_object_set_new(p, "Statement", list);
	}
	return p;
}

static size_t find_label(const json_t *policy, const char *label)
{
	const json_t *list = json_object_get(policy, "Statement");
	size_t i = 0;

	for (; i < json_array_size(list); i++) {
		const char *sid =
		    json_string_value(json_object_get(json_array_get(list, i), "Sid"));

		if (sid && strcmp(sid, label) == 0)
			break;
	}
	return i;
}

static json_t *statement(
    struct call *c, const struct queue *q, const struct sqs_add_permission_in *in)
{
	json_t *who = json_array(), *what = json_array();

	for (size_t i = 0; i < in->aws_account_ids->count; i++)
		json_array_append_new(who, json_string(call_printf(c, "arn:aws:iam::%s:root",
					       in->aws_account_ids->items[i])));
	for (size_t i = 0; i < in->actions->count; i++)
		json_array_append_new(
		    what, json_string(call_printf(c, "SQS:%s", in->actions->items[i])));
	return json_pack("{s:s, s:s, s:{s:o}, s:o, s:s}", "Sid", in->label, "Effect", "Allow",
	    "Principal", "AWS", who, "Action", what, "Resource", queue_arn(q));
}

/* Takes policy and doc. */
static int store_policy(struct call *c, struct queue *q, const struct queue_settings *s,
    json_t *policy, json_t *doc, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(policy, JSON_COMPACT);
	bool empty = !json_array_size(json_object_get(policy, "Statement"));
	json_t *kept = json_object_get(doc, "attributes");
	struct policy *p = empty ? NULL : policy_parse(str_from(text), true, e);

	json_decref(policy);
	if (!empty && !p) {
		json_decref(doc);
		return fail(e, SQS_OVER_LIMIT, "The policy of the queue would be too long.");
	}
	policy_free(p);
	if (empty)
		json_object_del(kept, "Policy");
	else
		json_object_set_new(kept, "Policy", json_string(text));
	return change_queue(c, q, s, doc);
}

int sqs_add_permission(struct call *c, const struct sqs_add_permission_in *in,
    struct sqs_add_permission_out *out, struct err *e)
{
	json_t *doc, *policy, *list;
	struct queue_settings s;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:AddPermission", &q, e);

	(void)out;
	if (r == 0)
		r = check_request(in, e);
	if (r < 0)
		return r;
	doc = draft_of(q, &s);
	policy = policy_of(c, q, doc);
	list = json_object_get(policy, "Statement");
	if (find_label(policy, in->label) < json_array_size(list)) {
		json_decref(doc);
		json_decref(policy);
		return bad(in->label, "Label", "Already exists.", e);
	}
	json_array_append_new(list, statement(c, q, in));
	return store_policy(c, q, &s, policy, doc, e);
}

int sqs_remove_permission(struct call *c, const struct sqs_remove_permission_in *in,
    struct sqs_remove_permission_out *out, struct err *e)
{
	json_t *doc, *policy, *list;
	struct queue_settings s;
	struct queue *q;
	size_t at;
	int r = open_queue(c, in->queue_url, "sqs:RemovePermission", &q, e);

	(void)out;
	if (r < 0)
		return r;
	doc = draft_of(q, &s);
	policy = policy_of(c, q, doc);
	list = json_object_get(policy, "Statement");
	at = find_label(policy, in->label);
	if (at == json_array_size(list)) {
		json_decref(doc);
		json_decref(policy);
		return bad(in->label, "Label", "can't find label on existing policy.", e);
	}
	json_array_remove(list, at);
	return store_policy(c, q, &s, policy, doc, e);
}
