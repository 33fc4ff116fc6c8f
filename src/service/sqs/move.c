/* Message move tasks: from a queue of dead letters back to where they came from. Loop thread. */
#include "service/sqs/sqs_int.h"

#define RATE_MAX 500
#define LISTED_MAX 10

static const char *const status_names[] = {
    [QUEUE_MOVE_RUNNING] = "RUNNING",
    [QUEUE_MOVE_COMPLETED] = "COMPLETED",
    [QUEUE_MOVE_CANCELLING] = "CANCELLING",
    [QUEUE_MOVE_CANCELLED] = "CANCELLED",
    [QUEUE_MOVE_FAILED] = "FAILED",
};

static int find_by_arn(struct call *c, const char *arn, const char *parameter, const char *action,
    struct queue **ret, struct err *e)
{
	*ret = queue_find_arn(sqs_of(c)->queues, arn);
	if (!*ret)
		return fail(e, SQS_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The resource that you specified for the %s parameter doesn't exist.",
		    parameter);
	return may(c, *ret, action, e);
}

struct search {
	const char *arn;
	bool found;
};

static bool look(void *ctx, struct queue *q)
{
	struct search *s = ctx;

	s->found = s->found || strcmp(queue_settings(q)->dead_letter_arn, s->arn) == 0;
	return !s->found;
}

static bool takes_dead_letters(struct call *c, const struct queue *q)
{
	struct search s = {.arn = queue_arn(q)};

	queues_each(sqs_of(c)->queues, str_from(queue_account(q)), str_from(queue_region(q)),
	    STR_NULL, look, &s);
	return s.found;
}

static int check_request(struct call *c, const struct sqs_start_message_move_task_in *in,
    struct queue *source, const struct queue *target, struct err *e)
{
	const int64_t *rate = in->max_number_of_messages_per_second;

	if (rate && (*rate < 1 || *rate > RATE_MAX))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: must be "
		    "between 1 and %d.",
		    RATE_MAX);
	if (!takes_dead_letters(c, source))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Source queue must be configured as a Dead Letter Queue.");
	if (target == source)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Source queue arn and destination queue arn cannot be the same.");
	if (target && queue_settings(target)->fifo != queue_settings(source)->fifo)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Source and destination must be queues of the same type.");
	return 0;
}

int sqs_start_message_move_task(struct call *c, const struct sqs_start_message_move_task_in *in,
    struct sqs_start_message_move_task_out *out, struct err *e)
{
	const int64_t *rate = in->max_number_of_messages_per_second;
	struct queue *source, *target = NULL;
	const struct queue_move *v;
	int r = find_by_arn(c, in->source_arn, "SourceArn", "sqs:StartMessageMoveTask", &source, e);

	if (r == 0 && in->destination_arn)
		r = find_by_arn(
		    c, in->destination_arn, "DestinationArn", "sqs:SendMessage", &target, e);
	if (r == 0)
		r = check_request(c, in, source, target, e);
	if (r < 0)
		return r;
	if (queue_move_start(source, target, rate ? (int)*rate : 0, &v) < 0)
		return fail(e, SQS_UNSUPPORTED_OPERATION,
		    "There is already a task running. Only one active task is allowed for a "
		    "source queue arn at a given time.");
	out->task_handle = call_str(c, v->handle);
	return 0;
}

int sqs_cancel_message_move_task(struct call *c, const struct sqs_cancel_message_move_task_in *in,
    struct sqs_cancel_message_move_task_out *out, struct err *e)
{
	struct str handle = str_from(in->task_handle);
	const struct queue_move *v = queue_move_find(sqs_of(c)->queues, handle);
	struct queue *source;
	int64_t moved = 0;
	int r;

	if (!v)
		return fail(e, SQS_RESOURCE_NOT_FOUND_EXCEPTION, "Task does not exist.");
	r = find_by_arn(c, v->source_arn, "SourceArn", "sqs:CancelMessageMoveTask", &source, e);
	if (r < 0)
		return r;
	if (queue_move_cancel(sqs_of(c)->queues, handle, &moved) < 0)
		return fail(e, SQS_UNSUPPORTED_OPERATION, "Only active tasks can be cancelled.");
	out->approximate_number_of_messages_moved = call_int(c, moved);
	return 0;
}

static void show(struct call *c, const struct queue_move *v,
    struct sqs_list_message_move_tasks_result_entry *out)
{
	if (v->status == QUEUE_MOVE_RUNNING)
		out->task_handle = call_str(c, v->handle);
	out->status = status_names[v->status];
	out->source_arn = call_str(c, v->source_arn);
	if (v->target_arn[0])
		out->destination_arn = call_str(c, v->target_arn);
	if (v->rate)
		out->max_number_of_messages_per_second = call_int(c, v->rate);
	out->approximate_number_of_messages_moved = call_int(c, v->moved);
	out->approximate_number_of_messages_to_move = call_int(c, v->to_move);
	if (v->failure[0])
		out->failure_reason = call_str(c, v->failure);
	out->started_timestamp = call_int(c, v->started_ms);
}

int sqs_list_message_move_tasks(struct call *c, const struct sqs_list_message_move_tasks_in *in,
    struct sqs_list_message_move_tasks_out *out, struct err *e)
{
	struct sqs_list_message_move_tasks_result_entry_list *list =
	    call_new(c, struct sqs_list_message_move_tasks_result_entry_list);
	struct sqs_list_message_move_tasks_result_entry *items =
	    call_array(c, LISTED_MAX, struct sqs_list_message_move_tasks_result_entry);
	int64_t max = in->max_results ? *in->max_results : 1;
	const struct queue_move *v[LISTED_MAX];
	struct queue *source;
	int r = find_by_arn(c, in->source_arn, "SourceArn", "sqs:ListMessageMoveTasks", &source, e);

	if (r < 0)
		return r;
	if (max < 1 || max > LISTED_MAX)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value for parameter MaxResults is invalid. Reason: must be between 1 and 10.");
	list->count = queue_moves(sqs_of(c)->queues, in->source_arn, v, (size_t)max);
	for (size_t i = 0; i < list->count; i++)
		show(c, v[i], &items[i]);
	list->items = items;
	out->results = list;
	return 0;
}
