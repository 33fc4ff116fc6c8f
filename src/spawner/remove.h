/* Removing trees of any contents without following a link. Blocking: short-lived children, start.
 */
#pragma once

#include "base/base.h"

/* dir/name and all below it, file or directory, however deep. 0 (also when there is none) or
 * -errno. */
int remove_tree(int dir, const char *name);

/* Everything in dir whose name begins with a dot: how unfinished and doomed things are named. */
void remove_hidden(int dir);

/* What this process makes, until it is whole and gets its name. */
void name_unfinished(char out[32]);

/* What processes left in dir that were killed before that. One whose number is in use again waits
 * for another time. */
void remove_unfinished(int dir);
