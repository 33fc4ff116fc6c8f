/*
 * Uploads: a zip on its way from a request to an unpacked tree: hashed on a worker, written as a
 * blob, unpacked by the spawner. The bytes lie in the request's arena; when the client goes away
 * meanwhile, the upload takes the arena over. Loop thread, but for hash().
 */
#include <openssl/sha.h>

#include "base/log.h"
#include "service/lambda/code_int.h"

struct upload {
	struct loop_work work;
	struct list node; /* in code->uploads */
	struct function *function;
	struct call *call; /* NULL: the client has gone, and its arena is ours */
	struct arena kept;
	struct str zip;
	char hex[65];
	struct code *code;
	const void *in;
	code_next *next;
};

static void hash(struct loop_work *w)
{
	struct upload *u = container_of(w, struct upload, work);
	uint8_t digest[SHA256_DIGEST_LENGTH];

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

static void finish(struct upload *u)
{
	struct function *f = u->function;
	struct code *k = u->code;
	struct call *c = u->call;
	struct err e = ERR_INIT;
	int r = 0;

	if (c) {
		c->user = NULL;
		r = k->state == CODE_READY ? u->next(c, u->in, f, k, &e) : explain(k, &e);
		if (r != CALL_PENDING)
			call_reply(c, r, &e);
	}
	/* A change that has begun lets go of the function when it is over. */
	if (r != CALL_PENDING)
		function_release(f);
	code_unref(k);
	arena_done(&u->kept);
	free(u);
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
	struct lambda *l = u->function->lambda;
	struct code *k = u->code = code_get(l, u->hex);

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

int code_upload(struct call *c, const void *in, struct function *f, struct str zip, code_next *next)
{
	struct upload *u = xcalloc(1, sizeof(*u));

	u->function = f;
	u->call = c;
	u->in = in;
	u->zip = zip;
	u->next = next;
	u->work.run = hash;
	u->work.done = on_hashed;
	function_hold(f);
	c->user = u;
	call_on_stop(c, on_gone);
	loop_work_start(f->lambda->o.loop, &u->work);
	return CALL_PENDING;
}
