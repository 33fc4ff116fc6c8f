/* `mayfly deploy DIR`: a directory becomes a function. */
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/manifest.h"
#include "cli/role.h"
#include "cli/term.h"
#include "cli/zip.h"

#define FUNCTIONS "/2015-03-31/functions/"
#define URLS "/2021-10-31/functions/"
#define WAIT_MS 120000
#define POLL_NS 50000000

struct options {
	struct manifest_overrides given;
	bool json;
};

struct deployment {
	struct client *client;
	struct manifest m;
	struct buf zip;
	size_t files;
	bool created, code_changed, config_changed;
	json_t *function; /* its configuration as the server tells it */
	json_t *url;      /* answer of the function URL's operation, or NULL */
};

static char *encode_zip(const struct buf *zip)
{
	char *out = xmalloc(BASE64_ENCODED_SIZE(buf_len(zip)));

	base64_encode(buf_data(zip), buf_len(zip), out);
	return out;
}

static bool is_same_code(const struct deployment *d)
{
	unsigned char hash[SHA256_DIGEST_LENGTH];
	char text[BASE64_ENCODED_SIZE(SHA256_DIGEST_LENGTH)];

	SHA256((const unsigned char *)buf_data(&d->zip), buf_len(&d->zip), hash);
	base64_encode(hash, sizeof(hash), text);
	return !strcmp(field_text(d->function, "CodeSha256"), text);
}

static void replace(json_t **at, json_t *value)
{
	json_decref(*at);
	*at = value;
}

static int read_function(struct deployment *d, int but)
{
	_cleanup_free_ char *path = client_path(FUNCTIONS, d->m.name, "/configuration");
	json_t *answer = NULL;
	int code = client_json(
	    d->client, "lambda", "GET", path, NULL, but, "looking for the function", &answer);

	if (!code)
		replace(&d->function, answer);
	return code;
}

/* Until the server is done with what it was told. */
static int settle(struct deployment *d, const char *doing)
{
	int64_t until = time_mono_ns() / 1000000 + WAIT_MS;
	int code;

	term_progress(doing);
	while (!(code = read_function(d, 0))) {
		const char *state = field_text(d->function, "State");
		const char *update = field_text(d->function, "LastUpdateStatus");

		if (!strcmp(state, "Failed"))
			return cli_fail(CLI_FAILED, NULL, "%s: %s", doing,
			    field_text(d->function, "StateReason"));
		if (!strcmp(update, "Failed"))
			return cli_fail(CLI_FAILED, NULL, "%s: %s", doing,
			    field_text(d->function, "LastUpdateStatusReason"));
		if (strcmp(state, "Pending") && strcmp(update, "InProgress"))
			return CLI_OK;
		if (time_mono_ns() / 1000000 > until)
			return cli_fail(CLI_FAILED, "the server's own log says more",
			    "%s: still not done after %d s", doing, WAIT_MS / 1000);
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
	return code;
}

static int create(struct deployment *d)
{
	_cleanup_free_ char *code_text = encode_zip(&d->zip);
	json_t *in = json_deep_copy(d->m.config), *answer = NULL;
	int code = CLI_OK;

	if (!d->m.role)
		code = role_make(d->client, d->m.name, &d->m.role);
	if (!code) {
		json_object_set_new(in, "FunctionName", json_string(d->m.name));
		json_object_set_new(in, "Role", json_string(d->m.role));
		json_object_set_new(in, "Code", json_pack("{s:s}", "ZipFile", code_text));
		term_progress("creating the function");
		code = client_json(d->client, "lambda", "POST", "/2015-03-31/functions", in, 0,
		    "creating the function", &answer);
	}
	json_decref(in);
	d->created = d->code_changed = true;
	if (code)
		return code;
	replace(&d->function, answer);
	return settle(d, "creating the function");
}

static int update_code(struct deployment *d)
{
	_cleanup_free_ char *path = client_path(FUNCTIONS, d->m.name, "/code");
	_cleanup_free_ char *code_text = encode_zip(&d->zip);
	json_t *in = json_pack("{s:s}", "ZipFile", code_text);
	int code;

	if (json_object_get(d->m.config, "Architectures"))
		json_object_set(in, "Architectures", json_object_get(d->m.config, "Architectures"));
	term_progress("updating the code");
	code = client_json(d->client, "lambda", "PUT", path, in, 0, "updating the code", NULL);
	json_decref(in);
	return code ? code : settle(d, "updating the code");
}

static int update_config(struct deployment *d)
{
	_cleanup_free_ char *path = client_path(FUNCTIONS, d->m.name, "/configuration");
	json_t *in = json_copy(d->m.config);
	int code;

	json_object_del(in, "Architectures"); /* belongs to the code */
	if (d->m.role)
		json_object_set_new(in, "Role", json_string(d->m.role));
	code = client_json(
	    d->client, "lambda", "PUT", path, in, 0, "updating the configuration", NULL);
	json_decref(in);
	return code ? code : settle(d, "updating the configuration");
}

/* Is everything that is asked for so already? Updating would end all boxes for nothing. */
static bool is_same_config(const struct deployment *d)
{
	const char *name;
	json_t *value;

	if (d->m.role && strcmp(d->m.role, field_text(d->function, "Role")))
		return false;
	json_object_foreach(d->m.config, name, value)
	{
		const json_t *had = json_object_get(d->function, name);

		if (!json_equal(value, had))
			return false;
	}
	return true;
}

static int update(struct deployment *d)
{
	int code = settle(d, "waiting for an update before this one");

	if (code)
		return code;
	d->code_changed = !is_same_code(d);
	d->config_changed = !is_same_config(d);
	code = d->code_changed ? update_code(d) : CLI_OK;
	return code || !d->config_changed ? code : update_config(d);
}

/* ---- function URL ---- */

static int permit(
    struct deployment *d, const char *id, const char *action, const char *condition, json_t *value)
{
	_cleanup_free_ char *path = client_path(FUNCTIONS, d->m.name, "/policy");
	json_t *in = json_pack("{s:s,s:s,s:s,s:o}", "StatementId", id, "Action", action,
	    "Principal", "*", condition, value);
	int code = client_json(
	    d->client, "lambda", "POST", path, in, 409, "permitting calls by the URL", NULL);

	json_decref(in);
	return code == CLIENT_NOTED ? CLI_OK : code;
}

/* Both statements are what AWS asks for since October 2025. */
static int permit_all(struct deployment *d)
{
	int code = permit(d, "mayfly-url", "lambda:InvokeFunctionUrl", "FunctionUrlAuthType",
	    json_string("NONE"));

	return code ? code
		    : permit(d, "mayfly-url-invoke", "lambda:InvokeFunction",
			  "InvokedViaFunctionUrl", json_true());
}

static int make_url(struct deployment *d)
{
	_cleanup_free_ char *path = client_path(URLS, d->m.name, "/url");
	json_t *in = json_pack("{s:s}", "AuthType", d->m.url);
	int code = client_json(
	    d->client, "lambda", "GET", path, NULL, 404, "looking for its URL", &d->url);

	term_progress("making its URL");
	if (code == CLIENT_NOTED)
		code = client_json(
		    d->client, "lambda", "POST", path, in, 0, "making its URL", &d->url);
	else if (!code && strcmp(field_text(d->url, "AuthType"), d->m.url)) {
		replace(&d->url, NULL);
		code = client_json(
		    d->client, "lambda", "PUT", path, in, 0, "changing its URL", &d->url);
	}
	json_decref(in);
	return code || strcmp(d->m.url, "NONE") ? code : permit_all(d);
}

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

static int deploy(struct deployment *d)
{
	int code = read_function(d, 404);

	code = code == CLIENT_NOTED ? create(d) : code ? code : update(d);
	if (!code && d->m.url)
		code = make_url(d);
	term_progress(NULL);
	return code;
}

static int run(const void *options, char **args, int count _unused_)
{
	const struct options *o = options;
	struct deployment d = {.zip = BUF_INIT};
	struct err e = ERR_INIT;
	int code;

	if (manifest_read(args[0], &o->given, &d.m, &e) < 0)
		return cli_fail(
		    CLI_USAGE, "`mayfly deploy --help` tells what a directory needs", "%s", e.msg);
	if (zip_make(args[0], &d.zip, &d.files, &e) < 0)
		code = cli_fail(CLI_FAILED, NULL, "%s", e.msg);
	else
		code = client_open(&d.client);
	if (!code)
		code = deploy(&d);
	if (!code && o->json)
		print_json(&d);
	else if (!code)
		print_summary(&d);
	client_close(d.client);
	manifest_done(&d.m);
	json_decref(d.function);
	json_decref(d.url);
	buf_done(&d.zip);
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
    {"json", 0, CLI_FLAG, NULL, "tell what was done as JSON", AT(json), 0, 0},
};

const struct cli_verb cli_deploy = {
    .name = "deploy",
    .args = "DIR",
    .summary = "make or update a function from a directory",
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
	"Options go before mayfly.json.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
