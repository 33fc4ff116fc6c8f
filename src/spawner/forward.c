/* Forwarding of the host: see forward.h. */
#include "spawner/forward.h"

#include <netinet/in.h> /* before the kernel's */

#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "spawner/nft.h"

#define SWITCH "/proc/sys/net/ipv4/ip_forward"
#define TABLE "mayfly-forward"
#define BEFORE "before"
#define NAMES_MAX 512

bool forward_is_on(void)
{
	_cleanup_close_ int fd = open(SWITCH, O_RDONLY | O_CLOEXEC);
	char c = '0';

	return fd >= 0 && read(fd, &c, 1) == 1 && c != '0';
}

static int turn(const char *to)
{
	_cleanup_close_ int fd = open(SWITCH, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, to, 1) < 0 ? -errno : 0;
}

static bool is_loopback(const char *name)
{
	return strcmp(name, "lo") == 0;
}

static bool is_ours(const char *name)
{
	return strncmp(name, "mfy", 3) == 0 || strncmp(name, "mfb", 3) == 0;
}

/* ---- the others' interfaces ---- */

static void freenamesp(struct if_nameindex **all)
{
	if (*all)
		if_freenameindex(*all);
}

static int guard(void)
{
	_cleanup_(freenamesp) struct if_nameindex *all = if_nameindex();
	struct nft t;
	int r;

	if (!all)
		return -errno;
	nft_begin(&t, TABLE);
	nft_add_table(&t, false);
	nft_add_map(&t, BEFORE, NFT_IFNAME, IFNAMSIZ, 0, 0);
	nft_elements(&t, BEFORE, true);
	for (struct if_nameindex *i = all; i->if_index && i - all < NAMES_MAX; i++) {
		char name[IFNAMSIZ] = {0};

		snprintf(name, IFNAMSIZ, "%s", i->if_name);
		if (!is_ours(name) && !is_loopback(name))
			nft_element(&t, name, IFNAMSIZ, NULL, 0);
	}
	nft_elements_end(&t);
	nft_add_chain(&t, "forward", "filter", NF_INET_FORWARD, 0);
	nft_rule(&t, "forward");
	nft_meta(&t, NFT_META_IIFNAME, PLACE_A);
	nft_lookup(&t, BEFORE, PLACE_A, false);
	nft_meta(&t, NFT_META_OIFNAME, PLACE_A);
	nft_lookup(&t, BEFORE, PLACE_A, false);
	nft_verdict(&t, NF_DROP, NULL);
	nft_rule_end(&t);
	r = nft_commit(&t);
	return r == -EEXIST ? 0 : r;
}

struct names {
	unsigned count;
	char all[NAMES_MAX][IFNAMSIZ];
};

static void on_name(void *ctx, const void *key, size_t key_size, const void *value, size_t size)
{
	struct names *n = ctx;

	(void)value;
	(void)size;
	if (!key)
		n->count = 0;
	if (!key || key_size != IFNAMSIZ || n->count == NAMES_MAX)
		return;
	memcpy(n->all[n->count], key, IFNAMSIZ);
	n->all[n->count++][IFNAMSIZ - 1] = '\0';
}

static bool is_among(const struct names *n, const char *name)
{
	for (unsigned i = 0; i < n->count; i++)
		if (strcmp(n->all[i], name) == 0)
			return true;
	return false;
}

int forward_off(const char *name)
{
	_cleanup_(freenamesp) struct if_nameindex *all = NULL;
	struct names before = {0};
	struct nft t;
	int r = nft_exists(TABLE);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = nft_walk(TABLE, BEFORE, on_name, &before);
	if (r < 0)
		return r;
	all = if_nameindex();
	if (!all)
		return -errno;
	for (struct if_nameindex *i = all; i->if_index; i++)
		if (!is_loopback(i->if_name) && strncmp(i->if_name, name, strlen(name)) != 0 &&
		    !is_among(&before, i->if_name))
			return 0;
	r = turn("0");
	if (r < 0)
		return r;
	nft_begin(&t, TABLE);
	nft_delete_table(&t);
	return nft_commit(&t);
}

/* ---- the others' rules ---- */

static const char *text_of(const void *data, size_t len, uint16_t type)
{
	size_t size;
	const char *text = netlink_find(data, len, type, &size);

	return text && size && text[size - 1] == '\0' ? text : "?";
}

static bool number_of(const void *data, size_t len, uint16_t type, uint32_t *ret)
{
	size_t size;
	const void *number = netlink_find(data, len, type, &size);

	if (!number || size != 4)
		return false;
	memcpy(ret, number, 4);
	*ret = ntohl(*ret);
	return true;
}

static void on_chain(void *ctx, uint16_t type, const void *body, size_t len)
{
	const struct nfgenmsg *head = body;
	const void *attributes = head + 1, *hook;
	uint32_t number, policy;
	size_t size;

	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) || len < sizeof(*head))
		return;
	len -= sizeof(*head);
	hook = netlink_find(attributes, len, NFTA_CHAIN_HOOK, &size);
	if (!hook || !number_of(hook, size, NFTA_HOOK_HOOKNUM, &number) ||
	    number != NF_INET_FORWARD ||
	    (head->nfgen_family != NFPROTO_IPV4 && head->nfgen_family != NFPROTO_INET) ||
	    !number_of(attributes, len, NFTA_CHAIN_POLICY, &policy) || policy != NF_DROP)
		return;
	log_warn(
	    "chain %s of table %s drops what it does not know; containers need rules in it that "
	    "accept iifname \"%s-*\" and oifname \"%s-*\"",
	    text_of(attributes, len, NFTA_CHAIN_NAME), text_of(attributes, len, NFTA_CHAIN_TABLE),
	    (const char *)ctx, (const char *)ctx);
}

static void warn(const char *name)
{
	struct netlink n;
	struct nfgenmsg head = {.nfgen_family = NFPROTO_UNSPEC};
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	char copy[IFNAMSIZ];

	if (fd < 0)
		return;
	snprintf(copy, sizeof(copy), "%s", name);
	netlink_init(&n);
	netlink_begin(
	    &n, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, NLM_F_DUMP, &head, sizeof(head));
	(void)netlink_dump(fd, &n, on_chain, copy);
}

int forward_on(const char *name, struct err *e)
{
	int r;

	warn(name);
	if (forward_is_on())
		return 0;
	r = guard();
	if (r == 0)
		r = turn("1");
	if (r < 0)
		return err_sys(e, -r,
		    "turning on forwarding (containers need it; or run sysctl -w "
		    "net.ipv4.ip_forward=1)");
	log_info(
	    "turned on net.ipv4.ip_forward; nothing but containers' packets is forwarded between "
	    "the interfaces of this host (table " TABLE ")");
	return 0;
}
