/* The operations of STS. Trust policies are not evaluated: a role that exists may be assumed by
 * every principal of its account. */
#include "service/sts/sts.h"

#include <ctype.h>
#include <jansson.h>

#include "aws/aws.h"
#include "base/time.h"
#include "gen/sts.h"

#define HOUR_S 3600
#define POLICY_MAX 2048

struct sts {
	struct auth *auth;
	sts_find_role_fn *find_role;
	void *find_role_ctx;
};

struct sts *sts_open(struct auth *a, sts_find_role_fn *find_role, void *ctx)
{
	struct sts *s = xcalloc(1, sizeof(*s));

	*s = (struct sts){a, find_role, ctx};
	return s;
}

void sts_close(struct sts *s)
{
	free(s);
}

/* Unsigned requests, which only dev mode lets in, act as the account. */
static const char *caller_arn(struct call *c)
{
	return *c->principal.arn ? c->principal.arn
				 : call_printf(c, "arn:aws:iam::%s:root", c->account);
}

static bool is_temporary(const struct aws_principal *p)
{
	return strncmp(p->access_key_id, "ASIA", 4) == 0;
}

int sts_get_caller_identity(struct call *c, _unused_ const struct sts_get_caller_identity_in *in,
    struct sts_get_caller_identity_out *out, _unused_ struct err *e)
{
	out->account = c->account;
	out->arn = caller_arn(c);
	out->user_id = *c->principal.user_id ? c->principal.user_id : c->account;
	return 0;
}

/* ---- temporary keys ---- */

static const struct sts_credentials *make_keys(
    struct call *c, const struct aws_principal *p, int64_t lifetime_s)
{
	struct sts_credentials *shown = call_new(c, struct sts_credentials);
	const struct sts *s = c->ctx;
	struct auth_keys keys;

	auth_temporary_new(s->auth, p, lifetime_s, time_wall_ms(), &keys);
	*shown = (struct sts_credentials){
	    .access_key_id = call_str(c, keys.access_key_id),
	    .expiration = call_int(c, keys.expires_ms),
	    .secret_access_key = call_str(c, keys.secret),
	    .session_token = call_str(c, keys.token),
	};
	return shown;
}

static int check_lifetime(
    const struct call *c, const struct sts_role *role, int64_t lifetime_s, struct err *e)
{
	if (c->principal.type == AWS_ASSUMED_ROLE && lifetime_s > HOUR_S)
		return fail(e, AWS_VALIDATION,
		    "The requested DurationSeconds exceeds the 1 hour session limit for roles "
		    "assumed by role chaining");
	if (lifetime_s > role->max_session_s)
		return fail(e, AWS_VALIDATION,
		    "The requested DurationSeconds exceeds the MaxSessionDuration set for this "
		    "role.");
	return 0;
}

/* How full the session's policy is, in per cent, as AWS reports it. */
static int check_policy(
    struct call *c, const char *policy, const int64_t **ret_percent, struct err *e)
{
	json_t *doc = policy ? json_loads(policy, 0, NULL) : NULL;
	bool good = json_is_object(json_object_get(doc, "Statement")) ||
		    json_is_array(json_object_get(doc, "Statement"));
	int64_t size = 0;

	json_decref(doc);
	if (!policy)
		return 0;
	if (!good)
		return fail(e, STS_MALFORMED_POLICY_DOCUMENT_EXCEPTION, "Syntax errors in policy.");
	for (; *policy; policy++)
		size += !isspace((unsigned char)*policy);
	if (size > POLICY_MAX)
		return fail(e, STS_PACKED_POLICY_TOO_LARGE_EXCEPTION,
		    "Packed policy consumes %" PRId64 "%% of allotted space, please use smaller "
		    "policy.",
		    size * 100 / POLICY_MAX);
	*ret_percent = call_int(c, (size * 100 + POLICY_MAX - 1) / POLICY_MAX);
	return 0;
}

static int check_mfa(const char *serial_number, const char *token_code, struct err *e)
{
	if (!serial_number && !token_code)
		return 0;
	return fail(e, AWS_ACCESS_DENIED,
	    "MultiFactorAuthentication failed: no MFA devices are known here, leave out "
	    "SerialNumber and TokenCode.");
}

static int find_role(struct call *c, const char *arn, struct sts_role *ret, struct err *e)
{
	const struct sts *s = c->ctx;

	/* As for AWS, a role that does not exist and one that is out of reach look alike. */
	if (s->find_role(s->find_role_ctx, c->account, arn, ret) < 0)
		return call_fail(c, e, AWS_ACCESS_DENIED,
		    "User: %s is not authorized to perform: sts:AssumeRole on resource: %s",
		    caller_arn(c), arn);
	return 0;
}

int sts_assume_role(struct call *c, const struct sts_assume_role_in *in,
    struct sts_assume_role_out *out, struct err *e)
{
	int64_t lifetime_s = in->duration_seconds ? *in->duration_seconds : HOUR_S;
	struct sts_assumed_role_user *user = call_new(c, struct sts_assumed_role_user);
	struct aws_principal p = {.type = AWS_ASSUMED_ROLE};
	struct sts_role role;
	int r = find_role(c, in->role_arn, &role, e);

	if (r == 0)
		r = check_lifetime(c, &role, lifetime_s, e);
	if (r == 0)
		r = check_mfa(in->serial_number, in->token_code, e);
	if (r == 0)
		r = check_policy(c, in->policy, &out->packed_policy_size, e);
	if (r < 0)
		return r;
	snprintf(p.account, sizeof(p.account), "%s", c->account);
	snprintf(p.user_id, sizeof(p.user_id), "%s:%s", role.id, in->role_session_name);
	snprintf(p.arn, sizeof(p.arn), "arn:aws:sts::%s:assumed-role/%s/%s", c->account, role.name,
	    in->role_session_name);
	user->arn = call_str(c, p.arn);
	user->assumed_role_id = call_str(c, p.user_id);
	out->assumed_role_user = user;
	out->credentials = make_keys(c, &p, lifetime_s);
	out->source_identity = in->source_identity;
	return 0;
}

int sts_get_session_token(struct call *c, const struct sts_get_session_token_in *in,
    struct sts_get_session_token_out *out, struct err *e)
{
	bool root = c->principal.type == AWS_ROOT || c->principal.type == AWS_ANONYMOUS;
	int64_t lifetime_s = in->duration_seconds ? *in->duration_seconds : 12 * HOUR_S;
	struct aws_principal p = c->principal;
	int r = check_mfa(in->serial_number, in->token_code, e);

	if (r < 0)
		return r;
	if (c->principal.type == AWS_ASSUMED_ROLE || is_temporary(&c->principal))
		return fail(
		    e, AWS_ACCESS_DENIED, "Cannot call GetSessionToken with session credentials");
	if (root && lifetime_s > HOUR_S)
		lifetime_s = HOUR_S;
	if (p.type == AWS_ANONYMOUS) {
		p.type = AWS_ROOT;
		snprintf(p.account, sizeof(p.account), "%s", c->account);
		snprintf(p.user_id, sizeof(p.user_id), "%s", c->account);
		snprintf(p.arn, sizeof(p.arn), "%s", caller_arn(c));
	}
	out->credentials = make_keys(c, &p, lifetime_s);
	return 0;
}

/* Temporary keys are stored nowhere, so theirs is the one account there is. */
int sts_get_access_key_info(struct call *c, const struct sts_get_access_key_info_in *in,
    struct sts_get_access_key_info_out *out, struct err *e)
{
	const struct sts *s = c->ctx;
	struct aws_principal p;
	char secret[AWS_SECRET_SIZE];

	out->account = c->account;
	if (strncmp(in->access_key_id, "ASIA", 4) == 0)
		return 0;
	if (auth_find_key(
		s->auth, str_from(in->access_key_id), STR_NULL, time_wall_ms(), &p, secret) < 0)
		return fail(
		    e, AWS_VALIDATION, "The access key %s is not known.", in->access_key_id);
	explicit_bzero(secret, sizeof(secret));
	out->account = call_str(c, p.account);
	return 0;
}
