/* Log groups: in memory by key and in order, written through to the store. See logs.h. */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "logs/logs_int.h"

#define SPACE "loggroup"

bool logs_group_name_valid(struct str name)
{
	if (name.len == 0 || name.len > LOGS_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c && strchr(".-_/#", c))))
			return false;
	}
	return true;
}

static char *make_key(struct log_group_id id)
{
	return xasprintf(
	    "%.*s/%.*s/%.*s", STR_FMT(id.account), STR_FMT(id.region), STR_FMT(id.name));
}

struct log_group *log_group_find(struct logs *g, struct log_group_id id)
{
	_cleanup_free_ char *key = make_key(id);

	return map_get(&g->groups, str_from(key));
}

static void free_tags(struct log_tag *tags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((void *)(uintptr_t)tags[i].key.ptr);
		free((void *)(uintptr_t)tags[i].value.ptr);
	}
	free(tags);
}

static struct log_tag *copy_tags(const struct log_tag *tags, size_t count)
{
	struct log_tag *copy = xcalloc(count ? count : 1, sizeof(*copy));

	for (size_t i = 0; i < count; i++) {
		copy[i].key =
		    (struct str){xstrndup(tags[i].key.ptr, tags[i].key.len), tags[i].key.len};
		copy[i].value =
		    (struct str){xstrndup(tags[i].value.ptr, tags[i].value.len), tags[i].value.len};
	}
	return copy;
}

struct log_group *log_group_new(struct logs *g, struct str key)
{
	struct log_group *group = xcalloc(1, sizeof(*group));
	struct str rest;

	group->logs = g;
	group->refs = 1;
	group->key = xstrndup(key.ptr, key.len);
	rest = str_from(group->key);
	group->id.account = str_cut(&rest, '/');
	group->id.region = str_cut(&rest, '/');
	group->id.name = rest.ptr ? rest : STR("");
	group->id_count = 1;
	return group;
}

void log_group_unref(struct log_group *group)
{
	if (--group->refs)
		return;
	for (uint32_t i = 1; i < group->id_count; i++)
		if (group->by_id[i])
			log_stream_remove(group->by_id[i]);
	journal_close(group->journal);
	map_done(&group->streams);
	free_tags(group->tags, group->tag_count);
	free(group->by_id);
	free(group->blocks);
	free(group->key);
	free(group);
}

/* Place of the first group whose key is not below `key`. */
static size_t place(const struct logs *g, const char *key)
{
	size_t lo = 0, hi = g->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(g->sorted[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void log_group_insert(struct log_group *group)
{
	struct logs *g = group->logs;
	size_t at = place(g, group->key);

	if (g->count == g->room) {
		g->room = g->room ? g->room * 2 : 16;
		g->sorted = xrealloc(g->sorted, g->room * sizeof(struct log_group *));
	}
	memmove(&g->sorted[at + 1], &g->sorted[at], (g->count - at) * sizeof(struct log_group *));
	g->sorted[at] = group;
	g->count++;
	map_put(&g->groups, str_from(group->key), group);
}

void log_group_take_out(struct log_group *group)
{
	struct logs *g = group->logs;
	size_t at = place(g, group->key);

	g->count--;
	memmove(&g->sorted[at], &g->sorted[at + 1], (g->count - at) * sizeof(struct log_group *));
	map_remove(&g->groups, str_from(group->key));
}

/* ---- writing through ---- */

struct group_change {
	struct store_write write;
	struct log_group *group;
	bool created, deleted;
	int retention_days;
	struct log_tag *tags;
	size_t tag_count;
	logs_done_fn *done;
	void *ctx;
};

/* The group as the changes under way will leave it. */
static struct log_group_info latest(const struct log_group *group);

static struct group_change *change_new(struct log_group *group, logs_done_fn *done, void *ctx)
{
	struct group_change *c = xcalloc(1, sizeof(*c));

	c->group = group;
	c->done = done;
	c->ctx = ctx;
	c->retention_days = latest(group).retention_days;
	group->refs++;
	return c;
}

/* Files of a deleted group; under another name first, so that a crash leaves no half group. */
static void remove_files(const struct log_group *group)
{
	_cleanup_free_ char *from = xasprintf("%s/%s", group->logs->dir, group->dir);
	_cleanup_free_ char *to = xasprintf("%s/%s.gone", group->logs->dir, group->dir);
	struct dirent *d;
	DIR *dir;

	if (rename(from, to) < 0)
		return;
	dir = opendir(to);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			unlinkat(dirfd(dir), d->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(to);
}

static void forget(struct log_group *group)
{
	for (uint32_t i = 1; i < group->id_count; i++)
		if (group->by_id[i])
			log_stream_remove(group->by_id[i]);
	journal_close(group->journal);
	group->journal = NULL;
	remove_files(group);
	log_group_unref(group);
}

static void on_stored(struct store_write *w, int result)
{
	struct group_change *c = container_of(w, struct group_change, write);
	struct log_group *group = c->group;
	bool replaced = map_get(&group->logs->groups, str_from(group->key)) != NULL;

	if (group->newest == c)
		group->newest = NULL;
	if (c->created && result < 0) {
		log_error("cannot store log group %s: %s", group->key, strerror(-result));
		if (c->done && replaced) { /* made by a client, who is told */
			log_group_take_out(group);
			forget(group);
		}
	} else if (c->deleted && (result == 0 || replaced)) {
		forget(group);
	} else if (c->deleted) {
		log_group_insert(group);
	} else if (result == 0 && !c->created) {
		free_tags(group->tags, group->tag_count);
		group->tags = c->tags;
		group->tag_count = c->tag_count;
		group->retention_days = c->retention_days;
		c->tags = NULL;
		c->tag_count = 0;
	}
	if (c->done)
		c->done(c->ctx, result);
	free_tags(c->tags, c->tag_count);
	log_group_unref(group);
	free(c);
}

static void store_change(struct group_change *c)
{
	struct log_group *group = c->group;
	json_t *tags = json_object(), *root;
	char *text;

	for (size_t i = 0; i < c->tag_count; i++) {
		_cleanup_free_ char *key = xstrndup(c->tags[i].key.ptr, c->tags[i].key.len);

		json_object_set_new(
		    tags, key, json_stringn(c->tags[i].value.ptr, c->tags[i].value.len));
	}
	root = json_pack("{s:s, s:I, s:i, s:o}", "dir", group->dir, "created",
	    (json_int_t)group->created_ms, "retention", c->retention_days, "tags", tags);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	store_write_init(&c->write, on_stored);
	store_put(&c->write, SPACE, str_from(group->key), str_from(text), STORE_ANY);
	store_commit(group->logs->store, &c->write);
	group->newest = c;
	free(text);
}

int log_group_load(struct logs *g, struct str key, struct str value)
{
	json_t *root = json_loadb(value.ptr, value.len, 0, NULL), *tags = NULL, *v;
	const char *dir = NULL, *name;
	json_int_t created = 0;
	struct log_group *group;
	int retention = 0;
	size_t n = 0;

	if (!root ||
	    json_unpack(root, "{s:s, s:I, s:i, s:o}", "dir", &dir, "created", &created, "retention",
		&retention, "tags", &tags) < 0 ||
	    strlen(dir) != 16) {
		json_decref(root);
		return -EINVAL;
	}
	group = log_group_new(g, key);
	memcpy(group->dir, dir, sizeof(group->dir));
	group->created_ms = created;
	group->retention_days = retention;
	group->tags = xcalloc(json_object_size(tags) + 1, sizeof(*group->tags));
	json_object_foreach(tags, name, v)
	{
		size_t len = json_string_length(v);

		group->tags[n].key = (struct str){xstrdup(name), strlen(name)};
		group->tags[n++].value =
		    (struct str){xstrndup(len ? json_string_value(v) : "", len), len};
	}
	group->tag_count = n;
	json_decref(root);
	log_group_insert(group);
	return 0;
}

/* ---- for callers ---- */

/* Failing is always told later, like success. */
struct refusal {
	struct loop_task task;
	int result;
	logs_done_fn *done;
	void *ctx;
};

static void tell(struct loop_task *t)
{
	struct refusal *r = container_of(t, struct refusal, task);

	r->done(r->ctx, r->result);
	free(r);
}

static void refuse(struct logs *g, int result, logs_done_fn *done, void *ctx)
{
	struct refusal *r = xcalloc(1, sizeof(*r));

	list_init(&r->task.node);
	r->task.run = tell;
	r->result = result;
	r->done = done;
	r->ctx = ctx;
	loop_defer(g->loop, &r->task);
}

static struct log_group *make(struct logs *g, struct log_group_id id, const struct log_tag *tags,
    size_t tag_count, logs_done_fn *done, void *ctx)
{
	_cleanup_free_ char *key = make_key(id);
	struct log_group *group = log_group_new(g, str_from(key));
	struct group_change *c;

	rand_hex(group->dir, 16);
	group->created_ms = time_wall_ms();
	group->tags = copy_tags(tags, tag_count);
	group->tag_count = tag_count;
	log_group_insert(group);
	c = change_new(group, done, ctx);
	c->created = true;
	c->tags = copy_tags(tags, tag_count);
	c->tag_count = tag_count;
	store_change(c);
	return group;
}

struct log_group *log_group_make(struct logs *g, struct log_group_id id)
{
	return make(g, id, NULL, 0, NULL, NULL);
}

void logs_group_create(struct logs *g, struct log_group_id id, const struct log_tag *tags,
    size_t tag_count, logs_done_fn *done, void *ctx)
{
	if (!logs_group_name_valid(id.name))
		refuse(g, -EINVAL, done, ctx);
	else if (log_group_find(g, id))
		refuse(g, -EEXIST, done, ctx);
	else
		make(g, id, tags, tag_count, done, ctx);
}

void logs_group_delete(struct logs *g, struct log_group_id id, logs_done_fn *done, void *ctx)
{
	struct log_group *group = log_group_find(g, id);
	struct group_change *c;

	if (!group) {
		refuse(g, -ENOENT, done, ctx);
		return;
	}
	log_group_take_out(group);
	c = change_new(group, done, ctx);
	c->deleted = true;
	store_write_init(&c->write, on_stored);
	store_delete(&c->write, SPACE, str_from(group->key), STORE_ANY);
	store_commit(g->store, &c->write);
}

void logs_group_retention(
    struct logs *g, struct log_group_id id, int days, logs_done_fn *done, void *ctx)
{
	struct log_group *group = log_group_find(g, id);
	struct log_group_info now;
	struct group_change *c;

	if (!group || days < 0) {
		refuse(g, group ? -EINVAL : -ENOENT, done, ctx);
		return;
	}
	now = latest(group);
	c = change_new(group, done, ctx);
	c->retention_days = days;
	c->tags = copy_tags(now.tags, now.tag_count);
	c->tag_count = now.tag_count;
	store_change(c);
}

void logs_group_tags(struct logs *g, struct log_group_id id, const struct log_tag *tags,
    size_t tag_count, logs_done_fn *done, void *ctx)
{
	struct log_group *group = log_group_find(g, id);
	struct group_change *c;

	if (!group) {
		refuse(g, -ENOENT, done, ctx);
		return;
	}
	c = change_new(group, done, ctx);
	c->tags = copy_tags(tags, tag_count);
	c->tag_count = tag_count;
	store_change(c);
}

static struct log_group_info describe(const struct log_group *group)
{
	return (struct log_group_info){
	    .id = group->id,
	    .created_ms = group->created_ms,
	    .retention_days = group->retention_days,
	    .stored_bytes = group->journal ? journal_bytes(group->journal) : 0,
	    .tags = group->tags,
	    .tag_count = group->tag_count,
	};
}

static struct log_group_info latest(const struct log_group *group)
{
	struct log_group_info info = describe(group);

	if (group->newest) {
		info.retention_days = group->newest->retention_days;
		info.tags = group->newest->tags;
		info.tag_count = group->newest->tag_count;
	}
	return info;
}

int logs_group_latest(struct logs *g, struct log_group_id id, struct log_group_info *ret)
{
	struct log_group *group = log_group_find(g, id);

	if (!group)
		return -ENOENT;
	*ret = latest(group);
	return 0;
}

int logs_group_get(struct logs *g, struct log_group_id id, struct log_group_info *ret)
{
	struct log_group *group = log_group_find(g, id);

	if (!group)
		return -ENOENT;
	log_group_open(group, NULL);
	*ret = describe(group);
	return 0;
}

static bool contains(struct str name, struct str part)
{
	for (size_t i = 0; i + part.len <= name.len; i++)
		if (strncasecmp(name.ptr + i, part.ptr, part.len) == 0)
			return true;
	return false;
}

bool logs_groups(struct logs *g, const struct log_group_list *q,
    void (*fn)(void *ctx, const struct log_group_info *i), void *ctx)
{
	struct str start = q->after.ptr ? q->after : q->prefix.ptr ? q->prefix : STR("");
	_cleanup_free_ char *from = make_key((struct log_group_id){q->account, q->region, start});
	unsigned n = 0;

	for (size_t i = place(g, from); i < g->count; i++) {
		const struct log_group *group = g->sorted[i];
		struct log_group_info info = describe(group);
		struct str name = group->id.name;

		if (!str_eq(group->id.account, q->account) || !str_eq(group->id.region, q->region))
			break;
		if (q->prefix.len && (name.len < q->prefix.len ||
					 memcmp(name.ptr, q->prefix.ptr, q->prefix.len) != 0))
			continue;
		if ((q->after.ptr && str_eq(name, q->after)) ||
		    (q->contains.len && !contains(name, q->contains)))
			continue;
		if (n++ == q->limit)
			return true;
		fn(ctx, &info);
	}
	return false;
}
