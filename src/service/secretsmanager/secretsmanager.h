/*
 * Secrets Manager: secrets with versions and staging labels. Values are sealed on disk under a key
 * of this installation. Rotation and replication are not here. Loop thread only. The context of
 * secretsmanager_service (gen/secretsmanager.h) is a struct secretsmanager.
 */
#pragma once

#include "auth/auth.h"
#include "base/buf.h"
#include "store/store.h"

struct secretsmanager;

/* Load all secrets; blocking, for start-up. Those whose recovery window is over are removed once
 * the loop runs, and daily. NULL and e on failure. */
struct secretsmanager *secretsmanager_open(
    struct loop *l, struct store *s, const struct auth *a, struct err *e);
/* No change is under way: close the store before. NULL is fine. */
void secretsmanager_close(struct secretsmanager *s);

/* Append a secret's value, in the clear, for what runs inside: secrets of tasks, credentials of
 * event sources. id: name, ARN or ARN without its six characters, of this account (an ARN's region
 * counts). json_key, stage and version: NULL or "" for the whole value, AWSCURRENT, any version.
 * 0, or -ENOENT (no such secret, version or key), -EINVAL (not JSON), -EIO, and e; never the
 * value in e. */
int secretsmanager_value(struct secretsmanager *s, const char *account, const char *region,
    const char *id, const char *json_key, const char *stage, const char *version, struct buf *ret,
    struct err *e);
