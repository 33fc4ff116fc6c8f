/*
 * From a name to a manifest and a configuration for this machine: from the store, or from a
 * registry, whose mirrors come first. On a thread of its own. Every text is checked against the
 * digest by which it was asked for before it is parsed.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "image/image_int.h"

#define CREDENTIALS_MAX (1u << 20)

static int bad_digest(struct resolving *r, const char *wanted, const char *got)
{
	pull_failure_set(&r->failure, PULL_MANIFEST_ERROR,
	    "the registry answers for %s with something else: %s", wanted, got);
	return -EBADMSG;
}

static int bad_text(struct resolving *r, const struct err *e)
{
	pull_failure_set(&r->failure, PULL_MANIFEST_ERROR, "%s", e->msg);
	return -EINVAL;
}

/* ---- getting texts ---- */

static int local_text(struct resolving *r, const char *digest, struct text *ret)
{
	int e = blob_read(r->job.images->blobs, digest, MANIFEST_MAX, &ret->data);

	if (e < 0) {
		pull_failure_set(
		    &r->failure, PULL_ERROR, "reading %s from the store: %s", digest, strerror(-e));
		return e;
	}
	snprintf(ret->digest, sizeof(ret->digest), "%s", digest);
	return 0;
}

/* A manifest: by digest ("sha256:...") or by tag. */
static int get_manifest(struct resolving *r, const char *by, struct text *ret)
{
	int e;

	buf_clear(&ret->data);
	if (!r->remote)
		return local_text(r, by, ret);
	e = remote_manifest(
	    r->remote, by, &r->job.cancel, &ret->data, ret->media_type, &r->failure);
	if (e < 0)
		return e;
	digest_of(buf_str(&ret->data), ret->digest);
	if (image_digest_ok(str_from(by)) && strcmp(by, ret->digest) != 0)
		return bad_digest(r, by, ret->digest);
	return 0;
}

static int append(void *ctx, const void *data, size_t len)
{
	buf_append(ctx, data, len);
	return 0;
}

static int get_config(struct resolving *r)
{
	const struct descriptor *d = &r->manifest.config;
	struct text *t = &r->config_text;
	int e;

	if (d->size > CONFIG_MAX) {
		pull_failure_set(&r->failure, PULL_MANIFEST_ERROR,
		    "the image's configuration is larger than %u bytes", CONFIG_MAX);
		return -EFBIG;
	}
	if (!r->remote || blob_size(r->job.images->blobs, d->digest) >= 0)
		return local_text(r, d->digest, t);
	e = remote_blob(r->remote, d, &r->job.cancel, append, &t->data, &r->failure);
	if (e < 0)
		return e;
	digest_of(buf_str(&t->data), t->digest);
	return strcmp(t->digest, d->digest) == 0 ? 0 : bad_digest(r, d->digest, t->digest);
}

/* ---- putting them together ---- */

static int parse_manifest(struct resolving *r, const struct text *t)
{
	struct err e = ERR_INIT;

	manifest_done(&r->manifest);
	if (manifest_parse(buf_str(&t->data), t->media_type, &r->manifest, &e) < 0)
		return bad_text(r, &e);
	return 0;
}

static int descend(struct resolving *r)
{
	char child[IMAGE_DIGEST_SIZE];
	int e;

	if (r->manifest.chosen < 0) {
		pull_failure_set(&r->failure, PULL_MANIFEST_ERROR,
		    "no matching manifest for this machine (linux) in the manifest list entries");
		return -ENOENT;
	}
	memcpy(child, r->manifest.parts[r->manifest.chosen].digest, sizeof(child));
	r->top = r->manifest_text;
	r->manifest_text = (struct text){0};
	snprintf(r->top.media_type, sizeof(r->top.media_type), "%s", r->manifest.media_type);
	e = get_manifest(r, child, &r->manifest_text);
	if (e == 0)
		e = parse_manifest(r, &r->manifest_text);
	if (e == 0 && r->manifest.kind == MANIFEST_INDEX) {
		pull_failure_set(
		    &r->failure, PULL_MANIFEST_ERROR, "the index leads to another index");
		return -EINVAL;
	}
	return e;
}

static int finish(struct resolving *r)
{
	struct err e = ERR_INIT;
	int result;

	if (r->manifest.kind == MANIFEST_INDEX) {
		result = descend(r);
		if (result < 0)
			return result;
	}
	snprintf(r->manifest_text.media_type, sizeof(r->manifest_text.media_type), "%s",
	    r->manifest.media_type);
	if (r->manifest.kind != MANIFEST_IMAGE) {
		pull_failure_set(&r->failure, PULL_MANIFEST_ERROR,
		    "this is no image of a container: its configuration is %s",
		    r->manifest.config.media_type);
		return -EINVAL;
	}
	result = get_config(r);
	if (result < 0)
		return result;
	if (config_parse_json(buf_str(&r->config_text.data), &r->config, &e) < 0)
		return bad_text(r, &e);
	if (r->config.layer_count != r->manifest.part_count) {
		pull_failure_set(&r->failure, PULL_MANIFEST_ERROR,
		    "the manifest has %zu layers, the configuration %zu", r->manifest.part_count,
		    r->config.layer_count);
		return -EINVAL;
	}
	return 0;
}

/* ---- registries ---- */

static int try_registry(struct resolving *r, const char *base, bool hurry)
{
	const struct image_reference *n = &r->reference;
	struct remote_options o = {.base = base,
	    .repository = n->repository,
	    .username = r->auth.username,
	    .password = r->auth.password,
	    .stall_s = r->job.images->stall_s,
	    .hurry = hurry,
	    .told_wait = r->told_wait};
	int e;

	remote_free(r->remote);
	r->remote = remote_new(&o);
	e = get_manifest(r, n->digest[0] ? n->digest : n->tag, &r->manifest_text);
	return e < 0 ? e : parse_manifest(r, &r->manifest_text);
}

static int try_mirrors(struct resolving *r)
{
	const struct images *i = r->job.images;
	size_t n = strlen(r->reference.registry);
	int e = -ENOENT;

	for (size_t k = 0; k < i->mirror_count && e < 0; k++)
		if (strncmp(i->mirrors[k], r->reference.registry, n) == 0 &&
		    i->mirrors[k][n] == '=')
			e = try_registry(r, i->mirrors[k] + n + 1, true);
	if (e == 0)
		remote_take_time(r->remote);
	return e;
}

void image_credentials(const struct images *i, const char *registry, struct image_auth *auth)
{
	struct buf text = BUF_INIT;
	char username[256], password[1024];

	if (auth->username || !i->docker_config)
		return;
	if (fd_read_file(AT_FDCWD, i->docker_config, CREDENTIALS_MAX, &text) == 0 &&
	    docker_credentials(buf_str(&text), registry, username, password)) {
		auth->username = xstrdup(username);
		auth->password = xstrdup(password);
	}
	explicit_bzero(password, sizeof(password));
	if (buf_len(&text))
		explicit_bzero(buf_data(&text), buf_len(&text));
	buf_done(&text);
}

void image_auth_done(struct image_auth *auth)
{
	if (auth->password)
		explicit_bzero((char *)(uintptr_t)auth->password, strlen(auth->password));
	free((char *)(uintptr_t)auth->username);
	free((char *)(uintptr_t)auth->password);
	*auth = (struct image_auth){0};
}

void image_registry_base(const char *host, char out[REGISTRY_BASE_SIZE])
{
	snprintf(out, REGISTRY_BASE_SIZE, "%s://%s",
	    remote_is_loopback(str_from(host)) ? "http" : "https",
	    strcmp(host, "docker.io") == 0 ? "registry-1.docker.io" : host);
}

static int ask_registry(struct resolving *r)
{
	char base[REGISTRY_BASE_SIZE];

	image_credentials(r->job.images, r->reference.registry, &r->auth);
	if (try_mirrors(r) == 0)
		return 0;
	r->failure = (struct pull_failure){0};
	image_registry_base(r->reference.registry, base);
	return try_registry(r, base, false);
}

/* What is here may lack layers that were collected: those are fetched again. */
static void name_registry(struct resolving *r)
{
	struct remote_options o = {.repository = r->reference.repository,
	    .stall_s = r->job.images->stall_s,
	    .told_wait = r->told_wait};
	char base[REGISTRY_BASE_SIZE];

	image_credentials(r->job.images, r->reference.registry, &r->auth);
	image_registry_base(r->reference.registry, base);
	o.base = base;
	o.username = r->auth.username;
	o.password = r->auth.password;
	r->remote = remote_new(&o);
}

static int keep_text(struct resolving *r, const struct text *t)
{
	int e = t->digest[0] ? blob_put(r->job.images->blobs, buf_str(&t->data), t->digest) : 0;

	if (e < 0)
		pull_failure_set(
		    &r->failure, PULL_ERROR, "writing %s: %s", t->digest, strerror(-e));
	return e;
}

/* The layers' names follow when they have come. */
static int keep(struct resolving *r)
{
	int e = keep_text(r, &r->config_text);

	if (e == 0)
		e = keep_text(r, &r->manifest_text);
	return e == 0 ? keep_text(r, &r->top) : e;
}

void resolving_run(struct job *j)
{
	struct resolving *r = container_of(j, struct resolving, job);

	if (r->local[0]) {
		r->result = get_manifest(r, r->local, &r->manifest_text);
		if (r->result == 0)
			r->result = parse_manifest(r, &r->manifest_text);
	} else {
		r->result = ask_registry(r);
	}
	if (r->result == 0)
		r->result = finish(r);
	if (r->result == 0 && r->remote)
		r->result = keep(r);
	else if (r->result == 0 && r->reference.registry[0])
		name_registry(r);
}

void resolving_done(struct resolving *r)
{
	image_auth_done(&r->auth);
	remote_free(r->remote);
	buf_done(&r->top.data);
	buf_done(&r->manifest_text.data);
	buf_done(&r->config_text.data);
	manifest_done(&r->manifest);
	config_done(&r->config);
}
