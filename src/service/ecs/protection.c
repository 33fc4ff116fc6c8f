/* Task scale-in protection. Only tasks of services can be protected, as on AWS; until there are
 * services every task that is asked about is a failure TASK_NOT_VALID. Loop thread. */
#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define UPDATE_MAX 10
#define MINUTES_MAX 2880
#define MINUTES_DEFAULT 120
#define MINUTES_WRONG "expiresInMinutes must be between 1 and 2880."

static bool of_service(const json_t *task)
{
	const char *group = docs_str(task, "group");

	return group && str_has_prefix(str_from(group), "service:");
}

/* Protection that has not expired. */
static json_t *show(const json_t *task)
{
	const json_t *p = json_object_get(task, "protection");
	bool on = p && ecs_json_ms(p, "expirationDate") > time_wall_ms();
	json_t *shown =
	    json_pack("{s:s, s:b}", "taskArn", docs_str(task, "taskArn"), "protectionEnabled", on);

	if (on)
		json_object_set(shown, "expirationDate", json_object_get(p, "expirationDate"));
	return shown;
}

/* data: {"arns", "failures"} */
static int answer(struct call *c, json_t *data, struct err *e)
{
	json_t *answer = json_pack("{s:[]}", "protectedTasks"), *arn;
	size_t i;

	json_array_foreach(json_object_get(data, "arns"), i, arn)
	{
		const json_t *task = tasks_get(ecs_of(c)->tasks, json_string_value(arn));

		if (task)
			json_array_append_new(
			    json_object_get(answer, "protectedTasks"), show(task));
	}
	json_object_set(answer, "failures", json_object_get(data, "failures"));
	return ecs_answer(c, answer, e);
}

static void sort_out(struct call *c, const char *cluster, const char *id, json_t *data)
{
	const json_t *task = ecs_task_get(c, cluster, id);
	const char *arn = str_has_prefix(str_from(id), "arn:") ? id : ecs_task_arn(c, cluster, id);

	if (task && of_service(task))
		json_array_append(json_object_get(data, "arns"), json_object_get(task, "taskArn"));
	else
		json_array_append_new(json_object_get(data, "failures"),
		    ecs_json_failure(arn, task ? "TASK_NOT_VALID" : "MISSING"));
}

static bool gather(void *ctx, const json_t *task)
{
	if (of_service(task) && strcmp(docs_str(task, "lastStatus"), "STOPPED") != 0)
		json_array_append(ctx, json_object_get(task, "taskArn"));
	return true;
}

int ecs_get_task_protection(struct call *c, const struct ecs_get_task_protection_in *in,
    _unused_ struct ecs_get_task_protection_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL,
			      *data = json_pack("{s:[], s:[]}", "arns", "failures");
	const char *name;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	if (in->tasks && in->tasks->count > IDS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "Tasks can have at most %d items.",
		    IDS_MAX);
	for (size_t i = 0; in->tasks && i < in->tasks->count; i++)
		sort_out(c, name, in->tasks->items[i], data);
	if (!in->tasks || !in->tasks->count)
		tasks_walk(ecs_of(c)->tasks, ecs_task_arn(c, name, ""), gather,
		    json_object_get(data, "arns"));
	return answer(c, data, e);
}

static bool minutes_good(int64_t minutes)
{
	return minutes >= 1 && minutes <= MINUTES_MAX;
}

/* Members of the task. */
static json_t *protection_of(bool on, int64_t minutes)
{
	if (!on)
		return json_pack("{s:{}}", "protection");
	return json_pack("{s:{s:o}}", "protection", "expirationDate",
	    ecs_json_time(time_wall_ms() + minutes * 60000));
}

int ecs_update_task_protection(struct call *c, const struct ecs_update_task_protection_in *in,
    _unused_ struct ecs_update_task_protection_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL;
	const int64_t *minutes = in->expires_in_minutes;
	json_t *data, *arn;
	struct ecs_wait *w;
	size_t i;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	if (!in->tasks->count || in->tasks->count > UPDATE_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Tasks must have between 1 and %d items.", UPDATE_MAX);
	if (minutes && !minutes_good(*minutes))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, MINUTES_WRONG);
	data = json_pack("{s:[], s:[]}", "arns", "failures");
	for (i = 0; i < in->tasks->count; i++)
		sort_out(c, ecs_cluster_name(cluster), in->tasks->items[i], data);
	w = ecs_wait_new(c, answer, data);
	json_array_foreach(json_object_get(data, "arns"), i, arn)
	{
		tasks_update(ecs_of(c)->tasks, json_string_value(arn),
		    protection_of(*in->protection_enabled, minutes ? *minutes : MINUTES_DEFAULT),
		    ecs_wait_done, ecs_wait_more(w));
	}
	return ecs_wait_return(w, e);
}

/* ---- for the task itself ---- */

struct protect {
	struct tasks *tasks;
	char *arn;
	task_protected_fn *done;
	void *done_ctx;
};

static void tell(struct protect *p, int result)
{
	const json_t *task = tasks_get(p->tasks, p->arn);
	struct task_protection answer = {.failure = "MISSING"};
	json_t *shown = NULL;

	if (result < 0 && result != -ENOENT)
		answer = (struct task_protection){
		    .message = "The change could not be stored: try again.", .fault_is_ours = true};
	else if (task && !of_service(task))
		answer.failure = "TASK_NOT_VALID";
	else if (task)
		answer = (struct task_protection){.task = shown = show(task)};
	p->done(p->done_ctx, &answer);
	json_decref(shown);
	free(p->arn);
	free(p);
}

static void on_protected(void *ctx, int result)
{
	tell(ctx, result);
}

void ecs_protect(struct ecs *ecs, const char *task_arn, const struct task_protect *change,
    task_protected_fn *done, void *done_ctx)
{
	const struct task_protection wrong = {.message = MINUTES_WRONG};
	const json_t *task = tasks_get(ecs->tasks, task_arn);
	struct protect *p;

	if (change && change->has_minutes && !minutes_good(change->minutes)) {
		done(done_ctx, &wrong);
		return;
	}
	p = xmalloc(sizeof(*p));
	*p = (struct protect){ecs->tasks, xstrdup(task_arn), done, done_ctx};
	if (!change || !task || !of_service(task))
		tell(p, 0);
	else
		tasks_update(ecs->tasks, task_arn,
		    protection_of(
			change->on, change->has_minutes ? change->minutes : MINUTES_DEFAULT),
		    on_protected, p);
}
