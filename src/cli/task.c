/* Finding tasks. See task.h. */
#include "cli/task.h"

#include <stdio.h>

#define DESCRIBE_MAX 100
#define SHOW_MAX 10 /* tasks that a name could mean, in a message */

const char *task_arn(const json_t *task)
{
	return field_text(task, "taskArn");
}

static const char *last_part(const char *arn)
{
	const char *slash = strrchr(arn, '/');

	return slash ? slash + 1 : arn;
}

const char *task_id(const json_t *task)
{
	return last_part(task_arn(task));
}

char *task_family(const json_t *task)
{
	const char *name = last_part(field_text(task, "taskDefinitionArn"));

	return xstrndup(name, strcspn(name, ":"));
}

bool task_is_stopped(const json_t *task)
{
	return !strcmp(field_text(task, "lastStatus"), "STOPPED");
}

json_t *task_containers(const json_t *task)
{
	return json_object_get(task, "containers");
}

int64_t task_created_ms(const json_t *task)
{
	return (int64_t)(json_number_value(json_object_get(task, "createdAt")) * 1000);
}

static int describe(struct client *c, const char *cluster, json_t *arns, json_t *ret)
{
	json_t *in = json_pack(
		   "{s:s,s:O,s:[s]}", "cluster", cluster, "tasks", arns, "include", "TAGS"),
	       *answer = NULL;
	int code = client_ecs(c, "DescribeTasks", in, 0, "looking at tasks", &answer);

	json_array_extend(ret, json_object_get(answer, "tasks"));
	json_decref(in);
	json_decref(answer);
	return code;
}

static int list_status(struct client *c, const char *cluster, const char *status, json_t *ret)
{
	json_t *in = json_pack("{s:s,s:s}", "cluster", cluster, "desiredStatus", status);
	int code;

	do {
		json_t *answer = NULL, *arns;
		const char *next;

		code = client_ecs(c, "ListTasks", in, 0, "listing tasks", &answer);
		arns = json_object_get(answer, "taskArns");
		if (!code && json_array_size(arns))
			code = describe(c, cluster, arns, ret);
		next = field_text(answer, "nextToken");
		if (*next)
			json_object_set_new(in, "nextToken", json_string(next));
		else
			json_object_del(in, "nextToken");
		json_decref(answer);
	} while (!code && json_object_get(in, "nextToken"));
	json_decref(in);
	return code;
}

static int list_clusters(struct client *c, json_t *ret)
{
	json_t *in = json_object();
	int code;

	do {
		json_t *answer = NULL;
		const char *next;

		code =
		    client_ecs(c, "ListClusters", in, CLIENT_UNKNOWN, "listing clusters", &answer);
		json_array_extend(ret, json_object_get(answer, "clusterArns"));
		next = field_text(answer, "nextToken");
		if (*next)
			json_object_set_new(in, "nextToken", json_string(next));
		else
			json_object_del(in, "nextToken");
		json_decref(answer);
	} while (!code && json_object_get(in, "nextToken"));
	json_decref(in);
	/* A server without containers. */
	return code == CLIENT_NOTED ? CLI_OK : code;
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = task_created_ms(*(json_t *const *)a), y = task_created_ms(*(json_t *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

static void sort(json_t *tasks)
{
	size_t count = json_array_size(tasks);
	_cleanup_free_ json_t **items = xcalloc(count + 1, sizeof(*items));

	for (size_t i = 0; i < count; i++)
		items[i] = json_incref(json_array_get(tasks, i));
	qsort(items, count, sizeof(*items), newest_first);
	json_array_clear(tasks);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(tasks, items[i]);
}

int task_list(struct client *c, bool stopped, json_t *ret)
{
	json_t *clusters = json_array(), *cluster;
	int code = list_clusters(c, clusters);
	size_t i;

	json_array_foreach(clusters, i, cluster)
	{
		const char *name = json_string_value(cluster);

		/* Those that will stop have STOPPED as what is desired, but run. */
		if (!code)
			code = list_status(c, name, "RUNNING", ret);
		if (!code)
			code = list_status(c, name, "STOPPED", ret);
	}
	json_decref(clusters);
	for (i = json_array_size(ret); !stopped && i-- > 0;)
		if (task_is_stopped(json_array_get(ret, i)))
			json_array_remove(ret, i);
	sort(ret);
	return code;
}

/* ---- by name ---- */

static bool is_exactly(const json_t *task, const char *name)
{
	return !strcmp(name, task_id(task)) || !strcmp(name, task_arn(task));
}

static bool is_family(const json_t *task, const char *name)
{
	_cleanup_free_ char *family = task_family(task);

	return !strcmp(name, family);
}

static bool begins_so(const json_t *task, const char *name)
{
	return *name && str_has_prefix(str_from(task_id(task)), name);
}

/* Those of `tasks` that match, in their order. A stopped one counts only if no other does. */
static json_t *filter(
    const json_t *tasks, const char *name, bool (*match)(const json_t *, const char *))
{
	json_t *found = json_array(), *stopped = json_array(), *task;
	size_t i;

	json_array_foreach(tasks, i, task)
	{
		if (match(task, name))
			json_array_append(task_is_stopped(task) ? stopped : found, task);
	}
	if (!json_array_size(found) && json_array_size(stopped))
		json_array_append(found, json_array_get(stopped, 0));
	json_decref(stopped);
	return found;
}

static int say_ambiguous(const json_t *found, const char *name)
{
	struct buf b = BUF_INIT;
	size_t count = json_array_size(found);

	for (size_t i = 0; i < count && i < SHOW_MAX; i++)
		buf_printf(
		    &b, "%s%.*s", i ? ", " : "", TASK_ID_SHOWN, task_id(json_array_get(found, i)));
	buf_printf(&b, "%s", count > SHOW_MAX ? ", …" : "");
	cli_fail(CLI_FAILED, "say which by its ID; `mayfly ps` shows them",
	    "%s is the name of %zu tasks: %.*s", name, count, STR_FMT(buf_str(&b)));
	buf_done(&b);
	return CLI_FAILED;
}

static int choose(const json_t *tasks, const char *name, json_t **ret)
{
	static bool (*const matches[])(const json_t *, const char *) = {
	    is_exactly, is_family, begins_so};
	int code = CLIENT_NOTED;

	for (size_t i = 0; i < ARRAY_SIZE(matches) && code == CLIENT_NOTED; i++) {
		json_t *found = filter(tasks, name, matches[i]);

		if (json_array_size(found) > 1)
			code = say_ambiguous(found, name);
		else if (json_array_size(found)) {
			*ret = json_incref(json_array_get(found, 0));
			code = CLI_OK;
		}
		json_decref(found);
	}
	return code;
}

int task_find(struct client *c, const char *name, enum task_which which, json_t **ret)
{
	json_t *tasks = json_array();
	int code = task_list(c, which == TASK_ANY, tasks);

	if (!code)
		code = choose(tasks, name, ret);
	json_decref(tasks);
	return code;
}

int task_need(struct client *c, const char *name, enum task_which which, json_t **ret)
{
	int code = task_find(c, name, which, ret);

	if (code != CLIENT_NOTED)
		return code;
	return cli_fail(CLI_ABSENT,
	    which == TASK_RUNNING
		? "`mayfly ps` lists those that run, `mayfly ps -a` also those that "
		  "stopped within the last hour"
		: "`mayfly ps -a` lists all that are known",
	    which == TASK_RUNNING ? "no task with this name or ID runs: %s"
				  : "there is no task with this name or ID: %s",
	    name);
}

int task_describe(struct client *c, const char *cluster, const char *arn, json_t **ret)
{
	json_t *arns = json_pack("[s]", arn), *found = json_array();
	int code = describe(c, cluster, arns, found);

	*ret = json_incref(json_array_get(found, 0));
	json_decref(arns);
	json_decref(found);
	return code;
}

int task_refusal_code(const char *why)
{
	static const struct {
		const char *words;
		int code;
	} codes[] = {
	    {"ermission denied", CLI_NOT_EXECUTABLE},
	    {"peration not permitted", CLI_NOT_EXECUTABLE},
	    {"xec format error", CLI_NOT_EXECUTABLE},
	    {"s a directory", CLI_NOT_EXECUTABLE},
	    {"ot a directory", CLI_NOT_EXECUTABLE},
	    {"not found", CLI_NOT_FOUND},
	    {"o such file", CLI_NOT_FOUND},
	};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strstr(why, codes[i].words))
			return codes[i].code;
	return CLI_NOT_RUN;
}

char *task_path(const json_t *task, const char *what)
{
	return xasprintf("/_mayfly/tasks/%s%s", task_id(task), what);
}
