/* Layers: what the store holds of them, their image in memory, and how that changes. Loop thread.
 */
#include "base/log.h"
#include "service/lambda/layer_int.h"

/* ---- memory ---- */

struct layer *layer_find(struct lambda *l, struct str account, struct str region, struct str name)
{
	_cleanup_free_ char *key =
	    xasprintf("%.*s/%.*s/%.*s", STR_FMT(account), STR_FMT(region), STR_FMT(name));

	return map_get(&l->layers, str_from(key));
}

struct layer *layer_slot(struct lambda *l, struct str account, struct str region, struct str name)
{
	struct layer *y = layer_find(l, account, region, name);

	if (y)
		return y;
	y = xcalloc(1, sizeof(*y));
	y->lambda = l;
	y->account = xstrndup(account.ptr, account.len);
	y->region = xstrndup(region.ptr, region.len);
	y->name = xstrndup(name.ptr, name.len);
	y->key = xasprintf("%s/%s/%s", y->account, y->region, y->name);
	map_put(&l->layers, str_from(y->key), y);
	return y;
}

static size_t position(const struct layer *y, int64_t number)
{
	size_t i = y->count;

	while (i && y->versions[i - 1]->number >= number)
		i--;
	return i;
}

struct layer_version *layer_version_find(const struct layer *y, int64_t number)
{
	size_t i = position(y, number);

	return i < y->count && y->versions[i]->number == number ? y->versions[i] : NULL;
}

static struct layer_version *insert(struct layer *y, int64_t number)
{
	struct layer_version *v = xcalloc(1, sizeof(*v));
	size_t i = position(y, number);

	v->layer = y;
	v->number = number;
	y->versions = xrealloc(y->versions, (y->count + 1) * sizeof(struct layer_version *));
	memmove(
	    &y->versions[i + 1], &y->versions[i], (y->count - i) * sizeof(struct layer_version *));
	y->versions[i] = v;
	y->count++;
	return v;
}

static void version_done(struct layer_version *v)
{
	code_unref(v->code);
	json_decref(v->doc);
	free(v);
}

void layer_apply(struct layer *y, int64_t number, json_t *doc)
{
	struct layer_version *v = layer_version_find(y, number);
	size_t i = position(y, number);

	if (!doc) {
		if (!v)
			return;
		y->count--;
		memmove(&y->versions[i], &y->versions[i + 1],
		    (y->count - i) * sizeof(struct layer_version *));
		version_done(v);
		return;
	}
	if (!v)
		v = insert(y, number);
	json_decref(v->doc);
	v->doc = doc;
	if (!v->code)
		v->code = code_load(y->lambda, doc_str(doc, "CodeHash"));
	code_remember(v->code, doc);
}

void layer_close(struct lambda *l)
{
	map_for_each (&l->layers, entry) {
		struct layer *y = entry->value;

		for (size_t i = 0; i < y->count; i++)
			version_done(y->versions[i]);
		free(y->versions);
		free(y->key);
		free(y->account);
		free(y->region);
		free(y->name);
		free(y);
	}
	map_done(&l->layers);
}

int64_t layer_total(const struct lambda *l)
{
	int64_t total = 0;

	map_for_each (&l->layers, entry) {
		const struct layer *y = entry->value;

		for (size_t i = 0; i < y->count; i++)
			total += doc_int(y->versions[i]->doc, "CodeSize", 0);
	}
	return total;
}

/* ---- from the store ---- */

static int load(void *ctx, struct str key, struct str value, int64_t version)
{
	struct str rest = key, account = str_cut(&rest, '/'), region = str_cut(&rest, '/'),
		   name = str_cut(&rest, '/');
	json_t *doc = json_loadb(value.ptr, value.len, 0, NULL);
	int64_t number = 0;
	struct layer *y;

	(void)version;
	if (!json_is_object(doc) || (rest.ptr && (!str_to_int64(rest, 1, INT64_MAX, &number) ||
						     !doc_str(doc, "CodeHash")))) {
		log_error("layer record '%.*s' cannot be read", STR_FMT(key));
		json_decref(doc);
		return -EBADMSG;
	}
	y = layer_slot(ctx, account, region, name);
	if (number) {
		layer_apply(y, number, doc);
		return 0;
	}
	y->last_number = doc_int(doc, "LastNumber", 0);
	json_decref(doc);
	return 0;
}

int layer_load(struct lambda *l, struct err *e)
{
	int r = store_scan(l->o.store, LAYER_SPACE, STR_NULL, load, l, e);

	return r < 0 ? err_wrap(e, "loading layers") : 0;
}

/* ---- changes ---- */

struct layer_change {
	struct store_write write;
	struct call *call; /* NULL: the client has gone */
	struct layer *layer;
	int64_t number;
	json_t *doc;
	struct code *code; /* of a new version, held until it is in memory */
	void (*finish)(struct call *c, struct layer *y, int64_t number);
};

static void on_stop(struct call *c)
{
	struct layer_change *ch = c->user;

	ch->call = NULL;
}

static void on_written(struct store_write *w, int result)
{
	struct layer_change *ch = container_of(w, struct layer_change, write);
	struct layer_version *v = layer_version_find(ch->layer, ch->number);
	struct err e = ERR_INIT;
	int r = 0;

	if (v)
		v->writing = false;
	if (result < 0) {
		log_error("a change of layer %s could not be written: %s", ch->layer->key,
		    strerror(-result));
		r = fail(&e, LAMBDA_SERVICE_EXCEPTION,
		    "The change could not be written: %s. Nothing was changed: see the server's "
		    "log, then try again.",
		    strerror(-result));
		json_decref(ch->doc);
	} else {
		layer_apply(ch->layer, ch->number, ch->doc);
	}
	code_unref(ch->code);
	if (ch->call) {
		if (r == 0 && ch->finish)
			ch->finish(ch->call, ch->layer, ch->number);
		call_reply(ch->call, r, &e);
	}
	free(ch);
}

static void put(struct store_write *w, const char *key, const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT);

	check(text != NULL);
	store_put(w, LAYER_SPACE, str_from(key), str_from(text), STORE_ANY);
	free(text);
}

int layer_commit(struct call *c, struct layer *y, int64_t number, json_t *doc, int64_t last_number,
    void (*finish)(struct call *c, struct layer *y, int64_t number))
{
	struct layer_change *ch = xcalloc(1, sizeof(*ch));
	struct layer_version *v = layer_version_find(y, number);
	_cleanup_free_ char *key = xasprintf("%s/%019" PRId64, y->key, number);

	ch->call = c;
	ch->layer = y;
	ch->number = number;
	ch->doc = doc;
	ch->finish = finish;
	if (v)
		v->writing = true;
	else if (doc)
		ch->code = code_load(y->lambda, doc_str(doc, "CodeHash"));
	c->user = ch;
	call_on_stop(c, on_stop);
	store_write_init(&ch->write, on_written);
	if (doc)
		put(&ch->write, key, doc);
	else
		store_delete(&ch->write, LAYER_SPACE, str_from(key), STORE_ANY);
	if (last_number) {
		json_t *meta =
		    json_pack("{s:i,s:I}", "v", 1, "LastNumber", (json_int_t)last_number);

		put(&ch->write, y->key, meta);
		json_decref(meta);
	}
	store_commit(y->lambda->o.store, &ch->write);
	return CALL_PENDING;
}
