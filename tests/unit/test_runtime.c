/* The framed channel against a box that is played here, honest and hostile. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/rand.h"
#include "base/time.h"
#include "runtime/frame.h"
#include "runtime/runtime.h"

#define ID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define ID_B "bbbbbbbb-0000-4000-8000-000000000002"

struct play {
	struct loop *loop;
	struct runtime *rt;
	int box, answers_to; /* what it reads, and writes to */
	int warm, ready, init_errors, answers, broken, taken_back;
	unsigned taken_count;
	bool free_on_answer, take;
	char why[128], type[128], id[37];
	bool is_error;
	struct buf body;
	bool stream, pause, free_on_piece; /* events may be answered in pieces; pause at each */
	int streams, pieces;
	char content_type[128];
	struct buf streamed;
};

static void on_warm(void *ctx)
{
	((struct play *)ctx)->warm++;
}

static void on_ready(void *ctx)
{
	((struct play *)ctx)->ready++;
}

static void on_init_error(void *ctx, struct str type, struct str body)
{
	struct play *p = ctx;

	p->init_errors++;
	snprintf(p->type, sizeof(p->type), "%.*s", STR_FMT(type));
	buf_clear(&p->body);
	buf_append_str(&p->body, body);
}

static void on_answer(void *ctx, struct runtime_answer *a)
{
	struct play *p = ctx;

	p->answers++;
	p->is_error = a->is_error;
	snprintf(p->type, sizeof(p->type), "%.*s", STR_FMT(a->error_type));
	snprintf(p->id, sizeof(p->id), "%s", a->request_id);
	buf_done(&p->body);
	if (p->take) {
		p->body = *a->payload;
		*a->payload = (struct buf)BUF_INIT;
	} else {
		buf_append_str(&p->body, buf_str(a->payload));
	}
	if (p->free_on_answer) {
		runtime_free(p->rt);
		p->rt = NULL;
	}
}

static void on_taken_back(void *ctx, unsigned count)
{
	struct play *p = ctx;

	p->taken_back++;
	p->taken_count = count;
}

static void on_broken(void *ctx, const char *why)
{
	struct play *p = ctx;

	p->broken++;
	snprintf(p->why, sizeof(p->why), "%s", why);
}

static void on_stream(void *ctx, struct str content_type)
{
	struct play *p = ctx;

	p->streams++;
	assert_int_equal(p->pieces, 0);
	snprintf(p->content_type, sizeof(p->content_type), "%.*s", STR_FMT(content_type));
}

static void on_piece(void *ctx, struct str data)
{
	struct play *p = ctx;

	p->pieces++;
	buf_append_str(&p->streamed, data);
	if (p->pause)
		runtime_pause(p->rt, true);
	if (p->free_on_piece) {
		runtime_free(p->rt);
		p->rt = NULL;
	}
}

static const struct runtime_handler handler = {.on_warm = on_warm,
    .on_ready = on_ready,
    .on_init_error = on_init_error,
    .on_answer = on_answer,
    .on_broken = on_broken,
    .on_stream = on_stream,
    .on_piece = on_piece,
    .on_taken_back = on_taken_back};

static void turns(struct play *p, int n)
{
	while (n--)
		assert_true(loop_turn(p->loop, 0) >= 0);
}

static int setup(void **state)
{
	struct play *p = calloc(1, sizeof(*p));
	int fds[2];
	struct runtime_channel_fds ours;

	p->loop = loop_new(1, NULL);
	assert_non_null(p->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->box = p->answers_to = fds[1];
	/* One pair for both ways does here. */
	ours = (struct runtime_channel_fds){fds[0], dup(fds[0]), -1};
	p->rt = runtime_channel_new(p->loop, &ours, &handler, p);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct play *p = *state;

	runtime_free(p->rt);
	if (p->box >= 0)
		close(p->box);
	loop_free(p->loop);
	buf_done(&p->body);
	buf_done(&p->streamed);
	free(p);
	return 0;
}

static void put(struct buf *b, uint8_t kind, uint32_t sequence, const char *id, const char *payload)
{
	struct frame f = {.kind = kind, .sequence = sequence};

	f.length = (uint32_t)(sizeof(f) + strlen(payload));
	memcpy(f.request_id, id, strlen(id));
	if (kind == FRAME_ERROR || kind == FRAME_INIT_ERROR)
		memcpy(f.trace_id, "Runtime.Test", 12);
	if (kind == FRAME_PIECE)
		memcpy(f.trace_id, "text/plain; a=b", 15);
	buf_append(b, &f, sizeof(f));
	buf_puts(b, payload);
}

static void flush(struct play *p, struct buf *b)
{
	assert_int_equal(fd_write_full(p->answers_to, buf_data(b), buf_len(b)), 0);
	buf_clear(b);
	turns(p, 3);
}

static void say(
    struct play *p, uint8_t kind, uint32_t sequence, const char *id, const char *payload)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	put(&b, kind, sequence, id, payload);
	flush(p, &b);
}

static void hear(struct play *p, struct frame *f, struct buf *rest)
{
	buf_clear(rest);
	assert_int_equal(fd_read_full(p->box, f, sizeof(*f)), 0);
	assert_in_range(f->length, sizeof(*f), sizeof(*f) + FRAME_PAYLOAD_MAX + 65535);
	assert_int_equal(
	    fd_read_full(p->box, buf_reserve(rest, f->length), f->length - sizeof(*f)), 0);
	buf_commit(rest, f->length - sizeof(*f));
}

static void start(struct play *p)
{
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;

	say(p, FRAME_WARM, 0, "", "");
	assert_int_equal(p->warm, 1);
	runtime_init(p->rt, STR("{\"handler\":\"a.b\"}"));
	turns(p, 2);
	hear(p, &f, &b);
	assert_int_equal(f.kind, FRAME_INIT);
	assert_true(str_is(buf_str(&b), "{\"handler\":\"a.b\"}"));
	say(p, FRAME_READY, 0, "", "");
	assert_int_equal(p->ready, 1);
	assert_int_equal(p->broken, 0);
}

static void invoke(struct play *p, const char *id, struct str payload)
{
	struct runtime_event ev = {
	    .arn = "arn:x", .timeout_ms = 3000, .payload = payload, .stream = p->stream};

	snprintf(ev.request_id, sizeof(ev.request_id), "%s", id);
	snprintf(ev.trace_id, sizeof(ev.trace_id), "Root=1");
	runtime_send(p->rt, &ev);
}

static void test_round_trip(void **state)
{
	struct play *p = *state;
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	invoke(p, ID_A, STR("{\"n\":1}"));
	invoke(p, ID_B, STR("{\"n\":2}"));
	turns(p, 1);
	hear(p, &f, &b);
	assert_int_equal(f.kind, FRAME_INVOKE);
	assert_int_equal(f.sequence, 1);
	assert_int_equal(f.timeout_ms, 3000);
	assert_memory_equal(f.request_id, ID_A, 36);
	assert_string_equal(f.trace_id, "Root=1");
	assert_true(str_is(buf_str(&b), "{\"arn\":\"arn:x\"}{\"n\":1}"));
	assert_int_equal(f.extra, 15);
	hear(p, &f, &b);
	assert_int_equal(f.sequence, 2);
	assert_int_equal(f.extra, 0);
	assert_true(str_is(buf_str(&b), "{\"n\":2}"));

	put(&b, FRAME_RESULT, 1, ID_A, "\"one\"");
	buf_clear(&b);
	put(&b, FRAME_RESULT, 1, ID_A, "\"one\"");
	put(&b, FRAME_ERROR, 2, ID_B, "{}");
	flush(p, &b);
	assert_int_equal(p->answers, 2);
	assert_true(p->is_error);
	assert_string_equal(p->type, "Runtime.Test");
	assert_string_equal(p->id, ID_B);
	assert_true(str_is(buf_str(&p->body), "{}"));
	close(p->box);
	p->box = -1;
	turns(p, 2);
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, "");
}

static void test_byte_by_byte(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	invoke(p, ID_A, STR("1"));
	put(&b, FRAME_RESULT, 1, ID_A, "{\"slow\":true}");
	p->take = true;
	for (size_t i = 0; i < buf_len(&b); i++) {
		assert_int_equal(p->answers, 0);
		assert_int_equal(write(p->box, buf_data(&b) + i, 1), 1);
		turns(p, 1);
	}
	turns(p, 1);
	assert_int_equal(p->answers, 1);
	assert_true(str_is(buf_str(&p->body), "{\"slow\":true}"));
}

static void test_client_context(void **state)
{
	struct play *p = *state;
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct runtime_event ev = {.request_id = ID_A,
	    .arn = "arn:\"quoted\"",
	    .client_context = STR("{\"a\":1}}"),
	    .identity = STR("{}"),
	    .payload = STR("1")};
	_cleanup_free_ char *large = calloc(1, 70000);

	start(p);
	runtime_send(p->rt, &ev);
	memset(large, '"', 70000);
	ev.client_context = (struct str){large, 70000};
	ev.identity = (struct str){large, 70000};
	runtime_send(p->rt, &ev);
	turns(p, 1);
	hear(p, &f, &b);
	assert_true(str_is(buf_str(&b), "{\"arn\":\"arn:\\\"quoted\\\"\",\"clientContext\":\"{"
					"\\\"a\\\":1}}\",\"identity\":\"{}\"}1"));
	hear(p, &f, &b);
	assert_int_equal(f.extra, 0);
}

/* Write from the box and turn the loop until all is through. */
static void pump(struct play *p, const void *data, size_t len)
{
	const char *at = data;

	fcntl(p->box, F_SETFL, O_NONBLOCK);
	while (len) {
		ssize_t n = write(p->box, at, len);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		turns(p, 1);
	}
	turns(p, 20);
	fcntl(p->box, F_SETFL, 0);
}

static void answer_of(struct play *p, uint32_t sequence, size_t size)
{
	struct frame f = {.kind = FRAME_RESULT, .sequence = sequence};
	_cleanup_free_ char *all = calloc(1, sizeof(f) + size);

	f.length = (uint32_t)(sizeof(f) + size);
	memcpy(f.request_id, ID_A, 36);
	memcpy(all, &f, sizeof(f));
	memset(all + sizeof(f), '7', size);
	pump(p, all, sizeof(f) + size);
}

static void test_sizes(void **state)
{
	struct play *p = *state;

	start(p);
	for (int i = 0; i < 3; i++)
		invoke(p, ID_A, STR("1"));
	answer_of(p, 1, FRAME_PAYLOAD_MAX);
	assert_int_equal(p->answers, 1);
	assert_int_equal(buf_len(&p->body), FRAME_PAYLOAD_MAX);
	assert_false(p->is_error);
	answer_of(p, 2, FRAME_PAYLOAD_MAX + 1);
	assert_int_equal(p->answers, 2);
	assert_true(p->is_error);
	assert_string_equal(p->type, "Function.ResponseSizeTooLarge");
	assert_true(
	    str_is(buf_str(&p->body), "{\"errorType\":\"Function.ResponseSizeTooLarge\","
				      "\"errorMessage\":\"Response payload size "
				      "exceeded maximum allowed payload size (6291556 bytes).\"}"));
	answer_of(p, 3, 3);
	assert_int_equal(p->answers, 3);
	assert_true(str_is(buf_str(&p->body), "777"));
	assert_int_equal(p->broken, 0);
}

static void test_large_event(void **state)
{
	struct play *p = *state;
	struct buf big = BUF_INIT;
	struct frame f;
	size_t got = 0;
	char piece[65536];

	start(p);
	memset(buf_reserve(&big, FRAME_PAYLOAD_MAX), '5', FRAME_PAYLOAD_MAX);
	buf_commit(&big, FRAME_PAYLOAD_MAX);
	invoke(p, ID_A, buf_str(&big));
	buf_done(&big);
	turns(p, 1);
	invoke(p, ID_B, STR("2"));
	fcntl(p->box, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 100000 && got < 2 * sizeof(f) + 15 + FRAME_PAYLOAD_MAX + 1; i++) {
		ssize_t n = read(p->box, piece, sizeof(piece));

		got += n > 0 ? (size_t)n : 0;
		turns(p, 1);
	}
	assert_int_equal(got, 2 * sizeof(f) + 15 + FRAME_PAYLOAD_MAX + 1);
	assert_int_equal(p->broken, 0);
}

static void test_init_error(void **state)
{
	struct play *p = *state;

	say(p, FRAME_WARM, 0, "", "");
	runtime_init(p->rt, STR("{}"));
	say(p, FRAME_INIT_ERROR, 0, "", "{\"errorType\":\"X\"}");
	assert_int_equal(p->init_errors, 1);
	assert_string_equal(p->type, "Runtime.Test");
	assert_true(str_is(buf_str(&p->body), "{\"errorType\":\"X\"}"));
	say(p, FRAME_READY, 0, "", "");
	assert_int_equal(p->ready, 0);
	assert_int_equal(p->broken, 1);
}

static void expect_broken(struct play *p, const char *why)
{
	assert_int_equal(p->answers, 0);
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, why);
}

static void test_answer_unasked(void **state)
{
	start(*state);
	say(*state, FRAME_RESULT, 1, ID_A, "1");
	expect_broken(*state, "an answer to no event");
}

static void test_answer_other_id(void **state)
{
	start(*state);
	invoke(*state, ID_A, STR("1"));
	say(*state, FRAME_RESULT, 1, ID_B, "1");
	expect_broken(*state, "an answer to another event");
}

static void test_answer_other_sequence(void **state)
{
	start(*state);
	invoke(*state, ID_A, STR("1"));
	invoke(*state, ID_B, STR("1"));
	say(*state, FRAME_RESULT, 2, ID_B, "1");
	expect_broken(*state, "an answer to another event");
}

static void test_answer_twice(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	invoke(p, ID_A, STR("1"));
	put(&b, FRAME_RESULT, 1, ID_A, "1");
	put(&b, FRAME_RESULT, 1, ID_A, "1");
	flush(p, &b);
	assert_int_equal(p->answers, 1);
	assert_string_equal(p->why, "an answer to no event");
}

static void test_wrong_order(void **state)
{
	say(*state, FRAME_READY, 0, "", "");
	expect_broken(*state, "a state change out of order");
}

static void test_warm_twice(void **state)
{
	say(*state, FRAME_WARM, 0, "", "");
	say(*state, FRAME_WARM, 0, "", "");
	expect_broken(*state, "a state change out of order");
}

static void test_state_payload(void **state)
{
	say(*state, FRAME_WARM, 0, "", "x");
	expect_broken(*state, "a state change with a payload");
}

static void test_unknown_kind(void **state)
{
	say(*state, FRAME_INVOKE, 0, "", "");
	expect_broken(*state, "a frame of unknown kind");
}

static void test_short_length(void **state)
{
	struct play *p = *state;
	struct frame f = {.kind = FRAME_WARM, .length = 127};

	assert_int_equal(write(p->box, &f, sizeof(f)), sizeof(f));
	turns(p, 2);
	expect_broken(p, "a frame shorter than its header");
}

static void test_extra_in_answer(void **state)
{
	struct play *p = *state;
	struct frame f = {.kind = FRAME_WARM, .length = sizeof(f), .extra = 5};

	assert_int_equal(write(p->box, &f, sizeof(f)), sizeof(f));
	turns(p, 2);
	expect_broken(p, "a frame with flags or extra bytes");
}

static void test_half_frame(void **state)
{
	struct play *p = *state;

	assert_int_equal(write(p->box, "\x80", 1), 1);
	close(p->box);
	p->box = -1;
	turns(p, 3);
	expect_broken(p, "");
}

static void test_dies_with_events_unread(void **state)
{
	struct play *p = *state;
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	invoke(p, ID_A, STR("1"));
	turns(p, 1);
	hear(p, &f, &b);
	invoke(p, ID_B, STR("2"));
	turns(p, 1);
	buf_clear(&b);
	put(&b, FRAME_RESULT, 1, ID_A, "1");
	assert_int_equal(fd_write_full(p->box, buf_data(&b), buf_len(&b)), 0);
	close(p->box);
	p->box = -1;
	invoke(p, ID_B, STR("3"));
	turns(p, 3);
	assert_int_equal(p->answers, 1);
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, "");
	/* Harmless afterwards. */
	invoke(p, ID_B, STR("4"));
	turns(p, 2);
}

static void test_freed_in_callback(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	p->free_on_answer = true;
	invoke(p, ID_A, STR("1"));
	invoke(p, ID_B, STR("2"));
	put(&b, FRAME_RESULT, 1, ID_A, "1");
	put(&b, FRAME_RESULT, 2, ID_B, "2");
	flush(p, &b);
	assert_int_equal(p->answers, 1);
	assert_null(p->rt);
}

static void test_stream(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct frame f;

	start(p);
	p->stream = true;
	invoke(p, ID_A, STR("1"));
	invoke(p, ID_B, STR("2"));
	turns(p, 2);
	hear(p, &f, &b);
	assert_int_equal(f.flags, FRAME_FLAG_STREAM);
	buf_clear(&b);
	put(&b, FRAME_PIECE, 1, ID_A, "one ");
	flush(p, &b);
	assert_int_equal(p->streams, 1);
	assert_string_equal(p->content_type, "text/plain; a=b");
	put(&b, FRAME_PIECE, 1, ID_A, "two ");
	put(&b, FRAME_PIECE, 1, ID_A, "");
	put(&b, FRAME_RESULT, 1, ID_A, "");
	put(&b, FRAME_ERROR, 2, ID_B, "{}");
	flush(p, &b);
	assert_int_equal(p->streams, 1);
	assert_int_equal(p->pieces, 3);
	assert_true(str_is(buf_str(&p->streamed), "one two "));
	assert_int_equal(p->answers, 2);
	assert_true(p->is_error);
	assert_int_equal(p->broken, 0);
}

static void test_stream_pauses(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	static char large[300000];

	start(p);
	p->stream = p->pause = true;
	invoke(p, ID_A, STR("1"));
	memset(large, 'x', sizeof(large) - 1);
	for (int i = 0; i < 5; i++)
		put(&b, FRAME_PIECE, 1, ID_A, i == 2 ? large : "small");
	put(&b, FRAME_RESULT, 1, ID_A, "");
	fd_nonblock(p->box);
	for (int piece = 1; piece <= 5; piece++) {
		for (int i = 0; i < 20 && p->pieces < piece; i++) {
			ssize_t n = write(p->box, buf_data(&b), min_size(buf_len(&b), 100000));

			buf_consume(&b, n > 0 ? (size_t)n : 0);
			turns(p, 2);
		}
		turns(p, 2);
		assert_int_equal(p->pieces, piece);
		assert_int_equal(p->answers, 0);
		p->pause = piece != 5;
		runtime_pause(p->rt, false);
		runtime_pause(p->rt, false);
		assert_int_equal(p->pieces, piece); /* not from within the call */
	}
	turns(p, 3);
	assert_int_equal(p->answers, 1);
	assert_int_equal(buf_len(&p->streamed), 4 * 5 + sizeof(large) - 1);
	assert_int_equal(p->broken, 0);
}

static void test_paused_stream_whose_box_dies(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	int64_t from_ns;

	start(p);
	p->stream = p->pause = true;
	invoke(p, ID_A, STR("1"));
	put(&b, FRAME_PIECE, 1, ID_A, "a");
	put(&b, FRAME_PIECE, 1, ID_A, "b");
	flush(p, &b);
	close(p->box);
	p->box = -1;
	turns(p, 2);
	from_ns = time_mono_ns();
	loop_turn(p->loop, 30);
	assert_true(time_mono_ns() - from_ns > 20000000); /* nothing spins */
	assert_int_equal(p->broken, 0);
	p->pause = false;
	runtime_pause(p->rt, false);
	turns(p, 3);
	assert_int_equal(p->pieces, 2);
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, "");
}

static void test_freed_in_piece(void **state)
{
	struct play *p = *state;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	p->stream = p->free_on_piece = p->pause = true;
	invoke(p, ID_A, STR("1"));
	put(&b, FRAME_PIECE, 1, ID_A, "1");
	put(&b, FRAME_PIECE, 1, ID_A, "2");
	flush(p, &b);
	assert_int_equal(p->pieces, 1);
	assert_null(p->rt);
}

static void test_piece_unasked(void **state)
{
	start(*state);
	invoke(*state, ID_A, STR("1"));
	say(*state, FRAME_PIECE, 1, ID_A, "1");
	expect_broken(*state, "a piece of an answer that was to be whole");
}

static void test_piece_too_large(void **state)
{
	struct play *p = *state;
	struct frame f = {
	    .kind = FRAME_PIECE, .sequence = 1, .length = FRAME_HEADER_SIZE + FRAME_PIECE_MAX + 1};

	start(p);
	p->stream = true;
	invoke(p, ID_A, STR("1"));
	memcpy(f.request_id, ID_A, 36);
	assert_int_equal(fd_write_full(p->box, &f, sizeof(f)), 0);
	turns(p, 2);
	expect_broken(p, "a piece that is too large");
}

/* As in a box: each way has its own pair, and only that way. */
static int setup_pairs(void **state)
{
	struct runtime_channel_fds ours;
	struct play *p = calloc(1, sizeof(*p));
	int theirs[2];

	p->loop = loop_new(1, NULL);
	assert_non_null(p->loop);
	assert_int_equal(runtime_channel_pairs(&ours, theirs), 0);
	p->box = theirs[0];
	p->answers_to = theirs[1];
	p->rt = runtime_channel_new(p->loop, &ours, &handler, p);
	*state = p;
	return 0;
}

static int teardown_pairs(void **state)
{
	close(((struct play *)*state)->answers_to);
	return teardown(state);
}

static void test_pairs(void **state)
{
	struct play *p = *state;
	char c;

	assert_int_equal(send(p->box, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(recv(p->answers_to, &c, 1, MSG_DONTWAIT), 0);
	start(p);
	shutdown(p->answers_to, SHUT_WR);
	turns(p, 1);
	assert_int_equal(p->broken, 1);
	assert_string_equal(p->why, "");
}

static void invoke_many(struct play *p, int from, int to, size_t payload)
{
	_cleanup_free_ char *text = malloc(payload);
	char id[37] = ID_A;

	memset(text, 'x', payload);
	for (int i = from; i <= to; i++) {
		snprintf(id + 34, 3, "%02d", i);
		invoke(p, id, (struct str){text, payload});
	}
}

static void take_back(struct play *p, int expected)
{
	p->taken_back = 0;
	assert_true(runtime_take_back(p->rt));
	assert_false(runtime_take_back(p->rt)); /* one at a time */
	for (int i = 0; i < 1000 && !p->taken_back; i++)
		assert_true(loop_turn(p->loop, 10) >= 0);
	assert_int_equal(p->taken_back, 1);
	assert_int_equal(p->taken_count, expected);
}

/* Read a frame that must be the nth invoke, after what has been read of it before. */
static void hear_nth(struct play *p, int nth, const void *before, size_t len)
{
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (len) {
		memcpy(&f, before, len);
		assert_int_equal(fd_read_full(p->box, (char *)&f + len, sizeof(f) - len), 0);
		assert_int_equal(
		    fd_read_full(p->box, buf_reserve(&b, f.length), f.length - sizeof(f)), 0);
	} else {
		hear(p, &f, &b);
	}
	assert_int_equal(f.kind, FRAME_INVOKE);
	assert_int_equal(f.sequence, nth);
	assert_int_equal((f.request_id[34] - '0') * 10 + f.request_id[35] - '0', nth);
}

static void nothing_waits(struct play *p)
{
	char c;

	assert_int_equal(recv(p->box, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_taking_back(void **state)
{
	struct play *p = *state;
	char part[100];

	start(p);
	invoke_many(p, 1, 6, 500);
	turns(p, 1);
	hear_nth(p, 1, NULL, 0);
	assert_int_equal(fd_read_full(p->box, part, sizeof(part)), 0);
	/* 1 has been read, 2 begun; 3 to 6 come back, and 2 can still be read whole. */
	take_back(p, 4);
	hear_nth(p, 2, part, sizeof(part));
	nothing_waits(p);
	/* What comes now has the next number, and says again what only a frame that never arrived
	 * would have said. */
	invoke_many(p, 3, 3, 0);
	turns(p, 1);
	hear_nth(p, 3, NULL, 0);
	say(p, FRAME_RESULT, 1, ID_A, "1");
	say(p, FRAME_RESULT, 2, "aaaaaaaa-0000-4000-8000-000000000002", "2");
	say(p, FRAME_RESULT, 3, "aaaaaaaa-0000-4000-8000-000000000003", "3");
	assert_int_equal(p->answers, 3);
	say(p, FRAME_RESULT, 4, "aaaaaaaa-0000-4000-8000-000000000004", "4");
	assert_int_equal(p->broken, 1);
	assert_false(runtime_take_back(p->rt));
}

/* Whoever is not sent again must not take with it what the box was to know. */
static void test_taking_back_tells_again(void **state)
{
	struct play *p = *state;
	struct runtime_event ev = {.arn = "arn:y", .timeout_ms = 1, .request_id = ID_B};
	struct frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;

	start(p);
	invoke(p, ID_A, STR("1"));
	runtime_send(p->rt, &ev);
	turns(p, 1);
	take_back(p, 1);
	hear(p, &f, &b);
	assert_true(str_is(buf_str(&b), "{\"arn\":\"arn:x\"}1"));
	runtime_send(p->rt, &ev);
	turns(p, 1);
	hear(p, &f, &b);
	assert_int_equal(f.sequence, 2);
	assert_true(str_is(buf_str(&b), "{\"arn\":\"arn:y\"}"));
}

/* The oldest stays, read or not; more may be sent while it goes on; a full socket does not matter.
 */
static void test_taking_back_all(void **state)
{
	struct play *p = *state;

	start(p);
	assert_true(runtime_take_back(p->rt));
	for (int i = 0; i < 1000 && !p->taken_back; i++)
		assert_true(loop_turn(p->loop, 10) >= 0);
	assert_int_equal(p->taken_count, 0);
	invoke_many(p, 1, 9, 100000);
	turns(p, 1);
	p->taken_back = 0;
	assert_true(runtime_take_back(p->rt));
	invoke_many(p, 10, 12, 100);
	for (int i = 0; i < 1000 && !p->taken_back; i++)
		assert_true(loop_turn(p->loop, 10) >= 0);
	assert_int_equal(p->taken_count, 11);
	hear_nth(p, 1, NULL, 0);
	nothing_waits(p);
}

static void test_freed_while_taking_back(void **state)
{
	struct play *p = *state;

	start(p);
	invoke_many(p, 1, 3, 10);
	turns(p, 1);
	assert_true(runtime_take_back(p->rt));
	runtime_free(p->rt);
	p->rt = NULL;
	for (int i = 0; i < 10; i++)
		assert_true(loop_turn(p->loop, 5) >= 0);
	assert_int_equal(p->taken_back, 0);
}

#define TEST_PAIRS(name) cmocka_unit_test_setup_teardown(name, setup_pairs, teardown_pairs)
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_round_trip),
	    TEST(test_byte_by_byte),
	    TEST(test_client_context),
	    TEST(test_sizes),
	    TEST(test_large_event),
	    TEST(test_init_error),
	    TEST(test_answer_unasked),
	    TEST(test_answer_other_id),
	    TEST(test_answer_other_sequence),
	    TEST(test_answer_twice),
	    TEST(test_wrong_order),
	    TEST(test_warm_twice),
	    TEST(test_state_payload),
	    TEST(test_unknown_kind),
	    TEST(test_short_length),
	    TEST(test_extra_in_answer),
	    TEST(test_half_frame),
	    TEST(test_dies_with_events_unread),
	    TEST(test_freed_in_callback),
	    TEST(test_stream),
	    TEST(test_stream_pauses),
	    TEST(test_paused_stream_whose_box_dies),
	    TEST(test_freed_in_piece),
	    TEST(test_piece_unasked),
	    TEST(test_piece_too_large),
	    TEST_PAIRS(test_pairs),
	    TEST_PAIRS(test_taking_back),
	    TEST_PAIRS(test_taking_back_tells_again),
	    TEST_PAIRS(test_taking_back_all),
	    TEST_PAIRS(test_freed_while_taking_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
