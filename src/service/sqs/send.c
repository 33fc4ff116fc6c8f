/* Sending: what a message may be, and handing it to the engine. Loop thread. */
#include <ctype.h>

#include "service/sqs/sqs_int.h"

#define NAME_MAX_LEN 256
#define TRACE_INHERITED_MAX 256

/* ---- contents ---- */

/* UTF-8 has been checked; XML 1.0 has no other control characters, nor U+FFFE and U+FFFF. */
static bool is_character(const unsigned char *s)
{
	if (s[0] < 0x20)
		return s[0] == '\t' || s[0] == '\n' || s[0] == '\r';
	return !(s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe);
}

static int check_text(const char *text, const char *where, struct err *e)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++)
		if (!is_character(s))
			return fail(e, SQS_INVALID_MESSAGE_CONTENTS,
			    "Invalid binary character '#x%X' was found in the %s, the set of "
			    "allowed characters is #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to "
			    "#xFFFD] | [#x10000 to #x10FFFF]",
			    *s < 0x20 ? *s : 0xff40u + s[2], where);
	return 0;
}

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i]))
			return false;
	return n >= 1 && n <= NAME_MAX_LEN && name[0] != '.' && name[n - 1] != '.' &&
	       !strstr(name, "..") && strncasecmp(name, "AWS.", 4) != 0 &&
	       strncasecmp(name, "Amazon.", 7) != 0;
}

static bool is_type(const char *type, const char *base)
{
	size_t n = strlen(base);

	return strncmp(type, base, n) == 0 && (type[n] == '\0' || (type[n] == '.' && type[n + 1]));
}

static bool is_number(const char *text)
{
	char *end;

	if (!isdigit((unsigned char)text[0]) && !strchr("+-.", text[0]))
		return false;
	strtod(text, &end);
	return end != text && !*end && strpbrk(text, "xXnN") == NULL && strlen(text) <= 64;
}

static int check_value(const char *name, const struct sqs_message_attribute_value *v, struct err *e)
{
	bool binary = is_type(v->data_type, "Binary");

	if (v->string_list_values || v->binary_list_values)
		return fail(e, SQS_UNSUPPORTED_OPERATION,
		    "Message attribute list values in SendMessage operation are not supported.");
	if (strlen(v->data_type) > NAME_MAX_LEN ||
	    (!binary && !is_type(v->data_type, "String") && !is_type(v->data_type, "Number")))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "The type of message (user) attribute '%.80s' is invalid. You must use only "
		    "the following supported type prefixes: Binary, Number, String.",
		    name);
	if (binary ? !v->binary_value || !v->binary_value->len
		   : !v->string_value || !v->string_value[0])
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Message (user) attribute '%.80s' must contain a non-empty value of type '%s'.",
		    name, binary ? "Binary" : "String");
	if (is_type(v->data_type, "Number") && !is_number(v->string_value))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Can't cast the value of message (user) attribute '%.80s' to a number.", name);
	return binary ? 0 : check_text(v->string_value, "message attributes", e);
}

static int take_attributes(struct call *c, const struct sqs_message_body_attribute_map *map,
    struct queue_message *m, struct err *e)
{
	struct queue_attribute *out;
	int r = 0;

	if (!map)
		return 0;
	if (map->count > QUEUE_ATTRIBUTES_MAX)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Number of message attributes [%zu] exceeds the allowed maximum [10].",
		    map->count);
	out = call_array(c, map->count + 1, struct queue_attribute);
	for (size_t i = 0; r == 0 && i < map->count; i++) {
		const char *name = map->entries[i].key;
		const struct sqs_message_attribute_value *v = &map->entries[i].value;

		if (!is_name(name))
			return fail(e, SQS_INVALID_PARAMETER_VALUE,
			    "The message attribute name '%.80s' is invalid. Attribute name can "
			    "contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.), "
			    "and must not start with AWS. or Amazon.",
			    name);
		r = check_value(name, v, e);
		if (r == 0)
			out[i] = (struct queue_attribute){str_from(name), str_from(v->data_type),
			    is_type(v->data_type, "Binary") ? *v->binary_value
							    : str_from(v->string_value)};
	}
	m->attributes = out;
	m->attribute_count = map->count;
	return r;
}

/* Who sends may be a function: then its trace goes on with the message. */
static void inherit_trace(const struct call *c, struct queue_message *m)
{
	struct str header = http_header(c->http, "x-amzn-trace-id");

	if (!m->trace.len && header.len && header.len <= TRACE_INHERITED_MAX && utf8_valid(header))
		m->trace = header;
}

static int take_trace(
    const struct sqs_message_body_system_attribute_map *map, struct queue_message *m, struct err *e)
{
	for (size_t i = 0; map && i < map->count; i++) {
		const struct sqs_message_system_attribute_value *v = &map->entries[i].value;

		if (strcmp(map->entries[i].key, "AWSTraceHeader") != 0)
			return fail(e, SQS_INVALID_PARAMETER_VALUE,
			    "Message system attribute name '%.80s' is invalid: only AWSTraceHeader "
			    "can be sent.",
			    map->entries[i].key);
		if (strcmp(v->data_type, "String") != 0 || !v->string_value || !v->string_value[0])
			return fail(e, SQS_INVALID_PARAMETER_VALUE,
			    "The message system attribute 'AWSTraceHeader' must contain a "
			    "non-empty value of type 'String'.");
		m->trace = str_from(v->string_value);
	}
	return 0;
}

static int check_id(const char *id, const char *name, struct err *e)
{
	size_t n = id ? strlen(id) : 1;

	for (size_t i = 0; id && i < n; i++)
		if (id[i] < '!' || id[i] > '~')
			n = 0;
	if (n >= 1 && n <= QUEUE_ID_MAX)
		return 0;
	return fail(e, SQS_INVALID_PARAMETER_VALUE,
	    "Value %.128s for parameter %s is invalid. Reason: %s can only include alphanumeric "
	    "and punctuation characters. 1 to 128 in length.",
	    id, name, name);
}

static int take_delay(const struct queue *q, const int64_t *seconds, int64_t *ret, struct err *e)
{
	*ret = -1;
	if (!seconds)
		return 0;
	if (*seconds < 0 || *seconds > 900)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %" PRId64 " for parameter DelaySeconds is invalid. Reason: DelaySeconds "
		    "must be >= 0 and <= 900.",
		    *seconds);
	if (queue_settings(q)->fifo && *seconds)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value %" PRId64 " for parameter DelaySeconds is invalid. Reason: The request "
		    "include parameter that is not valid for this queue type.",
		    *seconds);
	*ret = *seconds * SECOND_MS;
	return 0;
}

/* The entry of a batch has all that a single send has. */
static int read_message(struct call *c, const struct queue *q,
    const struct sqs_send_message_batch_request_entry *in, struct queue_message *ret, struct err *e)
{
	int r = check_text(in->message_body, "message body", e);

	*ret = (struct queue_message){.body = str_from(in->message_body),
	    .group_id = str_from(in->message_group_id),
	    .dedup_id = str_from(in->message_deduplication_id),
	    .sender = c->principal.user_id[0] ? c->principal.user_id : c->account};
	if (r == 0)
		r = take_attributes(c, in->message_attributes, ret, e);
	if (r == 0)
		r = take_trace(in->message_system_attributes, ret, e);
	inherit_trace(c, ret);
	if (r == 0)
		r = check_id(in->message_group_id, "MessageGroupId", e);
	if (r == 0)
		r = check_id(in->message_deduplication_id, "MessageDeduplicationId", e);
	return r == 0 ? take_delay(q, in->delay_seconds, &ret->delay_ms, e) : r;
}

static int stage(struct call *c, struct queue *q,
    const struct sqs_send_message_batch_request_entry *in, struct batch_write *b,
    struct queue_sent *ret, struct err *e)
{
	struct queue_message m;
	struct err why = ERR_INIT;
	struct queue_staged *s;
	int r = read_message(c, q, in, &m, e);

	if (r < 0)
		return r;
	s = queue_stage(q, &m, &b->write, ret, &why);
	if (!s)
		return fail(e,
		    why.errnum == ENODATA ? SQS_MISSING_PARAMETER : SQS_INVALID_PARAMETER_VALUE,
		    "%s", why.msg);
	b->staged[b->count++] = s;
	return 0;
}

/* ---- the operations ---- */

static const char *present(struct call *c, const char *s)
{
	return s[0] ? call_str(c, s) : NULL;
}

int sqs_send_message(struct call *c, const struct sqs_send_message_in *in,
    struct sqs_send_message_out *out, struct err *e)
{
	const struct sqs_send_message_batch_request_entry entry = {
	    .delay_seconds = in->delay_seconds,
	    .message_attributes = in->message_attributes,
	    .message_body = in->message_body,
	    .message_deduplication_id = in->message_deduplication_id,
	    .message_group_id = in->message_group_id,
	    .message_system_attributes = in->message_system_attributes};
	struct queue_sent sent;
	struct batch_write *b;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:SendMessage", &q, e);

	if (r < 0)
		return r;
	b = batch_new(c);
	r = stage(c, q, &entry, b, &sent, e);
	if (r < 0) {
		batch_drop(b);
		return r;
	}
	out->message_id = call_str(c, sent.id);
	out->md5_of_message_body = call_str(c, sent.md5);
	out->md5_of_message_attributes = present(c, sent.attributes_md5);
	if (in->message_system_attributes)
		out->md5_of_message_system_attributes = present(c, sent.trace_md5);
	out->sequence_number = present(c, sent.sequence);
	return batch_commit(b);
}

static size_t size_of(const struct sqs_send_message_batch_request_entry *in)
{
	const struct sqs_message_body_attribute_map *m = in->message_attributes;
	size_t n = strlen(in->message_body);

	for (size_t i = 0; m && i < m->count; i++)
		n += strlen(m->entries[i].key) + strlen(m->entries[i].value.data_type) +
		     (m->entries[i].value.string_value ? strlen(m->entries[i].value.string_value)
						       : 0) +
		     (m->entries[i].value.binary_value ? m->entries[i].value.binary_value->len : 0);
	return n;
}

static int check_entries(
    struct call *c, const struct sqs_send_message_batch_request_entry_list *entries, struct err *e)
{
	const char **ids = call_array(c, entries->count + 1, const char *);
	size_t total = 0;
	int r;

	for (size_t i = 0; i < entries->count; i++) {
		ids[i] = entries->items[i].id;
		total += size_of(&entries->items[i]);
	}
	r = check_batch("SendMessageBatchRequestEntry", ids, entries->count, e);
	if (r == 0 && total > QUEUE_MESSAGE_MAX)
		r = fail(e, SQS_BATCH_REQUEST_TOO_LONG,
		    "Batch requests cannot be longer than %d bytes. You have sent %zu bytes.",
		    QUEUE_MESSAGE_MAX, total);
	return r;
}

int sqs_send_message_batch(struct call *c, const struct sqs_send_message_batch_in *in,
    struct sqs_send_message_batch_out *out, struct err *e)
{
	struct sqs_send_message_batch_result_entry_list *list =
	    call_new(c, struct sqs_send_message_batch_result_entry_list);
	struct sqs_send_message_batch_result_entry *done =
	    call_array(c, BATCH_MAX, struct sqs_send_message_batch_result_entry);
	struct failures failed = {0};
	struct batch_write *b;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:SendMessage", &q, e);

	if (r == 0)
		r = check_entries(c, in->entries, e);
	if (r < 0)
		return r;
	b = batch_new(c);
	for (size_t i = 0; i < in->entries->count; i++) {
		const struct sqs_send_message_batch_request_entry *entry = &in->entries->items[i];
		struct queue_sent sent;
		struct err why = ERR_INIT;

		if (stage(c, q, entry, b, &sent, &why) < 0) {
			note_failure(c, &failed, entry->id, &why);
			continue;
		}
		done[list->count++] = (struct sqs_send_message_batch_result_entry){.id = entry->id,
		    .message_id = call_str(c, sent.id),
		    .md5_of_message_body = call_str(c, sent.md5),
		    .md5_of_message_attributes = present(c, sent.attributes_md5),
		    .md5_of_message_system_attributes =
			entry->message_system_attributes ? present(c, sent.trace_md5) : NULL,
		    .sequence_number = present(c, sent.sequence)};
	}
	list->items = done;
	out->successful = list;
	out->failed = failure_list(c, &failed);
	return batch_commit(b);
}
