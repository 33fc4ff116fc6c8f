/*
 * Pushing to a registry: is the blob there, where may it go, here it is. Blobs go whole in one PUT,
 * which every registry takes. See remote.h.
 */
#include <jansson.h>
#include <stdio.h>

#include "image/remote_int.h"

#define ANSWER_MAX 65536
#define PUSH_TRIES_MAX 3

/* ---- what went wrong, in words ---- */

/* What the registry itself says of it, or NULL; the caller's. */
static char *registry_words(const struct exchange *x)
{
	json_t *root = json_loadb(buf_str(x->text).ptr, buf_len(x->text), 0, NULL);
	const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
	const char *words = json_string_value(json_object_get(first, "message"));
	char *copy;

	if (!words || !words[0])
		words = json_string_value(json_object_get(first, "code"));
	copy = words && words[0] ? xasprintf("; it says: %.160s", words) : NULL;
	json_decref(root);
	return copy;
}

static void say_status(struct pull_failure *f, const struct exchange *x, const char *what)
{
	const struct remote *r = x->remote;
	const char *host = strstr(r->base, "://") + 3;
	_cleanup_free_ char *its = registry_words(x);
	const char *words = its ? its : "";

	switch (x->status) {
	case 401:
		if (r->username[0])
			pull_failure_set(f, PUSH_ERROR,
			    "%s does not take the credentials of %.40s%s", host, r->username,
			    words);
		else
			pull_failure_set(f, PUSH_ERROR,
			    "%s wants to know who pushes: give credentials for it in the file "
			    "docker-config.json in the server's data directory%s",
			    host, words);
		break;
	case 403:
		pull_failure_set(f, PUSH_ERROR, "%s does not allow %.40s to push to %.120s%s", host,
		    r->username[0] ? r->username : "people without credentials", r->repository,
		    words);
		break;
	case 404:
		pull_failure_set(f, PUSH_ERROR,
		    "%s does not know where to put %.120s: make the repository there first, or "
		    "check "
		    "that it is a registry%s",
		    host, r->repository, words);
		break;
	case 413:
		pull_failure_set(f, PUSH_ERROR,
		    "%s refuses %s (%" PRIu64 " bytes) as too large: whoever runs it, or the proxy "
		    "before it, must raise the limit%s",
		    host, what, x->body ? x->body->size : 0, words);
		break;
	case 429:
		pull_failure_set(
		    f, PUSH_ERROR, "%s has had too many requests: try again later%s", host, words);
		break;
	default:
		pull_failure_set(
		    f, PUSH_ERROR, "%s answered %ld for %s%s", host, x->status, what, words);
	}
}

/* ---- one request after another ---- */

static CURLcode ask(struct exchange *x, const char *method, const char *url, struct sending *body)
{
	x->method = method;
	x->body = body;
	buf_clear(x->text);
	return exchange_run(x, url);
}

/* ask() for what needs no more than one request, tried again while that may help. */
static CURLcode ask_patiently(
    struct exchange *x, const char *method, const char *url, struct sending *body)
{
	CURLcode c = CURLE_FAILED_INIT;

	for (int attempt = 0; attempt < PUSH_TRIES_MAX; attempt++) {
		if (attempt)
			exchange_pause(attempt);
		c = ask(x, method, url, body);
		if ((c == CURLE_OK && x->status / 100 == 2) || !exchange_may_pass(x, c))
			break;
	}
	return c;
}

/* The address to which a blob goes, with what we add to it. */
static int upload_url(struct exchange *x, char url[URL_MAX], const char *digest)
{
	size_t n;

	if (exchange_follow(x, url) < 0)
		return -EPROTO;
	n = strlen(url);
	if (n + IMAGE_DIGEST_SIZE + 10 > URL_MAX)
		return -EPROTO;
	snprintf(url + n, URL_MAX - n, "%cdigest=%s", strchr(url, '?') ? '&' : '?', digest);
	return 0;
}

/* An upload that broke is begun anew. */
static CURLcode upload(struct exchange *x, const struct descriptor *d, struct sending *body)
{
	CURLcode c = CURLE_FAILED_INIT;
	char url[URL_MAX];

	for (int attempt = 0; attempt < PUSH_TRIES_MAX; attempt++) {
		if (attempt)
			exchange_pause(attempt);
		snprintf(url, sizeof(url), "%s/v2/%s/blobs/uploads/", x->remote->base,
		    x->remote->repository);
		c = ask(x, "POST", url, NULL);
		if (c == CURLE_OK && x->status == 202) {
			x->error = upload_url(x, url, d->digest);
			if (x->error)
				break;
			c = ask(x, "PUT", url, body);
			if (c == CURLE_OK && x->status / 100 == 2)
				break;
		}
		if (!exchange_may_pass(x, c))
			break;
	}
	return c;
}

int remote_push_blob(struct remote *r, const struct descriptor *d, int blob_fd, const bool *cancel,
    uint64_t *sent, struct pull_failure *f)
{
	struct buf text = BUF_INIT;
	struct exchange x = {.remote = r,
	    .cancel = cancel,
	    .curl = curl_easy_init(),
	    .type = "application/octet-stream",
	    .text = &text,
	    .most = ANSWER_MAX};
	struct sending body = {.fd = blob_fd, .size = d->size, .total = sent};
	CURLcode c = CURLE_FAILED_INIT;
	char url[URL_MAX];
	int result = 0;

	snprintf(url, sizeof(url), "%s/v2/%s/blobs/%s", r->base, r->repository, d->digest);
	if (x.curl)
		c = ask_patiently(&x, "HEAD", url, NULL);
	if (c == CURLE_OK && x.status == 200) {
		__atomic_fetch_add(sent, d->size, __ATOMIC_RELAXED);
	} else {
		if (c == CURLE_OK && x.status == 404)
			c = upload(&x, d, &body);
		if (c != CURLE_OK || x.error || (x.status != 201 && x.status != 204))
			result = exchange_say(f, &x, c, d->digest, say_status);
	}
	curl_easy_cleanup(x.curl);
	buf_done(&text);
	return result;
}

int remote_push_manifest(struct remote *r, const char *reference, struct str text,
    const char *media_type, const bool *cancel, struct pull_failure *f)
{
	struct buf answer = BUF_INIT;
	struct exchange x = {.remote = r,
	    .cancel = cancel,
	    .curl = curl_easy_init(),
	    .type = media_type,
	    .text = &answer,
	    .most = ANSWER_MAX};
	struct sending body = {.fd = -1, .text = text.ptr, .size = text.len};
	char url[URL_MAX], what[160];
	CURLcode c = CURLE_FAILED_INIT;
	int result = 0;

	snprintf(url, sizeof(url), "%s/v2/%s/manifests/%s", r->base, r->repository, reference);
	snprintf(what, sizeof(what), "manifest %s", reference);
	if (x.curl)
		c = ask_patiently(&x, "PUT", url, &body);
	if (c != CURLE_OK || x.status / 100 != 2)
		result = exchange_say(f, &x, c, what, say_status);
	curl_easy_cleanup(x.curl);
	buf_done(&answer);
	return result;
}
