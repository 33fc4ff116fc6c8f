/* Attributes: those that this machine has by itself, those that were put, and which of them a task
 * needs. Loop thread. */
#include <stdio.h>
#include <sys/utsname.h>

#include "service/ecs/ecs_int.h"

#define CPU_ARCHITECTURE "ecs.cpu-architecture"
#define ATTRIBUTES_MAX 10 /* of one request, and put on one instance */

/* ---- what this machine is ---- */

/* What may be asked of it; what is not here is answered with the failure ATTRIBUTE. */
static const char *const capabilities[] = {
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.19",
    "com.amazonaws.ecs.capability.docker-remote-api.1.20",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
    "com.amazonaws.ecs.capability.ecr-auth",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.privileged-container",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "ecs.capability.env-files.s3",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.execution-role-ecr-pull",
    "ecs.capability.pid-ipc-namespace-sharing",
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.secrets.asm.environment-variables",
    "ecs.capability.secrets.ssm.environment-variables",
    "ecs.capability.task-cpu-mem-limit",
    "ecs.capability.task-eni",
};

json_t *ecs_machine_attributes(const struct call *c)
{
	json_t *all = json_array();
	struct utsname host = {0};
	char zone[sizeof(c->region) + 1];
	int known = uname(&host);
	const struct {
		const char *name, *value;
	} facts[] = {
	    {"ecs.availability-zone", zone},
	    {CPU_ARCHITECTURE, known == 0 && !strcmp(host.machine, "aarch64") ? "arm64" : "x86_64"},
	    {"ecs.instance-type", "mayfly"},
	    {"ecs.os-family", "LINUX"},
	    {"ecs.os-type", "linux"},
	};

	snprintf(zone, sizeof(zone), "%sa", c->region);
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		json_array_append_new(all, json_pack("{s:s}", "name", capabilities[i]));
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
		json_array_append_new(
		    all, json_pack("{s:s, s:s}", "name", facts[i].name, "value", facts[i].value));
	return all;
}

const char *ecs_attribute_lacking(const json_t *definition, const json_t *instance)
{
	const char *machine =
	    docs_str(json_object_get(definition, "runtimePlatform"), "cpuArchitecture");
	const json_t *has = json_object_get(instance, "attributes");
	const char *own = docs_str(ecs_json_find(has, "name", CPU_ARCHITECTURE), "value");
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(definition, "requiresAttributes"), i, v)
	{
		if (!ecs_json_find(has, "name", docs_str(v, "name")))
			return docs_str(v, "name");
	}
	if (machine && own && strcmp(own, strcmp(machine, "ARM64") ? "x86_64" : "arm64") != 0)
		return CPU_ARCHITECTURE;
	return NULL;
}

/* ---- PutAttributes, DeleteAttributes ---- */

static bool text_good(const char *text, const char *more, size_t max)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./";
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (!strchr(letters, text[i]) && !strchr(more, text[i]))
			return false;
	return n > 0 && n <= max;
}

static int check_one(const json_t *a, struct err *e)
{
	const char *name = docs_str(a, "name"), *value = docs_str(a, "value");

	if (!text_good(name, "\\", 128))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Attribute name must have between 1 and 128 letters, numbers, hyphens, "
		    "underscores, slashes, or periods.");
	if (value && *value && (!text_good(value, "\\@: ", 128) || *value == ' '))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Attribute value must have at most 128 letters, numbers, hyphens, underscores, "
		    "periods, at signs, slashes, colons, or spaces.");
	if (!docs_str(a, "targetId"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "Attributes need a targetId.");
	return 0;
}

static size_t count_put(const struct call *c, const json_t *instance)
{
	json_t *own = ecs_machine_attributes(c);
	size_t n = json_array_size(json_object_get(instance, "attributes"));

	n -= ecs_json_true(instance, "machine") ? json_array_size(own) : 0;
	json_decref(own);
	return n;
}

static bool own_attribute(const struct call *c, const json_t *instance, const char *name)
{
	json_t *own = ecs_machine_attributes(c);
	bool found = ecs_json_true(instance, "machine") && ecs_json_find(own, "name", name);

	json_decref(own);
	return found || str_has_prefix(str_from(name), "ecs.");
}

static int edit(struct call *c, json_t *instance, const json_t *a, bool put, struct err *e)
{
	json_t *list = ecs_json_list(instance, "attributes");
	const char *name = docs_str(a, "name"), *value = docs_str(a, "value");
	json_t *old = ecs_json_find(list, "name", name);
	const char *was = docs_str(old, "value");

	if (own_attribute(c, instance, name))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The attribute %.128s belongs to the instance itself and cannot be changed.",
		    name);
	if (!put && value && (!was || strcmp(was, value) != 0))
		old = NULL; /* with another value it stays */
	for (size_t i = 0; old && i < json_array_size(list); i++)
		if (json_array_get(list, i) == old) {
			json_array_remove(list, i);
			break;
		}
	if (!put)
		return 0;
	if (count_put(c, instance) >= ATTRIBUTES_MAX)
		return fail(e, ECS_ATTRIBUTE_LIMIT_EXCEEDED_EXCEPTION,
		    "You can apply up to %d custom attributes for each resource: delete some "
		    "first.",
		    ATTRIBUTES_MAX);
	json_array_append_new(list, json_pack("{s:s, s:s*}", "name", name, "value", value));
	return 0;
}

/* All of a request, or none. The same instance may be named again and again. */
static int edit_all(
    struct call *c, const char *cluster_id, json_t *attributes, bool put, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *edited = json_object();
	const char *name, *arn;
	json_t *a, *instance;
	struct docs_change *g;
	size_t i;
	int r = ecs_cluster_find(c, cluster_id, &cluster, e);

	if (r < 0)
		return r;
	if (!json_array_size(attributes) || json_array_size(attributes) > ATTRIBUTES_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "attributes must have between 1 and %d items.", ATTRIBUTES_MAX);
	name = ecs_cluster_name(cluster);
	json_array_foreach(attributes, i, a)
	{
		_cleanup_json_ json_t *found = NULL;

		r = check_one(a, e);
		if (r < 0)
			return r;
		found = ecs_instance_get(c, name, docs_str(a, "targetId"), true);
		if (!found)
			return fail(e, ECS_TARGET_NOT_FOUND_EXCEPTION,
			    "The specified target was not found: %.150s", docs_str(a, "targetId"));
		arn = docs_str(found, "containerInstanceArn");
		if (!json_object_get(edited, arn))
			json_object_set_new(edited, arn, ecs_json_copy(found));
		r = edit(c, json_object_get(edited, arn), a, put, e);
		if (r < 0)
			return r;
		docs_set(a, "targetId", arn);
		docs_set(a, "targetType", "container-instance");
	}
	g = docs_change_new(ecs_of(c)->store);
	json_object_foreach(edited, arn, instance) ecs_instance_put(c, g, name, instance);
	return ecs_answer_change(c, json_pack("{s:O}", "attributes", attributes), g, e);
}

int ecs_put_attributes(struct call *c, const struct ecs_put_attributes_in *in,
    _unused_ struct ecs_put_attributes_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);

	return edit_all(c, in->cluster, json_object_get(input, "attributes"), true, e);
}

int ecs_delete_attributes(struct call *c, const struct ecs_delete_attributes_in *in,
    _unused_ struct ecs_delete_attributes_out *out, struct err *e)
{
	_cleanup_json_ json_t *input = ecs_input(c, in);

	return edit_all(c, in->cluster, json_object_get(input, "attributes"), false, e);
}

/* ---- ListAttributes ---- */

int ecs_list_attributes(struct call *c, const struct ecs_list_attributes_in *in,
    _unused_ struct ecs_list_attributes_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *all = NULL, *answer = json_object();
	json_t *names = json_array(), *v, *a, *found;
	_cleanup_json_ json_t *by_name = json_object();
	size_t i, j;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	all = r < 0 ? NULL : ecs_instances(c, ecs_cluster_name(cluster));
	json_array_foreach(all, i, v)
	{
		const char *arn = docs_str(v, "containerInstanceArn");

		json_array_foreach(json_object_get(v, "attributes"), j, a)
		{
			const char *name = docs_str(a, "name"), *value = docs_str(a, "value");
			const char *key = call_printf(c, "%s %s", arn, name);

			if ((in->attribute_name && strcmp(in->attribute_name, name) != 0) ||
			    (in->attribute_value &&
				(!value || strcmp(in->attribute_value, value) != 0)))
				continue;
			ecs_json_insert(names, key);
			json_object_set_new(by_name, key,
			    json_pack("{s:s, s:s*, s:s, s:s}", "name", name, "value", value,
				"targetId", arn, "targetType", "container-instance"));
		}
	}
	if (r < 0) {
		json_decref(names);
		return r;
	}
	r = ecs_page(c, names, false, in->max_results, in->next_token, "names", answer, e);
	if (r < 0)
		return r;
	found = ecs_json_list(answer, "attributes");
	json_array_foreach(json_object_get(answer, "names"), i, v)
	{
		json_array_append(found, json_object_get(by_name, json_string_value(v)));
	}
	return ecs_answer(c, json_incref(answer), e);
}
