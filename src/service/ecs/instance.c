/*
 * Container instances. This machine is one of every cluster; nothing is written until something of
 * it is changed. Others register themselves and are kept, but there is no agent's protocol yet, so
 * they are shown as not connected and get no tasks. Loop thread.
 */
#include <stdio.h>

#include "aws/sigv4.h"
#include "base/rand.h"
#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define MACHINE "machine"

static const char *arn_of(struct call *c, const char *cluster, const char *id)
{
	return ecs_arn(c, "container-instance/%s/%s", cluster, id);
}

/* Always the same for a cluster of this installation, until it is made or registered anew. */
static void machine_id(struct call *c, const json_t *cluster, int64_t generation, char ret[ID_SIZE])
{
	char hex[SIGV4_HEX], key[65];
	const char *text;

	hex_encode(ecs_of(c)->key, sizeof(ecs_of(c)->key), key);
	text = call_printf(c, "%s %s %s %" PRId64 " %" PRId64, key, c->region,
	    docs_str(cluster, "clusterArn"), ecs_json_ms(cluster, "created"), generation);
	sigv4_sha256_hex(str_from(text), hex);
	memcpy(ret, hex, ID_SIZE - 1);
	ret[ID_SIZE - 1] = '\0';
}

json_t *ecs_machine(struct call *c, const char *cluster, bool latest)
{
	_cleanup_json_ json_t *made = ecs_cluster_latest(c, cluster);
	const char *key = ecs_key(c, "%s/" MACHINE, cluster);
	const json_t *changed =
	    latest ? docs_latest(ecs_of(c)->instances, key) : docs_get(ecs_of(c)->instances, key);
	const char *status = docs_str(changed, "status");
	int64_t since = ecs_json_ms(made, "created");
	char id[ID_SIZE];
	json_t *doc, *extra;
	size_t i;

	if (!made || (status && !strcmp(status, "GONE")))
		return NULL;
	machine_id(c, made, docs_int(changed, "generation"), id);
	doc = json_pack("{s:s, s:s, s:s, s:b, s:b, s:i, s:{s:s, s:s, s:s}}", "containerInstanceArn",
	    arn_of(c, cluster, id), "ec2InstanceId", call_printf(c, "mi-%.17s", id), "status",
	    status ? status : "ACTIVE", "agentConnected", 1, "machine", 1, "version", 1,
	    "versionInfo", "agentVersion", MAYFLY_VERSION, "agentHash", "", "dockerVersion",
	    "Mayfly " MAYFLY_VERSION);
	json_object_set_new(
	    doc, "registeredAt", ecs_json_time(since ? since : ecs_of(c)->opened_ms));
	json_object_set_new(doc, "attributes", ecs_machine_attributes(c));
	json_array_foreach(json_object_get(changed, "attributes"), i, extra)
	{
		json_array_append_new(json_object_get(doc, "attributes"), json_deep_copy(extra));
	}
	if (json_object_get(changed, "tags"))
		json_object_set(doc, "tags", json_object_get(changed, "tags"));
	ecs_json_list(doc, "tags");
	ecs_json_list(doc, "attachments");
	return doc;
}

static bool gather(void *ctx, const char *key, const json_t *doc)
{
	if (!str_has_suffix(str_from(key), "/" MACHINE))
		json_array_append_new(ctx, json_deep_copy(doc));
	return true;
}

/* Ours wherever its id belongs. */
json_t *ecs_instances(struct call *c, const char *cluster)
{
	json_t *list = json_array(), *own = ecs_machine(c, cluster, false);
	size_t at = 0;

	docs_walk(ecs_of(c)->instances, ecs_key(c, "%s/", cluster), "", gather, list);
	if (!own)
		return list;
	while (at < json_array_size(list) &&
	       strcmp(docs_str(json_array_get(list, at), "containerInstanceArn"),
		   docs_str(own, "containerInstanceArn")) < 0)
		at++;
	json_array_insert_new(list, at, own);
	return list;
}

size_t ecs_instances_foreign(struct call *c, const char *cluster)
{
	json_t *list = json_array();
	size_t n;

	docs_walk(ecs_of(c)->instances, ecs_key(c, "%s/", cluster), "", gather, list);
	n = json_array_size(list);
	json_decref(list);
	return n;
}

static const char *key_of(struct call *c, const char *cluster, const json_t *instance)
{
	const char *arn = docs_str(instance, "containerInstanceArn");

	return ecs_json_true(instance, "machine")
		   ? ecs_key(c, "%s/" MACHINE, cluster)
		   : ecs_key(c, "%s/%s", cluster, strrchr(arn, '/') + 1);
}

json_t *ecs_instance_get(struct call *c, const char *cluster, const char *id, bool latest)
{
	_cleanup_json_ json_t *all = ecs_instances(c, cluster);
	const char *arn = str_has_prefix(str_from(id), "arn:") ? id : arn_of(c, cluster, id);
	json_t *found = ecs_json_find(all, "containerInstanceArn", arn);

	if (!found || !latest)
		return ecs_json_ref(found);
	if (ecs_json_true(found, "machine"))
		return ecs_machine(c, cluster, true);
	return ecs_json_copy(docs_latest(ecs_of(c)->instances, key_of(c, cluster, found)));
}

/* Of this machine only what differs from what it is by itself: attributes that were put. */
void ecs_instance_put(
    struct call *c, struct docs_change *g, const char *cluster, const json_t *instance)
{
	const char *key = key_of(c, cluster, instance);
	json_t *doc = ecs_json_copy(instance), *changed;
	_cleanup_json_ json_t *own = NULL;
	size_t i;
	json_t *v;

	if (ecs_json_true(instance, "machine")) {
		own = ecs_machine_attributes(c);
		changed = ecs_json_copy(docs_latest(ecs_of(c)->instances, key));
		changed = changed ? changed : json_object();
		json_object_set(changed, "status", json_object_get(doc, "status"));
		json_object_set(changed, "tags", json_object_get(doc, "tags"));
		json_object_set_new(changed, "attributes", json_array());
		json_array_foreach(json_object_get(doc, "attributes"), i, v)
		{
			if (!ecs_json_find(own, "name", docs_str(v, "name")))
				json_array_append(json_object_get(changed, "attributes"), v);
		}
		json_decref(doc);
		doc = changed;
	}
	docs_put(g, ecs_of(c)->instances, key, doc);
}

struct forget {
	struct ecs *ecs;
	struct docs_change *change;
};

static bool forget(void *ctx, const char *key, const json_t *doc)
{
	struct forget *f = ctx;

	(void)doc;
	docs_delete(f->change, f->ecs->instances, key);
	return true;
}

void ecs_instances_forget(struct call *c, struct docs_change *g, const char *cluster)
{
	struct forget f = {ecs_of(c), g};

	docs_walk(ecs_of(c)->instances, ecs_key(c, "%s/", cluster), "", forget, &f);
}

/* ---- showing ---- */

static json_t *show(struct call *c, const char *cluster, const json_t *instance, bool tags)
{
	json_t *doc = ecs_json_copy(instance);
	struct ecs_use use;

	ecs_use(c, cluster, docs_str(doc, "containerInstanceArn"), &use);
	docs_set_int(doc, "runningTasksCount", (int64_t)use.running);
	docs_set_int(doc, "pendingTasksCount", (int64_t)use.pending);
	if (ecs_json_true(doc, "machine"))
		ecs_resources(c, doc);
	if (!tags)
		json_object_set_new(doc, "tags", json_array());
	return doc;
}

static void show_health(json_t *doc)
{
	const char *state = ecs_json_true(doc, "machine") ? "OK" : "INSUFFICIENT_DATA";
	json_t *detail = json_pack("{s:s, s:s}", "type", "CONTAINER_RUNTIME", "status", state);

	json_object_set_new(doc, "healthStatus",
	    json_pack("{s:s, s:[o]}", "overallStatus", state, "details", detail));
}

json_t *ecs_instance_facts(struct call *c, const char *cluster, const json_t *instance)
{
	json_t *facts = json_object(), *a;
	const char *arn = docs_str(instance, "containerInstanceArn");
	char since[TIME_ISO_SIZE];
	struct ecs_use use;
	size_t i;

	json_array_foreach(json_object_get(instance, "attributes"), i, a)
	{
		const char *value = docs_str(a, "value");

		docs_set(
		    facts, call_printf(c, "attribute:%s", docs_str(a, "name")), value ? value : "");
	}
	ecs_use(c, cluster, arn, &use);
	time_format_iso(ecs_json_ms(instance, "registeredAt"), since);
	docs_set(
	    facts, "agentConnected", ecs_json_true(instance, "agentConnected") ? "true" : "false");
	docs_set(facts, "agentVersion",
	    docs_str(json_object_get(instance, "versionInfo"), "agentVersion"));
	docs_set(facts, "ec2InstanceId", docs_str(instance, "ec2InstanceId"));
	docs_set(facts, "registeredAt", since);
	docs_set(facts, "runningTasksCount", call_printf(c, "%zu", use.running));
	json_object_set_new(facts, "task:group", ecs_groups(c, cluster, arn));
	return facts;
}

/* ---- the operations ---- */

int ecs_register_container_instance(struct call *c,
    const struct ecs_register_container_instance_in *in,
    _unused_ struct ecs_register_container_instance_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *input = ecs_input(c, in), *doc = NULL;
	struct docs_change *g;
	const char *name;
	char id[ID_SIZE];
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r == 0)
		r = ecs_tags_check(json_object_get(input, "tags"), e);
	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	doc = in->container_instance_arn
		  ? ecs_instance_get(c, name, in->container_instance_arn, true)
		  : NULL;
	if (in->container_instance_arn && (!doc || ecs_json_true(doc, "machine")))
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "Container instance type changes are not supported: register without "
		    "containerInstanceArn.");
	rand_hex(id, ID_SIZE - 1);
	if (!doc)
		doc = json_pack("{s:s, s:i, s:[]}", "containerInstanceArn", arn_of(c, name, id),
		    "version", 1, "attachments");
	docs_set(doc, "status", "ACTIVE");
	json_object_set_new(doc, "agentConnected", json_false());
	json_object_set_new(doc, "registeredAt", ecs_json_now());
	json_object_set_new(
	    doc, "registeredResources", json_deep_copy(ecs_json_list(input, "totalResources")));
	json_object_set(doc, "remainingResources", json_object_get(doc, "registeredResources"));
	json_object_set(doc, "attributes", ecs_json_list(input, "attributes"));
	json_object_set(doc, "versionInfo", ecs_json_object(input, "versionInfo"));
	json_object_set(doc, "tags", ecs_json_list(input, "tags"));
	g = docs_change_new(ecs_of(c)->store);
	ecs_instance_put(c, g, name, doc);
	return ecs_answer_change(
	    c, json_pack("{s:o}", "containerInstance", show(c, name, doc, true)), g, e);
}

int ecs_deregister_container_instance(struct call *c,
    const struct ecs_deregister_container_instance_in *in,
    _unused_ struct ecs_deregister_container_instance_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *doc = NULL;
	struct docs_change *g;
	struct ecs_use use;
	const char *name, *arn;
	json_t *shown;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	doc = ecs_instance_get(c, name, in->container_instance, true);
	if (!doc)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Referenced container instance %.120s not found.", in->container_instance);
	arn = docs_str(doc, "containerInstanceArn");
	ecs_use(c, name, arn, &use);
	if (use.active && !(in->force && *in->force))
		return fail(
		    e, ECS_INVALID_PARAMETER_EXCEPTION, "Found running tasks on the instance.");
	ecs_stop_all(c, name, arn);
	shown = show(c, name, doc, true);
	docs_set(shown, "status", "INACTIVE");
	json_object_set_new(shown, "agentConnected", json_false());
	g = docs_change_new(ecs_of(c)->store);
	docs_set(doc, "status", "GONE");
	if (ecs_json_true(doc, "machine"))
		ecs_instance_put(c, g, name, doc);
	else
		docs_delete(g, ecs_of(c)->instances, key_of(c, name, doc));
	return ecs_answer_change(c, json_pack("{s:o}", "containerInstance", shown), g, e);
}

static json_t *missing(struct call *c, const char *cluster, const char *id)
{
	return ecs_json_failure(
	    str_has_prefix(str_from(id), "arn:") ? id : arn_of(c, cluster, id), "MISSING");
}

int ecs_describe_container_instances(struct call *c,
    const struct ecs_describe_container_instances_in *in,
    _unused_ struct ecs_describe_container_instances_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_pack("{s:[], s:[]}", "containerInstances", "failures");
	_cleanup_json_ json_t *cluster = NULL, *input = ecs_input(c, in);
	const json_t *include = json_object_get(input, "include");
	const char *name;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	if (!in->container_instances->count || in->container_instances->count > IDS_MAX)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "Container instances must have between 1 and %d items.", IDS_MAX);
	name = ecs_cluster_name(cluster);
	for (size_t i = 0; i < in->container_instances->count; i++) {
		const char *id = in->container_instances->items[i];
		_cleanup_json_ json_t *doc = ecs_instance_get(c, name, id, false);
		json_t *shown = doc ? show(c, name, doc, ecs_json_has(include, "TAGS")) : NULL;

		if (shown && ecs_json_has(include, "CONTAINER_INSTANCE_HEALTH"))
			show_health(shown);
		json_array_append_new(
		    json_object_get(answer, shown ? "containerInstances" : "failures"),
		    shown ? shown : missing(c, name, id));
	}
	return ecs_answer(c, json_incref(answer), e);
}

int ecs_list_container_instances(struct call *c, const struct ecs_list_container_instances_in *in,
    _unused_ struct ecs_list_container_instances_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *all = NULL, *answer = json_object();
	json_t *arns, *v;
	const char *name;
	size_t i;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	all = ecs_instances(c, name);
	arns = json_array();
	json_array_foreach(all, i, v)
	{
		_cleanup_json_ json_t *facts = ecs_instance_facts(c, name, v);
		struct err why = ERR_INIT;
		bool fits = true;

		if (in->filter && ecs_query(str_from(in->filter), facts, &fits, &why) < 0) {
			json_decref(arns);
			return fail(
			    e, ECS_INVALID_PARAMETER_EXCEPTION, "Invalid filter: %s", why.msg);
		}
		if (fits && (!in->status || !strcmp(docs_str(v, "status"), in->status)))
			json_array_append(arns, json_object_get(v, "containerInstanceArn"));
	}
	r = ecs_page(
	    c, arns, false, in->max_results, in->next_token, "containerInstanceArns", answer, e);
	return r < 0 ? r : ecs_answer(c, json_incref(answer), e);
}

int ecs_update_container_instances_state(struct call *c,
    const struct ecs_update_container_instances_state_in *in,
    _unused_ struct ecs_update_container_instances_state_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL;
	struct docs_change *g;
	const char *name;
	json_t *answer;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	if (strcmp(in->status, "ACTIVE") && strcmp(in->status, "DRAINING"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The container instance status must be ACTIVE or DRAINING.");
	if (!in->container_instances->count || in->container_instances->count > 10)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Container instances must have between 1 and 10 items.");
	name = ecs_cluster_name(cluster);
	answer = json_pack("{s:[], s:[]}", "containerInstances", "failures");
	g = docs_change_new(ecs_of(c)->store);
	for (size_t i = 0; i < in->container_instances->count; i++) {
		const char *id = in->container_instances->items[i];
		_cleanup_json_ json_t *doc = ecs_instance_get(c, name, id, true);

		if (doc) {
			docs_set(doc, "status", in->status);
			ecs_instance_put(c, g, name, doc);
		}
		json_array_append_new(
		    json_object_get(answer, doc ? "containerInstances" : "failures"),
		    doc ? show(c, name, doc, true) : missing(c, name, id));
	}
	return ecs_answer_change(c, answer, g, e);
}

int ecs_update_container_agent(struct call *c, const struct ecs_update_container_agent_in *in,
    _unused_ struct ecs_update_container_agent_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *doc = NULL;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	doc = ecs_instance_get(c, ecs_cluster_name(cluster), in->container_instance, false);
	if (!doc)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Referenced container instance %.120s not found.", in->container_instance);
	return fail(e, ECS_NO_UPDATE_AVAILABLE_EXCEPTION,
	    "There is no update available for your container agent.");
}
