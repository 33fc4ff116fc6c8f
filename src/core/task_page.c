/* What people ask of tasks beside the ECS API. See task_page.h. Loop thread. */
#include "core/task_page.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "attach/attach.h"
#include "base/rand.h"
#include "base/time.h"
#include "core/pages.h"
#include "sched/task.h"

#define ARN_MAX 512
#define NAME_MAX_LEN 255
#define ARGS_MAX 4096
/* How often to look whether a task has come so far that one can attach to it. */
#define LOOK_NS INT64_C(5000000)

bool task_page_is(struct str path)
{
	return str_has_prefix(path, TASK_PAGE_PATH) &&
	       (path.len == sizeof(TASK_PAGE_PATH) - 1 ||
		   path.ptr[sizeof(TASK_PAGE_PATH) - 1] == '/');
}

static void reply(struct http_request *r, json_t *o)
{
	const struct http_header type = {STR("content-type"), STR("application/json")};
	char *text = json_dumps(o, JSON_COMPACT);

	http_reply(r, 200, &type, 1, str_from(text));
	free(text);
	json_decref(o);
}

/* ---- which task ---- */

struct lookup {
	const char *account;
	struct str wanted;
	char *ret_arn; /* ARN_MAX */
};

static bool is_of_account(const char *arn, const char *account)
{
	struct str rest = str_from(arn);

	for (int i = 0; i < 4; i++)
		str_cut(&rest, ':');
	return str_is(str_cut(&rest, ':'), account);
}

static bool match(void *ctx, const json_t *task)
{
	struct lookup *l = ctx;
	const char *arn = json_string_value(json_object_get(task, "taskArn"));
	const char *slash = arn ? strrchr(arn, '/') : NULL;

	if (!slash || strlen(arn) >= ARN_MAX || !is_of_account(arn, l->account) ||
	    (!str_is(l->wanted, arn) && !str_is(l->wanted, slash + 1)))
		return true;
	strcpy(l->ret_arn, arn);
	return false;
}

/* "/ID/verb" behind TASK_PAGE_PATH. False, after answering: there is no such task. */
static bool find(const struct front_parts *p, struct http_request *r, const char *account,
    char ret_arn[ARN_MAX], struct str *ret_verb)
{
	struct str rest = str_sub(r->path, sizeof(TASK_PAGE_PATH)), name = str_cut(&rest, '/');
	char *decoded = arena_alloc(r->arena, name.len + 1);
	ssize_t n = url_decode(name, false, decoded);
	struct lookup l = {account, {decoded, n > 0 ? (size_t)n : 0}, ret_arn};

	*ret_verb = rest.ptr ? rest : STR("");
	ret_arn[0] = '\0';
	if (n > 0)
		tasks_walk(p->tasks, "", match, &l);
	if (!*ret_arn)
		pages_reply_error(r, 404, "There is no task with this ID.");
	return *ret_arn;
}

static const char *container_name(const json_t *c)
{
	const char *name = json_string_value(json_object_get(c, "name"));

	return name ? name : "";
}

/* ---- what they use, where they log ---- */

struct survey {
	const struct front_parts *p;
	const char *account;
	json_t *tasks;
	bool complete;
};

static json_t *usage_of(struct survey *s, const char *arn, const char *name)
{
	struct task_stats u;
	int r = tasks_container_stats(s->p->tasks, arn, name, &u);

	s->complete = s->complete && r != -EAGAIN;
	if (r < 0)
		return NULL;
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "name", name, "cpu_ns",
	    (json_int_t)u.cpu_ns, "memory_bytes", (json_int_t)u.memory_bytes, "memory_limit_bytes",
	    (json_int_t)u.memory_limit_bytes, "pids", (json_int_t)u.pids, "rx_bytes",
	    (json_int_t)u.rx_bytes, "tx_bytes", (json_int_t)u.tx_bytes);
}

static bool survey_one(void *ctx, const json_t *task)
{
	struct survey *s = ctx;
	const char *arn = json_string_value(json_object_get(task, "taskArn"));
	json_t *list, *c;
	size_t i;

	if (!arn || !is_of_account(arn, s->account))
		return true;
	list = json_array();
	json_array_foreach(json_object_get(task, "containers"), i, c)
	{
		json_t *u = usage_of(s, arn, container_name(c));

		if (u)
			json_array_append_new(list, u);
	}
	if (json_array_size(list))
		json_array_append_new(
		    s->tasks, json_pack("{s:s,s:O}", "taskArn", arn, "containers", list));
	json_decref(list);
	return true;
}

static void usage_page(const struct front_parts *p, struct http_request *r, const char *account)
{
	struct survey s = {p, account, json_array(), true};

	tasks_walk(p->tasks, "", survey_one, &s);
	reply(r, json_pack("{s:I,s:b,s:o}", "at_ms", (json_int_t)(loop_now_ns(p->loop) / 1000000),
		     "complete", s.complete, "tasks", s.tasks));
}

static void task_page(const struct front_parts *p, struct http_request *r, const char *arn)
{
	json_t *list = json_array(), *c;
	size_t i;

	json_array_foreach(json_object_get(tasks_get(p->tasks, arn), "containers"), i, c)
	{
		struct task_log log;

		if (tasks_log(p->tasks, arn, container_name(c), &log))
			json_array_append_new(list,
			    json_pack("{s:s,s:s,s:s,s:s}", "name", container_name(c), "region",
				log.region, "group", log.group, "stream", log.stream));
	}
	reply(r, json_pack("{s:s,s:o}", "taskArn", arn, "containers", list));
}

static void ignore(void *ctx, int result, const char *why)
{
	(void)ctx;
	(void)result;
	(void)why;
}

/* That it is dead the task notices itself. */
static void kill_page(const struct front_parts *p, struct http_request *r, const char *arn)
{
	char id[CONTAINER_ID_SIZE];
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(tasks_get(p->tasks, arn), "containers"), i, c)
	{
		if (tasks_container_id(p->tasks, arn, container_name(c), id))
			spawn_container_signal(p->spawn, id, SIGKILL, ignore, NULL);
	}
	reply(r, json_object());
}

/* ---- streams ---- */

struct wish {
	char container[NAME_MAX_LEN + 1]; /* "": the first one */
	bool stdin_open, tty;
	uint16_t rows, columns;
	const char **args; /* in the request's arena */
	size_t arg_count;
};

static bool get_size(const json_t *o, const char *name, uint16_t *ret)
{
	const json_t *v = json_object_get(o, name);

	if (v && (!json_is_integer(v) || json_integer_value(v) < 0 ||
		     json_integer_value(v) > UINT16_MAX))
		return false;
	*ret = (uint16_t)json_integer_value(v);
	return true;
}

static bool get_args(struct http_request *r, const json_t *o, struct wish *ret)
{
	const json_t *list = json_object_get(o, "command"), *one;
	size_t count = json_array_size(list), i;

	if (list && (!json_is_array(list) || !count || count > ARGS_MAX))
		return false;
	ret->args = arena_array(r->arena, count + 1, const char *);
	json_array_foreach(list, i, one)
	{
		const char *text = json_string_value(one);

		if (!text)
			return false;
		ret->args[i] = arena_strndup(r->arena, text, strlen(text));
	}
	ret->arg_count = count;
	return true;
}

static bool parse_wish(struct http_request *r, struct wish *ret)
{
	json_t *o = json_loadb(buf_str(&r->body).ptr, buf_len(&r->body), 0, NULL);
	const json_t *name = json_object_get(o, "container");
	const char *text = name ? json_string_value(name) : "";
	bool good = json_is_object(o) && text && strlen(text) <= NAME_MAX_LEN &&
		    get_size(o, "rows", &ret->rows) && get_size(o, "columns", &ret->columns) &&
		    get_args(r, o, ret);

	if (good)
		strcpy(ret->container, text);
	ret->stdin_open = json_is_true(json_object_get(o, "stdin"));
	ret->tty = json_is_true(json_object_get(o, "tty"));
	json_decref(o);
	if (!good)
		pages_reply_error(r, 400,
		    "The body is JSON: command (texts), container, stdin, tty, rows, columns.");
	return good;
}

static void exec_page(const struct front_parts *p, struct http_request *r, const char *arn)
{
	const struct attach_from from = {p->loop, p->spawn, r};
	struct container_exec x = {0};
	struct wish w = {0};

	if (!parse_wish(r, &w))
		return;
	if (!w.arg_count) {
		pages_reply_error(r, 400, "There is no command to run.");
		return;
	}
	if (!tasks_container_id(p->tasks, arn, w.container, x.id)) {
		pages_reply_error(r, 404, "The container does not run.");
		return;
	}
	rand_hex(x.exec_id, sizeof(x.exec_id) - 1);
	x.args = w.args;
	x.arg_count = w.arg_count;
	x.terminal = w.tty;
	x.rows = w.rows;
	x.columns = w.columns;
	attach_exec(&from, &x, w.stdin_open);
}

/* Somebody who attaches: first waiting until that can be done, then for as long as it lasts. */
struct visit {
	const struct front_parts *p;
	struct http_request *request; /* NULL: the session has it */
	struct list node;             /* of those that wait */
	struct loop_timer timer;
	char arn[ARN_MAX];
	struct wish wish;
	bool held;
};

static struct list waiting = {&waiting, &waiting};

static void visit_free(struct visit *v)
{
	loop_timer_stop(v->p->loop, &v->timer);
	if (v->request)
		list_remove(&v->node);
	free(v);
}

static bool is_to_stop(const json_t *task)
{
	const char *desired = json_string_value(json_object_get(task, "desiredStatus"));

	return !desired || !strcmp(desired, "STOPPED");
}

static bool still_going(void *ctx)
{
	const struct visit *v = ctx;

	return !is_to_stop(tasks_get(v->p->tasks, v->arn));
}

static void on_attached(void *ctx, bool success)
{
	const struct visit *v = ctx;

	(void)success; /* nobody else will come either */
	if (v->held)
		tasks_release(v->p->tasks, v->arn);
}

static void on_end(void *ctx)
{
	visit_free(ctx);
}

static void connect_to(struct visit *v, const char id[CONTAINER_ID_SIZE])
{
	const struct attach_from from = {v->p->loop, v->p->spawn, v->request};
	struct attach_container c = {.stdin_open = v->wish.stdin_open,
	    .terminal = v->wish.tty,
	    .rows = v->wish.rows,
	    .columns = v->wish.columns,
	    .attached = on_attached,
	    .going = still_going,
	    .end = on_end,
	    .ctx = v};

	memcpy(c.id, id, CONTAINER_ID_SIZE);
	list_remove(&v->node);
	v->request = NULL;
	attach_container(&from, &c);
}

static void refuse_visit(struct visit *v, unsigned status, const char *why)
{
	struct http_request *r = v->request;

	visit_free(v);
	pages_reply_error(r, status, why);
}

/* A task that stopped before anybody could attach: why is in its record. */
static void look(struct visit *v)
{
	const json_t *task = tasks_get(v->p->tasks, v->arn);
	const char *reason = json_string_value(json_object_get(task, "stoppedReason"));
	char id[CONTAINER_ID_SIZE];

	v->held = !*v->wish.container && tasks_held(v->p->tasks, v->arn, id);
	if (v->held || tasks_container_id(v->p->tasks, v->arn, v->wish.container, id))
		connect_to(v, id);
	else if (!task || is_to_stop(task))
		refuse_visit(v, 409, reason ? reason : "The task has stopped.");
	else
		loop_timer_set(v->p->loop, &v->timer, LOOK_NS);
}

static void on_due(struct loop_timer *t)
{
	look(container_of(t, struct visit, timer));
}

static void attach_page(const struct front_parts *p, struct http_request *r, const char *arn)
{
	struct visit *v = xcalloc(1, sizeof(*v));

	if (!parse_wish(r, &v->wish)) {
		free(v);
		return;
	}
	v->p = p;
	v->request = r;
	v->timer.on_due = on_due;
	strcpy(v->arn, arn);
	list_push_back(&waiting, &v->node);
	look(v);
}

void task_page_cancel(struct http_request *r)
{
	list_for_each (n, &waiting) {
		struct visit *v = list_entry(n, struct visit, node);

		if (v->request != r)
			continue;
		visit_free(v);
		return;
	}
	attach_cancel(r);
}

/* ---- routing ---- */

static void post(
    const struct front_parts *p, struct http_request *r, const char *arn, struct str verb)
{
	if (str_is(verb, "exec"))
		exec_page(p, r, arn);
	else if (str_is(verb, "attach"))
		attach_page(p, r, arn);
	else if (str_is(verb, "kill"))
		kill_page(p, r, arn);
	else
		pages_reply_error(r, 404, "There is exec, attach and kill here.");
}

void task_page_request(const struct front_parts *p, struct http_request *r)
{
	struct aws_principal who;
	char arn[ARN_MAX];
	struct str verb;
	bool get = str_is(r->method, "GET"), all = r->path.len <= sizeof(TASK_PAGE_PATH);

	r->user = NULL;
	if (!pages_signed(p, r, "ecs", &who))
		return;
	if (!get && (all || !str_is(r->method, "POST")))
		pages_reply_error(r, 405, "This method is not answered here.");
	else if (all)
		usage_page(p, r, who.account);
	else if (!find(p, r, who.account, arn, &verb))
		return;
	else if (!get)
		post(p, r, arn, verb);
	else if (!verb.len)
		task_page(p, r, arn);
	else
		pages_reply_error(r, 404, "There is no such page of a task.");
}
