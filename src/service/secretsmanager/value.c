/* Values of versions, sealed; see secretsmanager_int.h. Loop thread. */
#include <stdio.h>

#include "auth/seal.h"
#include "service/secretsmanager/secretsmanager_int.h"

void secret_value_wipe(struct value *v)
{
	if (v->text.mem)
		explicit_bzero(v->text.mem, v->text.capacity);
	buf_done(&v->text);
}

/* What a value is bound to: account/region/name/version, and what kind it is. */
static char *aad_of(const char *key, const char *version, bool binary)
{
	return xasprintf("%s/%s/%s", key, version, binary ? "binary" : "string");
}

static char *key_of(const char *key, const char *version)
{
	return xasprintf("%s#%s", key, version);
}

int secret_value_read(const struct secretsmanager *s, const char *key, const char *version,
    bool latest, struct value *ret, struct err *e)
{
	_cleanup_free_ char *name = key_of(key, version), *aad = NULL;
	const json_t *doc = latest ? docs_latest(s->values, name) : docs_get(s->values, name);
	struct str text = str_from(docs_str(doc, "sealed"));
	_cleanup_buf_ struct buf raw = BUF_INIT;
	ssize_t len = base64_decode(text, buf_reserve(&raw, text.len / 4 * 3 + 1));

	ret->binary = json_is_true(json_object_get(doc, "binary"));
	aad = aad_of(key, version, ret->binary);
	if (len > 0) {
		buf_commit(&raw, (size_t)len);
		if (auth_unseal(s->key, buf_str(&raw), str_from(aad), &ret->text))
			return 0;
	}
	return err_set(e, EIO,
	    "the value of a secret cannot be opened: was DATA/secret replaced? Put it again.");
}

void secret_value_put(struct secretsmanager *s, struct docs_change *g, const char *key,
    const char *version, struct str text, bool binary)
{
	_cleanup_free_ char *name = key_of(key, version), *aad = aad_of(key, version, binary);
	_cleanup_free_ char *sealed = NULL;
	_cleanup_buf_ struct buf raw = BUF_INIT;
	json_t *doc = json_object();

	auth_seal(s->key, text, str_from(aad), &raw);
	sealed = xmalloc(BASE64_ENCODED_SIZE(buf_len(&raw)));
	base64_encode(buf_data(&raw), buf_len(&raw), sealed);
	docs_set(doc, "sealed", sealed);
	if (binary)
		json_object_set_new(doc, "binary", json_true());
	docs_put(g, s->values, name, doc);
}

void secret_value_delete(
    struct secretsmanager *s, struct docs_change *g, const char *key, const char *version)
{
	_cleanup_free_ char *name = key_of(key, version);

	if (docs_latest(s->values, name))
		docs_delete(g, s->values, name);
}

void secret_delete(
    struct secretsmanager *s, struct docs_change *g, const char *key, const json_t *head)
{
	const char *version;
	json_t *v;

	json_object_foreach(json_object_get(head, "versions"), version, v)
	    secret_value_delete(s, g, key, version);
	docs_delete(g, s->heads, key);
}
