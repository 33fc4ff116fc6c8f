/* Extraction of a zip file into the current directory. Single-threaded; trusts nothing in it. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

#define ZIP_ENTRIES_MAX 100000
#define ZIP_NAME_MAX 1024 /* of a whole path */
#define ZIP_DEPTH_MAX 64  /* directories in a path */

/* Read the zip from descriptor `archive`; write at most limit_bytes of file data. ret->text says
 * in AWS's words what is wrong with it. */
void zip_extract(int archive, uint64_t limit_bytes, struct wire_outcome *ret);

/* Is this a path that stays below the directory it starts in? Not empty, not absolute, no "..",
 * no "\0", none of the limits above exceeded. */
bool zip_path_ok(const char *path);
/* Does a link at `path` to `target` stay inside, if all other links do? */
bool zip_link_ok(const char *path, const char *target);
