/* An engine over the stand-in for src/http, and requests sent to it as a server would pass them on:
 * at once, or piece by piece. */
#pragma once

#include "http_fake.h"

#include "aws/aws_int.h"

static struct aws *aws;
static struct loop *loop;
static struct http_request request;
static struct arena arena;
static struct http_header headers[32];

/* lines: "Name: value\n"… */
static void send_head(const char *method, const char *target, const char *lines)
{
	struct str rest = str_from(lines);
	char *text;

	arena_done(&arena);
	answer.replies = 0;
	answer.streaming = answer.ended = answer.aborted = answer.paused = false;
	request = (struct http_request){.arena = &arena, .headers = headers};
	text = arena_strdup(&arena, target);
	request.method = str_from(arena_strdup(&arena, method));
	request.target = str_from(text);
	request.query = request.target;
	request.path = str_cut(&request.query, '?');
	rest = arena_str(&arena, rest);
	while (rest.len) {
		struct str value = str_cut(&rest, '\n'), name = str_cut(&value, ':');

		headers[request.header_count++] = (struct http_header){name, str_trim(value)};
	}
	aws_on_head(aws, &request);
}

static void send_data(struct str data)
{
	if (answer.replies)
		return;
	if (!request.stream)
		buf_append_str(&request.body, data);
	aws_on_body(&request, data.ptr, data.len);
}

static void send_end(void)
{
	if (!answer.replies)
		aws_on_request(&request);
}

/* The request stays open when a handler waits. */
_unused_ static void send(
    const char *method, const char *target, const char *lines, struct str body)
{
	send_head(method, target, lines);
	send_data(body);
	send_end();
}

/* Until the worker that decodes is through. */
_unused_ static void settle(void)
{
	for (unsigned i = 0; i < 1000 && !answer.replies; i++)
		loop_turn(loop, 100);
}

static void start_engine(const struct aws_config *config)
{
	struct err e;

	loop = loop_new(1, &e);
	aws = aws_new(loop, config);
}

static void stop_engine(void)
{
	aws_free(aws);
	loop_free(loop);
	arena_done(&arena);
	buf_done(&answer.body);
}
