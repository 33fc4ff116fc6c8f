/*
 * Parts of rules that the tables of containers and of boxes have in common. All but the last two
 * go on only if what they look at is so.
 */
#pragma once

#include <netinet/in.h> /* before the kernel's */

#include "spawner/bridge.h"
#include "spawner/nft.h"

#define PRIORITY_RAW -300
#define PRIORITY_DNAT -100
#define PRIORITY_SNAT 100

#define RULE_SOURCE 12 /* offsets in an IPv4 header */
#define RULE_DESTINATION 16

/* The part of their names that all pairs of a bridge have: "mfy<8 hex>-". */
#define PAIR_PREFIX_SIZE 12

void rule_ipv4(struct nft *t);
/* key: NFT_META_IIFNAME or NFT_META_OIFNAME. */
void rule_pair(struct nft *t, const struct bridge *b, uint32_t key, bool is);
/* subnet: in the host's order. */
void rule_subnet(struct nft *t, uint32_t offset, uint32_t subnet, unsigned prefix_len);
/* Any of the bits of NFT_CT_STATE or NFT_CT_STATUS. */
void rule_status(struct nft *t, uint32_t key, uint32_t bits);

/* Ends the rule. */
void rule_verdict(struct nft *t, int code);
/* A whole one: what leaves the subnet gets the address of the interface that it leaves by. */
void rule_masquerade(struct nft *t, const char *chain, const struct bridge *b);
/* Begins chain "raw", which is for what comes from pairs alone: IPv4, and from the address only
 * that is routed to where it comes from. */
void rules_begin(struct nft *t, const struct bridge *b);
