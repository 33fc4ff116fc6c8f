/* Tasks as clients see them: describing, listing, stopping. Loop thread. */
#include "service/ecs/ecs_int.h"

const char *ecs_task_arn(struct call *c, const char *cluster, const char *id)
{
	return ecs_arn(c, "task/%s/%s", cluster, id);
}

static const char *full_arn(struct call *c, const char *cluster, const char *id)
{
	return str_has_prefix(str_from(id), "arn:") ? id : ecs_task_arn(c, cluster, id);
}

const json_t *ecs_task_get(struct call *c, const char *cluster, const char *id)
{
	const char *arn = full_arn(c, cluster, id);

	if (!str_has_prefix(str_from(arn), ecs_task_arn(c, cluster, "")))
		return NULL;
	return tasks_get(ecs_of(c)->tasks, arn);
}

json_t *ecs_task_show(const json_t *task, bool tags)
{
	json_t *shown = ecs_json_copy(task);

	if (!tags)
		json_object_set_new(shown, "tags", json_array());
	return shown;
}

int ecs_describe_tasks(struct call *c, const struct ecs_describe_tasks_in *in,
    _unused_ struct ecs_describe_tasks_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_pack("{s:[], s:[]}", "tasks", "failures");
	_cleanup_json_ json_t *cluster = NULL, *input = ecs_input(c, in);
	bool tags = ecs_json_has(json_object_get(input, "include"), "TAGS");
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	if (!in->tasks->count)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "Tasks cannot be empty.");
	if (in->tasks->count > IDS_MAX)
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "Tasks can have at most %d items.",
		    IDS_MAX);
	for (size_t i = 0; i < in->tasks->count; i++) {
		const char *id = in->tasks->items[i], *name = ecs_cluster_name(cluster);
		const json_t *task = ecs_task_get(c, name, id);

		json_array_append_new(json_object_get(answer, task ? "tasks" : "failures"),
		    task ? ecs_task_show(task, tags)
			 : ecs_json_failure(full_arn(c, name, id), "MISSING"));
	}
	return ecs_answer(c, json_incref(answer), e);
}

/* ---- ListTasks ---- */

struct listing {
	const struct ecs_list_tasks_in *in;
	const char *desired, *instance_arn, *family; /* "task-definition/family:" */
	json_t *arns;
};

static bool is_text(const json_t *task, const char *member, const char *wanted)
{
	const char *text = docs_str(task, member);

	return !wanted || (text && !strcmp(text, wanted));
}

static bool gather(void *ctx, const json_t *task)
{
	struct listing *l = ctx;

	if (is_text(task, "desiredStatus", l->desired) &&
	    is_text(task, "startedBy", l->in->started_by) &&
	    is_text(task, "launchType", l->in->launch_type) &&
	    is_text(task, "containerInstanceArn", l->instance_arn) &&
	    (!l->family ||
		str_has_prefix(str_from(docs_str(task, "taskDefinitionArn")), l->family)))
		json_array_append(l->arns, json_object_get(task, "taskArn"));
	return true;
}

static int check_filters(const struct ecs_list_tasks_in *in, struct err *e)
{
	if (in->started_by && (in->family || in->service_name || in->container_instance))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Cannot filter on startedBy together with family, serviceName or "
		    "containerInstance.");
	if (in->service_name)
		return fail(e, ECS_SERVICE_NOT_FOUND_EXCEPTION, "Service not found.");
	return 0;
}

int ecs_list_tasks(struct call *c, const struct ecs_list_tasks_in *in,
    _unused_ struct ecs_list_tasks_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL, *instance = NULL, *answer = json_object();
	struct listing l = {
	    .in = in, .desired = in->desired_status ? in->desired_status : "RUNNING"};
	const char *name;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r == 0)
		r = check_filters(in, e);
	if (r < 0)
		return r;
	name = ecs_cluster_name(cluster);
	if (in->container_instance) {
		instance = ecs_instance_get(c, name, in->container_instance, false);
		if (!instance)
			return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
			    "Referenced container instance %.120s not found.",
			    in->container_instance);
		l.instance_arn = docs_str(instance, "containerInstanceArn");
	}
	if (in->family)
		l.family = ecs_arn(c, "task-definition/%s:", in->family);
	l.arns = json_array();
	if (!in->daemon_name)
		tasks_walk(ecs_of(c)->tasks, ecs_task_arn(c, name, ""), gather, &l);
	r = ecs_page(c, l.arns, false, in->max_results, in->next_token, "taskArns", answer, e);
	return r < 0 ? r : ecs_answer(c, json_incref(answer), e);
}

/* ---- StopTask ---- */

static int not_found(struct err *e)
{
	return fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "The referenced task was not found.");
}

static int answer_stopped(struct call *c, json_t *data, struct err *e)
{
	const json_t *task = tasks_get(ecs_of(c)->tasks, docs_str(data, "arn"));

	if (!task)
		return not_found(e);
	return ecs_answer(c, json_pack("{s:o}", "task", ecs_task_show(task, true)), e);
}

int ecs_stop_task(struct call *c, const struct ecs_stop_task_in *in,
    _unused_ struct ecs_stop_task_out *out, struct err *e)
{
	_cleanup_json_ json_t *cluster = NULL;
	struct ecs_wait *w;
	const char *arn;
	int r = ecs_cluster_find(c, in->cluster, &cluster, e);

	if (r < 0)
		return r;
	if (!ecs_task_get(c, ecs_cluster_name(cluster), in->task))
		return not_found(e);
	if (in->reason && utf8_count(str_from(in->reason)) > 1024)
		return fail(
		    e, ECS_INVALID_PARAMETER_EXCEPTION, "reason can have at most 1024 characters.");
	arn = full_arn(c, ecs_cluster_name(cluster), in->task);
	w = ecs_wait_new(c, answer_stopped, json_pack("{s:s}", "arn", arn));
	tasks_stop(ecs_of(c)->tasks, arn, "UserInitiated",
	    in->reason ? in->reason : "Task stopped by user", ecs_wait_done, ecs_wait_more(w));
	return ecs_wait_return(w, e);
}
