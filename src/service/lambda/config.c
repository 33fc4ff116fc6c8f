/*
 * Configuration as clients ask for it: what is refused and in which words, what it becomes in a
 * function's document. What this server cannot do is refused, not stored in silence. Loop thread.
 */
#include "base/time.h"
#include "service/lambda/lambda_int.h"

#define ENVIRONMENT_MAX 4096

static int refuse(struct err *e, const char *text)
{
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", text);
}

/* ---- environment variables ---- */

static bool is_reserved(const char *name)
{
	static const char *const names[] = {"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION",
	    "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
	    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
	    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
	    "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_ACCESS_KEY",
	    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
	    "AWS_SECURITY_TOKEN", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
	    "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static int check_reserved(
    struct call *c, const struct lambda_environment_variables *vars, struct err *e)
{
	struct buf b = BUF_INIT;
	int r = 0;

	for (size_t i = 0; i < vars->count; i++) {
		if (!is_reserved(vars->entries[i].key))
			continue;
		buf_puts(&b, buf_len(&b) ? ", " : "");
		buf_puts(&b, vars->entries[i].key);
	}
	if (buf_len(&b))
		r = call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Lambda was unable to configure your environment variables because the "
		    "environment variables you have provided contains reserved keys that are "
		    "currently not supported for modification. Reserved keys used in this "
		    "request: %.*s",
		    STR_FMT(buf_str(&b)));
	buf_done(&b);
	return r;
}

static int check_environment(struct call *c, const struct lambda_environment *env, struct err *e)
{
	const struct lambda_environment_variables *vars = env ? env->variables : NULL;
	struct buf b = BUF_INIT;
	int r = 0;

	if (!vars)
		return 0;
	r = check_reserved(c, vars, e);
	if (r < 0)
		return r;
	buf_putc(&b, '{');
	for (size_t i = 0; i < vars->count; i++) {
		if (i)
			buf_putc(&b, ',');
		buf_json_string(&b, str_from(vars->entries[i].key));
		buf_putc(&b, ':');
		buf_json_string(&b, str_from(vars->entries[i].value));
	}
	buf_putc(&b, '}');
	if (buf_len(&b) > ENVIRONMENT_MAX)
		r = call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Lambda was unable to configure your environment variables because the "
		    "environment variables you have provided exceeded the 4KB limit. String "
		    "measured: %.*s",
		    STR_FMT(buf_str(&b)));
	buf_done(&b);
	return r;
}

/* ---- the rest ---- */

static int check_range(
    struct call *c, const char *member, const int64_t *value, int64_t max, struct err *e)
{
	if (!value || *value <= max)
		return 0;
	return call_fail(c, e, AWS_VALIDATION,
	    "1 validation error detected: Value '%" PRId64 "' at '%s' failed to satisfy "
	    "constraint: Member must have value less than or equal to %" PRId64,
	    *value, member, max);
}

static int check_role(struct call *c, const char *role, struct err *e)
{
	struct str rest, account = STR_NULL;

	if (!role)
		return 0;
	/* The model has checked its form: arn:aws:iam::ACCOUNT:role/NAME. */
	rest = str_from(role);
	for (int i = 0; i < 5; i++)
		account = str_cut(&rest, ':');
	if (!str_is(account, c->account))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Cross-account pass role is not allowed: the role must be of account %s.",
		    c->account);
	return 0;
}

static int check_logging(const struct lambda_logging_config *lc, struct err *e)
{
	bool json = lc && lc->log_format && strcmp(lc->log_format, "JSON") == 0;

	if (lc && !json && (lc->application_log_level || lc->system_log_level))
		return refuse(e, "ApplicationLogLevel and SystemLogLevel need LogFormat JSON: give "
				 "LogFormat=JSON, or leave the levels out.");
	return 0;
}

static int check_absent(const struct wanted *w, struct err *e)
{
	if (w->capacity_provider_config)
		return refuse(e, "Capacity providers are not supported by this server: leave "
				 "CapacityProviderConfig out.");
	if (w->durable_config)
		return refuse(e, "Durable functions are not supported by this server: leave "
				 "DurableConfig out.");
	if (w->file_system_configs && w->file_system_configs->count)
		return refuse(e, "File systems are not supported by this server: leave "
				 "FileSystemConfigs out.");
	if (w->kms_key_arn && w->kms_key_arn[0])
		return refuse(e, "Customer keys are not supported by this server: leave KMSKeyArn "
				 "out.");
	if (w->snap_start && w->snap_start->apply_on &&
	    strcmp(w->snap_start->apply_on, "None") != 0)
		return refuse(e, "SnapStart is not supported by this server: leave it out, or set "
				 "ApplyOn to None.");
	return 0;
}

static int check_targets(struct call *c, const struct wanted *w, struct err *e)
{
	const struct lambda_vpc_config *vpc = w->vpc_config;

	if (vpc && ((vpc->subnet_ids && vpc->subnet_ids->count) ||
		       (vpc->security_group_ids && vpc->security_group_ids->count)))
		return refuse(e, "VPCs are not supported by this server: leave VpcConfig out, or "
				 "empty.");
	return w->dead_letter_config
		   ? config_check_dead_letter(c, w->dead_letter_config->target_arn, e)
		   : 0;
}

static int check_runtime(struct call *c, const char *runtime, struct err *e)
{
	struct runtime_choice choice;
	struct err why = ERR_INIT;

	if (!runtime || runtime_find(runtime, c->region, &choice, &why) == 0)
		return 0;
	return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", why.msg);
}

/* They are found once more when the function is written: a moment later, they may be gone. */
static int check_layers(struct call *c, const struct lambda_layer_list *wanted, struct err *e)
{
	json_t *list;
	int r = layers_find(c, wanted, &list, e);

	json_decref(list);
	return r;
}

int config_check(struct call *c, const struct wanted *w, struct err *e)
{
	int r = check_range(c, "timeout", w->timeout, 900, e);

	if (r == 0)
		r = check_range(c, "memorySize", w->memory_size, WIRE_MEMORY_MB_MAX, e);
	if (r == 0)
		r = check_absent(w, e);
	if (r == 0)
		r = check_targets(c, w, e);
	if (r == 0)
		r = check_role(c, w->role, e);
	if (r == 0)
		r = check_runtime(c, w->runtime, e);
	if (r == 0)
		r = check_logging(w->logging_config, e);
	if (r == 0)
		r = check_environment(c, w->environment, e);
	return r == 0 ? check_layers(c, w->layers, e) : r;
}

int config_check_architectures(const struct lambda_architectures_list *list, struct err *e)
{
#if defined(__aarch64__)
	const char *ours = "arm64";
#else
	const char *ours = "x86_64";
#endif
	if (!list || !list->count || strcmp(list->items[0], ours) == 0)
		return 0;
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    "Architecture %s cannot run on this server: leave Architectures out, or give [%s].",
	    list->items[0], ours);
}

int config_check_revision(const json_t *doc, const char *revision_id, struct err *e)
{
	const char *is = doc_str(doc, "RevisionId");

	if (!revision_id || (is && strcmp(is, revision_id) == 0))
		return 0;
	return fail(e, LAMBDA_PRECONDITION_FAILED_EXCEPTION,
	    "The Revision Id provided does not match the latest Revision Id. Call the "
	    "GetFunction/GetAlias API to retrieve the latest Revision Id");
}

/* ---- documents ---- */

json_t *config_new(const char *function_name)
{
	_cleanup_free_ char *group = xasprintf("/aws/lambda/%s", function_name);
	json_t *doc = json_object();

	doc_set_str(doc, "Description", "");
	doc_set_int(doc, "Timeout", 3);
	doc_set_int(doc, "MemorySize", 128);
	doc_set_int(doc, "TmpSize", 512);
	doc_set_str(doc, "LogFormat", "Text");
	doc_set_str(doc, "LogGroup", group);
	doc_set_str(doc, "Tracing", "PassThrough");
	return doc;
}

static void merge_environment(json_t *doc, const struct lambda_environment *env)
{
	json_t *vars;

	if (!env)
		return;
	if (!env->variables || !env->variables->count) {
		json_object_del(doc, "Environment");
		return;
	}
	vars = json_object();
	for (size_t i = 0; i < env->variables->count; i++)
		json_object_set_new(vars, env->variables->entries[i].key,
		    json_string(env->variables->entries[i].value));
	json_object_set_new(doc, "Environment", vars);
}

static void merge_logging(json_t *doc, const struct lambda_logging_config *lc)
{
	if (!lc)
		return;
	if (lc->log_format)
		doc_set_str(doc, "LogFormat", lc->log_format);
	if (lc->log_group)
		doc_set_str(doc, "LogGroup", lc->log_group);
	if (strcmp(doc_str(doc, "LogFormat"), "JSON") != 0) {
		doc_set_str(doc, "ApplicationLogLevel", NULL);
		doc_set_str(doc, "SystemLogLevel", NULL);
		return;
	}
	if (lc->application_log_level || !doc_str(doc, "ApplicationLogLevel"))
		doc_set_str(doc, "ApplicationLogLevel",
		    lc->application_log_level ? lc->application_log_level : "INFO");
	if (lc->system_log_level || !doc_str(doc, "SystemLogLevel"))
		doc_set_str(
		    doc, "SystemLogLevel", lc->system_log_level ? lc->system_log_level : "INFO");
}

void config_merge(json_t *doc, const struct wanted *w)
{
	if (w->description)
		doc_set_str(doc, "Description", w->description);
	if (w->handler)
		doc_set_str(doc, "Handler", w->handler);
	if (w->role)
		doc_set_str(doc, "Role", w->role);
	if (w->runtime)
		doc_set_str(doc, "Runtime", w->runtime);
	if (w->timeout)
		doc_set_int(doc, "Timeout", *w->timeout);
	if (w->memory_size)
		doc_set_int(doc, "MemorySize", *w->memory_size);
	if (w->ephemeral_storage)
		doc_set_int(doc, "TmpSize", *w->ephemeral_storage->size);
	if (w->tracing_config && w->tracing_config->mode)
		doc_set_str(doc, "Tracing", w->tracing_config->mode);
	if (w->dead_letter_config)
		doc_set_str(doc, "DeadLetter",
		    w->dead_letter_config->target_arn && *w->dead_letter_config->target_arn
			? w->dead_letter_config->target_arn
			: NULL);
	merge_environment(doc, w->environment);
	merge_logging(doc, w->logging_config);
	config_merge_image(doc, w->image_config);
}

/* Equal but for what changes with every write? */
static bool same_content(const json_t *a, const json_t *b)
{
	static const char *const volatile_keys[] = {"RevisionId", "LastModified", "Content"};
	json_t *x = json_copy((json_t *)(uintptr_t)a), *y = json_copy((json_t *)(uintptr_t)b);
	bool same;

	for (size_t i = 0; i < ARRAY_SIZE(volatile_keys); i++) {
		json_object_del(x, volatile_keys[i]);
		json_object_del(y, volatile_keys[i]);
	}
	same = json_equal(x, y);
	json_decref(x);
	json_decref(y);
	return same;
}

void config_touch(json_t *doc, const json_t *old)
{
	char when[TIME_ISO_SIZE];

	time_format_lambda(time_wall_ms(), when);
	doc_new_revision(doc);
	doc_set_str(doc, "LastModified", when);
	if (!old || !same_content(doc, old))
		doc_set_str(doc, "Content", doc_str(doc, "RevisionId"));
}
