/* A function's answer as an HTTP reply. See url_answer.h. */
#include "service/lambda/url_answer.h"

#define DEPTH_MAX 128

struct scan {
	struct arena *arena;
	const char *at, *end;
	bool broken;
	bool prelude; /* of an answer that streams */
};

static void space(struct scan *s)
{
	while (
	    s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
		s->at++;
}

static char peek(struct scan *s)
{
	space(s);
	return s->at < s->end ? *s->at : '\0';
}

static bool take(struct scan *s, char c)
{
	if (peek(s) != c || s->at == s->end)
		return false;
	s->at++;
	return true;
}

static void expect(struct scan *s, char c)
{
	if (!take(s, c))
		s->broken = true;
}

/* ---- strings ---- */

static bool hex4(const char *p, uint32_t *ret)
{
	unsigned char raw[2];

	if (!hex_decode((struct str){p, 4}, raw, 2))
		return false;
	*ret = (uint32_t)raw[0] << 8 | raw[1];
	return true;
}

static char *put_utf8(char *o, uint32_t c)
{
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 63));
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	}
	return o;
}

/* "\uXXXX", or a surrogate pair; *p stands behind the 'u'. A lone surrogate becomes U+FFFD. */
static char *unescape_unicode(const char **p, const char *end, char *o)
{
	uint32_t c, low;

	if (end - *p < 4 || !hex4(*p, &c))
		return NULL;
	*p += 4;
	if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' &&
	    hex4(*p + 2, &low) && low >= 0xdc00 && low < 0xe000) {
		*p += 6;
		return put_utf8(o, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
	}
	return put_utf8(o, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
}

/* The inside of a string that has escapes, into the arena; NULL if it is not valid. */
static char *unescape(struct scan *s, struct str raw, size_t *ret_len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char *out = arena_alloc(s->arena, raw.len + 1), *o = out;
	const char *p = raw.ptr, *end = raw.ptr + raw.len;

	while (p < end) {
		const char *known;

		if (*p != '\\') {
			*o++ = *p++;
			continue;
		}
		if (++p == end)
			return NULL;
		if (*p == 'u') {
			p++;
			o = unescape_unicode(&p, end, o);
			if (!o)
				return NULL;
			continue;
		}
		known = memchr(from, *p, sizeof(from) - 1);
		if (!known)
			return NULL;
		*o++ = to[known - from];
		p++;
	}
	*ret_len = (size_t)(o - out);
	return out;
}

static struct str string(struct scan *s)
{
	struct str raw = {"", 0};
	bool escaped = false;
	char *clean;

	if (!take(s, '"')) {
		s->broken = true;
		return raw;
	}
	raw.ptr = s->at;
	while (s->at < s->end && *s->at != '"') {
		if ((unsigned char)*s->at < 0x20)
			s->broken = true;
		if (*s->at == '\\') {
			escaped = true;
			s->at++;
		}
		s->at++;
	}
	if (s->at >= s->end) {
		s->broken = true;
		return (struct str){"", 0};
	}
	raw.len = (size_t)(s->at++ - raw.ptr);
	if (!escaped)
		return raw;
	clean = unescape(s, raw, &raw.len);
	if (!clean)
		s->broken = true;
	raw.ptr = clean ? clean : "";
	return clean ? raw : (struct str){"", 0};
}

/* ---- other values ---- */

static struct str bare(struct scan *s)
{
	const char *from;

	space(s);
	from = s->at;
	while (s->at < s->end && *s->at != ',' && *s->at != '}' && *s->at != ']' && *s->at != ' ' &&
	       *s->at != '\n' && *s->at != '\r' && *s->at != '\t')
		s->at++;
	if (s->at == from)
		s->broken = true;
	return (struct str){from, (size_t)(s->at - from)};
}

/* Pass over any value. Iterative in width, bounded in depth. */
static void skip(struct scan *s, int depth)
{
	char c = peek(s), close = c == '{' ? '}' : ']';

	if (depth > DEPTH_MAX) {
		s->broken = true;
	} else if (c == '"') {
		string(s);
	} else if (c == '{' || c == '[') {
		s->at++;
		if (take(s, close))
			return;
		do {
			if (c == '{') {
				string(s);
				expect(s, ':');
			}
			skip(s, depth + 1);
		} while (!s->broken && take(s, ','));
		expect(s, close);
	} else {
		bare(s);
	}
}

/* A header's value: a string, or a number or boolean as it is written. */
static struct str scalar(struct scan *s)
{
	char c = peek(s);

	if (c == '"')
		return string(s);
	if (c == '{' || c == '[') {
		s->broken = true;
		return (struct str){"", 0};
	}
	return bare(s);
}

static void add(struct scan *s, struct url_answer *a, struct str name, struct str value)
{
	if (a->header_count == URL_HEADERS_MAX) {
		s->broken = true;
		return;
	}
	if (str_eq_nocase(name, STR("content-type")))
		a->has_content_type = true;
	a->headers[a->header_count++] = (struct http_header){name, value};
}

static void headers(struct scan *s, struct url_answer *a)
{
	if (peek(s) == 'n') {
		skip(s, 0);
		return;
	}
	expect(s, '{');
	if (s->broken || take(s, '}'))
		return;
	do {
		struct str name = string(s);

		expect(s, ':');
		if (!s->broken)
			add(s, a, name, scalar(s));
	} while (!s->broken && take(s, ','));
	expect(s, '}');
}

static void cookies(struct scan *s, struct url_answer *a)
{
	if (peek(s) == 'n') {
		skip(s, 0);
		return;
	}
	expect(s, '[');
	if (s->broken || take(s, ']'))
		return;
	do
		add(s, a, STR("set-cookie"), string(s));
	while (!s->broken && take(s, ','));
	expect(s, ']');
}

static void status(struct scan *s, struct url_answer *a)
{
	int64_t v = 0;

	if (!str_to_int64(scalar(s), 100, 599, &v))
		s->broken = true;
	a->status = (unsigned)v;
}

static void member(struct scan *s, struct url_answer *a, bool *base64)
{
	struct str name = string(s);

	expect(s, ':');
	if (s->broken)
		return;
	if (str_is(name, "statusCode"))
		status(s, a);
	else if (str_is(name, "headers"))
		headers(s, a);
	else if (str_is(name, "cookies"))
		cookies(s, a);
	else if (str_is(name, "body"))
		a->body = peek(s) == 'n' ? (skip(s, 0), (struct str){"", 0}) : scalar(s);
	else if (str_is(name, "isBase64Encoded"))
		*base64 = str_is(bare(s), "true");
	else
		skip(s, 0);
}

static int decode_body(struct arena *arena, struct url_answer *a)
{
	char *out = arena_alloc(arena, a->body.len + 1);
	ssize_t n = base64_decode(a->body, out);

	if (n < 0)
		return -EINVAL;
	a->body = (struct str){out, (size_t)n};
	return 0;
}

static int object(struct scan *s, struct str payload, struct url_answer *a)
{
	bool base64 = false;

	s->at++;
	if (!take(s, '}')) {
		do
			member(s, a, &base64);
		while (!s->broken && take(s, ','));
		expect(s, '}');
	}
	if (s->broken)
		return -EINVAL;
	if (!a->status && s->prelude)
		a->status = 200;
	if (!a->status) { /* not meant as an HTTP reply: the JSON itself is the body */
		*a = (struct url_answer){.status = 200, .body = payload};
		return 0;
	}
	return base64 ? decode_body(s->arena, a) : 0;
}

static void clear(struct url_answer *a)
{
	a->status = 0;
	a->header_count = 0;
	a->has_content_type = false;
	a->body = (struct str){"", 0};
}

int url_prelude_parse(struct arena *arena, struct str prelude, struct url_answer *ret)
{
	struct scan s = {
	    .arena = arena, .at = prelude.ptr, .end = prelude.ptr + prelude.len, .prelude = true};

	clear(ret);
	if (peek(&s) != '{' || object(&s, prelude, ret) < 0 || peek(&s) || s.at != s.end)
		return -EINVAL;
	return 0;
}

int url_answer_parse(struct arena *arena, struct str payload, struct url_answer *ret)
{
	struct scan s = {.arena = arena, .at = payload.ptr, .end = payload.ptr + payload.len};
	int r = 0;

	clear(ret);
	switch (peek(&s)) {
	case '{': r = object(&s, payload, ret); break;
	case '"':
		ret->body = string(&s); /* comes out without its quotes */
		ret->status = 200;
		break;
	default:
		skip(&s, 0);
		ret->body = payload;
		ret->status = 200;
		break;
	}
	if (s.broken || peek(&s) || s.at != s.end)
		return -EINVAL;
	return r;
}
