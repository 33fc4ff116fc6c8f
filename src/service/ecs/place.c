/* Where a task may go: constraints, strategies, attributes. There is one machine to go to, so a
 * strategy is only checked, and a constraint says yes or no. Loop thread. */
#include "service/ecs/ecs_int.h"

#define CONSTRAINTS_MAX 10
#define STRATEGIES_MAX 5

static int invalid(const struct launch *l, const char *text)
{
	return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION, "%s", text);
}

static int check_constraint(const struct launch *l, const json_t *v)
{
	const char *type = docs_str(v, "type"), *text = docs_str(v, "expression");
	struct err why = ERR_INIT;

	if (!type)
		return invalid(l, "A placement constraint needs a type.");
	if (!strcmp(type, "distinctInstance"))
		return text ? invalid(l, "The constraint distinctInstance takes no expression.")
			    : 0;
	if (!text || ecs_query(str_from(text), NULL, NULL, &why) < 0)
		return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid constraint expression: %s", text ? why.msg : "it is missing.");
	return 0;
}

static int check_strategy(const struct launch *l, const json_t *v)
{
	const char *type = docs_str(v, "type"), *field = docs_str(v, "field");
	bool good = false;

	if (!type)
		return invalid(l, "A placement strategy needs a type.");
	if (!strcmp(type, "random"))
		return field && *field ? invalid(l, "The strategy random takes no field.") : 0;
	if (field && !strcmp(type, "binpack"))
		good = str_eq_nocase(str_from(field), STR("cpu")) ||
		       str_eq_nocase(str_from(field), STR("memory"));
	if (field && !strcmp(type, "spread"))
		good = str_eq_nocase(str_from(field), STR("instanceId")) ||
		       !strcmp(field, "host") || str_has_prefix(str_from(field), "attribute:");
	return good ? 0
		    : invalid(l, "Invalid placement strategy: binpack by cpu or memory, spread by "
				 "instanceId, host or attribute:NAME.");
}

int ecs_placement_check(const struct launch *l)
{
	const json_t *constraints = json_object_get(l->in, "placementConstraints");
	const json_t *strategies = json_object_get(l->in, "placementStrategy");
	bool fargate = ecs_launch_fargate(l->launch_type);
	size_t i;
	json_t *v;
	int r = 0;

	if (fargate && json_array_size(constraints))
		return invalid(
		    l, "Placement constraints are not supported with FARGATE launch type.");
	if (fargate && json_array_size(strategies))
		return invalid(
		    l, "Placement strategies are not supported with FARGATE launch type.");
	if (json_array_size(constraints) > CONSTRAINTS_MAX)
		return invalid(l, "There can be at most 10 placement constraints.");
	if (json_array_size(strategies) > STRATEGIES_MAX)
		return invalid(l, "There can be at most 5 placement strategies.");
	json_array_foreach(constraints, i, v)
	{
		r = r < 0 ? r : check_constraint(l, v);
	}
	json_array_foreach(strategies, i, v)
	{
		r = r < 0 ? r : check_strategy(l, v);
	}
	return r;
}

bool ecs_placement_distinct(const struct launch *l)
{
	return ecs_json_find(
	    json_object_get(l->in, "placementConstraints"), "type", "distinctInstance");
}

/* All expressions of one list. */
static bool is_member(const json_t *constraints, const json_t *facts)
{
	size_t i;
	json_t *v;

	json_array_foreach(constraints, i, v)
	{
		const char *text = docs_str(v, "expression");
		bool fits = true;

		if (text && (ecs_query(str_from(text), facts, &fits, NULL) < 0 || !fits))
			return false;
	}
	return true;
}

static bool same_group_there(const struct launch *l, const json_t *instance)
{
	const char *group = docs_str(l->in, "group");
	json_t *groups =
	    ecs_groups(l->c, l->cluster_name, docs_str(instance, "containerInstanceArn"));
	bool there = ecs_json_has(groups,
	    group ? group : call_printf(l->c, "family:%s", docs_str(l->definition, "family")));

	json_decref(groups);
	return there;
}

/* Overrides can ask for devices that the definition does not ask for; there are none. */
static const char *lacking_override(const struct launch *l)
{
	const json_t *all = json_object_get(l->overrides, "containerOverrides");
	size_t i;
	json_t *v;

	if (ecs_json_given(l->overrides, "inferenceAcceleratorOverrides"))
		return "ecs.capability.task-eia";
	json_array_foreach(all, i, v)
	{
		const json_t *wanted = json_object_get(v, "resourceRequirements");

		if (json_array_size(wanted))
			return ecs_json_find(wanted, "type", "GPU") ? "ecs.capability.gpu"
								    : "ecs.capability.task-eia";
	}
	return NULL;
}

static const char *lacking(const struct launch *l, const json_t *instance, const char **ret_detail)
{
	static const char driver[] = "com.amazonaws.ecs.capability.logging-driver.";
	_cleanup_json_ json_t *own = NULL;
	const char *name;

	if (!instance)
		own = json_pack("{s:o}", "attributes", ecs_machine_attributes(l->c));
	name = ecs_attribute_lacking(l->definition, instance ? instance : own);
	name = name ? name : lacking_override(l);
	if (!name)
		return NULL;
	if (str_has_prefix(str_from(name), driver))
		*ret_detail = call_printf(l->c,
		    "The log driver %s is not available here: use awslogs, or json-file.",
		    name + sizeof(driver) - 1);
	else
		*ret_detail = call_printf(l->c, "The attribute %s is required.", name);
	return str_has_suffix(str_from(name), ".gpu") ? "RESOURCE:GPU" : "ATTRIBUTE";
}

const char *ecs_placement_objection(
    const struct launch *l, const json_t *instance, bool asked, const char **ret_detail)
{
	_cleanup_json_ json_t *facts = NULL;

	if (instance && !ecs_json_true(instance, "agentConnected"))
		return "AGENT";
	if (instance && strcmp(docs_str(instance, "status"), "ACTIVE") != 0)
		return "INACTIVE";
	if (instance && !asked) {
		facts = ecs_instance_facts(l->c, l->cluster_name, instance);
		if (!is_member(json_object_get(l->in, "placementConstraints"), facts) ||
		    !is_member(json_object_get(l->definition, "placementConstraints"), facts))
			return "MemberOf placement constraint unsatisfied.";
		if (ecs_placement_distinct(l) && same_group_there(l, instance))
			return "DistinctInstance placement constraint unsatisfied.";
	}
	return lacking(l, instance, ret_detail);
}
