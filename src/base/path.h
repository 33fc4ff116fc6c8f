/* Paths as texts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* An absolute path without empty parts, "." and "..", which never leads above "/"; links are not
 * looked at. out may not be path. False if it is not absolute or too long. */
bool path_clean(const char *path, char *out, size_t size);
/* Is a clean path this directory, or below it? "/" is above all. */
bool path_is_below(const char *path, const char *directory);
