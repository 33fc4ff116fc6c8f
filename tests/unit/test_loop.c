/* Readiness, removal while dispatching, timers, tasks, workers, hand-over between threads. */
#include "unit.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/time.h"
#include "loop/loop.h"

#define MS INT64_C(1000000)

static struct loop *make(unsigned workers)
{
	struct err e = ERR_INIT;
	struct loop *l = loop_new(workers, &e);

	assert_non_null(l);
	return l;
}

struct peer {
	struct loop_io io;
	struct loop *loop;
	struct peer **others; /* freed by whoever is called first */
	size_t count;
	int *calls;
};

static struct peer *new_peer(struct loop *l, int *calls)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->io.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	p->io.events = EPOLLIN;
	p->loop = l;
	p->calls = calls;
	assert_int_equal(loop_io_add(l, &p->io), 0);
	return p;
}

static void free_peer(struct peer *p)
{
	loop_io_remove(p->loop, &p->io);
	loop_io_remove(p->loop, &p->io); /* harmless */
	close(p->io.fd);
	free(p);
}

static void kill_all(struct loop_io *io, uint32_t events)
{
	struct peer *p = container_of(io, struct peer, io);
	struct peer **others = p->others;
	size_t count = p->count;

	assert_int_equal(events, EPOLLIN);
	(*p->calls)++;
	for (size_t i = 0; i < count; i++)
		free_peer(others[i]);
}

static void an_io_removed_by_another_is_not_called(void **state)
{
	struct loop *l = make(0);
	struct peer *peers[10];
	int calls = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		peers[i] = new_peer(l, &calls);
		peers[i]->io.on_ready = kill_all;
		peers[i]->others = peers;
		peers[i]->count = ARRAY_SIZE(peers);
	}
	assert_int_equal(loop_turn(l, 1000), 0);
	assert_int_equal(calls, 1);
	loop_turn(l, 0);
	assert_int_equal(calls, 1);
	loop_free(l);
}

static void mute_others(struct loop_io *io, uint32_t events)
{
	struct peer *p = container_of(io, struct peer, io);

	(void)events;
	(*p->calls)++;
	for (size_t i = 0; i < p->count; i++)
		assert_int_equal(loop_io_change(p->loop, &p->others[i]->io, 0), 0);
}

static void interest_dropped_during_a_turn_holds_at_once(void **state)
{
	struct loop *l = make(0);
	struct peer *peers[4];
	int calls = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		peers[i] = new_peer(l, &calls);
		peers[i]->io.on_ready = mute_others;
		peers[i]->others = peers;
		peers[i]->count = ARRAY_SIZE(peers);
	}
	loop_turn(l, 1000);
	loop_turn(l, 0);
	assert_int_equal(calls, 1);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		free_peer(peers[i]);
	loop_free(l);
}

struct tick {
	struct loop_timer timer;
	struct loop *loop;
	int64_t *last_ns;
	int fired, again;
};

static void tick(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, timer);

	assert_true(t->due_ns >= *k->last_ns);
	assert_true(time_mono_ns() >= t->due_ns);
	*k->last_ns = t->due_ns;
	k->fired++;
	if (k->again-- > 0)
		loop_timer_set(k->loop, t, MS);
}

static void timers_fire_in_order_and_once(void **state)
{
	struct loop *l = make(0);
	static struct tick ticks[500];
	int64_t last_ns = 0, end_ns;

	(void)state;
	memset(ticks, 0, sizeof(ticks));
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++) {
		ticks[i].timer.on_due = tick;
		ticks[i].loop = l;
		ticks[i].last_ns = &last_ns;
		loop_timer_set(l, &ticks[i].timer, (int64_t)(rand_u64() % 20) * MS);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i += 3) {
		loop_timer_stop(l, &ticks[i].timer);
		loop_timer_stop(l, &ticks[i].timer);
	}
	for (size_t i = 1; i < ARRAY_SIZE(ticks); i += 3) /* sooner or later than it was */
		loop_timer_set(l, &ticks[i].timer, (int64_t)(rand_u64() % 20) * MS);
	end_ns = time_mono_ns() + 60 * MS;
	while (time_mono_ns() < end_ns)
		assert_int_equal(loop_turn(l, 5), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ticks); i++)
		assert_int_equal(ticks[i].fired, i % 3 != 0);
	loop_free(l);
}

static void a_timer_may_set_itself_again(void **state)
{
	struct loop *l = make(0);
	int64_t last_ns = 0, from_ns = time_mono_ns();
	struct tick k = {.timer.on_due = tick, .loop = l, .last_ns = &last_ns, .again = 3};

	(void)state;
	loop_timer_set(l, &k.timer, MS);
	while (k.fired < 4)
		loop_turn(l, -1);
	assert_true(time_mono_ns() - from_ns >= 4 * MS);
	assert_int_equal(k.timer.slot, 0);
	loop_free(l);
}

struct note {
	struct loop_task task;
	struct loop *loop;
	struct loop_task *other;
	int runs, again;
};

static void note(struct loop_task *t)
{
	struct note *n = container_of(t, struct note, task);

	n->runs++;
	if (n->other)
		loop_task_cancel(n->other);
	if (n->again-- > 0)
		loop_defer(n->loop, t);
}

static void tasks_run_once_at_the_end_of_the_turn(void **state)
{
	struct loop *l = make(0);
	struct note a = {.task.run = note, .loop = l, .again = 1};
	struct note b = {.task.run = note, .loop = l};

	(void)state;
	loop_task_cancel(&b.task);
	loop_defer(l, &a.task);
	loop_defer(l, &a.task);
	loop_defer(l, &b.task);
	a.other = &b.task;
	loop_turn(l, -1);
	assert_int_equal(a.runs, 1);
	assert_int_equal(b.runs, 0);
	loop_turn(l, -1); /* does not sleep: a waits again */
	assert_int_equal(a.runs, 2);
	loop_turn(l, 0);
	assert_int_equal(a.runs, 2);
	loop_free(l);
}

struct job {
	struct loop_work work;
	struct loop *loop;
	pthread_t ran_on;
	int *left;
	int input, output;
};

static void run_job(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);

	usleep(200);
	j->output = j->input * 2;
	j->ran_on = pthread_self();
}

static void job_done(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);

	assert_int_equal(j->output, j->input * 2);
	assert_false(pthread_equal(j->ran_on, pthread_self()));
	if (--*j->left == 0)
		loop_stop(j->loop);
}

static void workers_run_everything(void **state)
{
	struct loop *l = make(3);
	struct job jobs[100] = {0};
	int left = ARRAY_SIZE(jobs);

	(void)state;
	for (int i = 0; i < (int)ARRAY_SIZE(jobs); i++) {
		jobs[i] = (struct job){.loop = l, .left = &left, .input = i};
		jobs[i].work.run = run_job;
		jobs[i].work.done = job_done;
		loop_work_start(l, &jobs[i].work);
	}
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(left, 0);
	loop_free(l);
}

static void freeing_the_loop_finishes_started_work(void **state)
{
	struct loop *l = make(2);
	struct job jobs[8] = {0};
	int left = ARRAY_SIZE(jobs);

	(void)state;
	for (int i = 0; i < (int)ARRAY_SIZE(jobs); i++) {
		jobs[i] = (struct job){.loop = l, .left = &left, .input = i};
		jobs[i].work.run = run_job;
		jobs[i].work.done = job_done;
		loop_work_start(l, &jobs[i].work);
	}
	loop_free(l);
	assert_int_equal(left, 0);
}

struct mail {
	struct loop *loop;
	struct note notes[200];
};

static void *post_all(void *arg)
{
	struct mail *m = arg;

	for (size_t i = 0; i < ARRAY_SIZE(m->notes); i++) {
		loop_post(m->loop, &m->notes[i].task);
		if (i % 50 == 0)
			usleep(1000);
	}
	return NULL;
}

static void another_thread_wakes_the_loop(void **state)
{
	static struct mail m;
	pthread_t thread;
	struct note *last = &m.notes[ARRAY_SIZE(m.notes) - 1];

	(void)state;
	memset(&m, 0, sizeof(m));
	m.loop = make(0);
	for (size_t i = 0; i < ARRAY_SIZE(m.notes); i++)
		m.notes[i].task.run = note;
	assert_int_equal(pthread_create(&thread, NULL, post_all, &m), 0);
	while (!last->runs)
		assert_int_equal(loop_turn(m.loop, 5000), 0);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(m.notes); i++)
		assert_int_equal(m.notes[i].runs, 1);
	loop_free(m.loop);
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void spinning_stops_when_nothing_comes(void **state)
{
	struct loop *l = make(0);
	int calls = 0;
	struct peer *p = new_peer(l, &calls), *self[1] = {p};
	int64_t before_ns;

	(void)state;
	p->io.on_ready = mute_others;
	p->others = self;
	loop_set_spin(l, 20 * MS);
	for (int i = 0; i < 8; i++) { /* busy: the descriptor is always ready */
		loop_turn(l, 1000);
		loop_io_change(l, &p->io, EPOLLIN);
	}
	loop_io_change(l, &p->io, 0);
	loop_turn(l, 30);
	loop_turn(l, 30);
	loop_turn(l, 30);
	before_ns = cpu_ns();
	loop_turn(l, 100);
	loop_turn(l, 100);
	assert_true(cpu_ns() - before_ns < 10 * MS);
	assert_true(calls >= 8);
	free_peer(p);
	loop_free(l);
}

static void slow(struct loop_task *t)
{
	(void)t;
	usleep(3000);
}

static void the_slowest_callback_is_measured_when_asked(void **state)
{
	struct loop *l = make(0);
	struct loop_task t = {.run = slow};

	(void)state;
	assert_int_equal(loop_slowest_ns(l), 0);
	loop_defer(l, &t);
	loop_turn(l, 0);
	assert_true(loop_slowest_ns(l) >= 3 * MS);
	assert_int_equal(loop_slowest_ns(l), 0);
	loop_free(l);
}

static void burn(struct loop_task *t)
{
	int64_t until_ns = cpu_ns() + 14 * MS;

	(void)t;
	while (cpu_ns() < until_ns)
		;
}

static void rest(struct loop_task *t)
{
	(void)t;
	usleep(20000);
}

static void a_callback_is_slow_by_its_cpu_time(void **state)
{
	struct loop *l = make(0);
	struct loop_task t = {.run = burn}, u = {.run = rest};

	(void)state;
	loop_defer(l, &t);
	loop_turn(l, 0);
	assert_int_equal(loop_slow_callbacks(l), 0); /* nobody had asked */
	loop_slowest_ns(l);
	loop_defer(l, &u);
	loop_turn(l, 0);
	assert_true(loop_slowest_ns(l) >= 20 * MS);
	assert_int_equal(loop_slow_callbacks(l), 0);
	loop_defer(l, &t);
	loop_defer(l, &u);
	loop_turn(l, 0);
	assert_int_equal(loop_slow_callbacks(l), 1);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_io_removed_by_another_is_not_called),
	    cmocka_unit_test(interest_dropped_during_a_turn_holds_at_once),
	    cmocka_unit_test(timers_fire_in_order_and_once),
	    cmocka_unit_test(a_timer_may_set_itself_again),
	    cmocka_unit_test(tasks_run_once_at_the_end_of_the_turn),
	    cmocka_unit_test(workers_run_everything),
	    cmocka_unit_test(freeing_the_loop_finishes_started_work),
	    cmocka_unit_test(another_thread_wakes_the_loop),
	    cmocka_unit_test(spinning_stops_when_nothing_comes),
	    cmocka_unit_test(the_slowest_callback_is_measured_when_asked),
	    cmocka_unit_test(a_callback_is_slow_by_its_cpu_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
