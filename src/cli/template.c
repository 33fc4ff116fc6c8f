/* Reading templates and carrying out their intrinsic functions. See template.h. */
#include "cli/template.h"

#include <fcntl.h>

#include "base/fd.h"
#include "cli/yaml.h"

#define FILE_LIMIT (1 << 20) /* as CloudFormation */

/* ---- reading ---- */

static int read_document(int dir, json_t **ret, struct err *e)
{
	static const char *const names[] = {"template.yaml", "template.yml", "template.json"};
	_cleanup_buf_ struct buf file = BUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r = fd_read_file(dir, names[i], FILE_LIMIT, &file);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return err_sys(e, -r, "reading %s", names[i]);
		*ret = yaml_parse(buf_str(&file), e);
		if (!*ret)
			return err_wrap(e, "%s", names[i]);
		return json_is_object(*ret) ? 0 : err_set(e, EINVAL, "%s: not a map", names[i]);
	}
	return -ENOENT;
}

/* Maps are merged, lists appended, anything else stays as the resource says. */
static void merge(json_t *into, const json_t *defaults)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)defaults, name, value)
	{
		json_t *own = json_object_get(into, name);

		if (!own) {
			json_object_set_new(into, name, json_deep_copy(value));
		} else if (json_is_object(own) && json_is_object(value)) {
			merge(own, value);
		} else if (json_is_array(own) && json_is_array(value)) {
			json_t *both = json_deep_copy(value);

			json_array_extend(both, own);
			json_object_set_new(into, name, both);
		}
	}
}

static int add_resource(
    struct template *t, const char *id, json_t *resource, const json_t *globals, struct err *e)
{
	const char *type = json_string_value(json_object_get(resource, "Type"));
	json_t *properties = json_object_get(resource, "Properties");

	if (!type)
		return err_set(e, EINVAL, "resource %s has no Type", id);
	if (json_object_get(resource, "Condition"))
		return err_set(e, EINVAL, "resource %s: conditions are not understood", id);
	if (t->count == TEMPLATE_RESOURCES_MAX)
		return err_set(e, EFBIG, "more than %d resources", TEMPLATE_RESOURCES_MAX);
	if (!properties) {
		properties = json_object();
		json_object_set_new(resource, "Properties", properties);
	}
	if (!json_is_object(properties))
		return err_set(e, EINVAL, "resource %s: Properties is not a map", id);
	if (!strcmp(type, "AWS::Serverless::Function"))
		merge(properties, json_object_get(globals, "Function"));
	t->resources = xrealloc(t->resources, (t->count + 1) * sizeof(*t->resources));
	t->resources[t->count++] = (struct template_resource){id, type, properties};
	return 0;
}

static int read_resources(struct template *t, struct err *e)
{
	json_t *resources = json_object_get(t->document, "Resources"), *resource;
	const json_t *globals = json_object_get(t->document, "Globals");
	const char *id;
	int r = 0;

	if (!json_object_size(resources))
		return err_set(e, EINVAL, "the template has no Resources");
	json_object_foreach(resources, id, resource)
	{
		if (r == 0)
			r = add_resource(t, id, resource, globals, e);
	}
	return r;
}

int template_read(const char *path, struct template *ret, struct err *e)
{
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct template t = {.values = json_object()};
	int r;

	if (dir < 0)
		r = err_sys(e, errno, "opening %s", path);
	else
		r = read_document(dir, &t.document, e);
	if (r == 0)
		r = read_resources(&t, e);
	if (r < 0)
		template_done(&t);
	else
		*ret = t;
	return r;
}

void template_done(struct template *t)
{
	json_decref(t->document);
	json_decref(t->values);
	free(t->resources);
	*t = (struct template){NULL};
}

/* ---- values ---- */

void template_define(struct template *t, const char *id, const char *attribute, const char *value)
{
	json_t *all = json_object_get(t->values, id);

	if (!all) {
		all = json_object();
		json_object_set_new(t->values, id, all);
	}
	json_object_set_new(all, attribute, json_string(value));
}

static char *text_of(const json_t *v)
{
	if (json_is_string(v))
		return xstrdup(json_string_value(v));
	if (json_is_boolean(v))
		return xstrdup(json_is_true(v) ? "true" : "false");
	if (json_is_number(v))
		return json_dumps(v, JSON_ENCODE_ANY);
	return NULL;
}

static const char *given_value(const struct cli_list *given, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = given->count; i-- > 0;) {
		if (!strncmp(given->items[i], name, len) && given->items[i][len] == '=')
			return given->items[i] + len + 1;
	}
	return NULL;
}

static int check_given(const json_t *parameters, const struct cli_list *given, struct err *e)
{
	for (size_t i = 0; i < given->count; i++) {
		struct str rest = str_from(given->items[i]), name = str_cut(&rest, '=');
		_cleanup_free_ char *key = xstrndup(name.ptr, name.len);

		if (!rest.ptr)
			return err_set(
			    e, EINVAL, "--parameter takes NAME=VALUE, not %s", given->items[i]);
		if (!json_object_get(parameters, key))
			return err_set(e, EINVAL, "the template has no parameter %s", key);
	}
	return 0;
}

int template_parameters(struct template *t, const struct cli_list *given, struct err *e)
{
	json_t *parameters = json_object_get(t->document, "Parameters"), *parameter;
	const char *name;
	int r = check_given(parameters, given, e);

	if (r < 0)
		return r;
	json_object_foreach(parameters, name, parameter)
	{
		_cleanup_free_ char *fallback = text_of(json_object_get(parameter, "Default"));
		const char *value = given_value(given, name);

		if (!value && !fallback)
			return err_set(e, EINVAL, "parameter %s has no value: --parameter %s=VALUE",
			    name, name);
		template_define(t, name, "Ref", value ? value : fallback);
	}
	return 0;
}

static const char *look_up(
    const struct template *t, const char *id, const char *attribute, struct err *e)
{
	const char *v =
	    json_string_value(json_object_get(json_object_get(t->values, id), attribute));

	if (v)
		return v;
	if (!strcmp(attribute, "Ref"))
		err_set(e, EINVAL, "!Ref %s: there is no such resource or parameter here", id);
	else
		err_set(e, EINVAL, "!GetAtt %s.%s: there is no such attribute here", id, attribute);
	return NULL;
}

/* ---- intrinsic functions ---- */

static json_t *ref(const struct template *t, const json_t *v, struct err *e)
{
	const char *id = json_string_value(v), *text;

	if (id && !strcmp(id, "AWS::NoValue"))
		return json_null();
	text = id ? look_up(t, id, "Ref", e) : NULL;
	if (!id)
		err_set(e, EINVAL, "Ref needs the name of a resource or parameter");
	return text ? json_string(text) : NULL;
}

static json_t *get_att(const struct template *t, const json_t *v, struct err *e)
{
	const char *id, *attribute, *text = NULL;

	if (json_unpack((json_t *)(uintptr_t)v, "[s,s]", &id, &attribute) == 0)
		text = look_up(t, id, attribute, e);
	else
		err_set(e, EINVAL, "Fn::GetAtt needs a resource and an attribute");
	return text ? json_string(text) : NULL;
}

/* What ${name} stands for: a variable of this Sub, a Ref, or a GetAtt where there is a dot. */
static int substitute(
    const struct template *t, const char *name, const json_t *own, struct buf *out, struct err *e)
{
	_cleanup_free_ char *text = text_of(json_object_get(own, name)), *id = NULL;
	const char *dot = strchr(name, '.'), *v;

	if (text) {
		buf_puts(out, text);
		return 0;
	}
	id = xstrndup(name, dot ? (size_t)(dot - name) : strlen(name));
	v = look_up(t, id, dot ? dot + 1 : "Ref", e);
	if (!v)
		return -EINVAL;
	buf_puts(out, v);
	return 0;
}

static json_t *sub_text(
    const struct template *t, const char *text, const json_t *own, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT;

	while (*text) {
		const char *open = strstr(text, "${"), *close = open ? strchr(open, '}') : NULL;
		_cleanup_free_ char *name = NULL;

		if (!close) {
			buf_puts(&out, text);
			break;
		}
		buf_append(&out, text, (size_t)(open - text));
		text = close + 1;
		if (open[2] == '!') { /* ${!x} is the text ${x} */
			buf_puts(&out, "${");
			buf_append(&out, open + 3, (size_t)(text - open - 3));
			continue;
		}
		name = xstrndup(open + 2, (size_t)(close - open - 2));
		if (substitute(t, name, own, &out, e) < 0)
			return NULL;
	}
	return json_stringn(buf_str(&out).ptr, buf_len(&out));
}

static json_t *sub(const struct template *t, const json_t *v, struct err *e)
{
	const char *text = json_string_value(json_is_array(v) ? json_array_get(v, 0) : v);
	json_t *own, *out;

	if (!text) {
		err_set(e, EINVAL, "Fn::Sub needs a text");
		return NULL;
	}
	own = json_is_array(v) ? template_resolve(t, json_array_get(v, 1), e) : json_object();
	if (!own)
		return NULL;
	out = sub_text(t, text, own, e);
	json_decref(own);
	return out;
}

static json_t *join_list(const char *separator, const json_t *list, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		_cleanup_free_ char *text = text_of(item);

		if (!text) {
			err_set(e, EINVAL, "Fn::Join joins texts only");
			return NULL;
		}
		if (i)
			buf_puts(&out, separator);
		buf_puts(&out, text);
	}
	return json_stringn(buf_str(&out).ptr, buf_len(&out));
}

static json_t *join(const struct template *t, const json_t *v, struct err *e)
{
	const char *separator = json_string_value(json_array_get(v, 0));
	json_t *list, *out;

	if (!separator || json_array_size(v) != 2) {
		err_set(e, EINVAL, "Fn::Join needs a separator and a list");
		return NULL;
	}
	list = template_resolve(t, json_array_get(v, 1), e);
	out = list ? join_list(separator, list, e) : NULL;
	json_decref(list);
	return out;
}

static const struct intrinsic {
	const char *name;
	json_t *(*run)(const struct template *t, const json_t *v, struct err *e);
} intrinsics[] = {{"Ref", ref}, {"Fn::GetAtt", get_att}, {"Fn::Sub", sub}, {"Fn::Join", join}};

/* ---- whole values ---- */

static json_t *resolve_list(const struct template *t, const json_t *v, struct err *e)
{
	json_t *out = json_array(), *item;
	size_t i;

	json_array_foreach(v, i, item)
	{
		json_t *one = template_resolve(t, item, e);

		if (!one) {
			json_decref(out);
			return NULL;
		}
		if (json_is_null(one))
			json_decref(one);
		else
			json_array_append_new(out, one);
	}
	return out;
}

static json_t *resolve_map(const struct template *t, const json_t *v, struct err *e)
{
	json_t *out = json_object(), *item;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)v, name, item)
	{
		json_t *one = template_resolve(t, item, e);

		if (!one) {
			json_decref(out);
			return NULL;
		}
		if (json_is_null(one))
			json_decref(one);
		else
			json_object_set_new(out, name, one);
	}
	return out;
}

json_t *template_resolve(const struct template *t, const json_t *v, struct err *e)
{
	void *first;
	const char *name;

	if (json_is_array(v))
		return resolve_list(t, v, e);
	if (!json_is_object(v))
		return v ? json_deep_copy(v) : json_null();
	first = json_object_iter((json_t *)(uintptr_t)v);
	name = first ? json_object_iter_key(first) : "";
	if (json_object_size(v) == 1 && (!strcmp(name, "Ref") || !strncmp(name, "Fn::", 4))) {
		for (size_t i = 0; i < ARRAY_SIZE(intrinsics); i++) {
			if (!strcmp(intrinsics[i].name, name))
				return intrinsics[i].run(t, json_object_iter_value(first), e);
		}
		err_set(
		    e, EINVAL, "%s is not understood here; Ref, GetAtt, Sub and Join are", name);
		return NULL;
	}
	return resolve_map(t, v, e);
}
