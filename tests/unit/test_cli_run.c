/* What docker's options become, and how tasks are shown: the parts of `run` and `ps` without
 * server. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/ps.h"
#include "cli/pull.h"
#include "cli/run_spec.h"
#include "scratch.h"

static json_t *definition_of(struct run_options *o, const char *image)
{
	static char sh[] = "sh", c[] = "-c", echo[] = "echo hi", *command[] = {sh, c, echo, NULL};

	return run_definition(o, image, command, 3);
}

static const json_t *container_of_definition(const json_t *d)
{
	return json_array_get(json_object_get(d, "containerDefinitions"), 0);
}

/* Is this member of the definition, or of its container, exactly that JSON? */
static void expect(const json_t *o, const char *member, const char *text)
{
	json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(wanted);
	if (!json_equal(json_object_get(o, member), wanted)) {
		_cleanup_free_ char *is = json_dumps(json_object_get(o, member), JSON_ENCODE_ANY);

		print_error("%s: %s\nwanted: %s\n", member, is ? is : "absent", text);
		fail();
	}
	json_decref(wanted);
}

static void a_plain_container_has_little(void **state _unused_)
{
	struct run_options o = {0};
	json_t *d = definition_of(&o, "registry.example:5000/team/web.app:1.2");
	const json_t *c = container_of_definition(d);

	expect(d, "family", "\"web-app\"");
	expect(d, "networkMode", "\"bridge\"");
	assert_null(json_object_get(d, "cpu"));
	expect(c, "name", "\"web-app\"");
	expect(c, "image", "\"registry.example:5000/team/web.app:1.2\"");
	expect(c, "command", "[\"sh\",\"-c\",\"echo hi\"]");
	expect(c, "essential", "true");
	expect(c, "memoryReservation", "6");
	expect(c, "portMappings", "[]");
	assert_null(json_object_get(c, "memory"));
	assert_null(json_object_get(c, "interactive"));
	assert_null(json_object_get(c, "entryPoint"));
	json_decref(d);
	d = run_definition(&o, "busybox", NULL, 0);
	assert_null(json_object_get(container_of_definition(d), "command"));
	json_decref(d);
}

static void every_option_has_its_member(void **state _unused_)
{
	struct run_options o = {.name = "my_web",
	    .memory = "100m",
	    .cpus = "1.5",
	    .network = "bridge",
	    .user = "1:2",
	    .workdir = "/w",
	    .entrypoint = "/bin/x",
	    .interactive = true,
	    .tty = true,
	    .read_only = true,
	    .init = true,
	    .publish = {{"8080:80", "53:53/udp", "9000", ":1"}, 4},
	    .volumes = {{"/src:/dst:ro", "data:/d", "data:/e", "/scratch"}, 4}};
	json_t *d = definition_of(&o, "x");
	const json_t *c = container_of_definition(d);

	expect(d, "family", "\"my_web\"");
	expect(d, "cpu", "\"1536\"");
	expect(c, "memory", "100");
	assert_null(json_object_get(c, "memoryReservation"));
	expect(c, "user", "\"1:2\"");
	expect(c, "workingDirectory", "\"/w\"");
	expect(c, "entryPoint", "[\"/bin/x\"]");
	expect(c, "interactive", "true");
	expect(c, "pseudoTerminal", "true");
	expect(c, "readonlyRootFilesystem", "true");
	expect(c, "linuxParameters", "{\"initProcessEnabled\":true}");
	expect(c, "portMappings",
	    "[{\"containerPort\":80,\"hostPort\":8080,\"protocol\":\"tcp\"},"
	    "{\"containerPort\":53,\"hostPort\":53,\"protocol\":\"udp\"},"
	    "{\"containerPort\":9000,\"hostPort\":0,\"protocol\":\"tcp\"},"
	    "{\"containerPort\":1,\"hostPort\":0,\"protocol\":\"tcp\"}]");
	expect(d, "volumes",
	    "[{\"name\":\"v0\",\"host\":{\"sourcePath\":\"/src\"}},"
	    "{\"name\":\"data\",\"dockerVolumeConfiguration\":{\"scope\":\"shared\","
	    "\"autoprovision\":true,\"driver\":\"local\"}},"
	    "{\"name\":\"v3\",\"host\":{}}]");
	expect(c, "mountPoints",
	    "[{\"sourceVolume\":\"v0\",\"containerPath\":\"/dst\",\"readOnly\":true},"
	    "{\"sourceVolume\":\"data\",\"containerPath\":\"/d\",\"readOnly\":false},"
	    "{\"sourceVolume\":\"data\",\"containerPath\":\"/e\",\"readOnly\":false},"
	    "{\"sourceVolume\":\"v3\",\"containerPath\":\"/scratch\",\"readOnly\":false}]");
	json_decref(d);
}

static void variables_come_from_files_then_from_options(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/env", (const char *)*state);
	struct run_options o = {
	    .env = {{"B=option", "SET_HERE", "NOT_SET", "EMPTY="}, 4}, .env_files = {{path}, 1}};
	FILE *f = fopen(path, "w");
	json_t *d;

	fputs("# comment\n\nA=one two \r\n  B=file\nSET_HERE\nC=x=y", f);
	fclose(f);
	setenv("SET_HERE", "yes", 1);
	unsetenv("NOT_SET");
	d = definition_of(&o, "x");
	expect(container_of_definition(d), "environment",
	    "[{\"name\":\"A\",\"value\":\"one two \"},{\"name\":\"B\",\"value\":\"option\"},"
	    "{\"name\":\"SET_HERE\",\"value\":\"yes\"},{\"name\":\"C\",\"value\":\"x=y\"},"
	    "{\"name\":\"EMPTY\",\"value\":\"\"}]");
	json_decref(d);
}

/* Each of these is refused, aloud, with docker's code for it. */
static void what_cannot_be_is_refused(void **state _unused_)
{
	static struct run_options cases[] = {
	    {.name = "a b"},
	    {.name = "a.b"},
	    {.name = ""},
	    {.memory = "5m"},
	    {.memory = "12x"},
	    {.memory = "-1"},
	    {.memory = ""},
	    {.memory = "99999999999999999999g"},
	    {.cpus = "0"},
	    {.cpus = "0.1"},
	    {.cpus = "x"},
	    {.cpus = "1.2345"},
	    {.cpus = "."},
	    {.cpus = "-1"},
	    {.network = "mynet"},
	    {.publish = {{"0:0"}, 1}},
	    {.publish = {{"1:65536"}, 1}},
	    {.publish = {{"127.0.0.1:80:80"}, 1}},
	    {.publish = {{"80-90:80-90"}, 1}},
	    {.publish = {{"80:80/sctp"}, 1}},
	    {.publish = {{""}, 1}},
	    {.network = "host", .publish = {{"80:80"}, 1}},
	    {.volumes = {{"relative"}, 1}},
	    {.volumes = {{"/a:b"}, 1}},
	    {.volumes = {{":/b"}, 1}},
	    {.volumes = {{"/a:/b:rx"}, 1}},
	    {.volumes = {{""}, 1}},
	    {.volumes = {{"a/b:/x"}, 1}},
	    {.volumes = {{"../no-such-directory:/x"}, 1}},
	    {.env = {{"=x"}, 1}},
	    {.env = {{"A=\xff"}, 1}},
	    {.env_files = {{"/does/not/exist"}, 1}},
	};
	struct run_options none = {0};
	char byte[] = "\xff", *bad[] = {byte, NULL};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *d = definition_of(&cases[i], "x");

		if (d)
			print_error("case %zu was taken\n", i);
		assert_null(d);
	}
	assert_null(run_definition(&none, "x", bad, 1));
	assert_null(run_definition(&none, ":latest", NULL, 0));
}

static void memory_is_counted_as_docker_does(void **state _unused_)
{
	static const struct {
		const char *text;
		int64_t mib;
	} cases[] = {{"512m", 512}, {"512M", 512}, {"512mb", 512}, {"2g", 2048}, {"1048576", 1},
	    {"1048577", 2}, {"7168k", 7}, {"1b", 1}};
	int64_t mib;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(run_parse_memory(cases[i].text, &mib));
		assert_int_equal(mib, cases[i].mib);
	}
}

static void tasks_are_shown_briefly(void **state _unused_)
{
	json_t *task = json_loads(
	    "{\"lastStatus\":\"RUNNING\",\"healthStatus\":\"UNHEALTHY\",\"containers\":["
	    "{\"exitCode\":3,\"networkBindings\":[{\"hostPort\":8080,\"containerPort\":80,"
	    "\"protocol\":\"tcp\"}]},{\"networkBindings\":[{\"containerPort\":53,"
	    "\"protocol\":\"udp\"}]}]}",
	    0, NULL);
	_cleanup_free_ char *ports = ps_ports(task), *running = ps_status(task), *stopped;
	char age[PS_AGE_SIZE];

	assert_string_equal(ports, "8080->80/tcp, 53/udp");
	assert_string_equal(running, "running (unhealthy)");
	json_object_set_new(task, "lastStatus", json_string("STOPPED"));
	stopped = ps_status(task);
	assert_string_equal(stopped, "exited (3)");
	json_decref(task);
	ps_format_age(-5, age);
	assert_string_equal(age, "0 s");
	ps_format_age(119999, age);
	assert_string_equal(age, "119 s");
	ps_format_age(120000, age);
	assert_string_equal(age, "2 min");
	ps_format_age(INT64_C(2) * 3600000, age);
	assert_string_equal(age, "2 h");
	ps_format_age(INT64_C(50) * 3600000, age);
	assert_string_equal(age, "2 d");
}

static void progress_is_a_bar(void **state _unused_)
{
	json_t *o = json_pack("{s:i,s:i,s:i,s:i}", "bytes_done", 5000000, "bytes_total", 10000000,
	    "layers_done", 1, "layers_total", 3);
	char line[PULL_LINE_SIZE];

	pull_format(o, line);
	assert_string_equal(
	    line, "[===============>              ] 5.0 MB of 10 MB, 1 of 3 layers");
	json_object_set_new(o, "bytes_done", json_integer(20000000)); /* more than was said */
	pull_format(o, line);
	assert_non_null(strstr(line, "[==============================] 20 MB"));
	json_object_set_new(o, "bytes_total", json_integer(0));
	pull_format(o, line);
	assert_non_null(strstr(line, "[>     "));
	json_decref(o);
}

static int make_dir(void **state)
{
	*state = scratch_new();
	return 0;
}

static int remove_dir(void **state)
{
	scratch_remove(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plain_container_has_little),
	    cmocka_unit_test(every_option_has_its_member),
	    cmocka_unit_test_setup_teardown(
		variables_come_from_files_then_from_options, make_dir, remove_dir),
	    cmocka_unit_test(what_cannot_be_is_refused),
	    cmocka_unit_test(memory_is_counted_as_docker_does),
	    cmocka_unit_test(tasks_are_shown_briefly),
	    cmocka_unit_test(progress_is_a_bar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
