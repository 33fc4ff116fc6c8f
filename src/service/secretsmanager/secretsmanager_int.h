/*
 * What the handlers of Secrets Manager share. A secret is one document in `heads`, key
 * "account/region/name", with its tags, policy and "versions": {id: {"created", "stages": […]}}.
 * Each version's value is a document of its own in `values`, key "account/region/name#id", and
 * never changes.
 */
#pragma once

#include <jansson.h>

#include "aws/aws.h"
#include "docs/call.h"
#include "gen/secretsmanager.h"
#include "loop/loop.h"
#include "service/secretsmanager/secretsmanager.h"

#define CURRENT "AWSCURRENT"
#define PREVIOUS "AWSPREVIOUS"
#define SUFFIX_SIZE 7
#define VERSIONS_MAX 100
#define TAGS_MAX 50
#define DAY_MS 86400000

struct secretsmanager {
	struct loop *loop;
	struct store *store;
	struct docs *heads, *values;
	struct loop_timer purge;
	uint8_t key[32];
};

static inline struct secretsmanager *manager_of(const struct call *c)
{
	return c->ctx;
}

/* ---- service.c ---- */

/* A secret: as it is on disk, or as changes under way will leave it. */
struct secret {
	const json_t *head;
	const char *key; /* in the call's arena */
	const char *arn, *name;
};

enum wanted {
	SEEN = 0,      /* on disk */
	CHANGE = 1,    /* to build a change on */
	EVEN_GONE = 2, /* also when it is marked for deletion */
};
/* By name, ARN or partial ARN. ResourceNotFoundException, InvalidRequestException. */
int secret_find(struct call *c, const char *id, unsigned wanted, struct secret *ret, struct err *e);
struct secret secret_of(struct call *c, const char *key, const json_t *head);

/* ---- value.c ---- */

struct value {
	struct buf text;
	bool binary;
};
void secret_value_wipe(struct value *v);
#define _cleanup_value_ _cleanup_(secret_value_wipe)

/* 0 or -EIO and e. */
int secret_value_read(const struct secretsmanager *s, const char *key, const char *version,
    bool latest, struct value *ret, struct err *e);
void secret_value_put(struct secretsmanager *s, struct docs_change *g, const char *key,
    const char *version, struct str text, bool binary);
void secret_value_delete(
    struct secretsmanager *s, struct docs_change *g, const char *key, const char *version);
/* The secret with all of its versions. */
void secret_delete(
    struct secretsmanager *s, struct docs_change *g, const char *key, const json_t *head);

/* ---- stage.c ---- */

/* The version that has this stage, or NULL. */
const char *stage_holder(const json_t *head, const char *stage);
bool stage_is_on(const json_t *version, const char *stage);
/* Onto a version, from wherever it is; AWSCURRENT leaves AWSPREVIOUS behind. */
void stage_move(json_t *head, const char *stage, const char *version);
const struct secretsmanager_secret_version_stages_type *secret_stages_shown(
    struct call *c, const json_t *version);
const struct secretsmanager_secret_versions_to_stages_map_type *secret_stages_map(
    struct call *c, const json_t *head);

/* ---- read.c ---- */

/* Which version is asked for? AWSCURRENT by default. */
int secret_version_find(struct call *c, const json_t *head, const char *version, const char *stage,
    const char **ret, struct err *e);
int secret_value_show(struct call *c, const struct secret *s, const char *version,
    struct secretsmanager_get_secret_value_out *out, struct err *e);

/* ---- filter.c ---- */

int secret_filters_check(const struct secretsmanager_filters_list_type *f, struct err *e);
bool secret_filters_pass(const struct secretsmanager_filters_list_type *f, const json_t *head);

/* ---- tag.c ---- */

int secret_tags_merge(
    json_t *head, const struct secretsmanager_tag_list_type *given, struct err *e);
const struct secretsmanager_tag_list_type *secret_tags_shown(struct call *c, const json_t *head);
