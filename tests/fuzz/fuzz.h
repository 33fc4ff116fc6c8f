/* What every fuzz target defines: called with each input, returns 0, crashes when something is
 * wrong. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
