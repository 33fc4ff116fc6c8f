/* Rows and locks of multipart uploads, the commit of a part, and how an upload ends without an
 * object. See multipart_int.h. */
#include <stdio.h>

#include "base/log.h"
#include "service/s3/multipart_int.h"

bool upload_id_valid(const char *id)
{
	return strlen(id) == UPLOAD_ID_LEN && strspn(id, "0123456789abcdef") == UPLOAD_ID_LEN;
}

void upload_row(struct buf *b, const char *key, const char *id)
{
	row_current(b, key);
	buf_puts(b, id);
}

void part_row(char out[PART_ROW_SIZE], const char *id, unsigned number)
{
	snprintf(out, PART_ROW_SIZE, "%s/%05u", id, number);
}

int upload_missing(struct call *c, const char *id, struct err *e)
{
	call_error_member(c, "UploadId", call_str(c, id));
	return fail(e, S3_NO_SUCH_UPLOAD,
	    "The specified upload does not exist. The upload ID may be invalid, or the upload may "
	    "have been aborted or completed.");
}

/* ---- finding ---- */

struct find {
	void (*done)(void *ctx, int result, const struct object *o);
	void *ctx;
};

static void on_row(void *ctx, int result, struct str value, int64_t version)
{
	struct find *f = ctx;
	struct object *o = result == 0 ? object_decode(value) : NULL;

	(void)version;
	if (result == 0 && !o) {
		log_error("s3: the record of an upload is damaged");
		result = -EIO;
	}
	f->done(f->ctx, result, o);
	object_unref(o);
	free(f);
}

static void find_row(struct bucket *b, char which, struct str row,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx)
{
	struct find *f = xcalloc(1, sizeof(*f));
	char space[SPACE_SIZE];

	f->done = done;
	f->ctx = ctx;
	bucket_space(b, which, space);
	store_get(b->s3->options.store, space, row, on_row, f);
}

void upload_find(struct bucket *b, const char *key, const char *id,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx)
{
	struct buf row = BUF_INIT;

	if (!upload_id_valid(id)) {
		done(ctx, -ENOENT, NULL);
		return;
	}
	upload_row(&row, key, id);
	find_row(b, 'u', buf_str(&row), done, ctx);
	buf_done(&row);
}

/* ---- locks ---- */

static struct str lock_name(const struct upload_lock *l)
{
	return (struct str){l->name, sizeof(l->name)};
}

void upload_lock_take(
    struct upload_lock *l, struct bucket *b, const char *id, void (*run)(struct lock_wait *w))
{
	check(upload_id_valid(id));
	l->bucket = bucket_ref(b);
	b->changes++;
	l->name[0] = '\0';
	memcpy(l->name + 1, id, UPLOAD_ID_LEN);
	l->wait.run = run;
	lock_take(b, lock_name(l), &l->wait);
}

void upload_lock_release(struct upload_lock *l)
{
	struct bucket *b = l->bucket;
	char name[sizeof(l->name)];

	memcpy(name, l->name, sizeof(name)); /* l may go with whom waits */
	b->changes--;
	lock_release(b, (struct str){name, sizeof(name)});
	bucket_unref(b);
}

/* ---- all parts ---- */

static enum store_step on_part(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	struct parts *p = ctx;
	size_t n = strlen(p->prefix);
	int64_t number;
	struct object *o;

	(void)version;
	(void)seek;
	if (row.len < n || memcmp(row.ptr, p->prefix, n) != 0)
		return STORE_STOP;
	if (p->count == p->max) {
		p->truncated = true;
		return STORE_STOP;
	}
	o = object_decode(value);
	if (!o || !str_to_int64(str_sub(row, n), 1, S3_PARTS_MAX, &number)) {
		object_unref(o);
		return STORE_GO_ON;
	}
	if (p->count == p->capacity) {
		p->capacity = p->capacity ? p->capacity * 2 : 64;
		p->items = xrealloc(p->items, p->capacity * sizeof(*p->items));
	}
	p->items[p->count++] = (struct part){(unsigned)number, o};
	return STORE_GO_ON;
}

static void on_parts(void *ctx, int result)
{
	struct parts *p = ctx;

	p->done(p->ctx, result);
}

void parts_read(struct parts *p, struct bucket *b, const char *id, unsigned after, size_t max,
    void (*done)(void *ctx, int result), void *ctx)
{
	char from[PART_ROW_SIZE], space[SPACE_SIZE];

	*p = (struct parts){.max = max, .done = done, .ctx = ctx};
	snprintf(p->prefix, sizeof(p->prefix), "%s/", id);
	part_row(from, id, after + 1);
	bucket_space(b, 'p', space);
	store_walk(b->s3->options.store, space, str_from(from), on_part, on_parts, p);
}

void parts_done(struct parts *p)
{
	for (size_t i = 0; i < p->count; i++)
		object_unref(p->items[i].record);
	free(p->items);
	*p = (struct parts){0};
}

/* ---- committing one part ---- */

static void end_commit(struct part_commit *p, int result)
{
	struct upload_lock lock = p->lock; /* p goes */
	struct object *part = p->part;
	struct store *store = p->bucket->s3->options.store;

	for (size_t i = 0; result < 0 && !p->shared && i < part->extent_count; i++)
		store_file_forget(store, part->extents[i].file);
	p->done(p, result);
	object_unref(part);
	upload_lock_release(&lock);
}

static void on_committed(struct store_write *w, int result)
{
	end_commit(
	    container_of(w, struct part_commit, write), result == -ENOENT ? -ESTALE : result);
}

static void on_old_part(void *ctx, int result, const struct object *old)
{
	struct part_commit *p = ctx;
	struct buf value = BUF_INIT;
	char row[PART_ROW_SIZE], space[SPACE_SIZE];

	if (result < 0 && result != -ENOENT) {
		end_commit(p, result);
		return;
	}
	store_write_init(&p->write, on_committed);
	for (size_t i = 0; i < p->part->extent_count; i++) {
		if (p->shared)
			store_file_share(&p->write, p->part->extents[i].file);
		else
			store_file_keep(&p->write, p->part->extents[i].file);
	}
	for (size_t i = 0; old && i < old->extent_count; i++)
		store_file_drop(&p->write, old->extents[i].file);
	part_row(row, p->id, p->number);
	bucket_space(p->bucket, 'p', space);
	object_encode(p->part, &value);
	store_put(&p->write, space, str_from(row), buf_str(&value), STORE_ANY);
	store_commit(p->bucket->s3->options.store, &p->write);
	buf_done(&value);
}

static void on_upload(void *ctx, int result, const struct object *o)
{
	struct part_commit *p = ctx;
	char row[PART_ROW_SIZE];

	(void)o;
	if (result == 0 && (p->bucket->gone || p->bucket->deleting))
		result = -ENODEV;
	if (result < 0) {
		end_commit(p, result);
		return;
	}
	part_row(row, p->id, p->number);
	find_row(p->bucket, 'p', str_from(row), on_old_part, p);
}

static void run_commit(struct lock_wait *w)
{
	struct part_commit *p = container_of(w, struct part_commit, lock.wait);

	upload_find(p->bucket, p->key, p->id, on_upload, p);
}

void part_commit_start(struct part_commit *p)
{
	upload_lock_take(&p->lock, p->bucket, p->id, run_commit);
}

/* ---- ending uploads ---- */

void upload_end(struct store_write *w, struct bucket *b, const char *key, const char *id,
    const struct parts *all, const bool *kept)
{
	struct buf row = BUF_INIT;
	char space[SPACE_SIZE], name[PART_ROW_SIZE];

	bucket_space(b, 'u', space);
	upload_row(&row, key, id);
	store_delete(w, space, buf_str(&row), STORE_ANY);
	buf_done(&row);
	bucket_space(b, 'p', space);
	for (size_t i = 0; i < all->count; i++) {
		const struct object *o = all->items[i].record;

		part_row(name, id, all->items[i].number);
		store_delete(w, space, str_from(name), STORE_ANY);
		for (size_t x = 0; !(kept && kept[i]) && x < o->extent_count; x++)
			store_file_drop(w, o->extents[x].file);
	}
}

struct abort {
	struct store_write write;
	struct upload_lock lock;
	struct bucket *bucket;
	char *key, *id;
	struct parts parts;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void end_abort(struct abort *a, int result)
{
	parts_done(&a->parts);
	upload_lock_release(&a->lock);
	a->done(a->ctx, result);
	bucket_unref(a->bucket);
	free(a->key);
	free(a->id);
	free(a);
}

static void on_aborted(struct store_write *w, int result)
{
	end_abort(container_of(w, struct abort, write), result);
}

static void on_abort_parts(void *ctx, int result)
{
	struct abort *a = ctx;

	if (result < 0) {
		end_abort(a, result);
		return;
	}
	store_write_init(&a->write, on_aborted);
	upload_end(&a->write, a->bucket, a->key, a->id, &a->parts, NULL);
	store_commit(a->bucket->s3->options.store, &a->write);
}

static void on_abort_upload(void *ctx, int result, const struct object *o)
{
	struct abort *a = ctx;

	(void)o;
	if (result < 0)
		end_abort(a, result);
	else
		parts_read(&a->parts, a->bucket, a->id, 0, S3_PARTS_MAX, on_abort_parts, a);
}

static void run_abort(struct lock_wait *w)
{
	struct abort *a = container_of(w, struct abort, lock.wait);

	upload_find(a->bucket, a->key, a->id, on_abort_upload, a);
}

void upload_abort(struct bucket *b, const char *key, const char *id,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct abort *a;

	if (!upload_id_valid(id)) {
		done(ctx, -ENOENT);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->bucket = bucket_ref(b);
	a->key = xstrdup(key);
	a->id = xstrdup(id);
	a->done = done;
	a->ctx = ctx;
	upload_lock_take(&a->lock, b, id, run_abort);
}

/* ---- all uploads of a bucket, one after another ---- */

struct abort_all {
	struct bucket *bucket;
	char *key, *id; /* found by the walk */
	void (*done)(void *ctx, int result);
	void *ctx;
};

static enum store_step on_any(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	struct abort_all *a = ctx;
	struct str key;
	bool rest;

	(void)value;
	(void)version;
	(void)seek;
	if (!row_split(row, &key, &rest))
		return STORE_GO_ON;
	a->key = xstrndup(key.ptr, key.len);
	a->id = xstrndup(row.ptr + key.len + 1, row.len - key.len - 1);
	return STORE_STOP;
}

static void next_abort(struct abort_all *a);

static void on_one_aborted(void *ctx, int result)
{
	struct abort_all *a = ctx;

	free(take_ptr(a->key));
	free(take_ptr(a->id));
	if (result == 0) {
		next_abort(a);
		return;
	}
	a->done(a->ctx, result);
	bucket_unref(a->bucket);
	free(a);
}

static void on_looked(void *ctx, int result)
{
	struct abort_all *a = ctx;

	if (result == 0 && a->key) {
		upload_abort(a->bucket, a->key, a->id, on_one_aborted, a);
		return;
	}
	a->done(a->ctx, result);
	bucket_unref(a->bucket);
	free(a);
}

static void next_abort(struct abort_all *a)
{
	char space[SPACE_SIZE];

	bucket_space(a->bucket, 'u', space);
	store_walk(a->bucket->s3->options.store, space, STR(""), on_any, on_looked, a);
}

void uploads_abort_all(struct bucket *b, void (*done)(void *ctx, int result), void *ctx)
{
	struct abort_all *a = xcalloc(1, sizeof(*a));

	a->bucket = bucket_ref(b);
	a->done = done;
	a->ctx = ctx;
	next_abort(a);
}
