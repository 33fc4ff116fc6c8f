/* Shared by the three files of Signature Version 4. */
#pragma once

#include "aws/sigv4.h"

void sigv4_hmac(const void *key, size_t key_len, struct str data, uint8_t ret[32]);
void sigv4_hmac_hex(const uint8_t key[32], struct str data, char ret[SIGV4_HEX]);
/* "time\nscope\n", the middle of every text to be signed. */
void sigv4_append_scope(struct buf *b, const struct sigv4_auth *auth);
