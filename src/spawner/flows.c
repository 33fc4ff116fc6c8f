/* Forgetting flows: see flows.h. */
#include "spawner/flows.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include "spawner/netlink.h"

#define MESSAGE(kind) (NFNL_SUBSYS_CTNETLINK << 8 | (kind))
#define TUPLE_SIZE 64 /* IPv4 and ports take less */
#define AT_ONCE 128   /* so many are forgotten between two dumps */

struct end {
	uint32_t source, destination;
	uint16_t port; /* of the destination, in the network's order */
	uint8_t protocol;
};

struct flows {
	struct in_addr to, host;
	uint16_t port; /* 0: by `to` */
	size_t count;
	struct {
		char tuple[TUPLE_SIZE];
		size_t len;
	} all[AT_ONCE];
};

static void copy_of(const void *data, size_t len, uint16_t type, void *ret, size_t size)
{
	size_t found;
	const void *value = netlink_find(data, len, type, &found);

	if (value && found == size)
		memcpy(ret, value, size);
}

static struct end parse_end(const void *tuple, size_t len)
{
	struct end x = {0};
	size_t size;
	const void *ip = netlink_find(tuple, len, CTA_TUPLE_IP, &size);

	if (ip) {
		copy_of(ip, size, CTA_IP_V4_SRC, &x.source, 4);
		copy_of(ip, size, CTA_IP_V4_DST, &x.destination, 4);
	}
	ip = netlink_find(tuple, len, CTA_TUPLE_PROTO, &size);
	if (ip) {
		copy_of(ip, size, CTA_PROTO_NUM, &x.protocol, 1);
		copy_of(ip, size, CTA_PROTO_DST_PORT, &x.port, 2);
	}
	return x;
}

static bool is_meant(const struct flows *f, const struct end *there, const struct end *back)
{
	if (there->protocol != IPPROTO_UDP)
		return false;
	if (!f->port)
		return back->source == f->to.s_addr;
	return there->port == f->port && back->source == there->destination &&
	       (!f->host.s_addr || f->host.s_addr == there->destination);
}

static void on_flow(void *ctx, uint16_t type, const void *body, size_t len)
{
	struct flows *f = ctx;
	size_t there_len, back_len;
	const void *attributes, *there, *back;
	struct end a, b;

	if (!body)
		f->count = 0;
	if (type != MESSAGE(IPCTNL_MSG_CT_NEW) || len < sizeof(struct nfgenmsg) ||
	    f->count == AT_ONCE)
		return;
	attributes = (const char *)body + sizeof(struct nfgenmsg);
	len -= sizeof(struct nfgenmsg);
	there = netlink_find(attributes, len, CTA_TUPLE_ORIG, &there_len);
	back = netlink_find(attributes, len, CTA_TUPLE_REPLY, &back_len);
	if (!there || !back || there_len > TUPLE_SIZE)
		return;
	a = parse_end(there, there_len);
	b = parse_end(back, back_len);
	if (!is_meant(f, &a, &b))
		return;
	memcpy(f->all[f->count].tuple, there, there_len);
	f->all[f->count++].len = there_len;
}

static void forget(int fd, const struct flows *f)
{
	struct netlink n;
	struct nfgenmsg head = {.nfgen_family = AF_INET};

	netlink_init(&n);
	for (size_t i = 0; i < f->count; i++) {
		size_t nest;

		netlink_begin(&n, MESSAGE(IPCTNL_MSG_CT_DELETE), 0, &head, sizeof(head));
		nest = netlink_nest(&n, CTA_TUPLE_ORIG);
		netlink_put_raw(&n, f->all[i].tuple, f->all[i].len);
		netlink_close(&n, nest);
	}
	(void)netlink_talk(fd, &n); /* those that ended meanwhile are gone too */
}

static int forget_all(struct flows *f)
{
	struct netlink n;
	struct nfgenmsg head = {.nfgen_family = AF_INET};
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	int r;

	if (fd < 0)
		return fd;
	do {
		f->count = 0;
		netlink_init(&n);
		netlink_begin(&n, MESSAGE(IPCTNL_MSG_CT_GET), NLM_F_DUMP, &head, sizeof(head));
		r = netlink_dump(fd, &n, on_flow, f);
		if (r == 0 && f->count)
			forget(fd, f);
	} while (r == 0 && f->count == AT_ONCE);
	return r;
}

int flows_forget_to(struct in_addr address)
{
	struct flows f = {.to = address};

	return forget_all(&f);
}

int flows_forget_port(struct in_addr host, uint16_t port)
{
	struct flows f = {.host = host, .port = htons(port)};

	return forget_all(&f);
}
