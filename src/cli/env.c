/* `mayfly env`: how clients reach the server of this machine, for a shell to take over. */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/config.h"

struct options {
	const char *data, *profile;
	bool json;
};

static const char *const clashing[] = {"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"};

/* 'text' with every ' as '\''. */
static void print_export(const char *name, const char *text)
{
	printf("export %s='", name);
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
	puts("'");
}

static void print_shell(const char *endpoint, const struct config_keys *k)
{
	print_export("AWS_ENDPOINT_URL", endpoint);
	print_export("AWS_ACCESS_KEY_ID", k->id);
	print_export("AWS_SECRET_ACCESS_KEY", k->secret);
	print_export("AWS_REGION", config_region());
	print_export("AWS_DEFAULT_REGION", config_region());
	/* Left over from elsewhere they would spoil these keys. */
	for (size_t i = 0; i < ARRAY_SIZE(clashing); i++) {
		if (getenv(clashing[i]))
			printf("unset %s\n", clashing[i]);
	}
}

static void print_json(const char *endpoint, const struct config_keys *k)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "AWS_ENDPOINT_URL", endpoint,
	    "AWS_ACCESS_KEY_ID", k->id, "AWS_SECRET_ACCESS_KEY", k->secret, "AWS_REGION",
	    config_region(), "AWS_DEFAULT_REGION", config_region());

	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

/* The address that a running server wrote down; where it would be otherwise. */
static char *read_endpoint(const char *data)
{
	_cleanup_free_ char *path = xasprintf("%s/endpoint", data);
	_cleanup_buf_ struct buf file = BUF_INIT;
	struct str text, line;

	if (fd_read_file(AT_FDCWD, path, 4096, &file) < 0)
		return xstrdup(config_endpoint());
	text = buf_str(&file);
	line = str_trim(str_cut(&text, '\n'));
	return str_has_prefix(line, "http") ? xstrndup(line.ptr, line.len)
					    : xstrdup(config_endpoint());
}

static int no_keys(const char *data, const struct err *e)
{
	if (e->errnum == EACCES)
		return cli_fail(
		    CLI_FAILED, "ask as root: eval \"$(sudo mayfly env)\"", "%s", e->msg);
	if (e->errnum == ENOENT)
		return cli_fail(CLI_ABSENT,
		    "the first `mayfly serve` makes the keys; --data DIR if they are elsewhere",
		    "no keys in %s", data);
	return cli_fail(CLI_FAILED, NULL, "%s", e->msg);
}

static int run(const void *options, char **args _unused_, int count _unused_)
{
	const struct options *o = options;
	_cleanup_free_ char *path = xasprintf("%s/credentials", o->data), *endpoint = NULL;
	_cleanup_keys_ struct config_keys k = {NULL};
	struct err e = ERR_INIT;

	if (config_keys_read(path, o->profile, &k, &e) < 0)
		return no_keys(o->data, &e);
	endpoint = read_endpoint(o->data);
	if (o->json)
		print_json(endpoint, &k);
	else
		print_shell(endpoint, &k);
	return CLI_OK;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"data", 'd', CLI_TEXT, "DIR", "the server's data directory (" CONFIG_DATA ")", AT(data), 0, 0},
    {"profile", 0, CLI_TEXT, "NAME", "which keys of DIR/credentials (default)", AT(profile), 0, 0},
    {"json", 0, CLI_FLAG, NULL, "a JSON object instead of shell commands", AT(json), 0, 0},
};

const struct cli_verb cli_env = {
    .name = "env",
    .args = "",
    .summary = "print the variables that AWS clients need",
    .help =
	"For the shell:  eval \"$(sudo mayfly env)\"\n"
	"From then on the AWS CLI, every AWS SDK and the other verbs of mayfly in that shell talk\n"
	"to the server of this machine. Reads DIR/credentials (its owner's and root's alone) and\n"
	"DIR/endpoint, which the server writes.\n"
	"\n"
	"An AWS CLI from before 2.13, such as Debian 12's, does not know AWS_ENDPOINT_URL:\n"
	"  alias aws='aws --endpoint-url \"$AWS_ENDPOINT_URL\"'",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults = &(const struct options){.data = CONFIG_DATA, .profile = "default"},
    .size = sizeof(struct options),
    .run = run,
};
