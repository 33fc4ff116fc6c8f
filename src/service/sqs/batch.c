/* What batches share, and the operations on messages that were received: delete, change their
 * visibility. Loop thread. */
#include <ctype.h>

#include "service/sqs/sqs_int.h"

/* ---- batches ---- */

static bool is_id(const char *id)
{
	size_t n = strlen(id);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && id[i] != '-' && id[i] != '_')
			return false;
	return n >= 1 && n <= 80;
}

int check_batch(const char *entry, const char *const *ids, size_t count, struct err *e)
{
	if (!count)
		return fail(e, SQS_EMPTY_BATCH_REQUEST,
		    "There should be at least one %s in the request.", entry);
	if (count > BATCH_MAX)
		return fail(e, SQS_TOO_MANY_ENTRIES_IN_BATCH_REQUEST,
		    "Maximum number of entries per request are 10. You have sent %zu.", count);
	for (size_t i = 0; i < count; i++) {
		if (!is_id(ids[i]))
			return fail(e, SQS_INVALID_BATCH_ENTRY_ID,
			    "A batch entry id can only contain alphanumeric characters, hyphens "
			    "and underscores. It can be at most 80 letters long.");
		for (size_t j = 0; j < i; j++)
			if (strcmp(ids[i], ids[j]) == 0)
				return fail(
				    e, SQS_BATCH_ENTRY_IDS_NOT_DISTINCT, "Id %s repeated.", ids[i]);
	}
	return 0;
}

static const char *error_name(const struct call *c, int code)
{
	for (size_t i = 0; i < c->service->error_count; i++)
		if (c->service->errors[i].code == code)
			return c->service->errors[i].wire ? c->service->errors[i].wire
							  : c->service->errors[i].name;
	return "InternalError";
}

void note_failure(struct call *c, struct failures *f, const char *id, const struct err *e)
{
	const char *name = error_name(c, e->code);

	check(f->count < BATCH_MAX);
	f->items[f->count++] = (struct sqs_batch_result_error_entry){.code = name,
	    .id = id,
	    .message = call_str(c, e->msg),
	    .sender_fault = call_bool(c, strcmp(name, "InternalError") != 0)};
}

const struct sqs_batch_result_error_entry_list *failure_list(struct call *c, struct failures *f)
{
	struct sqs_batch_result_error_entry_list *l =
	    call_new(c, struct sqs_batch_result_error_entry_list);
	struct sqs_batch_result_error_entry *items =
	    call_array(c, BATCH_MAX, struct sqs_batch_result_error_entry);

	memcpy(items, f->items, f->count * sizeof(*items));
	*l = (struct sqs_batch_result_error_entry_list){f->count, items};
	return l;
}

/* ---- writes ---- */

static void on_written(struct store_write *w, int result)
{
	struct batch_write *b = container_of(w, struct batch_write, write);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < b->count; i++)
		queue_finish(b->staged[i], result);
	if (b->c)
		call_reply(b->c, result < 0 ? fail_disk(result, &e) : 0, &e);
	free(b);
}

static void on_stop(struct call *c)
{
	struct batch_write *b = c->user;

	b->c = NULL;
}

struct batch_write *batch_new(struct call *c)
{
	struct batch_write *b = xcalloc(1, sizeof(*b));

	b->c = c;
	store_write_init(&b->write, on_written);
	return b;
}

void batch_drop(struct batch_write *b)
{
	check(!b->count);
	free(b);
}

int batch_commit(struct batch_write *b)
{
	struct call *c = b->c;

	if (!b->count) {
		batch_drop(b);
		return 0;
	}
	c->user = b;
	call_on_stop(c, on_stop);
	store_commit(sqs_of(c)->store, &b->write);
	return CALL_PENDING;
}

/* ---- deleting ---- */

static int bad_handle(const char *receipt, struct err *e)
{
	return fail(e, SQS_RECEIPT_HANDLE_IS_INVALID,
	    "The input receipt handle \"%.120s\" is not a valid receipt handle.", receipt);
}

static int stage_delete(struct queue *q, const char *receipt, struct batch_write *b, struct err *e)
{
	struct queue_staged *s = NULL;
	int r = queue_stage_delete(q, str_from(receipt), &b->write, &s);

	if (r == -ESTALE)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %.120s for parameter ReceiptHandle is invalid. Reason: The receipt "
		    "handle has expired.",
		    receipt);
	if (r < 0)
		return bad_handle(receipt, e);
	if (s)
		b->staged[b->count++] = s;
	return 0;
}

int sqs_delete_message(struct call *c, const struct sqs_delete_message_in *in,
    struct sqs_delete_message_out *out, struct err *e)
{
	struct batch_write *b;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:DeleteMessage", &q, e);

	(void)out;
	if (r < 0)
		return r;
	b = batch_new(c);
	r = stage_delete(q, in->receipt_handle, b, e);
	if (r < 0) {
		batch_drop(b);
		return r;
	}
	return batch_commit(b);
}

int sqs_delete_message_batch(struct call *c, const struct sqs_delete_message_batch_in *in,
    struct sqs_delete_message_batch_out *out, struct err *e)
{
	const struct sqs_delete_message_batch_request_entry_list *entries = in->entries;
	struct sqs_delete_message_batch_result_entry_list *list =
	    call_new(c, struct sqs_delete_message_batch_result_entry_list);
	struct sqs_delete_message_batch_result_entry *done =
	    call_array(c, BATCH_MAX, struct sqs_delete_message_batch_result_entry);
	const char **ids = call_array(c, entries->count + 1, const char *);
	struct failures failed = {0};
	struct batch_write *b;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:DeleteMessage", &q, e);

	for (size_t i = 0; i < entries->count; i++)
		ids[i] = entries->items[i].id;
	if (r == 0)
		r = check_batch("DeleteMessageBatchRequestEntry", ids, entries->count, e);
	if (r < 0)
		return r;
	b = batch_new(c);
	for (size_t i = 0; i < entries->count; i++) {
		struct err why = ERR_INIT;

		if (stage_delete(q, entries->items[i].receipt_handle, b, &why) < 0)
			note_failure(c, &failed, ids[i], &why);
		else
			done[list->count++].id = ids[i];
	}
	list->items = done;
	out->successful = list;
	out->failed = failure_list(c, &failed);
	return batch_commit(b);
}

/* ---- visibility ---- */

static int change_visibility(
    struct queue *q, const char *receipt, const int64_t *seconds, struct err *e)
{
	int64_t s = seconds ? *seconds : -1;
	int r;

	if (s < 0 || s > 43200)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %" PRId64
		    " for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must "
		    "be an integer between 0 and 43200.",
		    s);
	r = queue_visibility(q, str_from(receipt), s * SECOND_MS);
	if (r == -EINVAL)
		return bad_handle(receipt, e);
	if (r == -ERANGE)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %" PRId64
		    " for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout "
		    "for the message is beyond the limit [43200 seconds].",
		    s);
	if (r < 0)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %.100s for parameter ReceiptHandle is invalid. Reason: Message does not "
		    "exist or is not available for visibility timeout change.",
		    receipt);
	return 0;
}

int sqs_change_message_visibility(struct call *c, const struct sqs_change_message_visibility_in *in,
    struct sqs_change_message_visibility_out *out, struct err *e)
{
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:ChangeMessageVisibility", &q, e);

	(void)out;
	return r < 0 ? r : change_visibility(q, in->receipt_handle, in->visibility_timeout, e);
}

int sqs_change_message_visibility_batch(struct call *c,
    const struct sqs_change_message_visibility_batch_in *in,
    struct sqs_change_message_visibility_batch_out *out, struct err *e)
{
	const struct sqs_change_message_visibility_batch_request_entry_list *entries = in->entries;
	struct sqs_change_message_visibility_batch_result_entry_list *list =
	    call_new(c, struct sqs_change_message_visibility_batch_result_entry_list);
	struct sqs_change_message_visibility_batch_result_entry *done =
	    call_array(c, BATCH_MAX, struct sqs_change_message_visibility_batch_result_entry);
	const char **ids = call_array(c, entries->count + 1, const char *);
	struct failures failed = {0};
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:ChangeMessageVisibility", &q, e);

	for (size_t i = 0; i < entries->count; i++)
		ids[i] = entries->items[i].id;
	if (r == 0)
		r = check_batch("ChangeMessageVisibilityBatchRequestEntry", ids, entries->count, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < entries->count; i++) {
		struct err why = ERR_INIT;

		if (change_visibility(q, entries->items[i].receipt_handle,
			entries->items[i].visibility_timeout, &why) < 0)
			note_failure(c, &failed, ids[i], &why);
		else
			done[list->count++].id = ids[i];
	}
	list->items = done;
	out->successful = list;
	out->failed = failure_list(c, &failed);
	return 0;
}
