/*
 * Parameter Store of Systems Manager: named values with versions, labels and tags. SecureStrings
 * are sealed on disk under a key of this installation; KMS keys are names that are kept and
 * returned. Loop thread only. The context of ssm_service (gen/ssm.h) is a struct ssm.
 */
#pragma once

#include "auth/auth.h"
#include "base/buf.h"
#include "store/store.h"

struct ssm;

/* Load all parameters; blocking, for start-up. NULL and e on failure. */
struct ssm *ssm_open(struct store *s, const struct auth *a, struct err *e);
/* No change is under way: close the store before. NULL is fine. */
void ssm_close(struct ssm *s);

/* Append a parameter's value, in the clear, for what runs inside: secrets of tasks. name: a name or
 * an ARN of this account (its region counts), both with ":version" or ":label" behind if wanted.
 * 0, or -ENOENT and e: there is no such parameter, version or label; -EIO and e. */
int ssm_value(struct ssm *s, const char *account, const char *region, const char *name,
    struct buf *ret, struct err *e);
