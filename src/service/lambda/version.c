/*
 * Versions: $LATEST and what is published of it. A version becomes something that can be run when
 * its code is unpacked and its interpreter is there. Loop thread.
 */
#include <stdio.h>

#include "base/time.h"
#include "service/lambda/lambda_int.h"

const char *version_name(const struct version *v, char buf[24])
{
	if (v->number == 0)
		return LATEST;
	snprintf(buf, 24, "%" PRId64, v->number);
	return buf;
}

/* ---- running ---- */

static size_t make_variables(const json_t *doc, struct invoke_variable **ret)
{
	json_t *vars = json_object_get(doc, "Environment"), *value;
	struct invoke_variable *list = xcalloc(json_object_size(vars) + 1, sizeof(*list));
	const char *name;
	size_t n = 0;

	json_object_foreach(vars, name, value)
	{
		list[n].name = name;
		list[n++].value = json_string_value(value);
	}
	*ret = list;
	return n;
}

static bool has_python_variables(const struct invoke_variable *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strncmp(list[i].name, "PYTHON", 6) == 0)
			return true;
	}
	return false;
}

/* Its own program, or the one that its runtime is. False: that is no longer installed. */
static bool choose_program(const struct version *v, struct invoke_config *config)
{
	static struct runtime_choice choice; /* until the version has copied it */
	struct err e = ERR_INIT;

	if (code_is_image(v->code))
		return true;
	if (runtime_find(doc_str(v->doc, "Runtime"), v->function->region, &choice, &e) < 0)
		return false;
	config->runtime = doc_str(v->doc, "Runtime");
	config->runtime_version = choice.version;
	config->runtime_arn = choice.arn;
	config->program = has_python_variables(config->variables, config->variable_count)
			      ? choice.own_program
			      : choice.program;
	if (strncmp(config->runtime, "provided", 8) == 0 && layers_bootstrap(v))
		config->program = &layer_bootstrap;
	memcpy(config->code, code_hash(v->code), sizeof(config->code));
	return true;
}

void version_start(struct version *v)
{
	const json_t *doc = v->doc;
	struct invoke_variable *variables = NULL;
	struct invoke_config config;
	struct invoke_image image;
	struct arena arena;
	char number[24];

	if (v->run || !code_ready(v->code) || !layers_ready(v))
		return;
	config = (struct invoke_config){
	    .version = version_name(v, number),
	    .handler = doc_str(doc, "Handler"),
	    .role_arn = doc_str(doc, "Role"),
	    .log_group = doc_str(doc, "LogGroup"),
	    .log_json = strcmp(doc_str(doc, "LogFormat"), "JSON") == 0,
	    .memory_mb = (uint32_t)doc_int(doc, "MemorySize", 128),
	    .tmp_mb = (uint32_t)doc_int(doc, "TmpSize", 512),
	    .timeout_ms = doc_int(doc, "Timeout", 3) * 1000,
	};
	config.variable_count = make_variables(doc, &variables);
	config.variables = variables;
	config.layer_count = (uint32_t)v->layer_count;
	for (size_t i = 0; i < v->layer_count; i++)
		memcpy(config.layers[i], code_hash(v->layers[i]), sizeof(config.layers[i]));
	arena_init(&arena);
	if (code_is_image(v->code)) {
		code_image_config(v->code, doc, &arena, &image);
		config.image = &image;
	}
	if (choose_program(v, &config))
		v->run = invoke_version_new(v->function->run, &config);
	arena_done(&arena);
	free(variables);
}

const char *version_state(const struct version *v, const char **ret_code, const char **ret_reason)
{
	const char *why = code_why(v->code);

	if (v->run)
		return "Active";
	if (why) {
		*ret_code = code_is_image(v->code) ? "InvalidImage" : "InvalidZipFileException";
		*ret_reason = why[0] ? why : "The code could not be unpacked.";
		return "Failed";
	}
	if (!code_ready(v->code) || !layers_ready(v)) {
		*ret_code = "Restoring";
		*ret_reason = "The code is being unpacked again.";
		return "Pending";
	}
	*ret_code = "InvalidRuntime";
	*ret_reason = "The runtime is no longer installed on this server.";
	return "Failed";
}

/* ---- finding ---- */

static struct version *by_text(const struct function *f, const char *number)
{
	int64_t n;

	if (strcmp(number, LATEST) == 0)
		return f->latest;
	return str_to_int64(str_from(number), 1, INT64_MAX, &n) ? version_find(f, n) : NULL;
}

struct version *version_by_qualifier(const struct function *f, const char *qualifier)
{
	const struct item *alias;

	if (!qualifier || !qualifier[0] || strcmp(qualifier, LATEST) == 0)
		return f->latest;
	if (is_number(qualifier))
		return by_text(f, qualifier);
	alias = item_find(&f->aliases, qualifier);
	return alias ? by_text(f, doc_str(alias->doc, "FunctionVersion")) : NULL;
}

struct version *version_to_run(const struct function *f, const char *qualifier, uint64_t random)
{
	struct version *v = version_by_qualifier(f, qualifier);
	const struct item *alias = qualifier ? item_find(&f->aliases, qualifier) : NULL;
	json_t *weights = alias ? json_object_get(alias->doc, "Weights") : NULL, *weight;
	/* 53 bits, as many as a double holds: 0 <= at < 1. */
	double at = (double)(random >> 11) / 9007199254740992.0;
	const char *number;

	json_object_foreach(weights, number, weight)
	{
		if (at < json_number_value(weight))
			return by_text(f, number);
		at -= json_number_value(weight);
	}
	return v;
}

/* ---- publishing ---- */

void version_publish(struct change *ch, const json_t *latest, const char *description)
{
	const struct function *f = ch->function;
	const struct version *last =
	    f->published_count ? f->published[f->published_count - 1] : NULL;
	json_t *meta = NULL, *doc;
	char name[24];

	if (last && strcmp(doc_str(last->doc, "Content"), doc_str(latest, "Content")) == 0) {
		ch->number = last->number;
		return;
	}
	/* A new function's document is in this change already. */
	for (size_t i = 0; i < ch->count; i++) {
		if (ch->edits[i].kind == RECORD_FUNCTION)
			meta = ch->edits[i].doc;
	}
	if (!meta) {
		meta = function_doc_copy(f);
		change_put(ch, RECORD_FUNCTION, "", meta);
	}
	ch->number = doc_int(meta, "LastNumber", 0) + 1;
	doc_set_int(meta, "LastNumber", ch->number);
	doc = json_deep_copy(latest);
	doc_new_revision(doc);
	if (description)
		doc_set_str(doc, "Description", description);
	snprintf(name, sizeof(name), "%" PRId64, ch->number);
	change_put(ch, RECORD_VERSION, name, doc);
}

static void finish_publish(struct change *ch)
{
	const struct version *v = version_find(ch->function, ch->number);
	char name[24];

	describe_version(ch->call, v, version_name(v, name), DESCRIBE_NOW, ch->call->out);
}

static int check_publish(struct call *c, const struct function *f,
    const struct lambda_publish_version_in *in, struct err *e)
{
	struct lambda_function_configuration now;

	if (in->publish_to)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "PublishTo is not supported by this server: leave it out.");
	describe_version(c, f->latest, NULL, DESCRIBE_LISTED, &now);
	if (in->code_sha256 && in->code_sha256[0] && strcmp(in->code_sha256, now.code_sha256) != 0)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please "
		    "try again with the CodeSHA256 in $LATEST.",
		    in->code_sha256, now.code_sha256);
	return config_check_revision(f->latest->doc, in->revision_id, e);
}

int lambda_publish_version(struct call *c, const struct lambda_publish_version_in *in,
    struct lambda_publish_version_out *out, struct err *e)
{
	struct function *f;
	struct change *ch;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	r = check_publish(c, f, in, e);
	if (r < 0)
		return r;
	ch = change_new(c, f, finish_publish);
	version_publish(ch, f->latest->doc, in->description);
	if (ch->count)
		return change_commit(ch);
	finish_publish(ch); /* nothing new: the version that is there */
	change_cancel(ch);
	return 0;
}

int lambda_list_versions_by_function(struct call *c,
    const struct lambda_list_versions_by_function_in *in,
    struct lambda_list_versions_by_function_out *out, struct err *e)
{
	struct lambda_function_list *list = call_new(c, struct lambda_function_list);
	struct lambda_function_configuration *items;
	int64_t from = 0, max = LAMBDA_PAGE_MAX;
	struct function *f;
	struct ref ref;
	char name[24];
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	if (r < 0)
		return r;
	if (in->marker && in->marker[0] && !str_to_int64(str_from(in->marker), 1, INT64_MAX, &from))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Invalid Marker: give the NextMarker of the page before.");
	if (in->max_items && *in->max_items < max)
		max = *in->max_items;
	items = call_array(c, max, struct lambda_function_configuration);
	list->items = items;
	out->versions = list;
	if (from == 0)
		describe_version(c, f->latest, LATEST, DESCRIBE_LISTED, &items[list->count++]);
	for (size_t i = 0; i < f->published_count; i++) {
		const struct version *v = f->published[i];

		if (v->number < from)
			continue;
		if (list->count == (size_t)max) {
			out->next_marker = call_str(c, version_name(v, name));
			break;
		}
		describe_version(
		    c, v, version_name(v, name), DESCRIBE_LISTED, &items[list->count++]);
	}
	return 0;
}
