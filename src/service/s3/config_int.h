/* The configuration side of the s3 service: config*.c, policy.c, cors.c, lifecycle.c, notify.c. */
#pragma once

#include "service/s3/request_int.h"
#include "service/s3/s3_int.h"

/* The structure of a kind's shape (struct s3_cors_configuration…), or NULL: not configured. Not for
 * the policy. */
const void *config_value(const struct bucket *b, enum config_kind kind);
/* Its text; the caller frees. */
char *config_text(enum config_kind kind, const void *value);
char *config_ownership_text(const char *ownership);
/* Put and delete a document and answer the call; they return CALL_PENDING. */
int config_put(
    struct call *c, struct bucket *b, enum config_kind kind, const void *value, struct err *e);
int config_delete(struct call *c, struct bucket *b, enum config_kind kind);

/* What the bucket's public-access block says; never NULL. */
const struct s3_public_access_block_configuration *config_public_access(const struct bucket *b);
