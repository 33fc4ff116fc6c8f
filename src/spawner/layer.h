/* Unpacked layers of images, DATA/layers/<diff id>. In short-lived children only. */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

/* Unpack what comes by the pipe `input` to layers/<hash>, if its contents have that hash. It has a
 * mark until layers_sync(): see docs/adr/0022. */
void layer_unpack(int layers, int input, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret);

/* Have the disk write what it has not, and take away the marks that were there before. */
void layers_sync(int layers);
/* At start: remove layers with a mark of another boot of the machine, which may lack contents. True
 * if others have marks: layers_sync() is due. */
bool layers_check(int layers);
