/*
 * The environment variables of a box, as lambda.md (b) lists them, and the first frame of those
 * that were started before anybody knew which function they would be. Loop thread.
 */
#include <stdio.h>

#include "invoke/invoke_int.h"

/* Variables that could change how an interpreter or the loader starts. */
static bool changes_start(const char *name)
{
	static const char *const prefixes[] = {"LD_", "PYTHON", "NODE_"};
	static const char *const names[] = {
	    "JAVA_TOOL_OPTIONS", "AWS_LAMBDA_EXEC_WRAPPER", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

void variables_reserved(const struct invoke_version *v, bool *ret_fresh)
{
	*ret_fresh = false;
	for (size_t i = 0; i < v->c.variable_count; i++)
		*ret_fresh |= changes_start(v->c.variables[i].name);
}

/* Both forms at once: "NAME=value\0" for exec, and JSON members for the frame. */
struct sink {
	struct buf *env, *json;
	uint32_t count;
};

static void put(struct sink *s, const char *name, const char *value)
{
	buf_printf(s->env, "%s=", name);
	buf_append(s->env, value, strlen(value) + 1);
	buf_putc(s->json, s->count++ ? ',' : '{');
	buf_json_string(s->json, str_from(name));
	buf_putc(s->json, ':');
	buf_json_string(s->json, str_from(value));
}

/* What the platform sets whatever runs, after what only its own interpreters need. */
static void put_fixed(struct sink *s, bool image)
{
	enum { FOR_ALL = 3 };
	static const char *const pairs[][2] = {
	    {"PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"},
	    {"LD_LIBRARY_PATH",
		"/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:"
		"/var/task/lib:/opt/lib"},
	    {"LANG", "en_US.UTF-8"},
	    {"TZ", ":UTC"},
	    {"LAMBDA_TASK_ROOT", "/var/task"},
	    {"LAMBDA_RUNTIME_DIR", "/var/runtime"},
	    {"AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"},
	    {"AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"},
	    {"AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"},
	    {"AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"},
	    {"_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"},
	    {"_AWS_XRAY_DAEMON_PORT", "2000"},
	};

	for (size_t i = image ? FOR_ALL : 0; i < ARRAY_SIZE(pairs); i++)
		put(s, pairs[i][0], pairs[i][1]);
}

static bool is_users(const struct invoke_version *v, struct str name)
{
	for (size_t i = 0; i < v->c.variable_count; i++)
		if (str_is(name, v->c.variables[i].name))
			return true;
	return false;
}

/* What the platform or the user sets must not be there twice. */
static void put_image(struct sink *s, const struct invoke_version *v)
{
	static const char *const ours[] = {"AWS_", "_AWS_", "_HANDLER", "LAMBDA_", "TZ"};
	bool path = is_users(v, STR("PATH"));

	for (const char *const *e = v->image->env; *e; e++) {
		struct str value = str_from(*e), name = str_cut(&value, '=');
		_cleanup_free_ char *copy = xstrndup(name.ptr, name.len);
		bool taken = !value.ptr || is_users(v, name);

		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			taken |= str_has_prefix(name, ours[i]);
		if (!taken)
			put(s, copy, value.ptr);
		path |= str_is(name, "PATH");
	}
	if (!path)
		put(s, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

static void put_function(struct sink *s, const struct environment *en)
{
	const struct invoke_version *v = en->version;
	char memory[16], execution[64], endpoint[64];

	snprintf(memory, sizeof(memory), "%u", v->c.memory_mb);
	snprintf(execution, sizeof(execution), "AWS_Lambda_%s", v->c.runtime);
	snprintf(
	    endpoint, sizeof(endpoint), "http://127.0.0.1:%s", v->function->iv->o.endpoint_port);
	put(s, "AWS_LAMBDA_FUNCTION_NAME", v->function->name);
	put(s, "AWS_LAMBDA_FUNCTION_VERSION", v->c.version);
	put(s, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory);
	put(s, "AWS_LAMBDA_LOG_GROUP_NAME", v->c.log_group);
	put(s, "AWS_LAMBDA_LOG_STREAM_NAME", en->stream_name);
	put(s, "AWS_REGION", v->function->region);
	put(s, "AWS_DEFAULT_REGION", v->function->region);
	put(s, "AWS_ENDPOINT_URL", endpoint);
	put(s, "_HANDLER", v->c.handler);
	if (v->c.runtime[0] && strncmp(v->c.runtime, "provided", 8) != 0)
		put(s, "AWS_EXECUTION_ENV", execution);
	if (v->c.log_json)
		put(s, "AWS_LAMBDA_LOG_FORMAT", "JSON");
}

void variables_build(struct environment *en, struct box_spec *spec, struct buf *env,
    struct buf *init_json, const struct invoke_keys *keys)
{
	const struct invoke_version *v = en->version;
	struct sink s = {.env = env, .json = init_json};

	buf_puts(init_json, "{\"handler\":");
	buf_json_string(init_json, str_from(v->c.handler));
	buf_puts(init_json, ",\"cwd\":\"/var/task\",\"env\":");
	put_fixed(&s, v->image);
	if (v->image)
		put_image(&s, v);
	put_function(&s, en);
	put(&s, "AWS_ACCESS_KEY_ID", keys->access_key_id);
	put(&s, "AWS_SECRET_ACCESS_KEY", keys->secret_access_key);
	put(&s, "AWS_SESSION_TOKEN", keys->session_token);
	/* The user's come last: what may be set by them wins. */
	for (size_t i = 0; i < v->c.variable_count; i++)
		put(&s, v->c.variables[i].name, v->c.variables[i].value);
	buf_puts(init_json, "}}");
	spec->env_count = s.count;
}
