/*
 * The rules of nf_tables that keep containers in their place. In the names of nft(8):
 *
 *   raw       from containers: IPv4 only, from their own address only (the route back to a source
 *             must lead to where it came from), none to loopback, link-local or multicast
 *             addresses of ours: interfaces of pairs route 127.0.0.0/8 (CVE-2020-8558)
 *   raw_out   nothing but IPv4 to containers
 *   publish   published ports, for what goes to an address of the host
 *   source    what leaves by another interface gets that one's address; what comes from our
 *             loopback, or from a container by a published port, gets the bridge's
 *   forward   to containers only from their siblings, to published ports, or as an answer
 */
#include <netinet/in.h> /* before the kernel's */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

#include "spawner/bridge_int.h"
#include "spawner/rules.h"

static void add_raw(struct nft *t, const struct bridge *b)
{
	static const struct {
		uint32_t net;
		unsigned prefix_len;
	} forbidden[] = {{0x7f000000, 8}, {0xa9fe0000, 16}, {0xe0000000, 3}};
	uint8_t ipv4 = NFPROTO_IPV4;

	rules_begin(t, b);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		nft_rule(t, "raw");
		rule_subnet(t, RULE_DESTINATION, forbidden[i].net, forbidden[i].prefix_len);
		rule_verdict(t, NF_DROP);
	}
	nft_add_chain(t, "raw_out", "filter", NF_INET_LOCAL_OUT, PRIORITY_RAW);
	nft_rule(t, "raw_out");
	rule_pair(t, b, NFT_META_OIFNAME, true);
	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is_not(t, PLACE_A, &ipv4, 1);
	rule_verdict(t, NF_DROP);
}

static void add_publish(struct nft *t)
{
	static const char *const from[] = {"from_outside", "from_host"};
	uint32_t local = RTN_LOCAL;

	nft_add_map(t, MAP_PORTS_AT, NFT_TYPES(NFT_TYPES(NFT_ADDRESS, NFT_PROTOCOL), NFT_SERVICE),
	    12, NFT_TYPES(NFT_ADDRESS, NFT_SERVICE), 8);
	nft_add_map(t, MAP_PORTS, NFT_TYPES(NFT_PROTOCOL, NFT_SERVICE), 8,
	    NFT_TYPES(NFT_ADDRESS, NFT_SERVICE), 8);
	nft_add_chain(t, "publish", NULL, 0, 0);
	for (unsigned all = 0; all < 2; all++) {
		enum nft_place at = all ? PLACE_A : PLACE_B;

		nft_rule(t, "publish");
		rule_ipv4(t);
		if (!all)
			nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, RULE_DESTINATION, 4, PLACE_A);
		nft_meta(t, NFT_META_L4PROTO, at);
		nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, at + 1);
		nft_lookup(t, all ? MAP_PORTS : MAP_PORTS_AT, PLACE_A, true);
		nft_nat(t, NFT_NAT_DNAT, PLACE_A, PLACE_B);
		nft_rule_end(t);
	}
	nft_add_chain(t, from[0], "nat", NF_INET_PRE_ROUTING, PRIORITY_DNAT);
	nft_add_chain(t, from[1], "nat", NF_INET_LOCAL_OUT, PRIORITY_DNAT);
	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		nft_rule(t, from[i]);
		rule_ipv4(t);
		nft_fib(t, NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE, PLACE_A);
		nft_is(t, PLACE_A, &local, 4);
		nft_verdict(t, NFT_JUMP, "publish");
		nft_rule_end(t);
	}
}

static void snat(struct nft *t, const struct bridge *b)
{
	nft_value(t, &b->address, 4, PLACE_A);
	nft_nat(t, NFT_NAT_SNAT, PLACE_A, -1);
	nft_rule_end(t);
}

static void add_source(struct nft *t, const struct bridge *b)
{
	uint32_t own = ntohl(b->address.s_addr);

	nft_add_chain(t, "source", "nat", NF_INET_POST_ROUTING, PRIORITY_SNAT);
	rule_masquerade(t, "source", b);
	nft_rule(t, "source");
	rule_pair(t, b, NFT_META_OIFNAME, true);
	rule_subnet(t, RULE_SOURCE, 0x7f000000, 8);
	snat(t, b);
	nft_rule(t, "source");
	rule_pair(t, b, NFT_META_OIFNAME, true);
	rule_subnet(t, RULE_SOURCE, own, b->prefix_len);
	rule_status(t, NFT_CT_STATUS, IPS_DST_NAT);
	snat(t, b);
}

static void add_forward(struct nft *t, const struct bridge *b)
{
	nft_add_chain(t, "forward", "filter", NF_INET_FORWARD, 0);
	nft_rule(t, "forward");
	rule_pair(t, b, NFT_META_OIFNAME, false);
	rule_verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	rule_pair(t, b, NFT_META_IIFNAME, true);
	rule_verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	rule_status(
	    t, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	rule_verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	rule_status(t, NFT_CT_STATUS, IPS_DST_NAT);
	rule_verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	rule_verdict(t, NF_DROP);
}

int table_make(const struct bridge *b)
{
	struct nft t;

	nft_begin(&t, b->table);
	nft_add_table(&t, false);
	add_raw(&t, b);
	add_publish(&t);
	add_source(&t, b);
	add_forward(&t, b);
	return nft_commit(&t);
}

int table_remove(const struct bridge *b)
{
	struct nft t;
	int r;

	nft_begin(&t, b->table);
	nft_delete_table(&t);
	r = nft_commit(&t);
	return r == -ENOENT ? 0 : r;
}
