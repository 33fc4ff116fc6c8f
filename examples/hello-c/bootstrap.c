/*
 * A function without a language runtime: one static binary called `bootstrap` that speaks Lambda's
 * HTTP Runtime API over a socket of its own. Build: make. Deploy: zip it, runtime provided.al2023.
 * https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define API "/2018-06-01/runtime/invocation/"

static char in[7 << 20]; /* an event has at most 6 MB */
static size_t in_len;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* "127.0.0.1:9001" */
static int dial(const char *host_port)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char host[32];
	const char *port = strchr(host_port, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	snprintf(host, sizeof(host), "%.*s", port ? (int)(port - host_port) : 0, host_port);
	to.sin_port = htons((unsigned short)(port ? atoi(port + 1) : 0));
	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		die("AWS_LAMBDA_RUNTIME_API is not address:port");
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connecting to the Runtime API");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			die("send");
		data += n;
		len -= (size_t)n;
	}
}

/* Value of a header in the NUL-terminated head, "" if there is none. */
static const char *header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = head; (line = strstr(line, "\r\n")) != NULL;) {
		line += 2;
		if (strncasecmp(line, name, n) == 0 && line[n] == ':')
			return line + n + 1 + strspn(line + n + 1, " ");
	}
	return "";
}

/* Read one answer whole. The head is NUL-terminated in `in`; returns where its body starts. */
static char *receive(int fd, size_t *ret_len)
{
	char *body = NULL;
	size_t want = 0;

	in_len = 0;
	while (!body || in_len < want) {
		ssize_t n = recv(fd, in + in_len, sizeof(in) - 1 - in_len, 0);

		if (n <= 0)
			die("the Runtime API has gone");
		in_len += (size_t)n;
		in[in_len] = '\0';
		if (!body && (body = strstr(in, "\r\n\r\n")) != NULL) {
			body[2] = '\0';
			body += 4;
			*ret_len = strtoul(header(in, "Content-Length"), NULL, 10);
			want = (size_t)(body - in) + *ret_len;
			if (want >= sizeof(in))
				die("the event is too large");
		}
	}
	return body;
}

int main(void)
{
	const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
	static const char answer[] = "{\"statusCode\":200,\"body\":\"hello\"}";
	char next[256], response[512], id[64];
	const char *delay_ms = getenv("HELLO_DELAY_MS"); /* to see many boxes at once */
	int fd = dial(api ? api : "127.0.0.1:9001");
	size_t len;

	snprintf(
	    next, sizeof(next), "GET " API "next HTTP/1.1\r\nHost: %s\r\n\r\n", api ? api : "-");
	for (;;) {
		send_all(fd, next, strlen(next));
		receive(fd, &len);
		if (delay_ms)
			usleep((useconds_t)strtoul(delay_ms, NULL, 10) * 1000);
		snprintf(id, sizeof(id), "%.36s", header(in, "Lambda-Runtime-Aws-Request-Id"));
		len = (size_t)snprintf(response, sizeof(response),
		    "POST " API "%s/response HTTP/1.1\r\nHost: -\r\nContent-Length: %zu\r\n\r\n%s",
		    id, sizeof(answer) - 1, answer);
		send_all(fd, response, len);
		receive(fd, &len);
	}
}
