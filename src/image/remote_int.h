/* Inside remote.c and remote_push.c: one request to a registry, as one thread sees it. */
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
	pthread_mutex_t lock;
	char *authorization; /* header; NULL: none yet */
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
	char location[URL_MAX], media_type[MEDIA_TYPE_SIZE];
	struct challenge challenge;
	bool challenged;
	int64_t heard_ns;
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

/* The request with redirects followed, and once more with another authorization after a 401. */
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
