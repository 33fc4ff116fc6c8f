/*
 * Giving back large memory without waiting for it: the kernel takes about a tenth of a millisecond
 * for each megabyte, and a loop that lets go of a package of 50 MB would stand still for that time.
 */
#pragma once

#include "base/base.h"

#define LARGE_MIN ((size_t)1 << 20) /* bytes; smaller blocks are freed at once */

/* From now on a thread frees what is large, and large blocks have pages of their own. Call once,
 * from a process that does not fork. Without it, or when the thread is far behind, large_free() is
 * free(3). Negative errno when there is no thread to be had. */
int large_start(void);
/* Free what is left and end the thread. */
void large_stop(void);

/* Like free(3) for a block of `size` bytes from malloc(3). Any thread. */
void large_free(void *block, size_t size);
