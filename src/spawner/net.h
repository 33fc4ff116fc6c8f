/* Sockets that only root, or only the inside of a box, can make. */
#pragma once

#include "base/base.h"
#include "base/err.h"

#define NET_API_PORT 9001
#define NET_ENDPOINT_PORT 4566
#define NET_METADATA_PORT 51679 /* containers ask at 80: metadata.c */

/* "ADDR:PORT" (IPv4, or IPv6 in brackets; port 0: a free one) to a listening socket. */
int net_listen(const char *where, struct err *e);
/* "127.0.0.1:4566" of a listening socket. */
int net_name(int fd, char *out, size_t size);

/* In the network namespace of a container that has 169.254.170.2: what core serves there. */
int net_container(int *ret_metadata, int *ret_endpoint);

/* In a new network namespace: loopback up with its second address; two listening sockets. */
int net_box(int *ret_api, int *ret_endpoint);
