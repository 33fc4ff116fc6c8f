/*
 * All boxes, and the pools of blank and pre-started ones. A pool is refilled at the end of a turn
 * in which something was taken, never before the boxes that somebody waits for; it grows with
 * demand and shrinks back to one when nothing was taken for a while. Loop thread.
 */
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "box/box_int.h"

#define DECAY_INTERVAL_NS (15 * (int64_t)1000000000)
#define PAUSE_NS 1000000000
#define QUIET_NS (60 * (int64_t)1000000000)

static void on_made(
    void *ctx, uint32_t slot, uint32_t generation, int result, const int fds[WIRE_FD_COUNT])
{
	struct boxes *bs = ctx;
	struct box *b = slot < bs->slot_count ? bs->slots[slot] : NULL;

	if (b && b->generation == generation) {
		box_made(b, result, fds);
		return;
	}
	for (size_t i = 0; i < WIRE_FD_COUNT; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void on_assigned(void *ctx, uint32_t slot, uint32_t generation, int result, const char *why)
{
	struct boxes *bs = ctx;
	struct box *b = slot < bs->slot_count ? bs->slots[slot] : NULL;

	if (b && b->generation == generation)
		box_assigned(b, result, why);
}

static void on_dead(void *ctx, uint32_t slot, uint32_t generation)
{
	struct boxes *bs = ctx;
	struct box *b = slot < bs->slot_count ? bs->slots[slot] : NULL;

	if (b && b->generation == generation)
		box_gone(b);
}

struct box *pool_new_box(struct boxes *bs)
{
	struct box *b;
	uint32_t slot = bs->slot_next, tried = 0;

	while (tried < bs->slot_count && bs->slots[slot]) {
		slot = (slot + 1) % bs->slot_count;
		tried++;
	}
	if (tried == bs->slot_count)
		return NULL;
	b = xcalloc(1, sizeof(*b));
	b->owner = bs;
	b->slot = slot;
	b->generation = ++bs->generation;
	b->state = BOX_MAKING;
	b->control.fd = b->output.fd = b->output_end = -1;
	for (size_t i = 0; i < WIRE_FD_COUNT; i++)
		b->fds[i] = -1;
	list_init(&b->pool_node);
	list_init(&b->begun_node);
	list_push_back(&bs->all, &b->node);
	bs->slots[slot] = b;
	bs->slot_next = (slot + 1) % bs->slot_count;
	bs->count++;
	spawn_box_make(bs->spawn, slot, b->generation);
	return b;
}

static struct pool *pool_of(struct boxes *bs, const struct box_program *program)
{
	for (size_t i = 0; i < bs->pool_count; i++)
		if (bs->pools[i].program == program)
			return &bs->pools[i];
	return NULL;
}

bool pool_has(const struct boxes *bs, const struct box_program *program)
{
	for (size_t i = 0; i < bs->pool_count; i++)
		if (bs->pools[i].program == program && bs->pools[i].ready_count)
			return true;
	return false;
}

struct box *pool_take(struct boxes *bs, const struct box_program *program)
{
	struct pool *p = pool_of(bs, program);
	struct box *b;

	if (!p)
		return NULL;
	p->last_take_ns = loop_now_ns(bs->loop);
	if (p->want < bs->options.pool_each)
		p->want++;
	pool_schedule(bs);
	b = list_first(&p->ready, struct box, pool_node);
	if (b)
		pool_forget(b);
	return b;
}

void pool_forget(struct box *b)
{
	struct pool *p = pool_of(b->owner, b->state == BOX_WARM ? b->program : NULL);

	if (!list_empty(&b->pool_node) && p) {
		p->ready_count--;
		b->owner->pooled_bytes -= b->pool_bytes;
	}
	list_remove(&b->pool_node);
	if (b->owner->coming == b) {
		/* It was lost on its way: not again at once, whatever the cause. */
		b->owner->coming = NULL;
		b->owner->pause_until_ns = loop_now_ns(b->owner->loop) + PAUSE_NS;
	}
}

static uint64_t memory_of(struct box *b)
{
	char text[32];
	ssize_t n = pread(b->fds[WIRE_FD_MEMORY], text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtoull(text, NULL, 10);
}

static bool wanted(const struct boxes *bs, const struct pool *p)
{
	return p && p->ready_count < p->want && bs->pooled_bytes < bs->options.pool_memory_bytes;
}

void pool_put(struct box *b)
{
	struct boxes *bs = b->owner;
	struct pool *p = pool_of(bs, b->state == BOX_WARM ? b->program : NULL);

	if (b == bs->coming) {
		const struct box_program *program = bs->coming_for->program;

		if (b->state == BOX_BLANK && program) {
			box_prestart(b, program);
			return;
		}
		bs->coming = NULL;
	}
	if (!wanted(bs, p)) {
		box_kill(b);
		return;
	}
	b->pool_bytes = memory_of(b);
	bs->pooled_bytes += b->pool_bytes;
	p->ready_count++;
	list_push_back(&p->ready, &b->pool_node);
	pool_schedule(bs);
}

/* Boxes that somebody waits for began a moment ago: those go first. */
static bool busy(const struct boxes *bs)
{
	const struct box *b = list_first(&bs->begun, struct box, begun_node);

	return b && b->begun_ns > loop_now_ns(bs->loop) - BEGUN_NS;
}

static void on_refill(struct loop_task *t)
{
	struct boxes *bs = container_of(t, struct boxes, refill);

	if (busy(bs)) { /* again when one is ready, or it takes longer */
		loop_timer_set(bs->loop, &bs->decay, BEGUN_NS);
		return;
	}
	if (loop_now_ns(bs->loop) < bs->pause_until_ns) {
		loop_timer_set(bs->loop, &bs->decay, PAUSE_NS);
		return;
	}
	/* One at a time: the next follows when this one is ready. */
	for (size_t i = 0; i < bs->pool_count && !bs->coming; i++) {
		struct pool *p = &bs->pools[i];

		if (!wanted(bs, p))
			continue;
		bs->coming = pool_new_box(bs);
		bs->coming_for = p;
	}
}

void pool_schedule(struct boxes *bs)
{
	loop_defer(bs->loop, &bs->refill);
}

static void on_decay(struct loop_timer *t)
{
	struct boxes *bs = container_of(t, struct boxes, decay);
	int64_t now = loop_now_ns(bs->loop);

	for (size_t i = 0; i < bs->pool_count; i++) {
		struct pool *p = &bs->pools[i];

		if (now - p->last_take_ns < QUIET_NS || p->want <= 1)
			continue;
		p->want--;
		if (p->ready_count > p->want)
			box_kill(list_first(&p->ready, struct box, pool_node));
	}
	/* A refill that was put off while boxes were starting is tried again. */
	pool_schedule(bs);
	loop_timer_set(bs->loop, t, DECAY_INTERVAL_NS);
}

void pools_init(struct boxes *bs, const struct box_program *const *programs, size_t count)
{
	check(count < POOLS_MAX);
	for (size_t i = 0; i <= count; i++) {
		struct pool *p = &bs->pools[i];

		list_init(&p->ready);
		p->program = i < count ? programs[i] : NULL;
		p->want = 1;
	}
	bs->pool_count = count + 1;
	bs->refill.run = on_refill;
	bs->decay.on_due = on_decay;
	loop_timer_set(bs->loop, &bs->decay, DECAY_INTERVAL_NS);
	pool_schedule(bs);
}

struct boxes *boxes_new(struct loop *l, int spawn_fd, const struct boxes_options *o,
    const struct box_program *const *programs, size_t program_count, struct err *e)
{
	static const struct spawn_handler handler = {
	    .on_made = on_made, .on_assigned = on_assigned, .on_dead = on_dead};
	struct boxes *bs = xcalloc(1, sizeof(*bs));

	bs->loop = l;
	bs->options = *o;
	list_init(&bs->all);
	list_init(&bs->begun);
	bs->spawn = spawn_new(l, spawn_fd, &handler, bs, e);
	if (!bs->spawn) {
		free(bs);
		return NULL;
	}
	bs->api = runtime_api_open(l);
	bs->slot_count = spawn_hello(bs->spawn)->boxes_max;
	bs->slots = xcalloc(bs->slot_count, sizeof(*bs->slots));
	pools_init(bs, programs, program_count);
	return bs;
}

void boxes_free(struct boxes *bs)
{
	if (!bs)
		return;
	loop_timer_stop(bs->loop, &bs->decay);
	list_for_each_safe (n, &bs->all) {
		struct box *b = list_entry(n, struct box, node);

		box_kill(b);
		box_gone(b);
	}
	loop_task_cancel(&bs->refill);
	runtime_api_close(bs->api);
	spawn_free(bs->spawn);
	free(bs->slots);
	free(bs);
}

struct spawn *boxes_spawn(struct boxes *bs)
{
	return bs->spawn;
}

void boxes_count(struct boxes *bs, unsigned *ret_all, unsigned *ret_pooled, uint64_t *ret_bytes)
{
	unsigned pooled = 0;

	for (size_t i = 0; i < bs->pool_count; i++)
		pooled += bs->pools[i].ready_count;
	*ret_all = bs->count;
	*ret_pooled = pooled;
	*ret_bytes = bs->pooled_bytes;
}
