/*
 * STS: who am I, and temporary keys. Nothing is stored: keys are made and sealed by src/auth.
 * Loop thread only. The context of sts_service (gen/sts.h) is a struct sts. Roles belong to
 * another service, so core says how to find one.
 */
#pragma once

#include "auth/auth.h"

struct sts;

struct sts_role {
	const char *name, *id; /* "AROA…"; valid until the loop goes on */
	int64_t max_session_s;
};

/* The role with this ARN in this account: 0, or negative when there is none. */
typedef int sts_find_role_fn(void *ctx, const char *account, const char *arn, struct sts_role *ret);

struct sts *sts_open(struct auth *a, sts_find_role_fn *find_role, void *ctx);
void sts_close(struct sts *s); /* NULL is fine */
