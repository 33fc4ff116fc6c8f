/* See role.h. */
#include "cli/role.h"

#define VERSION "2010-05-08"
#define LOGS_POLICY "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"

static const char function_trust[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
    "\"Principal\":{\"Service\":\"lambda.amazonaws.com\"},"
    "\"Action\":\"sts:AssumeRole\"}]}";

struct pair {
	const char *name, *value;
};

static void put_pair(struct buf *out, const char *name, const char *value)
{
	_cleanup_free_ char *encoded = xmalloc(3 * strlen(value) + 1);
	size_t n = url_encode(str_from(value), false, encoded);

	buf_printf(out, "&%s=%.*s", name, (int)n, encoded);
}

/* pairs: up to one without a name. */
static int send(struct client *c, const char *action, const char *role, const struct pair *pairs,
    struct client_answer *ret)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct client_request r = {
	    .service = "iam",
	    .method = "POST",
	    .path = "/",
	    .type = "application/x-www-form-urlencoded",
	};

	buf_printf(&body, "Action=%s&Version=" VERSION, action);
	put_pair(&body, "RoleName", role);
	for (; pairs && pairs->name; pairs++)
		put_pair(&body, pairs->name, pairs->value);
	r.body = buf_str(&body);
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

static int call(struct client *c, const char *action, const char *role, const struct pair *pairs,
    const char *but, const char *what)
{
	_cleanup_answer_ struct client_answer a = {0};
	int code = send(c, action, role, pairs, &a);

	return code ? code : expect(c, &a, but, what);
}

static int read_arn(struct client *c, const char *role, char **ret_arn)
{
	_cleanup_answer_ struct client_answer a = {0};
	int code = send(c, "GetRole", role, NULL, &a);
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

char *role_name(const char *function)
{
	return xasprintf("mayfly-%.57s", function);
}

int role_put(struct client *c, const char *role, const json_t *trust, char **ret_arn)
{
	_cleanup_free_ char *text = trust ? json_dumps(trust, JSON_COMPACT) : NULL;
	const struct pair pairs[] = {
	    {"AssumeRolePolicyDocument", text ? text : function_trust}, {NULL, NULL}};
	int code = call(c, "CreateRole", role, pairs, "EntityAlreadyExists", "making a role");

	return code ? code : read_arn(c, role, ret_arn);
}

int role_attach(struct client *c, const char *role, const char *policy)
{
	_cleanup_free_ char *arn = strncmp(policy, "arn:", 4)
				       ? xasprintf("arn:aws:iam::aws:policy/%s", policy)
				       : xstrdup(policy);
	const struct pair pairs[] = {{"PolicyArn", arn}, {NULL, NULL}};

	return call(c, "AttachRolePolicy", role, pairs, "", "attaching a policy to a role");
}

int role_put_policy(struct client *c, const char *role, const char *name, const json_t *document)
{
	_cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);
	const struct pair pairs[] = {
	    {"PolicyName", name}, {"PolicyDocument", text ? text : ""}, {NULL, NULL}};

	return call(c, "PutRolePolicy", role, pairs, "", "giving a role its policy");
}

int role_make(struct client *c, const char *function, char **ret_arn)
{
	_cleanup_free_ char *role = role_name(function);
	int code = role_put(c, role, NULL, ret_arn);

	return code ? code : role_attach(c, role, LOGS_POLICY);
}

/* ---- removing ---- */

/* Every text between `open` and `close` in the answer of a listing; fn's failure ends it. */
static int each_listed(struct client *c, const char *role, const char *list, const char *tag,
    const char *remove, const char *parameter)
{
	_cleanup_answer_ struct client_answer a = {0};
	_cleanup_free_ char *open = xasprintf("<%s>", tag);
	int code = send(c, list, role, NULL, &a);
	struct str s = buf_str(&a.body);
	const char *at = s.ptr, *end = s.ptr + s.len;

	if (!code)
		code = expect(c, &a, "NoSuchEntity", "listing the policies of a role");
	while (!code && (at = memmem(at, (size_t)(end - at), open, strlen(open)))) {
		const char *from = at + strlen(open);
		const char *to = memchr(from, '<', (size_t)(end - from));
		_cleanup_free_ char *value = to ? xstrndup(from, (size_t)(to - from)) : NULL;
		const struct pair pairs[] = {{parameter, value}, {NULL, NULL}};

		if (!to)
			break;
		at = to;
		code = call(c, remove, role, pairs, "NoSuchEntity", "removing a policy of a role");
	}
	return code;
}

int role_strip(struct client *c, const char *role)
{
	int code = each_listed(
	    c, role, "ListAttachedRolePolicies", "PolicyArn", "DetachRolePolicy", "PolicyArn");

	return code ? code
		    : each_listed(
			  c, role, "ListRolePolicies", "member", "DeleteRolePolicy", "PolicyName");
}

int role_remove(struct client *c, const char *function)
{
	_cleanup_free_ char *role = role_name(function);
	int code = role_strip(c, role);

	return code ? code : call(c, "DeleteRole", role, NULL, "NoSuchEntity", "removing the role");
}
