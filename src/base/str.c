/* String slices and small codecs. See str.h. */
#include "base/str.h"

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)b.ptr[i]))
			return false;
	return true;
}

bool str_has_prefix(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && memcmp(s.ptr, prefix, n) == 0;
}

bool str_has_suffix(struct str s, const char *suffix)
{
	size_t n = strlen(suffix);

	return s.len >= n && memcmp(s.ptr + s.len - n, suffix, n) == 0;
}

struct str str_trim(struct str s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

struct str str_cut(struct str *s, char sep)
{
	const char *at = s->len ? memchr(s->ptr, sep, s->len) : NULL;
	struct str head = *s;

	if (!at) {
		*s = STR_NULL;
		return head;
	}
	head.len = (size_t)(at - s->ptr);
	s->ptr = at + 1;
	s->len -= head.len + 1;
	return head;
}

bool str_to_int64(struct str s, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = s.len && s.ptr[0] == '-';
	uint64_t v = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	int64_t result;

	if (negative)
		s = str_sub(s, 1);
	if (!s.len || s.len > 19)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.ptr[i] - '0');
	}
	if (v > limit)
		return false;
	result = negative ? (int64_t)(0 - v) : (int64_t)v;
	if (result < min || result > max)
		return false;
	*ret = result;
	return true;
}

void hex_encode(const void *in, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = in;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(struct str in, void *out, size_t len)
{
	unsigned char *p = out;

	if (in.len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(in.ptr[2 * i]), low = hex_value(in.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *in, size_t len, char *out)
{
	const unsigned char *p = in;
	char *o = out;

	for (; len >= 3; len -= 3, p += 3) {
		*o++ = base64_alphabet[p[0] >> 2];
		*o++ = base64_alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*o++ = base64_alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*o++ = base64_alphabet[p[2] & 63];
	}
	if (len) {
		unsigned second = len == 2 ? p[1] : 0u;

		*o++ = base64_alphabet[p[0] >> 2];
		*o++ = base64_alphabet[(p[0] & 3u) << 4 | second >> 4];
		*o++ = len == 2 ? base64_alphabet[(second & 15) << 2] : '=';
		*o++ = '=';
	}
	*o = '\0';
	return (size_t)(o - out);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

ssize_t base64_decode(struct str in, void *out)
{
	unsigned char *o = out;
	size_t pad = 0;

	if (in.len % 4)
		return -EINVAL;
	if (in.len && in.ptr[in.len - 1] == '=')
		pad = in.ptr[in.len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < in.len; i += 4) {
		size_t keep = i + 4 == in.len ? 3 - pad : 3;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k > keep ? 0 : base64_value(in.ptr[i + k]);

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (uint32_t)d;
		}
		/* Bits that no byte uses must be zero: one text for one value. */
		if (keep < 3 && (v & (keep == 2 ? 0xffu : 0xffffu)))
			return -EINVAL;
		for (size_t k = 0; k < keep; k++)
			*o++ = (unsigned char)(v >> (16 - 8 * k));
	}
	return o - (unsigned char *)out;
}

ssize_t url_decode(struct str in, bool plus, char *out)
{
	char *o = out;

	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '%') {
			if (in.len - i < 3 || !hex_decode((struct str){in.ptr + i + 1, 2}, o, 1))
				return -EINVAL;
			o++;
			i += 2;
		} else {
			*o++ = plus && in.ptr[i] == '+' ? ' ' : in.ptr[i];
		}
	}
	return o - out;
}

static bool unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

size_t url_encode(struct str in, bool keep_slash, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	char *o = out;

	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];

		if (unreserved((char)c) || (keep_slash && c == '/')) {
			*o++ = (char)c;
			continue;
		}
		*o++ = '%';
		*o++ = digits[c >> 4];
		*o++ = digits[c & 15];
	}
	*o = '\0';
	return (size_t)(o - out);
}

/* Length of the well-formed sequence at p, or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t need;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	need = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (left < need)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return need;
}

bool utf8_valid(struct str s)
{
	uint64_t w;

	for (size_t i = 0; i < s.len;) {
		size_t n;

		if (s.len - i >= sizeof(w)) { /* most text is ASCII */
			memcpy(&w, s.ptr + i, sizeof(w));
			if (!(w & 0x8080808080808080)) {
				i += sizeof(w);
				continue;
			}
		}
		n = utf8_sequence((const unsigned char *)s.ptr + i, s.len - i);

		if (!n)
			return false;
		i += n;
	}
	return true;
}

size_t utf8_count(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
	return n;
}
