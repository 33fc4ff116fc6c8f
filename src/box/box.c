/*
 * One box: from the spawner's answer to its death. State changes only here; pool.c decides which
 * blank and warm boxes exist. Loop thread.
 */
#include "box/box.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/time.h"
#include "box/box_int.h"

#define PEAK_SAMPLE_NS 1000000

void *box_ctx(const struct box *b)
{
	return b->ctx;
}

int64_t box_init_started_ns(const struct box *b)
{
	return b->init_started_ns;
}

/* Everything that talks to the inside. The slot stays taken until the spawner has cleared it. */
static void disconnect(struct box *b)
{
	output_close(b);
	extensions_gone(b);
	runtime_free(b->beside);
	b->beside = NULL;
	runtime_free(b->runtime);
	b->runtime = NULL;
	if (b->endpoint)
		b->owner->options.endpoint_close(b->owner->options.ctx, b->endpoint);
	b->endpoint = NULL;
	if (b->control.fd >= 0)
		loop_io_remove(b->owner->loop, &b->control);
	b->control.fd = -1;
	for (size_t i = 0; i < WIRE_FD_COUNT; i++) {
		if (b->fds[i] >= 0)
			close(b->fds[i]);
		b->fds[i] = -1;
	}
	free((char *)(uintptr_t)b->spec.env.ptr);
	free((char *)(uintptr_t)b->spec.init_json.ptr);
	b->spec = (struct box_spec){0};
	b->has_spec = false;
}

void box_kill(struct box *b)
{
	if (b->state == BOX_DYING)
		return;
	pool_forget(b);
	list_remove(&b->begun_node);
	if (b->state != BOX_MAKING)
		disconnect(b);
	b->has_spec = false;
	b->state = BOX_DYING;
	spawn_box_kill(b->owner->spawn, b->slot, b->generation);
}

void box_fail(struct box *b, const char *why)
{
	const struct box_handler *h = b->has_spec ? b->handler : NULL;

	if (h)
		h->on_dead(b, why);
	else
		log_warn("box %u: %s", b->slot, why);
	box_kill(b);
}

/* ---- the runtime's reports ---- */

/* What a runtime says between box_wind_down() or box_stop() and its death counts no more. */
static bool is_stopped(const struct box *b)
{
	return b->state == BOX_WINDING_DOWN || b->state == BOX_STOPPING || b->state == BOX_STOPPED;
}

static void on_warm(void *ctx)
{
	struct box *b = ctx;

	if (b->state == BOX_STARTING) {
		b->state = BOX_WARM;
		pool_put(b);
	} else if (b->state == BOX_INITIALISING) {
		runtime_init(b->runtime, b->spec.init_json);
	} else if (!is_stopped(b)) {
		box_fail(b, "the runtime spoke out of turn");
	}
}

static void on_ready(void *ctx)
{
	struct box *b = ctx;

	if (is_stopped(b))
		return;
	if (b->state != BOX_INITIALISING) {
		box_fail(b, "the runtime spoke out of turn");
		return;
	}
	if (b->extensions && extensions_wait(b))
		return;
	box_ready(b);
}

void box_ready(struct box *b)
{
	if (b->beside)
		runtime_api_init_done(b->beside);
	b->state = BOX_READY;
	list_remove(&b->begun_node);
	pool_schedule(b->owner);
	b->handler->on_ready(b);
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	struct box *b = ctx;

	if (b->has_spec && !is_stopped(b))
		b->handler->on_init_error(b, type, body);
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	struct box *b = ctx;

	if (b->state == BOX_READY)
		b->handler->on_answer(b, a);
}

static void on_stream(void *ctx, struct str content_type)
{
	struct box *b = ctx;

	if (b->state == BOX_READY)
		b->handler->on_stream(b, content_type);
}

static void on_piece(void *ctx, struct str data)
{
	struct box *b = ctx;

	if (b->state == BOX_READY)
		b->handler->on_piece(b, data);
}

static void on_taken_back(void *ctx, unsigned count)
{
	struct box *b = ctx;

	if (b->state == BOX_READY)
		b->handler->on_taken_back(b, count);
}

static void on_broken(void *ctx, const char *why)
{
	struct box *b = ctx;

	/* An orderly close is followed by box-init's word about how the program ended. */
	if (*why && !is_stopped(b))
		box_fail(b, why);
}

const struct runtime_handler box_runtime_handler = {
    .on_warm = on_warm,
    .on_ready = on_ready,
    .on_init_error = on_init_error,
    .on_stream = on_stream,
    .on_piece = on_piece,
    .on_answer = on_answer,
    .on_extensions = extensions_moved,
    .on_taken_back = on_taken_back,
    .on_broken = on_broken,
};

/* ---- box-init's reports ---- */

static uint64_t read_oom_kills(struct box *b)
{
	char text[256];
	ssize_t n = pread(b->fds[WIRE_FD_OOM], text, sizeof(text) - 1, 0);
	const char *at;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strstr(text, "oom_kill ");
	return at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
}

/* The runtime; a pre-started interpreter is there and waits. */
int box_launch(struct box *b)
{
	const struct box_spec *s = &b->spec;
	int r = 0;

	if (b->runtime && s->program->framed)
		runtime_init(b->runtime, s->init_json);
	else
		r = start_program(b, s->program->argv, s->env, s->env_count);
	start_no_more(b);
	return r;
}

/* Only layers and images bring extensions. */
static int begin(struct box *b)
{
	b->state = BOX_INITIALISING;
	b->init_started_ns = time_mono_ns();
	b->enrolling = b->spec.assignment.layer_count || b->spec.assignment.root_count;
	return b->enrolling ? start_extensions(b) : box_launch(b);
}

static void restart(struct box *b)
{
	output_close(b);
	extensions_gone(b);
	if (b->beside)
		runtime_api_reset(b->beside);
	if (b->program->framed) {
		runtime_free(b->runtime);
		b->runtime = NULL;
	} else {
		runtime_api_reset(b->runtime);
	}
	if (begin(b) < 0)
		box_fail(b, "the runtime could not be started again");
}

static void on_stopped(struct box *b)
{
	b->state = BOX_STOPPED;
	if (b->restart)
		restart(b);
}

static void on_exited(struct box *b, int status)
{
	uint64_t kills = read_oom_kills(b);
	bool oom = kills > b->oom_kills;

	b->oom_kills = kills;
	output_drain_last(b);
	if (b->state == BOX_STARTING || b->state == BOX_WARM) {
		log_warn("box %u: a pre-started %s ended early", b->slot, b->program->name);
		box_kill(b);
	} else if (b->has_spec && (b->state == BOX_INITIALISING || b->state == BOX_READY)) {
		b->handler->on_exit(b, status, oom);
	}
}

static void on_exec_failed(struct box *b, int errnum)
{
	if (b->has_spec && b->state == BOX_INITIALISING)
		b->handler->on_no_program(b, errnum);
	else
		box_fail(b, "the runtime could not be started");
}

static void on_control(struct loop_io *io, uint32_t events)
{
	struct box *b = container_of(io, struct box, control);
	struct init_record r = {0};
	ssize_t n;

	(void)events;
	n = recv(io->fd, &r, INIT_RECORD_SHORT, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)INIT_RECORD_SHORT) {
		/* box-init is gone, so everything in the box is. */
		box_fail(b, "the box ended");
		return;
	}
	if (r.kind == INIT_BEGUN)
		extensions_begun(b, (unsigned)r.status);
	else if (r.tag && r.kind == INIT_EXITED)
		extension_exited(b, r.status);
	else if (r.tag && r.kind == INIT_FAILED)
		extension_failed(b, r.status);
	else if (r.kind == INIT_EXITED)
		on_exited(b, r.status);
	else if (r.kind == INIT_FAILED)
		on_exec_failed(b, r.status);
	else if (r.kind == INIT_ENDED)
		extensions_tell(b);
	else if (r.kind == INIT_KILLED && b->state == BOX_STOPPING)
		on_stopped(b);
	else if (r.kind != INIT_KILLED)
		box_fail(b, "box-init sent nonsense");
}

/* ---- the spawner's answers ---- */

static int connect_inside(struct box *b)
{
	struct boxes *bs = b->owner;

	b->control = (struct loop_io){
	    .fd = b->fds[WIRE_FD_CONTROL], .events = EPOLLIN, .on_ready = on_control};
	if (loop_io_add(bs->loop, &b->control) < 0)
		return -errno;
	if (bs->options.endpoint_open) {
		b->endpoint = bs->options.endpoint_open(bs->options.ctx, b->fds[WIRE_FD_ENDPOINT]);
		b->fds[WIRE_FD_ENDPOINT] = -1;
	}
	return 0;
}

static void assign(struct box *b)
{
	b->state = BOX_ASSIGNING;
	spawn_box_assign(b->owner->spawn, b->slot, b->generation, &b->spec.assignment);
}

void box_made(struct box *b, int result, const int fds[WIRE_FD_COUNT])
{
	if (result < 0) {
		if (b->has_spec)
			b->handler->on_dead(b, "no box could be made");
		else
			log_warn("box %u: could not be made: %s", b->slot, strerror(-result));
		b->has_spec = false;
		box_gone(b);
		return;
	}
	memcpy(b->fds, fds, sizeof(b->fds));
	if (b->state == BOX_DYING) { /* killed while it was being made */
		disconnect(b);
		return;
	}
	if (connect_inside(b) < 0) {
		box_fail(b, "core has no descriptors left");
		return;
	}
	b->state = BOX_BLANK;
	if (b->has_spec)
		assign(b);
	else
		pool_put(b);
}

void box_prestart(struct box *b, const struct box_program *program)
{
	struct buf env = BUF_INIT;
	uint32_t count = 0;
	int r;

	for (const char *const *s = program->warm_env; *s; s++, count++)
		buf_append(&env, *s, strlen(*s) + 1);
	b->program = program;
	b->state = BOX_STARTING;
	r = start_program(b, program->argv, buf_str(&env), count);
	buf_done(&env);
	if (r < 0)
		box_fail(b, "the interpreter could not be started");
}

static int init_http(struct box *b)
{
	struct err e = ERR_INIT;

	b->runtime = runtime_api_new(
	    b->owner->api, take_fd(&b->fds[WIRE_FD_API]), &box_runtime_handler, b, &e);
	if (!b->runtime)
		return -EIO;
	runtime_api_describe(
	    b->runtime, b->spec.function, b->spec.version, b->spec.handler, b->spec.account);
	return 0;
}

void box_assigned(struct box *b, int result, const char *why)
{
	int r = 0;

	if (b->state != BOX_ASSIGNING)
		return;
	if (result < 0) {
		box_fail(b, *why ? why : strerror(-result));
		return;
	}
	b->oom_kills = read_oom_kills(b);
	b->program = b->spec.program;
	if (!b->program->framed)
		r = init_http(b);
	if (r == 0)
		r = begin(b);
	if (r < 0)
		box_fail(b, r == -E2BIG ? "the environment is too large" : strerror(-r));
}

void box_gone(struct box *b)
{
	struct boxes *bs = b->owner;

	if (b->state != BOX_DYING && b->has_spec)
		b->handler->on_dead(b, "the box was killed");
	pool_forget(b);
	list_remove(&b->begun_node);
	disconnect(b);
	bs->slots[b->slot] = NULL;
	bs->count--;
	list_remove(&b->node);
	free(b);
	pool_schedule(bs);
}

/* ---- what the owner of a box does ---- */

static void take_spec(
    struct box *b, const struct box_spec *spec, const struct box_handler *h, void *ctx)
{
	char *env = xmalloc(spec->env.len), *json = xmalloc(spec->init_json.len);

	memcpy(env, spec->env.ptr, spec->env.len);
	if (spec->init_json.len)
		memcpy(json, spec->init_json.ptr, spec->init_json.len);
	b->spec = *spec;
	b->spec.env.ptr = env;
	b->spec.init_json.ptr = json;
	b->handler = h;
	b->ctx = ctx;
	b->has_spec = true;
}

#define BEGUN_PER_CPU 2
#define STARTING_PER_CPU 8 /* from so many on that are not ready yet, the next come more slowly */

bool boxes_may_start(struct boxes *bs, const struct box_spec *spec)
{
	const unsigned most = BEGUN_PER_CPU * spawn_hello(bs->spawn)->cpus;
	const unsigned many = STARTING_PER_CPU * spawn_hello(bs->spawn)->cpus;
	int64_t since_ns = loop_now_ns(bs->loop) - BEGUN_NS;
	unsigned young = 0, starting = 0;

	if (spec->program->framed && !spec->fresh && pool_has(bs, spec->program))
		return true;
	list_for_each (n, &bs->begun)
		starting++;
	if (starting > many)
		since_ns -= BEGUN_NS * (starting - many) / many;
	list_for_each (n, &bs->begun) {
		if (list_entry(n, struct box, begun_node)->begun_ns < since_ns)
			break;
		if (++young >= most)
			return false;
	}
	return true;
}

struct box *box_start(struct boxes *bs, const struct box_spec *spec, const struct box_handler *h,
    void *ctx, struct err *e)
{
	struct box *b = NULL;

	if (spec->program->framed && !spec->fresh)
		b = pool_take(bs, spec->program);
	if (!b)
		b = pool_take(bs, NULL);
	if (!b)
		b = pool_new_box(bs);
	if (!b) {
		err_set(e, EAGAIN, "all %u boxes are in use", bs->slot_count);
		return NULL;
	}
	take_spec(b, spec, h, ctx);
	b->begun_ns = loop_now_ns(bs->loop);
	list_push_front(&bs->begun, &b->begun_node);
	if (b->state != BOX_MAKING)
		assign(b);
	return b;
}

static void thaw(struct box *b)
{
	const struct wire_hello *hello = spawn_hello(b->owner->spawn);
	struct str text = hello->cgroup2_freeze ? STR("0") : STR("THAWED");

	b->frozen = false;
	if (write(b->fds[WIRE_FD_FREEZE], text.ptr, text.len) < 0)
		log_warn("box %u: cannot thaw: %s", b->slot, strerror(errno));
}

void box_freeze(struct box *b)
{
	const struct wire_hello *hello = spawn_hello(b->owner->spawn);
	struct str text = hello->cgroup2_freeze ? STR("1") : STR("FROZEN");

	if (b->frozen || b->state != BOX_READY)
		return;
	b->frozen = write(b->fds[WIRE_FD_FREEZE], text.ptr, text.len) == (ssize_t)text.len;
}

bool box_retire(struct box *b, const char *reason, int64_t deadline_ms)
{
	if (b->state != BOX_READY || !b->extensions)
		return false;
	if (b->frozen)
		thaw(b);
	(void)start_order(b, INIT_TERM); /* the runtime may say good-bye, too */
	b->retiring = extensions_mind(b);
	b->end_reason = reason;
	b->end_deadline_ms = deadline_ms;
	if (b->retiring)
		extensions_tell(b);
	return b->retiring;
}

bool box_wind_down(struct box *b, const char *reason, int64_t deadline_ms)
{
	if ((b->state != BOX_READY && b->state != BOX_INITIALISING) || !b->extensions)
		return false;
	if (b->frozen)
		thaw(b);
	if (!extensions_mind(b) || start_order(b, INIT_END) < 0)
		return false;
	b->end_reason = reason; /* told when the runtime is gone */
	b->end_deadline_ms = deadline_ms;
	b->retiring = true;
	b->state = BOX_WINDING_DOWN;
	return true;
}

void box_send(struct box *b, const struct runtime_event *ev)
{
	if (b->frozen)
		thaw(b);
	if (b->beside && b->extensions)
		runtime_api_tell(b->beside, ev);
	runtime_send(b->runtime, ev);
}

void box_pause(struct box *b, bool paused)
{
	if (b->state == BOX_READY)
		runtime_pause(b->runtime, paused);
}

bool box_take_back(struct box *b)
{
	return runtime_take_back(b->runtime);
}

void box_stop(struct box *b)
{
	if (b->state == BOX_DYING || b->state == BOX_MAKING)
		return;
	if (b->frozen)
		thaw(b);
	/* box-init shares the limit with what it has to kill. */
	box_set_cpu(b, 0);
	b->state = BOX_STOPPING;
	b->restart = b->retiring = false;
	if (start_order(b, INIT_KILL) < 0)
		box_fail(b, "box-init does not answer");
}

void box_restart(struct box *b)
{
	b->restart = true;
	if (b->state == BOX_STOPPED)
		restart(b);
}

static bool read_number(int fd, uint64_t *ret)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	*ret = strtoull(text, NULL, 10);
	return true;
}

uint64_t box_memory_peak(struct box *b)
{
	int64_t now = loop_now_ns(b->owner->loop);
	uint64_t value;
	int fd = b->fds[WIRE_FD_PEAK] >= 0 ? b->fds[WIRE_FD_PEAK] : b->fds[WIRE_FD_MEMORY];

	if (now - b->peak_read_ns < PEAK_SAMPLE_NS)
		return b->peak;
	b->peak_read_ns = now;
	if (fd >= 0 && read_number(fd, &value) && value > b->peak)
		b->peak = value;
	return b->peak;
}

void box_set_cpu(struct box *b, uint32_t quota_us)
{
	bool v2 = spawn_hello(b->owner->spawn)->cpu_style == WIRE_CPU_V2;
	char text[32];
	int n;

	if (quota_us)
		n = snprintf(text, sizeof(text), v2 ? "%u 100000" : "%u", quota_us);
	else
		n = snprintf(text, sizeof(text), "%s", v2 ? "max 100000" : "-1");
	if (write(b->fds[WIRE_FD_CPU], text, (size_t)n) < 0)
		log_warn("box %u: cannot set its CPU share: %s", b->slot, strerror(errno));
}
