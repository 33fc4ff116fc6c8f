/*
 * Images for the command line, below /_mayfly/images: what is here (GET), pulling and pushing (POST
 * pull, POST push, told as it goes), removing (DELETE), naming (POST tag), loading archives (POST
 * load gives a ticket, PUT load/TICKET takes the archive). Requests are signed; a ticket stands for
 * the signature of a body that is too large for one.
 */
#pragma once

#include "core/front.h"

#define IMAGE_PAGES_PATH "/_mayfly/images"

void image_pages_on_head(const struct front_parts *p, struct http_request *r);
void image_pages_on_body(
    const struct front_parts *p, struct http_request *r, const void *data, size_t len);
/* Everything but loads has been found to be signed. */
void image_pages_on_request(const struct front_parts *p, struct http_request *r);
void image_pages_on_cancel(const struct front_parts *p, struct http_request *r);
/* Is this the body of an archive, whose ticket is checked in on_head? */
bool image_pages_is_upload(const struct http_request *r);
