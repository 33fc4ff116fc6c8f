/* Roles over IAM's query protocol. See role.h. */
#include "cli/role.h"

#define VERSION "&Version=2010-05-08"
#define LOGS_POLICY                                                    \
	"&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2Fservice-role%" \
	"2FAWSLambdaBasicExecutionRole"

static const char trust[] = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
			    "\"Principal\":{\"Service\":\"lambda.amazonaws.com\"},"
			    "\"Action\":\"sts:AssumeRole\"}]}";

/* Role names hold at most 64 characters; functions' names hold no character to be encoded. */
static int send(struct client *c, const char *action, const char *function, const char *more,
    struct client_answer *ret)
{
	_cleanup_free_ char *body =
	    xasprintf("Action=%s" VERSION "&RoleName=mayfly-%.57s%s", action, function, more);
	struct client_request r = {
	    .service = "iam",
	    .method = "POST",
	    .path = "/",
	    .type = "application/x-www-form-urlencoded",
	    .body = str_from(body),
	};

	return client_send(c, &r, ret);
}

/* CLI_OK, also if the answer is the error `but`. */
static int expect(
    struct client *c, const struct client_answer *a, const char *but, const char *what)
{
	_cleanup_free_ char *message = NULL, *error = NULL;

	if (a->status >= 200 && a->status <= 299)
		return CLI_OK;
	error = client_answer_error(a, &message);
	if (!strcmp(error, but))
		return CLI_OK;
	return client_refused(c, a, what);
}

static int call(struct client *c, const char *action, const char *function, const char *more,
    const char *but, const char *what)
{
	_cleanup_answer_ struct client_answer a = {0};
	int code = send(c, action, function, more, &a);

	return code ? code : expect(c, &a, but, what);
}

static int read_arn(struct client *c, const char *function, char **ret_arn)
{
	_cleanup_answer_ struct client_answer a = {0};
	int code = send(c, "GetRole", function, "", &a);
	struct str s = buf_str(&a.body);
	const char *from, *to;

	if (!code)
		code = expect(c, &a, "", "reading the role of the function");
	if (code)
		return code;
	from = memmem(s.ptr, s.len, "<Arn>", 5);
	to = from ? memmem(from, (size_t)(s.ptr + s.len - from), "</Arn>", 6) : NULL;
	if (!to)
		return cli_fail(CLI_FAILED, "give --role ARN", "GetRole answered without an ARN");
	*ret_arn = xstrndup(from + 5, (size_t)(to - from - 5));
	return CLI_OK;
}

int role_make(struct client *c, const char *function, char **ret_arn)
{
	_cleanup_free_ char *encoded = xmalloc(3 * sizeof(trust) + 1), *document = NULL;
	size_t n = url_encode(str_from(trust), false, encoded);
	int code;

	document = xasprintf("&AssumeRolePolicyDocument=%.*s", (int)n, encoded);
	code = call(c, "CreateRole", function, document, "EntityAlreadyExists",
	    "making a role for the function");
	if (!code)
		code = call(c, "AttachRolePolicy", function, LOGS_POLICY, "",
		    "letting the role write logs");
	return code ? code : read_arn(c, function, ret_arn);
}

int role_remove(struct client *c, const char *function)
{
	int code = call(c, "DetachRolePolicy", function, LOGS_POLICY, "NoSuchEntity",
	    "removing the role's policy");

	return code ? code
		    : call(c, "DeleteRole", function, "", "NoSuchEntity", "removing the role");
}
