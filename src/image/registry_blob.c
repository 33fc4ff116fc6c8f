/* Blobs of the distribution API: read with ranges, pushed whole or in chunks. See registry.h. */
#include <stdio.h>
#include <unistd.h>

#include "image/registry_int.h"

#define BLOB_MAX (UINT64_C(32) << 30)

/* ---- reading ---- */

/* "bytes=A-B", "bytes=A-", "bytes=-N" of size bytes. 0: none, or one we pass over; 1: *from and
 * *length; -1: it lies outside. */
static int parse_range(struct str value, uint64_t size, uint64_t *from, uint64_t *length)
{
	struct str first, rest;
	int64_t a, b;

	if (!str_has_prefix(value, "bytes=") || memchr(value.ptr, ',', value.len))
		return 0;
	rest = str_sub(value, 6);
	first = str_cut(&rest, '-');
	if (!rest.ptr)
		return 0;
	if (!first.len) {
		if (!str_to_int64(rest, 1, INT64_MAX, &b))
			return 0;
		*length = (uint64_t)b < size ? (uint64_t)b : size;
		*from = size - *length;
		return size ? 1 : -1;
	}
	if (!str_to_int64(first, 0, INT64_MAX, &a))
		return 0;
	b = INT64_MAX;
	if (rest.len && !str_to_int64(rest, a, INT64_MAX, &b))
		return 0;
	if ((uint64_t)a >= size)
		return -1;
	*from = (uint64_t)a;
	*length = (uint64_t)b < size ? (uint64_t)b - (uint64_t)a + 1 : size - (uint64_t)a;
	return 1;
}

static void send_blob(struct registry_request *q, uint64_t size)
{
	struct http_request *r = q->r;
	uint64_t from = 0, length = size;
	int part = parse_range(http_header(r, "range"), size, &from, &length), fd;
	struct http_header headers[5] = {{STR("Content-Type"), STR("application/octet-stream")},
	    {STR("Accept-Ranges"), STR("bytes")}};
	size_t n = 4;

	if (part < 0) {
		registry_fail(r, 416, "SIZE_INVALID", "the range lies behind the end");
		return;
	}
	fd = image_blob_open(registry.images, q->last);
	if (fd < 0) {
		registry_fail(r, 404, "BLOB_UNKNOWN", "blob unknown to registry");
		return;
	}
	headers[2] = registry_header(r, "Docker-Content-Digest", "%s", q->last);
	headers[3] = registry_header(r, "ETag", "\"%s\"", q->last);
	if (part)
		headers[n++] = registry_header(r, "Content-Range",
		    "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, from + length - 1, size);
	r->user = NULL;
	free(q);
	http_reply_file(r, part ? 206 : 200, headers, n, fd, from, length);
}

void registry_blob(struct registry_request *q)
{
	int64_t size = image_blob_in(registry.images, &q->name, q->last);

	if (str_is(q->r->method, "DELETE"))
		registry_fail(q->r, 405, "UNSUPPORTED",
		    "blobs go when no manifest needs them any more: delete the manifest");
	else if (!str_is(q->r->method, "GET") && !str_is(q->r->method, "HEAD"))
		registry_fail(q->r, 405, "UNSUPPORTED", "not by this method");
	else if (size < 0)
		registry_fail(q->r, 404, "BLOB_UNKNOWN", "blob unknown to registry");
	else
		send_blob(q, (uint64_t)size);
}

/* ---- pushing ---- */

static void on_drain(void *ctx)
{
	struct registry_request *q = ctx;

	if (q->r && !q->ended)
		http_request_resume(q->r);
}

static void created(struct registry_request *q, const char *digest)
{
	struct http_header headers[2] = {
	    registry_header(q->r, "Location", "/v2/%s/blobs/%s", q->name.repository, digest),
	    registry_header(q->r, "Docker-Content-Digest", "%s", digest)};

	registry_reply(q->r, 201, headers, 2, STR(""));
}

/* Where the next piece goes. */
static void accepted(struct registry_request *q, const struct image_upload *u, unsigned status)
{
	uint64_t size = image_upload_size(u);
	struct http_header headers[4] = {
	    registry_header(q->r, "Location", "/v2/%s/blobs/uploads/%s", q->name.repository,
		image_upload_id(u)),
	    registry_header(q->r, "Docker-Upload-UUID", "%s", image_upload_id(u)),
	    registry_header(q->r, "Range", "0-%" PRIu64, size ? size - 1 : 0),
	    {STR("OCI-Chunk-Min-Length"), STR("1")}};

	registry_reply(q->r, status, headers, 4, STR(""));
}

static bool mounted(struct registry_request *q)
{
	const char *digest = registry_parameter(q->r, "mount");
	const char *from = registry_parameter(q->r, "from");
	struct image_reference other = q->name;

	if (!digest || !from || !image_name_ok(str_from(from)))
		return false;
	snprintf(other.repository, sizeof(other.repository), "%s", from);
	if (!image_blob_mount(registry.images, &other, &q->name, digest))
		return false;
	created(q, digest);
	return true;
}

/* Content-Range of a chunk begins where the last one ended. */
static bool in_order(const struct registry_request *q)
{
	struct str range = http_header(q->r, "content-range"), first;
	int64_t from;

	if (!range.len)
		return true;
	if (str_has_prefix(range, "bytes "))
		range = str_sub(range, 6);
	first = str_cut(&range, '-');
	return str_to_int64(first, 0, INT64_MAX, &from) &&
	       (uint64_t)from == image_upload_size(q->upload);
}

static bool take_body(struct registry_request *q)
{
	q->r->stream = true;
	q->r->body_limit = BLOB_MAX;
	image_upload_hold(q->upload, on_drain, q);
	return true;
}

static bool head_of_new(struct registry_request *q)
{
	if (!str_is(q->r->method, "POST")) {
		registry_fail(q->r, 405, "UNSUPPORTED", "not by this method");
		return false;
	}
	if (registry_parameter(q->r, "mount"))
		return true; /* answered when its empty body has come */
	q->upload = image_upload_start(registry.images, &q->name);
	if (q->upload)
		return take_body(q);
	registry_fail(q->r, 429, "TOOMANYREQUESTS", "too many uploads are under way");
	return false;
}

bool registry_upload_head(struct registry_request *q)
{
	struct http_request *r = q->r;
	struct image_upload *u;

	if (q->what == REGISTRY_UPLOADS)
		return head_of_new(q);
	u = image_upload_find(registry.images, &q->name, str_from(q->last));
	if (!u || image_upload_busy(u)) {
		registry_fail(r, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
		return false;
	}
	if (!str_is(r->method, "PATCH") && !str_is(r->method, "PUT"))
		return true;
	q->upload = u;
	if (in_order(q))
		return take_body(q);
	q->upload = NULL;
	registry_fail(r, 416, "BLOB_UPLOAD_INVALID", "this chunk does not follow the last one");
	return false;
}

static void on_end(void *ctx, int result, const char *digest, uint64_t size)
{
	struct registry_request *q = ctx;

	(void)size;
	if (!q->r)
		free(q);
	else if (result == -EBADMSG)
		registry_fail(
		    q->r, 400, "DIGEST_INVALID", "provided digest did not match uploaded content");
	else if (result < 0)
		registry_fail(
		    q->r, result == -ENOSPC ? 507 : 500, "BLOB_UPLOAD_INVALID", strerror(-result));
	else
		created(q, digest);
}

static void finish(struct registry_request *q)
{
	const char *digest = registry_parameter(q->r, "digest");
	struct image_upload *u = q->upload;

	q->upload = NULL;
	if (digest && image_digest_ok(str_from(digest))) {
		image_upload_end(u, digest, on_end, q);
		return;
	}
	image_upload_hold(u, NULL, NULL);
	registry_fail(q->r, 400, "DIGEST_INVALID", "say the blob's digest: ?digest=sha256:...");
}

/* GET and DELETE of an upload that nobody writes at the moment. */
static void look_at_upload(struct registry_request *q)
{
	struct image_upload *u = image_upload_find(registry.images, &q->name, str_from(q->last));

	if (!u || image_upload_busy(u)) {
		registry_fail(q->r, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
	} else if (str_is(q->r->method, "GET")) {
		accepted(q, u, 204);
	} else if (str_is(q->r->method, "DELETE")) {
		image_upload_abandon(u);
		registry_reply(q->r, 204, NULL, 0, STR(""));
	} else {
		registry_fail(q->r, 405, "UNSUPPORTED", "not by this method");
	}
}

void registry_upload_end(struct registry_request *q)
{
	struct image_upload *u = q->upload;

	if (q->what == REGISTRY_UPLOADS && !u) { /* a mount */
		if (mounted(q))
			return;
		u = image_upload_start(registry.images, &q->name);
		if (u)
			accepted(q, u, 202);
		else
			registry_fail(
			    q->r, 429, "TOOMANYREQUESTS", "too many uploads are under way");
	} else if (!u) {
		look_at_upload(q);
	} else if (str_is(q->r->method, "PUT") ||
		   (q->what == REGISTRY_UPLOADS && registry_parameter(q->r, "digest"))) {
		finish(q);
	} else {
		q->upload = NULL;
		image_upload_hold(u, NULL, NULL);
		accepted(q, u, 202);
	}
}

/* What came so far stays: the client may ask how much that is and go on. */
void registry_upload_cancel(struct registry_request *q)
{
	if (q->upload)
		image_upload_hold(q->upload, NULL, NULL);
}
