/* Messages of RabbitMQ as records of an event, in AWS's shape: what is not set is null. Any thread.
 */
#include "source/rabbitmq_int.h"

#include <math.h>
#include <time.h>

#include "base/str.h"
#include "source/broker.h"

#define DEPTH_MAX 8 /* of tables in tables */

static void name(struct buf *b, const char *key)
{
	buf_printf(b, "\"%s\":", key);
}

static void put_text(struct buf *b, const amqp_basic_properties_t *p, amqp_flags_t flag,
    const char *key, amqp_bytes_t v)
{
	name(b, key);
	if (p->_flags & flag)
		buf_json_string(b, (struct str){v.bytes, v.len});
	else
		buf_puts(b, "null");
	buf_putc(b, ',');
}

static void put_number(
    struct buf *b, const amqp_basic_properties_t *p, amqp_flags_t flag, const char *key, uint8_t v)
{
	name(b, key);
	if (p->_flags & flag)
		buf_put_uint(b, v);
	else
		buf_puts(b, "null");
	buf_putc(b, ',');
}

/* "Jan 1, 1970, 12:33:41 AM" */
static void put_time(struct buf *b, uint64_t seconds)
{
	time_t t = (time_t)(seconds < (uint64_t)1 << 38 ? seconds : 0);
	char month[16], rest[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(month, sizeof(month), "%b", &tm);
	strftime(rest, sizeof(rest), "%Y, %I:%M:%S %p", &tm);
	/* The hour has no leading zero. */
	buf_printf(b, "\"%s %d, %.*s%s\"", month, tm.tm_mday, 6, rest,
	    rest[6] == '0' ? rest + 7 : rest + 6);
}

static void put_table(struct buf *b, const amqp_table_t *t, int depth);

static void put_real(struct buf *b, double d)
{
	if (isfinite(d))
		buf_printf(b, "%.17g", d);
	else
		buf_puts(b, "null");
}

static void put_value(struct buf *b, const amqp_field_value_t *v, int depth);

static void put_list(struct buf *b, const amqp_array_t *a, int depth)
{
	buf_putc(b, '[');
	for (int i = 0; i < a->num_entries; i++) {
		if (i)
			buf_putc(b, ',');
		put_value(b, &a->entries[i], depth);
	}
	buf_putc(b, ']');
}

static void put_scalar(struct buf *b, const amqp_field_value_t *v)
{
	switch (v->kind) {
	case AMQP_FIELD_KIND_BOOLEAN: buf_puts(b, v->value.boolean ? "true" : "false"); break;
	case AMQP_FIELD_KIND_I8: buf_printf(b, "%d", v->value.i8); break;
	case AMQP_FIELD_KIND_U8: buf_printf(b, "%u", v->value.u8); break;
	case AMQP_FIELD_KIND_I16: buf_printf(b, "%d", v->value.i16); break;
	case AMQP_FIELD_KIND_U16: buf_printf(b, "%u", v->value.u16); break;
	case AMQP_FIELD_KIND_I32: buf_printf(b, "%d", v->value.i32); break;
	case AMQP_FIELD_KIND_U32: buf_printf(b, "%u", v->value.u32); break;
	case AMQP_FIELD_KIND_I64: buf_printf(b, "%" PRId64, v->value.i64); break;
	case AMQP_FIELD_KIND_U64: buf_put_uint(b, v->value.u64); break;
	case AMQP_FIELD_KIND_F32: put_real(b, v->value.f32); break;
	case AMQP_FIELD_KIND_F64: put_real(b, v->value.f64); break;
	case AMQP_FIELD_KIND_TIMESTAMP: put_time(b, v->value.u64); break;
	default: buf_puts(b, "null");
	}
}

static void put_value(struct buf *b, const amqp_field_value_t *v, int depth)
{
	if (v->kind == AMQP_FIELD_KIND_UTF8 || v->kind == AMQP_FIELD_KIND_BYTES) {
		buf_puts(b, "{\"bytes\":");
		broker_put_bytes(b, v->value.bytes.bytes, v->value.bytes.len);
		buf_putc(b, '}');
	} else if (v->kind == AMQP_FIELD_KIND_TABLE && depth < DEPTH_MAX) {
		put_table(b, &v->value.table, depth + 1);
	} else if (v->kind == AMQP_FIELD_KIND_ARRAY && depth < DEPTH_MAX) {
		put_list(b, &v->value.array, depth + 1);
	} else {
		put_scalar(b, v);
	}
}

static void put_table(struct buf *b, const amqp_table_t *t, int depth)
{
	buf_putc(b, '{');
	for (int i = 0; i < t->num_entries; i++) {
		const amqp_table_entry_t *entry = &t->entries[i];

		if (i)
			buf_putc(b, ',');
		buf_json_string(b, (struct str){entry->key.bytes, entry->key.len});
		buf_putc(b, ':');
		put_value(b, &entry->value, depth);
	}
	buf_putc(b, '}');
}

void rabbitmq_record(struct buf *b, const amqp_envelope_t *env)
{
	const amqp_basic_properties_t *p = &env->message.properties;

	buf_puts(b, "{\"basicProperties\":{");
	put_text(b, p, AMQP_BASIC_CONTENT_TYPE_FLAG, "contentType", p->content_type);
	put_text(b, p, AMQP_BASIC_CONTENT_ENCODING_FLAG, "contentEncoding", p->content_encoding);
	name(b, "headers");
	if (p->_flags & AMQP_BASIC_HEADERS_FLAG)
		put_table(b, &p->headers, 0);
	else
		buf_puts(b, "null");
	buf_putc(b, ',');
	put_number(b, p, AMQP_BASIC_DELIVERY_MODE_FLAG, "deliveryMode", p->delivery_mode);
	put_number(b, p, AMQP_BASIC_PRIORITY_FLAG, "priority", p->priority);
	put_text(b, p, AMQP_BASIC_CORRELATION_ID_FLAG, "correlationId", p->correlation_id);
	put_text(b, p, AMQP_BASIC_REPLY_TO_FLAG, "replyTo", p->reply_to);
	put_text(b, p, AMQP_BASIC_EXPIRATION_FLAG, "expiration", p->expiration);
	put_text(b, p, AMQP_BASIC_MESSAGE_ID_FLAG, "messageId", p->message_id);
	name(b, "timestamp");
	if (p->_flags & AMQP_BASIC_TIMESTAMP_FLAG)
		put_time(b, p->timestamp);
	else
		buf_puts(b, "null");
	buf_putc(b, ',');
	put_text(b, p, AMQP_BASIC_TYPE_FLAG, "type", p->type);
	put_text(b, p, AMQP_BASIC_USER_ID_FLAG, "userId", p->user_id);
	put_text(b, p, AMQP_BASIC_APP_ID_FLAG, "appId", p->app_id);
	put_text(b, p, AMQP_BASIC_CLUSTER_ID_FLAG, "clusterId", p->cluster_id);
	buf_printf(b, "\"bodySize\":%zu},\"redelivered\":%s,\"data\":", env->message.body.len,
	    env->redelivered ? "true" : "false");
	broker_put_base64(b, env->message.body.bytes, env->message.body.len);
	buf_putc(b, '}');
}
