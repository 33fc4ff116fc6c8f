/* Making and updating one function. See function.h. */
#include "cli/function.h"

#include <openssl/sha.h>

#include "base/time.h"
#include "cli/role.h"
#include "cli/term.h"

#define FUNCTIONS "/2015-03-31/functions/"
#define URLS "/2021-10-31/functions/"
#define WAIT_MS 120000

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
	unsigned pause_ms = 0;
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
		client_pause(&pause_ms);
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

int deployment_run(struct deployment *d)
{
	int code = read_function(d, 404);

	code = code == CLIENT_NOTED ? create(d) : code ? code : update(d);
	if (!code && d->m.url)
		code = make_url(d);
	term_progress(NULL);
	return code;
}

void deployment_done(struct deployment *d)
{
	manifest_done(&d->m);
	json_decref(d->function);
	json_decref(d->url);
	buf_done(&d->zip);
}
