/*
 * Answers that stream: pieces go to the caller as they come from the box, up to a total, and at a
 * pace if the server is to keep one (AWS does). Who makes a function wait, its caller or the pace,
 * does so by not reading its box. Called by environment.c and by callers; loop thread.
 */
#include <stdio.h>

#include "invoke/invoke_int.h"

#define BURST (6 * 1024 * 1024) /* bytes that may leave at once, as on AWS */

static struct loop *loop_of(const struct environment *en)
{
	return en->version->function->iv->o.loop;
}

static struct invocation *head(const struct environment *en)
{
	return list_first(&en->running, struct invocation, node);
}

static void hold(struct environment *en, const struct invocation *n)
{
	box_pause(en->box, n->stream.held || n->stream.paced);
}

void invocation_pause(struct invocation *n, bool paused)
{
	struct environment *en = n->environment;

	if (!en || n != head(en) || !n->streamed)
		return;
	n->stream.held = paused;
	hold(en, n);
}

void stream_begin(struct environment *en, struct str content_type)
{
	struct invocation *n = head(en);

	n->streamed = true;
	n->stream.tokens = BURST;
	n->stream.counted_ns = loop_now_ns(loop_of(en));
	if (!n->forgotten)
		n->on_stream(n->ctx, content_type);
}

static void on_pace(struct loop_timer *t);

/* A bucket that fills at the rate and holds a burst. In debt, the function waits. */
static void keep_pace(struct environment *en, struct invocation *n, size_t len)
{
	int64_t rate = en->version->function->iv->o.stream_rate, now_ns = loop_now_ns(loop_of(en));
	double earned = (double)(now_ns - n->stream.counted_ns) * (double)rate / 1e9;

	n->stream.counted_ns = now_ns;
	n->stream.tokens += earned < BURST ? (int64_t)earned : BURST;
	if (n->stream.tokens > BURST)
		n->stream.tokens = BURST;
	n->stream.tokens -= (int64_t)len;
	if (n->stream.paced)
		return;
	n->stream.paced = n->stream.tokens < 0;
	if (!n->stream.paced)
		return;
	en->pace.on_due = on_pace;
	loop_timer_set(loop_of(en), &en->pace,
	    (int64_t)((double)-n->stream.tokens / (double)rate * 1e9) + 1000000);
	hold(en, n);
}

/* More may have come in the meantime than the timer was set for. */
static void on_pace(struct loop_timer *t)
{
	struct environment *en = container_of(t, struct environment, pace);
	struct invocation *n = head(en);

	n->stream.paced = false;
	keep_pace(en, n, 0);
	hold(en, n);
}

void stream_piece(struct environment *en, struct str data)
{
	struct invocation *n = head(en);
	char text[96];

	n->stream.bytes += data.len;
	if (n->stream.bytes > INVOKE_STREAM_MAX) {
		snprintf(text, sizeof(text),
		    "Response payload size exceeded maximum allowed payload size (%u bytes).",
		    INVOKE_STREAM_MAX);
		environment_cut(en, "Function.ResponseSizeTooLarge", text);
		return;
	}
	if (!n->forgotten)
		n->on_piece(n->ctx, data);
	if (en->version->function->iv->o.stream_rate)
		keep_pace(en, n, data.len);
}

void stream_end(struct environment *en)
{
	loop_timer_stop(loop_of(en), &en->pace);
}
