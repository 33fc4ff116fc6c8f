/*
 * Pulling: resolve the name, have all layers unpacked, write down what is here now. Equal pulls
 * share one struct pull; each caller has an image_pull of his own. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "image/image_int.h"

struct image_pull {
	struct list node; /* in pull.callers */
	struct pull *pull;
	void (*done)(void *ctx, struct image *image, const char *code, const char *why);
	void *ctx;
};

struct pull_layer {
	struct layer_waiter waiter;
	struct pull *pull;
	struct descriptor blob;
	bool wanted, done;
};

struct pull {
	struct list node; /* in images.pulls */
	struct images *images;
	char *key; /* what equal pulls have in common */
	struct list callers;
	struct loop_task fail_task; /* what went wrong before anything was started */
	struct pull_failure failure;
	struct resolving resolving;
	bool resolved, saving;
	struct shared_remote *remote;
	struct pull_layer *layers;
	size_t layer_count, layers_left;
	struct image *image;
};

static void free_pull(struct pull *p)
{
	for (size_t n = 0; n < p->layer_count; n++)
		layer_forget(&p->layers[n].waiter);
	list_remove(&p->node);
	resolving_done(&p->resolving);
	free(p->resolving.told_wait);
	shared_remote_unref(p->remote);
	image_unref(p->image);
	explicit_bzero(p->key, strlen(p->key));
	free(p->key);
	free(p->layers);
	free(p);
}

/* ---- endings ---- */

static void finish(struct pull *p, const struct pull_failure *f)
{
	struct image *image = f ? NULL : p->image;

	/* Equal pulls that start in a callback start anew. */
	list_remove(&p->node);
	while (!list_empty(&p->callers)) {
		struct image_pull *c = list_first(&p->callers, struct image_pull, node);

		list_remove(&c->node);
		c->done(c->ctx, image ? image_ref(image) : NULL, f ? f->code : NULL,
		    f ? f->text : NULL);
		free(c);
	}
	free_pull(p);
}

static void saved(void *ctx, int result)
{
	struct pull *p = ctx;
	struct pull_failure f;

	if (result < 0)
		pull_failure_set(
		    &f, PULL_ERROR, "writing down the image failed: %s", strerror(-result));
	finish(p, result < 0 ? &f : NULL);
}

/* ---- writing down ---- */

static void put_record(struct pull *p, struct docs_change *g, const struct text *t,
    const struct manifest *m, const struct config *c)
{
	docs_put(g, p->images->manifests, t->digest, manifest_record(m, c, buf_len(&t->data)));
}

/* Of an index only the child that was taken is here. */
static void put_index(struct pull *p, struct docs_change *g)
{
	struct resolving *r = &p->resolving;
	struct descriptor child = {0};
	struct manifest m = {.kind = MANIFEST_INDEX, .parts = &child, .part_count = 1};

	snprintf(m.media_type, sizeof(m.media_type), "%s", r->top.media_type);
	snprintf(child.digest, sizeof(child.digest), "%s", r->manifest_text.digest);
	child.size = p->image->bytes;
	put_record(p, g, &r->top, &m, NULL);
}

static void save(struct pull *p)
{
	struct resolving *r = &p->resolving;
	const struct text *named = r->top.digest[0] ? &r->top : &r->manifest_text;
	struct docs_change *g;

	p->saving = true;
	if (r->local[0]) { /* it was written down when it came */
		saved(p, 0);
		return;
	}
	g = docs_change_new(p->images->store);
	put_record(p, g, &r->manifest_text, &r->manifest, &p->image->config);
	if (r->top.digest[0])
		put_index(p, g);
	images_hold(
	    p->images, g, &r->reference, named->digest, named->media_type, buf_len(&named->data));
	docs_commit(g, saved, p);
}

/* ---- layers ---- */

static void layer_done(struct layer_waiter *w, const struct pull_failure *f)
{
	struct pull_layer *l = container_of(w, struct pull_layer, waiter);
	struct pull *p = l->pull;

	l->done = true;
	p->layers_left--;
	if (f)
		finish(p, f);
	else if (!p->layers_left)
		save(p);
}

static void want_layers(struct pull *p)
{
	const uint8_t(*ids)[WIRE_HASH_SIZE];
	const struct manifest *m = &p->resolving.manifest;

	p->layer_count = image_layers(p->image, &ids);
	p->layers = xcalloc(p->layer_count + 1, sizeof(*p->layers));
	for (size_t n = 0; n < p->layer_count; n++) {
		struct pull_layer *l = &p->layers[n];

		l->pull = p;
		l->blob = m->parts[n];
		l->waiter.done = layer_done;
		list_init(&l->waiter.node);
		l->wanted = !images_layer_there(p->images, ids[n]);
		l->done = !l->wanted;
		p->layers_left += l->wanted;
	}
	for (size_t n = 0; n < p->layer_count; n++)
		if (p->layers[n].wanted)
			layer_want(
			    p->images, &p->layers[n].waiter, ids[n], &p->layers[n].blob, p->remote);
}

static uint64_t bytes_of(const struct manifest *m)
{
	uint64_t bytes = m->config.size;

	for (size_t n = 0; n < m->part_count; n++)
		bytes += m->parts[n].size;
	return bytes;
}

static void on_resolved(struct job *j)
{
	struct pull *p =
	    container_of(container_of(j, struct resolving, job), struct pull, resolving);
	struct resolving *r = &p->resolving;

	p->resolved = true;
	if (list_empty(&p->callers)) {
		free_pull(p);
		return;
	}
	if (r->result < 0) {
		finish(p, &r->failure);
		return;
	}
	if (r->remote)
		p->remote = shared_remote_new(take_ptr(r->remote), take_ptr(r->told_wait));
	p->image =
	    image_get(p->images, r->manifest_text.digest, &r->config, bytes_of(&r->manifest));
	want_layers(p);
	if (!p->layers_left)
		save(p);
}

/* ---- beginning ---- */

static void fail_later(struct loop_task *t)
{
	struct pull *p = container_of(t, struct pull, fail_task);

	p->resolved = true;
	if (list_empty(&p->callers))
		free_pull(p);
	else
		finish(p, &p->failure);
}

static void start(struct pull *p, const struct image_reference *n, enum image_pull_policy policy)
{
	struct images *i = p->images;
	const char *local = images_local_digest(i, n);
	char name[IMAGE_REFERENCE_MAX];

	if (!local && policy != IMAGE_PULL_ALWAYS && n->digest[0] &&
	    docs_get(i->manifests, n->digest))
		local = n->digest;

	p->fail_task.run = fail_later;
	image_reference_format(n, name);
	if (local && (policy != IMAGE_PULL_ALWAYS || !n->registry[0]))
		snprintf(p->resolving.local, sizeof(p->resolving.local), "%s", local);
	else if (!n->registry[0])
		pull_failure_set(&p->failure, PULL_MANIFEST_ERROR,
		    "manifest for %s not found: push it first", name);
	else if (policy == IMAGE_PULL_NEVER)
		pull_failure_set(
		    &p->failure, PULL_ERROR, "%s is not here and is not to be pulled", name);
	p->resolving.job.run = resolving_run;
	p->resolving.job.done = on_resolved;
	if (!p->failure.code[0] && !job_start(i, &p->resolving.job))
		pull_failure_set(&p->failure, PULL_ERROR, "the host is out of threads");
	if (p->failure.code[0])
		loop_defer(i->loop, &p->fail_task);
}

static struct pull *find(const struct images *i, const char *key)
{
	list_for_each (n, &i->pulls) {
		struct pull *p = list_entry(n, struct pull, node);

		if (strcmp(p->key, key) == 0)
			return p;
	}
	return NULL;
}

struct image_pull *image_pull_start(struct images *i, const struct image_reference *r,
    enum image_pull_policy policy, const struct image_auth *auth,
    void (*done)(void *ctx, struct image *image, const char *code, const char *why), void *ctx)
{
	struct image_pull *c = xcalloc(1, sizeof(*c));
	bool known = auth && auth->username && auth->password;
	char name[IMAGE_REFERENCE_MAX], *key;
	struct pull *p;

	image_reference_format(r, name);
	key = xasprintf("%d %s\n%s\n%s", policy, name, known ? auth->username : "",
	    known ? auth->password : "");
	c->done = done;
	c->ctx = ctx;
	p = find(i, key);
	if (!p) {
		p = xcalloc(1, sizeof(*p));
		p->images = i;
		p->key = take_ptr(key);
		p->resolving.reference = *r;
		p->resolving.told_wait = xcalloc(1, sizeof(*p->resolving.told_wait));
		if (known) {
			p->resolving.auth.username = xstrdup(auth->username);
			p->resolving.auth.password = xstrdup(auth->password);
		}
		list_init(&p->callers);
		list_push_back(&i->pulls, &p->node);
		start(p, r, policy);
	}
	free(key);
	c->pull = p;
	list_push_back(&p->callers, &c->node);
	return c;
}

void image_pull_cancel(struct image_pull *c)
{
	struct pull *p = c->pull;

	list_remove(&c->node);
	free(c);
	if (!list_empty(&p->callers) || p->saving)
		return;
	if (p->resolved) {
		free_pull(p);
		return;
	}
	/* Nobody joins it any more; it is freed when its thread has ended. */
	list_remove(&p->node);
	job_cancel(&p->resolving.job);
}

void image_pull_progress(const struct image_pull *c, struct image_progress *ret)
{
	const struct pull *p = c->pull;
	const int64_t *until = p->remote ? p->remote->told_wait : p->resolving.told_wait;
	int64_t left_ns = until ? __atomic_load_n(until, __ATOMIC_RELAXED) - time_mono_ns() : 0;

	*ret = (struct image_progress){.layers_total = (unsigned)p->layer_count,
	    .waiting_s = left_ns > 0 ? (unsigned)((left_ns + 999999999) / 1000000000) : 0};
	for (size_t n = 0; n < p->layer_count; n++) {
		const struct pull_layer *l = &p->layers[n];

		ret->bytes_total += l->wanted ? l->blob.size : 0;
		ret->layers_done += l->done;
		if (l->waiter.layer)
			ret->bytes_done +=
			    __atomic_load_n(&l->waiter.layer->bytes_done, __ATOMIC_RELAXED);
		else if (l->wanted && l->done)
			ret->bytes_done += l->blob.size;
	}
}
