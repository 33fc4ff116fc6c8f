/*
 * Queues against a naive model: random sends, receives, deletions, visibilities, purges, moves,
 * clean restarts and crashes, over standard and FIFO queues with dead letters, small windows and a
 * clock that the test turns. What the model cannot know (a second of receives that a crash forgets,
 * where a message that is on disk alone was moved to) it takes for possible, until the message is
 * seen again. In the end everything that nobody deleted must come out.
 *
 * MAYFLY_SEED repeats a run, MAYFLY_STEPS makes it longer.
 */
#include "queue_rig.h"

#include <stdlib.h>

#include "base/rand.h"

#include "model_clock.h"

enum { JOBS, DEAD, FIFO, FIFO_DEAD, SHORT, QUEUES };

#define GROUPS 4
#define MESSAGES_MAX 200000
#define RETENTION_MS 200000 /* of SHORT */
#define SAVED_AFTER_MS 1000
#define PENDING_MAX 3

static const char *const names[QUEUES] = {"jobs", "dead", "jobs.fifo", "dead.fifo", "short"};
static const int dead_of[QUEUES] = {DEAD, -1, FIFO_DEAD, -1, -1};
static const unsigned tries_of[QUEUES] = {3, 0, 2, 0, 0};

struct msg {
	int at;         /* the queue it was seen in last */
	unsigned where; /* bits of the queues it may be in */
	bool gone, maybe_gone;
	bool loose; /* a crash may have forgotten its last receive */
	bool sequenced;
	unsigned receives;
	int64_t sent_ms, visible_ms, changed_ms;
	char group[8], sequence[SEQUENCE_SIZE], id[37];
	char receipt[HANDLE_SIZE], stale[HANDLE_SIZE];
	int receipt_from;    /* queue of both */
	uint64_t order, seq; /* as received or sent last; 0: unknown */
};

struct dedup_key {
	char text[24];
	char id[37];
	int64_t expires_ms;
	bool unsure; /* the clock went back */
};

static struct rig *r;
static struct queue *queues[QUEUES];
static struct msg *messages;
static int count;
static struct dedup_key dedups[2][256];

static int64_t purged_ms[QUEUES];
static bool moving[QUEUES];
static unsigned long steps_done, received_total, crashes, moves;

/* Those that wait, and those that have been answered since. */
static struct rig_receive *pending[PENDING_MAX];
static int pending_queue[PENDING_MAX];

static uint64_t state;

static unsigned pick(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 16) % n);
}

static bool is_fifo(int q)
{
	return q == FIFO || q == FIFO_DEAD;
}

#define BIT(q) (1u << (q))

/* ---- running the engine ---- */

static bool is_busy(void)
{
	if (r->queues->emptying)
		return true;
	for (int i = 0; i < QUEUES; i++) {
		const struct queue *q = queues[i];

		if (q && (q->n[M_STAGED] || q->n[M_LEAVING] || q->reading || q->loading ||
			     !list_empty(&q->late) || !list_empty(&q->hasty) ||
			     (q->move && q->available)))
			return true;
	}
	return false;
}

static void show_busy(void)
{
	for (int i = 0; i < QUEUES; i++) {
		const struct queue *q = queues[i];

		print_error(
		    "%s: staged %zu, leaving %zu, reading %d, loading %d, late %d, hasty %d, "
		    "moving %d\n",
		    names[i], q->n[M_STAGED], q->n[M_LEAVING], q->reading, q->loading,
		    !list_empty(&q->late), !list_empty(&q->hasty), q->move != NULL);
	}
	fail();
}

/* Until nothing happens any more at this moment. */
static void settle(void)
{
	for (int idle = 0, turns = 0; idle < 3; turns++) {
		loop_turn(r->loop, is_busy() ? 1 : 0);
		idle = is_busy() ? 0 : idle + 1;
		if (turns == 20000)
			show_busy();
	}
}

static int64_t now(void)
{
	return time_wall_ms();
}

/* ---- what the model knows ---- */

static bool is_over(const struct msg *m)
{
	return (m->where & BIT(SHORT)) && m->sent_ms + RETENTION_MS <= now();
}

static bool is_certain(const struct msg *m, int q)
{
	return !m->gone && !m->maybe_gone && !m->loose && m->where == BIT(q) && !is_over(m);
}

static bool is_possible(const struct msg *m, int q)
{
	return !m->gone && (m->where & BIT(q));
}

static bool holds_group(const struct msg *m)
{
	return m->receives && m->visible_ms > now();
}

/* Received too often: it leaves at once if its body is in memory, else when its turn comes. */
static void find_dead(void)
{
	for (int i = 0; i < count; i++) {
		struct msg *m = &messages[i];
		int to = dead_of[m->at];

		if (is_over(m)) /* the clock may go back */
			m->maybe_gone = true;
		if (!m->gone && to >= 0 && m->where == BIT(m->at) && m->visible_ms <= now() &&
		    m->receives >= tries_of[m->at])
			m->where |= BIT(to);
	}
}

/* Nothing of this group can be in the way of its first message. */
static bool is_group_free(int q, const char *group)
{
	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];

		if (is_possible(m, q) && strcmp(m->group, group) == 0 &&
		    (!is_certain(m, q) || m->visible_ms > now()))
			return false;
	}
	return true;
}

static void expect_nothing(int q)
{
	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];

		if (!is_certain(m, q) || m->visible_ms > now())
			continue;
		if (!is_fifo(q) || is_group_free(q, m->group)) {
			print_error("m%d of queue %s was not received\n", i, names[q]);
			fail();
		}
	}
}

/* ---- receiving ---- */

static void show_group(int q, const char *group)
{
	const struct queue *e = queues[q];

	print_error("backlog %d, cursor %" PRIu64 ", resumes at %" PRIu64 "\n", e->backlog,
	    e->cursor_seq, e->resume_seq);
	for (size_t i = 0; i < e->slot_count; i++)
		for (const struct message *m = e->slots[i]; m; m = m->next)
			if (m->group && strcmp(m->group->id, group) == 0)
				print_error("  %" PRIu64 " state %d receives %u visible in %" PRId64
					    " ms dirty %d\n",
				    m->seq, m->state, m->receives, m->visible_ms - now(),
				    !list_empty(&m->dirty));
	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];

		if (is_possible(m, q) && strcmp(m->group, group) == 0)
			print_error("  m%d %s where %x maybe %d loose %d receives %u in %" PRId64
				    " ms, changed %" PRId64 " ms ago\n",
			    i, m->sequence, m->where, m->maybe_gone, m->loose, m->receives,
			    m->visible_ms - now(), now() - m->changed_ms);
	}
}

static void check_order(int q, int n, const struct rig_receive *x, size_t at)
{
	const struct rig_message *o = &x->m[at];

	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];
		bool before = false;

		if (i == n || !is_certain(m, q) || strcmp(m->group, messages[n].group) != 0)
			continue;
		for (size_t j = 0; j < at; j++)
			before |= atoi(x->m[j].body + 1) == i;
		if (before ||
		    (!holds_group(m) && (!m->sequenced || strcmp(m->sequence, o->sequence) > 0)))
			continue;
		print_error("%s: m%d (%s) of group %s was received before m%d (%s%s, in %" PRId64
			    " ms) at step %lu\n",
		    names[q], n, o->sequence, m->group, i, m->sequenced ? "" : "not ", m->sequence,
		    m->visible_ms - now(), steps_done);
		show_group(q, m->group);
		fail();
	}
}

static void check_received(int q, const struct rig_receive *x, size_t at)
{
	const struct rig_message *o = &x->m[at];
	int n = atoi(o->body + 1);
	struct msg *m;

	assert_true(o->body[0] == 'm' && n >= 0 && n < count);
	m = &messages[n];
	if (m->gone || !is_possible(m, q) || (m->visible_ms > now() && !m->loose) || is_over(m)) {
		print_error("m%d came from %s at step %lu: gone %d, where %u, in %" PRId64
			    " ms, over %d\n",
		    n, names[q], steps_done, m->gone, m->where, m->visible_ms - now(), is_over(m));
		fail();
	}
	assert_string_equal(o->id, m->id);
	if (q != m->at || (m->where != BIT(q) && o->receives == 1)) { /* moved, perhaps back */
		assert_int_equal(o->receives, 1);
		m->sequenced = false;
	} else if (m->loose) {
		assert_in_range(o->receives, 1, m->receives + 1);
	} else {
		if (m->where != BIT(q) && dead_of[q] >= 0) {
			print_error(
			    "m%d came from %s at step %lu, a dead letter after %u receives\n", n,
			    names[q], steps_done, m->receives);
			fail();
		}
		assert_int_equal(o->receives, m->receives + 1);
	}
	if (is_fifo(q))
		check_order(q, n, x, at);
}

static void note_received(int q, const struct rig_receive *x, int64_t visibility_ms)
{
	unsigned receives;

	for (size_t i = 0; i < x->count; i++) {
		const struct rig_message *o = &x->m[i];
		struct msg *m = &messages[atoi(o->body + 1)];

		m->at = m->receipt_from = q;
		m->where = BIT(q);
		m->maybe_gone = m->loose = false;
		m->receives = o->receives;
		m->changed_ms = now();
		m->visible_ms = now() + visibility_ms;
		memcpy(m->stale, m->receipt, HANDLE_SIZE);
		memcpy(m->receipt, o->receipt, HANDLE_SIZE);
		handle_decode(queues[q], str_from(o->receipt), &m->order, &m->seq, &receives);
		if (is_fifo(q)) {
			memcpy(m->sequence, o->sequence, SEQUENCE_SIZE);
			m->sequenced = true;
		}
	}
	received_total += x->count;
}

static void take_answers(int q, const struct rig_receive *x)
{
	for (size_t i = 0; i < x->count; i++)
		check_received(q, x, i);
	note_received(q, x, x->receiver.visibility_ms);
}

static void collect_pending(void)
{
	for (int i = 0; i < PENDING_MAX; i++) {
		if (!pending[i] || !pending[i]->d.finished)
			continue;
		assert_true(pending[i]->d.result == 0 || pending[i]->d.result == -ECANCELED ||
			    pending[i]->d.result == -ENOENT);
		take_answers(pending_queue[i], pending[i]);
		free(take_ptr(pending[i]));
	}
}

static void note_moving(int from)
{
	for (int i = 0; i < count && moving[from]; i++) {
		struct msg *m = &messages[i];

		if (is_possible(m, from) && (m->visible_ms <= now() || m->loose))
			m->where |= BIT(from == DEAD ? JOBS : FIFO);
	}
	moving[from] = queues[from]->move != NULL;
}

static void settle_all(void)
{
	for (int i = 0; i < 2; i++) {
		note_moving(DEAD);
		note_moving(FIFO_DEAD);
		find_dead();
		settle();
		collect_pending();
	}
	find_dead();
}

static void do_receive(int q)
{
	static const int64_t visibilities[] = {0, 500, 5000, 30000};
	struct rig_receive x;

	rig_receive_start(&x, queues[q], 1 + pick(10), visibilities[pick(4)], 0);
	settle();
	assert_true(x.d.finished);
	assert_int_equal(x.d.result, 0);
	take_answers(q, &x);
	if (!x.count)
		expect_nothing(q);
}

static void do_wait(int q)
{
	for (int i = 0; i < PENDING_MAX; i++) {
		if (pending[i])
			continue;
		pending[i] = xcalloc(1, sizeof(*pending[i]));
		pending_queue[i] = q;
		rig_receive_start(pending[i], queues[q], 1 + pick(3), 5000, 1 + pick(20000));
		return;
	}
}

/* ---- sending ---- */

static struct dedup_key *known(int q, const char *text)
{
	for (size_t i = 0; i < 256; i++) {
		struct dedup_key *k = &dedups[q == FIFO_DEAD][i];

		if (strcmp(k->text, text) == 0)
			return k;
	}
	return NULL;
}

static void do_send(int q)
{
	struct msg *m = &messages[count];
	char body[16], dedup[24] = "";
	struct queue_message given = {.delay_ms = -1};
	struct queue_sent sent = {""};
	struct dedup_key *k = NULL;
	struct rig_write w = {.d = {0}};

	if (count == MESSAGES_MAX)
		return;
	memset(m, 0, sizeof(*m));
	snprintf(body, sizeof(body), "m%d", count);
	given.body = str_from(body);
	if (is_fifo(q) || pick(2))
		snprintf(m->group, sizeof(m->group), "g%u", pick(GROUPS));
	given.group_id = str_from(m->group);
	if (is_fifo(q)) {
		unsigned n = pick(256);

		snprintf(dedup, sizeof(dedup), "d%u", n);
		given.dedup_id = str_from(dedup);
		k = known(q, dedup);
		if (!k)
			k = &dedups[q == FIFO_DEAD][n];
	} else if (pick(4) == 0) {
		given.delay_ms = 1 + pick(8000);
	}
	store_write_init(&w.write, rig_written);
	w.staged = queue_stage(queues[q], &given, &w.write, &sent, NULL);
	assert_non_null(w.staged);
	m->seq = r->queues->seq;
	store_commit(r->store, &w.write);
	assert_int_equal(rig_wait(r, &w.d), 0);
	if (k && k->unsure && strcmp(sent.id, k->id) == 0)
		return;
	if (k && k->text[0] && !k->unsure && k->expires_ms > now()) {
		assert_string_equal(sent.id, k->id);
		return;
	}
	if (k) {
		snprintf(k->text, sizeof(k->text), "%s", dedup);
		memcpy(k->id, sent.id, sizeof(k->id));
		k->expires_ms = now() + r->queues->dedup_ms;
		k->unsure = false;
	}
	m->at = q;
	m->where = BIT(q);
	m->sent_ms = now();
	m->visible_ms = now() + (given.delay_ms > 0 ? given.delay_ms : 0);
	memcpy(m->id, sent.id, sizeof(m->id));
	m->sequenced = is_fifo(q);
	memcpy(m->sequence, sent.sequence, SEQUENCE_SIZE);
	m->order = is_fifo(q) ? 0 : (uint64_t)m->visible_ms;
	count++;
}

/* ---- afterwards ---- */

static struct msg *any_received(void)
{
	for (int i = 0; i < 50 && count; i++) {
		struct msg *m = &messages[pick(2) ? pick((unsigned)count)
						  : (unsigned)count - 1 -
							pick(count < 40 ? (unsigned)count : 40)];

		if (m->receipt[0])
			return m;
	}
	return NULL;
}

static bool in_memory(int q, const char *receipt)
{
	uint64_t order, seq;
	unsigned receives;
	const struct message *m;

	if (!handle_decode(queues[q], str_from(receipt), &order, &seq, &receives))
		return false;
	m = message_find(queues[q], seq);
	return m && m->state != M_DEAD;
}

/* After a crash receives are counted again, so handles from before may equal the new ones. */
static bool is_older(int q, const char *a, const char *b)
{
	uint64_t order, seq;
	unsigned x, y;

	return handle_decode(queues[q], str_from(a), &order, &seq, &x) &&
	       handle_decode(queues[q], str_from(b), &order, &seq, &y) && x < y;
}

static void do_delete(void)
{
	struct msg *m = any_received();
	struct rig_write w = {.d = {0}};
	bool stale, live;
	int q, result;

	if (!m)
		return;
	q = m->receipt_from;
	stale = pick(5) == 0 && is_older(q, m->stale, m->receipt);
	live = in_memory(q, m->receipt);
	store_write_init(&w.write, rig_written);
	result = queue_stage_delete(
	    queues[q], str_from(stale ? m->stale : m->receipt), &w.write, &w.staged);
	if (result == 0 && w.staged) {
		store_commit(r->store, &w.write);
		assert_int_equal(rig_wait(r, &w.d), 0);
	}
	if (result == -EINVAL) {
		/* of a queue that was deleted, or the one before a move */
		assert_true(m->gone || m->maybe_gone || stale);
		return;
	}
	if (!is_certain(m, q) || m->at != q) {
		if (w.staged && is_possible(m, q))
			m->maybe_gone = true;
	} else if (stale && live) {
		assert_int_equal(result, is_fifo(q) ? -ESTALE : 0);
		assert_null(w.staged);
	} else if (stale) {
		m->maybe_gone |= w.staged != NULL;
	} else if (is_fifo(q) && m->visible_ms <= now()) {
		m->gone = result == 0 && w.staged;
	} else {
		assert_int_equal(result, 0);
		assert_non_null(w.staged);
		m->gone = true;
	}
}

static void do_visibility(void)
{
	static const int64_t times[] = {0, 700, 20000};
	struct msg *m = any_received();
	int64_t ms = times[pick(3)];
	int q, result;

	if (!m)
		return;
	q = m->receipt_from;
	if (!is_certain(m, q) || m->at != q)
		return;
	result = queue_visibility(queues[q], str_from(m->receipt), ms);
	if (!in_memory(q, m->receipt) || m->visible_ms <= now()) {
		assert_int_equal(result, -ENOENT);
		return;
	}
	assert_int_equal(result, 0);
	m->visible_ms = now() + ms;
	m->changed_ms = now();
}

/* ---- the large things ---- */

static void forget_messages(int q)
{
	for (int i = 0; i < count; i++) {
		struct msg *m = &messages[i];

		if (m->where == BIT(q))
			m->gone = true;
		else if (m->where & BIT(q))
			m->maybe_gone = true;
	}
}

static void do_purge(int q)
{
	struct rig_result d = {0};
	int result = queue_purge(queues[q], rig_done, &d);

	if (purged_ms[q] && now() - purged_ms[q] < 60000) {
		assert_int_equal(result, -EBUSY);
		return;
	}
	assert_int_equal(result, 0);
	assert_int_equal(rig_wait(r, &d), 0);
	purged_ms[q] = now();
	forget_messages(q);
}

static void do_move(void)
{
	int from = pick(2) ? DEAD : FIFO_DEAD, to = from == DEAD ? JOBS : FIFO;
	const struct queue_move *v;
	int result = queue_move_start(queues[from], pick(2) ? queues[to] : NULL, 0, &v);

	assert_int_equal(result, moving[from] ? -EBUSY : 0);
	moving[from] = true;
	moves++;
}

static void create_all(void)
{
	for (int i = 0; i < QUEUES; i++) {
		struct queue_settings s;

		queue_settings_init(&s, is_fifo(i));
		if (i == SHORT)
			s.retention_ms = RETENTION_MS;
		if (dead_of[i] >= 0) {
			snprintf(s.dead_letter_arn, sizeof(s.dead_letter_arn),
			    "arn:aws:sqs:us-east-1:123456789012:%s", names[dead_of[i]]);
			s.receives_max = tries_of[i];
		}
		queues[i] = rig_find(r, names[i]);
		if (!queues[i])
			queues[i] = rig_create_with(r, names[i], &s);
	}
}

static void do_delete_queue(int q)
{
	struct rig_result d = {0};

	if (dead_of[q] >= 0 || q == DEAD || q == FIFO_DEAD)
		return; /* its dead letters would wait for another of that name */
	queue_delete(queues[q], rig_done, &d);
	assert_int_equal(rig_wait(r, &d), 0);
	queues[q] = NULL;
	collect_pending();
	forget_messages(q);
	purged_ms[q] = 0;
	create_all();
}

/* What had come back may be in flight again, or not. */
static void set_clock_back(void)
{
	int64_t was = now();

	model_clock_set_back(pick(1000) * 1000);
	for (int i = 0; i < count; i++) {
		struct msg *m = &messages[i];

		if (m->receives && m->visible_ms <= was && m->visible_ms > now())
			m->loose = true;
	}
	for (size_t i = 0; i < 512; i++)
		dedups[i / 256][i % 256].unsure |= dedups[i / 256][i % 256].expires_ms <= was;
}

static void do_restart(bool crash)
{
	if (crash) {
		crashes++;
		r->queues->seq_limit = 0; /* what is reserved stays so */
		while (!list_empty(&r->queues->dirty))
			list_remove(r->queues->dirty.next);
		for (int i = 0; i < count; i++)
			if (messages[i].receives &&
			    now() - messages[i].changed_ms <= SAVED_AFTER_MS)
				messages[i].loose = true;
	}
	r->window = 4 + pick(20);
	r->content_max = 200 + pick(20000);
	rig_close(r);
	collect_pending();
	model_clock_advance((1 + pick(3)) * 1000);
	if (pick(4) == 0)
		set_clock_back();
	rig_open(r);
	create_all();
}

/* A look inside: what is not in memory must lie where reading on will find it. */
static void check_reachable(void)
{
	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];
		const struct queue *q = queues[m->at];
		bool above = m->order > q->cursor_order ||
			     (m->order == q->cursor_order && m->seq > q->cursor_seq);

		if (!is_certain(m, m->at) || message_find(q, m->seq) || (q->backlog && above))
			continue;
		print_error("m%d in %s is out of reach at step %lu: %" PRIu64 " %" PRIu64
			    ", cursor %" PRIu64 " %" PRIu64 ", backlog %d\n",
		    i, names[m->at], steps_done, m->order, m->seq, q->cursor_order, q->cursor_seq,
		    q->backlog);
		fail();
	}
}

/* ---- the play ---- */

static void step(void)
{
	static const int64_t jumps_ms[] = {1, 40, 999, 1001, 4000, 31000};
	int q = (int)pick(QUEUES);
	unsigned what = pick(1000);

	if (what < 330)
		for (unsigned n = pick(4) ? 1 : 1 + pick(40); n; n--)
			do_send(q);
	else if (what < 560)
		do_receive(q);
	else if (what < 760)
		do_delete();
	else if (what < 830)
		do_visibility();
	else if (what < 870)
		do_wait(q);
	else if (what < 975)
		model_clock_advance(jumps_ms[pick(6)] * 1000);
	else if (what < 980)
		do_purge(q);
	else if (what < 986)
		do_move();
	else if (what < 988)
		do_delete_queue(q);
	else
		do_restart(what < 994);
	settle_all();
	check_reachable();
	steps_done++;
}

/* Everything that is left must come out: each queue until it stays empty. */
static void drain(void)
{
	struct rig_receive x;
	unsigned empty = 0;

	for (int i = 0; i < PENDING_MAX; i++)
		if (pending[i]) {
			queue_receive_cancel(&pending[i]->receiver);
			free(take_ptr(pending[i]));
		}
	while (empty < 4) {
		model_clock_advance(31000 * 1000);
		settle_all();
		empty++;
		for (int q = 0; q < QUEUES; q++) {
			do {
				rig_receive_start(&x, queues[q], 10, 600000, 0);
				settle();
				assert_true(x.d.finished);
				take_answers(q, &x);
				for (size_t i = 0; i < x.count; i++) {
					assert_int_equal(
					    rig_delete(r, queues[q], x.m[i].receipt), 0);
					messages[atoi(x.m[i].body + 1)].gone = true;
					empty = 0;
				}
				check_reachable();
			} while (x.count);
		}
	}
	for (int i = 0; i < count; i++) {
		const struct msg *m = &messages[i];

		if (m->gone || m->maybe_gone || is_over(m))
			continue;
		print_error(
		    "m%d is lost: seen last in %s, may be in %x\n", i, names[m->at], m->where);
		print_error("  in memory: %d, %" PRId64 " rows in its queue\n",
		    message_find(queues[m->at], m->seq) != NULL,
		    store_queue_length(r->store, queues[m->at]->store_name));
		fail();
	}
	for (int q = 0; q < QUEUES; q++)
		assert_int_equal(store_queue_length(r->store, queues[q]->store_name), 0);
}

static int64_t setting(const char *name, int64_t absent)
{
	const char *text = getenv(name);
	int64_t v;

	return text && str_to_int64(str_from(text), 1, INT64_MAX, &v) ? v : absent;
}

static void queues_do_what_the_model_does(void **st)
{
	int64_t seed = setting("MAYFLY_SEED", (int64_t)(rand_u64() >> 2) + 1);
	int64_t steps = setting("MAYFLY_STEPS", 4000);

	r = *st;
	state = (uint64_t)seed;
	messages = xcalloc(MESSAGES_MAX, sizeof(*messages));
	print_message("MAYFLY_SEED=%" PRId64 " MAYFLY_STEPS=%" PRId64 "\n", seed, steps);
	do_restart(false);
	for (int64_t i = 0; i < steps; i++)
		step();
	drain();
	print_message("%d messages, %lu receives, %lu crashes, %lu moves\n", count, received_total,
	    crashes, moves);
	free(messages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(queues_do_what_the_model_does, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
