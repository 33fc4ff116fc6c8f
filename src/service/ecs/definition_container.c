/* Is a container of a task definition acceptable? See definition_check.c. Loop thread. */
#include "base/path.h"
#include "sched/log_option.h"
#include "service/ecs/ecs_int.h"
#include "spawn/container_spec.h"

#define MEMORY_MIN 4
#define PORT_MAX 65535
#define ENV_FILES_MAX 10
#define EXIT_CODES_MAX 50
#define PORTS_MAX 100

static const char *name_of(const json_t *container)
{
	return docs_str(container, "name");
}

/* ---- who and what ---- */

static int check_name(const struct definition_check *k, const json_t *container)
{
	const char *name = name_of(container), *image = docs_str(container, "image");

	if (!name || !*name)
		return ecs_refuse(k, "Container.name should not be null or empty.");
	if (!ecs_name_good(name, 255))
		return ecs_refuse(k,
		    "Container.name can have up to 255 letters (uppercase and lowercase), numbers, "
		    "underscores, and hyphens.");
	if (ecs_json_find(k->containers, "name", name) != container)
		return ecs_refuse(
		    k, "Container names must be unique: '%s' is there more than once.", name);
	if (!image || !*image)
		return ecs_refuse(k, "Container.image should not be null or empty.");
	if (strlen(image) > 255)
		return ecs_refuse(k, "Container.image can have up to 255 characters.");
	return 0;
}

static int check_size(const struct definition_check *k, const json_t *container)
{
	bool hard = json_object_get(container, "memory");
	bool soft = json_object_get(container, "memoryReservation");
	int64_t memory = docs_int(container, "memory");
	int64_t reservation = docs_int(container, "memoryReservation");

	if (!hard && !soft && !docs_str(k->doc, "memory"))
		return ecs_refuse(k,
		    "Invalid setting for container '%s'. At least one of 'memory' or "
		    "'memoryReservation' must be specified.",
		    name_of(container));
	if ((hard && memory < MEMORY_MIN) || (soft && reservation < MEMORY_MIN))
		return ecs_refuse(k,
		    "Invalid setting for container '%s'. 'memory' and 'memoryReservation' must be "
		    "at "
		    "least %d MiB.",
		    name_of(container), MEMORY_MIN);
	if (hard && soft && memory <= reservation)
		return ecs_refuse(k,
		    "Invalid setting for container '%s'. The 'memory' setting must be greater than "
		    "the 'memoryReservation' setting.",
		    name_of(container));
	if (docs_int(container, "cpu") < 0)
		return ecs_refuse(k,
		    "Invalid setting for container '%s'. 'cpu' cannot be negative.",
		    name_of(container));
	return 0;
}

/* ---- network ---- */

static bool range_good(const char *text)
{
	struct str rest = str_from(text), first = str_cut(&rest, '-');
	int64_t from, to;

	return str_to_int64(first, 1, PORT_MAX, &from) && rest.ptr &&
	       str_to_int64(rest, from, PORT_MAX, &to) && to - from < PORTS_MAX;
}

static int check_port(const struct definition_check *k, const json_t *container, const json_t *p)
{
	const char *range = docs_str(p, "containerPortRange");
	int64_t inside = docs_int(p, "containerPort"), host = docs_int(p, "hostPort");
	bool shared = !strcmp(k->mode, "awsvpc") || !strcmp(k->mode, "host");

	if (range) {
		if (json_object_get(p, "containerPort") || json_object_get(p, "hostPort"))
			return ecs_refuse(k, "containerPortRange goes without containerPort and "
					     "hostPort.");
		if (!range_good(range) || !strcmp(k->mode, "host"))
			return ecs_refuse(k,
			    "Invalid containerPortRange '%s': give at most %d ports as first-last, "
			    "with networkMode bridge or awsvpc.",
			    range, PORTS_MAX);
		return 0;
	}
	if (inside < 1 || inside > PORT_MAX || host < 0 || host > PORT_MAX)
		return ecs_refuse(k,
		    "Invalid port mapping of container '%s': ports must be between 1 and %d.",
		    name_of(container), PORT_MAX);
	if (shared && json_object_get(p, "hostPort") && host && host != inside)
		return ecs_refuse(k,
		    "When networkMode=%s, the host ports and container ports in port mappings must "
		    "match.",
		    k->mode);
	if (docs_str(p, "appProtocol") && !docs_str(p, "name"))
		return ecs_refuse(k, "A port mapping with an appProtocol needs a name.");
	return 0;
}

static bool same_port(const json_t *a, const json_t *b, bool awsvpc)
{
	const char *p = docs_str(a, "protocol"), *q = docs_str(b, "protocol");
	const char *member = awsvpc ? "containerPort" : "hostPort";

	return docs_int(a, member) && docs_int(a, member) == docs_int(b, member) &&
	       !strcmp(p ? p : "tcp", q ? q : "tcp");
}

/* Two containers of one network namespace, or of one host, cannot have the same port. */
static bool port_taken(const struct definition_check *k, const json_t *port)
{
	bool shared = !strcmp(k->mode, "awsvpc") || !strcmp(k->mode, "host");
	size_t i, j;
	json_t *c, *p;

	json_array_foreach(k->containers, i, c)
	{
		json_array_foreach(json_object_get(c, "portMappings"), j, p)
		{
			if (p == port)
				return false; /* only those before it */
			if (same_port(p, port, shared))
				return true;
		}
	}
	return false;
}

static int check_ports(const struct definition_check *k, const json_t *container)
{
	const json_t *all = json_object_get(container, "portMappings");
	size_t i;
	json_t *p;

	if (json_array_size(all) && !strcmp(k->mode, "none"))
		return ecs_refuse(k, "Port mappings are not supported when networkMode=none.");
	if (json_array_size(all) > PORTS_MAX)
		return ecs_refuse(k, "A container can have at most %d port mappings.", PORTS_MAX);
	json_array_foreach(all, i, p)
	{
		int r = check_port(k, container, p);

		if (r < 0)
			return r;
		if (port_taken(k, p))
			return ecs_refuse(k,
			    "Invalid port mappings: port %" PRId64
			    " of container '%s' is mapped twice.",
			    docs_int(p, "containerPort"), name_of(container));
	}
	return 0;
}

static int check_links(const struct definition_check *k, const json_t *container)
{
	const json_t *links = json_object_get(container, "links");
	size_t i;
	json_t *v;

	json_array_foreach(links, i, v)
	{
		struct str rest = str_from(json_string_value(v)), name = str_cut(&rest, ':');

		if (strcmp(k->mode, "bridge") != 0)
			return ecs_refuse(
			    k, "Links are not supported when networkMode=%s.", k->mode);
		if (!ecs_json_find(k->containers, "name", call_strn(k->c, name)) ||
		    str_is(name, name_of(container)))
			return ecs_refuse(k,
			    "Container '%s' has a link to '%s', which does not exist.",
			    name_of(container), call_strn(k->c, name));
	}
	return 0;
}

static int check_network(const struct definition_check *k, const json_t *container)
{
	static const struct {
		const char *member, *words;
	} not_awsvpc[] = {
	    {"hostname", "hostname is"},
	    {"dnsServers", "DNS servers are"},
	    {"dnsSearchDomains", "DNS search domains are"},
	    {"extraHosts", "Extra hosts are"},
	    {"disableNetworking", "disableNetworking is"},
	};
	const char *host = docs_str(container, "hostname");
	bool off = ecs_json_true(container, "disableNetworking");
	int r;

	for (size_t i = 0; !strcmp(k->mode, "awsvpc") && i < ARRAY_SIZE(not_awsvpc); i++)
		if (ecs_json_given(container, not_awsvpc[i].member))
			return ecs_refuse(k,
			    "%s not supported on container when networkMode=awsvpc.",
			    not_awsvpc[i].words);
	if (host && (!strcmp(k->mode, "host") || strlen(host) > 253))
		return ecs_refuse(k, strcmp(k->mode, "host")
					 ? "hostname can have at most 253 characters."
					 : "hostname is not supported on container when "
					   "networkMode=host.");
	if (off && !strcmp(k->mode, "host"))
		return ecs_refuse(
		    k, "disableNetworking is not supported on container when networkMode=host.");
	if (off && ecs_json_given(container, "portMappings"))
		return ecs_refuse(k,
		    "Container '%s' has port mappings, which disableNetworking leaves nothing to "
		    "be mapped to.",
		    name_of(container));
	r = check_links(k, container);
	return r < 0 ? r : check_ports(k, container);
}

/* ---- life ---- */

static bool outside(const json_t *doc, const char *member, int64_t min, int64_t max)
{
	const json_t *v = json_object_get(doc, member);

	return v && (json_integer_value(v) < min || json_integer_value(v) > max);
}

static int check_health(const struct definition_check *k, const json_t *container)
{
	const json_t *h = json_object_get(container, "healthCheck");
	const json_t *command = json_object_get(h, "command");
	const char *first = json_string_value(json_array_get(command, 0));

	if (!h)
		return 0;
	if (!first || (strcmp(first, "CMD") && strcmp(first, "CMD-SHELL") && strcmp(first, "NONE")))
		return ecs_refuse(k,
		    "Invalid health check of container '%s': the command must begin with CMD or "
		    "CMD-SHELL.",
		    name_of(container));
	if (outside(h, "interval", 5, 300) || outside(h, "timeout", 2, 60) ||
	    outside(h, "retries", 1, 10) || outside(h, "startPeriod", 0, 300))
		return ecs_refuse(k,
		    "Invalid health check of container '%s': interval must be between 5 and 300 "
		    "seconds, timeout between 2 and 60 seconds, retries between 1 and 10, "
		    "startPeriod "
		    "between 0 and 300 seconds.",
		    name_of(container));
	return 0;
}

static int check_life(const struct definition_check *k, const json_t *container)
{
	const json_t *restart = json_object_get(container, "restartPolicy");
	size_t i;
	json_t *u;

	if (outside(container, "startTimeout", 2, INT32_MAX) ||
	    outside(container, "stopTimeout", 0, INT32_MAX))
		return ecs_refuse(k,
		    "Invalid setting for container '%s'. startTimeout must be at least 2 seconds "
		    "and "
		    "stopTimeout not negative.",
		    name_of(container));
	if (outside(restart, "restartAttemptPeriod", 60, 1800) ||
	    json_array_size(json_object_get(restart, "ignoredExitCodes")) > EXIT_CODES_MAX)
		return ecs_refuse(k,
		    "Invalid restart policy of container '%s': restartAttemptPeriod must be "
		    "between "
		    "60 and 1800 seconds, and there can be at most %d ignoredExitCodes.",
		    name_of(container), EXIT_CODES_MAX);
	json_array_foreach(json_object_get(container, "ulimits"), i, u)
	{
		int64_t soft = docs_int(u, "softLimit"), hard = docs_int(u, "hardLimit");

		if (hard >= 0 && (soft > hard || soft < 0))
			return ecs_refuse(k,
			    "Invalid ulimit %s of container '%s': the soft limit cannot be greater "
			    "than the hard limit.",
			    docs_str(u, "name"), name_of(container));
	}
	return check_health(k, container);
}

/* ---- files ---- */

/* The rest of the sentence that begins with what is to be mounted, or NULL: all is well. */
static const char *bad_target(const char *path)
{
	char clean[4096];

	if (!path || *path != '/')
		return "needs an absolute containerPath";
	if (!path_clean(path, clean, sizeof(clean)))
		return "has too long a containerPath";
	return container_target_refused(clean) ? "has a containerPath that cannot be covered: not "
						 "/, /proc, /sys, /dev or /dev/pts"
					       : NULL;
}

static int check_mounts(const struct definition_check *k, const json_t *container)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(container, "mountPoints"), i, v)
	{
		const char *volume = docs_str(v, "sourceVolume");
		const char *path = docs_str(v, "containerPath");

		if (!volume || !ecs_json_find(k->volumes, "name", volume))
			return ecs_refuse(k, "Unknown volume '%s'.", volume ? volume : "");
		if (bad_target(path))
			return ecs_refuse(k, "The mount point of volume '%s' in container '%s' %s.",
			    volume, name_of(container), bad_target(path));
	}
	json_array_foreach(json_object_get(container, "volumesFrom"), i, v)
	{
		const char *from = docs_str(v, "sourceContainer");

		if (!from || !strcmp(from, name_of(container)) ||
		    !ecs_json_find(k->containers, "name", from))
			return ecs_refuse(k,
			    "Container '%s' has volumesFrom '%s', which does not exist.",
			    name_of(container), from ? from : "");
	}
	return 0;
}

static const char *bad_option(const json_t *tmpfs)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(tmpfs, "mountOptions"), i, v)
	{
		const char *option = json_string_value(v);

		if (!container_tmpfs_option(str_from(option)))
			return option;
	}
	return NULL;
}

static int check_tmpfs(const struct definition_check *k, const json_t *container)
{
	const json_t *p = json_object_get(container, "linuxParameters");
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(p, "tmpfs"), i, v)
	{
		const char *path = docs_str(v, "containerPath");

		if (bad_target(path))
			return ecs_refuse(k, "A tmpfs of container '%s' %s.", name_of(container),
			    bad_target(path));
		if (docs_int(v, "size") < 1)
			return ecs_refuse(k,
			    "A tmpfs of container '%s' needs a size of at least 1 MiB.",
			    name_of(container));
		if (bad_option(v))
			return ecs_refuse(k,
			    "A tmpfs of container '%s' has the mountOption '%s', which is not "
			    "supported: use ro, rw, exec, noexec, suid, nosuid, dev, nodev, sync, "
			    "async, those of access times, mode=, uid=, gid=, nr_inodes= or "
			    "nr_blocks= with a number.",
			    name_of(container), bad_option(v));
	}
	if (outside(p, "sharedMemorySize", 1, INT32_MAX) || outside(p, "swappiness", 0, 100) ||
	    outside(p, "maxSwap", 0, INT32_MAX))
		return ecs_refuse(k,
		    "Invalid linuxParameters of container '%s': sharedMemorySize must be positive, "
		    "swappiness between 0 and 100, maxSwap not negative.",
		    name_of(container));
	return 0;
}

static bool known_capability(const char *name)
{
	static const char *const all[] = {"ALL", "AUDIT_CONTROL", "AUDIT_WRITE", "BLOCK_SUSPEND",
	    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER",
	    "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN",
	    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP",
	    "SETUID", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
	    "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "SYSLOG",
	    "WAKE_ALARM"};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i], name))
			return true;
	return false;
}

static int check_security(const struct definition_check *k, const json_t *container)
{
	static const char *const known[] = {"label", "apparmor", "credentialspec"};
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(container, "dockerSecurityOptions"), i, v)
	{
		const char *text = json_string_value(v);
		struct str name = {text, strcspn(text, ":=")};
		bool good = str_is(name, "no-new-privileges");

		for (size_t n = 0; n < ARRAY_SIZE(known); n++)
			good = good || str_is(name, known[n]);
		if (!good)
			return ecs_refuse(k,
			    "Container '%s' has the dockerSecurityOption '%s', which is not "
			    "supported: use no-new-privileges.",
			    name_of(container), text);
	}
	return 0;
}

static int check_capabilities(const struct definition_check *k, const json_t *container)
{
	static const char *const ways[] = {"add", "drop"};
	const json_t *all =
	    json_object_get(json_object_get(container, "linuxParameters"), "capabilities");

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		size_t i;
		json_t *v;

		json_array_foreach(json_object_get(all, ways[w]), i, v)
		{
			if (!known_capability(json_string_value(v)))
				return ecs_refuse(k,
				    "Container '%s' names an unknown capability '%s'.",
				    name_of(container), json_string_value(v));
		}
	}
	return 0;
}

/* ---- environment and log ---- */

static int check_environment(const struct definition_check *k, const json_t *container)
{
	const json_t *files = json_object_get(container, "environmentFiles");
	size_t i;
	json_t *v;

	if (ecs_json_given(container, "secrets") && !docs_str(k->doc, "executionRoleArn"))
		return ecs_refuse(k,
		    "When you are specifying container secrets, you must also specify a value for "
		    "'executionRoleArn'.");
	json_array_foreach(json_object_get(container, "environment"), i, v)
	{
		const char *name = docs_str(v, "name");

		if (!name || !*name || strchr(name, '='))
			return ecs_refuse(k,
			    "Environment variables of container '%s' need a name without '='.",
			    name_of(container));
	}
	json_array_foreach(json_object_get(container, "secrets"), i, v)
	{
		const char *name = docs_str(v, "name");

		if (!*name || strchr(name, '=') || !*docs_str(v, "valueFrom"))
			return ecs_refuse(k,
			    "Secrets of container '%s' need a name and a valueFrom.",
			    name_of(container));
	}
	if (json_array_size(files) > ENV_FILES_MAX)
		return ecs_refuse(
		    k, "A container can have at most %d environment files.", ENV_FILES_MAX);
	json_array_foreach(files, i, v)
	{
		struct str arn = str_from(docs_str(v, "value"));

		if (!str_has_prefix(arn, "arn:") || !str_has_suffix(arn, ".env"))
			return ecs_refuse(k,
			    "Environment files of container '%s' must be ARNs of objects with the "
			    "extension .env.",
			    name_of(container));
	}
	return 0;
}

static int check_log(const struct definition_check *k, const json_t *container)
{
	struct log_options options;
	struct err why = ERR_INIT;
	int r = log_options_parse(json_object_get(container, "logConfiguration"), &options, &why);

	log_options_done(&options);
	return r < 0 ? ecs_refuse(k, "%s", why.msg) : 0;
}

int ecs_container_check(const struct definition_check *k, const json_t *container)
{
	static int (*const checks[])(const struct definition_check *k, const json_t *container) = {
	    check_name, check_size, check_network, check_life, check_mounts, check_tmpfs,
	    check_capabilities, check_security, check_environment, check_log};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](k, container);
	return r;
}

/* ---- what containers wait for ---- */

static int check_dependency(
    const struct definition_check *k, const json_t *container, const json_t *d)
{
	const char *name = docs_str(d, "containerName"), *condition = docs_str(d, "condition");
	const json_t *other = ecs_json_find(k->containers, "name", name);

	if (!other)
		return ecs_refuse(
		    k, "Cannot depend on container + '%s' because it does not exist", name);
	if (other == container)
		return ecs_refuse(k, "Container '%s' cannot depend on itself.", name);
	if ((!strcmp(condition, "SUCCESS") || !strcmp(condition, "COMPLETE")) &&
	    !json_is_false(json_object_get(other, "essential")))
		return ecs_refuse(k, "A dependency container with SUCCESS or COMPLETE condition "
				     "cannot be an essential "
				     "container");
	if (!strcmp(condition, "HEALTHY") && !json_object_get(other, "healthCheck"))
		return ecs_refuse(k,
		    "Container '%s' depends on container '%s' being HEALTHY, which has no health "
		    "check.",
		    name_of(container), name);
	return 0;
}

/* Does `from` wait for another, by dependsOn, links or volumesFrom? */
static bool waits_for(const json_t *from, const char *name)
{
	const json_t *links = json_object_get(from, "links");
	size_t i;
	json_t *v;

	if (ecs_json_find(json_object_get(from, "dependsOn"), "containerName", name) ||
	    ecs_json_find(json_object_get(from, "volumesFrom"), "sourceContainer", name))
		return true;
	json_array_foreach(links, i, v)
	{
		struct str rest = str_from(json_string_value(v));

		if (str_is(str_cut(&rest, ':'), name))
			return true;
	}
	return false;
}

/* Take away what waits for nothing that is left, until nothing is: what remains is a circle. */
static bool circle(const json_t *containers)
{
	bool gone[CONTAINERS_MAX] = {false}, moved = true;
	size_t n = json_array_size(containers), left = n;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			bool waits = false;

			for (size_t j = 0; j < n && !gone[i]; j++)
				waits = waits ||
					(!gone[j] && waits_for(json_array_get(containers, i),
							 name_of(json_array_get(containers, j))));
			if (gone[i] || waits)
				continue;
			gone[i] = moved = true;
			left--;
		}
	}
	return left > 0;
}

int ecs_dependencies_check(const struct definition_check *k)
{
	size_t i, j;
	json_t *container, *d;

	json_array_foreach(k->containers, i, container)
	{
		json_array_foreach(json_object_get(container, "dependsOn"), j, d)
		{
			int r = check_dependency(k, container, d);

			if (r < 0)
				return r;
		}
	}
	if (circle(k->containers))
		return ecs_refuse(k, "Container dependencies must not form a circle.");
	return 0;
}
