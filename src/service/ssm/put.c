/* PutParameter and deleting. Loop thread. */
#include <ctype.h>
#include <strings.h>

#include "base/time.h"
#include "service/ssm/ssm_int.h"

#define LEVELS_MAX 15
#define PARAMETERS_MAX 10000
#define TAGS_MAX 50
#define STANDARD_MAX 4096
#define ADVANCED_MAX 8192
#define ADVANCED "Advanced"
#define STANDARD "Standard"
#define DEFAULT_KEY "alias/aws/ssm"

/* ---- the name ---- */

static bool reserved(const char *name)
{
	name += *name == '/';
	return strncasecmp(name, "aws", 3) == 0 || strncasecmp(name, "ssm", 3) == 0;
}

static bool well_formed(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr(".-_/", *p))
			return false;
		if (*p == '/' && (p[1] == '/' || p[1] == '\0'))
			return false;
	}
	return true;
}

static int check_name(struct call *c, const char *name, struct err *e)
{
	unsigned levels = 0;

	for (const char *p = name + (*name == '/'); *p; p++)
		levels += *p == '/';
	if (!well_formed(name) || reserved(name))
		return call_fail(c, e, AWS_VALIDATION,
		    "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)."
		    " If formed as a path, it can consist of sub-paths divided by slash symbol; "
		    "each sub-path can be formed as a mix of letters, numbers and the following 3 "
		    "symbols .-_");
	if (*name != '/' && levels)
		return fail(e, AWS_VALIDATION, "Parameter name must be a fully qualified name.");
	if (strlen(name) > NAME_MAX_)
		return fail(e, AWS_VALIDATION,
		    "Parameter name must not be longer than %d characters.", NAME_MAX_);
	if (levels + 1 > LEVELS_MAX)
		return fail(e, SSM_HIERARCHY_LEVEL_LIMIT_EXCEEDED_EXCEPTION,
		    "A parameter hierarchy can have a maximum of %d levels: use a name with "
		    "fewer.",
		    LEVELS_MAX);
	return 0;
}

/* ---- what a version will be ---- */

struct draft {
	const json_t *head; /* NULL: a new parameter */
	const char *type, *tier, *data_type, *description, *pattern, *key_id;
};

static int settle_type(const struct ssm_put_parameter_in *in, struct draft *d, struct err *e)
{
	const char *was = docs_str(d->head, "type");

	d->type = in->type ? in->type : was;
	if (!d->type)
		return fail(
		    e, AWS_VALIDATION, "A parameter type is required when you create a parameter.");
	if (was && strcmp(was, d->type) != 0)
		return fail(e, SSM_HIERARCHY_TYPE_MISMATCH_EXCEPTION,
		    "Parameter Store doesn't support changing a parameter type: delete the "
		    "parameter and create it with the new one.");
	if (strcmp(d->type, SECURE) != 0 && in->key_id)
		return fail(
		    e, AWS_VALIDATION, "KeyId is required for SecureString type parameter only.");
	return 0;
}

static int settle_tier(
    struct call *c, const struct ssm_put_parameter_in *in, struct draft *d, struct err *e)
{
	const char *was = docs_str(parameter_version_last(d->head), "tier");
	bool advanced = was && strcmp(was, ADVANCED) == 0;
	size_t len = strlen(in->value);

	if (in->tier && strcmp(in->tier, STANDARD) == 0 && advanced)
		return call_fail(c, e, AWS_VALIDATION,
		    "This parameter uses the advanced-parameter tier. You can't downgrade a "
		    "parameter from the advanced-parameter tier to the standard-parameter tier. "
		    "If necessary, you can delete the advanced parameter and recreate it as a "
		    "standard parameter.");
	if (in->tier && strcmp(in->tier, STANDARD) != 0)
		advanced = advanced || strcmp(in->tier, ADVANCED) == 0 || len > STANDARD_MAX;
	d->tier = advanced ? ADVANCED : STANDARD;
	if (!advanced && len > STANDARD_MAX)
		return call_fail(c, e, AWS_VALIDATION,
		    "Standard tier parameters support a maximum parameter value of %d characters. "
		    "To create a larger parameter value, upgrade the parameter to use the "
		    "advanced-parameter tier. For more information, see "
		    "https://docs.aws.amazon.com/systems-manager/latest/userguide/"
		    "parameter-store-advanced-parameters.html",
		    STANDARD_MAX);
	if (len > ADVANCED_MAX)
		return fail(e, AWS_VALIDATION,
		    "Advanced tier parameters support a maximum parameter value of %d "
		    "characters.",
		    ADVANCED_MAX);
	return 0;
}

static int settle_pattern(
    struct call *c, const struct ssm_put_parameter_in *in, struct draft *d, struct err *e)
{
	int r;

	if (!d->pattern || !*d->pattern)
		return 0;
	r = allowed_pattern_match(d->pattern, in->value);
	if (r < 0)
		return fail(e, SSM_INVALID_ALLOWED_PATTERN_EXCEPTION,
		    "The allowed pattern is not a valid regular expression.");
	if (r == 0)
		return call_fail(c, e, SSM_PARAMETER_PATTERN_MISMATCH_EXCEPTION,
		    "Parameter value, cannot be validated against allowedPattern: %s", d->pattern);
	return 0;
}

static int settle_kind(const struct ssm_put_parameter_in *in, struct draft *d, struct err *e)
{
	const char *policies = in->policies;

	d->data_type = in->data_type && *in->data_type ? in->data_type : "text";
	if (strcmp(d->data_type, "text") != 0)
		return fail(e, AWS_VALIDATION,
		    "The following data type is not supported: %.100s. Use text.", d->data_type);
	if (policies && strcmp(policies, "[]") != 0 && strcmp(policies, "{}") != 0)
		return fail(e, SSM_INVALID_POLICY_TYPE_EXCEPTION,
		    "Parameter policies (Expiration, ExpirationNotification, NoChangeNotification) "
		    "are not supported here: leave out Policies.");
	return 0;
}

/* What is not given stays as the last version has it. */
static int settle(
    struct call *c, const struct ssm_put_parameter_in *in, struct draft *d, struct err *e)
{
	const json_t *last = parameter_version_last(d->head);
	int r = settle_type(in, d, e);

	d->description = in->description ? in->description : docs_str(last, "description");
	d->pattern = in->allowed_pattern ? in->allowed_pattern : docs_str(last, "pattern");
	if (d->type && strcmp(d->type, SECURE) == 0)
		d->key_id = in->key_id ? in->key_id : docs_str(last, "key_id");
	if (d->type && strcmp(d->type, SECURE) == 0 && !d->key_id)
		d->key_id = DEFAULT_KEY;
	if (r == 0 && !*in->value)
		r = fail(e, AWS_VALIDATION,
		    "1 validation error detected: Value '' at 'value' failed to satisfy "
		    "constraint: Member must have length greater than or equal to 1.");
	if (r == 0)
		r = settle_kind(in, d, e);
	if (r == 0)
		r = settle_tier(c, in, d, e);
	return r < 0 ? r : settle_pattern(c, in, d, e);
}

static json_t *make_version(struct call *c, const struct draft *d, int64_t number)
{
	json_t *v = json_object();
	const char *arn = c->principal.arn;

	docs_set_int(v, "version", number);
	docs_set_int(v, "modified", time_wall_ms());
	docs_set(v, "user", *arn ? arn : call_printf(c, "arn:aws:iam::%s:root", c->account));
	docs_set(v, "tier", d->tier);
	docs_set(v, "data_type", d->data_type);
	docs_set(v, "description", d->description);
	docs_set(v, "pattern", d->pattern);
	docs_set(v, "key_id", d->key_id);
	return v;
}

static json_t *tags_given(const struct ssm_tag_list *given)
{
	json_t *tags = json_object();

	for (size_t i = 0; given && i < given->count; i++)
		docs_set(tags, given->items[i].key, given->items[i].value);
	return tags;
}

static int check_request(struct call *c, const struct ssm_put_parameter_in *in, const char *prefix,
    const json_t *head, struct err *e)
{
	bool overwrite = in->overwrite && *in->overwrite;

	if (in->tags && in->tags->count && overwrite)
		return call_fail(c, e, AWS_VALIDATION,
		    "Invalid request: tags and overwrite can't be used together. To create a "
		    "parameter with tags, please remove overwrite flag. To update tags for an "
		    "existing parameter, please use AddTagsToResource or RemoveTagsFromResource.");
	if (in->tags && in->tags->count > TAGS_MAX)
		return fail(e, AWS_VALIDATION, "A parameter can have at most %d tags.", TAGS_MAX);
	if (head && !overwrite)
		return fail(e, SSM_PARAMETER_ALREADY_EXISTS,
		    "The parameter already exists. To overwrite this value, set the overwrite "
		    "option in the request to true.");
	if (!head && docs_count(ssm_of(c)->heads, prefix) >= PARAMETERS_MAX)
		return fail(e, SSM_PARAMETER_LIMIT_EXCEEDED,
		    "You have exceeded the number of parameters for this AWS account. Delete one "
		    "or more parameters and try again.");
	return 0;
}

/* The oldest version makes room, unless somebody holds on to it by a label. */
static int check_room(const char *name, const json_t *head, struct err *e)
{
	const json_t *list = json_object_get(head, "versions"), *oldest = json_array_get(list, 0);

	if (json_array_size(list) < VERSIONS_MAX ||
	    !json_array_size(json_object_get(oldest, "labels")))
		return 0;
	return fail(e, SSM_PARAMETER_MAX_VERSION_LIMIT_EXCEEDED,
	    "You attempted to create a new version of %.60s by calling the PutParameter API with "
	    "the overwrite flag. Version %" PRId64 ", the oldest version, can't be deleted because "
	    "it has a label: move the label to another version.",
	    name, docs_int(oldest, "version"));
}

static int store_version(struct call *c, const struct ssm_put_parameter_in *in, const char *key,
    const struct draft *d, int64_t number)
{
	struct ssm *s = ssm_of(c);
	json_t *head = d->head ? json_deep_copy(d->head) : json_object(), *list;
	struct docs_change *g = docs_change_new(s->store);

	if (!d->head) {
		docs_set(head, "name", in->name);
		docs_set(head, "type", d->type);
		json_object_set_new(head, "tags", tags_given(in->tags));
		json_object_set_new(head, "versions", json_array());
	}
	list = json_object_get(head, "versions");
	json_array_append_new(list, make_version(c, d, number));
	if (json_array_size(list) > VERSIONS_MAX) {
		parameter_value_delete(s, g, key, docs_int(json_array_get(list, 0), "version"));
		json_array_remove(list, 0);
	}
	parameter_value_put(s, g, key, number, strcmp(d->type, SECURE) == 0, str_from(in->value));
	docs_put(g, s->heads, key, head);
	return docs_commit_call(c, g);
}

int ssm_put_parameter(struct call *c, const struct ssm_put_parameter_in *in,
    struct ssm_put_parameter_out *out, struct err *e)
{
	const char *prefix = call_printf(c, "%s/%s/", c->account, c->region);
	const char *key = call_printf(c, "%s%s", prefix, in->name);
	struct draft d = {.head = docs_latest(ssm_of(c)->heads, key)};
	int64_t number = docs_int(parameter_version_last(d.head), "version") + 1;
	int r = check_name(c, in->name, e);

	if (r == 0)
		r = check_request(c, in, prefix, d.head, e);
	if (r == 0)
		r = settle(c, in, &d, e);
	if (r == 0)
		r = check_room(in->name, d.head, e);
	if (r < 0)
		return r;
	out->version = call_int(c, number);
	out->tier = call_str(c, d.tier);
	return store_version(c, in, key, &d, number);
}

/* ---- deleting ---- */

static void delete_all(struct ssm *s, struct docs_change *g, const char *key, const json_t *head)
{
	const json_t *list = json_object_get(head, "versions");

	for (size_t i = 0; i < json_array_size(list); i++)
		parameter_value_delete(s, g, key, docs_int(json_array_get(list, i), "version"));
	docs_delete(g, s->heads, key);
}

int ssm_delete_parameter(struct call *c, const struct ssm_delete_parameter_in *in,
    _unused_ struct ssm_delete_parameter_out *out, struct err *e)
{
	struct docs_change *g;
	const json_t *head;
	const char *key;
	int r = parameter_find(c, in->name, true, &head, &key, e);

	if (r < 0)
		return r;
	g = docs_change_new(ssm_of(c)->store);
	delete_all(ssm_of(c), g, key, head);
	return docs_commit_call(c, g);
}

int ssm_delete_parameters(struct call *c, const struct ssm_delete_parameters_in *in,
    struct ssm_delete_parameters_out *out, struct err *e)
{
	struct ssm_parameter_name_list *gone = call_new(c, struct ssm_parameter_name_list);
	struct ssm_parameter_name_list *bad = call_new(c, struct ssm_parameter_name_list);
	const char **gone_names = call_array(c, in->names->count, const char *);
	const char **bad_names = call_array(c, in->names->count, const char *);
	struct docs_change *g = NULL;
	const json_t *head;
	const char *key;

	gone->items = gone_names;
	bad->items = bad_names;
	out->deleted_parameters = gone;
	out->invalid_parameters = bad;
	for (size_t i = 0; i < in->names->count; i++) {
		const char *name = in->names->items[i];

		if (parameter_find(c, name, true, &head, &key, e) < 0) {
			bad_names[bad->count++] = name;
			continue;
		}
		g = g ? g : docs_change_new(ssm_of(c)->store);
		delete_all(ssm_of(c), g, key, head);
		gone_names[gone->count++] = name;
	}
	return g ? docs_commit_call(c, g) : 0;
}
