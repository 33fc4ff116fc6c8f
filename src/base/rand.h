/* Random bytes from the kernel, and identifiers made of them. Any thread. Do not fail. */
#pragma once

#include "base/base.h"

void rand_bytes(void *out, size_t len);
/* `digits` lower-case hex digits and a NUL. */
void rand_hex(char *out, size_t digits);
/* Random version-4 UUID, 36 characters and a NUL. Buffered: costs no system call as a rule. */
void rand_uuid(char out[37]);
uint64_t rand_u64(void);
