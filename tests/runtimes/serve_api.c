/*
 * Start a runtime that speaks the HTTP Runtime API, play the invoke path for it, compare.
 *
 *     serve_api COUNT EVENT EXPECTED COMMAND...
 *
 * COUNT times EVENT, one after the other; every answer (or init error) has to be EXPECTED. Exit 0
 * if so. Prints microseconds an event, for whoever wants to know.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/time.h"
#include "runtime/runtime.h"

#define LIMIT_NS INT64_C(30000000000)

static struct loop *loop;
static struct runtime *runtime;
static struct str event, expected;
static int64_t left;
static int result;

static void send_event(void)
{
	struct runtime_event ev = {
	    .arn = "arn:aws:lambda:us-east-1:123456789012:function:f", .payload = event};

	rand_uuid(ev.request_id);
	ev.deadline_ms = time_wall_ms() + 3000;
	runtime_send(runtime, &ev);
}

static void compare(struct str got)
{
	if (str_eq(got, expected))
		return;
	fprintf(stderr, "got %.*s\nnot %.*s\n", STR_FMT(got), STR_FMT(expected));
	result = 1;
	loop_stop(loop);
}

static void on_ready(void *ctx)
{
	(void)ctx;
	send_event();
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	(void)ctx;
	(void)type;
	compare(body);
	loop_stop(loop);
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	(void)ctx;
	compare(buf_str(a->payload));
	if (--left > 0)
		send_event();
	else
		loop_stop(loop);
}

static void on_broken(void *ctx, const char *why)
{
	(void)ctx;
	fprintf(stderr, "broken: %s\n", why);
	result = 1;
	loop_stop(loop);
}

static void on_late(struct loop_timer *t)
{
	(void)t;
	fprintf(stderr, "%" PRId64 " events are not answered\n", left);
	result = 1;
	loop_stop(loop);
}

static const struct runtime_handler handler = {NULL, on_ready, on_init_error, on_answer, on_broken};

static int listen_on_loopback(char address[32])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 16) == 0);
	check(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	snprintf(address, 32, "127.0.0.1:%u", ntohs(sa.sin_port));
	return fd;
}

int main(int argc, char **argv)
{
	struct runtime_api *api;
	struct loop_timer late = {.on_due = on_late};
	char address[32];
	int64_t start_ns;
	pid_t child;

	if (argc < 5)
		return 2;
	left = atoi(argv[1]);
	event = str_from(argv[2]);
	expected = str_from(argv[3]);
	loop = loop_new(0, NULL);
	api = runtime_api_open(loop);
	runtime = runtime_api_new(api, listen_on_loopback(address), &handler, NULL, NULL);
	setenv("AWS_LAMBDA_RUNTIME_API", address, 1);
	child = fork();
	if (child == 0) {
		execvp(argv[4], argv + 4);
		_exit(127);
	}
	loop_timer_set(loop, &late, LIMIT_NS);
	start_ns = time_mono_ns();
	loop_run(loop);
	printf("%.1f us an event\n", (double)(time_mono_ns() - start_ns) / 1000 / atoi(argv[1]));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	loop_timer_stop(loop, &late);
	runtime_free(runtime);
	runtime_api_close(api);
	loop_free(loop);
	return result;
}
