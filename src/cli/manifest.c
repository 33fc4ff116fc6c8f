/* Reading mayfly.json and guessing what it leaves out. See manifest.h. */
#include "cli/manifest.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"

#define FILE_LIMIT (1 << 20)
#define NODE_RUNTIME "nodejs20.x"
#define PYTHON_RUNTIME "python3.11"

/* What a directory is when it holds this file. */
static const struct guess {
	const char *file, *runtime, *handler;
} guesses[] = {
    {"bootstrap", "provided.al2023", "bootstrap"},
    {"index.mjs", NODE_RUNTIME, "index.handler"},
    {"index.js", NODE_RUNTIME, "index.handler"},
    {"index.cjs", NODE_RUNTIME, "index.handler"},
    {"lambda_function.py", PYTHON_RUNTIME, "lambda_function.lambda_handler"},
    {"app.py", PYTHON_RUNTIME, "app.handler"},
    {"handler.py", PYTHON_RUNTIME, "handler.handler"},
};

/* Members that go to the server as they are. */
static const char *const passed[] = {
    "Architectures",
    "DeadLetterConfig",
    "Description",
    "EphemeralStorage",
    "Handler",
    "Layers",
    "LoggingConfig",
    "MemorySize",
    "Runtime",
    "Timeout",
    "TracingConfig",
};

void manifest_done(struct manifest *m)
{
	free(m->name);
	free(m->url);
	free(m->role);
	json_decref(m->config);
	*m = (struct manifest){NULL};
}

static bool is_passed(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		if (!strcmp(passed[i], name))
			return true;
	}
	return false;
}

static int take_text(char **at, const char *name, const json_t *value, struct err *e)
{
	if (!json_is_string(value))
		return err_set(e, EINVAL, "mayfly.json: %s must be a string", name);
	free(*at);
	*at = xstrdup(json_string_value(value));
	return 0;
}

/* Lambda has the variables one level down; a flat map of them is what people write. */
static int take_environment(struct manifest *m, json_t *value, struct err *e)
{
	json_t *inner = json_object_get(value, "Variables"), *text;
	const char *name;

	inner = json_is_object(inner) || json_is_array(inner) ? inner : value;
	if (!json_is_object(inner))
		return err_set(e, EINVAL, "mayfly.json: Environment must be an object of strings");
	json_object_foreach(inner, name, text)
	{
		if (!json_is_string(text))
			return err_set(
			    e, EINVAL, "mayfly.json: variable %s must be a string", name);
	}
	return json_object_set_new(
	    m->config, "Environment", json_pack("{s:O}", "Variables", inner));
}

static int take_member(struct manifest *m, const char *name, json_t *value, struct err *e)
{
	if (!strcmp(name, "FunctionName"))
		return take_text(&m->name, name, value, e);
	if (!strcmp(name, "Role"))
		return take_text(&m->role, name, value, e);
	if (!strcmp(name, "Url"))
		return take_text(&m->url, name, value, e);
	if (!strcmp(name, "Environment"))
		return take_environment(m, value, e);
	if (!is_passed(name))
		return err_set(
		    e, EINVAL, "mayfly.json: there is no member %s; mayfly(1) lists them", name);
	return json_object_set(m->config, name, value);
}

static int read_file(struct manifest *m, int dir, struct err *e)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	json_error_t why;
	json_t *o, *value;
	const char *name;
	int r = fd_read_file(dir, "mayfly.json", FILE_LIMIT, &file);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(e, -r, "reading mayfly.json");
	o = json_loadb(buf_str(&file).ptr, buf_len(&file), JSON_REJECT_DUPLICATES, &why);
	if (!o)
		return err_set(e, EINVAL, "mayfly.json, line %d: %s", why.line, why.text);
	r = json_is_object(o) ? 0 : err_set(e, EINVAL, "mayfly.json: not an object");
	json_object_foreach(o, name, value)
	{
		if (r == 0)
			r = take_member(m, name, value, e);
	}
	json_decref(o);
	return r;
}

/* A Python file whose handler is called otherwise than the guess says is common: look for both. */
static const char *python_handler(int dir, const struct guess *g)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	bool both = fd_read_file(dir, g->file, FILE_LIMIT, &file) == 0;
	struct str s = buf_str(&file);
	bool lambda = both && memmem(s.ptr, s.len, "def lambda_handler(", 19);
	bool plain = both && memmem(s.ptr, s.len, "def handler(", 12);

	if (!strcmp(g->file, "lambda_function.py") && plain && !lambda)
		return "lambda_function.handler";
	if (!strcmp(g->file, "app.py") && lambda && !plain)
		return "app.lambda_handler";
	if (!strcmp(g->file, "handler.py") && lambda && !plain)
		return "handler.lambda_handler";
	return g->handler;
}

static void guess_code(struct manifest *m, int dir)
{
	const char *runtime = json_string_value(json_object_get(m->config, "Runtime"));

	for (size_t i = 0; i < ARRAY_SIZE(guesses); i++) {
		const struct guess *g = &guesses[i];
		bool python = strstr(g->file, ".py");

		if (faccessat(dir, g->file, R_OK, 0) < 0 ||
		    (runtime && strncmp(runtime, g->runtime, 6)))
			continue;
		if (!runtime)
			json_object_set_new(m->config, "Runtime", json_string(g->runtime));
		if (!json_object_get(m->config, "Handler"))
			json_object_set_new(m->config, "Handler",
			    json_string(python ? python_handler(dir, g) : g->handler));
		return;
	}
}

/* With '-' for what a function's name may not hold. */
char *manifest_guess_name(const char *dir)
{
	_cleanup_free_ char *whole = realpath(dir, NULL);
	const char *slash = whole ? strrchr(whole, '/') : NULL;
	char *name = xstrdup(slash ? slash + 1 : "");

	for (char *c = name; *c; c++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *c))
			*c = '-';
	}
	if (strlen(name) > 64)
		name[64] = '\0';
	return name;
}

static void override_text(char **at, const char *value)
{
	if (!value)
		return;
	free(*at);
	*at = xstrdup(value);
}

static int override_env(json_t *config, const struct cli_list *env, struct err *e)
{
	json_t *o = json_object_get(config, "Environment"), *variables;

	if (!env->count)
		return 0;
	if (!o) {
		o = json_pack("{s:{}}", "Variables");
		json_object_set_new(config, "Environment", o);
	}
	variables = json_object_get(o, "Variables");
	for (size_t i = 0; i < env->count; i++) {
		struct str value = str_from(env->items[i]), name = str_cut(&value, '=');
		_cleanup_free_ char *key = xstrndup(name.ptr, name.len);

		if (!value.ptr || !name.len)
			return err_set(e, EINVAL, "--env takes NAME=VALUE, not %s", env->items[i]);
		json_object_set_new(variables, key, json_stringn(value.ptr, value.len));
	}
	return 0;
}

static int override_all(struct manifest *m, const struct manifest_overrides *o, struct err *e)
{
	override_text(&m->name, o->name);
	override_text(&m->url, o->url);
	override_text(&m->role, o->role);
	if (o->runtime)
		json_object_set_new(m->config, "Runtime", json_string(o->runtime));
	if (o->handler)
		json_object_set_new(m->config, "Handler", json_string(o->handler));
	if (o->memory_mb)
		json_object_set_new(m->config, "MemorySize", json_integer(o->memory_mb));
	if (o->timeout_s)
		json_object_set_new(m->config, "Timeout", json_integer(o->timeout_s));
	return override_env(m->config, &o->env, e);
}

static int complete(struct manifest *m, const char *path, int dir, struct err *e)
{
	guess_code(m, dir);
	if (!m->name)
		m->name = manifest_guess_name(path);
	if (!*m->name)
		return err_set(e, EINVAL, "the function needs a name: --name NAME");
	if (!json_object_get(m->config, "Runtime"))
		return err_set(e, EINVAL,
		    "cannot tell which runtime %s is for: it has no bootstrap, index.mjs, "
		    "index.js, "
		    "lambda_function.py, app.py or handler.py; give --runtime and --handler",
		    path);
	if (!json_object_get(m->config, "Handler"))
		return err_set(
		    e, EINVAL, "cannot tell the handler of %s: give --handler FILE.NAME", path);
	if (m->url && strcmp(m->url, "NONE") && strcmp(m->url, "AWS_IAM"))
		return err_set(e, EINVAL, "Url must be NONE or AWS_IAM, not %s", m->url);
	return 0;
}

int manifest_complete(struct manifest *m, const char *path, struct err *e)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? err_sys(e, errno, "opening %s", path) : complete(m, path, dir, e);
}

int manifest_read(
    const char *path, const struct manifest_overrides *o, struct manifest *ret, struct err *e)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct manifest m = {.config = json_object()};
	int r;

	if (dir < 0) {
		manifest_done(&m);
		return err_sys(e, errno, "opening %s", path);
	}
	r = read_file(&m, dir, e);
	if (r == 0)
		r = override_all(&m, o, e);
	if (r == 0)
		r = complete(&m, path, dir, e);
	if (r < 0)
		manifest_done(&m);
	else
		*ret = m;
	return r;
}
