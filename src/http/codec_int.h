/* Character classes of the grammar, shared by the head parser and the chunk decoder. */
#pragma once

#include "base/base.h"

enum {
	CHAR_TOKEN = 1,  /* method, header name */
	CHAR_VALUE = 2,  /* header value: visible, space, tab, bytes from 0x80 */
	CHAR_TARGET = 4, /* request target: visible ASCII but '#' */
	CHAR_HOST = 8,   /* Host: what an authority may hold, without user information */
};

extern const uint8_t http_chars[256];

static inline bool is_char(char c, unsigned classes)
{
	return http_chars[(unsigned char)c] & classes;
}
