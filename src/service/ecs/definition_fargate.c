/* What Fargate asks of a task definition beyond what ECS does: sizes, network, no privileges. Such
 * a task runs on this machine as any other; clients see the same refusals as on AWS. Pure. */
#include "service/ecs/ecs_int.h"

struct size {
	int64_t cpu, memory_min, memory_max, step; /* units, MiB */
};

static const struct size sizes[] = {
    {256, 512, 512, 512},
    {256, 1024, 2048, 1024},
    {512, 1024, 4096, 1024},
    {1024, 2048, 8192, 1024},
    {2048, 4096, 16384, 1024},
    {4096, 8192, 30720, 1024},
    {8192, 16384, 61440, 4096},
    {16384, 32768, 122880, 8192},
};

static bool size_exists(int64_t cpu, int64_t memory)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct size *s = &sizes[i];

		if (s->cpu == cpu && memory >= s->memory_min && memory <= s->memory_max &&
		    (memory - s->memory_min) % s->step == 0)
			return true;
	}
	return false;
}

static const char *size_objection(struct call *c, const json_t *doc)
{
	const char *cpu = docs_str(doc, "cpu"), *memory = docs_str(doc, "memory");

	if (!cpu)
		return "Fargate requires that 'cpu' be defined at the task level.";
	if (!memory)
		return "Fargate requires that 'memory' be defined at the task level.";
	if (!size_exists(strtoll(cpu, NULL, 10), strtoll(memory, NULL, 10)))
		return call_printf(c,
		    "No Fargate configuration exists for given values: %s CPU, %s memory. See the "
		    "Amazon ECS documentation for the valid values.",
		    cpu, memory);
	return NULL;
}

/* ---- containers ---- */

static const char *log_objection(struct call *c, const json_t *doc, const json_t *container)
{
	const json_t *log = json_object_get(container, "logConfiguration");
	const char *driver = docs_str(log, "logDriver");

	if (!driver)
		return NULL;
	if (strcmp(driver, "awslogs") && strcmp(driver, "splunk") && strcmp(driver, "awsfirelens"))
		return call_printf(c,
		    "Tasks using the Fargate launch type do not support the log driver %s: use "
		    "awslogs, splunk or awsfirelens.",
		    driver);
	if (strcmp(driver, "awslogs") != 0)
		return NULL;
	if (!docs_str(doc, "executionRoleArn"))
		return "Fargate requires task definition to have execution role ARN to support log "
		       "driver awslogs.";
	if (!docs_str(json_object_get(log, "options"), "awslogs-stream-prefix"))
		return "Log driver awslogs requires options: awslogs-stream-prefix";
	return NULL;
}

static bool adds_capabilities(const json_t *linux_parameters)
{
	const json_t *add =
	    json_object_get(json_object_get(linux_parameters, "capabilities"), "add");
	size_t i;
	json_t *v;

	json_array_foreach(add, i, v)
	{
		if (strcmp(json_string_value(v), "SYS_PTRACE") != 0)
			return true;
	}
	return false;
}

static const char *container_objection(struct call *c, const json_t *doc, const json_t *container)
{
	const json_t *parameters = json_object_get(container, "linuxParameters");
	int64_t stop = docs_int(container, "stopTimeout");
	const char *what = NULL;

	if (ecs_json_true(container, "privileged"))
		what = "privileged containers";
	else if (ecs_json_given(container, "dockerSecurityOptions"))
		what = "dockerSecurityOptions";
	else if (adds_capabilities(parameters))
		what = "adding capabilities other than SYS_PTRACE";
	else if (ecs_json_given(parameters, "devices"))
		what = "devices";
	else if (ecs_json_given(parameters, "sharedMemorySize"))
		what = "sharedMemorySize";
	else if (ecs_json_given(parameters, "tmpfs"))
		what = "tmpfs";
	else if (ecs_json_given(parameters, "maxSwap") || ecs_json_given(parameters, "swappiness"))
		what = "swap";
	else if (ecs_json_find(json_object_get(container, "resourceRequirements"), "type", "GPU"))
		what = "GPU resource requirements";
	else if (stop > 120)
		what = "a stopTimeout of more than 120 seconds";
	if (what)
		return call_printf(
		    c, "Tasks using the Fargate launch type do not support %s.", what);
	return log_objection(c, doc, container);
}

const char *ecs_fargate_objection(struct call *c, const json_t *doc)
{
	const char *mode = docs_str(doc, "networkMode"), *why = size_objection(c, doc);
	size_t i;
	json_t *v;

	if (!mode || strcmp(mode, "awsvpc") != 0)
		return "Fargate only supports network mode \u2018awsvpc\u2019.";
	json_array_foreach(json_object_get(doc, "containerDefinitions"), i, v)
	{
		why = why ? why : container_objection(c, doc, v);
	}
	json_array_foreach(json_object_get(doc, "volumes"), i, v)
	{
		if (!why && (ecs_json_given(v, "dockerVolumeConfiguration") ||
				docs_str(json_object_get(v, "host"), "sourcePath")))
			why = "Fargate compatible task definitions do not support "
			      "dockerVolumeConfiguration or host sourcePath.";
	}
	if (!why && ecs_json_given(doc, "placementConstraints"))
		why = "Fargate compatible task definitions do not support placement constraints.";
	if (!why && ecs_json_given(doc, "inferenceAccelerators"))
		why = "Fargate compatible task definitions do not support inferenceAccelerators.";
	return why;
}
