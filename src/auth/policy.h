/*
 * Policy documents: parsed once, evaluated often. Resource policies of buckets, queues and
 * functions today, identity policies later: the same documents, the same evaluation. Knows the
 * language (Version, Statement, Principal, Action, Resource, their Not… forms, Condition with every
 * operator and its IfExists/ForAllValues/ForAnyValue variants, policy variables) and nothing of any
 * service. Pure functions; any thread.
 */
#pragma once

#include "aws/principal.h"
#include "base/err.h"
#include "base/str.h"

struct policy;

#define POLICY_DOCUMENT_MAX (20 * 1024)

enum policy_kind {
	POLICY_IDENTITY, /* attached to a user, group or role: actions on resources */
	POLICY_TRUST,    /* who may assume a role: principals */
	POLICY_RESOURCE, /* attached to a bucket, a queue, a function: both */
};

/* Is it a document of this kind? 0, or -EINVAL and AWS's words in e. */
int policy_check(struct str json, enum policy_kind kind, struct err *e);

/* Parse and check a document; NULL and e (words for a client) when it is not one. resource: it must
 * name principals, as resource policies do; otherwise it must not. */
struct policy *policy_parse(struct str json, bool resource, struct err *e);
void policy_free(struct policy *p); /* NULL is fine */
/* Does it let everybody in, for public-access blocks: an Allow for principal "*" that no condition
 * of the kinds AWS counts (source ARN, account, VPC, IP…) narrows. */
bool policy_is_public(const struct policy *p);

struct policy_value {
	const char *key; /* condition key, "aws:SourceArn"; compared without case */
	const char *value;
};

struct policy_request {
	const struct aws_principal *principal; /* NULL: a service or nobody */
	const char *service;                   /* "s3.amazonaws.com"; NULL: not a service */
	const char *action;                    /* "s3:GetObject" */
	const char *resource;                  /* its ARN */
	/* Context; a key may come more than once. What follows from the members here (aws:username,
	 * aws:PrincipalArn, aws:PrincipalAccount, aws:CurrentTime…) need not be given. */
	const struct policy_value *values;
	size_t value_count;
	int64_t now_ms; /* aws:CurrentTime */
};

enum policy_decision { POLICY_SILENT, POLICY_ALLOW, POLICY_DENY };

/* An explicit deny wins over any allow. A NULL policy is silent. */
enum policy_decision policy_evaluate(const struct policy *p, const struct policy_request *r);

/* '*' any number of characters, '?' one: ARN and action patterns, StringLike. */
bool policy_matches(struct str pattern, struct str text, bool ignore_case);
