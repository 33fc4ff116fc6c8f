/* Managed policies attached to users, roles and groups, and permissions boundaries. Loop thread. */
#include "service/iam/iam_int.h"

#define ATTACHED_MAX 10

static const char *const quotas[ENTITY_TYPES] = {
    "PoliciesPerUser", "PoliciesPerRole", "PoliciesPerGroup", NULL};

/* Index of a policy among those attached, -1 when it is not there. */
static ssize_t index_of(const json_t *doc, const char *arn)
{
	const json_t *attached = json_object_get(doc, "attached");

	for (size_t i = 0; i < json_array_size(attached); i++)
		if (strcmp(json_string_value(json_array_get(attached, i)), arn) == 0)
			return (ssize_t)i;
	return -1;
}

static int attach(
    struct call *c, enum entity_type t, const char *name, const char *arn, struct err *e)
{
	struct entity *o;
	json_t *doc, *attached;
	int r = entity_get(c, t, name, &o, e);

	if (r == 0)
		r = policy_attachable(c, arn, e);
	if (r < 0 || index_of(o->latest, arn) >= 0)
		return r;
	if (json_array_size(json_object_get(o->latest, "attached")) >= ATTACHED_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION, "Cannot exceed quota for %s: %d",
		    quotas[t], ATTACHED_MAX);
	doc = entity_edit(o);
	attached = json_object_get(doc, "attached");
	if (!attached) {
		attached = json_array();
		json_object_set_new(doc, "attached", attached);
	}
	json_array_append_new(attached, json_string(arn));
	return iam_change_commit(c, o, doc);
}

static int detach(
    struct call *c, enum entity_type t, const char *name, const char *arn, struct err *e)
{
	struct entity *o;
	json_t *doc;
	ssize_t at;
	int r = entity_get(c, t, name, &o, e);

	if (r < 0)
		return r;
	at = index_of(o->latest, arn);
	if (at < 0)
		return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "Policy %.200s was not found.", arn);
	doc = entity_edit(o);
	json_array_remove(json_object_get(doc, "attached"), (size_t)at);
	return iam_change_commit(c, o, doc);
}

/* ---- listing ---- */

/* The path in "arn:aws:iam::123456789012:policy/the/path/name": between the first slash and the
 * last, both of which belong to it. */
static struct str path_of(const char *arn)
{
	const char *from = strchr(arn, '/'), *to = strrchr(arn, '/');

	return (struct str){from, (size_t)(to - from) + 1};
}

static int list(struct call *c, enum entity_type t, const char *name, const char *path_prefix,
    const char *marker, const int64_t *max_items, struct page *page,
    const struct iam_attached_policies_list_type **ret, struct err *e)
{
	struct iam_attached_policies_list_type *list_ =
	    call_new(c, struct iam_attached_policies_list_type);
	struct iam_attached_policy *items;
	const json_t *doc, *attached;
	size_t count = 0;
	int r = entity_read(c, t, name, &doc, e);

	if (r < 0)
		return r;
	attached = json_object_get(doc, "attached");
	items = call_array(c, json_array_size(attached) + 1, struct iam_attached_policy);
	for (size_t i = 0; i < json_array_size(attached); i++) {
		const char *arn = json_string_value(json_array_get(attached, i));

		if (path_prefix && !str_has_prefix(path_of(arn), path_prefix))
			continue;
		items[count++] = (struct iam_attached_policy){
		    call_str(c, arn), call_str(c, strrchr(arn, '/') + 1)};
	}
	r = list_slice(c, marker, max_items, count, page, e);
	if (r < 0)
		return r;
	*list_ = (struct iam_attached_policies_list_type){page->count, items + page->from};
	*ret = list_;
	return 0;
}

/* ---- users, roles, groups ---- */

int iam_attach_user_policy(struct call *c, const struct iam_attach_user_policy_in *in,
    _unused_ struct iam_attach_user_policy_out *out, struct err *e)
{
	return attach(c, ENTITY_USER, in->user_name, in->policy_arn, e);
}

int iam_attach_role_policy(struct call *c, const struct iam_attach_role_policy_in *in,
    _unused_ struct iam_attach_role_policy_out *out, struct err *e)
{
	return attach(c, ENTITY_ROLE, in->role_name, in->policy_arn, e);
}

int iam_attach_group_policy(struct call *c, const struct iam_attach_group_policy_in *in,
    _unused_ struct iam_attach_group_policy_out *out, struct err *e)
{
	return attach(c, ENTITY_GROUP, in->group_name, in->policy_arn, e);
}

int iam_detach_user_policy(struct call *c, const struct iam_detach_user_policy_in *in,
    _unused_ struct iam_detach_user_policy_out *out, struct err *e)
{
	return detach(c, ENTITY_USER, in->user_name, in->policy_arn, e);
}

int iam_detach_role_policy(struct call *c, const struct iam_detach_role_policy_in *in,
    _unused_ struct iam_detach_role_policy_out *out, struct err *e)
{
	return detach(c, ENTITY_ROLE, in->role_name, in->policy_arn, e);
}

int iam_detach_group_policy(struct call *c, const struct iam_detach_group_policy_in *in,
    _unused_ struct iam_detach_group_policy_out *out, struct err *e)
{
	return detach(c, ENTITY_GROUP, in->group_name, in->policy_arn, e);
}

int iam_list_attached_user_policies(struct call *c,
    const struct iam_list_attached_user_policies_in *in,
    struct iam_list_attached_user_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(c, ENTITY_USER, in->user_name, in->path_prefix, in->marker, in->max_items,
	    &page, &out->attached_policies, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

int iam_list_attached_role_policies(struct call *c,
    const struct iam_list_attached_role_policies_in *in,
    struct iam_list_attached_role_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(c, ENTITY_ROLE, in->role_name, in->path_prefix, in->marker, in->max_items,
	    &page, &out->attached_policies, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

int iam_list_attached_group_policies(struct call *c,
    const struct iam_list_attached_group_policies_in *in,
    struct iam_list_attached_group_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(c, ENTITY_GROUP, in->group_name, in->path_prefix, in->marker, in->max_items,
	    &page, &out->attached_policies, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

/* ---- permissions boundaries: kept like attachments ---- */

int boundary_set(struct call *c, json_t *doc, const char *arn, struct err *e)
{
	int r = arn ? policy_attachable(c, arn, e) : 0;

	if (arn && r == 0)
		doc_set(doc, "boundary", arn);
	return r;
}

const struct iam_attached_permissions_boundary *boundary_show(struct call *c, const json_t *doc)
{
	const char *arn = iam_doc_str(doc, "boundary");
	struct iam_attached_permissions_boundary *shown;

	if (!arn)
		return NULL;
	shown = call_new(c, struct iam_attached_permissions_boundary);
	shown->permissions_boundary_arn = call_str(c, arn);
	shown->permissions_boundary_type = "Policy";
	return shown;
}

static int put_boundary(
    struct call *c, enum entity_type t, const char *name, const char *arn, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, t, name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	r = boundary_set(c, doc, arn, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return iam_change_commit(c, o, doc);
}

static int delete_boundary(struct call *c, enum entity_type t, const char *name, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, t, name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	json_object_del(doc, "boundary");
	return iam_change_commit(c, o, doc);
}

int iam_put_user_permissions_boundary(struct call *c,
    const struct iam_put_user_permissions_boundary_in *in,
    _unused_ struct iam_put_user_permissions_boundary_out *out, struct err *e)
{
	return put_boundary(c, ENTITY_USER, in->user_name, in->permissions_boundary, e);
}

int iam_put_role_permissions_boundary(struct call *c,
    const struct iam_put_role_permissions_boundary_in *in,
    _unused_ struct iam_put_role_permissions_boundary_out *out, struct err *e)
{
	return put_boundary(c, ENTITY_ROLE, in->role_name, in->permissions_boundary, e);
}

int iam_delete_user_permissions_boundary(struct call *c,
    const struct iam_delete_user_permissions_boundary_in *in,
    _unused_ struct iam_delete_user_permissions_boundary_out *out, struct err *e)
{
	return delete_boundary(c, ENTITY_USER, in->user_name, e);
}

int iam_delete_role_permissions_boundary(struct call *c,
    const struct iam_delete_role_permissions_boundary_in *in,
    _unused_ struct iam_delete_role_permissions_boundary_out *out, struct err *e)
{
	return delete_boundary(c, ENTITY_ROLE, in->role_name, e);
}
