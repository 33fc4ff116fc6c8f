/*
 * The server's own pages below /_mayfly/: health (open to all), status and bill (signed requests),
 * code downloads (their address carries its own signature), and what people ask of tasks
 * (task_page.h).
 */
#pragma once

#include "aws/principal.h"
#include "core/front.h"

void pages_on_request(const struct front_parts *p, struct http_request *r);
void pages_on_cancel(struct http_request *r);

/* For pages in files of their own. */
void pages_reply_error(struct http_request *r, unsigned status, const char *message);
/* Is it signed for this service? False after answering 403. */
bool pages_signed(const struct front_parts *p, struct http_request *r, const char *service,
    struct aws_principal *ret);
