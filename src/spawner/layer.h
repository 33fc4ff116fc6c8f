/* Unpacked layers of images, DATA/layers/<diff id>. In short-lived children only. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

/* Unpack what comes by the pipe `input` to layers/<hash>, if its contents have that hash; durable
 * when it returns. */
void layer_unpack(int layers, int input, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret);
