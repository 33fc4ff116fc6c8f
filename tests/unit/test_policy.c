/* Policy documents: what they allow, case by case, and which of them let everybody in. */
#include "unit.h"

#include "auth/policy.h"

#define DOC(statement) "{\"Version\":\"2012-10-17\",\"Statement\":[" statement "]}"
#define ALL "\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"*\""
#define ALLOW_ALL "{\"Effect\":\"Allow\"," ALL "}"
#define IF(condition) DOC("{\"Effect\":\"Allow\"," ALL ",\"Condition\":{" condition "}}")
#define ONE(op, key, value) IF("\"" op "\":{\"" key "\":" value "}")

static const struct aws_principal joe = {.type = AWS_USER,
    .account = "111111111111",
    .user_id = "AIDAJOE",
    .arn = "arn:aws:iam::111111111111:user/team/joe"};
static const struct aws_principal session = {.type = AWS_ASSUMED_ROLE,
    .account = "111111111111",
    .user_id = "AROAX:s",
    .arn = "arn:aws:sts::111111111111:assumed-role/worker/s"};
static const struct aws_principal star = {.type = AWS_USER,
    .account = "111111111111",
    .user_id = "AIDASTAR",
    .arn = "arn:aws:iam::111111111111:user/*"};

struct sample {
	const char *document;
	enum policy_decision want;
	const struct aws_principal *who;
	const char *service;
	const char *action, *resource; /* NULL: s3:GetObject of b/o */
	const char *values[8];         /* key, value, key, value… */
};

/* clang-format off */
static const struct sample samples[] = {
    {DOC(ALLOW_ALL), POLICY_ALLOW},
    {DOC(ALLOW_ALL ",{\"Effect\":\"Deny\"," ALL "}"), POLICY_DENY},
    {DOC("{\"Effect\":\"Deny\"," ALL "}," ALLOW_ALL), POLICY_DENY},
    {"{\"Statement\":" ALLOW_ALL "}", POLICY_ALLOW},
    /* actions */
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"S3:getobj*\",\"s3:Put?bject\"],\"Resource\":\"*\"}"), POLICY_ALLOW},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"s3:Put?bject\"],\"Resource\":\"*\"}"), POLICY_SILENT},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"s3:Put?bject\"],\"Resource\":\"*\"}"), POLICY_ALLOW, .action = "s3:PutObject"},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"NotAction\":\"s3:Delete*\",\"Resource\":\"*\"}"), POLICY_ALLOW},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"NotAction\":\"s3:Get*\",\"Resource\":\"*\"}"), POLICY_SILENT},
    /* resources */
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/*\"}"), POLICY_ALLOW},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b\"}"), POLICY_SILENT},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::B/*\"}"), POLICY_SILENT},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"NotResource\":\"arn:aws:s3:::b/*\"}"), POLICY_SILENT},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\"}"), POLICY_ALLOW},
    /* principals */
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111111111111\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111111111111\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &joe},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam::111111111111:root\"]},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &session},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::222222222222:root\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT, &joe},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111111111111:user/team/joe\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &joe},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111111111111:user/team/jo\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT, &joe},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111111111111:role/path/worker\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &session},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111111111111:role/work\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT, &session},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:sts::111111111111:assumed-role/worker/s\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &session},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, .service = "s3.amazonaws.com"},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT, .service = "sns.amazonaws.com"},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_SILENT, &joe},
    {DOC(ALLOW_ALL), POLICY_ALLOW, .service = "sns.amazonaws.com"},
    {DOC(ALLOW_ALL ",{\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":\"111111111111\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_ALLOW, &joe},
    {DOC(ALLOW_ALL ",{\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":\"111111111111\"},\"Action\":\"*\",\"Resource\":\"*\"}"), POLICY_DENY},
    /* strings */
    {ONE("StringEquals", "aws:SourceAccount", "\"1\""), POLICY_SILENT},
    {ONE("StringEquals", "aws:SourceAccount", "[\"2\",\"1\"]"), POLICY_ALLOW, .values = {"AWS:sourceaccount", "1"}},
    {ONE("StringEquals", "k", "\"a*\""), POLICY_SILENT, .values = {"k", "ab"}},
    {ONE("StringNotEquals", "k", "[\"a\",\"b\"]"), POLICY_SILENT, .values = {"k", "b"}},
    {ONE("StringNotEquals", "k", "[\"a\",\"b\"]"), POLICY_ALLOW, .values = {"k", "c"}},
    {ONE("StringNotEquals", "k", "\"a\""), POLICY_ALLOW},
    {ONE("StringEqualsIgnoreCase", "k", "\"ABc\""), POLICY_ALLOW, .values = {"k", "abC"}},
    {ONE("StringEqualsIfExists", "k", "\"a\""), POLICY_ALLOW},
    {ONE("StringEqualsIfExists", "k", "\"a\""), POLICY_SILENT, .values = {"k", "b"}},
    {ONE("StringLike", "k", "\"a?c*\""), POLICY_ALLOW, .values = {"k", "abcdef"}},
    {ONE("StringLike", "k", "\"a?c\""), POLICY_SILENT, .values = {"k", "abcdef"}},
    {ONE("StringNotLike", "k", "\"a*\""), POLICY_SILENT, .values = {"k", "abcdef"}},
    {ONE("StringLike", "k", "\"a${*}c\""), POLICY_SILENT, .values = {"k", "abc"}},
    {ONE("StringLike", "k", "\"a${*}c*\""), POLICY_ALLOW, .values = {"k", "a*cd"}},
    {ONE("StringLike", "k", "\"${?}${$}\""), POLICY_ALLOW, .values = {"k", "?$"}},
    {IF("\"StringEquals\":{\"a\":\"1\",\"b\":\"2\"}"), POLICY_SILENT, .values = {"a", "1"}},
    {IF("\"StringEquals\":{\"a\":\"1\"},\"StringLike\":{\"b\":\"2*\"}"), POLICY_ALLOW, .values = {"a", "1", "b", "23"}},
    /* variables */
    {ONE("StringEquals", "k", "\"home/${aws:username}\""), POLICY_ALLOW, &joe, .values = {"k", "home/joe"}},
    {ONE("StringLike", "k", "\"home/${aws:username}/*\""), POLICY_ALLOW, &joe, .values = {"k", "home/joe/x"}},
    {ONE("StringLike", "k", "\"home/${aws:username}/*\""), POLICY_SILENT, &star, .values = {"k", "home/joe/x"}},
    {ONE("StringLike", "k", "\"home/${aws:username}/*\""), POLICY_SILENT, .values = {"k", "home//x"}},
    {ONE("StringEquals", "k", "\"${aws:username, 'nobody'}\""), POLICY_ALLOW, .values = {"k", "nobody"}},
    {"{\"Version\":\"2008-10-17\",\"Statement\":{\"Effect\":\"Allow\"," ALL ",\"Condition\":{\"StringEquals\":{\"k\":\"${aws:username}\"}}}}", POLICY_ALLOW, &joe, .values = {"k", "${aws:username}"}},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/${aws:username}/*\"}"), POLICY_ALLOW, &joe, .resource = "arn:aws:s3:::b/joe/x"},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::b/${aws:username}/*\"}"), POLICY_SILENT, &joe, .resource = "arn:aws:s3:::b/jim/x"},
    {ONE("ArnEquals", "aws:PrincipalArn", "\"arn:aws:iam::111111111111:role/worker\""), POLICY_ALLOW, &session},
    {ONE("StringEquals", "aws:PrincipalType", "\"User\""), POLICY_ALLOW, &joe},
    /* sets */
    {ONE("ForAllValues:StringEquals", "k", "[\"a\",\"b\"]"), POLICY_ALLOW},
    {ONE("ForAllValues:StringEquals", "k", "[\"a\",\"b\"]"), POLICY_ALLOW, .values = {"k", "a", "k", "b"}},
    {ONE("ForAllValues:StringEquals", "k", "[\"a\",\"b\"]"), POLICY_SILENT, .values = {"k", "a", "k", "c"}},
    {ONE("ForAllValues:StringNotEquals", "k", "[\"a\"]"), POLICY_SILENT, .values = {"k", "b", "k", "a"}},
    {ONE("ForAnyValue:StringEquals", "k", "[\"a\",\"b\"]"), POLICY_SILENT},
    {ONE("ForAnyValue:StringEquals", "k", "[\"a\",\"b\"]"), POLICY_ALLOW, .values = {"k", "c", "k", "b"}},
    {ONE("ForAnyValue:StringLike", "k", "\"x*\""), POLICY_SILENT, .values = {"k", "c", "k", "b"}},
    {ONE("ForAnyValue:StringNotEquals", "k", "\"a\""), POLICY_SILENT},
    /* ARNs, by part */
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:s3:::logs-*\""), POLICY_ALLOW, .values = {"aws:SourceArn", "arn:aws:s3:::logs-1"}},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:*:logs-1\""), POLICY_SILENT, .values = {"aws:SourceArn", "arn:aws:s3:::logs-1"}},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:sqs:*:*:q\""), POLICY_ALLOW, .values = {"aws:SourceArn", "arn:aws:sqs:us-east-1:123456789012:q"}},
    {ONE("ArnEquals", "aws:SourceArn", "\"arn:aws:lambda:*:*:function:f:*\""), POLICY_ALLOW, .values = {"aws:SourceArn", "arn:aws:lambda:a:1:function:f:live"}},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:s?s:*:*:q\""), POLICY_SILENT, .values = {"aws:SourceArn", "arn:aws:sqs:a"}},
    {ONE("ArnLike", "aws:SourceArn", "\"*\""), POLICY_ALLOW, .values = {"aws:SourceArn", "arn:aws:s3:::b"}},
    {ONE("ArnNotLike", "aws:SourceArn", "\"arn:aws:s3:::b\""), POLICY_SILENT, .values = {"aws:SourceArn", "arn:aws:s3:::b"}},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:s3:::${k}\""), POLICY_SILENT, .values = {"aws:SourceArn", "arn:aws:s3:::b", "k", "*"}},
    /* the rest */
    {ONE("Null", "k", "\"true\""), POLICY_ALLOW},
    {ONE("Null", "k", "true"), POLICY_SILENT, .values = {"k", "x"}},
    {ONE("Null", "k", "\"false\""), POLICY_ALLOW, .values = {"k", ""}},
    {ONE("Bool", "aws:SecureTransport", "false"), POLICY_ALLOW, .values = {"aws:SecureTransport", "false"}},
    {ONE("Bool", "aws:SecureTransport", "\"True\""), POLICY_SILENT, .values = {"aws:SecureTransport", "false"}},
    {ONE("Bool", "aws:SecureTransport", "true"), POLICY_SILENT},
    {ONE("BoolIfExists", "aws:SecureTransport", "true"), POLICY_ALLOW},
    {ONE("IpAddress", "aws:SourceIp", "\"10.1.0.0/15\""), POLICY_ALLOW, .values = {"aws:SourceIp", "10.0.255.1"}},
    {ONE("IpAddress", "aws:SourceIp", "\"10.1.0.0/16\""), POLICY_SILENT, .values = {"aws:SourceIp", "10.0.255.1"}},
    {ONE("IpAddress", "aws:SourceIp", "[\"127.0.0.1\",\"2001:db8::/33\"]"), POLICY_ALLOW, .values = {"aws:SourceIp", "2001:db8:7fff::1"}},
    {ONE("IpAddress", "aws:SourceIp", "\"2001:db8::/33\""), POLICY_SILENT, .values = {"aws:SourceIp", "2001:db8:8000::1"}},
    {ONE("IpAddress", "aws:SourceIp", "\"0.0.0.0/0\""), POLICY_SILENT, .values = {"aws:SourceIp", "::1"}},
    {ONE("NotIpAddress", "aws:SourceIp", "\"10.0.0.0/8\""), POLICY_ALLOW, .values = {"aws:SourceIp", "11.0.0.1"}},
    {ONE("IpAddress", "aws:SourceIp", "\"10.0.0.0/33\""), POLICY_SILENT, .values = {"aws:SourceIp", "10.0.0.0"}},
    {ONE("NumericLessThanEquals", "s3:max-keys", "10"), POLICY_ALLOW, .values = {"s3:max-keys", "10"}},
    {ONE("NumericLessThan", "s3:max-keys", "\"10\""), POLICY_SILENT, .values = {"s3:max-keys", "10"}},
    {ONE("NumericGreaterThan", "k", "-1.5e1"), POLICY_ALLOW, .values = {"k", "-14"}},
    {ONE("NumericEquals", "k", "[1,2]"), POLICY_ALLOW, .values = {"k", "2.0"}},
    {ONE("NumericEquals", "k", "\"nan\""), POLICY_SILENT, .values = {"k", "nan"}},
    {ONE("NumericNotEquals", "k", "2"), POLICY_ALLOW, .values = {"k", "3"}},
    {ONE("DateGreaterThan", "aws:CurrentTime", "\"2023-11-14T22:13:19Z\""), POLICY_ALLOW},
    {ONE("DateLessThan", "aws:CurrentTime", "\"2023-11-14T22:13:20Z\""), POLICY_SILENT},
    {ONE("DateLessThanEquals", "aws:EpochTime", "1700000000"), POLICY_ALLOW},
    {ONE("DateEquals", "k", "\"2024-01-01\""), POLICY_ALLOW, .values = {"k", "2024-01-01T00:00:00Z"}},
    {ONE("DateNotEquals", "k", "\"yesterday\""), POLICY_ALLOW, .values = {"k", "2024-01-01"}},
    {ONE("BinaryEquals", "k", "\"AQID\""), POLICY_ALLOW, .values = {"k", "AQID"}},
    {ONE("BinaryEquals", "k", "\"AQIE\""), POLICY_SILENT, .values = {"k", "AQID"}},
    {ONE("BinaryEquals", "k", "\"=\""), POLICY_SILENT, .values = {"k", "="}},
};
/* clang-format on */

static enum policy_decision decide(const struct sample *s, const struct policy *p)
{
	struct policy_value values[4];
	struct policy_request r = {.principal = s->who,
	    .service = s->service,
	    .action = s->action ? s->action : "s3:GetObject",
	    .resource = s->resource ? s->resource : "arn:aws:s3:::b/o",
	    .values = values,
	    .now_ms = 1700000000000};

	for (size_t i = 0; i + 1 < ARRAY_SIZE(s->values) && s->values[i]; i += 2)
		values[r.value_count++] = (struct policy_value){s->values[i], s->values[i + 1]};
	return policy_evaluate(p, &r);
}

static void test_decisions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct err e = ERR_INIT;
		struct policy *p = policy_parse(str_from(samples[i].document), true, &e);
		enum policy_decision is = p ? decide(&samples[i], p) : POLICY_SILENT;

		if (!p || is != samples[i].want)
			fail_msg("%zu: %s: %d instead of %d, %s", i, samples[i].document, is,
			    samples[i].want, e.msg);
		policy_free(p);
	}
	assert_int_equal(decide(&samples[0], NULL), POLICY_SILENT);
}

static void test_identity(void **state)
{
	const char *text =
	    DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::b/*\"}");
	struct err e = ERR_INIT;
	struct policy *p = policy_parse(str_from(text), false, &e);

	(void)state;
	assert_non_null(p);
	assert_int_equal(decide(&samples[0], p), POLICY_ALLOW);
	assert_false(policy_is_public(p));
	policy_free(p);
}

static const struct {
	const char *document, *why;
} refused[] = {
    {"", "Syntax errors in policy."},
    {"[]", "Syntax errors in policy."},
    {DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}"),
	"Missing required field Principal"},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":\"joe\",\"Action\":\"s3:*\"}"),
	"Invalid principal in policy."},
    {ONE("StringEqual", "k", "\"v\""), "Invalid Condition type : StringEqual"},
    {ONE("NullIfExists", "k", "\"true\""), "Invalid Condition type : NullIfExists"},
    {ONE("ForSomeValues:StringEquals", "k", "\"v\""),
	"Invalid Condition type : ForSomeValues:StringEquals"},
    {ONE("StringEquals", "k", "{}"), "Syntax errors in policy."},
    {ONE("StringEquals", "k", "[[]]"), "Syntax errors in policy."},
    {IF("\"StringEquals\":{\"k\":\"a\",\"k\":\"b\"}"), "Syntax errors in policy."},
};

static void test_refused(void **state)
{
	_cleanup_free_ char *long_text = NULL;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_null(policy_parse(str_from(refused[i].document), true, &e));
		assert_string_equal(e.msg, refused[i].why);
	}
	long_text = xasprintf(DOC("%*s" ALLOW_ALL), POLICY_DOCUMENT_MAX, "");
	assert_null(policy_parse(str_from(long_text), true, &e));
	assert_non_null(strstr(e.msg, "the limit is 20480"));
}

static const struct {
	const char *document;
	bool everybody;
} open_ones[] = {
    {DOC(ALLOW_ALL), true},
    {DOC("{\"Effect\":\"Deny\"," ALL "}"), false},
    {DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111111111111\"},\"Action\":\"s3:*\"}"),
	false},
    {DOC("{\"Effect\":\"Allow\",\"NotPrincipal\":{\"AWS\":\"111111111111\"},\"Action\":\"s3:*\"}"),
	true},
    {ONE("StringEquals", "aws:SourceAccount", "\"1\""), false},
    {ONE("StringEqualsIfExists", "aws:SourceAccount", "\"1\""), true},
    {ONE("ForAllValues:StringEquals", "aws:SourceAccount", "\"1\""), true},
    {ONE("StringNotEquals", "aws:SourceAccount", "\"1\""), true},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:s3:::b\""), false},
    {ONE("ArnLike", "aws:SourceArn", "\"arn:aws:s3:::*\""), true},
    {ONE("IpAddress", "aws:SourceIp", "\"10.0.0.0/8\""), false},
    {ONE("IpAddress", "aws:SourceIp", "[\"10.0.0.0/8\",\"0.0.0.0/1\"]"), true},
    {ONE("StringEquals", "s3:prefix", "\"public/\""), true},
};

static void test_public(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(open_ones); i++) {
		struct err e = ERR_INIT;
		struct policy *p = policy_parse(str_from(open_ones[i].document), true, &e);

		assert_non_null(p);
		if (policy_is_public(p) != open_ones[i].everybody)
			fail_msg("%s", open_ones[i].document);
		policy_free(p);
	}
	assert_false(policy_is_public(NULL));
}

static void test_patterns(void **state)
{
	(void)state;
	assert_true(policy_matches(STR("*"), STR(""), false));
	assert_true(policy_matches(STR("a*b*c"), STR("aXbXbc"), false));
	assert_false(policy_matches(STR("a*b*c"), STR("aXbXb"), false));
	assert_false(policy_matches(STR("?"), STR(""), false));
	assert_true(policy_matches(STR("A?c"), STR("abC"), true));
	assert_true(policy_matches(STR("a\x01*"), STR("a\x01z"), false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_decisions),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_public),
	    cmocka_unit_test(test_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
