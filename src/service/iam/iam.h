/*
 * IAM: users and their access keys, roles, groups, managed and inline policies. Policies are
 * checked and kept, not evaluated: every key of the account may do everything.
 *
 * Everything is in memory and written through to the store (space "iam"); what a request reads is
 * on disk. An object is a JSON document that is never changed in place: a handler builds the next
 * one, the store's callback swaps it in. Access keys are told to src/auth in the same moment, so
 * they verify when the client learns of them, and after a restart. Loop thread only. The context
 * of iam_service (gen/iam.h) is the struct iam.
 */
#pragma once

#include "auth/auth.h"
#include "store/store.h"

struct iam;

/* Load from the store and tell auth the active access keys. Blocking, for start-up. Both must
 * outlive this. */
struct iam *iam_open(struct store *s, struct auth *a, struct err *e);
/* No write may be under way: close the store first. NULL is fine. */
void iam_close(struct iam *m);

struct iam_role_facts {
	const char *name, *id; /* "AROA…" */
	const char *trust;     /* the trust policy, JSON */
	int64_t max_session_s;
};

/* The role with this ARN in this account: 0, or -ENOENT. Strings are valid until the loop goes
 * on. */
int iam_role_find(struct iam *m, const char *account, const char *arn, struct iam_role_facts *ret);
