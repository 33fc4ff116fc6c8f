/*
 * Self-managed Kafka as an event source, through librdkafka: one consumer of the group and one
 * thread of ours for each mapping (the library has some of its own). The loop says how far a
 * partition is done with, and only that is committed. See broker.h; all up to "the loop" is the
 * thread's.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>

#include "base/log.h"
#include "source/broker.h"

#define ASK_MS 10000
#define POLL_MS 1000
#define CONCURRENCY 64
/* As base64 with its headers it has to fit into an event. */
#define RECORD_MAX (6 * (size_t)1024 * 1024)

struct config {
	rd_kafka_conf_t *conf; /* NULL: the consumer has it */
	rd_kafka_topic_partition_list_t *topics;
	char *group;
	int64_t begin; /* RD_KAFKA_OFFSET_BEGINNING, _END, or a time in ms */
	struct feed *feed;
	bool paused;
};

static void discard(void *ctx)
{
	struct config *c = ctx;

	if (c->conf)
		rd_kafka_conf_destroy(c->conf);
	if (c->topics)
		rd_kafka_topic_partition_list_destroy(c->topics);
	free(c->group);
	free(c);
}

/* ---- records ---- */

static void put_headers(struct buf *b, const rd_kafka_message_t *msg)
{
	rd_kafka_headers_t *all;
	const char *name;
	const void *value;
	size_t size;

	buf_puts(b, ",\"headers\":[");
	if (rd_kafka_message_headers(msg, &all) == RD_KAFKA_RESP_ERR_NO_ERROR)
		for (size_t i = 0; !rd_kafka_header_get_all(all, i, &name, &value, &size); i++) {
			buf_puts(b, i ? ",{" : "{");
			buf_json_string(b, str_from(name));
			buf_putc(b, ':');
			broker_put_bytes(b, value, size);
			buf_putc(b, '}');
		}
	buf_puts(b, "]}");
}

static void put_record(struct buf *b, const rd_kafka_message_t *msg, int64_t *ret_time_ms)
{
	rd_kafka_timestamp_type_t type;
	int64_t ms = rd_kafka_message_timestamp(msg, &type);

	*ret_time_ms = ms > 0 ? ms : 0;
	buf_puts(b, "{\"topic\":");
	buf_json_string(b, str_from(rd_kafka_topic_name(msg->rkt)));
	buf_printf(b,
	    ",\"partition\":%" PRId32 ",\"offset\":%" PRId64 ",\"timestamp\":%" PRId64
	    ",\"timestampType\":\"%s\"",
	    msg->partition, msg->offset, ms,
	    type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? "LOG_APPEND_TIME"
	    : type == RD_KAFKA_TIMESTAMP_CREATE_TIME   ? "CREATE_TIME"
						       : "NO_TIMESTAMP_TYPE");
	if (msg->key) {
		buf_puts(b, ",\"key\":");
		broker_put_base64(b, msg->key, msg->key_len);
	}
	if (msg->payload) {
		buf_puts(b, ",\"value\":");
		broker_put_base64(b, msg->payload, msg->len);
	}
	put_headers(b, msg);
}

static void deliver(struct feed *f, const rd_kafka_message_t *msg)
{
	struct feed_message *m = xcalloc(1, sizeof(*m));

	list_init(&m->node);
	m->lane_name = xasprintf("%s-%" PRId32, rd_kafka_topic_name(msg->rkt), msg->partition);
	m->number = msg->offset;
	put_record(&m->text, msg, &m->time_ms);
	if (buf_len(&m->text) > RECORD_MAX - 8192) {
		log_warn("record %" PRId64 " of %s is too large for an event and is passed over",
		    m->number, m->lane_name);
		buf_clear(&m->text);
	}
	feed_put(f, m);
}

/* ---- partitions ---- */

/* Where nobody of the group has been before. */
static void set_beginning(rd_kafka_t *rk, const struct config *c, rd_kafka_topic_partition_t *p)
{
	rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
	int64_t low, high;

	p->offset =
	    c->begin == RD_KAFKA_OFFSET_BEGINNING ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
	if (c->begin >= 0) {
		rd_kafka_topic_partition_list_add(one, p->topic, p->partition)->offset = c->begin;
		if (!rd_kafka_offsets_for_times(rk, one, ASK_MS) && !one->elems[0].err)
			p->offset = one->elems[0].offset;
	} else if (c->begin == RD_KAFKA_OFFSET_END &&
		   !rd_kafka_query_watermark_offsets(
		       rk, p->topic, p->partition, &low, &high, ASK_MS)) {
		p->offset = high;
	}
	/* Kept at once: after a restart "latest" would be somewhere else. */
	if (p->offset >= 0) {
		rd_kafka_topic_partition_list_t *keep = rd_kafka_topic_partition_list_new(1);

		rd_kafka_topic_partition_list_add(keep, p->topic, p->partition)->offset = p->offset;
		(void)rd_kafka_commit(rk, keep, 1);
		rd_kafka_topic_partition_list_destroy(keep);
	}
	rd_kafka_topic_partition_list_destroy(one);
}

static void assign(rd_kafka_t *rk, struct config *c, rd_kafka_topic_partition_list_t *parts)
{
	rd_kafka_resp_err_t r = rd_kafka_committed(rk, parts, ASK_MS);

	if (r) {
		/* The library asks again, and begins as it was told to. */
		feed_problem(c->feed, "Asking for committed offsets: %s", rd_kafka_err2str(r));
	} else {
		for (int i = 0; i < parts->cnt; i++)
			if (parts->elems[i].offset < 0)
				set_beginning(rk, c, &parts->elems[i]);
		feed_problem(c->feed, "%s", "");
	}
	rd_kafka_assign(rk, parts);
}

static void on_rebalance(
    rd_kafka_t *rk, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *parts, void *ctx)
{
	struct config *c = ctx;

	c->paused = false;
	feed_reset(c->feed);
	if (what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assign(rk, c, parts);
	else
		rd_kafka_assign(rk, NULL);
}

/* A full feed: the library must be polled all the same, or it leaves the group. */
static void pause_all(rd_kafka_t *rk, struct config *c, bool pause)
{
	rd_kafka_topic_partition_list_t *parts;

	if (pause == c->paused || rd_kafka_assignment(rk, &parts))
		return;
	if (pause)
		rd_kafka_pause_partitions(rk, parts);
	else
		rd_kafka_resume_partitions(rk, parts);
	c->paused = pause;
	rd_kafka_topic_partition_list_destroy(parts);
}

/* ---- committing ---- */

static void note(rd_kafka_topic_partition_list_t *list, const struct feed_command *c)
{
	const char *dash = strrchr(c->lane_name, '-');
	rd_kafka_topic_partition_t *p;
	int64_t partition;
	char *topic;

	if (!dash || !str_to_int64(str_from(dash + 1), 0, INT32_MAX, &partition))
		return;
	topic = xstrndup(c->lane_name, (size_t)(dash - c->lane_name));
	p = rd_kafka_topic_partition_list_find(list, topic, (int32_t)partition);
	if (!p)
		p = rd_kafka_topic_partition_list_add(list, topic, (int32_t)partition);
	p->offset = c->number;
	free(topic);
}

static void commit(struct feed *f, rd_kafka_t *rk, bool last)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	struct list commands;
	rd_kafka_resp_err_t r;

	list_init(&commands);
	feed_take_commands(f, &commands);
	list_for_each_safe (n, &commands) {
		struct feed_command *c = list_entry(n, struct feed_command, node);

		list_remove(n);
		note(list, c);
		feed_command_free(c);
	}
	r = list->cnt ? rd_kafka_commit(rk, list, !last) : RD_KAFKA_RESP_ERR_NO_ERROR;
	if (r)
		log_warn("offsets could not be committed, records will come again: %s",
		    rd_kafka_err2str(r));
	rd_kafka_topic_partition_list_destroy(list);
}

static void on_committed(
    rd_kafka_t *rk, rd_kafka_resp_err_t r, rd_kafka_topic_partition_list_t *parts, void *ctx)
{
	(void)rk, (void)parts, (void)ctx;
	if (r && r != RD_KAFKA_RESP_ERR__NO_OFFSET)
		log_warn("offsets could not be committed, records will come again: %s",
		    rd_kafka_err2str(r));
}

/* ---- the thread ---- */

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *ctx)
{
	struct config *c = ctx;

	(void)rk;
	/* One broker of several is not worth a word. */
	if (err != RD_KAFKA_RESP_ERR__TRANSPORT)
		feed_problem(c->feed, "%s", reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	if (level <= 3)
		log_warn("kafka: %s: %s", facility, text);
	else
		log_debug("kafka: %s: %s", facility, text);
}

static void drain(struct feed *f, struct config *c, rd_kafka_t *rk)
{
	for (;;) {
		rd_kafka_message_t *msg;

		pause_all(rk, c, feed_is_full(f));
		msg = rd_kafka_consumer_poll(rk, 0);
		if (!msg)
			return;
		if (!msg->err)
			deliver(f, msg);
		else if (msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			feed_problem(f, "%s", rd_kafka_message_errstr(msg));
		rd_kafka_message_destroy(msg);
	}
}

static void serve(struct feed *f, struct config *c, rd_kafka_t *rk)
{
	const uint64_t one = 1;
	rd_kafka_queue_t *q;

	rd_kafka_poll_set_consumer(rk);
	q = rd_kafka_queue_get_consumer(rk);
	rd_kafka_queue_io_event_enable(q, f->wake_fd, &one, sizeof(one));
	rd_kafka_subscribe(rk, c->topics);
	while (!feed_is_stopping(f)) {
		commit(f, rk, false);
		drain(f, c, rk);
		feed_wait(f, -1, POLL_MS);
	}
	commit(f, rk, true);
	rd_kafka_queue_io_event_enable(q, -1, NULL, 0);
	rd_kafka_queue_destroy(q);
	rd_kafka_consumer_close(rk);
}

static void main_thread(struct feed *f, void *ctx)
{
	struct config *c = ctx;
	char text[200] = "";
	rd_kafka_t *rk;

	c->feed = f;
	rd_kafka_conf_set_opaque(c->conf, c);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, c->conf, text, sizeof(text));
	if (rk) {
		c->conf = NULL;
		serve(f, c, rk);
		rd_kafka_destroy(rk);
	} else {
		feed_problem(f, "%s", text);
		while (!feed_is_stopping(f))
			feed_wait(f, -1, -1);
	}
	discard(c);
}

/* ---- the loop ---- */

static const json_t *servers_of(const json_t *doc)
{
	return json_object_get(
	    json_object_get(json_object_get(doc, "SelfManagedEventSource"), "Endpoints"),
	    "KAFKA_BOOTSTRAP_SERVERS");
}

static bool claims(const json_t *doc)
{
	return json_object_get(doc, "SelfManagedEventSource") != NULL;
}

static const char *const access_types[] = {"BASIC_AUTH", "SASL_SCRAM_256_AUTH",
    "SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE"};

static int check_cluster(
    struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e)
{
	(void)function_timeout_ms;
	if (!json_array_size(servers_of(doc)))
		return err_set(
		    e, EINVAL, "Endpoints must have KAFKA_BOOTSTRAP_SERVERS with HOST:PORT.");
	if (json_array_size(json_object_get(doc, "Topics")) != 1)
		return err_set(e, EINVAL, "Topics must name one topic.");
	if (json_is_true(json_object_get(doc, "BisectBatchOnFunctionError")))
		return err_set(e, ENOTSUP,
		    "Splitting batches of Kafka is not supported by this server: use "
		    "ReportBatchItemFailures.");
	if (json_object_get(doc, "DestinationConfig"))
		return err_set(e, ENOTSUP,
		    "Destinations of Kafka mappings are not supported by this server: leave "
		    "DestinationConfig out.");
	for (size_t i = 0; i < ARRAY_SIZE(access_types); i++)
		if (!s->o.secret && broker_access(doc, access_types[i]))
			return err_set(e, ENOTSUP,
			    "This server keeps no secrets: leave %s out of "
			    "SourceAccessConfigurations.",
			    access_types[i]);
	return 0;
}

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *e)
{
	char text[200];

	/* The library's text would repeat a secret. */
	if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
		return err_set(e, EINVAL, "The value of %s cannot be used", key);
	return 0;
}

/* Member of a secret; an absent one is an error unless it is optional. */
static int set_secret(struct source_run *r, rd_kafka_conf_t *conf, const char *uri,
    const char *member, const char *key, bool optional, struct err *e)
{
	char *value = broker_secret(r->sources, r->account, r->region, uri, member, e);
	int result;

	if (!value && (e->msg[0] || optional))
		return e->msg[0] ? -EIO : 0;
	result = value ? set(conf, key, value, e)
		       : err_set(e, EINVAL, "The secret has no %s: %s", member, uri);
	broker_forget(value);
	return result;
}

static int set_login(struct source_run *r, rd_kafka_conf_t *conf, bool *ret_sasl, struct err *e)
{
	static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};

	*ret_sasl = false;
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
		const char *uri = broker_access(r->doc, access_types[i]);
		int result;

		if (!uri)
			continue;
		*ret_sasl = true;
		result = set(conf, "sasl.mechanisms", mechanisms[i], e);
		if (result == 0)
			result = set_secret(r, conf, uri, "username", "sasl.username", false, e);
		if (result == 0)
			result = set_secret(r, conf, uri, "password", "sasl.password", false, e);
		return result;
	}
	return 0;
}

/* As AWS does it: passwords go over TLS alone; without any access it is plain text. */
static int set_security(struct source_run *r, rd_kafka_conf_t *conf, struct err *e)
{
	const char *client = broker_access(r->doc, "CLIENT_CERTIFICATE_TLS_AUTH");
	const char *root = broker_access(r->doc, "SERVER_ROOT_CA_CERTIFICATE");
	bool sasl;
	int result = set_login(r, conf, &sasl, e);

	if (result == 0 && root)
		result = set_secret(r, conf, root, "certificate", "ssl.ca.pem", false, e);
	if (result == 0 && client)
		result =
		    set_secret(r, conf, client, "certificate", "ssl.certificate.pem", false, e);
	if (result == 0 && client)
		result =
		    set_secret(r, conf, client, "privateKeyPassword", "ssl.key.password", true, e);
	if (result == 0 && client)
		result = set_secret(r, conf, client, "privateKey", "ssl.key.pem", false, e);
	if (result == 0)
		result = set(conf, "security.protocol",
		    sasl             ? "sasl_ssl"
		    : client || root ? "ssl"
				     : "plaintext",
		    e);
	return result;
}

static char *joined(const json_t *list)
{
	struct buf b = BUF_INIT;
	const json_t *v;
	char *out;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (i)
			buf_putc(&b, ',');
		buf_puts(&b, json_string_value(v));
	}
	out = xstrndup(buf_str(&b).ptr, buf_len(&b));
	buf_done(&b);
	return out;
}

static int configure(struct source_run *r, struct config *c, struct err *e)
{
	static const char *const settings[][2] = {{"client.id", "mayfly"},
	    {"enable.auto.commit", "false"}, {"enable.auto.offset.store", "false"},
	    {"queued.max.messages.kbytes", "16384"}, {"socket.keepalive.enable", "true"},
	    {"allow.auto.create.topics", "false"}, {"partition.assignment.strategy", "range"},
	    {"topic.metadata.refresh.interval.ms", "60000"}, {"log.thread.name", "false"},
	    {"reconnect.backoff.max.ms", "5000"},
	    /* After a crash the group waits that long for who we were before. */
	    {"session.timeout.ms", "10000"}, {"heartbeat.interval.ms", "3000"}};
	_cleanup_free_ char *servers = joined(servers_of(r->doc));
	int result = set(c->conf, "bootstrap.servers", servers, e);

	for (size_t i = 0; i < ARRAY_SIZE(settings) && result == 0; i++)
		result = set(c->conf, settings[i][0], settings[i][1], e);
	if (result == 0)
		result = set(c->conf, "group.id", c->group, e);
	if (result == 0)
		result = set(c->conf, "auto.offset.reset",
		    c->begin == RD_KAFKA_OFFSET_BEGINNING ? "earliest" : "latest", e);
	return result == 0 ? set_security(r, c->conf, e) : result;
}

static int64_t begin_of(const json_t *doc)
{
	const char *text = json_string_value(json_object_get(doc, "StartingPosition"));
	int64_t at = json_integer_value(json_object_get(doc, "StartingPositionTimestamp"));

	if (text && strcmp(text, "AT_TIMESTAMP") == 0)
		return at * 1000;
	return text && strcmp(text, "LATEST") == 0 ? RD_KAFKA_OFFSET_END
						   : RD_KAFKA_OFFSET_BEGINNING;
}

static void *prepare(struct source_run *r, struct err *e)
{
	const json_t *own = json_object_get(r->doc, "SelfManagedKafkaEventSourceConfig");
	const char *group = json_string_value(json_object_get(own, "ConsumerGroupId"));
	const json_t *topics = json_object_get(r->doc, "Topics"), *v;
	struct config *c = xcalloc(1, sizeof(*c));
	size_t i;

	c->conf = rd_kafka_conf_new();
	c->topics = rd_kafka_topic_partition_list_new(1);
	c->group = xstrdup(group ? group : json_string_value(json_object_get(r->doc, "UUID")));
	c->begin = begin_of(r->doc);
	json_array_foreach(topics, i, v)
	{
		rd_kafka_topic_partition_list_add(
		    c->topics, json_string_value(v), RD_KAFKA_PARTITION_UA);
	}
	rd_kafka_conf_set_rebalance_cb(c->conf, on_rebalance);
	rd_kafka_conf_set_offset_commit_cb(c->conf, on_committed);
	rd_kafka_conf_set_error_cb(c->conf, on_error);
	rd_kafka_conf_set_log_cb(c->conf, on_log);
	if (configure(r, c, e) == 0)
		return c;
	discard(c);
	return NULL;
}

static void head(const struct source_run *r, struct buf *b)
{
	_cleanup_free_ char *servers = joined(servers_of(r->doc));

	buf_puts(b, "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":");
	buf_json_string(b, str_from(servers));
	buf_puts(b, ",\"records\":{");
}

static const struct broker_kind kind = {
    .ordered = true,
    .concurrency = CONCURRENCY,
    .head = head,
    .prepare = prepare,
    .discard = discard,
    .main = main_thread,
};

static void *start(struct source_run *r)
{
	return broker_new(r, &kind);
}

static const char *const data_keys[] = {"value", "key", NULL};

const struct source_ops kafka_source = {
    .name = "kafka",
    .reason = "USER_INITIATED",
    .data = {data_keys, true},
    .claims = claims,
    .verify = check_cluster,
    .start = start,
    .stop = broker_stop,
    .free = broker_free,
    .ended = broker_ended,
    .more = broker_more,
};
