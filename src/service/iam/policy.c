/* Managed policies and their versions. Loop thread. */
#include "service/iam/iam_int.h"

#include "base/time.h"
#include "service/iam/document.h"

#define VERSIONS_MAX 5
#define POLICY_MAX 6144

static void show(struct call *c, const json_t *doc, bool whole, struct iam_policy *ret)
{
	struct policy_use use = change_uses(c->ctx, c->account, iam_doc_str(doc, "arn"));

	*ret = (struct iam_policy){
	    .arn = call_str(c, iam_doc_str(doc, "arn")),
	    .attachment_count = call_int(c, use.attached),
	    .create_date = call_int(c, iam_doc_int(doc, "created")),
	    .default_version_id = call_str(c, iam_doc_str(doc, "default")),
	    .description = whole ? call_str(c, iam_doc_str(doc, "description")) : NULL,
	    .is_attachable = call_bool(c, true),
	    .path = call_str(c, iam_doc_str(doc, "path")),
	    .permissions_boundary_usage_count = call_int(c, use.boundaries),
	    .policy_id = call_str(c, iam_doc_str(doc, "id")),
	    .policy_name = call_str(c, iam_doc_str(doc, "name")),
	    .tags = whole ? tags_show(c, doc, true) : NULL,
	    .update_date = call_int(c, iam_doc_int(doc, "updated")),
	};
}

static int check_document(const char *text, struct err *e)
{
	if (document_size(text) > POLICY_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "Cannot exceed quota for PolicySize: %d", POLICY_MAX);
	return document_check(text, POLICY_IDENTITY, e);
}

/* Append the next version; returns it. */
static const json_t *add_version(json_t *doc, const char *document, bool as_default)
{
	int64_t number = iam_doc_int(doc, "next");
	_cleanup_free_ char *id = xasprintf("v%" PRId64, number);
	json_t *version = json_object();

	doc_set(version, "id", id);
	doc_set(version, "document", document);
	iam_doc_set_int(version, "created", time_wall_ms());
	json_array_append_new(json_object_get(doc, "versions"), version);
	iam_doc_set_int(doc, "next", number + 1);
	iam_doc_set_int(doc, "updated", time_wall_ms());
	if (as_default)
		doc_set(doc, "default", id);
	return version;
}

int iam_create_policy(struct call *c, const struct iam_create_policy_in *in,
    struct iam_create_policy_out *out, struct err *e)
{
	struct iam_policy *policy = call_new(c, struct iam_policy);
	json_t *doc;
	int r = check_document(in->policy_document, e);

	if (r == 0)
		r = entity_absent(c, ENTITY_POLICY, in->policy_name, e);
	if (r < 0)
		return r;
	doc = doc_new(c, ENTITY_POLICY, "ANPA", in->policy_name, in->path);
	json_object_set_new(doc, "versions", json_array());
	iam_doc_set_int(doc, "next", 1);
	add_version(doc, in->policy_document, true);
	if (in->description && *in->description)
		doc_set(doc, "description", in->description);
	r = tags_add(doc, in->tags, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	show(c, doc, true, policy);
	out->policy = policy;
	return iam_change_commit(c, entity_new(c, ENTITY_POLICY, in->policy_name), doc);
}

int iam_get_policy(struct call *c, const struct iam_get_policy_in *in,
    struct iam_get_policy_out *out, struct err *e)
{
	struct iam_policy *policy = call_new(c, struct iam_policy);
	const json_t *doc;
	int r = policy_read(c, in->policy_arn, &doc, e);

	if (r == 0)
		show(c, doc, true, policy);
	out->policy = policy;
	return r;
}

static bool wanted(const struct listing *l, const struct entity *p)
{
	const struct iam_list_policies_in *in = l->ctx;
	const char *scope = in->scope ? in->scope : "All", *usage = in->policy_usage_filter;
	bool builtin = strcmp(p->account, "aws") == 0;
	struct policy_use use = change_uses(l->c->ctx, l->c->account, iam_doc_str(p->doc, "arn"));
	bool bound = usage && strcmp(usage, "PermissionsBoundary") == 0;

	if (strcmp(scope, "All") != 0 && (strcmp(scope, "AWS") == 0) != builtin)
		return false;
	if (bound && !use.boundaries)
		return false;
	if (in->only_attached && *in->only_attached)
		return use.attached > 0;
	return true;
}

int iam_list_policies(struct call *c, const struct iam_list_policies_in *in,
    struct iam_list_policies_out *out, struct err *e)
{
	struct listing l = {.c = c,
	    .type = ENTITY_POLICY,
	    .path_prefix = in->path_prefix,
	    .keep = wanted,
	    .ctx = in};
	struct iam_policy_list_type *list = call_new(c, struct iam_policy_list_type);
	struct iam_policy *items;
	int r = list_entities(&l, in->marker, in->max_items, e);

	if (r < 0)
		return r;
	items = call_array(c, l.count + 1, struct iam_policy);
	for (size_t i = 0; i < l.count; i++)
		show(c, l.items[i]->doc, false, &items[i]);
	*list = (struct iam_policy_list_type){l.count, items};
	out->policies = list;
	out->is_truncated = l.is_truncated;
	out->marker = l.marker;
	return 0;
}

int iam_delete_policy(struct call *c, const struct iam_delete_policy_in *in,
    _unused_ struct iam_delete_policy_out *out, struct err *e)
{
	struct policy_use use;
	struct entity *o;
	int r = policy_get(c, in->policy_arn, &o, e);

	if (r < 0)
		return r;
	use = change_uses(c->ctx, c->account, in->policy_arn);
	if (use.attached || use.boundaries)
		return fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete a policy attached to entities.");
	if (json_array_size(json_object_get(o->latest, "versions")) > 1)
		return fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "This policy has more than one version. Before you delete a policy, you must "
		    "delete the policy's versions. The default version is deleted with the "
		    "policy.");
	return iam_change_commit(c, o, NULL);
}

/* ---- versions ---- */

static int find_version(
    const json_t *doc, const char *arn, const char *id, size_t *ret, struct err *e)
{
	const json_t *versions = json_object_get(doc, "versions");

	for (size_t i = 0; i < json_array_size(versions); i++)
		if (strcmp(iam_doc_str(json_array_get(versions, i), "id"), id) == 0) {
			*ret = i;
			return 0;
		}
	return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION,
	    "Policy %.180s version %.20s does not exist or is not attachable.", arn, id);
}

static void show_version(struct call *c, const json_t *doc, const json_t *version, bool whole,
    struct iam_policy_version *ret)
{
	const char *id = iam_doc_str(version, "id");

	*ret = (struct iam_policy_version){
	    .create_date = call_int(c, iam_doc_int(version, "created")),
	    .document = whole ? show_document(c, iam_doc_str(version, "document")) : NULL,
	    .is_default_version = call_bool(c, strcmp(id, iam_doc_str(doc, "default")) == 0),
	    .version_id = call_str(c, id),
	};
}

int iam_create_policy_version(struct call *c, const struct iam_create_policy_version_in *in,
    struct iam_create_policy_version_out *out, struct err *e)
{
	struct iam_policy_version *shown = call_new(c, struct iam_policy_version);
	struct entity *o;
	json_t *doc;
	int r = policy_get(c, in->policy_arn, &o, e);

	if (r == 0)
		r = check_document(in->policy_document, e);
	if (r < 0)
		return r;
	if (json_array_size(json_object_get(o->latest, "versions")) >= VERSIONS_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "A managed policy can have up to %d versions. Before you create a new "
		    "version, you must delete an existing version.",
		    VERSIONS_MAX);
	doc = entity_edit(o);
	show_version(c, doc,
	    add_version(doc, in->policy_document, in->set_as_default && *in->set_as_default), false,
	    shown);
	out->policy_version = shown;
	return iam_change_commit(c, o, doc);
}

int iam_get_policy_version(struct call *c, const struct iam_get_policy_version_in *in,
    struct iam_get_policy_version_out *out, struct err *e)
{
	struct iam_policy_version *shown = call_new(c, struct iam_policy_version);
	const json_t *doc;
	size_t at;
	int r = policy_read(c, in->policy_arn, &doc, e);

	if (r == 0)
		r = find_version(doc, in->policy_arn, in->version_id, &at, e);
	if (r == 0)
		show_version(
		    c, doc, json_array_get(json_object_get(doc, "versions"), at), true, shown);
	out->policy_version = shown;
	return r;
}

int iam_list_policy_versions(struct call *c, const struct iam_list_policy_versions_in *in,
    struct iam_list_policy_versions_out *out, struct err *e)
{
	struct iam_policy_document_version_list_type *list =
	    call_new(c, struct iam_policy_document_version_list_type);
	struct iam_policy_version *items;
	const json_t *doc, *versions;
	struct page page;
	size_t total;
	int r = policy_read(c, in->policy_arn, &doc, e);

	if (r < 0)
		return r;
	versions = json_object_get(doc, "versions");
	total = json_array_size(versions);
	r = list_slice(c, in->marker, in->max_items, total, &page, e);
	if (r < 0)
		return r;
	items = call_array(c, page.count + 1, struct iam_policy_version);
	for (size_t i = 0; i < page.count; i++) /* the newest first */
		show_version(
		    c, doc, json_array_get(versions, total - 1 - page.from - i), false, &items[i]);
	*list = (struct iam_policy_document_version_list_type){page.count, items};
	out->versions = list;
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return 0;
}

int iam_set_default_policy_version(struct call *c,
    const struct iam_set_default_policy_version_in *in,
    _unused_ struct iam_set_default_policy_version_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	size_t at;
	int r = policy_get(c, in->policy_arn, &o, e);

	if (r == 0)
		r = find_version(o->latest, in->policy_arn, in->version_id, &at, e);
	if (r < 0)
		return r;
	doc = entity_edit(o);
	doc_set(doc, "default", in->version_id);
	iam_doc_set_int(doc, "updated", time_wall_ms());
	return iam_change_commit(c, o, doc);
}

int iam_delete_policy_version(struct call *c, const struct iam_delete_policy_version_in *in,
    _unused_ struct iam_delete_policy_version_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	size_t at;
	int r = policy_get(c, in->policy_arn, &o, e);

	if (r == 0)
		r = find_version(o->latest, in->policy_arn, in->version_id, &at, e);
	if (r < 0)
		return r;
	if (strcmp(iam_doc_str(o->latest, "default"), in->version_id) == 0)
		return fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete the default version of a policy.");
	doc = entity_edit(o);
	json_array_remove(json_object_get(doc, "versions"), at);
	return iam_change_commit(c, o, doc);
}
