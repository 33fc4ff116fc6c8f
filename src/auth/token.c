/*
 * Session tokens: base64 of a sealed text. The text is the expiry, the kind of
 * principal and five strings with their NULs. What does not open with our key is nobody's token;
 * nothing in it is looked at before the tag has proved right.
 */
#include "auth/auth_int.h"

#include <openssl/crypto.h>

#include "auth/seal.h"
#include "base/buf.h"

#define PLAIN_MAX 800
#define SEALED_MAX (PLAIN_MAX + SEAL_OVERHEAD)

_Static_assert(BASE64_ENCODED_SIZE(SEALED_MAX) <= AUTH_TOKEN_SIZE, "a token fits");

void auth_temporary_new(struct auth *a, const struct aws_principal *principal, int64_t lifetime_s,
    int64_t now_ms, struct auth_keys *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT, sealed = BUF_INIT;
	struct auth_keys keys = {.expires_ms = now_ms + lifetime_s * 1000};

	auth_id_new("ASIA", keys.access_key_id);
	auth_secret_new(keys.secret);
	buf_append(&b, &keys.expires_ms, sizeof(keys.expires_ms));
	buf_putc(&b, (char)principal->type);
	buf_append(&b, principal->account, strlen(principal->account) + 1);
	buf_append(&b, principal->user_id, strlen(principal->user_id) + 1);
	buf_append(&b, principal->arn, strlen(principal->arn) + 1);
	buf_append(&b, keys.access_key_id, sizeof(keys.access_key_id));
	buf_append(&b, keys.secret, sizeof(keys.secret));
	check(buf_len(&b) <= PLAIN_MAX);
	auth_seal(a->token_key, buf_str(&b), STR(""), &sealed);
	base64_encode(buf_data(&sealed), buf_len(&sealed), keys.token);
	OPENSSL_cleanse(b.mem, b.capacity);
	*ret = keys;
}

/* One string of the text into out; false when it does not fit, which would be our bug. */
static bool take_string(struct str *text, char *out, size_t size)
{
	size_t len = strnlen(text->ptr, text->len);

	if (len == text->len || len >= size)
		return false;
	memcpy(out, text->ptr, len + 1);
	*text = (struct str){text->ptr + len + 1, text->len - len - 1};
	return true;
}

static bool unpack(struct str text, int64_t *expires_ms, struct aws_principal *p, char *secret)
{
	if (text.len < sizeof(*expires_ms) + 1)
		return false;
	memcpy(expires_ms, text.ptr, sizeof(*expires_ms));
	p->type = (enum aws_principal_type)text.ptr[sizeof(*expires_ms)];
	text.ptr += sizeof(*expires_ms) + 1;
	text.len -= sizeof(*expires_ms) + 1;
	return take_string(&text, p->account, sizeof(p->account)) &&
	       take_string(&text, p->user_id, sizeof(p->user_id)) &&
	       take_string(&text, p->arn, sizeof(p->arn)) &&
	       take_string(&text, p->access_key_id, sizeof(p->access_key_id)) &&
	       take_string(&text, secret, AWS_SECRET_SIZE);
}

int auth_token_open(const struct auth *a, struct str token, int64_t now_ms,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE])
{
	_cleanup_buf_ struct buf plain = BUF_INIT;
	char sealed[AUTH_TOKEN_SIZE];
	struct aws_principal p = {0};
	int64_t expires_ms;
	ssize_t len;
	bool good;

	if (token.len >= AUTH_TOKEN_SIZE)
		return AWS_KEY_TOKEN_INVALID;
	len = base64_decode(token, sealed);
	good = len >= 0 &&
	       auth_unseal(a->token_key, (struct str){sealed, (size_t)len}, STR(""), &plain) &&
	       unpack(buf_str(&plain), &expires_ms, &p, secret);
	if (plain.mem)
		OPENSSL_cleanse(plain.mem, plain.capacity);
	if (!good)
		return AWS_KEY_TOKEN_INVALID;
	if (now_ms >= expires_ms)
		return AWS_KEY_EXPIRED;
	*ret = p;
	return 0;
}
