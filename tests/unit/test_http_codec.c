/* The HTTP grammar on its own: what a head says, every slicing, chunk decoding. */
#include "unit.h"

#include "base/buf.h"
#include "http/codec.h"

static struct http_head head;

static ssize_t parse(const char *text)
{
	http_head_reset(&head);
	return http_head_parse(&head, text, strlen(text));
}

static bool says(const char *text, struct http_span s, const char *wanted)
{
	return str_is(http_span_str(text, s), wanted);
}

static void a_head_is_taken_apart(void **state)
{
	const char *t = "PUT /a/b%20c?x=1&y HTTP/1.1\r\nHost: h:80\r\nX-One:\t 1 2 \t\r\nEmpty:\r\n"
			"content-LENGTH: 007\r\nConnection: foo, Close\r\n\r\nrest";

	(void)state;
	assert_int_equal(parse(t), strlen(t) - 4);
	assert_true(says(t, head.method, "PUT"));
	assert_true(says(t, head.target, "/a/b%20c?x=1&y"));
	assert_true(says(t, head.path, "/a/b%20c"));
	assert_true(head.has_query && says(t, head.query, "x=1&y"));
	assert_int_equal(head.header_count, 5);
	assert_true(says(t, head.names[1], "X-One") && says(t, head.values[1], "1 2"));
	assert_true(says(t, head.names[2], "Empty") && says(t, head.values[2], ""));
	assert_int_equal(head.content_length, 7);
	assert_int_equal(head.minor, 1);
	assert_false(head.keep_alive);
}

static void targets_have_their_forms(void **state)
{
	const char *t;

	(void)state;
	t = "GET HTTP://h.example:8080/p?q=/ HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_true(parse(t) > 0);
	assert_true(says(t, head.path, "/p") && says(t, head.query, "q=/"));
	t = "GET https://[::1]:8080?q HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_true(parse(t) > 0);
	assert_int_equal(head.path.len, 0);
	assert_true(says(t, head.query, "q"));
	t = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_true(parse(t) > 0);
	assert_true(says(t, head.path, "*"));
	t = "GET /? HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_true(parse(t) > 0);
	assert_true(head.has_query && head.query.len == 0);
	t = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
	assert_true(parse(t) > 0);
	assert_false(head.has_query);
	assert_int_equal(parse("GET * HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("GET http:///p HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("GET http://u@h/p HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("GET ftp://h/p HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
	assert_int_equal(parse("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
}

static void keep_alive_follows_version_and_connection(void **state)
{
	(void)state;
	assert_true(parse("GET / HTTP/1.1\r\nHost: h\r\n\r\n") > 0 && head.keep_alive);
	assert_true(parse("GET / HTTP/1.0\r\n\r\n") > 0 && !head.keep_alive);
	assert_true(
	    parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") > 0 && head.keep_alive);
	assert_true(
	    parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n") > 0 &&
	    !head.keep_alive);
	assert_true(parse("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n\r\n") > 0 &&
		    head.expect_continue);
}

static void one_empty_line_may_come_first(void **state)
{
	(void)state;
	assert_int_equal(parse("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), 29);
	assert_int_equal(parse("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), -400);
}

static void every_slicing_gives_the_same_head(void **state)
{
	const char *t = "\r\nPOST /x?y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nA: b\r\n\r\nabc";
	ssize_t whole = parse(t);
	struct http_head wanted = head;

	(void)state;
	assert_int_equal(whole, strlen(t) - 3);
	for (size_t cut = 0; cut < (size_t)whole; cut++) {
		char *first = xmalloc(cut + 1), *both = xstrdup(t); /* memory moves in between */

		memcpy(first, t, cut);
		http_head_reset(&head);
		assert_int_equal(http_head_parse(&head, first, cut), 0);
		free(first);
		assert_int_equal(http_head_parse(&head, both, strlen(both)), whole);
		free(both);
		assert_int_equal(head.header_count, wanted.header_count);
		assert_memory_equal(head.names, wanted.names, 3 * sizeof(head.names[0]));
		assert_memory_equal(head.values, wanted.values, 3 * sizeof(head.values[0]));
		assert_memory_equal(&head.query, &wanted.query, sizeof(head.query));
	}
}

static void a_head_may_be_exactly_as_large_as_allowed(void **state)
{
	size_t max = HTTP_HEAD_MAX;
	static char t[HTTP_HEAD_MAX + 2];
	static const char start[] = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
	const size_t n = sizeof(start) - 1;

	(void)state;
	memcpy(t, start, n);
	memset(t + n, 'x', max - n - 4);
	memcpy(t + max - 4, "\r\n\r\n", 4);
	http_head_reset(&head);
	assert_int_equal(http_head_parse(&head, t, max), max);
	memcpy(t + max - 4, "x\r\n\r\n", 5);
	http_head_reset(&head);
	assert_int_equal(http_head_parse(&head, t, max + 1), -431);
	http_head_reset(&head); /* and it is known before the end has come */
	memset(t + n, 'x', max + 1 - n);
	assert_int_equal(http_head_parse(&head, t, max), 0);
	assert_int_equal(http_head_parse(&head, t, max + 1), -431);
	memset(t + 5, 'x', max - 4);
	http_head_reset(&head);
	assert_int_equal(http_head_parse(&head, t, max + 1), -414);
}

static struct buf lines; /* trailers of the last decode() */

/* Decode, cut at one place; the body goes to out. Status or 0 (END), 1 (MORE); rest is kept. */
static int decode(const char *t, size_t cut, char *out, struct str *rest)
{
	struct http_chunked c = {0};
	struct str parts[2] = {{t, cut}, {t + cut, strlen(t) - cut}}, piece;
	int r = 0;

	buf_clear(&lines);
	for (size_t i = 0; i < 2; i++) {
		while ((r = http_chunked_next(&c, &parts[i], &piece)) == HTTP_CHUNK_DATA ||
		       r == HTTP_CHUNK_TRAILER) {
			if (r == HTTP_CHUNK_TRAILER) {
				buf_append_str(&lines, piece);
				continue;
			}
			memcpy(out, piece.ptr, piece.len);
			out += piece.len;
		}
		*out = '\0';
		*rest = parts[i];
		if (r < 0)
			return -r;
		if (r == HTTP_CHUNK_END)
			return 0;
	}
	return 1;
}

static void chunks_decode_however_they_are_cut(void **state)
{
	const char *t =
	    "3\r\nabc\r\n1;x=\"y z\";w\r\nd\r\n0a\r\n0123456789\r\n000\r\nT: v\r\nU:\r\n\r\n";
	char out[64];
	struct str rest;

	(void)state;
	for (size_t cut = 0; cut <= strlen(t); cut++) {
		assert_int_equal(decode(t, cut, out, &rest), 0);
		assert_string_equal(out, "abcd0123456789");
		assert_true(str_is(buf_str(&lines), "T: v\r\nU:\r\n"));
	}
	assert_int_equal(decode("0\r\n\r\nGET", 8, out, &rest), 0);
	assert_true(str_is(rest, "GET"));
	assert_int_equal(decode("3\r\nab", 2, out, &rest), 1);
}

static void broken_chunks_are_refused(void **state)
{
	static const char *const bad[] = {"0x5\r\nabcde\r\n0\r\n\r\n", "+5\r\nabcde\r\n", "-1\r\n",
	    " 5\r\nabcde", "5 \r\nabcde\r\n", "\r\n", ";x\r\n", "g\r\n",
	    "0000000000000001\r\na\r\n", "ffffffffffffffff\r\n", "10000000000000000\r\n",
	    "3\r\nabcd\r\n", "3\r\nabc\n", "3\r\nabc0\r\n\r\n", "3\nabc\r\n", "3\r\rabc",
	    "3;\x01\r\nabc\r\n", "3;x\nabc\r\n", "0\r\nA b: c\r\n\r\n", "0\r\n b\r\n\r\n",
	    "0\r\nnocolon\r\n\r\n", "0\r\nA: \x01\r\n\r\n", "0\r\nA: b\n\r\n", "0\r\n\n",
	    "0\r\n: x\r\n\r\n"};
	char out[64];
	struct str rest;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t cut = 0; cut <= strlen(bad[i]); cut++)
			assert_int_equal(decode(bad[i], cut, out, &rest), 400);
}

static void extensions_and_trailers_are_bounded(void **state)
{
	struct buf b = BUF_INIT;
	char out[16384];
	struct str rest;

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_puts(&b, "1;ab\r\nx\r\n");
	buf_putc(&b, '\0');
	assert_int_equal(decode(buf_data(&b), 0, out, &rest), 400);
	buf_clear(&b);
	buf_puts(&b, "0\r\n");
	for (int i = 0; i < 2000; i++)
		buf_puts(&b, "A: b\r\n");
	buf_putc(&b, '\0');
	assert_int_equal(decode(buf_data(&b), 0, out, &rest), 431);
	buf_done(&b);
}

static void trailers_are_taken_apart(void **state)
{
	static const char *const bad[] = {"Content-Length: 1\r\n", "a: b\r\nTRANSFER-ENCODING:\r\n",
	    "host: x\r\n", "Authorization: x\r\n", "Trailer: a\r\n", "Connection: close\r\n"};
	struct http_header fields[HTTP_TRAILER_FIELDS_MAX];
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(http_trailers_parse(STR("A: b:c \r\nEmpty:\r\nX-y:\tz\r\n"), fields), 3);
	assert_true(str_is(fields[0].name, "A") && str_is(fields[0].value, "b:c"));
	assert_true(str_is(fields[1].name, "Empty") && !fields[1].value.len);
	assert_true(str_is(fields[2].name, "X-y") && str_is(fields[2].value, "z"));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(http_trailers_parse(str_from(bad[i]), fields), -400);
	for (int i = 0; i < HTTP_TRAILER_FIELDS_MAX; i++)
		buf_puts(&b, "a: b\r\n");
	assert_int_equal(http_trailers_parse(buf_str(&b), fields), HTTP_TRAILER_FIELDS_MAX);
	buf_puts(&b, "a: b\r\n");
	assert_int_equal(http_trailers_parse(buf_str(&b), fields), -431);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_head_is_taken_apart),
	    cmocka_unit_test(targets_have_their_forms),
	    cmocka_unit_test(keep_alive_follows_version_and_connection),
	    cmocka_unit_test(one_empty_line_may_come_first),
	    cmocka_unit_test(every_slicing_gives_the_same_head),
	    cmocka_unit_test(a_head_may_be_exactly_as_large_as_allowed),
	    cmocka_unit_test(chunks_decode_however_they_are_cut),
	    cmocka_unit_test(broken_chunks_are_refused),
	    cmocka_unit_test(extensions_and_trailers_are_bounded),
	    cmocka_unit_test(trailers_are_taken_apart),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	buf_done(&lines);
	return r;
}
