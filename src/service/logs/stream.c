/* Log streams: making, deleting, listing. Loop thread. */
#include "service/logs/service_int.h"

#define PAGE_DEFAULT 50

int logs_create_log_stream(struct call *c, const struct logs_create_log_stream_in *in,
    _unused_ struct logs_create_log_stream_out *out, struct err *e)
{
	struct log_group_id id = group_id(c, in->log_group_name);
	int r = group_must_exist(c, id, NULL, e);

	if (r < 0)
		return r;
	logs_stream_create(
	    logs_of(c), id, str_from(in->log_stream_name), done_waiting, wait_start(c, id, true));
	return CALL_PENDING;
}

int logs_delete_log_stream(struct call *c, const struct logs_delete_log_stream_in *in,
    _unused_ struct logs_delete_log_stream_out *out, struct err *e)
{
	struct log_group_id id = group_id(c, in->log_group_name);
	int r = group_must_exist(c, id, NULL, e);

	if (r < 0)
		return r;
	logs_stream_delete(
	    logs_of(c), id, str_from(in->log_stream_name), done_waiting, wait_start(c, id, true));
	return CALL_PENDING;
}

/* ---- listing ---- */

struct listing {
	struct call *c;
	struct log_group_id group;
	struct logs_log_stream *items;
	size_t count, limit;
};

static const int64_t *moment(struct call *c, int64_t ms)
{
	return ms < 0 ? NULL : call_int(c, ms);
}

static void on_stream(void *ctx, const struct log_stream_info *i)
{
	struct listing *l = ctx;
	struct call *c = l->c;
	const char *name = call_strn(c, i->name);

	check(l->count < l->limit);
	l->items[l->count++] = (struct logs_log_stream){
	    .arn = group_arn(c, l->group, call_printf(c, ":log-stream:%s", name)),
	    .creation_time = call_int(c, i->created_ms),
	    .first_event_timestamp = moment(c, i->first_event_ms),
	    .last_event_timestamp = moment(c, i->last_event_ms),
	    .last_ingestion_time = moment(c, i->last_ingestion_ms),
	    .log_stream_name = name,
	    .stored_bytes = call_int(c, 0), /* AWS answers 0 for every stream since 2019 */
	};
}

static int list_streams(struct listing *l, const struct log_stream_list *q,
    struct logs_describe_log_streams_out *out, struct err *e)
{
	_cleanup_buf_ struct buf token = BUF_INIT;
	struct call *c = l->c;
	struct logs_log_streams *list = call_new(c, struct logs_log_streams);
	int r;

	l->limit = q->limit;
	l->items = call_array(c, l->limit, struct logs_log_stream);
	r = logs_streams(logs_of(c), l->group, q, on_stream, l, &token);
	if (r < 0)
		return fail_result(logs_of(c), &(struct wait){c, l->group, true}, r, e);
	*list = (struct logs_log_streams){l->count, l->items};
	out->log_streams = list;
	if (buf_len(&token))
		out->next_token = call_strn(c, buf_str(&token));
	return 0;
}

int logs_describe_log_streams(struct call *c, const struct logs_describe_log_streams_in *in,
    struct logs_describe_log_streams_out *out, struct err *e)
{
	struct listing l = {.c = c};
	struct log_stream_list q = {
	    .prefix = str_from(in->log_stream_name_prefix),
	    .by_last_event = in->order_by && strcmp(in->order_by, "LastEventTime") == 0,
	    .descending = in->descending && *in->descending,
	    .token = str_from(in->next_token),
	    .limit = in->limit ? (unsigned)*in->limit : PAGE_DEFAULT,
	};
	int r = group_chosen(c, in->log_group_name, in->log_group_identifier, &l.group, e);

	if (r < 0)
		return r;
	if (q.by_last_event && q.prefix.ptr)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Cannot order by LastEventTime with a logStreamNamePrefix.");
	return list_streams(&l, &q, out, e);
}
