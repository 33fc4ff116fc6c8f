/* What RunTask and StartTask accept of networks, overrides and names. Loop thread. */
#include "service/ecs/ecs_int.h"

#define OVERRIDES_MAX 8192
#define SUBNETS_MAX 16
#define GROUPS_MAX 5
#define STARTED_BY_MAX 128
#define MEMORY_MIN 4

static int invalid(const struct launch *l, const char *text)
{
	return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION, "%s", text);
}

static int check_network(const struct launch *l)
{
	const char *mode = docs_str(l->definition, "networkMode");
	const json_t *given = json_object_get(l->in, "networkConfiguration");
	const json_t *vpc = json_object_get(given, "awsvpcConfiguration");
	const char *public_ip = docs_str(vpc, "assignPublicIp");
	size_t subnets = json_array_size(json_object_get(vpc, "subnets"));

	if (!mode || strcmp(mode, "awsvpc") != 0)
		return given ? invalid(l,
				   "Network Configuration is not valid for the given networkMode "
				   "of this task definition.")
			     : 0;
	if (!vpc)
		return invalid(l, "Network Configuration must be provided when networkMode "
				  "'awsvpc' is specified.");
	if (!subnets)
		return invalid(l, "subnets can not be empty.");
	if (subnets > SUBNETS_MAX)
		return invalid(l, "subnets can have at most 16 items.");
	if (json_array_size(json_object_get(vpc, "securityGroups")) > GROUPS_MAX)
		return invalid(l, "securityGroup can have at most 5 items.");
	if (public_ip && !strcmp(public_ip, "ENABLED") && l->launch_type &&
	    !ecs_launch_fargate(l->launch_type))
		return invalid(l, "Assign public IP is not supported for this launch type.");
	return 0;
}

/* ---- overrides ---- */

static int check_container(const struct launch *l, const json_t *o)
{
	const char *name = docs_str(o, "name");
	const json_t *containers = json_object_get(l->definition, "containerDefinitions");
	const json_t *container = name ? ecs_json_find(containers, "name", name) : NULL;
	const json_t *hard = json_object_get(o, "memory");
	const json_t *soft = json_object_get(o, "memoryReservation");
	size_t i;
	json_t *v;

	if (!container)
		return call_fail(l->c, l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Override for container named %s is not a container in the TaskDefinition.",
		    name ? name : "null");
	if ((hard && json_integer_value(hard) < MEMORY_MIN) ||
	    (soft && json_integer_value(soft) < MEMORY_MIN) || docs_int(o, "cpu") < 0)
		return invalid(l,
		    "Invalid memory or cpu in overrides: memory and memoryReservation must "
		    "be at least 4 MiB, cpu not negative.");
	hard = hard ? hard : json_object_get(container, "memory");
	soft = soft ? soft : json_object_get(container, "memoryReservation");
	if (hard && soft && json_integer_value(hard) < json_integer_value(soft))
		return invalid(l,
		    "Invalid memory in overrides: memoryReservation cannot be greater than "
		    "memory.");
	json_array_foreach(json_object_get(o, "environment"), i, v)
	{
		const char *key = docs_str(v, "name");

		if (!key || !*key || strchr(key, '='))
			return invalid(
			    l, "Environment variables in overrides need a name without '='.");
	}
	json_array_foreach(json_object_get(o, "environmentFiles"), i, v)
	{
		if (!str_has_prefix(str_from(docs_str(v, "value")), "arn:"))
			return invalid(
			    l, "Environment files in overrides must be ARNs of objects.");
	}
	return 0;
}

/* cpu and memory of the whole task; on Fargate they must be a size that exists. */
static int check_size(const struct launch *l)
{
	const char *cpu = docs_str(l->overrides, "cpu"), *memory = docs_str(l->overrides, "memory");
	const json_t *storage = json_object_get(l->overrides, "ephemeralStorage");
	_cleanup_json_ json_t *as_run = NULL;
	const char *why;
	int64_t n;

	if (cpu && !ecs_cpu_parse(cpu, &n))
		return invalid(l, "Invalid 'cpu' setting for task.");
	if (cpu)
		docs_set(l->overrides, "cpu", call_printf(l->c, "%" PRId64, n));
	if (memory && !ecs_memory_parse(memory, &n))
		return invalid(l, "Invalid 'memory' setting for task.");
	if (memory)
		docs_set(l->overrides, "memory", call_printf(l->c, "%" PRId64, n));
	if (storage &&
	    (docs_int(storage, "sizeInGiB") < 21 || docs_int(storage, "sizeInGiB") > 200))
		return invalid(
		    l, "Invalid ephemeral storage size: it must be between 21 and 200 GiB.");
	if ((!cpu && !memory) || !l->launch_type || !ecs_launch_fargate(l->launch_type))
		return 0;
	as_run = ecs_json_copy(l->definition);
	docs_set(as_run, "cpu", docs_str(l->overrides, "cpu"));
	docs_set(as_run, "memory", docs_str(l->overrides, "memory"));
	why = ecs_fargate_objection(l->c, as_run);
	return why ? call_fail(l->c, l->e, ECS_INVALID_PARAMETER_EXCEPTION, "%s", why) : 0;
}

static int check_overrides(const struct launch *l)
{
	_cleanup_free_ char *text = json_dumps(json_object_get(l->in, "overrides"), JSON_COMPACT);
	const json_t *list = json_object_get(l->overrides, "containerOverrides");
	size_t i;
	json_t *o;

	if (text && strlen(text) > OVERRIDES_MAX)
		return invalid(l, "Container Overrides length must be at most 8192");
	json_array_foreach(list, i, o)
	{
		int r = check_container(l, o);

		if (r < 0)
			return r;
	}
	return check_size(l);
}

static int check_names(const struct launch *l)
{
	const char *by = docs_str(l->in, "startedBy"), *group = docs_str(l->in, "group");

	if (by && strlen(by) > STARTED_BY_MAX)
		return invalid(l, "startedBy can have at most 128 characters.");
	if (group && (!*group || strlen(group) > 255))
		return invalid(l, "group must have between 1 and 255 characters.");
	if (group && str_has_prefix(str_from(group), "service:"))
		return invalid(l, "Invalid namespace for group: service: is for services.");
	if (docs_str(l->in, "referenceId") && strlen(docs_str(l->in, "referenceId")) > 1024)
		return invalid(l, "referenceId can have at most 1024 characters.");
	return 0;
}

static int check_volumes(const struct launch *l)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(l->in, "volumeConfigurations"), i, v)
	{
		const json_t *volume = ecs_json_find(
		    json_object_get(l->definition, "volumes"), "name", docs_str(v, "name"));

		if (!volume || !ecs_json_true(volume, "configuredAtLaunch"))
			return invalid(l, "A volume configuration must name a volume of the task "
					  "definition that has configuredAtLaunch.");
	}
	return 0;
}

int ecs_launch_check(struct launch *l)
{
	static int (*const checks[])(const struct launch *l) = {
	    check_network, check_overrides, check_names, check_volumes};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](l);
	return r;
}
