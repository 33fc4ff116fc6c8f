/* Finding the record of an object's version: in the cache, by one look into the store, or by a walk
 * over the versions of its key. */
#include "base/log.h"
#include "service/s3/s3_int.h"

struct find {
	struct bucket *bucket;
	char *key, *version; /* version NULL: the current one */
	uint32_t mark;
	bool null_only;
	struct buf first;           /* of the walk: row keys of older versions begin with it */
	const struct object *found; /* of the walk */
	bool broken;
	void (*done)(void *ctx, int result, const struct object *o);
	void *ctx;
};

static void end(struct find *f, int result, const struct object *o)
{
	f->done(f->ctx, result, o);
	bucket_unref(f->bucket);
	buf_done(&f->first);
	free(f->key);
	free(f->version);
	free(f);
}

static int damaged(const struct find *f)
{
	log_error("s3: the record of %s/%s is damaged", f->bucket->name, f->key);
	return -EIO;
}

/* ---- older versions ---- */

static void on_older(void *ctx, int result, struct str value, int64_t version)
{
	struct find *f = ctx;
	struct object *o = result == 0 ? object_decode(value) : NULL;

	(void)version;
	if (result == 0 && !o)
		result = damaged(f);
	else if (result == 0 && !version_is(o, f->version))
		result = -ENOENT;
	end(f, result, result == 0 ? o : NULL);
	object_unref(o);
}

static enum store_step on_row(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	struct find *f = ctx;
	struct object *o;

	(void)version;
	(void)seek;
	if (row.len < buf_len(&f->first) ||
	    memcmp(row.ptr, buf_data(&f->first), buf_len(&f->first)) != 0)
		return STORE_STOP;
	if (row.len == buf_len(&f->first))
		return STORE_GO_ON; /* the current one */
	o = object_decode(value);
	f->broken = !o;
	if (o && f->null_only && !version_is(o, "null")) {
		object_unref(o);
		return STORE_GO_ON;
	}
	f->found = o;
	return STORE_STOP;
}

static void on_walked(void *ctx, int result)
{
	struct find *f = ctx;
	const struct object *o = f->found;

	if (result == 0 && f->broken)
		result = damaged(f);
	if (result == 0 && !o)
		result = -ENOENT;
	end(f, result, o);
	object_unref(o);
}

static void walk_older(struct find *f)
{
	char space[SPACE_SIZE];

	bucket_space(f->bucket, 'o', space);
	row_current(&f->first, f->key);
	store_walk(f->bucket->s3->options.store, space, buf_str(&f->first), on_row, on_walked, f);
}

static void find_version(struct find *f)
{
	char space[SPACE_SIZE];
	struct buf row = BUF_INIT;
	unsigned char raw[8];
	uint64_t seq = 0;

	if (strcmp(f->version, "null") == 0) {
		f->null_only = true;
		walk_older(f);
		return;
	}
	if (strlen(f->version) != VERSION_ID_SIZE - 1 ||
	    !hex_decode((struct str){f->version, 16}, raw, sizeof(raw))) {
		end(f, -ENOENT, NULL);
		return;
	}
	for (size_t i = 0; i < sizeof(raw); i++)
		seq = seq << 8 | raw[i];
	bucket_space(f->bucket, 'o', space);
	row_older(&row, f->key, seq);
	store_get(f->bucket->s3->options.store, space, buf_str(&row), on_older, f);
	buf_done(&row);
}

/* ---- the current version ---- */

static void current_found(struct find *f, int result, const struct object *o)
{
	if (f->version && (result == -ENOENT || (result == 0 && !version_is(o, f->version))))
		find_version(f);
	else
		end(f, result, o);
}

static void on_current(void *ctx, int result, struct str value, int64_t version)
{
	struct find *f = ctx;
	struct object *o = result == 0 ? object_decode(value) : NULL;

	(void)version;
	if (result == 0 && !o)
		result = damaged(f);
	if (o)
		cache_read(f->bucket->s3->cache, f->bucket, f->key, f->mark, o);
	current_found(f, result, o);
	object_unref(o);
}

static struct find *find_new(struct bucket *b, const char *key,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx)
{
	struct find *f = xcalloc(1, sizeof(*f));

	f->bucket = bucket_ref(b);
	f->key = xstrdup(key);
	f->done = done;
	f->ctx = ctx;
	return f;
}

void object_find(struct bucket *b, const char *key, const char *version,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx)
{
	const struct object *cached = object_ref(cache_get(b->s3->cache, b, key));
	struct find *f;
	struct buf row = BUF_INIT;
	char space[SPACE_SIZE];

	if (cached && (!version || version_is(cached, version))) {
		done(ctx, 0, cached);
		object_unref(cached);
		return;
	}
	f = find_new(b, key, done, ctx);
	f->version = version ? xstrdup(version) : NULL;
	if (cached) {
		current_found(f, 0, cached);
		object_unref(cached);
		return;
	}
	f->mark = cache_mark(b->s3->cache, b, key);
	bucket_space(b, 'o', space);
	row_current(&row, key);
	store_get(b->s3->options.store, space, buf_str(&row), on_current, f);
	buf_done(&row);
}

void object_find_older(struct bucket *b, const char *key, bool null_only,
    void (*done)(void *ctx, int result, const struct object *o), void *ctx)
{
	struct find *f = find_new(b, key, done, ctx);

	f->null_only = null_only;
	walk_older(f);
}
