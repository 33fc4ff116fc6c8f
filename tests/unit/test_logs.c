/* Logs: groups, streams, events, paging, filtering, retention, restarts. */
#include "unit.h"

#include <signal.h>
#include <sys/wait.h>

#include "logs/logs.h"
#include "scratch.h"

struct fixture {
	struct loop *loop;
	char *dir, *store_dir, *logs_dir;
	struct store *store;
	struct logs *logs;
};

static const struct log_group_id group = {
    {"123456789012", 12}, {"us-east-1", 9}, {"/aws/lambda/f", 13}};

static void open_all(struct fixture *f)
{
	f->store = store_open(f->loop, f->store_dir, NULL);
	assert_non_null(f->store);
	f->logs = logs_open(f->loop, f->store, f->logs_dir, NULL);
	assert_non_null(f->logs);
}

static void close_all(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 5);
	logs_close(f->logs);
	store_close(f->store);
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 5);
	f->logs = NULL;
	f->store = NULL;
}

static int setup_bare(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(2, NULL);
	f->dir = scratch_new();
	f->store_dir = xasprintf("%s/store", f->dir);
	f->logs_dir = xasprintf("%s/logs", f->dir);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	setup_bare(state);
	open_all(*state);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_all(f);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f->store_dir);
	free(f->logs_dir);
	free(f);
	return 0;
}

static int answer;

static void on_done(void *ctx, int result)
{
	(void)ctx;
	answer = result == 0 ? 1 : result;
}

#define WAIT(f, call)                                          \
	({                                                     \
		answer = 0;                                    \
		call;                                          \
		assert_int_equal(answer, 0);                   \
		assert_true(scratch_wait((f)->loop, &answer)); \
		answer == 1 ? 0 : answer;                      \
	})

struct page {
	int finished, result;
	unsigned count;
	char text[1024];
	char forward[LOGS_TOKEN_SIZE], backward[LOGS_TOKEN_SIZE];
};

static void on_page(void *ctx, const struct log_page *in)
{
	struct page *p = ctx;

	p->text[0] = '\0';
	for (size_t i = 0; i < in->count; i++) {
		size_t n = strlen(p->text);

		assert_int_equal(strlen(in->events[i].id), 56);
		if (n < sizeof(p->text) - 64)
			snprintf(p->text + n, 64, "%.*s:%.*s@%d ", STR_FMT(in->events[i].stream),
			    (int)min_size(in->events[i].text.len, 8), in->events[i].text.ptr,
			    (int)in->events[i].ts_ms);
	}
	p->result = in->result;
	p->count = (unsigned)in->count;
	memcpy(p->forward, in->forward, sizeof(p->forward));
	memcpy(p->backward, in->backward, sizeof(p->backward));
	p->finished = 1;
}

static struct log_query query(void)
{
	return (struct log_query){.group = group, .from_ms = INT64_MIN, .to_ms = INT64_MAX};
}

static const char *get(struct fixture *f, const char *stream, bool head, unsigned limit,
    const char *token, struct page *p)
{
	struct log_query q = query();
	struct str name = str_from(stream);

	q.streams = &name;
	q.stream_count = 1;
	q.from_head = head;
	q.limit = limit;
	q.token = token ? str_from(token) : STR_NULL;
	p->finished = 0;
	logs_get(f->logs, &q, on_page, p);
	assert_true(scratch_wait(f->loop, &p->finished));
	return p->result ? "failed" : p->text;
}

static const char *filter(
    struct fixture *f, struct log_query q, const char *pattern, struct page *p)
{
	q.pattern = pattern ? log_pattern_parse(str_from(pattern), NULL) : NULL;
	p->finished = 0;
	logs_filter(f->logs, &q, on_page, p);
	assert_true(scratch_wait(f->loop, &p->finished));
	return p->result ? "failed" : p->text;
}

static struct log_stream *stream(struct fixture *f, const char *name)
{
	struct err e = ERR_INIT;
	struct log_stream *s = logs_stream(f->logs, group, str_from(name), &e);

	assert_string_equal(e.msg, "");
	assert_non_null(s);
	return s;
}

static void append(struct log_stream *s, int from, int to)
{
	char text[16];

	for (int i = from; i < to; i++) {
		snprintf(text, sizeof(text), "e%d", i);
		assert_int_equal(logs_append(s, i, text, strlen(text)), 0);
	}
}

static void reopen(struct fixture *f)
{
	close_all(f);
	open_all(f);
}

static void list_group(void *ctx, const struct log_group_info *i)
{
	char *out = ctx;
	size_t n = strlen(out);

	snprintf(
	    out + n, 256 - n, "%.*s/%d/%zu ", STR_FMT(i->id.name), i->retention_days, i->tag_count);
}

static const char *groups(struct fixture *f, const char *prefix, const char *after, unsigned limit)
{
	static char out[256];
	struct log_group_list q = {.account = group.account,
	    .region = group.region,
	    .prefix = str_from(prefix),
	    .after = str_from(after),
	    .limit = limit};

	out[0] = '\0';
	if (logs_groups(f->logs, &q, list_group, out))
		strcat(out, "+");
	return out;
}

static void groups_are_durable(void **state)
{
	struct fixture *f = *state;
	struct log_tag tag = {STR("k"), STR("v\"\xc3\xa9")};
	struct log_group_id a = group, b = group, bad = group;
	struct log_group_info info;

	a.name = STR("a");
	b.name = STR("b/1");
	bad.name = STR("no spaces");
	assert_int_equal(WAIT(f, logs_group_create(f->logs, a, &tag, 1, on_done, NULL)), 0);
	assert_int_equal(WAIT(f, logs_group_create(f->logs, a, NULL, 0, on_done, NULL)), -EEXIST);
	assert_int_equal(WAIT(f, logs_group_create(f->logs, b, NULL, 0, on_done, NULL)), 0);
	assert_int_equal(WAIT(f, logs_group_create(f->logs, bad, NULL, 0, on_done, NULL)), -EINVAL);
	assert_int_equal(WAIT(f, logs_group_retention(f->logs, a, 7, on_done, NULL)), 0);
	assert_int_equal(WAIT(f, logs_group_tags(f->logs, b, &tag, 1, on_done, NULL)), 0);
	logs_stream_unref(stream(f, "s"));
	reopen(f);
	assert_string_equal(groups(f, NULL, NULL, 9), "/aws/lambda/f/0/0 a/7/1 b/1/0/1 ");
	assert_string_equal(groups(f, NULL, NULL, 2), "/aws/lambda/f/0/0 a/7/1 +");
	assert_string_equal(groups(f, NULL, "a", 2), "b/1/0/1 ");
	assert_string_equal(groups(f, "b", NULL, 2), "b/1/0/1 ");
	assert_int_equal(logs_group_get(f->logs, b, &info), 0);
	assert_true(str_eq(info.tags[0].value, tag.value) && info.created_ms > 0);
	assert_int_equal(WAIT(f, logs_group_delete(f->logs, a, on_done, NULL)), 0);
	assert_int_equal(WAIT(f, logs_group_delete(f->logs, a, on_done, NULL)), -ENOENT);
	reopen(f);
	assert_string_equal(groups(f, NULL, NULL, 9), "/aws/lambda/f/0/0 b/1/0/1 ");
}

static void list_stream(void *ctx, const struct log_stream_info *i)
{
	char *out = ctx;
	size_t n = strlen(out);

	snprintf(out + n, 256 - n, "%.*s/%d-%d ", STR_FMT(i->name), (int)i->first_event_ms,
	    (int)i->last_event_ms);
}

static const char *streams(
    struct fixture *f, bool by_last, bool descending, unsigned limit, struct buf *token)
{
	static char out[256];
	_cleanup_buf_ struct buf next = BUF_INIT;
	struct log_stream_list q = {.by_last_event = by_last,
	    .descending = descending,
	    .limit = limit,
	    .token = buf_str(token)};

	out[0] = '\0';
	assert_int_equal(logs_streams(f->logs, group, &q, list_stream, out, &next), 0);
	buf_clear(token);
	buf_append_str(token, buf_str(&next));
	return out;
}

static void streams_are_listed_in_both_orders(void **state)
{
	struct fixture *f = *state;
	struct log_stream *s[3] = {stream(f, "x"), stream(f, "y"), stream(f, "z")};
	_cleanup_buf_ struct buf token = BUF_INIT;
	struct log_stream_list bad = {.token = STR("nonsense"), .limit = 1};

	append(s[0], 5, 9);
	append(s[1], 1, 3);
	for (int round = 0; round < 2; round++) {
		assert_string_equal(streams(f, false, false, 2, &token), "x/5-8 y/1-2 ");
		assert_string_equal(streams(f, false, false, 2, &token), "z/-1--1 ");
		assert_int_equal(buf_len(&token), 0);
		assert_string_equal(streams(f, true, true, 2, &token), "x/5-8 y/1-2 ");
		assert_string_equal(streams(f, true, true, 2, &token), "z/-1--1 ");
		assert_string_equal(streams(f, true, false, 3, &token), "z/-1--1 y/1-2 x/5-8 ");
		if (round == 0) {
			for (int i = 0; i < 3; i++)
				logs_stream_unref(s[i]);
			reopen(f);
		}
	}
	assert_int_equal(logs_streams(f->logs, group, &bad, list_stream, NULL, &token), -EINVAL);
	assert_int_equal(
	    WAIT(f, logs_stream_create(f->logs, group, STR("x"), on_done, NULL)), -EEXIST);
	assert_int_equal(
	    WAIT(f, logs_stream_create(f->logs, group, STR("a:b"), on_done, NULL)), -EINVAL);
	assert_int_equal(WAIT(f, logs_stream_create(f->logs, group, STR("w"), on_done, NULL)), 0);
	assert_int_equal(WAIT(f, logs_stream_delete(f->logs, group, STR("x"), on_done, NULL)), 0);
	reopen(f);
	assert_string_equal(streams(f, false, false, 9, &token), "w/-1--1 y/1-2 z/-1--1 ");
}

static void pages_go_both_ways(void **state)
{
	struct fixture *f = *state;
	struct log_stream *s = stream(f, "s"), *other = stream(f, "o");
	struct page p, q;

	assert_string_equal(get(f, "s", true, 2, NULL, &p), "");
	append(other, 0, 3);
	append(s, 1, 6);
	append(other, 3, 6);
	assert_string_equal(get(f, "s", true, 2, NULL, &p), "s:e1@1 s:e2@2 ");
	assert_string_equal(get(f, "s", true, 2, p.forward, &p), "s:e3@3 s:e4@4 ");
	assert_string_equal(get(f, "s", true, 2, p.backward, &q), "s:e1@1 s:e2@2 ");
	assert_string_equal(get(f, "s", true, 2, p.forward, &p), "s:e5@5 ");
	assert_string_equal(get(f, "s", true, 2, p.forward, &q), "");
	assert_string_equal(q.forward, p.forward); /* the end: the same token */
	append(other, 6, 7);
	append(s, 6, 7);
	assert_string_equal(get(f, "s", true, 2, q.forward, &p), "s:e6@6 ");
	assert_string_equal(get(f, "s", false, 2, NULL, &p), "s:e5@5 s:e6@6 ");
	assert_string_equal(get(f, "s", false, 3, p.backward, &p), "s:e2@2 s:e3@3 s:e4@4 ");
	assert_string_equal(get(f, "s", false, 3, p.backward, &p), "s:e1@1 ");
	assert_string_equal(get(f, "s", false, 3, p.backward, &q), "");
	assert_string_equal(q.backward, p.backward);
	get(f, "s", true, 1, "f/12", &p);
	assert_int_equal(p.result, -EINVAL);
	get(f, "none", true, 1, NULL, &p);
	assert_int_equal(p.result, -ENOENT);
	get(f, "s", true, 1, "f/00000000000000000000000000000000000009223372036854775807", &p);
	assert_int_equal(p.count, 0);
	for (int i = 0; i < 200; i++) { /* any position is safe */
		char token[LOGS_TOKEN_SIZE];

		snprintf(token, sizeof(token), "%c/%056d", i % 2 ? 'f' : 'b', i * 3);
		get(f, "s", true, 0, token, &p);
		assert_int_equal(p.result, 0);
	}
	logs_stream_unref(s);
	logs_stream_unref(other);
}

static void filters_see_what_they_ask_for(void **state)
{
	struct fixture *f = *state;
	struct log_stream *a = stream(f, "a1"), *b = stream(f, "a2"), *c = stream(f, "b1");
	struct log_query q = query();
	struct str names[2] = {STR("a1"), STR("b1")};
	struct page p;

	append(a, 10, 13);
	append(b, 11, 12);
	append(c, 5, 7); /* arrived later, but older */
	assert_string_equal(
	    filter(f, q, NULL, &p), "b1:e5@5 b1:e6@6 a1:e10@10 a1:e11@11 a2:e11@11 a1:e12@12 ");
	assert_string_equal(p.forward, "");
	assert_string_equal(filter(f, q, "e11", &p), "a1:e11@11 a2:e11@11 ");
	q.stream_prefix = STR("a");
	q.from_ms = 11;
	q.to_ms = 12;
	assert_string_equal(filter(f, q, NULL, &p), "a1:e11@11 a2:e11@11 ");
	q = query();
	q.streams = names;
	q.stream_count = 2;
	q.limit = 2;
	assert_string_equal(filter(f, q, NULL, &p), "a1:e10@10 a1:e11@11 ");
	q.token = str_from(p.forward);
	assert_string_equal(filter(f, q, NULL, &p), "b1:e5@5 a1:e12@12 ");
	assert_string_equal(filter(f, q, NULL, &p), "b1:e6@6 ");
	assert_string_equal(p.forward, "");
	assert_int_equal(WAIT(f, logs_stream_delete(f->logs, group, STR("a1"), on_done, NULL)), 0);
	assert_int_equal(logs_append(a, 1, "x", 1), -ENOENT);
	assert_string_equal(filter(f, query(), "e11", &p), "a2:e11@11 ");
	logs_stream_unref(a);
	logs_stream_unref(b);
	logs_stream_unref(c);
}

/* Several segments, pages limited by their size, the table written while running. */
static void much_is_paged_and_survives(void **state)
{
	struct fixture *f = *state;
	struct log_stream *s = stream(f, "big"), *late;
	_cleanup_free_ char *text = xmalloc(LOGS_EVENT_MAX + 1);
	struct log_query q = query();
	unsigned total = 0;
	struct page p = {.finished = 0};

	memset(text, 'x', LOGS_EVENT_MAX + 1);
	assert_int_equal(logs_append(s, 0, text, LOGS_EVENT_MAX + 1), -EMSGSIZE);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(logs_append(s, i, text, 10000), 0);
		if (i % 64 == 0)
			loop_turn(f->loop, 0);
	}
	assert_int_equal(logs_append(s, 3000, text, LOGS_EVENT_MAX), 0);
	logs_stream_unref(s);
	reopen(f);
	late = stream(f, "late");
	append(late, 9000, 9003);
	logs_stream_unref(late);
	reopen(f);
	do {
		filter(f, q, NULL, &p);
		assert_int_equal(p.result, 0);
		assert_true(p.count <= 105);
		total += p.count;
		q.token = str_from(p.forward);
	} while (p.forward[0]);
	assert_int_equal(total, 3004);
	assert_string_equal(get(f, "late", false, 2, NULL, &p), "late:e9001@9001 late:e9002@9002 ");
	assert_string_equal(get(f, "big", true, 1, NULL, &p), "big:xxxxxxxx@0 ");
}

static void retention_drops_whole_segments(void **state)
{
	struct fixture *f = *state;
	struct log_stream *s = stream(f, "old"), *n;
	_cleanup_free_ char *text = xcalloc(1, 10001);
	int64_t now = time_wall_ms();
	struct log_group_info before, after;
	struct log_stream_info info;
	struct log_event put = {.ts_ms = now, .text = STR("put")};
	struct page p;

	memset(text, 'x', 10000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(logs_append(s, now - 3 * 86400000ll, text, 10000), 0);
	logs_stream_unref(s);
	n = stream(f, "new");
	append(n, 1, 2);
	logs_stream_unref(n);
	assert_int_equal(WAIT(f, logs_put(f->logs, group, STR("new"), &put, 1, on_done, NULL)), 0);
	assert_int_equal(
	    WAIT(f, logs_put(f->logs, group, STR("none"), &put, 1, on_done, NULL)), -ENOENT);
	assert_int_equal(logs_group_get(f->logs, group, &before), 0);
	assert_int_equal(WAIT(f, logs_group_retention(f->logs, group, 1, on_done, NULL)), 0);
	filter(f, query(), NULL, &p);
	assert_int_equal(p.count, 1);
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 5);
	logs_expire(f->logs, now);
	assert_int_equal(logs_group_get(f->logs, group, &after), 0);
	assert_true(after.stored_bytes < before.stored_bytes);
	reopen(f);
	filter(f, query(), NULL, &p);
	assert_int_equal(p.count, 1);
	assert_int_equal(logs_stream_get(f->logs, group, STR("new"), &info), 0);
}

static void log_until_killed(struct fixture *f, int pipe_fd)
{
	struct log_stream *s;

	open_all(f);
	answer = 0;
	logs_group_create(f->logs, group, NULL, 0, on_done, NULL);
	scratch_wait(f->loop, &answer);
	s = logs_stream(f->logs, group, STR("s"), NULL);
	for (int i = 0;; i++) {
		char text[16];

		snprintf(text, sizeof(text), "e%d", i);
		if (logs_append(s, i, text, strlen(text)) < 0 ||
		    write(pipe_fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static void what_was_logged_survives_kill(void **state)
{
	struct fixture *f = *state;
	int pipes[2], last = 0, value, total = 0;
	struct log_query q = query();
	struct page p = {.finished = 0};
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		log_until_killed(f, pipes[1]);
	}
	close(pipes[1]);
	while (last < 20000 && read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	close(pipes[0]);
	open_all(f);
	do {
		filter(f, q, NULL, &p);
		assert_int_equal(p.result, 0);
		total += (int)p.count;
		q.token = str_from(p.forward);
	} while (p.forward[0]);
	assert_true(last >= 20000 && total >= last + 1 && total <= last + 2);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(groups_are_durable),
	    T(streams_are_listed_in_both_orders),
	    T(pages_go_both_ways),
	    T(filters_see_what_they_ask_for),
	    T(much_is_paged_and_survives),
	    T(retention_drops_whole_segments),
	    cmocka_unit_test_setup_teardown(what_was_logged_survives_kill, setup_bare, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
