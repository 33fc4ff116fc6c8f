/*
 * Records of sandboxes, containers and further processes, as a core that was taken over may write
 * them. What is accepted keeps every rule that root's children rely on, and fits into a config.json
 * that is JSON for all it matters here: it ends where it says.
 */
#include "fuzz.h"

#include "spawner/config_json.h"
#include "spawner/record.h"

static struct record_container container;
static struct record_exec exec;
static char text[2 << 20];

static void check_text(const uint8_t *data, size_t size, const char *t)
{
	check((const uint8_t *)t >= data && (const uint8_t *)t + strlen(t) < data + size);
}

static void check_container(const uint8_t *data, size_t size)
{
	static struct config_device devices[CONTAINER_DEVICES_MAX];
	static const struct sandbox_spec sandbox;
	const struct container_spec *s = &container.spec;
	struct config c = {.spec = s,
	    .sandbox = &sandbox,
	    .pause = 1,
	    .cgroup = "/",
	    .mounts_at = "/m",
	    .devices = devices};
	ssize_t n;

	check(record_id_ok(s->id) && record_id_ok(s->sandbox));
	check(!strchr(s->runtime, '/') && s->runtime[0] != '.');
	check(s->layer_count && s->layer_count <= CONTAINER_LAYERS_MAX);
	check((const uint8_t *)s->layers[s->layer_count - 1] + WIRE_HASH_SIZE <= data + size);
	for (size_t i = 0; i < s->arg_count; i++)
		check_text(data, size, s->args[i]);
	for (size_t i = 0; i < s->mount_count; i++) {
		const struct container_mount *m = &s->mounts[i];
		bool named = m->kind == CONTAINER_MOUNT_VOLUME || m->kind == CONTAINER_MOUNT_TASK;

		check_text(data, size, m->source);
		check(m->target[0] == '/' && !strstr(m->target, "/../"));
		check(!named || (!strchr(m->source, '/') && m->source[0] != '.'));
		check(m->kind != CONTAINER_MOUNT_HOST || m->source[0] == '/');
	}
	for (size_t i = 0; i < s->device_count; i++)
		check(strncmp(s->devices[i].host, "/dev/", 5) == 0);
	for (size_t i = 0; i < s->sysctl_count; i++)
		check(!strchr(s->sysctls[i].name, '/'));
	n = config_json(&c, text, sizeof(text));
	check(n > 0 && text[n] == '\0' && text[n - 1] == '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sandbox_spec sandbox;
	const char *why;

	if (record_sandbox(data, size, &sandbox, &why) == 0)
		check(!why && record_id_ok(sandbox.id) && sandbox.network <= CONTAINER_NET_HOST);
	else
		check(why != NULL);
	if (record_container(data, size, &container, &why) == 0)
		check_container(data, size);
	else
		check(why != NULL);
	if (record_exec(data, size, &exec, &why) == 0)
		check(record_id_ok(exec.exec.id) && record_id_ok(exec.sandbox) &&
		      exec.exec.arg_count > 0);
	else
		check(why != NULL);
	return 0;
}
