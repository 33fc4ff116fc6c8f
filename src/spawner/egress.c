/* The way out of boxes: see egress.h. */
#include "spawner/egress.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "base/str.h"
#include "spawner/bridge_int.h"
#include "spawner/forward.h"
#include "spawner/rules.h"

#define CROWD "flows"
#define DNS 53
#define SMTP 25

/* ---- what was asked for ---- */

bool egress_add_dns(struct egress *g, const char *text)
{
	return g->dns_count < EGRESS_DNS_MAX &&
	       inet_pton(AF_INET, text, &g->dns[g->dns_count]) == 1 && ++g->dns_count;
}

bool egress_add_allowed(struct egress *g, const char *text)
{
	struct str rest = str_from(text), address = str_cut(&rest, '/');
	char copy[INET_ADDRSTRLEN];
	struct egress_range *range = &g->allow[g->allow_count];
	int64_t len;

	if (g->allow_count == EGRESS_ALLOW_MAX || address.len >= sizeof(copy) ||
	    !str_to_int64(rest, 8, 32, &len))
		return false;
	snprintf(copy, sizeof(copy), "%.*s", STR_FMT(address));
	if (inet_pton(AF_INET, copy, &range->address) != 1)
		return false;
	range->prefix_len = (unsigned)len;
	g->allow_count++;
	return true;
}

const char *egress_resolver(const struct egress *g, char out[EGRESS_RESOLVER_SIZE])
{
	int len = 0;

	if (!g->on)
		return NULL;
	out[0] = '\0';
	for (unsigned i = 0; i < g->dns_count; i++) {
		char address[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &g->dns[i], address, sizeof(address));
		len += snprintf(
		    out + len, (size_t)(EGRESS_RESOLVER_SIZE - len), "nameserver %s\n", address);
	}
	return out;
}

/* ---- the table ---- */

static void to_port(struct nft *t, uint8_t protocol, uint16_t port)
{
	uint16_t wire = htons(port);

	nft_meta(t, NFT_META_L4PROTO, PLACE_A);
	nft_is(t, PLACE_A, &protocol, 1);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, PLACE_A);
	nft_is(t, PLACE_A, &wire, 2);
}

static void reject(struct nft *t)
{
	nft_reject(t);
	nft_rule_end(t);
}

/* All of IPv4 that is not somewhere on the internet. */
static const struct {
	uint32_t net;
	unsigned prefix_len;
} fences[] = {{0x00000000, 8}, {0x0a000000, 8}, {0x64400000, 10}, {0x7f000000, 8}, {0xa9fe0000, 16},
    {0xac100000, 12}, {0xc0000000, 24}, {0xc0a80000, 16}, {0xc6120000, 15}, {0xe0000000, 3}};

static void add_from_boxes(struct nft *t, const struct egress *g)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	uint32_t unicast = RTN_UNICAST;

	rules_begin(t, &g->bridge);
	for (unsigned i = 0; i < g->dns_count * 2; i++) {
		nft_rule(t, "raw");
		rule_subnet(t, RULE_DESTINATION, ntohl(g->dns[i / 2].s_addr), 32);
		to_port(t, protocols[i % 2], DNS);
		rule_verdict(t, NF_ACCEPT);
	}
	nft_rule(t, "raw");
	nft_fib(t, NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE, PLACE_A);
	nft_is_not(t, PLACE_A, &unicast, 4);
	reject(t);
	nft_rule(t, "raw");
	to_port(t, IPPROTO_TCP, SMTP);
	reject(t);
	for (unsigned i = 0; i < g->allow_count; i++) {
		nft_rule(t, "raw");
		rule_subnet(
		    t, RULE_DESTINATION, ntohl(g->allow[i].address.s_addr), g->allow[i].prefix_len);
		rule_verdict(t, NF_ACCEPT);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fences); i++) {
		nft_rule(t, "raw");
		rule_subnet(t, RULE_DESTINATION, fences[i].net, fences[i].prefix_len);
		reject(t);
	}
}

/* Answers only; from the host itself also its errors, which belong to no connection. */
static void add_to_boxes(struct nft *t, const struct bridge *b)
{
	static const char *const chains[] = {"forward", "output"};
	uint8_t icmp = IPPROTO_ICMP;

	nft_add_chain(t, "forward", "filter", NF_INET_FORWARD, 0);
	nft_add_chain(t, "output", "filter", NF_INET_LOCAL_OUT, 0);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		nft_rule(t, chains[i]);
		rule_pair(t, b, NFT_META_OIFNAME, true);
		rule_ipv4(t);
		rule_status(t, NFT_CT_STATE,
		    NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
		rule_verdict(t, NF_ACCEPT);
	}
	nft_rule(t, "output");
	rule_pair(t, b, NFT_META_OIFNAME, true);
	nft_meta(t, NFT_META_L4PROTO, PLACE_A);
	nft_is(t, PLACE_A, &icmp, 1);
	rule_verdict(t, NF_ACCEPT);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		nft_rule(t, chains[i]);
		rule_pair(t, b, NFT_META_OIFNAME, true);
		rule_verdict(t, NF_DROP);
	}
}

/* The host's memory of flows is everybody's. */
static void add_crowd(struct nft *t, const struct bridge *b)
{
	static const char *const chains[] = {"forward", "input"};

	nft_add_crowd(t, CROWD);
	nft_add_chain(t, "input", "filter", NF_INET_LOCAL_IN, 0);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		nft_rule(t, chains[i]);
		rule_pair(t, b, NFT_META_IIFNAME, true);
		rule_ipv4(t);
		rule_status(t, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_NEW));
		nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, RULE_SOURCE, 4, PLACE_A);
		nft_crowd(t, CROWD, PLACE_A, EGRESS_FLOWS_MAX);
		rule_verdict(t, NF_DROP);
	}
}

static int commit_table(const struct egress *g, int fd, bool owned)
{
	struct nft t;

	nft_begin(&t, g->bridge.table);
	nft_add_table(&t, owned);
	add_from_boxes(&t, g);
	add_to_boxes(&t, &g->bridge);
	add_crowd(&t, &g->bridge);
	nft_add_chain(&t, "source", "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
	rule_masquerade(&t, "source", &g->bridge);
	return nft_commit_by(&t, fd);
}

static int make_table(struct egress *g)
{
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	int r = fd < 0 ? fd : commit_table(g, fd, true);

	if (r == 0)
		g->owner = take_fd(&fd);
	else if (r == -EINVAL || r == -EOPNOTSUPP) { /* before Linux 5.12 */
		r = commit_table(g, fd, false);
		if (r == 0)
			log_warn("on this kernel a flush of all packet filter rules takes away the "
				 "fences of boxes; restart mayfly after one");
	}
	return r;
}

/* ---- start and end ---- */

static int make(struct egress *g, struct err *e)
{
	static const struct subnet_range ranges[] = {
	    {0x0ad60000, 16}, {0xac1e0000, 16}, {0xc0a8e000, 1}};
	struct in_addr subnet;
	int r = subnet_choose(ranges, ARRAY_SIZE(ranges), &subnet, e);

	if (r == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL,
		    "no room for boxes: routes of this host cover 10.214.0.0/16, 172.30.0.0/16 and "
		    "192.168.224.0/20");
	if (r < 0)
		return r;
	g->bridge.address.s_addr = subnet.s_addr | htonl(1);
	g->bridge.prefix_len = PREFIX_LEN;
	r = make_table(g);
	if (r < 0)
		return err_sys(e, -r,
		    "making the table of packet filter rules (the kernel needs nf_tables with "
		    "NAT, fib, reject, conntrack and connlimit)");
	r = link_make(&g->bridge);
	if (r < 0)
		return err_sys(e, -r, "making the bridge %s", g->bridge.name);
	return forward_on(g->bridge.name, e);
}

int egress_start(struct egress *g, const char *instance, struct err *e)
{
	int r = 0;

	g->owner = -1;
	bridge_init(&g->bridge, instance, -1);
	g->bridge.name[2] = 'b'; /* mfb: of boxes */
	snprintf(g->bridge.table, sizeof(g->bridge.table), "mayfly-%s-boxes", instance);
	/* Failures show again below; a host without nf_tables has nothing to remove. */
	(void)link_remove(&g->bridge);
	(void)table_remove(&g->bridge);
	if (g->on)
		r = make(g, e);
	if (r < 0) {
		egress_stop(g);
		return err_wrap(e, "--egress");
	}
	g->last = (uint32_t)(rand_u64() % EGRESS_SEATS);
	return 0;
}

void egress_stop(struct egress *g)
{
	int r;

	if (!g->on)
		return;
	r = link_remove(&g->bridge);
	base_closep(&g->owner); /* and its table is gone */
	g->owner = -1;
	if (r == 0)
		r = table_remove(&g->bridge);
	if (r == 0)
		r = forward_off(g->bridge.name);
	if (r < 0)
		log_error("removing the way out of boxes: %s", strerror(-r));
}

uint32_t egress_change_seat(struct egress *g, uint32_t old)
{
	if (!g->on)
		return 0;
	g->taken[old] = false;
	do
		g->last = g->last % EGRESS_SEATS + 1;
	while (g->taken[g->last]);
	g->taken[g->last] = true;
	return g->last;
}

int egress_enter(const struct egress *g, int host, uint32_t seat)
{
	struct in_addr own = {htonl(ntohl(g->bridge.address.s_addr) + seat)};

	return link_join(&g->bridge, host, own);
}
