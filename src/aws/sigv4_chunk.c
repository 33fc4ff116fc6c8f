/*
 * Bodies in aws-chunked coding: each chunk carries a signature that covers the one before, so that
 * a large upload is authenticated while it streams. Decoded in place; every length is checked
 * against what is there.
 */
#include "aws/sigv4_int.h"

#define CHUNK_HEAD_MAX 256
#define TRAILER_MAX 16384

enum sigv4_payload sigv4_payload_kind(struct str h)
{
	if (!h.ptr)
		return SIGV4_PAYLOAD_HASHED;
	if (str_is(h, "UNSIGNED-PAYLOAD"))
		return SIGV4_PAYLOAD_UNSIGNED;
	if (str_is(h, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"))
		return SIGV4_PAYLOAD_CHUNKED;
	if (str_is(h, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"))
		return SIGV4_PAYLOAD_CHUNKED_TRAILER;
	if (str_is(h, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
		return SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER;
	if (h.len != 64)
		return SIGV4_PAYLOAD_INVALID;
	for (size_t i = 0; i < h.len; i++)
		if (!strchr("0123456789abcdef", h.ptr[i]))
			return SIGV4_PAYLOAD_INVALID;
	return SIGV4_PAYLOAD_HASHED;
}

struct chunks {
	struct str in; /* what is left */
	char *out;     /* never ahead of `in` */
	size_t out_len;
	const struct sigv4_auth *auth;
	const uint8_t *key;
	char previous[SIGV4_HEX]; /* signature */
	struct err *e;
};

static int malformed(struct chunks *c)
{
	err_set(c->e, EPERM, "The request body is not in aws-chunked coding, or is cut short.");
	return SIGV4_INCOMPLETE;
}

static int mismatch(struct chunks *c)
{
	err_set(c->e, EPERM,
	    "The chunk signature we calculated does not match the signature you provided.");
	return SIGV4_MISMATCH;
}

/* One line without its CRLF. */
static bool line(struct str *in, size_t max, struct str *ret)
{
	const char *end = memmem(in->ptr, min_size(in->len, max), "\r\n", 2);

	if (!end)
		return false;
	*ret = (struct str){in->ptr, (size_t)(end - in->ptr)};
	*in = (struct str){end + 2, in->len - ret->len - 2};
	return true;
}

static bool parse_size(struct str s, size_t *ret)
{
	size_t v = 0;

	if (s.len == 0 || s.len > 8)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		const char *digits = "0123456789abcdef";
		char low = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'F' ? s.ptr[i] + 32 : s.ptr[i]);
		const char *at = low ? strchr(digits, low) : NULL;

		if (!at)
			return false;
		v = v * 16 + (size_t)(at - digits);
	}
	*ret = v;
	return true;
}

/* The chain goes on with the signature that was sent, once it has proved right. */
static int check_signature(
    struct chunks *c, const char *algorithm, const char *middle, struct str data, struct str sent)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	char hash[SIGV4_HEX], computed[SIGV4_HEX];

	if (!c->key)
		return 0;
	sigv4_sha256_hex(data, hash);
	buf_printf(&text, "%s\n", algorithm);
	sigv4_append_scope(&text, c->auth);
	buf_printf(&text, "%s\n%s%s", c->previous, middle, hash);
	sigv4_hmac_hex(c->key, buf_str(&text), computed);
	if (!sigv4_equal(computed, sent))
		return mismatch(c);
	memcpy(c->previous, computed, sizeof(c->previous));
	return 0;
}

/* Returns 1 for a chunk of data, 0 for the last one. */
static int chunk(struct chunks *c, bool is_signed)
{
	/* SHA-256 of nothing. */
	static const char middle[] =
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
	struct str head, data, size_text, after;
	size_t size;
	int r;

	if (!line(&c->in, CHUNK_HEAD_MAX, &head))
		return malformed(c);
	size_text = str_cut(&head, ';');
	if (!parse_size(size_text, &size) || size > c->in.len)
		return malformed(c);
	data = (struct str){c->in.ptr, size};
	if (is_signed) {
		if (!head.ptr || !str_has_prefix(head, "chunk-signature="))
			return malformed(c);
		r = check_signature(c, "AWS4-HMAC-SHA256-PAYLOAD", middle, data,
		    str_sub(head, strlen("chunk-signature=")));
		if (r < 0)
			return r;
	}
	if (size == 0)
		return 0;
	c->in = (struct str){c->in.ptr + size, c->in.len - size};
	if (!line(&c->in, 2, &after) || after.len)
		return malformed(c);
	memmove(c->out + c->out_len, data.ptr, size);
	c->out_len += size;
	return 1;
}

/* "name:value\r\n"…, the signature of which comes last. */
static int trailer(struct chunks *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct str l;

	while (line(&c->in, TRAILER_MAX, &l) && l.len) {
		struct str value = l, name = str_cut(&value, ':');

		if (str_is(name, "x-amz-trailer-signature"))
			return check_signature(
			    c, "AWS4-HMAC-SHA256-TRAILER", "", buf_str(&text), str_trim(value));
		if (!value.ptr || buf_len(&text) > TRAILER_MAX)
			return malformed(c);
		buf_append_str(&text, name);
		buf_putc(&text, ':');
		buf_append_str(&text, str_trim(value));
		buf_putc(&text, '\n');
	}
	return c->key ? mismatch(c) : 0;
}

int sigv4_chunks_decode(struct buf *body, enum sigv4_payload kind, const struct sigv4_auth *auth,
    const uint8_t *key, struct err *e)
{
	bool is_signed = kind != SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER;
	struct chunks c = {.in = buf_str(body), .out = buf_data(body), .auth = auth, .e = e};
	int r;

	if (is_signed && key) {
		c.key = key;
		if (auth->signature.len != SIGV4_HEX - 1)
			return malformed(&c);
		memcpy(c.previous, auth->signature.ptr, SIGV4_HEX - 1);
	}
	if (!body->mem)
		return malformed(&c);
	do {
		r = chunk(&c, is_signed);
	} while (r > 0);
	if (r == 0 && kind == SIGV4_PAYLOAD_CHUNKED_TRAILER)
		r = trailer(&c);
	if (r == 0)
		body->end = body->start + c.out_len;
	return r;
}
