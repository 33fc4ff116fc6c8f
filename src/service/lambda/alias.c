/* Aliases: names for versions, with part of the traffic sent to another one. Loop thread. */
#include <math.h>

#include "service/lambda/lambda_int.h"

static void describe(struct call *c, const struct item *it, struct lambda_alias_configuration *out)
{
	json_t *weights = json_object_get(it->doc, "Weights"), *weight;
	struct lambda_additional_version_weights_entry *entries;
	struct lambda_additional_version_weights *list;
	struct lambda_alias_routing_configuration *routing;
	const char *number;

	out->alias_arn = function_arn(c, it->function, it->name);
	out->name = call_str(c, it->name);
	out->function_version = call_str(c, doc_str(it->doc, "FunctionVersion"));
	out->description = call_str(c, doc_str(it->doc, "Description"));
	out->revision_id = call_str(c, doc_str(it->doc, "RevisionId"));
	if (!json_object_size(weights))
		return;
	entries = call_array(
	    c, json_object_size(weights), struct lambda_additional_version_weights_entry);
	list = call_new(c, struct lambda_additional_version_weights);
	json_object_foreach(weights, number, weight)
	{
		entries[list->count].key = call_str(c, number);
		entries[list->count++].value = json_number_value(weight);
	}
	list->entries = entries;
	routing = call_new(c, struct lambda_alias_routing_configuration);
	routing->additional_version_weights = list;
	out->routing_config = routing;
}

static void finish(struct change *ch)
{
	const struct item *it = item_find(&ch->function->aliases, ch->name);

	describe(ch->call, it, ch->call->out);
}

static int not_found(struct call *c, const struct function *f, const char *name, struct err *e)
{
	return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "Cannot find alias arn: %s",
	    function_arn(c, f, name));
}

/* ---- what an alias may point to ---- */

static int check_version(
    struct call *c, const struct function *f, const char *number, struct err *e)
{
	if (strcmp(number, LATEST) == 0 || (is_number(number) && version_by_qualifier(f, number)))
		return 0;
	return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "Function not found: %s",
	    function_arn(c, f, number));
}

static int check_weights(struct call *c, const struct function *f, const char *main_version,
    const struct lambda_additional_version_weights *weights, struct err *e)
{
	const char *other;

	if (!weights || !weights->count)
		return 0;
	if (weights->count > 1)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Number of items in AdditionalVersionWeights cannot be greater than 1");
	other = weights->entries[0].key;
	if (strcmp(main_version, LATEST) == 0)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "$LATEST is not supported for an alias pointing to more than 1 version");
	if (strcmp(other, main_version) == 0)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Invalid function version %s. Function version %s is already included in "
		    "routing configuration.",
		    other, other);
	if (!isfinite(weights->entries[0].value) || weights->entries[0].value < 0 ||
	    weights->entries[0].value > 1)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "A weight is a number from 0.0 to 1.0.");
	return check_version(c, f, other, e);
}

static void set_weights(json_t *doc, const struct lambda_alias_routing_configuration *routing)
{
	const struct lambda_additional_version_weights *weights =
	    routing ? routing->additional_version_weights : NULL;
	json_t *out;

	if (!routing)
		return;
	json_object_del(doc, "Weights");
	if (!weights || !weights->count)
		return;
	out = json_object();
	for (size_t i = 0; i < weights->count; i++)
		json_object_set_new(
		    out, weights->entries[i].key, json_real(weights->entries[i].value));
	json_object_set_new(doc, "Weights", out);
}

static int commit(struct call *c, struct function *f, const char *name, json_t *doc)
{
	struct change *ch = change_new(c, f, finish);

	doc_new_revision(doc);
	ch->name = name;
	change_put(ch, RECORD_ALIAS, name, doc);
	return change_commit(ch);
}

/* ---- operations ---- */

int lambda_create_alias(struct call *c, const struct lambda_create_alias_in *in,
    struct lambda_create_alias_out *out, struct err *e)
{
	struct function *f;
	struct ref ref;
	json_t *doc;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (item_find(&f->aliases, in->name))
		return call_fail(c, e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "Alias already exists: %s", function_arn(c, f, in->name));
	r = check_version(c, f, in->function_version, e);
	if (r == 0 && in->routing_config)
		r = check_weights(
		    c, f, in->function_version, in->routing_config->additional_version_weights, e);
	if (r < 0)
		return r;
	doc = json_object();
	doc_set_str(doc, "FunctionVersion", in->function_version);
	doc_set_str(doc, "Description", in->description ? in->description : "");
	set_weights(doc, in->routing_config);
	return commit(c, f, in->name, doc);
}

int lambda_get_alias(struct call *c, const struct lambda_get_alias_in *in,
    struct lambda_get_alias_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	if (r < 0)
		return r;
	it = item_find(&f->aliases, in->name);
	if (!it)
		return not_found(c, f, in->name, e);
	describe(c, it, out);
	return 0;
}

static int check_update(struct call *c, const struct function *f, const struct item *it,
    const struct lambda_update_alias_in *in, struct err *e)
{
	const char *target =
	    in->function_version ? in->function_version : doc_str(it->doc, "FunctionVersion");
	int r = config_check_revision(it->doc, in->revision_id, e);

	if (r == 0)
		r = check_version(c, f, target, e);
	if (r == 0 && in->routing_config)
		r = check_weights(c, f, target, in->routing_config->additional_version_weights, e);
	else if (r == 0 && json_object_get(json_object_get(it->doc, "Weights"), target))
		r = call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Invalid function version %s. Function version %s is already included in "
		    "routing configuration.",
		    target, target);
	return r;
}

int lambda_update_alias(struct call *c, const struct lambda_update_alias_in *in,
    struct lambda_update_alias_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref;
	json_t *doc;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	it = item_find(&f->aliases, in->name);
	if (!it)
		return not_found(c, f, in->name, e);
	r = check_update(c, f, it, in, e);
	if (r < 0)
		return r;
	doc = json_deep_copy(it->doc);
	if (in->function_version)
		doc_set_str(doc, "FunctionVersion", in->function_version);
	if (in->description)
		doc_set_str(doc, "Description", in->description);
	set_weights(doc, in->routing_config);
	return commit(c, f, in->name, doc);
}

/* What hangs on the alias goes with it: its URL, its policy, what its events become. */
int lambda_delete_alias(struct call *c, const struct lambda_delete_alias_in *in,
    struct lambda_delete_alias_out *out, struct err *e)
{
	struct change *ch;
	struct function *f;
	struct ref ref;
	int r = ref_resolve(c, in->function_name, NULL, &ref, e);

	(void)out;
	if (r < 0)
		return r;
	if (strcmp(ref.account, c->account) != 0)
		return function_of(c, in->function_name, NULL, &ref, &f, e);
	f = function_find(c->ctx, str_from(ref.account), str_from(ref.region), str_from(ref.name));
	if (f && f->busy)
		return change_wait(c, in, f);
	if (!f || !item_find(&f->aliases, in->name))
		return 0; /* as AWS: deleting what is not there has worked */
	ch = change_new(c, f, NULL);
	change_delete(ch, RECORD_ALIAS, in->name);
	if (item_find(&f->policies, in->name))
		change_delete(ch, RECORD_POLICY, in->name);
	if (item_find(&f->urls, in->name))
		change_delete(ch, RECORD_URL, in->name);
	if (item_find(&f->events, in->name))
		change_delete(ch, RECORD_EVENTS, in->name);
	return change_commit(ch);
}

int lambda_list_aliases(struct call *c, const struct lambda_list_aliases_in *in,
    struct lambda_list_aliases_out *out, struct err *e)
{
	struct lambda_alias_list *list = call_new(c, struct lambda_alias_list);
	size_t max =
	    in->max_items ? min_size((size_t)*in->max_items, LAMBDA_PAGE_MAX) : LAMBDA_PAGE_MAX;
	struct lambda_alias_configuration *items =
	    call_array(c, max, struct lambda_alias_configuration);
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	if (r < 0)
		return r;
	list->items = items;
	out->aliases = list;
	list_for_each (n, &f->aliases) {
		const struct item *it = list_entry(n, struct item, node);

		if (in->marker && strcmp(it->name, in->marker) <= 0)
			continue;
		if (in->function_version &&
		    strcmp(doc_str(it->doc, "FunctionVersion"), in->function_version) != 0 &&
		    !json_object_get(json_object_get(it->doc, "Weights"), in->function_version))
			continue;
		if (list->count == max) {
			out->next_marker = items[list->count - 1].name;
			break;
		}
		describe(c, it, &items[list->count++]);
	}
	return 0;
}
