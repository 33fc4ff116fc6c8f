/*
 * Slices of bytes that somebody else owns, and the small codecs that everything needs: hex,
 * base64, percent-encoding, UTF-8, numbers. A slice need not end in NUL. Any thread.
 */
#pragma once

#include "base/base.h"

struct str {
	const char *ptr;
	size_t len;
};

#define STR_NULL ((struct str){NULL, 0})
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_FMT(s) (int)(s).len, (s).ptr /* for %.*s; only for slices below 2 GiB */

static inline struct str str_from(const char *s)
{
	return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(struct str a, const char *b)
{
	return str_eq(a, str_from(b));
}

static inline struct str str_sub(struct str s, size_t from)
{
	return from >= s.len ? STR_NULL : (struct str){s.ptr + from, s.len - from};
}

/* ASCII only; header names and the like. */
bool str_eq_nocase(struct str a, struct str b);
bool str_has_prefix(struct str s, const char *prefix);
bool str_has_suffix(struct str s, const char *suffix);
struct str str_trim(struct str s); /* spaces and tabs at both ends */

/* Cut s at the first `sep`: returns what is before, leaves what is after in *s. When `sep` is not
 * there, returns all and leaves *s with ptr NULL, which tells "nothing more" from "empty rest". */
struct str str_cut(struct str *s, char sep);

/* Whole slice as a decimal number within [min, max]; no sign but '-', no spaces. False if not. */
bool str_to_int64(struct str s, int64_t min, int64_t max, int64_t *ret);

/* Lower-case hex; out has room for 2 * len + 1 bytes. */
void hex_encode(const void *in, size_t len, char *out);
/* Exactly 2 * len hex digits into out; false on anything else. */
bool hex_decode(struct str in, void *out, size_t len);

/* Room needed by base64_encode(), with the NUL. */
#define BASE64_ENCODED_SIZE(len) (((len) + 2) / 3 * 4 + 1)
size_t base64_encode(const void *in, size_t len, char *out);
/* Standard alphabet, padding required, no white space. Returns the decoded length, or -EINVAL.
 * out has room for in.len / 4 * 3 bytes; it may be the memory of `in` itself. */
ssize_t base64_decode(struct str in, void *out);

/* Percent-decode into out (room for in.len bytes; may be the memory of `in`). '+' becomes a space
 * only if `plus`. Returns the length, or -EINVAL on a broken escape. */
ssize_t url_decode(struct str in, bool plus, char *out);
/* RFC 3986 encoding as SigV4 wants it: all but unreserved, '/' kept if `keep_slash`. out has room
 * for 3 * len + 1 bytes. Returns the length. */
size_t url_encode(struct str in, bool keep_slash, char *out);

/* Well-formed UTF-8: shortest form, no surrogates, at most U+10FFFF. */
bool utf8_valid(struct str s);
/* Count of code points in well-formed UTF-8. */
size_t utf8_count(struct str s);

/* 64-bit hash for maps (not for secrets); seeded per process by map_seed(). */
uint64_t str_hash(struct str s);
