/* Secrets by name and ARN, their end, and what others read of them. Loop thread. */
#include "service/secretsmanager/secretsmanager.h"

#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define DAY_NS (DAY_MS * INT64_C(1000000))

/* ---- those whose time has come ---- */

struct purge {
	struct secretsmanager *manager;
	struct docs_change *change;
	int64_t now_ms;
	size_t count;
};

static bool purge_one(void *ctx, const char *key, const json_t *seen)
{
	struct purge *p = ctx;
	const json_t *head = docs_latest(p->manager->heads, key);
	int64_t end_ms = docs_int(head, "ends");

	(void)seen;
	if (!end_ms || end_ms > p->now_ms)
		return true;
	p->change = p->change ? p->change : docs_change_new(p->manager->store);
	secret_delete(p->manager, p->change, key, head);
	p->count++;
	return true;
}

static void on_purge(struct loop_timer *t)
{
	struct secretsmanager *s = container_of(t, struct secretsmanager, purge);
	struct purge p = {.manager = s, .now_ms = time_wall_ms()};

	docs_walk(s->heads, "", "", purge_one, &p);
	if (p.change) {
		docs_commit(p.change, NULL, NULL);
		log_info("%zu secrets removed: their recovery window is over", p.count);
	}
	loop_timer_set(s->loop, t, DAY_NS);
}

struct secretsmanager *secretsmanager_open(
    struct loop *l, struct store *s, const struct auth *a, struct err *e)
{
	struct secretsmanager *m = xcalloc(1, sizeof(*m));

	m->loop = l;
	m->store = s;
	m->purge.on_due = on_purge;
	auth_derive(a, "secretsmanager", m->key);
	m->heads = docs_open(s, "secrets", e);
	m->values = m->heads ? docs_open(s, "secret-values", e) : NULL;
	if (!m->values) {
		secretsmanager_close(m);
		return NULL;
	}
	loop_timer_set(l, &m->purge, 0);
	return m;
}

void secretsmanager_close(struct secretsmanager *s)
{
	if (!s)
		return;
	loop_timer_stop(s->loop, &s->purge);
	docs_close(s->values);
	docs_close(s->heads);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

/* ---- by name ---- */

/* "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME": its region, and what is behind "secret:". */
static bool split_arn(
    struct str text, const char *account, struct str *ret_region, struct str *ret_name)
{
	struct str rest = text;
	bool good = str_is(str_cut(&rest, ':'), "arn");

	good = str_has_prefix(str_cut(&rest, ':'), "aws") && good;
	good = str_is(str_cut(&rest, ':'), "secretsmanager") && good;
	*ret_region = str_cut(&rest, ':');
	good = str_is(str_cut(&rest, ':'), account) && good;
	good = str_is(str_cut(&rest, ':'), "secret") && good;
	*ret_name = rest;
	return good && rest.len > 0;
}

static const json_t *lookup(const struct secretsmanager *s, const char *account, struct str region,
    struct str name, bool latest, char **ret_key)
{
	_cleanup_free_ char *key =
	    xasprintf("%s/%.*s/%.*s", account, STR_FMT(region), STR_FMT(name));
	const json_t *head = latest ? docs_latest(s->heads, key) : docs_get(s->heads, key);

	if (head)
		*ret_key = take_ptr(key);
	return head;
}

/* A whole ARN is right to its last character; without the six at the end it is a name. */
static const json_t *find(const struct secretsmanager *s, const char *account, const char *region,
    const char *id, bool latest, char **ret_key)
{
	struct str name = str_from(id), where = str_from(region);
	bool arn = str_has_prefix(name, "arn:");
	const json_t *head;

	if (arn && !split_arn(str_from(id), account, &where, &name))
		return NULL;
	if (arn && name.len > SUFFIX_SIZE && name.ptr[name.len - SUFFIX_SIZE] == '-') {
		struct str suffix = str_sub(name, name.len - SUFFIX_SIZE + 1);

		head = lookup(s, account, where, (struct str){name.ptr, name.len - SUFFIX_SIZE},
		    latest, ret_key);
		if (head && str_is(suffix, docs_str(head, "suffix")))
			return head;
		if (head)
			free(take_ptr(*ret_key));
	}
	return lookup(s, account, where, name, latest, ret_key);
}

struct secret secret_of(struct call *c, const char *key, const json_t *head)
{
	return (struct secret){.head = head,
	    .key = call_str(c, key),
	    .arn = call_printf(c, "arn:aws:secretsmanager:%s:%s:secret:%s-%s", c->region,
		c->account, docs_str(head, "name"), docs_str(head, "suffix")),
	    .name = call_str(c, docs_str(head, "name"))};
}

static bool in_region(const struct call *c, const char *key)
{
	size_t len = strlen(c->region);
	const char *region = key + strlen(c->account) + 1;

	return strncmp(region, c->region, len) == 0 && region[len] == '/';
}

int secret_find(struct call *c, const char *id, unsigned wanted, struct secret *ret, struct err *e)
{
	_cleanup_free_ char *key = NULL;
	const json_t *head = find(manager_of(c), c->account, c->region, id, wanted & CHANGE, &key);

	if (!head || !in_region(c, key))
		return fail(e, SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Secrets Manager can't find the specified secret.");
	if (docs_int(head, "ends") && !(wanted & EVEN_GONE))
		return fail(e, SECRETSMANAGER_INVALID_REQUEST_EXCEPTION,
		    "You can't perform this operation on the secret because it was marked for "
		    "deletion.");
	*ret = secret_of(c, key, head);
	return 0;
}

/* ---- for others ---- */

static int pick_json(struct str text, const char *json_key, struct buf *ret, struct err *e)
{
	json_t *doc = json_loadb(text.ptr, text.len, 0, NULL);
	const json_t *v = json_object_get(doc, json_key);
	_cleanup_free_ char *dump = NULL;
	int r = 0;

	if (!json_is_object(doc))
		r = err_set(e, EINVAL, "the secret is not a JSON object: name no key of it");
	else if (!v)
		r = err_set(e, ENOENT, "the secret has no key %.100s", json_key);
	else if (json_is_string(v))
		buf_append(ret, json_string_value(v), json_string_length(v));
	else
		dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (dump)
		buf_puts(ret, dump);
	json_decref(doc);
	return r;
}

static const char *given(const char *s)
{
	return s && *s ? s : NULL;
}

/* The version, which must have the stage when both are given; NULL: none. */
static const char *choose(const json_t *head, const char *stage, const char *version)
{
	const char *holder = stage_holder(head, stage ? stage : CURRENT);

	if (!version)
		return holder;
	if (stage && (!holder || strcmp(holder, version) != 0))
		return NULL;
	return json_object_get(json_object_get(head, "versions"), version) ? version : NULL;
}

int secretsmanager_value(struct secretsmanager *s, const char *account, const char *region,
    const char *id, const char *json_key, const char *stage, const char *version, struct buf *ret,
    struct err *e)
{
	_cleanup_free_ char *key = NULL;
	_cleanup_value_ struct value v = {.text = BUF_INIT};
	const json_t *head = find(s, account, region, id, false, &key);
	const char *chosen;
	int r;

	if (!head || docs_int(head, "ends"))
		return err_set(e, ENOENT, "there is no secret %.180s: create or restore it", id);
	chosen = choose(head, given(stage), given(version));
	if (!chosen)
		return err_set(
		    e, ENOENT, "the secret %.180s has no such version or stage: put a value", id);
	r = secret_value_read(s, key, chosen, false, &v, e);
	if (r < 0)
		return r;
	if (given(json_key))
		return pick_json(buf_str(&v.text), json_key, ret, e);
	buf_append_str(ret, buf_str(&v.text));
	return 0;
}
