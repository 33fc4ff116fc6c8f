/*
 * Inside the image room.
 *
 *   reference.c  names                   images.c   opening, tables, local images, collecting
 *   manifest.c   JSON of images          image.c    one image: configuration, users
 *   remote.c     HTTP with registries    resolve.c  from a name to manifest and configuration
 *   remote_push.c  and the other way     push.c     an image to another registry
 *   challenge.c  who we are there        layer.c    one layer: fetched, kept and unpacked at once
 *   blob.c       files by digest         pull.c     all of it together
 *   thread.c     what blocks               archive.c  files of an archive
 *   upload.c     blobs pushed to us       put.c      manifests pushed to us
 *   registry.c   the distribution API
 *   names.c      who is called what        load.c     an archive: split, kept, unpacked
 */
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "docs/docs.h"
#include "image/blob.h"
#include "image/image.h"
#include "image/manifest.h"
#include "image/remote.h"

/* ---- thread.c: work that blocks for long, each on a thread of its own ---- */

struct job {
	struct list node; /* in images.jobs */
	struct loop_task task;
	struct images *images;
	pthread_t thread;
	bool cancel;                 /* set from the loop; read by the thread without a lock */
	void (*run)(struct job *j);  /* on the thread */
	void (*done)(struct job *j); /* on the loop; may free j */
};
/* False when there is no thread to be had; done is not called then. */
bool job_start(struct images *i, struct job *j);
void job_cancel(struct job *j);
void jobs_stop(struct images *i); /* give up and wait for all; done is not called */

/* ---- images.c ---- */

struct images {
	struct loop *loop;
	struct store *store;
	struct spawn *spawn;
	char *data;
	int blobs, layers; /* directories */
	char *docker_config;
	const char *const *mirrors;
	size_t mirror_count;
	const char *const *own_hosts;
	int64_t stall_s;
	/* Tables; SCOPE is the registry's host or, for our own, the realm:
	 *   names      "SCOPE|REPOSITORY:TAG"     digest, at
	 *   held       "SCOPE|REPOSITORY@DIGEST"  at, size, mediaType: keeps a manifest
	 *   manifests  "DIGEST"                   what it needs, see manifest_record()
	 *   repos      "REALM|REPOSITORY"         of our own registry; the ECR service's form */
	struct docs *names, *held, *manifests, *repos;
	struct map live; /* digest of the manifest -> struct image */
	struct list jobs;
	struct map layer_jobs; /* diff id (bytes) -> struct layer */
	struct list layer_queue;
	unsigned layers_running;
	struct list pulls; /* struct pull */
	struct loop_timer collect_timer;
	struct list uploads; /* struct image_upload */
	unsigned upload_count;
	struct map fresh; /* "REALM|NAME@DIGEST" of blobs that no manifest names yet */
	unsigned busy;    /* pulls, uploads, archives, images_collect_off(): nothing is collected */
};

/* "SCOPE|REPOSITORY" */
#define REPOSITORY_KEY_SIZE 520
void repository_key(const struct image_reference *r, char out[REPOSITORY_KEY_SIZE]);

/* The record of a manifest: mediaType, size, refs (all digests that it needs), and of an image:
 * layers (diff ids), bytes, created. */
json_t *manifest_record(const struct manifest *m, const struct config *c, size_t size);
/* What the name or digest means here, or NULL. Lives until the loop is returned to. */
const char *images_local_digest(const struct images *i, const struct image_reference *r);
/* Add to a change: this manifest is in that repository, and the tag means it. */
void images_hold(struct images *i, struct docs_change *g, const struct image_reference *r,
    const char *digest, const char *media_type, uint64_t size);
/* Make the repository of our own registry if it is not there. */
void images_repository_ensure(
    struct images *i, struct docs_change *g, const struct image_reference *r);
/* Does a tag of that repository other than but_key mean the digest? */
bool images_tagged(
    const struct images *i, const char *repository, const char *digest, const char *but_key);
/* Is the layer unpacked? */
bool images_layer_there(const struct images *i, const uint8_t diff_id[WIRE_HASH_SIZE]);

/* ---- image.c ---- */

struct image {
	unsigned refs;
	struct images *images;
	char digest[IMAGE_DIGEST_SIZE];
	struct config config;
	uint64_t bytes;
};
/* A reference to the image of this digest: the one that lives already, or a new one with *c, which
 * is taken. */
struct image *image_get(struct images *i, const char *digest, struct config *c, uint64_t bytes);

/* ---- resolve.c ---- */

struct text {
	struct buf data;
	char digest[IMAGE_DIGEST_SIZE], media_type[MEDIA_TYPE_SIZE];
};

struct resolving {
	struct job job;
	/* in */
	struct image_reference reference;
	char local[IMAGE_DIGEST_SIZE]; /* it is here already; "": ask the registry */
	struct image_auth auth;        /* owned copies; NULL: the credential file */
	int64_t *told_wait;            /* as in remote_options */
	/* out: result below 0 and failure, or all of the rest */
	int result;
	struct pull_failure failure;
	struct remote *remote;                       /* NULL: nothing to be fetched from */
	struct text top, manifest_text, config_text; /* top: an index; else empty */
	struct manifest manifest;
	struct config config;
};
void resolving_run(struct job *j);
void resolving_done(struct resolving *r); /* frees what is in it */

/* Who we are at a registry by the credential file, if auth does not say: copies. Blocks. */
void image_credentials(const struct images *i, const char *registry, struct image_auth *auth);
void image_auth_done(struct image_auth *auth); /* frees copies */
#define REGISTRY_BASE_SIZE 300
/* "https://registry-1.docker.io" for "docker.io" */
void image_registry_base(const char *host, char out[REGISTRY_BASE_SIZE]);

/* ---- layer.c ---- */

/* A layer on its way. Those who want the same one share it. */
struct layer {
	struct images *images;
	uint8_t diff_id[WIRE_HASH_SIZE];
	struct descriptor blob;
	struct list waiters; /* struct layer_waiter */
	struct list queued;  /* in images.layer_queue */
	struct shared_remote *remote;
	uint64_t bytes_done; /* written by the thread */
	struct job job;
	int pipe; /* write end; the thread's */
	bool fetched, unpacked;
	bool little_room; /* on the disk: less than a layer may have */
	bool spoiled;     /* the blob in the store was not what its name says, and is gone */
	int fetch_result, unpack_result;
	struct pull_failure failure;
	char unpack_why[256];
};

struct layer_waiter {
	struct list node; /* in layer.waiters */
	struct layer *layer;
	/* done once; f is NULL on success. */
	void (*done)(struct layer_waiter *w, const struct pull_failure *f);
};

struct shared_remote {
	unsigned refs; /* the loop's */
	struct remote *remote;
	int64_t *told_wait; /* what the remote has of it */
};
/* Both are taken. */
struct shared_remote *shared_remote_new(struct remote *r, int64_t *told_wait);
void shared_remote_unref(struct shared_remote *s); /* NULL is fine */

/* Have a layer unpacked; from its blob if that is here, else from the remote. */
void layer_want(struct images *i, struct layer_waiter *w, const uint8_t diff_id[WIRE_HASH_SIZE],
    const struct descriptor *blob, struct shared_remote *remote);
/* No longer interested; the last one stops it. Harmless when it is done. */
void layer_forget(struct layer_waiter *w);
