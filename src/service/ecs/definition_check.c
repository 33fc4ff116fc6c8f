/*
 * Is a task definition acceptable? What concerns the whole task; definition_container.c has the
 * containers, definition_fargate.c what only Fargate asks. The first thing that is wrong is
 * answered, in ECS's words where they are known. Loop thread.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "service/ecs/ecs_int.h"

#define CPU_MIN 128
#define CPU_MAX 196608
#define MEMORY_MIN 4
#define STORAGE_MIN 21
#define STORAGE_MAX 200
#define CONSTRAINTS_MAX 10

int ecs_refuse(const struct definition_check *k, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	check(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	r = call_fail(k->c, k->e, ECS_CLIENT_EXCEPTION, "%s", text);
	free(text);
	return r;
}

/* ---- sizes ---- */

/* A number, with a unit that means `factor` or none. */
static bool parse_size(const char *text, const char *const units[], int64_t factor, int64_t *ret)
{
	size_t len = strspn(text, "0123456789."), i = 0;
	const char *unit = text + len;
	char number[24], *end;
	double n;

	if (!len || len >= sizeof(number))
		return false;
	memcpy(number, text, len);
	number[len] = '\0';
	n = strtod(number, &end);
	while (*unit == ' ')
		unit++;
	while (*unit && units[i] && !str_eq_nocase(str_from(unit), str_from(units[i])))
		i++;
	if (*unit)
		n *= units[i] ? (double)factor : 0;
	if (*end || !(n >= 1) || n > 1e9 || n != floor(n))
		return false;
	*ret = (int64_t)n;
	return true;
}

bool ecs_cpu_parse(const char *text, int64_t *ret_units)
{
	static const char *const units[] = {"vCPU", "vCPUs", NULL};

	return parse_size(text, units, 1024, ret_units);
}

bool ecs_memory_parse(const char *text, int64_t *ret_mib)
{
	static const char *const units[] = {"GB", NULL};

	return parse_size(text, units, 1024, ret_mib);
}

static void set_number(struct call *c, json_t *doc, const char *name, int64_t n)
{
	docs_set(doc, name, call_printf(c, "%" PRId64, n));
}

static int check_sizes(const struct definition_check *k)
{
	const char *cpu = docs_str(k->doc, "cpu"), *memory = docs_str(k->doc, "memory");
	int64_t n;

	if (cpu && (!ecs_cpu_parse(cpu, &n) || n < CPU_MIN || n > CPU_MAX))
		return ecs_refuse(k,
		    "Invalid 'cpu' setting for task. For more information, see the Troubleshooting "
		    "section of the Amazon ECS Developer Guide.");
	if (cpu)
		set_number(k->c, k->doc, "cpu", n);
	if (memory && (!ecs_memory_parse(memory, &n) || n < MEMORY_MIN))
		return ecs_refuse(k,
		    "Invalid 'memory' setting for task. For more information, see the "
		    "Troubleshooting section of the Amazon ECS Developer Guide.");
	if (memory)
		set_number(k->c, k->doc, "memory", n);
	if (ecs_json_given(k->doc, "ephemeralStorage")) {
		n = docs_int(json_object_get(k->doc, "ephemeralStorage"), "sizeInGiB");
		if (n < STORAGE_MIN || n > STORAGE_MAX)
			return ecs_refuse(k,
			    "Invalid ephemeral storage size of %" PRId64
			    " GiB: it must be between %d and %d GiB.",
			    n, STORAGE_MIN, STORAGE_MAX);
	}
	return 0;
}

/* ---- sums over the containers ---- */

static int check_sums(const struct definition_check *k)
{
	const char *cpu = docs_str(k->doc, "cpu"), *memory = docs_str(k->doc, "memory");
	int64_t all_cpu = cpu ? strtoll(cpu, NULL, 10) : 0;
	int64_t all_memory = memory ? strtoll(memory, NULL, 10) : 0;
	int64_t cpu_sum = 0, reserved = 0;
	size_t i;
	json_t *container;

	json_array_foreach(k->containers, i, container)
	{
		int64_t hard = docs_int(container, "memory");
		int64_t soft = docs_int(container, "memoryReservation");

		if (memory && hard > all_memory)
			return ecs_refuse(k,
			    "Invalid setting for container '%s'. The 'memory' setting for "
			    "container "
			    "is greater than for the task.",
			    docs_str(container, "name"));
		cpu_sum += docs_int(container, "cpu");
		reserved += soft ? soft : hard;
	}
	if (cpu && cpu_sum > all_cpu)
		return ecs_refuse(k,
		    "The sum of all container 'cpu' values cannot be greater than the value of the "
		    "task 'cpu'.");
	if (memory && reserved > all_memory)
		return ecs_refuse(k, "The sum of all container 'memoryReservation' values cannot "
				     "be greater than the "
				     "value of the task 'memory'.");
	return 0;
}

/* ---- volumes ---- */

static int check_volume(const struct definition_check *k, const json_t *v)
{
	static const char *const kinds[] = {"dockerVolumeConfiguration", "efsVolumeConfiguration",
	    "fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration"};
	const char *name = docs_str(v, "name");
	const char *path = docs_str(json_object_get(v, "host"), "sourcePath");
	bool other = path || ecs_json_true(v, "configuredAtLaunch");
	const char *scope;
	json_t *docker = json_object_get(v, "dockerVolumeConfiguration");

	if (!name || !ecs_name_good(name, 255))
		return ecs_refuse(k,
		    "Volume names must have up to 255 letters (uppercase and lowercase), numbers, "
		    "underscores, and hyphens.");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (other && ecs_json_given(v, kinds[i]))
			return ecs_refuse(k, "Volume '%s' must be of one kind only.", name);
		other = other || ecs_json_given(v, kinds[i]);
	}
	if (path && *path != '/')
		return ecs_refuse(k, "Volume '%s' needs an absolute sourcePath.", name);
	scope = docs_str(docker, "scope");
	if (docker && json_object_get(docker, "autoprovision") &&
	    (!scope || strcmp(scope, "shared") != 0))
		return ecs_refuse(
		    k, "Volume '%s': autoprovision goes with the scope shared only.", name);
	return 0;
}

static int check_volumes(const struct definition_check *k)
{
	size_t i, at_launch = 0;
	json_t *v;

	json_array_foreach(k->volumes, i, v)
	{
		int r = check_volume(k, v);

		if (r < 0)
			return r;
		if (ecs_json_find(k->volumes, "name", docs_str(v, "name")) != v)
			return ecs_refuse(k, "Volume names must be unique: '%s' is there twice.",
			    docs_str(v, "name"));
		at_launch += ecs_json_true(v, "configuredAtLaunch");
	}
	return at_launch > 1
		   ? ecs_refuse(k, "Only one volume can have configuredAtLaunch set to true.")
		   : 0;
}

/* ---- the rest ---- */

static int check_constraints(const struct definition_check *k)
{
	const json_t *all = json_object_get(k->doc, "placementConstraints");
	size_t i;
	json_t *v;

	if (json_array_size(all) > CONSTRAINTS_MAX)
		return ecs_refuse(
		    k, "There can be at most %d placement constraints.", CONSTRAINTS_MAX);
	json_array_foreach(all, i, v)
	{
		const char *text = docs_str(v, "expression");
		struct err why = ERR_INIT;

		if (!text || ecs_query(str_from(text), NULL, NULL, &why) < 0)
			return ecs_refuse(k, "Invalid placement constraint expression: %s",
			    text ? why.msg : "it is missing.");
	}
	return 0;
}

/* A role's name means its ARN. */
static int check_role(const struct definition_check *k, const char *name)
{
	const char *role = docs_str(k->doc, name);

	if (!role)
		return 0;
	if (!*role) {
		json_object_del(k->doc, name);
		return 0;
	}
	if (!str_has_prefix(str_from(role), "arn:")) {
		if (strlen(role) > 64 || strpbrk(role, " /:*?\"'"))
			return ecs_refuse(k, "Role is not valid");
		docs_set(k->doc, name,
		    call_printf(k->c, "arn:aws:iam::%s:role/%s", k->c->account, role));
		return 0;
	}
	if (!strstr(role, ":iam::") || !strstr(role, ":role/"))
		return ecs_refuse(k, "Role is not valid");
	return 0;
}

static int check_proxy(const struct definition_check *k)
{
	const json_t *proxy = json_object_get(k->doc, "proxyConfiguration");
	const char *name = docs_str(proxy, "containerName");

	if (proxy && !ecs_json_find(k->containers, "name", name))
		return ecs_refuse(k,
		    "The proxyConfiguration names the container '%s', which does not "
		    "exist.",
		    name);
	if (proxy && strcmp(k->mode, "awsvpc") != 0)
		return ecs_refuse(
		    k, "proxyConfiguration is only supported with networkMode=awsvpc.");
	return 0;
}

static int check_modes(const struct definition_check *k)
{
	const json_t *wanted = json_object_get(k->doc, "requiresCompatibilities");
	const char *pid = docs_str(k->doc, "pidMode");
	const char *system =
	    docs_str(json_object_get(k->doc, "runtimePlatform"), "operatingSystemFamily");

	if (system && strcmp(system, "LINUX") != 0)
		return ecs_refuse(
		    k, "operatingSystemFamily %s is not supported here: use LINUX.", system);
	if (ecs_json_has(wanted, "EXTERNAL") && !strcmp(k->mode, "awsvpc"))
		return ecs_refuse(k, "EXTERNAL compatible task definitions do not support network "
				     "mode awsvpc.");
	if (ecs_json_has(wanted, "MANAGED_INSTANCES") && strcmp(k->mode, "awsvpc") != 0 &&
	    strcmp(k->mode, "host") != 0)
		return ecs_refuse(k, "MANAGED_INSTANCES compatible task definitions support the "
				     "network modes awsvpc and host only.");
	if (k->fargate && docs_str(k->doc, "ipcMode"))
		return ecs_refuse(k, "Tasks using the Fargate launch type do not support ipcMode.");
	if (k->fargate && pid && strcmp(pid, "task") != 0)
		return ecs_refuse(k,
		    "Tasks using the Fargate launch type do not support pidMode '%s'. The "
		    "supported "
		    "value for pidMode is 'task'.",
		    pid);
	return 0;
}

static int check_fargate(const struct definition_check *k)
{
	const char *why = k->fargate ? ecs_fargate_objection(k->c, k->doc) : NULL;

	return why ? ecs_refuse(k, "%s", why) : 0;
}

static int check_containers(const struct definition_check *k)
{
	size_t i, essential = 0;
	json_t *v;

	if (!json_array_size(k->containers))
		return ecs_refuse(k, "Container list cannot be empty.");
	if (json_array_size(k->containers) > CONTAINERS_MAX)
		return ecs_refuse(k, "Too many containers: a task definition can have at most %d.",
		    CONTAINERS_MAX);
	json_array_foreach(k->containers, i, v)
	{
		int r = ecs_container_check(k, v);

		if (r < 0)
			return r;
		essential += !json_is_false(json_object_get(v, "essential"));
	}
	if (!essential)
		return ecs_refuse(
		    k, "A task definition must have at least one essential container.");
	return 0;
}

int ecs_definition_check(struct call *c, json_t *doc, struct err *e)
{
	static int (*const checks[])(const struct definition_check *k) = {check_sizes, check_modes,
	    check_volumes, check_containers, ecs_dependencies_check, check_fargate, check_sums,
	    check_constraints, check_proxy};
	const char *mode = docs_str(doc, "networkMode"), *family = docs_str(doc, "family");
	struct definition_check k = {.c = c,
	    .doc = doc,
	    .containers = json_object_get(doc, "containerDefinitions"),
	    .volumes = json_object_get(doc, "volumes"),
	    .mode = mode ? mode : "bridge",
	    .fargate = ecs_json_has(json_object_get(doc, "requiresCompatibilities"), "FARGATE"),
	    .e = e};
	int r;

	if (!ecs_name_good(family, 255))
		return ecs_refuse(&k, *family ? "Family contains invalid characters."
					      : "Family should not be null or empty.");
	r = check_role(&k, "taskRoleArn");
	if (r == 0)
		r = check_role(&k, "executionRoleArn");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](&k);
	return r;
}
