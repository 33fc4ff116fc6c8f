/* Queues: what each kind promises, restarts, backlogs that are larger than memory, ten thousand
 * who wait. test_queue_model.c does the same things at random. */
#include "queue_rig.h"

#include <sys/resource.h>

/* ---- standard queues ---- */

static void a_message_is_received_and_deleted(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct rig_receive x;
	struct queue_counts c;

	rig_send(r, q, "hello");
	assert_int_equal(rig_receive(r, q, &x, 1, -1, 0), 1);
	assert_string_equal(x.m[0].body, "hello");
	assert_string_equal(x.m[0].md5, "5d41402abc4b2a76b9719d911017c592");
	assert_int_equal(x.m[0].receives, 1);
	queue_counts(q, &c);
	assert_int_equal(c.in_flight, 1);
	assert_string_equal(rig_bodies(r, q), "");
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	queue_counts(q, &c);
	assert_int_equal(c.in_flight + c.visible, 0);
	assert_int_equal(rig_delete(r, q, "nonsense"), -EINVAL);
	x.m[0].receipt[20] ^= 1;
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), -EINVAL);
	rig_reopen(r);
	assert_string_equal(rig_bodies(r, rig_find(r, "jobs")), "");
}

/* The sums that AWS's own clients compute. */
static void attributes_are_hashed_as_clients_do(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct queue_attribute a = {STR("timestamp"), STR("Number"), STR("1493147359900")};
	struct queue_message m = {
	    .body = STR("x"), .attributes = &a, .attribute_count = 1, .delay_ms = -1};
	struct queue_sent sent;
	struct rig_receive x;

	assert_int_equal(rig_send_message(r, q, &m, &sent), 0);
	assert_string_equal(sent.attributes_md5, "235c5c510d26fb653d073faed50ae77c");
	assert_int_equal(rig_receive(r, q, &x, 1, -1, 0), 1);
	assert_string_equal(x.m[0].attributes_md5, sent.attributes_md5);
	assert_string_equal(x.m[0].id, sent.id);
	a.type = STR("Number.java.lang.Long");
	assert_int_equal(rig_send_message(r, q, &m, &sent), 0);
	assert_string_equal(sent.attributes_md5, "2e2e4876d8e0bd6b8c2c8f556831c349");
}

static void what_is_not_deleted_comes_back(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct rig_receive x, y;

	rig_send(r, q, "a");
	assert_int_equal(rig_receive(r, q, &x, 1, 60, 0), 1);
	assert_int_equal(rig_receive(r, q, &y, 1, 60000, 5000), 1);
	assert_string_equal(y.m[0].body, "a");
	assert_int_equal(y.m[0].receives, 2);
	assert_int_equal(y.m[0].first_ms, x.m[0].first_ms);
	assert_string_not_equal(x.m[0].receipt, y.m[0].receipt);
	/* An old handle deletes nothing. */
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	assert_int_equal(queue_visibility(q, str_from(x.m[0].receipt), 0), -ENOENT);
	assert_int_equal(queue_visibility(q, str_from(y.m[0].receipt), 13 * 3600 * 1000), -ERANGE);
	assert_int_equal(queue_visibility(q, str_from(y.m[0].receipt), 0), 0);
	assert_int_equal(rig_receive(r, q, &x, 1, 60000, 0), 1);
	assert_int_equal(x.m[0].receives, 3);
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
}

static void delays_hold_messages_back(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct rig_receive x;
	struct queue_counts c;

	rig_send_delayed(r, q, "later", 150);
	rig_send_delayed(r, q, "now", 0);
	queue_counts(q, &c);
	assert_int_equal(c.delayed, 1);
	assert_string_equal(rig_bodies(r, q), "now");
	rig_reopen(r);
	q = rig_find(r, "jobs");
	assert_int_equal(rig_receive(r, q, &x, 1, -1, 5000), 1);
	assert_true(time_wall_ms() >= x.m[0].sent_ms + 150);
	assert_string_equal(x.m[0].body, x.m[0].receives == 1 ? "later" : "now");
}

static void receivers_wait_in_line(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct rig_receive x, y, z;
	int64_t began_ms = time_wall_ms();

	rig_receive_start(&x, q, 1, -1, 5000);
	rig_receive_start(&y, q, 1, -1, 5000);
	rig_receive_start(&z, q, 1, -1, 100);
	rig_send(r, q, "a");
	assert_int_equal(rig_wait(r, &x.d), 0);
	assert_string_equal(x.m[0].body, "a");
	assert_false(y.d.finished);
	assert_int_equal(rig_wait(r, &z.d), 0);
	assert_int_equal(z.count, 0);
	assert_true(time_wall_ms() - began_ms >= 99);
	queue_receive_cancel(&y.receiver);
	rig_send(r, q, "b");
	rig_sleep(r, 20);
	assert_false(y.d.finished);
	queue_receive_cancel(&y.receiver);
	assert_string_equal(rig_bodies(r, q), "b");
}

static void what_is_in_flight_stays_so_over_a_restart(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	struct rig_receive x, y;

	rig_send(r, q, "a");
	rig_send(r, q, "b");
	assert_int_equal(rig_receive(r, q, &x, 1, 60000, 0), 1);
	rig_reopen(r);
	q = rig_find(r, "jobs");
	assert_int_equal(rig_receive(r, q, &y, 10, 300, 0), 1);
	assert_string_equal(y.m[0].body, "b");
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0); /* a handle of the former life */
	rig_reopen(r);
	q = rig_find(r, "jobs");
	assert_int_equal(rig_receive(r, q, &x, 10, -1, 3000), 1);
	assert_string_equal(x.m[0].body, "b");
	assert_int_equal(x.m[0].receives, 2);
}

static void old_messages_leave(void **state)
{
	struct rig *r = *state;
	struct queue_settings s;
	struct queue *q;
	struct queue_counts c;

	queue_settings_init(&s, false);
	s.retention_ms = 200;
	q = rig_create_with(r, "jobs", &s);
	rig_send(r, q, "a");
	rig_send(r, q, "b");
	rig_sleep(r, 450);
	queue_counts(q, &c);
	assert_int_equal(c.visible + c.in_flight, 0);
	assert_int_equal(store_queue_length(r->store, q->store_name), 0);
}

static void groups_of_a_fair_queue_take_turns(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	char body[16];

	for (int i = 0; i < 6; i++) {
		snprintf(body, sizeof(body), "a%d", i);
		rig_send_group(r, q, "loud", body);
	}
	rig_send_group(r, q, "quiet", "b0");
	rig_send(r, q, "c0");
	rig_send_group(r, q, "quiet", "b1");
	assert_string_equal(rig_bodies(r, q), "a0 b0 c0 a1 b1 a2 a3 a4 a5");
}

/* ---- FIFO ---- */

static void a_group_is_received_in_order_one_batch_at_a_time(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs.fifo");
	struct rig_receive x, y;

	rig_send_group(r, q, "g", "1");
	rig_send_group(r, q, "g", "2");
	rig_send_group(r, q, "h", "3");
	rig_send_group(r, q, "g", "4");
	assert_int_equal(rig_receive(r, q, &x, 2, 60000, 0), 2);
	assert_string_equal(x.m[0].body, "1");
	assert_string_equal(x.m[1].body, "2");
	assert_true(strcmp(x.m[0].sequence, x.m[1].sequence) < 0);
	assert_int_equal(strlen(x.m[0].sequence), 20);
	assert_int_equal(rig_receive(r, q, &y, 10, 60000, 0), 1);
	assert_string_equal(y.m[0].body, "3");
	assert_int_equal(rig_delete(r, q, x.m[1].receipt), 0);
	assert_string_equal(rig_bodies(r, q), "");
	assert_int_equal(queue_visibility(q, str_from(x.m[0].receipt), 0), 0);
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), -ESTALE);
	assert_int_equal(rig_receive(r, q, &x, 1, 60000, 0), 1);
	assert_string_equal(x.m[0].body, "1");
	rig_reopen(r);
	q = rig_find(r, "jobs.fifo");
	assert_string_equal(rig_bodies(r, q), ""); /* both groups are still held */
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	assert_string_equal(rig_bodies(r, q), "4");
}

static void duplicates_are_known_for_a_while(void **state)
{
	struct rig *r = *state;
	struct queue_settings s;
	struct queue_message m = {.body = STR("x"), .group_id = STR("g"), .delay_ms = -1};
	struct queue_sent first, again;
	struct queue *q;

	queue_settings_init(&s, true);
	r->dedup_ms = 400;
	rig_reopen(r);
	q = rig_create_with(r, "jobs.fifo", &s);
	assert_int_equal(rig_send_message(r, q, &m, NULL), -EINVAL);
	s.content_dedup = true;
	rig_update(r, q, &s);
	assert_int_equal(rig_send_message(r, q, &m, &first), 0);
	assert_int_equal(rig_send_message(r, q, &m, &again), 0);
	assert_string_equal(first.id, again.id);
	assert_string_equal(first.sequence, again.sequence);
	assert_string_equal(first.md5, again.md5);
	rig_reopen(r);
	q = rig_find(r, "jobs.fifo");
	assert_int_equal(rig_send_message(r, q, &m, &again), 0);
	assert_string_equal(first.id, again.id);
	assert_string_equal(rig_bodies(r, q), "x");
	rig_sleep(r, 450);
	assert_int_equal(rig_send_message(r, q, &m, &again), 0);
	assert_string_not_equal(first.id, again.id);
	rig_sleep(r, 1500); /* the memory of it leaves the disk */
	assert_int_equal(store_queue_length(r->store, q->dedup_name), 0);
	m.group_id = STR_NULL;
	assert_int_equal(rig_send_message(r, q, &m, NULL), -ENODATA);
}

/* The first of two is not on disk yet when the second asks: they stand or fall together. */
static void a_duplicate_waits_for_its_first(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs.fifo");
	const struct queue_message m = {
	    .body = STR("x"), .group_id = STR("g"), .dedup_id = STR("d"), .delay_ms = -1};
	struct rig_write a = {.d = {0}}, b = {.d = {0}};

	store_write_init(&a.write, rig_written);
	store_write_init(&b.write, rig_written);
	a.staged = queue_stage(q, &m, &a.write, NULL, NULL);
	b.staged = queue_stage(q, &m, &b.write, NULL, NULL);
	store_put(&a.write, "x", STR("k"), STR("v"), 99); /* fails */
	store_commit(r->store, &a.write);
	store_commit(r->store, &b.write);
	assert_int_equal(rig_wait(r, &a.d), -EAGAIN);
	assert_int_equal(rig_wait(r, &b.d), -EAGAIN);
	assert_int_equal(rig_send_message(r, q, &m, NULL), 0);
	assert_string_equal(rig_bodies(r, q), "x");
}

static void an_attempt_is_answered_again(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs.fifo");
	struct rig_receive x, y;

	rig_send_group(r, q, "g", "1");
	rig_send_group(r, q, "g", "2");
	memset(&x, 0, sizeof(x));
	x.receiver = (struct queue_receiver){
	    .max = 10, .visibility_ms = 60000, .attempt_id = STR("attempt"), .done = rig_received};
	y = x;
	queue_receive(q, &x.receiver);
	queue_receive(q, &y.receiver);
	assert_int_equal(x.count, 2);
	assert_int_equal(y.count, 2);
	assert_string_equal(x.m[0].receipt, y.m[0].receipt);
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	memset(&y.d, 0, sizeof(y.d));
	queue_receive(q, &y.receiver);
	assert_int_equal(y.count, 0);
}

/* ---- dead letters ---- */

static struct queue *with_dead_letters(struct rig *r, const char *name, struct queue *dead)
{
	struct queue_settings s;

	queue_settings_init(&s, dead->settings.fifo);
	snprintf(s.dead_letter_arn, sizeof(s.dead_letter_arn), "%s", queue_arn(dead));
	s.receives_max = 2;
	return rig_create_with(r, name, &s);
}

static void poison_ends_in_the_dead_letter_queue(void **state)
{
	struct rig *r = *state;
	struct queue *dead = rig_create(r, "dead"), *q = with_dead_letters(r, "jobs", dead);
	struct rig_receive x, y;

	assert_string_equal(queue_dead_letter_arn(q), queue_arn(dead));
	rig_send(r, q, "poison");
	assert_int_equal(rig_receive(r, q, &x, 1, 0, 0), 1);
	assert_int_equal(rig_receive(r, q, &x, 1, 0, 2000), 1);
	assert_int_equal(x.m[0].receives, 2);
	assert_int_equal(rig_receive(r, dead, &y, 1, -1, 2000), 1);
	assert_string_equal(y.m[0].body, "poison");
	assert_string_equal(y.m[0].id, x.m[0].id);
	assert_string_equal(y.m[0].source, queue_arn(q));
	assert_int_equal(y.m[0].sent_ms, x.m[0].sent_ms);
	assert_string_equal(rig_bodies(r, q), "");
	assert_int_equal(store_queue_length(r->store, q->store_name), 0);
	rig_reopen(r);
	assert_int_equal(store_queue_length(r->store, rig_find(r, "dead")->store_name), 1);
}

static void a_group_goes_on_behind_a_dead_letter(void **state)
{
	struct rig *r = *state;
	struct queue *dead = rig_create(r, "dead.fifo");
	struct queue *q = with_dead_letters(r, "jobs.fifo", dead);
	struct rig_receive x;

	rig_send_group(r, q, "g", "1");
	rig_send_group(r, q, "g", "2");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_receive(r, q, &x, 1, 20, 2000), 1);
		assert_string_equal(x.m[0].body, "1");
	}
	assert_int_equal(rig_receive(r, q, &x, 1, 20, 2000), 1);
	assert_string_equal(x.m[0].body, "2");
	assert_string_equal(rig_bodies(r, dead), "1");
}

static void finish_move(struct rig *r, const struct queue_move *v)
{
	int64_t end = time_mono_ns() + 10000000000;

	while (v->status == QUEUE_MOVE_RUNNING && time_mono_ns() < end)
		loop_turn(r->loop, 10);
}

static void dead_letters_move_back(void **state)
{
	struct rig *r = *state;
	struct queue *dead = rig_create(r, "dead"), *q = with_dead_letters(r, "jobs", dead);
	const struct queue_move *v, *list[4];
	struct queue_counts c;
	struct rig_receive x;
	char body[16];
	int64_t moved;

	for (int i = 0; i < 250; i++) {
		snprintf(body, sizeof(body), "%d", i);
		rig_send(r, q, body);
	}
	for (size_t n = 0; n < 500; n += x.count)
		assert_true(rig_receive(r, q, &x, 10, 0, 2000) > 0);
	rig_sleep(r, 100);
	queue_counts(dead, &c);
	assert_int_equal(c.visible, 250);
	assert_int_equal(queue_move_start(dead, NULL, 500, &v), 0);
	assert_int_equal(queue_move_start(dead, NULL, 0, &list[0]), -EBUSY);
	rig_sleep(r, 250); /* at 500 a second it is not done */
	assert_true(v->moved > 0 && v->moved < 250);
	rig_reopen(r);
	dead = rig_find(r, "dead");
	q = rig_find(r, "jobs");
	assert_int_equal(queue_moves(r->queues, queue_arn(dead), list, 4), 1);
	v = list[0];
	assert_int_equal(v->status, QUEUE_MOVE_RUNNING);
	finish_move(r, v);
	assert_int_equal(v->status, QUEUE_MOVE_COMPLETED);
	assert_int_equal(v->moved, 250);
	queue_counts(q, &c);
	assert_int_equal(c.visible, 250);
	assert_int_equal(rig_receive(r, q, &x, 1, -1, 0), 1);
	assert_int_equal(x.m[0].receives, 1);
	assert_string_equal(x.m[0].source, "");
	assert_int_equal(queue_move_start(q, dead, 10, &v), 0);
	rig_sleep(r, 30);
	assert_int_equal(queue_move_cancel(r->queues, str_from(v->handle), &moved), 0);
	rig_sleep(r, 30);
	assert_int_equal(v->status, QUEUE_MOVE_CANCELLED);
	assert_int_equal(queue_move_cancel(r->queues, str_from(v->handle), &moved), -EALREADY);
	assert_int_equal(queue_move_cancel(r->queues, STR("no"), &moved), -ENOENT);
}

static void what_came_from_nowhere_is_not_moved(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "dead");
	const struct queue_move *v;

	rig_send(r, q, "x");
	assert_int_equal(queue_move_start(q, NULL, 0, &v), 0);
	finish_move(r, v);
	assert_int_equal(v->status, QUEUE_MOVE_FAILED);
	assert_string_equal(v->failure, "CouldNotDetermineMessageSource");
	assert_string_equal(rig_bodies(r, q), "x");
}

/* ---- queues ---- */

static void purging_leaves_nothing(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	char old[32];
	struct rig_result d = {0};
	struct rig_receive x;

	snprintf(old, sizeof(old), "%s", q->store_name);
	for (int i = 0; i < 20; i++)
		rig_send(r, q, "x");
	rig_send_delayed(r, q, "later", 60000);
	assert_int_equal(rig_receive(r, q, &x, 5, -1, 0), 5);
	assert_int_equal(queue_purge(q, rig_done, &d), 0);
	assert_int_equal(rig_wait(r, &d), 0);
	assert_int_equal(queue_purge(q, rig_done, &d), -EBUSY);
	assert_string_equal(rig_bodies(r, q), "");
	assert_int_equal(rig_delete(r, q, x.m[0].receipt), 0);
	rig_send(r, q, "new");
	rig_reopen(r);
	q = rig_find(r, "jobs");
	assert_string_equal(rig_bodies(r, q), "new");
	rig_sleep(r, 100);
	assert_int_equal(store_queue_length(r->store, old), 0);
}

static void a_deleted_queue_is_gone(void **state)
{
	struct rig *r = *state;
	struct queue *q = rig_create(r, "jobs");
	char old[32];
	struct rig_result d = {0};
	struct rig_receive x;

	snprintf(old, sizeof(old), "%s", q->store_name);
	for (int i = 0; i < 20; i++)
		rig_send(r, q, "x");
	for (int i = 0; i < 2; i++)
		rig_receive(r, q, &x, 10, -1, 0);
	rig_receive_start(&x, q, 1, -1, 5000);
	queue_delete(q, rig_done, &d);
	assert_null(rig_find(r, "jobs"));
	assert_int_equal(rig_wait(r, &d), 0);
	assert_int_equal(x.d.result, -ENOENT);
	q = rig_create(r, "jobs");
	assert_string_equal(rig_bodies(r, q), "");
	rig_sleep(r, 100);
	assert_int_equal(store_queue_length(r->store, old), 0);
	rig_reopen(r);
	assert_non_null(rig_find(r, "jobs"));
}

static bool collect(void *ctx, struct queue *q)
{
	char *out = ctx;

	strcat(out, queue_name(q));
	strcat(out, " ");
	return true;
}

static void queues_are_listed_and_created_once(void **state)
{
	struct rig *r = *state;
	struct rig_result a = {0}, b = {0};
	struct queue_settings s;
	char names[128] = "";
	struct str document;

	queue_settings_init(&s, false);
	queue_create(r->queues, ACCOUNT, REGION, STR("b"), &s, STR("one"), rig_done, &a);
	queue_create(r->queues, ACCOUNT, REGION, STR("b"), &s, STR("two"), rig_done, &b);
	assert_null(rig_find(r, "b"));
	assert_int_equal(rig_wait(r, &a), 0);
	assert_int_equal(rig_wait(r, &b), -EEXIST);
	rig_create(r, "c");
	rig_create(r, "a");
	queues_each(r->queues, ACCOUNT, REGION, STR("a"), collect, names);
	assert_string_equal(names, "b c ");
	s.delay_ms = 5000;
	snprintf(s.dead_letter_arn, sizeof(s.dead_letter_arn), "arn:x y");
	s.receives_max = 3;
	queue_update(rig_find(r, "b"), &s, STR("three\nlines\n"), NULL, NULL);
	assert_int_equal(queue_draft(rig_find(r, "b"), &document)->delay_ms, 5000);
	assert_true(str_is(document, "three\nlines\n"));
	assert_true(str_is(queue_document(rig_find(r, "b")), "one"));
	rig_reopen(r);
	assert_true(str_is(queue_document(rig_find(r, "b")), "three\nlines\n"));
	assert_int_equal(queue_settings(rig_find(r, "b"))->receives_max, 3);
	assert_string_equal(queue_settings(rig_find(r, "b"))->dead_letter_arn, "arn:x y");
}

/* ---- backlogs ---- */

#define MANY 3000

static void send_many(struct rig *r, struct queue *q, unsigned groups)
{
	struct rig_write *w = xcalloc(MANY, sizeof(*w));

	for (int i = 0; i < MANY; i++) {
		char body[16], group[16] = "";
		struct queue_message m = {.delay_ms = -1};

		snprintf(body, sizeof(body), "%06d", i);
		m.body = str_from(body);
		if (groups)
			snprintf(group, sizeof(group), "g%u", (unsigned)i % groups);
		m.group_id = str_from(group);
		if (q->settings.fifo)
			m.dedup_id = str_from(body);
		store_write_init(&w[i].write, rig_written);
		w[i].staged = queue_stage(q, &m, &w[i].write, NULL, NULL);
		assert_non_null(w[i].staged);
		store_commit(r->store, &w[i].write);
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(rig_wait(r, &w[i].d), 0);
	free(w);
}

static void drain(struct rig *r, struct queue *q, bool ordered)
{
	char *seen = xcalloc(MANY, 1);
	struct rig_receive x;
	int last = -1;

	for (size_t n = 0; n < MANY; n += x.count) {
		assert_true(rig_receive(r, q, &x, 10, 60000, 0) > 0);
		for (size_t i = 0; i < x.count; i++) {
			int number = atoi(x.m[i].body);

			assert_true(number >= 0 && number < MANY && !seen[number]);
			if (ordered)
				assert_int_equal(number, ++last);
			seen[number] = 1;
			assert_int_equal(rig_delete(r, q, x.m[i].receipt), 0);
		}
		assert_true(q->message_count < 2200); /* a window and what one read adds */
	}
	assert_string_equal(rig_bodies(r, q), "");
	assert_int_equal(store_queue_length(r->store, q->store_name), 0);
	free(seen);
}

static void a_long_backlog_stays_on_disk(void **state)
{
	struct rig *r = *state;
	struct queue_counts c;
	struct queue *q;

	r->window = 50;
	r->content_max = 2000;
	rig_reopen(r);
	q = rig_create(r, "jobs");
	send_many(r, q, 0);
	assert_true(q->message_count <= 101);
	queue_counts(q, &c);
	assert_int_equal(c.visible, MANY);
	drain(r, q, true);
	send_many(r, q, 0);
	rig_reopen(r);
	q = rig_find(r, "jobs");
	queue_counts(q, &c);
	assert_int_equal(c.visible, MANY);
	drain(r, q, true);
}

static void a_long_fifo_backlog_keeps_its_order(void **state)
{
	struct rig *r = *state;
	struct queue *q;

	r->window = 50;
	r->content_max = 2000;
	rig_reopen(r);
	q = rig_create(r, "jobs.fifo");
	send_many(r, q, 1);
	assert_true(q->message_count <= 101);
	drain(r, q, true);
	rig_create(r, "more.fifo");
	send_many(r, rig_find(r, "more.fifo"), 7);
	rig_reopen(r);
	drain(r, rig_find(r, "more.fifo"), false);
}

/* A quiet group's message comes at once, though others' are before it by thousands. */
static void a_backlog_does_not_starve_other_groups(void **state)
{
	struct rig *r = *state;
	struct rig_receive x;
	struct queue *q;

	r->window = 50;
	rig_reopen(r);
	q = rig_create(r, "jobs");
	send_many(r, q, 1);
	rig_send_group(r, q, "quiet", "psst");
	assert_int_equal(rig_receive(r, q, &x, 2, -1, 0), 2);
	assert_string_equal(x.m[1].body, "psst");
	assert_int_equal(rig_delete(r, q, x.m[1].receipt), 0);
	assert_int_equal(queue_visibility(q, str_from(x.m[0].receipt), 0), 0);
	drain(r, q, false);
}

/* What was received in a former life and is far down the backlog now. */
static void a_handle_works_beyond_the_window(void **state)
{
	struct rig *r = *state;
	struct rig_receive x;
	struct queue *q;
	int64_t before;

	rig_create(r, "jobs");
	q = rig_find(r, "jobs");
	send_many(r, q, 0);
	for (int i = 0; i < 50; i++)
		rig_receive(r, q, &x, 10, 60000, 0);
	r->window = 50;
	rig_reopen(r);
	q = rig_find(r, "jobs");
	before = store_queue_length(r->store, q->store_name);
	assert_int_equal(rig_delete(r, q, x.m[9].receipt), 0);
	assert_int_equal(store_queue_length(r->store, q->store_name), before - 1);
}

static void many_delayed_messages_do_not_hide_the_others(void **state)
{
	struct rig *r = *state;
	struct rig_receive x;
	struct queue *q;
	size_t n = 0;

	r->window = 20;
	rig_reopen(r);
	q = rig_create(r, "jobs");
	for (int i = 0; i < 100; i++)
		rig_send_delayed(r, q, "later", 1200 + i);
	for (int i = 0; i < 100; i++)
		rig_send(r, q, "now");
	while (n < 100) {
		assert_true(rig_receive(r, q, &x, 10, -1, 0) > 0);
		for (size_t i = 0; i < x.count; i++)
			assert_string_equal(x.m[i].body, "now");
		n += x.count;
	}
	while (n < 200) {
		assert_true(rig_receive(r, q, &x, 10, -1, 5000) > 0);
		n += x.count;
	}
	assert_string_equal(rig_bodies(r, q), "");
}

/* ---- waiting ---- */

static int64_t cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * (int64_t)1000000 + u.ru_utime.tv_usec +
	       u.ru_stime.tv_usec;
}

#define WAITING 10000

static void ten_thousand_wait_for_nothing(void **state)
{
	struct rig *r = *state;
	struct rig_receive *x = xcalloc(WAITING, sizeof(*x));
	struct queue *q = rig_create(r, "jobs");
	int64_t before, end;
	size_t got = 0;

	for (size_t i = 0; i < WAITING; i++)
		rig_receive_start(&x[i], q, 1, -1, 20000);
	rig_sleep(r, 50);
	before = cpu_us();
	end = time_mono_ns() + 1000000000;
	while (time_mono_ns() < end)
		loop_turn(r->loop, (int)((end - time_mono_ns()) / 1000000) + 1);
	print_message("CPU of a second in which 10,000 wait: %d us\n", (int)(cpu_us() - before));
	assert_true(cpu_us() - before < 5000);
	for (int i = 0; i < 10; i++)
		rig_send(r, q, "x");
	rig_sleep(r, 20);
	for (size_t i = 0; i < WAITING; i++)
		got += x[i].count;
	assert_int_equal(got, 10);
	assert_int_equal(x[9].count, 1);
	for (size_t i = 0; i < WAITING; i++)
		queue_receive_cancel(&x[i].receiver);
	free(x);
}

/* ---- damage ---- */

static void torn_rows_are_left_out(void **state)
{
	struct rig *r = *state;
	struct rig_write w = {.d = {0}};
	struct queue *q = rig_create(r, "jobs");

	rig_send(r, q, "whole");
	store_write_init(&w.write, rig_written);
	store_send(&w.write, q->store_name, STR("0123456789abcdef"), STR("torn"), 0);
	store_send(&w.write, q->store_name, STR("short"), STR("torn"), 0);
	store_commit(r->store, &w.write);
	assert_int_equal(rig_wait(r, &w.d), 0);
	rig_reopen(r);
	assert_string_equal(rig_bodies(r, rig_find(r, "jobs")), "whole");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_message_is_received_and_deleted),
	    TEST(attributes_are_hashed_as_clients_do),
	    TEST(what_is_not_deleted_comes_back),
	    TEST(delays_hold_messages_back),
	    TEST(receivers_wait_in_line),
	    TEST(what_is_in_flight_stays_so_over_a_restart),
	    TEST(old_messages_leave),
	    TEST(groups_of_a_fair_queue_take_turns),
	    TEST(a_group_is_received_in_order_one_batch_at_a_time),
	    TEST(duplicates_are_known_for_a_while),
	    TEST(a_duplicate_waits_for_its_first),
	    TEST(an_attempt_is_answered_again),
	    TEST(poison_ends_in_the_dead_letter_queue),
	    TEST(a_group_goes_on_behind_a_dead_letter),
	    TEST(dead_letters_move_back),
	    TEST(what_came_from_nowhere_is_not_moved),
	    TEST(purging_leaves_nothing),
	    TEST(a_deleted_queue_is_gone),
	    TEST(queues_are_listed_and_created_once),
	    TEST(a_long_backlog_stays_on_disk),
	    TEST(a_long_fifo_backlog_keeps_its_order),
	    TEST(a_backlog_does_not_starve_other_groups),
	    TEST(a_handle_works_beyond_the_window),
	    TEST(many_delayed_messages_do_not_hide_the_others),
	    TEST(ten_thousand_wait_for_nothing),
	    TEST(torn_rows_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
