/* See rules_watch.h. */
#include "spawner/rules_watch.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/netlink.h"

#define READS_MAX 64 /* others have their turn, then there is more */

int rules_watch_open(void)
{
	_cleanup_close_ int fd = netlink_open(NETLINK_NETFILTER);
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int group = NFNLGRP_NFTABLES;

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return fd_nonblock(fd) < 0 ? -errno : take_fd(&fd);
}

static bool tells_of_removal(const char *data, size_t left)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)data;

	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
		if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE) ||
		    h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELRULE))
			return true;
	return false;
}

bool rules_watch_read(int fd)
{
	_Alignas(8) char data[8192];
	bool removed = false;

	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		removed = removed || n < 0 || tells_of_removal(data, (size_t)n);
	}
	return removed;
}
