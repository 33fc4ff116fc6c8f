/* The policy of a form: until when, and what each field may be. Every field must be named by a
 * condition, but for those that prove the policy itself. */
#include "service/s3/form_int.h"

#include <strings.h>

#include "base/time.h"

static int invalid(struct err *e, const char *why)
{
	return fail(e, S3_INVALID_POLICY_DOCUMENT, "Invalid Policy: %s", why);
}

static int failed(struct err *e, const char *what)
{
	return fail(
	    e, S3_ACCESS_DENIED, "Invalid according to Policy: Policy Condition failed: %s", what);
}

struct form_check {
	struct form_parser *form;
	const char *bucket, *key;
	bool named[FORM_FIELDS_MAX];
	struct form_range range;
};

/* What a condition's name stands for; marks the field as named. */
static const char *lookup(struct form_check *f, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < f->form->field_count; i++) {
		if (strcasecmp(f->form->fields[i].name, name) != 0)
			continue;
		f->named[i] = true;
		value = f->form->fields[i].value;
	}
	if (!strcasecmp(name, "bucket"))
		return f->bucket;
	return !strcasecmp(name, "key") ? f->key : value;
}

static int check_equal(struct form_check *f, const char *name, const char *wanted, struct err *e)
{
	const char *value = lookup(f, name);

	if (value && !strcmp(value, wanted))
		return 0;
	return failed(e, call_printf(f->form->call, "[\"eq\", \"$%s\", \"%s\"]", name, wanted));
}

static int check_prefix(struct form_check *f, const char *name, const char *prefix, struct err *e)
{
	const char *value = lookup(f, name);

	if (value ? !strncmp(value, prefix, strlen(prefix)) : !*prefix)
		return 0;
	return failed(
	    e, call_printf(f->form->call, "[\"starts-with\", \"$%s\", \"%s\"]", name, prefix));
}

static bool whole_number(const json_t *v, int64_t *ret)
{
	const char *text = json_string_value(v);

	if (json_is_integer(v))
		*ret = json_integer_value(v);
	return json_is_integer(v) || (text && str_to_int64(str_from(text), 0, INT64_MAX, ret));
}

static int check_list(struct form_check *f, const json_t *condition, struct err *e)
{
	const char *operator= json_string_value(json_array_get(condition, 0));
	const char *name = json_string_value(json_array_get(condition, 1));
	const char *value = json_string_value(json_array_get(condition, 2));

	if (!operator|| json_array_size(condition) != 3)
		return invalid(e, "a condition must have three parts.");
	if (!strcasecmp(operator, "content-length-range")) {
		if (whole_number(json_array_get(condition, 1), &f->range.min) &&
		    whole_number(json_array_get(condition, 2), &f->range.max))
			return 0;
		return invalid(e, "content-length-range needs two numbers.");
	}
	if (!name || name[0] != '$' || !value)
		return invalid(e, "a condition names a field as $field.");
	if (!strcasecmp(operator, "eq"))
		return check_equal(f, name + 1, value, e);
	if (!strcasecmp(operator, "starts-with"))
		return check_prefix(f, name + 1, value, e);
	return invalid(e, "unknown operator in a condition.");
}

static int check_condition(struct form_check *f, const json_t *condition, struct err *e)
{
	const char *name, *text;
	json_t *value;
	int r = 0;

	if (json_is_array(condition))
		return check_list(f, condition, e);
	if (!json_is_object(condition))
		return invalid(e, "a condition must be a list or an object.");
	json_object_foreach((json_t *)(uintptr_t)condition, name, value)
	{
		text = json_string_value(value);
		if (r == 0)
			r = text ? check_equal(f, name, text, e)
				 : invalid(e, "the value of a condition must be a string.");
	}
	return r;
}

/* These prove the policy, or mean nothing to it. */
static bool is_free(const char *name)
{
	static const char *const names[] = {
	    "policy", "x-amz-signature", "awsaccesskeyid", "signature", "file", "submit"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return !strncmp(name, "x-ignore-", 9);
}

static int check_all(struct form_check *f, const json_t *doc, int64_t now_ms, struct err *e)
{
	const char *expiration = json_string_value(json_object_get(doc, "expiration"));
	const json_t *conditions = json_object_get(doc, "conditions");
	int64_t until;
	int r = 0;

	if (!expiration || !time_parse_iso(str_from(expiration), &until))
		return invalid(e, "Policy document must have a valid expiration.");
	if (!json_is_array(conditions))
		return invalid(e, "Policy document must have a list of conditions.");
	if (now_ms >= until)
		return fail(e, S3_ACCESS_DENIED, "Invalid according to Policy: Policy expired.");
	for (size_t i = 0; r == 0 && i < json_array_size(conditions); i++)
		r = check_condition(f, json_array_get(conditions, i), e);
	for (size_t i = 0; r == 0 && i < f->form->field_count; i++) {
		if (!f->named[i] && !is_free(f->form->fields[i].name))
			r = fail(e, S3_ACCESS_DENIED,
			    "Invalid according to Policy: Extra input fields: %s",
			    f->form->fields[i].name);
	}
	return r;
}

int form_policy_check(struct form_parser *p, const char *bucket, const char *key, int64_t now_ms,
    struct form_range *ret, struct err *e)
{
	struct form_check f = {.form = p, .bucket = bucket, .key = key, .range = {0, S3_PUT_MAX}};
	const char *policy = form_value(p, "policy");
	struct str text = str_from(policy);
	char *json = arena_alloc(p->call->arena, text.len + 1);
	ssize_t len = base64_decode(text, json);
	json_t *doc = len < 0 ? NULL : json_loadb(json, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
	int r =
	    doc ? check_all(&f, doc, now_ms, e) : invalid(e, "the policy is not JSON in base64.");

	json_decref(doc);
	*ret = f.range;
	return r;
}
