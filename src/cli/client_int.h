/* A client inside: client.c (requests and answers) and client_stream.c (other protocols). */
#pragma once

#include <curl/curl.h>

#include "aws/sigv4.h"
#include "cli/client.h"
#include "cli/config.h"

#define CLIENT_HEADERS_MAX 16

struct client {
	CURL *curl;
	char *endpoint;  /* without a slash at the end */
	struct str host; /* in endpoint, with the port */
	struct str base; /* in endpoint: the path behind the host, often empty */
	struct config_keys keys;
	const char *region;
};

/* Fill `h` with all headers that are signed, the signature's own included. */
size_t client_sign(struct client *c, const struct client_request *r, struct arena *a,
    struct http_header h[CLIENT_HEADERS_MAX]);
/* What all connections have in common. */
void client_configure(struct client *c, const char *url);
/* Say why nobody answered; the exit code. */
int client_no_answer(const struct client *c, CURLcode code);
