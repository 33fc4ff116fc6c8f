/* Version, nonce, cipher text, tag. See seal.h. */
#include "auth/seal.h"

#include <openssl/evp.h>

#include "base/rand.h"

#define VERSION 1
#define NONCE 12
#define TAG 16

static void cipher_free(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}
#define _cleanup_cipher_ _cleanup_(cipher_free)

static const unsigned char *bytes(struct str s)
{
	return (const unsigned char *)s.ptr;
}

void auth_seal(const uint8_t key[32], struct str plain, struct str aad, struct buf *out)
{
	_cleanup_cipher_ EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t *head, *text;
	int n = 0, rest = 0;

	check(c && plain.len <= SEAL_MAX && aad.len <= SEAL_MAX);
	head = (uint8_t *)buf_reserve(out, plain.len + SEAL_OVERHEAD);
	text = head + 1 + NONCE;
	head[0] = VERSION;
	rand_bytes(head + 1, NONCE);
	check(EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, head + 1) == 1);
	check(EVP_EncryptUpdate(c, NULL, &n, head, 1) == 1);
	if (aad.len)
		check(EVP_EncryptUpdate(c, NULL, &n, bytes(aad), (int)aad.len) == 1);
	check(EVP_EncryptUpdate(c, text, &n, bytes(plain), (int)plain.len) == 1);
	check(EVP_EncryptFinal_ex(c, text + n, &rest) == 1);
	check(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, text + n) == 1);
	buf_commit(out, plain.len + SEAL_OVERHEAD);
}

bool auth_unseal(const uint8_t key[32], struct str sealed, struct str aad, struct buf *out)
{
	_cleanup_cipher_ EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	const unsigned char *in = bytes(sealed);
	size_t len = sealed.len - SEAL_OVERHEAD;
	uint8_t *text;
	int n = 0, rest = 0;

	check(c);
	if (sealed.len < SEAL_OVERHEAD || len > SEAL_MAX || in[0] != VERSION)
		return false;
	text = (uint8_t *)buf_reserve(out, len + 1);
	check(EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, in + 1) == 1);
	check(EVP_DecryptUpdate(c, NULL, &n, in, 1) == 1);
	if (aad.len)
		check(EVP_DecryptUpdate(c, NULL, &n, bytes(aad), (int)aad.len) == 1);
	check(EVP_DecryptUpdate(c, text, &n, in + 1 + NONCE, (int)len) == 1);
	check(EVP_CIPHER_CTX_ctrl(
		  c, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(uintptr_t)(in + sealed.len - TAG)) == 1);
	if (EVP_DecryptFinal_ex(c, text + n, &rest) != 1)
		return false;
	buf_commit(out, len);
	return true;
}
