/* Documents behind API operations: changes that answer a call, tokens of pages. Loop thread. */
#pragma once

#include "aws/aws.h"
#include "docs/docs.h"

/* Commit and answer the call with what is in c->out, or with the failure. Returns CALL_PENDING. */
int docs_commit_call(struct call *c, struct docs_change *g);

/* One document and one call. doc is taken; NULL deletes. */
int docs_put_call(struct call *c, struct store *s, struct docs *d, const char *key, json_t *doc);

/* An opaque token that says where the next page begins. */
const char *docs_token(struct call *c, const char *key);
/* "" for NULL. False for what is no token of ours. */
bool docs_token_open(struct call *c, const char *token, const char **ret_key);
