/* Event patterns and filter criteria, as a table: pattern, event, whether it matches. */
#include "unit.h"

#include <stdio.h>

#include "source/event_pattern.h"
#include "source/filter.h"

struct row {
	const char *pattern, *event;
	bool matches;
};

static const struct row rows[] = {
    /* values */
    {"{\"a\":[\"x\"]}", "{\"a\":\"x\"}", true},
    {"{\"a\":[\"x\"]}", "{\"a\":\"xy\"}", false},
    {"{\"a\":[\"x\"]}", "{\"b\":\"x\"}", false},
    {"{\"a\":[\"x\",\"y\"]}", "{\"a\":\"y\"}", true},
    {"{\"a\":[\"\"]}", "{\"a\":\"\"}", true},
    {"{\"a\":[\"\"]}", "{\"a\":null}", false},
    {"{\"a\":[null]}", "{\"a\":null}", true},
    {"{\"a\":[null]}", "{}", false},
    {"{\"a\":[true]}", "{\"a\":true}", true},
    {"{\"a\":[false]}", "{\"a\":true}", false},
    {"{\"a\":[300]}", "{\"a\":300.0}", true},
    {"{\"a\":[300]}", "{\"a\":3.0e2}", true},
    {"{\"a\":[300]}", "{\"a\":\"300\"}", false},
    {"{\"a\":[9007199254740993]}", "{\"a\":9007199254740992}", false},
    {"{}", "{\"a\":1}", true},
    /* structure */
    {"{\"a\":{\"b\":[1]}}", "{\"a\":{\"b\":1}}", true},
    {"{\"a\":{\"b\":[1]}}", "{\"a\":1}", false},
    {"{\"a\":[1],\"b\":[2]}", "{\"a\":1,\"b\":2}", true},
    {"{\"a\":[1],\"b\":[2]}", "{\"a\":1,\"b\":3}", false},
    {"{\"a\":[1]}", "{\"a\":[3,2,1]}", true},
    {"{\"a\":[1]}", "{\"a\":[]}", false},
    {"{\"a\":{\"b\":[1],\"c\":[2]}}", "{\"a\":[{\"b\":1,\"c\":1},{\"b\":2,\"c\":2}]}", false},
    {"{\"a\":{\"b\":[1],\"c\":[2]}}", "{\"a\":[{\"b\":2},{\"b\":1,\"c\":2}]}", true},
    {"{\"a\":[1]}", "{\"a\":{\"b\":1}}", false},
    /* text */
    {"{\"a\":[{\"prefix\":\"eu-\"}]}", "{\"a\":\"eu-west\"}", true},
    {"{\"a\":[{\"prefix\":\"eu-\"}]}", "{\"a\":\"us-west\"}", false},
    {"{\"a\":[{\"prefix\":{\"equals-ignore-case\":\"EU-\"}}]}", "{\"a\":\"eU-west\"}", true},
    {"{\"a\":[{\"suffix\":\".png\"}]}", "{\"a\":\"x.png\"}", true},
    {"{\"a\":[{\"suffix\":\".png\"}]}", "{\"a\":\"png\"}", false},
    {"{\"a\":[{\"suffix\":{\"equals-ignore-case\":\".PnG\"}}]}", "{\"a\":\"\xc3\xa4.pNg\"}", true},
    {"{\"a\":[{\"equals-ignore-case\":\"Alice\"}]}", "{\"a\":\"aLICE\"}", true},
    {"{\"a\":[{\"equals-ignore-case\":\"\xc3\x84\"}]}", "{\"a\":\"\xc3\xa4\"}", true},
    {"{\"a\":[{\"equals-ignore-case\":\"Alice\"}]}", "{\"a\":\"aLICEx\"}", false},
    {"{\"a\":[{\"wildcard\":\"a*c\"}]}", "{\"a\":\"abbc\"}", true},
    {"{\"a\":[{\"wildcard\":\"a*c\"}]}", "{\"a\":\"abbcd\"}", false},
    {"{\"a\":[{\"wildcard\":\"*b*\"}]}", "{\"a\":\"abbc\"}", true},
    {"{\"a\":[{\"wildcard\":\"*ab\"}]}", "{\"a\":\"abaab\"}", true},
    {"{\"a\":[{\"wildcard\":\"ab*ba\"}]}", "{\"a\":\"aba\"}", false},
    {"{\"a\":[{\"wildcard\":\"a\\\\*c\"}]}", "{\"a\":\"a*c\"}", true},
    {"{\"a\":[{\"wildcard\":\"a\\\\*c\"}]}", "{\"a\":\"abc\"}", false},
    {"{\"a\":[{\"wildcard\":\"*\"}]}", "{\"a\":\"\"}", true},
    {"{\"a\":[{\"wildcard\":\"x\"}]}", "{\"a\":\"x\"}", true},
    /* anything-but */
    {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":\"y\"}", true},
    {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":\"x\"}", false},
    {"{\"a\":[{\"anything-but\":\"x\"}]}", "{\"b\":\"x\"}", false},
    {"{\"a\":[{\"anything-but\":[1,2]}]}", "{\"a\":2}", false},
    {"{\"a\":[{\"anything-but\":[1,2]}]}", "{\"a\":3}", true},
    {"{\"a\":[{\"anything-but\":[\"x\",\"y\"]}]}", "{\"a\":[\"x\",\"z\"]}", true},
    {"{\"a\":[{\"anything-but\":{\"prefix\":\"p\"}}]}", "{\"a\":\"px\"}", false},
    {"{\"a\":[{\"anything-but\":{\"prefix\":\"p\"}}]}", "{\"a\":5}", true},
    {"{\"a\":[{\"anything-but\":{\"prefix\":[\"p\",\"q\"]}}]}", "{\"a\":\"qx\"}", false},
    {"{\"a\":[{\"anything-but\":{\"suffix\":\"p\"}}]}", "{\"a\":\"xp\"}", false},
    {"{\"a\":[{\"anything-but\":{\"wildcard\":\"a*b\"}}]}", "{\"a\":\"axb\"}", false},
    {"{\"a\":[{\"anything-but\":{\"wildcard\":[\"a*b\",\"c*\"]}}]}", "{\"a\":\"d\"}", true},
    {"{\"a\":[{\"anything-but\":{\"equals-ignore-case\":[\"A\",\"B\"]}}]}", "{\"a\":\"b\"}", false},
    /* exists */
    {"{\"a\":[{\"exists\":true}]}", "{\"a\":null}", true},
    {"{\"a\":[{\"exists\":true}]}", "{}", false},
    {"{\"a\":[{\"exists\":true}]}", "{\"a\":{\"b\":1}}", false},
    {"{\"a\":[{\"exists\":false}]}", "{}", true},
    {"{\"a\":[{\"exists\":false}]}", "{\"a\":1}", false},
    {"{\"a\":{\"b\":[{\"exists\":false}]}}", "{}", true},
    {"{\"a\":{\"b\":[{\"exists\":false}]}}", "{\"a\":[{\"b\":1}]}", false},
    {"{\"a\":[\"x\",{\"exists\":false}]}", "{}", true},
    /* numbers */
    {"{\"a\":[{\"numeric\":[\"=\",5]}]}", "{\"a\":5.0}", true},
    {"{\"a\":[{\"numeric\":[\">\",5]}]}", "{\"a\":5}", false},
    {"{\"a\":[{\"numeric\":[\">=\",5]}]}", "{\"a\":5}", true},
    {"{\"a\":[{\"numeric\":[\">\",0,\"<=\",5]}]}", "{\"a\":5}", true},
    {"{\"a\":[{\"numeric\":[\">\",0,\"<\",5]}]}", "{\"a\":5}", false},
    {"{\"a\":[{\"numeric\":[\"<\",-1.5]}]}", "{\"a\":-2}", true},
    {"{\"a\":[{\"numeric\":[\"<\",5]}]}", "{\"a\":\"4\"}", false},
    /* addresses */
    {"{\"a\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"a\":\"10.0.0.255\"}", true},
    {"{\"a\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"a\":\"10.0.1.0\"}", false},
    {"{\"a\":[{\"cidr\":\"10.0.0.0/23\"}]}", "{\"a\":\"10.0.1.0\"}", true},
    {"{\"a\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"a\":\"1.2.3.4\"}", true},
    {"{\"a\":[{\"cidr\":\"2001:db8::/32\"}]}", "{\"a\":\"2001:db8:1::1\"}", true},
    {"{\"a\":[{\"cidr\":\"2001:db8::/32\"}]}", "{\"a\":\"10.0.0.1\"}", false},
    /* $or */
    {"{\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"b\":2}", true},
    {"{\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"b\":3}", false},
    {"{\"c\":[1],\"$or\":[{\"a\":[1]},{\"b\":[2]}]}", "{\"b\":2}", false},
    {"{\"x\":{\"$or\":[{\"a\":[1]},{\"b\":[2]}]}}", "{\"x\":{\"a\":1}}", true},
    {"{\"$or\":[\"x\"]}", "{\"$or\":\"x\"}", true},
};

static void test_matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *doc = json_loads(rows[i].pattern, 0, NULL);
		json_t *event = json_loads(rows[i].event, 0, NULL);
		struct err e = ERR_INIT;
		struct event_pattern *p = event_pattern_new(doc, &e);

		if (!p)
			fail_msg("%s: %s", rows[i].pattern, e.msg);
		if (event_pattern_matches(p, event) != rows[i].matches)
			fail_msg("%s on %s", rows[i].pattern, rows[i].event);
		event_pattern_free(p);
		json_decref(doc);
		json_decref(event);
	}
}

static const char *const bad[][2] = {
    {"[]", "The pattern is not a JSON object"},
    {"{\"a\":1}", "\"a\" must be an object or an array"},
    {"{\"a\":[]}", "Empty arrays are not allowed"},
    {"{\"a\":{}}", "Empty objects are not allowed"},
    {"{\"a\":[[1]]}", "Match value must be String, number, true, false, or null"},
    {"{\"a\":[{\"like\":1}]}", "Unrecognized match type like"},
    {"{\"a\":[{}]}", "Only one key allowed in match expression"},
    {"{\"a\":[{\"prefix\":\"a\",\"suffix\":\"b\"}]}", "Only one key allowed in match expression"},
    {"{\"a\":[{\"prefix\":1}]}", "prefix takes a string"},
    {"{\"a\":[{\"prefix\":\"\"}]}", "prefix takes a string that is not empty"},
    {"{\"a\":[{\"exists\":1}]}", "exists takes true or false"},
    {"{\"a\":[{\"numeric\":5}]}", "numeric takes a list such as [\">\",0,\"<=\",5]"},
    {"{\"a\":[{\"numeric\":[\"<\",\"5\"]}]}", "Value of < must be numeric"},
    {"{\"a\":[{\"numeric\":[\">\",5,\"<\",5]}]}", "Bottom must be less than top"},
    {"{\"a\":[{\"numeric\":[\"<\",5,\">\",1]}]}",
	"numeric takes one comparison, or one with > and then one with <"},
    {"{\"a\":[{\"cidr\":\"10.0.0/8\"}]}", "cidr takes an address and a length: \"10.0.0.0/24\""},
    {"{\"a\":[{\"cidr\":\"10.0.0.0/33\"}]}",
	"cidr takes a length of at most 32 bits (IPv4) or 128 (IPv6)"},
    {"{\"a\":[{\"wildcard\":\"a**b\"}]}", "Consecutive wildcard characters at pos 1"},
    {"{\"a\":[{\"wildcard\":\"a\\\\b\"}]}", "Invalid escape character at pos 1"},
    {"{\"a\":[{\"anything-but\":[]}]}", "Empty arrays are not allowed"},
    {"{\"a\":[{\"anything-but\":null}]}", "anything-but takes strings or numbers"},
    {"{\"a\":[{\"anything-but\":{\"numeric\":[\"<\",5]}}]}",
	"Unsupported anything-but pattern: numeric"},
};

static void test_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *doc = json_loads(bad[i][0], 0, NULL);
		struct err e = ERR_INIT;

		if (event_pattern_new(doc, &e))
			fail_msg("%s is taken", bad[i][0]);
		assert_string_equal(e.msg, bad[i][1]);
		json_decref(doc);
	}
}

static void test_depth(void **state)
{
	char text[400] = "";
	json_t *doc;
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < 40; i++)
		strcat(text, "{\"a\":");
	strcat(text, "[1]");
	for (int i = 0; i < 40; i++)
		strcat(text, "}");
	doc = json_loads(text, 0, NULL);
	assert_null(event_pattern_new(doc, &e));
	assert_string_equal(e.msg, "The pattern is nested more than 32 deep");
	json_decref(doc);
}

/* ---- criteria ---- */

static const char *const body_keys[] = {"body", NULL}, *const data_keys[] = {"data", NULL};
static const struct filter_data sqs = {body_keys, false}, mq = {data_keys, true};

static struct filter *filter_of(const char *pattern, const struct filter_data *d)
{
	json_t *list = json_pack("[{s:s}]", "Pattern", pattern);
	struct err e = ERR_INIT;
	struct filter *f = filter_new(list, d, &e);

	json_decref(list);
	if (!f)
		fail_msg("%s: %s", pattern, e.msg);
	return f;
}

/* Rows 2 and 3 of each: AWS's table of mismatches. */
static const struct row bodies[] = {
    {"{\"body\":{\"n\":[1]}}", "{\"body\":\"{\\\"n\\\":1}\"}", true},
    {"{\"body\":{\"n\":[1]}}", "{\"body\":\"n\"}", false},
    {"{\"body\":{\"n\":[{\"exists\":false}]}}", "{\"body\":\"n\"}", false},
    {"{\"body\":[\"n\"]}", "{\"body\":\"n\"}", true},
    {"{\"body\":[{\"anything-but\":\"n\"}]}", "{\"body\":\"{\\\"n\\\":1}\"}", false},
    {"{\"body\":[1]}", "{\"body\":\"[1]\"}", false},
    {"{\"body\":[\"42\"]}", "{\"body\":\"42\"}", true},
    {"{\"messageAttributes\":{\"k\":{\"stringValue\":[\"v\"]}}}",
	"{\"body\":\"x\",\"messageAttributes\":{\"k\":{\"stringValue\":\"v\"}}}", true},
    {"{\"eventSource\":[\"aws:sqs\"]}", "{\"body\":\"{\",\"eventSource\":\"aws:sqs\"}", true},
    {"{\"body\":{\"n\":[1]}}", "not json", false},
};

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct filter *f = filter_of(bodies[i].pattern, &sqs);

		if (filter_matches(f, str_from(bodies[i].event)) != bodies[i].matches)
			fail_msg("%s on %s", bodies[i].pattern, bodies[i].event);
		filter_free(f);
	}
}

static void test_base64(void **state)
{
	struct filter *f = filter_of("{\"data\":{\"n\":[1]}}", &mq);

	(void)state;
	assert_true(filter_matches(f, STR("{\"data\":\"eyJuIjoxfQ==\"}")));
	assert_false(filter_matches(f, STR("{\"data\":\"eyJuIjoyfQ==\"}")));
	assert_false(filter_matches(f, STR("{\"data\":\"!\"}")));
	filter_free(f);
	f = filter_of("{\"data\":[{\"prefix\":\"hel\"}]}", &mq);
	assert_true(filter_matches(f, STR("{\"data\":\"aGVsbG8=\"}")));
	filter_free(f);
}

static void test_criteria(void **state)
{
	json_t *list = json_array();
	struct err e = ERR_INIT;
	struct filter *f;

	(void)state;
	assert_null(filter_new(list, &sqs, &e));
	assert_string_equal(e.msg, "");
	json_array_append_new(list, json_pack("{s:s}", "Pattern", "{\"body\":{\"a\":[1]}}"));
	json_array_append_new(list, json_pack("{s:s}", "Pattern", "{\"body\":{\"a\":[2]}}"));
	f = filter_new(list, &sqs, &e);
	assert_true(filter_matches(f, STR("{\"body\":\"{\\\"a\\\":2}\"}")));
	assert_false(filter_matches(f, STR("{\"body\":\"{\\\"a\\\":3}\"}")));
	filter_free(f);
	json_array_append_new(list, json_pack("{s:s}", "Pattern", "{\"body\":"));
	assert_null(filter_new(list, &sqs, &e));
	assert_non_null(strstr(e.msg, "Invalid filter pattern definition. It is not JSON: "));
	json_array_remove(list, 2);
	json_array_append_new(list, json_pack("{s:s}", "Pattern", "{\"body\":1}"));
	assert_null(filter_new(list, &sqs, &e));
	assert_string_equal(
	    e.msg, "Invalid filter pattern definition. \"body\" must be an object or an array.");
	json_array_clear(list);
	for (int i = 0; i <= FILTER_MAX; i++)
		json_array_append_new(list, json_pack("{s:s}", "Pattern", "{}"));
	assert_null(filter_new(list, &sqs, &e));
	assert_string_equal(e.msg, "Filters exceed the maximum allowed limit of 10.");
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_matches),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_base64),
	    cmocka_unit_test(test_criteria),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
