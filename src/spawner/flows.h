/*
 * UDP flows that the kernel remembers (conntrack). A flow keeps the way that its first packet got:
 * who goes on sending would go on reaching a container that is gone, or the host instead of one
 * that came. TCP begins anew by itself.
 */
#pragma once

#include <netinet/in.h>

#include "base/base.h"

/* Forget the flows that are led to this address. */
int flows_forget_to(struct in_addr address);
/* Forget those to this port of the host's address (0.0.0.0: of any) that are led nowhere else. */
int flows_forget_port(struct in_addr host, uint16_t port);
