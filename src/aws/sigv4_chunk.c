/*
 * Bodies in aws-chunked coding: each chunk carries a signature that covers the one before, so that
 * a large upload is authenticated while it streams. Decoded piece by piece as it arrives; what a
 * chunk carries is handed on before its signature has been seen, so nothing may be trusted before
 * the end.
 */
#include "aws/sigv4_int.h"

#include <openssl/crypto.h>

#define LINE_SIZE 1024 /* of a chunk's head or a trailer field */
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
		if (!(h.ptr[i] >= '0' && h.ptr[i] <= '9') && !(h.ptr[i] >= 'a' && h.ptr[i] <= 'f'))
			return SIGV4_PAYLOAD_INVALID;
	return SIGV4_PAYLOAD_HASHED;
}

enum state { HEAD, DATA, DATA_END, TRAILER, DONE };

struct sigv4_chunks {
	enum sigv4_payload kind;
	enum state state;
	const struct sigv4_auth *auth;
	bool check; /* signatures, with key */
	bool trailer_checked;
	uint8_t key[32];
	char previous[SIGV4_HEX]; /* signature */
	char sent[SIGV4_HEX];     /* with the chunk that is arriving */
	struct sigv4_hash *hash;  /* of that chunk, when signatures are checked */
	uint64_t left;            /* bytes of that chunk */
	char line[LINE_SIZE];
	size_t line_len;
	struct buf trailer; /* "name:value\n"… */
};

static int malformed(struct err *e)
{
	err_set(e, EPERM, "The request body is not in aws-chunked coding, or is cut short.");
	return SIGV4_INCOMPLETE;
}

static int mismatch(struct err *e)
{
	err_set(e, EPERM,
	    "The chunk signature we calculated does not match the signature you provided.");
	return SIGV4_MISMATCH;
}

static bool parse_size(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0 || s.len > 16)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		const char *digits = "0123456789abcdef";
		char low = (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'F' ? s.ptr[i] + 32 : s.ptr[i]);
		const char *at = low ? strchr(digits, low) : NULL;

		if (!at)
			return false;
		v = v * 16 + (uint64_t)(at - digits);
	}
	*ret = v;
	return true;
}

static bool is_signed(const struct sigv4_chunks *c)
{
	return c->kind != SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER;
}

struct sigv4_chunks *sigv4_chunks_new(
    enum sigv4_payload kind, const struct sigv4_auth *auth, const uint8_t *key)
{
	struct sigv4_chunks *c = xcalloc(1, sizeof(*c));

	c->kind = kind;
	c->auth = auth;
	c->check = key && is_signed(c);
	if (!c->check)
		return c;
	check(auth->signature.len == SIGV4_HEX - 1); /* else the request was refused */
	memcpy(c->key, key, sizeof(c->key));
	memcpy(c->previous, auth->signature.ptr, SIGV4_HEX - 1);
	return c;
}

void sigv4_chunks_free(struct sigv4_chunks *c)
{
	if (!c)
		return;
	sigv4_hash_free(c->hash);
	buf_done(&c->trailer);
	OPENSSL_cleanse(c->key, sizeof(c->key));
	free(c);
}

/* The chain goes on with the signature that was sent, once it has proved right. */
static int check_signature(struct sigv4_chunks *c, const char *algorithm, const char *middle,
    const char hash[SIGV4_HEX], struct str sent, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	char computed[SIGV4_HEX];

	buf_printf(&text, "%s\n", algorithm);
	sigv4_append_scope(&text, c->auth);
	buf_printf(&text, "%s\n%s%s", c->previous, middle, hash);
	sigv4_hmac_hex(c->key, buf_str(&text), computed);
	if (!sigv4_equal(computed, sent))
		return mismatch(e);
	memcpy(c->previous, computed, sizeof(c->previous));
	return 0;
}

static int check_chunk(struct sigv4_chunks *c, struct err *e)
{
	/* SHA-256 of nothing. */
	static const char middle[] =
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
	char hash[SIGV4_HEX];

	if (!c->check)
		return 0;
	sigv4_hash_end(c->hash, hash);
	return check_signature(c, "AWS4-HMAC-SHA256-PAYLOAD", middle, hash, str_from(c->sent), e);
}

/* "10000;chunk-signature=…" */
static int chunk_head(struct sigv4_chunks *c, struct str head, struct err *e)
{
	struct str size = str_cut(&head, ';'), sent;

	if (!parse_size(size, &c->left))
		return malformed(e);
	if (is_signed(c)) {
		if (!head.ptr || !str_has_prefix(head, "chunk-signature="))
			return malformed(e);
		sent = str_sub(head, strlen("chunk-signature="));
		if (sent.len != SIGV4_HEX - 1)
			return c->check ? mismatch(e) : malformed(e);
		memcpy(c->sent, sent.ptr, SIGV4_HEX - 1);
	}
	if (c->check) {
		if (!c->hash)
			c->hash = sigv4_hash_new();
		else
			sigv4_hash_restart(c->hash);
	}
	c->state = DATA;
	if (c->left)
		return 0;
	c->state = TRAILER;
	return check_chunk(c, e);
}

/* "name:value", the signature of all of them last, then an empty line. */
static int trailer_line(struct sigv4_chunks *c, struct str l, struct err *e)
{
	struct str value = l, name = str_cut(&value, ':');
	char hash[SIGV4_HEX];

	if (!l.len) {
		c->state = DONE;
		return 0;
	}
	if (!value.ptr || c->kind == SIGV4_PAYLOAD_CHUNKED || c->trailer_checked ||
	    buf_len(&c->trailer) > TRAILER_MAX)
		return malformed(e);
	value = str_trim(value);
	if (is_signed(c) && str_eq_nocase(name, STR("x-amz-trailer-signature"))) {
		c->trailer_checked = true;
		if (!c->check)
			return 0;
		sigv4_sha256_hex(buf_str(&c->trailer), hash);
		return check_signature(c, "AWS4-HMAC-SHA256-TRAILER", "", hash, value, e);
	}
	buf_append_str(&c->trailer, name);
	buf_putc(&c->trailer, ':');
	buf_append_str(&c->trailer, value);
	buf_putc(&c->trailer, '\n');
	return 0;
}

/* Take one line out of *in: 1 with *ret without its CRLF, 0 when it has not all arrived. */
static int take_line(struct sigv4_chunks *c, struct str *in, struct str *ret, struct err *e)
{
	const char *end = memchr(in->ptr, '\n', in->len);
	size_t len = end ? (size_t)(end - in->ptr) + 1 : in->len;

	if (len > LINE_SIZE - c->line_len)
		return malformed(e);
	memcpy(c->line + c->line_len, in->ptr, len);
	c->line_len += len;
	*in = (struct str){in->ptr + len, in->len - len};
	if (!end)
		return 0;
	if (c->line_len < 2 || c->line[c->line_len - 2] != '\r')
		return malformed(e);
	*ret = (struct str){c->line, c->line_len - 2};
	c->line_len = 0;
	return 1;
}

static int use_line(struct sigv4_chunks *c, struct str l, struct err *e)
{
	switch (c->state) {
	case HEAD: return chunk_head(c, l, e);
	case DATA_END: c->state = HEAD; return l.len ? malformed(e) : 0;
	default: return trailer_line(c, l, e);
	}
}

static struct str take_data(struct sigv4_chunks *c, struct str *in)
{
	struct str data = {in->ptr, in->len < c->left ? in->len : (size_t)c->left};

	*in = (struct str){in->ptr + data.len, in->len - data.len};
	c->left -= data.len;
	if (c->check)
		sigv4_hash_add(c->hash, data.ptr, data.len);
	return data;
}

int sigv4_chunks_next(struct sigv4_chunks *c, struct str *in, struct str *ret, struct err *e)
{
	while (in->len && c->state != DONE) {
		struct str l;
		int r;

		if (c->state == DATA) {
			*ret = take_data(c, in);
			if (c->left == 0) {
				c->state = DATA_END;
				r = check_chunk(c, e);
				if (r < 0)
					return r;
			}
			return 1;
		}
		r = take_line(c, in, &l, e);
		if (r > 0)
			r = use_line(c, l, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int sigv4_chunks_end(const struct sigv4_chunks *c, struct err *e)
{
	if (c->state < TRAILER || c->line_len)
		return malformed(e);
	if (c->kind == SIGV4_PAYLOAD_CHUNKED_TRAILER && c->check && !c->trailer_checked)
		return mismatch(e);
	return 0;
}

struct str sigv4_chunks_trailer(const struct sigv4_chunks *c, const char *name)
{
	struct str rest = buf_str(&c->trailer);

	while (rest.len) {
		struct str value = str_cut(&rest, '\n');

		if (str_eq_nocase(str_cut(&value, ':'), str_from(name)))
			return value;
	}
	return STR_NULL;
}

int sigv4_chunks_decode(struct buf *body, enum sigv4_payload kind, const struct sigv4_auth *auth,
    const uint8_t *key, struct err *e)
{
	struct sigv4_chunks *c = sigv4_chunks_new(kind, auth, key);
	struct str in = buf_str(body), piece;
	size_t len = 0;
	int r;

	/* What is decoded never gets ahead of what is read. */
	while ((r = sigv4_chunks_next(c, &in, &piece, e)) > 0) {
		memmove(buf_data(body) + len, piece.ptr, piece.len);
		len += piece.len;
	}
	if (r == 0)
		r = sigv4_chunks_end(c, e);
	if (r == 0)
		body->end = body->start + len;
	sigv4_chunks_free(c);
	return r;
}
