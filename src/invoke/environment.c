/*
 * One execution environment: a box that runs the code of one version, through init, invocations,
 * freezing, failure and reset. All time-outs of a box are here. Loop thread.
 *
 * Short invocations are sent ahead (the rules are those of design.md and docs/benchmarks.md): the
 * box still runs one at a time, and the clock of each starts when the one before has answered.
 */
#include <ctype.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "invoke/invoke_int.h"

#define AHEAD_MAX 32
#define AHEAD_RUN_NS 200000    /* only functions that take less */
#define AHEAD_TOTAL_NS 1000000 /* and only so much work ahead */
#define LATE_NS 4000000        /* no short run after all: those behind it go elsewhere */
#define QUIET_ENOUGH 8         /* invocations without output: lines must not be mixed up */

static const struct box_handler handler;

static struct loop *loop_of(const struct environment *en)
{
	return en->version->function->iv->o.loop;
}

/* Have the timer fire no later than that. It looks at the state when it does. */
static void alarm_at(struct environment *en, int64_t due_ns)
{
	if (en->timer.slot && en->timer.due_ns <= due_ns)
		return;
	loop_timer_set(loop_of(en), &en->timer, due_ns - loop_now_ns(loop_of(en)));
}

static struct invocation *head(const struct environment *en)
{
	return list_first(&en->running, struct invocation, node);
}

static int64_t deadline_ns(const struct environment *en)
{
	return en->start_ns + en->version->c.timeout_ms * 1000000;
}

bool environment_is_short(const struct invoke_version *v)
{
	return v->c.program->framed && v->floor_ns && v->floor_ns < AHEAD_RUN_NS;
}

bool environment_can_take(const struct environment *en, const struct invocation *n)
{
	const struct invoke_version *v = en->version;

	return en->state == ENVIRONMENT_READY && v->c.program->framed && en->outstanding &&
	       !en->taking && loop_now_ns(loop_of(en)) - en->start_ns < AHEAD_TOTAL_NS &&
	       v->run_ns && v->run_ns < AHEAD_RUN_NS && en->outstanding < AHEAD_MAX &&
	       v->run_ns * (en->outstanding + 1) <= AHEAD_TOTAL_NS && en->quiet >= QUIET_ENOUGH &&
	       !n->tail && !head(en)->tail && !n->on_piece && !head(en)->on_piece &&
	       !box_extension_count(en->box);
}

bool environment_is_late(const struct environment *en)
{
	return en->outstanding && loop_now_ns(loop_of(en)) - en->start_ns >= LATE_NS;
}

/* ---- idle and gone ---- */

static void leave_lists(struct environment *en)
{
	if (en->busy)
		en->version->busy_count--;
	en->busy = false;
	list_remove(&en->idle_node);
	list_remove(&en->lru_node);
}

static void go_busy(struct environment *en)
{
	leave_lists(en);
	en->busy = true;
	en->version->busy_count++;
	list_push_front(&en->version->busy, &en->idle_node);
}

static void go_idle(struct environment *en)
{
	leave_lists(en);
	en->idle_since_ns = loop_now_ns(loop_of(en));
	/* Those who wait for a version that is replaced meanwhile are served by it. */
	if (en->version->retired && !en->version->waiting_count) {
		environment_free(en);
		return;
	}
	list_push_front(&en->version->idle, &en->idle_node);
	list_push_back(&en->version->function->iv->idle, &en->lru_node);
	alarm_at(en, en->idle_since_ns + FREEZE_GRACE_NS);
}

static bool is_leaving(const struct environment *en)
{
	return en->state == ENVIRONMENT_RETIRING || en->state == ENVIRONMENT_RESETTING;
}

/* Its extensions have RETIRE_NS. */
static void leave(struct environment *en, enum environment_state how)
{
	leave_lists(en);
	en->state = how;
	en->version->leaving++;
	loop_timer_stop(loop_of(en), &en->timer); /* it may be set to something earlier */
	alarm_at(en, loop_now_ns(loop_of(en)) + RETIRE_NS);
}

static void release(struct environment *en)
{
	struct invoke_version *v = en->version;

	loop_timer_stop(loop_of(en), &en->timer);
	stream_end(en);
	leave_lists(en);
	list_remove(&en->node);
	v->environment_count--;
	v->function->iv->counts.environments--;
	if (en->state == ENVIRONMENT_STARTING)
		v->starting--;
	if (is_leaving(en))
		v->leaving--;
	logs_stream_unref(en->stream);
	buf_done(&en->partial);
	free(en->linger);
	free(en);
	version_unref_if_done(v);
}

void environment_kill(struct environment *en)
{
	box_kill(en->box);
	release(en);
}

void environment_free(struct environment *en)
{
	const int64_t deadline_ms = time_wall_ms() + RETIRE_NS / 1000000;

	if (en->state != ENVIRONMENT_READY || !box_retire(en->box, "SPINDOWN", deadline_ms)) {
		environment_kill(en);
		return;
	}
	leave(en, ENVIRONMENT_RETIRING);
}

/* ---- the end of an invocation ---- */

static enum meter_outcome meter_outcome(enum invoke_outcome o)
{
	switch (o) {
	case INVOKE_OK: return METER_SUCCESS;
	case INVOKE_TIMEOUT: return METER_TIMEOUT;
	case INVOKE_CRASH: return METER_CRASH;
	case INVOKE_OOM: return METER_OOM;
	case INVOKE_INIT_ERROR: return METER_INIT_ERROR;
	case INVOKE_ERROR:
	case INVOKE_NO_BOX: break;
	}
	return METER_ERROR;
}

static void book(struct environment *en, struct invocation *n, const struct report *r)
{
	struct invoke_version *v = en->version;
	struct meter_usage u = {.function = v->function->meter_id,
	    .version = v->meter_version,
	    .start_ms = en->start_wall_ms,
	    .duration_us = (uint32_t)(r->duration_ns / 1000),
	    .billed_ms = (uint32_t)((r->duration_ns + r->init_ns + 999999) / 1000000),
	    .init_us = (uint32_t)(r->init_ns / 1000),
	    .memory_mb = v->c.memory_mb,
	    .max_memory_mb = (uint32_t)((r->peak_bytes + 1048575) / 1048576),
	    .tmp_mb = v->c.tmp_mb,
	    .outcome = meter_outcome(r->outcome),
	    .kind = n->kind};
	char hex[33];
	size_t at = 0;

	for (size_t i = 0; i < 36; i++)
		if (n->request_id[i] != '-' && at < 32)
			hex[at++] = n->request_id[i];
	hex_decode((struct str){hex, at}, u.request_id, sizeof(u.request_id));
	if (meter_book(v->function->iv->o.meter, &u) < 0)
		log_error("the usage ledger cannot be written: is the disk full?");
}

static void next_begins(struct environment *en, int64_t start_ns)
{
	en->start_ns = start_ns;
	en->start_wall_ms = time_wall_ms();
	report_start(en, head(en));
}

/* Those sent ahead have not begun: they wait again, uncounted, in their order. */
static void requeue_rest(struct environment *en)
{
	while (!list_empty(&en->running)) {
		struct invocation *n = list_last(&en->running, struct invocation, node);

		list_remove(&n->node);
		n->environment = NULL;
		version_requeue(en->version, n);
	}
	en->outstanding = 0;
}

/* What becomes of an environment after an invocation has ended: one of the next three. */

static void carry_on(struct environment *en)
{
	if (en->outstanding)
		next_begins(en, en->ended_ns);
	else
		go_idle(en);
}

/* Nothing runs inside any more; the next invocation starts it again. */
static void halt(struct environment *en)
{
	en->state = ENVIRONMENT_STOPPED;
	box_stop(en->box);
	go_idle(en);
}

/* Stop what runs inside, keep the box and its /tmp. Extensions that listen are told why and have a
 * little time, in which others take the invocations: who waits should not pay for it. After a first
 * init there is nobody else, as the init has to be repeated inside an invocation. */
static void reset(struct environment *en, const char *reason)
{
	const int64_t deadline_ms = time_wall_ms() + RETIRE_NS / 1000000;
	bool first = en->state == ENVIRONMENT_STARTING;

	requeue_rest(en);
	en->taking = false;
	if (first)
		en->version->starting--;
	if (first || !box_wind_down(en->box, reason, deadline_ms)) {
		halt(en);
		return;
	}
	leave(en, ENVIRONMENT_RESETTING);
}

static void stop(struct environment *en)
{
	reset(en, "FAILURE");
}

static void stop_late(struct environment *en)
{
	reset(en, "TIMEOUT");
}

static void lose(struct environment *en)
{
	requeue_rest(en);
	release(en);
}

/* The environment may be gone afterwards, and with it its version, if that is retired. */
static void go_on(struct environment *en, void (*after)(struct environment *en))
{
	struct invoke_version *v = en->version;

	version_hold(v);
	after(en);
	if (v->waiting_count || v->retired)
		version_dispatch(v);
	version_let_go(v);
}

/* The extensions of one that is reset have ended, or their time is up. */
static void end_reset(struct environment *en)
{
	box_drain_output(en->box);
	report_flush(en, NULL);
	en->version->leaving--;
	go_on(en, halt);
}

/* How long this function runs, for deciding who waits where: a mean that leans to shorter samples,
 * as other work on the machine only ever adds, and the floor, what it takes when nothing is in its
 * way. Many boxes at once slow each other down; the floor still tells that one would do. */
static void learn(struct invoke_version *v, int64_t sample_ns)
{
	int64_t off = sample_ns - v->run_ns;

	v->run_ns = v->run_ns ? v->run_ns + (off < 0 ? off / 2 : off / 32) : sample_ns;
	if (!v->floor_ns || sample_ns < v->floor_ns)
		v->floor_ns = sample_ns;
	else
		v->floor_ns += (sample_ns - v->floor_ns) / 1024;
}

/* ---- extensions that go on ---- */

/* What is left to be said of an invocation whose caller has been told. */
struct linger {
	struct invocation of; /* its id and kind, no more */
	enum invoke_outcome outcome;
	char error_type[128];
	int64_t init_ns;
};

static void linger(struct environment *en, const struct invocation *n, const struct report *r)
{
	struct linger *l = xcalloc(1, sizeof(*l));

	memcpy(l->of.request_id, n->request_id, sizeof(l->of.request_id));
	l->of.kind = n->kind;
	l->outcome = r->outcome;
	snprintf(l->error_type, sizeof(l->error_type), "%s", r->error_type ? r->error_type : "");
	l->init_ns = r->init_ns;
	en->linger = l;
	alarm_at(en, deadline_ns(en));
}

/* Its extensions are done as well, or have failed: then outcome and type say how. */
static void settle(struct environment *en, enum invoke_outcome outcome, const char *error_type,
    void (*after)(struct environment *en))
{
	struct invoke_version *v = en->version;
	struct linger *l = take_ptr(en->linger);
	struct report r = {.outcome = outcome, .error_type = error_type, .init_ns = l->init_ns};

	en->ended_ns = time_mono_ns();
	r.duration_ns =
	    outcome == INVOKE_TIMEOUT ? v->c.timeout_ms * 1000000 : en->ended_ns - en->start_ns;
	r.peak_bytes = box_memory_peak(en->box);
	report_flush(en, NULL);
	report_end(en, &l->of, &r);
	book(en, &l->of, &r);
	free(l);
	go_on(en, after);
}

static void on_settled(struct box *b)
{
	struct environment *en = box_ctx(b);

	if (en->state == ENVIRONMENT_RETIRING) {
		box_drain_output(b);
		report_flush(en, NULL);
		environment_kill(en);
	} else if (en->state == ENVIRONMENT_RESETTING) {
		end_reset(en);
	} else if (en->linger) {
		box_drain_output(b);
		settle(en, en->linger->outcome,
		    *en->linger->error_type ? en->linger->error_type : NULL, carry_on);
	}
}

/* The head has ended: book it, log it, tell its caller, then go on. The payload may be the memory
 * of the box's channel, so the caller is told before the environment can go. */
static void finish(struct environment *en, enum invoke_outcome outcome, const char *error_type,
    struct buf *payload, void (*after)(struct environment *en))
{
	struct invoke_version *v = en->version;
	struct invocation *n = head(en);
	struct report r = {.outcome = outcome, .error_type = error_type, .init_ns = en->init_ns};

	en->ended_ns = time_mono_ns();
	r.duration_ns =
	    outcome == INVOKE_TIMEOUT ? v->c.timeout_ms * 1000000 : en->ended_ns - en->start_ns;
	r.peak_bytes = box_memory_peak(en->box);
	en->init_ns = 0;
	list_remove(&n->node);
	en->outstanding--;
	if (n->streamed)
		stream_end(en);
	if (after == carry_on && !box_settled(en->box)) {
		linger(en, n, &r);
		invocation_finish(n, outcome, payload);
		return;
	}
	report_flush(en, n);
	report_end(en, n, &r);
	book(en, n, &r);
	learn(v, r.duration_ns);
	en->quiet++;
	/* Before the environment can go: the payload may be the memory of its channel. */
	invocation_finish(n, outcome, payload);
	go_on(en, after);
}

static void fail_head(struct environment *en, enum invoke_outcome outcome, const char *type,
    const char *message, void (*after)(struct environment *en))
{
	struct buf body = BUF_INIT;

	buf_puts(&body, "{\"errorType\":");
	buf_json_string(&body, str_from(type));
	buf_puts(&body, ",\"errorMessage\":\"RequestId: ");
	buf_puts(&body, head(en)->request_id);
	buf_puts(&body, " Error: ");
	buf_json_escape(&body, str_from(message));
	buf_puts(&body, "\"}");
	finish(en, outcome, type, &body, after);
	buf_done(&body);
}

/* ---- running ---- */

static void send(struct environment *en, struct invocation *n)
{
	int64_t left_ms = en->version->c.timeout_ms;
	struct runtime_event ev = {.arn = n->arn,
	    .client_context = buf_str(&n->client_context),
	    .payload = buf_str(&n->payload),
	    .stream = n->on_piece != NULL};

	if (n == head(en))
		left_ms = max_size(1, (size_t)((deadline_ns(en) - time_mono_ns()) / 1000000));
	ev.timeout_ms = left_ms;
	ev.deadline_ms = en->start_wall_ms + en->version->c.timeout_ms;
	memcpy(ev.request_id, n->request_id, sizeof(ev.request_id));
	memcpy(ev.trace_id, n->trace_id, sizeof(ev.trace_id));
	box_send(en->box, &ev);
}

void environment_run(struct environment *en, struct invocation *n)
{
	list_push_back(&en->running, &n->node);
	n->environment = en;
	en->outstanding++;
	if (en->outstanding == 1) {
		go_busy(en);
		next_begins(en, time_mono_ns());
		alarm_at(en, deadline_ns(en));
	} else {
		alarm_at(en, en->start_ns + LATE_NS);
	}
	if (en->state == ENVIRONMENT_STOPPED) {
		en->state = ENVIRONMENT_BOUND;
		box_set_cpu(en->box, 0);
		box_restart(en->box);
	} else {
		send(en, n);
	}
}

static void on_answer(struct box *b, struct runtime_answer *a)
{
	struct environment *en = box_ctx(b);
	char type[128];

	/* Once a turn: all answers of a turn were written after the output that is there now. */
	if (en->drained_ns != loop_now_ns(loop_of(en))) {
		en->drained_ns = loop_now_ns(loop_of(en));
		box_drain_output(b);
	}
	if (a->is_error)
		snprintf(type, sizeof(type), "%.*s", STR_FMT(a->error_type));
	finish(en, a->is_error ? INVOKE_ERROR : INVOKE_OK, a->is_error ? type : NULL, a->payload,
	    carry_on);
}

/* ---- answers that stream ---- */

void environment_cut(struct environment *en, const char *type, const char *text)
{
	box_drain_output(en->box);
	fail_head(en, INVOKE_ERROR, type, text, stop);
}

static void on_stream(struct box *b, struct str content_type)
{
	stream_begin(box_ctx(b), content_type);
}

static void on_piece(struct box *b, struct str data)
{
	stream_piece(box_ctx(b), data);
}

/* They have not begun, so somebody else may run them. */
static void on_taken_back(struct box *b, unsigned count)
{
	struct environment *en = box_ctx(b);

	en->taking = false;
	for (; count && en->outstanding > 1; count--) {
		struct invocation *n = list_last(&en->running, struct invocation, node);

		list_remove(&n->node);
		en->outstanding--;
		version_requeue(en->version, n);
	}
	if (en->version->waiting_count)
		version_dispatch(en->version);
}

/* ---- init ---- */

static uint32_t cpu_quota_us(const struct invoke_version *v)
{
	/* 1,769 MB are one CPU (AWS's figure); the period is 100 ms. */
	return v->c.memory_mb * 100000u / 1769u;
}

static void on_ready(struct box *b)
{
	struct environment *en = box_ctx(b);
	struct invoke_version *v = en->version;
	enum environment_state was = en->state;

	en->state = ENVIRONMENT_READY;
	if (box_extension_count(b))
		report_extensions(en);
	box_set_cpu(b, cpu_quota_us(v));
	if (was == ENVIRONMENT_BOUND) {
		send(en, head(en));
		return;
	}
	v->starting--;
	v->function->iv->counts.cold_starts++;
	en->init_ns = time_mono_ns() - box_init_started_ns(b);
	go_on(en, go_idle);
}

/* The first init failed: it is repeated inside an invocation, if there is one to carry it. */
static void first_init_failed(struct environment *en, const char *status, const char *type)
{
	struct invoke_version *v = en->version;

	report_flush(en, NULL);
	report_init_failed(en, time_mono_ns() - box_init_started_ns(en->box), false, status, type);
	if (!v->waiting_count) {
		environment_free(en);
		return;
	}
	stop(en);
	version_dispatch(v);
}

static void on_init_error(struct box *b, struct str type, struct str body)
{
	struct environment *en = box_ctx(b);
	struct buf payload = BUF_INIT;
	char name[128];

	box_drain_output(b);
	snprintf(name, sizeof(name), "%.*s", STR_FMT(type));
	if (en->state == ENVIRONMENT_STARTING) {
		first_init_failed(en, "error", name);
		return;
	}
	if (en->state != ENVIRONMENT_BOUND)
		return;
	report_init_failed(en, time_mono_ns() - en->start_ns, true, "error", name);
	buf_append_str(&payload, body);
	finish(en, INVOKE_INIT_ERROR, name, &payload, stop);
	buf_done(&payload);
}

static void describe_exit(int status, char out[96])
{
	if (WIFSIGNALED(status)) {
		snprintf(
		    out, 96, "Runtime exited with error: signal: %s", strsignal(WTERMSIG(status)));
		/* Lambda's names of signals are the C library's in lower case. */
		for (char *c = out + strlen("Runtime"); *c; c++)
			*c = (char)tolower((unsigned char)*c);
	} else if (WEXITSTATUS(status)) {
		snprintf(out, 96, "Runtime exited with error: exit status %d", WEXITSTATUS(status));
	} else {
		snprintf(out, 96, "Runtime exited without providing a reason");
	}
}

/* In Lambda's words, which people look for. */
static void describe_no_program(const char *path, bool image, int errnum, char out[160])
{
	if (errnum == ENOENT && !image) {
		snprintf(out, 160, "Couldn't find valid bootstrap(s): [%s /opt/bootstrap]", path);
		return;
	}
	snprintf(out, 160, "fork/exec %s: %s", path, strerror(errnum == ELIBACC ? ENOENT : errnum));
	for (char *c = out + strlen("fork/exec ") + strlen(path); *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

/* No program runs in the box any more, or never did. */
static void end(
    struct environment *en, enum invoke_outcome outcome, const char *type, const char *why)
{
	char line[320];

	if (en->state == ENVIRONMENT_STARTING) {
		first_init_failed(en, "error", type);
		return;
	}
	if (en->state == ENVIRONMENT_STOPPED || is_leaving(en))
		return;
	if (en->linger) {
		snprintf(line, sizeof(line), "RequestId: %s Error: %s\n%s\n",
		    en->linger->of.request_id, why, type);
		report_flush(en, NULL);
		report_line(en, NULL, str_from(line));
		settle(en, outcome, type, stop);
		return;
	}
	leave_lists(en);
	if (!en->outstanding) {
		stop(en);
		return;
	}
	/* Whoever reads the log alone must see why, too. */
	snprintf(
	    line, sizeof(line), "RequestId: %s Error: %s\n%s\n", head(en)->request_id, why, type);
	report_flush(en, head(en));
	report_line(en, head(en), str_from(line));
	fail_head(en, outcome, type, why, stop);
}

static void on_ended(struct box *b, int status, bool oom)
{
	char why[96];

	describe_exit(status, why);
	end(box_ctx(b), oom ? INVOKE_OOM : INVOKE_CRASH,
	    oom ? "Runtime.OutOfMemory" : "Runtime.ExitError", why);
}

static void on_extension_lost(struct box *b, const char *type, const char *why)
{
	box_drain_output(b);
	end(box_ctx(b), INVOKE_CRASH, type, why);
}

static void on_no_program(struct box *b, int errnum)
{
	struct environment *en = box_ctx(b);
	const struct invoke_image *image = en->version->image;
	char why[160];

	if (image && errnum == ENOTDIR) { /* box-init's word for it */
		snprintf(why, sizeof(why), "chdir %s: no such file or directory", image->cwd);
		end(en, INVOKE_CRASH, "Runtime.InvalidWorkingDir", why);
		return;
	}
	describe_no_program(en->version->c.program->argv[0], image, errnum, why);
	end(en, INVOKE_CRASH, "Runtime.InvalidEntrypoint", why);
}

static void on_output(struct box *b, struct str bytes)
{
	report_output(box_ctx(b), bytes);
}

static void on_dead(struct box *b, const char *why)
{
	struct environment *en = box_ctx(b);
	struct invoke_version *v = en->version;
	struct buf text = BUF_INIT;
	struct invocation *n;

	log_warn("%s: box lost: %s", v->function->name, why);
	if (v->waiting_count) /* look again soon, not in this stack */
		loop_timer_set(loop_of(en), &v->timer, 1000000);
	if (en->outstanding) {
		fail_head(en, INVOKE_CRASH, "Sandbox.Failure", why, lose);
		return;
	}
	if (en->linger) {
		settle(en, INVOKE_CRASH, "Sandbox.Failure", lose);
		return;
	}
	if (en->state != ENVIRONMENT_STARTING || !v->waiting_count) {
		release(en);
		return;
	}
	n = version_take_waiting(v);
	release(en);
	buf_puts(&text, why);
	invocation_finish(n, INVOKE_NO_BOX, &text);
	buf_done(&text);
}

static const struct box_handler handler = {
    .on_ready = on_ready,
    .on_init_error = on_init_error,
    .on_stream = on_stream,
    .on_piece = on_piece,
    .on_answer = on_answer,
    .on_taken_back = on_taken_back,
    .on_output = on_output,
    .on_exit = on_ended,
    .on_settled = on_settled,
    .on_extension_lost = on_extension_lost,
    .on_no_program = on_no_program,
    .on_dead = on_dead,
};

/* ---- time-outs ---- */

static void report_timed_out(
    struct environment *en, struct invocation *n, const char *id, char text[64])
{
	const int64_t ms = en->version->c.timeout_ms;
	char line[160], when[TIME_ISO_SIZE];

	snprintf(text, 64, "Task timed out after %" PRId64 ".%02d seconds", ms / 1000,
	    (int)(ms % 1000 / 10));
	time_format_iso_ms(time_wall_ms(), when);
	snprintf(line, sizeof(line), "%s %s %s\n", when, id, text);
	report_flush(en, n);
	report_line(en, n, str_from(line));
}

/* Extensions have the function's time, no more. */
static void time_out_lingering(struct environment *en)
{
	char text[64];

	box_drain_output(en->box);
	report_timed_out(en, NULL, en->linger->of.request_id, text);
	settle(en, INVOKE_TIMEOUT, "Sandbox.Timedout", stop_late);
}

static void time_out(struct environment *en)
{
	char text[64];

	box_drain_output(en->box);
	if (!en->outstanding) /* it answered at the last moment */
		return;
	report_timed_out(en, head(en), head(en)->request_id, text);
	fail_head(en, INVOKE_TIMEOUT, "Sandbox.Timedout", text, stop_late);
}

static void on_timer_running(struct environment *en, int64_t now)
{
	if (now >= deadline_ns(en)) {
		time_out(en);
		return;
	}
	if (en->outstanding > 1 && !en->taking && environment_is_late(en)) {
		en->taking = box_take_back(en->box);
	} else if (en->outstanding > 1 && !en->taking) {
		alarm_at(en, en->start_ns + LATE_NS);
	}
	alarm_at(en, deadline_ns(en));
}

static void on_timer(struct loop_timer *t)
{
	struct environment *en = container_of(t, struct environment, timer);
	int64_t now = loop_now_ns(loop_of(en)), idle_ms = en->version->function->iv->o.idle_ms;
	int64_t started;

	if (en->outstanding) {
		on_timer_running(en, now);
		return;
	}
	if (en->linger) {
		if (now >= deadline_ns(en))
			time_out_lingering(en);
		else
			alarm_at(en, deadline_ns(en));
		return;
	}
	if (en->state == ENVIRONMENT_RETIRING) {
		box_drain_output(en->box);
		report_flush(en, NULL);
		environment_kill(en);
		return;
	}
	if (en->state == ENVIRONMENT_RESETTING) {
		end_reset(en);
		return;
	}
	if (en->state == ENVIRONMENT_STARTING) {
		started = box_init_started_ns(en->box);
		if (started && now >= started + INIT_TIMEOUT_NS)
			first_init_failed(en, "timeout", NULL);
		else
			alarm_at(en, (started ? started : now) + INIT_TIMEOUT_NS);
		return;
	}
	if (now >= en->idle_since_ns + idle_ms * 1000000) {
		environment_free(en);
		return;
	}
	if (now < en->idle_since_ns + FREEZE_GRACE_NS) {
		alarm_at(en, en->idle_since_ns + FREEZE_GRACE_NS);
		return;
	}
	box_freeze(en->box);
	alarm_at(en, en->idle_since_ns + idle_ms * 1000000);
}

/* ---- birth ---- */

static int open_stream(struct environment *en, struct err *e)
{
	struct invoke_version *v = en->version;
	struct log_group_id group = {.account = str_from(v->function->account),
	    .region = str_from(v->function->region),
	    .name = str_from(v->c.log_group)};
	char date[TIME_ISO_SIZE], unique[33];

	rand_hex(unique, 32);
	time_format_iso(time_wall_ms(), date);
	snprintf(en->stream_name, sizeof(en->stream_name), "%.4s/%.2s/%.2s/[%s]%s", date, date + 5,
	    date + 8, v->c.version, unique);
	en->stream = logs_stream(v->function->iv->o.logs, group, str_from(en->stream_name), e);
	return en->stream ? 0 : -EIO;
}

static int start_box(struct environment *en, struct err *e)
{
	struct invoke_version *v = en->version;
	struct invoke *iv = v->function->iv;
	struct box_spec spec = v->spec;
	struct buf env = BUF_INIT, json = BUF_INIT;
	struct invoke_keys keys = {0};
	int r;

	r = iv->o.keys(iv->o.ctx, v->c.role_arn, v->function->name, &keys);
	if (r < 0)
		return err_set(e, EIO, "no temporary keys for %s", v->c.role_arn);
	variables_build(en, &spec, &env, &json, &keys);
	spec.env = buf_str(&env);
	spec.init_json = buf_str(&json);
	en->box = box_start(iv->o.boxes, &spec, &handler, en, e);
	explicit_bzero(&keys, sizeof(keys));
	buf_done(&env);
	buf_done(&json);
	return en->box ? 0 : -EAGAIN;
}

struct environment *environment_new(struct invoke_version *v, struct err *e)
{
	struct environment *en = xcalloc(1, sizeof(*en));

	en->version = v;
	en->state = ENVIRONMENT_STARTING;
	list_init(&en->running);
	list_init(&en->idle_node);
	list_init(&en->lru_node);
	list_init(&en->node);
	en->timer.on_due = on_timer;
	if (open_stream(en, e) < 0 || start_box(en, e) < 0) {
		logs_stream_unref(en->stream);
		free(en);
		return NULL;
	}
	list_push_back(&v->environments, &en->node);
	v->environment_count++;
	v->starting++;
	v->function->iv->counts.environments++;
	report_init_start(en);
	alarm_at(en, loop_now_ns(loop_of(en)) + INIT_TIMEOUT_NS);
	return en;
}
