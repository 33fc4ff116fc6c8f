/* What tasks use: counts of clusters and instances, room that is left, ports that are taken. All
 * by walking the tasks; there are hundreds at most on one machine. Loop thread. */
#include <stdio.h>

#include "service/ecs/ecs_int.h"

struct walk {
	const char *instance_arn; /* NULL: any */
	struct ecs_use *use;
	json_t *list;
	struct ecs *ecs;
};

static bool is_here(const struct walk *w, const json_t *task)
{
	const char *arn = docs_str(task, "containerInstanceArn");

	return !w->instance_arn || (arn && !strcmp(arn, w->instance_arn));
}

static bool is_stopped(const json_t *task)
{
	return !strcmp(docs_str(task, "lastStatus"), "STOPPED");
}

static void walk(
    struct call *c, const char *cluster, bool (*fn)(void *ctx, const json_t *task), struct walk *w)
{
	tasks_walk(ecs_of(c)->tasks, ecs_arn(c, "task/%s/", cluster), fn, w);
}

static bool count(void *ctx, const json_t *task)
{
	struct walk *w = ctx;
	const char *status = docs_str(task, "lastStatus");

	if (!is_here(w, task))
		return true;
	w->use->active += !is_stopped(task);
	w->use->running += !strcmp(status, "RUNNING");
	w->use->pending += !strcmp(status, "PROVISIONING") || !strcmp(status, "PENDING") ||
			   !strcmp(status, "ACTIVATING");
	return true;
}

void ecs_use(struct call *c, const char *cluster, const char *instance_arn, struct ecs_use *ret)
{
	struct walk w = {.instance_arn = instance_arn, .use = ret};

	*ret = (struct ecs_use){0};
	walk(c, cluster, count, &w);
}

struct user {
	const char *arn;
	bool found;
};

static bool uses(void *ctx, const json_t *task)
{
	struct user *u = ctx;

	u->found = !is_stopped(task) && !strcmp(docs_str(task, "taskDefinitionArn"), u->arn);
	return !u->found;
}

bool ecs_definition_used(struct ecs *ecs, const char *definition_arn)
{
	struct user u = {.arn = definition_arn};

	tasks_walk(ecs->tasks, "arn:", uses, &u);
	return u.found;
}

struct provider_user {
	const char *provider;
	bool found;
};

static bool runs_by(void *ctx, const json_t *task)
{
	struct provider_user *u = ctx;
	const char *name = docs_str(task, "capacityProviderName");

	u->found = !is_stopped(task) && name && !strcmp(name, u->provider);
	return !u->found;
}

bool ecs_provider_used(struct call *c, const char *cluster, const char *provider)
{
	struct provider_user u = {.provider = provider};

	tasks_walk(ecs_of(c)->tasks, ecs_arn(c, "task/%s/", cluster), runs_by, &u);
	return u.found;
}

/* ---- resources ---- */

static bool gather_ports(void *ctx, const json_t *task)
{
	json_t **ports = ctx; /* tcp, udp */
	size_t i, j;
	json_t *container, *b;

	if (is_stopped(task))
		return true;
	json_array_foreach(json_object_get(task, "containers"), i, container)
	{
		json_array_foreach(json_object_get(container, "networkBindings"), j, b)
		{
			const char *protocol = docs_str(b, "protocol");
			char text[24];

			snprintf(text, sizeof(text), "%" PRId64, docs_int(b, "hostPort"));
			json_array_append_new(
			    ports[protocol && !strcmp(protocol, "udp")], json_string(text));
		}
	}
	return true;
}

static json_t *number(const char *name, int64_t n)
{
	return json_pack("{s:s, s:s, s:f, s:i, s:I}", "name", name, "type", "INTEGER",
	    "doubleValue", 0.0, "longValue", 0, "integerValue", (json_int_t)n);
}

static json_t *set(const char *name, json_t *values)
{
	return json_pack("{s:s, s:s, s:f, s:i, s:i, s:o}", "name", name, "type", "STRINGSET",
	    "doubleValue", 0.0, "longValue", 0, "integerValue", 0, "stringSetValue", values);
}

void ecs_resources(struct call *c, json_t *instance)
{
	json_t *ports[2] = {json_array(), json_array()};
	struct tasks_host host;

	tasks_host(ecs_of(c)->tasks, &host);
	tasks_walk(ecs_of(c)->tasks, "arn:", gather_ports, ports);
	json_object_set_new(instance, "registeredResources",
	    json_pack("[o, o, o, o]", number("CPU", host.cpu_units),
		number("MEMORY", host.memory_mib), set("PORTS", json_array()),
		set("PORTS_UDP", json_array())));
	json_object_set_new(instance, "remainingResources",
	    json_pack("[o, o, o, o]", number("CPU", host.cpu_units_free),
		number("MEMORY", host.memory_mib_free), set("PORTS", ports[0]),
		set("PORTS_UDP", ports[1])));
}

/* ---- groups ---- */

static bool gather_group(void *ctx, const json_t *task)
{
	struct walk *w = ctx;
	const char *group = docs_str(task, "group");

	if (is_here(w, task) && !is_stopped(task) && group && !ecs_json_has(w->list, group))
		json_array_append_new(w->list, json_string(group));
	return true;
}

json_t *ecs_groups(struct call *c, const char *cluster, const char *instance_arn)
{
	struct walk w = {.instance_arn = instance_arn, .list = json_array()};

	walk(c, cluster, gather_group, &w);
	return w.list;
}

/* ---- the end of an instance ---- */

static bool gather_arn(void *ctx, const json_t *task)
{
	struct walk *w = ctx;

	if (is_here(w, task) && !is_stopped(task))
		json_array_append(w->list, json_object_get(task, "taskArn"));
	return true;
}

static void on_stopped(void *ctx, int result)
{
	(void)ctx;
	(void)result;
}

void ecs_stop_all(struct call *c, const char *cluster, const char *instance_arn)
{
	struct walk w = {.instance_arn = instance_arn, .list = json_array()};
	size_t i;
	json_t *arn;

	walk(c, cluster, gather_arn, &w);
	json_array_foreach(w.list, i, arn)
	{
		tasks_stop(ecs_of(c)->tasks, json_string_value(arn), "UserInitiated",
		    "Container instance was deregistered forcibly.", on_stopped, NULL);
	}
	json_decref(w.list);
}
