/* AWS::Serverless::Function with its events, and the Lambda resources that stand alone. */
#include <stdio.h>

#include "cli/function.h"
#include "cli/role.h"
#include "cli/stack_int.h"
#include "cli/zip.h"

#define FUNCTIONS "/2015-03-31/functions/"

/* Members of CreateFunction that a template has by the same name. */
static const char *const passed[] = {"Architectures", "Description", "EphemeralStorage", "Handler",
    "Layers", "LoggingConfig", "MemorySize", "Runtime", "Timeout"};

static const char *const known[] = {"Architectures", "Description", "EphemeralStorage", "Handler",
    "Layers", "LoggingConfig", "MemorySize", "Runtime", "Timeout", "FunctionName", "CodeUri",
    "Environment", "DeadLetterQueue", "FunctionUrlConfig", "ReservedConcurrentExecutions",
    "EventInvokeConfig", "Policies", "Role", "Events", "Tracing", "PackageType", NULL};

int stack_function_name(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *given = json_string_value(json_object_get(properties, "FunctionName"));
	_cleanup_free_ char *name =
	    given ? xstrdup(given) : xasprintf("%.31s-%.32s", s->name, r->id);
	_cleanup_free_ char *arn =
	    xasprintf("arn:aws:lambda:%s:%s:function:%s", s->region, s->account, name);

	template_define(s->t, r->id, "Ref", name);
	template_define(s->t, r->id, "Arn", arn);
	return CLI_OK;
}

static const char *name_of(const struct stack *s, const char *id)
{
	return field_text(json_object_get(s->t->values, id), "Ref");
}

/* ---- the function itself ---- */

/* Templates write numbers and booleans where Lambda wants texts. */
static json_t *variables_of(const json_t *environment)
{
	json_t *out = json_object(), *v;
	const char *name;

	json_object_foreach(json_object_get(environment, "Variables"), name, v)
	{
		_cleanup_free_ char *text =
		    json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY);

		json_object_set_new(out, name, json_string(text ? text : json_string_value(v)));
	}
	return json_pack("{s:o}", "Variables", out);
}

static json_t *config_of(const json_t *properties)
{
	json_t *config = json_object();
	const json_t *queue = json_object_get(properties, "DeadLetterQueue");

	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		json_t *v = json_object_get(properties, passed[i]);

		if (v)
			json_object_set(config, passed[i], v);
	}
	if (json_object_get(properties, "Environment"))
		json_object_set_new(config, "Environment",
		    variables_of(json_object_get(properties, "Environment")));
	if (queue)
		json_object_set_new(config, "DeadLetterConfig",
		    json_pack("{s:s}", "TargetArn", field_text(queue, "TargetArn")));
	return config;
}

static int take_role(struct stack *s, const struct template_resource *r, const json_t *properties,
    struct manifest *m)
{
	const char *given = json_string_value(json_object_get(properties, "Role"));
	const json_t *policies = json_object_get(properties, "Policies");
	_cleanup_free_ char *role = role_name(m->name);
	int code;

	if (given) {
		m->role = xstrdup(given);
		return CLI_OK;
	}
	code = role_make(s->client, m->name, &m->role);
	return code || !policies ? code : stack_role_policies(s, r->id, role, policies);
}

static int pack_code(struct stack *s, const struct template_resource *r, const json_t *properties,
    struct deployment *d)
{
	const char *uri = json_string_value(json_object_get(properties, "CodeUri"));
	_cleanup_free_ char *dir = NULL;
	struct err e = ERR_INIT;

	if (json_object_get(properties, "CodeUri") && !uri)
		return cli_fail(CLI_USAGE, NULL, "resource %s: CodeUri must be a directory", r->id);
	dir = uri && uri[0] == '/' ? xstrdup(uri) : xasprintf("%s/%s", s->dir, uri ? uri : ".");
	if (manifest_complete(&d->m, dir, &e) < 0)
		return cli_fail(CLI_USAGE, NULL, "resource %s: %s", r->id, e.msg);
	if (zip_make(dir, &d->zip, &d->files, &e) < 0)
		return cli_fail(CLI_FAILED, NULL, "resource %s: %s", r->id, e.msg);
	return CLI_OK;
}

/* ---- what belongs to it ---- */

static int permit(struct stack *s, const char *function, const char *id, const char *principal,
    const char *source_arn)
{
	_cleanup_free_ char *path = client_path(FUNCTIONS, function, "/policy");
	json_t *in =
	    json_pack("{s:s,s:s,s:s,s:s,s:s}", "StatementId", id, "Action", "lambda:InvokeFunction",
		"Principal", principal, "SourceArn", source_arn, "SourceAccount", s->account);
	int code = client_json(s->client, "lambda", "POST", path, in, 409,
	    "permitting a source to call the function", NULL);

	json_decref(in);
	return code == CLIENT_NOTED ? CLI_OK : code;
}

static int s3_event(
    struct stack *s, const struct template_resource *r, const char *event, const json_t *properties)
{
	int code = CLI_OK;
	const char *bucket = stack_need(event, properties, "Bucket", &code);
	const json_t *values = json_object_get(s->t->values, r->id);
	_cleanup_free_ char *id = xasprintf("%s-%s", r->id, event);
	_cleanup_free_ char *arn = xasprintf("arn:aws:s3:::%s", bucket);
	/* A statement that is there stays, so its name says for which bucket it is. */
	_cleanup_free_ char *statement = xasprintf("%.20s-%.15s-%.63s", r->id, event, bucket);

	for (char *c = statement; *c; c++)
		*c = (char)(*c == '.' ? '_' : *c);
	if (!code)
		code = permit(s, field_text(values, "Ref"), statement, "s3.amazonaws.com", arn);
	if (!code)
		stack_notify(s, bucket, "CloudFunctionConfiguration", id, field_text(values, "Arn"),
		    json_object_get(properties, "Events"), json_object_get(properties, "Filter"));
	return code;
}

static int sqs_event(
    struct stack *s, const struct template_resource *r, const char *event, const json_t *properties)
{
	json_t *more = json_deep_copy(properties);
	int code = CLI_OK;
	const char *queue = stack_need(event, properties, "Queue", &code);

	json_object_del(more, "Queue");
	if (!code)
		code = stack_map(s, name_of(s, r->id), queue, more);
	json_decref(more);
	return code;
}

static int make_event(
    struct stack *s, const struct template_resource *r, const char *name, const json_t *event)
{
	const char *type = field_text(event, "Type");
	const json_t *properties = json_object_get(event, "Properties");

	if (!strcmp(type, "S3"))
		return s3_event(s, r, name, properties);
	if (!strcmp(type, "SQS"))
		return sqs_event(s, r, name, properties);
	return cli_fail(CLI_USAGE, "S3 and SQS are; for HTTP use FunctionUrlConfig",
	    "resource %s: events of type %s are not understood", r->id, type);
}

static int put_concurrency(struct stack *s, const char *function, const json_t *v)
{
	_cleanup_free_ char *path = client_path("/2017-10-31/functions/", function, "/concurrency");
	json_t *in = v ? json_pack("{s:O}", "ReservedConcurrentExecutions", v) : NULL;
	int code =
	    in ? client_json(s->client, "lambda", "PUT", path, in, 0, "reserving concurrency", NULL)
	       : CLI_OK;

	json_decref(in);
	return code;
}

static int put_event_config(struct stack *s, const char *function, const json_t *config)
{
	_cleanup_free_ char *path =
	    client_path("/2019-09-25/functions/", function, "/event-invoke-config");
	json_t *in = json_deep_copy(config), *destinations, *one;
	const char *kind;
	int code;

	if (!config)
		return CLI_OK;
	destinations = json_object_get(in, "DestinationConfig");
	json_object_foreach(destinations, kind, one) json_object_del(one, "Type"); /* SAM's own */
	code = client_json(s->client, "lambda", "PUT", path, in, 0,
	    "configuring asynchronous calls of the function", NULL);
	json_decref(in);
	return code;
}

static int make_events(struct stack *s, const struct template_resource *r, const json_t *properties)
{
	const char *function = name_of(s, r->id), *name;
	json_t *event;
	int code = put_concurrency(
	    s, function, json_object_get(properties, "ReservedConcurrentExecutions"));

	if (!code)
		code =
		    put_event_config(s, function, json_object_get(properties, "EventInvokeConfig"));
	json_object_foreach(json_object_get(properties, "Events"), name, event)
	{
		if (!code)
			code = make_event(s, r, name, event);
	}
	return code;
}

static void report(struct stack *s, const struct template_resource *r, const struct deployment *d)
{
	json_t *last;

	stack_report(s, r->id, r->type, d->m.name,
	    d->created          ? "made"
	    : d->code_changed   ? "updated"
	    : d->config_changed ? "configuration updated"
				: "unchanged");
	last = json_array_get(s->report, json_array_size(s->report) - 1);
	json_object_set_new(
	    last, "FunctionArn", json_string(field_text(d->function, "FunctionArn")));
	if (d->url)
		json_object_set_new(
		    last, "FunctionUrl", json_string(field_text(d->url, "FunctionUrl")));
}

int stack_function(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const json_t *url = json_object_get(properties, "FunctionUrlConfig");
	struct deployment d = {.client = s->client, .zip = BUF_INIT};
	int code = stack_check_names(r->id, properties, known);

	d.m.name = xstrdup(name_of(s, r->id));
	d.m.config = config_of(properties);
	if (url)
		d.m.url = xstrdup(field_text(url, "AuthType"));
	if (!code)
		code = pack_code(s, r, properties, &d);
	if (!code)
		code = take_role(s, r, properties, &d.m);
	if (!code)
		code = deployment_run(&d);
	if (!code)
		code = make_events(s, r, properties);
	if (!code)
		report(s, r, &d);
	if (d.url)
		template_define(s->t, r->id, "FunctionUrl", field_text(d.url, "FunctionUrl"));
	deployment_done(&d);
	return code;
}

/* ---- resources that stand alone ---- */

int stack_permission(struct stack *s, const struct template_resource *r, json_t *properties)
{
	int code = CLI_OK;
	const char *function = stack_need(r->id, properties, "FunctionName", &code);
	_cleanup_free_ char *path = client_path(FUNCTIONS, function, "/policy");
	json_t *in = json_deep_copy(properties);

	json_object_del(in, "FunctionName");
	json_object_set_new(in, "StatementId", json_string(r->id));
	if (!code)
		code = client_json(s->client, "lambda", "POST", path, in, 409,
		    "permitting calls of the function", NULL);
	json_decref(in);
	if (code && code != CLIENT_NOTED)
		return code;
	stack_report(s, r->id, r->type, function, code ? "there" : "made");
	return CLI_OK;
}

/* The mapping that is there already is changed to what is wanted. */
static int change_mapping(
    struct stack *s, const char *function, const char *source, const json_t *more)
{
	_cleanup_free_ char *path =
	    client_path("/2015-03-31/event-source-mappings?EventSourceArn=", source, "");
	_cleanup_free_ char *full = xasprintf("%s&FunctionName=%s", path, function), *one = NULL;
	json_t *found = NULL, *in = json_deep_copy(more);
	const char *uuid;
	int code = client_json(s->client, "lambda", "GET", full, NULL, 0,
	    "looking for the event source mapping", &found);

	uuid = field_text(json_array_get(json_object_get(found, "EventSourceMappings"), 0), "UUID");
	one = client_path("/2015-03-31/event-source-mappings/", uuid, "");
	if (!code && *uuid)
		code = client_json(s->client, "lambda", "PUT", one, in, 0,
		    "changing the event source mapping", NULL);
	json_decref(found);
	json_decref(in);
	return code;
}

int stack_map(struct stack *s, const char *function, const char *source, const json_t *more)
{
	json_t *in = json_deep_copy(more);
	int code;

	json_object_set_new(in, "FunctionName", json_string(function));
	json_object_set_new(in, "EventSourceArn", json_string(source));
	code = client_json(s->client, "lambda", "POST", "/2015-03-31/event-source-mappings", in,
	    409, "making the event source mapping", NULL);
	json_decref(in);
	return code == CLIENT_NOTED ? change_mapping(s, function, source, more) : code;
}

int stack_mapping(struct stack *s, const struct template_resource *r, json_t *properties)
{
	int code = CLI_OK;
	const char *function = stack_need(r->id, properties, "FunctionName", &code);
	const char *source = stack_need(r->id, properties, "EventSourceArn", &code);
	json_t *more = json_deep_copy(properties);

	json_object_del(more, "FunctionName");
	json_object_del(more, "EventSourceArn");
	if (!code)
		code = stack_map(s, function, source, more);
	json_decref(more);
	if (!code)
		stack_report(s, r->id, r->type, function, "there");
	return code;
}
