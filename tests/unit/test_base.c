/* Slices, codecs, map, list, buffer, arena, dates, descriptors. */
#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/large.h"
#include "base/list.h"
#include "base/map.h"
#include "base/path.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/time.h"

static void numbers_are_whole_and_bounded(void **state)
{
	int64_t v = 7;

	(void)state;
	assert_true(str_to_int64(STR("-9223372036854775808"), INT64_MIN, INT64_MAX, &v));
	assert_true(v == INT64_MIN);
	assert_false(str_to_int64(STR("9223372036854775808"), INT64_MIN, INT64_MAX, &v));
	assert_false(str_to_int64(STR("+5"), 0, 10, &v));
	assert_false(str_to_int64(STR("5 "), 0, 10, &v));
	assert_false(str_to_int64(STR(""), 0, 10, &v));
	assert_false(str_to_int64(STR("-"), -10, 10, &v));
	assert_false(str_to_int64(STR("11"), 0, 10, &v));
	assert_true(v == INT64_MIN);
}

static void cut_tells_empty_rest_from_no_rest(void **state)
{
	struct str s = STR("a=");

	(void)state;
	assert_true(str_is(str_cut(&s, '='), "a"));
	assert_non_null(s.ptr);
	assert_true(str_is(str_cut(&s, '='), ""));
	assert_null(s.ptr);
}

static void base64_round_trips_and_refuses_the_rest(void **state)
{
	static const char *const bad[] = {
	    "A", "AA", "AAA", "A===", "AA=A", "AB==", "AAB=", "A A=", "AAAA====", "=AAA"};
	char text[BASE64_ENCODED_SIZE(64)], back[64], raw[64];

	(void)state;
	rand_bytes(raw, sizeof(raw));
	for (size_t n = 0; n <= sizeof(raw); n++) {
		size_t len = base64_encode(raw, n, text);

		assert_int_equal(base64_decode((struct str){text, len}, back), n);
		assert_memory_equal(raw, back, n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(base64_decode(str_from(bad[i]), back), -EINVAL);
}

static void url_coding(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(url_encode(STR("a/b c~\xc3\xa9"), true, out), 14);
	assert_string_equal(out, "a/b%20c~%C3%A9");
	assert_int_equal(url_decode(STR("a%2Fb+c"), true, out), 5);
	assert_memory_equal(out, "a/b c", 5);
	assert_int_equal(url_decode(STR("a%2"), false, out), -EINVAL);
	assert_int_equal(url_decode(STR("%zz"), false, out), -EINVAL);
}

static void utf8_is_strict(void **state)
{
	(void)state;
	assert_true(utf8_valid(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	assert_int_equal(utf8_count(STR("a\xc3\xa9\xe2\x82\xac")), 3);
	assert_false(utf8_valid(STR("\xc0\x80")));
	assert_false(utf8_valid(STR("\xed\xa0\x80")));
	assert_false(utf8_valid(STR("\xf4\x90\x80\x80")));
	assert_false(utf8_valid(STR("\xe2\x82")));
}

static void map_keeps_everything_through_growth_and_removal(void **state)
{
	struct map m = MAP_INIT;
	char key[16];
	static int values[1000];
	size_t seen = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "key-%zu", i);
		assert_null(map_put(&m, str_from(key), &values[i]));
	}
	for (size_t i = 0; i < 1000; i += 3) {
		snprintf(key, sizeof(key), "key-%zu", i);
		assert_ptr_equal(map_remove(&m, str_from(key)), &values[i]);
		assert_null(map_remove(&m, str_from(key)));
	}
	for (size_t i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "key-%zu", i);
		assert_ptr_equal(map_get(&m, str_from(key)), i % 3 ? &values[i] : NULL);
	}
	map_for_each (&m, e)
		seen += e->value != NULL;
	assert_int_equal(seen, m.count);
	map_done(&m);
}

/* Plain text is taken eight bytes at a time: at any distance from its ends. */
static void json_escapes_wherever_it_is_needed(void **state)
{
	static const struct {
		struct str in;
		const char *out;
		bool invalid;
	} cases[] = {{STR("\""), "\\\"", false}, {STR("\\"), "\\\\", false},
	    {STR("\x1f"), "\\u001f", false}, {STR("\n"), "\\n", false},
	    {STR("\x7f "), "\x7f ", false}, {STR("\xc3\xa9"), "\xc3\xa9", false},
	    {STR("\xc3"), "\xef\xbf\xbd", true}, {STR("!#[]~"), "!#[]~", false}};
	static const char plain[] = "xxxxxxxxxxxxxxxxxx";
	char text[64], want[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * 18 * 18; i++) {
		size_t c = i / (18 * 18), before = i / 18 % 18, after = i % 18;
		struct buf b = BUF_INIT;
		struct str s = {text, before + cases[c].in.len + after};

		memset(text, 'x', sizeof(text));
		memcpy(text + before, cases[c].in.ptr, cases[c].in.len);
		snprintf(want, sizeof(want), "%.*s%s%.*s", (int)before, plain, cases[c].out,
		    (int)after, plain);
		buf_json_escape(&b, s);
		assert_true(str_is(buf_str(&b), want));
		assert_int_equal(utf8_valid(s), !cases[c].invalid);
		buf_done(&b);
	}
}

static void buffer_moves_and_grows(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		buf_printf(&b, "%04d", i);
		if (i % 2)
			buf_consume(&b, 4);
	}
	assert_int_equal(buf_len(&b), 2000);
	assert_memory_equal(buf_data(&b), "0500", 4);
	buf_clear(&b);
	buf_put_uint(&b, 0);
	buf_put_uint(&b, 10);
	buf_put_uint(&b, UINT64_MAX);
	assert_true(str_is(buf_str(&b), "01018446744073709551615"));
	buf_clear(&b);
	buf_json_string(&b, STR("a\"\\\n\x01\xff"));
	assert_true(str_is(buf_str(&b), "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\""));
	buf_done(&b);
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t n = 1; n < 9000; n += 37) {
		char *p = arena_alloc(&a, n);

		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
	arena_done(&a);
}

static void dates(void **state)
{
	char out[TIME_ISO_SIZE];
	int64_t ms;

	(void)state;
	assert_true(time_parse_amz(STR("20251124T230956Z"), &ms));
	time_format_lambda(ms, out);
	assert_string_equal(out, "2025-11-24T23:09:56.000+0000");
	time_format_http(ms, out);
	assert_string_equal(out, "Mon, 24 Nov 2025 23:09:56 GMT");
	assert_false(time_parse_amz(STR("20250231T000000Z"), &ms));
	assert_false(time_parse_amz(STR("20251124T236056Z"), &ms));
	assert_true(time_parse_iso(STR("2025-11-24T23:09:56.1234+01:30"), &ms));
	time_format_iso_ms(ms, out);
	assert_string_equal(out, "2025-11-24T21:39:56.123Z");
	assert_true(time_parse_iso(STR("2025-11-24"), &ms));
	assert_false(time_parse_iso(STR("2025-11-24T"), &ms));
}

static void descriptors_travel_whole(void **state)
{
	int pair[2], got[FD_PASS_MAX], send_fds[2];
	size_t count;
	char data[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	send_fds[0] = pair[0];
	send_fds[1] = pair[1];
	assert_int_equal(fd_send_fds(pair[0], "hello", 5, send_fds, 2, 0), 0);
	assert_int_equal(fd_recv_fds(pair[1], data, sizeof(data), got, &count, 0), 5);
	assert_int_equal(count, 2);
	close(got[0]);
	close(got[1]);
	assert_int_equal(fd_send_fds(pair[0], "too long", 9, send_fds, 2, 0), 0);
	assert_int_equal(fd_recv_fds(pair[1], data, 4, got, &count, 0), -EMSGSIZE);
	assert_int_equal(count, 0);
	close(pair[0]);
	close(pair[1]);
}

static void errors_gather_context(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_sys(&e, ENOENT, "opening %s", "x"), -ENOENT);
	assert_int_equal(err_wrap(&e, "starting box %d", 7), -ENOENT);
	assert_string_equal(e.msg, "starting box 7: opening x: No such file or directory");
}

static void paths_are_cleaned_as_texts(void **state)
{
	static const char *const pairs[][2] = {{"/", "/"}, {"//", "/"}, {"/.", "/"}, {"/..", "/"},
	    {"/a", "/a"}, {"/a/", "/a"}, {"//a///b/.", "/a/b"}, {"/a/../..", "/"},
	    {"/a/b/../c", "/a/c"}, {"/../a", "/a"}, {"/...", "/..."}, {"/..a/.b", "/..a/.b"}};
	char out[64], small[5];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_true(path_clean(pairs[i][0], out, sizeof(out)));
		assert_string_equal(out, pairs[i][1]);
	}
	assert_false(path_clean("", out, sizeof(out)));
	assert_false(path_clean("a/b", out, sizeof(out)));
	assert_true(path_clean("/abc", small, sizeof(small)));
	assert_false(path_clean("/abcd", small, sizeof(small)));
	assert_true(path_is_below("/proc", "/proc") && path_is_below("/proc/x", "/proc"));
	assert_true(path_is_below("/anything", "/"));
	assert_false(path_is_below("/procx", "/proc") || path_is_below("/", "/proc"));
}

/* The leak check at the end of the program sees what the thread, or its end, would forget. */
static void large_memory_is_freed_with_and_without_its_thread(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		bool running = round == 1;

		if (running)
			assert_int_equal(large_start(), 0);
		large_free(NULL, LARGE_MIN);
		large_free(xmalloc(1), 1);
		/* More than may wait for the thread at a time. */
		for (size_t i = 0; i < 40; i++) {
			struct buf b = BUF_INIT;

			buf_reserve(&b, (size_t)(16 + i % 4) << 20)[0] = 'x';
			buf_done(&b);
			assert_null(b.mem);
		}
		if (running)
			large_stop();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_whole_and_bounded),
	    cmocka_unit_test(cut_tells_empty_rest_from_no_rest),
	    cmocka_unit_test(base64_round_trips_and_refuses_the_rest),
	    cmocka_unit_test(url_coding),
	    cmocka_unit_test(utf8_is_strict),
	    cmocka_unit_test(map_keeps_everything_through_growth_and_removal),
	    cmocka_unit_test(buffer_moves_and_grows),
	    cmocka_unit_test(json_escapes_wherever_it_is_needed),
	    cmocka_unit_test(paths_are_cleaned_as_texts),
	    cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
	    cmocka_unit_test(large_memory_is_freed_with_and_without_its_thread),
	    cmocka_unit_test(dates),
	    cmocka_unit_test(descriptors_travel_whole),
	    cmocka_unit_test(errors_gather_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
