/* TagResource, UntagResource, ListTagsForResource, and tags of whatever is made. Loop thread. */
#include "service/ecs/ecs_int.h"

int ecs_tags_check(const json_t *tags, struct err *e)
{
	size_t i, j;
	json_t *t;

	json_array_foreach(tags, i, t)
	{
		const char *key = docs_str(t, "key");

		if (!key)
			return fail(
			    e, ECS_INVALID_PARAMETER_EXCEPTION, "Tag keys can not be empty.");
		if (str_eq_nocase((struct str){key, min_size(strlen(key), 4)}, STR("aws:")))
			return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
			    "Tag keys can not begin with aws: as that is reserved.");
		for (j = 0; j < i; j++)
			if (!strcmp(docs_str(json_array_get(tags, j), "key"), key))
				return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
				    "Duplicate tag keys found. Please note that Tag keys are case "
				    "insensitive.");
	}
	return 0;
}

int ecs_tags_merge(json_t *doc, const json_t *given, struct err *e)
{
	int r = ecs_tags_check(given, e);
	json_t *tags = ecs_json_list(doc, "tags"), *t;
	size_t i;

	if (r < 0)
		return r;
	json_array_foreach(given, i, t)
	{
		json_t *old = ecs_json_find(tags, "key", docs_str(t, "key"));

		if (old)
			json_object_update(old, t);
		else
			json_array_append_new(tags, json_deep_copy(t));
	}
	if (json_array_size(tags) > TAGS_MAX)
		return fail(e, ECS_LIMIT_EXCEEDED_EXCEPTION,
		    "The number of tags on a resource can not exceed %d: remove some first.",
		    TAGS_MAX);
	return 0;
}

/* ---- what an ARN names ---- */

struct tagged {
	json_t *doc;        /* a copy, with its "tags" */
	struct docs *table; /* NULL: a task or an instance */
	const char *key, *cluster;
	bool task;
};

static void tagged_done(struct tagged *t)
{
	json_decref(t->doc);
}
#define _cleanup_tagged_ _cleanup_(tagged_done)

static struct str kind_of(const char *arn)
{
	struct str rest = str_from(arn);

	for (int i = 0; i < 5; i++)
		str_cut(&rest, ':');
	return str_cut(&rest, '/');
}

/* "cluster/id" in two; the cluster must be there. */
static int split(
    struct call *c, const char *name, const char **ret_cluster, const char **ret_id, struct err *e)
{
	struct str rest = str_from(name);
	json_t *cluster = NULL;
	int r;

	*ret_cluster = call_strn(c, str_cut(&rest, '/'));
	*ret_id = rest.ptr ? rest.ptr : "";
	r = ecs_cluster_find(c, *ret_cluster, &cluster, e);
	json_decref(cluster);
	return r;
}

static int find_cluster(struct call *c, const char *arn, struct tagged *ret, struct err *e)
{
	const char *name;
	json_t *cluster = NULL;
	int r = ecs_cluster_find(c, arn, &cluster, e);

	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	ret->table = ecs_of(c)->clusters;
	ret->key = ecs_key(c, "%s", name);
	ret->doc = ecs_cluster_latest(c, name);
	json_decref(cluster);
	return 0;
}

static int find_definition(struct call *c, const char *arn, struct tagged *ret)
{
	ret->doc = ecs_definition_get(c, arn, true);
	ret->table = ecs_of(c)->definitions;
	if (ret->doc)
		ret->key = ecs_definition_key(c, ret->doc);
	return 0;
}

static int find_provider(struct call *c, const char *name, struct tagged *ret)
{
	_cleanup_json_ json_t *found = ecs_provider_get(c, name);

	if (!found)
		return 0;
	ret->table = ecs_of(c)->providers;
	ret->key = ecs_provider_key(c, found);
	ret->doc = ecs_json_ref(docs_latest(ret->table, ret->key));
	return 0;
}

static int find_inside(
    struct call *c, const char *name, bool task, struct tagged *ret, struct err *e)
{
	const char *id;
	int r = split(c, name, &ret->cluster, &id, e);

	if (r < 0)
		return r;
	ret->task = task;
	ret->doc = task ? ecs_json_ref(ecs_task_get(c, ret->cluster, id))
			: ecs_instance_get(c, ret->cluster, id, true);
	return 0;
}

static int find(struct call *c, const char *arn, struct tagged *ret, struct err *e)
{
	struct str kind = kind_of(arn);
	const char *name, *word;
	json_t *copy;
	int r;

	*ret = (struct tagged){0};
	word = call_strn(c, kind.ptr ? kind : STR("resource"));
	if (!str_has_prefix(str_from(arn), "arn:"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The specified resource ARN is not valid. Specify a valid ARN and try again.");
	r = ecs_name(c, arn, word, &name, e);
	if (r < 0)
		return r;
	if (str_is(kind, "cluster"))
		r = find_cluster(c, arn, ret, e);
	else if (str_is(kind, "task-definition"))
		r = find_definition(c, arn, ret);
	else if (str_is(kind, "capacity-provider"))
		r = find_provider(c, name, ret);
	else if (str_is(kind, "task") || str_is(kind, "container-instance"))
		r = find_inside(c, name, str_is(kind, "task"), ret, e);
	if (r < 0)
		return r;
	if (!ret->doc)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The specified %s is not found or inactive. Specify a valid resource and try "
		    "again.",
		    str_is(kind, "task") ? "task" : "resource");
	copy = json_deep_copy(ret->doc);
	json_decref(ret->doc);
	ret->doc = copy;
	return 0;
}

/* ---- saving; a task's tags change through the room that keeps it ---- */

static int nothing(_unused_ struct call *c, _unused_ json_t *data, _unused_ struct err *e)
{
	return 0;
}

static int save(struct call *c, const struct tagged *t, struct err *e)
{
	struct ecs *ecs = ecs_of(c);
	struct docs_change *g;
	struct ecs_wait *w;

	if (t->task) {
		w = ecs_wait_new(c, nothing, NULL);
		tasks_update(ecs->tasks, docs_str(t->doc, "taskArn"),
		    json_pack("{s:O}", "tags", json_object_get(t->doc, "tags")), ecs_wait_done,
		    ecs_wait_more(w));
		return ecs_wait_return(w, e);
	}
	g = docs_change_new(ecs->store);
	if (t->table)
		docs_put(g, t->table, t->key, json_incref(t->doc));
	else
		ecs_instance_put(c, g, t->cluster, t->doc);
	return docs_commit_call(c, g);
}

int ecs_tag_resource(struct call *c, const struct ecs_tag_resource_in *in,
    _unused_ struct ecs_tag_resource_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);
	_cleanup_tagged_ struct tagged t;
	int r = find(c, in->resource_arn, &t, e);

	if (r == 0)
		r = ecs_tags_merge(t.doc, json_object_get(input, "tags"), e);
	return r < 0 ? r : save(c, &t, e);
}

int ecs_untag_resource(struct call *c, const struct ecs_untag_resource_in *in,
    _unused_ struct ecs_untag_resource_out *out, struct err *e)
{
	_cleanup_tagged_ struct tagged t;
	int r = find(c, in->resource_arn, &t, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < in->tag_keys->count; i++) {
		json_t *tags = ecs_json_list(t.doc, "tags"), *tag;
		size_t at;

		json_array_foreach(tags, at, tag)
		{
			if (strcmp(docs_str(tag, "key"), in->tag_keys->items[i]) != 0)
				continue;
			json_array_remove(tags, at);
			break;
		}
	}
	return save(c, &t, e);
}

int ecs_list_tags_for_resource(struct call *c, const struct ecs_list_tags_for_resource_in *in,
    _unused_ struct ecs_list_tags_for_resource_out *out, struct err *e)
{
	_cleanup_tagged_ struct tagged t;
	int r = find(c, in->resource_arn, &t, e);

	if (r < 0)
		return r;
	return ecs_answer(c, json_pack("{s:O}", "tags", ecs_json_list(t.doc, "tags")), e);
}
