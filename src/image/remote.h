/*
 * The other end of a pull: one repository of a registry, asked by HTTP. Blocking: for threads of
 * their own. Several threads may use one remote. Nothing that a registry says is believed: lengths
 * and digests are checked by who receives (blob.h), redirects lose the credentials.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "image/image.h"
#include "image/manifest.h"

/* Why a pull failed: ECS's name of it, and words. */
struct pull_failure {
	char code[48];
	char text[400];
};
void pull_failure_set(struct pull_failure *f, const char *code, const char *format, ...)
    _printf_(3, 4);

#define PULL_ERROR "CannotPullContainerError"
#define PULL_MANIFEST_ERROR "CannotPullImageManifestError"
#define PULL_AUTH_ERROR "CannotPullContainerAuthError"
/* Not ECS's, which pushes nothing. */
#define PUSH_ERROR "CannotPushImageError"
#define PUSH_ABSENT "ImageNotFoundException"

struct remote;

struct remote_options {
	const char *base;       /* "https://registry-1.docker.io": scheme and host */
	const char *repository; /* "library/busybox" */
	const char *username;   /* "": none */
	const char *password;
	bool push;       /* ask for the right to push, too */
	int64_t stall_s; /* give up when nothing comes or goes for as long; 0: 30 s */
	bool hurry;      /* do not wait when told to: there is another one to ask */
	/* Set, without a lock, to the monotonic time until which the registry lets us wait.
	 * Outlives the remote; NULL: nobody wants to know. */
	int64_t *told_wait;
};
/* Everything is copied. */
struct remote *remote_new(const struct remote_options *o);
void remote_free(struct remote *r);
/* From now on, no hurry. */
void remote_take_time(struct remote *r);

/* Whether plain HTTP is spoken with a host ("127.0.0.1:5000"): loopback only. */
bool remote_is_loopback(struct str host);

/* cancel: set by another thread, without a lock, to give up. */

/* A manifest by tag or digest; its text is appended to ret, media_type: as sent. 0 or -errno and
 * f. */
int remote_manifest(struct remote *r, const char *reference, const bool *cancel, struct buf *ret,
    char media_type[MEDIA_TYPE_SIZE], struct pull_failure *f);

/* A blob of exactly d->size bytes: put() gets them in order, returns 0 or -errno to give up (and
 * that is returned then). A broken connection is taken up again where it broke. */
int remote_blob(struct remote *r, const struct descriptor *d, const bool *cancel,
    int (*put)(void *ctx, const void *data, size_t len), void *ctx, struct pull_failure *f);

/* ---- pushing: remote_push.c ---- */

/* Have the repository keep a blob, which is the file blob_fd, unless it has it. *sent is counted up
 * while it goes, by d->size in all. 0, or -errno and f. */
int remote_push_blob(struct remote *r, const struct descriptor *d, int blob_fd, const bool *cancel,
    uint64_t *sent, struct pull_failure *f);
/* A manifest, under a tag or its own digest, when all that it names is there. */
int remote_push_manifest(struct remote *r, const char *reference, struct str text,
    const char *media_type, const bool *cancel, struct pull_failure *f);

/* ---- what a registry answers to who has not said who he is ---- */

struct challenge {
	bool bearer, basic;
	char realm[512], service[256];
};
/* One value of WWW-Authenticate; false for what is neither Bearer nor Basic, or is malformed. */
bool challenge_parse(struct str value, struct challenge *ret);

/* ---- docker's credential file ---- */

/* Who we are at a registry ("docker.io", "host:port") by the text of a config.json; false if it
 * does not say. */
bool docker_credentials(
    struct str text, const char *registry, char username[256], char password[1024]);
