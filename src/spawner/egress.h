/*
 * The way out of boxes, for `mayfly serve --egress`: a pair of interfaces for each box, made while
 * the box is (so that pools have it ready), NAT, and a table "mayfly-<instance>-boxes" that keeps
 * boxes from everything but the outside: no address of the host, no private or special one of
 * IPv4, no sibling, no container, no port 25 (as AWS), no more than EGRESS_FLOWS_MAX flows a box;
 * nobody gets in. The spawner makes it at start and removes it at its end; nothing is remembered.
 * The table is the spawner's as long as it lives: flushing all rules does not open the fences.
 */
#pragma once

#include <netinet/in.h>

#include "base/base.h"
#include "base/err.h"
#include "spawner/bridge.h"

#define EGRESS_DNS_MAX 3 /* more no resolver asks */
#define EGRESS_ALLOW_MAX 16
#define EGRESS_FLOWS_MAX 2048
#define EGRESS_SEATS 4093 /* more than there are boxes */

struct egress_range {
	struct in_addr address;
	unsigned prefix_len;
};

struct egress {
	struct in_addr dns[EGRESS_DNS_MAX]; /* servers that boxes may ask, wherever they are */
	unsigned dns_count;
	struct egress_range allow[EGRESS_ALLOW_MAX]; /* private ranges that boxes may reach */
	unsigned allow_count;
	bool on;
	struct bridge bridge;
	int owner;     /* the socket that owns the table; -1: nobody does */
	uint32_t last; /* seat that was given last */
	bool taken[EGRESS_SEATS + 1];
};

/* "192.0.2.1", and "10.1.0.0/16", to the list. False: not of that form, or the list is full. */
bool egress_add_dns(struct egress *g, const char *text);
bool egress_add_allowed(struct egress *g, const char *text);
/* The resolv.conf of boxes, in out; NULL when that is the host's. */
#define EGRESS_RESOLVER_SIZE 128
const char *egress_resolver(const struct egress *g, char out[EGRESS_RESOLVER_SIZE]);

/* Remove what a former life left; make all if `on`, with forwarding of the host. */
int egress_start(struct egress *g, const char *instance, struct err *e);
void egress_stop(struct egress *g);

/* A place among the addresses for a new box, instead of that which the last one in its slot had
 * (0: none); 0 when boxes have no way out. In a round, because the kernel is slow to forget. */
uint32_t egress_change_seat(struct egress *g, uint32_t old);
/* In the new process of a box, root still, its /proc mounted: eth0. host: a netlink socket for
 * routes that was opened in the host's namespace, for this call alone. */
int egress_enter(const struct egress *g, int host, uint32_t seat);
