/* Shared by the files of this folder. */
#pragma once

#include "auth/auth.h"
#include "base/map.h"

#define AUTH_SERVER_SECRET_SIZE 32

struct auth_key {
	struct aws_principal principal;
	char secret[AWS_SECRET_SIZE];
};

struct auth {
	struct auth_key root;
	struct map keys; /* access key id -> struct auth_key */
	uint8_t server_secret[AUTH_SERVER_SECRET_SIZE];
	uint8_t token_key[32];
};

/* files.c */
int auth_load_credentials(int dirfd, char id[sizeof(((struct aws_principal *)0)->access_key_id)],
    char secret[AWS_SECRET_SIZE], struct err *e);
int auth_load_secret(int dirfd, uint8_t ret[AUTH_SERVER_SECRET_SIZE], struct err *e);

/* token.c */
int auth_token_open(const struct auth *a, struct str token, int64_t now_ms,
    struct aws_principal *ret, char secret[AWS_SECRET_SIZE]);
