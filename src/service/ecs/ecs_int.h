/*
 * What the handlers of ECS share. A resource is one document with the member names of the API's own
 * shape, and some of ours beside them that its decoder drops ("created", "tags" where they are
 * shown apart). Handlers work on JSON: ecs_input() makes it of what came in, ecs_answer() makes the
 * output of it.
 *
 * Tables and their keys, each behind "account/region/":
 *   clusters     name
 *   instances    cluster/id; and cluster/machine, what was changed of this machine
 *   providers    name
 *   definitions  family#0000000001, because '#' is before whatever a name can have
 *   families     family: {"last": revision}; kept for ever, or a number would come again
 *   settings     ""/name: the account's default; principal ARN/name
 *   tokens       cluster/client token: {"hash", "arns", "created"}
 */
#pragma once

#include <jansson.h>

#include "aws/aws.h"
#include "docs/call.h"
#include "gen/ecs.h"
#include "service/ecs/ecs.h"

#define TAGS_MAX 50
#define PAGE_MAX 100
#define IDS_MAX 100
#define ID_SIZE 33 /* 32 hex digits: tasks, containers, instances */
#define CONTAINERS_MAX 10
#define DEFINITION_BYTES_MAX 65536
#define CLUSTERS_MAX 10000
#define HOUR_MS 3600000

struct ecs {
	struct loop *loop;
	struct store *store;
	struct tasks *tasks;
	struct docs *clusters, *instances, *providers, *definitions, *families, *settings, *tokens;
	struct loop_timer purge;
	uint8_t key[32];
	int64_t opened_ms;
	struct run *runs; /* RunTask calls that are under way */
};

static inline struct ecs *ecs_of(const struct call *c)
{
	return c->ctx;
}

/* A document of which the caller has a reference. */
static inline void ecs_json_decref(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(ecs_json_decref)

/* ---- json.c ---- */

/* The whole input; the caller's. */
json_t *ecs_input(struct call *c, const void *in);
/* Fill the call's output with this, which is taken. */
int ecs_answer(struct call *c, json_t *answer, struct err *e);
/* The same, answered when the change is on disk. */
int ecs_answer_change(struct call *c, json_t *answer, struct docs_change *g, struct err *e);

/* A reference of a stored document, NULL for NULL. */
json_t *ecs_json_ref(const json_t *doc);
/* A copy of a stored document, for a change. */
json_t *ecs_json_copy(const json_t *doc);
/* Seconds, as timestamps are in documents. */
json_t *ecs_json_now(void);
json_t *ecs_json_time(int64_t wall_ms);
int64_t ecs_json_ms(const json_t *doc, const char *name);
/* The member, which is made if it is not there. Borrowed. */
json_t *ecs_json_list(json_t *doc, const char *name);
json_t *ecs_json_object(json_t *doc, const char *name);
/* value is taken; nothing happens when the member is there. */
void ecs_json_default(json_t *doc, const char *name, json_t *value);
/* NULL value: not there, null, or an empty list. */
bool ecs_json_given(const json_t *doc, const char *name);
bool ecs_json_has(const json_t *list, const char *text);
bool ecs_json_true(const json_t *doc, const char *name);
/* The object of the list of which this member is this text; borrowed, or NULL. */
json_t *ecs_json_find(const json_t *list, const char *name, const char *value);
/* Into a list of texts in order. */
void ecs_json_insert(json_t *list, const char *text);
json_t *ecs_json_failure(const char *arn, const char *reason);

/* One page of a list of texts, in order (descending: downwards); the answer's member and its
 * nextToken. list is taken. */
int ecs_page(struct call *c, json_t *list, bool descending, const int64_t *max, const char *token,
    const char *member, json_t *answer, struct err *e);

/* ---- wait.c ---- */

/* A call that is answered by finish() when everything has been done that it waits for. */
struct ecs_wait;
typedef int ecs_wait_fn(struct call *c, json_t *data, struct err *e);
/* data is taken. */
struct ecs_wait *ecs_wait_new(struct call *c, ecs_wait_fn *finish, json_t *data);
/* One thing more; returns w, to be handed to what calls ecs_wait_done(). */
struct ecs_wait *ecs_wait_more(struct ecs_wait *w);
/* One thing less. -ENOENT is no failure of the call: finish() sees what there is. */
void ecs_wait_done(void *wait, int result);
/* What the handler returns, once it has begun all. w may be gone afterwards. */
int ecs_wait_return(struct ecs_wait *w, struct err *e);

/* ---- service.c ---- */

/* "account/region/" and what follows. */
const char *ecs_key(struct call *c, const char *fmt, ...) _printf_(2, 3);
/* "arn:aws:ecs:region:account:" and what follows. */
const char *ecs_arn(struct call *c, const char *fmt, ...) _printf_(2, 3);
/* What is behind "kind/" of an ARN of this account and region, or the text itself. */
int ecs_name(
    struct call *c, const char *text, const char *kind, const char **ret_name, struct err *e);
bool ecs_name_good(const char *name, size_t max);

/* ---- tag.c ---- */

int ecs_tags_check(const json_t *tags, struct err *e);
/* Into the document's "tags": those of the same key are replaced. */
int ecs_tags_merge(json_t *doc, const json_t *given, struct err *e);

/* ---- setting.c ---- */

/* The effective value for whoever calls. */
const char *ecs_setting(struct call *c, const char *name);

/* ---- cluster.c ---- */

/* A cluster that may be used, as on disk; `default` is always there until it is deleted. NULL id:
 * `default`. ClusterNotFoundException. *ret is the caller's. */
int ecs_cluster_find(struct call *c, const char *id, json_t **ret, struct err *e);
/* By its name, whatever its status, as changes under way will leave it; NULL: there is none. */
json_t *ecs_cluster_latest(struct call *c, const char *name);
json_t *ecs_cluster_show(struct call *c, const json_t *cluster);
static inline const char *ecs_cluster_name(const json_t *cluster)
{
	return docs_str(cluster, "clusterName");
}

/* ---- provider.c ---- */

/* By name or ARN, as on disk or predefined; the caller's, NULL: there is none. */
json_t *ecs_provider_get(struct call *c, const char *id);
const char *ecs_provider_key(struct call *c, const json_t *provider);
/* providers: names, all of which exist; strategy: of them. What is absent is filled in. */
int ecs_provider_list_check(struct call *c, json_t *providers, struct err *e);
int ecs_strategy_check(json_t *strategy, const json_t *providers, struct err *e);
/* How many of count tasks go to each item of a checked strategy when there are none yet. */
void ecs_strategy_split(const json_t *strategy, int64_t count, int64_t *ret);

/* ---- definition.c ---- */

/* By family, family:revision or ARN: latest active one of a family. The caller's, NULL: none. */
json_t *ecs_definition_get(struct call *c, const char *id, bool latest);
const char *ecs_definition_key(struct call *c, const json_t *definition);

/* ---- definition_check.c, definition_container.c, definition_fargate.c ---- */

struct definition_check {
	struct call *c;
	json_t *doc; /* RegisterTaskDefinition's input */
	const json_t *containers, *volumes;
	const char *mode; /* networkMode; "bridge" if it was not given */
	bool fargate;     /* required */
	struct err *e;
};
/* A task definition as it comes in; cpu and memory are brought into units. ClientException. */
int ecs_definition_check(struct call *c, json_t *doc, struct err *e);
int ecs_container_check(const struct definition_check *k, const json_t *container);
/* Whole-task rules: dependencies without a circle, sums. */
int ecs_dependencies_check(const struct definition_check *k);
int ecs_refuse(const struct definition_check *k, const char *fmt, ...) _printf_(2, 3);
/* NULL, or in AWS's words why it cannot run on Fargate; the text lives as long as the call. */
const char *ecs_fargate_objection(struct call *c, const json_t *doc);
/* "1 vCPU", "1024"; "2 GB", "2048" into units and MiB. False: neither. */
bool ecs_cpu_parse(const char *text, int64_t *ret_units);
bool ecs_memory_parse(const char *text, int64_t *ret_mib);

/* ---- definition_fill.c ---- */

/* Put in what ECS adds: defaults of containers and volumes, compatibilities, attributes. */
void ecs_definition_fill(struct call *c, json_t *doc);

/* ---- instance.c ---- */

/* This machine as an instance of the cluster; NULL: it was deregistered. The caller's. latest: as
 * changes under way will leave it. */
json_t *ecs_machine(struct call *c, const char *cluster, bool latest);
/* By id or ARN; the caller's, NULL: none. It has "machine": true if it is this one. */
json_t *ecs_instance_get(struct call *c, const char *cluster, const char *id, bool latest);
/* All of a cluster, in the order of their ARNs; the caller's. */
json_t *ecs_instances(struct call *c, const char *cluster);
size_t ecs_instances_foreign(struct call *c, const char *cluster);
/* Put an instance's "status", "attributes" or "tags" into a change. */
void ecs_instance_put(
    struct call *c, struct docs_change *g, const char *cluster, const json_t *instance);
void ecs_instances_forget(struct call *c, struct docs_change *g, const char *cluster);
/* What cluster queries may ask of an instance. */
json_t *ecs_instance_facts(struct call *c, const char *cluster, const json_t *instance);

/* ---- attribute.c ---- */

/* What this machine is and can, as ECS names it. */
json_t *ecs_machine_attributes(const struct call *c);
/* The first attribute of the definition's requirements that the instance lacks, or NULL. */
const char *ecs_attribute_lacking(const json_t *definition, const json_t *instance);

/* ---- query.c ---- */

/* Cluster query language. facts: texts or lists of texts by subject ("attribute:x", "task:group").
 * 0, or -EINVAL and e. facts may be NULL: only check. */
int ecs_query(struct str text, const json_t *facts, bool *ret, struct err *e);

/* ---- use.c ---- */

struct ecs_use {
	size_t running, pending, active; /* active: not stopped */
};
/* Tasks of a cluster, on this instance if that is not NULL. */
void ecs_use(struct call *c, const char *cluster, const char *instance_arn, struct ecs_use *ret);
/* Do tasks of the cluster run by this capacity provider? */
bool ecs_provider_used(struct call *c, const char *cluster, const char *provider);
bool ecs_definition_used(struct ecs *ecs, const char *definition_arn);
/* registeredResources and remainingResources of this machine. */
void ecs_resources(struct call *c, json_t *instance);
/* "task:group" of what runs on it. */
json_t *ecs_groups(struct call *c, const char *cluster, const char *instance_arn);
/* Ask for the end of all tasks on the instance. */
void ecs_stop_all(struct call *c, const char *cluster, const char *instance_arn);

/* ---- launch.c, launch_check.c: what RunTask and StartTask share ---- */

struct launch {
	struct call *c;
	json_t *in, *cluster, *definition, *overrides, *tags;
	const char *cluster_name;
	const char *launch_type; /* NULL: capacity providers say it */
	struct err *e;
};
/* Find cluster and definition, check what both operations have: 0, or negative and e. Free with
 * ecs_launch_done() in any case. launch_type of RunTask only. */
int ecs_launch_open(
    struct call *c, const void *in, const char *launch_type, struct launch *ret, struct err *e);
void ecs_launch_done(struct launch *l);
#define _cleanup_launch_ _cleanup_(ecs_launch_done)
/* launch_check.c: what networks and overrides may be. */
int ecs_launch_check(struct launch *l);
/* A record for tasks_run(): the caller's. instance_arn and provider may be NULL. */
json_t *ecs_launch_task(const struct launch *l, const char *arn, const char *launch_type,
    const char *instance_arn, const char *provider);
bool ecs_launch_fargate(const char *launch_type);

/* ---- place.c ---- */

/* Constraints and strategies of RunTask: 0, or negative and e. */
int ecs_placement_check(const struct launch *l);
/* Why a task cannot go to the instance (NULL: Fargate), apart from room that is taken; NULL: it
 * can. asked: it was named by StartTask. ret_detail: what lacks, if there is more to say; lives as
 * long as the call. */
const char *ecs_placement_objection(
    const struct launch *l, const json_t *instance, bool asked, const char **ret_detail);
/* Tasks of one call must go to different instances. */
bool ecs_placement_distinct(const struct launch *l);

/* ---- task.c ---- */

const char *ecs_task_arn(struct call *c, const char *cluster, const char *id);
/* The record, or NULL: of a task of this cluster. id: id or ARN. */
const json_t *ecs_task_get(struct call *c, const char *cluster, const char *id);
json_t *ecs_task_show(const json_t *task, bool tags);
