/* Inside the registry: one request and its parts. */
#pragma once

#include "image/manifest.h"
#include "image/registry.h"

enum registry_what {
	REGISTRY_BASE,
	REGISTRY_CATALOG,
	REGISTRY_TAGS,
	REGISTRY_MANIFEST,
	REGISTRY_BLOB,
	REGISTRY_UPLOADS, /* beginning one */
	REGISTRY_UPLOAD,
	REGISTRY_REFERRERS,
};

/* In http_request.user. */
struct registry_request {
	struct http_request *r; /* NULL: the client has gone */
	enum registry_what what;
	struct image_reference
	    name;       /* registry "", realm, repository; tag or digest of a manifest */
	char last[129]; /* digest or upload */
	struct image_upload *upload;
	bool ended; /* the body is there whole */
};

extern struct registry_options registry;

/* {"errors":[{"code":...}]} */
void registry_fail(struct http_request *r, unsigned status, const char *code, const char *why);
/* Headers and a short body. The struct registry_request is gone then. */
void registry_reply(struct http_request *r, unsigned status, const struct http_header *headers,
    size_t count, struct str body);
struct http_header registry_header(
    struct http_request *r, const char *name, const char *format, ...) _printf_(3, 4);
/* A parameter of the query, decoded, in the request's arena; NULL if absent. */
const char *registry_parameter(const struct http_request *r, const char *name);
/* "realm|repository" */
void registry_key(const struct image_reference *n, char out[330]);
bool registry_repository_there(const struct image_reference *n);

/* ---- registry_blob.c ---- */
void registry_blob(struct registry_request *q);
bool registry_upload_head(struct registry_request *q); /* in on_head; false: answered */
void registry_upload_end(struct registry_request *q);  /* in on_request */
void registry_upload_cancel(struct registry_request *q);
