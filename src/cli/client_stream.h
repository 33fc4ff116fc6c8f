/* A connection switched to another protocol: bytes both ways. One at a time, on the client's one
 * handle; other requests need a client of their own meanwhile. */
#pragma once

#include <signal.h>

#include "cli/client.h"

struct client_stream;

/* Set by a handler of signals: opening gives up, with CLIENT_INTERRUPTED and without a word. */
extern volatile sig_atomic_t client_interrupted;
#define CLIENT_INTERRUPTED (-3)

/* Ask for `protocol`. CLI_OK and *ret on 101; CLIENT_NOTED: the server answered something else,
 * which is in *answer; else an exit code after saying why. */
int client_stream_open(struct client *c, const struct client_request *r, const char *protocol,
    struct client_stream **ret, struct client_answer *answer);
void client_stream_close(struct client_stream *s); /* NULL is fine */
/* For poll(2). Data may wait above it: receive until -EAGAIN. */
int client_stream_fd(const struct client_stream *s);
/* Bytes, 0 at the end, -EAGAIN, or -EIO when it broke. Never blocks. */
ssize_t client_stream_receive(struct client_stream *s, void *to, size_t size);
ssize_t client_stream_send(struct client_stream *s, const void *from, size_t size);
