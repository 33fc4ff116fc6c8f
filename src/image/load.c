/*
 * Loading an archive: the bytes go into a pipe to the spawner's child, which opens it; its files
 * come back by another pipe and are kept as blobs on a thread; then the images among them have
 * their layers unpacked. Names are given last, all in one write: what fails changes none. Loop
 * thread, but for read_all().
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/archive.h"
#include "image/image_int.h"

#define ARCHIVE_LIMIT (UINT64_C(32) << 30)
#define PIPE_BYTES (1 << 20)

struct load_layer {
	struct layer_waiter waiter;
	struct image_load *load;
};

struct image_load {
	struct images *images;
	void (*on_drain)(void *ctx);
	void (*done)(void *ctx, json_t *loaded, const char *why); /* NULL: given up */
	void *ctx;
	struct buf waiting;
	struct loop_io pipe; /* fd -1: closed */
	bool ended, paused, feed_failed;
	bool split, read; /* the child, the thread: ended */
	struct job job;
	struct loop_task fail_task;
	int members; /* the thread's */
	struct archive_images archive;
	int result, split_result;
	struct err error;
	char split_why[256];
	json_t *loaded;
	struct load_layer *layers; /* of all images; NULL until they are unpacked */
	size_t layer_count, layers_left;
	bool saving;
};

static void free_load(struct image_load *l)
{
	for (size_t n = 0; n < l->layer_count; n++)
		layer_forget(&l->layers[n].waiter);
	free(l->layers);
	l->images->busy--;
	archive_done(&l->archive);
	buf_done(&l->waiting);
	json_decref(l->loaded);
	free(l);
}

static void finish(struct image_load *l)
{
	if (l->done)
		l->done(l->ctx, l->result < 0 ? NULL : take_ptr(l->loaded), l->error.msg);
	free_load(l);
}

/* ---- feeding the child ---- */

static void close_pipe(struct image_load *l)
{
	if (l->pipe.fd < 0)
		return;
	loop_io_remove(l->images->loop, &l->pipe);
	close(take_fd(&l->pipe.fd));
	buf_done(&l->waiting);
	l->waiting = (struct buf)BUF_INIT;
}

static void feed(struct image_load *l)
{
	while (l->pipe.fd >= 0 && buf_len(&l->waiting)) {
		ssize_t n = write(l->pipe.fd, buf_data(&l->waiting), buf_len(&l->waiting));

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* the child has given up and says why */
			close_pipe(l);
			l->feed_failed = true;
			break;
		}
		buf_consume(&l->waiting, (size_t)n);
	}
	if (l->pipe.fd >= 0 && l->ended && !buf_len(&l->waiting))
		close_pipe(l);
	if (l->pipe.fd >= 0)
		loop_io_change(l->images->loop, &l->pipe, buf_len(&l->waiting) ? EPOLLOUT : 0);
	if (l->paused && (l->feed_failed || buf_len(&l->waiting) < IMAGE_LOAD_QUEUE / 2)) {
		l->paused = false;
		if (l->on_drain && l->done)
			l->on_drain(l->ctx);
	}
}

static void on_writable(struct loop_io *io, uint32_t events)
{
	struct image_load *l = container_of(io, struct image_load, pipe);

	if (events & EPOLLERR && !buf_len(&l->waiting)) {
		close_pipe(l);
		l->feed_failed = true;
	}
	feed(l);
}

size_t image_load_write(struct image_load *l, const void *data, size_t len)
{
	if (l->pipe.fd < 0)
		return 0;
	buf_append(&l->waiting, data, len);
	feed(l);
	if (buf_len(&l->waiting) >= IMAGE_LOAD_QUEUE)
		l->paused = true;
	return buf_len(&l->waiting);
}

void image_load_end(struct image_load *l)
{
	l->ended = true;
	feed(l);
}

/* ---- names ---- */

static void on_saved(void *ctx, int result)
{
	struct image_load *l = ctx;

	if (result < 0)
		l->result = err_sys(&l->error, -result, "writing down the images");
	finish(l);
}

static void hold(struct image_load *l, struct docs_change *g, const struct image_reference *r,
    const struct archive_image *i, const char *digest)
{
	const struct buf *named = buf_len(&i->top) ? &i->top : &i->manifest;
	char name[IMAGE_REFERENCE_MAX];

	images_repository_ensure(l->images, g, r);
	images_hold(l->images, g, r, digest, buf_len(&i->top) ? i->top_type : i->parsed.media_type,
	    buf_len(named));
	image_reference_format(r, name);
	json_array_append_new(l->loaded, json_pack("{s:s,s:s}", "name", name, "digest", digest));
}

static void save_image(struct image_load *l, struct docs_change *g, const struct archive_image *i)
{
	char digest[IMAGE_DIGEST_SIZE], child[IMAGE_DIGEST_SIZE], name[64];
	struct descriptor d = {0};
	struct manifest index = {.kind = MANIFEST_INDEX, .parts = &d, .part_count = 1};
	struct image_reference r;
	size_t named = 0;

	digest_of(buf_str(&i->manifest), child);
	docs_put(g, l->images->manifests, child,
	    manifest_record(&i->parsed, &i->config, buf_len(&i->manifest)));
	memcpy(digest, child, sizeof(digest));
	if (buf_len(&i->top)) {
		digest_of(buf_str(&i->top), digest);
		memcpy(d.digest, child, sizeof(child));
		snprintf(index.media_type, sizeof(index.media_type), "%s", i->top_type);
		docs_put(g, l->images->manifests, digest,
		    manifest_record(&index, NULL, buf_len(&i->top)));
	}
	for (size_t n = 0; n < i->name_count; n++)
		if (image_reference_parse(str_from(i->names[n]), l->images->own_hosts, &r, NULL) ==
			0 &&
		    r.tag[0]) {
			hold(l, g, &r, i, digest);
			named++;
		}
	if (named)
		return;
	snprintf(name, sizeof(name), "localhost/loaded:%.12s", digest + 7);
	check(image_reference_parse(str_from(name), NULL, &r, NULL) == 0);
	hold(l, g, &r, i, digest);
}

static void save(struct image_load *l)
{
	struct docs_change *g = docs_change_new(l->images->store);

	l->saving = true;
	l->loaded = json_array();
	for (size_t n = 0; n < l->archive.count; n++)
		save_image(l, g, &l->archive.images[n]);
	docs_commit(g, on_saved, l);
}

/* ---- layers ---- */

static void layer_done(struct layer_waiter *w, const struct pull_failure *f)
{
	struct image_load *l = container_of(w, struct load_layer, waiter)->load;

	l->layers_left--;
	if (f) {
		l->result = err_set(&l->error, EIO, "%s", f->text);
		images_collect_soon(l->images);
		finish(l);
	} else if (!l->layers_left) {
		save(l);
	}
}

static void want(struct image_load *l, const struct archive_image *i)
{
	for (size_t n = 0; n < i->config.layer_count; n++) {
		struct load_layer *layer = &l->layers[l->layer_count];

		if (images_layer_there(l->images, i->config.diff_ids[n]))
			continue;
		l->layer_count++;
		l->layers_left++;
		layer->load = l;
		layer->waiter.done = layer_done;
		layer_want(
		    l->images, &layer->waiter, i->config.diff_ids[n], &i->parsed.parts[n], NULL);
	}
}

static void unpack(struct image_load *l)
{
	size_t count = 1;

	for (size_t n = 0; n < l->archive.count; n++)
		count += l->archive.images[n].config.layer_count;
	l->layers = xcalloc(count, sizeof(*l->layers));
	for (size_t n = 0; n < l->archive.count; n++)
		want(l, &l->archive.images[n]);
	if (!l->layers_left)
		save(l);
}

static void ended(struct image_load *l)
{
	if (!l->split || !l->read)
		return;
	close_pipe(l);
	if (l->split_result < 0)
		l->result = err_set(&l->error, -l->split_result, "%s", l->split_why);
	if (l->result < 0 || !l->done) {
		finish(l);
		return;
	}
	unpack(l);
}

/* ---- the thread and the child ---- */

static int keep_manifests(struct image_load *l)
{
	char digest[IMAGE_DIGEST_SIZE];
	int r = 0;

	for (size_t n = 0; n < l->archive.count && r == 0; n++) {
		struct str text = buf_str(&l->archive.images[n].manifest);

		digest_of(text, digest);
		r = blob_put(l->images->blobs, text, digest);
	}
	return r < 0 ? err_sys(&l->error, -r, "keeping a manifest") : 0;
}

static void read_all(struct job *j)
{
	struct image_load *l = container_of(j, struct image_load, job);
	struct err e = ERR_INIT;
	int r = archive_read_members(l->members, l->images->blobs, &j->cancel, &l->archive, &e);

	close(take_fd(&l->members));
	if (r == 0)
		r = archive_find(l->images->blobs, &l->archive, &e);
	if (r == 0)
		r = keep_manifests(l);
	else
		l->error = e;
	l->result = r;
}

static void on_read(struct job *j)
{
	struct image_load *l = container_of(j, struct image_load, job);

	l->read = true;
	ended(l);
}

static void on_opened(void *ctx, int fd)
{
	struct image_load *l = ctx;

	l->members = fd;
	l->read = false;
	l->job.run = read_all;
	l->job.done = on_read;
	if (job_start(l->images, &l->job))
		return;
	close(take_fd(&l->members));
	l->read = true;
	l->result = err_set(&l->error, EAGAIN, "the host is out of threads");
}

/* What the child says of a broken archive is worth more than that its stream ended early. */
static void on_split(void *ctx, int result, const char *why, uint64_t size_bytes)
{
	struct image_load *l = ctx;

	(void)size_bytes;
	l->split = true;
	if (result < 0 && result != -EPIPE) {
		l->split_result = result;
		snprintf(l->split_why, sizeof(l->split_why), "%s", why);
	}
	ended(l);
}

static void fail_later(struct loop_task *t)
{
	ended(container_of(t, struct image_load, fail_task));
}

struct image_load *image_load_start(struct images *i, void (*on_drain)(void *ctx),
    void (*done)(void *ctx, json_t *loaded, const char *why), void *ctx)
{
	struct image_load *l = xcalloc(1, sizeof(*l));
	int ends[2] = {-1, -1};

	l->images = i;
	l->on_drain = on_drain;
	l->done = done;
	l->ctx = ctx;
	l->members = -1;
	l->read = true; /* until it is opened */
	i->busy++;
	l->pipe.fd = -1;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		l->result = err_sys(&l->error, errno, "making a pipe for the archive");
		l->split = true;
		l->fail_task.run = fail_later;
		loop_defer(i->loop, &l->fail_task);
		return l;
	}
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK | O_WRONLY);
	l->pipe = (struct loop_io){.fd = ends[1], .on_ready = on_writable};
	loop_io_add(i->loop, &l->pipe);
	spawn_archive_split(i->spawn, ends[0], ARCHIVE_LIMIT, on_opened, on_split, l);
	return l;
}

void image_load_cancel(struct image_load *l)
{
	l->done = NULL;
	close_pipe(l);
	job_cancel(&l->job);
	if (l->layers && !l->saving)
		finish(l);
}
