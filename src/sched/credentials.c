/* Keys of the task's role at /v2/credentials/<id>, in the form that AWS's SDKs read. */
#include "base/time.h"
#include "sched/task_int.h"

static bool ours(const struct task *t, struct str id)
{
	return id.len == strlen(t->credentials) && str_is(id, t->credentials) && spec_task_role(t);
}

bool credentials_serve(struct task *t, struct str path, struct http_request *r)
{
	static const char prefix[] = "/v2/credentials";
	const struct tasks_options *o = &t->all->o;
	struct str id = str_sub(path, sizeof(prefix) - 1);
	struct task_keys keys = {.expires_ms = 0};
	char expires[TIME_ISO_SIZE];

	if (!str_has_prefix(path, prefix))
		return false;
	if (id.len < 2) {
		metadata_error(
		    r, 400, "NoIdInRequest", "CredentialsV2Request: No ID in the request");
	} else if (!ours(t, str_sub(id, 1))) {
		metadata_error(
		    r, 400, "InvalidIdInRequest", "CredentialsV2Request: Credentials not found");
	} else if (!o->keys || o->keys(o->ctx, spec_task_role(t), t->id, &keys) < 0) {
		metadata_error(r, 500, "CredentialsUninitialized",
		    "CredentialsV2Request: Credentials uninitialized for ID");
	} else {
		time_format_iso(keys.expires_ms, expires);
		metadata_reply(r, 200,
		    json_pack("{s:s, s:s, s:s, s:s, s:s}", "RoleArn", spec_task_role(t),
			"AccessKeyId", keys.access_key_id, "SecretAccessKey",
			keys.secret_access_key, "Token", keys.session_token, "Expiration",
			expires));
	}
	explicit_bzero(&keys, sizeof(keys));
	return true;
}
