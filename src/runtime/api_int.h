/* The HTTP side inside: what api.c (runtime) and extension.c (extensions) share. */
#pragma once

#include "base/list.h"
#include "runtime/runtime_int.h"

#define EXTENSIONS_MAX 10
#define EXTENSION_NAME_MAX 128

struct extension {
	char id[37];
	char name[EXTENSION_NAME_MAX + 1];
	bool on_invoke, on_shutdown;
	bool arrived;              /* asked for its next event: done with the one before */
	struct http_request *next; /* held until there is one; NULL too when its client has gone */
};

enum api_state {
	API_INIT,     /* the runtime has not asked for an event yet */
	API_FAILED,   /* it said that init failed */
	API_IDLE,     /* asked, waits */
	API_RUNNING,  /* has an event */
	API_ANSWERED, /* has answered it, not asked for the next one */
};

/* An event on its way to the runtime; strings are our own. */
struct api_event {
	char request_id[37];
	char trace_id[RUNTIME_TRACE_SIZE];
	int64_t deadline_ms;
	bool stream;
	struct buf arn, client_context, identity, payload;
};

struct api_box {
	struct runtime base;
	struct runtime_api *api;
	struct list node;
	struct http_server *server; /* its own, so that one box cannot take all connections */
	struct http_listener *listener;
	int listen_fd; /* kept for runtime_api_reset() */
	char *function, *version, *function_handler, *account;

	enum api_state state;
	bool beside; /* the runtime is elsewhere: see runtime_api_beside() */
	bool ready_told;
	struct http_request *next;   /* the runtime's, held until there is an event */
	struct http_request *upload; /* the one answer that may be arriving */
	bool streaming;              /* pieces of it have been told; without upload it was cut */
	bool waiting;                /* event is there and not given out */
	struct api_event event;      /* waiting, or the last one given out */
	char answered[37];           /* id of the last event that was answered */
	struct extension extensions[EXTENSIONS_MAX];
	size_t extension_count;
	struct buf shutdown; /* the event of the end, once it is there: for those who come late */
};

/* Answer JSON as it is, or {"errorMessage","errorType"}. */
void api_reply(struct http_request *r, unsigned status, struct str json);
void api_reply_error(
    struct http_request *r, unsigned status, const char *type, const char *message);

/* Everybody may be done with init or with the event before: tell, or hand out what waits. Calls
 * the box's handler last, which may free b. */
void api_advance(struct api_box *b);

/* extension.c */

/* A request below /2020-01-01/extension/: reply now or hold. */
void extension_request(struct api_box *b, struct http_request *r, struct str path);
bool extension_all_arrived(const struct api_box *b);
void extension_tell_invoke(struct api_box *b);
/* Forget r if it is held here. */
bool extension_cancel(struct api_box *b, const struct http_request *r);
