/*
 * Log files read while they grow (src/sched/tail.c), with real files, inotify and loop; the streams
 * are played.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sched/log_option.h"
#include "sched/task_int.h"
#include "scratch.h"

static size_t lines, bytes;
static char last[1024 * 1024];
static int append_result;
static unsigned looks; /* after a pause */
static int64_t last_ns;

int tail_place(struct arena *a, const struct unit *u, struct task_log *ret, struct err *e)
{
	(void)a;
	(void)u;
	(void)e;
	*ret = (struct task_log){"eu-west-1", "group", "stream"};
	return 0;
}

int logs_group_get(struct logs *g, struct log_group_id id, struct log_group_info *ret)
{
	(void)g;
	(void)id;
	(void)ret;
	return 0;
}

struct log_stream *logs_stream(
    struct logs *g, struct log_group_id group, struct str name, struct err *e)
{
	(void)g;
	(void)group;
	(void)e;
	assert_true(str_is(name, "stream"));
	return (struct log_stream *)(void *)last;
}

void logs_stream_unref(struct log_stream *s)
{
	(void)s;
}

int logs_append(struct log_stream *s, int64_t ts_ms, const char *text, size_t len)
{
	(void)s;
	if (append_result < 0)
		return append_result;
	assert_true(ts_ms == 1714557600123 || !strncmp(text, "mayfly: ", 8));
	if (time_mono_ns() - last_ns > 1000000)
		looks++;
	last_ns = time_mono_ns();
	lines++;
	bytes += len;
	snprintf(last, sizeof(last), "%.*s", (int)len, text);
	return 0;
}

void logs_group_retention(
    struct logs *g, struct log_group_id id, int days, logs_done_fn *done, void *ctx)
{
	(void)g;
	(void)id;
	(void)days;
	(void)done;
	(void)ctx;
}

static struct loop *loop;
static struct tasks all;
static struct task task = {.all = &all};
static struct unit unit = {.task = &task, .name = "web"};
static char path[64];
static int out; /* conmon's end */
static struct tail *tail;

static void open_tail(void)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	tail = tail_open(all.tails, &unit, fd);
}

static int setup(void **state)
{
	struct err e;

	(void)state;
	loop = loop_new(1, &e);
	assert_non_null(loop);
	all.o.loop = loop;
	all.tails = tails_new(&all);
	strcpy(path, "/tmp/mayfly-test-tail-XXXXXX");
	out = mkostemp(path, O_APPEND);
	assert_true(out >= 0);
	lines = bytes = 0;
	*last = 0;
	append_result = 0;
	open_tail();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tail_close(tail);
	tails_free(all.tails);
	loop_free(loop);
	close(out);
	unlink(path);
	return 0;
}

#define TIME "2024-05-01T10:00:00.123456789+00:00 "

static void print(const char *text)
{
	assert_int_equal(write(out, text, strlen(text)), strlen(text));
}

static void wait_lines(size_t n)
{
	int64_t end = time_mono_ns() + 30000000000;

	while (lines < n && time_mono_ns() < end)
		loop_turn(loop, 100);
	assert_int_equal(lines, n);
}

/* How often the loop woke in 300 ms. */
static unsigned wakes(void)
{
	int64_t end = time_mono_ns() + 300000000, left;
	unsigned n = 0;

	while ((left = (end - time_mono_ns()) / 1000000) > 0) {
		loop_turn(loop, (int)left + 1);
		n++;
	}
	return n;
}

static void test_grows(void **state)
{
	(void)state;
	print(TIME "stdout F one\n");
	wait_lines(1);
	assert_string_equal(last, "one");
	(void)wakes(); /* the hole is a change of the file, too */
	assert_true(wakes() <= 1);
	print(TIME "stderr F \n" TIME "stdout P ab\n" TIME "stderr F two\n");
	wait_lines(3);
	assert_string_equal(last, "two");
	print(TIME "stdout F cd\n");
	wait_lines(4);
	assert_string_equal(last, "abcd");
}

static void test_cut_in_a_line(void **state)
{
	(void)state;
	print(TIME "stdout F fi");
	(void)wakes();
	assert_int_equal(lines, 0);
	print("rst\n");
	wait_lines(1);
	assert_string_equal(last, "first");
}

static void test_gives_disk_back(void **state)
{
	static char chunk[65536];
	struct stat st;
	size_t n = 0, len = 0;

	(void)state;
	while (len < sizeof(chunk) - 200)
		n++, len += (size_t)sprintf(chunk + len, TIME "stdout F line %zu of many\n", n);
	for (int i = 0; i < 64; i++)
		print(chunk);
	wait_lines(64 * n);
	(void)wakes();
	assert_int_equal(fstat(out, &st), 0);
	assert_true(st.st_size > 3000000);
	assert_true(st.st_blocks * 512 <= 65536);
	/* Somebody else goes on at the end. */
	tail_close(tail);
	open_tail();
	print(TIME "stdout F more\n");
	wait_lines(64 * n + 1);
	assert_string_equal(last, "more");
}

/* A busy container wakes us a hundred times a second, not for each line. */
static void test_pace(void **state)
{
	unsigned turns = 0;
	int64_t end = time_mono_ns() + 300000000;

	(void)state;
	looks = 0;
	while (time_mono_ns() < end) {
		print(TIME "stdout F x\n");
		loop_turn(loop, 0);
		turns++;
		usleep(200);
	}
	assert_true(turns > 200);
	assert_true(looks <= 40);
	wait_lines(turns);
}

static void test_very_long(void **state)
{
	static char part[8400];

	(void)state;
	strcpy(part, TIME "stdout P ");
	memset(part + strlen(part), 'y', 8192);
	strcat(part, "\n");
	for (int i = 0; i < 40; i++) /* 320 KiB, in events of 256 KiB at most */
		print(part);
	print(TIME "stdout F end\n");
	wait_lines(2);
	assert_int_equal(bytes, 40 * 8192 + 3);
}

static void test_nonsense(void **state)
{
	(void)state;
	print("\n \nx\nnot a time stdout F a\n" TIME "stdin F b\n" TIME "stdout X c\n" TIME
	      "stdout F good\n");
	wait_lines(1);
	assert_string_equal(last, "good");
}

static void test_full(void **state)
{
	(void)state;
	append_result = -ENOSPC;
	print(TIME "stdout F kept\n");
	(void)wakes();
	assert_int_equal(lines, 0);
	assert_int_equal(tail_drain(tail), TAIL_STUCK);
	append_result = 0;
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_string_equal(last, "kept");
	assert_int_equal(lines, 1);
}

#define LINE_BYTES 1000
#define TOO_MUCH (24 << 20)

static uint64_t print_too_much(void)
{
	static char line[LINE_BYTES + 1];
	uint64_t n = 0;

	strcpy(line, TIME "stdout F ");
	memset(line + strlen(line), 'y', LINE_BYTES - strlen(line) - 1);
	line[LINE_BYTES - 1] = '\n';
	for (; n < TOO_MUCH; n += LINE_BYTES)
		print(line);
	return n;
}

static uint64_t told(const char *why)
{
	unsigned long long n = 0;

	assert_int_equal(sscanf(last, "mayfly: %llu bytes", &n), 1);
	assert_non_null(strstr(last, why));
	return n;
}

static uint64_t on_disk(void)
{
	struct stat st;

	assert_int_equal(fstat(out, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Whatever came before it was seen that there is too much is logged, the rest is counted. */
static void test_too_much(void **state)
{
	uint64_t n;

	(void)state;
	n = print_too_much();
	wait_lines(1);
	assert_int_equal(told("4 MiB a second"), n);
	assert_true(on_disk() <= 65536);
	print(TIME "stdout F still here\n");
	wait_lines(2);
	assert_string_equal(last, "still here");
	/* Not told again at once, but at the end. */
	n = print_too_much();
	print(TIME "stdout P cut");
	while (on_disk() > 65536)
		loop_turn(loop, 100);
	assert_int_equal(lines, 2);
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_int_equal(lines, 3);
	assert_int_equal(told("4 MiB a second"), n);
}

static void test_no_room(void **state)
{
	int64_t end = time_mono_ns() + 30000000000;
	uint64_t n;

	(void)state;
	append_result = -ENOSPC;
	print(TIME "stdout F first\n");
	while (tail_drain(tail) != TAIL_STUCK) /* it is read, and cannot be logged */
		;
	n = print_too_much();
	while (on_disk() > 65536 && time_mono_ns() < end)
		loop_turn(loop, 100);
	assert_true(on_disk() <= 65536);
	assert_int_equal(lines, 0);
	append_result = 0;
	print(TIME "stdout F last\n");
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_int_equal(lines, 2);
	assert_int_equal(told("no room"), n + strlen(TIME "stdout F first\n"));
}

/* ---- lines that are one event ---- */

static json_t *options_of(const char *more)
{
	return json_loads(more, 0, NULL);
}

#define AWSLOGS \
	"{\"logDriver\":\"awslogs\",\"options\":{\"awslogs-group\":\"g\",\"awslogs-region\":\"r\""
#define PATTERN(text) AWSLOGS ",\"awslogs-multiline-pattern\":\"" text "\"}}"

static void with_options(const char *text)
{
	unit.def = json_pack("{s:o}", "logConfiguration", options_of(text));
	tail_close(tail);
	open_tail();
}

static void without_options(void)
{
	json_decref((json_t *)unit.def);
	unit.def = NULL;
}

static void test_events_of_lines(void **state)
{
	(void)state;
	with_options(PATTERN("^[A-Z]+ "));
	print(TIME "stdout F ERROR a\n" TIME "stderr F   at 1\n" TIME "stdout P   at \n" TIME
		   "stdout F 2\n" TIME "stdout F \n" TIME "stdout F INFO b\n");
	wait_lines(1);
	assert_string_equal(last, "ERROR a\n  at 1\n  at 2\n");
	wait_lines(2); /* nothing comes any more */
	assert_string_equal(last, "INFO b");
	print(TIME "stdout F   begins with what begins nothing\n");
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_string_equal(last, "  begins with what begins nothing");
	assert_int_equal(lines, 3);
	without_options();
}

/* An event that waits is still in the file, and cut out once it is logged. */
static void test_event_survives(void **state)
{
	(void)state;
	with_options(PATTERN("^E"));
	print(TIME "stdout F E one\n" TIME "stdout F E two\n");
	wait_lines(1);
	tail_close(tail); /* as a kill would */
	open_tail();
	print(TIME "stdout F more\n");
	wait_lines(2);
	assert_string_equal(last, "E two\nmore");
	tail_close(tail);
	open_tail();
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_int_equal(lines, 2);
	without_options();
}

static void test_event_size(void **state)
{
	static char line[1000];

	(void)state;
	with_options(PATTERN("^E"));
	strcpy(line, TIME "stdout F ");
	memset(line + strlen(line), 'y', sizeof(line) - strlen(line) - 1);
	line[sizeof(line) - 2] = '\n';
	for (int i = 0; i < 600; i++)
		print(line);
	assert_int_equal(tail_drain(tail), TAIL_MORE);
	while (tail_drain(tail) != TAIL_DONE)
		;
	assert_int_equal(lines, 3);
	assert_in_range(bytes, 600 * (strlen(line) - strlen(TIME "stdout F \n") + 1) - 3,
	    600 * (strlen(line) - strlen(TIME "stdout F \n") + 1) - 3);
	without_options();
}

static void test_event_no_room(void **state)
{
	(void)state;
	with_options(PATTERN("^E"));
	append_result = -ENOSPC;
	print(TIME "stdout F E one\n" TIME "stdout F 1\n" TIME "stdout F E two\n");
	assert_int_equal(tail_drain(tail), TAIL_STUCK);
	assert_int_equal(tail_drain(tail), TAIL_STUCK);
	append_result = 0;
	assert_int_equal(tail_drain(tail), TAIL_DONE);
	assert_int_equal(lines, 2);
	assert_string_equal(last, "E two");
	without_options();
}

/* What would need for ever is given up, said, and nothing is lost. */
static void test_event_too_long(void **state)
{
	(void)state;
	with_options(PATTERN("^(a+)+$"));
	for (int i = 0; i < 40; i++)
		print(TIME "stdout F aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\n");
	print(TIME "stdout F end\n");
	/* 16 in one, the word, 24 alone, the end. */
	wait_lines(27);
	assert_string_equal(last, "end");
	without_options();
}

/* Patterns that take long hold up the loop no longer because there are many of them. */
static void test_many_slow_patterns(void **state)
{
	enum { TAILS = 60, LINES = 8, WIDTH = 2000, LOOKS = 64 };
	static char line[WIDTH + 100], options[2048];
	struct tail *tails[TAILS];
	int64_t end = time_mono_ns() + 60000000000;

	(void)state;
	strcpy(line, TIME "stdout F ");
	memset(line + strlen(line), 'x', WIDTH);
	strcat(line, "\n");
	strcpy(options, AWSLOGS ",\"awslogs-multiline-pattern\":\"");
	for (int i = 0; i < LOOKS; i++)
		strcat(options, "(?=\\\\p{L}*+)");
	strcat(options, "x\"}}");
	with_options(options);
	for (int i = 0; i < TAILS; i++) {
		char name[] = "/tmp/mayfly-test-tail-XXXXXX";
		int fd = mkostemp(name, O_APPEND | O_CLOEXEC);

		assert_true(fd >= 0);
		unlink(name);
		for (int k = 0; k < LINES; k++)
			assert_int_equal(write(fd, line, strlen(line)), strlen(line));
		tails[i] = tail_open(all.tails, &unit, fd);
	}
	while (!lines && time_mono_ns() < end)
		loop_turn(loop, 100);
	assert_in_range(lines, 1, TAILS - 1); /* not one of each in the first look */
	/* But all have their turn; the last line of each waits for more. */
	while (lines < TAILS * (LINES - 1) && time_mono_ns() < end)
		loop_turn(loop, 100);
	assert_true(lines >= TAILS * (LINES - 1));
	for (int i = 0; i < TAILS; i++)
		tail_close(tails[i]);
	without_options();
}

static void refused(const char *text, const char *why)
{
	json_t *o = options_of(text);
	struct log_options options;
	struct err e = ERR_INIT;

	assert_non_null(o);
	if (log_options_parse(o, &options, &e) == 0 || !strstr(e.msg, why))
		fail_msg("%s: '%s' and not '%s'", text, e.msg, why);
	log_options_done(&options);
	json_decref(o);
}

static void test_options_refused(void **state)
{
	(void)state;
	refused("{\"logDriver\":\"awslogs\"}", "requires options: awslogs-region, awslogs-group");
	refused(AWSLOGS ",\"awslogs-stream\":\"x\"}}", "disallows options: awslogs-stream");
	refused(AWSLOGS ",\"awslogs-create-group\":\"yes\"}}", "true or false");
	refused(AWSLOGS ",\"mode\":\"x\"}}", "blocking or non-blocking");
	refused(AWSLOGS ",\"max-buffer-size\":\"x\"}}", "max-buffer-size");
	refused(AWSLOGS ",\"max-buffer-size\":\"65m\"}}", "at most 64m");
	refused(AWSLOGS ",\"max-buffer-size\":\"1.2.3\"}}", "max-buffer-size");
	refused(AWSLOGS ",\"max-buffer-size\":\"1mx\"}}", "max-buffer-size");
	refused(AWSLOGS ",\"mode\":\"blocking\",\"max-buffer-size\":\"1m\"}}", "non-blocking only");
	refused(
	    AWSLOGS "},\"secretOptions\":[{\"name\":\"a\",\"valueFrom\":\"b\"}]}", "secretOptions");
	refused(PATTERN("a("), "see character 3");
	refused(PATTERN(""), "between 1 and 1024");
	refused(AWSLOGS ",\"awslogs-datetime-format\":\"%Y-%Q\"}}", "character 4");
	refused(AWSLOGS ",\"awslogs-datetime-format\":\"%\"}}", "character 1");
	refused(AWSLOGS ",\"awslogs-datetime-format\":\"(%Y\"}}", "\\( for (");
	refused(AWSLOGS ",\"awslogs-datetime-format\":\"%Y\",\"awslogs-multiline-pattern\":\"a\"}}",
	    "exclude each other");
	refused("{\"logDriver\":\"json-file\",\"options\":{\"max-size\":\"10m\"}}",
	    "disallows options: max-size");
}

static size_t buffer_of(const char *text)
{
	json_t *o = options_of(text);
	struct log_options options;
	struct err e = ERR_INIT;

	assert_int_equal(log_options_parse(o, &options, &e), 0);
	log_options_done(&options);
	json_decref(o);
	return options.buffer_max;
}

static void test_options_taken(void **state)
{
	static const char *const good[] = {"[Dec 01, 2024 00:09:59] x",
	    "at [Jan 31, 1999 23:59:00]"},
				 *const bad[] = {
				     "Dec 01, 2024 00:09:59", "[Dec 32, 2024 00:09:59]"};
	json_t *o =
	    options_of(AWSLOGS ",\"awslogs-datetime-format\":\"\\\\[%b %d, %Y %H:%M:%S\\\\]\"}}");
	struct log_options options;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(buffer_of(AWSLOGS ",\"max-buffer-size\":\"25m\"}}"), 25 << 20);
	assert_int_equal(buffer_of(AWSLOGS ",\"max-buffer-size\":\"2.5 MiB\"}}"), 5 << 19);
	assert_int_equal(buffer_of(AWSLOGS ",\"max-buffer-size\":\"3000000b\"}}"), 3000000);
	assert_int_equal(buffer_of(AWSLOGS ",\"max-buffer-size\":\"1k\"}}"), 1 << 20);
	assert_int_equal(buffer_of(AWSLOGS "}}"), 16 << 20);
	assert_int_equal(
	    buffer_of("{\"logDriver\":\"syslog\",\"options\":{\"a\":\"b\"}}"), 16 << 20);
	assert_int_equal(log_options_parse(o, &options, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(log_regex_match(options.begins, str_from(good[i])), 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(log_regex_match(options.begins, str_from(bad[i])), 0);
	log_options_done(&options);
	json_decref(o);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_grows), T(test_cut_in_a_line),
	    T(test_gives_disk_back), T(test_pace), T(test_very_long), T(test_nonsense),
	    T(test_full), T(test_too_much), T(test_no_room), T(test_events_of_lines),
	    T(test_event_survives), T(test_event_size), T(test_event_no_room),
	    T(test_event_too_long), T(test_many_slow_patterns),
	    cmocka_unit_test(test_options_refused), cmocka_unit_test(test_options_taken)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
