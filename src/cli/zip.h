/* A function's zip file out of a directory: the same bytes for the same files, everywhere. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* Lambda's limit for code that is sent inside a request. */
#define ZIP_MAX (50 << 20)

/* Append to `ret` a zip of all files below `dir` but those that only tools need (.git, mayfly.json,
 * template.yaml, __pycache__, .DS_Store). Names are sorted and every date is the same; modes are
 * 755 and 644, links stay links. *ret_files counts. -EFBIG beyond ZIP_MAX. */
int zip_make(const char *dir, struct buf *ret, size_t *ret_files, struct err *e);
