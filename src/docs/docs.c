/* See docs.h. */
#include "docs/docs.h"

#include "base/log.h"

struct doc {
	char *key;
	json_t *json; /* on disk; NULL while it is being made */
	int64_t version;
	json_t *latest;         /* what the last change will leave; NULL: nothing */
	int64_t latest_version; /* 0: not in the store */
	const struct docs_change *last;
	unsigned changes; /* under way */
};

struct docs {
	const char *space;
	struct doc **items; /* in order of key */
	size_t count, capacity;
};

struct part {
	struct docs *docs;
	struct doc *doc;
	json_t *json; /* NULL: deleted */
	int64_t version;
};

struct docs_change {
	struct store_write w;
	struct store *store;
	struct part *parts;
	size_t count;
	void (*done)(void *ctx, int result);
	void *ctx;
};

/* ---- the table ---- */

/* Index of the first document whose key is not below. */
static size_t lower_bound(const struct docs *d, const char *key)
{
	size_t low = 0, high = d->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(d->items[mid]->key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct doc *find(const struct docs *d, const char *key)
{
	size_t at = lower_bound(d, key);

	return at < d->count && !strcmp(d->items[at]->key, key) ? d->items[at] : NULL;
}

static struct doc *find_or_add(struct docs *d, const char *key)
{
	size_t at = lower_bound(d, key);
	struct doc *doc;

	if (at < d->count && !strcmp(d->items[at]->key, key))
		return d->items[at];
	doc = xcalloc(1, sizeof(*doc));
	doc->key = xstrdup(key);
	if (d->count == d->capacity) {
		d->capacity = max_size(16, d->capacity * 2);
		d->items = xrealloc(d->items, d->capacity * sizeof(*d->items));
	}
	memmove(d->items + at + 1, d->items + at, (d->count - at) * sizeof(*d->items));
	d->items[at] = doc;
	d->count++;
	return doc;
}

static void doc_free(struct doc *doc)
{
	json_decref(doc->json);
	json_decref(doc->latest);
	free(doc->key);
	free(doc);
}

static void drop(struct docs *d, struct doc *doc)
{
	size_t at = lower_bound(d, doc->key);

	d->count--;
	memmove(d->items + at, d->items + at + 1, (d->count - at) * sizeof(*d->items));
	doc_free(doc);
}

static int on_stored(void *ctx, struct str key, struct str value, int64_t version)
{
	struct docs *d = ctx;
	_cleanup_free_ char *name = xstrndup(key.ptr, key.len);
	json_t *json = json_loadb(value.ptr, value.len, 0, NULL);
	struct doc *doc;

	if (!json)
		return -EINVAL;
	doc = find_or_add(d, name);
	doc->json = json;
	doc->latest = json_incref(json);
	doc->version = doc->latest_version = version;
	return 0;
}

struct docs *docs_open(struct store *s, const char *space, struct err *e)
{
	struct docs *d = xcalloc(1, sizeof(*d));
	int r;

	d->space = space;
	r = store_scan(s, space, STR(""), on_stored, d, e);
	if (r == 0)
		return d;
	if (r == -EINVAL)
		err_set(e, EINVAL, "an entry is not what this version wrote");
	err_wrap(e, "reading %s", space);
	docs_close(d);
	return NULL;
}

void docs_close(struct docs *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->count; i++)
		doc_free(d->items[i]);
	free(d->items);
	free(d);
}

const json_t *docs_get(const struct docs *d, const char *key)
{
	const struct doc *doc = find(d, key);

	return doc ? doc->json : NULL;
}

const json_t *docs_latest(const struct docs *d, const char *key)
{
	const struct doc *doc = find(d, key);

	return doc ? doc->latest : NULL;
}

size_t docs_count(const struct docs *d, const char *prefix)
{
	size_t n = 0, len = strlen(prefix);

	for (size_t i = lower_bound(d, prefix);
	     i < d->count && !strncmp(d->items[i]->key, prefix, len); i++)
		n += d->items[i]->latest != NULL;
	return n;
}

void docs_walk(const struct docs *d, const char *prefix, const char *from,
    bool (*fn)(void *ctx, const char *key, const json_t *doc), void *ctx)
{
	size_t len = strlen(prefix);

	for (size_t i = lower_bound(d, strcmp(from, prefix) > 0 ? from : prefix);
	     i < d->count && !strncmp(d->items[i]->key, prefix, len); i++) {
		const struct doc *doc = d->items[i];

		if (doc->json && !fn(ctx, doc->key, doc->json))
			return;
	}
}

/* ---- changes ---- */

static void supersede(struct doc *doc, json_t *latest, int64_t version)
{
	json_decref(doc->latest);
	doc->latest = json_incref(latest);
	doc->latest_version = version;
}

static void settle(struct docs_change *g, struct part *p, bool good)
{
	struct doc *doc = p->doc;
	bool last = doc->last == g;

	doc->changes--;
	if (last)
		doc->last = NULL;
	if (good) {
		json_decref(doc->json);
		doc->json = p->json;
		doc->version = p->version;
	} else {
		json_decref(p->json);
		if (last)
			supersede(doc, doc->json, doc->version);
	}
	if (!doc->json && !doc->latest && !doc->changes)
		drop(p->docs, doc);
}

static void on_written(struct store_write *w, int result)
{
	struct docs_change *g = container_of(w, struct docs_change, w);

	for (size_t i = 0; i < g->count; i++)
		settle(g, &g->parts[i], result == 0);
	if (result < 0)
		log_error("storing a change failed: %s", strerror(-result));
	if (g->done)
		g->done(g->ctx, result);
	free(g->parts);
	free(g);
}

struct docs_change *docs_change_new(struct store *s)
{
	struct docs_change *g = xcalloc(1, sizeof(*g));

	g->store = s;
	store_write_init(&g->w, on_written);
	return g;
}

static void add_part(struct docs_change *g, struct docs *d, struct doc *doc, json_t *json)
{
	int64_t version = json ? doc->latest_version + 1 : 0;

	g->parts = xrealloc(g->parts, (g->count + 1) * sizeof(*g->parts));
	g->parts[g->count++] = (struct part){d, doc, json, version};
	supersede(doc, json, version);
	doc->last = g;
	doc->changes++;
}

void docs_put(struct docs_change *g, struct docs *d, const char *key, json_t *json)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	struct doc *doc = find_or_add(d, key);

	check(text);
	store_put(&g->w, d->space, str_from(key), str_from(text), doc->latest_version);
	add_part(g, d, doc, json);
}

void docs_delete(struct docs_change *g, struct docs *d, const char *key)
{
	struct doc *doc = find(d, key);

	check(doc && doc->latest);
	store_delete(&g->w, d->space, str_from(key), doc->latest_version);
	add_part(g, d, doc, NULL);
}

struct store_write *docs_change_write(struct docs_change *g)
{
	return &g->w;
}

void docs_commit(struct docs_change *g, void (*done)(void *ctx, int result), void *ctx)
{
	g->done = done;
	g->ctx = ctx;
	store_commit(g->store, &g->w);
}

/* ---- members ---- */

const char *docs_str(const json_t *doc, const char *name)
{
	return json_string_value(json_object_get(doc, name));
}

int64_t docs_int(const json_t *doc, const char *name)
{
	return json_integer_value(json_object_get(doc, name));
}

void docs_set(json_t *doc, const char *name, const char *value)
{
	if (value)
		json_object_set_new(doc, name, json_string(value));
}

void docs_set_int(json_t *doc, const char *name, int64_t value)
{
	json_object_set_new(doc, name, json_integer(value));
}
