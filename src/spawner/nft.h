/*
 * Tables of nf_tables, as netlink messages: what of its language our rules need. All of family
 * inet. Between nft_begin() and nft_commit() everything is one transaction: all or nothing.
 * A rule is nft_rule(), expressions, nft_rule_end().
 */
#pragma once

#include <netinet/in.h>

#include "spawner/netlink.h"

struct nft {
	struct netlink n;
	const char *table;
	size_t rule[2]; /* open attributes */
	uint32_t sets;
};

/* Types of nft(8), which it shows elements by. */
enum nft_type { NFT_ADDRESS = 7, NFT_PROTOCOL = 12, NFT_SERVICE = 13, NFT_IFNAME = 41 };
#define NFT_TYPES(a, b) ((uint32_t)(a) << 6 | (b))

/* Where a rule's expressions keep values: four bytes each; the first four are one of 16 too. */
enum nft_place { PLACE_A = 8, PLACE_B, PLACE_C, PLACE_D };

void nft_begin(struct nft *t, const char *table);
int nft_commit(struct nft *t);
int nft_commit_by(struct nft *t, int fd); /* by this NETLINK_NETFILTER socket */
/* 0 if the table is there, -ENOENT if not. */
int nft_exists(const char *table);
/* 0 if there is a rule in it; -ENOENT if not. */
int nft_has_rules(const char *table);

/* owned: only the socket that commits it may change it, a flush of all rules leaves it alone, and
 * it goes with the socket. Linux 5.12; -EOPNOTSUPP or -EINVAL before. */
void nft_add_table(struct nft *t, bool owned);
void nft_delete_table(struct nft *t);
/* type: "filter", "nat"; NULL: a chain to jump to. */
void nft_add_chain(struct nft *t, const char *name, const char *type, uint32_t hook, int priority);
/* value_size 0: a set. */
void nft_add_map(struct nft *t, const char *name, uint32_t key_type, uint32_t key_size,
    uint32_t value_type, uint32_t value_size);

/* Elements of one map: nft_elements(), each, nft_elements_end(). Adding what is there already
 * fails with -EEXIST, deleting what is not with -ENOENT. */
void nft_elements(struct nft *t, const char *map, bool add);
void nft_element(
    struct nft *t, const void *key, size_t key_size, const void *value, size_t value_size);
void nft_elements_end(struct nft *t);
/* All elements of a map; key NULL: the dump begins again. 0 also when table or map is missing. */
typedef void nft_each(void *ctx, const void *key, size_t key_size, const void *value, size_t size);
int nft_walk(const char *table, const char *map, nft_each *fn, void *ctx);

void nft_rule(struct nft *t, const char *chain);
void nft_rule_end(struct nft *t);
/* Values into places. */
void nft_meta(struct nft *t, uint32_t key, enum nft_place to);
void nft_payload(struct nft *t, uint32_t base, uint32_t offset, uint32_t len, enum nft_place to);
void nft_ct(struct nft *t, uint32_t key, enum nft_place to);
void nft_fib(struct nft *t, uint32_t flags, uint32_t result, enum nft_place to);
void nft_value(struct nft *t, const void *data, size_t len, enum nft_place to);
void nft_mask(struct nft *t, enum nft_place at, const void *mask, size_t len);
/* Go on only if equal, or different. */
void nft_is(struct nft *t, enum nft_place at, const void *data, size_t len);
void nft_is_not(struct nft *t, enum nft_place at, const void *data, size_t len);
/* Go on only if the key at `at` is in the set; of a map, the value goes to the same place. */
void nft_lookup(struct nft *t, const char *set, enum nft_place at, bool map);
/* Ends. */
void nft_verdict(struct nft *t, int verdict, const char *chain);
void nft_nat(struct nft *t, uint32_t type, enum nft_place address, int port); /* port -1: stays */
void nft_masquerade(struct nft *t);
void nft_reject(struct nft *t); /* ICMP: administratively prohibited */
/* A set of sources for nft_crowd(). */
void nft_add_crowd(struct nft *t, const char *name);
/* Go on only if whoever is at `at` (4 bytes) has more than so many connections. */
void nft_crowd(struct nft *t, const char *name, enum nft_place at, uint32_t most);
