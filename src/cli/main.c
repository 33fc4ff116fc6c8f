/* The command line's entry: the table of verbs, and `help` and `version`, which need it. */
#include <stdio.h>

#include "cli/cli.h"

const struct cli_verb *const cli_verbs[] = {
    &cli_serve,
    &cli_env,
    &cli_deploy,
    &cli_invoke,
    &cli_logs,
    &cli_ls,
    &cli_bill,
    &cli_rm,
    &cli_run,
    &cli_ps,
    &cli_stop,
    &cli_exec,
    &cli_stats,
    &cli_images,
    &cli_pull,
    &cli_push,
    &cli_rmi,
    &cli_image,
    &cli_version,
    &cli_help,
    NULL,
};

static const char about[] =
    "Mayfly runs your functions and containers only when something happens, on your machines.\n"
    "\n"
    "Usage: mayfly VERB [OPTIONS] [ARGUMENTS]\n"
    "\n";

static const char environment[] =
    "\n"
    "`mayfly VERB --help` tells all about one verb; mayfly(1) is the manual.\n"
    "\n"
    "Environment:\n"
    "  AWS_ENDPOINT_URL    the server; http://127.0.0.1:4566 if not set\n"
    "  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN\n"
    "                      the keys; or the profile AWS_PROFILE of ~/.aws/credentials\n"
    "  AWS_REGION          us-east-1 if not set\n"
    "  NO_COLOR            no colours, on terminals either\n"
    "\n"
    "A first function:\n"
    "  sudo mayfly serve &\n"
    "  eval \"$(sudo mayfly env)\"\n"
    "  mayfly deploy examples/hello-node\n"
    "  mayfly invoke hello-node '{\"name\":\"Ada\"}'\n"
    "\n"
    "A first container:\n"
    "  mayfly run -it --rm busybox sh\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the function failed, 4 no such function, no\n"
    "such task or no server; `run` and `exec`: those of the command, 125 to 127 as docker's\n";

const struct cli_verb *cli_verb_find(const char *name)
{
	for (size_t i = 0; cli_verbs[i]; i++) {
		if (!strcmp(cli_verbs[i]->name, name))
			return cli_verbs[i];
	}
	return NULL;
}

static void list_verbs(FILE *f)
{
	fputs(about, f);
	for (size_t i = 0; cli_verbs[i]; i++)
		fprintf(f, "  %-8s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
	fputs(environment, f);
}

static int run_help(const void *options _unused_, char **args, int count)
{
	const struct cli_verb *v;

	if (!count) {
		list_verbs(stdout);
		return CLI_OK;
	}
	v = cli_verb_find(args[0]);
	if (!v)
		return cli_fail(
		    CLI_USAGE, "`mayfly help` lists all verbs", "there is no verb `%s'", args[0]);
	cli_verb_help(v);
	return CLI_OK;
}

const struct cli_verb cli_help = {
    .name = "help",
    .args = "[VERB]",
    .summary = "tell how this is used",
    .help = "Without VERB, lists all verbs.",
    .max_args = 1,
    .run = run_help,
};

static int run_version(const void *options _unused_, char **args _unused_, int count _unused_)
{
	puts("mayfly " MAYFLY_VERSION);
	return CLI_OK;
}

const struct cli_verb cli_version = {
    .name = "version",
    .args = "",
    .summary = "print the version of this program",
    .help = "The version of a running server is in the answer of GET /_mayfly/health.",
    .run = run_version,
};

static int run_verb(const struct cli_verb *v, char **argv)
{
	_cleanup_free_ void *options = xcalloc(1, v->size);
	int count = 0, code;

	if (v->defaults)
		memcpy(options, v->defaults, v->size);
	code = cli_options_parse(v, options, argv, &count);
	if (code == CLI_HELPED)
		return CLI_OK;
	if (code)
		return v->own_failure ? v->own_failure : code;
	return v->run(options, argv, count);
}

int main(int argc, char **argv)
{
	const struct cli_verb *v;
	int code;

	if (argc < 2) {
		list_verbs(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		v = &cli_help;
	else if (!strcmp(argv[1], "--version"))
		v = &cli_version;
	else
		v = cli_verb_find(argv[1]);
	if (!v)
		return cli_fail(
		    CLI_USAGE, "`mayfly help` lists all verbs", "there is no verb `%s'", argv[1]);
	code = run_verb(v, argv + 2);
	/* A full disk must not look like success. */
	if (fflush(stdout) && !code)
		code = cli_fail(CLI_FAILED, NULL, "writing the output: %s", strerror(errno));
	return code;
}
