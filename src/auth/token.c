/*
 * Session tokens: base64 of version, nonce, sealed text, tag. The text is the expiry, the kind of
 * principal and five strings with their NULs. What does not open with our key is nobody's token;
 * nothing in it is looked at before the tag has proved right.
 */
#include "auth/auth_int.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/buf.h"
#include "base/rand.h"

#define VERSION 1
#define NONCE 12
#define TAG 16
#define PLAIN_MAX 800
#define SEALED_MAX (1 + NONCE + PLAIN_MAX + TAG)

_Static_assert(BASE64_ENCODED_SIZE(SEALED_MAX) <= AUTH_TOKEN_SIZE, "a token fits");

static void cipher_free(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}
#define _cleanup_cipher_ _cleanup_(cipher_free)

static size_t seal(const uint8_t key[32], struct str plain, uint8_t out[SEALED_MAX])
{
	_cleanup_cipher_ EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t *text = out + 1 + NONCE;
	int n = 0, rest = 0;

	check(c && plain.len <= PLAIN_MAX);
	out[0] = VERSION;
	rand_bytes(out + 1, NONCE);
	check(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, out + 1) == 1);
	check(EVP_EncryptUpdate(c, NULL, &n, out, 1) == 1);
	check(
	    EVP_EncryptUpdate(c, text, &n, (const unsigned char *)plain.ptr, (int)plain.len) == 1);
	check(EVP_EncryptFinal_ex(c, text + n, &rest) == 1);
	check(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, text + n) == 1);
	return 1 + NONCE + (size_t)n + TAG;
}

/* Length of the plain text, or -1. */
static int unseal(const uint8_t key[32], const uint8_t *in, size_t len, uint8_t out[PLAIN_MAX])
{
	_cleanup_cipher_ EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, rest = 0;
	size_t text_len;

	check(c);
	if (len < 1 + NONCE + TAG || len > SEALED_MAX || in[0] != VERSION)
		return -1;
	text_len = len - 1 - NONCE - TAG;
	check(EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, in + 1) == 1);
	check(EVP_DecryptUpdate(c, NULL, &n, in, 1) == 1);
	check(EVP_DecryptUpdate(c, out, &n, in + 1 + NONCE, (int)text_len) == 1);
	check(EVP_CIPHER_CTX_ctrl(
		  c, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(uintptr_t)(in + len - TAG)) == 1);
	return EVP_DecryptFinal_ex(c, out + n, &rest) == 1 ? n : -1;
}

void auth_temporary_new(struct auth *a, const struct aws_principal *principal, int64_t lifetime_s,
    int64_t now_ms, struct auth_keys *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct auth_keys keys = {.expires_ms = now_ms + lifetime_s * 1000};
	uint8_t sealed[SEALED_MAX];
	size_t len;

	auth_id_new("ASIA", keys.access_key_id);
	auth_secret_new(keys.secret);
	buf_append(&b, &keys.expires_ms, sizeof(keys.expires_ms));
	buf_putc(&b, (char)principal->type);
	buf_append(&b, principal->account, strlen(principal->account) + 1);
	buf_append(&b, principal->user_id, strlen(principal->user_id) + 1);
	buf_append(&b, principal->arn, strlen(principal->arn) + 1);
	buf_append(&b, keys.access_key_id, sizeof(keys.access_key_id));
	buf_append(&b, keys.secret, sizeof(keys.secret));
	len = seal(a->token_key, buf_str(&b), sealed);
	base64_encode(sealed, len, keys.token);
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
	uint8_t sealed[AUTH_TOKEN_SIZE], plain[PLAIN_MAX];
	struct aws_principal p = {0};
	int64_t expires_ms;
	ssize_t len;
	int n;

	if (token.len >= AUTH_TOKEN_SIZE)
		return AWS_KEY_TOKEN_INVALID;
	len = base64_decode(token, sealed);
	n = len < 0 ? -1 : unseal(a->token_key, sealed, (size_t)len, plain);
	if (n < 0 || !unpack((struct str){(char *)plain, (size_t)n}, &expires_ms, &p, secret))
		return AWS_KEY_TOKEN_INVALID;
	OPENSSL_cleanse(plain, sizeof(plain));
	if (now_ms >= expires_ms)
		return AWS_KEY_EXPIRED;
	*ret = p;
	return 0;
}
