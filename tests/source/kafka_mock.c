/*
 * A Kafka cluster of librdkafka's own making, for test_brokers.py: prints its bootstrap servers,
 * then obeys one line of stdin after the other and answers each with a line.
 *
 *   topic NAME PARTITIONS      make a topic
 *   put TOPIC PARTITION KEY VALUE   produce a record ("-": no key), with a header
 *   committed GROUP TOPIC PARTITION  the committed offset, or -1001
 *   down, up                  the broker refuses connections, takes them again
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_t *client;
static rd_kafka_mock_cluster_t *cluster;

static void must(int r, const char *what)
{
	if (r) {
		fprintf(stderr, "kafka_mock: %s\n", what);
		exit(1);
	}
}

static rd_kafka_t *make(rd_kafka_type_t type, const char *const settings[][2], size_t count)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[200];
	rd_kafka_t *rk;

	for (size_t i = 0; i < count; i++)
		must(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof(text)) !=
			 RD_KAFKA_CONF_OK,
		    text);
	rk = rd_kafka_new(type, conf, text, sizeof(text));
	must(!rk, text);
	return rk;
}

static void put(rd_kafka_t *producer, const char *topic, int partition, char *key, char *value)
{
	rd_kafka_resp_err_t r;

	if (strcmp(key, "-") == 0)
		r = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
		    RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_END);
	else
		r = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
		    RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, strlen(value)),
		    RD_KAFKA_V_HEADER("kind", "hi", 2), RD_KAFKA_V_END);
	must(r, "producing");
	must(rd_kafka_flush(producer, 10000), "flushing");
}

static long long committed(const char *servers, const char *group, const char *topic, int partition)
{
	const char *const settings[][2] = {{"bootstrap.servers", servers}, {"group.id", group}};
	rd_kafka_t *rk = make(RD_KAFKA_CONSUMER, settings, 2);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	long long offset;

	rd_kafka_topic_partition_list_add(list, topic, partition);
	must(rd_kafka_committed(rk, list, 10000), "asking for offsets");
	offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(rk);
	return offset;
}

int main(void)
{
	static char line[70000], a[300], b[300], c[66000];
	const char *servers;
	rd_kafka_t *producer;
	int n;

	client = make(RD_KAFKA_PRODUCER, (const char *const[][2]){{"log_level", "3"}}, 1);
	cluster = rd_kafka_mock_cluster_new(client, 1);
	must(!cluster, "making the cluster");
	servers = rd_kafka_mock_cluster_bootstraps(cluster);
	producer = make(RD_KAFKA_PRODUCER,
	    (const char *const[][2]){{"bootstrap.servers", servers}, {"linger.ms", "0"}}, 2);
	printf("%s\n", servers);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "topic %299s %d", a, &n) == 2)
			printf("%d\n", rd_kafka_mock_topic_create(cluster, a, n, 1));
		else if (sscanf(line, "put %299s %d %299s %65999[^\n]", a, &n, b, c) == 4)
			put(producer, a, n, b, c), puts("0");
		else if (sscanf(line, "committed %299s %299s %d", a, b, &n) == 3)
			printf("%lld\n", committed(servers, a, b, n));
		else if (strcmp(line, "down\n") == 0)
			printf("%d\n", rd_kafka_mock_broker_set_down(cluster, 1));
		else if (strcmp(line, "up\n") == 0)
			printf("%d\n", rd_kafka_mock_broker_set_up(cluster, 1));
		else
			puts("?");
		fflush(stdout);
	}
	rd_kafka_destroy(producer);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(client);
	return 0;
}
