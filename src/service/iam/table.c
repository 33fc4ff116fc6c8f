/*
 * The entities in memory: one table a type, in order of account and name, so that a page of a list
 * is a walk from a binary search. Names are the same whatever their case, as in IAM.
 */
#include "service/iam/iam_int.h"

#include <ctype.h>

#define PAGE_DEFAULT 100
#define MARKER_SIZE 321

const char *const entity_nouns[ENTITY_TYPES] = {"user", "role", "group", "policy"};
const char *const entity_titles[ENTITY_TYPES] = {"User", "Role", "Group", "Policy"};

struct key {
	char text[16 + NAME_MAX_BYTES];
};

static struct key make_key(const char *account, const char *name)
{
	struct key k;
	size_t len = strlen(account);

	check(len + 2 + strlen(name) <= sizeof(k.text));
	memcpy(k.text, account, len);
	k.text[len++] = '/';
	for (; *name; name++)
		k.text[len++] = (char)tolower((unsigned char)*name);
	k.text[len] = '\0';
	return k;
}

/* Index of the first entity whose key is not below. */
static size_t lower_bound(const struct table *t, const char *key)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(t->items[mid]->key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct entity *table_find(struct iam *m, enum entity_type t, const char *account, const char *name)
{
	const struct table *table = &m->tables[t];
	struct key key;
	size_t at;

	if (strlen(name) > NAME_MAX_BYTES)
		return NULL;
	key = make_key(account, name);
	at = lower_bound(table, key.text);
	if (at == table->count || strcmp(table->items[at]->key, key.text) != 0)
		return NULL;
	return table->items[at];
}

struct entity *table_add(struct iam *m, enum entity_type t, const char *account, const char *name)
{
	struct table *table = &m->tables[t];
	struct key key = make_key(account, name);
	size_t at = lower_bound(table, key.text);
	struct entity *e = xcalloc(1, sizeof(*e));

	e->type = t;
	e->key = xstrdup(key.text);
	e->account = xstrdup(account);
	if (table->count == table->capacity) {
		table->capacity = max_size(16, table->capacity * 2);
		table->items = xrealloc(table->items, table->capacity * sizeof(*table->items));
	}
	memmove(
	    table->items + at + 1, table->items + at, (table->count - at) * sizeof(*table->items));
	table->items[at] = e;
	table->count++;
	return e;
}

static void entity_free(struct entity *e)
{
	json_decref(e->doc);
	json_decref(e->latest);
	free(e->key);
	free(e->account);
	free(e);
}

void table_remove(struct iam *m, struct entity *e)
{
	struct table *table = &m->tables[e->type];
	size_t at = lower_bound(table, e->key);

	check(at < table->count && table->items[at] == e);
	table->count--;
	memmove(
	    table->items + at, table->items + at + 1, (table->count - at) * sizeof(*table->items));
	entity_free(e);
}

void table_done(struct iam *m)
{
	for (size_t t = 0; t < ENTITY_TYPES; t++) {
		for (size_t i = 0; i < m->tables[t].count; i++)
			entity_free(m->tables[t].items[i]);
		free(m->tables[t].items);
	}
}

size_t table_count(const struct iam *m, enum entity_type t, const char *account)
{
	const struct table *table = &m->tables[t];
	struct key key = make_key(account, "");
	size_t from = lower_bound(table, key.text);

	key.text[strlen(key.text) - 1] = '/' + 1; /* the first key behind those of the account */
	return lower_bound(table, key.text) - from;
}

struct entity *table_by_arn(struct iam *m, enum entity_type t, const char *account, const char *arn)
{
	const char *name = strrchr(arn, '/');
	struct entity *e = name ? table_find(m, t, account, name + 1) : NULL;
	const json_t *doc = e && e->latest ? e->latest : e ? e->doc : NULL;

	return doc && strcmp(iam_doc_str(doc, "arn"), arn) == 0 ? e : NULL;
}

/* ---- pages ---- */

static int bad_marker(struct err *e)
{
	return fail(e, AWS_VALIDATION, "Invalid Marker.");
}

/* Markers are base64, only so that nobody relies on what they say. */
static const char *encode_marker(struct call *c, const char *text)
{
	size_t len = strlen(text);
	char *out = arena_alloc(c->arena, BASE64_ENCODED_SIZE(len));

	base64_encode(text, len, out);
	return out;
}

static int decode_marker(const char *marker, char ret[MARKER_SIZE], struct err *e)
{
	struct str s = str_from(marker);
	ssize_t len;

	if (s.len >= MARKER_SIZE)
		return bad_marker(e);
	len = base64_decode(s, ret);
	if (len < 0)
		return bad_marker(e);
	ret[len] = '\0';
	return 0;
}

static bool listed(const struct listing *l, const struct entity *e)
{
	if (!e->doc)
		return false;
	if (l->path_prefix &&
	    !str_has_prefix(str_from(iam_doc_str(e->doc, "path")), l->path_prefix))
		return false;
	return !l->keep || l->keep(l, e);
}

/* Entities of one account from `from` on; false when the page is full and there are more. */
static bool gather(struct listing *l, const char *account, const char *from, size_t max)
{
	const struct iam *m = l->c->ctx;
	const struct table *t = &m->tables[l->type];
	struct key key = make_key(account, "");
	size_t at = lower_bound(t, from && strcmp(from, key.text) > 0 ? from : key.text);

	for (; at < t->count && strcmp(t->items[at]->account, account) == 0; at++) {
		if (!listed(l, t->items[at]))
			continue;
		if (l->count == max) {
			l->marker = encode_marker(l->c, t->items[at]->key);
			return false;
		}
		l->items[l->count++] = t->items[at];
	}
	return true;
}

int list_entities(struct listing *l, const char *marker, const int64_t *max_items, struct err *e)
{
	size_t max = max_items ? (size_t)*max_items : PAGE_DEFAULT;
	char from[MARKER_SIZE] = "";
	bool whole;

	if (marker && decode_marker(marker, from, e) < 0)
		return bad_marker(e);
	l->items = call_array(l->c, max, const struct entity *);
	whole = gather(l, l->c->account, from, max);
	if (whole && l->type == ENTITY_POLICY)
		whole = gather(l, "aws", from, max);
	l->is_truncated = call_bool(l->c, !whole);
	return 0;
}

int list_slice(struct call *c, const char *marker, const int64_t *max_items, size_t total,
    struct page *ret, struct err *e)
{
	size_t max = max_items ? (size_t)*max_items : PAGE_DEFAULT;
	char text[MARKER_SIZE];
	int64_t from = 0;

	if (marker && (decode_marker(marker, text, e) < 0 ||
			  !str_to_int64(str_from(text), 0, INT32_MAX, &from)))
		return bad_marker(e);
	ret->from = min_size((size_t)from, total);
	ret->count = min_size(max, total - ret->from);
	ret->is_truncated = call_bool(c, ret->from + ret->count < total);
	if (*ret->is_truncated)
		ret->marker = encode_marker(c, call_printf(c, "%zu", ret->from + ret->count));
	return 0;
}
