/* Filling a template root with small copies of host files. Before any child exists. */
#pragma once

#include "base/base.h"
#include "base/err.h"

/* Copy host file `from` (links followed, at most 2 MB) to `to`, mode 0644. A file that the host
 * does not have is not an error. */
int copy_file(const char *from, const char *to, struct err *e);
/* Copy a directory: files, links as they are, directories three deep. Missing is fine. */
int copy_tree(const char *from, const char *to, struct err *e);
int copy_text(const char *text, const char *to, struct err *e);
