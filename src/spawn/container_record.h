/* Records of what core asks for, as container_spec.h describes them. */
#pragma once

#include "base/base.h"
#include "spawn/container_spec.h"

/* A sealed memfd with the record, the caller's; or -errno: -E2BIG when it is too long. */
int container_record_sandbox(const struct sandbox_spec *s);
int container_record_container(const struct container_spec *c);
/* sandbox: where the container is. */
int container_record_exec(const struct container_exec *x, const char *sandbox);

/* The other way, for a sandbox only: what a record on disk says. */
int container_record_read_sandbox(int fd, struct sandbox_spec *ret);
