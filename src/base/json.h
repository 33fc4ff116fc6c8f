/* Looking at JSON without building it. Any thread. */
#pragma once

#include "base/str.h"

/* Is it one JSON value and nothing else? At most 512 levels deep. *ret_at: where it is not. */
bool json_check(struct str text, size_t *ret_at);

/* So many bytes at the start of s are neither quote nor backslash, control character or beyond
 * ASCII: a multiple of eight, perhaps less than there are. Most of a large payload lies in long
 * strings. */
size_t json_plain(struct str s);
