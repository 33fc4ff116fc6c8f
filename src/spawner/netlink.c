/* Netlink messages: see netlink.h. */
#include "spawner/netlink.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRIES_MAX 100 /* of a dump that others keep changing under us */

static void *add(struct netlink *n, size_t len)
{
	size_t room = NLMSG_ALIGN(len);
	char *at = n->data + n->len;

	if (n->full || room > NETLINK_SIZE - n->len) {
		n->full = true;
		return NULL;
	}
	memset(at, 0, room);
	n->len += room;
	if (n->message < n->len)
		((struct nlmsghdr *)(void *)(n->data + n->message))->nlmsg_len =
		    (uint32_t)(n->len - n->message);
	return at;
}

void netlink_begin(
    struct netlink *n, uint16_t type, uint16_t flags, const void *head, size_t head_len)
{
	struct nlmsghdr *h;
	size_t at = n->len;

	n->message = at;
	h = add(n, sizeof(*h) + head_len);
	if (!h)
		return;
	h->nlmsg_type = type;
	h->nlmsg_flags = flags | NLM_F_REQUEST;
	h->nlmsg_seq = ++n->seq;
	memcpy(h + 1, head, head_len);
}

void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len)
{
	struct nlattr *a = add(n, sizeof(*a) + len);

	if (!a)
		return;
	a->nla_type = type;
	a->nla_len = (uint16_t)(sizeof(*a) + len);
	if (len)
		memcpy(a + 1, data, len);
}

void netlink_put_raw(struct netlink *n, const void *data, size_t len)
{
	void *at = add(n, len);

	if (at)
		memcpy(at, data, len);
}

void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value)
{
	netlink_put(n, type, &value, sizeof(value));
}

void netlink_put_be32(struct netlink *n, uint16_t type, uint32_t value)
{
	netlink_put_u32(n, type, htonl(value));
}

void netlink_put_text(struct netlink *n, uint16_t type, const char *text)
{
	netlink_put(n, type, text, strlen(text) + 1);
}

size_t netlink_nest(struct netlink *n, uint16_t type)
{
	size_t at = n->len;

	netlink_put(n, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void netlink_close(struct netlink *n, size_t nest)
{
	if (!n->full)
		((struct nlattr *)(void *)(n->data + nest))->nla_len = (uint16_t)(n->len - nest);
}

void netlink_acknowledge(struct netlink *n)
{
	if (n->full)
		return;
	((struct nlmsghdr *)(void *)(n->data + n->message))->nlmsg_flags |= NLM_F_ACK;
	n->wanted = n->seq;
}

int netlink_open(int protocol)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	int one = 1;

	if (fd < 0)
		return -errno;
	/* Errors without a copy of what they are about. */
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return take_fd(&fd);
}

static int send_all(int fd, struct netlink *n)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (n->full)
		return -ENOBUFS;
	if (sendto(fd, n->data, n->len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

int netlink_talk(int fd, struct netlink *n)
{
	_Alignas(8) char answer[4096];
	int first = 0, r;
	bool done = false;

	if (!n->wanted)
		netlink_acknowledge(n);
	r = send_all(fd, n);
	if (r < 0)
		return r;
	for (;;) {
		ssize_t got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		for (size_t left = (size_t)got; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			struct nlmsgerr *e = NLMSG_DATA(h);

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
				continue;
			if (e->error && !first)
				first = e->error;
			done = done || h->nlmsg_seq == n->wanted;
		}
	}
	return first ? first : done ? 0 : -EIO;
}

/* 1: there is more; 0: the end; -EINTR: begin again. */
static int take_part(char *data, size_t left, netlink_each *fn, void *ctx, bool *torn)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)data;

	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		*torn = *torn || h->nlmsg_flags & NLM_F_DUMP_INTR;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_type == NLMSG_DONE)
			return *torn ? -EINTR : 0;
		fn(ctx, h->nlmsg_type, NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN);
	}
	return 1;
}

int netlink_dump(int fd, struct netlink *n, netlink_each *fn, void *ctx)
{
	_Alignas(8) char data[NETLINK_SIZE];
	int r = -EINTR;

	for (unsigned i = 0; r == -EINTR && i < TRIES_MAX; i++) {
		bool torn = false;

		if (i)
			fn(ctx, 0, NULL, 0);
		r = send_all(fd, n);
		for (r = r < 0 ? r : 1; r == 1;) {
			ssize_t got = recv(fd, data, sizeof(data), 0);

			if (got < 0 && errno == EINTR)
				continue;
			r = got < 0 ? -errno : take_part(data, (size_t)got, fn, ctx, &torn);
		}
	}
	return r;
}

const void *netlink_find(const void *data, size_t len, uint16_t type, size_t *ret_len)
{
	const char *at = data;

	while (len >= sizeof(struct nlattr)) {
		const struct nlattr *a = (const struct nlattr *)(const void *)at;
		size_t whole = NLA_ALIGN((size_t)a->nla_len);

		if (a->nla_len < sizeof(*a) || a->nla_len > len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type) {
			*ret_len = a->nla_len - sizeof(*a);
			return a + 1;
		}
		at += whole;
		len -= whole < len ? whole : len;
	}
	return NULL;
}
