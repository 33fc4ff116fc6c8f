/*
 * Everything that changes objects: take the key's lock, look at what is there, decide, write the
 * records, the references to files and the deliveries of the notification in one write, tell the
 * cache, give the lock back. See struct change.
 *
 * Where a bucket has (or had) versioning, the current version lies under its key alone and older
 * ones behind it; a new version moves the current one there, and removing the current one brings
 * the next one back. At most one version of a key is called "null".
 */
#include <stdio.h>

#include "base/log.h"
#include "service/s3/s3_int.h"

static void end(struct change *ch, int result)
{
	struct bucket *b = ch->bucket;
	const struct object *current = ch->current, *other = ch->other, *object = ch->object;
	char *version = ch->version_copy, *key = ch->key_copy;

	b->changes--;
	ch->done(ch, result); /* ch may be gone */
	object_unref(object);
	object_unref(current);
	object_unref(other);
	lock_release(b, str_from(key));
	bucket_unref(b);
	free(version);
	free(key);
}

/* ---- writing ---- */

static void put_row(struct change *ch, const struct object *o, bool old)
{
	struct buf row = BUF_INIT, value = BUF_INIT;
	char space[SPACE_SIZE];

	bucket_space(ch->bucket, 'o', space);
	if (old)
		row_older(&row, ch->key, o->seq);
	else
		row_current(&row, ch->key);
	object_encode(o, &value);
	store_put(&ch->write, space, buf_str(&row), buf_str(&value), STORE_ANY);
	buf_done(&row);
	buf_done(&value);
}

static void delete_row(struct change *ch, const struct object *o, bool old)
{
	struct buf row = BUF_INIT;
	char space[SPACE_SIZE];

	bucket_space(ch->bucket, 'o', space);
	if (old)
		row_older(&row, ch->key, o->seq);
	else
		row_current(&row, ch->key);
	store_delete(&ch->write, space, buf_str(&row), STORE_ANY);
	buf_done(&row);
}

static void drop_files(struct change *ch, const struct object *o)
{
	for (size_t i = 0; i < o->extent_count; i++)
		store_file_drop(&ch->write, o->extents[i].file);
}

static void take_files(struct change *ch)
{
	const struct object *o = ch->object;

	for (size_t i = 0; ch->files != FILES_KEPT && i < o->extent_count; i++) {
		if (ch->files == FILES_FRESH)
			store_file_keep(&ch->write, o->extents[i].file);
		else
			store_file_share(&ch->write, o->extents[i].file);
	}
}

static void forget_files(struct change *ch)
{
	if (ch->kind != CHANGE_PUT || ch->files != FILES_FRESH || !ch->object)
		return;
	for (size_t i = 0; i < ch->object->extent_count; i++)
		store_file_forget(ch->bucket->s3->options.store, ch->object->extents[i].file);
}

static void refuse(struct change *ch, int result)
{
	forget_files(ch);
	end(ch, result);
}

/* What the cache shall say once the write is on disk. */
static const struct object *current_after(const struct change *ch)
{
	switch (ch->kind) {
	case CHANGE_PUT: return ch->record;
	case CHANGE_EDIT: return ch->other ? ch->current : ch->record;
	default: break;
	}
	if (ch->marker)
		return ch->marker;
	if (ch->record != ch->current)
		return ch->current; /* an older version went */
	return ch->other_is_next ? ch->other : NULL;
}

static void on_written(struct store_write *w, int result)
{
	struct change *ch = container_of(w, struct change, write);

	s3_event_end(take_ptr(ch->notice), result);
	if (result < 0) {
		if (result != -ENOENT)
			log_error(
			    "s3: writing %s/%s: %s", ch->bucket->name, ch->key, strerror(-result));
		ch->record = ch->marker = NULL;
		refuse(ch, result == -ENOENT ? -ESTALE : result);
		return;
	}
	cache_written(ch->bucket->s3->cache, ch->bucket, ch->key, current_after(ch));
	end(ch, 0);
}

static void commit(struct change *ch, const char *event, const struct object *o)
{
	if (event) {
		const struct s3_happened what = {.call = ch->call,
		    .name = event,
		    .key = ch->key,
		    .size = o->size,
		    .etag = o->etag,
		    .version = ch->bucket->versioning == VERSIONING_NEVER ? NULL : o->version,
		    .seq = next_seq(ch->bucket->s3, 0),
		    .lineage = ch->lineage};

		ch->notice = s3_event(ch->bucket, &what, &ch->write);
	}
	if (ch->more)
		ch->more(ch, &ch->write);
	store_commit(ch->bucket->s3->options.store, &ch->write);
}

/* ---- deciding ---- */

/* Name and number the new version. */
static struct object *stamp(struct change *ch, struct object *o)
{
	struct s3 *s = ch->bucket->s3;
	char id[VERSION_ID_SIZE] = "null";
	struct object *made;

	o->seq = next_seq(s, ch->current ? ch->current->seq : 0);
	o->modified_ms = s3_now_ms(s);
	if (ch->bucket->versioning == VERSIONING_ENABLED)
		version_id(o->seq, id);
	o->version = id;
	made = object_new(o);
	o->version = NULL;
	return made;
}

/* A new version on top: what the current one becomes. */
static void displace(struct change *ch)
{
	const struct object *c = ch->current;

	if (ch->other) { /* an older "null" version, which the new one replaces */
		delete_row(ch, ch->other, true);
		drop_files(ch, ch->other);
	}
	if (!c)
		return;
	if (ch->bucket->versioning == VERSIONING_ENABLED || !version_is(c, "null"))
		put_row(ch, c, true);
	else
		drop_files(ch, c);
}

static const char *removal(struct change *ch, const char *what)
{
	snprintf(ch->event_name, sizeof(ch->event_name), "%s:%s",
	    ch->event ? ch->event : "ObjectRemoved", what);
	return ch->event_name;
}

static void put_on_top(struct change *ch)
{
	struct object blank = {.marker = true};
	const char *event = ch->event;

	if (ch->kind == CHANGE_PUT) {
		struct object *given = ch->object;

		ch->object = stamp(ch, given);
		object_unref(given);
		ch->record = ch->object;
		take_files(ch);
	} else {
		ch->object = stamp(ch, &blank);
		ch->record = NULL;
		ch->marker = ch->object;
		event = removal(ch, "DeleteMarkerCreated");
	}
	displace(ch);
	put_row(ch, ch->object, false);
	commit(ch, event, ch->object);
}

/* Remove `target` for good. */
static void remove_version(struct change *ch, const struct object *target, bool old)
{
	ch->record = target;
	delete_row(ch, target, old);
	drop_files(ch, target);
	if (!old && ch->other_is_next) {
		put_row(ch, ch->other, false);
		delete_row(ch, ch->other, true);
	}
	commit(ch, removal(ch, "Delete"), target);
}

static void edit_version(struct change *ch, const struct object *target, bool old)
{
	struct object *made;

	if (target->marker) {
		refuse(ch, -ENOENT);
		return;
	}
	made = ch->edit(ch, target);
	if (!made) {
		refuse(ch, -EINVAL);
		return;
	}
	ch->object = object_new(made);
	object_unref(made);
	ch->record = ch->object;
	put_row(ch, ch->object, old);
	commit(ch, ch->event, ch->object);
}

static void on_next(void *ctx, int result, const struct object *o)
{
	struct change *ch = ctx;

	if (result < 0 && result != -ENOENT) {
		refuse(ch, result);
		return;
	}
	ch->other = object_ref(o);
	ch->other_is_next = o != NULL;
	remove_version(ch, ch->current, false);
}

static void on_version(void *ctx, int result, const struct object *o)
{
	struct change *ch = ctx;
	bool is_current = o && o == ch->current;

	if (result < 0) {
		/* AWS takes the deletion of what is not there for done. */
		end(ch, result);
		return;
	}
	if (!is_current)
		ch->other = object_ref(o);
	if (ch->approve && (result = ch->approve(ch, o)) < 0)
		end(ch, result);
	else if (ch->kind == CHANGE_EDIT)
		edit_version(ch, o, !is_current);
	else if (!is_current)
		remove_version(ch, o, true);
	else if (ch->bucket->versioning == VERSIONING_NEVER)
		remove_version(ch, o, false);
	else
		object_find_older(ch->bucket, ch->key, false, on_next, ch);
}

static void on_older_null(void *ctx, int result, const struct object *o)
{
	struct change *ch = ctx;

	if (result < 0 && result != -ENOENT) {
		refuse(ch, result);
		return;
	}
	ch->other = object_ref(o);
	put_on_top(ch);
}

static void decide(struct change *ch)
{
	const struct object *c = ch->current;
	enum versioning v = ch->bucket->versioning;
	int r = ch->approve ? ch->approve(ch, c && c->marker ? NULL : c) : 0;

	if (r < 0)
		refuse(ch, r);
	else if (v == VERSIONING_SUSPENDED && !version_is(c, "null"))
		object_find_older(ch->bucket, ch->key, true, on_older_null, ch);
	else if (ch->kind == CHANGE_PUT || v != VERSIONING_NEVER)
		put_on_top(ch);
	else if (c)
		remove_version(ch, c, false);
	else
		end(ch, 0); /* nothing there, nothing to do */
}

static void on_current(void *ctx, int result, const struct object *o)
{
	struct change *ch = ctx;

	ch->current = object_ref(o);
	if (result < 0 && result != -ENOENT) {
		refuse(ch, result);
		return;
	}
	if (ch->bucket->gone || ch->bucket->deleting) {
		refuse(ch, -ENODEV);
		return;
	}
	if (ch->kind == CHANGE_PUT || (ch->kind == CHANGE_DELETE && !ch->version))
		decide(ch);
	else if (o && (!ch->version || version_is(o, ch->version)))
		on_version(ch, 0, ch->current);
	else if (!ch->version)
		end(ch, -ENOENT);
	else
		object_find(ch->bucket, ch->key, ch->version, on_version, ch);
}

static void run(struct lock_wait *w)
{
	struct change *ch = container_of(w, struct change, wait);

	object_find(ch->bucket, ch->key, NULL, on_current, ch);
}

void change_start(struct change *ch)
{
	bucket_ref(ch->bucket);
	ch->bucket->changes++;
	ch->key = ch->key_copy = xstrdup(ch->key);
	if (ch->version)
		ch->version = ch->version_copy = xstrdup(ch->version);
	ch->wait.run = run;
	store_write_init(&ch->write, on_written);
	lock_take(ch->bucket, str_from(ch->key), &ch->wait);
}
