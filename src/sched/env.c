/*
 * The environment of a container. Later wins: image, environment files (of which the earlier wins),
 * environment, overrides, secrets, and what ECS itself sets.
 */
#include <stdio.h>
#include <string.h>

#include "sched/line.h"
#include "sched/task_int.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct env {
	struct arena *arena;
	struct map index; /* name to position + 1 */
	struct container_pair *pairs;
	size_t count, capacity;
};

enum mode { REPLACE, KEEP };

static void set(struct env *v, struct str name, struct str value, enum mode mode)
{
	size_t at = (size_t)(uintptr_t)map_get(&v->index, name);
	struct container_pair *more;

	if (!name.len || memchr(name.ptr, 0, name.len) || (at && mode == KEEP))
		return;
	if (!at) {
		if (v->count == v->capacity) {
			v->capacity = max_size(64, v->capacity * 2);
			more = arena_array(v->arena, v->capacity, struct container_pair);
			if (v->count)
				memcpy(more, v->pairs, v->count * sizeof(*more));
			v->pairs = more;
		}
		at = ++v->count;
		map_put(&v->index, name, (void *)(uintptr_t)at);
		v->pairs[at - 1].name = arena_str(v->arena, name).ptr;
	}
	v->pairs[at - 1].value = arena_strndup(v->arena, value.ptr ? value.ptr : "", value.len);
}

static void set_text(struct env *v, const char *name, const char *value, enum mode mode)
{
	if (value)
		set(v, str_from(name), str_from(value), mode);
}

/* NAME=VALUE of an image. */
static void set_line(struct env *v, const char *line)
{
	struct str value = str_from(line), name = str_cut(&value, '=');

	if (value.ptr)
		set(v, name, value, REPLACE);
}

static void set_list(struct env *v, const json_t *list)
{
	size_t i;
	json_t *p;

	json_array_foreach(list, i, p)
	{
		const char *name = docs_str(p, "name");

		if (name)
			set_text(
			    v, name, docs_str(p, "value") ? docs_str(p, "value") : "", REPLACE);
	}
}

static void set_files(struct env *v, const struct unit *u)
{
	struct env files = {.arena = v->arena};
	struct str name, value;

	for (size_t i = 0; u->env_files && i < u->env_file_count; i++) {
		struct str rest = buf_str(&u->env_files[i]);

		while (line_next_variable(&rest, &name, &value))
			set(&files, name, value, KEEP);
	}
	for (size_t i = 0; i < files.count; i++)
		set_text(v, files.pairs[i].name, files.pairs[i].value, REPLACE);
	map_done(&files.index);
}

static void set_secrets(struct env *v, const struct unit *u)
{
	const json_t *list = json_object_get(u->def, "secrets");

	for (size_t i = 0; u->secrets && i < u->secret_count; i++) {
		const char *name = docs_str(json_array_get(list, i), "name");

		if (name)
			set_text(v, name, u->secrets[i], REPLACE);
	}
}

/* SDKs take keys by plain HTTP from the host itself only. */
static bool is_loopback(const char *url)
{
	return !strncmp(url, "http://127.", 11) || !strncmp(url, "http://[::1]", 12);
}

static void set_endpoints(struct env *v, const struct spec_in *in)
{
	const struct task *t = in->task;
	bool host = t->network == CONTAINER_NET_HOST;
	const char *base = "http://169.254.170.2", *keys;
	char id[64];

	if (host && !in->endpoint)
		return;
	if (host)
		base = arena_printf(
		    v->arena, "%s" TASKS_METADATA_PATH "%s", in->endpoint, t->metadata_key);
	unit_metadata_id(in->unit, id);
	set_text(v, "ECS_CONTAINER_METADATA_URI_V4", arena_printf(v->arena, "%s/v4/%s", base, id),
	    REPLACE);
	set_text(v, "ECS_AGENT_URI", arena_printf(v->arena, "%s/api/%s", base, id), REPLACE);
	if (!spec_task_role(t))
		return;
	keys = arena_printf(v->arena, "/v2/credentials/%s", t->credentials);
	if (!host)
		set_text(v, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", keys, REPLACE);
	else if (is_loopback(base))
		set_text(v, "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		    arena_printf(v->arena, "%s%s", base, keys), REPLACE);
}

static void set_ours(struct env *v, const struct spec_in *in)
{
	const struct task *t = in->task;
	const char *launch = docs_str(t->base, "launchType");

	set_text(v, "AWS_EXECUTION_ENV",
	    launch && !strcmp(launch, "FARGATE") ? "AWS_ECS_FARGATE" : "AWS_ECS_EC2", REPLACE);
	set_text(v, "AWS_REGION", t->region, KEEP);
	set_text(v, "AWS_DEFAULT_REGION", t->region, KEEP);
	set_text(v, "AWS_ENDPOINT_URL", in->endpoint, KEEP);
	set_endpoints(v, in);
}

void env_build(struct arena *a, const struct spec_in *in, struct container_spec *ret)
{
	struct env v = {.arena = a};

	set_text(&v, "PATH", PATH_DEFAULT, REPLACE);
	set_text(&v, "HOSTNAME", ret->hostname, REPLACE);
	if (ret->terminal)
		set_text(&v, "TERM", "xterm", REPLACE);
	for (size_t i = 0; in->image->env && in->image->env[i]; i++)
		set_line(&v, in->image->env[i]);
	set_files(&v, in->unit);
	set_list(&v, json_object_get(in->unit->def, "environment"));
	set_list(&v, json_object_get(in->unit->override, "environment"));
	set_secrets(&v, in->unit);
	set_ours(&v, in);
	ret->env = v.pairs;
	ret->env_count = v.count;
	map_done(&v.index);
}
