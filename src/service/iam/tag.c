/* Tags of users, roles and policies. Keys differ whatever their case. */
#include "service/iam/iam_int.h"

#define TAGS_MAX 50

static const char *same_key(json_t *tags, const char *key)
{
	const char *name;
	json_t *value;

	json_object_foreach(tags, name, value) if (strcasecmp(name, key) == 0) return name;
	return NULL;
}

static int check_twice(const struct iam_tag_list_type *tags, struct err *e)
{
	for (size_t i = 0; i < tags->count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcasecmp(tags->items[i].key, tags->items[k].key) == 0)
				return fail(e, IAM_INVALID_INPUT_EXCEPTION,
				    "Duplicate tag keys found. Please note that Tag keys are case "
				    "insensitive.");
	return 0;
}

int tags_add(json_t *doc, const struct iam_tag_list_type *tags, struct err *e)
{
	json_t *have = json_object_get(doc, "tags");
	int r = tags ? check_twice(tags, e) : 0;

	for (size_t i = 0; r == 0 && tags && i < tags->count; i++) {
		const char *old = same_key(have, tags->items[i].key);

		if (strncasecmp(tags->items[i].key, "aws:", 4) == 0)
			return fail(e, IAM_INVALID_INPUT_EXCEPTION,
			    "Added tag keys with prefix aws: are reserved for system use.");
		if (old && strcmp(old, tags->items[i].key) != 0)
			json_object_del(have, old);
		doc_set(have, tags->items[i].key, tags->items[i].value);
	}
	if (r == 0 && json_object_size(have) > TAGS_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "The number of tags has reached the maximum limit.");
	return r;
}

static int add(
    struct call *c, struct entity *o, const struct iam_tag_list_type *tags, struct err *e)
{
	json_t *doc = entity_edit(o);
	int r = tags_add(doc, tags, e);

	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return iam_change_commit(c, o, doc);
}

static int take(struct call *c, struct entity *o, const struct iam_tag_key_list_type *keys)
{
	json_t *doc = entity_edit(o), *tags = json_object_get(doc, "tags");

	for (size_t i = 0; i < keys->count; i++) {
		const char *name = same_key(tags, keys->items[i]);

		if (name)
			json_object_del(tags, name);
	}
	return iam_change_commit(c, o, doc);
}

static struct iam_tag_list_type *show(struct call *c, const json_t *doc, size_t from, size_t count)
{
	struct iam_tag_list_type *list = call_new(c, struct iam_tag_list_type);
	struct iam_tag *items = call_array(c, count + 1, struct iam_tag);
	const char *name;
	json_t *value;
	size_t at = 0;

	json_object_foreach(json_object_get(doc, "tags"), name, value)
	{
		if (at >= from && at - from < count)
			items[at - from] = (struct iam_tag){
			    call_str(c, name), call_str(c, json_string_value(value))};
		at++;
	}
	*list = (struct iam_tag_list_type){count, items};
	return list;
}

const struct iam_tag_list_type *tags_show(struct call *c, const json_t *doc, bool sparse)
{
	size_t count = json_object_size(json_object_get(doc, "tags"));

	return sparse && !count ? NULL : show(c, doc, 0, count);
}

static int list(struct call *c, const json_t *doc, const char *marker, const int64_t *max_items,
    const struct iam_tag_list_type **ret, struct page *ret_page, struct err *e)
{
	size_t total = json_object_size(json_object_get(doc, "tags"));
	int r = list_slice(c, marker, max_items, total, ret_page, e);

	if (r == 0)
		*ret = show(c, doc, ret_page->from, ret_page->count);
	return r;
}

int iam_tag_user(struct call *c, const struct iam_tag_user_in *in,
    _unused_ struct iam_tag_user_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_USER, in->user_name, &o, e);

	return r < 0 ? r : add(c, o, in->tags, e);
}

int iam_untag_user(struct call *c, const struct iam_untag_user_in *in,
    _unused_ struct iam_untag_user_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_USER, in->user_name, &o, e);

	return r < 0 ? r : take(c, o, in->tag_keys);
}

int iam_list_user_tags(struct call *c, const struct iam_list_user_tags_in *in,
    struct iam_list_user_tags_out *out, struct err *e)
{
	const json_t *doc;
	struct page page = {0};
	int r = entity_read(c, ENTITY_USER, in->user_name, &doc, e);

	if (r == 0)
		r = list(c, doc, in->marker, in->max_items, &out->tags, &page, e);
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

int iam_tag_role(struct call *c, const struct iam_tag_role_in *in,
    _unused_ struct iam_tag_role_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	return r < 0 ? r : add(c, o, in->tags, e);
}

int iam_untag_role(struct call *c, const struct iam_untag_role_in *in,
    _unused_ struct iam_untag_role_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	return r < 0 ? r : take(c, o, in->tag_keys);
}

int iam_list_role_tags(struct call *c, const struct iam_list_role_tags_in *in,
    struct iam_list_role_tags_out *out, struct err *e)
{
	const json_t *doc;
	struct page page = {0};
	int r = entity_read(c, ENTITY_ROLE, in->role_name, &doc, e);

	if (r == 0)
		r = list(c, doc, in->marker, in->max_items, &out->tags, &page, e);
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

int iam_tag_policy(struct call *c, const struct iam_tag_policy_in *in,
    _unused_ struct iam_tag_policy_out *out, struct err *e)
{
	struct entity *o;
	int r = policy_get(c, in->policy_arn, &o, e);

	return r < 0 ? r : add(c, o, in->tags, e);
}

int iam_untag_policy(struct call *c, const struct iam_untag_policy_in *in,
    _unused_ struct iam_untag_policy_out *out, struct err *e)
{
	struct entity *o;
	int r = policy_get(c, in->policy_arn, &o, e);

	return r < 0 ? r : take(c, o, in->tag_keys);
}

int iam_list_policy_tags(struct call *c, const struct iam_list_policy_tags_in *in,
    struct iam_list_policy_tags_out *out, struct err *e)
{
	const json_t *doc;
	struct page page = {0};
	int r = policy_read(c, in->policy_arn, &doc, e);

	if (r == 0)
		r = list(c, doc, in->marker, in->max_items, &out->tags, &page, e);
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}
