/*
 * One layer on its way: a thread gets the compressed bytes (from a registry or from the store),
 * hashes them, writes them to the store and into the pipe of the child that unpacks them, all at
 * once. The name of the blob is given before the pipe is closed, so that the spawner's sync that
 * follows covers both. A few at a time.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "image/image_int.h"
#include "store/file.h"

#define LAYERS_AT_ONCE 3
#define PIPE_BYTES (1 << 20)
#define GATHER (256 * 1024)
#define LAYER_LIMIT (UINT64_C(32) << 30) /* of the tar; the disk is smaller as a rule */
#define ROOM_KEPT (UINT64_C(64) << 20)   /* that unpacking leaves on the disk */

struct shared_remote *shared_remote_new(struct remote *r, int64_t *told_wait)
{
	struct shared_remote *s = xcalloc(1, sizeof(*s));

	s->refs = 1;
	s->remote = r;
	s->told_wait = told_wait;
	return s;
}

void shared_remote_unref(struct shared_remote *s)
{
	if (!s || --s->refs)
		return;
	remote_free(s->remote);
	free(s->told_wait);
	free(s);
}

/* ---- on the thread ---- */

struct sink {
	struct layer *layer;
	struct blob_writer *blob; /* NULL: it is in the store already */
	char *gathered;
	size_t len;
	bool child_gone; /* it has had enough: it will say why */
};

static int feed(struct sink *s, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(s->layer->pipe, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			s->child_gone = true;
			return -EPIPE;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int flush(struct sink *s)
{
	size_t len = s->len;
	int r = 0;

	s->len = 0;
	if (s->blob)
		r = blob_add(s->blob, s->gathered, len);
	if (r == 0)
		r = feed(s, s->gathered, len);
	__atomic_add_fetch(&s->layer->bytes_done, len, __ATOMIC_RELAXED);
	return r;
}

/* curl hands out small pieces; the disk and the pipe want large ones. */
static int put(void *ctx, const void *data, size_t len)
{
	struct sink *s = ctx;
	const char *from = data;

	while (len) {
		size_t n = min_size(len, GATHER - s->len);
		int r;

		memcpy(s->gathered + s->len, from, n);
		s->len += n;
		from += n;
		len -= n;
		r = s->len == GATHER ? flush(s) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int disk_failure(struct layer *l, int r)
{
	pull_failure_set(
	    &l->failure, PULL_ERROR, "writing layer %s: %s", l->blob.digest, strerror(-r));
	return r;
}

static int fetch(struct layer *l, struct sink *s)
{
	int r = 0;

	s->blob = blob_begin(l->images->blobs, &r);
	if (!s->blob)
		return disk_failure(l, r);
	r = remote_blob(l->remote->remote, &l->blob, &l->job.cancel, put, s, &l->failure);
	if (r == 0)
		r = flush(s);
	if (r < 0) {
		blob_abandon(take_ptr(s->blob));
		return s->child_gone || l->failure.code[0] == '\0' || r == -ENOSPC
			   ? disk_failure(l, r)
			   : r;
	}
	r = blob_end(take_ptr(s->blob), l->blob.digest);
	if (r == -EBADMSG)
		pull_failure_set(&l->failure, PULL_ERROR,
		    "filesystem layer verification failed for digest %s", l->blob.digest);
	return r < 0 && r != -EBADMSG ? disk_failure(l, r) : r;
}

/* Frees the hasher. */
static bool is_blob(const struct layer *l, struct store_hasher *hasher)
{
	struct store_hashes h;
	char hex[2 * WIRE_HASH_SIZE + 1];

	store_hasher_end(hasher, &h);
	hex_encode(h.sha256, sizeof(h.sha256), hex);
	return strcmp(hex, l->blob.digest + 7) == 0;
}

/* Hashed again: what was pulled is not synced, so a crash of the machine may have spoiled it. */
static int from_store(struct layer *l, struct sink *s)
{
	_cleanup_close_ int fd = blob_open(l->images->blobs, l->blob.digest);
	struct store_hasher *hasher = store_hasher_new(STORE_SHA256);
	int r = fd < 0 ? fd : 0;

	while (r == 0 && !__atomic_load_n(&l->job.cancel, __ATOMIC_RELAXED)) {
		ssize_t n = read(fd, s->gathered, GATHER);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = -errno;
		if (n <= 0)
			break;
		store_hasher_add(hasher, s->gathered, (size_t)n);
		s->len = (size_t)n;
		if (!s->child_gone)
			r = flush(s);
		if (s->child_gone)
			r = 0; /* it may be the blob's fault: look at all of it */
	}
	if (r == 0 && __atomic_load_n(&l->job.cancel, __ATOMIC_RELAXED))
		r = -ECANCELED;
	if (r == 0 && !is_blob(l, hasher)) {
		blob_delete(l->images->blobs, l->blob.digest);
		l->spoiled = true;
		r = -EBADMSG;
	} else if (r < 0) {
		store_hasher_free(hasher);
	}
	if (s->child_gone && r == 0)
		return -EPIPE;
	return r == 0 ? 0 : disk_failure(l, r);
}

static void run(struct job *j)
{
	struct layer *l = container_of(j, struct layer, job);
	struct sink s = {.layer = l, .gathered = xmalloc(GATHER)};
	bool here = blob_size(l->images->blobs, l->blob.digest) >= 0;

	if (here)
		l->fetch_result = from_store(l, &s);
	else if (l->remote)
		l->fetch_result = fetch(l, &s);
	else
		l->fetch_result = disk_failure(l, -ENOENT);
	free(s.gathered);
	close(take_fd(&l->pipe));
}

/* ---- on the loop ---- */

static void start(struct layer *l);
static void finish_later(struct loop_task *t);

static struct str key_of(const struct layer *l)
{
	return (struct str){(const char *)l->diff_id, WIRE_HASH_SIZE};
}

/* The child's words come first where both failed: the thread saw only that it had gone. */
static void judge(struct layer *l, struct pull_failure *ret)
{
	bool gone = l->fetch_result == -EPIPE;

	if (l->fetch_result < 0 && !gone) {
		*ret = l->failure;
		return;
	}
	if (l->unpack_result == -ENOSPC || (l->unpack_result == -EFBIG && l->little_room))
		pull_failure_set(ret, PULL_ERROR,
		    "failed to register layer %s: no space left on device", l->blob.digest);
	else
		pull_failure_set(ret, PULL_ERROR, "failed to register layer %s: %s", l->blob.digest,
		    l->unpack_why[0] ? l->unpack_why : strerror(-l->unpack_result));
}

static void next(struct images *i)
{
	while (i->layers_running < LAYERS_AT_ONCE && !list_empty(&i->layer_queue)) {
		struct layer *l = list_first(&i->layer_queue, struct layer, queued);

		list_remove(&l->queued);
		start(l);
	}
}

static void finish(struct layer *l)
{
	bool failed = l->fetch_result < 0 || l->unpack_result < 0;
	struct images *i = l->images;
	struct pull_failure f;

	/* Its blob was spoiled and is gone; or somebody came who wants it while it was being given
	 * up. */
	if (failed && ((l->spoiled && l->remote) || l->job.cancel) && !list_empty(&l->waiters)) {
		l->spoiled = l->job.cancel = l->fetched = l->unpacked = false;
		l->failure = (struct pull_failure){0};
		l->bytes_done = 0;
		i->layers_running--;
		list_push_back(&i->layer_queue, &l->queued);
		next(i);
		return;
	}
	if (failed)
		judge(l, &f);
	map_remove(&i->layer_jobs, key_of(l));
	i->layers_running--;
	while (!list_empty(&l->waiters)) {
		struct layer_waiter *w = list_first(&l->waiters, struct layer_waiter, node);

		list_remove(&w->node);
		w->layer = NULL;
		w->done(w, failed ? &f : NULL);
	}
	shared_remote_unref(l->remote);
	free(l);
	next(i);
}

static void finish_later(struct loop_task *t)
{
	finish(container_of(container_of(t, struct job, task), struct layer, job));
}

static void on_fetched(struct job *j)
{
	struct layer *l = container_of(j, struct layer, job);

	l->fetched = true;
	if (l->unpacked)
		finish(l);
}

static void on_unpacked(void *ctx, int result, const char *why, uint64_t size_bytes)
{
	struct layer *l = ctx;

	(void)size_bytes;
	l->unpacked = true;
	l->unpack_result = result;
	snprintf(l->unpack_why, sizeof(l->unpack_why), "%s", why);
	if (l->fetched)
		finish(l);
}

static uint64_t limit_of(const struct images *i)
{
	struct statvfs v;
	uint64_t room;

	if (fstatvfs(i->blobs, &v) < 0)
		return LAYER_LIMIT;
	room = (uint64_t)v.f_bavail * v.f_frsize;
	room = room > ROOM_KEPT ? room - ROOM_KEPT : 0;
	return room < LAYER_LIMIT ? room : LAYER_LIMIT;
}

static void start(struct layer *l)
{
	struct images *i = l->images;
	uint64_t limit;
	int ends[2];

	i->layers_running++;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		l->unpacked = l->fetched = true;
		l->fetch_result = disk_failure(l, -errno);
		l->job.task = (struct loop_task){.run = finish_later};
		loop_defer(i->loop, &l->job.task);
		return;
	}
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	l->pipe = ends[1];
	l->job.run = run;
	l->job.done = on_fetched;
	if (!job_start(i, &l->job)) {
		close(ends[1]);
		l->fetched = true;
		l->fetch_result = disk_failure(l, -EAGAIN);
	}
	limit = limit_of(i);
	l->little_room = limit < LAYER_LIMIT;
	spawn_layer_unpack(i->spawn, l->diff_id, ends[0], limit, on_unpacked, l);
}

void layer_want(struct images *i, struct layer_waiter *w, const uint8_t diff_id[WIRE_HASH_SIZE],
    const struct descriptor *blob, struct shared_remote *remote)
{
	struct str key = {(const char *)diff_id, WIRE_HASH_SIZE};
	struct layer *l = map_get(&i->layer_jobs, key);

	if (!l) {
		l = xcalloc(1, sizeof(*l));
		l->images = i;
		memcpy(l->diff_id, diff_id, WIRE_HASH_SIZE);
		l->blob = *blob;
		l->pipe = -1;
		l->remote = remote;
		if (remote)
			remote->refs++;
		list_init(&l->waiters);
		map_put(&i->layer_jobs, key, l);
		list_push_back(&i->layer_queue, &l->queued);
	}
	w->layer = l;
	list_push_back(&l->waiters, &w->node);
	next(i);
}

void layer_forget(struct layer_waiter *w)
{
	struct layer *l = w->layer;

	if (!l)
		return;
	list_remove(&w->node);
	w->layer = NULL;
	if (!list_empty(&l->waiters))
		return;
	if (list_empty(&l->queued)) {
		job_cancel(&l->job);
		return;
	}
	list_remove(&l->queued);
	map_remove(&l->images->layer_jobs, key_of(l));
	shared_remote_unref(l->remote);
	free(l);
}
