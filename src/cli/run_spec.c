/* From docker's options to a task definition. See run_spec.h. */
#include "cli/run_spec.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#define ENV_FILE_LINE 65536
/* ECS wants one of memory and memoryReservation; this is the least it takes. */
#define RESERVATION_MIB 6
#define MEMORY_MAX_MIB (INT64_C(1) << 30)

static bool wrong(const char *next, const char *what, const char *which)
{
	cli_fail(CLI_NOT_RUN, next, "run: %s: %s", what, which);
	return false;
}

/* ---- name ---- */

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

static void name_after_image(const char *image, char ret[RUN_FAMILY_MAX + 1])
{
	const char *slash = strrchr(image, '/'), *p = slash ? slash + 1 : image;
	size_t n = 0;

	for (; *p && *p != ':' && *p != '@' && n < RUN_FAMILY_MAX; p++)
		ret[n++] = is_name_char(*p) ? *p : '-';
	ret[n] = '\0';
}

bool run_family(const struct run_options *o, const char *image, char ret[RUN_FAMILY_MAX + 1])
{
	size_t n = 0;

	if (!o->name) {
		name_after_image(image, ret);
		return *ret ? true : wrong("write NAME[:TAG]", "this is no image's name", image);
	}
	while (is_name_char(o->name[n]))
		n++;
	if (!n || o->name[n] || n > RUN_FAMILY_MAX)
		return wrong(
		    "a name has letters, digits, - and _ only", "--name cannot be", o->name);
	memcpy(ret, o->name, n + 1);
	return true;
}

/* ---- sizes ---- */

bool run_parse_memory(const char *text, int64_t *ret_mib)
{
	static const char units[] = "bkmg";
	struct str s = str_from(text);
	const char *unit = NULL;
	int64_t n;
	int shift = 0;

	if (s.len > 1 && tolower((unsigned char)s.ptr[s.len - 1]) == 'b' &&
	    !isdigit((unsigned char)s.ptr[s.len - 2]))
		s.len--; /* "512mb" */
	if (s.len && isalpha((unsigned char)s.ptr[s.len - 1])) {
		unit = strchr(units, tolower((unsigned char)s.ptr[s.len - 1]));
		if (!unit)
			return false;
		s.len--;
	}
	shift = unit ? 10 * (int)(unit - units) : 0;
	if (!str_to_int64(s, 1, (MEMORY_MAX_MIB << 20) >> shift, &n))
		return false;
	*ret_mib = ((n << shift) + (1 << 20) - 1) >> 20;
	return true;
}

/* "0.5" in thousandths. */
static bool parse_cpus(const char *text, int64_t *ret_milli)
{
	struct str rest = str_from(text), whole = str_cut(&rest, '.');
	int64_t n = 0, part = 0;

	if (whole.len && !str_to_int64(whole, 0, 1024, &n))
		return false;
	if (rest.ptr && (rest.len > 3 || !rest.len || !str_to_int64(rest, 0, 999, &part)))
		return false;
	for (size_t i = rest.ptr ? rest.len : 3; i < 3; i++)
		part *= 10;
	*ret_milli = n * 1000 + part;
	return (whole.len || rest.ptr) && *ret_milli > 0;
}

static bool add_sizes(const struct run_options *o, json_t *definition, json_t *container)
{
	int64_t mib, milli;
	char text[24];

	if (o->memory && (!run_parse_memory(o->memory, &mib) || mib < RESERVATION_MIB))
		return wrong("write a number with b, k, m or g, at least 6m", "--memory cannot be",
		    o->memory);
	if (o->memory)
		json_object_set_new(container, "memory", json_integer(mib));
	else
		json_object_set_new(container, "memoryReservation", json_integer(RESERVATION_MIB));
	if (!o->cpus)
		return true;
	if (!parse_cpus(o->cpus, &milli) || milli < 125)
		return wrong("write how many CPUs, at least 0.125, with up to three decimals",
		    "--cpus cannot be", o->cpus);
	/* The task's size is what the kernel enforces; a container's would only be its share. */
	snprintf(text, sizeof(text), "%" PRId64, milli * 1024 / 1000);
	json_object_set_new(definition, "cpu", json_string(text));
	return true;
}

/* ---- environment ---- */

/* A name alone is passed on from here, if it is set here. */
static bool add_variable(json_t *list, const char *text)
{
	const char *equal = strchr(text, '='), *value = equal ? equal + 1 : getenv(text);
	size_t n = equal ? (size_t)(equal - text) : strlen(text), i;
	json_t *v;

	if (!n)
		return wrong("write NAME=VALUE", "this variable has no name", text);
	if (!utf8_valid(str_from(text)) || (value && !utf8_valid(str_from(value))))
		return wrong(NULL, "this variable is not UTF-8", text);
	if (!value)
		return true;
	json_array_foreach(list, i, v)
	{
		const char *name = json_string_value(json_object_get(v, "name"));

		if (strlen(name) == n && !memcmp(name, text, n)) {
			json_object_set_new(v, "value", json_string(value));
			return true;
		}
	}
	json_array_append_new(list, json_pack("{s:s%,s:s}", "name", text, n, "value", value));
	return true;
}

static bool add_env_file(json_t *list, const char *path)
{
	_cleanup_free_ char *line = xmalloc(ENV_FILE_LINE);
	FILE *f = fopen(path, "re");
	bool good = true;

	if (!f)
		return wrong(strerror(errno), "cannot read --env-file", path);
	while (good && fgets(line, ENV_FILE_LINE, f)) {
		char *text = line + strspn(line, " \t");

		text[strcspn(text, "\r\n")] = '\0';
		if (*text && *text != '#')
			good = add_variable(list, text);
	}
	fclose(f);
	return good;
}

static bool add_environment(const struct run_options *o, json_t *container)
{
	json_t *list = json_array();
	bool good = true;

	json_object_set_new(container, "environment", list);
	for (size_t i = 0; good && i < o->env_files.count; i++)
		good = add_env_file(list, o->env_files.items[i]);
	for (size_t i = 0; good && i < o->env.count; i++)
		good = add_variable(list, o->env.items[i]);
	return good;
}

/* ---- ports ---- */

/* [HOST:]CONTAINER[/tcp|/udp]; without HOST, or with 0, a free one is chosen. */
static bool add_port(json_t *list, const char *text)
{
	static const char next[] = "write HOST:CONTAINER, such as 8080:80 or 8080:80/udp";
	struct str rest = str_from(text), ports = str_cut(&rest, '/'), first, second;
	struct str protocol = rest.ptr ? rest : STR("tcp");
	int64_t host = 0, inside;

	if (!str_is(protocol, "tcp") && !str_is(protocol, "udp"))
		return wrong(next, "--publish cannot be", text);
	first = str_cut(&ports, ':');
	second = ports;
	if (second.ptr && memchr(second.ptr, ':', second.len))
		return wrong(
		    "a port is published on every address of this machine: leave the address "
		    "out, and keep others away by a firewall",
		    "--publish takes no address", text);
	if (memchr(text, '-', strlen(text)))
		return wrong(
		    "give --publish once for each port", "--publish takes no ranges", text);
	if (!second.ptr) {
		second = first;
		first = STR("0");
	}
	if (!str_to_int64(first.len ? first : STR("0"), 0, 65535, &host) ||
	    !str_to_int64(second, 1, 65535, &inside))
		return wrong(next, "--publish cannot be", text);
	json_array_append_new(
	    list, json_pack("{s:I,s:I,s:s%}", "containerPort", (json_int_t)inside, "hostPort",
		      (json_int_t)host, "protocol", protocol.ptr, protocol.len));
	return true;
}

static bool add_network(const struct run_options *o, json_t *definition, json_t *container)
{
	const char *network = o->network ? o->network : "bridge";
	json_t *list = json_array();

	json_object_set_new(container, "portMappings", list);
	json_object_set_new(definition, "networkMode", json_string(network));
	if (strcmp(network, "bridge") && strcmp(network, "host") && strcmp(network, "none"))
		return wrong("bridge, host or none", "--network cannot be", network);
	if (o->publish.count && strcmp(network, "bridge"))
		return wrong(
		    "with --network host every port is the host's already; with none there "
		    "are no ports",
		    "--publish does not go with --network", network);
	for (size_t i = 0; i < o->publish.count; i++)
		if (!add_port(list, o->publish.items[i]))
			return false;
	return true;
}

/* ---- volumes ---- */

/* A path of this machine, as the server sees it. NULL: there is no such place. */
static char *host_path(const char *source)
{
	return source[0] == '.' ? realpath(source, NULL) : xstrdup(source);
}

static json_t *volume(const char *name, const char *source)
{
	_cleanup_free_ char *path = NULL;

	if (!source)
		return json_pack("{s:s,s:{}}", "name", name, "host");
	if (source[0] != '/' && source[0] != '.')
		return json_pack("{s:s,s:{s:s,s:b,s:s}}", "name", source,
		    "dockerVolumeConfiguration", "scope", "shared", "autoprovision", 1, "driver",
		    "local");
	path = host_path(source);
	if (!path)
		return NULL;
	return json_pack("{s:s,s:{s:s}}", "name", name, "host", "sourcePath", path);
}

/* A name that is used twice is one volume. */
static void add_volume_once(json_t *volumes, json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "name"));
	json_t *other;
	size_t i;

	json_array_foreach(volumes, i, other)
	{
		if (!strcmp(json_string_value(json_object_get(other, "name")), name)) {
			json_decref(v);
			return;
		}
	}
	json_array_append_new(volumes, v);
}

/* [SOURCE:]TARGET[:ro] */
static bool add_mount(json_t *volumes, json_t *mounts, const char *text, size_t number)
{
	static const char next[] =
	    "write /PATH/HERE:/PATH/INSIDE, NAME:/PATH/INSIDE, and :ro behind "
	    "it to forbid writing";
	_cleanup_free_ char *copy = xstrdup(text);
	char *source = copy, *target = strchr(copy, ':'), *mode, name[24];
	json_t *v;

	if (target)
		*target++ = '\0';
	mode = target ? strchr(target, ':') : NULL;
	if (mode)
		*mode++ = '\0';
	if (!target) {
		target = source;
		source = NULL;
	}
	if (target[0] != '/' || (source && !*source) ||
	    (mode && strcmp(mode, "ro") && strcmp(mode, "rw")))
		return wrong(next, "--volume cannot be", text);
	if (source && *source != '/' && *source != '.' && strchr(source, '/'))
		return wrong("begin a path with / or ./", "no volume has such a name", source);
	snprintf(name, sizeof(name), "v%zu", number);
	v = volume(name, source);
	if (!v)
		return wrong(
		    "make the directory, or write its whole path if it is another machine's",
		    "there is nothing here for --volume", source);
	json_array_append_new(
	    mounts, json_pack("{s:O,s:s,s:b}", "sourceVolume", json_object_get(v, "name"),
			"containerPath", target, "readOnly", mode && !strcmp(mode, "ro")));
	add_volume_once(volumes, v);
	return true;
}

static bool add_volumes(const struct run_options *o, json_t *definition, json_t *container)
{
	json_t *volumes = json_array(), *mounts = json_array();

	json_object_set_new(definition, "volumes", volumes);
	json_object_set_new(container, "mountPoints", mounts);
	for (size_t i = 0; i < o->volumes.count; i++)
		if (!add_mount(volumes, mounts, o->volumes.items[i], i))
			return false;
	return true;
}

/* ---- the whole ---- */

static void add_texts(const struct run_options *o, json_t *container)
{
	if (o->user)
		json_object_set_new(container, "user", json_string(o->user));
	if (o->workdir)
		json_object_set_new(container, "workingDirectory", json_string(o->workdir));
	if (o->entrypoint)
		json_object_set_new(container, "entryPoint", json_pack("[s]", o->entrypoint));
	if (o->read_only)
		json_object_set_new(container, "readonlyRootFilesystem", json_true());
	if (o->interactive)
		json_object_set_new(container, "interactive", json_true());
	if (o->tty)
		json_object_set_new(container, "pseudoTerminal", json_true());
	if (o->init)
		json_object_set_new(
		    container, "linuxParameters", json_pack("{s:b}", "initProcessEnabled", 1));
}

static bool add_command(json_t *container, char **command, int count)
{
	json_t *list;

	if (!count)
		return true;
	list = json_array();
	json_object_set_new(container, "command", list);
	for (int i = 0; i < count; i++)
		if (json_array_append_new(list, json_string(command[i])))
			return wrong(NULL, "this argument is not UTF-8", command[i]);
	return true;
}

json_t *run_definition(const struct run_options *o, const char *image, char **command, int count)
{
	json_t *definition, *container;
	char family[RUN_FAMILY_MAX + 1];

	if (!run_family(o, image, family))
		return NULL;
	container = json_pack("{s:s,s:s,s:b}", "name", family, "image", image, "essential", 1);
	definition = json_pack("{s:s,s:[o]}", "family", family, "containerDefinitions", container);
	add_texts(o, container);
	if (add_command(container, command, count) && add_sizes(o, definition, container) &&
	    add_environment(o, container) && add_network(o, definition, container) &&
	    add_volumes(o, definition, container))
		return definition;
	json_decref(definition);
	return NULL;
}
