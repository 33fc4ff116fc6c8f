/* Documents as answers: a function's configuration in the shape of the API. Loop thread. */
#include <stdio.h>

#include "service/lambda/lambda_int.h"

static const struct lambda_environment_response *environment(struct call *c, const json_t *doc)
{
	json_t *vars = json_object_get(doc, "Environment"), *value;
	struct lambda_environment_response *out;
	struct lambda_environment_variables_entry *entries;
	struct lambda_environment_variables *list;
	const char *name;
	size_t i = 0;

	if (!vars)
		return NULL;
	entries = call_array(c, json_object_size(vars), struct lambda_environment_variables_entry);
	json_object_foreach(vars, name, value)
	{
		entries[i].key = call_str(c, name);
		entries[i++].value = call_str(c, json_string_value(value));
	}
	list = call_new(c, struct lambda_environment_variables);
	list->count = i;
	list->entries = entries;
	out = call_new(c, struct lambda_environment_response);
	out->variables = list;
	return out;
}

static const struct lambda_logging_config *logging(struct call *c, const json_t *doc)
{
	struct lambda_logging_config *out = call_new(c, struct lambda_logging_config);

	out->log_format = call_str(c, doc_str(doc, "LogFormat"));
	out->log_group = call_str(c, doc_str(doc, "LogGroup"));
	out->application_log_level = call_str(c, doc_str(doc, "ApplicationLogLevel"));
	out->system_log_level = call_str(c, doc_str(doc, "SystemLogLevel"));
	return out;
}

static void put_state(struct call *c, const struct version *v, enum describe_phase phase,
    struct lambda_function_configuration *out)
{
	const char *code = NULL, *reason = NULL;

	if (phase == DESCRIBE_LISTED)
		return;
	out->state = call_str(c, version_state(v, &code, &reason));
	out->state_reason = call_str(c, reason);
	out->state_reason_code = call_str(c, code);
	out->last_update_status = "Successful";
	if (phase == DESCRIBE_CREATED) {
		out->state = "Pending";
		out->state_reason = "The function is being created.";
		out->state_reason_code = "Creating";
		out->last_update_status = NULL;
	} else if (phase == DESCRIBE_UPDATED) {
		out->last_update_status = "InProgress";
		out->last_update_status_reason = "The function is being created.";
		out->last_update_status_reason_code = "Creating";
	}
}

static void put_constants(
    struct call *c, const json_t *doc, struct lambda_function_configuration *out)
{
	struct lambda_ephemeral_storage *storage = call_new(c, struct lambda_ephemeral_storage);
	struct lambda_snap_start_response *snap = call_new(c, struct lambda_snap_start_response);
	struct lambda_tracing_config_response *tracing =
	    call_new(c, struct lambda_tracing_config_response);
	struct lambda_architectures_list *archs = call_new(c, struct lambda_architectures_list);
	const char **arch = call_array(c, 1, const char *);

#if defined(__aarch64__)
	arch[0] = "arm64";
#else
	arch[0] = "x86_64";
#endif
	archs->count = 1;
	archs->items = arch;
	out->architectures = archs;
	storage->size = call_int(c, doc_int(doc, "TmpSize", 512));
	out->ephemeral_storage = storage;
	snap->apply_on = "None";
	snap->optimization_status = "Off";
	out->snap_start = snap;
	tracing->mode = call_str(c, doc_str(doc, "Tracing"));
	out->tracing_config = tracing;
	out->package_type = doc_str(doc, "ResolvedUri") ? "Image" : "Zip";
}

static const struct lambda_dead_letter_config *dead_letter(struct call *c, const json_t *doc)
{
	struct lambda_dead_letter_config *out;

	if (!doc_str(doc, "DeadLetter"))
		return NULL;
	out = call_new(c, struct lambda_dead_letter_config);
	out->target_arn = call_str(c, doc_str(doc, "DeadLetter"));
	return out;
}

static const struct lambda_runtime_version_config *runtime_version(
    struct call *c, const struct version *v)
{
	struct runtime_choice choice;
	struct lambda_runtime_version_config *out;
	struct err e = ERR_INIT;

	if (code_is_image(v->code))
		return NULL;
	if (runtime_find(doc_str(v->doc, "Runtime"), v->function->region, &choice, &e) < 0)
		return NULL;
	out = call_new(c, struct lambda_runtime_version_config);
	out->runtime_version_arn = call_str(c, choice.arn);
	return out;
}

static const struct lambda_string_list *strings(struct call *c, const json_t *list)
{
	struct lambda_string_list *out = call_new(c, struct lambda_string_list);
	const char **items = call_array(c, json_array_size(list), const char *);

	for (size_t i = 0; i < json_array_size(list); i++)
		items[i] = call_str(c, json_string_value(json_array_get(list, i)));
	out->count = json_array_size(list);
	out->items = items;
	return out->count ? out : NULL;
}

static const struct lambda_image_config_response *image_config_of(struct call *c, const json_t *doc)
{
	const json_t *own = json_object_get(doc, "ImageConfig");
	struct lambda_image_config_response *out;
	struct lambda_image_config *config;

	if (!own)
		return NULL;
	config = call_new(c, struct lambda_image_config);
	config->entry_point = strings(c, json_object_get(own, "EntryPoint"));
	config->command = strings(c, json_object_get(own, "Command"));
	config->working_directory = call_str(c, doc_str(own, "WorkingDirectory"));
	out = call_new(c, struct lambda_image_config_response);
	out->image_config = config;
	return out;
}

const char *code_sha256_base64(struct call *c, const json_t *doc)
{
	uint8_t hash[WIRE_HASH_SIZE];
	char text[BASE64_ENCODED_SIZE(WIRE_HASH_SIZE)];

	if (doc_str(doc, "ResolvedUri")) /* of images it is no base64 */
		return call_str(c, doc_str(doc, "CodeHash"));
	if (!hex_decode(str_from(doc_str(doc, "CodeHash")), hash, sizeof(hash)))
		return NULL;
	base64_encode(hash, sizeof(hash), text);
	return call_str(c, text);
}

void describe_version(struct call *c, const struct version *v, const char *qualifier,
    enum describe_phase phase, struct lambda_function_configuration *out)
{
	const json_t *doc = v->doc;
	char number[24];

	*out = (struct lambda_function_configuration){
	    .function_name = call_str(c, v->function->name),
	    .function_arn = function_arn(c, v->function, qualifier),
	    .runtime = call_str(c, doc_str(doc, "Runtime")),
	    .role = call_str(c, doc_str(doc, "Role")),
	    .handler = call_str(c, doc_str(doc, "Handler")),
	    .code_size = call_int(c, doc_int(doc, "CodeSize", 0)),
	    .code_sha256 = code_sha256_base64(c, doc),
	    .description = call_str(c, doc_str(doc, "Description")),
	    .timeout = call_int(c, doc_int(doc, "Timeout", 3)),
	    .memory_size = call_int(c, doc_int(doc, "MemorySize", 128)),
	    .last_modified = call_str(c, doc_str(doc, "LastModified")),
	    .version = call_str(c, version_name(v, number)),
	    .revision_id = call_str(c, doc_str(doc, "RevisionId")),
	    .environment = environment(c, doc),
	    .logging_config = logging(c, doc),
	    .dead_letter_config = dead_letter(c, doc),
	    .layers = layers_describe(c, doc),
	};
	if (phase != DESCRIBE_LISTED)
		out->runtime_version_config = runtime_version(c, v);
	put_constants(c, doc, out);
	out->image_config_response = image_config_of(c, doc);
	put_state(c, v, phase, out);
}

const struct lambda_tags *describe_tag_map(struct call *c, json_t *tags)
{
	json_t *value;
	struct lambda_tags *out = call_new(c, struct lambda_tags);
	struct lambda_tags_entry *entries =
	    call_array(c, json_object_size(tags) + 1, struct lambda_tags_entry);
	const char *key;

	json_object_foreach(tags, key, value)
	{
		entries[out->count].key = call_str(c, key);
		entries[out->count++].value = call_str(c, json_string_value(value));
	}
	out->entries = entries;
	return out;
}

const struct lambda_tags *describe_tags(struct call *c, const struct function *f)
{
	return describe_tag_map(c, json_object_get(f->doc, "Tags"));
}

static int by_name(const void *a, const void *b)
{
	const struct function *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

struct function **describe_sorted(struct call *c, size_t *ret_count)
{
	struct lambda *l = c->ctx;
	struct function **all = call_array(c, l->functions.count + 1, struct function *);
	size_t n = 0;

	map_for_each (&l->functions, entry) {
		struct function *f = entry->value;

		if (f->doc && strcmp(f->account, c->account) == 0 &&
		    strcmp(f->region, c->region) == 0)
			all[n++] = f;
	}
	qsort(all, n, sizeof(struct function *), by_name);
	*ret_count = n;
	return all;
}
