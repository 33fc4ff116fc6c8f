/* Is a text JSON? Without building it. Any thread. */
#pragma once

#include "base/str.h"

/* Is it one JSON value and nothing else? At most 512 levels deep. *ret_at: where it is not. */
bool json_check(struct str text, size_t *ret_at);
