/*
 * Writes: the store gets the next document of an entity, its callback swaps it in and answers. A
 * client may have several writes of one entity under way: each is built on what the one before
 * will leave and expects its version, so when one fails those behind it fail too.
 */
#include "service/iam/iam_int.h"

#include "base/log.h"

static const char space[] = "iam";

struct part {
	struct entity *e;
	json_t *doc; /* NULL: deleted */
	int64_t version;
};

struct change {
	struct store_write w;
	struct iam *iam;
	struct call *c; /* NULL: the client has gone */
	struct part parts[2];
	size_t count;
};

/* ---- who uses which policy ---- */

static void count_use(struct iam *m, const char *account, const char *arn, int attached, int bound)
{
	_cleanup_free_ char *key = xasprintf("%s/%s", account, arn);
	struct policy_use *u = map_get(&m->uses, str_from(key));

	if (!u) {
		u = xcalloc(1, sizeof(*u));
		map_put(&m->uses, str_from(key), u);
	}
	u->attached += attached;
	u->boundaries += bound;
	if (u->attached || u->boundaries)
		return;
	map_remove(&m->uses, str_from(key));
	free(u);
}

static void count_uses(struct iam *m, const struct entity *e, const json_t *doc, int by)
{
	const json_t *attached = json_object_get(doc, "attached");
	const char *boundary = iam_doc_str(doc, "boundary");

	for (size_t i = 0; i < json_array_size(attached); i++)
		count_use(m, e->account, json_string_value(json_array_get(attached, i)), by, 0);
	if (boundary)
		count_use(m, e->account, boundary, 0, by);
}

struct policy_use change_uses(const struct iam *m, const char *account, const char *arn)
{
	_cleanup_free_ char *key = xasprintf("%s/%s", account, arn);
	const struct policy_use *u = map_get(&m->uses, str_from(key));

	return u ? *u : (struct policy_use){0};
}

/* ---- access keys ---- */

static void tell_key(struct iam *m, struct entity *user, const json_t *doc, const json_t *key)
{
	struct aws_principal p = {.type = AWS_USER};

	map_put(&m->owners, str_from(iam_doc_str(key, "id")), user);
	if (strcmp(iam_doc_str(key, "status"), "Active") != 0)
		return;
	snprintf(p.account, sizeof(p.account), "%s", user->account);
	snprintf(p.access_key_id, sizeof(p.access_key_id), "%s", iam_doc_str(key, "id"));
	snprintf(p.user_id, sizeof(p.user_id), "%s", iam_doc_str(doc, "id"));
	snprintf(p.arn, sizeof(p.arn), "%s", iam_doc_str(doc, "arn"));
	auth_key_put(m->auth, &p, iam_doc_str(key, "secret"));
}

static void forget_keys(struct iam *m, const json_t *doc)
{
	const json_t *keys = json_object_get(doc, "keys");

	for (size_t i = 0; i < json_array_size(keys); i++) {
		const char *id = iam_doc_str(json_array_get(keys, i), "id");

		auth_key_remove(m->auth, id);
		map_remove(&m->owners, str_from(id));
	}
}

/* What is on disk is now doc. */
static void publish(struct iam *m, struct entity *e, json_t *doc, int64_t version)
{
	const json_t *keys = json_object_get(doc, "keys");

	forget_keys(m, e->doc);
	for (size_t i = 0; i < json_array_size(keys); i++)
		tell_key(m, e, doc, json_array_get(keys, i));
	json_decref(e->doc);
	e->doc = doc;
	e->version = version;
}

void change_loaded(struct iam *m, struct entity *e, json_t *doc, int64_t version)
{
	publish(m, e, doc, version);
	count_uses(m, e, doc, 1);
	e->latest = json_incref(doc);
	e->latest_version = version;
}

/* ---- one write ---- */

static void supersede(struct iam *m, struct entity *e, json_t *latest, int64_t version)
{
	count_uses(m, e, e->latest, -1);
	count_uses(m, e, latest, 1);
	json_decref(e->latest);
	e->latest = json_incref(latest);
	e->latest_version = version;
}

static void stage(struct change *g, struct entity *e, json_t *doc)
{
	_cleanup_free_ char *key = xasprintf("%s/%s", entity_nouns[e->type], e->key);
	_cleanup_free_ char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	struct part p = {e, doc, doc ? e->latest_version + 1 : 0};

	check(!doc == !text && g->count < ARRAY_SIZE(g->parts));
	if (doc)
		store_put(&g->w, space, str_from(key), str_from(text), e->latest_version);
	else
		store_delete(&g->w, space, str_from(key), e->latest_version);
	supersede(g->iam, e, doc, p.version);
	e->last = g;
	e->changes++;
	g->parts[g->count++] = p;
}

static void settle(struct change *g, struct part *p, bool good)
{
	struct entity *e = p->e;
	bool last = e->last == g;

	e->changes--;
	if (last)
		e->last = NULL;
	if (good) {
		publish(g->iam, e, p->doc, p->version);
	} else {
		json_decref(p->doc);
		if (last)
			supersede(g->iam, e, e->doc, e->version);
	}
	if (!e->doc && !e->latest && !e->changes)
		table_remove(g->iam, e);
}

static void done(struct store_write *w, int result)
{
	struct change *g = container_of(w, struct change, w);
	struct err e = ERR_INIT;
	int r = 0;

	for (size_t i = 0; i < g->count; i++)
		settle(g, &g->parts[i], result == 0);
	if (result < 0) {
		log_error("iam: writing failed: %s", strerror(-result));
		r = fail(&e, IAM_SERVICE_FAILURE_EXCEPTION,
		    result == -ENOSPC
			? "The disk that holds the data is full: free some space and try again."
			: "The change could not be stored: try again.");
	}
	if (g->c)
		call_reply(g->c, r, &e);
	free(g);
}

static void on_stop(struct call *c)
{
	struct change *g = c->user;

	g->c = NULL;
}

static struct change *begin(struct call *c)
{
	struct change *g = xcalloc(1, sizeof(*g));

	g->iam = c->ctx;
	g->c = c;
	c->user = g;
	call_on_stop(c, on_stop);
	store_write_init(&g->w, done);
	return g;
}

int iam_change_commit(struct call *c, struct entity *e, json_t *doc)
{
	struct change *g = begin(c);

	stage(g, e, doc);
	store_commit(g->iam->store, &g->w);
	return CALL_PENDING;
}

int change_commit_two(
    struct call *c, struct entity *a, json_t *a_doc, struct entity *b, json_t *b_doc)
{
	struct change *g = begin(c);

	stage(g, a, a_doc);
	stage(g, b, b_doc);
	store_commit(g->iam->store, &g->w);
	return CALL_PENDING;
}
