/*
 * RunTask and StartTask. What can be refused is refused before anything is written; then, with a
 * client token, the token and the ARNs that belong to it are written; then each task for which
 * there is room is handed to src/sched, and the call is answered when all records are on disk. A
 * token that comes again gets the tasks it got before, and those that were not made then for
 * whatever reason. Loop thread.
 */
#include "aws/sigv4.h"
#include "base/rand.h"
#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define COUNT_MAX 10
#define TOKEN_MAX 64
#define PROVIDERS_MAX 20

struct planned {
	char *arn;
	json_t *task;
	const char *objection; /* a constant; NULL: it may run */
	char *detail;          /* of it; or NULL */
	char *instance_arn;    /* for failures; or NULL */
	bool failed;
};

/* Calls with the same token wait for the same run. */
struct run {
	struct run *next; /* those that are under way */
	struct ecs *ecs;
	char *token_key; /* or NULL */
	json_t *definition, *overrides;
	struct planned planned[COUNT_MAX];
	unsigned count, pending;
	struct ecs_wait *waits[COUNT_MAX];
	unsigned wait_count;
	json_t *data; /* what the calls' answers are made of */
	int result;
};

static void run_free(struct run *run)
{
	struct run **at = &run->ecs->runs;

	while (*at && *at != run)
		at = &(*at)->next;
	if (*at)
		*at = run->next;
	for (unsigned i = 0; i < run->count; i++) {
		free(run->planned[i].arn);
		free(run->planned[i].instance_arn);
		free(run->planned[i].detail);
		json_decref(run->planned[i].task);
	}
	json_decref(run->definition);
	json_decref(run->overrides);
	json_decref(run->data);
	free(run->token_key);
	free(run);
}

/* data: {"arns": those that run, "failures"} */
static int answer(struct call *c, json_t *data, struct err *e)
{
	json_t *answer = json_pack("{s:[]}", "tasks"), *arn;
	size_t i;

	json_array_foreach(json_object_get(data, "arns"), i, arn)
	{
		const json_t *task = tasks_get(ecs_of(c)->tasks, json_string_value(arn));

		if (task)
			json_array_append_new(
			    json_object_get(answer, "tasks"), ecs_task_show(task, true));
	}
	json_object_set(answer, "failures", json_object_get(data, "failures"));
	return ecs_answer(c, answer, e);
}

static bool wait_for(struct run *run, struct ecs_wait *w)
{
	if (run->wait_count == ARRAY_SIZE(run->waits))
		return false;
	run->waits[run->wait_count++] = ecs_wait_more(w);
	return true;
}

/* ---- starting ---- */

static void add_failure(
    struct run *run, const struct planned *p, const char *reason, const char *detail)
{
	json_t *failure = p->instance_arn ? ecs_json_failure(p->instance_arn, reason)
					  : json_pack("{s:s}", "reason", reason);

	if (*detail)
		docs_set(failure, "detail", detail);
	json_array_append_new(json_object_get(run->data, "failures"), failure);
}

static void run_end(struct run *run)
{
	struct planned *p;

	for (unsigned i = 0; i < run->count; i++) {
		p = &run->planned[i];
		if (!p->failed)
			json_array_append_new(
			    json_object_get(run->data, "arns"), json_string(p->arn));
	}
	/* What could not be written is a failure of the call only if nothing was. */
	if (json_array_size(json_object_get(run->data, "arns")))
		run->result = 0;
	for (unsigned i = 0; i < run->wait_count; i++)
		ecs_wait_done(run->waits[i], run->result);
	run_free(run);
}

struct one {
	struct run *run;
	struct planned *planned;
};

static void on_kept(void *ctx, int result)
{
	struct one *one = ctx;
	struct run *run = one->run;

	if (result < 0) {
		one->planned->failed = true;
		run->result = result;
		add_failure(run, one->planned, "AGENT", "");
	}
	free(one);
	if (--run->pending == 0)
		run_end(run);
}

static void start_one(struct run *run, struct planned *p)
{
	struct tasks *tasks = run->ecs->tasks;
	const char *reason = p->objection;
	struct err detail = ERR_INIT;
	struct one *one;

	if (tasks_get(tasks, p->arn))
		return; /* by the same token, before */
	if (!reason)
		reason = tasks_lacks(tasks, run->definition, run->overrides, &detail);
	if (reason) {
		p->failed = true;
		add_failure(run, p, reason, p->detail ? p->detail : detail.msg);
		return;
	}
	one = xcalloc(1, sizeof(*one));
	*one = (struct one){run, p};
	run->pending++;
	tasks_run(tasks, take_ptr(p->task), json_deep_copy(run->definition), on_kept, one);
}

static void start_all(void *ctx, int result)
{
	struct run *run = ctx;

	run->pending = 1;
	run->result = result;
	for (unsigned i = 0; i < run->count; i++) {
		if (result < 0)
			run->planned[i].failed = true;
		else
			start_one(run, &run->planned[i]);
	}
	if (--run->pending == 0)
		run_end(run);
}

/* ---- planning ---- */

static struct run *run_new(const struct launch *l)
{
	struct run *run = xcalloc(1, sizeof(*run));

	run->ecs = ecs_of(l->c);
	run->definition = json_incref(l->definition);
	run->overrides = json_incref(l->overrides);
	run->data = json_pack("{s:[], s:[]}", "arns", "failures");
	run->next = run->ecs->runs;
	run->ecs->runs = run;
	return run;
}

static void plan(struct run *run, const struct launch *l, const char *arn, const char *launch_type,
    const char *provider, const json_t *instance, bool asked)
{
	struct planned *p = &run->planned[run->count++];
	const char *instance_arn = docs_str(instance, "containerInstanceArn"), *detail = NULL;
	char id[ID_SIZE];

	rand_hex(id, ID_SIZE - 1);
	p->arn = xstrdup(arn ? arn : ecs_task_arn(l->c, l->cluster_name, id));
	p->instance_arn = instance_arn ? xstrdup(instance_arn) : NULL;
	p->objection = ecs_placement_objection(l, instance, asked, &detail);
	p->detail = detail ? xstrdup(detail) : NULL;
	if (!p->objection && run->count > 1 && ecs_placement_distinct(l))
		p->objection = "DistinctInstance placement constraint unsatisfied.";
	p->task = ecs_launch_task(l, p->arn, launch_type, instance_arn, provider);
}

/* ---- RunTask ---- */

static int check_request(const struct ecs_run_task_in *in, struct err *e)
{
	const char *platform = in->platform_version;
	static const char *const platforms[] = {
	    "LATEST", "1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"};
	bool known = !platform;

	if (in->count && (*in->count < 1 || *in->count > COUNT_MAX))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "count must be between 1 and %d.",
		    COUNT_MAX);
	if (in->launch_type && in->capacity_provider_strategy &&
	    in->capacity_provider_strategy->count)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Specifying both a launch type and capacity provider strategy is not "
		    "supported. "
		    "Remove one and try again.");
	if (in->launch_type && !strcmp(in->launch_type, "MANAGED_INSTANCES"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The launch type MANAGED_INSTANCES is not supported: use a capacity provider "
		    "strategy.");
	if (in->client_token && (!*in->client_token || strlen(in->client_token) > TOKEN_MAX))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "clientToken must have between 1 and %d characters.", TOKEN_MAX);
	for (size_t i = 0; platform && i < ARRAY_SIZE(platforms); i++)
		known = known || !strcmp(platform, platforms[i]);
	if (!known)
		return fail(e, ECS_PLATFORM_UNKNOWN_EXCEPTION,
		    "The specified platform version does not exist.");
	return 0;
}

/* The strategy that counts: the request's, the cluster's default, or none. Borrowed. */
static int find_strategy(const struct launch *l, json_t **ret)
{
	json_t *own = json_object_get(l->in, "capacityProviderStrategy");

	*ret = NULL;
	if (l->launch_type)
		return 0;
	if (!json_array_size(own)) {
		own = json_object_get(l->cluster, "defaultCapacityProviderStrategy");
		*ret = json_array_size(own) ? own : NULL;
		return 0;
	}
	*ret = own;
	return ecs_strategy_check(own, json_object_get(l->cluster, "capacityProviders"), l->e);
}

static const char *type_of_provider(const char *name)
{
	return str_has_prefix(str_from(name), "FARGATE") ? "FARGATE" : "EC2";
}

static int check_compatible(const struct launch *l, const char *launch_type, const char *platform)
{
	if (!ecs_json_has(json_object_get(l->definition, "compatibilities"), launch_type))
		return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Task definition does not support launch_type %s.", launch_type);
	if (platform && !ecs_launch_fargate(launch_type))
		return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "The platform version must be null when specifying an %s launch type.",
		    launch_type);
	return 0;
}

/* Where EC2 and EXTERNAL go: this machine, if it takes tasks. */
static int find_instance(const struct launch *l, const char *launch_type, json_t **ret)
{
	_cleanup_json_ json_t *machine = NULL;

	*ret = NULL;
	if (ecs_launch_fargate(launch_type))
		return 0;
	machine = ecs_machine(l->c, l->cluster_name, false);
	if (!machine || strcmp(docs_str(machine, "status"), "ACTIVE") != 0)
		return fail(l->e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "No Container Instances were found in your cluster.");
	*ret = json_incref(machine);
	return 0;
}

/* `n` tasks of one launch type. arns: of an earlier call with the same token, or NULL. */
static int plan_some(struct run *run, const struct launch *l, int64_t n, const char *launch_type,
    const char *provider, const char *platform, const json_t *arns)
{
	_cleanup_json_ json_t *instance = NULL;
	int r = check_compatible(l, launch_type, platform);

	if (r == 0)
		r = find_instance(l, launch_type, &instance);
	for (; r == 0 && n > 0; n--)
		plan(run, l, json_string_value(json_array_get(arns, run->count)), launch_type,
		    provider, instance, false);
	return r;
}

static int plan_all(
    struct run *run, const struct launch *l, const struct ecs_run_task_in *in, const json_t *arns)
{
	int64_t count = in->count ? *in->count : 1, each[PROVIDERS_MAX];
	json_t *strategy, *item;
	size_t i;
	int r = find_strategy(l, &strategy);

	if (r < 0)
		return r;
	if (!strategy)
		return plan_some(run, l, count, l->launch_type ? l->launch_type : "EC2", NULL,
		    in->platform_version, arns);
	ecs_strategy_split(strategy, count, each);
	json_array_foreach(strategy, i, item)
	{
		const char *provider = docs_str(item, "capacityProvider");

		if (r == 0 && each[i])
			r = plan_some(run, l, each[i], type_of_provider(provider), provider,
			    in->platform_version, arns);
	}
	return r;
}

/* ---- tokens ---- */

static json_t *planned_arns(const struct run *run)
{
	json_t *arns = json_array();

	for (unsigned i = 0; i < run->count; i++)
		json_array_append_new(arns, json_string(run->planned[i].arn));
	return arns;
}

static void hash_request(const struct launch *l, char hex[SIGV4_HEX])
{
	_cleanup_free_ char *text = json_dumps(l->in, JSON_COMPACT | JSON_SORT_KEYS);

	sigv4_sha256_hex(str_from(text), hex);
}

static int conflict(const struct launch *l, const json_t *arns)
{
	_cleanup_free_ char *text = json_dumps(arns, JSON_COMPACT);

	call_error_member(l->c, "resourceIds", text);
	return fail(l->e, ECS_CONFLICT_EXCEPTION,
	    "The RunTask request could not be processed due to conflicts. The provided clientToken "
	    "is "
	    "already in use with a different RunTask request. The resourceIds are the existing "
	    "task "
	    "ARNs which are already associated with the clientToken.");
}

static struct run *run_of_token(const struct ecs *ecs, const char *key)
{
	struct run *run = ecs->runs;

	while (run && (!run->token_key || strcmp(run->token_key, key) != 0))
		run = run->next;
	return run;
}

/* Only what is still known after the hour for which tasks are kept. */
static int answer_known(const struct launch *l, const json_t *arns)
{
	json_t *data = json_pack("{s:[], s:[]}", "arns", "failures"), *arn;
	size_t i;
	int r;

	json_array_foreach(arns, i, arn)
	{
		if (tasks_get(ecs_of(l->c)->tasks, json_string_value(arn)))
			json_array_append(json_object_get(data, "arns"), arn);
	}
	r = answer(l->c, data, l->e);
	json_decref(data);
	return r;
}

static int go(struct run *run, const struct launch *l, bool write, const char *hash)
{
	struct ecs_wait *w = ecs_wait_new(l->c, answer, json_incref(run->data));
	struct err *e = l->e;
	struct docs_change *g;

	wait_for(run, w);
	if (!write) {
		start_all(run, 0);
		return ecs_wait_return(w, e);
	}
	g = docs_change_new(run->ecs->store);
	docs_put(g, run->ecs->tokens, run->token_key,
	    json_pack("{s:s, s:o, s:o}", "hash", hash, "arns", planned_arns(run), "created",
		ecs_json_now()));
	docs_commit(g, start_all, run);
	return ecs_wait_return(w, e);
}

int ecs_run_task(struct call *c, const struct ecs_run_task_in *in,
    _unused_ struct ecs_run_task_out *out, struct err *e)
{
	_cleanup_launch_ struct launch l = {0};
	const json_t *token = NULL;
	const char *key = NULL;
	struct ecs_wait *w;
	struct run *run;
	char hash[SIGV4_HEX];
	int r = check_request(in, e);

	if (r == 0)
		r = ecs_launch_open(c, in, in->launch_type, &l, e);
	if (r == 0)
		r = ecs_placement_check(&l);
	if (r < 0)
		return r;
	hash_request(&l, hash);
	if (in->client_token) {
		key = ecs_key(c, "%s/%s", l.cluster_name, in->client_token);
		token = docs_latest(ecs_of(c)->tokens, key);
	}
	if (token && strcmp(docs_str(token, "hash"), hash) != 0)
		return conflict(&l, json_object_get(token, "arns"));
	run = token ? run_of_token(ecs_of(c), key) : NULL;
	if (run) {
		w = ecs_wait_new(c, answer, json_incref(run->data));
		if (!wait_for(run, w))
			ecs_wait_done(ecs_wait_more(w), -EAGAIN);
		return ecs_wait_return(w, e);
	}
	if (token && ecs_json_ms(token, "created") + HOUR_MS < time_wall_ms())
		return answer_known(&l, json_object_get(token, "arns"));
	run = run_new(&l);
	r = plan_all(run, &l, in, json_object_get(token, "arns"));
	if (r < 0) {
		run_free(run);
		return r;
	}
	run->token_key = key ? xstrdup(key) : NULL;
	return go(run, &l, key && !token, hash);
}

/* ---- StartTask ---- */

int ecs_start_task(struct call *c, const struct ecs_start_task_in *in,
    _unused_ struct ecs_start_task_out *out, struct err *e)
{
	_cleanup_launch_ struct launch l = {0};
	struct run *run;
	int r = ecs_launch_open(c, in, NULL, &l, e);

	if (r == 0 &&
	    (!in->container_instances->count || in->container_instances->count > COUNT_MAX))
		r = fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Container instances must have between 1 and %d items.", COUNT_MAX);
	if (r < 0)
		return r;
	run = run_new(&l);
	for (size_t i = 0; i < in->container_instances->count; i++) {
		const char *id = in->container_instances->items[i];
		_cleanup_json_ json_t *instance = ecs_instance_get(c, l.cluster_name, id, false);

		if (instance)
			plan(run, &l, NULL, "EC2", NULL, instance, true);
		else
			json_array_append_new(json_object_get(run->data, "failures"),
			    ecs_json_failure(
				str_has_prefix(str_from(id), "arn:")
				    ? id
				    : ecs_arn(c, "container-instance/%s/%s", l.cluster_name, id),
				"MISSING"));
	}
	return go(run, &l, false, NULL);
}
