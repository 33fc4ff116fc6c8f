/* Buckets in memory: a map and a list by name, filled from the store at start. Loop thread. */
#include "service/s3/bucket_int.h"

#include "base/log.h"

static size_t place_of(const struct s3 *s, const char *name)
{
	size_t low = 0, high = s->bucket_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(s->sorted[mid]->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct bucket *bucket_add(struct s3 *s, const char *name)
{
	struct bucket *b = xcalloc(1, sizeof(*b));
	size_t at = place_of(s, name);

	b->s3 = s;
	b->refs = 1;
	b->name = xstrdup(name);
	list_init(&b->edits);
	if (s->bucket_count == s->bucket_capacity) {
		s->bucket_capacity = s->bucket_capacity ? s->bucket_capacity * 2 : 16;
		s->sorted = xrealloc(s->sorted, s->bucket_capacity * sizeof(struct bucket *));
	}
	memmove(
	    s->sorted + at + 1, s->sorted + at, (s->bucket_count - at) * sizeof(struct bucket *));
	s->sorted[at] = b;
	s->bucket_count++;
	map_put(&s->buckets, str_from(b->name), b);
	return b;
}

struct bucket *bucket_ref(struct bucket *b)
{
	b->refs++;
	return b;
}

void bucket_unref(struct bucket *b)
{
	if (!b || --b->refs)
		return;
	for (size_t i = 0; i < CONFIG_KINDS; i++) {
		free(b->configs[i].text);
		if (b->configs[i].parsed)
			config_ops[i].drop(b->configs[i].parsed);
	}
	locks_done(b);
	free(b->name);
	free(b);
}

void bucket_remove(struct bucket *b)
{
	struct s3 *s = b->s3;
	size_t at = place_of(s, b->name);

	check(at < s->bucket_count && s->sorted[at] == b);
	memmove(s->sorted + at, s->sorted + at + 1,
	    (s->bucket_count - at - 1) * sizeof(struct bucket *));
	s->bucket_count--;
	map_remove(&s->buckets, str_from(b->name));
	b->gone = true;
	bucket_unref(b);
}

void buckets_free(struct s3 *s)
{
	while (s->bucket_count)
		bucket_remove(s->sorted[s->bucket_count - 1]);
	free(s->sorted);
	map_done(&s->buckets);
}

struct bucket *bucket_find(struct s3 *s, const char *name)
{
	struct bucket *b = map_get(&s->buckets, str_from(name));

	return b && !b->making && !b->deleting ? b : NULL;
}

/* ---- rows ---- */

char *bucket_text(const struct bucket *b)
{
	json_t *configs = json_object();
	json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i}", "name", b->name, "account",
	    b->account, "region", b->region, "id", b->id, "created", (json_int_t)b->created_ms,
	    "versioning", (int)b->versioning);
	char *text;

	check(doc);
	for (size_t i = 0; i < CONFIG_KINDS; i++)
		if (b->configs[i].text)
			json_object_set_new(
			    configs, config_ops[i].name, json_string(b->configs[i].text));
	json_object_set_new(doc, "config", configs);
	text = json_dumps(doc, JSON_COMPACT);
	check(text);
	json_decref(doc);
	return text;
}

static void load_config(struct bucket *b, enum config_kind kind, const char *text)
{
	struct config *g = &b->configs[kind];
	struct err e = ERR_INIT;

	g->text = xstrdup(text);
	if (!config_ops[kind].parse)
		return;
	g->parsed = config_ops[kind].parse(kind, text, &e);
	if (!g->parsed)
		log_error("s3: the %s of bucket %s cannot be understood: %s; put it anew",
		    config_ops[kind].name, b->name, e.msg);
}

int bucket_load(struct s3 *s, struct str row, struct err *e)
{
	const char *name, *account, *region, *id;
	json_error_t why;
	json_int_t created = 0;
	int versioning = 0;
	json_t *configs, *doc = json_loadb(row.ptr, row.len, 0, &why);
	struct bucket *b;

	if (!doc)
		return err_set(e, EINVAL, "%s", why.text);
	if (json_unpack_ex(doc, &why, 0, "{s:s, s:s, s:s, s:s, s:I, s:i, s:o}", "name", &name,
		"account", &account, "region", &region, "id", &id, "created", &created,
		"versioning", &versioning, "config", &configs) < 0) {
		json_decref(doc);
		return err_set(e, EINVAL, "%s", why.text);
	}
	b = bucket_add(s, name);
	snprintf(b->account, sizeof(b->account), "%s", account);
	snprintf(b->region, sizeof(b->region), "%s", region);
	snprintf(b->id, sizeof(b->id), "%s", id);
	b->created_ms = created;
	b->versioning = versioning == VERSIONING_ENABLED     ? VERSIONING_ENABLED
			: versioning == VERSIONING_SUSPENDED ? VERSIONING_SUSPENDED
							     : VERSIONING_NEVER;
	for (size_t i = 0; i < CONFIG_KINDS; i++) {
		const char *text = json_string_value(json_object_get(configs, config_ops[i].name));

		if (text)
			load_config(b, (enum config_kind)i, text);
	}
	json_decref(doc);
	return 0;
}
