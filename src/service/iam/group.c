/* Groups. Who is in one is kept with the user. Loop thread. */
#include "service/iam/iam_int.h"

#define GROUPS_PER_USER 10

void show_group(struct call *c, const json_t *doc, struct iam_group *ret)
{
	*ret = (struct iam_group){
	    .arn = call_str(c, iam_doc_str(doc, "arn")),
	    .create_date = call_int(c, iam_doc_int(doc, "created")),
	    .group_id = call_str(c, iam_doc_str(doc, "id")),
	    .group_name = call_str(c, iam_doc_str(doc, "name")),
	    .path = call_str(c, iam_doc_str(doc, "path")),
	};
}

/* Index of a group in a user's document, -1 when the user is not in it. */
static ssize_t index_of(const json_t *user, const char *group)
{
	const json_t *groups = json_object_get(user, "groups");

	for (size_t i = 0; i < json_array_size(groups); i++)
		if (strcasecmp(json_string_value(json_array_get(groups, i)), group) == 0)
			return (ssize_t)i;
	return -1;
}

int iam_create_group(struct call *c, const struct iam_create_group_in *in,
    struct iam_create_group_out *out, struct err *e)
{
	struct iam_group *group = call_new(c, struct iam_group);
	json_t *doc;
	int r = entity_absent(c, ENTITY_GROUP, in->group_name, e);

	if (r < 0)
		return r;
	doc = doc_new(c, ENTITY_GROUP, "AGPA", in->group_name, in->path);
	show_group(c, doc, group);
	out->group = group;
	return iam_change_commit(c, entity_new(c, ENTITY_GROUP, in->group_name), doc);
}

static bool is_member(const struct listing *l, const struct entity *user)
{
	return index_of(user->doc, l->ctx) >= 0;
}

int iam_get_group(
    struct call *c, const struct iam_get_group_in *in, struct iam_get_group_out *out, struct err *e)
{
	struct listing l = {.c = c, .type = ENTITY_USER, .keep = is_member, .ctx = in->group_name};
	struct iam_user_list_type *list = call_new(c, struct iam_user_list_type);
	struct iam_group *group = call_new(c, struct iam_group);
	struct iam_user *users;
	const json_t *doc;
	int r = entity_read(c, ENTITY_GROUP, in->group_name, &doc, e);

	if (r == 0)
		r = list_entities(&l, in->marker, in->max_items, e);
	if (r < 0)
		return r;
	users = call_array(c, l.count + 1, struct iam_user);
	for (size_t i = 0; i < l.count; i++)
		show_user(c, l.items[i]->doc, false, &users[i]);
	*list = (struct iam_user_list_type){l.count, users};
	show_group(c, doc, group);
	out->group = group;
	out->users = list;
	out->is_truncated = l.is_truncated;
	out->marker = l.marker;
	return 0;
}

int iam_list_groups(struct call *c, const struct iam_list_groups_in *in,
    struct iam_list_groups_out *out, struct err *e)
{
	struct listing l = {.c = c, .type = ENTITY_GROUP, .path_prefix = in->path_prefix};
	struct iam_group_list_type *list = call_new(c, struct iam_group_list_type);
	struct iam_group *items;
	int r = list_entities(&l, in->marker, in->max_items, e);

	if (r < 0)
		return r;
	items = call_array(c, l.count + 1, struct iam_group);
	for (size_t i = 0; i < l.count; i++)
		show_group(c, l.items[i]->doc, &items[i]);
	*list = (struct iam_group_list_type){l.count, items};
	out->groups = list;
	out->is_truncated = l.is_truncated;
	out->marker = l.marker;
	return 0;
}

static bool has_members(struct call *c, const char *group)
{
	const struct iam *m = c->ctx;
	const struct table *users = &m->tables[ENTITY_USER];

	for (size_t i = 0; i < users->count; i++)
		if (strcmp(users->items[i]->account, c->account) == 0 &&
		    index_of(users->items[i]->latest, group) >= 0)
			return true;
	return false;
}

int iam_delete_group(struct call *c, const struct iam_delete_group_in *in,
    _unused_ struct iam_delete_group_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_GROUP, in->group_name, &o, e);

	if (r == 0 && has_members(c, in->group_name))
		r = fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete entity, must remove users from group first.");
	if (r == 0)
		r = entity_bare(o, e);
	return r < 0 ? r : iam_change_commit(c, o, NULL);
}

int iam_add_user_to_group(struct call *c, const struct iam_add_user_to_group_in *in,
    _unused_ struct iam_add_user_to_group_out *out, struct err *e)
{
	struct entity *group, *user;
	json_t *doc, *groups;
	int r = entity_get(c, ENTITY_GROUP, in->group_name, &group, e);

	if (r == 0)
		r = entity_get(c, ENTITY_USER, in->user_name, &user, e);
	if (r < 0 || index_of(user->latest, in->group_name) >= 0)
		return r;
	if (json_array_size(json_object_get(user->latest, "groups")) >= GROUPS_PER_USER)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "Cannot exceed quota for GroupsPerUser: %d", GROUPS_PER_USER);
	doc = entity_edit(user);
	groups = json_object_get(doc, "groups");
	if (!groups) {
		groups = json_array();
		json_object_set_new(doc, "groups", groups);
	}
	json_array_append_new(groups, json_string(iam_doc_str(group->latest, "name")));
	return iam_change_commit(c, user, doc);
}

int iam_remove_user_from_group(struct call *c, const struct iam_remove_user_from_group_in *in,
    _unused_ struct iam_remove_user_from_group_out *out, struct err *e)
{
	struct entity *group, *user;
	ssize_t at;
	json_t *doc;
	int r = entity_get(c, ENTITY_GROUP, in->group_name, &group, e);

	if (r == 0)
		r = entity_get(c, ENTITY_USER, in->user_name, &user, e);
	if (r < 0)
		return r;
	at = index_of(user->latest, in->group_name);
	if (at < 0)
		return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "User %s is not in group %s.",
		    in->user_name, in->group_name);
	doc = entity_edit(user);
	json_array_remove(json_object_get(doc, "groups"), (size_t)at);
	return iam_change_commit(c, user, doc);
}

int iam_list_groups_for_user(struct call *c, const struct iam_list_groups_for_user_in *in,
    struct iam_list_groups_for_user_out *out, struct err *e)
{
	struct iam_group_list_type *list = call_new(c, struct iam_group_list_type);
	struct iam_group *items;
	struct page page;
	const json_t *user, *groups;
	int r = entity_read(c, ENTITY_USER, in->user_name, &user, e);

	if (r < 0)
		return r;
	groups = json_object_get(user, "groups");
	r = list_slice(c, in->marker, in->max_items, json_array_size(groups), &page, e);
	if (r < 0)
		return r;
	items = call_array(c, page.count + 1, struct iam_group);
	for (size_t i = 0; i < page.count; i++) {
		const char *name = json_string_value(json_array_get(groups, page.from + i));
		const struct entity *g = table_find(c->ctx, ENTITY_GROUP, c->account, name);

		/* A full disk can refuse to take a user out and let the group be deleted. */
		if (g && g->doc)
			show_group(c, g->doc, &items[list->count++]);
	}
	list->items = items;
	out->groups = list;
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return 0;
}
