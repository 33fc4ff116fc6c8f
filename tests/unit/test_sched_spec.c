/* From definitions, overrides and images to what the spawner is told (src/sched/spec.c and parts).
 */
#include "unit.h"

#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>

#include "sched/task_int.h"

/* Of the room's other files: not reached from here. */
struct unit *task_unit(const struct task *t, const char *name)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (!name || !*name || !strcmp(t->units[i].name, name))
			return &t->units[i];
	return NULL;
}

void unit_metadata_id(const struct unit *u, char ret[64])
{
	snprintf(ret, 64, "meta-%u", u->index);
}

/* ---- rig ---- */

static struct task task;
static struct unit units[2];
static struct arena arena;
static struct container_spec spec;
static struct err why;
static const char *const no_strings[] = {NULL};
static const char *const image_cmd[] = {"cmd", "arg", NULL}, *const image_entry[] = {"entry", NULL},
			 *const image_env[] = {"PATH=/image", "A=image", "B=image", "broken", NULL};
static struct image_config image;
static const char *resolv;

static const char *endpoint;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena);
	image = (struct image_config){.entrypoint = image_entry,
	    .cmd = image_cmd,
	    .env = image_env,
	    .user = "",
	    .working_dir = "/image",
	    .stop_signal = ""};
	resolv = "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch corp\n";
	endpoint = "http://169.254.170.2:4566";
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		for (size_t k = 0; k < units[i].env_file_count; k++)
			buf_done(&units[i].env_files[k]);
		free(units[i].env_files);
	}
	json_decref(task.base);
	json_decref(task.definition);
	memset(&task, 0, sizeof(task));
	memset(units, 0, sizeof(units));
	arena_done(&arena);
	return 0;
}

/* Members of the first container, of the definition (each with a comma before it), and an
 * override. */
static void define(const char *container, const char *definition, const char *override)
{
	_cleanup_free_ char *d =
	    xasprintf("{\"family\":\"f\",\"containerDefinitions\":[{\"name\":\"web\"%s},{\"name\":"
		      "\"db\",\"mountPoints\":[{\"sourceVolume\":\"scratch\",\"containerPath\":"
		      "\"/s\"}]}]%s}",
		container, definition);
	json_error_t je;

	task.base = json_pack("{s:s}", "launchType", "FARGATE");
	task.definition = json_loads(d, 0, &je);
	if (!task.definition)
		fail_msg("%s: %s", d, je.text);
	json_object_set_new(task.base, "overrides", json_loads(override, 0, NULL));
	task.region = (char *)(uintptr_t) "eu-west-1";
	task.id = (char *)(uintptr_t) "0123";
	task.units = units;
	task.unit_count = 2;
	task.network = spec_network(task.definition);
	snprintf(task.sandbox_id, sizeof(task.sandbox_id), "00112233445566778899aabbccddeeff");
	snprintf(task.credentials, sizeof(task.credentials), "uuid");
	snprintf(task.metadata_key, sizeof(task.metadata_key), "key");
	for (unsigned i = 0; i < 2; i++) {
		units[i] = (struct unit){.task = &task, .index = i};
		units[i].def =
		    json_array_get(json_object_get(task.definition, "containerDefinitions"), i);
		units[i].name = docs_str(units[i].def, "name");
		snprintf(units[i].id, sizeof(units[i].id), "fedcba98765432100000000000000000");
	}
	units[0].override = json_array_get(
	    json_object_get(json_object_get(task.base, "overrides"), "containerOverrides"), 0);
}

static int build(void)
{
	const struct spec_in in = {.task = &task,
	    .unit = &units[0],
	    .image = &image,
	    .resolv_conf = resolv,
	    .endpoint = endpoint};

	why = ERR_INIT;
	return spec_container(&arena, &in, &spec, &why);
}

static void make(const char *container, const char *definition)
{
	define(container, definition, "{}");
	assert_int_equal(build(), 0);
}

static void refuse(const char *container, const char *definition, const char *words)
{
	define(container, definition, "{}");
	assert_true(build() < 0);
	if (!strstr(why.msg, words))
		fail_msg("%s", why.msg);
	teardown(NULL);
	setup(NULL);
}

static void assert_args(const char *text)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	for (size_t i = 0; i < spec.arg_count; i++)
		buf_printf(&b, "%s%s", i ? " " : "", spec.args[i]);
	buf_putc(&b, 0);
	assert_string_equal(buf_data(&b), text);
}

static const char *env(const char *name)
{
	const char *found = NULL;

	for (size_t i = 0; i < spec.env_count; i++)
		if (!strcmp(spec.env[i].name, name)) {
			assert_null(found);
			found = spec.env[i].value;
		}
	return found;
}

static const struct container_mount *mount_at(const char *target)
{
	for (size_t i = 0; i < spec.mount_count; i++)
		if (!strcmp(spec.mounts[i].target, target))
			return &spec.mounts[i];
	return NULL;
}

/* ---- commands ---- */

static void test_args(void **state)
{
	(void)state;
	make("", "");
	assert_args("entry cmd arg");
	teardown(NULL);
	setup(NULL);
	make(",\"command\":[\"c\"]", "");
	assert_args("entry c");
	teardown(NULL);
	setup(NULL);
	make(",\"entryPoint\":[\"e\"]", "");
	assert_args("e");
	teardown(NULL);
	setup(NULL);
	make(",\"entryPoint\":[],\"command\":[]", "");
	assert_args("entry cmd arg");
	teardown(NULL);
	setup(NULL);
	define(",\"entryPoint\":[\"e\"],\"command\":[\"c\"]", "",
	    "{\"containerOverrides\":[{\"name\":\"web\",\"command\":[\"o\",\"p\"]}]}");
	assert_int_equal(build(), 0);
	assert_args("e o p");
	teardown(NULL);
	setup(NULL);
	image.cmd = image.entrypoint = no_strings;
	refuse("", "", "no command");
}

static void test_process(void **state)
{
	(void)state;
	make("", "");
	assert_string_equal(spec.cwd, "/image");
	assert_string_equal(spec.hostname, "fedcba987654");
	assert_string_equal(spec.runtime, "crun");
	assert_false(spec.terminal || spec.open_stdin || spec.read_only_root || spec.privileged ||
		     spec.init || spec.no_new_privileges);
	assert_int_equal(spec.cpu_shares, 2);
	assert_int_equal(spec.swap_bytes, -1);
	teardown(NULL);
	setup(NULL);
	image.working_dir = "";
	make(",\"hostname\":\"h\",\"pseudoTerminal\":true,\"interactive\":true,\"cpu\":300000,"
	     "\"readonlyRootFilesystem\":true,\"dockerSecurityOptions\":[\"no-new-privileges\"],"
	     "\"memory\":128,\"memoryReservation\":64,\"linuxParameters\":{\"initProcessEnabled\":"
	     "true,\"sharedMemorySize\":8,\"maxSwap\":0}",
	    "");
	assert_string_equal(spec.cwd, "/");
	assert_string_equal(spec.hostname, "h");
	assert_true(spec.terminal && spec.open_stdin && spec.read_only_root && spec.init &&
		    spec.no_new_privileges);
	assert_int_equal(spec.cpu_shares, 262144);
	assert_int_equal(spec.memory_bytes, 128 << 20);
	assert_int_equal(spec.memory_reservation_bytes, 64 << 20);
	assert_int_equal(spec.shm_bytes, 8 << 20);
	assert_int_equal(spec.swap_bytes, 0);
	assert_string_equal(env("TERM"), "xterm");
	assert_string_equal(env("HOSTNAME"), "h");
}

/* ---- environment ---- */

static void test_env(void **state)
{
	char *secrets[] = {(char *)(uintptr_t) "hidden"};

	(void)state;
	define(",\"environment\":[{\"name\":\"B\",\"value\":\"definition\"},{\"name\":\"C\","
	       "\"value\":\"definition\"},{\"name\":\"F\",\"value\":\"definition\"},{\"name\":"
	       "\"AWS_REGION\",\"value\":\"mine\"}],"
	       "\"secrets\":[{\"name\":\"S\",\"valueFrom\":\"x\"}]",
	    ",\"taskRoleArn\":\"arn:role\"",
	    "{\"containerOverrides\":[{\"name\":\"web\",\"environment\":[{\"name\":\"C\","
	    "\"value\":\"override\"}]}]}");
	units[0].secrets = secrets;
	units[0].secret_count = 1;
	units[0].env_file_count = 2;
	units[0].env_files = xcalloc(2, sizeof(struct buf));
	buf_puts(&units[0].env_files[0],
	    "# comment\r\nF=file\nG=first\r\nH=a=b \"quoted\"\n=x\nnothing\n");
	buf_puts(&units[0].env_files[1], "G=second\nI=last");
	assert_int_equal(build(), 0);
	assert_string_equal(env("PATH"), "/image");
	assert_string_equal(env("A"), "image");
	assert_string_equal(env("B"), "definition");
	assert_string_equal(env("C"), "override");
	assert_string_equal(env("F"), "definition");
	assert_string_equal(env("G"), "first");
	assert_string_equal(env("H"), "a=b \"quoted\"");
	assert_string_equal(env("I"), "last");
	assert_string_equal(env("S"), "hidden");
	assert_null(env("nothing"));
	assert_null(env(""));
	assert_string_equal(env("AWS_REGION"), "mine");
	assert_string_equal(env("AWS_DEFAULT_REGION"), "eu-west-1");
	assert_string_equal(env("AWS_EXECUTION_ENV"), "AWS_ECS_FARGATE");
	assert_string_equal(env("AWS_ENDPOINT_URL"), "http://169.254.170.2:4566");
	assert_string_equal(env("ECS_CONTAINER_METADATA_URI_V4"), "http://169.254.170.2/v4/meta-0");
	assert_string_equal(env("ECS_AGENT_URI"), "http://169.254.170.2/api/meta-0");
	assert_string_equal(env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), "/v2/credentials/uuid");
}

static void test_env_many(void **state)
{
	char name[16], value[16];
	json_t *list = json_array();

	(void)state;
	define("", "", "{}");
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "N%d", i % 2500);
		snprintf(value, sizeof(value), "%d", i);
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
	}
	json_object_set_new((json_t *)(uintptr_t)units[0].def, "environment", list);
	assert_int_equal(build(), 0);
	assert_string_equal(env("N0"), "2500");
	assert_string_equal(env("N2499"), "4999");
}

static void test_env_host(void **state)
{
	(void)state;
	endpoint = "http://127.0.0.1:4566";
	make("", ",\"networkMode\":\"host\",\"taskRoleArn\":\"arn:role\"");
	assert_string_equal(env("ECS_CONTAINER_METADATA_URI_V4"),
	    "http://127.0.0.1:4566/_mayfly/metadata/key/v4/meta-0");
	assert_string_equal(
	    env("ECS_AGENT_URI"), "http://127.0.0.1:4566/_mayfly/metadata/key/api/meta-0");
	assert_string_equal(env("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
	    "http://127.0.0.1:4566/_mayfly/metadata/key/v2/credentials/uuid");
	assert_null(env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
	/* SDKs refuse keys from there, and go wrong if they are told to ask. */
	teardown(NULL);
	setup(NULL);
	endpoint = "http://10.0.0.1:4566";
	make("", ",\"networkMode\":\"host\",\"taskRoleArn\":\"arn:role\"");
	assert_non_null(env("ECS_CONTAINER_METADATA_URI_V4"));
	assert_null(env("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
}

/* ---- rights ---- */

static uint64_t bit(int cap)
{
	return UINT64_C(1) << cap;
}

static void test_capabilities(void **state)
{
	uint64_t usual;

	(void)state;
	make("", "");
	usual = spec.capabilities;
	assert_true(usual & bit(CAP_NET_BIND_SERVICE));
	assert_false(usual & (bit(CAP_SYS_ADMIN) | bit(CAP_NET_ADMIN) | bit(CAP_SYS_PTRACE)));
	teardown(NULL);
	setup(NULL);
	make(",\"linuxParameters\":{\"capabilities\":{\"add\":[\"SYS_PTRACE\"],\"drop\":"
	     "[\"NET_RAW\"]}}",
	    "");
	assert_true(spec.capabilities == ((usual | bit(CAP_SYS_PTRACE)) & ~bit(CAP_NET_RAW)));
	teardown(NULL);
	setup(NULL);
	make(
	    ",\"linuxParameters\":{\"capabilities\":{\"add\":[\"CHOWN\"],\"drop\":[\"ALL\"]}}", "");
	assert_true(spec.capabilities == bit(CAP_CHOWN));
	teardown(NULL);
	setup(NULL);
	make(",\"privileged\":true", "");
	assert_true(spec.capabilities & bit(CAP_SYS_ADMIN));
	teardown(NULL);
	setup(NULL);
	refuse(",\"linuxParameters\":{\"capabilities\":{\"add\":[\"FLY\"]}}", "", "FLY");
}

static void test_limits(void **state)
{
	(void)state;
	make(",\"ulimits\":[{\"name\":\"nofile\",\"softLimit\":10,\"hardLimit\":20}],"
	     "\"linuxParameters\":{\"devices\":[{\"hostPath\":\"/dev/fuse\",\"permissions\":"
	     "[\"read\"]},{\"hostPath\":\"/dev/kvm\",\"containerPath\":\"/dev/k\"}]},"
	     "\"systemControls\":[{\"namespace\":\"net.core.somaxconn\",\"value\":\"99\"}]",
	    "");
	assert_int_equal(spec.limit_count, 1);
	assert_string_equal(spec.limits[0].name, "nofile");
	assert_int_equal(spec.limits[0].soft, 10);
	assert_int_equal(spec.limits[0].hard, 20);
	assert_int_equal(spec.device_count, 2);
	assert_string_equal(spec.devices[0].inside, "/dev/fuse");
	assert_true(spec.devices[0].read && !spec.devices[0].write && !spec.devices[0].mknod);
	assert_string_equal(spec.devices[1].inside, "/dev/k");
	assert_true(spec.devices[1].read && spec.devices[1].write && spec.devices[1].mknod);
	assert_int_equal(spec.sysctl_count, 1);
	assert_string_equal(spec.sysctls[0].value, "99");
}

/* ---- mounts ---- */

static void test_mounts(void **state)
{
	const struct container_mount *m;

	(void)state;
	make(",\"mountPoints\":[{\"sourceVolume\":\"host\",\"containerPath\":\"/h\",\"readOnly\":"
	     "true},{\"sourceVolume\":\"named\",\"containerPath\":\"/n\"},{\"sourceVolume\":"
	     "\"own\",\"containerPath\":\"/o\"}],\"volumesFrom\":[{\"sourceContainer\":\"db\","
	     "\"readOnly\":true}],\"linuxParameters\":{\"tmpfs\":[{\"containerPath\":\"/t\","
	     "\"size\":16,\"mountOptions\":[\"noexec\",\"ro\"]}]}",
	    ",\"volumes\":[{\"name\":\"host\",\"host\":{\"sourcePath\":\"/srv\"}},{\"name\":"
	    "\"named\",\"dockerVolumeConfiguration\":{\"scope\":\"shared\",\"driver\":\"local\"}},"
	    "{\"name\":\"own\",\"dockerVolumeConfiguration\":{\"scope\":\"task\"}},{\"name\":"
	    "\"scratch\",\"host\":{}}]");
	m = mount_at("/h");
	assert_true(m && m->kind == CONTAINER_MOUNT_HOST && m->read_only);
	assert_string_equal(m->source, "/srv");
	m = mount_at("/n");
	assert_true(m && m->kind == CONTAINER_MOUNT_VOLUME && !m->read_only);
	assert_string_equal(m->source, "named");
	m = mount_at("/o");
	assert_true(m && m->kind == CONTAINER_MOUNT_TASK);
	m = mount_at("/s");
	assert_true(m && m->kind == CONTAINER_MOUNT_TASK && m->read_only);
	assert_string_equal(m->source, "scratch");
	m = mount_at("/t");
	assert_true(m && m->kind == CONTAINER_MOUNT_TMPFS);
	assert_string_equal(m->source, "noexec,ro");
	assert_int_equal(m->size_bytes, 16 << 20);
	assert_string_equal(mount_at("/etc/hostname")->source, "fedcba987654\n");
}

static void test_mounts_refused(void **state)
{
	(void)state;
	refuse(",\"mountPoints\":[{\"sourceVolume\":\"v\",\"containerPath\":\"/v\"}]", "",
	    "no volume v");
	refuse(",\"mountPoints\":[{\"sourceVolume\":\"v\",\"containerPath\":\"/v\"}]",
	    ",\"volumes\":[{\"name\":\"v\",\"efsVolumeConfiguration\":{\"fileSystemId\":\"x\"}}]",
	    "efsVolumeConfiguration");
	refuse(",\"mountPoints\":[{\"sourceVolume\":\"v\",\"containerPath\":\"/v\"}]",
	    ",\"volumes\":[{\"name\":\"v\",\"dockerVolumeConfiguration\":{\"driver\":\"nfs\"}}]",
	    "driver nfs");
	refuse(",\"mountPoints\":[{\"sourceVolume\":\"v\",\"containerPath\":\"/v\"}]",
	    ",\"volumes\":[{\"name\":\"v\",\"dockerVolumeConfiguration\":{\"driverOpts\":{"
	    "\"type\":\"nfs\"}}}]",
	    "driver option type");
	refuse(",\"volumesFrom\":[{\"sourceContainer\":\"ghost\"}]", "", "no container ghost");
}

/* ---- network ---- */

static void test_ports(void **state)
{
	(void)state;
	make(",\"portMappings\":[{\"containerPort\":80,\"hostPort\":8080},{\"containerPort\":53,"
	     "\"protocol\":\"udp\"},{\"containerPortRange\":\"9000-9002\"}]",
	    "");
	assert_int_equal(spec.port_count, 5);
	assert_int_equal(spec.ports[0].host, 8080);
	assert_int_equal(spec.ports[0].inside, 80);
	assert_true(spec.ports[1].udp && spec.ports[1].host == 0);
	assert_int_equal(spec.ports[4].inside, 9002);
	teardown(NULL);
	setup(NULL);
	refuse(",\"portMappings\":[{\"containerPortRange\":\"9000-9200\"}]", "", "more than 100");
	refuse(",\"portMappings\":[{\"containerPortRange\":\"90-80\"}]", "", "no port");
	make(",\"portMappings\":[{\"containerPort\":80}]", ",\"networkMode\":\"awsvpc\"");
	assert_int_equal(spec.port_count, 0);
}

static void test_texts(void **state)
{
	(void)state;
	define(",\"extraHosts\":[{\"hostname\":\"x\",\"ipAddress\":\"1.2.3.4\"}],\"links\":"
	       "[\"db:database\"]",
	    "", "{}");
	strcpy(units[1].place.address, "10.0.0.9");
	assert_int_equal(build(), 0);
	assert_non_null(strstr(mount_at("/etc/hosts")->source, "1.2.3.4\tx\n"));
	assert_non_null(strstr(mount_at("/etc/hosts")->source, "10.0.0.9\tdatabase db\n"));
	assert_string_equal(
	    mount_at("/etc/resolv.conf")->source, "nameserver 10.0.0.2\nsearch corp\n");
	teardown(NULL);
	setup(NULL);
	resolv = "nameserver 127.0.0.53\n";
	make(",\"dnsSearchDomains\":[\"a\",\"b\"]", "");
	assert_string_equal(mount_at("/etc/resolv.conf")->source,
	    "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch a b\n");
	teardown(NULL);
	setup(NULL);
	make(",\"dnsServers\":[\"9.9.9.9\"]", "");
	assert_string_equal(mount_at("/etc/resolv.conf")->source, "nameserver 9.9.9.9\n");
	teardown(NULL);
	setup(NULL);
	define("", ",\"networkMode\":\"awsvpc\"", "{}");
	strcpy(task.place.address, "10.0.0.7");
	assert_int_equal(build(), 0);
	assert_string_equal(spec.hostname, "ip-10-0-0-7.ec2.internal");
	assert_non_null(
	    strstr(mount_at("/etc/hosts")->source, "10.0.0.7\tip-10-0-0-7.ec2.internal\n"));
}

/* ---- the sandbox ---- */

static void test_sandbox(void **state)
{
	struct sandbox_spec s;

	(void)state;
	define("",
	    ",\"networkMode\":\"awsvpc\",\"cpu\":\"512\",\"memory\":\"1024\",\"pidMode\":\"task\","
	    "\"ipcMode\":\"host\",\"ephemeralStorage\":{\"sizeInGiB\":30}",
	    "{}");
	spec_sandbox(&task, &s);
	assert_int_equal(s.network, CONTAINER_NET_TASK);
	assert_int_equal(s.cpu_milli, 500);
	assert_int_equal(s.memory_bytes, UINT64_C(1) << 30);
	assert_int_equal(s.disk_bytes, UINT64_C(30) << 30);
	assert_true(s.share_pid && !s.host_pid && !s.share_ipc && s.host_ipc);
	teardown(NULL);
	setup(NULL);
	define(
	    "", ",\"cpu\":\"512\"", "{\"cpu\":\"1024\",\"ephemeralStorage\":{\"sizeInGiB\":40}}");
	spec_sandbox(&task, &s);
	assert_int_equal(s.network, CONTAINER_NET_BRIDGE);
	assert_int_equal(s.cpu_milli, 1000);
	assert_int_equal(s.disk_bytes, UINT64_C(40) << 30);
}

static void test_signals(void **state)
{
	(void)state;
	assert_int_equal(spec_signal("SIGTERM"), SIGTERM);
	assert_int_equal(spec_signal("quit"), SIGQUIT);
	assert_int_equal(spec_signal("10"), 10);
	assert_int_equal(spec_signal("SIGRTMIN+3"), 37);
	assert_int_equal(spec_signal("SIGNONSENSE"), 0);
	assert_int_equal(spec_signal(""), 0);
	assert_int_equal(spec_signal(NULL), 0);
}

static void test_sizes(void **state)
{
	int64_t cpu, memory;

	(void)state;
	define(",\"cpu\":100,\"memory\":256,\"memoryReservation\":64", "", "{}");
	host_sizes(task.definition, NULL, &cpu, &memory);
	assert_int_equal(cpu, 100);
	assert_int_equal(memory, 64);
	teardown(NULL);
	define(",\"cpu\":100", ",\"cpu\":\"256\",\"memory\":\"512\"", "{\"memory\":\"1024\"}");
	host_sizes(task.definition, json_object_get(task.base, "overrides"), &cpu, &memory);
	assert_int_equal(cpu, 256);
	assert_int_equal(memory, 1024);
}

static void test_runtime_words(void **state)
{
	char out[256];

	(void)state;
	text_runtime(
	    "{\"data\": -1, \"message\": \"executable file `/no\\\"thing` not found\\n\"}", out);
	assert_string_equal(out, "executable file `/no\"thing` not found");
	text_runtime("{\"data\":-1,\"message\":\"cut of", out);
	assert_string_equal(out, "cut of");
	text_runtime("port 80 is taken", out);
	assert_string_equal(out, "port 80 is taken");
	text_runtime("", out);
	assert_string_equal(out, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_args), T(test_process), T(test_env),
	    T(test_env_many), T(test_env_host), T(test_capabilities), T(test_limits),
	    T(test_mounts), T(test_mounts_refused), T(test_ports), T(test_texts), T(test_sandbox),
	    T(test_signals), T(test_sizes), T(test_runtime_words)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
