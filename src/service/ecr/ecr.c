/* What all of ECR shares, and who may use the registry. See ecr.h. */
#include "service/ecr/ecr.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include "auth/seal.h"
#include "base/time.h"
#include "service/ecr/ecr_int.h"

#define TOKEN_HOURS 12
#define TOKEN_MAX 4096

static void on_lifecycle(struct loop_timer *t);

struct ecr *ecr_open(const struct ecr_options *o)
{
	struct ecr *e = xcalloc(1, sizeof(*e));

	e->loop = o->loop;
	e->store = o->store;
	e->auth = o->auth;
	e->images = o->images;
	e->url = o->url;
	e->dev = o->dev;
	auth_derive(o->auth, "ecr", e->key);
	e->lifecycle.on_due = on_lifecycle;
	lifecycle_soon(e);
	return e;
}

void ecr_close(struct ecr *e)
{
	if (!e)
		return;
	loop_timer_stop(e->loop, &e->lifecycle);
	explicit_bzero(e, sizeof(*e));
	free(e);
}

/* ---- names ---- */

int ecr_registry(struct call *c, const char *registry_id, struct err *e)
{
	if (!registry_id || strcmp(registry_id, c->account) == 0)
		return 0;
	return fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
	    "Invalid parameter at 'registryId' failed to satisfy constraint: 'must be %s, the "
	    "registry of this account'",
	    c->account);
}

int ecr_repository(struct call *c, const char *registry_id, const char *name,
    char key[ECR_KEY_SIZE], const json_t **ret, struct err *e)
{
	int r = ecr_registry(c, registry_id, e);

	if (r < 0)
		return r;
	snprintf(key, ECR_KEY_SIZE, "%s.%s|%s", c->account, c->region, name);
	*ret = docs_latest(images_repositories(ecr_of(c)->images), key);
	if (*ret)
		return 0;
	return call_fail(c, e, ECR_REPOSITORY_NOT_FOUND_EXCEPTION,
	    "The repository with name '%s' does not exist in the registry with id '%s'", name,
	    c->account);
}

void ecr_reference(const struct call *c, const char *name, struct image_reference *ret)
{
	*ret = (struct image_reference){0};
	snprintf(ret->realm, sizeof(ret->realm), "%s.%.40s", c->account, c->region);
	snprintf(ret->repository, sizeof(ret->repository), "%s", name);
}

int ecr_put(struct call *c, const char *key, json_t *doc)
{
	struct ecr *e = ecr_of(c);

	return docs_put_call(c, e->store, images_repositories(e->images), key, doc);
}

const char *ecr_arn(struct call *c, const char *name)
{
	return call_printf(c, "arn:aws:ecr:%s:%s:repository/%s", c->region, c->account, name);
}

/* ---- tokens ---- */

/* The password is hex of a sealed text, because docker takes everything but colons badly. */
static const char *make_password(struct call *c, int64_t expires_ms)
{
	struct buf sealed = BUF_INIT;
	char plain[200], *hex;

	snprintf(plain, sizeof(plain), "%s %" PRId64, c->account, expires_ms);
	auth_seal(ecr_of(c)->key, str_from(plain), STR("token"), &sealed);
	hex = arena_alloc(c->arena, 2 * buf_len(&sealed) + 1);
	hex_encode(buf_data(&sealed), buf_len(&sealed), hex);
	buf_done(&sealed);
	return hex;
}

const char *ecr_token(struct call *c)
{
	return make_password(c, time_wall_ms() + TOKEN_HOURS * 3600000);
}

int ecr_get_authorization_token(struct call *c, const struct ecr_get_authorization_token_in *in,
    struct ecr_get_authorization_token_out *out, struct err *e)
{
	struct ecr_authorization_data_list *list = call_new(c, struct ecr_authorization_data_list);
	struct ecr_authorization_data *data = call_new(c, struct ecr_authorization_data);
	int64_t expires_ms = time_wall_ms() + TOKEN_HOURS * 3600000;
	const char *pair = call_printf(c, "AWS:%s", make_password(c, expires_ms));
	char *coded = arena_alloc(c->arena, BASE64_ENCODED_SIZE(strlen(pair)));

	for (size_t i = 0; in->registry_ids && i < in->registry_ids->count; i++)
		if (ecr_registry(c, in->registry_ids->items[i], e) < 0)
			return -EINVAL;
	base64_encode(pair, strlen(pair), coded);
	data->authorization_token = coded;
	data->expires_at = call_int(c, expires_ms);
	data->proxy_endpoint = call_str(c, ecr_of(c)->url);
	list->count = 1;
	list->items = data;
	out->authorization_data = list;
	return 0;
}

static bool token_holds(const struct ecr *e, struct str password)
{
	struct buf plain = BUF_INIT;
	_cleanup_free_ char *sealed = NULL;
	struct str text;
	int64_t expires_ms = 0;
	bool good;

	if (!password.len || password.len > TOKEN_MAX || password.len % 2)
		return false;
	sealed = xmalloc(password.len / 2);
	good = hex_decode(password, sealed, password.len / 2) &&
	       auth_unseal(e->key, (struct str){sealed, password.len / 2}, STR("token"), &plain);
	text = buf_str(&plain);
	if (good)
		(void)str_cut(&text, ' ');
	good = good && text.ptr && str_to_int64(text, 0, INT64_MAX, &expires_ms) &&
	       expires_ms > time_wall_ms();
	buf_done(&plain);
	return good;
}

static bool key_holds(const struct ecr *e, struct str id, struct str password)
{
	struct aws_principal who;
	char secret[AWS_SECRET_SIZE];
	bool good = auth_find_key(e->auth, id, STR_NULL, time_wall_ms(), &who, secret) == 0 &&
		    strlen(secret) == password.len &&
		    CRYPTO_memcmp(secret, password.ptr, password.len) == 0;

	OPENSSL_cleanse(secret, sizeof(secret));
	return good;
}

bool ecr_allowed(void *ctx, struct str username, struct str password)
{
	const struct ecr *e = ctx;

	if (e->dev)
		return true;
	if (str_is(username, "AWS"))
		return token_holds(e, password);
	return username.len && key_holds(e, username, password);
}

/* ---- policies over time ---- */

#define LIFECYCLE_NS (3600 * INT64_C(1000000000))
#define SOON_NS (2 * INT64_C(1000000000))

struct sweep {
	struct ecr *ecr;
	struct docs_change *change;
	struct arena arena;
	size_t expired;
};

static bool expire(void *ctx, const char *key, const json_t *doc)
{
	struct sweep *s = ctx;
	const char *policy = docs_str(doc, "lifecyclePolicyText");
	struct lifecycle_verdict *v;
	struct ecr_held *held;
	size_t count, n;

	if (!policy)
		return true;
	held = ecr_images(s->ecr->images, &s->arena, key, &count);
	n = lifecycle_evaluate(policy, held, count, time_wall_ms(), &s->arena, &v);
	for (size_t i = 0; i < n; i++)
		images_drop(s->ecr->images, s->change, key, v[i].image->digest);
	s->expired += n;
	return true;
}

static void on_lifecycle(struct loop_timer *t)
{
	struct ecr *e = container_of(t, struct ecr, lifecycle);
	struct sweep s = {.ecr = e, .change = images_change_new(e->images)};

	arena_init(&s.arena);
	docs_walk(images_repositories(e->images), "", "", expire, &s);
	docs_commit(s.change, NULL, NULL);
	arena_done(&s.arena);
	loop_timer_set(e->loop, t, LIFECYCLE_NS);
}

void lifecycle_soon(struct ecr *e)
{
	loop_timer_set(e->loop, &e->lifecycle, SOON_NS);
}
