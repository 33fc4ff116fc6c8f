/* Draining the box's end of a channel: see reclaim.c. For channel.c alone; loop thread. */
#pragma once

#include "base/buf.h"
#include "loop/loop.h"

struct reclaim;

/* Take out what has not been read from fd, which stays the caller's. done() is called once, from
 * the loop; it may take the memory. NULL when there are no descriptors left. */
struct reclaim *reclaim_start(
    struct loop *l, int fd, void (*done)(void *ctx, struct buf *bytes), void *ctx);
/* done() will not be called. NULL is fine. */
void reclaim_forget(struct reclaim *r);
