/* Tags of secrets. Loop thread. */
#include "service/secretsmanager/secretsmanager_int.h"

int secret_tags_merge(json_t *head, const struct secretsmanager_tag_list_type *given, struct err *e)
{
	json_t *tags = json_object_get(head, "tags");

	for (size_t i = 0; given && i < given->count; i++) {
		const struct secretsmanager_tag *t = &given->items[i];

		if (!t->key || str_has_prefix(str_from(t->key), "aws:"))
			return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
			    "A tag needs a Key that does not begin with aws:");
		json_object_set_new(tags, t->key, json_string(t->value ? t->value : ""));
	}
	if (json_object_size(tags) > TAGS_MAX)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "A secret can have at most %d tags: remove some first.", TAGS_MAX);
	return 0;
}

const struct secretsmanager_tag_list_type *secret_tags_shown(struct call *c, const json_t *head)
{
	struct secretsmanager_tag_list_type *list =
	    call_new(c, struct secretsmanager_tag_list_type);
	struct secretsmanager_tag *items = call_array(c, TAGS_MAX, struct secretsmanager_tag);
	const char *key;
	json_t *value;

	json_object_foreach(json_object_get(head, "tags"), key, value) items[list->count++] =
	    (struct secretsmanager_tag){call_str(c, key), call_str(c, json_string_value(value))};
	list->items = items;
	return list;
}

int secretsmanager_tag_resource(struct call *c, const struct secretsmanager_tag_resource_in *in,
    _unused_ struct secretsmanager_tag_resource_out *out, struct err *e)
{
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	r = secret_tags_merge(head, in->tags, e);
	if (r < 0) {
		json_decref(head);
		return r;
	}
	return docs_put_call(c, manager_of(c)->store, manager_of(c)->heads, s.key, head);
}

int secretsmanager_untag_resource(struct call *c, const struct secretsmanager_untag_resource_in *in,
    _unused_ struct secretsmanager_untag_resource_out *out, struct err *e)
{
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	for (size_t i = 0; i < in->tag_keys->count; i++)
		json_object_del(json_object_get(head, "tags"), in->tag_keys->items[i]);
	return docs_put_call(c, manager_of(c)->store, manager_of(c)->heads, s.key, head);
}
