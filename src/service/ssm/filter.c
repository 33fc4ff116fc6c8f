/* ParameterFilters: which parameters a list shows. Loop thread. */
#include "service/ssm/ssm_int.h"

static bool is_tag(const char *key)
{
	return strncmp(key, "tag:", 4) == 0;
}

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static int check_key(const char *key, bool by_path, struct err *e)
{
	static const char *const path_keys[] = {"Type", "KeyId", "Label", NULL};
	static const char *const all_keys[] = {
	    "Name", "Type", "KeyId", "Path", "Tier", "DataType", NULL};

	if (one_of(key, by_path ? path_keys : all_keys) || (!by_path && is_tag(key)))
		return 0;
	return fail(e, SSM_INVALID_FILTER_KEY,
	    "The following filter key is not valid: %.80s. Valid filter keys include: [%s].", key,
	    by_path ? "Type, KeyId, Label" : "Path, Name, Type, KeyId, Tier, DataType, tag:<key>");
}

static int check_option(const char *key, const char *option, struct err *e)
{
	static const char *const name[] = {"BeginsWith", "Equals", "Contains", NULL};
	static const char *const path[] = {"Recursive", "OneLevel", NULL};
	static const char *const key_id[] = {"BeginsWith", "Equals", NULL};
	static const char *const other[] = {"Equals", NULL};
	bool is_name = strcmp(key, "Name") == 0, is_path = strcmp(key, "Path") == 0;
	bool is_key = strcmp(key, "KeyId") == 0;

	if (!option || one_of(option, is_name ? name : is_path ? path : is_key ? key_id : other))
		return 0;
	return fail(e, SSM_INVALID_FILTER_OPTION,
	    "The following filter option is not valid: %.20s. Valid options include: [%s].", option,
	    is_name   ? "BeginsWith, Equals, Contains"
	    : is_path ? "Recursive, OneLevel"
	    : is_key  ? "BeginsWith, Equals"
		      : "Equals");
}

static int check_values(const struct ssm_parameter_string_filter *f, struct err *e)
{
	static const char *const types[] = {"String", "StringList", SECURE, NULL};

	if (!f->values && !is_tag(f->key))
		return fail(e, SSM_INVALID_FILTER_VALUE,
		    "The following filter values are missing : null for filter key %.80s", f->key);
	for (size_t i = 0; f->values && i < f->values->count; i++) {
		const char *v = f->values->items[i];

		if (strcmp(f->key, "Path") == 0 && *v != '/')
			return fail(e, AWS_VALIDATION,
			    "The parameter doesn't meet the parameter name requirements. The "
			    "parameter name must begin with a forward slash \"/\".");
		if (strcmp(f->key, "Type") == 0 && !one_of(v, types))
			return fail(e, SSM_INVALID_FILTER_VALUE,
			    "The following filter value is not valid: %.80s. Valid values include: "
			    "[String, StringList, SecureString]",
			    v);
	}
	return 0;
}

int parameter_filters_check(
    const struct ssm_parameter_string_filter_list *f, bool by_path, struct err *e)
{
	for (size_t i = 0; f && i < f->count; i++) {
		const struct ssm_parameter_string_filter *one = &f->items[i];
		int r = check_key(one->key, by_path, e);

		for (size_t k = 0; r == 0 && k < i; k++)
			if (strcmp(f->items[k].key, one->key) == 0)
				r = fail(e, SSM_INVALID_FILTER_KEY,
				    "The following filter is duplicated in the request: %.80s. A "
				    "request can contain only one occurrence of a specific filter.",
				    one->key);
		if (r == 0)
			r = check_option(one->key, one->option, e);
		if (r == 0)
			r = check_values(one, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- judging ---- */

bool path_holds(const char *name, const char *path, bool one_level)
{
	size_t len = strlen(path);

	while (len > 0 && path[len - 1] == '/')
		len--;
	/* "x" is at the root, like "/x". */
	if (*name != '/')
		return len == 0;
	if (strncmp(name, path, len) != 0 || name[len] != '/')
		return false;
	return !one_level || !strchr(name + len + 1, '/');
}

static bool compare(const char *have, const char *option, const char *want)
{
	if (!have)
		return false;
	if (option && strcmp(option, "BeginsWith") == 0)
		return strncmp(have, want, strlen(want)) == 0;
	if (option && strcmp(option, "Contains") == 0)
		return strstr(have, want) != NULL;
	return strcmp(have, want) == 0;
}

/* "/x" and "x" both find x, as either may be written for a name at the root. */
static bool compare_name(const char *name, const char *option, const char *want)
{
	return compare(name, option, want) ||
	       (*want == '/' && *name != '/' && compare(name, option, want + 1));
}

static const char *member(const char *key, const json_t *head, const json_t *version)
{
	if (is_tag(key))
		return docs_str(json_object_get(head, "tags"), key + 4);
	if (strcmp(key, "Type") == 0)
		return docs_str(head, "type");
	if (strcmp(key, "KeyId") == 0)
		return docs_str(version, "key_id");
	return docs_str(version, strcmp(key, "Tier") == 0 ? "tier" : "data_type");
}

static bool passes(const struct ssm_parameter_string_filter *f, const json_t *head,
    const json_t **version, const char *want)
{
	const char *name = docs_str(head, "name");

	if (strcmp(f->key, "Name") == 0)
		return compare_name(name, f->option, want);
	if (strcmp(f->key, "Path") == 0)
		return path_holds(name, want, !f->option || strcmp(f->option, "OneLevel") == 0);
	if (strcmp(f->key, "Label") == 0) {
		const json_t *v = parameter_version_labelled(head, want, NULL);

		*version = v ? v : *version;
		return v != NULL;
	}
	return compare(member(f->key, head, *version), f->option, want);
}

bool parameter_filters_pass(
    const struct ssm_parameter_string_filter_list *f, const json_t *head, const json_t **version)
{
	for (size_t i = 0; f && i < f->count; i++) {
		const struct ssm_parameter_string_filter *one = &f->items[i];
		bool found = !one->values && member(one->key, head, *version);

		for (size_t k = 0; !found && one->values && k < one->values->count; k++)
			found = passes(one, head, version, one->values->items[k]);
		if (!found)
			return false;
	}
	return true;
}
