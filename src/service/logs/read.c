/* GetLogEvents and FilterLogEvents. Loop thread; src/logs scans on a worker meanwhile. */
#include "service/logs/service_int.h"

static int check_times(const int64_t *from, const int64_t *to, struct log_query *q, struct err *e)
{
	q->from_ms = from ? *from : INT64_MIN;
	q->to_ms = to ? *to : INT64_MAX;
	if (q->from_ms > q->to_ms)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "The start time must not be after the end time.");
	return 0;
}

/* The call of a page that has come, NULL when there is nothing left to do. */
static struct call *take_page(void *ctx, const struct log_page *p)
{
	struct wait w = *(struct wait *)ctx;
	struct call *c = wait_end(ctx);
	struct err e = ERR_INIT;

	if (!c || p->result == 0)
		return c;
	call_reply(c, fail_result(logs_of(c), &w, p->result, &e), &e);
	return NULL;
}

/* ---- one stream ---- */

static void on_got(void *ctx, const struct log_page *p)
{
	struct call *c = take_page(ctx, p);
	struct logs_get_log_events_out *out;
	struct logs_output_log_events *list;
	struct logs_output_log_event *items;

	if (!c)
		return;
	out = c->out;
	list = call_new(c, struct logs_output_log_events);
	items = call_array(c, p->count + 1, struct logs_output_log_event);
	for (size_t i = 0; i < p->count; i++)
		items[i] = (struct logs_output_log_event){
		    .timestamp = call_int(c, p->events[i].ts_ms),
		    .ingestion_time = call_int(c, p->events[i].ingested_ms),
		    .message = call_strn(c, p->events[i].text),
		};
	*list = (struct logs_output_log_events){p->count, items};
	out->events = list;
	out->next_forward_token = call_str(c, p->forward);
	out->next_backward_token = call_str(c, p->backward);
	call_reply(c, 0, NULL);
}

int logs_get_log_events(struct call *c, const struct logs_get_log_events_in *in,
    _unused_ struct logs_get_log_events_out *out, struct err *e)
{
	struct str stream = str_from(in->log_stream_name);
	struct log_query q = {
	    .streams = &stream,
	    .stream_count = 1,
	    .from_head = in->start_from_head && *in->start_from_head,
	    .limit = in->limit ? (unsigned)*in->limit : 0,
	    .token = str_from(in->next_token),
	};
	int r = group_chosen(c, in->log_group_name, in->log_group_identifier, &q.group, e);

	if (r == 0)
		r = check_times(in->start_time, in->end_time, &q, e);
	if (r < 0)
		return r;
	logs_get(logs_of(c), &q, on_got, wait_start(c, q.group, true));
	return CALL_PENDING;
}

/* ---- many streams ---- */

static void show_filtered(struct call *c, const struct log_page *p)
{
	struct logs_filter_log_events_out *out = c->out;
	struct logs_filtered_log_events *list = call_new(c, struct logs_filtered_log_events);
	struct logs_filtered_log_event *items =
	    call_array(c, p->count + 1, struct logs_filtered_log_event);

	for (size_t i = 0; i < p->count; i++)
		items[i] = (struct logs_filtered_log_event){
		    .event_id = call_str(c, p->events[i].id),
		    .timestamp = call_int(c, p->events[i].ts_ms),
		    .ingestion_time = call_int(c, p->events[i].ingested_ms),
		    .log_stream_name = call_strn(c, p->events[i].stream),
		    .message = call_strn(c, p->events[i].text),
		};
	*list = (struct logs_filtered_log_events){p->count, items};
	out->events = list;
	/* AWS answers an empty list since 2020. */
	out->searched_log_streams = call_new(c, struct logs_searched_log_streams);
	out->next_token = *p->forward ? call_str(c, p->forward) : NULL;
}

static void on_filtered(void *ctx, const struct log_page *p)
{
	struct call *c = take_page(ctx, p);

	if (!c)
		return;
	show_filtered(c, p);
	call_reply(c, 0, NULL);
}

static int choose_streams(
    struct call *c, const struct logs_filter_log_events_in *in, struct log_query *q, struct err *e)
{
	size_t count = in->log_stream_names ? in->log_stream_names->count : 0;
	struct str *names = call_array(c, count + 1, struct str);

	if (count && in->log_stream_name_prefix)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "logStreamNames and logStreamNamePrefix are mutually exclusive parameters.");
	for (size_t i = 0; i < count; i++) {
		struct log_stream_info info;

		names[i] = str_from(in->log_stream_names->items[i]);
		if (logs_stream_get(logs_of(c), q->group, names[i], &info) < 0)
			return fail(e, LOGS_RESOURCE_NOT_FOUND_EXCEPTION,
			    "The specified log stream does not exist.");
	}
	q->streams = names;
	q->stream_count = count;
	q->stream_prefix = str_from(in->log_stream_name_prefix);
	return 0;
}

static int parse_pattern(const char *text, struct log_pattern **ret, struct err *e)
{
	struct err why = ERR_INIT;

	if (!text || !*text)
		return 0;
	*ret = log_pattern_parse(str_from(text), &why);
	if (!*ret)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION, "%s", why.msg);
	return 0;
}

int logs_filter_log_events(struct call *c, const struct logs_filter_log_events_in *in,
    _unused_ struct logs_filter_log_events_out *out, struct err *e)
{
	struct log_query q = {
	    .limit = in->limit ? (unsigned)*in->limit : 0,
	    .token = str_from(in->next_token),
	};
	int r = group_chosen(c, in->log_group_name, in->log_group_identifier, &q.group, e);

	if (r == 0)
		r = group_must_exist(c, q.group, NULL, e);
	if (r == 0)
		r = check_times(in->start_time, in->end_time, &q, e);
	if (r == 0)
		r = choose_streams(c, in, &q, e);
	if (r == 0)
		r = parse_pattern(in->filter_pattern, &q.pattern, e);
	if (r < 0)
		return r;
	logs_filter(logs_of(c), &q, on_filtered, wait_start(c, q.group, true));
	return CALL_PENDING;
}
