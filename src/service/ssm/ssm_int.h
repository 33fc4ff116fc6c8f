/*
 * What the handlers of Parameter Store share. A parameter is one document in `heads`, key
 * "account/region/name": name, type, tags, and versions in order. The value of each version is a
 * document of its own in `values`, key "account/region/name#version", and never changes.
 */
#pragma once

#include <jansson.h>

#include "aws/aws.h"
#include "docs/call.h"
#include "gen/ssm.h"
#include "service/ssm/ssm.h"

#define NAME_MAX_ 1011
#define KEY_SIZE 2200
#define VERSIONS_MAX 100
#define SECURE "SecureString"

struct ssm {
	struct store *store;
	struct docs *heads, *values;
	uint8_t key[32];
};

static inline struct ssm *ssm_of(const struct call *c)
{
	return c->ctx;
}

/* ---- ssm.c ---- */

/* What a client names: a name or an ARN, and ":version" or ":label" behind it. */
struct ref {
	char key[KEY_SIZE], other_key[KEY_SIZE]; /* an ARN does not tell "x" from "/x" */
	const char *name;                        /* in key */
	char selector[128];                      /* ":3", "" when there is none */
};

/* False for what cannot name a parameter of this account and region (NULL: of any region, `home`
 * when it names none). */
bool parameter_ref_parse(
    const char *text, const char *account, const char *region, struct ref *ret);
/* The parameter's document and key (in ref or the table), or NULL. latest: to build a change on. */
const json_t *parameter_head(
    const struct ssm *s, const struct ref *r, bool latest, const char **ret_key);
/* The same as a call names it, within its account and region. */
const json_t *parameter_find_named(
    struct call *c, const char *text, bool latest, struct ref *ret, const char **ret_key);
/* And without a selector; ParameterNotFound. */
int parameter_find(struct call *c, const char *name, bool latest, const json_t **ret,
    const char **ret_key, struct err *e);

/* The version that a selector chooses ("": the last), or NULL. */
const json_t *parameter_version_pick(const json_t *head, const char *selector);
/* By its number or, when that is 0, the last. */
json_t *parameter_version_numbered(const json_t *head, int64_t number);
json_t *parameter_version_labelled(const json_t *head, const char *label, size_t *ret_at);
const json_t *parameter_version_last(const json_t *head);

/* Append the value of a version; sealed ones as opaque text unless decrypt. 0 or -EIO. */
int parameter_value_read(const struct ssm *s, const char *key, int64_t version, bool decrypt,
    struct buf *ret, struct err *e);
void parameter_value_put(struct ssm *s, struct docs_change *g, const char *key, int64_t version,
    bool secure, struct str value);
void parameter_value_delete(struct ssm *s, struct docs_change *g, const char *key, int64_t version);

/* ---- get.c ---- */

const char *parameter_arn(struct call *c, const json_t *head);
int parameter_fill(struct call *c, const char *key, const json_t *head, const json_t *version,
    const char *selector, bool decrypt, struct ssm_parameter *ret, struct err *e);
const struct ssm_parameter_label_list *parameter_labels(struct call *c, const json_t *version);

/* ---- filter.c ---- */

/* Are these filters of GetParametersByPath or of DescribeParameters? */
int parameter_filters_check(
    const struct ssm_parameter_string_filter_list *f, bool by_path, struct err *e);
/* Does the parameter pass? *version becomes the one that has the label asked for. */
bool parameter_filters_pass(
    const struct ssm_parameter_string_filter_list *f, const json_t *head, const json_t **version);
/* Is name below path ("/a/b", "/")? one_level: directly. */
bool path_holds(const char *name, const char *path, bool one_level);

/* ---- pattern.c ---- */

/* Does all of text match? 1, 0, or negative when it is no pattern. Bounded in time and memory. */
int allowed_pattern_match(const char *pattern, const char *text);
