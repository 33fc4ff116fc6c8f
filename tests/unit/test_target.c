/* Targets: the registry, deliveries that are part of a write, the outbox and its retries. */
#include "unit.h"

#include "scratch.h"
#include "target/target_int.h"

/* ---- a target of our own database, and one that is delivered to ---- */

struct own {
	int checked, staged, finished, result;
	char body[64];
};

struct far {
	int refuse; /* deliveries to be refused before one succeeds */
	int tried, delivered, final;
	char seen[512];
};

struct fixture {
	struct loop *loop;
	char *dir;
	struct store *store;
	struct targets *targets;
	struct own own;
	struct far far;
};

static int own_check(void *ctx, const struct target_record *r, struct err *e)
{
	((struct own *)ctx)->checked++;
	if (strstr(r->arn, ":gone"))
		return err_set(e, ENOENT, "There is no such queue.");
	return 0;
}

static void *own_stage(
    void *ctx, const struct target_record *r, struct store_write *w, struct err *e)
{
	struct own *o = ctx;

	if (own_check(ctx, r, e) < 0)
		return NULL;
	store_put(w, "own", STR("k"), r->body, STORE_ANY);
	snprintf(o->body, sizeof(o->body), "%.*s", STR_FMT(r->body));
	o->staged++;
	return o;
}

static void own_finish(void *ctx, void *token, int result)
{
	struct own *o = token;

	assert_ptr_equal(ctx, token);
	o->finished++;
	o->result = result;
}

static const struct target_ops own_ops = {
    .service = "sqs", .check = own_check, .stage = own_stage, .finish = own_finish};

static int far_check(void *ctx, const struct target_record *r, struct err *e)
{
	(void)ctx;
	(void)r;
	(void)e;
	return 0;
}

static void far_deliver(
    void *ctx, const struct target_record *r, void (*done)(void *arg, int result), void *arg)
{
	struct far *f = ctx;

	f->tried++;
	if (f->tried <= f->refuse) {
		done(arg, f->final ? f->final : -EAGAIN);
		return;
	}
	snprintf(f->seen, sizeof(f->seen), "%s|%s|%.*s|%s|%s=%s(%s)|%s", r->arn, r->object_key,
	    STR_FMT(r->body), r->trace_id ? r->trace_id : "-", r->attributes[0].name,
	    r->attributes[0].value, r->attributes[0].type, r->group_id ? r->group_id : "-");
	f->delivered++;
	done(arg, 0);
}

static const struct target_ops far_ops = {
    .service = "s3", .check = far_check, .deliver = far_deliver};

/* ---- fixture ---- */

static void open_all(struct fixture *f)
{
	f->store = store_open(f->loop, f->dir, NULL);
	assert_non_null(f->store);
	f->targets = targets_new(f->loop, f->store);
	targets_add(f->targets, &own_ops, &f->own);
	targets_add(f->targets, &far_ops, &f->far);
}

static void close_all(struct fixture *f)
{
	targets_stop(f->targets);
	store_close(f->store);
	targets_free(f->targets);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(2, NULL);
	f->dir = scratch_new();
	open_all(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_all(f);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f);
	return 0;
}

static void on_sent(void *ctx, int result)
{
	*(int *)ctx = result < 0 ? result : 1;
}

static const struct target_attribute attribute = {"RequestID", "String", "r-1"};
static const struct target_record to_far = {.arn = "arn:aws:s3:::failed",
    .body = {"{}", 2},
    .attributes = &attribute,
    .attribute_count = 1,
    .object_key = "a/b"};

static void send_far(struct fixture *f)
{
	int sent = 0;

	target_send(f->targets, &to_far, on_sent, &sent);
	assert_true(scratch_wait(f->loop, &sent));
	assert_int_equal(sent, 1);
}

/* Nothing is left of what was sent. */
static void wait_empty(struct fixture *f)
{
	for (int i = 0; i < 100 && store_queue_length(f->store, OUTBOX_QUEUE); i++)
		loop_turn(f->loop, 50);
	assert_int_equal(store_queue_length(f->store, OUTBOX_QUEUE), 0);
}

/* ---- tests ---- */

static void test_services(void **state)
{
	(void)state;
	assert_true(str_is(target_service("arn:aws:sqs:us-east-1:1:q"), "sqs"));
	assert_true(str_is(target_service("arn:aws-cn:s3:::b"), "s3"));
	assert_int_equal(target_service("arn:aws:sqs").len, 0);
	assert_int_equal(target_service("").len, 0);
	assert_int_equal(target_service("http://x:y:z").len, 0);
}

static void test_check(void **state)
{
	struct fixture *f = *state;
	struct target_record r = {.arn = "arn:aws:sqs:us-east-1:1:q"};
	struct err e = ERR_INIT;

	assert_int_equal(target_check(f->targets, &r, &e), 0);
	r.arn = "arn:aws:sqs:us-east-1:1:gone";
	assert_int_equal(target_check(f->targets, &r, &e), -ENOENT);
	r.arn = "arn:aws:sns:us-east-1:1:t";
	assert_int_equal(target_check(f->targets, &r, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "sns"));
	r.arn = "nonsense";
	assert_int_equal(target_check(f->targets, &r, &e), -EINVAL);
}

static void test_part_of_a_write(void **state)
{
	struct fixture *f = *state;
	const struct target_record r = {.arn = "arn:aws:sqs:us-east-1:1:q", .body = STR("hello")};
	int sent = 0;

	target_send(f->targets, &r, on_sent, &sent);
	assert_int_equal(f->own.staged, 1);
	assert_int_equal(f->own.finished, 0);
	assert_true(scratch_wait(f->loop, &sent));
	assert_int_equal(f->own.finished, 1);
	assert_int_equal(f->own.result, 0);
	assert_string_equal(f->own.body, "hello");
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	const struct target_record r = {.arn = "arn:aws:sqs:us-east-1:1:gone"};
	int sent = 0;

	target_send(f->targets, &r, on_sent, &sent);
	assert_int_equal(sent, -ENOENT);
	target_send(f->targets, &r, NULL, NULL);
	assert_int_equal(f->own.staged, 0);
	target_finish(NULL, 0);
}

struct failing {
	struct store_write write;
	struct target_staged *own, *far;
	int ended;
};

static void on_failed(struct store_write *w, int result)
{
	struct failing *f = container_of(w, struct failing, write);

	target_finish(f->own, result);
	target_finish(f->far, result);
	f->ended = 1;
}

/* A write that fails takes the delivery with it. */
static void test_failed_write(void **state)
{
	struct fixture *f = *state;
	struct target_record r = to_far;
	struct failing w = {0};
	struct err e = ERR_INIT;

	store_write_init(&w.write, on_failed);
	r.arn = "arn:aws:sqs:us-east-1:1:q";
	w.own = target_stage(f->targets, &r, &w.write, &e);
	w.far = target_stage(f->targets, &to_far, &w.write, &e);
	assert_non_null(w.own);
	assert_non_null(w.far);
	store_put(&w.write, "other", STR("k"), STR("v"), 7); /* there is no version 7 */
	store_commit(f->store, &w.write);
	assert_true(scratch_wait(f->loop, &w.ended));
	assert_int_equal(f->own.result, -EAGAIN);
	loop_turn(f->loop, 20);
	assert_int_equal(f->far.tried, 0);
	assert_int_equal(store_queue_length(f->store, OUTBOX_QUEUE), 0);
}

static void test_outbox(void **state)
{
	struct fixture *f = *state;

	send_far(f);
	assert_true(scratch_wait(f->loop, &f->far.delivered));
	assert_string_equal(f->far.seen, "arn:aws:s3:::failed|a/b|{}|-|RequestID=r-1(String)|-");
	wait_empty(f);
}

static void test_retry(void **state)
{
	struct fixture *f = *state;

	f->far.refuse = 1;
	send_far(f);
	assert_true(scratch_wait(f->loop, &f->far.tried));
	assert_int_equal(f->far.delivered, 0);
	assert_true(scratch_wait(f->loop, &f->far.delivered));
	assert_int_equal(f->far.tried, 2);
	wait_empty(f);
}

static void test_final(void **state)
{
	struct fixture *f = *state;

	f->far.refuse = 1;
	f->far.final = -ENOENT;
	send_far(f);
	assert_true(scratch_wait(f->loop, &f->far.tried));
	wait_empty(f);
	assert_int_equal(f->far.delivered, 0);
}

/* What was sent before a restart is delivered after it. */
static void test_restart(void **state)
{
	struct fixture *f = *state;

	targets_stop(f->targets);
	send_far(f);
	send_far(f);
	close_all(f);
	open_all(f);
	targets_resume(f->targets);
	for (int i = 0; i < 100 && f->far.delivered < 2; i++)
		loop_turn(f->loop, 50);
	assert_int_equal(f->far.delivered, 2);
	wait_empty(f);
}

static void test_many(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++)
		target_send(f->targets, &to_far, NULL, NULL);
	for (int i = 0; i < 200 && f->far.delivered < 100; i++)
		loop_turn(f->loop, 50);
	assert_int_equal(f->far.delivered, 100);
	wait_empty(f);
}

static void test_broken_records(void **state)
{
	struct buf whole = BUF_INIT;
	struct target_attribute attributes[TARGET_ATTRIBUTES_MAX];
	size_t len;

	(void)state;
	record_encode(&whole, &to_far);
	len = buf_len(&whole);
	for (size_t n = 0; n <= len; n++) {
		struct buf part = BUF_INIT;
		struct target_record r = {0};
		bool ok;

		buf_append(&part, buf_data(&whole), n);
		ok = record_decode(&part, &r, attributes);
		/* Between two attributes it is whole, too. */
		assert_true(
		    n == len ? ok && r.attribute_count == 1 : !ok || r.attribute_count == 0);
		buf_done(&part);
	}
	buf_done(&whole);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_services),
	    T(test_check),
	    T(test_part_of_a_write),
	    T(test_gone),
	    T(test_failed_write),
	    T(test_outbox),
	    T(test_retry),
	    T(test_final),
	    T(test_restart),
	    T(test_many),
	    cmocka_unit_test(test_broken_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
