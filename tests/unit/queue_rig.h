/* Queues on a scratch store, with calls that wait for their end. Looks inside to make windows
 * small and times short. */
#pragma once

#include "unit.h"

#include "queue/queue_int.h"
#include "scratch.h"

#define ACCOUNT STR("123456789012")
#define REGION STR("us-east-1")

struct rig {
	struct loop *loop;
	char *dir;
	struct store *store;
	struct queues *queues;
	size_t window, content_max; /* of the next opening; 0: as it is */
	int64_t dedup_ms;
};

static inline void rig_open(struct rig *r)
{
	r->store = store_open(r->loop, r->dir, NULL);
	assert_non_null(r->store);
	r->queues = queues_open(r->loop, r->store, NULL);
	assert_non_null(r->queues);
	if (r->window)
		r->queues->window = r->window;
	if (r->content_max)
		r->queues->content_max = r->content_max;
	if (r->dedup_ms)
		r->queues->dedup_ms = r->dedup_ms;
}

static inline void rig_close(struct rig *r)
{
	queues_stop(r->queues);
	store_close(r->store);
	loop_turn(r->loop, 0);
	queues_free(r->queues);
	r->queues = NULL;
}

static inline void rig_reopen(struct rig *r)
{
	rig_close(r);
	rig_open(r);
}

static inline int rig_setup(void **state)
{
	struct rig *r = xcalloc(1, sizeof(*r));

	r->loop = loop_new(2, NULL);
	r->dir = scratch_new();
	rig_open(r);
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;

	rig_close(r);
	loop_turn(r->loop, 0);
	loop_free(r->loop);
	scratch_remove(r->dir);
	free(r);
	return 0;
}

static inline void rig_sleep(struct rig *r, int64_t ms)
{
	int64_t end = time_mono_ns() + ms * 1000000;

	while (time_mono_ns() < end)
		loop_turn(r->loop, 5);
}

/* ---- results ---- */

struct rig_result {
	int finished, result;
};

static inline void rig_done(void *ctx, int result)
{
	struct rig_result *d = ctx;

	d->finished = 1;
	d->result = result;
}

static inline int rig_wait(struct rig *r, struct rig_result *d)
{
	assert_true(scratch_wait(r->loop, &d->finished));
	return d->result;
}

static inline struct queue *rig_find(struct rig *r, const char *name)
{
	return queue_find(r->queues, ACCOUNT, REGION, str_from(name));
}

static inline struct queue *rig_create_with(
    struct rig *r, const char *name, const struct queue_settings *s)
{
	struct rig_result d = {0};

	queue_create(r->queues, ACCOUNT, REGION, str_from(name), s, STR("doc"), rig_done, &d);
	assert_int_equal(rig_wait(r, &d), 0);
	return rig_find(r, name);
}

static inline struct queue *rig_create(struct rig *r, const char *name)
{
	struct queue_settings s;

	queue_settings_init(&s, str_has_suffix(str_from(name), ".fifo"));
	return rig_create_with(r, name, &s);
}

static inline void rig_update(struct rig *r, struct queue *q, const struct queue_settings *s)
{
	struct rig_result d = {0};

	queue_update(q, s, STR("doc"), rig_done, &d);
	assert_int_equal(rig_wait(r, &d), 0);
}

/* ---- sending and deleting ---- */

struct rig_write {
	struct store_write write;
	struct queue_staged *staged;
	struct rig_result d;
};

static inline void rig_written(struct store_write *w, int result)
{
	struct rig_write *x = container_of(w, struct rig_write, write);

	queue_finish(x->staged, result);
	rig_done(&x->d, result);
}

static inline int rig_send_message(
    struct rig *r, struct queue *q, const struct queue_message *m, struct queue_sent *ret)
{
	struct rig_write x = {.d = {0}};
	struct err e = ERR_INIT;

	store_write_init(&x.write, rig_written);
	x.staged = queue_stage(q, m, &x.write, ret, &e);
	if (!x.staged)
		return -e.errnum;
	store_commit(r->store, &x.write);
	return rig_wait(r, &x.d);
}

static inline void rig_send_delayed(
    struct rig *r, struct queue *q, const char *body, int64_t delay_ms)
{
	const struct queue_message m = {.body = str_from(body), .delay_ms = delay_ms};

	assert_int_equal(rig_send_message(r, q, &m, NULL), 0);
}

static inline void rig_send(struct rig *r, struct queue *q, const char *body)
{
	rig_send_delayed(r, q, body, -1);
}

static inline void rig_send_group(
    struct rig *r, struct queue *q, const char *group, const char *body)
{
	const struct queue_message m = {.body = str_from(body),
	    .delay_ms = -1,
	    .group_id = str_from(group),
	    .dedup_id = q->settings.fifo ? str_from(body) : STR_NULL};

	assert_int_equal(rig_send_message(r, q, &m, NULL), 0);
}

static inline int rig_delete(struct rig *r, struct queue *q, const char *receipt)
{
	struct rig_write x = {.d = {0}};
	int result;

	store_write_init(&x.write, rig_written);
	result = queue_stage_delete(q, str_from(receipt), &x.write, &x.staged);
	if (result < 0 || !x.staged)
		return result;
	store_commit(r->store, &x.write);
	return rig_wait(r, &x.d);
}

/* ---- receiving ---- */

#define RIG_MAX 10

struct rig_message {
	char id[37], receipt[HANDLE_SIZE], body[64], group[64], sequence[21], source[128];
	char md5[33], attributes_md5[33];
	unsigned receives;
	int64_t sent_ms, first_ms;
};

struct rig_receive {
	struct queue_receiver receiver;
	struct rig_result d;
	size_t count;
	struct rig_message m[RIG_MAX];
};

static inline void rig_copy(char *out, size_t size, struct str s)
{
	snprintf(out, size, "%.*s", STR_FMT(s));
}

static inline void rig_received(
    struct queue_receiver *receiver, int result, const struct queue_received *m, size_t count)
{
	struct rig_receive *x = container_of(receiver, struct rig_receive, receiver);

	assert_true(count <= RIG_MAX);
	x->count = count;
	for (size_t i = 0; i < count; i++) {
		struct rig_message *o = &x->m[i];

		rig_copy(o->id, sizeof(o->id), str_from(m[i].id));
		rig_copy(o->receipt, sizeof(o->receipt), str_from(m[i].receipt));
		rig_copy(o->body, sizeof(o->body), m[i].body);
		rig_copy(o->group, sizeof(o->group), m[i].group_id);
		rig_copy(o->sequence, sizeof(o->sequence), str_from(m[i].sequence));
		rig_copy(o->source, sizeof(o->source), m[i].source_arn);
		rig_copy(o->md5, sizeof(o->md5), str_from(m[i].md5));
		rig_copy(
		    o->attributes_md5, sizeof(o->attributes_md5), str_from(m[i].attributes_md5));
		o->receives = m[i].receives;
		o->sent_ms = m[i].sent_ms;
		o->first_ms = m[i].first_received_ms;
	}
	rig_done(&x->d, result);
}

static inline void rig_receive_start(
    struct rig_receive *x, struct queue *q, unsigned max, int64_t visibility_ms, int64_t wait_ms)
{
	memset(x, 0, sizeof(*x));
	x->receiver.max = max;
	x->receiver.visibility_ms = visibility_ms;
	x->receiver.wait_ms = wait_ms;
	x->receiver.done = rig_received;
	queue_receive(q, &x->receiver);
}

static inline size_t rig_receive(struct rig *r, struct queue *q, struct rig_receive *x,
    unsigned max, int64_t visibility_ms, int64_t wait_ms)
{
	rig_receive_start(x, q, max, visibility_ms, wait_ms);
	assert_int_equal(rig_wait(r, &x->d), 0);
	return x->count;
}

/* Bodies of one receive of up to ten, in order: "a b c". */
static inline const char *rig_bodies(struct rig *r, struct queue *q)
{
	static char out[1024];
	struct rig_receive x;
	size_t n = 0;

	out[0] = '\0';
	rig_receive(r, q, &x, RIG_MAX, -1, 0);
	for (size_t i = 0; i < x.count; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s", i ? " " : "", x.m[i].body);
	return out;
}
