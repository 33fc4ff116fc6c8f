/*
 * Interfaces of the containers' network, by rtnetlink. The bridge itself has no ports and only
 * holds our address (dummy interfaces are not everywhere): each container hangs on a pair of its
 * own and is routed to. So there is no segment on which siblings could take each other's address:
 * both ends have a permanent neighbour entry, ours takes no ARP at all, and a route of one address
 * leads to each pair, which the rules hold sources against.
 */
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/bridge_int.h"
#include "spawner/netlink.h"

#define METADATA_ADDRESS 0xa9feaa02 /* 169.254.170.2 */
#define CREATE (NLM_F_CREATE | NLM_F_EXCL)

/* Names of pairs have the last bits of the address in three hex digits. */
static void pair_name(const struct bridge *b, struct in_addr a, char ret[IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, "%.11s-%03x", b->name, ntohl(a.s_addr) & 0xfff);
}

static void mac_of(struct in_addr a, uint8_t side, uint8_t ret[6])
{
	ret[0] = 0x02; /* locally administered */
	ret[1] = side;
	memcpy(ret + 2, &a, 4);
}

/* 0: there is none. The socket says in which namespace. */
static int index_of(int fd, const char *name)
{
	struct ifreq q = {0};

	snprintf(q.ifr_name, IFNAMSIZ, "%s", name);
	return ioctl(fd, SIOCGIFINDEX, &q) < 0 ? 0 : q.ifr_ifindex;
}

static void put_address(struct netlink *n, int index, uint32_t address, unsigned prefix_len)
{
	struct ifaddrmsg head = {.ifa_family = AF_INET,
	    .ifa_prefixlen = (uint8_t)prefix_len,
	    .ifa_index = (uint32_t)index};

	netlink_begin(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	netlink_put_be32(n, IFA_LOCAL, address);
	netlink_put_be32(n, IFA_ADDRESS, address);
}

static void put_up(struct netlink *n, int index)
{
	struct ifinfomsg head = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};

	netlink_begin(n, RTM_NEWLINK, 0, &head, sizeof(head));
}

static void put_neighbour(struct netlink *n, int index, struct in_addr a, const uint8_t mac[6])
{
	struct ndmsg head = {
	    .ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};

	netlink_begin(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	netlink_put(n, NDA_DST, &a, sizeof(a));
	netlink_put(n, NDA_LLADDR, mac, 6);
}

/* to or via 0: none. */
static void put_route(struct netlink *n, int index, uint32_t to, uint32_t via, uint32_t source)
{
	struct rtmsg head = {.rtm_family = AF_INET,
	    .rtm_dst_len = to ? 32 : 0,
	    .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = RTPROT_STATIC,
	    .rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
	    .rtm_type = RTN_UNICAST};

	netlink_begin(n, RTM_NEWROUTE, CREATE, &head, sizeof(head));
	if (to)
		netlink_put_u32(n, RTA_DST, to);
	if (via)
		netlink_put_u32(n, RTA_GATEWAY, via);
	netlink_put_u32(n, RTA_PREFSRC, source);
	netlink_put_u32(n, RTA_OIF, (uint32_t)index);
}

/* ---- the bridge ---- */

bool link_is_up(const struct bridge *b)
{
	struct ifreq q = {0};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(q.ifr_name, b->name, IFNAMSIZ);
	return fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &q) == 0 && q.ifr_flags & IFF_UP;
}

int link_make(const struct bridge *b)
{
	struct netlink n;
	struct ifinfomsg head = {0};
	_cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);
	size_t info;
	int r, index;

	if (fd < 0)
		return fd;
	netlink_init(&n);
	netlink_begin(&n, RTM_NEWLINK, CREATE, &head, sizeof(head));
	netlink_put_text(&n, IFLA_IFNAME, b->name);
	info = netlink_nest(&n, IFLA_LINKINFO);
	netlink_put_text(&n, IFLA_INFO_KIND, "bridge");
	netlink_close(&n, info);
	r = netlink_talk(fd, &n);
	if (r < 0 && r != -EEXIST)
		return r;
	index = index_of(fd, b->name);
	netlink_init(&n);
	put_address(&n, index, ntohl(b->address.s_addr), b->prefix_len);
	put_up(&n, index); /* last: it says that the rest is there */
	return netlink_talk(fd, &n);
}

static int remove_by(int fd, const char *name)
{
	struct netlink n;
	struct ifinfomsg head = {0};
	int r;

	netlink_init(&n);
	netlink_begin(&n, RTM_DELLINK, 0, &head, sizeof(head));
	netlink_put_text(&n, IFLA_IFNAME, name);
	r = netlink_talk(fd, &n);
	return r == -ENODEV ? 0 : r;
}

static int remove_link(const char *name)
{
	_cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);

	return fd < 0 ? fd : remove_by(fd, name);
}

int link_remove(const struct bridge *b)
{
	return remove_link(b->name);
}

/* ---- pairs ---- */

/* Interfaces to come will have none; loopback keeps ::1. A kernel may have none at all. */
static int no_ipv6(void)
{
	_cleanup_close_ int fd =
	    open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return write(fd, "1", 1) < 0 ? -errno : 0;
}

/* A socket in that namespace. */
static int open_inside(int netns)
{
	_cleanup_close_ int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int fd, r;

	if (home < 0 || setns(netns, CLONE_NEWNET) < 0)
		return -errno;
	fd = netlink_open(NETLINK_ROUTE);
	r = fd < 0 ? fd : no_ipv6();
	check(setns(home, CLONE_NEWNET) == 0); /* we cannot work from here */
	if (r < 0)
		base_closep(&fd);
	return r < 0 ? r : fd;
}

static void put_pair(
    struct netlink *n, const char *name, int netns, const uint8_t outer[6], const uint8_t inner[6])
{
	const unsigned ours = IFF_UP | IFF_NOARP;
	struct ifinfomsg here = {.ifi_flags = ours, .ifi_change = ours};
	struct ifinfomsg there = {0};
	size_t info, data, peer;

	netlink_begin(n, RTM_NEWLINK, CREATE, &here, sizeof(here));
	netlink_put_text(n, IFLA_IFNAME, name);
	netlink_put(n, IFLA_ADDRESS, outer, 6);
	netlink_put_u32(n, IFLA_NUM_TX_QUEUES, 1);
	netlink_put_u32(n, IFLA_NUM_RX_QUEUES, 1);
	info = netlink_nest(n, IFLA_LINKINFO);
	netlink_put_text(n, IFLA_INFO_KIND, "veth");
	data = netlink_nest(n, IFLA_INFO_DATA);
	peer = netlink_nest(n, VETH_INFO_PEER);
	netlink_put_raw(n, &there, sizeof(there));
	netlink_put_text(n, IFLA_IFNAME, "eth0");
	netlink_put(n, IFLA_ADDRESS, inner, 6);
	netlink_put_u32(n, IFLA_NUM_TX_QUEUES, 1);
	netlink_put_u32(n, IFLA_NUM_RX_QUEUES, 1);
	netlink_put_u32(n, IFLA_NET_NS_FD, (uint32_t)netns);
	netlink_close(n, peer);
	netlink_close(n, data);
	netlink_close(n, info);
}

static void put_setting(struct netlink *n, int index, uint16_t which, uint32_t value)
{
	struct ifinfomsg head = {.ifi_index = index};
	size_t spec, family, conf;

	netlink_begin(n, RTM_NEWLINK, 0, &head, sizeof(head));
	spec = netlink_nest(n, IFLA_AF_SPEC);
	family = netlink_nest(n, AF_INET);
	conf = netlink_nest(n, IFLA_INET_CONF);
	netlink_put_u32(n, which, value);
	netlink_close(n, conf);
	netlink_close(n, family);
	netlink_close(n, spec);
}

int link_answer_loopback(const struct bridge *b, struct in_addr a)
{
	struct netlink n;
	char name[IFNAMSIZ];
	_cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);

	if (fd < 0)
		return fd;
	pair_name(b, a, name);
	netlink_init(&n);
	put_setting(&n, index_of(fd, name), IPV4_DEVCONF_ROUTE_LOCALNET, 1);
	return netlink_talk(fd, &n);
}

static int make_pair(const struct bridge *b, int fd, int netns, struct in_addr a)
{
	struct netlink n;
	char name[IFNAMSIZ];
	uint8_t outer[6], inner[6];
	int r, index;

	pair_name(b, a, name);
	mac_of(a, 0, inner);
	mac_of(a, 1, outer);
	netlink_init(&n);
	put_pair(&n, name, netns, outer, inner);
	r = netlink_talk(fd, &n);
	/* The address is ours: such a pair is a leftover. */
	if (r == -EEXIST && (r = remove_by(fd, name)) == 0)
		r = netlink_talk(fd, &n);
	if (r < 0)
		return r;
	index = index_of(fd, name);
	netlink_init(&n);
	put_setting(&n, index, IPV4_DEVCONF_RP_FILTER, 1); /* should our rules be gone */
	put_neighbour(&n, index, a, inner);
	put_route(&n, index, a.s_addr, 0, b->address.s_addr);
	return netlink_talk(fd, &n);
}

static void put_loopback(struct netlink *n, int fd)
{
	int index = index_of(fd, "lo");

	put_up(n, index);
	put_address(n, index, METADATA_ADDRESS, 32);
}

static int fill_inside(const struct bridge *b, int fd, struct in_addr a, bool metadata)
{
	struct netlink n;
	uint8_t outer[6];
	int index = index_of(fd, "eth0");

	mac_of(a, 1, outer);
	netlink_init(&n);
	if (metadata)
		put_loopback(&n, fd);
	put_up(&n, index);
	put_address(&n, index, ntohl(a.s_addr), 32);
	put_neighbour(&n, index, b->address, outer);
	put_route(&n, index, b->address.s_addr, 0, a.s_addr);
	put_route(&n, index, 0, b->address.s_addr, a.s_addr);
	return netlink_talk(fd, &n);
}

/* The end that was up first has no carrier yet as far as its queue knows, and loses packets, until
 * a work queue comes to it; being asked about a link, the kernel does that at once (since 6.8). */
static void wait_for_carrier(const struct bridge *b, int fd, struct in_addr a)
{
	struct netlink n;
	char name[IFNAMSIZ];
	struct ifinfomsg head = {0};

	pair_name(b, a, name);
	netlink_init(&n);
	netlink_begin(&n, RTM_GETLINK, 0, &head, sizeof(head));
	netlink_put_text(&n, IFLA_IFNAME, name);
	(void)netlink_talk(fd, &n);
}

int link_attach(
    const struct bridge *b, int netns, struct in_addr a, uint8_t ret_mac[6], struct err *e)
{
	_cleanup_close_ int here = netlink_open(NETLINK_ROUTE);
	_cleanup_close_ int inside = -1;
	int r;

	if (here < 0)
		return err_sys(e, -here, "opening netlink");
	inside = open_inside(netns);
	if (inside < 0)
		return err_sys(e, -inside, "entering the network namespace of a container");
	r = make_pair(b, here, netns, a);
	if (r < 0)
		err_sys(e, -r, "making a pair of interfaces");
	else if ((r = fill_inside(b, inside, a, true)) < 0)
		err_sys(e, -r, "setting up eth0 of a container");
	if (r < 0) {
		(void)link_detach(b, a);
		return r;
	}
	wait_for_carrier(b, here, a);
	mac_of(a, 0, ret_mac);
	return 0;
}

int link_join(const struct bridge *b, int host, struct in_addr a)
{
	_cleanup_close_ int inside = netlink_open(NETLINK_ROUTE);
	_cleanup_close_ int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = inside < 0 ? inside : netns < 0 ? -errno : no_ipv6();

	if (r == 0)
		r = make_pair(b, host, netns, a);
	if (r == 0)
		r = fill_inside(b, inside, a, false);
	if (r == 0)
		wait_for_carrier(b, host, a);
	return r;
}

int link_detach(const struct bridge *b, struct in_addr a)
{
	char name[IFNAMSIZ];

	pair_name(b, a, name);
	return remove_link(name);
}

int bridge_loopback(void)
{
	struct netlink n;
	_cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);

	if (fd < 0)
		return fd;
	netlink_init(&n);
	put_loopback(&n, fd);
	return netlink_talk(fd, &n);
}

/* ---- which subnet ---- */

struct clash {
	uint32_t net, mask;
	bool found;
};

static void on_route(void *ctx, uint16_t type, const void *body, size_t len)
{
	struct clash *c = ctx;
	const struct rtmsg *route = body;
	const void *to;
	uint32_t net, mask;
	size_t size;

	if (!body)
		c->found = false;
	if (type != RTM_NEWROUTE || len < sizeof(*route) || !route->rtm_dst_len ||
	    route->rtm_dst_len > 32)
		return;
	to = netlink_find(route + 1, len - NLMSG_ALIGN(sizeof(*route)), RTA_DST, &size);
	if (!to || size != 4)
		return;
	memcpy(&net, to, 4);
	mask = ~UINT32_C(0) << (32 - route->rtm_dst_len);
	mask &= c->mask; /* the wider of the two decides */
	if ((ntohl(net) & mask) == (c->net & mask))
		c->found = true;
}

int link_clash(struct in_addr subnet, unsigned prefix_len)
{
	struct netlink n;
	struct rtmsg head = {.rtm_family = AF_INET};
	struct clash c = {ntohl(subnet.s_addr), ~UINT32_C(0) << (32 - prefix_len), false};
	_cleanup_close_ int fd = netlink_open(NETLINK_ROUTE);
	int r;

	if (fd < 0)
		return fd;
	netlink_init(&n);
	netlink_begin(&n, RTM_GETROUTE, NLM_F_DUMP, &head, sizeof(head));
	r = netlink_dump(fd, &n, on_route, &c);
	return r < 0 ? r : c.found;
}
