/*
 * Queues as targets: S3 notifications, destinations and dead letters of events. The record becomes
 * a message in the write of whoever causes it. A service must be let in by the queue's policy; what
 * the owner configured on his own functions is his own wish. Loop thread.
 */
#include "target/target.h"

#include "base/time.h"
#include "service/sqs/sqs_int.h"

static bool is_permitted(struct queue *q, const struct target_record *r)
{
	struct policy_value values[2];
	struct policy_request ask = {.service = r->service,
	    .action = "sqs:SendMessage",
	    .resource = queue_arn(q),
	    .values = values,
	    .now_ms = time_wall_ms()};

	if (r->source_arn)
		values[ask.value_count++] = (struct policy_value){"aws:SourceArn", r->source_arn};
	if (r->source_account)
		values[ask.value_count++] =
		    (struct policy_value){"aws:SourceAccount", r->source_account};
	return policy_evaluate(facts_of(q)->policy, &ask) == POLICY_ALLOW;
}

static int find(struct sqs *s, const struct target_record *r, struct queue **ret, struct err *e)
{
	*ret = queue_find_arn(s->queues, r->arn);
	if (!*ret)
		return err_set(e, ENOENT, "The queue %s does not exist: create it first.", r->arn);
	if (r->service && !is_permitted(*ret, r))
		return err_set(e, EACCES,
		    "The policy of queue %s does not let %s send messages to it: allow "
		    "sqs:SendMessage to this service.",
		    queue_name(*ret), r->service);
	return 0;
}

static int check_target(void *ctx, const struct target_record *r, struct err *e)
{
	struct queue *q;

	return find(ctx, r, &q, e);
}

static void *stage(void *ctx, const struct target_record *r, struct store_write *w, struct err *e)
{
	struct queue_attribute attributes[TARGET_ATTRIBUTES_MAX];
	size_t count = min_size(r->attribute_count, TARGET_ATTRIBUTES_MAX);
	struct queue_message m = {.body = r->body,
	    .attributes = attributes,
	    .attribute_count = count,
	    .trace = str_from(r->trace_id),
	    .group_id = str_from(r->group_id),
	    .delay_ms = -1,
	    .sender = r->service ? r->service : r->source_account};
	struct queue_staged *staged;
	struct queue *q;

	if (find(ctx, r, &q, e) < 0)
		return NULL;
	if (queue_settings(q)->fifo)
		m.dedup_id = str_from(r->dedup_id);
	for (size_t i = 0; i < count; i++)
		attributes[i] = (struct queue_attribute){str_from(r->attributes[i].name),
		    str_from(r->attributes[i].type), str_from(r->attributes[i].value)};
	staged = queue_stage(q, &m, w, NULL, e);
	if (!staged && e && e->errnum != EMSGSIZE)
		e->errnum = EINVAL;
	return staged;
}

static void finish(void *ctx, void *token, int result)
{
	(void)ctx;
	queue_finish(token, result);
}

void sqs_target_add(struct sqs *s, struct targets *t)
{
	static const struct target_ops ops = {
	    .service = "sqs", .check = check_target, .stage = stage, .finish = finish};

	targets_add(t, &ops, s);
}
