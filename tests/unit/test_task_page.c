/* The pages of tasks over a real HTTP server; tasks, streams and signatures are played. */
#include "http_rig.h"

#include <jansson.h>

#include "attach/attach.h"
#include "core/pages.h"
#include "core/task_page.h"
#include "sched/task.h"

#define ARN "arn:aws:ecs:us-east-1:123456789012:task/default/0123abcd"
#define OTHER "arn:aws:ecs:us-east-1:210987654321:task/default/ffff"

static struct front_parts parts;
static json_t *record;
static bool refuse_all, running, held, released, unmeasured;
static int kills, cancelled;
static char seen_exec[200], seen_attach[100];
static struct attach_container session;

/* ---- played ---- */

void pages_reply_error(struct http_request *r, unsigned status, const char *message)
{
	http_reply(r, status, NULL, 0, str_from(message));
}

bool pages_signed(const struct front_parts *p, struct http_request *r, const char *service,
    struct aws_principal *ret)
{
	assert_ptr_equal(p, &parts);
	assert_string_equal(service, "ecs");
	strcpy(ret->account, "123456789012");
	if (refuse_all)
		pages_reply_error(r, 403, "unsigned");
	return !refuse_all;
}

void tasks_walk(const struct tasks *tasks _unused_, const char *prefix _unused_,
    bool (*fn)(void *ctx, const json_t *task), void *ctx)
{
	json_t *other = json_pack("{s:s,s:[{s:s}]}", "taskArn", OTHER, "containers", "name", "x");

	if (fn(ctx, other))
		fn(ctx, record);
	json_decref(other);
}

const json_t *tasks_get(const struct tasks *tasks _unused_, const char *arn)
{
	return strcmp(arn, ARN) ? NULL : record;
}

bool tasks_container_id(const struct tasks *tasks _unused_, const char *arn, const char *name,
    char ret_id[CONTAINER_ID_SIZE])
{
	assert_string_equal(arn, ARN);
	strcpy(ret_id, "id");
	return running && (!*name || !strcmp(name, "web"));
}

bool tasks_held(
    const struct tasks *tasks _unused_, const char *arn _unused_, char ret_id[CONTAINER_ID_SIZE])
{
	strcpy(ret_id, "held");
	return held;
}

void tasks_release(const struct tasks *tasks _unused_, const char *arn)
{
	assert_string_equal(arn, ARN);
	released = true;
}

bool tasks_log(const struct tasks *tasks _unused_, const char *arn _unused_, const char *name,
    struct task_log *ret)
{
	*ret = (struct task_log){"us-east-1", "/group", name};
	return true;
}

int tasks_container_stats(const struct tasks *tasks _unused_, const char *arn _unused_,
    const char *name _unused_, struct task_stats *ret)
{
	if (unmeasured || !running)
		return unmeasured ? -EAGAIN : -ENOENT;
	*ret = (struct task_stats){1, 2, 3, 4, 5, 6};
	return 0;
}

void spawn_container_signal(
    struct spawn *s _unused_, const char *id, int signal, container_done *done, void *ctx)
{
	assert_string_equal(id, "id");
	assert_int_equal(signal, 9);
	kills++;
	done(ctx, 0, "");
}

void attach_exec(const struct attach_from *from, const struct container_exec *x, bool stdin_open)
{
	assert_int_equal(strlen(x->exec_id), 32);
	snprintf(seen_exec, sizeof(seen_exec), "%s:%zu:%s:%s:%d:%d:%d:%d", x->id, x->arg_count,
	    x->args[0], x->args[x->arg_count - 1], stdin_open, x->terminal, x->rows, x->columns);
	assert_null(x->args[x->arg_count]);
	http_reply(from->request, 299, NULL, 0, STR(""));
}

void attach_container(const struct attach_from *from, const struct attach_container *c)
{
	snprintf(seen_attach, sizeof(seen_attach), "%s:%d:%d", c->id, c->stdin_open, c->terminal);
	session = *c;
	http_reply(from->request, 299, NULL, 0, STR(""));
}

void attach_cancel(struct http_request *r)
{
	assert_null(r->user);
	cancelled++;
}

/* ---- the server ---- */

static void on_asked(struct http_request *r)
{
	assert_true(task_page_is(r->path));
	task_page_request(&parts, r);
}

static int set_up_pages(void **state _unused_)
{
	static const struct http_handler h = {
	    .on_request = on_asked, .on_cancel = task_page_cancel};
	struct err e = ERR_INIT;
	socklen_t len = sizeof(t.address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&t, 0, sizeof(t));
	t.loop = loop_new(0, &e);
	t.server = http_server_new(t.loop, &h, NULL);
	t.address.sin_family = AF_INET;
	t.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&t.address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&t.address, &len);
	t.listener = http_listen(t.server, fd, NULL, &e);
	parts.loop = t.loop;
	record = json_pack("{s:s,s:s,s:[{s:s},{s:s}]}", "taskArn", ARN, "desiredStatus", "RUNNING",
	    "containers", "name", "web", "name", "side");
	refuse_all = held = released = unmeasured = false;
	running = true;
	kills = cancelled = 0;
	session = (struct attach_container){0};
	*seen_attach = *seen_exec = '\0';
	return 0;
}

static int tear_down_pages(void **state)
{
	json_decref(record);
	return tear_down(state);
}

/* The status, and the body if it is wanted. */
static int request(const char *method, const char *path, const char *body, char *ret_body)
{
	struct buf b = BUF_INIT, got = BUF_INIT;
	int status;

	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", method, path,
	    strlen(body), body);
	ask_patiently(buf_data(&b), buf_len(&b), &got, 30);
	status = buf_len(&got) ? atoi(text_of(&got) + 9) : 0;
	if (ret_body)
		snprintf(ret_body, 2000, "%s", strstr(buf_data(&got), "\r\n\r\n") + 4);
	buf_done(&b);
	buf_done(&got);
	return status;
}

static void pages_are_found_by_path(void **state _unused_)
{
	char body[2000];

	assert_false(task_page_is(STR("/_mayfly/tasksx")));
	assert_false(task_page_is(STR("/_mayfly/task")));
	assert_int_equal(request("GET", "/_mayfly/tasks/0123abcd", "", body), 200);
	assert_string_equal(body,
	    "{\"taskArn\":\"" ARN "\",\"containers\":[{\"name\":\"web\",\"region\":\"us-east-1\","
	    "\"group\":\"/group\",\"stream\":\"web\"},{\"name\":\"side\",\"region\":"
	    "\"us-east-1\",\"group\":\"/group\",\"stream\":\"side\"}]}");
	assert_int_equal(
	    request("GET",
		"/_mayfly/tasks/"
		"arn%3Aaws%3Aecs%3Aus-east-1%3A123456789012%3Atask%2Fdefault%2F0123abcd",
		"", NULL),
	    200);
	assert_int_equal(request("GET", "/_mayfly/tasks/0123", "", NULL), 404);
	assert_int_equal(request("GET", "/_mayfly/tasks/%zz", "", NULL), 404);
	assert_int_equal(request("GET", "/_mayfly/tasks/ffff", "", NULL), 404); /* not ours */
	assert_int_equal(request("GET", "/_mayfly/tasks/0123abcd/x", "", NULL), 404);
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/x", "", NULL), 404);
	assert_int_equal(request("PUT", "/_mayfly/tasks/0123abcd/exec", "", NULL), 405);
	assert_int_equal(request("POST", "/_mayfly/tasks", "", NULL), 405);
	refuse_all = true;
	assert_int_equal(request("GET", "/_mayfly/tasks", "", NULL), 403);
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/exec", "{}", NULL), 403);
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/attach", "{}", NULL), 403);
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/kill", "{}", NULL), 403);
	assert_string_equal(seen_exec, "");
	assert_string_equal(seen_attach, "");
	assert_int_equal(kills, 0);
}

static void usage_is_of_what_runs(void **state _unused_)
{
	char body[2000];

	assert_int_equal(request("GET", "/_mayfly/tasks", "", body), 200);
	assert_non_null(strstr(body, "\"complete\":true"));
	assert_non_null(strstr(body, ARN));
	assert_null(strstr(body, OTHER));
	assert_non_null(strstr(body,
	    "{\"name\":\"web\",\"cpu_ns\":1,\"memory_bytes\":2,\"memory_limit_bytes\":3,"
	    "\"pids\":4,\"rx_bytes\":5,\"tx_bytes\":6}"));
	unmeasured = true;
	assert_int_equal(request("GET", "/_mayfly/tasks", "", body), 200);
	assert_non_null(strstr(body, "\"complete\":false"));
	unmeasured = running = false;
	assert_int_equal(request("GET", "/_mayfly/tasks", "", body), 200);
	assert_non_null(strstr(body, "\"tasks\":[]"));
}

static void commands_are_checked_and_passed_on(void **state _unused_)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"command\":[]}",
	    "{\"command\":\"ls\"}", "{\"command\":[1]}", "{\"command\":[\"a\"],\"rows\":65536}",
	    "{\"command\":[\"a\"],\"rows\":-1}", "{\"command\":[\"a\"],\"columns\":\"80\"}",
	    "{\"command\":[\"a\"],\"container\":7}", "{\"command\":[\"a\\u0000b\"]}"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
		    request("POST", "/_mayfly/tasks/0123abcd/exec", bad[i], NULL), 400);
	assert_string_equal(seen_exec, "");
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/exec",
			     "{\"command\":[\"sh\",\"-c\",\"x\"],\"stdin\":true,\"tty\":true,"
			     "\"rows\":24,\"columns\":80,\"container\":\"web\"}",
			     NULL),
	    299);
	assert_string_equal(seen_exec, "id:3:sh:x:1:1:24:80");
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/exec",
			     "{\"command\":[\"ls\"],\"container\":\"none\"}", NULL),
	    404);
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/kill", "", NULL), 200);
	assert_int_equal(kills, 1); /* the other one does not run */
}

static void who_attaches_waits_for_the_start(void **state _unused_)
{
	static const char ask_text[] = "POST /_mayfly/tasks/0123abcd/attach HTTP/1.1\r\nHost: h\r\n"
				       "Content-Length: 14\r\n\r\n{\"stdin\":true}";
	struct buf got = BUF_INIT;
	int fd = dial();

	running = false;
	say_text(fd, ask_text);
	turn(30);
	assert_string_equal(seen_attach, "");
	held = true;
	listen_to(fd, &got, 30);
	assert_string_equal(seen_attach, "held:1:0");
	assert_false(released);
	session.attached(session.ctx, true);
	assert_true(released);
	assert_true(session.going(session.ctx));
	json_object_set_new(record, "desiredStatus", json_string("STOPPED"));
	assert_false(session.going(session.ctx));
	session.end(session.ctx);
	close(fd);
	turn(3);
	buf_done(&got);
}

static void what_runs_already_is_not_released(void **state _unused_)
{
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/attach", "{}", NULL), 299);
	assert_string_equal(seen_attach, "id:0:0");
	session.attached(session.ctx, true);
	assert_false(released);
	session.end(session.ctx);
}

static void a_task_that_failed_tells_why(void **state _unused_)
{
	char body[2000];

	running = false;
	json_object_set_new(record, "desiredStatus", json_string("STOPPED"));
	json_object_set_new(record, "stoppedReason", json_string("CannotPull: none"));
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/attach", "{}", body), 409);
	assert_string_equal(body, "CannotPull: none");
	assert_int_equal(request("POST", "/_mayfly/tasks/0123abcd/attach", "x", NULL), 400);
}

static void who_goes_while_waiting_leaves_nothing(void **state _unused_)
{
	int fd = dial();

	running = false;
	say_text(fd, "POST /_mayfly/tasks/0123abcd/attach HTTP/1.1\r\nHost: h\r\n"
		     "Content-Length: 2\r\n\r\n{}");
	turn(10);
	close(fd);
	turn(10);
	running = true;
	turn(10);
	assert_string_equal(seen_attach, "");
	assert_int_equal(cancelled, 0);
}

#undef WITH
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up_pages, tear_down_pages)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH(pages_are_found_by_path),
	    WITH(usage_is_of_what_runs),
	    WITH(commands_are_checked_and_passed_on),
	    WITH(who_attaches_waits_for_the_start),
	    WITH(what_runs_already_is_not_released),
	    WITH(a_task_that_failed_tells_why),
	    WITH(who_goes_while_waiting_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
