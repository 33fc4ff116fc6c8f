/*
 * What the front end of function URLs (url.c) asks of the stored configurations (url_config.c).
 * Private to this folder.
 */
#pragma once

#include "aws/principal.h"
#include "invoke/invoke.h"

struct lambda;

#define URL_CORS_LIST_MAX 100

struct url_cors {
	bool credentials;
	int64_t max_age_s; /* -1: not given */
	const char *const *origins, *const *methods, *const *headers, *const *expose;
	size_t origin_count, method_count, header_count, expose_count;
};

struct url_route {
	const char *id;
	struct invoke_version *version; /* chosen for this request: an alias may split traffic */
	const char *region;             /* the function's */
	const char *arn;                /* qualified if the URL is an alias's */
	bool iam;                       /* AuthType AWS_IAM */
	const struct url_cors *cors;    /* NULL: none */
};

/* -ENOENT: no such URL. -EBUSY: its function cannot run yet or any more. What *ret points to is
 * valid until the loop goes on. */
int url_config_route(struct lambda *l, struct str id, struct url_route *ret);

/* May this caller (NULL: anonymous) use the URL? Asks the function's resource policy, for both
 * lambda:InvokeFunctionUrl and lambda:InvokeFunction. */
bool url_config_allows(struct lambda *l, struct str id, const struct aws_principal *who);

/* The engine that checks signatures of AWS_IAM URLs. */
struct aws;
struct aws *url_config_engine(struct lambda *l);
struct invoke *url_config_invoke(struct lambda *l);
