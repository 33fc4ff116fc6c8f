/* Inside the ECR service. Keys of repositories are "ACCOUNT.REGION|NAME", as src/image has them. */
#pragma once

#include <jansson.h>

#include "aws/aws.h"
#include "docs/call.h"
#include "gen/ecr.h"
#include "service/ecr/ecr.h"

#define ECR_KEY_SIZE 340

struct ecr {
	struct loop *loop;
	struct store *store;
	struct auth *auth;
	struct images *images;
	const char *url;
	bool dev;
	uint8_t key[32]; /* seals authorization tokens */
	struct loop_timer lifecycle;
};

static inline struct ecr *ecr_of(const struct call *c)
{
	return c->ctx;
}

/* Is it this account's registry? 0 or fail(). registry_id may be NULL. */
int ecr_registry(struct call *c, const char *registry_id, struct err *e);
/* The repository's key and document as changes under way will leave it, or fail(). */
int ecr_repository(struct call *c, const char *registry_id, const char *name,
    char key[ECR_KEY_SIZE], const json_t **ret, struct err *e);
/* What the image room calls it; tag and digest are left empty. */
void ecr_reference(const struct call *c, const char *name, struct image_reference *ret);
/* A copy to be changed and committed as c's answer. */
int ecr_put(struct call *c, const char *key, json_t *doc);
/* "arn:aws:ecr:REGION:ACCOUNT:repository/NAME" */
const char *ecr_arn(struct call *c, const char *name);

/* A password for the registry, good for twelve hours. */
const char *ecr_token(struct call *c);

/* ---- image.c ---- */
struct ecr_held {
	const char *digest, *media_type;
	int64_t pushed_ms, bytes;
	const char **tags;
	size_t tag_count;
};
/* All images of a repository, oldest first, in the arena. */
struct ecr_held *ecr_images(struct images *i, struct arena *a, const char *key, size_t *ret_count);

/* ---- lifecycle.c ---- */
int lifecycle_check(const char *text, struct err *e);
struct lifecycle_verdict {
	const struct ecr_held *image;
	int64_t priority;
};
/* Which images a policy expires now. Memory is the arena's. Returns their number. */
size_t lifecycle_evaluate(const char *text, const struct ecr_held *images, size_t count,
    int64_t now_ms, struct arena *a, struct lifecycle_verdict **ret);
void lifecycle_soon(struct ecr *e);
