/* Who gets a request. See front.h. Loop thread. */
#include "core/front.h"

#include <sys/resource.h>

#include "aws/aws.h"
#include "core/pages.h"
#include "image/registry.h"
#include "service/lambda/lambda.h"
#include "service/lambda/url.h"

#define CONNECTIONS_MAX 16384
#define FDS_PER_BOX 11     /* as in spawner/main.c */
#define FDS_OF_OTHERS 4608 /* the boxes' connections, files, and a reserve */

/* One server process, one front door. */
static const struct front_parts *parts;

enum owner { OWNER_AWS, OWNER_URL, OWNER_PAGES, OWNER_REGISTRY };

static enum owner owner_of(const struct http_request *r)
{
	if (str_has_prefix(r->path, "/_mayfly/"))
		return str_has_prefix(r->path, URL_PATH_PREFIX) ? OWNER_URL : OWNER_PAGES;
	if (url_is_host(http_header(r, "host")))
		return OWNER_URL;
	return registry_is_path(r) ? OWNER_REGISTRY : OWNER_AWS;
}

/* What runs may finish, so nobody else may begin; SDKs try again after a 503. No body: it would be
 * JSON for some and XML for others. */
static void refuse(struct http_request *r)
{
	static const struct http_header retry = {{"Retry-After", 11}, {"1", 1}};

	http_reply(r, 503, &retry, 1, STR(""));
}

static void on_head(struct http_request *r)
{
	if (parts->draining && owner_of(r) != OWNER_PAGES) {
		refuse(r);
		return;
	}
	switch (owner_of(r)) {
	case OWNER_AWS: aws_on_head(parts->aws, r); break;
	case OWNER_URL: url_on_head(parts->lambda, r); break;
	case OWNER_PAGES: pages_on_head(parts, r); break;
	case OWNER_REGISTRY: registry_on_head(r); break;
	}
}

static void on_body(struct http_request *r, const void *data, size_t len)
{
	switch (owner_of(r)) {
	case OWNER_AWS: aws_on_body(r, data, len); break;
	case OWNER_PAGES: pages_on_body(parts, r, data, len); break;
	case OWNER_REGISTRY: registry_on_body(r, data, len); break;
	case OWNER_URL: break;
	}
}

static void on_request(struct http_request *r)
{
	switch (owner_of(r)) {
	case OWNER_AWS: aws_on_request(r); break;
	case OWNER_URL: url_on_request(parts->lambda, r); break;
	case OWNER_PAGES: pages_on_request(parts, r); break;
	case OWNER_REGISTRY: registry_on_request(r); break;
	}
}

static void on_cancel(struct http_request *r)
{
	switch (owner_of(r)) {
	case OWNER_AWS: aws_on_cancel(r); break;
	case OWNER_URL: url_on_cancel(r); break;
	case OWNER_PAGES: pages_on_cancel(parts, r); break;
	case OWNER_REGISTRY: registry_on_cancel(r); break;
	}
}

struct http_server *front_open(const struct front_parts *p, struct loop *l)
{
	static const struct http_handler handler = {.on_head = on_head,
	    .on_body = on_body,
	    .on_request = on_request,
	    .on_cancel = on_cancel};

	parts = p;
	return http_server_new(l, &handler, &http_limits_default);
}

/* Receivers and pollers wait by the thousand: clients get what descriptors boxes, the boxes' own
 * server and files leave. */
void front_make_room(struct http_server *s, unsigned boxes)
{
	struct rlimit files;
	uint64_t others = (uint64_t)boxes * FDS_PER_BOX + FDS_OF_OTHERS;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    files.rlim_cur < others + http_limits_default.connections_max)
		return;
	http_server_limit(s, (unsigned)min_size(files.rlim_cur - others, CONNECTIONS_MAX));
}

void front_close(struct http_server *s)
{
	http_server_free(s);
}
