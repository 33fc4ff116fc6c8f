/*
 * The server's own pages below /_mayfly/: health (open to all), status and bill (signed requests),
 * code downloads (their address carries its own signature).
 */
#pragma once

#include "core/front.h"

void pages_on_request(const struct front_parts *p, struct http_request *r);
void pages_on_cancel(struct http_request *r);
