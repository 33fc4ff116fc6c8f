/*
 * The network of containers: one interface of this instance in the spawner's network namespace, an
 * address for every namespace that is attached to it, NAT to the outside, published ports. Netlink
 * and nf_tables, in one transaction a change; no program is run. Runs in short-lived children of
 * the spawner (root, blocking is fine), which may come side by side. All that must be remembered is
 * in the kernel and in one directory, so whoever starts again finds it.
 *
 *   bridge "mfy<8 hex of the instance>", address .1 of a /20 that clashes with no route of the
 *   host when it is first made (candidates in 10.213.0.0/16, then 172.29.0.0/16, 192.168.208.0/20);
 *   DIR/subnet remembers it, DIR/<address> (a symbolic link to the holder's id) who has which
 *   address. It has no ports: each container hangs on a veth pair "mfy<8 hex>-<3 hex>" of its own
 *   and is routed to, so there is no segment on which to spoof siblings (docs/adr/0019).
 *   table inet "mayfly-<instance>": masquerade what leaves by another interface; DNAT of published
 *   ports from outside, from the host itself and from its loopback; from containers only IPv4 from
 *   their own address, nothing to 127.0.0.0/8, 169.254.0.0/16 or multicast; to containers only from
 *   siblings, by published ports, from the host, and answers.
 *
 * Containers may have NET_RAW. They reach the addresses that the host has beside its loopback, as
 * any machine on its network does.
 *
 * A table that somebody flushed comes back whole by bridge_restore(), which the spawner has called
 * when the kernel tells of it (rules_watch.h), else with the next bridge_ensure().
 */
#pragma once

#include <netinet/in.h>

#include "base/base.h"
#include "base/err.h"

#define BRIDGE_PORTS_MAX 100

struct bridge {
	char name[16];          /* of the interface */
	char table[64];         /* of nf_tables */
	int dir;                /* DIR, root's; the caller's */
	struct in_addr address; /* the bridge's own; the containers' gateway */
	unsigned prefix_len;
};

struct bridge_port {
	bool udp;
	struct in_addr host_address; /* 0.0.0.0: every address of the host */
	uint16_t host;               /* 0: one that is free, from the host's range for such ports */
	uint16_t inside;
	int reserved; /* out: a bound socket that keeps others from the port; the caller's */
};

struct bridge_place {
	struct in_addr address; /* of eth0 inside */
	uint8_t mac[6];
};

/* Names only, no system call that changes anything. */
void bridge_init(struct bridge *b, const char *instance, int dir);
/* Make what is missing of bridge, address, sysctls (ip_forward, route_localnet of the bridge) and
 * table; fills address and prefix_len. Quick when all is there. */
int bridge_ensure(struct bridge *b, struct err *e);

/* The same if an address is held, and for a table that has lost its rules, too: after somebody
 * removed what he did not know. Nothing is made when no address is held. */
int bridge_restore(struct bridge *b, struct err *e);

/* An address for the network namespace netns: veth pair, eth0 inside with it (a /32: siblings are
 * reached by the gateway too) and a default route; what bridge_loopback() does. holder: a file on
 * the directory's mount, which gets another name there: the address is held until bridge_detach(),
 * or until that file has no name left elsewhere. -EADDRNOTAVAIL with words when the pool is
 * exhausted. The pair goes when the namespace goes. */
int bridge_attach(struct bridge *b, int netns, int holder, struct bridge_place *ret, struct err *e);
/* Publish ports at `to`: all or none. -EADDRINUSE with words when somebody has one. Fills host and
 * reserved (a TCP socket listens, but nothing reaches it: never accept from it). */
int bridge_publish(
    struct bridge *b, struct in_addr to, struct bridge_port *ports, size_t count, struct err *e);
/* Take away its published ports and pair, and give back its address. Nothing there is no error.
 * Takes tens of milliseconds, most of them the kernel's for the pair. */
int bridge_detach(struct bridge *b, struct in_addr address, struct err *e);
/* The same if `holder`, as for bridge_attach(), still has the address: for who may have given it
 * back before, so that it may be another's by now. */
int bridge_give_back(struct bridge *b, struct in_addr address, int holder, struct err *e);
/* How many addresses are held, or -errno. */
int bridge_count(const struct bridge *b);
/* Bridge and table, when no container is left; -EBUSY when an address is held. */
int bridge_remove(struct bridge *b, struct err *e);

/* Only loopback up and 169.254.170.2 on it: for namespaces without an address; for those with one
 * too, so that task metadata is reached in either. In the network namespace itself. */
int bridge_loopback(void);
