/* From a request to the record of a task that src/sched can run. Loop thread. */
#include "base/rand.h"
#include "service/ecs/ecs_int.h"

#define PLATFORM "1.4.0"

bool ecs_launch_fargate(const char *launch_type)
{
	return launch_type && !strcmp(launch_type, "FARGATE");
}

/* ---- what comes in ---- */

/* Every container is named in what clients see, overridden or not. */
static json_t *overrides_of(const json_t *in, const json_t *definition)
{
	json_t *all = json_deep_copy(json_object_get(in, "overrides")), *list, *container;
	size_t i;

	all = all ? all : json_object();
	list = ecs_json_list(all, "containerOverrides");
	json_array_foreach(json_object_get(definition, "containerDefinitions"), i, container)
	{
		const char *name = docs_str(container, "name");

		if (!ecs_json_find(list, "name", name))
			json_array_append_new(list, json_pack("{s:s}", "name", name));
	}
	ecs_json_list(all, "inferenceAcceleratorOverrides");
	return all;
}

/* Tags of the request, those of the definition if they are to be passed on, ECS's own. */
static int gather_tags(struct launch *l)
{
	const char *propagate = docs_str(l->in, "propagateTags");
	json_t *all = json_object();
	int r = 0;

	if (propagate && !strcmp(propagate, "TASK_DEFINITION"))
		json_object_set_new(
		    all, "tags", json_deep_copy(json_object_get(l->definition, "tags")));
	else if (propagate && !strcmp(propagate, "SERVICE"))
		r = fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "propagateTags can be TASK_DEFINITION or NONE here: there is no service.");
	if (r == 0)
		r = ecs_tags_merge(all, json_object_get(l->in, "tags"), l->e);
	if (r == 0 && ecs_json_true(l->in, "enableECSManagedTags"))
		json_array_append_new(ecs_json_list(all, "tags"),
		    json_pack(
			"{s:s, s:s}", "key", "aws:ecs:clusterName", "value", l->cluster_name));
	l->tags = json_incref(ecs_json_list(all, "tags"));
	json_decref(all);
	return r;
}

static int find_definition(struct launch *l)
{
	l->definition = ecs_definition_get(l->c, docs_str(l->in, "taskDefinition"), false);
	if (!l->definition)
		return fail(l->e, ECS_CLIENT_EXCEPTION, "TaskDefinition not found.");
	if (strcmp(docs_str(l->definition, "status"), "ACTIVE") != 0)
		return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION, "TaskDefinition is inactive");
	return 0;
}

int ecs_launch_open(
    struct call *c, const void *in, const char *launch_type, struct launch *ret, struct err *e)
{
	int r;

	*ret = (struct launch){.c = c, .in = ecs_input(c, in), .launch_type = launch_type, .e = e};
	r = ecs_cluster_find(c, docs_str(ret->in, "cluster"), &ret->cluster, e);
	if (r == 0)
		r = find_definition(ret);
	if (r < 0)
		return r;
	ret->cluster_name = ecs_cluster_name(ret->cluster);
	ret->overrides = overrides_of(ret->in, ret->definition);
	r = gather_tags(ret);
	return r < 0 ? r : ecs_launch_check(ret);
}

void ecs_launch_done(struct launch *l)
{
	json_decref(l->in);
	json_decref(l->cluster);
	json_decref(l->definition);
	json_decref(l->overrides);
	json_decref(l->tags);
}

/* ---- the record ---- */

/* Of the task, or the sum of its containers. */
static void set_size(const struct launch *l, json_t *task, const char *member, const char *fallback)
{
	const char *own = docs_str(l->overrides, member);
	const json_t *overrides = json_object_get(l->overrides, "containerOverrides");
	int64_t sum = 0;
	size_t i;
	json_t *container;

	own = own ? own : docs_str(l->definition, member);
	json_array_foreach(json_object_get(l->definition, "containerDefinitions"), i, container)
	{
		const json_t *o = ecs_json_find(overrides, "name", docs_str(container, "name"));
		const json_t *v = json_object_get(o, member);

		v = v ? v : json_object_get(container, member);
		v = v ? v : json_object_get(o, fallback);
		v = v ? v : json_object_get(container, fallback);
		sum += json_integer_value(v);
	}
	docs_set(task, member, own ? own : call_printf(l->c, "%" PRId64, sum));
}

static json_t *containers_of(const struct launch *l, const char *task_arn)
{
	const char *slash = strrchr(task_arn, '/');
	json_t *list = json_array(), *container;
	size_t i;

	json_array_foreach(json_object_get(l->definition, "containerDefinitions"), i, container)
	{
		char id[37];
		json_t *shown;

		rand_uuid(id);
		shown = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[]}", "containerArn",
		    ecs_arn(l->c, "container/%s/%s/%s", l->cluster_name, slash + 1, id), "taskArn",
		    task_arn, "name", docs_str(container, "name"), "image",
		    docs_str(container, "image"), "lastStatus", "PENDING", "networkInterfaces");
		json_array_append_new(list, shown);
	}
	return list;
}

/* The subnet that was asked for, in the attachment that clients look for. */
static void set_network(const struct launch *l, json_t *task)
{
	const json_t *vpc =
	    json_object_get(json_object_get(l->in, "networkConfiguration"), "awsvpcConfiguration");
	const char *subnet = json_string_value(json_array_get(json_object_get(vpc, "subnets"), 0));

	ecs_json_list(task, "attachments");
	if (subnet)
		json_array_append_new(json_object_get(task, "attachments"),
		    json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "type", "ElasticNetworkInterface",
			"status", "PRECREATED", "details", "name", "subnetId", "value", subnet));
}

static void set_fargate(const struct launch *l, json_t *task)
{
	const json_t *storage = json_object_get(l->overrides, "ephemeralStorage");

	storage = storage ? storage : json_object_get(l->definition, "ephemeralStorage");
	docs_set(task, "platformVersion", PLATFORM);
	docs_set(task, "platformFamily", "Linux");
	json_object_set_new(task, "ephemeralStorage",
	    storage ? json_deep_copy(storage) : json_pack("{s:i}", "sizeInGiB", 20));
	json_object_set(task, "fargateEphemeralStorage", json_object_get(task, "ephemeralStorage"));
}

json_t *ecs_launch_task(const struct launch *l, const char *arn, const char *launch_type,
    const char *instance_arn, const char *provider)
{
	const char *group = docs_str(l->in, "group");
	const char *machine =
	    docs_str(json_object_get(l->definition, "runtimePlatform"), "cpuArchitecture");
	json_t *task = json_object();

	docs_set(task, "taskArn", arn);
	json_object_set(task, "clusterArn", json_object_get(l->cluster, "clusterArn"));
	json_object_set(
	    task, "taskDefinitionArn", json_object_get(l->definition, "taskDefinitionArn"));
	docs_set(task, "containerInstanceArn", instance_arn);
	docs_set(task, "capacityProviderName", provider);
	docs_set(task, "launchType", launch_type);
	docs_set(task, "group",
	    group ? group : call_printf(l->c, "family:%s", docs_str(l->definition, "family")));
	docs_set(task, "startedBy", docs_str(l->in, "startedBy"));
	docs_set(task, "availabilityZone", call_printf(l->c, "%sa", l->c->region));
	json_object_set_new(task, "enableExecuteCommand",
	    json_boolean(ecs_json_true(l->in, "enableExecuteCommand")));
	json_object_set_new(task, "overrides", json_deep_copy(l->overrides));
	json_object_set_new(task, "tags", json_deep_copy(l->tags));
	json_object_set_new(task, "attributes",
	    json_pack("[{s:s, s:s}]", "name", "ecs.cpu-architecture", "value",
		machine && !strcmp(machine, "ARM64") ? "arm64" : "x86_64"));
	ecs_json_list(task, "inferenceAccelerators");
	json_object_set_new(task, "containers", containers_of(l, arn));
	set_size(l, task, "cpu", "cpu");
	set_size(l, task, "memory", "memoryReservation");
	set_network(l, task);
	if (ecs_launch_fargate(launch_type))
		set_fargate(l, task);
	return task;
}
