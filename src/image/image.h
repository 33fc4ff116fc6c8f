/*
 * OCI images: references, manifests, layers. Pulled from registries, imported from archives, pushed
 * by clients to our own registry; all of them are blobs of one content-addressed store, and layers
 * are unpacked once into directories named by their diff id, shared by everything that runs.
 * Nothing is believed before its digest has been computed. Loop thread; what blocks (curl, hashing,
 * files) runs on workers, archives are opened by the unpack child only.
 */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "docs/docs.h"
#include "loop/loop.h"
#include "spawn/spawn.h"
#include "store/store.h"

struct images;
struct image; /* one image for one platform: manifest, config, layers; reference-counted */

#define IMAGE_REFERENCE_MAX 512
#define IMAGE_DIGEST_SIZE 72 /* "sha256:" and 64 hex digits, NUL */
#define IMAGE_LAYERS_MAX 127

/* Whose part of our own registry, "ACCOUNT.REGION", when the host does not say. */
#define IMAGE_REALM_DEFAULT "123456789012.us-east-1"

struct image_reference {
	char registry[256];   /* "docker.io", "127.0.0.1:5000"; "" for our own */
	char realm[64];       /* of our own registry: IMAGE_REALM_DEFAULT or what the host says */
	char repository[256]; /* "library/busybox" */
	char tag[129];        /* "" with a digest alone */
	char digest[IMAGE_DIGEST_SIZE];
};

/* Docker's rules: docker.io, library/, :latest are filled in. own: hosts that mean our registry,
 * with NULL at the end, or NULL; ACCOUNT.dkr.ecr.REGION.amazonaws.com and .localhost[:PORT] mean it
 * too. 0 or -EINVAL. */
int image_reference_parse(
    struct str text, const char *const *own, struct image_reference *ret, struct err *e);
/* Our own is written as ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME. */
void image_reference_format(const struct image_reference *r, char out[IMAGE_REFERENCE_MAX]);
/* "ACCOUNT.REGION" for such a host, with or without port; false if it is none. */
bool image_realm_of_host(struct str host, char ret_realm[64]);

/* Whether these are what the distribution API calls a name, a tag, a digest. */
bool image_name_ok(struct str name);
bool image_tag_ok(struct str tag);
bool image_digest_ok(struct str digest);

struct images_options {
	struct loop *loop;
	struct store *store;
	struct spawn *spawn;
	const char *data;           /* DATA as core sees it: blobs are kept below */
	const char *docker_config;  /* credential file, or NULL */
	const char *const *mirrors; /* "docker.io=http://127.0.0.1:5000", or NULL */
	size_t mirror_count;
	const char *const *own_hosts; /* hosts that mean our own registry, in names that archives
				       * have; NULL at the end */
	int64_t registry_timeout_s;   /* a registry that neither sends nor takes is given up; 0: 30
				       */
};
struct images *images_open(const struct images_options *o, struct err *e);
/* Give up what is on its way, within moments: before the store closes. */
void images_stop(struct images *i);
void images_close(struct images *i);

/* ---- an image ---- */

struct image_config {
	const char *const *entrypoint, *const *cmd, *const *env; /* end with NULL */
	const char *user, *working_dir, *stop_signal;            /* "" if not given */
	const char *architecture, *os;
	const char *const *volumes, *const *exposed_ports;
};
const struct image_config *image_config(const struct image *i);
const char *image_digest(const struct image *i); /* of the manifest */
uint64_t image_bytes(const struct image *i);     /* compressed */
size_t image_layers(const struct image *i, const uint8_t (**ret_diff_ids)[WIRE_HASH_SIZE]);
struct image *image_ref(struct image *i); /* keeps its layers from being collected */
void image_unref(struct image *i);
/* Look a user up in the image's own passwd and group files (read from its unpacked layers)
 * ("www-data", "1000:50"); "" is root. */
int image_user(const struct image *i, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
    uint32_t groups[32], size_t *ret_count, struct err *e);

/* ---- getting one ---- */

enum image_pull_policy { IMAGE_PULL_MISSING, IMAGE_PULL_ALWAYS, IMAGE_PULL_NEVER };

struct image_auth {
	const char *username, *password;
};

struct image_progress {
	uint64_t bytes_done, bytes_total;
	unsigned layers_done, layers_total;
	unsigned waiting_s; /* so long, as the registry asks us to */
};

struct image_pull;
/* done once: an image whose layers are all unpacked (a reference of the callee's), or NULL and
 * AWS's name of the failure ("CannotPullContainerError") and words. Equal pulls are shared. By
 * digest, and unless ALWAYS, an image is found as long as anything needs it, whatever names it has
 * lost. */
struct image_pull *image_pull_start(struct images *i, const struct image_reference *r,
    enum image_pull_policy policy, const struct image_auth *auth,
    void (*done)(void *ctx, struct image *image, const char *code, const char *why), void *ctx);
void image_pull_cancel(struct image_pull *p); /* done will not be called */
void image_pull_progress(const struct image_pull *p, struct image_progress *ret);

/* ---- giving one to another registry ---- */

struct image_push;
/* Push an image that is here (by name, or with nothing but a digest) under another name. done once:
 * the manifest's digest, or NULL and a code (ImageNotFoundException, CannotPushImageError) and
 * words. Of an index whose other images are not here, this machine's image alone is pushed. auth
 * NULL: the credential file. */
struct image_push *image_push_start(struct images *i, const struct image_reference *from,
    const struct image_reference *to, const struct image_auth *auth,
    void (*done)(void *ctx, const char *digest, const char *code, const char *why), void *ctx);
void image_push_cancel(struct image_push *p); /* done will not be called */
void image_push_progress(const struct image_push *p, struct image_progress *ret);

/* Nothing is removed until as often images_collect_on() was called: for who has to find out first
 * which images it needs, and then holds them. */
void images_collect_off(struct images *i);
void images_collect_on(struct images *i);

/* ---- archives: docker save, OCI layouts, as tar, perhaps compressed ---- */

struct image_load;
/* done once: loaded is a JSON array of {"name", "digest"} for each image, with all layers unpacked
 * (the callee's), or NULL and why. on_drain (may be NULL): less waits again, write more. */
struct image_load *image_load_start(struct images *i, void (*on_drain)(void *ctx),
    void (*done)(void *ctx, json_t *loaded, const char *why), void *ctx);
#define IMAGE_LOAD_QUEUE 1048576 /* pause the source when as much waits */
/* Copies. Returns how many bytes wait. After a failure they are dropped, and done says why. */
size_t image_load_write(struct image_load *l, const void *data, size_t len);
void image_load_end(struct image_load *l);    /* there is no more; done comes */
void image_load_cancel(struct image_load *l); /* done will not be called */

/* ---- pushing to our own registry ---- */

/* One blob on its way in: a file of the store until its digest is known. */
struct image_upload;
#define IMAGE_UPLOAD_QUEUE 524288 /* pause the source when as much waits */
/* For a repository of ours (registry ""); NULL when there are too many. One that rests for 15 s
 * gives way to another then: its id means nothing any more. */
struct image_upload *image_upload_start(struct images *i, const struct image_reference *r);
const char *image_upload_id(const struct image_upload *u); /* 36 characters */
/* Of this repository, or NULL. */
struct image_upload *image_upload_find(
    struct images *i, const struct image_reference *r, struct str id);
uint64_t image_upload_size(const struct image_upload *u);
/* Is a request writing it, or is it ending? */
bool image_upload_busy(const struct image_upload *u);
/* Who writes says so, and gets on_drain while he does; NULL: no longer. */
void image_upload_hold(struct image_upload *u, void (*on_drain)(void *ctx), void *ctx);
/* Returns how many bytes wait. */
size_t image_upload_write(struct image_upload *u, const void *data, size_t len);
/* digest NULL or "": whatever it is. done gets 0 and the digest, -EBADMSG, or -errno; u is gone. */
void image_upload_end(struct image_upload *u, const char *digest,
    void (*done)(void *ctx, int result, const char *digest, uint64_t size), void *ctx);
void image_upload_abandon(struct image_upload *u);

/* Is the blob of this digest part of the repository, or just uploaded to it? Its size, or -ENOENT.
 */
int64_t image_blob_in(struct images *i, const struct image_reference *r, const char *digest);
/* Make a blob of one repository also one of another: false if it is not there. */
bool image_blob_mount(struct images *i, const struct image_reference *from,
    const struct image_reference *to, const char *digest);
/* For reading; the caller's, or -errno. */
int image_blob_open(const struct images *i, const char *digest);

enum image_put_error {
	IMAGE_PUT_OK,
	IMAGE_PUT_BROKEN,    /* not a manifest; or not what its digest says */
	IMAGE_PUT_NO_BLOB,   /* names what is not in the repository */
	IMAGE_PUT_IMMUTABLE, /* the tag means another image and must go on doing so */
	IMAGE_PUT_SAME,      /* the tag means this image already */
	IMAGE_PUT_FAILED,    /* of ours */
};
/* Keep a manifest in a repository under a tag, or (r->tag "") without one. r->digest: what its
 * digest has to be, or "". text is copied. done comes later. */
void image_put(struct images *i, const struct image_reference *r, struct str text,
    const char *media_type,
    void (*done)(void *ctx, enum image_put_error error, const char *why, const char *digest),
    void *ctx);

/* ---- repositories of our own registry; documents are the ECR service's ---- */

struct docs_change *images_change_new(struct images *i);
struct docs *images_repositories(struct images *i); /* "REALM|NAME" */
struct docs *images_tags(struct images *i);         /* "REALM|NAME:TAG": digest, at */
struct docs *images_held(struct images *i);         /* "REALM|NAME@DIGEST": at, size, mediaType */
struct docs *images_manifests(struct images *i);    /* DIGEST: mediaType, configType, bytes, refs */
/* The text of a manifest that is held, appended to ret. Small: read on the loop. 0 or -errno. */
int images_manifest_text(const struct images *i, const char *digest, struct buf *ret);
/* As part of a change: take a tag away, and with the last one the image. */
void images_release(
    struct images *i, struct docs_change *g, const char *repository, const char *tag);
/* As part of a change: take an image and all its tags away. */
void images_drop(
    struct images *i, struct docs_change *g, const char *repository, const char *digest);
/* Remove soon what nothing refers to any more. */
void images_collect_soon(struct images *i);

/* ---- what is here ---- */

/* All names, as a JSON array of {name, registry, repository, tag, digest, size, created}, our own
 * registry's too. The caller's. */
json_t *images_list(const struct images *i);
/* Give an image another name. done as below. */
void images_tag(struct images *i, const struct image_reference *from,
    const struct image_reference *to, void (*done)(void *ctx, int result), void *ctx);
/* Take a name away; what nothing needs any more is removed soon. done gets 0, -ENOENT or -errno. */
void images_remove(struct images *i, const struct image_reference *r,
    void (*done)(void *ctx, int result), void *ctx);
