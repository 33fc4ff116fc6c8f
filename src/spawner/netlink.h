/*
 * Messages to the kernel's netlink: a buffer that they are built in, and the exchange. The kernel
 * answers while sendmsg() runs, so nothing here waits. Blocking sockets, no heap, any process.
 */
#pragma once

#include "base/base.h"

#define NETLINK_SIZE 32768

/* Messages for one exchange, one after the other. */
struct netlink {
	_Alignas(8) char data[NETLINK_SIZE];
	size_t len, message; /* bytes so far; where the last message begins */
	uint32_t seq,
	    wanted; /* of the last message; of that whose acknowledgement ends the exchange */
	bool full;  /* something had no room: the exchange is refused */
};

static inline void netlink_init(struct netlink *n)
{
	n->len = n->message = 0;
	n->seq = n->wanted = 0;
	n->full = false;
}

/* Begin a message; NLM_F_REQUEST is added. head: the fixed part of its kind. It ends where the
 * next one begins. */
void netlink_begin(
    struct netlink *n, uint16_t type, uint16_t flags, const void *head, size_t head_len);
void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len);
void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value);  /* host's order */
void netlink_put_be32(struct netlink *n, uint16_t type, uint32_t value); /* given in the host's */
void netlink_put_text(struct netlink *n, uint16_t type, const char *text);
/* The fixed part that some nested attributes begin with. */
void netlink_put_raw(struct netlink *n, const void *data, size_t len);
/* An attribute that holds those until netlink_close(n, what this returned). */
size_t netlink_nest(struct netlink *n, uint16_t type);
void netlink_close(struct netlink *n, size_t nest);

/* Have the last message so far acknowledged; netlink_talk() does it if nobody did. */
void netlink_acknowledge(struct netlink *n);

/* A socket in the network namespace of the caller. */
int netlink_open(int protocol);
/* Send all; 0 when the kernel did every message, else -errno of the first that it refused. */
int netlink_talk(int fd, struct netlink *n);
/* Send one dump request; fn gets the answers, body without header. A change meanwhile begins it
 * again, after fn(ctx, 0, NULL, 0). */
typedef void netlink_each(void *ctx, uint16_t type, const void *body, size_t len);
int netlink_dump(int fd, struct netlink *n, netlink_each *fn, void *ctx);

/* The attribute of this type among those in data, or NULL; ret_len: of its payload. */
const void *netlink_find(const void *data, size_t len, uint16_t type, size_t *ret_len);
