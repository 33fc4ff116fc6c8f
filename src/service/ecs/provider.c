/*
 * Capacity providers. FARGATE and FARGATE_SPOT are always there; those that are made stand for
 * groups of machines, of which there is one here. Whichever a strategy names, the task runs on this
 * machine and says which provider it counts for. Loop thread.
 */
#include "service/ecs/ecs_int.h"

#define PROVIDERS_MAX 20 /* of a cluster, of a strategy */
#define BASE_MAX 100000

static bool is_predefined(const char *name)
{
	return !strcmp(name, "FARGATE") || !strcmp(name, "FARGATE_SPOT");
}

static json_t *predefined(struct call *c, const char *name)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[]}", "capacityProviderArn",
	    ecs_arn(c, "capacity-provider/%s", name), "name", name, "status", "ACTIVE", "type",
	    name, "tags");
}

/* Of a cluster's own ones "cluster|name" is the key. */
struct lookup {
	const char *name;
	json_t *found;
};

static bool match(void *ctx, const char *key, const json_t *doc)
{
	struct lookup *l = ctx;

	(void)key;
	if (!strcmp(docs_str(doc, "name"), l->name))
		l->found = ecs_json_ref(doc);
	return !l->found;
}

json_t *ecs_provider_get(struct call *c, const char *id)
{
	struct err e = ERR_INIT;
	struct lookup l = {0};

	if (ecs_name(c, id, "capacity-provider", &l.name, &e) < 0)
		return NULL;
	if (is_predefined(l.name))
		return predefined(c, l.name);
	docs_walk(ecs_of(c)->providers, ecs_key(c, "%s", ""), "", match, &l);
	return l.found;
}

static bool is_active(const json_t *provider)
{
	return provider && !strcmp(docs_str(provider, "status"), "ACTIVE");
}

static int missing(struct err *e)
{
	return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
	    "The specified capacity provider does not exist. Specify a valid name or ARN and try "
	    "again.");
}

int ecs_provider_list_check(struct call *c, json_t *providers, struct err *e)
{
	if (json_array_size(providers) > PROVIDERS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "A cluster can have at most %d capacity providers.", PROVIDERS_MAX);
	for (size_t i = 0; i < json_array_size(providers); i++) {
		_cleanup_json_ json_t *p =
		    ecs_provider_get(c, json_string_value(json_array_get(providers, i)));

		if (!is_active(p))
			return missing(e);
		json_array_set(providers, i, json_object_get(p, "name"));
	}
	return 0;
}

int ecs_strategy_check(json_t *strategy, const json_t *providers, struct err *e)
{
	size_t i, bases = 0;
	int64_t weights = 0;
	json_t *item;

	if (json_array_size(strategy) > PROVIDERS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "A capacity provider strategy can contain a maximum of %d capacity providers.",
		    PROVIDERS_MAX);
	json_array_foreach(strategy, i, item)
	{
		struct str name = str_from(docs_str(item, "capacityProvider")), rest = name;

		/* An ARN means its name. */
		if (str_has_prefix(name, "arn:")) {
			str_cut(&rest, '/');
			json_object_set_new(item, "capacityProvider",
			    json_stringn(rest.ptr ? rest.ptr : "", rest.len));
		}
		if (!ecs_json_has(providers, docs_str(item, "capacityProvider")))
			return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
			    "The specified capacity provider %.100s is not associated with the "
			    "cluster. Associate it by PutClusterCapacityProviders and try again.",
			    docs_str(item, "capacityProvider"));
		ecs_json_default(item, "weight", json_integer(0));
		ecs_json_default(item, "base", json_integer(0));
		weights += docs_int(item, "weight");
		bases += docs_int(item, "base") > 0;
	}
	if (bases > 1)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Only one capacity provider in a capacity provider strategy can have a base "
		    "defined.");
	if (json_array_size(strategy) && !weights)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "There are no capacity providers with a weight value greater than zero in the "
		    "capacity provider strategy. At least one capacity provider must have a weight "
		    "value greater than zero specified.");
	return 0;
}

/* Base first; then each task goes where the share, counted with it, would be least. */
void ecs_strategy_split(const json_t *strategy, int64_t count, int64_t *ret)
{
	size_t n = json_array_size(strategy);
	int64_t weighted[PROVIDERS_MAX] = {0};

	for (size_t i = 0; i < n; i++) {
		int64_t base = docs_int(json_array_get(strategy, i), "base");

		ret[i] = base < count ? base : count;
		count -= ret[i];
	}
	while (count-- > 0) {
		size_t best = n;
		int64_t best_weight = 0;

		for (size_t i = 0; i < n; i++) {
			int64_t w = docs_int(json_array_get(strategy, i), "weight");

			if (w && (best == n ||
				     (weighted[i] + 1) * best_weight < (weighted[best] + 1) * w)) {
				best = i;
				best_weight = w;
			}
		}
		if (best == n)
			break; /* no weight at all: refused before */
		weighted[best]++;
		ret[best]++;
	}
}

/* ---- the operations ---- */

static int check_name(const char *name, struct err *e)
{
	if (!ecs_name_good(name, 255) || str_has_prefix(str_from(name), "aws") ||
	    str_has_prefix(str_from(name), "ecs") || str_has_prefix(str_from(name), "fargate") ||
	    is_predefined(name))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The specified capacity provider name is invalid. Up to 255 characters are "
		    "allowed, including letters (uppercase and lowercase), numbers, underscores, "
		    "and hyphens. The name cannot be prefixed with \"aws\", \"ecs\", or "
		    "\"fargate\".");
	return 0;
}

/* AWS's defaults, as far as the caller did not say otherwise. */
static void fill_group(json_t *group)
{
	json_t *scaling = ecs_json_object(group, "managedScaling");

	ecs_json_default(scaling, "status", json_string("DISABLED"));
	ecs_json_default(scaling, "targetCapacity", json_integer(100));
	ecs_json_default(scaling, "minimumScalingStepSize", json_integer(1));
	ecs_json_default(scaling, "maximumScalingStepSize", json_integer(10000));
	ecs_json_default(scaling, "instanceWarmupPeriod", json_integer(300));
	ecs_json_default(group, "managedTerminationProtection", json_string("DISABLED"));
	ecs_json_default(group, "managedDraining", json_string("ENABLED"));
}

static int check_group(const json_t *group, struct err *e)
{
	const json_t *scaling = json_object_get(group, "managedScaling");
	const char *protection = docs_str(group, "managedTerminationProtection");
	const char *status = docs_str(scaling, "status");

	if (protection && !strcmp(protection, "ENABLED") &&
	    (!status || strcmp(status, "ENABLED") != 0))
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The managed termination protection setting for the capacity provider is "
		    "invalid. To enable managed termination protection for a capacity provider, "
		    "managed scaling must be enabled.");
	if (docs_int(scaling, "minimumScalingStepSize") >
	    docs_int(scaling, "maximumScalingStepSize"))
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The minimum scaling step size can not be larger than the maximum.");
	return 0;
}

const char *ecs_provider_key(struct call *c, const json_t *doc)
{
	const char *cluster = docs_str(doc, "cluster"), *name = docs_str(doc, "name");

	return cluster ? ecs_key(c, "%s|%s", cluster, name) : ecs_key(c, "%s", name);
}

static json_t *show(const json_t *doc, bool tags)
{
	json_t *shown = ecs_json_copy(doc);

	if (!tags)
		json_object_set_new(shown, "tags", json_array());
	return shown;
}

static int put_and_show(struct call *c, json_t *doc, struct err *e)
{
	struct docs_change *g = docs_change_new(ecs_of(c)->store);
	json_t *answer = json_pack("{s:o}", "capacityProvider", show(doc, true));

	docs_put(g, ecs_of(c)->providers, ecs_provider_key(c, doc), doc);
	return ecs_answer_change(c, answer, g, e);
}

static int check_create(
    struct call *c, const struct ecs_create_capacity_provider_in *in, struct err *e)
{
	_cleanup_json_ json_t *old = NULL;
	int r = check_name(in->name, e);

	if (r < 0)
		return r;
	if (!in->auto_scaling_group_provider == !in->managed_instances_provider)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The specified capacity provider is invalid: give either "
		    "autoScalingGroupProvider or managedInstancesProvider.");
	if (in->managed_instances_provider && !in->cluster)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The cluster parameter is required for a managed instances provider.");
	if (in->auto_scaling_group_provider && in->cluster)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The cluster parameter is not supported for Auto Scaling group providers.");
	old = ecs_provider_get(c, in->name);
	if (is_active(old) || docs_latest(ecs_of(c)->providers, ecs_key(c, "%s", in->name)))
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The specified capacity provider already exists. To change the configuration "
		    "of "
		    "an existing capacity provider, update the capacity provider.");
	if (docs_count(ecs_of(c)->providers, ecs_key(c, "%s", "")) >= CLUSTERS_MAX)
		return fail(e, ECS_LIMIT_EXCEEDED_EXCEPTION,
		    "There can be at most %d capacity providers: delete some first.", CLUSTERS_MAX);
	return 0;
}

int ecs_create_capacity_provider(struct call *c, const struct ecs_create_capacity_provider_in *in,
    _unused_ struct ecs_create_capacity_provider_out *out, struct err *e)
{
	_cleanup_json_ json_t *doc = NULL, *cluster = NULL;
	json_t *group;
	int r = check_create(c, in, e);

	if (r == 0 && in->cluster)
		r = ecs_cluster_find(c, in->cluster, &cluster, e);
	if (r < 0)
		return r;
	doc = ecs_input(c, in);
	r = ecs_tags_check(json_object_get(doc, "tags"), e);
	group = json_object_get(doc, "autoScalingGroupProvider");
	if (group)
		fill_group(group);
	if (r == 0 && group)
		r = check_group(group, e);
	if (r < 0)
		return r;
	ecs_json_list(doc, "tags");
	if (cluster)
		docs_set(doc, "cluster", ecs_cluster_name(cluster));
	docs_set(doc, "capacityProviderArn", ecs_arn(c, "capacity-provider/%s", in->name));
	docs_set(doc, "type", group ? "EC2_AUTOSCALING" : "MANAGED_INSTANCES");
	docs_set(doc, "status", "ACTIVE");
	return put_and_show(c, json_incref(doc), e);
}

int ecs_update_capacity_provider(struct call *c, const struct ecs_update_capacity_provider_in *in,
    _unused_ struct ecs_update_capacity_provider_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in), *old = ecs_provider_get(c, in->name);
	_cleanup_json_ json_t *doc = NULL;
	json_t *change = json_object_get(input, "autoScalingGroupProvider"), *group;
	int r;

	if (old && is_predefined(docs_str(old, "name")))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The FARGATE and FARGATE_SPOT capacity providers can not be updated.");
	if (!is_active(old))
		return missing(e);
	doc = ecs_json_copy(docs_latest(ecs_of(c)->providers, ecs_provider_key(c, old)));
	if (!doc)
		return missing(e);
	group = json_object_get(doc, "autoScalingGroupProvider");
	if (group && change) {
		json_object_update(ecs_json_object(group, "managedScaling"),
		    json_object_get(change, "managedScaling"));
		json_object_del(change, "managedScaling");
		json_object_update(group, change);
		r = check_group(group, e);
		if (r < 0)
			return r;
	}
	change = json_object_get(input, "managedInstancesProvider");
	if (!group && change)
		json_object_update(ecs_json_object(doc, "managedInstancesProvider"), change);
	docs_set(doc, "updateStatus", "UPDATE_COMPLETE");
	return put_and_show(c, json_incref(doc), e);
}

struct user {
	const char *name;
	bool found;
};

static bool uses(void *ctx, const char *key, const json_t *cluster)
{
	struct user *u = ctx;

	(void)key;
	u->found =
	    u->found || (!strcmp(docs_str(cluster, "status"), "ACTIVE") &&
			    ecs_json_has(json_object_get(cluster, "capacityProviders"), u->name));
	return !u->found;
}

int ecs_delete_capacity_provider(struct call *c, const struct ecs_delete_capacity_provider_in *in,
    _unused_ struct ecs_delete_capacity_provider_out *out, struct err *e)
{
	_cleanup_json_ json_t *doc = ecs_provider_get(c, in->capacity_provider);
	struct docs_change *g;
	struct user u = {0};
	json_t *shown;

	if (!doc)
		return missing(e);
	u.name = docs_str(doc, "name");
	if (is_predefined(u.name))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The FARGATE and FARGATE_SPOT capacity providers can not be deleted.");
	docs_walk(ecs_of(c)->clusters, ecs_key(c, "%s", ""), "", uses, &u);
	if (u.found)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The specified capacity provider is in use and cannot be removed.");
	shown = show(doc, true);
	docs_set(shown, "status", "DEPROVISIONING");
	docs_set(shown, "updateStatus", "DELETE_IN_PROGRESS");
	g = docs_change_new(ecs_of(c)->store);
	docs_delete(g, ecs_of(c)->providers, ecs_provider_key(c, doc));
	return ecs_answer_change(c, json_pack("{s:o}", "capacityProvider", shown), g, e);
}

static bool gather(void *ctx, const char *key, const json_t *doc)
{
	(void)key;
	ecs_json_insert(ctx, docs_str(doc, "name"));
	return true;
}

static int describe_named(struct call *c, const struct ecs_describe_capacity_providers_in *in,
    json_t *answer, struct err *e)
{
	if (in->capacity_providers->count > IDS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "capacityProviders can have at most %d items.", IDS_MAX);
	for (size_t i = 0; i < in->capacity_providers->count; i++) {
		const char *id = in->capacity_providers->items[i];
		_cleanup_json_ json_t *p = ecs_provider_get(c, id);

		if (p)
			json_array_append(
			    ecs_json_list(answer, "names"), json_object_get(p, "name"));
		else
			json_array_append_new(ecs_json_list(answer, "failures"),
			    ecs_json_failure(str_has_prefix(str_from(id), "arn:")
						 ? id
						 : ecs_arn(c, "capacity-provider/%s", id),
				"MISSING"));
	}
	return 0;
}

int ecs_describe_capacity_providers(struct call *c,
    const struct ecs_describe_capacity_providers_in *in,
    _unused_ struct ecs_describe_capacity_providers_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_pack("{s:[], s:[]}", "capacityProviders", "failures");
	_cleanup_json_ json_t *input = ecs_input(c, in);
	bool tags = ecs_json_has(json_object_get(input, "include"), "TAGS");
	json_t *all = json_pack("[s, s]", "FARGATE", "FARGATE_SPOT"), *name;
	size_t i;
	int r;

	if (in->capacity_providers && in->capacity_providers->count) {
		json_decref(all);
		r = describe_named(c, in, answer, e);
	} else {
		docs_walk(ecs_of(c)->providers, ecs_key(c, "%s", ""), "", gather, all);
		r = ecs_page(c, all, false, in->max_results, in->next_token, "names", answer, e);
	}
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(answer, "names"), i, name)
	{
		_cleanup_json_ json_t *p = ecs_provider_get(c, json_string_value(name));

		json_array_append_new(json_object_get(answer, "capacityProviders"), show(p, tags));
	}
	return ecs_answer(c, json_incref(answer), e);
}
