/*
 * Mappings: what the store holds of them, and their states. A change is on disk before it is seen;
 * then polling follows, and the state is steady again when it has. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "source/source_int.h"

/* ---- finding ---- */

static struct source_mapping *find(
    struct sources *s, struct str account, struct str region, struct str uuid)
{
	_cleanup_free_ char *key =
	    xasprintf("%.*s/%.*s/%.*s", STR_FMT(account), STR_FMT(region), STR_FMT(uuid));

	return map_get(&s->mappings, str_from(key));
}

struct source_mapping *source_find(
    struct sources *s, struct str account, struct str region, struct str uuid)
{
	struct source_mapping *m = find(s, account, region, uuid);

	return m && m->stored ? m : NULL;
}

static bool is_of(const struct source_mapping *m, struct str account, struct str region)
{
	return str_is(account, m->account) && str_is(region, m->region);
}

static int by_key(const void *a, const void *b)
{
	const struct source_mapping *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

struct source_mapping **source_list(struct sources *s, struct str account, struct str region)
{
	struct source_mapping **list =
	    xcalloc(s->mappings.count + 1, sizeof(struct source_mapping *));
	size_t n = 0;

	map_for_each (&s->mappings, entry) {
		struct source_mapping *m = entry->value;

		if (m->stored && is_of(m, account, region))
			list[n++] = m;
	}
	qsort(list, n, sizeof(struct source_mapping *), by_key);
	return list;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

	return x == y || (x && y && json_equal(x, y));
}

const char *source_duplicate(
    struct sources *s, struct str account, struct str region, const json_t *doc)
{
	map_for_each (&s->mappings, entry) {
		const struct source_mapping *m = entry->value;

		if (is_of(m, account, region) && m->state != SOURCE_DELETING &&
		    same(m->doc, doc, "EventSourceArn") && same(m->doc, doc, "FunctionArn") &&
		    same(m->doc, doc, "SelfManagedEventSource") && same(m->doc, doc, "Topics") &&
		    same(m->doc, doc, "Queues"))
			return json_string_value(json_object_get(m->doc, "UUID"));
	}
	return NULL;
}

/* ---- looking ---- */

const char *source_state_name(enum source_state state)
{
	static const char *const names[] = {
	    "Creating", "Enabling", "Enabled", "Updating", "Disabling", "Disabled", "Deleting"};

	return names[state];
}

const json_t *source_doc(const struct source_mapping *m)
{
	return m->doc;
}

enum source_state source_state(const struct source_mapping *m)
{
	return m->state;
}

bool source_is_steady(const struct source_mapping *m)
{
	return !m->writing && (m->state == SOURCE_ENABLED || m->state == SOURCE_DISABLED);
}

const char *source_reason(const struct source_mapping *m)
{
	const struct source_ops *ops = source_kind_find(m->doc);

	return ops ? ops->reason : "User action";
}

const char *source_last_result(const struct source_mapping *m)
{
	return m->last_result[0] ? m->last_result : NULL;
}

/* ---- memory ---- */

static void on_settle(struct loop_task *t);

static struct source_mapping *mapping_new(
    struct sources *s, struct str account, struct str region, json_t *doc)
{
	struct source_mapping *m = xcalloc(1, sizeof(*m));

	m->sources = s;
	m->account = xstrndup(account.ptr, account.len);
	m->region = xstrndup(region.ptr, region.len);
	m->doc = doc;
	m->key = xasprintf(
	    "%s/%s/%s", m->account, m->region, json_string_value(json_object_get(doc, "UUID")));
	m->settle.run = on_settle;
	list_init(&m->settle.node);
	map_put(&s->mappings, str_from(m->key), m);
	return m;
}

static void mapping_free(struct source_mapping *m)
{
	map_remove(&m->sources->mappings, str_from(m->key));
	loop_task_cancel(&m->settle);
	source_run_free(m->run);
	json_decref(m->doc);
	free(m->key);
	free(m->account);
	free(m->region);
	free(m);
}

/* ---- states ---- */

static bool is_enabled(const struct source_mapping *m)
{
	return !json_is_false(json_object_get(m->doc, "Enabled"));
}

static void settle_soon(struct source_mapping *m)
{
	if (m->sources->polling)
		loop_defer(m->sources->o.loop, &m->settle);
}

static void forget(struct source_mapping *m);

/* Bring polling in line with the document: what ran by the one before has to end first. */
static void on_settle(struct loop_task *t)
{
	struct source_mapping *m = container_of(t, struct source_mapping, settle);

	if (m->run && m->state != SOURCE_ENABLED) {
		source_run_stop(m->run);
		return; /* source_mapping_idle() calls again, perhaps it has */
	}
	if (m->state == SOURCE_DELETING) {
		forget(m);
	} else if (is_enabled(m) && source_kind_find(m->doc)) {
		m->state = SOURCE_ENABLED;
		if (!m->run)
			m->run = source_run_new(m);
	} else {
		m->state = SOURCE_DISABLED;
	}
}

static void on_idle(struct loop_task *t)
{
	struct source_mapping *m = container_of(t, struct source_mapping, settle);

	m->settle.run = on_settle;
	source_run_free(take_ptr(m->run));
	on_settle(t);
}

void source_mapping_idle(struct source_mapping *m)
{
	/* Its instance is calling: it is freed when it has returned. */
	if (!m->sources->polling)
		return;
	m->settle.run = on_idle;
	settle_soon(m);
}

/* ---- changes ---- */

struct edit {
	struct store_write write;
	struct source_mapping *mapping;
	json_t *doc; /* NULL: the last step of a deletion */
	enum source_state state;
	bool quiet; /* polling is not concerned */
	source_done *done;
	void *ctx;
};

static void on_written(struct store_write *w, int result)
{
	struct edit *ed = container_of(w, struct edit, write);
	struct source_mapping *m = ed->mapping;

	m->writing = false;
	if (result < 0) {
		log_error("a change of event source mapping %s could not be written: %s", m->key,
		    strerror(-result));
		json_decref(ed->doc);
	} else {
		json_decref(m->doc);
		m->doc = ed->doc;
		m->stored++;
		if (!ed->quiet) {
			m->state = ed->state;
			settle_soon(m);
		}
	}
	ed->done(ed->ctx, result, m->stored ? m : NULL);
	if (!m->stored)
		mapping_free(m);
	free(ed);
}

static void write_doc(struct source_mapping *m, json_t *doc, enum source_state state, bool quiet,
    source_done *done, void *ctx)
{
	struct edit *ed = xcalloc(1, sizeof(*ed));
	char *text;

	ed->mapping = m;
	ed->doc = doc;
	ed->state = state;
	ed->quiet = quiet;
	ed->done = done;
	ed->ctx = ctx;
	m->writing = true;
	text = json_dumps(doc, JSON_COMPACT);
	check(text != NULL);
	store_write_init(&ed->write, on_written);
	store_put(&ed->write, SOURCE_SPACE, str_from(m->key), str_from(text), m->stored);
	free(text);
	store_commit(m->sources->o.store, &ed->write);
}

void source_create(struct sources *s, struct str account, struct str region, json_t *doc,
    source_done *done, void *ctx)
{
	struct source_mapping *m = mapping_new(s, account, region, json_incref(doc));

	json_object_set_new(doc, "LastModified", json_integer(time_wall_ms()));
	write_doc(m, doc, SOURCE_CREATING, false, done, ctx);
}

void source_update(struct source_mapping *m, json_t *doc, source_done *done, void *ctx)
{
	bool enable = !json_is_false(json_object_get(doc, "Enabled"));
	enum source_state state = SOURCE_UPDATING;

	if (enable != is_enabled(m))
		state = enable ? SOURCE_ENABLING : SOURCE_DISABLING;
	json_object_set_new(doc, "LastModified", json_integer(time_wall_ms()));
	write_doc(m, doc, state, false, done, ctx);
}

void source_tag(struct source_mapping *m, json_t *doc, source_done *done, void *ctx)
{
	write_doc(m, doc, m->state, true, done, ctx);
}

void source_delete(struct source_mapping *m, source_done *done, void *ctx)
{
	json_t *doc = json_deep_copy(m->doc);

	/* A crash must not bring it back. */
	json_object_set_new(doc, "Deleted", json_true());
	json_object_set_new(doc, "LastModified", json_integer(time_wall_ms()));
	write_doc(m, doc, SOURCE_DELETING, false, done, ctx);
}

/* ---- the last step of a deletion ---- */

static void on_forgotten(struct store_write *w, int result)
{
	struct edit *ed = container_of(w, struct edit, write);
	struct source_mapping *m = ed->mapping;

	free(ed);
	/* It stays "Deleting"; the next start tries again. */
	if (result < 0)
		log_error(
		    "event source mapping %s could not be deleted: %s", m->key, strerror(-result));
	else
		mapping_free(m);
}

static void forget(struct source_mapping *m)
{
	struct edit *ed = xcalloc(1, sizeof(*ed));

	ed->mapping = m;
	m->writing = true;
	store_write_init(&ed->write, on_forgotten);
	store_delete(&ed->write, SOURCE_SPACE, str_from(m->key), STORE_ANY);
	store_commit(m->sources->o.store, &ed->write);
}

/* ---- all of them ---- */

static int load(void *ctx, struct str key, struct str value, int64_t version)
{
	struct sources *s = ctx;
	struct str rest = key, account = str_cut(&rest, '/'), region = str_cut(&rest, '/');
	json_t *doc = json_loadb(value.ptr, value.len, 0, NULL);
	struct source_mapping *m;

	if (!rest.len || !json_is_string(json_object_get(doc, "UUID"))) {
		log_error("event source mapping '%.*s' cannot be read", STR_FMT(key));
		json_decref(doc);
		return -EBADMSG;
	}
	m = mapping_new(s, account, region, doc);
	m->stored = version;
	if (json_is_true(json_object_get(doc, "Deleted")))
		m->state = SOURCE_DELETING;
	else
		m->state = is_enabled(m) ? SOURCE_ENABLED : SOURCE_DISABLED;
	if (m->state == SOURCE_ENABLED && !source_kind_find(doc))
		snprintf(m->last_result, sizeof(m->last_result),
		    "PROBLEM: This server was built without this kind of source");
	return 0;
}

struct sources *sources_open(const struct source_options *o, struct err *e)
{
	struct sources *s = xcalloc(1, sizeof(*s));

	s->o = *o;
	if (store_scan(o->store, SOURCE_SPACE, STR_NULL, load, s, e) < 0) {
		err_wrap(e, "loading event source mappings");
		sources_close(s);
		return NULL;
	}
	return s;
}

void sources_resume(struct sources *s)
{
	s->polling = true;
	map_for_each (&s->mappings, entry)
		settle_soon(entry->value);
}

void sources_stop(struct sources *s)
{
	s->polling = false;
	map_for_each (&s->mappings, entry) {
		struct source_mapping *m = entry->value;

		loop_task_cancel(&m->settle);
		if (m->run)
			source_run_stop(m->run);
	}
}

void sources_close(struct sources *s)
{
	struct map_entry *entry;
	size_t at = 0;

	if (!s)
		return;
	while ((entry = map_next(&s->mappings, &at))) {
		mapping_free(entry->value);
		at = 0;
	}
	map_done(&s->mappings);
	free(s);
}
