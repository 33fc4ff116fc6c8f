/*
 * Text of a client → the check of policy documents of every kind and their evaluation. Properties:
 * it ends, whatever the text; a refusal says why; the same text gets the same answer; what is
 * refused is not evaluated; nothing counts as larger than it is.
 */
#include "fuzz.h"

#include "service/iam/document.h"

static bool good(struct str text, enum policy_kind kind)
{
	struct err first = ERR_INIT, second = ERR_INIT;
	int r = policy_check(text, kind, &first);

	check(r == 0 || *first.msg);
	check(policy_check(text, kind, &second) == r);
	check(strcmp(first.msg, second.msg) == 0);
	return r == 0;
}

static void evaluate(struct str text, bool resource)
{
	static const struct policy_value values[] = {{"aws:SourceArn", "arn:aws:s3:::b"},
	    {"aws:SourceIp", "10.0.0.1"}, {"k", "*"}, {"k", "2024-01-01"}};
	const struct aws_principal joe = {.type = AWS_USER,
	    .account = "111111111111",
	    .user_id = "AIDAJOE",
	    .arn = "arn:aws:iam::111111111111:user/joe"};
	const struct policy_request r = {.principal = &joe,
	    .action = "s3:GetObject",
	    .resource = "arn:aws:s3:::b/k",
	    .values = values,
	    .value_count = ARRAY_SIZE(values)};
	struct err e = ERR_INIT;
	struct policy *p = policy_parse(text, resource, &e);

	check(!p || good(text, resource ? POLICY_RESOURCE : POLICY_IDENTITY));
	check(p || *e.msg);
	check(policy_evaluate(p, &r) == policy_evaluate(p, &r));
	(void)policy_is_public(p);
	policy_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct str s = {(const char *)data, size};

	good(s, POLICY_TRUST);
	evaluate(s, true);
	evaluate(s, false);
	check(document_size(text) <= size);
	return 0;
}
