/* Bucket policies: put, shown, and asked about every request. */
#include "service/s3/config_int.h"

#include <stdio.h>

#include "auth/policy.h"
#include "base/time.h"

#define VALUES_MAX 12

/* ---- deciding ---- */

struct context {
	struct policy_value values[VALUES_MAX];
	size_t count;
	char address[64];
	char epoch[32];
};

static void add(struct context *x, const char *key, const char *value)
{
	if (value && x->count < VALUES_MAX)
		x->values[x->count++] = (struct policy_value){key, value};
}

/* What conditions may look at. */
static void fill(struct call *c, struct context *x)
{
	struct str agent = http_header(c->http, "user-agent");
	struct str referer = http_header(c->http, "referer");
	uint16_t port;

	http_peer(c->http, x->address, &port);
	if (x->address[0])
		add(x, "aws:SourceIp", x->address);
	add(x, "aws:SecureTransport", "false");
	if (agent.ptr)
		add(x, "aws:UserAgent", call_strn(c, agent));
	if (referer.ptr)
		add(x, "aws:Referer", call_strn(c, referer));
	add(x, "s3:prefix", request_field(c, "prefix"));
	add(x, "s3:delimiter", request_field(c, "delimiter"));
	add(x, "s3:x-amz-acl", request_field(c, "x-amz-acl"));
	add(x, "s3:x-amz-storage-class", request_field(c, "x-amz-storage-class"));
	add(x, "s3:VersionId", request_field(c, "versionId"));
}

static enum policy_decision judge(
    struct call *c, const struct bucket *b, const char *action, const char *key)
{
	const struct policy *p = b->configs[CONFIG_POLICY].parsed;
	struct context x = {.count = 0};
	struct policy_request r = {
	    .principal = c->principal.type == AWS_ANONYMOUS ? NULL : &c->principal,
	    .action = action,
	    .resource = s3_arn(c, b, key),
	    .values = x.values,
	    .now_ms = s3_now_ms(b->s3)};

	if (!p)
		return POLICY_SILENT;
	fill(c, &x);
	r.value_count = x.count;
	return policy_evaluate(p, &r);
}

static bool is_set(const bool *flag)
{
	return flag && *flag;
}

/* The account itself can always mend its policy, whatever that says. */
static bool is_rescue(const struct call *c, const struct bucket *b, const char *action)
{
	return c->principal.type == AWS_ROOT && !strcmp(c->account, b->account) &&
	       (!strcmp(action, "s3:PutBucketPolicy") || !strcmp(action, "s3:GetBucketPolicy") ||
		   !strcmp(action, "s3:DeleteBucketPolicy"));
}

int s3_allowed(struct call *c, struct bucket *b, const char *action, const char *key, struct err *e)
{
	enum policy_decision d = judge(c, b, action, key);
	bool own = c->principal.type != AWS_ANONYMOUS && !strcmp(c->account, b->account);

	if (is_rescue(c, b, action))
		return 0;
	if (d == POLICY_ALLOW && !own && is_set(config_public_access(b)->restrict_public_buckets) &&
	    policy_is_public(b->configs[CONFIG_POLICY].parsed))
		d = POLICY_SILENT;
	if (d == POLICY_ALLOW || (d == POLICY_SILENT && own))
		return 0;
	return fail(e, S3_ACCESS_DENIED, "Access Denied");
}

/* ---- the operations ---- */

static int malformed(const struct err *why, struct err *e)
{
	return fail(e, S3_MALFORMED_POLICY, "%.200s", why->msg);
}

int s3_put_bucket_policy(struct call *c, const struct s3_put_bucket_policy_in *in,
    struct s3_put_bucket_policy_out *out _unused_, struct err *e)
{
	struct err why = ERR_INIT;
	struct policy *p;
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutBucketPolicy", NULL, &b, e);

	if (r < 0)
		return r;
	p = policy_parse(str_from(in->policy), true, &why);
	if (!p)
		return malformed(&why, e);
	if (policy_is_public(p) && is_set(config_public_access(b)->block_public_policy)) {
		policy_free(p);
		return fail(e, S3_ACCESS_DENIED,
		    "User is not authorized to perform: s3:PutBucketPolicy because public "
		    "policies are prevented by the BlockPublicPolicy setting in S3 Block Public "
		    "Access: change it with PutPublicAccessBlock first.");
	}
	return bucket_configure(c, b, CONFIG_POLICY, xstrdup(in->policy), p);
}

int s3_get_bucket_policy(struct call *c, const struct s3_get_bucket_policy_in *in,
    struct s3_get_bucket_policy_out *out, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:GetBucketPolicy", NULL, &b, e);

	if (r < 0)
		return r;
	if (!b->configs[CONFIG_POLICY].text) {
		call_error_member(c, "BucketName", b->name);
		return fail(e, S3_NO_SUCH_BUCKET_POLICY, "The bucket policy does not exist");
	}
	out->policy = call_str(c, b->configs[CONFIG_POLICY].text);
	call_reply_text(c, 200, "application/json", str_from(out->policy));
	return 0;
}

int s3_delete_bucket_policy(struct call *c, const struct s3_delete_bucket_policy_in *in,
    struct s3_delete_bucket_policy_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:DeleteBucketPolicy", NULL, &b, e);

	return r < 0 ? r : config_delete(c, b, CONFIG_POLICY);
}

int s3_get_bucket_policy_status(struct call *c, const struct s3_get_bucket_policy_status_in *in,
    struct s3_get_bucket_policy_status_out *out, struct err *e)
{
	struct s3_policy_status *status = call_new(c, struct s3_policy_status);
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketPolicyStatus", NULL, &b, e);

	if (r < 0)
		return r;
	if (!b->configs[CONFIG_POLICY].parsed)
		return fail(e, S3_NO_SUCH_BUCKET_POLICY, "The bucket policy does not exist");
	status->is_public =
	    call_bool(c, policy_is_public(b->configs[CONFIG_POLICY].parsed) &&
			     !is_set(config_public_access(b)->restrict_public_buckets));
	out->policy_status = status;
	return 0;
}
