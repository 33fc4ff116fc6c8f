/*
 * A machine for tests of src/sched, played: loop with a clock that the test moves, store, spawner
 * with containers that outlive core, images, logs. Requests to the spawner take two events: it is
 * done, and it is answered; so a test can kill core between any two.
 */
#pragma once

#include "unit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "sched/task_int.h"

/* ---- loop ---- */

struct loop {
	struct list tasks;
	int64_t now_ns;
	struct loop_timer *timers[256];
	size_t timer_count;
};

static struct loop rig_loop;

int64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (!t->node.next || list_empty(&t->node))
		list_push_back(&l->tasks, &t->node);
}

void loop_task_cancel(struct loop_task *t)
{
	if (t->node.next)
		list_remove(&t->node);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	for (size_t i = 0; t->slot && i < l->timer_count; i++)
		if (l->timers[i] == t)
			l->timers[i] = l->timers[--l->timer_count];
	t->slot = 0;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t delay_ns)
{
	loop_timer_stop(l, t);
	assert_true(l->timer_count < ARRAY_SIZE(l->timers));
	t->due_ns = l->now_ns + delay_ns;
	t->slot = 1;
	l->timers[l->timer_count++] = t;
}

int loop_io_add(struct loop *l, struct loop_io *io)
{
	(void)l;
	io->added = true;
	return 0;
}

int loop_io_change(struct loop *l, struct loop_io *io, uint32_t events)
{
	(void)l;
	io->events = events;
	return 0;
}

void loop_io_remove(struct loop *l, struct loop_io *io)
{
	(void)l;
	io->added = false;
}

/* ---- events: what others will do, in order ---- */

struct event {
	void (*run)(struct event *ev);
	int result;
	char why[128];
	char id[CONTAINER_ID_SIZE], exec[CONTAINER_ID_SIZE];
	int number;
	void *a, *b, *ctx;
};

static struct event *events[8192];
static size_t event_first, event_count;
/* Of dead cores: kept so that they do not look leaked. */
static void *grave[65536];
static size_t grave_count;

static struct event *event_add(void (*run)(struct event *ev), void *ctx)
{
	struct event *ev = xcalloc(1, sizeof(*ev));

	ev->run = run;
	ev->ctx = ctx;
	assert_true(event_count < ARRAY_SIZE(events));
	events[event_count++] = ev;
	return ev;
}

/* ---- store ---- */

struct store_op {
	char *key, *value;
	struct store_op *next;
};

struct row {
	char *key, *value;
};

static struct row rows[256];
static size_t row_count;
static int store_result;
static unsigned store_commits;

void store_write_init(struct store_write *w, void (*done)(struct store_write *w, int result))
{
	*w = (struct store_write){.done = done};
}

static void op_add(struct store_write *w, struct str key, struct str value)
{
	struct store_op *op = xcalloc(1, sizeof(*op)), **at = &w->ops;

	while (*at)
		at = &(*at)->next;
	op->key = xstrndup(key.ptr, key.len);
	op->value = value.ptr ? xstrndup(value.ptr, value.len) : NULL;
	*at = op;
}

void store_put(
    struct store_write *w, const char *space, struct str key, struct str value, int64_t expect)
{
	(void)space;
	(void)expect;
	op_add(w, key, value);
}

void store_delete(struct store_write *w, const char *space, struct str key, int64_t expect)
{
	(void)space;
	(void)expect;
	op_add(w, key, STR_NULL);
}

static void apply(const struct store_op *op)
{
	size_t i = 0;

	while (i < row_count && strcmp(rows[i].key, op->key) != 0)
		i++;
	if (i < row_count) {
		free(rows[i].key);
		free(rows[i].value);
		rows[i] = rows[--row_count];
	}
	if (op->value)
		rows[row_count++] = (struct row){xstrdup(op->key), xstrdup(op->value)};
}

static void committed(struct event *ev)
{
	struct store_write *w = ev->ctx;

	for (struct store_op *op = w->ops, *next; op; op = next) {
		next = op->next;
		if (store_result == 0)
			apply(op);
		free(op->key);
		free(op->value);
		free(op);
	}
	w->ops = NULL;
	store_commits++;
	w->done(w, store_result);
}

void store_commit(struct store *s, struct store_write *w)
{
	(void)s;
	event_add(committed, w);
}

int store_scan(struct store *s, const char *space, struct str prefix,
    int (*fn)(void *ctx, struct str key, struct str value, int64_t version), void *ctx,
    struct err *e)
{
	(void)s;
	(void)space;
	(void)prefix;
	(void)e;
	for (size_t i = 0; i < row_count; i++)
		fn(ctx, str_from(rows[i].key), str_from(rows[i].value), 1);
	return 0;
}

/* ---- spawner ---- */

struct fake_container {
	char id[CONTAINER_ID_SIZE], sandbox[CONTAINER_ID_SIZE];
	struct container_facts facts;
	bool there, ignores_term;
	int log; /* memfd */
	struct container_port ports[8];
	size_t port_count;
};

struct fake_exec {
	char id[CONTAINER_ID_SIZE];
	void (*on_end)(void *ctx, int exit_code);
	void *ctx;
	bool running;
};

static struct fake_container fakes[512];
static size_t fake_count;
static struct sandbox_spec boxes[64];
static size_t box_count;
static struct fake_exec execs[64];
static size_t exec_count;
static const struct container_handler *spawn_handler;
static void *spawn_ctx;
static char trace[8192];
static int sandbox_result, make_result, start_result, exec_result;
static bool make_hangs;          /* the next one is never answered */
static int exec_exit;            /* of checks; -1: they hang */
static const char *ignores_term; /* name of a container that does not mind */
static struct tasks *rig;        /* core */
static unsigned made_total;

static const char *fake_name(const char *id)
{
	struct task *t = NULL;

	if (rig)
		list_for_each (n, &rig->live) {
			struct task *o = list_entry(n, struct task, node);

			if (!strncmp(o->sandbox_id, id, 20))
				t = o;
		}
	if (!t)
		return "?";
	for (unsigned i = 0; i < t->unit_count; i++)
		if (!strncmp(t->units[i].id, id, 24))
			return t->units[i].name;
	return "?";
}

static void note(const char *verb, const char *name)
{
	size_t len = strlen(trace);

	snprintf(trace + len, sizeof(trace) - len, "%s%s%s%s", len ? " " : "", verb,
	    *name ? ":" : "", name);
}

static struct fake_container *fake_find(const char *id)
{
	for (size_t i = 0; i < fake_count; i++)
		if (fakes[i].there && !strcmp(fakes[i].id, id))
			return &fakes[i];
	return NULL;
}

static struct fake_container *fake_of(struct task *t, const char *name)
{
	return fake_find(task_unit(t, name)->id);
}

static size_t fakes_there(void)
{
	size_t n = 0;

	for (size_t i = 0; i < fake_count; i++)
		n += fakes[i].there;
	return n;
}

static void answer_done(struct event *ev)
{
	container_done *done = (container_done *)ev->a;

	done(ev->ctx, ev->result, ev->why);
}

static void answer(void *done, void *ctx, int result, const char *why)
{
	struct event *ev = event_add(answer_done, ctx);

	ev->a = done;
	ev->result = result;
	snprintf(ev->why, sizeof(ev->why), "%s", why);
}

const struct wire_hello *spawn_hello(const struct spawn *s)
{
	static const struct wire_hello hello = {.cpus = 2, .memory_bytes = UINT64_C(4) << 30};

	(void)s;
	return &hello;
}

typedef void net_done(void *ctx, int result, const char *why, const struct container_net *net);

static void answer_net_now(struct event *ev)
{
	struct container_net net = {.address = "10.213.0.2",
	    .gateway = "10.213.0.1",
	    .prefix_len = 20,
	    .mac = "02:42:0a:d5:00:02",
	    .fds = {-1, -1}};
	const struct fake_container *c = fake_find(ev->id);

	if (c) {
		net.ports = c->ports;
		net.port_count = c->port_count;
	}
	((net_done *)ev->a)(ev->ctx, ev->result, ev->result ? "no room" : "",
	    ev->result || ev->number ? NULL : &net);
}

static void do_sandbox_make(struct event *ev)
{
	struct event *back;

	if (sandbox_result == 0) {
		boxes[box_count++] = *(struct sandbox_spec *)ev->b;
		note("sandbox", "");
	}
	free(take_ptr(ev->b));
	back = event_add(answer_net_now, ev->ctx);
	back->a = ev->a;
	back->result = sandbox_result;
	back->number = boxes[box_count ? box_count - 1 : 0].network != CONTAINER_NET_TASK;
}

void spawn_sandbox_make(struct spawn *s, const struct sandbox_spec *spec,
    void (*done)(void *ctx, int result, const char *why, const struct container_net *net),
    void *ctx)
{
	struct event *ev = event_add(do_sandbox_make, ctx);

	(void)s;
	ev->a = (void *)done;
	ev->b = xmalloc(sizeof(*spec));
	memcpy(ev->b, spec, sizeof(*spec));
}

static void fake_remove(struct fake_container *c)
{
	c->there = false;
	if (c->log >= 0)
		close(c->log);
	c->log = -1;
}

static void do_sandbox_remove(struct event *ev)
{
	note("remove-sandbox", "");
	for (size_t i = 0; i < fake_count; i++)
		if (fakes[i].there && !strcmp(fakes[i].sandbox, ev->id))
			fake_remove(&fakes[i]);
	for (size_t i = 0; i < box_count; i++)
		if (!strcmp(boxes[i].id, ev->id))
			boxes[i] = boxes[--box_count];
	answer(ev->a, ev->ctx, 0, "");
}

void spawn_sandbox_remove(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct event *ev = event_add(do_sandbox_remove, ctx);

	(void)s;
	ev->a = (void *)done;
	snprintf(ev->id, sizeof(ev->id), "%s", id);
}

static void do_make(struct event *ev)
{
	struct event *back;
	struct fake_container *c = ev->b;

	if (make_result == 0) {
		note("make", fake_name(c->id));
		assert_null(fake_find(c->id));
		assert_true(fake_count < ARRAY_SIZE(fakes));
		c->log = memfd_create("log", 0);
		fakes[fake_count++] = *c;
		made_total++;
	}
	if (make_hangs) {
		grave[grave_count++] = ev->b;
		return;
	}
	back = event_add(answer_net_now, ev->ctx);
	back->a = ev->a;
	back->result = make_result;
	back->number = c->port_count == 0;
	snprintf(back->id, sizeof(back->id), "%s", c->id);
	free(take_ptr(ev->b));
}

void spawn_container_make(struct spawn *s, const struct container_spec *spec,
    void (*done)(void *ctx, int result, const char *why, const struct container_net *net),
    void *ctx)
{
	struct event *ev = event_add(do_make, ctx);
	struct fake_container *c = xcalloc(1, sizeof(*c));

	(void)s;
	memcpy(c->id, spec->id, sizeof(c->id));
	memcpy(c->sandbox, spec->sandbox, sizeof(c->sandbox));
	memcpy(c->facts.id, spec->id, sizeof(c->id));
	memcpy(c->facts.sandbox, spec->sandbox, sizeof(c->sandbox));
	c->there = true;
	c->ignores_term = ignores_term && !strcmp(fake_name(spec->id), ignores_term);
	for (size_t i = 0; i < spec->port_count && i < 8; i++) {
		c->ports[i] = spec->ports[i];
		if (!c->ports[i].host)
			c->ports[i].host = (uint16_t)(49153 + i);
	}
	c->port_count = spec->port_count;
	ev->a = (void *)done;
	ev->b = c;
}

static void do_start(struct event *ev)
{
	struct fake_container *c = fake_find(ev->id);
	int result = start_result;

	if (!c || c->facts.state != CONTAINER_CREATED)
		result = -ENOENT;
	if (result == 0) {
		note("start", fake_name(ev->id));
		c->facts.state = CONTAINER_RUNNING;
		c->facts.started_ms = 1000000 + rig_loop.now_ns / 1000000;
	}
	answer(
	    ev->a, ev->ctx, result, result ? "exec: \"nothing\": executable file not found" : "");
}

void spawn_container_start(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct event *ev = event_add(do_start, ctx);

	(void)s;
	ev->a = (void *)done;
	snprintf(ev->id, sizeof(ev->id), "%s", id);
}

static void tell_exit(struct event *ev)
{
	struct fake_container *c = fake_find(ev->id);

	if (c)
		spawn_handler->on_exit(spawn_ctx, &c->facts);
}

/* It ends by itself. */
static void fake_exit(struct fake_container *c, int exit_code)
{
	assert_true(c && c->facts.state == CONTAINER_RUNNING);
	c->facts.state = CONTAINER_EXITED;
	c->facts.exit_code = exit_code;
	c->facts.finished_ms = 1000000 + rig_loop.now_ns / 1000000;
	snprintf(event_add(tell_exit, NULL)->id, CONTAINER_ID_SIZE, "%s", c->id);
}

static void do_signal(struct event *ev)
{
	struct fake_container *c = fake_find(ev->id);
	char text[32];

	snprintf(text, sizeof(text), "signal-%d", ev->number);
	note(text, fake_name(ev->id));
	if (c && c->facts.state == CONTAINER_RUNNING && (!c->ignores_term || ev->number == 9))
		fake_exit(c, 128 + ev->number);
	answer(ev->a, ev->ctx, 0, "");
}

void spawn_container_signal(
    struct spawn *s, const char *id, int signal, container_done *done, void *ctx)
{
	struct event *ev = event_add(do_signal, ctx);

	(void)s;
	ev->a = (void *)done;
	ev->number = signal;
	snprintf(ev->id, sizeof(ev->id), "%s", id);
}

static void do_remove(struct event *ev)
{
	struct fake_container *c = fake_find(ev->id);

	note("remove", fake_name(ev->id));
	if (c)
		fake_remove(c);
	answer(ev->a, ev->ctx, 0, "");
}

void spawn_container_remove(struct spawn *s, const char *id, container_done *done, void *ctx)
{
	struct event *ev = event_add(do_remove, ctx);

	(void)s;
	ev->a = (void *)done;
	snprintf(ev->id, sizeof(ev->id), "%s", id);
}

int spawn_container_log(struct spawn *s, const char *id)
{
	const struct fake_container *c = fake_find(id);

	(void)s;
	return c ? dup(c->log) : -1;
}

void spawn_container_usage(struct spawn *s, const char *id,
    void (*done)(void *ctx, const struct container_usage *u), void *ctx)
{
	static const struct container_usage none = {-1, -1, -1, -1, -1};

	(void)s;
	(void)id;
	done(ctx, &none);
}

static void exec_ended(struct event *ev)
{
	struct fake_exec *x = ev->a;

	if (!x->running)
		return;
	x->running = false;
	x->on_end(x->ctx, ev->result);
}

static void exec_begun(struct event *ev)
{
	static const int none[3] = {-1, -1, -1};
	struct fake_exec *x = ev->b;

	((void (*)(void *, int, const char *, const int *))ev->a)(ev->ctx, exec_result, "", none);
	if (exec_result < 0) {
		x->running = false;
	} else if (exec_exit >= 0) {
		struct event *end = event_add(exec_ended, NULL);

		end->a = x;
		end->result = exec_exit;
	}
}

void spawn_container_exec(struct spawn *s, const struct container_exec *x,
    void (*done)(void *ctx, int result, const char *why, const int streams[3]),
    void (*on_end)(void *ctx, int exit_code), void *ctx)
{
	struct event *ev = event_add(exec_begun, ctx);
	struct fake_exec *f = &execs[exec_count++ % ARRAY_SIZE(execs)];

	(void)s;
	note("check", x->args[x->arg_count - 1]);
	*f = (struct fake_exec){.on_end = on_end, .ctx = ctx, .running = true};
	snprintf(f->id, sizeof(f->id), "%s", x->exec_id);
	ev->a = (void *)done;
	ev->b = f;
}

void spawn_container_exec_kill(struct spawn *s, const char *exec_id)
{
	(void)s;
	note("kill-check", "");
	for (size_t i = 0; i < ARRAY_SIZE(execs); i++)
		if (execs[i].running && !strcmp(execs[i].id, exec_id)) {
			struct event *end = event_add(exec_ended, NULL);

			end->a = &execs[i];
			end->result = 137;
		}
}

static void tell_found(struct event *ev)
{
	(void)ev;
	for (size_t i = 0; i < box_count; i++) {
		struct container_net net = {.address = "10.213.0.2", .fds = {-1, -1}};

		spawn_handler->on_found(spawn_ctx, &boxes[i], NULL,
		    boxes[i].network == CONTAINER_NET_TASK ? &net : NULL);
		for (size_t k = 0; k < fake_count; k++)
			if (fakes[k].there && !strcmp(fakes[k].sandbox, boxes[i].id))
				spawn_handler->on_found(
				    spawn_ctx, &boxes[i], &fakes[k].facts, NULL);
	}
	spawn_handler->on_found(spawn_ctx, NULL, NULL, NULL);
}

void spawn_containers_start(struct spawn *s, const struct container_handler *h, void *ctx)
{
	(void)s;
	spawn_handler = h;
	spawn_ctx = ctx;
	event_add(tell_found, NULL);
}

/* ---- images ---- */

struct image {
	int refs;
};

static int collecting_off;

void images_collect_off(struct images *i)
{
	(void)i;
	collecting_off++;
}

void images_collect_on(struct images *i)
{
	(void)i;
	collecting_off--;
}

static int image_refs;
static const char *image_missing; /* no such image */
static const char *const image_cmd[] = {"/bin/app", NULL}, *const image_env[] = {
							       "A=image", "B=image", NULL};
static struct image_config image_conf = {
    .cmd = image_cmd, .env = image_env, .user = "", .working_dir = "", .stop_signal = ""};

int image_reference_parse(
    struct str text, const char *const *own, struct image_reference *ret, struct err *e)
{
	(void)own;
	memset(ret, 0, sizeof(*ret));
	if (!text.len)
		return err_set(e, EINVAL, "no image");
	snprintf(ret->repository, sizeof(ret->repository), "%.*s", STR_FMT(text));
	return 0;
}

const struct image_config *image_config(const struct image *i)
{
	(void)i;
	return &image_conf;
}

const char *image_digest(const struct image *i)
{
	(void)i;
	return "sha256:0123";
}

size_t image_layers(const struct image *i, const uint8_t (**ret)[WIRE_HASH_SIZE])
{
	static const uint8_t layers[1][WIRE_HASH_SIZE];

	(void)i;
	*ret = layers;
	return 1;
}

int image_user(const struct image *i, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
    uint32_t groups[32], size_t *ret_count, struct err *e)
{
	(void)i;
	(void)groups;
	if (!strcmp(user, "nobody-here"))
		return err_set(e, ENOENT, "unable to find user nobody-here");
	*ret_uid = *ret_gid = 0;
	*ret_count = 0;
	return 0;
}

void image_unref(struct image *i)
{
	if (!i)
		return;
	image_refs--;
	if (--i->refs == 0)
		free(i);
}

static void pulled(struct event *ev)
{
	struct image *i = NULL;

	if (!ev->ctx)
		return; /* cancelled */
	if (!ev->result) {
		i = xcalloc(1, sizeof(*i));
		i->refs = 1;
		image_refs++;
	}
	((void (*)(void *, struct image *, const char *, const char *))ev->a)(
	    ev->ctx, i, i ? NULL : "CannotPullContainerError", i ? NULL : "no such image");
}

struct image_pull *image_pull_start(struct images *images, const struct image_reference *r,
    enum image_pull_policy policy, const struct image_auth *auth,
    void (*done)(void *ctx, struct image *image, const char *code, const char *why), void *ctx)
{
	struct event *ev = event_add(pulled, ctx);

	(void)images;
	(void)policy;
	(void)auth;
	ev->a = (void *)done;
	ev->result = image_missing && !strcmp(r->repository, image_missing);
	return (struct image_pull *)ev;
}

void image_pull_cancel(struct image_pull *p)
{
	((struct event *)p)->ctx = NULL;
}

/* ---- logs ---- */

static char log_text[65536];
static int log_result;
static bool group_missing;

bool logs_group_name_valid(struct str name)
{
	return name.len > 0;
}

bool logs_stream_name_valid(struct str name)
{
	return name.len > 0;
}

int logs_group_get(struct logs *g, struct log_group_id id, struct log_group_info *ret)
{
	(void)g;
	(void)id;
	(void)ret;
	return group_missing ? -ENOENT : 0;
}

struct log_stream *logs_stream(
    struct logs *g, struct log_group_id group, struct str name, struct err *e)
{
	(void)g;
	(void)group;
	(void)name;
	(void)e;
	return (struct log_stream *)(void *)log_text;
}

void logs_stream_unref(struct log_stream *s)
{
	(void)s;
}

int logs_append(struct log_stream *s, int64_t ts_ms, const char *text, size_t len)
{
	size_t have = strlen(log_text);

	(void)s;
	(void)ts_ms;
	if (log_result == 0)
		snprintf(log_text + have, sizeof(log_text) - have, "%.*s\n", (int)len, text);
	return log_result;
}

void logs_group_retention(
    struct logs *g, struct log_group_id id, int days, logs_done_fn *done, void *ctx)
{
	(void)g;
	(void)id;
	(void)days;
	(void)done;
	(void)ctx;
}

/* ---- http ---- */

static char http_body[65536];
static unsigned http_status;

struct http_server *http_server_new(
    struct loop *l, const struct http_handler *h, const struct http_limits *limits)
{
	(void)l;
	(void)h;
	(void)limits;
	return NULL;
}

void http_server_free(struct http_server *s)
{
	(void)s;
}

struct http_listener *http_listen(struct http_server *s, int fd, void *ctx, struct err *e)
{
	(void)s;
	(void)fd;
	(void)ctx;
	(void)e;
	return NULL;
}

void http_listener_limit(struct http_listener *l, unsigned n)
{
	(void)l;
	(void)n;
}

void http_listener_close(struct http_listener *l)
{
	(void)l;
}

void http_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t header_count, struct str body)
{
	(void)r;
	(void)headers;
	(void)header_count;
	http_status = status;
	snprintf(http_body, sizeof(http_body), "%.*s", STR_FMT(body));
}

/* ---- meter ---- */

static unsigned booked;
static struct meter_task last_booked; /* numbers only: its texts are gone */

int meter_book_task(struct meter *m, const struct meter_task *t)
{
	(void)m;
	booked++;
	last_booked = *t;
	return 0;
}

/* ---- what core's upper layers do ---- */

static char changes[8192]; /* "PROVISIONING RUNNING …" */
static const char *secret_value = "s3cret";
static const char *object_value = "";
static int64_t version_seen;

static void on_changed(void *ctx, const json_t *task)
{
	size_t len = strlen(changes);

	(void)ctx;
	assert_non_null(task);
	snprintf(changes + len, sizeof(changes) - len, "%s%s", len ? " " : "",
	    docs_str(task, "lastStatus"));
	assert_true(docs_int(task, "version") > version_seen || rig->live.next != rig->live.prev);
	version_seen = docs_int(task, "version");
}

static void tell_secret(struct event *ev)
{
	((void (*)(void *, const char *, const char *))ev->a)(
	    ev->ctx, secret_value, "ParameterNotFound");
}

static void find_secret(void *ctx, const char *account, const char *region, const char *from,
    void (*done)(void *done_ctx, const char *value, const char *why), void *done_ctx)
{
	(void)ctx;
	(void)from;
	assert_string_equal(account, "123456789012");
	assert_string_equal(region, "eu-west-1");
	event_add(tell_secret, done_ctx)->a = (void *)done;
}

static void find_object(void *ctx, const char *account, const char *region, const char *arn,
    void (*done)(void *done_ctx, const struct str *data, const char *why), void *done_ctx)
{
	struct str data = str_from(object_value);

	(void)ctx;
	(void)account;
	(void)region;
	(void)arn;
	done(done_ctx, object_value ? &data : NULL, "NoSuchKey");
}

static int make_keys(void *ctx, const char *role, const char *session, struct task_keys *ret)
{
	(void)ctx;
	(void)role;
	(void)session;
	*ret = (struct task_keys){"AKID", "SECRET", "TOKEN", 1700000000000};
	return 0;
}

/* ---- driving it ---- */

static void rig_tasks(void)
{
	while (!list_empty(&rig_loop.tasks)) {
		struct loop_task *t = list_first(&rig_loop.tasks, struct loop_task, node);

		list_remove(&t->node);
		t->run(t);
	}
}

/* false: nothing left to do. */
static bool rig_step(void)
{
	struct event *ev;

	if (!list_empty(&rig_loop.tasks)) {
		rig_tasks();
		return true;
	}
	if (event_first == event_count)
		return false;
	ev = events[event_first++];
	ev->run(ev);
	free(ev);
	if (event_first == event_count)
		event_first = event_count = 0;
	return true;
}

static void rig_run(void)
{
	unsigned n = 0;

	while (rig_step())
		assert_true(++n < 100000);
}

/* Time goes by, with all that it brings. */
static void rig_pass(int64_t ms)
{
	int64_t end = rig_loop.now_ns + ms * 1000000;

	for (;;) {
		struct loop_timer *next = NULL;

		rig_run();
		for (size_t i = 0; i < rig_loop.timer_count; i++)
			if (rig_loop.timers[i]->due_ns <= end &&
			    (!next || rig_loop.timers[i]->due_ns < next->due_ns))
				next = rig_loop.timers[i];
		if (!next)
			break;
		if (next->due_ns > rig_loop.now_ns)
			rig_loop.now_ns = next->due_ns;
		loop_timer_stop(&rig_loop, next);
		next->on_due(next);
	}
	rig_loop.now_ns = end;
}

static void rig_open(void)
{
	const struct tasks_options o = {.loop = &rig_loop,
	    .endpoint_port = "4566",
	    .secret = find_secret,
	    .object = find_object,
	    .keys = make_keys,
	    .changed = on_changed};
	struct err e = ERR_INIT;

	list_init(&rig_loop.tasks);
	rig_loop.timer_count = 0;
	rig = tasks_open(&o, &e);
	assert_non_null(rig);
}

/* kill -9 of core. What it had asked for and was not done is not done. */
static void rig_kill(void)
{
	while (event_first < event_count) {
		struct event *ev = events[event_first++];

		assert_true(grave_count + 2 < ARRAY_SIZE(grave));
		grave[grave_count++] = ev;
	}
	event_first = event_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(execs); i++) {
		if (execs[i].running)
			grave[grave_count++] = execs[i].ctx;
		execs[i].running = false;
	}
	list_init(&rig_loop.tasks);
	tasks_close(rig);
	rig = NULL;
	version_seen = 0;
}

static int rig_setup(void **state)
{
	(void)state;
	memset(&rig_loop, 0, sizeof(rig_loop));
	rig_loop.now_ns = 1000000000;
	*trace = *changes = *log_text = 0;
	fake_count = box_count = exec_count = 0;
	memset(execs, 0, sizeof(execs));
	store_result = sandbox_result = make_result = start_result = exec_result = log_result = 0;
	exec_exit = 0;
	make_hangs = false;
	image_refs = 0;
	booked = 0;
	store_commits = made_total = 0;
	image_missing = ignores_term = NULL;
	image_conf.stop_signal = "";
	secret_value = "s3cret";
	object_value = "";
	group_missing = false;
	version_seen = 0;
	rig_open();
	rig_run();
	return 0;
}

static int rig_teardown(void **state)
{
	(void)state;
	rig_run();
	rig_kill();
	while (row_count) {
		row_count--;
		free(rows[row_count].key);
		free(rows[row_count].value);
	}
	for (size_t i = 0; i < fake_count; i++)
		if (fakes[i].there)
			fake_remove(&fakes[i]);
	return 0;
}

#define RIG_ARN "arn:aws:ecs:eu-west-1:123456789012:task/default/0123456789abcdef0123456789abcdef"

static int run_result;

static void on_run(void *ctx, int result)
{
	(void)ctx;
	run_result = result;
}

/* containers: the JSON of containerDefinitions; more: other members of the definition, with a comma
 * before. */
static void rig_begin(const char *containers, const char *more)
{
	json_t *task = json_pack("{s:s, s:s, s:s}", "taskArn", RIG_ARN, "taskDefinitionArn",
	    "arn:aws:ecs:eu-west-1:123456789012:task-definition/app:7", "containerInstanceArn",
	    "arn:aws:ecs:eu-west-1:123456789012:container-instance/default/"
	    "abcdef0123456789abcdef0123456789");
	_cleanup_free_ char *text =
	    xasprintf("{\"family\":\"app\",\"containerDefinitions\":%s%s}", containers, more);
	json_error_t je;
	json_t *definition = json_loads(text, 0, &je);

	if (!definition)
		fail_msg("%s: %s", text, je.text);
	run_result = 1;
	tasks_run(rig, task, definition, on_run, NULL);
}

static struct task *rig_task(void)
{
	return task_find(rig, RIG_ARN);
}

static const char *rig_status(void)
{
	const char *s = docs_str(tasks_get(rig, RIG_ARN), "lastStatus");

	return s ? s : "none";
}

static const json_t *rig_container(const char *name)
{
	const json_t *list = json_object_get(tasks_get(rig, RIG_ARN), "containers");
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c)
	{
		if (!strcmp(docs_str(c, "name"), name))
			return c;
	}
	return NULL;
}

static void rig_stop(void)
{
	tasks_stop(rig, RIG_ARN, "UserInitiated", "enough", NULL, NULL);
}

/* It has stopped and nothing is left. */
static void rig_gone(void)
{
	assert_string_equal(rig_status(), "STOPPED");
	assert_int_equal(box_count, 0);
	assert_int_equal(fakes_there(), 0);
	assert_int_equal(image_refs, 0);
	assert_int_equal(rig->host.cpu_units_free, rig->host.cpu_units);
	assert_int_equal(rig->host.memory_mib_free, rig->host.memory_mib);
}
