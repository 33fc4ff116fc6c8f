/* ListEntitiesForPolicy: which users, roles and groups have a policy. Loop thread. */
#include "service/iam/iam_int.h"

/* One page over all users, then all roles, then all groups that have it. */
struct finding {
	struct call *c;
	const struct iam_list_entities_for_policy_in *in;
	const json_t **items[ENTITY_TYPES];
	size_t counts[ENTITY_TYPES];
	size_t seen;
};

static bool has(const struct finding *f, const json_t *doc)
{
	const json_t *attached = json_object_get(doc, "attached");
	const char *usage = f->in->policy_usage_filter, *boundary = iam_doc_str(doc, "boundary");
	bool found = false;

	for (size_t i = 0; i < json_array_size(attached) && !found; i++)
		found =
		    strcmp(json_string_value(json_array_get(attached, i)), f->in->policy_arn) == 0;
	if (usage && strcmp(usage, "PermissionsPolicy") == 0)
		return found;
	if (usage)
		found = false;
	return found || (boundary && strcmp(boundary, f->in->policy_arn) == 0);
}

static bool type_wanted(const struct finding *f, enum entity_type t)
{
	static const char *const names[] = {"User", "Role", "Group"};
	const char *filter = f->in->entity_filter;

	return !filter || strcmp(filter, names[t]) == 0;
}

static void find(struct finding *f, enum entity_type t)
{
	const struct iam *m = f->c->ctx;
	const struct table *table = &m->tables[t];

	f->items[t] = call_array(f->c, table->count + 1, const json_t *);
	for (size_t i = 0; i < table->count && type_wanted(f, t); i++) {
		const json_t *doc = table->items[i]->doc;

		if (!doc || strcmp(table->items[i]->account, f->c->account) != 0 || !has(f, doc))
			continue;
		if (f->in->path_prefix &&
		    !str_has_prefix(str_from(iam_doc_str(doc, "path")), f->in->path_prefix))
			continue;
		f->items[t][f->counts[t]++] = doc;
	}
	f->seen += f->counts[t];
}

/* What of this type is on the page: the page is a stretch of all three after one another. */
static size_t cut(struct finding *f, enum entity_type t, const struct page *p)
{
	size_t before = 0, from, to;

	for (size_t i = 0; i < t; i++)
		before += f->counts[i];
	from = min_size(p->from > before ? p->from - before : 0, f->counts[t]);
	to = p->from + p->count > before ? p->from + p->count - before : 0;
	to = min_size(to, f->counts[t]);
	f->items[t] += from;
	return to > from ? to - from : 0;
}

static void show(
    struct finding *f, const struct page *p, struct iam_list_entities_for_policy_out *out)
{
	struct call *c = f->c;
	size_t counts[ENTITY_TYPES];
	struct iam_policy_user_list_type *users = call_new(c, struct iam_policy_user_list_type);
	struct iam_policy_role_list_type *roles = call_new(c, struct iam_policy_role_list_type);
	struct iam_policy_group_list_type *groups = call_new(c, struct iam_policy_group_list_type);
	struct iam_policy_user *u;
	struct iam_policy_role *r;
	struct iam_policy_group *g;

	for (int t = ENTITY_USER; t <= ENTITY_GROUP; t++)
		counts[t] = cut(f, (enum entity_type)t, p);
	u = call_array(c, counts[ENTITY_USER] + 1, struct iam_policy_user);
	r = call_array(c, counts[ENTITY_ROLE] + 1, struct iam_policy_role);
	g = call_array(c, counts[ENTITY_GROUP] + 1, struct iam_policy_group);
	for (size_t i = 0; i < counts[ENTITY_USER]; i++)
		u[i] = (struct iam_policy_user){
		    call_str(c, iam_doc_str(f->items[ENTITY_USER][i], "id")),
		    call_str(c, iam_doc_str(f->items[ENTITY_USER][i], "name"))};
	for (size_t i = 0; i < counts[ENTITY_ROLE]; i++)
		r[i] = (struct iam_policy_role){
		    call_str(c, iam_doc_str(f->items[ENTITY_ROLE][i], "id")),
		    call_str(c, iam_doc_str(f->items[ENTITY_ROLE][i], "name"))};
	for (size_t i = 0; i < counts[ENTITY_GROUP]; i++)
		g[i] = (struct iam_policy_group){
		    call_str(c, iam_doc_str(f->items[ENTITY_GROUP][i], "id")),
		    call_str(c, iam_doc_str(f->items[ENTITY_GROUP][i], "name"))};
	*users = (struct iam_policy_user_list_type){counts[ENTITY_USER], u};
	*roles = (struct iam_policy_role_list_type){counts[ENTITY_ROLE], r};
	*groups = (struct iam_policy_group_list_type){counts[ENTITY_GROUP], g};
	out->policy_users = users;
	out->policy_roles = roles;
	out->policy_groups = groups;
}

int iam_list_entities_for_policy(struct call *c, const struct iam_list_entities_for_policy_in *in,
    struct iam_list_entities_for_policy_out *out, struct err *e)
{
	struct finding f = {.c = c, .in = in};
	struct page page;
	const json_t *doc;
	int r = policy_read(c, in->policy_arn, &doc, e);

	if (r < 0)
		return r;
	for (int t = ENTITY_USER; t <= ENTITY_GROUP; t++)
		find(&f, (enum entity_type)t);
	r = list_slice(c, in->marker, in->max_items, f.seen, &page, e);
	if (r < 0)
		return r;
	show(&f, &page, out);
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return 0;
}
