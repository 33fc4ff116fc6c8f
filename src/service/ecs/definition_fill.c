/* What ECS adds to a task definition: defaults, what it is compatible with, and which attributes a
 * machine must have to run it. Loop thread. */
#include "service/ecs/ecs_int.h"

/* ---- defaults ---- */

static void fill_ports(json_t *container, bool same_port)
{
	size_t i;
	json_t *p;

	json_array_foreach(ecs_json_list(container, "portMappings"), i, p)
	{
		int64_t inside = docs_int(p, "containerPort"), host = docs_int(p, "hostPort");

		ecs_json_default(p, "protocol", json_string("tcp"));
		if (!docs_str(p, "containerPortRange"))
			docs_set_int(p, "hostPort", host || !same_port ? host : inside);
	}
}

static void fill_container(json_t *container, bool same_port)
{
	json_t *health = json_object_get(container, "healthCheck");
	json_t *log = json_object_get(container, "logConfiguration");

	ecs_json_default(container, "cpu", json_integer(0));
	ecs_json_default(container, "essential", json_true());
	ecs_json_list(container, "environment");
	ecs_json_list(container, "mountPoints");
	ecs_json_list(container, "volumesFrom");
	ecs_json_list(container, "systemControls");
	fill_ports(container, same_port);
	if (health) {
		ecs_json_default(health, "interval", json_integer(30));
		ecs_json_default(health, "timeout", json_integer(5));
		ecs_json_default(health, "retries", json_integer(3));
	}
	if (log) {
		ecs_json_object(log, "options");
		ecs_json_list(log, "secretOptions");
	}
}

static void fill_volume(json_t *v)
{
	json_t *docker = json_object_get(v, "dockerVolumeConfiguration");

	if (docker) {
		ecs_json_default(docker, "scope", json_string("task"));
		ecs_json_default(docker, "driver", json_string("local"));
	} else if (!ecs_json_given(v, "efsVolumeConfiguration") &&
		   !ecs_json_given(v, "fsxWindowsFileServerVolumeConfiguration") &&
		   !ecs_json_given(v, "s3filesVolumeConfiguration") &&
		   !ecs_json_true(v, "configuredAtLaunch")) {
		ecs_json_object(v, "host");
	}
}

static void fill_compatibilities(struct call *c, json_t *doc)
{
	const char *mode = docs_str(doc, "networkMode");
	const json_t *wanted = json_object_get(doc, "requiresCompatibilities");
	json_t *all = json_array();

	if (!mode || strcmp(mode, "awsvpc") != 0)
		json_array_append_new(all, json_string("EXTERNAL"));
	json_array_append_new(all, json_string("EC2"));
	if (ecs_json_has(wanted, "MANAGED_INSTANCES"))
		json_array_append_new(all, json_string("MANAGED_INSTANCES"));
	if (!ecs_fargate_objection(c, doc))
		json_array_append_new(all, json_string("FARGATE"));
	json_object_set_new(doc, "compatibilities", all);
}

/* ---- attributes ---- */

#define CAPABILITY "ecs.capability."
#define DOCKER "com.amazonaws.ecs.capability."

static void need(json_t *all, const char *name)
{
	if (!ecs_json_find(all, "name", name))
		json_array_append_new(all, json_pack("{s:s}", "name", name));
}

static void need_log(struct call *c, json_t *all, const json_t *container, bool role)
{
	const char *driver = docs_str(json_object_get(container, "logConfiguration"), "logDriver");

	if (!driver)
		return;
	need(all, call_printf(c, DOCKER "logging-driver.%s", driver));
	need(all, DOCKER "docker-remote-api.1.19");
	if (role && !strcmp(driver, "awslogs"))
		need(all, CAPABILITY "execution-role-awslogs");
}

static void need_secrets(json_t *all, const json_t *container)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(container, "secrets"), i, v)
	{
		struct str from = str_from(docs_str(v, "valueFrom"));

		need(all, str_has_prefix(from, "arn:aws:secretsmanager:")
			      ? CAPABILITY "secrets.asm.environment-variables"
			      : CAPABILITY "secrets.ssm.environment-variables");
	}
}

/* What of these must be named, not passed over; no-new-privileges needs nothing. */
static void need_security(json_t *all, const json_t *container)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(container, "dockerSecurityOptions"), i, v)
	{
		struct str option = str_from(json_string_value(v));

		if (str_has_prefix(option, "label"))
			need(all, DOCKER "selinux");
		else if (str_has_prefix(option, "apparmor"))
			need(all, DOCKER "apparmor");
	}
}

static void need_of_container(
    struct call *c, json_t *all, const json_t *doc, const json_t *container)
{
	bool role = docs_str(doc, "executionRoleArn");
	const char *firelens =
	    docs_str(json_object_get(container, "firelensConfiguration"), "type");
	bool registry = strstr(docs_str(container, "image"), ".dkr.ecr.");

	need_log(c, all, container, role);
	need_secrets(all, container);
	need_security(all, container);
	if (registry)
		need(all, role ? CAPABILITY "execution-role-ecr-pull" : DOCKER "ecr-auth");
	if (registry && role)
		need(all, DOCKER "ecr-auth");
	if (json_object_get(container, "memoryReservation"))
		need(all, DOCKER "docker-remote-api.1.21");
	if (json_object_get(container, "healthCheck"))
		need(all, CAPABILITY "container-health-check");
	if (ecs_json_given(container, "dependsOn"))
		need(all, CAPABILITY "container-ordering");
	if (ecs_json_given(container, "environmentFiles"))
		need(all, CAPABILITY "env-files.s3");
	if (ecs_json_true(container, "privileged"))
		need(all, DOCKER "privileged-container");
	if (ecs_json_true(json_object_get(container, "restartPolicy"), "enabled"))
		need(all, CAPABILITY "container-restart-policy");
	if (ecs_json_given(container, "repositoryCredentials"))
		need(all, CAPABILITY "private-registry-authentication.secretsmanager");
	if (ecs_json_given(container, "credentialSpecs"))
		need(all, CAPABILITY "gmsa");
	if (firelens)
		need(all, call_printf(c, CAPABILITY "firelens.%s", firelens));
	if (ecs_json_find(json_object_get(container, "resourceRequirements"), "type", "GPU"))
		need(all, CAPABILITY "gpu");
	if (ecs_json_find(
		json_object_get(container, "resourceRequirements"), "type", "InferenceAccelerator"))
		need(all, CAPABILITY "task-eia");
}

static void need_of_volume(struct call *c, json_t *all, const json_t *v)
{
	const json_t *docker = json_object_get(v, "dockerVolumeConfiguration");

	if (docker)
		need(
		    all, call_printf(c, CAPABILITY "docker-plugin.%s", docs_str(docker, "driver")));
	if (ecs_json_given(v, "efsVolumeConfiguration"))
		need(all, CAPABILITY "efs");
	if (ecs_json_given(v, "fsxWindowsFileServerVolumeConfiguration"))
		need(all, CAPABILITY "fsxWindowsFileServer");
	if (ecs_json_given(v, "s3filesVolumeConfiguration"))
		need(all, CAPABILITY "s3files");
	if (ecs_json_true(v, "configuredAtLaunch"))
		need(all, CAPABILITY "storage.ebs-task-volume-attach");
}

static json_t *attributes(struct call *c, const json_t *doc)
{
	const char *mode = docs_str(doc, "networkMode");
	json_t *all = json_array(), *v;
	size_t i;

	json_array_foreach(json_object_get(doc, "containerDefinitions"), i, v)
	{
		need_of_container(c, all, doc, v);
	}
	json_array_foreach(json_object_get(doc, "volumes"), i, v)
	{
		need_of_volume(c, all, v);
	}
	need(all, DOCKER "docker-remote-api.1.18");
	if (mode && !strcmp(mode, "awsvpc"))
		need(all, CAPABILITY "task-eni");
	if (docs_str(doc, "taskRoleArn"))
		need(all, mode && !strcmp(mode, "host") ? DOCKER "task-iam-role-network-host"
							: DOCKER "task-iam-role");
	if (docs_str(doc, "pidMode") || docs_str(doc, "ipcMode"))
		need(all, CAPABILITY "pid-ipc-namespace-sharing");
	if (ecs_json_given(doc, "proxyConfiguration"))
		need(all, CAPABILITY "aws-appmesh");
	if (ecs_json_given(doc, "inferenceAccelerators"))
		need(all, CAPABILITY "task-eia");
	if (ecs_json_true(doc, "enableFaultInjection"))
		need(all, CAPABILITY "fault-injection");
	return all;
}

void ecs_definition_fill(struct call *c, json_t *doc)
{
	const char *mode = docs_str(doc, "networkMode");
	bool same_port = mode && (!strcmp(mode, "awsvpc") || !strcmp(mode, "host"));
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(doc, "containerDefinitions"), i, v)
	{
		fill_container(v, same_port);
	}
	json_array_foreach(ecs_json_list(doc, "volumes"), i, v)
	{
		fill_volume(v);
	}
	ecs_json_list(doc, "placementConstraints");
	fill_compatibilities(c, doc);
	json_object_set_new(doc, "requiresAttributes", attributes(c, doc));
}
