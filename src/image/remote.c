/*
 * HTTP with a registry by libcurl, one request at a time and thread: tokens, redirects, broken
 * connections. See remote.h.
 */
#include "image/remote_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define REDIRECTS_MAX 5
#define TOKEN_MAX 16384 /* characters */
#define CONNECT_S 15L
#define SECOND_NS INT64_C(1000000000)
#define STALL_S 30
#define HEARD_MIN 4096  /* bytes in that time; less is as good as nothing */
#define COMMIT_FACTOR 4 /* whoever has got a whole blob may have to move it before he answers */

static const char accepted[] = "Accept: " MEDIA_OCI_INDEX ", " MEDIA_OCI_MANIFEST
			       ", " MEDIA_DOCKER_LIST ", " MEDIA_DOCKER_MANIFEST;

void pull_failure_set(struct pull_failure *f, const char *code, const char *format, ...)
{
	va_list args;

	snprintf(f->code, sizeof(f->code), "%s", code);
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	/* Words of strangers: one line of what can be printed. */
	for (char *c = f->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

bool exchange_cancelled(const struct exchange *x)
{
	return __atomic_load_n(x->cancel, __ATOMIC_RELAXED);
}

/* ---- life ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
	check(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

struct remote *remote_new(const struct remote_options *o)
{
	struct remote *r = xcalloc(1, sizeof(*r));

	pthread_once(&curl_once, start_curl);
	r->base = xstrdup(o->base);
	r->repository = xstrdup(o->repository);
	r->username = xstrdup(o->username ? o->username : "");
	r->password = xstrdup(o->password ? o->password : "");
	r->push = o->push;
	r->hurry = o->hurry;
	r->told_wait = o->told_wait;
	r->stall_ns = (o->stall_s ? o->stall_s : STALL_S) * SECOND_NS;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void remote_free(struct remote *r)
{
	if (!r)
		return;
	explicit_bzero(r->password, strlen(r->password));
	if (r->authorization)
		explicit_bzero(r->authorization, strlen(r->authorization));
	free(r->base);
	free(r->repository);
	free(r->username);
	free(r->password);
	free(r->authorization);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool remote_is_loopback(struct str host)
{
	struct str name = host;
	const char *colon;

	if (str_has_prefix(host, "[::1]"))
		return host.len == 5 || host.ptr[5] == ':';
	colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;
	if (colon)
		name.len = (size_t)(colon - host.ptr);
	if (str_is(name, "localhost") || str_has_suffix(name, ".localhost"))
		return true;
	if (!str_has_prefix(name, "127."))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((name.ptr[i] < '0' || name.ptr[i] > '9') && name.ptr[i] != '.')
			return false;
	return true;
}

/* ---- callbacks of curl ---- */

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	struct str line = {data, size * count}, name = str_cut(&line, ':');

	if (!line.ptr)
		return size * count;
	while (line.len && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	line = str_trim(line);
	if (str_eq_nocase(name, STR("location")) && line.len < sizeof(x->location))
		snprintf(x->location, sizeof(x->location), "%.*s", STR_FMT(line));
	if (str_eq_nocase(name, STR("content-type"))) {
		struct str type = str_trim(str_cut(&line, ';'));

		if (type.len < sizeof(x->media_type))
			snprintf(x->media_type, sizeof(x->media_type), "%.*s", STR_FMT(type));
	}
	/* Bearer is the better one where both are offered. */
	if (str_eq_nocase(name, STR("www-authenticate")) && !(x->challenged && x->challenge.bearer))
		x->challenged |= challenge_parse(line, &x->challenge);
	return size * count;
}

/* A registry that drips must not hold a thread. */
static void heard(struct exchange *x, uint64_t bytes, int64_t since_ns)
{
	int64_t now = now_ns();

	x->heard_ns += now - since_ns;
	x->heard_bytes += bytes;
	if (x->heard_bytes < HEARD_MIN)
		return;
	x->heard_bytes = 0;
	x->heard_ns = now;
}

static size_t take_text(struct exchange *x, const char *data, size_t len)
{
	if (buf_len(x->text) + len > x->most) {
		x->error = -EFBIG;
		return 0;
	}
	buf_append(x->text, data, len);
	return len;
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	size_t len = size * count, whole = len;
	int64_t since = now_ns();

	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
	if (x->put && (x->status == 200 || x->status == 206)) {
		/* 200 to a question for a part: all again from the start. */
		size_t had = x->status == 200 ? (size_t)min_size(len, x->skip) : 0;

		x->skip -= had;
		data += had;
		len -= had;
		if (len > x->left)
			x->error = -EMSGSIZE;
		else if (len)
			x->error = x->put(x->ctx, data, len);
		if (x->error)
			return 0;
		x->left -= len;
	} else if (x->text && !x->put) {
		whole = take_text(x, data, len);
	}
	heard(x, size * count, since);
	return whole;
}

static size_t on_send(char *out, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	struct sending *b = x->body;
	size_t len = min_size(size * count, b->size - b->at);
	int64_t since = now_ns();
	ssize_t n = (ssize_t)len;

	if (b->fd >= 0)
		n = pread(b->fd, out, len, (off_t)b->at);
	else
		memcpy(out, b->text + b->at, len);
	if (n < 0 || (n == 0 && len)) {
		x->error = n < 0 ? -errno : -EIO;
		return CURL_READFUNC_ABORT;
	}
	b->at += (uint64_t)n;
	if (b->total)
		__atomic_fetch_add(b->total, (uint64_t)n, __ATOMIC_RELAXED);
	heard(x, (uint64_t)n, since);
	return (size_t)n;
}

static void send_from(struct sending *b, uint64_t at)
{
	if (b->total)
		__atomic_fetch_add(b->total, at - b->at, __ATOMIC_RELAXED);
	b->at = at;
}

static int on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct exchange *x = ctx;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->body->size)
		return CURL_SEEKFUNC_FAIL;
	send_from(x->body, (uint64_t)offset);
	return CURL_SEEKFUNC_OK;
}

static bool sent_all(const struct exchange *x)
{
	return x->body && x->body->at == x->body->size;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct exchange *x = ctx;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	x->stalled =
	    now_ns() - x->heard_ns > (sent_all(x) ? COMMIT_FACTOR : 1) * x->remote->stall_ns;
	return x->stalled || exchange_cancelled(x);
}

/* ---- one request ---- */

static void set_method(const struct exchange *x)
{
	CURL *c = x->curl;

	if (x->body) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->body->size);
		curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(c, CURLOPT_READDATA, x);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
	} else if (x->method && strcmp(x->method, "HEAD") == 0) {
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	} else if (x->method) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, 0L);
	}
}

static void set_options(struct exchange *x, const char *url, struct curl_slist *headers)
{
	CURL *c = x->curl;
	char range[32];

	curl_easy_reset(c); /* keeps the connection */
	set_method(x);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NETRC, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 512L * 1024);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "mayfly/" MAYFLY_VERSION);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
	/* Not RESUME_FROM: that fails where a server sends all again, which is as good. */
	snprintf(range, sizeof(range), "%" PRIu64 "-", x->skip);
	curl_easy_setopt(c, CURLOPT_RANGE, x->put && x->skip ? range : NULL);
}

/* Once. curl's verdict; x->status says the rest. */
static CURLcode perform(struct exchange *x, const char *url, const char *authorization)
{
	struct curl_slist *headers = NULL;
	curl_off_t after = 0;
	CURLcode r;

	x->status = 0;
	x->location[0] = x->media_type[0] = '\0';
	x->challenged = false;
	x->challenge = (struct challenge){0};
	x->retry_after_s = 0;
	x->heard_ns = now_ns();
	x->heard_bytes = HEARD_MIN; /* the first byte counts */
	if (x->body) {
		_cleanup_free_ char *type = xasprintf("Content-Type: %s", x->type);

		send_from(x->body, 0);
		headers = curl_slist_append(headers, type);
	}
	if (!x->put && !x->method)
		headers = curl_slist_append(headers, accepted);
	if (authorization)
		headers = curl_slist_append(headers, authorization);
	set_options(x, url, headers);
	r = curl_easy_perform(x->curl);
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
	/* Negative: a date that has passed. */
	if (curl_easy_getinfo(x->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
		x->retry_after_s = after;
	curl_slist_free_all(headers);
	return r;
}

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int exchange_follow(const struct exchange *x, char url[URL_MAX])
{
	bool tls = strncmp(url, "https://", 8) == 0;
	char *text = NULL;
	CURLU *u = curl_url();
	int r = -EPROTO;

	if (u && curl_url_set(u, CURLUPART_URL, url, 0) == 0 && x->location[0] &&
	    curl_url_set(u, CURLUPART_URL, x->location, 0) == 0 &&
	    curl_url_get(u, CURLUPART_URL, &text, 0) == 0 && strlen(text) < URL_MAX &&
	    (strncmp(text, "https://", 8) == 0 || (!tls && strncmp(text, "http://", 7) == 0))) {
		memcpy(url, text, strlen(text) + 1);
		r = 0;
	}
	curl_free(text);
	curl_url_cleanup(u);
	return r;
}

static bool same_origin(const char *a, const char *b)
{
	const char *ha = strstr(a, "://"), *hb = strstr(b, "://");
	size_t na = ha ? (size_t)(ha - a) + 3 + strcspn(ha + 3, "/?#") : 0;
	size_t nb = hb ? (size_t)(hb - b) + 3 + strcspn(hb + 3, "/?#") : 0;

	return na && na == nb && strncasecmp(a, b, na) == 0;
}

/* Redirects are followed; the credentials stay with the host that they are for. */
static CURLcode run_following(struct exchange *x, const char *first, const char *authorization)
{
	char url[URL_MAX];
	CURLcode r;

	snprintf(url, sizeof(url), "%s", first);
	for (int i = 0; i <= REDIRECTS_MAX; i++) {
		r = perform(x, url, same_origin(first, url) ? authorization : NULL);
		if (r != CURLE_OK || !is_redirect(x->status))
			return r;
		if (x->text)
			buf_clear(x->text);
		if (exchange_follow(x, url) < 0)
			break;
	}
	x->error = -ELOOP;
	return CURLE_TOO_MANY_REDIRECTS;
}

/* Again, when it is time for it. */
static CURLcode run_patiently(struct exchange *x, const char *url, const char *authorization)
{
	CURLcode r = CURLE_ABORTED_BY_CALLBACK;

	for (int attempt = 0; exchange_hold(x); attempt++) {
		r = run_following(x, url, authorization);
		if (r != CURLE_OK || !exchange_will_wait(x, attempt))
			break;
		if (x->text)
			buf_clear(x->text);
	}
	return r;
}

/* ---- who we are ---- */

static char *basic_header(const struct remote *r)
{
	_cleanup_free_ char *pair = xasprintf("%s:%s", r->username, r->password);
	_cleanup_free_ char *coded = xmalloc(BASE64_ENCODED_SIZE(strlen(pair)));

	base64_encode(pair, strlen(pair), coded);
	return xasprintf("Authorization: Basic %s", coded);
}

static char *token_of(struct str text)
{
	json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	char *header = NULL;

	if (!token || !token[0])
		token = json_string_value(json_object_get(root, "access_token"));
	if (token && token[0] && strlen(token) <= TOKEN_MAX && !strpbrk(token, "\r\n"))
		header = xasprintf("Authorization: Bearer %s", token);
	json_decref(root);
	return header;
}

/* Tokens are asked for over TLS, or where the registry itself speaks without. */
static bool realm_allowed(const struct remote *r, const char *realm)
{
	if (strncmp(realm, "https://", 8) == 0)
		return true;
	return strncmp(realm, "http://", 7) == 0 && strncmp(r->base, "http://", 7) == 0;
}

/* NULL: none; what the registry said instead if it asked to wait. */
static char *fetch_token(struct exchange *asked)
{
	struct remote *r = asked->remote;
	const struct challenge *c = &asked->challenge;
	struct buf text = BUF_INIT;
	struct exchange x = {.remote = r,
	    .cancel = asked->cancel,
	    .curl = curl_easy_init(),
	    .text = &text,
	    .most = 65536};
	_cleanup_free_ char *basic = r->username[0] ? basic_header(r) : NULL;
	_cleanup_free_ char *service = xmalloc(3 * strlen(c->service) + 1), *url = NULL;
	char *header = NULL;

	url_encode(str_from(c->service), false, service);
	url = xasprintf("%s%cservice=%s&scope=repository:%s:%s", c->realm,
	    strchr(c->realm, '?') ? '&' : '?', service, r->repository,
	    r->push ? "pull,push" : "pull");
	if (x.curl && strlen(url) < URL_MAX && realm_allowed(r, c->realm) &&
	    run_patiently(&x, url, basic) == CURLE_OK && x.status == 200)
		header = token_of(buf_str(&text));
	if (!header && (x.status == 429 || x.status == 503)) {
		asked->status = x.status;
		asked->retry_after_s = x.retry_after_s;
	}
	curl_easy_cleanup(x.curl);
	buf_done(&text);
	return header;
}

static char *current_authorization(struct remote *r)
{
	char *copy;

	pthread_mutex_lock(&r->lock);
	copy = r->authorization ? xstrdup(r->authorization) : NULL;
	pthread_mutex_unlock(&r->lock);
	return copy;
}

/* After a 401: another header to try, or NULL. used: what was refused, or NULL. */
static char *authorize(struct exchange *x, const char *used)
{
	struct remote *r = x->remote;
	char *header = NULL, *now = current_authorization(r);

	if (now && (!used || strcmp(now, used) != 0))
		return now; /* another thread was quicker */
	free(now);
	if (!x->challenged)
		return NULL;
	if (x->challenge.bearer)
		header = fetch_token(x);
	else if (r->username[0] && !used)
		header = basic_header(r);
	if (!header)
		return NULL;
	pthread_mutex_lock(&r->lock);
	free(r->authorization);
	r->authorization = xstrdup(header);
	pthread_mutex_unlock(&r->lock);
	return header;
}

CURLcode exchange_run(struct exchange *x, const char *url)
{
	/* An upload may be told to go to another host, which the credentials are not for. */
	bool ours = same_origin(x->remote->base, url);
	_cleanup_free_ char *header = ours ? current_authorization(x->remote) : NULL;
	CURLcode r = run_patiently(x, url, header);
	char *another;

	if (r != CURLE_OK || x->status != 401 || !ours)
		return r;
	another = authorize(x, header);
	if (!another)
		return r;
	free(header);
	header = another;
	if (x->text)
		buf_clear(x->text);
	return run_patiently(x, url, header);
}

/* ---- what went wrong, in words ---- */

static bool say_failed(
    struct pull_failure *f, const struct exchange *x, CURLcode r, const char *what)
{
	const char *code = x->remote->push ? PUSH_ERROR : PULL_ERROR;
	const char *host = strstr(x->remote->base, "://") + 3;

	if (x->error == -EMSGSIZE || x->error == -EFBIG)
		pull_failure_set(f, code, "%s sent more of %s than it may", host, what);
	else if (x->error == -ELOOP || x->error == -EPROTO)
		pull_failure_set(f, code,
		    "%s does not say where to go for %s, or sends us in circles, or from TLS to "
		    "plain text",
		    host, what);
	else if (x->error && x->body)
		pull_failure_set(
		    f, code, "reading %s from the store: %s", what, strerror(-x->error));
	else if (r == CURLE_COULDNT_CONNECT)
		pull_failure_set(f, code,
		    "nobody answers at %s: does the registry run, and is the name right?", host);
	else if (r == CURLE_COULDNT_RESOLVE_HOST)
		pull_failure_set(f, code, "there is no host %s: is the name right?", host);
	else if (r != CURLE_OK)
		pull_failure_set(f, code, "%s: %s (%s)", host, curl_easy_strerror(r), what);
	else
		return false;
	return true;
}

int exchange_say(struct pull_failure *f, const struct exchange *x, CURLcode r, const char *what,
    void (*say_status)(struct pull_failure *f, const struct exchange *x, const char *what))
{
	const struct remote *to = x->remote;
	const char *host = strstr(to->base, "://") + 3;

	if (exchange_cancelled(x)) {
		pull_failure_set(f, to->push ? PUSH_ERROR : PULL_ERROR, "the %s was given up",
		    to->push ? "push" : "pull");
		return -ECANCELED;
	}
	if (x->stalled) {
		pull_failure_set(f, to->push ? PUSH_ERROR : PULL_ERROR,
		    to->push ? "%s does not go on: nothing was sent or taken for %" PRId64
			       " s and more (%s)"
			     : "%s sent next to nothing for %" PRId64 " s (%s)",
		    host, to->stall_ns / SECOND_NS, what);
		return -ETIMEDOUT;
	}
	if (!say_failed(f, x, r, what) && !exchange_say_full(f, x, what))
		say_status(f, x, what);
	return x->error ? x->error : -EIO;
}

static void say_status(struct pull_failure *f, const struct exchange *x, const char *what)
{
	const char *host = strstr(x->remote->base, "://") + 3;

	if (x->status == 401 || x->status == 403)
		pull_failure_set(f, PULL_AUTH_ERROR,
		    "pull access denied for %s at %s, or it does not exist: check the credentials",
		    x->remote->repository, host);
	else if (x->status == 404)
		pull_failure_set(
		    f, PULL_ERROR, "%s/%s: %s not found", host, x->remote->repository, what);
	else
		pull_failure_set(f, PULL_ERROR, "%s answered %ld for %s", host, x->status, what);
}

/* ---- manifests and blobs ---- */

int remote_manifest(struct remote *r, const char *reference, const bool *cancel, struct buf *ret,
    char media_type[MEDIA_TYPE_SIZE], struct pull_failure *f)
{
	struct exchange x = {.remote = r,
	    .cancel = cancel,
	    .curl = curl_easy_init(),
	    .text = ret,
	    .most = MANIFEST_MAX};
	char url[URL_MAX], what[160];
	CURLcode c = CURLE_FAILED_INIT;
	int result = 0;

	snprintf(url, sizeof(url), "%s/v2/%s/manifests/%s", r->base, r->repository, reference);
	snprintf(what, sizeof(what), "manifest %s", reference);
	if (x.curl)
		c = exchange_run(&x, url);
	if (c != CURLE_OK || x.status != 200)
		result = exchange_say(f, &x, c, what, say_status);
	/* Nothing but a wrong login is about more than this manifest. */
	if (result < 0 && x.status && strcmp(f->code, PULL_AUTH_ERROR) != 0)
		snprintf(f->code, sizeof(f->code), PULL_MANIFEST_ERROR);
	memcpy(media_type, x.media_type, MEDIA_TYPE_SIZE);
	curl_easy_cleanup(x.curl);
	return result;
}

bool exchange_may_pass(const struct exchange *x, CURLcode r)
{
	if (x->error || x->stalled || exchange_cancelled(x))
		return false;
	/* Who asks us to wait was waited for. */
	if (r == CURLE_OK)
		return (x->status >= 500 && !x->retry_after_s) || x->status == 200 ||
		       x->status == 206;
	return r == CURLE_PARTIAL_FILE || r == CURLE_RECV_ERROR || r == CURLE_SEND_ERROR ||
	       r == CURLE_GOT_NOTHING || r == CURLE_COULDNT_CONNECT;
}

void exchange_pause(int attempt)
{
	const struct timespec t = {attempt > 3 ? 2 : 0, attempt > 3 ? 0 : attempt * 250000000L};

	nanosleep(&t, NULL);
}

int remote_blob(struct remote *r, const struct descriptor *d, const bool *cancel,
    int (*put)(void *ctx, const void *data, size_t len), void *ctx, struct pull_failure *f)
{
	struct exchange x = {.remote = r,
	    .cancel = cancel,
	    .curl = curl_easy_init(),
	    .put = put,
	    .ctx = ctx,
	    .left = d->size};
	char url[URL_MAX];
	CURLcode c = CURLE_FAILED_INIT;
	int result = 0;

	snprintf(url, sizeof(url), "%s/v2/%s/blobs/%s", r->base, r->repository, d->digest);
	for (int attempt = 0; x.curl && attempt < TRIES_MAX; attempt++) {
		if (attempt)
			exchange_pause(attempt);
		x.skip = d->size - x.left;
		c = exchange_run(&x, url);
		if (c == CURLE_OK && (x.status == 200 || x.status == 206) && !x.left)
			break;
		if (!exchange_may_pass(&x, c))
			break;
	}
	if (c == CURLE_OK && (x.status == 200 || x.status == 206) && x.left && !x.error) {
		pull_failure_set(f, PULL_ERROR,
		    "%s: %s has %" PRIu64 " bytes less than the manifest says",
		    strstr(r->base, "://") + 3, d->digest, x.left);
		result = -EPROTO;
	} else if (c != CURLE_OK || (x.status != 200 && x.status != 206)) {
		result = exchange_say(f, &x, c, d->digest, say_status);
	}
	curl_easy_cleanup(x.curl);
	return result;
}
