/* Policies written into a user, role or group. Loop thread. */
#include "service/iam/iam_int.h"

#include "service/iam/document.h"

/* Of all inline policies of one entity together, white space not counted. */
static const size_t sizes[ENTITY_TYPES] = {2048, 10240, 5120, 0};

static int missing(enum entity_type t, const char *name, struct err *e)
{
	return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "The %s policy with name %s cannot be found.",
	    entity_nouns[t], name);
}

static int check_size(enum entity_type t, const json_t *doc, struct err *e)
{
	size_t sum = 0;
	const char *name;
	json_t *text;

	json_object_foreach(json_object_get(doc, "inline"), name, text) sum +=
	    document_size(json_string_value(text));
	if (sum <= sizes[t])
		return 0;
	return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
	    "Maximum policy size of %zu bytes exceeded for %s %s", sizes[t], entity_nouns[t],
	    iam_doc_str(doc, "name"));
}

static int put(struct call *c, enum entity_type t, const char *name, const char *policy,
    const char *text, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, t, name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	if (!json_object_get(doc, "inline"))
		json_object_set_new(doc, "inline", json_object());
	doc_set(json_object_get(doc, "inline"), policy, text);
	r = check_size(t, doc, e);
	if (r == 0)
		r = document_check(text, POLICY_IDENTITY, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return iam_change_commit(c, o, doc);
}

/* The policy's text, percent-encoded, and the entity's name as it was given when made. */
static int get(struct call *c, enum entity_type t, const char **name, const char *policy,
    const char **ret_text, struct err *e)
{
	const json_t *doc;
	const char *text;
	int r = entity_read(c, t, *name, &doc, e);

	if (r < 0)
		return r;
	text = iam_doc_str(json_object_get(doc, "inline"), policy);
	if (!text)
		return missing(t, policy, e);
	*name = call_str(c, iam_doc_str(doc, "name"));
	*ret_text = show_document(c, text);
	return 0;
}

static int take(
    struct call *c, enum entity_type t, const char *name, const char *policy, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, t, name, &o, e);

	if (r < 0)
		return r;
	if (!json_object_get(json_object_get(o->latest, "inline"), policy))
		return missing(t, policy, e);
	doc = entity_edit(o);
	json_object_del(json_object_get(doc, "inline"), policy);
	return iam_change_commit(c, o, doc);
}

static int list(struct call *c, enum entity_type t, const char *name, const char *marker,
    const int64_t *max_items, struct page *page, const struct iam_policy_name_list_type **ret,
    struct err *e)
{
	struct iam_policy_name_list_type *names = call_new(c, struct iam_policy_name_list_type);
	const json_t *doc;
	const char **items, *policy;
	json_t *all, *text;
	size_t count = 0;
	int r = entity_read(c, t, name, &doc, e);

	if (r < 0)
		return r;
	all = json_object_get(doc, "inline");
	items = call_array(c, json_object_size(all) + 1, const char *);
	json_object_foreach(all, policy, text) items[count++] = call_str(c, policy);
	r = list_slice(c, marker, max_items, count, page, e);
	if (r < 0)
		return r;
	*names = (struct iam_policy_name_list_type){page->count, items + page->from};
	*ret = names;
	return 0;
}

/* ---- users ---- */

int iam_put_user_policy(struct call *c, const struct iam_put_user_policy_in *in,
    _unused_ struct iam_put_user_policy_out *out, struct err *e)
{
	return put(c, ENTITY_USER, in->user_name, in->policy_name, in->policy_document, e);
}

int iam_get_user_policy(struct call *c, const struct iam_get_user_policy_in *in,
    struct iam_get_user_policy_out *out, struct err *e)
{
	out->policy_name = in->policy_name;
	out->user_name = in->user_name;
	return get(c, ENTITY_USER, &out->user_name, in->policy_name, &out->policy_document, e);
}

int iam_delete_user_policy(struct call *c, const struct iam_delete_user_policy_in *in,
    _unused_ struct iam_delete_user_policy_out *out, struct err *e)
{
	return take(c, ENTITY_USER, in->user_name, in->policy_name, e);
}

int iam_list_user_policies(struct call *c, const struct iam_list_user_policies_in *in,
    struct iam_list_user_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(
	    c, ENTITY_USER, in->user_name, in->marker, in->max_items, &page, &out->policy_names, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

/* ---- roles ---- */

int iam_put_role_policy(struct call *c, const struct iam_put_role_policy_in *in,
    _unused_ struct iam_put_role_policy_out *out, struct err *e)
{
	return put(c, ENTITY_ROLE, in->role_name, in->policy_name, in->policy_document, e);
}

int iam_get_role_policy(struct call *c, const struct iam_get_role_policy_in *in,
    struct iam_get_role_policy_out *out, struct err *e)
{
	out->policy_name = in->policy_name;
	out->role_name = in->role_name;
	return get(c, ENTITY_ROLE, &out->role_name, in->policy_name, &out->policy_document, e);
}

int iam_delete_role_policy(struct call *c, const struct iam_delete_role_policy_in *in,
    _unused_ struct iam_delete_role_policy_out *out, struct err *e)
{
	return take(c, ENTITY_ROLE, in->role_name, in->policy_name, e);
}

int iam_list_role_policies(struct call *c, const struct iam_list_role_policies_in *in,
    struct iam_list_role_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(
	    c, ENTITY_ROLE, in->role_name, in->marker, in->max_items, &page, &out->policy_names, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

/* ---- groups ---- */

int iam_put_group_policy(struct call *c, const struct iam_put_group_policy_in *in,
    _unused_ struct iam_put_group_policy_out *out, struct err *e)
{
	return put(c, ENTITY_GROUP, in->group_name, in->policy_name, in->policy_document, e);
}

int iam_get_group_policy(struct call *c, const struct iam_get_group_policy_in *in,
    struct iam_get_group_policy_out *out, struct err *e)
{
	out->policy_name = in->policy_name;
	out->group_name = in->group_name;
	return get(c, ENTITY_GROUP, &out->group_name, in->policy_name, &out->policy_document, e);
}

int iam_delete_group_policy(struct call *c, const struct iam_delete_group_policy_in *in,
    _unused_ struct iam_delete_group_policy_out *out, struct err *e)
{
	return take(c, ENTITY_GROUP, in->group_name, in->policy_name, e);
}

int iam_list_group_policies(struct call *c, const struct iam_list_group_policies_in *in,
    struct iam_list_group_policies_out *out, struct err *e)
{
	struct page page = {0};
	int r = list(c, ENTITY_GROUP, in->group_name, in->marker, in->max_items, &page,
	    &out->policy_names, e);

	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}
