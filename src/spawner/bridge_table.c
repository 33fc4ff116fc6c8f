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
#include <stdio.h>

#include "spawner/bridge_int.h"
#include "spawner/nft.h"

#define PRIORITY_RAW -300
#define PRIORITY_DNAT -100
#define PRIORITY_SNAT 100

#define SOURCE 12 /* offsets in an IPv4 header */
#define DESTINATION 16

static void ipv4_only(struct nft *t)
{
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is(t, PLACE_A, &ipv4, 1);
}

/* `key`: NFT_META_IIFNAME or NFT_META_OIFNAME. */
static void of_pair(struct nft *t, const struct bridge *b, uint32_t key, bool is)
{
	char prefix[16];

	snprintf(prefix, sizeof(prefix), "%.11s-", b->name);
	nft_meta(t, key, PLACE_A);
	(is ? nft_is : nft_is_not)(t, PLACE_A, prefix, PAIR_PREFIX_SIZE);
}

static void in_subnet(struct nft *t, uint32_t offset, uint32_t subnet, unsigned prefix_len)
{
	uint32_t mask = htonl(~UINT32_C(0) << (32 - prefix_len)), net = htonl(subnet) & mask;

	ipv4_only(t);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, PLACE_A);
	nft_mask(t, PLACE_A, &mask, 4);
	nft_is(t, PLACE_A, &net, 4);
}

static void verdict(struct nft *t, int code)
{
	nft_verdict(t, code, NULL);
	nft_rule_end(t);
}

static void add_raw(struct nft *t, const struct bridge *b)
{
	static const struct {
		uint32_t net;
		unsigned prefix_len;
	} forbidden[] = {{0x7f000000, 8}, {0xa9fe0000, 16}, {0xe0000000, 3}};
	uint8_t ipv4 = NFPROTO_IPV4;
	uint32_t missing = 0;

	nft_add_chain(t, "raw", "filter", NF_INET_PRE_ROUTING, PRIORITY_RAW);
	nft_rule(t, "raw");
	of_pair(t, b, NFT_META_IIFNAME, false);
	verdict(t, NF_ACCEPT);
	nft_rule(t, "raw");
	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is_not(t, PLACE_A, &ipv4, 1);
	verdict(t, NF_DROP);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		nft_rule(t, "raw");
		in_subnet(t, DESTINATION, forbidden[i].net, forbidden[i].prefix_len);
		verdict(t, NF_DROP);
	}
	nft_rule(t, "raw");
	nft_fib(
	    t, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF, PLACE_A);
	nft_is(t, PLACE_A, &missing, 4);
	verdict(t, NF_DROP);

	nft_add_chain(t, "raw_out", "filter", NF_INET_LOCAL_OUT, PRIORITY_RAW);
	nft_rule(t, "raw_out");
	of_pair(t, b, NFT_META_OIFNAME, true);
	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is_not(t, PLACE_A, &ipv4, 1);
	verdict(t, NF_DROP);
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
		ipv4_only(t);
		if (!all)
			nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, DESTINATION, 4, PLACE_A);
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
		ipv4_only(t);
		nft_fib(t, NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE, PLACE_A);
		nft_is(t, PLACE_A, &local, 4);
		nft_verdict(t, NFT_JUMP, "publish");
		nft_rule_end(t);
	}
}

static void of_status(struct nft *t, uint32_t key, uint32_t bits)
{
	uint32_t none = 0;

	nft_ct(t, key, PLACE_A);
	nft_mask(t, PLACE_A, &bits, 4);
	nft_is_not(t, PLACE_A, &none, 4);
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
	nft_rule(t, "source");
	in_subnet(t, SOURCE, own, b->prefix_len);
	of_pair(t, b, NFT_META_OIFNAME, false);
	nft_masquerade(t);
	nft_rule_end(t);
	nft_rule(t, "source");
	of_pair(t, b, NFT_META_OIFNAME, true);
	in_subnet(t, SOURCE, 0x7f000000, 8);
	snat(t, b);
	nft_rule(t, "source");
	of_pair(t, b, NFT_META_OIFNAME, true);
	in_subnet(t, SOURCE, own, b->prefix_len);
	of_status(t, NFT_CT_STATUS, IPS_DST_NAT);
	snat(t, b);
}

static void add_forward(struct nft *t, const struct bridge *b)
{
	nft_add_chain(t, "forward", "filter", NF_INET_FORWARD, 0);
	nft_rule(t, "forward");
	of_pair(t, b, NFT_META_OIFNAME, false);
	verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	of_pair(t, b, NFT_META_IIFNAME, true);
	verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	of_status(
	    t, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	of_status(t, NFT_CT_STATUS, IPS_DST_NAT);
	verdict(t, NF_ACCEPT);
	nft_rule(t, "forward");
	verdict(t, NF_DROP);
}

int table_make(const struct bridge *b)
{
	struct nft t;

	nft_begin(&t, b->table);
	nft_add_table(&t);
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
