/* Filter patterns: what matches, what does not, what is refused. */
#include "unit.h"

#include "logs/pattern.h"
#include "logs/regex.h"

struct match_case {
	const char *pattern, *message;
	bool matches;
};

#define JSON_EVENT                                                                             \
	"{\"level\":\"ERROR\",\"n\":5,\"f\":1.5,\"ok\":true,\"no\":false,\"nil\":null,"        \
	"\"list\":[{\"id\":\"a\"},{\"id\":\"b\"}],\"user\":{\"ip\":\"10.1.2.3\"},\"s\":\"7\"," \
	"\"a.b\":\"dot\"}"

static const struct match_case cases[] = {
    {"", "anything", true},
    {"  ", "", true},
    {"ERROR", "[ERROR 401] UNAUTHORIZED", true},
    {"ERROR", "error", false},
    {"ERROR ARGS", "ERROR has ARGS", true},
    {"ERROR ARGS", "ERROR only", false},
    {"\"INTERNAL SERVER\"", "x INTERNAL SERVER y", true},
    {"\"INTERNAL SERVER\"", "INTERNAL x SERVER", false},
    {"\"say \\\"hi\\\"\"", "to say \"hi\" twice", true},
    {"?ERROR ?WARN", "a WARN b", true},
    {"?ERROR ?WARN", "a INFO b", false},
    {"?ERROR ?WARN REQUEST", "INFO REQUEST", true},
    {"?ERROR ?WARN REQUEST", "ERROR", false},
    {"ERROR -EXITING", "ERROR", true},
    {"ERROR -EXITING", "ERROR EXITING", false},
    {"-\"a b\"", "xa bx", false},
    {"?\"a b\" ?c", "a b", true},
    {"%ERR[A-Z]+ \\d{3}%", "x ERROR 401", true},
    {"%ERR[A-Z]+ \\d{3}%", "x ERROR 4", false},
    {"%^(a+)+$%", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false},
    {"START -%\\d%", "START now", true},
    {"START -%\\d%", "START 1", false},
    {"[a, b, c]", "one two three", true},
    {"[a, b, c]", "one two", false},
    {"[]", "word", true},
    {"[a, b, c]", "one \"two words\" [3 x]", true},
    {"[ip, user, ts, request, code=4*, bytes]",
	"127.0.0.1 frank [10/Oct/2000] \"GET /x HTTP/1.0\" 404 12", true},
    {"[ip, user, ts, request, code=4*, bytes]",
	"127.0.0.1 frank [10/Oct/2000] \"GET /x HTTP/1.0\" 200 12", false},
    {"[ip, ..., code=4*, bytes > 1000]", "1 2 3 4 404 1001", true},
    {"[ip, ..., code=4*, bytes > 1000]", "1 2 3 4 404 999", false},
    {"[..., last=z]", "x y z", true},
    {"[first=x, ...]", "x", true},
    {"[first=x, ...]", "", false},
    {"[w1=a, ..., w2=b]", "a b", true},
    {"[code=404 || code=410, b]", "410 x", true},
    {"[(code>=400 && code<500), b]", "399 x", false},
    {"[a!=b, c]", "b c", false},
    {"[a=%^x%, c]", "xyz c", true},
    {"[a=\"two words\"]", "\"two words\"", true},
    {"{ $.level = \"ERROR\" }", JSON_EVENT, true},
    {"{$.level=ERR*}", JSON_EVENT, true},
    {"{ $.level != \"ERROR\" }", JSON_EVENT, false},
    {"{ $.gone != \"ERROR\" }", JSON_EVENT, false},
    {"{ $.n = 5 && $.f > 1 }", JSON_EVENT, true},
    {"{ $.n >= 5.0 }", JSON_EVENT, true},
    {"{ $.n < 5e0 }", JSON_EVENT, false},
    {"{ $.n = 4 || ($.f = 1.5 && $.ok IS TRUE) }", JSON_EVENT, true},
    {"{ $.n = 4 && ($.f = 1.5 || $.ok IS TRUE) }", JSON_EVENT, false},
    {"{ $.no is false }", JSON_EVENT, true},
    {"{ $.nil IS NULL }", JSON_EVENT, true},
    {"{ $.gone IS NULL }", JSON_EVENT, false},
    {"{ $.gone NOT EXISTS }", JSON_EVENT, true},
    {"{ $.nil NOT EXISTS }", JSON_EVENT, false},
    {"{ $.user EXISTS }", JSON_EVENT, true},
    {"{ $.list[1].id = b }", JSON_EVENT, true},
    {"{ $.list[2].id = b }", JSON_EVENT, false},
    {"{ $.user.ip = 10.1.* }", JSON_EVENT, true},
    {"{ $.user.ip = %^10\\.% }", JSON_EVENT, true},
    {"{ $.['a.b'] = dot }", JSON_EVENT, true},
    {"{ $.s = 7 }", JSON_EVENT, true},
    {"{ $.ok = true }", JSON_EVENT, true},
    {"{ $.level = * }", JSON_EVENT, true},
    {"{ $.n = 5 }", "not json", false},
    {"{ $.n = 5 }", "{\"n\":5", false},
    {"{ $.n = 5 }", "", false},
};

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct match_case *c = &cases[i];
		struct err e = ERR_INIT;
		struct log_pattern *p = log_pattern_parse(str_from(c->pattern), &e);

		if (!p)
			fail_msg("%s: %s", c->pattern, e.msg);
		if (log_pattern_match(p, str_from(c->message)) != c->matches)
			fail_msg("%s on %s: not %d", c->pattern, c->message, c->matches);
		log_pattern_free(p);
	}
}

static void refused(void **state)
{
	static const char *const bad[][2] = {
	    {"\"open", "does not end"},
	    {"a -", "a term is missing"},
	    {"? b", "a term is missing"},
	    {"\"\"", "empty"},
	    {"%(%", "not valid"},
	    {"%abc", "does not end in %"},
	    {"%%", "empty"},
	    {"%a% %a% %a% %a% %a% %a%", "too many regular"},
	    {"[a, b", "missing"},
	    {"[a=1, b=2", "expected"},
	    {"[a] b", "nothing more"},
	    {"[..., ...]", "only once"},
	    {"[a=]", "a value is missing"},
	    {"[a>b]", "a number expected"},
	    {"{ }", "beginning with"},
	    {"{ $. = 1 }", "name of a property"},
	    {"{ $ = 1 }", "a property is missing"},
	    {"{ $.a }", "a comparison is missing"},
	    {"{ $.a = }", "a value is missing"},
	    {"{ $.a = 1", "\"}\" expected"},
	    {"{ $.a = 1 } x", "nothing more"},
	    {"{ $.a > abc }", "a number expected"},
	    {"{ $.a IS MAYBE }", "NULL, TRUE or FALSE"},
	    {"{ ($.a = 1 }", "\")\" expected"},
	    {"{ $.a[x] = 1 }", "in brackets"},
	    {"{((((((((((((((((($.a=1)))))))))))))))))}", "too deeply"},
	    {"{$.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1}", "too deep"},
	};
	char big[LOG_PATTERN_MAX + 2];
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(log_pattern_parse(str_from(bad[i][0]), &e));
		if (!strstr(e.msg, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], e.msg);
	}
	memset(big, 'a', sizeof(big));
	assert_null(log_pattern_parse((struct str){big, LOG_PATTERN_MAX + 1}, &e));
	assert_null(log_pattern_parse((struct str){"a\0b", 3}, &e));
}

/* Few steps, each over all of the text: without a clock this would take seconds, and find nothing.
 */
static void regexes_have_time_limits(void **state)
{
	static char text[4096], pattern[1024];
	struct log_regex *r;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 64; i++)
		strcat(pattern, "(?=\\p{L}*+)");
	strcat(pattern, ".[yz]");
	r = log_regex_new(str_from(pattern), NULL);
	assert_non_null(r);
	assert_int_equal(log_regex_match(r, (struct str){text, sizeof(text)}), -ELOOP);
	text[8] = 'y';
	assert_int_equal(log_regex_match(r, (struct str){text, 16}), 1);
	log_regex_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(refused),
	    cmocka_unit_test(regexes_have_time_limits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
