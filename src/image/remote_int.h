/* Inside remote.c, remote_wait.c and remote_push.c: one request to a registry, as one thread sees
 * it. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>

#include "image/remote.h"

#define URL_MAX 4096
#define TRIES_MAX 5 /* of a blob that is pulled, each of which has brought something */

struct remote {
	char *base, *repository, *username, *password;
	bool push;
	int64_t stall_ns;
	int64_t *told_wait; /* see remote_options */
	pthread_mutex_t lock;
	/* under the lock */
	char *authorization; /* header; NULL: none yet */
	bool hurry;
	int64_t resume_ns, waited_ns; /* nobody asks before; how much was waited for that in all */
};

/* The body of a request, from a file or from memory; sent again from the start if need be. */
struct sending {
	int fd; /* -1: text */
	const char *text;
	uint64_t size, at;
	uint64_t *total; /* what is sent of all bodies: grows and shrinks with `at`; may be NULL */
};

/* One request and what came of it. */
struct exchange {
	struct remote *remote;
	const bool *cancel;
	CURL *curl;
	const char *method; /* NULL: GET. HEAD, POST (without a body), PUT */
	struct sending *body;
	const char *type; /* of the body */
	long status;
	int64_t retry_after_s; /* that the answer asks for; 0: it does not say */
	char location[URL_MAX], media_type[MEDIA_TYPE_SIZE];
	struct challenge challenge;
	bool challenged;
	int64_t heard_ns; /* when enough had come since the time before; our own time left out */
	uint64_t heard_bytes; /* since then */
	bool stalled;
	/* the answer's body */
	struct buf *text; /* of answers that are kept, up to `most` bytes */
	size_t most;
	int (*put)(void *ctx, const void *data, size_t len);
	void *ctx;
	uint64_t skip; /* bytes at the start that put() had before */
	uint64_t left; /* bytes that put() may still get */
	int error;     /* of put(), or our own */
};

/* The request with redirects followed, again after the wait that the registry asks for, and once
 * more with another authorization after a 401. */
CURLcode exchange_run(struct exchange *x, const char *url);
/* Where the answer sends us, with url as what it is relative to. Never from TLS to plain text. */
int exchange_follow(const struct exchange *x, char url[URL_MAX]);
/* Worth another try: the connection broke, or the registry has a bad moment. */
bool exchange_may_pass(const struct exchange *x, CURLcode r);
/* What went wrong with the request for `what`, in f; an answer with a status that is no success is
 * left to say_status(). Negative errno. */
int exchange_say(struct pull_failure *f, const struct exchange *x, CURLcode r, const char *what,
    void (*say_status)(struct pull_failure *f, const struct exchange *x, const char *what));
bool exchange_cancelled(const struct exchange *x);
void exchange_pause(int attempt);

/* ---- remote_wait.c ---- */

/* Until the registry may be asked again. False: the job was given up. */
bool exchange_hold(const struct exchange *x);
/* Does the answer ask to wait, and is there patience left? Then exchange_hold() waits for as long.
 */
bool exchange_will_wait(struct exchange *x, int attempt);
/* Was that the answer to the last attempt? In f then. */
bool exchange_say_full(struct pull_failure *f, const struct exchange *x, const char *what);
