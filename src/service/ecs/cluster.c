/*
 * Clusters. `default` is there before anybody has made it, so that RunTask works on the first day;
 * it is written down when it is changed. Deleted ones stay for an hour, INACTIVE, as on AWS. Loop
 * thread.
 */
#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define DEFAULT "default"

static json_t *new_cluster(struct call *c, const char *name, bool written)
{
	json_t *doc = json_object(), *setting;

	docs_set(doc, "clusterArn", ecs_arn(c, "cluster/%s", name));
	docs_set(doc, "clusterName", name);
	docs_set(doc, "status", "ACTIVE");
	/* What is not on disk must look the same each time. */
	json_object_set_new(doc, "created", written ? ecs_json_now() : json_integer(0));
	ecs_json_list(doc, "capacityProviders");
	ecs_json_list(doc, "defaultCapacityProviderStrategy");
	ecs_json_list(doc, "tags");
	setting = json_pack("{s:s, s:s}", "name", "containerInsights", "value",
	    ecs_setting(c, "containerInsights"));
	json_array_append_new(ecs_json_list(doc, "settings"), setting);
	if (!written) /* associated with both, as clusters that the console makes */
		json_object_set_new(
		    doc, "capacityProviders", json_pack("[s, s]", "FARGATE", "FARGATE_SPOT"));
	return doc;
}

/* A document, or what stands for `default` when there is none. */
static json_t *or_default(struct call *c, const json_t *doc, const char *name)
{
	if (doc)
		return ecs_json_ref(doc);
	return strcmp(name, DEFAULT) ? NULL : new_cluster(c, name, false);
}

static json_t *on_disk(struct call *c, const char *name)
{
	return or_default(c, docs_get(ecs_of(c)->clusters, ecs_key(c, "%s", name)), name);
}

json_t *ecs_cluster_latest(struct call *c, const char *name)
{
	return or_default(c, docs_latest(ecs_of(c)->clusters, ecs_key(c, "%s", name)), name);
}

static bool is_active(const json_t *cluster)
{
	return !strcmp(docs_str(cluster, "status"), "ACTIVE");
}

int ecs_cluster_find(struct call *c, const char *id, json_t **ret, struct err *e)
{
	json_t *doc;
	const char *name;
	int r = ecs_name(c, id ? id : DEFAULT, "cluster", &name, e);

	if (r < 0)
		return r;
	doc = on_disk(c, name);
	if (!doc)
		return fail(e, ECS_CLUSTER_NOT_FOUND_EXCEPTION, "Cluster not found.");
	if (!is_active(doc)) {
		json_decref(doc);
		return fail(
		    e, ECS_CLUSTER_NOT_FOUND_EXCEPTION, "The referenced cluster was inactive.");
	}
	*ret = doc;
	return 0;
}

json_t *ecs_cluster_show(struct call *c, const json_t *cluster)
{
	_cleanup_json_ json_t *instances = NULL;
	json_t *doc = ecs_json_copy(cluster);
	struct ecs_use use = {0};
	bool active = is_active(cluster);

	if (active) {
		ecs_use(c, ecs_cluster_name(cluster), NULL, &use);
		instances = ecs_instances(c, ecs_cluster_name(cluster));
	}
	docs_set_int(doc, "runningTasksCount", (int64_t)use.running);
	docs_set_int(doc, "pendingTasksCount", (int64_t)use.pending);
	docs_set_int(doc, "activeServicesCount", 0);
	docs_set_int(doc, "registeredContainerInstancesCount", (int64_t)json_array_size(instances));
	ecs_json_list(doc, "statistics");
	return doc;
}

/* ---- what may be set ---- */

static int check_settings(const json_t *settings, struct err *e)
{
	size_t i;
	json_t *s;

	json_array_foreach(settings, i, s)
	{
		const char *name = docs_str(s, "name"), *value = docs_str(s, "value");

		if (!name || !value ||
		    (strcmp(value, "enabled") && strcmp(value, "disabled") &&
			strcmp(value, "enhanced")))
			return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
			    "Invalid cluster setting: containerInsights can be enabled, enhanced "
			    "or "
			    "disabled.");
	}
	return 0;
}

static int check_configuration(const json_t *in, struct err *e)
{
	const json_t *exec =
	    json_object_get(json_object_get(in, "configuration"), "executeCommandConfiguration");
	const char *logging = docs_str(exec, "logging");

	if (ecs_json_given(in, "serviceConnectDefaults"))
		return fail(e, ECS_NAMESPACE_NOT_FOUND_EXCEPTION,
		    "The specified namespace does not exist: there are no namespaces here yet, so "
		    "leave serviceConnectDefaults out.");
	if (logging && !strcmp(logging, "OVERRIDE") && !ecs_json_given(exec, "logConfiguration"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "You must specify a log configuration when logging is set to OVERRIDE.");
	return check_settings(json_object_get(in, "settings"), e);
}

/* What the request says of it, into the document. */
static int apply(struct call *c, json_t *doc, const json_t *in, struct err *e)
{
	static const char *const members[] = {
	    "settings", "configuration", "capacityProviders", "defaultCapacityProviderStrategy"};
	int r = check_configuration(in, e);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++) {
		json_t *v = json_object_get(in, members[i]);

		if (v)
			json_object_set_new(doc, members[i], json_deep_copy(v));
	}
	if (r == 0)
		r = ecs_provider_list_check(c, ecs_json_list(doc, "capacityProviders"), e);
	if (r == 0)
		r = ecs_strategy_check(ecs_json_list(doc, "defaultCapacityProviderStrategy"),
		    json_object_get(doc, "capacityProviders"), e);
	if (r == 0 && json_object_get(in, "tags"))
		r = ecs_tags_merge(doc, json_object_get(in, "tags"), e);
	return r;
}

static int put_and_show(struct call *c, json_t *doc, struct err *e)
{
	struct docs_change *g = docs_change_new(ecs_of(c)->store);
	json_t *answer = json_pack("{s:o}", "cluster", ecs_cluster_show(c, doc));

	docs_put(g, ecs_of(c)->clusters, ecs_key(c, "%s", ecs_cluster_name(doc)), doc);
	return ecs_answer_change(c, answer, g, e);
}

/* ---- the operations ---- */

/* Made again with other words: AWS refuses, and with the same it answers the same. */
static int create_again(struct call *c, const json_t *doc, const json_t *in, struct err *e)
{
	static const char *const members[] = {"settings", "configuration", "capacityProviders",
	    "defaultCapacityProviderStrategy", "tags"};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (ecs_json_given(in, members[i]) &&
		    !json_equal(json_object_get(in, members[i]), json_object_get(doc, members[i])))
			return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
			    "Arguments on this idempotent request are inconsistent with arguments "
			    "used in previous request(s).");
	return ecs_answer(c, json_pack("{s:o}", "cluster", ecs_cluster_show(c, doc)), e);
}

int ecs_create_cluster(struct call *c, const struct ecs_create_cluster_in *in,
    _unused_ struct ecs_create_cluster_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);
	const char *name = in->cluster_name ? in->cluster_name : DEFAULT;
	const json_t *old = docs_latest(ecs_of(c)->clusters, ecs_key(c, "%s", name));
	json_t *doc;
	int r;

	if (!ecs_name_good(name, 255))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid cluster name: up to 255 letters (uppercase and lowercase), numbers, "
		    "underscores, and hyphens are allowed.");
	if (old && is_active(old))
		return create_again(c, old, input, e);
	if (!old && docs_count(ecs_of(c)->clusters, ecs_key(c, "%s", "")) >= CLUSTERS_MAX)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "There can be at most %d clusters: delete some first.", CLUSTERS_MAX);
	doc = new_cluster(c, name, true);
	r = apply(c, doc, input, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return put_and_show(c, doc, e);
}

static int update(struct call *c, const char *id, const json_t *in, struct err *e)
{
	_cleanup_json_ json_t *found = NULL, *latest = NULL;
	json_t *doc;
	int r = ecs_cluster_find(c, id, &found, e);

	if (r < 0)
		return r;
	latest = ecs_cluster_latest(c, ecs_cluster_name(found));
	doc = ecs_json_copy(latest);
	r = apply(c, doc, in, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return put_and_show(c, doc, e);
}

int ecs_update_cluster(struct call *c, const struct ecs_update_cluster_in *in,
    _unused_ struct ecs_update_cluster_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);

	return update(c, in->cluster, input, e);
}

int ecs_update_cluster_settings(struct call *c, const struct ecs_update_cluster_settings_in *in,
    _unused_ struct ecs_update_cluster_settings_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);

	return update(c, in->cluster, input, e);
}

/* By name or by ARN. */
static bool names_provider(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *text = json_string_value(v), *slash = strrchr(text, '/');

		if (!strcmp(slash ? slash + 1 : text, name))
			return true;
	}
	return false;
}

int ecs_put_cluster_capacity_providers(struct call *c,
    const struct ecs_put_cluster_capacity_providers_in *in,
    _unused_ struct ecs_put_cluster_capacity_providers_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in), *cluster = NULL;
	size_t i;
	json_t *old;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	json_array_foreach(json_object_get(cluster, "capacityProviders"), i, old)
	{
		const char *name = json_string_value(old);

		if (!names_provider(json_object_get(input, "capacityProviders"), name) &&
		    ecs_provider_used(c, ecs_cluster_name(cluster), name))
			return fail(e, ECS_RESOURCE_IN_USE_EXCEPTION,
			    "The specified capacity provider %s is in use and cannot be removed: "
			    "stop its tasks first.",
			    name);
	}
	return update(c, in->cluster, input, e);
}

static bool cluster_provider(void *ctx, const char *key, const json_t *doc)
{
	bool *found = ctx;

	(void)key;
	*found = *found || docs_str(doc, "cluster");
	return !*found;
}

static int check_empty(struct call *c, const char *name, struct err *e)
{
	struct ecs_use use;
	bool provider = false;

	ecs_use(c, name, NULL, &use);
	if (ecs_instances_foreign(c, name))
		return fail(e, ECS_CLUSTER_CONTAINS_CONTAINER_INSTANCES_EXCEPTION,
		    "The Cluster cannot be deleted while Container Instances are active or "
		    "draining.");
	if (use.active)
		return fail(e, ECS_CLUSTER_CONTAINS_TASKS_EXCEPTION,
		    "The Cluster cannot be deleted while Tasks are active.");
	docs_walk(ecs_of(c)->providers, ecs_key(c, "%s|", name), "", cluster_provider, &provider);
	if (provider)
		return fail(e, ECS_CLUSTER_CONTAINS_CAPACITY_PROVIDER_EXCEPTION,
		    "The Cluster cannot be deleted while Capacity Providers are active.");
	return 0;
}

int ecs_delete_cluster(struct call *c, const struct ecs_delete_cluster_in *in,
    _unused_ struct ecs_delete_cluster_out *out, struct err *e)
{
	_cleanup_json_ json_t *found = NULL;
	struct docs_change *g;
	const char *name;
	json_t *doc;
	int r = ecs_cluster_find(c, in->cluster, &found, e);

	if (r < 0)
		return r;
	name = call_str(c, ecs_cluster_name(found));
	r = check_empty(c, name, e);
	if (r < 0)
		return r;
	doc = ecs_json_copy(found);
	docs_set(doc, "status", "INACTIVE");
	json_object_set_new(doc, "deleted", ecs_json_now());
	g = docs_change_new(ecs_of(c)->store);
	docs_put(g, ecs_of(c)->clusters, ecs_key(c, "%s", name), json_incref(doc));
	ecs_instances_forget(c, g, name);
	r = ecs_answer_change(c, json_pack("{s:o}", "cluster", ecs_cluster_show(c, doc)), g, e);
	json_decref(doc);
	return r;
}

/* Which members are shown when they are asked for only. */
static void hide(json_t *doc, const json_t *include)
{
	static const struct {
		const char *word, *member;
		bool list;
	} parts[] = {
	    {"ATTACHMENTS", "attachments", false},
	    {"CONFIGURATIONS", "configuration", false},
	    {"SETTINGS", "settings", true},
	    {"STATISTICS", "statistics", true},
	    {"TAGS", "tags", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (ecs_json_has(include, parts[i].word))
			continue;
		if (parts[i].list)
			json_object_set_new(doc, parts[i].member, json_array());
		else
			json_object_del(doc, parts[i].member);
	}
}

int ecs_describe_clusters(struct call *c, const struct ecs_describe_clusters_in *in,
    _unused_ struct ecs_describe_clusters_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);
	_cleanup_json_ json_t *answer = json_pack("{s:[], s:[]}", "clusters", "failures");
	const char *const fallback = DEFAULT;
	const char *const *ids =
	    in->clusters && in->clusters->count ? in->clusters->items : &fallback;
	size_t count = in->clusters && in->clusters->count ? in->clusters->count : 1;

	if (count > IDS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "clusters can have at most %d items.", IDS_MAX);
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *doc = NULL;
		const char *name;
		json_t *shown;
		int r = ecs_name(c, ids[i], "cluster", &name, e);

		if (r < 0)
			return r;
		doc = on_disk(c, name);
		if (!doc) {
			json_array_append_new(json_object_get(answer, "failures"),
			    ecs_json_failure(ecs_arn(c, "cluster/%s", name), "MISSING"));
			continue;
		}
		shown = ecs_cluster_show(c, doc);
		hide(shown, json_object_get(input, "include"));
		json_array_append_new(json_object_get(answer, "clusters"), shown);
	}
	return ecs_answer(c, json_incref(answer), e);
}

static bool gather(void *ctx, const char *key, const json_t *doc)
{
	(void)key;
	if (is_active(doc))
		json_array_append(ctx, json_object_get(doc, "clusterArn"));
	return true;
}

int ecs_list_clusters(struct call *c, const struct ecs_list_clusters_in *in,
    _unused_ struct ecs_list_clusters_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_object();
	json_t *list = json_array();
	int r;

	docs_walk(ecs_of(c)->clusters, ecs_key(c, "%s", ""), "", gather, list);
	if (!docs_get(ecs_of(c)->clusters, ecs_key(c, DEFAULT)))
		ecs_json_insert(list, ecs_arn(c, "cluster/" DEFAULT));
	r = ecs_page(c, list, false, in->max_results, in->next_token, "clusterArns", answer, e);
	return r < 0 ? r : ecs_answer(c, json_incref(answer), e);
}
