/*
 * The server's own pages below /_mayfly/: health (open to all), status and bill (signed requests),
 * code downloads (their address carries its own signature), what people ask of tasks (task_page.h)
 * and of images (image_pages.h).
 */
#pragma once

#include "aws/principal.h"
#include "core/front.h"

void pages_on_request(const struct front_parts *p, struct http_request *r);
void pages_on_head(const struct front_parts *p, struct http_request *r);
void pages_on_body(
    const struct front_parts *p, struct http_request *r, const void *data, size_t len);
void pages_on_cancel(const struct front_parts *p, struct http_request *r);

/* For pages in files of their own. */
void pages_reply_json(struct http_request *r, unsigned status, struct str body);
void pages_reply_error(struct http_request *r, unsigned status, const char *message);
/* Is it signed for this service? False after answering 403. */
bool pages_signed(const struct front_parts *p, struct http_request *r, const char *service,
    struct aws_principal *ret);
/* A parameter of the query, decoded, in the request's arena; NULL if absent or malformed. */
const char *pages_parameter(const struct http_request *r, const char *name);
