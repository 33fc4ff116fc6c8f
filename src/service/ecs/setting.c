/*
 * Account settings: of a principal, or the account's default, or AWS's. What they switch is mostly
 * not here (ARNs are long, there are no trunks), but values are kept and shown, and those that a
 * self-hosted machine can honour are asked for with ecs_setting(). Loop thread.
 */
#include "service/ecs/ecs_int.h"

struct known {
	const char *name, *fallback;
	const char *values[4]; /* none: days, 0, 7 or 14 */
	bool managed;          /* by AWS, not by the user */
};

static const struct known all_known[] = {
    {"awsvpcTrunking", "disabled", {"enabled", "disabled"}, false},
    {"containerInsights", "disabled", {"enabled", "disabled", "enhanced"}, false},
    {"containerInstanceLongArnFormat", "enabled", {"enabled", "disabled"}, false},
    {"defaultLogDriverMode", "non-blocking", {"blocking", "non-blocking"}, false},
    {"fargateEventWindows", "disabled", {"enabled", "disabled"}, false},
    {"fargateFIPSMode", "disabled", {"enabled", "disabled"}, false},
    {"fargateTaskRetirementWaitPeriod", "7", {"0", "7", "14"}, false},
    {"guardDutyActivate", "off", {"on", "off"}, true},
    {"serviceLongArnFormat", "enabled", {"enabled", "disabled"}, false},
    {"tagResourceAuthorization", "off", {"on", "off"}, false},
    {"taskLongArnFormat", "enabled", {"enabled", "disabled"}, false},
};

static const struct known *known_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(all_known); i++)
		if (!strcmp(all_known[i].name, name))
			return &all_known[i];
	return NULL; /* the model has the same names */
}

/* Whose setting: ours, or that of the principal that was named. */
static int principal_of(struct call *c, const char *given, const char **ret, struct err *e)
{
	const char *arn = given ? given : c->principal.arn;
	const char *want = call_printf(c, "arn:aws:iam::%s:", c->account);

	*ret = arn;
	if (given && !str_has_prefix(str_from(given), want))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Principal is not valid: it must be the ARN of a user, a role or the root user "
		    "of account %s.",
		    c->account);
	return 0;
}

static const char *stored(struct call *c, const char *principal, const char *name)
{
	const char *key = ecs_key(c, "%s/%s", principal, name);

	return docs_str(docs_get(ecs_of(c)->settings, key), "value");
}

static const char *effective(struct call *c, const char *principal, const char *name)
{
	const char *value = stored(c, principal, name);

	if (!value)
		value = stored(c, "", name);
	return value ? value : known_of(name)->fallback;
}

const char *ecs_setting(struct call *c, const char *name)
{
	return effective(c, c->principal.arn, name);
}

static json_t *show(const struct known *k, const char *value, const char *principal)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "name", k->name, "value", value, "principalArn",
	    principal, "type", k->managed ? "aws_managed" : "user");
}

static int put(
    struct call *c, const char *principal, const char *name, const char *value, struct err *e)
{
	const struct known *k = known_of(name);
	const char *shown =
	    *principal ? principal : call_printf(c, "arn:aws:iam::%s:root", c->account);
	bool good = false;
	struct docs_change *g;

	for (size_t i = 0; i < ARRAY_SIZE(k->values) && k->values[i]; i++)
		good = good || !strcmp(k->values[i], value);
	if (!good || k->managed)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    k->managed ? "%s is managed by AWS and can not be changed: %.60s"
			       : "Setting %s can not have the value %.60s.",
		    name, value);
	g = docs_change_new(ecs_of(c)->store);
	docs_put(g, ecs_of(c)->settings, ecs_key(c, "%s/%s", principal, name),
	    json_pack("{s:s, s:s}", "name", name, "value", value));
	return ecs_answer_change(c, json_pack("{s:o}", "setting", show(k, value, shown)), g, e);
}

int ecs_put_account_setting(struct call *c, const struct ecs_put_account_setting_in *in,
    _unused_ struct ecs_put_account_setting_out *out, struct err *e)
{
	const char *principal;
	int r = principal_of(c, in->principal_arn, &principal, e);

	return r < 0 ? r : put(c, principal, in->name, in->value, e);
}

int ecs_put_account_setting_default(struct call *c,
    const struct ecs_put_account_setting_default_in *in,
    _unused_ struct ecs_put_account_setting_default_out *out, struct err *e)
{
	return put(c, "", in->name, in->value, e);
}

int ecs_delete_account_setting(struct call *c, const struct ecs_delete_account_setting_in *in,
    _unused_ struct ecs_delete_account_setting_out *out, struct err *e)
{
	const struct known *k = known_of(in->name);
	struct docs_change *g;
	const char *principal, *value;
	int r = principal_of(c, in->principal_arn, &principal, e);

	if (r < 0)
		return r;
	value = stored(c, "", in->name);
	g = docs_change_new(ecs_of(c)->store);
	docs_delete(g, ecs_of(c)->settings, ecs_key(c, "%s/%s", principal, in->name));
	return ecs_answer_change(c,
	    json_pack("{s:o}", "setting", show(k, value ? value : k->fallback, principal)), g, e);
}

int ecs_list_account_settings(struct call *c, const struct ecs_list_account_settings_in *in,
    struct ecs_list_account_settings_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_object();
	bool all = in->effective_settings && *in->effective_settings;
	json_t *names = json_array(), *list, *name;
	const char *principal;
	size_t i;
	int r = principal_of(c, in->principal_arn, &principal, e);

	for (i = 0; r == 0 && i < ARRAY_SIZE(all_known); i++) {
		const struct known *k = &all_known[i];
		const char *value =
		    all ? effective(c, principal, k->name) : stored(c, principal, k->name);

		if (value && (!in->name || !strcmp(in->name, k->name)) &&
		    (!in->value || !strcmp(in->value, value)))
			json_array_append_new(names, json_string(k->name));
	}
	if (r < 0) {
		json_decref(names);
		return r;
	}
	r = ecs_page(c, names, false, in->max_results, in->next_token, "names", answer, e);
	if (r < 0)
		return r;
	list = ecs_json_list(answer, "settings");
	json_array_foreach(json_object_get(answer, "names"), i, name)
	{
		const struct known *k = known_of(json_string_value(name));

		json_array_append_new(list, show(k, effective(c, principal, k->name), principal));
	}
	(void)out;
	return ecs_answer(c, json_incref(answer), e);
}
