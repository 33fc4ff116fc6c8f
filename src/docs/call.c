/* See call.h. */
#include "docs/call.h"

/* A call that waits for a change; the change outlives a client that goes away. */
struct waiting {
	struct call *call; /* NULL: the client has gone */
};

static void answer(struct call *c, int result)
{
	struct err e = ERR_INIT;

	if (result == 0)
		call_reply(c, 0, NULL);
	else if (result == -ENOSPC)
		call_reply(c,
		    fail(&e, AWS_UNAVAILABLE,
			"The disk that holds the data is full: free some space and try again."),
		    &e);
	else
		call_reply(
		    c, fail(&e, AWS_INTERNAL, "The change could not be stored: try again."), &e);
}

static void on_committed(void *ctx, int result)
{
	struct waiting *w = ctx;

	if (w->call)
		answer(w->call, result);
	free(w);
}

static void on_stop(struct call *c)
{
	struct waiting *w = c->user;

	w->call = NULL;
}

int docs_commit_call(struct call *c, struct docs_change *g)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->call = c;
	c->user = w;
	call_on_stop(c, on_stop);
	docs_commit(g, on_committed, w);
	return CALL_PENDING;
}

int docs_put_call(struct call *c, struct store *s, struct docs *d, const char *key, json_t *doc)
{
	struct docs_change *g = docs_change_new(s);

	if (doc)
		docs_put(g, d, key, doc);
	else
		docs_delete(g, d, key);
	return docs_commit_call(c, g);
}

/* ---- pages ---- */

/* Base64, only so that nobody relies on what it says. */
const char *docs_token(struct call *c, const char *key)
{
	size_t len = strlen(key);
	char *out = arena_alloc(c->arena, BASE64_ENCODED_SIZE(len));

	base64_encode(key, len, out);
	return out;
}

bool docs_token_open(struct call *c, const char *token, const char **ret_key)
{
	struct str s = str_from(token);
	char *out;
	ssize_t len;

	*ret_key = "";
	if (!token)
		return true;
	out = arena_alloc(c->arena, s.len / 4 * 3 + 1);
	len = base64_decode(s, out);
	if (len < 0 || memchr(out, 0, (size_t)len))
		return false;
	out[len] = '\0';
	*ret_key = out;
	return true;
}
