/*
 * Cross-origin requests: which origins a browser may let a page of theirs read this bucket from.
 * The rules only add headers; they let nobody in. Preflights (OPTIONS) are answered from the rules
 * alone, unsigned, as browsers send them.
 */
#include "service/s3/form_int.h"

#include "auth/policy.h"

#define RULES_MAX 100
#define METHODS_MAX 5

/* ---- rules ---- */

static bool names_method(const struct s3_cors_rule *rule, struct str method)
{
	for (size_t i = 0; i < rule->allowed_methods->count; i++) {
		if (str_is(method, rule->allowed_methods->items[i]))
			return true;
	}
	return false;
}

/* At most one '*' in each, checked when they were put. */
static const char *match_origin(const struct s3_cors_rule *rule, struct str origin)
{
	for (size_t i = 0; i < rule->allowed_origins->count; i++) {
		const char *pattern = rule->allowed_origins->items[i];

		if (policy_matches(str_from(pattern), origin, false))
			return pattern;
	}
	return NULL;
}

static bool allows_header(const struct s3_cors_rule *rule, struct str name)
{
	for (size_t i = 0; rule->allowed_headers && i < rule->allowed_headers->count; i++) {
		if (policy_matches(str_from(rule->allowed_headers->items[i]), name, true))
			return true;
	}
	return false;
}

static bool allows_headers(const struct s3_cors_rule *rule, struct str list)
{
	while (list.ptr) {
		struct str name = str_trim(str_cut(&list, ','));

		if (name.len && !allows_header(rule, name))
			return false;
	}
	return true;
}

/* The first rule that fits, as on AWS. headers: of a preflight; ptr NULL otherwise. */
static const struct s3_cors_rule *find_rule(const struct bucket *b, struct str origin,
    struct str method, struct str headers, const char **ret_pattern)
{
	const struct s3_cors_configuration *cors = config_value(b, CONFIG_CORS);

	for (size_t i = 0; cors && i < cors->cors_rules->count; i++) {
		const struct s3_cors_rule *rule = &cors->cors_rules->items[i];
		const char *pattern = match_origin(rule, origin);

		if (!pattern || !names_method(rule, method) || !allows_headers(rule, headers))
			continue;
		*ret_pattern = pattern;
		return rule;
	}
	return NULL;
}

/* ---- answers ---- */

static const char *joined(struct call *c, size_t count, const char *const *items)
{
	const char *out = NULL;

	for (size_t i = 0; i < count; i++)
		out = out ? call_printf(c, "%s, %s", out, items[i]) : items[i];
	return out;
}

static void put_headers(
    struct call *c, const struct s3_cors_rule *rule, const char *pattern, struct str origin)
{
	bool any = !strcmp(pattern, "*");

	call_header(c, "Access-Control-Allow-Origin", any ? "*" : call_strn(c, origin));
	call_header(c, "Access-Control-Allow-Methods",
	    joined(c, rule->allowed_methods->count, rule->allowed_methods->items));
	if (!any)
		call_header(c, "Access-Control-Allow-Credentials", "true");
	if (rule->expose_headers && rule->expose_headers->count)
		call_header(c, "Access-Control-Expose-Headers",
		    joined(c, rule->expose_headers->count, rule->expose_headers->items));
	if (rule->max_age_seconds)
		call_header(c, "Access-Control-Max-Age",
		    call_printf(c, "%" PRId64, *rule->max_age_seconds));
}

/* The bucket of the path; NULL: none. */
static struct bucket *bucket_of(struct call *c)
{
	struct str path = str_sub(call_path(c), 1), name = path.ptr ? str_cut(&path, '/') : path;

	return name.len ? bucket_find(s3_of(c), call_strn(c, name)) : NULL;
}

void s3_answering(struct call *c, unsigned status)
{
	struct str origin = http_header(c->http, "origin");
	const struct s3_cors_rule *rule;
	const char *pattern;
	struct bucket *b;

	(void)status;
	if (!origin.ptr || str_is(c->http->method, "OPTIONS"))
		return;
	b = bucket_of(c);
	if (!b || !b->configs[CONFIG_CORS].parsed)
		return;
	call_header(
	    c, "Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
	rule = find_rule(b, origin, c->http->method, STR_NULL, &pattern);
	if (rule)
		put_headers(c, rule, pattern, origin);
}

int cors_preflight(struct call *c, struct err *e)
{
	struct str origin = http_header(c->http, "origin");
	struct str method = http_header(c->http, "access-control-request-method");
	struct str headers = http_header(c->http, "access-control-request-headers");
	struct bucket *b = bucket_of(c);
	const struct s3_cors_rule *rule;
	const char *pattern;

	if (!origin.ptr || !method.ptr)
		return fail(e, S3_INVALID_REQUEST,
		    "Insufficient information. Origin request header needed.");
	if (!b)
		return fail(e, S3_NO_SUCH_BUCKET, "The specified bucket does not exist");
	if (!b->configs[CONFIG_CORS].parsed)
		return fail(
		    e, S3_ACCESS_DENIED, "CORSResponse: CORS is not enabled for this bucket.");
	rule = find_rule(b, origin, method, headers, &pattern);
	if (!rule)
		return fail(e, S3_ACCESS_DENIED,
		    "CORSResponse: This CORS request is not allowed. This is usually because the "
		    "evalution of Origin, request method / Access-Control-Request-Method or "
		    "Access-Control-Request-Headers are not whitelisted by the resource's CORS "
		    "spec.");
	put_headers(c, rule, pattern, origin);
	if (headers.ptr)
		call_header(c, "Access-Control-Allow-Headers", call_strn(c, headers));
	call_header(
	    c, "Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
	call_reply_text(c, 200, "text/plain", STR(""));
	return 0;
}

/* ---- the operations ---- */

static bool one_star(const char *text)
{
	const char *star = strchr(text, '*');

	return !star || !strchr(star + 1, '*');
}

static int check_list(size_t count, const char *const *items, const char *what, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		if (!one_star(items[i]))
			return fail(e, S3_INVALID_REQUEST,
			    "%s \"%s\" can not have more than one wildcard.", what, items[i]);
	}
	return 0;
}

static int check_methods(const struct s3_cors_rule *rule, struct err *e)
{
	static const char *const known[] = {"GET", "PUT", "HEAD", "POST", "DELETE"};

	for (size_t i = 0; i < rule->allowed_methods->count; i++) {
		size_t k = 0;

		while (k < METHODS_MAX && strcmp(known[k], rule->allowed_methods->items[i]) != 0)
			k++;
		if (k == METHODS_MAX)
			return fail(e, S3_INVALID_REQUEST,
			    "Found unsupported HTTP method in CORS config. Unsupported method is "
			    "%s",
			    rule->allowed_methods->items[i]);
	}
	return 0;
}

static int check_rules(const struct s3_cors_rules *rules, struct err *e)
{
	int r = 0;

	if (rules->count > RULES_MAX)
		return fail(e, S3_INVALID_REQUEST,
		    "The number of CORS rules should not exceed allowed limit of %d rules.",
		    RULES_MAX);
	for (size_t i = 0; r == 0 && i < rules->count; i++) {
		const struct s3_cors_rule *rule = &rules->items[i];

		r = check_methods(rule, e);
		if (r == 0)
			r = check_list(rule->allowed_origins->count, rule->allowed_origins->items,
			    "AllowedOrigin", e);
		if (r == 0 && rule->allowed_headers)
			r = check_list(rule->allowed_headers->count, rule->allowed_headers->items,
			    "AllowedHeader", e);
	}
	return r;
}

int s3_put_bucket_cors(struct call *c, const struct s3_put_bucket_cors_in *in,
    struct s3_put_bucket_cors_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutBucketCORS", NULL, &b, e);

	if (r == 0)
		r = check_rules(in->cors_configuration->cors_rules, e);
	return r < 0 ? r : config_put(c, b, CONFIG_CORS, in->cors_configuration, e);
}

int s3_get_bucket_cors(struct call *c, const struct s3_get_bucket_cors_in *in,
    struct s3_get_bucket_cors_out *out, struct err *e)
{
	const struct s3_cors_configuration *cors;
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:GetBucketCORS", NULL, &b, e);

	if (r < 0)
		return r;
	cors = config_value(b, CONFIG_CORS);
	if (!cors)
		return fail(
		    e, S3_NO_SUCH_CORS_CONFIGURATION, "The CORS configuration does not exist");
	out->cors_rules = cors->cors_rules;
	return 0;
}

int s3_delete_bucket_cors(struct call *c, const struct s3_delete_bucket_cors_in *in,
    struct s3_delete_bucket_cors_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutBucketCORS", NULL, &b, e);

	return r < 0 ? r : config_delete(c, b, CONFIG_CORS);
}
