/* Routes, manifests and lists of the distribution API. See registry.h. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "image/registry_int.h"

#define PAGE_MAX 1000
#define KEY_SIZE 330

struct registry_options registry;

void registry_open(const struct registry_options *o)
{
	registry = *o;
}

/* ---- answers ---- */

void registry_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t count, struct str body)
{
	struct http_header all[8] = {{STR("Docker-Distribution-Api-Version"), STR("registry/2.0")}};

	check(count < ARRAY_SIZE(all));
	memcpy(all + 1, headers, count * sizeof(*headers));
	if (r->user) {
		free(r->user);
		r->user = NULL;
	}
	http_reply(r, status, all, count + 1, body);
}

void registry_fail(struct http_request *r, unsigned status, const char *code, const char *why)
{
	const struct http_header headers[] = {{STR("Content-Type"), STR("application/json")},
	    {STR("WWW-Authenticate"), STR("Basic realm=\"mayfly\"")}};
	struct buf b = BUF_INIT;

	buf_printf(&b, "{\"errors\":[{\"code\":\"%s\",\"message\":", code);
	buf_json_string(&b, str_from(why));
	buf_puts(&b, ",\"detail\":null}]}\n");
	registry_reply(r, status, headers, status == 401 ? 2 : 1, buf_str(&b));
	buf_done(&b);
}

struct http_header registry_header(
    struct http_request *r, const char *name, const char *format, ...)
{
	char *value = arena_alloc(r->arena, 1024);
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(value, 1024, format, args);
	va_end(args);
	return (struct http_header){
	    str_from(name), {value, min_size((size_t)(n > 0 ? n : 0), 1023)}};
}

static void reply_json(struct http_request *r, json_t *root, const struct http_header *link)
{
	struct http_header headers[2] = {{STR("Content-Type"), STR("application/json")}};
	char *text = json_dumps(root, JSON_COMPACT);

	if (link)
		headers[1] = *link;
	registry_reply(r, 200, headers, link ? 2 : 1, str_from(text));
	free(text);
	json_decref(root);
}

const char *registry_parameter(const struct http_request *r, const char *name)
{
	struct str rest = r->query;

	while (rest.ptr) {
		struct str value = str_cut(&rest, '&'), key = str_cut(&value, '=');
		char *out;
		ssize_t n;

		if (!str_is(key, name) || !value.ptr)
			continue;
		out = arena_alloc(r->arena, value.len + 1);
		n = url_decode(value, false, out);
		if (n < 0 || memchr(out, '\0', (size_t)n))
			return NULL;
		out[n] = '\0';
		return out;
	}
	return NULL;
}

void registry_key(const struct image_reference *n, char out[KEY_SIZE])
{
	snprintf(out, KEY_SIZE, "%s|%s", n->realm, n->repository);
}

bool registry_repository_there(const struct image_reference *n)
{
	char key[KEY_SIZE];

	registry_key(n, key);
	return docs_get(images_repositories(registry.images), key) != NULL;
}

static void name_unknown(struct http_request *r)
{
	registry_fail(r, 404, "NAME_UNKNOWN", "repository name not known to registry");
}

/* ---- lists ---- */

struct listing {
	const char *prefix;
	json_t *list;
	size_t most;
	bool more;
};

static bool add_rest(void *ctx, const char *key, const json_t *doc)
{
	struct listing *l = ctx;

	(void)doc;
	l->more = json_array_size(l->list) == l->most;
	if (!l->more)
		json_array_append_new(l->list, json_string(key + strlen(l->prefix)));
	return !l->more;
}

/* What is behind `prefix` in the keys of a table, from behind `last` on. */
static void list(struct registry_request *q, const struct docs *d, const char *prefix,
    const char *member, const char *path, bool named)
{
	const char *n = registry_parameter(q->r, "n"), *last = registry_parameter(q->r, "last");
	struct listing l = {.prefix = prefix, .list = json_array(), .most = PAGE_MAX};
	_cleanup_free_ char *from =
	    xasprintf("%s%s%s", prefix, last ? last : "", last ? "\x01" : "");
	struct http_header link;
	int64_t most;
	json_t *root;

	if (n && str_to_int64(str_from(n), 0, PAGE_MAX, &most))
		l.most = (size_t)most;
	docs_walk(d, prefix, from, add_rest, &l);
	if (l.more && l.most)
		link = registry_header(q->r, "Link", "<%s?n=%zu&last=%s>; rel=\"next\"", path,
		    l.most, json_string_value(json_array_get(l.list, l.most - 1)));
	root = json_pack("{s:o}", member, l.list);
	if (named)
		json_object_set_new(root, "name", json_string(q->name.repository));
	reply_json(q->r, root, l.more && l.most ? &link : NULL);
}

static void tags(struct registry_request *q)
{
	char prefix[KEY_SIZE + 1], path[400];

	if (!registry_repository_there(&q->name)) {
		name_unknown(q->r);
		return;
	}
	registry_key(&q->name, prefix);
	strcat(prefix, ":");
	snprintf(path, sizeof(path), "/v2/%s/tags/list", q->name.repository);
	list(q, images_tags(registry.images), prefix, "tags", path, true);
}

static void catalog(struct registry_request *q)
{
	char prefix[80];

	snprintf(prefix, sizeof(prefix), "%s|", q->name.realm);
	list(
	    q, images_repositories(registry.images), prefix, "repositories", "/v2/_catalog", false);
}

/* ---- referrers ---- */

struct referring {
	const char *digest;
	json_t *list;
};

static bool add_referrer(void *ctx, const char *key, const json_t *doc)
{
	struct referring *f = ctx;
	const char *digest = strrchr(key, '@') + 1;
	const json_t *record = docs_get(images_manifests(registry.images), digest);
	const char *subject = record ? docs_str(record, "subject") : NULL;

	if (subject && strcmp(subject, f->digest) == 0)
		json_array_append_new(f->list,
		    json_pack("{s:s,s:s,s:I,s:s*}", "mediaType", docs_str(doc, "mediaType"),
			"digest", digest, "size", (json_int_t)docs_int(doc, "size"), "artifactType",
			docs_str(record, "configType")));
	return true;
}

static void referrers(struct registry_request *q)
{
	struct referring f = {.digest = q->last, .list = json_array()};
	const struct http_header type = {STR("Content-Type"), STR(MEDIA_OCI_INDEX)};
	char prefix[KEY_SIZE + 1], *text;
	json_t *root;

	registry_key(&q->name, prefix);
	strcat(prefix, "@");
	docs_walk(images_held(registry.images), prefix, prefix, add_referrer, &f);
	root = json_pack(
	    "{s:i,s:s,s:o}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX, "manifests", f.list);
	text = json_dumps(root, JSON_COMPACT);
	registry_reply(q->r, 200, &type, 1, str_from(text));
	free(text);
	json_decref(root);
}

/* ---- manifests ---- */

static const char *manifest_digest(const struct image_reference *n)
{
	char key[KEY_SIZE + 140];
	const json_t *doc;

	registry_key(n, key);
	if (n->digest[0]) {
		snprintf(key + strlen(key), 140, "@%s", n->digest);
		return docs_get(images_held(registry.images), key) ? n->digest : NULL;
	}
	snprintf(key + strlen(key), 140, ":%s", n->tag);
	doc = docs_get(images_tags(registry.images), key);
	return doc ? docs_str(doc, "digest") : NULL;
}

static void get_manifest(struct registry_request *q)
{
	const char *digest = manifest_digest(&q->name);
	const json_t *record = digest ? docs_get(images_manifests(registry.images), digest) : NULL;
	struct http_header headers[3];
	struct buf text = BUF_INIT;

	if (!record) {
		registry_fail(q->r, 404, "MANIFEST_UNKNOWN", "manifest unknown");
		return;
	}
	if (images_manifest_text(registry.images, digest, &text) < 0) {
		registry_fail(q->r, 500, "UNKNOWN", "the manifest cannot be read");
		return;
	}
	headers[0] = registry_header(q->r, "Content-Type", "%s", docs_str(record, "mediaType"));
	headers[1] = registry_header(q->r, "Docker-Content-Digest", "%s", digest);
	headers[2] = registry_header(q->r, "ETag", "\"%s\"", digest);
	registry_reply(q->r, 200, headers, 3, buf_str(&text));
	buf_done(&text);
}

static void on_put(void *ctx, enum image_put_error error, const char *why, const char *digest)
{
	struct registry_request *q = ctx;
	struct http_request *r = q->r;
	struct http_header headers[2];

	if (!r) {
		free(q);
		return;
	}
	switch (error) {
	case IMAGE_PUT_OK:
	case IMAGE_PUT_SAME:
		headers[0] = registry_header(
		    r, "Location", "/v2/%s/manifests/%s", q->name.repository, digest);
		headers[1] = registry_header(r, "Docker-Content-Digest", "%s", digest);
		registry_reply(r, 201, headers, 2, STR(""));
		return;
	case IMAGE_PUT_BROKEN: registry_fail(r, 400, "MANIFEST_INVALID", why); return;
	case IMAGE_PUT_NO_BLOB: registry_fail(r, 400, "MANIFEST_BLOB_UNKNOWN", why); return;
	case IMAGE_PUT_IMMUTABLE: registry_fail(r, 400, "TAG_INVALID", why); return;
	case IMAGE_PUT_FAILED: registry_fail(r, 500, "UNKNOWN", why); return;
	}
}

static void put_manifest(struct registry_request *q)
{
	char type[MEDIA_TYPE_SIZE];
	struct str t = http_header(q->r, "content-type");

	snprintf(
	    type, sizeof(type), "%.*s", (int)min_size(t.len, sizeof(type) - 1), t.ptr ? t.ptr : "");
	image_put(registry.images, &q->name, buf_str(&q->r->body), type, on_put, q);
}

static void on_deleted(void *ctx, int result)
{
	struct registry_request *q = ctx;

	if (!q->r)
		free(q);
	else if (result < 0)
		registry_fail(q->r, 500, "UNKNOWN", strerror(-result));
	else
		registry_reply(q->r, 202, NULL, 0, STR(""));
}

static void delete_manifest(struct registry_request *q)
{
	const char *digest = manifest_digest(&q->name);
	struct docs_change *g;
	char key[KEY_SIZE];

	if (!digest) {
		registry_fail(q->r, 404, "MANIFEST_UNKNOWN", "manifest unknown");
		return;
	}
	registry_key(&q->name, key);
	g = images_change_new(registry.images);
	if (q->name.tag[0])
		images_release(registry.images, g, key, q->name.tag);
	else
		images_drop(registry.images, g, key, digest);
	images_collect_soon(registry.images);
	docs_commit(g, on_deleted, q);
}

/* ---- routes ---- */

/* What is signed as AWS has it is for an API that has such paths too. */
bool registry_is_path(const struct http_request *r)
{
	if (str_has_prefix(http_header(r, "authorization"), "AWS4-"))
		return false;
	return str_is(r->path, "/v2") || str_has_prefix(r->path, "/v2/");
}

/* Cut "/word/rest" off the end of s, where rest has no slash; ret: rest. */
static bool cut_end(struct str *s, const char *word, struct str *ret)
{
	const char *slash = s->len ? memrchr(s->ptr, '/', s->len) : NULL;
	size_t n = strlen(word), at = slash ? (size_t)(slash - s->ptr) : 0;

	if (at <= n || memcmp(slash - n, word, n) != 0)
		return false;
	*ret = str_sub(*s, at + 1);
	s->len = at - n;
	return true;
}

/* 0, or the status of a refusal with its code. */
static unsigned route(struct registry_request *q, const char **code)
{
	struct str path = str_sub(q->r->path, 4), last = STR_NULL;

	*code = "NAME_INVALID";
	if (!path.len) {
		q->what = REGISTRY_BASE;
		return 0;
	}
	if (str_is(path, "_catalog")) {
		q->what = REGISTRY_CATALOG;
		return 0;
	}
	if (cut_end(&path, "/blobs/uploads", &last))
		q->what = last.len ? REGISTRY_UPLOAD : REGISTRY_UPLOADS;
	else if (cut_end(&path, "/tags", &last) && str_is(last, "list"))
		q->what = REGISTRY_TAGS;
	else if (cut_end(&path, "/manifests", &last))
		q->what = REGISTRY_MANIFEST;
	else if (cut_end(&path, "/blobs", &last))
		q->what = REGISTRY_BLOB;
	else if (cut_end(&path, "/referrers", &last))
		q->what = REGISTRY_REFERRERS;
	else
		return 404;
	if (!image_name_ok(path))
		return 400;
	snprintf(q->name.repository, sizeof(q->name.repository), "%.*s", STR_FMT(path));
	if (last.len >= sizeof(q->last))
		return 400;
	snprintf(q->last, sizeof(q->last), "%.*s", STR_FMT(last));
	*code = "DIGEST_INVALID";
	if ((q->what == REGISTRY_BLOB || q->what == REGISTRY_REFERRERS) && !image_digest_ok(last))
		return 400;
	*code = "TAG_INVALID";
	if (q->what != REGISTRY_MANIFEST)
		return 0;
	if (image_digest_ok(last))
		snprintf(q->name.digest, sizeof(q->name.digest), "%.*s", STR_FMT(last));
	else if (image_tag_ok(last))
		snprintf(q->name.tag, sizeof(q->name.tag), "%.*s", STR_FMT(last));
	else
		return 400;
	return 0;
}

static bool authorized(const struct http_request *r)
{
	struct str given = http_header(r, "authorization"), name, rest = {"", 0};
	bool basic = given.len > 6 && str_eq_nocase((struct str){given.ptr, 6}, STR("basic "));
	char *text = arena_alloc(r->arena, given.len + 1);
	ssize_t n;

	if (!given.len && registry_parameter(r, "token")) /* GetDownloadUrlForLayer */
		return registry.allowed(
		    registry.ctx, STR("AWS"), str_from(registry_parameter(r, "token")));
	if (!given.len)
		return registry.allowed(registry.ctx, STR(""), STR(""));
	n = basic ? base64_decode(str_trim(str_sub(given, 6)), text) : -1;
	if (n < 0)
		return false;
	rest = (struct str){text, (size_t)n};
	name = str_cut(&rest, ':');
	return registry.allowed(registry.ctx, name, rest.ptr ? rest : STR(""));
}

void registry_on_head(struct http_request *r)
{
	struct registry_request *q;
	const char *code;
	unsigned status;

	if (!authorized(r)) {
		registry_fail(r, 401, "UNAUTHORIZED",
		    "authentication required: user AWS with a token of GetAuthorizationToken");
		return;
	}
	q = xcalloc(1, sizeof(*q));
	q->r = r;
	r->user = q;
	if (!image_realm_of_host(http_header(r, "host"), q->name.realm))
		snprintf(q->name.realm, sizeof(q->name.realm), IMAGE_REALM_DEFAULT);
	status = str_is(r->path, "/v2") ? 0 : route(q, &code);
	if (status) {
		registry_fail(r, status, status == 404 ? "UNSUPPORTED" : code,
		    status == 404 ? "there is no such address here"
				  : "invalid name, tag or digest");
		return;
	}
	r->known = true;
	r->body_limit = q->what == REGISTRY_MANIFEST ? MANIFEST_MAX : 65536;
	if (q->what == REGISTRY_UPLOAD || q->what == REGISTRY_UPLOADS)
		registry_upload_head(q);
}

static bool is_read(const struct http_request *r)
{
	return str_is(r->method, "GET") || str_is(r->method, "HEAD");
}

static void manifest(struct registry_request *q)
{
	if (is_read(q->r))
		get_manifest(q);
	else if (str_is(q->r->method, "PUT"))
		put_manifest(q);
	else if (str_is(q->r->method, "DELETE"))
		delete_manifest(q);
	else
		registry_fail(q->r, 405, "UNSUPPORTED", "not by this method");
}

void registry_on_request(struct http_request *r)
{
	struct registry_request *q = r->user;
	const struct http_header json = {STR("Content-Type"), STR("application/json")};

	q->ended = true;
	switch (q->what) {
	case REGISTRY_MANIFEST: manifest(q); return;
	case REGISTRY_BLOB: registry_blob(q); return;
	case REGISTRY_UPLOADS:
	case REGISTRY_UPLOAD: registry_upload_end(q); return;
	default: break;
	}
	if (!is_read(r))
		registry_fail(r, 405, "UNSUPPORTED", "not by this method");
	else if (q->what == REGISTRY_TAGS)
		tags(q);
	else if (q->what == REGISTRY_CATALOG)
		catalog(q);
	else if (q->what == REGISTRY_REFERRERS)
		referrers(q);
	else
		registry_reply(r, 200, &json, 1, STR("{}"));
}

void registry_on_body(struct http_request *r, const void *data, size_t len)
{
	struct registry_request *q = r->user;

	if (q && q->upload && image_upload_write(q->upload, data, len) >= IMAGE_UPLOAD_QUEUE)
		http_request_pause(r);
}

/* What waits for a write to end is freed then. */
void registry_on_cancel(struct http_request *r)
{
	struct registry_request *q = r->user;

	if (!q)
		return;
	q->r = NULL;
	if (!q->ended) {
		registry_upload_cancel(q);
		free(q);
	}
}
