/* Checks and searches over the generated tables, for tests and fuzzing. */
#pragma once

#include "aws/model.h"

/* Every pattern compiles, operations and fields are in order, every URI label has a member. 0, or
 * -EINVAL with the offence logged. */
int aws_tables_check(const struct aws_service *s);
