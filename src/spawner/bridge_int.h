/*
 * What the files of the containers' network share; see bridge.h.
 *
 *   bridge.c        the directory: subnet and addresses; what is made and removed when
 *   bridge_link.c   the interface, pairs, addresses, routes, by rtnetlink
 *   bridge_table.c  the rules of nf_tables
 *   bridge_ports.c  published ports
 *   flows.c         forgetting flows that lead to where nobody is
 *   forward.c       the host as a router
 */
#pragma once

#include "spawner/bridge.h"

/* ---- bridge_link.c ---- */
/* The interface with its address, up; 0 also when it is there. */
int link_make(const struct bridge *b);
bool link_is_up(const struct bridge *b);
int link_remove(const struct bridge *b);
/* A pair between us and the namespace, all that belongs to an address included. */
int link_attach(
    const struct bridge *b, int netns, struct in_addr address, uint8_t ret_mac[6], struct err *e);
int link_detach(const struct bridge *b, struct in_addr address);
/* Whether a route of the host, but for the default, overlaps: 0, 1, or -errno. */
int link_clash(struct in_addr subnet, unsigned prefix_len);

/* ---- bridge_table.c ---- */
/* The part of their names that all pairs have: "mfy<8 hex>-". */
#define PAIR_PREFIX_SIZE 12
int table_make(const struct bridge *b);
int table_remove(const struct bridge *b);

/* Maps of published ports: of one address of the host, and of all. A key is address (ports_at
 * only), protocol, port, four bytes each; the value address and port, likewise. */
#define MAP_PORTS_AT "ports_at"
#define MAP_PORTS "ports"

/* ---- bridge_ports.c ---- */
/* Into a new table: all ports that were published when the last one was lost. */
int ports_restore(const struct bridge *b);
int ports_withdraw(const struct bridge *b, struct in_addr address);
