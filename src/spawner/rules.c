/* Parts of rules: see rules.h. */
#include "spawner/rules.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>

void rule_ipv4(struct nft *t)
{
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is(t, PLACE_A, &ipv4, 1);
}

void rule_pair(struct nft *t, const struct bridge *b, uint32_t key, bool is)
{
	char prefix[16];

	snprintf(prefix, sizeof(prefix), "%.11s-", b->name);
	nft_meta(t, key, PLACE_A);
	(is ? nft_is : nft_is_not)(t, PLACE_A, prefix, PAIR_PREFIX_SIZE);
}

void rule_subnet(struct nft *t, uint32_t offset, uint32_t subnet, unsigned prefix_len)
{
	uint32_t mask = htonl(~UINT32_C(0) << (32 - prefix_len)), net = htonl(subnet) & mask;

	rule_ipv4(t);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, PLACE_A);
	nft_mask(t, PLACE_A, &mask, 4);
	nft_is(t, PLACE_A, &net, 4);
}

void rule_verdict(struct nft *t, int code)
{
	nft_verdict(t, code, NULL);
	nft_rule_end(t);
}

void rule_status(struct nft *t, uint32_t key, uint32_t bits)
{
	uint32_t none = 0;

	nft_ct(t, key, PLACE_A);
	nft_mask(t, PLACE_A, &bits, 4);
	nft_is_not(t, PLACE_A, &none, 4);
}

void rule_masquerade(struct nft *t, const char *chain, const struct bridge *b)
{
	nft_rule(t, chain);
	rule_subnet(t, RULE_SOURCE, ntohl(b->address.s_addr), b->prefix_len);
	rule_pair(t, b, NFT_META_OIFNAME, false);
	nft_masquerade(t);
	nft_rule_end(t);
}

void rules_begin(struct nft *t, const struct bridge *b)
{
	uint8_t ipv4 = NFPROTO_IPV4;
	uint32_t missing = 0;

	nft_add_chain(t, "raw", "filter", NF_INET_PRE_ROUTING, PRIORITY_RAW);
	nft_rule(t, "raw");
	rule_pair(t, b, NFT_META_IIFNAME, false);
	rule_verdict(t, NF_ACCEPT);
	nft_rule(t, "raw");
	nft_meta(t, NFT_META_NFPROTO, PLACE_A);
	nft_is_not(t, PLACE_A, &ipv4, 1);
	rule_verdict(t, NF_DROP);
	nft_rule(t, "raw");
	nft_fib(
	    t, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT, NFT_FIB_RESULT_OIF, PLACE_A);
	nft_is(t, PLACE_A, &missing, 4);
	rule_verdict(t, NF_DROP);
}
