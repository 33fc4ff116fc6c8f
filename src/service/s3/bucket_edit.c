/*
 * Changes of a bucket itself: its configuration documents and its versioning. One at a time, so
 * that each is built on what is on disk; in memory a change shows when it is there. Loop thread.
 */
#include "service/s3/bucket_int.h"

struct edit {
	struct store_write write;
	struct list node; /* bucket.edits; the first one is being written */
	struct bucket *bucket;
	struct call *call; /* NULL: the client has gone */
	bool is_versioning;
	enum versioning versioning;
	enum config_kind kind;
	struct config config;
};

static void swap(struct edit *d)
{
	struct bucket *b = d->bucket;

	if (d->is_versioning) {
		enum versioning v = b->versioning;

		b->versioning = d->versioning;
		d->versioning = v;
	} else {
		struct config g = b->configs[d->kind];

		b->configs[d->kind] = d->config;
		d->config = g;
	}
}

static void begin(struct edit *d);

static void on_written(struct store_write *w, int result)
{
	struct edit *d = container_of(w, struct edit, write), *next;
	struct bucket *b = d->bucket;
	struct err e = ERR_INIT;

	if (result == 0)
		swap(d);
	list_remove(&d->node);
	if (d->call && result < 0)
		result = s3_failed(d->call, result, NULL, &e);
	if (d->call)
		call_reply(d->call, result, &e);
	if (d->config.parsed)
		config_ops[d->kind].drop(d->config.parsed);
	free(d->config.text);
	free(d);
	next = list_first(&b->edits, struct edit, node);
	if (next)
		begin(next);
	bucket_unref(b);
}

/* The text of the bucket as it will be. */
static void begin(struct edit *d)
{
	_cleanup_free_ char *text = NULL;

	check(!d->bucket->gone);
	swap(d);
	text = bucket_text(d->bucket);
	swap(d);
	store_write_init(&d->write, on_written);
	store_put(&d->write, "s3buckets", str_from(d->bucket->name), str_from(text), STORE_ANY);
	store_commit(d->bucket->s3->options.store, &d->write);
}

static void on_stop(struct call *c)
{
	((struct edit *)c->user)->call = NULL;
}

static int start(struct call *c, struct bucket *b, struct edit *d)
{
	bool idle = list_empty(&b->edits); /* a bucket with edits is not deleted */

	d->bucket = bucket_ref(b);
	d->call = c;
	c->user = d;
	call_on_stop(c, on_stop);
	list_init(&d->node);
	list_push_back(&b->edits, &d->node);
	if (idle)
		begin(d);
	return CALL_PENDING;
}

int bucket_configure(
    struct call *c, struct bucket *b, enum config_kind kind, char *text, void *parsed)
{
	struct edit *d = xcalloc(1, sizeof(*d));

	d->kind = kind;
	d->config = (struct config){text, parsed};
	return start(c, b, d);
}

int bucket_set_versioning(struct call *c, struct bucket *b, enum versioning v)
{
	struct edit *d = xcalloc(1, sizeof(*d));

	d->is_versioning = true;
	d->versioning = v;
	return start(c, b, d);
}
