/*
 * A client of RabbitMQ for test_brokers.py: connects to 127.0.0.1:PORT, then obeys one line of
 * stdin after the other and answers each with a line.
 *
 *   queue NAME      declare a durable queue
 *   put QUEUE TEXT  publish, with properties and headers
 *   count QUEUE     messages that are ready
 *   drop QUEUE      delete it
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static amqp_connection_state_t conn;

static void must(int bad, const char *what)
{
	if (bad) {
		fprintf(stderr, "rabbit_client: %s\n", what);
		exit(1);
	}
}

static void put(const char *queue, const char *text)
{
	amqp_table_entry_t entries[2] = {
	    {.key = amqp_cstring_bytes("text"),
		.value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("hi")}},
	    {.key = amqp_cstring_bytes("number"),
		.value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = 10}}};
	amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG |
					       AMQP_BASIC_DELIVERY_MODE_FLAG |
					       AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_TIMESTAMP_FLAG,
	    .content_type = amqp_cstring_bytes("text/plain"),
	    .delivery_mode = 2,
	    .timestamp = 2021,
	    .headers = {.num_entries = 2, .entries = entries}};

	must(amqp_basic_publish(conn, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 0, 0, &p,
		 amqp_cstring_bytes(text)),
	    "publishing");
}

int main(int argc, char **argv)
{
	static char line[70000], a[300], b[66000];

	must(argc != 2, "usage: rabbit_client PORT");
	conn = amqp_new_connection();
	must(amqp_socket_open(amqp_tcp_socket_new(conn), "127.0.0.1", atoi(argv[1])), "connecting");
	must(amqp_login(conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
		     .reply_type != AMQP_RESPONSE_NORMAL,
	    "logging in");
	amqp_channel_open(conn, 1);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		amqp_queue_declare_ok_t *q;

		if (sscanf(line, "put %299s %65999[^\n]", a, b) == 2) {
			put(a, b);
			puts("0");
		} else if (sscanf(line, "drop %299s", a) == 1) {
			amqp_queue_delete(conn, 1, amqp_cstring_bytes(a), 0, 0);
			puts("0");
		} else if (sscanf(line, "%299s %299s", b, a) == 2) {
			q = amqp_queue_declare(
			    conn, 1, amqp_cstring_bytes(a), 0, 1, 0, 0, amqp_empty_table);
			must(!q, "declaring a queue");
			printf("%u\n", q->message_count);
		}
		fflush(stdout);
	}
	amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(conn);
	return 0;
}
