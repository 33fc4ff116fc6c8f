/* `mayfly deploy DIR`: a directory becomes a function, or all that its template names. */
#include <stdio.h>
#include <unistd.h>

#include "cli/function.h"
#include "cli/stack.h"
#include "cli/term.h"
#include "cli/zip.h"

struct options {
	struct manifest_overrides given;
	struct cli_list parameters;
	bool json;
};

/* ---- what is said in the end ---- */

static void print_json(const struct deployment *d)
{
	json_t *out = json_pack("{s:s,s:s,s:s,s:b,s:b,s:b}", "FunctionName", d->m.name,
	    "FunctionArn", field_text(d->function, "FunctionArn"), "CodeSha256",
	    field_text(d->function, "CodeSha256"), "Created", d->created, "CodeChanged",
	    d->code_changed, "ConfigChanged", d->config_changed);

	if (d->url)
		json_object_set_new(
		    out, "FunctionUrl", json_string(field_text(d->url, "FunctionUrl")));
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(out);
}

static void print_row(const char *name, const char *fmt, ...) _printf_(2, 3);

static void print_row(const char *name, const char *fmt, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		value = xstrdup("");
	va_end(ap);
	printf("%s%-9s%s", term_paint(stdout, TERM_DIM), name, term_paint(stdout, TERM_PLAIN));
	term_write_safe(stdout, str_from(value));
	putchar('\n');
}

static const char *outcome(const struct deployment *d)
{
	if (d->created)
		return "created";
	if (d->code_changed)
		return "updated";
	return d->config_changed ? "configuration updated, code unchanged" : "unchanged";
}

static void print_summary(const struct deployment *d)
{
	const char *url = field_text(d->url, "FunctionUrl");
	char size[TERM_SIZE_TEXT];

	term_format_size(buf_len(&d->zip), size);
	print_row("function", "%s (%s)", d->m.name, outcome(d));
	print_row("runtime", "%s, handler %s", field_text(d->function, "Runtime"),
	    field_text(d->function, "Handler"));
	print_row("limits", "%" PRId64 " MB memory, %" PRId64 " s",
	    field_number(d->function, "MemorySize"), field_number(d->function, "Timeout"));
	print_row("code", "%s in %zu file%s", size, d->files, d->files == 1 ? "" : "s");
	if (*url)
		print_row("url", "%s", url);
	printf("\nmayfly invoke %s '{}'\nmayfly logs -f %s\n", d->m.name, d->m.name);
	if (*url && !strcmp(d->m.url ? d->m.url : "", "NONE"))
		printf("curl %s\n", url);
}

/* ---- a template ---- */

static void print_report(const json_t *report, const json_t *outputs)
{
	static const struct term_column columns[] = {{"RESOURCE", false, false},
	    {"TYPE", false, true}, {"NAME", false, true}, {"", false, false}};
	struct term_table t;
	json_t *one, *value;
	const char *name;
	size_t i;

	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach((json_t *)(uintptr_t)report, i, one)
	{
		const char *cells[] = {field_text(one, "LogicalId"), field_text(one, "Type"),
		    field_text(one, "Name"), field_text(one, "Outcome")};

		term_table_add(&t, cells);
	}
	term_table_print(&t);
	term_table_done(&t);
	json_array_foreach((json_t *)(uintptr_t)report, i, one)
	{
		if (*field_text(one, "FunctionUrl"))
			print_row("url", "%s", field_text(one, "FunctionUrl"));
	}
	json_object_foreach((json_t *)(uintptr_t)outputs, name, value)
	    print_row(name, "%s", json_string_value(value) ? json_string_value(value) : "");
}

/* What belongs to one function and not to a template. */
static bool has_function_options(const struct options *o)
{
	const struct manifest_overrides *g = &o->given;

	return g->runtime || g->handler || g->role || g->url || g->memory_mb || g->timeout_s ||
	       g->env.count;
}

static int deploy_template(const struct options *o, const char *dir, struct template *t)
{
	_cleanup_client_ struct client *c = NULL;
	json_t *report = NULL, *outputs = NULL;
	struct err e = ERR_INIT;
	int code = CLI_OK;

	if (has_function_options(o))
		code = cli_fail(CLI_USAGE, "say it in the template, or by --parameter NAME=VALUE",
		    "these options are for a directory without a template");
	else if (template_parameters(t, &o->parameters, &e) < 0)
		code = cli_fail(CLI_USAGE, NULL, "%s", e.msg);
	if (!code)
		code = client_open(&c);
	if (!code)
		code = stack_deploy(c, dir, o->given.name, t, &report, &outputs);
	if (!code && o->json) {
		json_t *all = json_pack("{s:O,s:O}", "Resources", report, "Outputs", outputs);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else if (!code) {
		print_report(report, outputs);
	}
	json_decref(report);
	json_decref(outputs);
	return code;
}

static int deploy_function(const struct options *o, const char *dir)
{
	struct deployment d = {.zip = BUF_INIT};
	struct err e = ERR_INIT;
	int code;

	if (manifest_read(dir, &o->given, &d.m, &e) < 0)
		return cli_fail(
		    CLI_USAGE, "`mayfly deploy --help` tells what a directory needs", "%s", e.msg);
	if (zip_make(dir, &d.zip, &d.files, &e) < 0)
		code = cli_fail(CLI_FAILED, NULL, "%s", e.msg);
	else
		code = client_open(&d.client);
	if (!code)
		code = deployment_run(&d);
	if (!code && o->json)
		print_json(&d);
	else if (!code)
		print_summary(&d);
	client_close(d.client);
	deployment_done(&d);
	return code;
}

static int run(const void *options, char **args, int count _unused_)
{
	const struct options *o = options;
	struct template t;
	struct err e = ERR_INIT;
	int r = template_read(args[0], &t, &e), code;

	if (r == -ENOENT && !*e.msg)
		return deploy_function(o, args[0]);
	if (r < 0)
		return cli_fail(CLI_USAGE, NULL, "%s", e.msg);
	code = deploy_template(o, args[0], &t);
	template_done(&t);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"name", 0, CLI_TEXT, "NAME", "name of the function", AT(given.name), 0, 0},
    {"runtime", 0, CLI_TEXT, "NAME", "nodejs20.x, python3.11, provided.al2023, …",
	AT(given.runtime), 0, 0},
    {"handler", 0, CLI_TEXT, "FILE.NAME", "what to call in the code", AT(given.handler), 0, 0},
    {"memory", 'm', CLI_NUMBER, "MB", "memory; the share of CPU goes with it", AT(given.memory_mb),
	128, 10240},
    {"timeout", 't', CLI_NUMBER, "SECONDS", "the longest it may run", AT(given.timeout_s), 1, 900},
    {"env", 'e', CLI_LIST, "NAME=VALUE", "a variable; may be given again and again", AT(given.env),
	0, 0},
    {"role", 0, CLI_TEXT, "ARN", "its role; without it, role mayfly-NAME is made", AT(given.role),
	0, 0},
    {"url", 'u', CLI_TEXT, "AUTH",
	"give it a URL: NONE lets everybody call it,\nAWS_IAM those "
	"who sign",
	AT(given.url), 0, 0},
    {"parameter", 'p', CLI_LIST, "NAME=VALUE", "a parameter of the template; may be given again",
	AT(parameters), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "tell what was done as JSON", AT(json), 0, 0},
};

const struct cli_verb cli_deploy = {
    .name = "deploy",
    .args = "DIR",
    .summary = "make or update a function, or all of a template, from a directory",
    .help =
	"Packs DIR (but .git, __pycache__ and mayfly.json), creates the function or updates it, "
	"and\n"
	"waits until it can be invoked. Packing the same files again gives the same bytes, and "
	"code\n"
	"that has not changed is not sent again.\n"
	"\n"
	"DIR/mayfly.json says what the function is; members are those of Lambda's CreateFunction:\n"
	"  {\"FunctionName\": \"resize\", \"Runtime\": \"python3.11\", \"MemorySize\": 512,\n"
	"   \"Environment\": {\"QUALITY\": \"85\"}, \"Url\": \"NONE\"}\n"
	"What it leaves out is taken from the directory: its name, and the runtime of the first "
	"of\n"
	"bootstrap, index.mjs, index.js, index.cjs, lambda_function.py, app.py, handler.py in it.\n"
	"Options go before mayfly.json.\n"
	"\n"
	"If there is a template.yaml (SAM or CloudFormation), its resources are made or updated\n"
	"instead: functions with their events, buckets, queues, policies, roles. mayfly(1) lists\n"
	"the types. What a template no longer names stays until `mayfly rm` removes it.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
