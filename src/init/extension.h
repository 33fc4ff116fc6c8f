/* The extensions of a box: see extension.c. */
#pragma once

#include "init/init.h"

#define EXTENSION_PATH_SIZE (sizeof(INIT_EXTENSION_DIR) + 256)

/* The paths of all executable files of the folder at dir, in the order of their names, into paths.
 * Returns how many, -E2BIG when there are more than INIT_EXTENSIONS_MAX, or -errno. */
int extension_list(const char *dir, char paths[][EXTENSION_PATH_SIZE]);
