/*
 * Which environment runs what: the warm stack of one version, its queue, and when a new box is
 * worth its start. Loop thread.
 */
#include "base/log.h"
#include "base/time.h"
#include "invoke/invoke_int.h"

/* Waiting less than this at a busy box beats starting another one, which takes as long and costs
 * the others their CPU (see docs/benchmarks.md). */
#define SHORT_WAIT_NS 4000000
#define LOOK_AGAIN_NS 2000000
/* Waiting less than this at a busy box beats waking an idle one. */
#define PACK_WAIT_NS 1000000
#define BUSY_LOOKED_AT 4

/* Who heads the queue at two looks in a row is stuck, whatever the averages promise. Its age alone
 * would not tell: on a busy machine it is often we who did not get to run. */
static void on_timer(struct loop_timer *t)
{
	struct invoke_version *v = container_of(t, struct invoke_version, timer);
	const struct invocation *head = list_first(&v->waiting, struct invocation, node);

	if (head && head->serial == v->seen)
		v->stuck = head->serial;
	v->seen = head ? head->serial : 0;
	version_dispatch(v);
}

/* Copy a string into one block, moving *at on. */
static const char *keep(char **at, const char *s)
{
	size_t n = strlen(s ? s : "") + 1;
	char *copy = memcpy(*at, s ? s : "", n);

	*at += n;
	return copy;
}

static size_t room(const struct invoke_config *c)
{
	const char *const all[] = {c->version, c->runtime, c->runtime_version, c->runtime_arn,
	    c->handler, c->role_arn, c->log_group};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		n += strlen(all[i] ? all[i] : "") + 1;
	for (size_t i = 0; i < c->variable_count; i++)
		n += strlen(c->variables[i].name) + strlen(c->variables[i].value) + 2;
	return n;
}

static void copy_config(struct invoke_version *v, const struct invoke_config *c)
{
	struct invoke_variable *variables = xcalloc(c->variable_count, sizeof(*variables));
	char *at = v->strings = xmalloc(room(c));

	v->c = *c;
	v->c.version = keep(&at, c->version);
	v->c.runtime = keep(&at, c->runtime);
	v->c.runtime_version = keep(&at, c->runtime_version);
	v->c.runtime_arn = keep(&at, c->runtime_arn);
	v->c.handler = keep(&at, c->handler);
	v->c.role_arn = keep(&at, c->role_arn);
	v->c.log_group = keep(&at, c->log_group);
	for (size_t i = 0; i < c->variable_count; i++) {
		variables[i].name = keep(&at, c->variables[i].name);
		variables[i].value = keep(&at, c->variables[i].value);
	}
	v->c.variables = variables;
}

static void use_image(struct invoke_version *v)
{
	v->image = image_copy(v->c.image);
	v->image_program = (struct box_program){.name = "image", .argv = v->image->argv};
	v->c.image = v->image;
	v->c.program = &v->image_program;
	v->spec.cwd = v->image->cwd ? v->image->cwd : "/";
	v->spec.assignment.root = v->image->layers;
	v->spec.assignment.root_count = (uint32_t)v->image->layer_count;
}

struct invoke_version *invoke_version_new(struct invoke_function *f, const struct invoke_config *c)
{
	struct invoke_version *v = xcalloc(1, sizeof(*v));

	v->function = f;
	f->refs++;
	copy_config(v, c);
	if (c->image)
		use_image(v);
	list_init(&v->environments);
	list_init(&v->idle);
	list_init(&v->busy);
	list_init(&v->waiting);
	v->timer.on_due = on_timer;
	v->meter_version = (uint32_t)strtoul(v->c.version, NULL, 10); /* 0 for $LATEST */
	v->start_suffix = xasprintf(" Version: %s\n", v->c.version);
	v->spec.program = v->c.program;
	memcpy(v->spec.assignment.code, c->code, sizeof(c->code));
	memcpy(v->spec.assignment.layers, c->layers, sizeof(c->layers));
	v->spec.assignment.layer_count = c->layer_count;
	v->spec.assignment.memory_mb = c->memory_mb;
	v->spec.assignment.tmp_mb = c->tmp_mb;
	v->spec.function = f->name;
	v->spec.version = v->c.version;
	v->spec.handler = v->c.handler;
	v->spec.account = f->account;
	variables_reserved(v, &v->spec.fresh);
	list_push_back(&f->iv->versions, &v->node);
	return v;
}

const char *invoke_version_name(const struct invoke_version *v)
{
	return v->c.version;
}

void version_unref_if_done(struct invoke_version *v)
{
	if (!v->retired || v->environment_count || v->unfinished)
		return;
	loop_timer_stop(v->function->iv->o.loop, &v->timer);
	list_remove(&v->node);
	invoke_function_unref(v->function);
	free((struct invoke_variable *)(uintptr_t)v->c.variables);
	free(v->strings);
	image_free(v->image);
	free(v->start_suffix);
	free(v);
}

void version_hold(struct invoke_version *v)
{
	v->unfinished++;
}

void version_let_go(struct invoke_version *v)
{
	v->unfinished--;
	version_unref_if_done(v);
}

static void drop_idle(struct invoke_version *v)
{
	version_hold(v);
	list_for_each_safe (n, &v->idle)
		environment_free(list_entry(n, struct environment, idle_node));
	version_let_go(v);
}

void invoke_version_retire(struct invoke_version *v)
{
	v->retired = true;
	drop_idle(v);
}

void version_requeue(struct invoke_version *v, struct invocation *n)
{
	list_push_front(&v->waiting, &n->node);
	v->waiting_count++;
}

/* ---- dispatch ---- */

struct invocation *version_take_waiting(struct invoke_version *v)
{
	struct invocation *n = list_first(&v->waiting, struct invocation, node);

	list_remove(&n->node);
	v->waiting_count--;
	return n;
}

/* True if those who wait would be served within limit_ns by `boxes` boxes, at run_ns each. */
static bool served_within(
    const struct invoke_version *v, unsigned boxes, int64_t run_ns, int64_t limit_ns)
{
	const struct invocation *head = list_first(&v->waiting, struct invocation, node);

	if (!boxes || !run_ns)
		return false;
	if (head->serial == v->stuck)
		return false;
	return (int64_t)v->waiting_count * run_ns / boxes < limit_ns;
}

/* Those whose program is at something long will not serve the queue. */
static unsigned count_late(const struct invoke_version *v)
{
	unsigned looked = 0, late = 0;

	list_for_each (node, &v->busy) {
		late += environment_is_late(list_entry(node, struct environment, idle_node));
		if (++looked == BUSY_LOOKED_AT)
			break;
	}
	return late;
}

/* Where the next one goes: very short ones stay together at boxes that are busy, where they wait
 * for microseconds; waking another box costs the machine more than that. NULL: wait. */
static struct environment *pick(struct invoke_version *v, const struct invocation *n)
{
	struct environment *idle = list_first(&v->idle, struct environment, idle_node);
	unsigned looked = 0;

	list_for_each (node, &v->busy) {
		struct environment *en = list_entry(node, struct environment, idle_node);

		if (environment_can_take(en, n))
			return en;
		if (++looked == BUSY_LOOKED_AT)
			break;
	}
	if (looked && environment_is_short(v) &&
	    served_within(v, v->busy_count - count_late(v), v->floor_ns, PACK_WAIT_NS))
		return NULL;
	return idle;
}

static void drop_forgotten(struct invoke_version *v)
{
	list_for_each_safe (node, &v->waiting) {
		struct invocation *n = list_entry(node, struct invocation, node);

		if (!n->forgotten)
			continue;
		list_remove(&n->node);
		v->waiting_count--;
		invocation_finish(n, INVOKE_NO_BOX, NULL);
	}
}

/* Room for a box: give up the one that has been idle longest, whoever's it is. */
static bool evict(struct invoke *iv)
{
	struct environment *oldest = list_first(&iv->idle, struct environment, lru_node);

	if (!oldest)
		return false;
	environment_kill(oldest);
	return true;
}

/* Those that serve somebody, or could at once. */
static unsigned environments_up(const struct invoke_version *v)
{
	return v->environment_count - v->starting - v->leaving;
}

/* How many boxes are to be starting now. As long as nobody knows how long the function runs, one
 * for each that waits; then as many as bring the wait down to a short one, and at least one more,
 * because the estimate was wrong for those who wait already. */
static unsigned boxes_needed(const struct invoke_version *v)
{
	unsigned up = environments_up(v);
	int64_t run_ns = environment_is_short(v) ? v->floor_ns : v->run_ns;
	int64_t total = (int64_t)v->waiting_count * run_ns / SHORT_WAIT_NS + 1;

	if (!up || !run_ns || total - (int64_t)up > (int64_t)v->waiting_count)
		return v->waiting_count;
	return total > (int64_t)up ? (unsigned)(total - (int64_t)up) : 1;
}

static void start_more(struct invoke_version *v)
{
	struct invoke *iv = v->function->iv;
	unsigned needed = boxes_needed(v);

	while (v->starting < needed && boxes_may_start(iv->o.boxes, &v->spec)) {
		struct err e = ERR_INIT;

		if (environment_new(v, &e))
			continue;
		if (e.errnum != EAGAIN)
			log_error("%s: no box: %s", v->function->name, e.msg);
		else
			evict(iv); /* its slot is free when the spawner has cleared it */
		break;
	}
}

void version_dispatch(struct invoke_version *v)
{
	struct environment *en;
	bool soon;

	while (v->waiting_count) {
		en = pick(v, list_first(&v->waiting, struct invocation, node));
		if (!en)
			break;
		environment_run(en, version_take_waiting(v));
	}
	if (!v->waiting_count) {
		if (v->retired)
			drop_idle(v);
		return;
	}
	drop_forgotten(v);
	soon = v->waiting_count && served_within(v, environments_up(v), v->run_ns, SHORT_WAIT_NS);
	if (v->waiting_count && v->starting < v->waiting_count && !soon)
		start_more(v);
	if (v->waiting_count)
		loop_timer_set(v->function->iv->o.loop, &v->timer, LOOK_AGAIN_NS);
}
