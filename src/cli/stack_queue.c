/* AWS::SQS::Queue and AWS::SQS::QueuePolicy. */
#include <stdio.h>

#include "cli/stack_int.h"

/* Attributes by the names that SQS and CloudFormation share. FifoQueue is part of its making. */
static const char *const attributes[] = {"VisibilityTimeout", "DelaySeconds", "MaximumMessageSize",
    "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "ContentBasedDeduplication",
    "DeduplicationScope", "FifoThroughputLimit", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled", "RedrivePolicy", "RedriveAllowPolicy"};

int stack_queue_name(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *given = json_string_value(json_object_get(properties, "QueueName"));
	bool fifo = json_is_true(json_object_get(properties, "FifoQueue"));
	_cleanup_free_ char *name =
	    given ? xstrdup(given)
		  : xasprintf("%.32s-%.40s%s", s->name, r->id, fifo ? ".fifo" : "");
	_cleanup_free_ char *arn = xasprintf("arn:aws:sqs:%s:%s:%s", s->region, s->account, name);
	_cleanup_free_ char *url =
	    xasprintf("%s/%s/%s", client_endpoint(s->client), s->account, name);

	template_define(s->t, r->id, "Ref", url);
	template_define(s->t, r->id, "QueueUrl", url);
	template_define(s->t, r->id, "Arn", arn);
	template_define(s->t, r->id, "QueueName", name);
	return CLI_OK;
}

static const char *value_of(const struct stack *s, const char *id, const char *attribute)
{
	return field_text(json_object_get(s->t->values, id), attribute);
}

static int look(struct stack *s, const char *name, bool *ret_there)
{
	json_t *in = json_pack("{s:s}", "QueueName", name);
	int code = client_sqs(s->client, "GetQueueUrl", in, 400, "looking for a queue", NULL);

	json_decref(in);
	*ret_there = code == CLI_OK;
	return code == CLIENT_NOTED ? CLI_OK : code;
}

int stack_queue(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *name = value_of(s, r->id, "QueueName");
	json_t *in = json_pack("{s:s}", "QueueName", name);
	bool there = false;
	int code = look(s, name, &there);

	if (json_is_true(json_object_get(properties, "FifoQueue")))
		json_object_set_new(in, "Attributes", json_pack("{s:s}", "FifoQueue", "true"));
	if (!code && !there)
		code = client_sqs(s->client, "CreateQueue", in, 0, "making a queue", NULL);
	json_decref(in);
	if (!code)
		stack_report(s, r->id, r->type, name, there ? "there" : "made");
	return code;
}

/* All attributes of SQS are texts, policies are texts of JSON. */
static void set_attribute(json_t *all, const char *name, const json_t *v)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(v))
		text = xstrdup(json_string_value(v));
	else if (json_is_boolean(v))
		text = xstrdup(json_is_true(v) ? "true" : "false");
	else
		text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	json_object_set_new(all, name, json_string(text));
}

static int put_attributes(struct stack *s, const char *url, json_t *all)
{
	json_t *in = json_pack("{s:s,s:O}", "QueueUrl", url, "Attributes", all);
	int code = client_sqs(s->client, "SetQueueAttributes", in, 0, "configuring a queue", NULL);

	json_decref(in);
	return code;
}

int stack_queue_attributes(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *names[ARRAY_SIZE(attributes) + 3] = {"QueueName", "FifoQueue"};
	json_t *all = json_object();
	int code;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		const json_t *v = json_object_get(properties, attributes[i]);

		names[i + 2] = attributes[i];
		if (v)
			set_attribute(all, attributes[i], v);
	}
	code = stack_check_names(r->id, properties, names);
	if (!code && json_object_size(all))
		code = put_attributes(s, value_of(s, r->id, "Ref"), all);
	json_decref(all);
	return code;
}

int stack_queue_policy(struct stack *s, const struct template_resource *r, json_t *properties)
{
	static const char *const names[] = {"PolicyDocument", "Queues", NULL};
	json_t *queues = json_object_get(properties, "Queues"), *queue;
	json_t *all = json_object();
	size_t i;
	int code = stack_check_names(r->id, properties, names);

	set_attribute(all, "Policy", json_object_get(properties, "PolicyDocument"));
	json_array_foreach(queues, i, queue)
	{
		if (!code)
			code = put_attributes(s, json_string_value(queue), all);
	}
	json_decref(all);
	if (!code)
		stack_report(s, r->id, r->type, "", "set");
	return code;
}
