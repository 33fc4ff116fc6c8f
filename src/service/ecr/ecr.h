/*
 * ECR: repositories of our own registry and what is in them. Images themselves are those of
 * src/image, which speaks the distribution API; a repository is one document of its table, in the
 * form in which this API shows it. The context of ecr_service (gen/ecr.h) is a struct ecr. Loop
 * thread only.
 */
#pragma once

#include "auth/auth.h"
#include "base/err.h"
#include "image/image.h"
#include "loop/loop.h"
#include "store/store.h"

struct ecr;

struct ecr_options {
	struct loop *loop;
	struct store *store;
	struct auth *auth;
	struct images *images;
	const char *url; /* "http://127.0.0.1:4566": where the registry is */
	bool dev;
};
struct ecr *ecr_open(const struct ecr_options *o);
void ecr_close(struct ecr *e); /* NULL is fine */

/* For the registry: a token of GetAuthorizationToken under the name AWS, or an access key and its
 * secret. ctx is the struct ecr. */
bool ecr_allowed(void *ctx, struct str username, struct str password);
