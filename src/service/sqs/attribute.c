/*
 * Attributes of queues: one table of names, ranges and defaults; what clients set is kept as text
 * in the queue's document, and the engine's settings are derived from that. Loop thread.
 */
#include <stdio.h>

#include "service/sqs/sqs_int.h"

enum kind { K_NUMBER, K_BOOL, K_TEXT, K_POLICY, K_REDRIVE, K_ALLOW, K_SCOPE, K_LIMIT, K_FIFO };

static const struct attribute {
	const char *name;
	enum kind kind;
	bool fifo; /* only there */
	int64_t min, max;
	const char *initial; /* NULL: absent */
} attributes[] = {
    {"DelaySeconds", K_NUMBER, false, 0, 900, "0"},
    {"MaximumMessageSize", K_NUMBER, false, 1024, QUEUE_MESSAGE_MAX, "1048576"},
    {"MessageRetentionPeriod", K_NUMBER, false, 60, 1209600, "345600"},
    {"ReceiveMessageWaitTimeSeconds", K_NUMBER, false, 0, 20, "0"},
    {"VisibilityTimeout", K_NUMBER, false, 0, 43200, "30"},
    {"Policy", K_POLICY, false, 0, 0, NULL},
    {"RedrivePolicy", K_REDRIVE, false, 0, 0, NULL},
    {"RedriveAllowPolicy", K_ALLOW, false, 0, 0, NULL},
    {"KmsMasterKeyId", K_TEXT, false, 0, 0, NULL},
    {"KmsDataKeyReusePeriodSeconds", K_NUMBER, false, 60, 86400, NULL},
    {"SqsManagedSseEnabled", K_BOOL, false, 0, 0, "true"},
    {"FifoQueue", K_FIFO, true, 0, 0, "true"},
    {"ContentBasedDeduplication", K_BOOL, true, 0, 0, "false"},
    {"DeduplicationScope", K_SCOPE, true, 0, 0, "queue"},
    {"FifoThroughputLimit", K_LIMIT, true, 0, 0, "perQueue"},
};

static const char *const computed[] = {"QueueArn", "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp", "LastModifiedTimestamp"};

static const struct attribute *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		if (strcmp(attributes[i].name, name) == 0)
			return &attributes[i];
	return NULL;
}

static int unknown(const char *name, struct err *e)
{
	return fail(e, SQS_INVALID_ATTRIBUTE_NAME, "Unknown Attribute %.150s.", name);
}

static int invalid(const char *name, struct err *e)
{
	return fail(e, SQS_INVALID_ATTRIBUTE_VALUE, "Invalid value for the parameter %s.", name);
}

static int invalid_because(
    const struct attribute *a, const char *value, const char *why, struct err *e)
{
	return fail(e, SQS_INVALID_PARAMETER_VALUE,
	    "Value %.80s for parameter %s is invalid. Reason: %s", value, a->name, why);
}

/* ---- one value ---- */

static bool is_bool(const char *value)
{
	return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

static int check_policy(const char *value, struct err *e)
{
	struct err why = ERR_INIT;
	struct policy *p = policy_parse(str_from(value), true, &why);

	if (!p)
		return fail(e, SQS_INVALID_ATTRIBUTE_VALUE,
		    "Invalid value for the parameter Policy. Reason: %.180s", why.msg);
	policy_free(p);
	return 0;
}

/* Does the queue of dead letters let this one use it? */
static bool redrive_allowed(struct queue *dead, const char *arn)
{
	const char *text = facts_attribute(dead, "RedriveAllowPolicy");
	json_t *policy = text ? json_loads(text, 0, NULL) : NULL;
	const char *kind = json_string_value(json_object_get(policy, "redrivePermission"));
	bool ok = !kind || strcmp(kind, "allowAll") == 0;
	json_t *one;
	size_t i;

	if (kind && strcmp(kind, "byQueue") == 0)
		json_array_foreach(json_object_get(policy, "sourceQueueArns"), i, one) ok =
		    ok || strcmp(json_string_value(one), arn) == 0;
	json_decref(policy);
	return ok;
}

static int64_t receive_count(const json_t *v)
{
	int64_t n = 0;

	if (json_is_integer(v))
		return json_integer_value(v);
	return json_is_string(v) && str_to_int64(str_from(json_string_value(v)), 1, 1000, &n) ? n
											      : 0;
}

static int check_dead_letters(struct call *c, const struct attribute *a, const char *value,
    const char *arn, const json_t *policy, struct queue_settings *s, struct err *e)
{
	const char *target = json_string_value(json_object_get(policy, "deadLetterTargetArn"));
	int64_t count = receive_count(json_object_get(policy, "maxReceiveCount"));
	struct queue *dead;

	if (!target)
		return invalid_because(a, value,
		    "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.", e);
	if (!json_object_get(policy, "maxReceiveCount"))
		return invalid_because(a, value,
		    "Redrive policy does not contain mandatory attribute: maxReceiveCount.", e);
	if (count < 1 || count > 1000)
		return invalid_because(
		    a, value, "Invalid value for maxReceiveCount: must be between 1 and 1000.", e);
	dead = strlen(target) < sizeof(s->dead_letter_arn) && strcmp(target, arn) != 0
		   ? queue_find_arn(sqs_of(c)->queues, target)
		   : NULL;
	if (!dead)
		return invalid_because(a, value, "Dead letter target does not exist.", e);
	if (queue_settings(dead)->fifo != s->fifo)
		return invalid_because(
		    a, value, "Dead-letter queue must be same type of queue as the source.", e);
	if (!redrive_allowed(dead, arn))
		return invalid_because(a, value,
		    "The dead-letter queue's RedriveAllowPolicy does not allow this queue.", e);
	snprintf(s->dead_letter_arn, sizeof(s->dead_letter_arn), "%s", target);
	s->receives_max = (unsigned)count;
	return 0;
}

static int set_redrive(struct call *c, const struct attribute *a, const char *value,
    const char *arn, struct queue_settings *s, struct err *e)
{
	json_t *policy = json_loads(value, 0, NULL);
	int r;

	if (json_is_object(policy))
		r = check_dead_letters(c, a, value, arn, policy, s, e);
	else
		r = invalid_because(a, value, "Redrive policy is not a valid JSON map.", e);
	json_decref(policy);
	return r;
}

static bool is_allow_policy(const json_t *p)
{
	const char *kind = json_string_value(json_object_get(p, "redrivePermission"));
	const json_t *arns = json_object_get(p, "sourceQueueArns"), *one;
	size_t i;

	if (!kind)
		return false;
	if (strcmp(kind, "byQueue") != 0)
		return (strcmp(kind, "allowAll") == 0 || strcmp(kind, "denyAll") == 0) && !arns;
	if (!json_is_array(arns) || !json_array_size(arns) || json_array_size(arns) > 10)
		return false;
	json_array_foreach(arns, i, one) if (!json_is_string(one)) return false;
	return true;
}

static int check_allow(const struct attribute *a, const char *value, struct err *e)
{
	json_t *policy = json_loads(value, 0, NULL);
	bool ok = is_allow_policy(policy);

	json_decref(policy);
	return ok ? 0
		  : invalid_because(a, value,
			"RedriveAllowPolicy needs redrivePermission allowAll, denyAll or byQueue, "
			"and with byQueue one to ten sourceQueueArns.",
			e);
}

static int check_number(const struct attribute *a, const char *value, struct err *e)
{
	int64_t n;

	return str_to_int64(str_from(value), a->min, a->max, &n) ? 0 : invalid(a->name, e);
}

static int check_value(struct call *c, const struct attribute *a, const char *value,
    const char *arn, struct queue_settings *s, struct err *e)
{
	bool ok = true;

	switch (a->kind) {
	case K_NUMBER: return check_number(a, value, e);
	case K_POLICY: return check_policy(value, e);
	case K_REDRIVE: return set_redrive(c, a, value, arn, s, e);
	case K_ALLOW: return check_allow(a, value, e);
	case K_BOOL: ok = is_bool(value); break;
	case K_FIFO: ok = strcmp(value, "true") == 0; break;
	case K_SCOPE: ok = strcmp(value, "queue") == 0 || strcmp(value, "messageGroup") == 0; break;
	case K_LIMIT:
		ok = strcmp(value, "perQueue") == 0 || strcmp(value, "perMessageGroupId") == 0;
		break;
	case K_TEXT: ok = strlen(value) <= 2048; break;
	}
	return ok ? 0 : invalid(a->name, e);
}

/* ---- all of a queue ---- */

static const char *value_in(const json_t *doc, const struct attribute *a)
{
	const char *set =
	    json_string_value(json_object_get(json_object_get(doc, "attributes"), a->name));

	return set ? set : a->initial;
}

static int64_t number_in(const json_t *doc, const char *name)
{
	int64_t n = 0;

	str_to_int64(str_from(value_in(doc, find(name))), 0, INT64_MAX, &n);
	return n;
}

static bool is_in(const json_t *doc, const char *name, const char *value)
{
	return strcmp(value_in(doc, find(name)), value) == 0;
}

static void derive(const json_t *doc, struct queue_settings *s)
{
	s->delay_ms = number_in(doc, "DelaySeconds") * SECOND_MS;
	s->message_max = number_in(doc, "MaximumMessageSize");
	s->retention_ms = number_in(doc, "MessageRetentionPeriod") * SECOND_MS;
	s->wait_ms = number_in(doc, "ReceiveMessageWaitTimeSeconds") * SECOND_MS;
	s->visibility_ms = number_in(doc, "VisibilityTimeout") * SECOND_MS;
	if (!s->fifo)
		return;
	s->content_dedup = is_in(doc, "ContentBasedDeduplication", "true");
	s->dedup_per_group = is_in(doc, "DeduplicationScope", "messageGroup");
	s->throughput_per_group = is_in(doc, "FifoThroughputLimit", "perMessageGroupId");
}

/* An empty value takes these away. */
static bool is_removable(const struct attribute *a)
{
	return a->kind == K_POLICY || a->kind == K_REDRIVE || a->kind == K_ALLOW ||
	       a->kind == K_TEXT;
}

static int merge_one(struct call *c, struct queue *q, const char *arn,
    const struct sqs_queue_attribute_map_entry *given, json_t *kept, struct queue_settings *s,
    struct err *e)
{
	const struct attribute *a = find(given->key);
	const char *value = given->value ? given->value : "";
	int r;

	if (!a || (a->fifo && !s->fifo) || (q && a->kind == K_FIFO && strcmp(value, "true") != 0))
		return unknown(given->key, e);
	if (!value[0] && is_removable(a)) {
		json_object_del(kept, a->name);
		if (a->kind == K_REDRIVE)
			s->receives_max = 0;
		return 0;
	}
	r = check_value(c, a, value, arn, s, e);
	if (r == 0)
		json_object_set_new(kept, a->name, json_string(value));
	return r;
}

int merge_attributes(struct call *c, struct queue *q, const char *arn,
    const struct sqs_queue_attribute_map *given, json_t *doc, struct queue_settings *s,
    struct err *e)
{
	json_t *kept = json_object_get(doc, "attributes");
	int r = 0;

	if (!kept) {
		kept = json_object();
		json_object_set_new(doc, "attributes", kept);
	}
	for (size_t i = 0; given && r == 0 && i < given->count; i++)
		r = merge_one(c, q, arn, &given->entries[i], kept, s, e);
	if (r < 0)
		return r;
	if (!s->receives_max)
		s->dead_letter_arn[0] = '\0';
	derive(doc, s);
	if (s->throughput_per_group && !s->dedup_per_group)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "The perMessageGroupId value for the FifoThroughputLimit attribute is allowed "
		    "only when the value for the DeduplicationScope attribute is messageGroup.");
	return 0;
}

const char *attribute_value(struct queue *q, const char *name)
{
	const struct attribute *a = find(name);

	if (!a || (a->fifo && !queue_settings(q)->fifo))
		return NULL;
	if (strcmp(name, "KmsDataKeyReusePeriodSeconds") == 0 && !value_in(facts_of(q)->doc, a) &&
	    facts_attribute(q, "KmsMasterKeyId"))
		return "300";
	return value_in(facts_of(q)->doc, a);
}

/* ---- the operations ---- */

static const char *compute(struct call *c, struct queue *q, const char *name)
{
	struct queue_counts n;

	queue_counts(q, &n);
	if (strcmp(name, "QueueArn") == 0)
		return call_str(c, queue_arn(q));
	if (strcmp(name, "ApproximateNumberOfMessages") == 0)
		return call_printf(c, "%" PRId64, n.visible);
	if (strcmp(name, "ApproximateNumberOfMessagesNotVisible") == 0)
		return call_printf(c, "%" PRId64, n.in_flight);
	if (strcmp(name, "ApproximateNumberOfMessagesDelayed") == 0)
		return call_printf(c, "%" PRId64, n.delayed);
	if (strcmp(name, "CreatedTimestamp") == 0)
		return call_printf(c, "%" PRId64, queue_created_ms(q) / SECOND_MS);
	return call_printf(c, "%" PRId64, queue_modified_ms(q) / SECOND_MS);
}

static bool is_computed(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(computed); i++)
		if (strcmp(computed[i], name) == 0)
			return true;
	return false;
}

static bool is_wanted(const struct sqs_attribute_name_list *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], "All") == 0 || strcmp(names->items[i], name) == 0)
			return true;
	return false;
}

static int check_names(const struct sqs_attribute_name_list *names, struct err *e)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], "All") != 0 && !find(names->items[i]) &&
		    !is_computed(names->items[i]))
			return unknown(names->items[i], e);
	return 0;
}

static void collect(struct call *c, struct queue *q, const struct sqs_attribute_name_list *names,
    struct sqs_queue_attribute_map *ret)
{
	struct sqs_queue_attribute_map_entry *out = call_array(
	    c, ARRAY_SIZE(attributes) + ARRAY_SIZE(computed), struct sqs_queue_attribute_map_entry);
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		const char *value = is_wanted(names, attributes[i].name)
					? attribute_value(q, attributes[i].name)
					: NULL;

		if (value)
			out[n++] = (struct sqs_queue_attribute_map_entry){
			    attributes[i].name, call_str(c, value)};
	}
	for (size_t i = 0; i < ARRAY_SIZE(computed); i++)
		if (is_wanted(names, computed[i]))
			out[n++] = (struct sqs_queue_attribute_map_entry){
			    computed[i], compute(c, q, computed[i])};
	ret->count = n;
	ret->entries = out;
}

int sqs_get_queue_attributes(struct call *c, const struct sqs_get_queue_attributes_in *in,
    struct sqs_get_queue_attributes_out *out, struct err *e)
{
	struct sqs_queue_attribute_map *map = call_new(c, struct sqs_queue_attribute_map);
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:GetQueueAttributes", &q, e);

	if (r == 0 && in->attribute_names)
		r = check_names(in->attribute_names, e);
	if (r < 0)
		return r;
	if (in->attribute_names)
		collect(c, q, in->attribute_names, map);
	if (map->count)
		out->attributes = map;
	return 0;
}

int sqs_set_queue_attributes(struct call *c, const struct sqs_set_queue_attributes_in *in,
    struct sqs_set_queue_attributes_out *out, struct err *e)
{
	struct queue_settings s;
	struct queue *q;
	json_t *doc;
	int r = open_queue(c, in->queue_url, "sqs:SetQueueAttributes", &q, e);

	(void)out;
	if (r < 0)
		return r;
	doc = draft_of(q, &s);
	r = merge_attributes(c, q, queue_arn(q), in->attributes, doc, &s, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return change_queue(c, q, &s, doc);
}
