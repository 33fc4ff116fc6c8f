/* Labels of versions, tags of parameters. Loop thread. */
#include <ctype.h>
#include <strings.h>

#include "service/ssm/ssm_int.h"

#define LABELS_MAX 10
#define TAGS_MAX 50

/* ---- labels ---- */

static bool is_label(const char *s)
{
	if (isdigit((unsigned char)*s) || strncasecmp(s, "aws", 3) == 0 ||
	    strncasecmp(s, "ssm", 3) == 0)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(".-_", *s))
			return false;
	return true;
}

/* A label is on one version at a time. */
static void put_label(json_t *head, json_t *version, const char *label)
{
	size_t at;
	json_t *had = parameter_version_labelled(head, label, &at), *labels;

	if (had)
		json_array_remove(json_object_get(had, "labels"), at);
	labels = json_object_get(version, "labels");
	if (!labels) {
		labels = json_array();
		json_object_set_new(version, "labels", labels);
	}
	json_array_append_new(labels, json_string(label));
}

/* The labels that can be none are left out and returned. */
static const struct ssm_parameter_label_list *put_labels(
    struct call *c, const struct ssm_parameter_label_list *given, json_t *head, json_t *version)
{
	struct ssm_parameter_label_list *bad = call_new(c, struct ssm_parameter_label_list);
	const char **names = call_array(c, given->count, const char *);

	for (size_t i = 0; i < given->count; i++) {
		if (is_label(given->items[i]))
			put_label(head, version, given->items[i]);
		else
			names[bad->count++] = given->items[i];
	}
	bad->items = names;
	return bad;
}

int ssm_label_parameter_version(struct call *c, const struct ssm_label_parameter_version_in *in,
    struct ssm_label_parameter_version_out *out, struct err *e)
{
	int64_t number = in->parameter_version ? *in->parameter_version : 0;
	const json_t *old;
	json_t *head, *v;
	const char *key;
	int r = parameter_find(c, in->name, true, &old, &key, e);

	if (r < 0)
		return r;
	head = json_deep_copy(old);
	v = in->parameter_version && number == 0 ? NULL : parameter_version_numbered(head, number);
	if (!v) {
		json_decref(head);
		return call_fail(c, e, SSM_PARAMETER_VERSION_NOT_FOUND,
		    "Systems Manager could not find version %" PRId64 " of %s. Verify the version "
		    "and try again.",
		    number, in->name);
	}
	out->invalid_labels = put_labels(c, in->labels, head, v);
	out->parameter_version = call_int(c, docs_int(v, "version"));
	if (json_array_size(json_object_get(v, "labels")) > LABELS_MAX) {
		json_decref(head);
		return fail(e, SSM_PARAMETER_VERSION_LABEL_LIMIT_EXCEEDED,
		    "A parameter version can have maximum %d labels. Move one or more labels to "
		    "another version and try again.",
		    LABELS_MAX);
	}
	return docs_put_call(c, ssm_of(c)->store, ssm_of(c)->heads, key, head);
}

/* ---- tags ---- */

static int find_resource(struct call *c, const char *type, const char *id, const json_t **ret,
    const char **ret_key, struct err *e)
{
	if (strcmp(type, "Parameter") != 0)
		return fail(e, SSM_INVALID_RESOURCE_TYPE,
		    "%s is not a valid resource type here. Valid resource types are: Parameter.",
		    type);
	if (parameter_find(c, id, true, ret, ret_key, e) == 0)
		return 0;
	return call_fail(c, e, SSM_INVALID_RESOURCE_ID,
	    "The resource ID \"%s\" is not valid. Verify the ID and try again.", id);
}

int ssm_add_tags_to_resource(struct call *c, const struct ssm_add_tags_to_resource_in *in,
    _unused_ struct ssm_add_tags_to_resource_out *out, struct err *e)
{
	const json_t *old;
	json_t *head, *tags;
	const char *key;
	int r = find_resource(c, in->resource_type, in->resource_id, &old, &key, e);

	if (r < 0)
		return r;
	head = json_deep_copy(old);
	tags = json_object_get(head, "tags");
	for (size_t i = 0; i < in->tags->count; i++)
		docs_set(tags, in->tags->items[i].key, in->tags->items[i].value);
	if (json_object_size(tags) > TAGS_MAX) {
		json_decref(head);
		return fail(e, SSM_TOO_MANY_TAGS_ERROR,
		    "A parameter can have at most %d tags: remove some first.", TAGS_MAX);
	}
	return docs_put_call(c, ssm_of(c)->store, ssm_of(c)->heads, key, head);
}

int ssm_remove_tags_from_resource(struct call *c, const struct ssm_remove_tags_from_resource_in *in,
    _unused_ struct ssm_remove_tags_from_resource_out *out, struct err *e)
{
	const json_t *old;
	json_t *head;
	const char *key;
	int r = find_resource(c, in->resource_type, in->resource_id, &old, &key, e);

	if (r < 0)
		return r;
	head = json_deep_copy(old);
	for (size_t i = 0; i < in->tag_keys->count; i++)
		json_object_del(json_object_get(head, "tags"), in->tag_keys->items[i]);
	return docs_put_call(c, ssm_of(c)->store, ssm_of(c)->heads, key, head);
}

int ssm_list_tags_for_resource(struct call *c, const struct ssm_list_tags_for_resource_in *in,
    struct ssm_list_tags_for_resource_out *out, struct err *e)
{
	struct ssm_tag_list *list = call_new(c, struct ssm_tag_list);
	struct ssm_tag *items;
	const json_t *head;
	const char *key, *name;
	json_t *value;
	int r = find_resource(c, in->resource_type, in->resource_id, &head, &key, e);

	if (r < 0)
		return r;
	items = call_array(c, TAGS_MAX, struct ssm_tag);
	json_object_foreach(json_object_get(head, "tags"), name, value) items[list->count++] =
	    (struct ssm_tag){call_str(c, name), call_str(c, json_string_value(value))};
	list->items = items;
	out->tag_list = list;
	return 0;
}
