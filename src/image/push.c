/*
 * Pushing: what is kept of an image goes to another registry as it is, so that digests stay the
 * same: the blobs a few at a time, then the manifests, the one that has the name last. A thread of
 * its own, which takes two more while blobs go.
 */
#include <stdio.h>
#include <unistd.h>

#include "image/image_int.h"

#define LANES 3 /* blobs side by side */

struct part {
	struct descriptor blob;
	bool layer;
};

struct image_push {
	struct job job;
	struct loop_task fail_task; /* what went wrong before anything was started */
	struct image_reference to;
	struct image_auth auth; /* owned copies */
	void (*done)(void *ctx, const char *digest, const char *code, const char *why);
	void *ctx;
	char digest[IMAGE_DIGEST_SIZE]; /* of the manifest here */
	/* the thread's */
	int result;
	struct pull_failure failure;
	struct remote *remote;
	struct part *parts;
	size_t part_count;
	struct map seen;    /* digests that parts has */
	struct text *texts; /* manifests, in the order in which they are sent */
	size_t text_count;
	/* the lanes' */
	pthread_mutex_t lock; /* of result and failure */
	size_t next;
	/* progress: written without a lock */
	uint64_t bytes_done, bytes_total;
	unsigned layers_done, layers_total;
};

static void free_push(struct image_push *p)
{
	image_auth_done(&p->auth);
	remote_free(p->remote);
	for (size_t n = 0; n < p->text_count; n++)
		buf_done(&p->texts[n].data);
	free(p->texts);
	free(p->parts);
	map_done(&p->seen);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- what there is to send ---- */

static int missing(struct image_push *p, const char *what, const char *digest, int error)
{
	if (error == -ENOENT)
		pull_failure_set(&p->failure, PUSH_ERROR,
		    "%s %s of this image is not kept here: pull or load the image again", what,
		    digest);
	else
		pull_failure_set(&p->failure, PUSH_ERROR, "reading %s %s from the store: %s", what,
		    digest, strerror(-error));
	return error;
}

static int add_part(struct image_push *p, const struct descriptor *d, bool layer)
{
	int64_t size = blob_size(p->job.images->blobs, d->digest);

	if (size < 0)
		return missing(p, layer ? "layer" : "configuration", d->digest, (int)size);
	if (map_put(&p->seen, str_from(d->digest), p))
		return 0;
	p->parts = xrealloc(p->parts, (p->part_count + 1) * sizeof(*p->parts));
	p->parts[p->part_count] = (struct part){*d, layer};
	p->parts[p->part_count++].blob.size = (uint64_t)size;
	return 0;
}

static int add_text(struct image_push *p, struct text *t, const struct manifest *m)
{
	snprintf(t->media_type, sizeof(t->media_type), "%s", m->media_type);
	p->texts = xrealloc(p->texts, (p->text_count + 1) * sizeof(*p->texts));
	p->texts[p->text_count++] = *t;
	*t = (struct text){0};
	return 0;
}

static void forget_all(struct image_push *p)
{
	for (size_t n = 0; n < p->text_count; n++)
		buf_done(&p->texts[n].data);
	p->text_count = p->part_count = 0;
	map_done(&p->seen);
	p->seen = (struct map)MAP_INIT;
}

static int add_manifest(struct image_push *p, const char *digest, int depth);

static int add_index(struct image_push *p, const struct manifest *m, bool *ret_alone)
{
	int r = 0;

	for (size_t n = 0; n < m->part_count && r == 0; n++)
		r = add_manifest(p, m->parts[n].digest, 1);
	if (r != -ENOENT || m->chosen < 0)
		return r;
	/* Only this machine's image was taken of it. */
	forget_all(p);
	*ret_alone = true;
	return add_manifest(p, m->parts[m->chosen].digest, 1);
}

static int add_contents(struct image_push *p, const struct manifest *m, int depth, bool *ret_alone)
{
	int r;

	if (m->kind == MANIFEST_INDEX && depth) {
		pull_failure_set(&p->failure, PUSH_ERROR, "the index leads to another index");
		return -EINVAL;
	}
	if (m->kind == MANIFEST_INDEX)
		return add_index(p, m, ret_alone);
	r = add_part(p, &m->config, false);
	for (size_t n = 0; n < m->part_count && r == 0; n++)
		r = add_part(p, &m->parts[n], true);
	return r;
}

static int add_manifest(struct image_push *p, const char *digest, int depth)
{
	struct text t = {0};
	struct manifest m = {0};
	struct err e = ERR_INIT;
	bool alone = false;
	int r = blob_read(p->job.images->blobs, digest, MANIFEST_MAX, &t.data);

	if (r < 0) {
		buf_done(&t.data);
		return missing(p, "manifest", digest, r);
	}
	snprintf(t.digest, sizeof(t.digest), "%s", digest);
	r = manifest_parse(buf_str(&t.data), "", &m, &e);
	if (r < 0)
		pull_failure_set(&p->failure, PUSH_ERROR, "%s", e.msg);
	else
		r = add_contents(p, &m, depth, &alone);
	if (r == 0 && !alone)
		r = add_text(p, &t, &m);
	buf_done(&t.data);
	manifest_done(&m);
	return r;
}

static void count_all(struct image_push *p)
{
	uint64_t bytes = 0;
	unsigned layers = 0;

	for (size_t n = 0; n < p->part_count; n++) {
		bytes += p->parts[n].blob.size;
		layers += p->parts[n].layer;
	}
	__atomic_store_n(&p->layers_total, layers, __ATOMIC_RELAXED);
	__atomic_store_n(&p->bytes_total, bytes, __ATOMIC_RELAXED);
}

/* ---- sending it ---- */

static int send_part(struct image_push *p, const struct part *part, struct pull_failure *f)
{
	_cleanup_close_ int fd = blob_open(p->job.images->blobs, part->blob.digest);
	int r;

	if (fd < 0) {
		pull_failure_set(f, PUSH_ERROR, "reading %s from the store: %s", part->blob.digest,
		    strerror(-fd));
		return fd;
	}
	r = remote_push_blob(p->remote, &part->blob, fd, &p->job.cancel, &p->bytes_done, f);
	if (r == 0 && part->layer)
		__atomic_fetch_add(&p->layers_done, 1, __ATOMIC_RELAXED);
	return r;
}

static void fail(struct image_push *p, int result, const struct pull_failure *f)
{
	pthread_mutex_lock(&p->lock);
	if (p->result == 0) { /* the others are only given up */
		p->result = result;
		p->failure = *f;
	}
	pthread_mutex_unlock(&p->lock);
	job_cancel(&p->job);
}

static void *run_lane(void *arg)
{
	struct image_push *p = arg;
	struct pull_failure f = {0};

	for (;;) {
		size_t n = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
		int r;

		if (n >= p->part_count || __atomic_load_n(&p->job.cancel, __ATOMIC_RELAXED))
			return NULL;
		r = send_part(p, &p->parts[n], &f);
		if (r < 0)
			fail(p, r, &f);
	}
}

static void send_parts(struct image_push *p)
{
	pthread_t lanes[LANES - 1];
	size_t count = 0;

	/* With too few threads it takes longer. */
	while (count < LANES - 1 && count + 1 < p->part_count &&
	       pthread_create(&lanes[count], NULL, run_lane, p) == 0)
		count++;
	run_lane(p);
	while (count)
		pthread_join(lanes[--count], NULL);
}

static void send_texts(struct image_push *p)
{
	struct pull_failure f = {0};
	int r = 0;

	for (size_t n = 0; n < p->text_count && r == 0; n++) {
		const struct text *t = &p->texts[n];
		bool named = n + 1 == p->text_count && p->to.tag[0];

		r = remote_push_manifest(p->remote, named ? p->to.tag : t->digest,
		    buf_str(&t->data), t->media_type, &p->job.cancel, &f);
	}
	if (r < 0)
		fail(p, r, &f);
}

static int check_digest(struct image_push *p)
{
	const char *have = p->texts[p->text_count - 1].digest;

	if (!p->to.digest[0] || strcmp(p->to.digest, have) == 0)
		return 0;
	pull_failure_set(&p->failure, PUSH_ERROR,
	    "the image that would be pushed is %s, not the one that the destination's name asks "
	    "for",
	    have);
	return -EINVAL;
}

static void run_push(struct job *j)
{
	struct image_push *p = container_of(j, struct image_push, job);
	char base[REGISTRY_BASE_SIZE];
	struct remote_options o = {.base = base,
	    .repository = p->to.repository,
	    .push = true,
	    .stall_s = j->images->stall_s};

	p->result = add_manifest(p, p->digest, 0);
	if (p->result == 0)
		p->result = check_digest(p);
	if (p->result < 0)
		return;
	p->failure = (struct pull_failure){0};
	count_all(p);
	image_credentials(j->images, p->to.registry, &p->auth);
	image_registry_base(p->to.registry, base);
	o.username = p->auth.username;
	o.password = p->auth.password;
	p->remote = remote_new(&o);
	send_parts(p);
	if (p->result == 0)
		send_texts(p);
}

/* ---- on the loop ---- */

static void tell(struct image_push *p)
{
	if (!p->done)
		return;
	if (p->result < 0)
		p->done(p->ctx, NULL, p->failure.code, p->failure.text);
	else
		p->done(p->ctx, p->texts[p->text_count - 1].digest, NULL, NULL);
}

static void pushed(struct job *j)
{
	struct image_push *p = container_of(j, struct image_push, job);

	j->images->busy--;
	tell(p);
	free_push(p);
}

static void fail_later(struct loop_task *t)
{
	struct image_push *p = container_of(t, struct image_push, fail_task);

	tell(p);
	free_push(p);
}

static const char *find(const struct images *i, const struct image_reference *from)
{
	if (from->repository[0])
		return images_local_digest(i, from);
	return docs_get(i->manifests, from->digest) ? from->digest : NULL;
}

static void prepare(
    struct image_push *p, const struct images *i, const struct image_reference *from)
{
	const char *local = find(i, from);
	char name[IMAGE_REFERENCE_MAX];

	image_reference_format(from, name);
	if (!local)
		pull_failure_set(&p->failure, PUSH_ABSENT, "there is no image %s here",
		    from->repository[0] ? name : from->digest);
	else if (!p->to.registry[0])
		pull_failure_set(&p->failure, PUSH_ERROR,
		    "this server's own registry is where the image would go; say another: `mayfly "
		    "push "
		    "IMAGE HOST[:PORT]/NAME', or, for a name here, `mayfly image tag IMAGE NAME'");
	else
		snprintf(p->digest, sizeof(p->digest), "%s", local);
}

struct image_push *image_push_start(struct images *i, const struct image_reference *from,
    const struct image_reference *to, const struct image_auth *auth,
    void (*done)(void *ctx, const char *digest, const char *code, const char *why), void *ctx)
{
	struct image_push *p = xcalloc(1, sizeof(*p));

	p->to = *to;
	p->done = done;
	p->ctx = ctx;
	p->fail_task.run = fail_later;
	pthread_mutex_init(&p->lock, NULL);
	if (auth && auth->username && auth->password) {
		p->auth.username = xstrdup(auth->username);
		p->auth.password = xstrdup(auth->password);
	}
	prepare(p, i, from);
	p->job.run = run_push;
	p->job.done = pushed;
	if (!p->failure.code[0] && !job_start(i, &p->job))
		pull_failure_set(&p->failure, PUSH_ERROR, "the host is out of threads");
	if (p->failure.code[0]) {
		p->result = -EINVAL;
		loop_defer(i->loop, &p->fail_task);
	} else {
		i->busy++;
	}
	return p;
}

void image_push_cancel(struct image_push *p)
{
	p->done = NULL;
	job_cancel(&p->job);
}

void image_push_progress(const struct image_push *p, struct image_progress *ret)
{
	*ret =
	    (struct image_progress){.bytes_done = __atomic_load_n(&p->bytes_done, __ATOMIC_RELAXED),
		.bytes_total = __atomic_load_n(&p->bytes_total, __ATOMIC_RELAXED),
		.layers_done = __atomic_load_n(&p->layers_done, __ATOMIC_RELAXED),
		.layers_total = __atomic_load_n(&p->layers_total, __ATOMIC_RELAXED)};
}
