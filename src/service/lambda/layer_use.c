/*
 * Layers as functions use them: at most five, merged below /opt in their order, 250 MB unpacked
 * together with the function's own code. A function's version names the content, so that it goes on
 * when the layer's version is deleted. Loop thread.
 */
#include <unistd.h>

#include "service/lambda/layer_int.h"

static int refuse_missing(struct call *c, const char *arn, struct err *e)
{
	return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    "Layer version %s does not exist.", arn);
}

static int find(struct call *c, const char *arn, const struct layer_version **ret, struct err *e)
{
	const struct layer *y;
	struct layer_ref ref;

	if (!layer_parse(c, arn, &ref) || !ref.number)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "'%s' is not the ARN of a layer version.", arn);
	if (strcmp(ref.region, c->region) != 0)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Layers from '%s' are not reachable from '%s': give a layer of region %s.",
		    ref.region, c->region, c->region);
	y = layer_by_ref(c, &ref);
	*ret = y ? layer_version_find(y, ref.number) : NULL;
	if (!*ret)
		return refuse_missing(c, arn, e);
	if (!layer_visible(c, *ret))
		return call_fail(c, e, AWS_ACCESS_DENIED,
		    "User: %s is not authorized to perform: lambda:GetLayerVersion on resource: %s "
		    "because no resource-based policy allows the lambda:GetLayerVersion action",
		    c->principal.arn, arn);
	return 0;
}

static int check_distinct(
    struct call *c, const struct layer_version *const *found, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = i + 1; k < count; k++)
			if (found[i]->layer == found[k]->layer)
				return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
				    "Two different versions of the same layer are not allowed to "
				    "be referenced in the same function. %s and %s.",
				    layer_version_arn(c, found[i]), layer_version_arn(c, found[k]));
	return 0;
}

static json_t *entry_of(struct call *c, const struct layer_version *v)
{
	return json_pack("{s:s,s:s,s:I,s:I}", "Arn", layer_version_arn(c, v), "CodeHash",
	    doc_str(v->doc, "CodeHash"), "CodeSize", (json_int_t)doc_int(v->doc, "CodeSize", 0),
	    "UnzippedSize", (json_int_t)doc_int(v->doc, "UnzippedSize", 0));
}

int layers_find(struct call *c, const struct lambda_layer_list *wanted, json_t **ret, struct err *e)
{
	const struct layer_version *found[LAYERS_MAX];

	*ret = NULL;
	if (!wanted)
		return 0;
	if (wanted->count > LAYERS_MAX)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Cannot reference more than %d layers.", LAYERS_MAX);
	for (size_t i = 0; i < wanted->count; i++)
		if (find(c, wanted->items[i], &found[i], e) < 0)
			return -EINVAL;
	if (check_distinct(c, found, wanted->count, e) < 0)
		return -EINVAL;
	*ret = json_array();
	for (size_t i = 0; i < wanted->count; i++)
		json_array_append_new(*ret, entry_of(c, found[i]));
	return 0;
}

int layers_merge(struct call *c, json_t *doc, const struct lambda_layer_list *wanted, struct err *e)
{
	int64_t total = doc_int(doc, "UnzippedSize", doc_int(doc, "CodeSize", 0));
	json_t *list, *one;
	size_t i;

	if (layers_find(c, wanted, &list, e) < 0)
		return -EINVAL;
	if (list && json_array_size(list))
		json_object_set(doc, "Layers", list);
	else if (list)
		json_object_del(doc, "Layers");
	json_decref(list);
	json_array_foreach(json_object_get(doc, "Layers"), i, one)
	{
		total += doc_int(one, "UnzippedSize", 0);
	}
	if (total <= LAMBDA_UNZIPPED_MAX || !json_object_get(doc, "Layers"))
		return 0;
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    "Function code combined with layers exceeds the maximum allowed size of %d bytes. The "
	    "actual size is %" PRId64 " bytes.",
	    LAMBDA_UNZIPPED_MAX, total);
}

const struct lambda_layers_reference_list *layers_describe(struct call *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "Layers");
	struct lambda_layers_reference_list *out = call_new(c, struct lambda_layers_reference_list);
	struct lambda_layer *items = call_array(c, json_array_size(list) + 1, struct lambda_layer);

	if (!list)
		return NULL;
	for (; out->count < json_array_size(list); out->count++) {
		const json_t *one = json_array_get(list, out->count);

		items[out->count].arn = call_str(c, doc_str(one, "Arn"));
		items[out->count].code_size = call_int(c, doc_int(one, "CodeSize", 0));
	}
	out->items = items;
	return out;
}

/* ---- what a version holds ---- */

void layers_hold(struct version *v)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(v->doc, "Layers"), i, one)
	{
		const char *hex = doc_str(one, "CodeHash");

		if (hex && strlen(hex) == 64 && v->layer_count < WIRE_LAYERS_MAX)
			v->layers[v->layer_count++] = code_load(v->function->lambda, hex);
	}
}

void layers_release(struct version *v)
{
	for (size_t i = 0; i < v->layer_count; i++)
		code_unref(v->layers[i]);
	v->layer_count = 0;
}

bool layers_ready(const struct version *v)
{
	for (size_t i = 0; i < v->layer_count; i++)
		if (!code_ready(v->layers[i]))
			return false;
	return true;
}

static bool has_bootstrap(const struct lambda *l, const struct code *k)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/bootstrap", l->o.code_dir, code_hex(k));

	return access(path, F_OK) == 0;
}

bool layers_bootstrap(const struct version *v)
{
	const struct lambda *l = v->function->lambda;

	if (!l->o.code_dir || !v->layer_count || has_bootstrap(l, v->code))
		return false;
	for (size_t i = 0; i < v->layer_count; i++)
		if (has_bootstrap(l, v->layers[i]))
			return true;
	return false;
}

bool layers_use(const struct version *v, const struct code *k)
{
	for (size_t i = 0; i < v->layer_count; i++)
		if (v->layers[i] == k)
			return true;
	return false;
}
