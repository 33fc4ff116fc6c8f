/* Roles. Loop thread. */
#include "service/iam/iam_int.h"

#include "service/iam/document.h"

#define SESSION_DEFAULT_S 3600
#define TRUST_MAX 2048

static void show(struct call *c, const json_t *doc, bool whole, struct iam_role *ret)
{
	const char *description = iam_doc_str(doc, "description");

	*ret = (struct iam_role){
	    .arn = call_str(c, iam_doc_str(doc, "arn")),
	    .assume_role_policy_document = show_document(c, iam_doc_str(doc, "trust")),
	    .create_date = call_int(c, iam_doc_int(doc, "created")),
	    .description = call_str(c, description),
	    .max_session_duration = call_int(c, iam_doc_int(doc, "max_session")),
	    .path = call_str(c, iam_doc_str(doc, "path")),
	    .role_id = call_str(c, iam_doc_str(doc, "id")),
	    .role_name = call_str(c, iam_doc_str(doc, "name")),
	    .role_last_used = whole ? call_new(c, struct iam_role_last_used) : NULL,
	    .tags = whole ? tags_show(c, doc, true) : NULL,
	    .permissions_boundary = whole ? boundary_show(c, doc) : NULL,
	};
}

static int check_trust(const char *text, struct err *e)
{
	if (document_size(text) > TRUST_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "Cannot exceed quota for ACLSizePerRole: %d", TRUST_MAX);
	return document_check(text, POLICY_TRUST, e);
}

static json_t *build(struct call *c, const struct iam_create_role_in *in)
{
	json_t *doc = doc_new(c, ENTITY_ROLE, "AROA", in->role_name, in->path);

	doc_set(doc, "trust", in->assume_role_policy_document);
	iam_doc_set_int(doc, "max_session",
	    in->max_session_duration ? *in->max_session_duration : SESSION_DEFAULT_S);
	if (in->description && *in->description)
		doc_set(doc, "description", in->description);
	return doc;
}

int iam_create_role(struct call *c, const struct iam_create_role_in *in,
    struct iam_create_role_out *out, struct err *e)
{
	struct iam_role *role = call_new(c, struct iam_role);
	json_t *doc;
	int r = check_trust(in->assume_role_policy_document, e);

	if (r == 0)
		r = entity_absent(c, ENTITY_ROLE, in->role_name, e);
	if (r < 0)
		return r;
	doc = build(c, in);
	r = tags_add(doc, in->tags, e);
	if (r == 0)
		r = boundary_set(c, doc, in->permissions_boundary, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	show(c, doc, true, role);
	role->role_last_used = NULL;
	out->role = role;
	return iam_change_commit(c, entity_new(c, ENTITY_ROLE, in->role_name), doc);
}

int iam_get_role(
    struct call *c, const struct iam_get_role_in *in, struct iam_get_role_out *out, struct err *e)
{
	struct iam_role *role = call_new(c, struct iam_role);
	const json_t *doc;
	int r = entity_read(c, ENTITY_ROLE, in->role_name, &doc, e);

	if (r == 0)
		show(c, doc, true, role);
	out->role = role;
	return r;
}

int iam_list_roles(struct call *c, const struct iam_list_roles_in *in,
    struct iam_list_roles_out *out, struct err *e)
{
	struct listing l = {.c = c, .type = ENTITY_ROLE, .path_prefix = in->path_prefix};
	struct iam_role_list_type *list = call_new(c, struct iam_role_list_type);
	struct iam_role *items;
	int r = list_entities(&l, in->marker, in->max_items, e);

	if (r < 0)
		return r;
	items = call_array(c, l.count + 1, struct iam_role);
	for (size_t i = 0; i < l.count; i++)
		show(c, l.items[i]->doc, false, &items[i]);
	*list = (struct iam_role_list_type){l.count, items};
	out->roles = list;
	out->is_truncated = l.is_truncated;
	out->marker = l.marker;
	return 0;
}

static void set_description(json_t *doc, const char *description)
{
	if (*description)
		doc_set(doc, "description", description);
	else
		json_object_del(doc, "description");
}

int iam_update_role(struct call *c, const struct iam_update_role_in *in,
    _unused_ struct iam_update_role_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	if (in->description)
		set_description(doc, in->description);
	if (in->max_session_duration)
		iam_doc_set_int(doc, "max_session", *in->max_session_duration);
	return iam_change_commit(c, o, doc);
}

int iam_update_role_description(struct call *c, const struct iam_update_role_description_in *in,
    struct iam_update_role_description_out *out, struct err *e)
{
	struct iam_role *role = call_new(c, struct iam_role);
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	set_description(doc, in->description);
	show(c, doc, true, role);
	out->role = role;
	return iam_change_commit(c, o, doc);
}

int iam_update_assume_role_policy(struct call *c, const struct iam_update_assume_role_policy_in *in,
    _unused_ struct iam_update_assume_role_policy_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	if (r == 0)
		r = check_trust(in->policy_document, e);
	if (r < 0)
		return r;
	doc = entity_edit(o);
	doc_set(doc, "trust", in->policy_document);
	return iam_change_commit(c, o, doc);
}

int iam_delete_role(struct call *c, const struct iam_delete_role_in *in,
    _unused_ struct iam_delete_role_out *out, struct err *e)
{
	struct entity *o;
	int r = entity_get(c, ENTITY_ROLE, in->role_name, &o, e);

	if (r == 0)
		r = entity_bare(o, e);
	return r < 0 ? r : iam_change_commit(c, o, NULL);
}

/* There are no instances here, so no role is in an instance profile; tools ask before they delete
 * a role. */
int iam_list_instance_profiles_for_role(struct call *c,
    const struct iam_list_instance_profiles_for_role_in *in,
    struct iam_list_instance_profiles_for_role_out *out, struct err *e)
{
	const json_t *doc;

	out->instance_profiles = call_new(c, struct iam_instance_profile_list_type);
	out->is_truncated = call_bool(c, false);
	return entity_read(c, ENTITY_ROLE, in->role_name, &doc, e);
}
