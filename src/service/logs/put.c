/* PutLogEvents: AWS's rules for a batch, and which of its events are too old or too new. */
#include "service/logs/service_int.h"

#include "base/time.h"

#define BATCH_MAX 1048576
#define EVENT_OVERHEAD 26 /* what AWS counts for each event beside its text */
#define HOUR_MS (3600 * INT64_C(1000))
#define DAY_MS (24 * HOUR_MS)

static int check_sizes(const struct logs_input_log_events *in, struct err *e)
{
	size_t sum = 0;

	for (size_t i = 0; i < in->count; i++) {
		size_t len = strlen(in->items[i].message);

		if (len > LOGS_EVENT_MAX)
			return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
			    "Log event too large: %zu bytes exceeds limit of %d",
			    len + EVENT_OVERHEAD, LOGS_EVENT_MAX + EVENT_OVERHEAD);
		sum += len + EVENT_OVERHEAD;
	}
	if (sum > BATCH_MAX)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Upload too large: %zu bytes exceeds limit of %d", sum, BATCH_MAX);
	return 0;
}

static int check_batch(const struct logs_input_log_events *in, struct err *e)
{
	for (size_t i = 1; i < in->count; i++)
		if (*in->items[i].timestamp < *in->items[i - 1].timestamp)
			return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
			    "Log events in a single PutLogEvents request must be in "
			    "chronological order.");
	if (*in->items[in->count - 1].timestamp - *in->items[0].timestamp > DAY_MS)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "The batch of log events in a single PutLogEvents request cannot span more "
		    "than 24 hours.");
	return check_sizes(in, e);
}

/* The events that may be stored are those from *from to *to; says which others were refused. */
static const struct logs_rejected_log_events_info *reject(struct call *c,
    const struct logs_input_log_events *in, const struct log_group_info *group, size_t *from,
    size_t *to)
{
	struct logs_rejected_log_events_info *info =
	    call_new(c, struct logs_rejected_log_events_info);
	int64_t now = time_wall_ms(), expired = group->retention_days * DAY_MS;
	size_t too_old = 0, too_new, kept;

	while (too_old < in->count && *in->items[too_old].timestamp < now - 14 * DAY_MS)
		too_old++;
	kept = too_old;
	while (expired && kept < in->count && *in->items[kept].timestamp < now - expired)
		kept++;
	too_new = kept;
	while (too_new < in->count && *in->items[too_new].timestamp <= now + 2 * HOUR_MS)
		too_new++;
	if (too_old)
		info->too_old_log_event_end_index = call_int(c, (int64_t)too_old);
	if (kept > too_old)
		info->expired_log_event_end_index = call_int(c, (int64_t)kept);
	if (too_new < in->count)
		info->too_new_log_event_start_index = call_int(c, (int64_t)too_new);
	*from = kept;
	*to = too_new;
	return *from > 0 || *to < in->count ? info : NULL;
}

static int store(struct call *c, struct log_group_id id, const struct logs_put_log_events_in *in,
    size_t from, size_t to)
{
	struct log_event *events = call_array(c, to - from, struct log_event);

	for (size_t i = from; i < to; i++) {
		events[i - from].ts_ms = *in->log_events->items[i].timestamp;
		events[i - from].text = str_from(in->log_events->items[i].message);
	}
	logs_put(logs_of(c), id, str_from(in->log_stream_name), events, to - from, done_waiting,
	    wait_start(c, id, true));
	return CALL_PENDING;
}

int logs_put_log_events(struct call *c, const struct logs_put_log_events_in *in,
    struct logs_put_log_events_out *out, struct err *e)
{
	struct log_group_id id = group_id(c, in->log_group_name);
	struct log_group_info group;
	struct log_stream_info stream;
	size_t from, to;
	int r = group_must_exist(c, id, &group, e);

	if (r == 0)
		r = logs_stream_get(logs_of(c), id, str_from(in->log_stream_name), &stream);
	else
		return r;
	if (r < 0)
		return fail_result(logs_of(c), &(struct wait){c, id, true}, r, e);
	r = check_batch(in->log_events, e);
	if (r < 0)
		return r;
	out->rejected_log_events_info = reject(c, in->log_events, &group, &from, &to);
	/* Sequence tokens mean nothing any more, but old clients hand the last one back. */
	out->next_sequence_token = call_printf(c, "%056" PRId64, time_wall_us());
	return from == to ? 0 : store(c, id, in, from, to);
}
