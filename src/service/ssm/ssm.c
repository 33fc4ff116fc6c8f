/* Parameters by name, their versions and values. Loop thread. */
#include "service/ssm/ssm.h"

#include <stdio.h>

#include "auth/seal.h"
#include "service/ssm/ssm_int.h"

struct ssm *ssm_open(struct store *s, const struct auth *a, struct err *e)
{
	struct ssm *m = xcalloc(1, sizeof(*m));

	m->store = s;
	auth_derive(a, "ssm", m->key);
	m->heads = docs_open(s, "ssm", e);
	m->values = m->heads ? docs_open(s, "ssm-values", e) : NULL;
	if (m->values)
		return m;
	ssm_close(m);
	return NULL;
}

void ssm_close(struct ssm *s)
{
	if (!s)
		return;
	docs_close(s->values);
	docs_close(s->heads);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

/* ---- names ---- */

/* "arn:aws:ssm:REGION:ACCOUNT:parameter/NAME": its region, and "/NAME". */
static bool split_arn(
    struct str text, const char *account, struct str *ret_region, struct str *ret_name)
{
	struct str rest = text;
	bool good = str_is(str_cut(&rest, ':'), "arn");

	good = str_has_prefix(str_cut(&rest, ':'), "aws") && good;
	good = str_is(str_cut(&rest, ':'), "ssm") && good;
	*ret_region = str_cut(&rest, ':');
	good = str_is(str_cut(&rest, ':'), account) && good;
	if (!good || !str_has_prefix(rest, "parameter/"))
		return false;
	*ret_name = str_sub(rest, strlen("parameter"));
	return true;
}

static bool put_key(
    char out[KEY_SIZE], const char *account, struct str region, struct str name, const char **ret)
{
	int n = snprintf(out, KEY_SIZE, "%s/%.*s/%.*s", account, STR_FMT(region), STR_FMT(name));

	if (ret)
		*ret = out + strlen(account) + region.len + 2;
	return n > 0 && n < KEY_SIZE && name.len > 0;
}

bool parameter_ref_parse(const char *text, const char *account, const char *region, struct ref *ret)
{
	struct str name = str_from(text), where = str_from(region), rest;
	bool arn = str_has_prefix(name, "arn:");

	ret->other_key[0] = ret->selector[0] = '\0';
	if (arn && !split_arn(str_from(text), account, &where, &name))
		return false;
	rest = name;
	name = str_cut(&rest, ':');
	if (rest.ptr && snprintf(ret->selector, sizeof(ret->selector), ":%.*s", STR_FMT(rest)) >=
			    (int)sizeof(ret->selector))
		return false;
	if (arn && !memchr(name.ptr + 1, '/', name.len - 1) && name.len > 1 &&
	    !put_key(ret->other_key, account, where, str_sub(name, 1), NULL))
		return false;
	return memchr(name.ptr, '#', name.len) == NULL &&
	       put_key(ret->key, account, where, name, &ret->name);
}

const json_t *parameter_head(
    const struct ssm *s, const struct ref *r, bool latest, const char **ret_key)
{
	const char *keys[] = {r->key, r->other_key};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *head =
		    latest ? docs_latest(s->heads, keys[i]) : docs_get(s->heads, keys[i]);

		*ret_key = keys[i];
		if (head)
			return head;
	}
	return NULL;
}

static bool in_region(const struct call *c, const struct ref *r)
{
	size_t len = strlen(c->region);
	const char *region = r->key + strlen(c->account) + 1;

	return strncmp(region, c->region, len) == 0 && region[len] == '/';
}

const json_t *parameter_find_named(
    struct call *c, const char *text, bool latest, struct ref *ret, const char **ret_key)
{
	if (!parameter_ref_parse(text, c->account, c->region, ret) || !in_region(c, ret))
		return NULL;
	return parameter_head(ssm_of(c), ret, latest, ret_key);
}

int parameter_find(struct call *c, const char *name, bool latest, const json_t **ret,
    const char **ret_key, struct err *e)
{
	struct ref *r = call_new(c, struct ref);
	const json_t *head = parameter_find_named(c, name, latest, r, ret_key);

	if (!head || r->selector[0])
		return call_fail(c, e, SSM_PARAMETER_NOT_FOUND, "Parameter %s not found.", name);
	*ret = head;
	return 0;
}

/* ---- versions ---- */

json_t *parameter_version_numbered(const json_t *head, int64_t number)
{
	json_t *list = json_object_get(head, "versions");
	size_t n = json_array_size(list);

	if (number == 0)
		return json_array_get(list, n - 1);
	for (size_t i = 0; i < n; i++)
		if (docs_int(json_array_get(list, i), "version") == number)
			return json_array_get(list, i);
	return NULL;
}

json_t *parameter_version_labelled(const json_t *head, const char *label, size_t *ret_at)
{
	json_t *list = json_object_get(head, "versions");

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i), *labels = json_object_get(v, "labels");

		for (size_t k = 0; k < json_array_size(labels); k++) {
			if (strcmp(json_string_value(json_array_get(labels, k)), label) != 0)
				continue;
			if (ret_at)
				*ret_at = k;
			return v;
		}
	}
	return NULL;
}

const json_t *parameter_version_last(const json_t *head)
{
	return parameter_version_numbered(head, 0);
}

const json_t *parameter_version_pick(const json_t *head, const char *selector)
{
	int64_t number;

	if (!*selector)
		return parameter_version_last(head);
	if (str_to_int64(str_from(selector + 1), 1, INT64_MAX, &number))
		return parameter_version_numbered(head, number);
	return parameter_version_labelled(head, selector + 1, NULL);
}

/* ---- values ---- */

static void value_key(char out[KEY_SIZE + 24], const char *key, int64_t version)
{
	snprintf(out, KEY_SIZE + 24, "%s#%" PRId64, key, version);
}

/* What a sealed value is bound to: account/region/name/version. */
static void value_aad(char out[KEY_SIZE + 24], const char *key, int64_t version)
{
	snprintf(out, KEY_SIZE + 24, "%s/%" PRId64, key, version);
}

static bool open_sealed(
    const struct ssm *s, const char *key, int64_t version, const char *text, struct buf *ret)
{
	char aad[KEY_SIZE + 24];
	_cleanup_buf_ struct buf raw = BUF_INIT;
	ssize_t len = base64_decode(str_from(text), buf_reserve(&raw, strlen(text) / 4 * 3 + 1));

	if (len < 0)
		return false;
	buf_commit(&raw, (size_t)len);
	value_aad(aad, key, version);
	return auth_unseal(s->key, buf_str(&raw), str_from(aad), ret);
}

int parameter_value_read(const struct ssm *s, const char *key, int64_t version, bool decrypt,
    struct buf *ret, struct err *e)
{
	char name[KEY_SIZE + 24];
	const json_t *doc;
	const char *plain, *sealed;

	value_key(name, key, version);
	doc = docs_get(s->values, name);
	plain = docs_str(doc, "plain");
	sealed = docs_str(doc, "sealed");
	if (plain || (sealed && !decrypt)) {
		buf_puts(ret, plain ? plain : sealed);
		return 0;
	}
	if (sealed && open_sealed(s, key, version, sealed, ret))
		return 0;
	return err_set(e, EIO,
	    "the value of a parameter cannot be opened: was DATA/secret replaced? Put it again.");
}

void parameter_value_put(struct ssm *s, struct docs_change *g, const char *key, int64_t version,
    bool secure, struct str value)
{
	char name[KEY_SIZE + 24], aad[KEY_SIZE + 24];
	_cleanup_buf_ struct buf raw = BUF_INIT;
	_cleanup_free_ char *text = NULL;
	json_t *doc = json_object();

	value_key(name, key, version);
	if (secure) {
		value_aad(aad, key, version);
		auth_seal(s->key, value, str_from(aad), &raw);
		text = xmalloc(BASE64_ENCODED_SIZE(buf_len(&raw)));
		base64_encode(buf_data(&raw), buf_len(&raw), text);
		docs_set(doc, "sealed", text);
	} else {
		json_object_set_new(doc, "plain", json_stringn(value.ptr, value.len));
	}
	docs_put(g, s->values, name, doc);
}

void parameter_value_delete(struct ssm *s, struct docs_change *g, const char *key, int64_t version)
{
	char name[KEY_SIZE + 24];

	value_key(name, key, version);
	if (docs_latest(s->values, name))
		docs_delete(g, s->values, name);
}

/* ---- for others ---- */

int ssm_value(struct ssm *s, const char *account, const char *region, const char *name,
    struct buf *ret, struct err *e)
{
	struct ref r;
	const char *key = NULL;
	const json_t *head = NULL, *v;

	if (parameter_ref_parse(name, account, region, &r))
		head = parameter_head(s, &r, false, &key);
	if (!head)
		return err_set(e, ENOENT, "there is no parameter %.180s: put it first", name);
	v = parameter_version_pick(head, r.selector);
	if (!v)
		return err_set(e, ENOENT,
		    "the parameter %.180s has no such version or label: look at its history", name);
	return parameter_value_read(s, key, docs_int(v, "version"), true, ret, e);
}
