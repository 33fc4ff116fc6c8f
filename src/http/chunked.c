/*
 * Decoder of chunked bodies: a state machine over bytes, so that it can be cut anywhere. Chunk
 * data is not looked at. See codec.h.
 */
#include "http/codec.h"
#include "http/codec_int.h"

#define SIZE_DIGITS_MAX 15 /* below 2^60, leading zeros included */

/* In the order in which they come. */
enum {
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER, /* at the start of a trailer line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	END,
};

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_byte(struct http_chunked *c, char b)
{
	int digit = hex(b);

	if (digit >= 0) {
		if (++c->digits > SIZE_DIGITS_MAX)
			return -400;
		c->left = c->left << 4 | (unsigned)digit;
		return 0;
	}
	if (!c->digits || (b != ';' && b != '\r'))
		return -400;
	c->state = b == ';' ? EXTENSION : SIZE_LF;
	return 0;
}

static int extension_byte(struct http_chunked *c, char b)
{
	if (b == '\r')
		c->state = SIZE_LF;
	else if (!is_char(b, CHAR_VALUE) || ++c->extension_bytes > HTTP_CHUNK_EXT_MAX)
		return -400;
	return 0;
}

static int trailer_byte(struct http_chunked *c, char b)
{
	if (++c->trailer_bytes > HTTP_TRAILERS_MAX)
		return -431;
	switch (c->state) {
	case TRAILER:
		c->state = b == '\r' ? END_LF : TRAILER_NAME;
		return b == '\r' || is_char(b, CHAR_TOKEN) ? 0 : -400;
	case TRAILER_NAME:
		if (b == ':')
			c->state = TRAILER_VALUE;
		return b == ':' || is_char(b, CHAR_TOKEN) ? 0 : -400;
	default:
		if (b == '\r')
			c->state = TRAILER_LF;
		return b == '\r' || is_char(b, CHAR_VALUE) ? 0 : -400;
	}
}

static int expect(struct http_chunked *c, char b, char wanted, unsigned next)
{
	c->state = next;
	return b == wanted ? 0 : -400;
}

static int size_end(struct http_chunked *c, char b)
{
	c->digits = 0;
	return expect(c, b, '\n', c->left ? DATA : TRAILER);
}

static int take(struct http_chunked *c, char b)
{
	switch (c->state) {
	case SIZE: return size_byte(c, b);
	case EXTENSION: return extension_byte(c, b);
	case SIZE_LF: return size_end(c, b);
	case DATA_CR: return expect(c, b, '\r', DATA_LF);
	case DATA_LF: return expect(c, b, '\n', SIZE);
	case TRAILER_LF: return expect(c, b, '\n', TRAILER);
	case END_LF: return expect(c, b, '\n', END);
	default: return trailer_byte(c, b);
	}
}

static bool in_trailer(const struct http_chunked *c)
{
	return c->state >= TRAILER_NAME && c->state <= TRAILER_LF;
}

/* Rest of a trailer line, or as much of it as there is; nothing of the empty line at the end. */
static int take_trailer(struct http_chunked *c, struct str *in, struct str *data)
{
	*data = (struct str){in->ptr, 0};
	do {
		int r = take(c, *in->ptr);

		if (r < 0)
			return r;
		in->ptr++;
		in->len--;
		data->len++;
	} while (in->len && in_trailer(c));
	return c->state == END_LF ? HTTP_CHUNK_MORE : HTTP_CHUNK_TRAILER;
}

int http_chunked_next(struct http_chunked *c, struct str *in, struct str *data)
{
	while (c->state != END && in->len) {
		int r;

		if (c->state == TRAILER || in_trailer(c)) {
			r = take_trailer(c, in, data);
			if (r != HTTP_CHUNK_MORE)
				return r;
			continue;
		}
		if (c->state == DATA) {
			size_t n = c->left < in->len ? (size_t)c->left : in->len;

			*data = (struct str){in->ptr, n};
			in->ptr += n;
			in->len -= n;
			c->left -= n;
			if (!c->left)
				c->state = DATA_CR;
			return HTTP_CHUNK_DATA;
		}
		r = take(c, *in->ptr);
		if (r < 0)
			return r;
		in->ptr++;
		in->len--;
	}
	return c->state == END ? HTTP_CHUNK_END : HTTP_CHUNK_MORE;
}

/* What must not come behind a body: by then it has been decided. */
static bool is_misplaced(struct str name)
{
	static const char *const names[] = {"content-length", "transfer-encoding", "host",
	    "connection", "keep-alive", "upgrade", "expect", "te", "trailer", "authorization"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return false;
}

int http_trailers_parse(struct str lines, struct http_header *ret_fields)
{
	int n = 0;

	while (lines.len) {
		struct str value = str_cut(&lines, '\r'), name = str_cut(&value, ':');

		if (is_misplaced(name))
			return -400;
		if (n == HTTP_TRAILER_FIELDS_MAX)
			return -431;
		ret_fields[n++] = (struct http_header){name, str_trim(value)};
		lines = str_sub(lines, 1); /* LF */
	}
	return n;
}
