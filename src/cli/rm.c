/* `mayfly rm NAME…`: remove functions and what deploy made for them. */
#include <stdio.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/role.h"
#include "cli/term.h"

struct options {
	bool yes, logs;
};

static int remove_url(struct client *c, const char *name)
{
	_cleanup_free_ char *path = client_path("/2021-10-31/functions/", name, "/url");
	int code = client_json(c, "lambda", "DELETE", path, NULL, 404, "removing its URL", NULL);

	return code == CLIENT_NOTED ? CLI_OK : code;
}

static int remove_function(struct client *c, const char *name)
{
	_cleanup_free_ char *path = client_path("/2015-03-31/functions/", name, "");
	_cleanup_free_ char *what = xasprintf("removing %s", name);

	return client_json(c, "lambda", "DELETE", path, NULL, 0, what, NULL);
}

/* That a function never logged is fine, and JSON 1.1 says so with a 400. */
static int remove_logs(struct client *c, const char *name)
{
	_cleanup_free_ char *group = xasprintf("/aws/lambda/%s", name);
	json_t *in = json_pack("{s:s}", "logGroupName", group);
	int code = client_logs(c, "DeleteLogGroup", in, 400, "removing its log", NULL);

	json_decref(in);
	return code == CLIENT_NOTED ? CLI_OK : code;
}

static int remove_one(struct client *c, const struct options *o, const char *name)
{
	int code = remove_url(c, name), more;

	if (!code)
		code = remove_function(c, name);
	/* What hangs on a function that was gone already is removed all the same. */
	if (code && code != CLI_ABSENT)
		return code;
	more = role_remove(c, name);
	if (!more && o->logs)
		more = remove_logs(c, name);
	if (!code && !more && isatty(STDOUT_FILENO))
		printf("removed %s\n", name);
	return code ? code : more;
}

static int run(const void *options, char **args, int count)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	_cleanup_free_ char *question = NULL;
	int code = client_open(&c);

	if (code)
		return code;
	question = count == 1 ? xasprintf("remove function %s?", args[0])
			      : xasprintf("remove %d functions?", count);
	if (!o->yes && !term_confirm(question))
		return cli_fail(CLI_FAILED, NULL, "nothing was removed");
	for (int i = 0; i < count; i++) {
		int one = remove_one(c, o, args[i]);

		code = one ? one : code;
	}
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"yes", 'y', CLI_FLAG, NULL, "do not ask", AT(yes), 0, 0},
    {"logs", 0, CLI_FLAG, NULL, "remove its log too", AT(logs), 0, 0},
};

const struct cli_verb cli_rm = {
    .name = "rm",
    .args = "NAME…",
    .summary = "remove functions",
    .help =
	"Removes each function with its versions, its aliases, its URL and the role that deploy\n"
	"made for it. Its log stays unless --logs is given; what it cost stays in the bill. Asks\n"
	"first when it runs on a terminal.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 1000,
    .run = run,
};
