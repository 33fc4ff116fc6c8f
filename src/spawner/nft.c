/* nf_tables by netlink: see nft.h. */
#include "spawner/nft.h"

#include <linux/icmp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#define MESSAGE(kind) (NFNL_SUBSYS_NFTABLES << 8 | (kind))
#define CREATE (NLM_F_CREATE | NLM_F_EXCL)

/* ---- transactions ---- */

static void message(struct nft *t, uint16_t kind, uint16_t flags)
{
	struct nfgenmsg head = {.nfgen_family = NFPROTO_INET};

	netlink_begin(&t->n, MESSAGE(kind), flags, &head, sizeof(head));
}

void nft_begin(struct nft *t, const char *table)
{
	struct nfgenmsg head = {.res_id = htons(NFNL_SUBSYS_NFTABLES)};

	netlink_init(&t->n);
	t->table = table;
	t->sets = 0;
	netlink_begin(&t->n, NFNL_MSG_BATCH_BEGIN, 0, &head, sizeof(head));
}

int nft_commit_by(struct nft *t, int fd)
{
	struct nfgenmsg head = {.res_id = htons(NFNL_SUBSYS_NFTABLES)};

	netlink_acknowledge(&t->n); /* older kernels do not acknowledge the end itself */
	netlink_begin(&t->n, NFNL_MSG_BATCH_END, 0, &head, sizeof(head));
	return netlink_talk(fd, &t->n);
}

int nft_commit(struct nft *t)
{
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);

	return fd < 0 ? fd : nft_commit_by(t, fd);
}

int nft_exists(const char *table)
{
	struct netlink n;
	struct nfgenmsg head = {.nfgen_family = NFPROTO_INET};
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);

	if (fd < 0)
		return fd;
	netlink_init(&n);
	netlink_begin(&n, MESSAGE(NFT_MSG_GETTABLE), 0, &head, sizeof(head));
	netlink_put_text(&n, NFTA_TABLE_NAME, table);
	return netlink_talk(fd, &n);
}

static void on_rule(void *ctx, uint16_t type, const void *body, size_t len)
{
	(void)body;
	(void)len;
	if (type == MESSAGE(NFT_MSG_NEWRULE))
		*(bool *)ctx = true;
}

int nft_has_rules(const char *table)
{
	struct netlink n;
	struct nfgenmsg head = {.nfgen_family = NFPROTO_INET};
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	bool found = false;
	int r;

	if (fd < 0)
		return fd;
	netlink_init(&n);
	netlink_begin(&n, MESSAGE(NFT_MSG_GETRULE), NLM_F_DUMP, &head, sizeof(head));
	netlink_put_text(&n, NFTA_RULE_TABLE, table);
	r = netlink_dump(fd, &n, on_rule, &found);
	return r < 0 ? r : found ? 0 : -ENOENT;
}

/* ---- what a table consists of ---- */

void nft_add_table(struct nft *t, bool owned)
{
	message(t, NFT_MSG_NEWTABLE, CREATE);
	netlink_put_text(&t->n, NFTA_TABLE_NAME, t->table);
	if (owned)
		netlink_put_be32(&t->n, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
}

void nft_delete_table(struct nft *t)
{
	message(t, NFT_MSG_DELTABLE, 0);
	netlink_put_text(&t->n, NFTA_TABLE_NAME, t->table);
}

void nft_add_chain(struct nft *t, const char *name, const char *type, uint32_t hook, int priority)
{
	size_t nest;

	message(t, NFT_MSG_NEWCHAIN, CREATE);
	netlink_put_text(&t->n, NFTA_CHAIN_TABLE, t->table);
	netlink_put_text(&t->n, NFTA_CHAIN_NAME, name);
	if (!type)
		return;
	netlink_put_text(&t->n, NFTA_CHAIN_TYPE, type);
	netlink_put_be32(&t->n, NFTA_CHAIN_POLICY, NF_ACCEPT);
	nest = netlink_nest(&t->n, NFTA_CHAIN_HOOK);
	netlink_put_be32(&t->n, NFTA_HOOK_HOOKNUM, hook);
	netlink_put_be32(&t->n, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	netlink_close(&t->n, nest);
}

void nft_add_map(struct nft *t, const char *name, uint32_t key_type, uint32_t key_size,
    uint32_t value_type, uint32_t value_size)
{
	static const struct {
		uint8_t type, len;
		uint8_t order[4];
	} host_order = {0, 4, {1}};

	message(t, NFT_MSG_NEWSET, CREATE);
	netlink_put_text(&t->n, NFTA_SET_TABLE, t->table);
	netlink_put_text(&t->n, NFTA_SET_NAME, name);
	netlink_put_be32(&t->n, NFTA_SET_ID, ++t->sets);
	netlink_put_be32(&t->n, NFTA_SET_FLAGS, value_size ? NFT_SET_MAP : 0);
	netlink_put_be32(&t->n, NFTA_SET_KEY_TYPE, key_type);
	netlink_put_be32(&t->n, NFTA_SET_KEY_LEN, key_size);
	if (key_type == NFT_IFNAME) /* so that nft(8) shows names */
		netlink_put(&t->n, NFTA_SET_USERDATA, &host_order, sizeof(host_order));
	if (!value_size)
		return;
	netlink_put_be32(&t->n, NFTA_SET_DATA_TYPE, value_type);
	netlink_put_be32(&t->n, NFTA_SET_DATA_LEN, value_size);
}

/* ---- elements ---- */

static void put_value(struct netlink *n, uint16_t type, const void *data, size_t len)
{
	size_t nest = netlink_nest(n, type);

	netlink_put(n, NFTA_DATA_VALUE, data, len);
	netlink_close(n, nest);
}

void nft_elements(struct nft *t, const char *map, bool add)
{
	message(t, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? CREATE : 0);
	netlink_put_text(&t->n, NFTA_SET_ELEM_LIST_TABLE, t->table);
	netlink_put_text(&t->n, NFTA_SET_ELEM_LIST_SET, map);
	t->rule[0] = netlink_nest(&t->n, NFTA_SET_ELEM_LIST_ELEMENTS);
}

void nft_element(
    struct nft *t, const void *key, size_t key_size, const void *value, size_t value_size)
{
	size_t nest = netlink_nest(&t->n, NFTA_LIST_ELEM);

	put_value(&t->n, NFTA_SET_ELEM_KEY, key, key_size);
	if (value_size)
		put_value(&t->n, NFTA_SET_ELEM_DATA, value, value_size);
	netlink_close(&t->n, nest);
}

void nft_elements_end(struct nft *t)
{
	netlink_close(&t->n, t->rule[0]);
}

struct walk {
	nft_each *fn;
	void *ctx;
};

static void on_elements(void *ctx, uint16_t type, const void *body, size_t len)
{
	struct walk *w = ctx;
	size_t size, key_size, value_size = 0;
	const char *list, *one;

	if (!body)
		w->fn(w->ctx, NULL, 0, NULL, 0);
	if (type != MESSAGE(NFT_MSG_NEWSETELEM) || len < sizeof(struct nfgenmsg))
		return;
	list = netlink_find((const char *)body + sizeof(struct nfgenmsg),
	    len - sizeof(struct nfgenmsg), NFTA_SET_ELEM_LIST_ELEMENTS, &size);
	for (size_t one_size;
	     list && (one = netlink_find(list, size, NFTA_LIST_ELEM, &one_size));) {
		const void *key = netlink_find(one, one_size, NFTA_SET_ELEM_KEY, &key_size);
		const void *value = netlink_find(one, one_size, NFTA_SET_ELEM_DATA, &value_size);
		const char *next = one + NLA_ALIGN(one_size);

		if (key)
			key = netlink_find(key, key_size, NFTA_DATA_VALUE, &key_size);
		if (value)
			value = netlink_find(value, value_size, NFTA_DATA_VALUE, &value_size);
		if (key)
			w->fn(w->ctx, key, key_size, value, value ? value_size : 0);
		size = next < list + size ? (size_t)(list + size - next) : 0;
		list = next;
	}
}

int nft_walk(const char *table, const char *map, nft_each *fn, void *ctx)
{
	struct netlink n;
	struct walk w = {fn, ctx};
	struct nfgenmsg head = {.nfgen_family = NFPROTO_INET};
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	int r;

	if (fd < 0)
		return fd;
	netlink_init(&n);
	netlink_begin(&n, MESSAGE(NFT_MSG_GETSETELEM), NLM_F_DUMP, &head, sizeof(head));
	netlink_put_text(&n, NFTA_SET_ELEM_LIST_TABLE, table);
	netlink_put_text(&n, NFTA_SET_ELEM_LIST_SET, map);
	r = netlink_dump(fd, &n, on_elements, &w);
	return r == -ENOENT ? 0 : r;
}

/* ---- rules ---- */

void nft_rule(struct nft *t, const char *chain)
{
	message(t, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	netlink_put_text(&t->n, NFTA_RULE_TABLE, t->table);
	netlink_put_text(&t->n, NFTA_RULE_CHAIN, chain);
	t->rule[0] = netlink_nest(&t->n, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft *t)
{
	netlink_close(&t->n, t->rule[0]);
}

struct open_expression {
	size_t outer, inner;
};

static struct open_expression begin(struct nft *t, const char *name)
{
	struct open_expression x = {.outer = netlink_nest(&t->n, NFTA_LIST_ELEM)};

	netlink_put_text(&t->n, NFTA_EXPR_NAME, name);
	x.inner = netlink_nest(&t->n, NFTA_EXPR_DATA);
	return x;
}

static void end(struct nft *t, struct open_expression x)
{
	netlink_close(&t->n, x.inner);
	netlink_close(&t->n, x.outer);
}

void nft_meta(struct nft *t, uint32_t key, enum nft_place to)
{
	struct open_expression x = begin(t, "meta");

	netlink_put_be32(&t->n, NFTA_META_KEY, key);
	netlink_put_be32(&t->n, NFTA_META_DREG, to);
	end(t, x);
}

void nft_payload(struct nft *t, uint32_t base, uint32_t offset, uint32_t len, enum nft_place to)
{
	struct open_expression x = begin(t, "payload");

	netlink_put_be32(&t->n, NFTA_PAYLOAD_DREG, to);
	netlink_put_be32(&t->n, NFTA_PAYLOAD_BASE, base);
	netlink_put_be32(&t->n, NFTA_PAYLOAD_OFFSET, offset);
	netlink_put_be32(&t->n, NFTA_PAYLOAD_LEN, len);
	end(t, x);
}

void nft_ct(struct nft *t, uint32_t key, enum nft_place to)
{
	struct open_expression x = begin(t, "ct");

	netlink_put_be32(&t->n, NFTA_CT_KEY, key);
	netlink_put_be32(&t->n, NFTA_CT_DREG, to);
	end(t, x);
}

void nft_fib(struct nft *t, uint32_t flags, uint32_t result, enum nft_place to)
{
	struct open_expression x = begin(t, "fib");

	netlink_put_be32(&t->n, NFTA_FIB_DREG, to);
	netlink_put_be32(&t->n, NFTA_FIB_RESULT, result);
	netlink_put_be32(&t->n, NFTA_FIB_FLAGS, flags);
	end(t, x);
}

void nft_value(struct nft *t, const void *data, size_t len, enum nft_place to)
{
	struct open_expression x = begin(t, "immediate");

	netlink_put_be32(&t->n, NFTA_IMMEDIATE_DREG, to);
	put_value(&t->n, NFTA_IMMEDIATE_DATA, data, len);
	end(t, x);
}

void nft_mask(struct nft *t, enum nft_place at, const void *mask, size_t len)
{
	static const char zero[16];
	struct open_expression x = begin(t, "bitwise");

	netlink_put_be32(&t->n, NFTA_BITWISE_SREG, at);
	netlink_put_be32(&t->n, NFTA_BITWISE_DREG, at);
	netlink_put_be32(&t->n, NFTA_BITWISE_LEN, (uint32_t)len);
	put_value(&t->n, NFTA_BITWISE_MASK, mask, len);
	put_value(&t->n, NFTA_BITWISE_XOR, zero, len);
	end(t, x);
}

static void compare(struct nft *t, uint32_t op, enum nft_place at, const void *data, size_t len)
{
	struct open_expression x = begin(t, "cmp");

	netlink_put_be32(&t->n, NFTA_CMP_SREG, at);
	netlink_put_be32(&t->n, NFTA_CMP_OP, op);
	put_value(&t->n, NFTA_CMP_DATA, data, len);
	end(t, x);
}

void nft_is(struct nft *t, enum nft_place at, const void *data, size_t len)
{
	compare(t, NFT_CMP_EQ, at, data, len);
}

void nft_is_not(struct nft *t, enum nft_place at, const void *data, size_t len)
{
	compare(t, NFT_CMP_NEQ, at, data, len);
}

void nft_lookup(struct nft *t, const char *set, enum nft_place at, bool map)
{
	struct open_expression x = begin(t, "lookup");

	netlink_put_text(&t->n, NFTA_LOOKUP_SET, set);
	netlink_put_be32(&t->n, NFTA_LOOKUP_SREG, at);
	if (map)
		netlink_put_be32(&t->n, NFTA_LOOKUP_DREG, at);
	end(t, x);
}

void nft_verdict(struct nft *t, int verdict, const char *chain)
{
	struct open_expression x = begin(t, "immediate");
	size_t data, code;

	netlink_put_be32(&t->n, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = netlink_nest(&t->n, NFTA_IMMEDIATE_DATA);
	code = netlink_nest(&t->n, NFTA_DATA_VERDICT);
	netlink_put_be32(&t->n, NFTA_VERDICT_CODE, (uint32_t)verdict);
	if (chain)
		netlink_put_text(&t->n, NFTA_VERDICT_CHAIN, chain);
	netlink_close(&t->n, code);
	netlink_close(&t->n, data);
	end(t, x);
}

void nft_nat(struct nft *t, uint32_t type, enum nft_place address, int port)
{
	struct open_expression x = begin(t, "nat");

	netlink_put_be32(&t->n, NFTA_NAT_TYPE, type);
	netlink_put_be32(&t->n, NFTA_NAT_FAMILY, NFPROTO_IPV4);
	netlink_put_be32(&t->n, NFTA_NAT_REG_ADDR_MIN, address);
	if (port >= 0)
		netlink_put_be32(&t->n, NFTA_NAT_REG_PROTO_MIN, (uint32_t)port);
	end(t, x);
}

void nft_reject(struct nft *t)
{
	struct open_expression x = begin(t, "reject");
	uint8_t code = ICMP_PKT_FILTERED;

	netlink_put_be32(&t->n, NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
	netlink_put(&t->n, NFTA_REJECT_ICMP_CODE, &code, 1);
	end(t, x);
}

void nft_add_crowd(struct nft *t, const char *name)
{
	message(t, NFT_MSG_NEWSET, CREATE);
	netlink_put_text(&t->n, NFTA_SET_TABLE, t->table);
	netlink_put_text(&t->n, NFTA_SET_NAME, name);
	netlink_put_be32(&t->n, NFTA_SET_ID, ++t->sets);
	netlink_put_be32(&t->n, NFTA_SET_FLAGS, NFT_SET_EVAL);
	netlink_put_be32(&t->n, NFTA_SET_KEY_TYPE, NFT_ADDRESS);
	netlink_put_be32(&t->n, NFTA_SET_KEY_LEN, 4);
}

void nft_crowd(struct nft *t, const char *name, enum nft_place at, uint32_t most)
{
	struct open_expression x = begin(t, "dynset");
	size_t expression, data;

	netlink_put_text(&t->n, NFTA_DYNSET_SET_NAME, name);
	netlink_put_be32(&t->n, NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
	netlink_put_be32(&t->n, NFTA_DYNSET_SREG_KEY, at);
	expression = netlink_nest(&t->n, NFTA_DYNSET_EXPR);
	netlink_put_text(&t->n, NFTA_EXPR_NAME, "connlimit");
	data = netlink_nest(&t->n, NFTA_EXPR_DATA);
	netlink_put_be32(&t->n, NFTA_CONNLIMIT_COUNT, most);
	netlink_put_be32(&t->n, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	netlink_close(&t->n, data);
	netlink_close(&t->n, expression);
	end(t, x);
}

void nft_masquerade(struct nft *t)
{
	end(t, begin(t, "masq"));
}
