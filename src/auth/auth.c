/* Access keys: the root pair, users' keys, and where a key belongs. */
#include "auth/auth_int.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "base/rand.h"

static void forget(struct auth_key *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
	free(k);
}

static void fill_root(struct auth *a, const char *account)
{
	struct aws_principal *p = &a->root.principal;

	p->type = AWS_ROOT;
	snprintf(p->account, sizeof(p->account), "%s", account);
	snprintf(p->user_id, sizeof(p->user_id), "%s", account);
	snprintf(p->arn, sizeof(p->arn), "arn:aws:iam::%s:root", account);
}

struct auth *auth_open(int data_dirfd, const char *account, struct err *e)
{
	struct auth *a = xcalloc(1, sizeof(*a));

	fill_root(a, account);
	if (auth_load_credentials(data_dirfd, a->root.principal.access_key_id, a->root.secret, e) <
		0 ||
	    auth_load_secret(data_dirfd, a->server_secret, e) < 0) {
		auth_close(a);
		return NULL;
	}
	auth_derive(a, "session token", a->token_key);
	return a;
}

void auth_close(struct auth *a)
{
	if (!a)
		return;
	map_for_each (&a->keys, entry)
		forget(entry->value);
	map_done(&a->keys);
	OPENSSL_cleanse(a, sizeof(*a));
	free(a);
}

int auth_find_key(void *auth, struct str access_key_id, struct str token, int64_t now_ms,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE])
{
	struct auth *a = auth;
	const struct auth_key *k = NULL;

	if (token.ptr) {
		struct aws_principal p;
		int r = auth_token_open(a, token, now_ms, &p, secret);

		if (r == 0 && !str_is(access_key_id, p.access_key_id))
			r = AWS_KEY_TOKEN_INVALID;
		if (r == 0)
			*ret = p;
		return r;
	}
	if (str_is(access_key_id, a->root.principal.access_key_id))
		k = &a->root;
	else if (access_key_id.len)
		k = map_get(&a->keys, access_key_id);
	if (!k)
		return AWS_KEY_UNKNOWN;
	*ret = k->principal;
	memcpy(secret, k->secret, AWS_SECRET_SIZE);
	return 0;
}

const char *auth_root_key(const struct auth *a, const char **ret_secret)
{
	*ret_secret = a->root.secret;
	return a->root.principal.access_key_id;
}

void auth_id_new(const char *prefix, char ret[AUTH_ID_SIZE])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	size_t len = strlen(prefix);
	uint8_t random[AUTH_ID_SIZE];

	check(len == 4);
	memcpy(ret, prefix, len);
	rand_bytes(random, sizeof(random));
	for (; len < AUTH_ID_SIZE - 1; len++)
		ret[len] = letters[random[len] % 32];
	ret[len] = '\0';
}

void auth_secret_new(char ret[AUTH_SECRET_SIZE])
{
	uint8_t random[30];

	_Static_assert(BASE64_ENCODED_SIZE(30) == AUTH_SECRET_SIZE, "30 bytes are 40 characters");
	rand_bytes(random, sizeof(random));
	base64_encode(random, sizeof(random), ret);
	OPENSSL_cleanse(random, sizeof(random));
}

void auth_key_put(struct auth *a, const struct aws_principal *principal, const char *secret)
{
	struct auth_key *k = xcalloc(1, sizeof(*k)), *old;

	check(principal->access_key_id[0] && strlen(secret) < sizeof(k->secret));
	k->principal = *principal;
	strcpy(k->secret, secret);
	old = map_put(&a->keys, str_from(principal->access_key_id), k);
	if (old)
		forget(old);
}

void auth_key_remove(struct auth *a, const char *access_key_id)
{
	struct auth_key *k = map_remove(&a->keys, str_from(access_key_id));

	if (k)
		forget(k);
}

void auth_derive(const struct auth *a, const char *label, uint8_t ret[32])
{
	unsigned len = 32;

	check(HMAC(EVP_sha256(), a->server_secret, sizeof(a->server_secret),
	    (const unsigned char *)label, strlen(label), ret, &len));
}
