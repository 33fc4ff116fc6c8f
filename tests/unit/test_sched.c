/*
 * The lives of tasks on a machine that the test plays (sched_rig.h): order of starting and
 * stopping, dependencies, time-outs by a clock that the test moves, restarts, health, and the death
 * of core between any two events.
 */
#include "sched_rig.h"

#define ONE "[{\"name\":\"web\",\"image\":\"img\"}]"
#define AWSVPC ",\"networkMode\":\"awsvpc\",\"cpu\":\"256\",\"memory\":\"512\""

static void assert_times(void)
{
	static const char *const names[] = {"createdAt", "pullStartedAt", "pullStoppedAt",
	    "startedAt", "stoppingAt", "executionStoppedAt", "stoppedAt"};
	const json_t *task = tasks_get(rig, RIG_ARN);
	double last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *v = json_object_get(task, names[i]);

		assert_non_null(v);
		assert_true(json_real_value(v) >= last);
		last = json_real_value(v);
	}
}

/* ---- one container ---- */

static void test_runs(void **state)
{
	struct tasks_host host;

	(void)state;
	rig_begin(ONE, AWSVPC);
	rig_run();
	assert_int_equal(run_result, 0);
	assert_string_equal(rig_status(), "RUNNING");
	assert_string_equal(trace, "sandbox make:web start:web");
	assert_string_equal(docs_str(rig_container("web"), "lastStatus"), "RUNNING");
	assert_string_equal(docs_str(rig_container("web"), "imageDigest"), "sha256:0123");
	assert_null(json_object_get(rig_container("web"), "exitCode"));
	tasks_host(rig, &host);
	assert_int_equal(host.running, 1);
	assert_int_equal(host.cpu_units - host.cpu_units_free, 256);
	assert_int_equal(host.memory_mib - host.memory_mib_free, 512);
	rig_stop();
	assert_string_equal(rig_status(), "RUNNING");
	rig_run();
	rig_gone();
	assert_string_equal(trace, "sandbox make:web start:web signal-15:web remove-sandbox");
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 143);
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "UserInitiated");
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stoppedReason"), "enough");
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "desiredStatus"), "STOPPED");
	assert_times();
	assert_int_equal(booked, 1);
	assert_int_equal(last_booked.cpu_units, 256);
	assert_int_equal(last_booked.memory_mib, 512);
	assert_int_equal(last_booked.disk_gib, 20);
	assert_true(last_booked.end_ms >= last_booked.start_ms && last_booked.start_ms > 0);
}

/* What a client is told is on disk, and nothing of it before. */
static void test_record_first(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	assert_null(tasks_get(rig, RIG_ARN));
	while (run_result == 1)
		assert_true(rig_step());
	assert_string_equal(rig_status(), "PROVISIONING");
	assert_null(strstr(trace, "start"));
}

static void test_record_fails(void **state)
{
	(void)state;
	store_result = -ENOSPC;
	rig_begin(ONE, "");
	rig_run();
	assert_int_equal(run_result, -ENOSPC);
	assert_null(strstr(trace, "start"));
	assert_null(rig_task());
	assert_int_equal(box_count, 0);
	assert_int_equal(image_refs, 0);
	assert_int_equal(rig->host.memory_mib_free, rig->host.memory_mib);
	store_result = 0;
}

/* A disk that is full for a while does not hide what happened meanwhile. */
static void test_record_later(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	rig_run();
	store_result = -ENOSPC;
	fake_exit(fake_of(rig_task(), "web"), 3);
	for (int i = 0; i < 200 && rig_step(); i++)
		;
	assert_string_equal(rig_status(), "RUNNING");
	store_result = 0;
	rig_pass(5000);
	assert_string_equal(rig_status(), "STOPPED");
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 3);
}

static void test_essential_exits(void **state)
{
	(void)state;
	rig_begin("[{\"name\":\"a\",\"image\":\"i\"},"
		  "{\"name\":\"b\",\"image\":\"i\",\"essential\":false}]",
	    "");
	rig_run();
	fake_exit(fake_of(rig_task(), "b"), 5);
	rig_run();
	assert_string_equal(rig_status(), "RUNNING");
	assert_int_equal(docs_int(rig_container("b"), "exitCode"), 5);
	fake_exit(fake_of(rig_task(), "a"), 0);
	rig_run();
	rig_gone();
	assert_string_equal(
	    docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "EssentialContainerExited");
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stoppedReason"),
	    "Essential container in task exited");
	assert_int_equal(docs_int(rig_container("a"), "exitCode"), 0);
}

/* It ends before its start was answered. */
static void test_ends_at_once(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	while (!strstr(trace, "start:web"))
		assert_true(rig_step());
	fake_exit(fake_of(rig_task(), "web"), 2);
	/* The news of the end overtakes the answer. */
	struct event *end = events[event_count - 1];

	memmove(&events[event_first + 1], &events[event_first],
	    (event_count - 1 - event_first) * sizeof(struct event *));
	events[event_first] = end;
	rig_run();
	rig_gone();
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 2);
	assert_string_equal(
	    docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "EssentialContainerExited");
	assert_times();
}

static void test_oom(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	rig_run();
	fake_of(rig_task(), "web")->facts.oom_killed = true;
	fake_exit(fake_of(rig_task(), "web"), 137);
	rig_run();
	rig_gone();
	assert_string_equal(docs_str(rig_container("web"), "reason"),
	    "OutOfMemoryError: Container killed due to memory usage");
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 137);
}

/* ---- what fails before it starts ---- */

static void assert_failed(const char *reason)
{
	const char *s = docs_str(tasks_get(rig, RIG_ARN), "stoppedReason");

	rig_gone();
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "TaskFailedToStart");
	if (!strstr(s, reason))
		fail_msg("%s", s);
	assert_null(json_object_get(rig_container("web"), "exitCode"));
	assert_null(json_object_get(tasks_get(rig, RIG_ARN), "startedAt"));
}

static void test_no_image(void **state)
{
	(void)state;
	image_missing = "img";
	rig_begin(ONE, "");
	rig_run();
	assert_failed("CannotPullContainerError: no such image");
	assert_string_equal(
	    docs_str(rig_container("web"), "reason"), "CannotPullContainerError: no such image");
}

static void test_no_sandbox(void **state)
{
	(void)state;
	sandbox_result = -EADDRNOTAVAIL;
	rig_begin(ONE, "");
	rig_run();
	assert_failed("ResourceInitializationError: no room");
}

static void test_no_container(void **state)
{
	(void)state;
	make_result = -EIO;
	rig_begin(ONE, "");
	rig_run();
	assert_failed("CannotCreateContainerError: no room");
}

static void test_runtime_hangs(void **state)
{
	(void)state;
	make_hangs = true;
	rig_begin(ONE, "");
	rig_pass(179000);
	assert_string_equal(rig_status(), "ACTIVATING");
	rig_pass(2000);
	assert_failed("DockerTimeoutError: Could not transition to created; timed out after "
		      "waiting 3m0s");
}

static void test_no_command(void **state)
{
	(void)state;
	start_result = -ENOEXEC;
	rig_begin(ONE, "");
	rig_run();
	assert_failed("CannotStartContainerError: exec: \"nothing\"");
}

static void test_no_secret(void **state)
{
	(void)state;
	secret_value = NULL;
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"secrets\":[{\"name\":\"S\","
		  "\"valueFrom\":\"param\"}]}]",
	    "");
	rig_run();
	assert_failed("ResourceInitializationError: unable to pull secrets or registry auth: "
		      "param: ParameterNotFound");
	assert_null(strstr(trace, "make"));
}

static void test_no_user(void **state)
{
	(void)state;
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"user\":\"nobody-here\"}]", "");
	rig_run();
	assert_failed("unable to find user nobody-here");
}

static void test_no_group(void **state)
{
	(void)state;
	group_missing = true;
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"logConfiguration\":{\"logDriver\":"
		  "\"awslogs\",\"options\":{\"awslogs-group\":\"g\",\"awslogs-region\":\"r\"}}}]",
	    "");
	rig_run();
	assert_failed("ResourceNotFoundException: The specified log group does not exist.");
}

/* ---- stopping ---- */

static void test_kill_after_timeout(void **state)
{
	(void)state;
	ignores_term = "web";
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"stopTimeout\":7}]", "");
	rig_run();
	rig_stop();
	rig_pass(6900);
	assert_string_equal(rig_status(), "STOPPING");
	assert_null(strstr(trace, "signal-9"));
	rig_pass(200);
	rig_gone();
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 137);
}

static void test_stop_signal(void **state)
{
	(void)state;
	image_conf.stop_signal = "SIGQUIT";
	rig_begin(ONE, "");
	rig_run();
	rig_stop();
	rig_run();
	rig_gone();
	assert_non_null(strstr(trace, "signal-3:web"));
}

static void test_stop_order(void **state)
{
	(void)state;
	ignores_term = "web";
	rig_begin("[{\"name\":\"db\",\"image\":\"i\"},"
		  "{\"name\":\"web\",\"image\":\"i\",\"dependsOn\":[{\"containerName\":\"db\","
		  "\"condition\":\"START\"}]}]",
	    "");
	rig_run();
	assert_string_equal(trace, "sandbox make:db make:web start:db start:web");
	*trace = 0;
	rig_stop();
	rig_run();
	assert_string_equal(trace, "signal-15:web");
	rig_pass(30000);
	assert_string_equal(trace, "signal-15:web signal-9:web signal-15:db remove-sandbox");
	rig_gone();
}

/* Wherever it is, it stops, and nothing is left. */
static void test_stop_any_time(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 60; n++) {
		rig_begin("[{\"name\":\"web\",\"image\":\"i\",\"secrets\":[{\"name\":\"S\","
			  "\"valueFrom\":\"p\"}]},{\"name\":\"b\",\"image\":\"i\"}]",
		    AWSVPC);
		for (unsigned i = 0; i < n; i++)
			rig_step();
		rig_stop();
		rig_pass(100000);
		rig_gone();
		rig_pass(4000000);
		rig_teardown(NULL);
		rig_setup(NULL);
	}
}

/* ---- dependencies ---- */

#define DEPENDS(condition, more)                                                        \
	"[{\"name\":\"init\",\"image\":\"i\",\"essential\":false" more "},"             \
	"{\"name\":\"web\",\"image\":\"i\",\"dependsOn\":[{\"containerName\":\"init\"," \
	"\"condition\":\"" condition "\"}]}]"

static void test_complete(void **state)
{
	(void)state;
	rig_begin(DEPENDS("COMPLETE", ""), "");
	rig_run();
	assert_string_equal(rig_status(), "ACTIVATING");
	assert_null(strstr(trace, "start:web"));
	fake_exit(fake_of(rig_task(), "init"), 9);
	rig_run();
	assert_string_equal(rig_status(), "RUNNING");
	assert_int_equal(docs_int(rig_container("init"), "exitCode"), 9);
	rig_stop();
	rig_run();
	rig_gone();
}

static void test_success(void **state)
{
	(void)state;
	rig_begin(DEPENDS("SUCCESS", ""), "");
	rig_run();
	fake_exit(fake_of(rig_task(), "init"), 0);
	rig_run();
	assert_string_equal(rig_status(), "RUNNING");
}

static void test_no_success(void **state)
{
	(void)state;
	rig_begin(DEPENDS("SUCCESS", ""), "");
	rig_run();
	fake_exit(fake_of(rig_task(), "init"), 1);
	rig_run();
	assert_failed("did not exit successfully");
}

static void test_start_timeout(void **state)
{
	(void)state;
	rig_begin(DEPENDS("COMPLETE", ",\"startTimeout\":20"), "");
	rig_pass(19900);
	assert_string_equal(rig_status(), "ACTIVATING");
	rig_pass(200);
	rig_pass(100000);
	assert_failed("has timed out");
}

#define CHECK                                                                                 \
	",\"healthCheck\":{\"command\":[\"CMD-SHELL\",\"ok\"],\"interval\":10,\"timeout\":5," \
	"\"retries\":2}"

static void test_healthy(void **state)
{
	(void)state;
	rig_begin(DEPENDS("HEALTHY", CHECK), "");
	rig_pass(9900);
	assert_null(strstr(trace, "check"));
	assert_string_equal(rig_status(), "ACTIVATING");
	rig_pass(200);
	assert_string_equal(rig_status(), "RUNNING");
	assert_string_equal(docs_str(rig_container("init"), "healthStatus"), "HEALTHY");
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "healthStatus"), "UNKNOWN");
}

/* ---- health ---- */

static void test_unhealthy(void **state)
{
	(void)state;
	rig_begin("[{\"name\":\"web\",\"image\":\"i\"" CHECK "}]", "");
	rig_pass(10100);
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "healthStatus"), "HEALTHY");
	exec_exit = 1;
	rig_pass(10000);
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "healthStatus"), "HEALTHY");
	rig_pass(10000);
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "healthStatus"), "UNHEALTHY");
	assert_string_equal(rig_status(), "RUNNING");
	exec_exit = 0;
	rig_pass(10000);
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "healthStatus"), "HEALTHY");
	rig_stop();
	rig_pass(100000);
	rig_gone();
}

static void test_check_hangs(void **state)
{
	(void)state;
	exec_exit = -1;
	rig_begin("[{\"name\":\"web\",\"image\":\"i\"" CHECK "}]", "");
	rig_pass(14900);
	assert_null(strstr(trace, "kill-check"));
	rig_pass(200);
	assert_non_null(strstr(trace, "kill-check"));
	rig_pass(15100);
	assert_string_equal(docs_str(rig_container("web"), "healthStatus"), "UNHEALTHY");
	rig_pass(9990); /* one runs */
	rig_stop();
	rig_pass(100000);
	rig_gone();
}

static void test_start_period(void **state)
{
	(void)state;
	exec_exit = 1;
	rig_begin("[{\"name\":\"web\",\"image\":\"i\",\"healthCheck\":{\"command\":[\"CMD\",\"x\"],"
		  "\"interval\":10,\"retries\":1,\"startPeriod\":35}}]",
	    "");
	rig_pass(34000);
	assert_string_equal(docs_str(rig_container("web"), "healthStatus"), "UNKNOWN");
	rig_pass(7000);
	assert_string_equal(docs_str(rig_container("web"), "healthStatus"), "UNHEALTHY");
}

/* ---- restarts ---- */

#define RESTART                                                                   \
	"[{\"name\":\"web\",\"image\":\"i\",\"restartPolicy\":{\"enabled\":true," \
	"\"ignoredExitCodes\":[42],\"restartAttemptPeriod\":60}}]"

static void test_restart(void **state)
{
	char first[CONTAINER_ID_SIZE];

	(void)state;
	rig_begin(RESTART, "");
	rig_run();
	memcpy(first, rig_task()->units[0].id, sizeof(first));
	rig_pass(60000);
	fake_exit(fake_of(rig_task(), "web"), 1);
	rig_run();
	assert_string_equal(rig_status(), "RUNNING");
	assert_int_equal(rig_task()->units[0].attempt, 1);
	assert_string_not_equal(first, rig_task()->units[0].id);
	assert_null(fake_find(first));
	assert_int_equal(fake_of(rig_task(), "web")->facts.state, CONTAINER_RUNNING);
	rig_pass(59000);
	fake_exit(fake_of(rig_task(), "web"), 1);
	rig_run();
	rig_gone();
	assert_string_equal(
	    docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "EssentialContainerExited");
}

static void test_no_restart(void **state)
{
	(void)state;
	rig_begin(RESTART, "");
	rig_pass(100000);
	fake_exit(fake_of(rig_task(), "web"), 42);
	rig_run();
	rig_gone();
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 42);
}

/* ---- logs ---- */

static void print(const char *text)
{
	struct fake_container *c = &fakes[fake_count - 1];

	lseek(c->log, 0, SEEK_END);
	assert_int_equal(write(c->log, text, strlen(text)), strlen(text));
}

/* Each line once, whatever happens to core; what was taken gives its disk back. */
static void test_log(void **state)
{
	char first;

	(void)state;
	rig_begin(ONE, "");
	rig_run();
	print("2024-05-01T10:00:00.123456789+00:00 stdout F one\n"
	      "2024-05-01T10:00:00.2+00:00 stdout P tw\n");
	rig_kill();
	rig_open();
	rig_pass(1);
	assert_string_equal(log_text, "one\n");
	rig_kill();
	print("2024-05-01T10:00:00.3+00:00 stdout F o\n");
	rig_open();
	rig_pass(1);
	assert_string_equal(log_text, "one\ntwo\n");
	rig_kill();
	rig_open();
	rig_pass(1);
	assert_int_equal(pread(fakes[0].log, &first, 1, 0), 1);
	assert_int_equal(first, 0);
	print("2024-05-01T10:00:00.4+00:00 stderr F three\nnonsense\n"
	      "2024-05-01T10:00:00.5+00:00 stdout P never whole\n");
	fake_exit(fake_of(rig_task(), "web"), 0);
	rig_run();
	rig_gone();
	assert_string_equal(log_text, "one\ntwo\nthree\nnever whole\n");
}

/* A log that cannot be written holds the task back until it can. */
static void test_log_full(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	rig_run();
	log_result = -ENOSPC;
	print("2024-05-01T10:00:00.1+00:00 stdout F one\n");
	fake_exit(fake_of(rig_task(), "web"), 0);
	rig_pass(10000);
	assert_string_equal(rig_status(), "STOPPING");
	log_result = 0;
	rig_pass(2000);
	rig_gone();
	assert_string_equal(log_text, "one\n");
}

/* ---- core dies ---- */

#define PAIR                                                                                     \
	"[{\"name\":\"db\",\"image\":\"i\"},{\"name\":\"web\",\"image\":\"i\",\"portMappings\":" \
	"[{\"containerPort\":80}],\"dependsOn\":[{\"containerName\":\"db\",\"condition\":"       \
	"\"START\"}]}]"

static void fresh(void)
{
	rig_teardown(NULL);
	rig_setup(NULL);
}

/* After any number of events: a task that a client was told of runs in the end, each of its
 * containers once. */
static void test_kill_starting(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 80; n++) {
		bool told;

		rig_begin(PAIR, n % 2 ? AWSVPC : "");
		for (unsigned i = 0; i < n; i++)
			rig_step();
		told = run_result == 0;
		rig_kill();
		rig_open();
		rig_pass(10);
		if (told || rig_task()) {
			assert_string_equal(rig_status(), "RUNNING");
			assert_int_equal(fakes_there(), 2);
			assert_int_equal(made_total, 2);
			assert_int_equal(fake_of(rig_task(), "db")->facts.state, CONTAINER_RUNNING);
			assert_int_equal(
			    fake_of(rig_task(), "web")->facts.state, CONTAINER_RUNNING);
			rig_stop();
			rig_pass(100000);
			rig_gone();
		}
		assert_int_equal(box_count, 0);
		assert_int_equal(fakes_there(), 0);
		fresh();
	}
}

static void test_kill_stopping(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 40; n++) {
		rig_begin(PAIR, AWSVPC);
		rig_run();
		ignores_term = n % 2 ? "web" : NULL;
		rig_stop();
		for (unsigned i = 0; i < n; i++)
			rig_step();
		rig_kill();
		rig_open();
		rig_pass(100000);
		/* Killed before it was written, the stop was never promised. */
		if (!strcmp(rig_status(), "RUNNING")) {
			rig_stop();
			rig_pass(100000);
		}
		rig_gone();
		assert_int_equal(docs_int(rig_container("db"), "exitCode"), 143);
		fresh();
	}
}

/* Containers that ended while no core lived. */
static void test_kill_exit(void **state)
{
	(void)state;
	rig_begin(ONE, AWSVPC);
	rig_run();
	rig_kill();
	fakes[0].facts.state = CONTAINER_EXITED;
	fakes[0].facts.exit_code = 6;
	fakes[0].facts.started_ms = 1000;
	fakes[0].facts.finished_ms = 2000;
	rig_open();
	rig_run();
	rig_gone();
	assert_int_equal(docs_int(rig_container("web"), "exitCode"), 6);
}

static void test_kill_restarting(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 30; n++) {
		rig_begin(RESTART, "");
		rig_pass(61000);
		fake_exit(fake_of(rig_task(), "web"), 1);
		for (unsigned i = 0; i < n; i++)
			rig_step();
		rig_kill();
		rig_open();
		rig_pass(10);
		assert_string_equal(rig_status(), "RUNNING");
		assert_int_equal(fakes_there(), 1);
		assert_int_equal(made_total, 2);
		assert_int_equal(rig_task()->units[0].attempt, 1);
		fresh();
	}
}

/* The machine restarts: sandboxes and containers are gone. */
static void test_machine_restarts(void **state)
{
	(void)state;
	rig_begin(PAIR, AWSVPC);
	rig_run();
	rig_kill();
	box_count = 0;
	for (size_t i = 0; i < fake_count; i++)
		fake_remove(&fakes[i]);
	rig_open();
	rig_run();
	rig_gone();
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "TerminationNotice");
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stoppedReason"),
	    "Host EC2 (instance i-abcdef0123456789a) terminated.");
	assert_null(json_object_get(rig_container("web"), "exitCode"));
}

/* The same with the bundles still on disk. */
static void test_machine_restarts_disk(void **state)
{
	(void)state;
	rig_begin(PAIR, AWSVPC);
	rig_run();
	rig_kill();
	for (size_t i = 0; i < fake_count; i++) {
		fakes[i].facts.state = CONTAINER_EXITED;
		fakes[i].facts.exit_code = -1;
	}
	rig_open();
	rig_run();
	rig_gone();
	assert_string_equal(docs_str(tasks_get(rig, RIG_ARN), "stopCode"), "TerminationNotice");
	assert_null(json_object_get(rig_container("web"), "exitCode"));
}

static void test_orphans(void **state)
{
	struct sandbox_spec spec = {.id = "00112233445566778899aabbccddeeff"};

	(void)state;
	rig_run();
	rig_kill();
	boxes[box_count++] = spec;
	rig_open();
	rig_run();
	assert_int_equal(box_count, 0);
}

static void test_health_of_adopted(void **state)
{
	(void)state;
	rig_begin("[{\"name\":\"web\",\"image\":\"i\"" CHECK "}]", "");
	rig_pass(10100);
	rig_kill();
	rig_open();
	rig_pass(1);
	assert_string_equal(docs_str(rig_container("web"), "healthStatus"), "HEALTHY");
	assert_int_equal(image_refs, 1); /* its layers stay */
	exec_exit = 1;
	rig_pass(21000);
	assert_string_equal(docs_str(rig_container("web"), "healthStatus"), "UNHEALTHY");
}

/* ---- the table ---- */

static void test_kept_for_an_hour(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	rig_run();
	rig_stop();
	rig_run();
	rig_gone();
	/* Its time is the wall's: make it old. */
	rig_task()->stopped_ms -= 3599 * 1000;
	rig_pass(4000000);
	assert_non_null(rig_task());
	rig_task()->stopped_ms -= 2000;
	rig_pass(4000000);
	assert_null(rig_task());
	assert_null(tasks_get(rig, RIG_ARN));
	assert_int_equal(row_count, 0);
}

static void set_tag(const char *key, const char *value)
{
	json_object_set_new(
	    rig_task()->base, "tags", json_pack("[{s:s, s:s}]", "key", key, "value", value));
}

static void test_forgotten_soon(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	set_tag("mayfly:rm", "true");
	rig_run();
	rig_stop();
	rig_run();
	rig_gone();
	rig_task()->stopped_ms -= TASK_BRIEF_MS - 1500;
	rig_pass(1000);
	assert_non_null(rig_task());
	rig_task()->stopped_ms -= 2000;
	rig_pass(20000);
	assert_null(rig_task());
	assert_int_equal(row_count, 0);
}

static void test_held(void **state)
{
	char id[CONTAINER_ID_SIZE];

	(void)state;
	rig_begin(ONE, "");
	set_tag("mayfly:hold", "30");
	assert_false(tasks_held(rig, RIG_ARN, id));
	rig_run();
	assert_null(strstr(trace, "start:"));
	assert_true(tasks_held(rig, RIG_ARN, id));
	assert_string_equal(id, rig_task()->units[0].id);
	tasks_release(rig, RIG_ARN);
	rig_run();
	assert_non_null(strstr(trace, "start:"));
	assert_string_equal(rig_status(), "RUNNING");
	assert_false(tasks_held(rig, RIG_ARN, id));
	tasks_release(rig, RIG_ARN);
	rig_stop();
	rig_run();
	rig_gone();
}

/* Nobody came. */
static void test_held_too_long(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	set_tag("mayfly:hold", "30");
	rig_run();
	rig_pass(29000);
	assert_null(strstr(trace, "start:"));
	rig_pass(2000);
	assert_string_equal(rig_status(), "RUNNING");
	rig_stop();
	rig_run();
	rig_gone();
}

static void test_quiet(void **state)
{
	unsigned before;

	(void)state;
	rig_begin(ONE, AWSVPC);
	rig_pass(1000);
	before = store_commits;
	assert_int_equal(rig_loop.timer_count, 0);
	rig_pass(3600000);
	assert_int_equal(store_commits, before);
}

static void test_update(void **state)
{
	(void)state;
	rig_begin(ONE, "");
	rig_run();
	run_result = 1;
	tasks_update(rig, RIG_ARN, json_pack("{s:[]}", "tags"), on_run, NULL);
	rig_run();
	assert_int_equal(run_result, 0);
	assert_non_null(json_object_get(tasks_get(rig, RIG_ARN), "tags"));
	tasks_stop(rig, "arn:aws:ecs:x", "UserInitiated", "", on_run, NULL);
	rig_run();
	assert_int_equal(run_result, -ENOENT);
}

static void test_lacks(void **state)
{
	json_t *d = json_loads("{\"cpu\":\"2048\",\"memory\":\"1024\",\"containerDefinitions\":["
			       "{\"name\":\"a\",\"image\":\"i\",\"portMappings\":[{"
			       "\"containerPort\":80,\"hostPort\":8080}]}]}",
	    0, NULL);
	struct err detail = ERR_INIT;

	(void)state;
	assert_null(tasks_lacks(rig, d, NULL, NULL));
	rig_begin("[{\"name\":\"web\",\"image\":\"i\",\"portMappings\":[{\"containerPort\":80,"
		  "\"hostPort\":8080}]}]",
	    "");
	assert_string_equal(tasks_lacks(rig, d, NULL, &detail), "RESOURCE:PORTS");
	assert_non_null(strstr(detail.msg, "port 8080/tcp is used by task "));
	rig_task()->cpu_units = 1;
	rig->host.cpu_units_free = 2047;
	assert_string_equal(tasks_lacks(rig, d, NULL, NULL), "RESOURCE:CPU");
	rig->host.cpu_units_free = 2048;
	rig->host.memory_mib_free = 1023;
	assert_string_equal(tasks_lacks(rig, d, NULL, NULL), "RESOURCE:MEMORY");
	rig->host.memory_mib_free = rig->host.memory_mib;
	rig_task()->cpu_units = 0;
	json_decref(d);
}

static void test_network(void **state)
{
	const json_t *a, *b;

	(void)state;
	rig_begin(PAIR, "");
	rig_run();
	b = json_array_get(json_object_get(rig_container("web"), "networkBindings"), 0);
	assert_int_equal(docs_int(b, "containerPort"), 80);
	assert_int_equal(docs_int(b, "hostPort"), 49153);
	assert_string_equal(docs_str(b, "protocol"), "tcp");
	fresh();
	rig_begin(PAIR, AWSVPC);
	rig_run();
	a = json_array_get(json_object_get(tasks_get(rig, RIG_ARN), "attachments"), 0);
	assert_string_equal(docs_str(a, "status"), "ATTACHED");
	assert_int_equal(json_array_size(json_object_get(a, "details")), 5);
	b = json_array_get(json_object_get(rig_container("web"), "networkInterfaces"), 0);
	assert_string_equal(docs_str(b, "privateIpv4Address"), "10.213.0.2");
}

/* ---- metadata ---- */

static unsigned get(const char *path)
{
	struct http_request r = {
	    .path = str_from(path), .method = STR("GET"), .listener_ctx = rig_task()};

	metadata_handler.on_request(&r);
	return http_status;
}

static void test_metadata(void **state)
{
	char id[64], path[128];
	json_t *o;

	(void)state;
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"cpu\":100,\"memory\":64}]",
	    AWSVPC ",\"taskRoleArn\":\"arn:aws:iam::123456789012:role/r\"");
	rig_run();
	unit_metadata_id(&rig_task()->units[0], id);
	snprintf(path, sizeof(path), "/v4/%s", id);
	assert_int_equal(get(path), 200);
	o = json_loads(http_body, 0, NULL);
	assert_string_equal(docs_str(o, "Name"), "web");
	assert_int_equal(docs_int(json_object_get(o, "Limits"), "Memory"), 64);
	json_decref(o);
	snprintf(path, sizeof(path), "/v4/%s/task", id);
	assert_int_equal(get(path), 200);
	o = json_loads(http_body, 0, NULL);
	assert_string_equal(docs_str(o, "KnownStatus"), "RUNNING");
	assert_string_equal(docs_str(o, "Revision"), "7");
	json_decref(o);
	snprintf(path, sizeof(path), "/v4/%s/stats", id);
	assert_int_equal(get(path), 200);
	assert_int_equal(get(path), 200);
	assert_non_null(strstr(http_body, "cpu_stats"));
	snprintf(path, sizeof(path), "/v2/credentials/%s", rig_task()->credentials);
	assert_int_equal(get(path), 200);
	assert_string_equal(http_body,
	    "{\"RoleArn\":\"arn:aws:iam::123456789012:role/r\",\"AccessKeyId\":\"AKID\","
	    "\"SecretAccessKey\":\"SECRET\",\"Token\":\"TOKEN\",\"Expiration\":"
	    "\"2023-11-14T22:13:20Z\"}");
	assert_int_equal(get("/v2/credentials/00000000-0000-0000-0000-000000000000"), 400);
	assert_int_equal(get("/v2/credentials"), 400);
	assert_int_equal(get("/v4/other"), 404);
	assert_int_equal(get("/"), 404);
	for (int i = 0; i < 60 && get("/") != 429; i++)
		;
	assert_int_equal(http_status, 429);
}

/* ---- the agent: protection ---- */

static const struct task_protect *asked;
static struct task_protect asked_change;
static task_protected_fn *asked_done;
static void *asked_ctx;

static void play_protect(void *ctx, const char *task_arn, const struct task_protect *change,
    task_protected_fn *done, void *done_ctx)
{
	(void)ctx;
	assert_string_equal(task_arn, rig_task()->arn);
	asked = change ? &asked_change : NULL;
	if (change)
		asked_change = *change;
	asked_done = done;
	asked_ctx = done_ctx;
}

static struct http_request protection(const char *method, const char *body)
{
	static char path[128];
	char id[64];
	struct http_request r = {.method = str_from(method), .listener_ctx = rig_task()};

	unit_metadata_id(&rig_task()->units[0], id);
	snprintf(path, sizeof(path), "/api/%s/task-protection/v1/state", id);
	r.path = str_from(path);
	buf_puts(&r.body, body);
	http_status = 0;
	return r;
}

static void test_protection(void **state)
{
	json_t *task;
	struct http_request r;

	(void)state;
	rig_begin("[{\"name\":\"web\",\"image\":\"img\",\"memory\":64}]", AWSVPC);
	rig_run();
	rig->o.protect = play_protect;
	r = protection("PUT", "{\"ProtectionEnabled\":true,\"ExpiresInMinutes\":60}");
	metadata_handler.on_request(&r);
	assert_int_equal(http_status, 0);
	assert_true(asked && asked->on && asked->has_minutes && asked->minutes == 60);
	task = json_pack("{s:s, s:b, s:f}", "taskArn", "ARN", "protectionEnabled", 1,
	    "expirationDate", 1700000000.0);
	asked_done(asked_ctx, &(struct task_protection){.task = task});
	json_decref(task);
	assert_int_equal(http_status, 200);
	assert_string_equal(http_body,
	    "{\"protection\":{\"ProtectionEnabled\":true,\"ExpirationDate\":"
	    "\"2023-11-14T22:13:20Z\",\"TaskArn\":\"ARN\"}}");
	buf_done(&r.body);

	r = protection("GET", "");
	metadata_handler.on_request(&r);
	assert_null(asked);
	task = json_pack("{s:s, s:b}", "taskArn", "ARN", "protectionEnabled", 0);
	asked_done(asked_ctx, &(struct task_protection){.task = task});
	json_decref(task);
	assert_string_equal(http_body, "{\"protection\":{\"ProtectionEnabled\":false,"
				       "\"ExpirationDate\":null,\"TaskArn\":\"ARN\"}}");

	/* A disk that is full, and a client that does not wait. */
	metadata_handler.on_request(&r);
	asked_done(asked_ctx, &(struct task_protection){.message = "full", .fault_is_ours = true});
	assert_int_equal(http_status, 500);
	http_status = 0;
	metadata_handler.on_request(&r);
	metadata_handler.on_cancel(&r);
	asked_done(asked_ctx, &(struct task_protection){.failure = "MISSING"});
	assert_int_equal(http_status, 0);
	r = protection("DELETE", "");
	metadata_handler.on_request(&r);
	assert_int_equal(http_status, 405);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_runs), T(test_record_first), T(test_record_fails),
	    T(test_record_later), T(test_essential_exits), T(test_ends_at_once), T(test_oom),
	    T(test_no_image), T(test_no_sandbox), T(test_no_container), T(test_runtime_hangs),
	    T(test_no_command), T(test_no_secret), T(test_no_user), T(test_no_group),
	    T(test_kill_after_timeout), T(test_stop_signal), T(test_stop_order),
	    T(test_stop_any_time), T(test_complete), T(test_success), T(test_no_success),
	    T(test_start_timeout), T(test_healthy), T(test_unhealthy), T(test_check_hangs),
	    T(test_start_period), T(test_restart), T(test_no_restart), T(test_log),
	    T(test_log_full), T(test_kill_starting), T(test_kill_stopping), T(test_kill_exit),
	    T(test_kill_restarting), T(test_machine_restarts), T(test_machine_restarts_disk),
	    T(test_orphans), T(test_health_of_adopted), T(test_kept_for_an_hour),
	    T(test_forgotten_soon), T(test_held), T(test_held_too_long), T(test_quiet),
	    T(test_update), T(test_lacks), T(test_network), T(test_metadata), T(test_protection)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
