/* What channel.c and api.c share: the operations behind struct runtime, and two error answers. */
#pragma once

#include "runtime/frame.h"
#include "runtime/runtime.h"

struct runtime_ops {
	void (*free)(struct runtime *r);
	void (*init)(struct runtime *r, struct str init_json);
	void (*send)(struct runtime *r, const struct runtime_event *ev);
	void (*pause)(struct runtime *r, bool paused);
	bool (*take_back)(struct runtime *r); /* may be NULL */
};

struct runtime {
	const struct runtime_ops *ops;
	const struct runtime_handler *handler; /* the caller's, outlives us */
	void *ctx;
};

/* Fill out with {"errorType":type,"errorMessage":message}. */
void runtime_error_json(struct buf *out, struct str type, struct str message);

#define RUNTIME_TOO_LARGE_TYPE "Function.ResponseSizeTooLarge"
#define RUNTIME_TOO_LARGE_TEXT \
	"Response payload size exceeded maximum allowed payload size (6291556 bytes)."
_Static_assert(FRAME_PAYLOAD_MAX == 6291556, "the text above names the limit");
