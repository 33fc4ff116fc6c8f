/* What a function URL makes of requests and answers. */
#include "unit.h"

#include <stdio.h>

#include "base/arena.h"
#include "service/lambda/url_answer.h"

static struct arena arena;
static struct url_answer answer;

static int parse(const char *text)
{
	/* A copy of exact size, so that the sanitizer sees a read past its end. */
	size_t len = strlen(text);
	char *copy = arena_alloc(&arena, len ? len : 1);

	memcpy(copy, text, len);
	return url_answer_parse(&arena, (struct str){copy, len}, &answer);
}

static void objects_with_a_status_are_http(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("{\"statusCode\":201,\"headers\":{\"Content-Type\":\"text/html\","
		  "\"X-N\":7},\"cookies\":[\"a=1\",\"b=2\"],\"body\":\"h\\u00e9\\n\"}"),
	    0);
	assert_int_equal(answer.status, 201);
	assert_int_equal(answer.header_count, 4);
	assert_true(answer.has_content_type);
	assert_true(str_is(answer.headers[1].value, "7"));
	assert_true(str_is(answer.headers[3].name, "set-cookie"));
	assert_true(str_is(answer.body, "h\xc3\xa9\n"));
}

static void bodies_may_be_base64(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("{\"body\":\"aGVsbG8=\",\"isBase64Encoded\": true ,\"statusCode\":\"200\"}"), 0);
	assert_true(str_is(answer.body, "hello"));
	assert_int_equal(
	    parse("{\"body\":\"aGVsbG8\",\"isBase64Encoded\":true,\"statusCode\":200}"), -EINVAL);
}

static void everything_else_is_a_body(void **state)
{
	(void)state;
	assert_int_equal(parse("\"he\\\"llo\""), 0);
	assert_true(str_is(answer.body, "he\"llo"));
	assert_int_equal(parse("{\"message\":{\"a\":[1,2,{}]}}"), 0);
	assert_int_equal(answer.status, 200);
	assert_true(str_is(answer.body, "{\"message\":{\"a\":[1,2,{}]}}"));
	assert_int_equal(parse(" [1, 2] "), 0);
	assert_int_equal(parse("null"), 0);
	assert_true(str_is(answer.body, "null"));
}

static void broken_answers_are_refused(void **state)
{
	static const char *const bad[] = {"", "{", "{\"statusCode\":200", "{\"statusCode\":99}",
	    "{\"statusCode\":1e9}", "{\"statusCode\":200,}", "{\"statusCode\":200}}", "\"a",
	    "\"\\x\"", "\"\\u12\"", "{\"statusCode\":200,\"headers\":[]}",
	    "{\"statusCode\":200,\"headers\":{\"a\":{}}}", "{\"statusCode\":200,\"cookies\":{}}",
	    "{1:2}", "[1,2", "\"a\nb\""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i]) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
}

static void depth_and_width_are_bounded(void **state)
{
	char deep[4096], wide[8192];
	size_t n = 0;

	(void)state;
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(parse(deep), -EINVAL);
	n = (size_t)snprintf(wide, sizeof(wide), "{\"statusCode\":200,\"headers\":{");
	for (int i = 0; i < 65; i++)
		n += (size_t)snprintf(wide + n, sizeof(wide) - n, "%s\"h%d\":1", i ? "," : "", i);
	snprintf(wide + n, sizeof(wide) - n, "}}");
	assert_int_equal(parse(wide), -EINVAL);
}

static int clean(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static int prelude(const char *text)
{
	char *copy = arena_alloc(&arena, strlen(text) + !*text);

	memcpy(copy, text, strlen(text));
	return url_prelude_parse(&arena, (struct str){copy, strlen(text)}, &answer);
}

static void preludes_of_streams(void **state)
{
	static const char *const bad[] = {"", "[]", "1", "\"x\"", "{", "{}x",
	    "{\"statusCode\":\"x\"}", "{\"statusCode\":99}", "{\"headers\":[]}"};

	(void)state;
	assert_int_equal(
	    prelude("{\"statusCode\":203,\"headers\":{\"a\":1},\"cookies\":[\"b\"]}"), 0);
	assert_int_equal(answer.status, 203);
	assert_int_equal(answer.header_count, 2);
	assert_int_equal(prelude(" {\"headers\":{\"a\":1}} "), 0);
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer.header_count, 1);
	assert_int_equal(prelude("{}"), 0);
	assert_int_equal(answer.status, 200);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(prelude(bad[i]), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(objects_with_a_status_are_http, clean),
	    cmocka_unit_test_teardown(bodies_may_be_base64, clean),
	    cmocka_unit_test_teardown(everything_else_is_a_body, clean),
	    cmocka_unit_test_teardown(broken_answers_are_refused, clean),
	    cmocka_unit_test_teardown(depth_and_width_are_bounded, clean),
	    cmocka_unit_test_teardown(preludes_of_streams, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
