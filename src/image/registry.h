/*
 * The OCI distribution API (/v2/...) over the store of images, so that docker, skopeo and buildah
 * push and pull. The host of a request says whose part of the registry is meant: see
 * image_realm_of_host(). Its functions are those of an http_handler, for paths that are its own.
 * Loop thread.
 */
#pragma once

#include "http/http.h"
#include "image/image.h"

struct registry_options {
	struct images *images;
	/* May somebody with this name and password (Basic) use it? Both empty: he has not said. */
	bool (*allowed)(void *ctx, struct str username, struct str password);
	void *ctx;
};
/* There is one in a process. */
void registry_open(const struct registry_options *o);

bool registry_is_path(const struct http_request *r);
void registry_on_head(struct http_request *r);
void registry_on_body(struct http_request *r, const void *data, size_t len);
void registry_on_request(struct http_request *r);
void registry_on_cancel(struct http_request *r);
