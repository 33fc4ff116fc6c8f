/* Authenticated encryption of small texts (AES-256-GCM with random nonces): session tokens, secrets
 * at rest. Pure functions; any thread. */
#pragma once

#include "base/buf.h"
#include "base/str.h"

#define SEAL_MAX (1 << 20)
#define SEAL_OVERHEAD (1 + 12 + 16)

/* Append the sealed form of plain, at most SEAL_MAX bytes, to out. aad is bound to it and not
 * kept: what is sealed for one name does not open under another. */
void auth_seal(const uint8_t key[32], struct str plain, struct str aad, struct buf *out);
/* Append the plain text to out; false for what this key did not seal for this aad. */
bool auth_unseal(const uint8_t key[32], struct str sealed, struct str aad, struct buf *out);
