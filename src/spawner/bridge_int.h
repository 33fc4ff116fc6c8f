/*
 * What the files of the containers' network share; see bridge.h.
 *
 *   bridge.c        the directory: subnet and addresses; what is made and removed when
 *   bridge_link.c   the interface, pairs, addresses, routes, by rtnetlink
 *   bridge_table.c  the rules of nf_tables
 *   bridge_ports.c  published ports
 *   egress.c        the way out for boxes, made of the same parts; see egress.h
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
/* In the network namespace of a box, whose /proc is there: a pair between it and the one that the
 * netlink socket `host` is of, eth0 included. */
int link_join(const struct bridge *b, int host, struct in_addr address);
/* A pair between us and the namespace, all that belongs to an address included. */
int link_attach(
    const struct bridge *b, int netns, struct in_addr address, uint8_t ret_mac[6], struct err *e);
/* Let its end of the pair have packets for 127.0.0.0/8: what published ports answer to our loopback
 * comes back so. The rules refuse all others. */
int link_answer_loopback(const struct bridge *b, struct in_addr address);
int link_detach(const struct bridge *b, struct in_addr address);
/* Whether a route of the host, but for the default, overlaps: 0, 1, or -errno. */
int link_clash(struct in_addr subnet, unsigned prefix_len);

/* ---- bridge.c ---- */
struct subnet_range {
	uint32_t first; /* address in the host's order */
	unsigned count; /* of subnets of PREFIX_LEN */
};
#define PREFIX_LEN 20
/* The first subnet that clashes with no route: its network's address. -EADDRNOTAVAIL: none. */
int subnet_choose(
    const struct subnet_range *ranges, size_t count, struct in_addr *ret, struct err *e);

/* ---- bridge_table.c ---- */
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
