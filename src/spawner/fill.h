/* What an image has at the path where a new volume is mounted goes into the volume, as with Docker.
 */
#pragma once

#include "base/err.h"

/* Owner, mode, and all directories, files and links of `from` into `to`, which is empty. Nobody
 * else works in either. Bounded in bytes, entries and depth. 0, or -errno and e. Consumes neither.
 */
int fill_tree(int from, int to, struct err *e);
