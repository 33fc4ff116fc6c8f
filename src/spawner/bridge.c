/*
 * The network of containers: what is made when, and who has which address. The directory is the
 * memory: links, because those are made whole or not at all, and by one of several only. "subnet"
 * points to "10.213.0.0/20"; "<address>" is another name of a file of its holder's, so that the
 * address is free when the holder's own name for it has gone; bridge_ports.c has its own; "lock" is
 * a file.
 */
#include "spawner/bridge.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/str.h"
#include "spawner/bridge_int.h"
#include "spawner/forward.h"
#include "spawner/nft.h"

void bridge_init(struct bridge *b, const char *instance, int dir)
{
	uint32_t hash = 2166136261u; /* FNV-1a: the same in every process */

	for (const char *c = instance; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	*b = (struct bridge){.dir = dir};
	snprintf(b->name, sizeof(b->name), "mfy%08x", hash);
	snprintf(b->table, sizeof(b->table), "mayfly-%s", instance);
}

static int lock(const struct bridge *b)
{
	_cleanup_close_ int fd =
	    openat(b->dir, "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	while (fd >= 0 && flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	return fd < 0 ? -errno : take_fd(&fd);
}

/* ---- the subnet ---- */

static struct in_addr own_address(struct in_addr subnet)
{
	return (struct in_addr){subnet.s_addr | htonl(1)};
}

/* False: none is remembered. */
static bool recall_subnet(struct bridge *b)
{
	char text[32], *slash;
	ssize_t n = readlinkat(b->dir, "subnet", text, sizeof(text) - 1);
	struct in_addr subnet;

	text[n > 0 ? n : 0] = '\0';
	slash = strchr(text, '/');
	if (!slash || strcmp(slash, "/20") != 0)
		return false;
	*slash = '\0';
	if (inet_pton(AF_INET, text, &subnet) != 1)
		return false;
	b->address = own_address(subnet);
	b->prefix_len = PREFIX_LEN;
	return true;
}

int subnet_choose(
    const struct subnet_range *ranges, size_t count, struct in_addr *ret, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		for (unsigned k = 0; k < ranges[i].count; k++) {
			struct in_addr subnet = {htonl(ranges[i].first + (k << (32 - PREFIX_LEN)))};
			int r = link_clash(subnet, PREFIX_LEN);

			if (r < 0)
				return err_sys(e, -r, "reading the host's routes");
			if (r)
				continue;
			*ret = subnet;
			return 0;
		}
	return -EADDRNOTAVAIL;
}

static int choose_subnet(struct bridge *b, struct err *e)
{
	static const struct subnet_range ranges[] = {
	    {0x0ad50000, 16}, {0xac1d0000, 16}, {0xc0a8d000, 1}};
	char text[32], address[INET_ADDRSTRLEN];
	struct in_addr subnet;
	int r = subnet_choose(ranges, ARRAY_SIZE(ranges), &subnet, e);

	if (r == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL,
		    "no room for containers: routes of this host cover 10.213.0.0/16, "
		    "172.29.0.0/16 and 192.168.208.0/20");
	if (r < 0)
		return r;
	inet_ntop(AF_INET, &subnet, address, sizeof(address));
	snprintf(text, sizeof(text), "%s/%d", address, PREFIX_LEN);
	(void)unlinkat(b->dir, "subnet", 0);
	if (symlinkat(text, b->dir, "subnet") < 0)
		return err_sys(e, errno, "remembering the containers' subnet");
	check(recall_subnet(b));
	return 0;
}

/* ---- all of it ---- */

static int make(struct bridge *b, struct err *e)
{
	int r = 0;

	if (!recall_subnet(b)) {
		/* What there may be of that name has another address. */
		(void)link_remove(b);
		(void)table_remove(b);
		r = choose_subnet(b, e);
	}
	if (r < 0)
		return r;
	r = nft_exists(b->table);
	if (r == -ENOENT && (r = table_make(b)) == 0)
		r = ports_restore(b);
	if (r < 0)
		return err_sys(e, -r,
		    "making the table of packet filter rules (the kernel needs nf_tables with "
		    "NAT, fib and conntrack)");
	r = link_is_up(b) ? 0 : link_make(b);
	if (r < 0)
		return err_sys(e, -r, "making the bridge %s", b->name);
	return forward_on(b->name, e);
}

int bridge_ensure(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = -1;

	if (recall_subnet(b) && link_is_up(b) && nft_exists(b->table) == 0 && forward_is_on())
		return 0;
	locked = lock(b);
	if (locked < 0)
		return err_sys(e, -locked, "locking the containers' network");
	return make(b, e);
}

/* ---- addresses ---- */

static bool is_abandoned(const struct bridge *b, const char *name)
{
	struct stat st;

	return fstatat(b->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_nlink == 1;
}

/* Whoever took it was killed before it could write that down. */
static int reclaim(struct bridge *b, struct in_addr address, const char *name)
{
	_cleanup_close_ int locked = lock(b);
	struct err e = ERR_INIT;

	if (locked < 0)
		return locked;
	return is_abandoned(b, name) ? bridge_detach(b, address, &e) : -EEXIST;
}

static int take(struct bridge *b, struct in_addr address, int holder, char name[INET_ADDRSTRLEN])
{
	inet_ntop(AF_INET, &address, name, INET_ADDRSTRLEN);
	for (bool again = true;; again = false) {
		if (linkat(holder, "", b->dir, name, AT_EMPTY_PATH) == 0)
			return 0;
		if (errno != EEXIST || !again || !is_abandoned(b, name) ||
		    reclaim(b, address, name) < 0)
			return -errno;
	}
}

int bridge_attach(struct bridge *b, int netns, int holder, struct bridge_place *ret, struct err *e)
{
	const uint32_t size = UINT32_C(1) << (32 - b->prefix_len), usable = size - 3;
	uint32_t net = ntohl(b->address.s_addr) - 1, start = (uint32_t)(rand_u64() % usable);
	char name[INET_ADDRSTRLEN];
	int r = -EEXIST;

	/* From anywhere: an address that became free is not the next to be taken, while others
	 * may still think of who had it. */
	for (uint32_t i = 0; i < usable && r == -EEXIST; i++) {
		ret->address.s_addr = htonl(net + 2 + (start + i) % usable);
		r = take(b, ret->address, holder, name);
	}
	if (r == -EEXIST)
		return err_set(e, EADDRNOTAVAIL,
		    "all %u addresses for containers are in use; stop some", usable);
	if (r < 0)
		return err_sys(e, -r, "taking an address");
	r = link_attach(b, netns, ret->address, ret->mac, e);
	if (r < 0)
		(void)unlinkat(b->dir, name, 0);
	return r;
}

int bridge_detach(struct bridge *b, struct in_addr address, struct err *e)
{
	char name[INET_ADDRSTRLEN];
	int r = ports_withdraw(b, address);

	if (r < 0)
		return err_sys(e, -r, "withdrawing published ports");
	r = link_detach(b, address);
	if (r < 0)
		return err_sys(e, -r, "removing a pair of interfaces");
	inet_ntop(AF_INET, &address, name, sizeof(name));
	/* Last: until then nobody else gets it. */
	if (unlinkat(b->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "giving back an address");
	return 0;
}

int bridge_give_back(struct bridge *b, struct in_addr address, int holder, struct err *e)
{
	char name[INET_ADDRSTRLEN];
	struct stat has, had;

	inet_ntop(AF_INET, &address, name, sizeof(name));
	if (fstatat(b->dir, name, &has, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "looking for who has an address");
	if (fstat(holder, &had) < 0)
		return err_sys(e, errno, "looking at the holder of an address");
	if (S_ISREG(has.st_mode) && (has.st_dev != had.st_dev || has.st_ino != had.st_ino))
		return 0;
	return bridge_detach(b, address, e);
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

int bridge_count(const struct bridge *b)
{
	int fd = openat(b->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d)
		return -errno;
	while ((entry = readdir(d))) {
		struct in_addr address;

		count += inet_pton(AF_INET, entry->d_name, &address) == 1 &&
			 !is_abandoned(b, entry->d_name);
	}
	return count;
}

int bridge_restore(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = lock(b);
	int held = locked < 0 ? locked : bridge_count(b), r = held < 0 ? held : 0;

	if (held > 0) {
		r = nft_has_rules(b->table);
		if (r == 0 && recall_subnet(b) && link_is_up(b) && forward_is_on())
			return 0;
		if (r == -ENOENT)
			r = table_remove(b);
	}
	if (r < 0)
		return err_sys(e, -r, "looking after the containers' network");
	return held ? make(b, e) : 0;
}

int bridge_remove(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = lock(b);
	int held = locked < 0 ? locked : bridge_count(b), r;

	if (held < 0)
		return err_sys(e, -held, "locking the containers' network");
	if (held)
		return err_set(e, EBUSY, "%d containers have an address", held);
	r = link_remove(b);
	if (r == 0)
		r = table_remove(b);
	if (r == 0)
		r = forward_off(b->name);
	if (r < 0)
		return err_sys(e, -r, "removing the containers' network");
	(void)unlinkat(b->dir, "subnet", 0);
	return 0;
}
