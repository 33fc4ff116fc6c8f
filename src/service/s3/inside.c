/*
 * Objects for the rest of the server: code of functions and layers is read, records of events are
 * written. The account that asks must own the bucket. S3 as a target is here too. Loop thread.
 */

#include "service/s3/read_int.h"
#include "service/s3/request_int.h"
#include "target/target.h"

static int find_bucket(struct s3 *s, const char *account, const char *name, struct bucket **ret)
{
	struct bucket *b = bucket_find(s, name);

	if (!b)
		return -ENOENT;
	if (strcmp(b->account, account) != 0)
		return -EACCES;
	*ret = b;
	return 0;
}

int s3_bucket_check(struct s3 *s, const char *account, const char *bucket)
{
	struct bucket *b;

	return find_bucket(s, account, bucket, &b);
}

static const char *bucket_text_of(int result)
{
	return result == -EACCES ? "Access Denied: the bucket belongs to another account."
				 : "The specified bucket does not exist";
}

/* ---- reading ---- */

struct opening {
	struct bucket *bucket;
	bool versioned;
	void (*done)(void *ctx, int result, const struct s3_opened *o, const char *text);
	void *ctx;
};

static void on_found(void *ctx, int result, const struct object *o)
{
	struct opening *p = ctx;
	struct s3_opened opened;
	const char *text = "The object could not be read. Try again.";

	if (result == 0 && o->marker)
		result = -ENOENT;
	if (result == -ENOENT)
		text = p->versioned ? "The specified version does not exist."
				    : "The specified key does not exist.";
	if (result == 0)
		opened =
		    (struct s3_opened){o->extents, o->extent_count, o->size, o->etag, o->version};
	p->done(p->ctx, result, result == 0 ? &opened : NULL, result == 0 ? NULL : text);
	free(p);
}

void s3_object_read(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *version,
    void (*done)(void *ctx, int result, const struct s3_opened *o, const char *text), void *ctx)
{
	struct opening *p;
	struct bucket *b;
	int r = find_bucket(s, account, bucket, &b);

	if (r < 0) {
		done(ctx, r, NULL, bucket_text_of(r));
		return;
	}
	if (!*key || strlen(key) > S3_KEY_MAX || (version && !version_valid(version))) {
		done(ctx, -ENOENT, NULL,
		    version ? "The specified version does not exist."
			    : "The specified key does not exist.");
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->bucket = b;
	p->versioned = version != NULL;
	p->done = done;
	p->ctx = ctx;
	object_find(b, key, version, on_found, p);
}

struct load {
	struct loop_work work;
	struct store *store;
	size_t limit;
	struct store_extent *extents;
	size_t count;
	char *data;
	size_t size;
	ssize_t got;
	void (*done)(void *ctx, int result, struct str data, const char *text);
	void *ctx;
};

static void end_load(struct load *l, int result, const char *text)
{
	l->done(l->ctx, result, result ? STR_NULL : (struct str){l->data, l->size}, text);
	if (l->count)
		store_files_release(l->store, l->extents, l->count);
	free(l->extents);
	free(l->data);
	free(l);
}

static void run_load(struct loop_work *w)
{
	struct load *l = container_of(w, struct load, work);

	l->got = store_file_read(l->store, l->extents, l->count, 0, l->data, l->size);
}

static void load_done(struct loop_work *w)
{
	struct load *l = container_of(w, struct load, work);

	if (l->got == (ssize_t)l->size)
		end_load(l, 0, NULL);
	else
		end_load(
		    l, l->got < 0 ? (int)l->got : -EIO, "The object could not be read. Try again.");
}

struct loader {
	struct s3 *s3;
	struct load *load;
};

static void on_opened(void *ctx, int result, const struct s3_opened *o, const char *text)
{
	struct loader *x = ctx;
	struct load *l = x->load;
	struct loop *loop = x->s3->options.loop;

	free(x);
	if (result == 0 && o->size > l->limit) {
		result = -EFBIG;
		text = "The object is too large.";
	}
	if (result < 0) {
		end_load(l, result, text);
		return;
	}
	l->extents = xcalloc(o->extent_count + 1, sizeof(*l->extents));
	if (o->extent_count)
		memcpy(l->extents, o->extents, o->extent_count * sizeof(*l->extents));
	l->count = o->extent_count;
	store_files_hold(l->store, l->extents, l->count);
	l->size = (size_t)o->size;
	l->data = xmalloc(l->size + 1);
	l->work.run = run_load;
	l->work.done = load_done;
	loop_work_start(loop, &l->work);
}

void s3_object_load(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *version, size_t limit,
    void (*done)(void *ctx, int result, struct str data, const char *text), void *ctx)
{
	struct loader *x = xcalloc(1, sizeof(*x));

	x->s3 = s;
	x->load = xcalloc(1, sizeof(*x->load));
	x->load->store = s->options.store;
	x->load->limit = limit;
	x->load->done = done;
	x->load->ctx = ctx;
	s3_object_read(s, account, bucket, key, version, on_opened, x);
}

/* ---- writing ---- */

struct storing {
	struct intake intake;
	struct change change;
	struct bucket *bucket;
	char *key, *type, *lineage;
	void (*done)(void *ctx, int result, const char *text);
	void *ctx;
};

static void end_storing(struct storing *p, int result)
{
	p->done(p->ctx, result,
	    result == 0         ? NULL
	    : result == -ENODEV ? "The specified bucket does not exist"
				: "The object could not be written. Try again.");
	bucket_unref(p->bucket);
	free(p->key);
	free(p->type);
	free(p->lineage);
	free(p);
}

static void on_changed(struct change *ch, int result)
{
	end_storing(container_of(ch, struct storing, change), result);
}

static void on_sealed(struct intake *in, int result)
{
	struct storing *p = container_of(in, struct storing, intake);
	struct object facts = {.version = "null",
	    .etag = in->etag,
	    .size = in->sealed.size,
	    .content_type = p->type,
	    .checksum_kind = in->sum.kind,
	    .checksum = in->checksum};
	struct store_extent place;

	if (result < 0) {
		end_storing(p, result);
		return;
	}
	intake_extent(in, &facts, &place);
	p->change = (struct change){.bucket = p->bucket,
	    .key = p->key,
	    .kind = CHANGE_PUT,
	    .event = "ObjectCreated:Put",
	    .lineage = p->lineage,
	    .object = object_new(&facts),
	    .done = on_changed};
	change_start(&p->change);
}

void s3_object_put(struct s3 *s, const char *account, const char *bucket, const char *key,
    const char *content_type, struct str body, const char *lineage,
    void (*done)(void *ctx, int result, const char *text), void *ctx)
{
	struct storing *p;
	struct bucket *b;
	int r = find_bucket(s, account, bucket, &b);

	if (r == 0 && (!*key || strlen(key) > S3_KEY_MAX))
		r = -EINVAL;
	if (r < 0) {
		done(ctx, r, r == -EINVAL ? "Your key is too long" : bucket_text_of(r));
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->bucket = bucket_ref(b);
	p->key = xstrdup(key);
	p->type = xstrdup(content_type ? content_type : "binary/octet-stream");
	p->lineage = lineage ? xstrdup(lineage) : NULL;
	p->done = done;
	p->ctx = ctx;
	p->intake.s3 = s;
	p->intake.sum.kind = STORE_CRC64NVME;
	p->intake.done = on_sealed;
	intake_open(&p->intake);
	intake_data(&p->intake, body.ptr, body.len);
	intake_seal(&p->intake);
}

/* ---- buckets as targets of events that have ended ---- */

/* "arn:aws:s3:::bucket"; false when it is none. */
static bool bucket_of_arn(const char *arn, char out[64])
{
	static const char prefix[] = "arn:aws:s3:::";
	size_t len;

	if (strncmp(arn, prefix, sizeof(prefix) - 1) != 0)
		return false;
	len = strlen(arn + sizeof(prefix) - 1);
	if (len > 63 || !bucket_name_valid((struct str){arn + sizeof(prefix) - 1, len}))
		return false;
	memcpy(out, arn + sizeof(prefix) - 1, len + 1);
	return true;
}

static const char *owner_of(const struct s3 *s, const struct target_record *r)
{
	return r->source_account ? r->source_account : s->options.account;
}

static int check_target(void *ctx, const struct target_record *r, struct err *e)
{
	struct s3 *s = ctx;
	char name[64];
	int result;

	if (!bucket_of_arn(r->arn, name))
		return err_set(e, EINVAL, "%s is not the ARN of a bucket.", r->arn);
	result = s3_bucket_check(s, owner_of(s, r), name);
	return result < 0 ? err_set(e, -result, "%s: %s", r->arn, bucket_text_of(result)) : 0;
}

struct delivery {
	void (*done)(void *arg, int result);
	void *arg;
};

static void on_delivered(void *ctx, int result, const char *text)
{
	struct delivery *d = ctx;

	(void)text;
	d->done(d->arg, result == -ENODEV ? -ENOENT : result);
	free(d);
}

static void deliver(
    void *ctx, const struct target_record *r, void (*done)(void *arg, int result), void *arg)
{
	struct s3 *s = ctx;
	struct err e = ERR_INIT;
	struct delivery *d;
	char name[64];
	int result = check_target(ctx, r, &e);

	if (result < 0 || !bucket_of_arn(r->arn, name)) {
		done(arg, result);
		return;
	}
	d = xcalloc(1, sizeof(*d));
	d->done = done;
	d->arg = arg;
	s3_object_put(s, owner_of(s, r), name, r->object_key ? r->object_key : "record",
	    "application/json", r->body, r->trace_id, on_delivered, d);
}

void s3_target_add(struct s3 *s, struct targets *t)
{
	static const struct target_ops ops = {
	    .service = "s3", .check = check_target, .deliver = deliver};

	targets_add(t, &ops, s);
}
