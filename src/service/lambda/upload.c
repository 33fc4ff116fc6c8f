/*
 * Uploads: a zip on its way from a request, or from an object of S3 that it names (or an image from
 * its registry), to an unpacked tree: hashed on a worker, written as a blob, unpacked by the
 * spawner. The bytes of a request lie in its arena; when the client goes away meanwhile, the upload
 * takes the arena over. Loop thread, but for hash().
 */
#include <openssl/sha.h>

#include "base/log.h"
#include "service/lambda/code_int.h"

struct upload {
	struct loop_work work;
	struct list node; /* in code->uploads */
	struct lambda *lambda;
	struct function *function; /* NULL: a layer's */
	struct call *call;         /* NULL: the client has gone, and its arena is ours */
	struct arena kept;
	struct str zip;
	struct buf object; /* of S3: the zip's memory */
	struct err refused;
	char hex[65];
	struct code *code;
	const void *in;
	code_next *next;
};

static void hash(struct loop_work *w)
{
	struct upload *u = container_of(w, struct upload, work);
	uint8_t digest[SHA256_DIGEST_LENGTH];

	if (u->refused.code)
		return;
	SHA256((const uint8_t *)u->zip.ptr, u->zip.len, digest);
	hex_encode(digest, sizeof(digest), u->hex);
}

static int explain(const struct code *k, struct err *e)
{
	switch (k->result) {
	case -EFBIG:
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Unzipped size must be smaller than %d bytes", LAMBDA_UNZIPPED_MAX);
	case -ENOSPC:
		return fail(e, LAMBDA_SERVICE_EXCEPTION,
		    "There is no room on the server's disk to store the code.");
	case -EIO:
		return fail(e, LAMBDA_SERVICE_EXCEPTION,
		    "The code could not be stored: see the server's log.");
	default:
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Could not unzip uploaded file. Please check your file, then try to upload "
		    "again.%s%s%s",
		    k->why[0] ? " (" : "", k->why, k->why[0] ? ")" : "");
	}
}

static void upload_free(struct upload *u)
{
	code_unref(u->code);
	arena_done(&u->kept);
	buf_done(&u->object);
	free(u);
}

static void finish(struct upload *u)
{
	struct function *f = u->function;
	struct code *k = u->code;
	struct call *c = u->call;
	struct err e = u->refused;
	int r = k ? 0 : -EINVAL;

	if (c) {
		c->user = NULL;
		if (k)
			r = k->state == CODE_READY ? u->next(c, u->in, f, k, &e) : explain(k, &e);
		if (r != CALL_PENDING)
			call_reply(c, r, &e);
	}
	/* A change that has begun lets go of the function when it is over. */
	if (r != CALL_PENDING && f)
		function_release(f);
	upload_free(u);
}

void code_settled(struct code *k)
{
	while (!list_empty(&k->uploads)) {
		struct upload *u = list_first(&k->uploads, struct upload, node);

		list_remove(&u->node);
		finish(u);
	}
}

static void on_stored(void *ctx, int result)
{
	struct code *k = ctx;

	if (result < 0) {
		log_error("code %.12s could not be written: %s", k->hex, strerror(-result));
		code_fail(k, result == -ENOSPC ? -ENOSPC : -EIO, "");
	} else {
		code_unpack(k);
	}
	code_unref(k);
}

static void on_hashed(struct loop_work *w)
{
	struct upload *u = container_of(w, struct upload, work);
	struct lambda *l = u->lambda;
	struct code *k;

	if (u->refused.code) {
		finish(u);
		return;
	}
	k = u->code = code_get(l, u->hex);
	k->zip_size = (int64_t)u->zip.len;
	list_init(&u->node);
	list_push_back(&k->uploads, &u->node);
	if (k->state == CODE_NEW || k->state == CODE_FAILED) {
		k->state = CODE_BUSY;
		/* The zip is this upload's, which waits until the code has settled. */
		store_blob_put(l->o.store, k->hex, u->zip, on_stored, code_ref(k));
	} else if (k->state == CODE_READY) {
		code_settled(k);
	}
}

static void on_gone(struct call *c)
{
	struct upload *u = c->user;

	u->call = NULL;
	u->kept = *c->arena;
	arena_init(c->arena);
}

/* ---- from S3 ---- */

static const char *code_of(int result, const char *text)
{
	if (result == -EACCES)
		return "AccessDenied";
	if (text && strstr(text, "version"))
		return "NoSuchVersion";
	return text && strstr(text, "bucket") ? "NoSuchBucket" : "NoSuchKey";
}

static void refuse_object(int result, const char *text, struct err *e)
{
	if (result == -EFBIG)
		fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Zipped size must be smaller than %d bytes", LAMBDA_UNZIPPED_MAX);
	else if (result == -ENOENT || result == -EACCES)
		fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s",
		    code_of(result, text), text ? text : "");
	else
		fail(e, LAMBDA_SERVICE_EXCEPTION, "The object could not be read: %s.",
		    strerror(-result));
}

/* It may come before the handler has returned: the answer never does. */
static void on_object(void *arg, int result, struct str data, const char *text)
{
	struct upload *u = arg;

	if (result < 0) {
		refuse_object(result, text, &u->refused);
	} else if (code_check_zip(u->lambda, data, &u->refused) == 0) {
		buf_append_str(&u->object, data);
		u->zip = buf_str(&u->object);
	}
	loop_work_start(u->lambda->o.loop, &u->work);
}

/* ---- an image ---- */

static void on_pulled(void *ctx, struct code *k, const char *code, const char *why)
{
	struct upload *u = ctx;

	if (k)
		u->code = code_ref(k);
	else if (code && strcmp(code, "CannotPullContainerAuthError") == 0)
		fail(&u->refused, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The registry does not let this server read the source image: %.180s", why);
	else
		fail(&u->refused, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Source image does not exist, or cannot be read: %.150s. Provide a valid "
		    "source image.",
		    why ? why : "");
	finish(u);
}

int code_upload(struct call *c, const void *in, struct function *f,
    const struct code_source *source, code_next *next)
{
	struct upload *u = xcalloc(1, sizeof(*u));
	struct lambda *l = c->ctx;

	u->lambda = l;
	u->function = f;
	u->call = c;
	u->in = in;
	u->next = next;
	u->work.run = hash;
	u->work.done = on_hashed;
	if (f)
		function_hold(f);
	c->user = u;
	call_on_stop(c, on_gone);
	if (source->image) {
		code_pull(l, source->image, on_pulled, u);
	} else if (source->zip) {
		u->zip = *source->zip;
		loop_work_start(l->o.loop, &u->work);
	} else {
		l->o.load_object(l->o.object_ctx, c->account, source->bucket, source->key,
		    source->version, LAMBDA_UNZIPPED_MAX, on_object, u);
	}
	return CALL_PENDING;
}
