/* Reading /_mayfly/tasks. See usage.h. */
#include "cli/usage.h"

#include <time.h>

/* Of a task that nobody has asked about before, the server has no figures at first. */
#define TRIES 10
#define AGAIN_NS 20000000L

int usage_read(struct client *c, json_t **ret)
{
	int code = CLI_OK;

	for (int i = 0; i < TRIES; i++) {
		json_t *answer = NULL;

		code = client_json(
		    c, "ecs", "GET", "/_mayfly/tasks", NULL, 0, "reading what tasks use", &answer);
		json_decref(*ret);
		*ret = answer;
		if (code || json_is_true(json_object_get(answer, "complete")))
			break;
		nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
	}
	return code;
}

const json_t *usage_of(const json_t *usage, const char *task_arn)
{
	const json_t *task;
	size_t i;

	json_array_foreach(json_object_get(usage, "tasks"), i, task)
	{
		if (!strcmp(field_text(task, "taskArn"), task_arn))
			return task;
	}
	return NULL;
}

int64_t usage_sum(const json_t *task_usage, const char *member)
{
	const json_t *c;
	int64_t sum = 0;
	size_t i;

	json_array_foreach(json_object_get(task_usage, "containers"), i, c) sum +=
	    field_number(c, member);
	return sum;
}
