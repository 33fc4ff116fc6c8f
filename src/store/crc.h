/*
 * Cyclic checksums. CRC-32C (Castagnoli) by the processor's own instruction where it has one;
 * CRC-32 (IEEE 802.3) and CRC-64/NVME eight bytes a step by tables. Any thread.
 */
#pragma once

#include "base/base.h"

uint32_t crc32c(const void *data, size_t len);
/* Go on from the checksum of what came before; begin with 0. */
uint32_t crc32c_more(uint32_t crc, const void *data, size_t len);
/* Without the instruction: for tests. */
uint32_t crc32c_portable(const void *data, size_t len);
