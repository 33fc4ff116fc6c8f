/* Malformed and oversized requests: each is refused and the connection closed. */
#include "http_rig.h"

#define BAD(status, text)                      \
	{                                      \
		status, text, sizeof(text) - 1 \
	}

static const struct {
	int status;
	const char *text;
	size_t len;
} malformed[] = {
    BAD(400, "GET / HTTP/1.1\nHost: h\n\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\r\rX: y\r\n\r\n"),
    BAD(400, GET("/") "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    BAD(400, GET("/") "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
    BAD(400, GET("/") "Content-Length: 2, 2\r\n\r\nab"),
    BAD(400, GET("/") "Content-Length: +5\r\n\r\nabcde"),
    BAD(400, GET("/") "Content-Length: 0x5\r\n\r\nabcde"),
    BAD(400, GET("/") "Content-Length: -1\r\n\r\n"),
    BAD(400, GET("/") "Content-Length: -0\r\n\r\n"),
    BAD(400, GET("/") "Content-Length: 5 5\r\n\r\nabcde"),
    BAD(400, GET("/") "Content-Length:\r\n\r\n"),
    BAD(400, GET("/") "Content-Length: 18446744073709551621\r\n\r\nabcde"),
    BAD(400, GET("/") "Content-Length: 9223372036854775808\r\n\r\nabcde"),
    BAD(400, GET("/") "X: a\r\n b\r\n\r\n"),
    BAD(400, GET("/") "X: a\r\n\tb\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "X\t: a\r\n\r\n"),
    BAD(400, GET("/") "X Y: a\r\n\r\n"),
    BAD(400, GET("/") "X(: a\r\n\r\n"),
    BAD(400, GET("/") "X: a\0b\r\n\r\n"),
    BAD(400, GET("/") "X\0: a\r\n\r\n"),
    BAD(400, GET("/") "X: a\rb\r\n\r\n"),
    BAD(400, GET("/") "X: a\x01\r\n\r\n"),
    BAD(400, GET("/") "X: a\x7f\r\n\r\n"),
    BAD(400, GET("/") ": a\r\n\r\n"),
    BAD(400, GET("/") "no colon\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\n\r\n"),
    BAD(400, GET("/") "Host: i\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    BAD(505, "GET / HTTP/3.7\r\nHost: h\r\n\r\n"),
    BAD(505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.12\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / http/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    BAD(400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, " GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\r\n\r\n"),
    BAD(400, "GET\r\n\r\n"),
    BAD(400, "G@T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    BAD(400, GET("/") "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: identity\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: \x0b"
		      "chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, GET("/") "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD(417, GET("/") "Expect: tea\r\n\r\n"),
    BAD(400, CHUNKED "0x5\r\nabcde\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "+5\r\nabcde\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5 \r\nabcde\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "0000000000000005\r\nabcde\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\nabcde\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nabcde0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nabcdef\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nabcde\r\n0\r\nX : y\r\n\r\n"),
    BAD(413, GET("/") "Content-Length: 1048577\r\n\r\n"),
    BAD(413, GET("/small") "Content-Length: 11\r\n\r\n"),
};

/* Behind each malformed request comes another: it must not be taken for one. */
static void refused(int status, const char *text, size_t len)
{
	const char *smuggled = GET("/smuggled") "\r\n";
	struct buf all = BUF_INIT, reply = BUF_INIT;
	char wanted[32];

	buf_append(&all, text, len);
	for (int i = 0; i < 2; i++) {
		buf_clear(&reply);
		t.requests = 0;
		if (!ask_patiently(buf_data(&all), buf_len(&all), &reply, 500))
			fail_msg("not closed after: %.*s", (int)min_size(len, 300), text);
		snprintf(wanted, sizeof(wanted), "HTTP/1.1 %d ", status);
		if (strncmp(text_of(&reply), wanted, strlen(wanted)) != 0)
			fail_msg("%.*s\nanswered with: %s", (int)min_size(len, 300), text,
			    text_of(&reply));
		assert_non_null(strstr(text_of(&reply), "\r\nConnection: close\r\n"));
		assert_int_equal(count(text_of(&reply), "\r\nDate: "), 1);
		assert_int_equal(t.requests, 0);
		buf_puts(&all, smuggled);
	}
	buf_done(&all);
	buf_done(&reply);
}

static void malformed_requests_are_refused_and_the_connection_closed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		refused(malformed[i].status, malformed[i].text, malformed[i].len);
}

static void oversized_requests_are_refused(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, GET("/"));
	for (int i = 0; i < HTTP_HEADERS_MAX; i++)
		buf_printf(&b, "X-%d: y\r\n", i);
	buf_puts(&b, "\r\n");
	refused(431, buf_data(&b), buf_len(&b));
	buf_clear(&b);
	buf_puts(&b, GET("/") "X: ");
	memset(buf_reserve(&b, HTTP_HEAD_MAX), 'x', HTTP_HEAD_MAX);
	buf_commit(&b, HTTP_HEAD_MAX);
	refused(431, buf_data(&b), buf_len(&b));
	buf_clear(&b);
	buf_puts(&b, CHUNKED);
	for (int i = 0; i < 40; i++) {
		buf_puts(&b, "8000\r\n");
		memset(buf_reserve(&b, 0x8000), 'x', 0x8000);
		buf_commit(&b, 0x8000);
		buf_puts(&b, "\r\n");
	}
	refused(413, buf_data(&b), buf_len(&b));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH(malformed_requests_are_refused_and_the_connection_closed),
	    WITH(oversized_requests_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
