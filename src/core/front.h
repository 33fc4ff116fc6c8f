/*
 * The front door: every request that comes in by any listener, and whose it is. Function URLs and
 * the server's own pages are told apart by host and path; the rest is for the AWS engine.
 */
#pragma once

#include "http/http.h"

struct front;
struct aws;
struct lambda;
struct meter;
struct invoke;
struct boxes;
struct spawn;
struct tasks;
struct images;

struct front_parts {
	struct loop *loop;
	struct aws *aws;
	struct lambda *lambda;
	struct meter *meter;
	struct invoke *invoke;
	struct boxes *boxes;
	struct spawn *spawn;
	struct tasks *tasks;
	struct images *images;
	const char *const *own_hosts; /* that mean our own registry; NULL at the end */
	bool dev;
	bool draining; /* the server is stopping: nothing new is begun */
};

/* The parts are filled in before the loop runs; the struct is the caller's. */
struct http_server *front_open(const struct front_parts *parts, struct loop *l);
/* Let it have as many clients as there are descriptors for. */
void front_make_room(struct http_server *s, unsigned boxes);
void front_close(struct http_server *s);
