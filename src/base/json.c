/* The check that text is JSON: one pass, no memory but a bit for each level. See json.h. */
#include "base/json.h"

#define DEPTH_MAX 512

struct scan {
	const char *at, *end;
	uint64_t object[DEPTH_MAX / 64]; /* bit set: this level is an object */
	unsigned depth;
	bool not_ascii; /* seen in a string: UTF-8 is to be checked */
};

size_t json_plain(struct str s)
{
	const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
	uint64_t w, quote, slash;
	size_t i = 0;

	for (; s.len - i >= 8; i += 8) {
		memcpy(&w, s.ptr + i, 8);
		quote = w ^ (ones * '"');
		slash = w ^ (ones * '\\');
		if (((w - ones * 0x20) | (quote - ones) | (slash - ones) | w) & highs)
			break;
	}
	return i;
}

static void skip_space(struct scan *s)
{
	while (
	    s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
		s->at++;
}

static bool take(struct scan *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
		return false;
	s->at += n;
	return true;
}

static bool take_digits(struct scan *s)
{
	const char *start = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > start;
}

static bool take_number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !take_digits(s))
		return false;
	if (take(s, '.') && !take_digits(s))
		return false;
	if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
		s->at++;
		if (!take(s, '+'))
			take(s, '-');
		return take_digits(s);
	}
	return true;
}

static bool take_escape(struct scan *s)
{
	char c;

	if (s->at == s->end)
		return false;
	c = *s->at++;
	if (c != 'u')
		return memchr("\"\\/bfnrt", c, 8) != NULL;
	for (int i = 0; i < 4; i++, s->at++) {
		if (s->at == s->end || !memchr("0123456789abcdefABCDEF", *s->at, 22))
			return false;
	}
	return true;
}

static bool take_string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	for (;;) {
		unsigned char c;

		s->at += json_plain((struct str){s->at, (size_t)(s->end - s->at)});
		if (s->at == s->end)
			break;
		c = (unsigned char)*s->at++;
		if (c == '"')
			return true;
		s->not_ascii |= c >= 0x80;
		if (c < 0x20 || (c == '\\' && !take_escape(s)))
			break;
	}
	return false;
}

static bool take_scalar(struct scan *s)
{
	if (s->at == s->end)
		return false;
	switch (*s->at) {
	case '"': return take_string(s);
	case 't': return take_word(s, "true");
	case 'f': return take_word(s, "false");
	case 'n': return take_word(s, "null");
	default: return take_number(s);
	}
}

static bool in_object(const struct scan *s)
{
	return s->depth && (s->object[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1);
}

static bool push(struct scan *s, bool object)
{
	uint64_t bit = (uint64_t)1 << (s->depth % 64);

	if (s->depth == DEPTH_MAX)
		return false;
	if (object)
		s->object[s->depth / 64] |= bit;
	else
		s->object[s->depth / 64] &= ~bit;
	s->depth++;
	return true;
}

static bool take_key(struct scan *s)
{
	skip_space(s);
	if (!take_string(s))
		return false;
	skip_space(s);
	return take(s, ':');
}

/* After a value: close what ends here, or get ready for the next one. *ret_more is false at the
 * end of the outermost value. */
static bool after_value(struct scan *s, bool *ret_more)
{
	for (;;) {
		skip_space(s);
		*ret_more = s->depth > 0;
		if (!s->depth)
			return true;
		if (take(s, ','))
			return !in_object(s) || take_key(s);
		if (!take(s, in_object(s) ? '}' : ']'))
			return false;
		s->depth--;
	}
}

/* A value, or the beginning of one. *ret_open: it is an array or object with something in it. */
static bool begin_value(struct scan *s, bool *ret_open)
{
	*ret_open = false;
	skip_space(s);
	if (take(s, '{')) {
		skip_space(s);
		if (take(s, '}'))
			return true;
		*ret_open = true;
		return push(s, true) && take_key(s);
	}
	if (take(s, '[')) {
		skip_space(s);
		if (take(s, ']'))
			return true;
		*ret_open = true;
		return push(s, false);
	}
	return take_scalar(s);
}

bool json_check(struct str text, size_t *ret_at)
{
	struct scan s = {.at = text.ptr, .end = text.ptr + text.len};
	bool ok = true, more = true, open;

	while (ok && more) {
		ok = begin_value(&s, &open);
		if (ok && !open)
			ok = after_value(&s, &more);
	}
	*ret_at = (size_t)(s.at - text.ptr);
	return ok && s.at == s.end && (!s.not_ascii || utf8_valid(text));
}
