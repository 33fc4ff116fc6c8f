/* Who makes a request, as established by its signature. Plain data, copied by value. */
#pragma once

#include "base/base.h"

enum aws_principal_type {
	AWS_ANONYMOUS, /* operation that may come unsigned */
	AWS_ROOT,
	AWS_USER,
	AWS_ASSUMED_ROLE,
};

struct aws_principal {
	enum aws_principal_type type;
	char account[13];
	char access_key_id[129];
	char user_id[194]; /* "AROA…:session" for an assumed role */
	char arn[256];
};

/* How the engine asks for a key. Returns 0 with *ret and *secret filled (NUL-terminated), or one
 * of these; anything else is a failure of ours. */
#define AWS_SECRET_SIZE 65
enum {
	AWS_KEY_UNKNOWN = -1001,       /* no such key, or it is not active */
	AWS_KEY_TOKEN_INVALID = -1002, /* the session token is not ours, or not this key's */
	AWS_KEY_EXPIRED = -1003,
};
