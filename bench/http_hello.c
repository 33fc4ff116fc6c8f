/*
 * The smallest server on src/http: answers everything with 100 bytes of JSON, so that wrk measures
 * loop and codec alone. Usage: http_hello PORT [SPIN_NS]; prints the port (0: a free one) and runs
 * until killed. Loopback only.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/http.h"

static const char body[] =
    "{\"message\":\"hello\",\"padding\":\"0123456789012345678901234567890123456"
    "78901234567890123456789012345678\"}";

static void answer(struct http_request *r)
{
	static const struct http_header headers[] = {
	    {{"Content-Type", 12}, {"application/json", 16}},
	};

	http_reply(r, 200, headers, ARRAY_SIZE(headers), (struct str){body, sizeof(body) - 1});
}

static int open_port(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, len) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) < 0) {
		perror("http_hello");
		exit(1);
	}
	printf("%d\n", ntohs(in.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct http_handler handler = {.on_request = answer};
	struct err e = ERR_INIT;
	struct loop *l = loop_new(0, &e);
	struct http_server *s;

	if (!l)
		return 1;
	s = http_server_new(l, &handler, NULL);
	if (!http_listen(s, open_port((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)), NULL, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	if (argc > 2)
		loop_set_spin(l, atoll(argv[2]));
	return loop_run(l) < 0;
}
