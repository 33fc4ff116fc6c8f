/* Users. Loop thread. */
#include "service/iam/iam_int.h"

#include "auth/auth.h"

void show_user(struct call *c, const json_t *doc, bool whole, struct iam_user *ret)
{
	*ret = (struct iam_user){
	    .arn = call_str(c, iam_doc_str(doc, "arn")),
	    .create_date = call_int(c, iam_doc_int(doc, "created")),
	    .path = call_str(c, iam_doc_str(doc, "path")),
	    .user_id = call_str(c, iam_doc_str(doc, "id")),
	    .user_name = call_str(c, iam_doc_str(doc, "name")),
	    .tags = whole ? tags_show(c, doc, true) : NULL,
	    .permissions_boundary = whole ? boundary_show(c, doc) : NULL,
	};
}

/* Requests are signed in the name of the user's ARN, so it must fit where principals are kept. */
static int check_arn(const json_t *doc, struct err *e)
{
	size_t max = sizeof(((struct aws_principal *)0)->arn) - 1;

	if (strlen(iam_doc_str(doc, "arn")) <= max)
		return 0;
	return fail(e, IAM_INVALID_INPUT_EXCEPTION,
	    "The ARN of a user can have at most %zu characters: choose a shorter path.", max);
}

int iam_create_user(struct call *c, const struct iam_create_user_in *in,
    struct iam_create_user_out *out, struct err *e)
{
	struct iam_user *user = call_new(c, struct iam_user);
	json_t *doc;
	int r = entity_absent(c, ENTITY_USER, in->user_name, e);

	if (r < 0)
		return r;
	doc = doc_new(c, ENTITY_USER, "AIDA", in->user_name, in->path);
	r = check_arn(doc, e);
	if (r == 0)
		r = tags_add(doc, in->tags, e);
	if (r == 0)
		r = boundary_set(c, doc, in->permissions_boundary, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	show_user(c, doc, true, user);
	out->user = user;
	return iam_change_commit(c, entity_new(c, ENTITY_USER, in->user_name), doc);
}

static void show_root(struct call *c, struct iam_user *ret)
{
	*ret = (struct iam_user){
	    .arn = call_printf(c, "arn:aws:iam::%s:root", c->account),
	    .create_date = call_int(c, 0),
	    .path = "/",
	    .user_id = c->account,
	    .user_name = "root",
	};
}

int iam_get_user(
    struct call *c, const struct iam_get_user_in *in, struct iam_get_user_out *out, struct err *e)
{
	struct iam_user *user = call_new(c, struct iam_user);
	const json_t *doc;
	const char *name;
	int r;

	out->user = user;
	if (!in->user_name && c->principal.type == AWS_ROOT) {
		show_root(c, user);
		return 0;
	}
	r = user_or_caller(c, in->user_name, &name, e);
	if (r == 0)
		r = entity_read(c, ENTITY_USER, name, &doc, e);
	if (r == 0)
		show_user(c, doc, true, user);
	return r;
}

int iam_list_users(struct call *c, const struct iam_list_users_in *in,
    struct iam_list_users_out *out, struct err *e)
{
	struct listing l = {.c = c, .type = ENTITY_USER, .path_prefix = in->path_prefix};
	struct iam_user_list_type *list = call_new(c, struct iam_user_list_type);
	struct iam_user *items;
	int r = list_entities(&l, in->marker, in->max_items, e);

	if (r < 0)
		return r;
	items = call_array(c, l.count + 1, struct iam_user);
	for (size_t i = 0; i < l.count; i++)
		show_user(c, l.items[i]->doc, false, &items[i]);
	*list = (struct iam_user_list_type){l.count, items};
	out->users = list;
	out->is_truncated = l.is_truncated;
	out->marker = l.marker;
	return 0;
}

static int rename_user(
    struct call *c, struct entity *o, const char *name, json_t *doc, struct err *e)
{
	int r = entity_absent(c, ENTITY_USER, name, e);

	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return change_commit_two(c, o, NULL, entity_new(c, ENTITY_USER, name), doc);
}

int iam_update_user(struct call *c, const struct iam_update_user_in *in,
    _unused_ struct iam_update_user_out *out, struct err *e)
{
	const char *name = in->new_user_name ? in->new_user_name : in->user_name;
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, ENTITY_USER, in->user_name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	if (!in->new_user_name)
		name = call_str(c, iam_doc_str(doc, "name"));
	doc_place(doc, ENTITY_USER, c->account, name,
	    in->new_path ? in->new_path : call_str(c, iam_doc_str(doc, "path")));
	r = check_arn(doc, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	if (in->new_user_name && strcasecmp(in->new_user_name, in->user_name) != 0)
		return rename_user(c, o, name, doc, e);
	return iam_change_commit(c, o, doc);
}

int iam_delete_user(struct call *c, const struct iam_delete_user_in *in,
    _unused_ struct iam_delete_user_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_USER, in->user_name, &o, e);

	if (r == 0 && json_array_size(json_object_get(o->latest, "keys")))
		r = fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete entity, must delete access keys first.");
	if (r == 0)
		r = entity_bare(o, e);
	if (r == 0 && json_array_size(json_object_get(o->latest, "groups")))
		r = fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete entity, must remove user from groups first.");
	return r < 0 ? r : iam_change_commit(c, o, NULL);
}
