/* Documents of entities: reading, building, finding by name, what must hold before a write. */
#include "service/iam/iam_int.h"

#include "base/rand.h"
#include "base/time.h"

const char *iam_doc_str(const json_t *doc, const char *name)
{
	return json_string_value(json_object_get(doc, name));
}

int64_t iam_doc_int(const json_t *doc, const char *name)
{
	return json_integer_value(json_object_get(doc, name));
}

void doc_set(json_t *doc, const char *name, const char *value)
{
	check(json_object_set_new(doc, name, json_string(value)) == 0);
}

void iam_doc_set_int(json_t *doc, const char *name, int64_t value)
{
	check(json_object_set_new(doc, name, json_integer(value)) == 0);
}

static void id_new(const char *prefix, char ret[ENTITY_ID_SIZE])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	size_t len = strlen(prefix);
	uint8_t random[ENTITY_ID_SIZE];

	check(len == 4);
	memcpy(ret, prefix, len);
	rand_bytes(random, sizeof(random));
	for (; len < ENTITY_ID_SIZE - 1; len++)
		ret[len] = letters[random[len] % 32];
	ret[len] = '\0';
}

void doc_place(
    json_t *doc, enum entity_type t, const char *account, const char *name, const char *path)
{
	_cleanup_free_ char *arn =
	    xasprintf("arn:aws:iam::%s:%s%s%s", account, entity_nouns[t], path, name);

	doc_set(doc, "name", name);
	doc_set(doc, "path", path);
	doc_set(doc, "arn", arn);
}

json_t *doc_new(
    struct call *c, enum entity_type t, const char *id_prefix, const char *name, const char *path)
{
	json_t *doc = json_object();
	char id[ENTITY_ID_SIZE];

	id_new(id_prefix, id);
	doc_place(doc, t, c->account, name, path ? path : "/");
	doc_set(doc, "id", id);
	iam_doc_set_int(doc, "created", time_wall_ms());
	json_object_set_new(doc, "tags", json_object());
	return doc;
}

/* ---- finding ---- */

static int missing(enum entity_type t, const char *name, struct err *e)
{
	return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "The %s with name %s cannot be found.",
	    entity_nouns[t], name);
}

int entity_get(
    struct call *c, enum entity_type t, const char *name, struct entity **ret, struct err *e)
{
	struct entity *o = table_find(c->ctx, t, c->account, name);

	if (!o || !o->latest)
		return missing(t, name, e);
	*ret = o;
	return 0;
}

int entity_read(
    struct call *c, enum entity_type t, const char *name, const json_t **ret, struct err *e)
{
	const struct entity *o = table_find(c->ctx, t, c->account, name);

	if (!o || !o->doc)
		return missing(t, name, e);
	*ret = o->doc;
	return 0;
}

json_t *entity_edit(const struct entity *e)
{
	json_t *copy = json_deep_copy(e->latest);

	check(copy);
	return copy;
}

int entity_absent(struct call *c, enum entity_type t, const char *name, struct err *e)
{
	static const struct {
		size_t max;
		const char *quota;
	} limits[ENTITY_TYPES] = {{5000, "UsersPerAccount"}, {1000, "RolesPerAccount"},
	    {300, "GroupsPerAccount"}, {1500, "PoliciesPerAccount"}};

	/* One whose deletion is under way counts as gone: writes happen in order. */
	const struct entity *o = table_find(c->ctx, t, c->account, name);

	if (o && o->latest && t == ENTITY_POLICY)
		return fail(e, IAM_ENTITY_ALREADY_EXISTS_EXCEPTION,
		    "A policy called %s already exists. Duplicate names are not allowed.", name);
	if (o && o->latest)
		return fail(e, IAM_ENTITY_ALREADY_EXISTS_EXCEPTION,
		    "%s with name %s already exists.", entity_titles[t], name);
	if (table_count(c->ctx, t, c->account) >= limits[t].max)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION, "Cannot exceed quota for %s: %zu",
		    limits[t].quota, limits[t].max);
	return 0;
}

struct entity *entity_new(struct call *c, enum entity_type t, const char *name)
{
	struct entity *leaving = table_find(c->ctx, t, c->account, name);

	return leaving ? leaving : table_add(c->ctx, t, c->account, name);
}

int entity_bare(const struct entity *o, struct err *e)
{
	if (json_array_size(json_object_get(o->latest, "attached")))
		return fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete entity, must detach all policies first.");
	if (json_object_size(json_object_get(o->latest, "inline")))
		return fail(e, IAM_DELETE_CONFLICT_EXCEPTION,
		    "Cannot delete entity, must delete policies first.");
	return 0;
}

/* ---- policies by ARN ---- */

static struct entity *find_policy(struct call *c, const char *arn)
{
	bool builtin = strncmp(arn, "arn:aws:iam::aws:policy/", 24) == 0;

	return table_by_arn(c->ctx, ENTITY_POLICY, builtin ? "aws" : c->account, arn);
}

static int check_policy_arn(const char *arn, struct err *e)
{
	if (strncmp(arn, "arn:aws:iam::", 13) == 0 && strstr(arn, ":policy/"))
		return 0;
	return fail(e, AWS_VALIDATION, "ARN %.200s is not valid.", arn);
}

int policy_read(struct call *c, const char *arn, const json_t **ret, struct err *e)
{
	const struct entity *o = find_policy(c, arn);
	int r = check_policy_arn(arn, e);

	if (r < 0)
		return r;
	if (!o || !o->doc)
		return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "Policy %.200s was not found.", arn);
	*ret = o->doc;
	return 0;
}

int policy_get(struct call *c, const char *arn, struct entity **ret, struct err *e)
{
	struct entity *o = find_policy(c, arn);
	int r = check_policy_arn(arn, e);

	if (r < 0)
		return r;
	if (!o || !o->latest)
		return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION, "Policy %.200s was not found.", arn);
	if (strcmp(o->account, c->account) != 0)
		return fail(
		    e, AWS_ACCESS_DENIED, "Policy %.200s is outside your own account.", arn);
	*ret = o;
	return 0;
}

int policy_attachable(struct call *c, const char *arn, struct err *e)
{
	const struct entity *o = find_policy(c, arn);
	int r = check_policy_arn(arn, e);

	if (r < 0)
		return r;
	if (!o || !o->latest)
		return fail(e, IAM_NO_SUCH_ENTITY_EXCEPTION,
		    "Policy %.200s does not exist or is not attachable.", arn);
	return 0;
}

int user_or_caller(struct call *c, const char *name, const char **ret, struct err *e)
{
	const char *slash = strrchr(c->principal.arn, '/');

	if (!name && c->principal.type == AWS_USER && slash)
		name = slash + 1;
	if (!name)
		return fail(e, AWS_VALIDATION,
		    "Must specify userName when calling with non-User credentials");
	*ret = name;
	return 0;
}

const char *show_document(struct call *c, const char *text)
{
	struct str s = str_from(text);
	char *out = arena_alloc(c->arena, 3 * s.len + 1);

	out[url_encode(s, false, out)] = '\0';
	return out;
}
