/* Receiving: waiting in the engine, and which attributes of a message are shown. Loop thread. */
#include "service/sqs/sqs_int.h"

#define SYSTEM_MAX 9

struct receiving {
	struct queue_receiver receiver;
	struct call *c;
	const struct sqs_receive_message_in *in;
	bool fifo;
	bool started; /* the handler has returned */
	bool ended;   /* before that */
	struct err e;
	int result;
};

static const char *const system_names[] = {"All", "SenderId", "SentTimestamp",
    "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
    "MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn"};

static bool is_system_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(system_names); i++)
		if (strcmp(system_names[i], name) == 0)
			return true;
	return false;
}

static bool is_in(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], "All") == 0 || strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* The older and the newer list mean the same. */
static bool wants_system(const struct sqs_receive_message_in *in, const char *name)
{
	return (in->attribute_names &&
		   is_in(in->attribute_names->items, in->attribute_names->count, name)) ||
	       (in->message_system_attribute_names &&
		   is_in(in->message_system_attribute_names->items,
		       in->message_system_attribute_names->count, name));
}

/* "All", ".*", "prefix.*" or a whole name. */
static bool wants(const struct sqs_message_attribute_name_list *names, struct str name)
{
	for (size_t i = 0; names && i < names->count; i++) {
		struct str n = str_from(names->items[i]);
		bool open = str_has_suffix(n, ".*");

		if (open)
			n.len -= 2;
		if (str_is(n, "All") || (open && !n.len) || str_eq(n, name) ||
		    (open && name.len > n.len && memcmp(name.ptr, n.ptr, n.len) == 0 &&
			name.ptr[n.len] == '.'))
			return true;
	}
	return false;
}

/* ---- a message ---- */

struct system_list {
	struct call *c;
	const struct sqs_receive_message_in *in;
	struct sqs_message_system_attribute_map_entry *entries;
	size_t count;
};

static void add(struct system_list *l, const char *name, struct str value)
{
	if (value.len && wants_system(l->in, name))
		l->entries[l->count++] =
		    (struct sqs_message_system_attribute_map_entry){name, call_strn(l->c, value)};
}

static void add_number(struct system_list *l, const char *name, int64_t v)
{
	if (wants_system(l->in, name))
		add(l, name, str_from(call_printf(l->c, "%" PRId64, v)));
}

static const struct sqs_message_system_attribute_map *show_system(struct call *c,
    const struct sqs_receive_message_in *in, const struct queue_received *m, bool fifo)
{
	struct system_list l = {
	    c, in, call_array(c, SYSTEM_MAX, struct sqs_message_system_attribute_map_entry), 0};
	struct sqs_message_system_attribute_map *map =
	    call_new(c, struct sqs_message_system_attribute_map);

	add(&l, "SenderId", m->sender);
	add_number(&l, "SentTimestamp", m->sent_ms);
	add_number(&l, "ApproximateReceiveCount", m->receives);
	add_number(&l, "ApproximateFirstReceiveTimestamp", m->first_received_ms);
	add(&l, "AWSTraceHeader", m->trace);
	add(&l, "MessageGroupId", m->group_id);
	add(&l, "DeadLetterQueueSourceArn", m->source_arn);
	if (fifo) {
		add(&l, "SequenceNumber", str_from(m->sequence));
		add(&l, "MessageDeduplicationId", m->dedup_id);
	}
	if (!l.count)
		return NULL;
	*map = (struct sqs_message_system_attribute_map){l.count, l.entries};
	return map;
}

static void show_attributes(struct call *c, const struct sqs_receive_message_in *in,
    const struct queue_received *m, struct sqs_message *out)
{
	struct sqs_message_body_attribute_map_entry *entries =
	    call_array(c, QUEUE_ATTRIBUTES_MAX, struct sqs_message_body_attribute_map_entry);
	struct sqs_message_body_attribute_map *map =
	    call_new(c, struct sqs_message_body_attribute_map);
	struct queue_attribute shown[QUEUE_ATTRIBUTES_MAX];
	char md5[33];

	for (size_t i = 0; i < m->attribute_count; i++) {
		const struct queue_attribute *a = &m->attributes[i];
		struct sqs_message_body_attribute_map_entry *x = &entries[map->count];

		if (!wants(in->message_attribute_names, a->name))
			continue;
		shown[map->count++] = *a;
		x->key = call_strn(c, a->name);
		x->value.data_type = call_strn(c, a->type);
		if (str_has_prefix(a->type, "Binary"))
			x->value.binary_value = call_blob(c, arena_str(c->arena, a->value));
		else
			x->value.string_value = call_strn(c, a->value);
	}
	if (!map->count)
		return;
	map->entries = entries;
	out->message_attributes = map;
	queue_attributes_md5(shown, map->count, md5);
	out->md5_of_message_attributes = call_str(c, md5);
}

static void show(struct receiving *v, const struct queue_received *m, size_t count)
{
	struct call *c = v->c;
	struct sqs_receive_message_out *out = c->out;
	struct sqs_message_list *list = call_new(c, struct sqs_message_list);
	struct sqs_message *items = call_array(c, count + 1, struct sqs_message);

	for (size_t i = 0; i < count; i++) {
		items[i].attributes = show_system(c, v->in, &m[i], v->fifo);
		items[i].body = call_strn(c, m[i].body);
		items[i].md5_of_body = call_str(c, m[i].md5);
		items[i].message_id = call_str(c, m[i].id);
		items[i].receipt_handle = call_str(c, m[i].receipt);
		if (v->in->message_attribute_names)
			show_attributes(c, v->in, &m[i], &items[i]);
	}
	*list = (struct sqs_message_list){count, items};
	out->messages = count ? list : NULL;
}

/* ---- waiting ---- */

static int conclude(int result, struct err *e)
{
	switch (result) {
	case 0: return 0;
	case -ENOENT: return no_queue(e);
	case -EDQUOT:
		return fail(e, SQS_OVER_LIMIT,
		    "Too many messages in flight: %d. Delete some of them before receiving more.",
		    QUEUE_INFLIGHT_MAX);
	case -ECANCELED:
		return fail(e, AWS_UNAVAILABLE, "The server is stopping. Please try again.");
	default: return fail_disk(result, e);
	}
}

static void on_received(
    struct queue_receiver *r, int result, const struct queue_received *m, size_t count)
{
	struct receiving *v = container_of(r, struct receiving, receiver);
	struct call *c = v->c;
	struct err e = ERR_INIT;
	int outcome;

	show(v, m, count);
	outcome = conclude(result, &e);
	if (v->started) {
		free(v);
		call_reply(c, outcome, &e);
		return;
	}
	v->ended = true;
	v->result = outcome;
	v->e = e;
}

static void on_stop(struct call *c)
{
	struct receiving *v = c->user;

	queue_receive_cancel(&v->receiver);
	free(v);
}

static int check_range(const int64_t *v, int64_t min, int64_t max, const char *name, struct err *e)
{
	if (!v || (*v >= min && *v <= max))
		return 0;
	return fail(e, SQS_INVALID_PARAMETER_VALUE,
	    "Value %" PRId64 " for parameter %s is invalid. Reason: Must be between %" PRId64
	    " and %" PRId64 ", if provided.",
	    *v, name, min, max);
}

static int check_names(const char *const *names, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		if (!is_system_name(names[i]))
			return fail(
			    e, SQS_INVALID_ATTRIBUTE_NAME, "Unknown Attribute %.150s.", names[i]);
	return 0;
}

static int check_request(const struct sqs_receive_message_in *in, struct err *e)
{
	int r = check_range(in->max_number_of_messages, 1, 10, "MaxNumberOfMessages", e);

	if (r == 0)
		r = check_range(in->wait_time_seconds, 0, 20, "WaitTimeSeconds", e);
	if (r == 0)
		r = check_range(in->visibility_timeout, 0, 43200, "VisibilityTimeout", e);
	if (r == 0 && in->attribute_names)
		r = check_names(in->attribute_names->items, in->attribute_names->count, e);
	if (r == 0 && in->message_system_attribute_names)
		r = check_names(in->message_system_attribute_names->items,
		    in->message_system_attribute_names->count, e);
	return r;
}

static int64_t in_ms(const int64_t *seconds)
{
	return seconds ? *seconds * SECOND_MS : -1;
}

int sqs_receive_message(struct call *c, const struct sqs_receive_message_in *in,
    struct sqs_receive_message_out *out, struct err *e)
{
	struct receiving *v;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:ReceiveMessage", &q, e);

	(void)out;
	if (r == 0)
		r = check_request(in, e);
	if (r < 0)
		return r;
	v = xcalloc(1, sizeof(*v));
	v->c = c;
	v->in = in;
	v->fifo = queue_settings(q)->fifo;
	v->receiver.max = in->max_number_of_messages ? (unsigned)*in->max_number_of_messages : 1;
	v->receiver.max_bytes = QUEUE_MESSAGE_MAX;
	v->receiver.visibility_ms = in_ms(in->visibility_timeout);
	v->receiver.wait_ms = in_ms(in->wait_time_seconds);
	v->receiver.attempt_id = str_from(in->receive_request_attempt_id);
	v->receiver.done = on_received;
	queue_receive(q, &v->receiver);
	if (v->ended) {
		r = v->result;
		*e = v->e;
		free(v);
		return r;
	}
	v->started = true;
	c->user = v;
	call_on_stop(c, on_stop);
	return CALL_PENDING;
}
