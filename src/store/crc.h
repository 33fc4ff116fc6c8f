/* CRC-32C (Castagnoli), by the processor's own instruction where it has one. Any thread. */
#pragma once

#include "base/base.h"

uint32_t crc32c(const void *data, size_t len);
/* Without the instruction: for tests. */
uint32_t crc32c_portable(const void *data, size_t len);
