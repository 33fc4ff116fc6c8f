/*
 * Are policy documents well formed? The texts are AWS's own, terse as they are: tools look for
 * them. Pure functions; any thread. Used by policy.c and, for what it only stores, by whoever takes
 * documents from clients.
 */
#include <ctype.h>

#include "auth/policy_int.h"

#define malformed(e, ...) err_set((e), EINVAL, __VA_ARGS__)

struct checking {
	enum policy_kind kind;
	const json_t *statements; /* an object, or an array of objects */
	struct err *e;
};

static int syntax(const struct checking *k)
{
	return malformed(k->e, "Syntax errors in policy.");
}

/* Each string of "x" or ["x", "y"]. */
static int each_string(const struct checking *k, const json_t *v,
    int (*fn)(const struct checking *k, const char *name, const char *s), const char *name)
{
	if (json_is_string(v))
		return fn(k, name, json_string_value(v));
	if (!json_is_array(v))
		return syntax(k);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));
		int r = s ? fn(k, name, s) : syntax(k);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_action(const struct checking *k, _unused_ const char *name, const char *s)
{
	size_t vendor =
	    strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

	if (k->kind == POLICY_TRUST) {
		if (strncasecmp(s, "sts:", 4) != 0)
			return malformed(
			    k->e, "AssumeRole policy may only specify STS AssumeRole actions.");
		return 0;
	}
	if (strcmp(s, "*") == 0)
		return 0;
	if (!strchr(s, ':'))
		return malformed(k->e,
		    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
	if (vendor == 0 || s[vendor] != ':')
		return malformed(k->e, "Vendor %.*s is not valid", (int)strcspn(s, ":"), s);
	return 0;
}

static int check_resource(const struct checking *k, _unused_ const char *name, const char *s)
{
	if (strcmp(s, "*") == 0 || strncmp(s, "arn:", 4) == 0)
		return 0;
	return malformed(k->e, "Resource %.180s must be in ARN format or \"*\".", s);
}

static bool is_account(const char *s)
{
	return strspn(s, "0123456789") == 12 && s[12] == '\0';
}

static int check_principal(const struct checking *k, const char *name, const char *s)
{
	bool good = *s != '\0';

	if (strcmp(name, "AWS") == 0)
		good = strcmp(s, "*") == 0 || is_account(s) ||
		       strncmp(s, "arn:aws:iam::", 13) == 0 || strncmp(s, "arn:aws:sts::", 13) == 0;
	else if (strcmp(name, "Service") == 0)
		good = strstr(s, ".amazonaws.com") != NULL || strstr(s, ".aws.internal") != NULL ||
		       str_has_suffix(str_from(s), ".amazon.com");
	if (good)
		return 0;
	return malformed(k->e, "Invalid principal in policy: \"%s\":\"%.180s\"",
	    strcmp(name, "Service") == 0 ? "SERVICE" : name, s);
}

static int check_principals(const struct checking *k, json_t *v)
{
	static const char *const kinds[] = {"AWS", "Service", "Federated", "CanonicalUser"};
	const char *name;
	json_t *one;

	if (json_is_string(v) && strcmp(json_string_value(v), "*") == 0)
		return 0;
	if (!json_is_object(v) || json_object_size(v) == 0)
		return malformed(k->e, "Invalid principal in policy.");
	json_object_foreach(v, name, one)
	{
		bool known = false;
		int r;

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			known = known || strcmp(name, kinds[i]) == 0;
		r = known ? each_string(k, one, check_principal, name)
			  : malformed(k->e, "Invalid principal in policy.");
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_values(const struct checking *k, const json_t *v)
{
	if (json_is_object(v) || json_is_null(v))
		return syntax(k);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);

		if (json_is_object(one) || json_is_array(one) || json_is_null(one))
			return syntax(k);
	}
	return 0;
}

/* {"StringEquals": {"aws:x": "v" or ["v"]}} */
static int check_condition(const struct checking *k, json_t *v)
{
	const char *operator, * key;
	json_t *keys, *values;

	if (!json_is_object(v))
		return syntax(k);
	json_object_foreach(v, operator, keys)
	{
		struct policy_operator found;

		/* One that nobody knows would never hold: an Allow too few, but a Deny too. */
		if (!policy_operator_find(operator, & found))
			return malformed(k->e, "Invalid Condition type : %.100s", operator);
		if (!json_is_object(keys))
			return syntax(k);
		json_object_foreach(keys, key, values)
		{
			if (check_values(k, values) < 0)
				return -EINVAL;
		}
	}
	return 0;
}

static size_t count_sid(const struct checking *k, const char *sid)
{
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(k->statements); i++) {
		const json_t *one = json_object_get(json_array_get(k->statements, i), "Sid");

		count += json_is_string(one) && strcmp(json_string_value(one), sid) == 0;
	}
	return count;
}

static int check_sid(const struct checking *k, const json_t *v)
{
	const char *sid = json_string_value(v);

	if (!v)
		return 0;
	if (!sid)
		return syntax(k);
	for (const char *p = sid; *p && k->kind != POLICY_RESOURCE; p++)
		if (!isalnum((unsigned char)*p))
			return malformed(k->e,
			    "Statement IDs (SID) must be alpha-numeric. Check that your input "
			    "satisfies the regular expression [0-9A-Za-z]*");
	if (*sid && count_sid(k, sid) > 1)
		return malformed(k->e, "Statement IDs (SID) in a single policy must be unique.");
	return 0;
}

static int check_effect(const struct checking *k, const json_t *v)
{
	const char *effect = json_string_value(v);

	if (!v && k->kind == POLICY_TRUST)
		return malformed(k->e, "Missing required field Effect");
	if (!effect || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
		return syntax(k);
	return 0;
}

static int check_actions(const struct checking *k, const json_t *s)
{
	const json_t *yes = json_object_get(s, "Action"), *no = json_object_get(s, "NotAction");

	if (yes && no)
		return syntax(k);
	if (!yes && !no)
		return k->kind == POLICY_TRUST
			   ? malformed(k->e, "Missing required field Action")
			   : malformed(k->e, "Policy statement must contain actions.");
	return each_string(k, yes ? yes : no, check_action, NULL);
}

static int check_resources(const struct checking *k, const json_t *s)
{
	const json_t *yes = json_object_get(s, "Resource"), *no = json_object_get(s, "NotResource");

	if (yes && no)
		return syntax(k);
	/* That of a resource is about the resource when it names none. */
	if (!yes && !no && k->kind == POLICY_RESOURCE)
		return 0;
	if ((!yes && !no) || (json_is_array(yes) && json_array_size(yes) == 0))
		return malformed(k->e, "Policy statement must contain resources.");
	return each_string(k, yes ? yes : no, check_resource, NULL);
}

static int check_trustees(const struct checking *k, const json_t *s)
{
	json_t *yes = json_object_get(s, "Principal"), *no = json_object_get(s, "NotPrincipal");

	if (!yes == !no)
		return malformed(k->e, "Missing required field Principal");
	return check_principals(k, yes ? yes : no);
}

/* Who may be named, and what, differs by kind. */
static int check_subject(const struct checking *k, const json_t *s)
{
	int r;

	switch (k->kind) {
	case POLICY_TRUST:
		if (json_object_get(s, "Resource"))
			return malformed(k->e, "Has prohibited field Resource");
		if (json_object_get(s, "NotResource"))
			return malformed(k->e, "Has prohibited field NotResource");
		return check_trustees(k, s);
	case POLICY_RESOURCE: r = check_trustees(k, s); return r < 0 ? r : check_resources(k, s);
	default:
		if (json_object_get(s, "Principal") || json_object_get(s, "NotPrincipal"))
			return malformed(k->e, "Policy document should not specify a principal.");
		return check_resources(k, s);
	}
}

static int check_members(const struct checking *k, json_t *o, const char *const *known)
{
	const char *name;
	json_t *value;

	json_object_foreach(o, name, value)
	{
		size_t i = 0;

		while (known[i] && strcmp(known[i], name) != 0)
			i++;
		if (!known[i])
			return k->kind == POLICY_TRUST
				   ? malformed(k->e, "Unknown field %.100s", name)
				   : syntax(k);
	}
	return 0;
}

static int check_statement(const struct checking *k, json_t *s)
{
	static const char *const known[] = {"Sid", "Effect", "Action", "NotAction", "Resource",
	    "NotResource", "Principal", "NotPrincipal", "Condition", NULL};
	json_t *condition = json_object_get(s, "Condition");
	int r;

	if (!json_is_object(s))
		return syntax(k);
	r = check_members(k, s, known);
	if (r == 0)
		r = check_sid(k, json_object_get(s, "Sid"));
	if (r == 0)
		r = check_effect(k, json_object_get(s, "Effect"));
	if (r == 0)
		r = check_actions(k, s);
	if (r == 0)
		r = check_subject(k, s);
	if (r == 0 && condition)
		r = check_condition(k, condition);
	return r;
}

static int check_version(const struct checking *k, const json_t *v)
{
	const char *version = json_string_value(v);

	if (v && (!version ||
		     (strcmp(version, "2012-10-17") != 0 && strcmp(version, "2008-10-17") != 0)))
		return syntax(k);
	/* The older version, which is also what a document without one means, is refused where
	 * statements are about resources. */
	if (k->kind == POLICY_IDENTITY && (!v || strcmp(version, "2012-10-17") != 0))
		return malformed(k->e, "Policy document must be version 2012-10-17 or greater.");
	return 0;
}

static int check_root(struct checking *k, json_t *root)
{
	static const char *const known[] = {"Version", "Id", "Statement", NULL};
	json_t *statement = json_object_get(root, "Statement");
	int r = check_members(k, root, known);

	if (r == 0)
		r = check_version(k, json_object_get(root, "Version"));
	if (r < 0)
		return r;
	k->statements = statement;
	if (json_is_object(statement))
		return check_statement(k, statement);
	if (json_array_size(statement) == 0)
		return syntax(k);
	for (size_t i = 0; i < json_array_size(statement) && r == 0; i++)
		r = check_statement(k, json_array_get(statement, i));
	return r;
}

json_t *policy_load(struct str text, enum policy_kind kind, struct err *e)
{
	struct checking k = {.kind = kind, .e = e};
	/* Of two members with one name the first would be lost, and it may be the one that denies.
	 */
	json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (json_is_object(root))
		r = check_root(&k, root);
	else
		r = kind == POLICY_TRUST ? malformed(e, "This policy contains invalid Json")
					 : syntax(&k);
	if (r == 0)
		return root;
	json_decref(root);
	return NULL;
}

int policy_check(struct str json, enum policy_kind kind, struct err *e)
{
	json_t *root = policy_load(json, kind, e);

	json_decref(root);
	return root ? 0 : -EINVAL;
}
