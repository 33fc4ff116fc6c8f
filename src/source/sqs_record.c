/* SQS messages as records of an event, in AWS's shape. Loop thread. */
#include "source/sqs_int.h"

static void member(struct buf *b, const char *name, struct str value)
{
	buf_putc(b, '"');
	buf_puts(b, name);
	buf_puts(b, "\":");
	buf_json_string(b, value);
}

/* {"ApproximateReceiveCount":"1",…}: all are strings. */
static void put_attributes(struct buf *b, const struct queue_received *m)
{
	const struct {
		const char *name;
		struct str value;
	} texts[] = {
	    {"AWSTraceHeader", m->trace},
	    {"SequenceNumber", str_from(m->sequence)},
	    {"MessageGroupId", m->group_id},
	    {"MessageDeduplicationId", m->dedup_id},
	    {"DeadLetterQueueSourceArn", m->source_arn},
	};

	buf_printf(b,
	    "\"attributes\":{\"ApproximateReceiveCount\":\"%u\",\"SentTimestamp\":\"%" PRId64
	    "\",\"ApproximateFirstReceiveTimestamp\":\"%" PRId64 "\",",
	    m->receives, m->sent_ms, m->first_received_ms);
	member(b, "SenderId", m->sender);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (!texts[i].value.len)
			continue;
		buf_putc(b, ',');
		member(b, texts[i].name, texts[i].value);
	}
	buf_putc(b, '}');
}

static void put_base64(struct buf *b, struct str s)
{
	char *at;

	buf_putc(b, '"');
	at = buf_reserve(b, BASE64_ENCODED_SIZE(s.len));
	buf_commit(b, base64_encode(s.ptr, s.len, at));
	buf_putc(b, '"');
}

static void put_message_attribute(struct buf *b, const struct queue_attribute *a)
{
	buf_json_string(b, a->name);
	if (str_has_prefix(a->type, "Binary")) {
		buf_puts(b, ":{\"binaryValue\":");
		put_base64(b, a->value);
	} else {
		buf_puts(b, ":{\"stringValue\":");
		buf_json_string(b, a->value);
	}
	buf_puts(b, ",\"stringListValues\":[],\"binaryListValues\":[],\"dataType\":");
	buf_json_string(b, a->type);
	buf_putc(b, '}');
}

void sqs_record(struct buf *b, const struct queue_received *m, const char *arn, const char *region)
{
	buf_putc(b, '{');
	member(b, "messageId", str_from(m->id));
	buf_putc(b, ',');
	member(b, "receiptHandle", str_from(m->receipt));
	buf_putc(b, ',');
	member(b, "body", m->body);
	buf_putc(b, ',');
	put_attributes(b, m);
	buf_puts(b, ",\"messageAttributes\":{");
	for (size_t i = 0; i < m->attribute_count; i++) {
		if (i)
			buf_putc(b, ',');
		put_message_attribute(b, &m->attributes[i]);
	}
	buf_puts(b, "},");
	if (m->attributes_md5[0]) {
		member(b, "md5OfMessageAttributes", str_from(m->attributes_md5));
		buf_putc(b, ',');
	}
	member(b, "md5OfBody", str_from(m->md5));
	buf_puts(b, ",\"eventSource\":\"aws:sqs\",");
	member(b, "eventSourceARN", str_from(arn));
	buf_putc(b, ',');
	member(b, "awsRegion", str_from(region));
	buf_putc(b, '}');
}
