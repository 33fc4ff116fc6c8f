/*
 * Who may sign requests: the root key pair of the installation, access keys of users, and temporary
 * keys of roles. Loop thread only.
 *
 * Temporary keys are stored nowhere: everything about them is sealed (AES-256-GCM) in the session
 * token, so they survive restarts, cost nothing and cannot be listed by whoever reads the disk.
 * The price: they cannot be called back one by one before they expire.
 */
#pragma once

#include "aws/principal.h"
#include "base/err.h"
#include "base/str.h"

struct auth;

/* Load from the data directory, or make on the first start: `credentials` (the root key pair, AWS
 * shared-credentials format, profile "default") and `secret` (32 random bytes). Both 0600, refused
 * when others may read them. account: 12 digits. Blocking, for start-up. */
struct auth *auth_open(int data_dirfd, const char *account, struct err *e);
void auth_close(struct auth *a); /* NULL is fine */

/* Find the secret of an access key: the find_key of struct aws_config, with the auth as ctx. token
 * has ptr NULL when the request carries none. 0 with *ret and secret filled, AWS_KEY_UNKNOWN,
 * AWS_KEY_TOKEN_INVALID or AWS_KEY_EXPIRED. */
int auth_find_key(void *auth, struct str access_key_id, struct str token, int64_t now_ms,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE]);

/* The root key pair, for `mayfly env`. */
const char *auth_root_key(const struct auth *a, const char **ret_secret);

#define AUTH_ID_SIZE 21     /* "AKIA…", 20 characters */
#define AUTH_SECRET_SIZE 41 /* 40 characters */
#define AUTH_TOKEN_SIZE 1200

/* Invent a pair: prefix is "AKIA" or "ASIA". Other ids ("AROA", "AIDA") are made the same way. */
void auth_id_new(const char *prefix, char ret[AUTH_ID_SIZE]);
void auth_secret_new(char ret[AUTH_SECRET_SIZE]);

/* A user's long-lived key, kept by the iam service and told to us. principal->access_key_id is the
 * key; all is copied. Put replaces. */
void auth_key_put(struct auth *a, const struct aws_principal *principal, const char *secret);
void auth_key_remove(struct auth *a, const char *access_key_id);

struct auth_keys {
	char access_key_id[AUTH_ID_SIZE];
	char secret[AUTH_SECRET_SIZE];
	char token[AUTH_TOKEN_SIZE];
	int64_t expires_ms; /* wall clock */
};

/* Temporary keys that act as principal (its access_key_id is ignored). */
void auth_temporary_new(struct auth *a, const struct aws_principal *principal, int64_t lifetime_s,
    int64_t now_ms, struct auth_keys *ret);

/* 32 bytes that only this installation can make, different for each label: for signing links and
 * the like. */
void auth_derive(const struct auth *a, const char *label, uint8_t ret[32]);
