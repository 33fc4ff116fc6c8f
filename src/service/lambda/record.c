/*
 * Records: what the store holds about functions, and its image in memory. Loading at the start and
 * every change end in record_apply(). Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "service/lambda/lambda_int.h"

/* ---- functions ---- */

static char *make_key(struct str account, struct str region, struct str name)
{
	return xasprintf("%.*s/%.*s/%.*s", STR_FMT(account), STR_FMT(region), STR_FMT(name));
}

static struct function *find(
    struct lambda *l, struct str account, struct str region, struct str name)
{
	char key[512];
	int n = snprintf(
	    key, sizeof(key), "%.*s/%.*s/%.*s", STR_FMT(account), STR_FMT(region), STR_FMT(name));

	/* Nothing that long was ever stored. */
	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	return map_get(&l->functions, (struct str){key, (size_t)n});
}

struct function *function_find(
    struct lambda *l, struct str account, struct str region, struct str name)
{
	struct function *f = find(l, account, region, name);

	return f && f->doc ? f : NULL;
}

struct function *function_slot(
    struct lambda *l, struct str account, struct str region, struct str name)
{
	struct function *f = find(l, account, region, name);

	if (f)
		return f;
	f = xcalloc(1, sizeof(*f));
	f->lambda = l;
	f->key = make_key(account, region, name);
	f->account = xstrndup(account.ptr, account.len);
	f->region = xstrndup(region.ptr, region.len);
	f->name = xstrndup(name.ptr, name.len);
	list_init(&f->aliases);
	list_init(&f->policies);
	list_init(&f->urls);
	list_init(&f->events);
	list_init(&f->waiters);
	map_put(&l->functions, str_from(f->key), f);
	return f;
}

static void item_free(struct item *it)
{
	url_item_changed(it->function->lambda, it, false);
	list_remove(&it->node);
	policy_free(it->policy);
	json_decref(it->doc);
	free(it->name);
	free(it);
}

static void items_free(struct list *items)
{
	list_for_each_safe (n, items)
		item_free(list_entry(n, struct item, node));
}

void version_free(struct version *v)
{
	if (!v)
		return;
	if (v->run)
		invoke_version_retire(v->run);
	code_unref(v->code);
	layers_release(v);
	json_decref(v->doc);
	free(v);
}

void function_free(struct function *f)
{
	map_remove(&f->lambda->functions, str_from(f->key));
	items_free(&f->aliases);
	items_free(&f->policies);
	items_free(&f->urls);
	items_free(&f->events);
	version_free(f->latest);
	for (size_t i = 0; i < f->published_count; i++)
		version_free(f->published[i]);
	free(f->published);
	if (f->run)
		invoke_function_unref(f->run);
	json_decref(f->doc);
	free(f->key);
	free(f->account);
	free(f->region);
	free(f->name);
	free(f);
}

static int apply_function(struct function *f, json_t *doc, int64_t stored)
{
	const char *loop;

	json_decref(f->doc);
	f->doc = doc;
	f->stored = stored;
	if (!doc)
		return 0;
	if (!f->run)
		f->run = invoke_function_new(f->lambda->o.invoke, f->account, f->region, f->name);
	invoke_function_reserve(f->run, doc_int(doc, "Reserved", -1));
	loop = doc_str(doc, "RecursiveLoop");
	invoke_function_allow_recursion(f->run, loop && strcmp(loop, "Allow") == 0);
	return 0;
}

/* ---- versions ---- */

static size_t position(const struct function *f, int64_t number)
{
	size_t low = 0, high = f->published_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (f->published[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct version *version_find(const struct function *f, int64_t number)
{
	size_t i = position(f, number);

	if (number == 0)
		return f->latest;
	return i < f->published_count && f->published[i]->number == number ? f->published[i] : NULL;
}

static struct version **insert_slot(struct function *f, int64_t number)
{
	size_t i = position(f, number);

	f->published = xrealloc(f->published, (f->published_count + 1) * sizeof(struct version *));
	memmove(&f->published[i + 1], &f->published[i],
	    (f->published_count - i) * sizeof(struct version *));
	f->published[i] = NULL;
	f->published_count++;
	return &f->published[i];
}

static struct version **find_slot(struct function *f, int64_t number)
{
	size_t i = position(f, number);

	if (number == 0)
		return &f->latest;
	return i < f->published_count && f->published[i]->number == number ? &f->published[i]
									   : NULL;
}

static void remove_slot(struct function *f, struct version **slot)
{
	if (slot == &f->latest) {
		f->latest = NULL;
		return;
	}
	f->published_count--;
	memmove(slot, slot + 1,
	    (size_t)(f->published + f->published_count - slot) * sizeof(struct version *));
}

static int apply_version(struct function *f, int64_t number, json_t *doc, int64_t stored)
{
	struct version **slot = find_slot(f, number), *v;

	if (!doc) {
		if (slot) {
			version_free(*slot);
			remove_slot(f, slot);
		}
		return 0;
	}
	if (!doc_str(doc, "CodeHash") || strlen(doc_str(doc, "CodeHash")) != 64)
		return -EBADMSG;
	v = xcalloc(1, sizeof(*v));
	v->function = f;
	v->number = number;
	v->doc = doc;
	v->stored = stored;
	v->code = doc_str(doc, "ResolvedUri") ? code_load_image(f->lambda, doc_str(doc, "CodeHash"),
						    doc_str(doc, "ResolvedUri"))
					      : code_load(f->lambda, doc_str(doc, "CodeHash"));
	code_remember(v->code, doc);
	layers_hold(v);
	if (!slot)
		slot = insert_slot(f, number);
	version_free(*slot);
	*slot = v;
	version_start(v);
	return 0;
}

/* ---- items ---- */

struct item *item_find(const struct list *items, const char *name)
{
	list_for_each (n, items) {
		struct item *it = list_entry(n, struct item, node);

		if (strcmp(it->name, name) == 0)
			return it;
	}
	return NULL;
}

struct list *item_list(struct function *f, enum record_kind kind)
{
	switch (kind) {
	case RECORD_ALIAS: return &f->aliases;
	case RECORD_POLICY: return &f->policies;
	case RECORD_EVENTS: return &f->events;
	default: return &f->urls;
	}
}

static struct item *item_new(struct function *f, struct list *items, const char *name)
{
	struct item *it = xcalloc(1, sizeof(*it));
	struct list *before = items;

	it->function = f;
	it->name = xstrdup(name);
	list_for_each (n, items) {
		if (strcmp(list_entry(n, struct item, node)->name, name) > 0) {
			before = n;
			break;
		}
	}
	list_push_back(before, &it->node);
	return it;
}

static int apply_item(
    struct function *f, enum record_kind kind, const char *name, json_t *doc, int64_t stored)
{
	struct list *items = item_list(f, kind);
	struct item *it = item_find(items, name);

	if (!doc) {
		if (it)
			item_free(it);
		return 0;
	}
	if (!it)
		it = item_new(f, items, name);
	json_decref(it->doc);
	it->doc = doc;
	it->stored = stored;
	if (kind == RECORD_POLICY) {
		policy_free(it->policy);
		it->policy = policy_compile(doc);
	}
	url_item_changed(f->lambda, it, true);
	return 0;
}

/* ---- all kinds ---- */

int record_apply(
    struct function *f, enum record_kind kind, const char *name, json_t *doc, int64_t stored)
{
	int64_t number = 0;

	switch (kind) {
	case RECORD_FUNCTION: return apply_function(f, doc, stored);
	case RECORD_VERSION:
		if (!str_to_int64(str_from(name), 0, INT64_MAX, &number))
			return -EBADMSG;
		return apply_version(f, number, doc, stored);
	default: return apply_item(f, kind, name, doc, stored);
	}
}

int64_t record_stored(struct function *f, enum record_kind kind, const char *name)
{
	const struct version *v;
	const struct item *it;

	switch (kind) {
	case RECORD_FUNCTION: return f->doc ? f->stored : STORE_ABSENT;
	case RECORD_VERSION:
		v = version_find(f, strtoll(name, NULL, 10));
		return v ? v->stored : STORE_ABSENT;
	default: it = item_find(item_list(f, kind), name); return it ? it->stored : STORE_ABSENT;
	}
}

/* ---- loading ---- */

struct loading {
	struct lambda *lambda;
	enum record_kind only; /* functions first: versions hang on them */
	struct err *e;
};

static int load_one(struct loading *ld, struct str key, struct str value, int64_t version)
{
	struct str rest = key, account = str_cut(&rest, '/'), region = str_cut(&rest, '/'),
		   name = str_cut(&rest, '/'), kind = str_cut(&rest, '/');
	_cleanup_free_ char *last = NULL;
	json_t *doc;
	int r;

	if (kind.len != 1 || !rest.ptr || !strchr("fvapue", kind.ptr[0]))
		return -EBADMSG;
	if ((kind.ptr[0] == RECORD_FUNCTION) != (ld->only == RECORD_FUNCTION))
		return 0;
	doc = json_loadb(value.ptr, value.len, 0, NULL);
	if (!json_is_object(doc) || doc_int(doc, "v", 0) != 1) {
		json_decref(doc);
		return -EBADMSG;
	}
	last = xstrndup(rest.ptr, rest.len);
	r = record_apply(function_slot(ld->lambda, account, region, name),
	    (enum record_kind)kind.ptr[0], last, doc, version);
	if (r < 0)
		json_decref(doc);
	return r;
}

static int on_record(void *ctx, struct str key, struct str value, int64_t version)
{
	struct loading *ld = ctx;
	int r = load_one(ld, key, value, version);

	/* Starting without it would let somebody create it anew: better not to start. */
	if (r < 0)
		err_set(ld->e, -r, "record '%.*s' cannot be read", STR_FMT(key));
	return r;
}

int record_load(struct lambda *l, struct err *e)
{
	struct loading ld = {.lambda = l, .only = RECORD_FUNCTION, .e = e};
	int r = store_scan(l->o.store, LAMBDA_SPACE, STR_NULL, on_record, &ld, e);

	ld.only = 0;
	if (r >= 0)
		r = store_scan(l->o.store, LAMBDA_SPACE, STR_NULL, on_record, &ld, e);
	return r < 0 ? err_wrap(e, "loading functions") : 0;
}
