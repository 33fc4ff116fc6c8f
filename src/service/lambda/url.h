/*
 * Function URLs: HTTP in, HTTP out. Reached by the Host header
 * `<id>.lambda-url.<region>.localhost`, or by the path `/_mayfly/url/<id>/…` for clients that
 * cannot set it. Loop thread.
 */
#pragma once

#include "http/http.h"

#define URL_PATH_PREFIX "/_mayfly/url/"

struct lambda;

/* Is that a host name of a function URL (with or without port)? */
bool url_is_host(struct str host);

/* The http_handler's functions. They use r->user. */
void url_on_head(struct lambda *l, struct http_request *r);
void url_on_request(struct lambda *l, struct http_request *r);
void url_on_cancel(struct http_request *r);
