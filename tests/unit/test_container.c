/* Records of sandboxes and containers, written by core and read by root; config.json. */
#include "unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawn/container_record.h"
#include "spawner/config_json.h"
#include "spawner/record.h"

#define ID "0123456789abcdef0123456789abcdef"
#define SANDBOX "fedcba9876543210fedcba9876543210"

static char data[CONTAINER_SPEC_MAX];
static struct record_container got;
static const char *why;

static size_t read_record(int fd)
{
	ssize_t n = pread(fd, data, sizeof(data), 0);

	assert_true(n > 0);
	assert_int_equal(
	    fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	close(fd);
	return (size_t)n;
}

static void test_sandbox(void **state _unused_)
{
	const struct sandbox_spec s = {.id = SANDBOX,
	    .network = CONTAINER_NET_BRIDGE,
	    .share_pid = true,
	    .host_ipc = true,
	    .cpu_milli = 250,
	    .memory_bytes = 512 << 20,
	    .disk_bytes = UINT64_C(30) << 30,
	    .pids_max = 77};
	struct sandbox_spec r, on_disk;
	int fd = container_record_sandbox(&s);
	size_t len;

	assert_int_equal(container_record_read_sandbox(fd, &on_disk), 0);
	len = read_record(fd);
	assert_int_equal(record_sandbox(data, len, &r, &why), 0);
	assert_memory_equal(r.id, s.id, sizeof(s.id));
	assert_int_equal(r.network, s.network);
	assert_true(r.share_pid && !r.share_ipc && !r.host_pid && r.host_ipc);
	assert_int_equal(r.cpu_milli, 250);
	assert_int_equal(r.memory_bytes, s.memory_bytes);
	assert_int_equal(r.disk_bytes, s.disk_bytes);
	assert_int_equal(r.pids_max, 77);
	assert_memory_equal(on_disk.id, s.id, sizeof(s.id));
	assert_int_equal(on_disk.disk_bytes, s.disk_bytes);
	assert_int_equal(on_disk.pids_max, 77);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(record_sandbox(data, cut, &r, &why), -EINVAL);
	assert_int_equal(record_sandbox(data, len + 1, &r, &why), -EINVAL);
	assert_int_equal(record_container(data, len, &got, &why), -EINVAL);
}

static uint8_t layers[2][WIRE_HASH_SIZE] = {{1}, {2}};
static const char *const args[] = {"/bin/sh", "-c", "quote \" back\\slash \n \x01 \xc3\xa4"};
static const struct container_pair env[] = {{"A", "b=c"}, {"EMPTY", ""}},
				   sysctls[] = {{"net.core.somaxconn", "9"}};
static const uint32_t groups[] = {5, 6};
static const struct container_mount mounts[] = {{CONTAINER_MOUNT_HOST, "/srv/x", "/x", true, 0},
    {CONTAINER_MOUNT_VOLUME, "v-1", "/v", false, 0},
    {CONTAINER_MOUNT_TMPFS, "exec,mode=0700", "/t", false, 4096},
    {CONTAINER_MOUNT_TEXT, "text", "/etc/hosts", false, 0}};
static const struct container_limit limits[] = {{"nofile", 10, 20}};
static const struct container_device devices[] = {{"/dev/fuse", "/dev/fuse", true, true, false}};
static const struct container_port ports[] = {{true, "127.0.0.1", 0, 53}, {false, "", 8080, 80}};

static struct container_spec spec(void)
{
	return (struct container_spec){.id = ID,
	    .sandbox = SANDBOX,
	    .runtime = "crun",
	    .layers = (const uint8_t(*)[WIRE_HASH_SIZE])layers,
	    .layer_count = 2,
	    .args = args,
	    .arg_count = 3,
	    .env = env,
	    .env_count = 2,
	    .cwd = "/w",
	    .hostname = "h",
	    .uid = 1000,
	    .gid = 1001,
	    .groups = groups,
	    .group_count = 2,
	    .init = true,
	    .capabilities = 1 << 10,
	    .memory_bytes = 1 << 30,
	    .swap_bytes = -1,
	    .mounts = mounts,
	    .mount_count = ARRAY_SIZE(mounts),
	    .limits = limits,
	    .limit_count = 1,
	    .devices = devices,
	    .device_count = 1,
	    .sysctls = sysctls,
	    .sysctl_count = 1,
	    .ports = ports,
	    .port_count = 2};
}

static void test_container(void **state _unused_)
{
	struct container_spec s = spec(), *r = &got.spec;
	size_t len = read_record(container_record_container(&s));

	assert_int_equal(record_container(data, len, &got, &why), 0);
	assert_string_equal(r->id, ID);
	assert_string_equal(r->sandbox, SANDBOX);
	assert_memory_equal(r->layers, layers, sizeof(layers));
	assert_string_equal(r->args[2], args[2]);
	assert_string_equal(r->env[0].value, "b=c");
	assert_int_equal(r->groups[1], 6);
	assert_true(r->init && !r->terminal && !r->privileged);
	assert_int_equal(r->swap_bytes, -1);
	assert_string_equal(r->mounts[1].source, "v-1");
	assert_true(r->mounts[0].read_only);
	assert_string_equal(r->limits[0].name, "nofile");
	assert_string_equal(r->devices[0].inside, "/dev/fuse");
	assert_string_equal(r->ports[0].host_address, "127.0.0.1");
	assert_int_equal(r->ports[1].host, 8080);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(record_container(data, cut, &got, &why), -EINVAL);
}

static void refuse(const struct container_spec *s, const char *words)
{
	size_t len = read_record(container_record_container(s));

	assert_int_equal(record_container(data, len, &got, &why), -EINVAL);
	assert_string_equal(why, words);
}

/* One thing wrong at a time. */
static void test_refusals(void **state _unused_)
{
	static const struct container_mount up = {CONTAINER_MOUNT_HOST, "/a/../b", "/x", false, 0},
					    relative = {CONTAINER_MOUNT_TMPFS, "", "x", false, 0},
					    name = {CONTAINER_MOUNT_VOLUME, "a/b", "/x", false, 0},
					    hidden = {CONTAINER_MOUNT_TASK, "..", "/x", false, 0},
					    proc = {CONTAINER_MOUNT_TASK, "a", "/./proc//x", false,
						0},
					    root = {CONTAINER_MOUNT_TMPFS, "", "//", false, 0},
					    option = {CONTAINER_MOUNT_TMPFS, "ro,bind", "/x", false,
						0},
					    number = {CONTAINER_MOUNT_TMPFS, "mode=", "/x", false,
						0},
					    outside = {
						CONTAINER_MOUNT_ROOT, "/a/..", "/x", false, 0};
	static const struct container_mount *const bad[] = {
	    &up, &relative, &name, &hidden, &proc, &root, &option, &number, &outside};
	static const char *const words[] = {"path with ..", "not an absolute path", "not a name",
	    "not a name", "something that would cover /, /proc, /sys or /dev",
	    "something that would cover /, /proc, /sys or /dev", "no such option of a tmpfs",
	    "no such option of a tmpfs", "path with .."};
	struct container_spec s = spec();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		s.mounts = bad[i];
		s.mount_count = 1;
		refuse(&s, words[i]);
	}
	s = spec();
	s.runtime = "../x";
	refuse(&s, "not a name");
	s = spec();
	s.uid = 65536;
	refuse(&s, "user out of range");
	s = spec();
	s.layer_count = 0;
	refuse(&s, "no layer");
	s = spec();
	s.arg_count = 0;
	refuse(&s, "nothing to run");
	s = spec();
	s.sysctls = (const struct container_pair[]){{"kernel.core_pattern", "|x"}};
	refuse(&s, "not a setting of a namespace");
	s.sysctls = (const struct container_pair[]){{"net./../kernel/core_pattern", "|x"}};
	refuse(&s, "not a setting of a namespace");
	s = spec();
	s.devices = (const struct container_device[]){{"/etc/shadow", "/dev/x", true, true, false}};
	refuse(&s, "device outside of /dev");
	s = spec();
	s.env = (const struct container_pair[]){{"A=B", ""}, {"C", ""}};
	refuse(&s, "name without letters, or with =");
	s = spec();
	memcpy(s.id, "0123456789ABCDEF0123456789ABCDEF", 32);
	refuse(&s, "not an id");
}

static void test_exec(void **state _unused_)
{
	static struct record_exec r;
	const struct container_exec x = {.id = ID,
	    .exec_id = SANDBOX,
	    .args = args,
	    .arg_count = 3,
	    .terminal = true,
	    .rows = 24,
	    .columns = 80};
	size_t len = read_record(container_record_exec(&x, SANDBOX));

	assert_int_equal(record_exec(data, len, &r, &why), 0);
	assert_string_equal(r.sandbox, SANDBOX);
	assert_string_equal(r.exec.args[1], "-c");
	assert_null(r.exec.env);
	assert_int_equal(r.exec.columns, 80);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(record_exec(data, cut, &r, &why), -EINVAL);
}

/* ---- config.json ---- */

static char text[1 << 20];

static json_t *config_of(
    const struct container_spec *s, const struct sandbox_spec *b, uint64_t capabilities)
{
	static const struct config_device device = {10, 229, S_IFCHR | 0666};
	const struct config c = {.spec = s,
	    .sandbox = b,
	    .pause = 4711,
	    .cgroup = "/g/s/c",
	    .shm_at = "/d/shm",
	    .mounts_at = "/m",
	    .init_path = s->init ? "/pause" : NULL,
	    .capabilities = capabilities,
	    .devices = &device};
	ssize_t n = config_json(&c, text, sizeof(text));
	json_t *j;

	assert_int_equal(n, strlen(text));
	assert_int_equal(config_json(&c, text, (size_t)n), -E2BIG);
	assert_int_equal(config_json(&c, text, (size_t)n + 1), n);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	return j;
}

static json_t *at(json_t *j, const char *path)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = strtok_r(copy, ".", &save); p && j; p = strtok_r(NULL, ".", &save))
		j = json_is_array(j) ? json_array_get(j, (size_t)atoi(p)) : json_object_get(j, p);
	return j;
}

static void test_config(void **state _unused_)
{
	struct container_spec s = spec();
	struct sandbox_spec b = {.network = CONTAINER_NET_TASK, .share_pid = true};
	json_t *j = config_of(&s, &b, 1 << 10);

	assert_string_equal(json_string_value(at(j, "process.args.0")), "/dev/init");
	assert_string_equal(json_string_value(at(j, "process.args.4")), args[2]);
	assert_string_equal(json_string_value(at(j, "process.env.0")), "A=b=c");
	assert_int_equal(json_array_size(at(j, "process.capabilities.bounding")), 1);
	assert_string_equal(
	    json_string_value(at(j, "process.capabilities.effective.0")), "CAP_NET_BIND_SERVICE");
	assert_null(at(j, "process.capabilities.inheritable"));
	assert_string_equal(json_string_value(at(j, "process.rlimits.0.type")), "RLIMIT_NOFILE");
	assert_int_equal(json_integer_value(at(j, "process.user.additionalGids.0")), 1001);
	assert_int_equal(json_integer_value(at(j, "process.user.additionalGids.2")), 6);
	assert_string_equal(json_string_value(at(j, "linux.cgroupsPath")), "/g/s/c");
	assert_string_equal(
	    json_string_value(at(j, "linux.seccomp.defaultAction")), "SCMP_ACT_ERRNO");
	assert_true(json_array_size(at(j, "linux.seccomp.syscalls.0.names")) > 250);
	assert_true(json_array_size(at(j, "linux.maskedPaths")) > 8);
	assert_int_equal(json_integer_value(at(j, "linux.resources.memory.limit")), 1 << 30);
	assert_null(at(j, "linux.resources.memory.swap"));
	assert_false(json_is_true(at(j, "linux.resources.devices.0.allow")));
	assert_int_equal(json_integer_value(at(j, "linux.resources.devices.1.minor")), 229);
	json_decref(j);
}

static json_t *mount_to(json_t *j, const char *target)
{
	json_t *list = at(j, "mounts"), *m, *found = NULL;
	size_t i;

	json_array_foreach(list, i, m)
	{
		if (strcmp(json_string_value(at(m, "destination")), target) == 0)
			found = m;
	}
	assert_non_null(found);
	return found;
}

static bool has(json_t *mount, const char *option)
{
	json_t *list = at(mount, "options"), *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), option) == 0)
			return true;
	}
	return false;
}

/* What of memory is shared, swapped and mounted. */
static void test_memory(void **state _unused_)
{
	struct container_spec s = spec();
	struct sandbox_spec b = {.network = CONTAINER_NET_TASK};
	json_t *j, *m;

	s.shm_bytes = 4096;
	s.swap_bytes = 1 << 20;
	s.swappiness = 61;
	j = config_of(&s, &b, 0);
	m = mount_to(j, "/t");
	assert_true(
	    has(m, "exec") && has(m, "mode=0700") && has(m, "nosuid") && has(m, "size=4096"));
	assert_false(has(m, "noexec"));
	assert_true(has(mount_to(j, "/dev/shm"), "size=4096"));
	assert_int_equal(json_integer_value(at(j, "linux.resources.memory.swappiness")), 60);
	json_decref(j);
	b.share_ipc = true;
	j = config_of(&s, &b, 0);
	assert_string_equal(json_string_value(at(mount_to(j, "/dev/shm"), "source")), "/d/shm");
	json_decref(j);
	b = (struct sandbox_spec){.host_ipc = true};
	s.swap_bytes = -1;
	j = config_of(&s, &b, 0);
	assert_string_equal(json_string_value(at(mount_to(j, "/dev/shm"), "source")), "/dev/shm");
	assert_null(at(j, "linux.resources.memory.swappiness"));
	json_decref(j);
}

/* Every namespace is new or the pause's, but for those of the host that were asked for. */
static void test_namespaces(void **state _unused_)
{
	struct container_spec s = spec();
	struct sandbox_spec own = {.network = CONTAINER_NET_NONE},
			    host = {
				.network = CONTAINER_NET_HOST, .host_pid = true, .host_ipc = true};
	json_t *j = config_of(&s, &own, 0), *list = at(j, "linux.namespaces");
	size_t users = 0;

	assert_int_equal(json_array_size(list), 7);
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(at(json_array_get(list, i), "type")), "user") == 0) {
			assert_string_equal(json_string_value(at(json_array_get(list, i), "path")),
			    "/proc/4711/ns/user");
			users++;
		}
	assert_int_equal(users, 1);
	json_decref(j);
	s.privileged = true;
	j = config_of(&s, &host, ~UINT64_C(0));
	assert_int_equal(json_array_size(at(j, "linux.namespaces")), 4);
	assert_null(at(j, "linux.seccomp"));
	assert_int_equal(json_array_size(at(j, "process.capabilities.bounding")), 41);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sandbox),
	    cmocka_unit_test(test_container),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_exec),
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_namespaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
