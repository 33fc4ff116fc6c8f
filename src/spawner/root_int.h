/* Parts of roots, shared by root.c and root_host.c. Paths are relative to the root being made. */
#pragma once

#include "spawner/root.h"

int root_make_dirs(const char *const names[], struct err *e); /* up to a NULL */
int root_set_attr(const char *path, uint64_t set, bool deep); /* MOUNT_ATTR_*; -1 and errno */
/* Bind host path `from` to `to` with everything mounted below it. */
int root_bind_tree(const char *from, const char *to, uint64_t attributes, struct err *e);
int root_small_tmpfs(const char *at, struct err *e);
/* /usr read-only, and /bin, /lib... as the host has them: links into it, or directories. */
int root_system_tree(const char *root, struct err *e);

/* What container runtimes see. */
int root_make_host(const struct root_options *o, struct err *e);
