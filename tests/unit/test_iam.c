/* Policy documents: what is accepted, and AWS's words for what is not. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include "aws/aws.h"
#include "gen/iam.h"
#include "service/iam/document.h"

struct sample {
	enum policy_kind kind;
	const char *text;
	const char *error; /* NULL: accepted */
};

#define V "\"Version\":\"2012-10-17\""
#define ALLOW "\"Effect\":\"Allow\""
#define IDENTITY(statement) POLICY_IDENTITY, "{" V ",\"Statement\":{" statement "}}"
#define TRUST(statement) \
	POLICY_TRUST, "{" V ",\"Statement\":[{" statement ",\"Action\":\"sts:AssumeRole\"}]}"
#define SYNTAX "Syntax errors in policy."

static const struct sample samples[] = {
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\""), NULL},
    {IDENTITY("\"Sid\":\"A1\"," ALLOW ",\"Action\":[\"s3:Get*\",\"sqs:*\"],"
	      "\"Resource\":[\"arn:aws:s3:::b\",\"*\"]"),
	NULL},
    {IDENTITY(ALLOW ",\"NotAction\":\"iam:*\",\"NotResource\":\"arn:aws:s3:::b\""), NULL},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"Bool\":"
		    "{\"aws:SecureTransport\":true},\"StringLike\":{\"aws:x\":[\"a\",\"b\"]}}"),
	NULL},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":\"x\""), SYNTAX},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"Bool\":1}"), SYNTAX},
    {IDENTITY(ALLOW ",\"Resource\":\"*\""), "Policy statement must contain actions."},
    {IDENTITY(ALLOW ",\"Action\":\"*\""), "Policy statement must contain resources."},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":[]"),
	"Policy statement must contain resources."},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"NotAction\":\"*\",\"Resource\":\"*\""), SYNTAX},
    {IDENTITY(ALLOW ",\"Action\":\"GetObject\",\"Resource\":\"*\""),
	"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
    {IDENTITY(ALLOW ",\"Action\":\"s 3:Get\",\"Resource\":\"*\""), "Vendor s 3 is not valid"},
    {IDENTITY(ALLOW ",\"Action\":\":x\",\"Resource\":\"*\""), "Vendor  is not valid"},
    {IDENTITY(ALLOW ",\"Action\":[1],\"Resource\":\"*\""), SYNTAX},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"bucket\""),
	"Resource bucket must be in ARN format or \"*\"."},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\",\"Principal\":\"*\""),
	"Policy document should not specify a principal."},
    {IDENTITY("\"Effect\":\"allow\",\"Action\":\"*\",\"Resource\":\"*\""), SYNTAX},
    {IDENTITY("\"Action\":\"*\",\"Resource\":\"*\""), SYNTAX},
    {IDENTITY(ALLOW ",\"Action\":\"*\",\"Resource\":\"*\",\"Extra\":1"), SYNTAX},
    {IDENTITY("\"Sid\":\"a-b\"," ALLOW ",\"Action\":\"*\",\"Resource\":\"*\""),
	"Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular "
	"expression [0-9A-Za-z]*"},
    {POLICY_IDENTITY, "", SYNTAX},
    {POLICY_IDENTITY, "[]", SYNTAX},
    {POLICY_IDENTITY, "{" V "}", SYNTAX},
    {POLICY_IDENTITY, "{" V ",\"Statement\":[]}", SYNTAX},
    {POLICY_IDENTITY, "{" V ",\"Statement\":[1]}", SYNTAX},
    {POLICY_IDENTITY, "{" V ",\"Statement\":\"x\"}", SYNTAX},
    {POLICY_IDENTITY, "{\"Version\":\"2012-10-18\",\"Statement\":[]}", SYNTAX},
    {POLICY_IDENTITY, "{\"Version\":2012,\"Statement\":[]}", SYNTAX},
    {POLICY_IDENTITY, "{\"Version\":\"2008-10-17\",\"Statement\":[]}",
	"Policy document must be version 2012-10-17 or greater."},
    {POLICY_IDENTITY,
	"{" V ",\"Statement\":[{\"Sid\":\"a\"," ALLOW ",\"Action\":\"*\",\"Resource\":\"*\"},"
	"{\"Sid\":\"a\"," ALLOW ",\"Action\":\"*\",\"Resource\":\"*\"}]}",
	"Statement IDs (SID) in a single policy must be unique."},
    {TRUST(ALLOW ",\"Principal\":{\"Service\":\"lambda.amazonaws.com\"}"), NULL},
    {TRUST(ALLOW ",\"Principal\":{\"Service\":[\"lambda.amazonaws.com\",\"ecs.amazonaws.com\"],"
		 "\"AWS\":[\"123456789012\",\"*\",\"arn:aws:iam::123456789012:root\"]}"),
	NULL},
    {TRUST(ALLOW ",\"Principal\":\"*\""), NULL},
    {POLICY_TRUST,
	"{\"Version\":\"2008-10-17\",\"Statement\":[{" ALLOW
	",\"Principal\":\"*\",\"Action\":[\"sts:AssumeRole\",\"sts:TagSession\"]}]}",
	NULL},
    {TRUST(ALLOW), "Missing required field Principal"},
    {TRUST("\"Principal\":\"*\""), "Missing required field Effect"},
    {TRUST(ALLOW ",\"Principal\":\"*\",\"Resource\":\"*\""), "Has prohibited field Resource"},
    {TRUST(ALLOW ",\"Principal\":\"lambda\""), "Invalid principal in policy."},
    {TRUST(ALLOW ",\"Principal\":{}"), "Invalid principal in policy."},
    {TRUST(ALLOW ",\"Principal\":{\"Other\":\"x\"}"), "Invalid principal in policy."},
    {TRUST(ALLOW ",\"Principal\":{\"AWS\":\"12345678901\"}"),
	"Invalid principal in policy: \"AWS\":\"12345678901\""},
    {TRUST(ALLOW ",\"Principal\":{\"Service\":\"lambda\"}"),
	"Invalid principal in policy: \"SERVICE\":\"lambda\""},
    {POLICY_TRUST, "{" V ",\"Statement\":{" ALLOW ",\"Principal\":\"*\"}}",
	"Missing required field Action"},
    {POLICY_TRUST,
	"{" V ",\"Statement\":{" ALLOW ",\"Principal\":\"*\",\"Action\":\"s3:GetObject\"}}",
	"AssumeRole policy may only specify STS AssumeRole actions."},
    {POLICY_TRUST, "{", "This policy contains invalid Json"},
};

static void test_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];
		struct err e = ERR_INIT;
		int r = document_check(s->text, s->kind, &e);

		if (r < 0 && !s->error)
			print_error("%s is refused: %s\n", s->text, e.msg);
		assert_int_equal(r < 0, s->error != NULL);
		if (!s->error)
			continue;
		assert_string_equal(e.msg, s->error);
		assert_int_equal(e.code, IAM_MALFORMED_POLICY_DOCUMENT_EXCEPTION);
	}
}

/* A parser that recursed with the input would run out of stack. */
static void test_deep_document(void **state)
{
	char text[100001];
	struct err e = ERR_INIT;

	(void)state;
	memset(text, '[', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_true(document_check(text, POLICY_IDENTITY, &e) < 0);
}

static void test_size(void **state)
{
	(void)state;
	assert_int_equal(document_size(""), 0);
	assert_int_equal(document_size(" { \"a\" :\t1\r\n} "), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_documents),
	    cmocka_unit_test(test_deep_document),
	    cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
